"""Slots of partitioned variables, which TensorFlow 1 stores as one slice of a larger tensor.

A partitioned variable ``w`` is one tensor of several slices. Its optimizer's slots are made for each part alone, under
names such as ``w/part_0/Adam`` or ``w/t_0/Ftrl`` (``Saver`` cuts the names of an Estimator's slots as it can), and each
is stored under a name of its own, as the one slice of a tensor that has the shape of the whole variable::

    w               shape [5, 2]   slices [0:3, 0:2] and [3:5, 0:2]
    w/part_0/Adam   shape [5, 2]   slice  [0:3, 0:2]
    w/part_1/Adam   shape [5, 2]   slice  [3:5, 0:2]

Nothing of such a tensor is missing: it is a part, and ``Tensor.region`` says where it belongs. A tensor of one slice is
such a part if the variable to which its name leads has the same shape, and the same slice among its own; any other that
does not cover its shape is incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tfbundle.tensors.slices import TensorSlice
from tfbundle.tensors.store import Facts

# How many scopes of a name are looked at.
_MOST_SCOPES = 32


class VariablePart(NamedTuple):
    """The region of a tensor that is stored as one part, and the shape of the whole."""

    region: TensorSlice
    shape: tuple[int, ...]


class Tiling(NamedTuple):
    """The shape of a partitioned tensor, and the starts and lengths of its slices."""

    shape: tuple[int, ...]
    boxes: frozenset[tuple[tuple[int, ...], tuple[int, ...]]]


def tiling(facts: Facts | None) -> Tiling | None:
    """Return how a tensor is partitioned, or ``None`` if it is not."""
    if facts is None or len(facts.slices) < 2:
        return None
    return Tiling(facts.shape, frozenset((box.starts, box.lengths) for box in facts.slices))


def find_part(name: str, facts: Facts, tiling_of: Callable[[str], Tiling | None]) -> VariablePart | None:
    """Return the part that a tensor is, or ``None`` for any other.

    ``facts`` are what the file states of it, and ``tiling_of`` returns how another tensor is partitioned, or ``None``
    where there is none, or it is not partitioned.
    """
    if len(facts.slices) != 1 or facts.slices[0].lengths == facts.shape:
        return None
    region = facts.slices[0]
    for owner in _owners(name):
        whole = tiling_of(owner)
        if whole is not None and whole.shape == facts.shape:
            is_part = (region.starts, region.lengths) in whole.boxes
            return VariablePart(region, facts.shape) if is_part else None
    return None


def _owners(name: str) -> Iterator[str]:
    """Yield what the variable of a slot may be called: the scopes around it, also without those in front."""
    scopes = name.split("/", _MOST_SCOPES)[:-1]
    for end in range(len(scopes), 0, -1):
        yield "/".join(scopes[:end])
    for start in range(1, len(scopes)):
        yield "/".join(scopes[start:-1])
