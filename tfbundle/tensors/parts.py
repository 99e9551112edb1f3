"""Slots of partitioned variables, which TensorFlow 1 stores as one slice of a larger tensor.

A partitioned variable ``w`` is one tensor of several slices. Its optimizer creates slots for each part separately, with
names such as ``w/part_0/Adam`` or ``w/t_0/Ftrl`` (``Saver`` truncates the names of an Estimator's slots). Each slot is
stored under a separate name, as the only slice of a tensor with the shape of the whole variable::

    w               shape [5, 2]   slices [0:3, 0:2] and [3:5, 0:2]
    w/part_0/Adam   shape [5, 2]   slice  [0:3, 0:2]
    w/part_1/Adam   shape [5, 2]   slice  [3:5, 0:2]

Such a tensor is not incomplete: it is a part, and ``Tensor.region`` is where it belongs. A tensor of one slice is such
a part if the variable that its name refers to has the same shape and the same slice; any other tensor whose slice does
not cover its shape is incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tfbundle.tensors.slices import TensorSlice
from tfbundle.tensors.store import Facts

# How many scopes of a name are examined.
_MOST_SCOPES = 32


class VariablePart(NamedTuple):
    """The region of a tensor that is stored as one part, the shape of the whole, and the name of its variable."""

    region: TensorSlice
    shape: tuple[int, ...]
    variable: str


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

    ``facts`` are those that the file states for the tensor. ``tiling_of`` returns how another tensor is partitioned, or
    ``None`` if it does not exist or is not partitioned.
    """
    if len(facts.slices) != 1 or facts.slices[0].lengths == facts.shape:
        return None
    region = facts.slices[0]
    for owner in possible_variables(name):
        whole = tiling_of(owner)
        if whole is not None and whole.shape == facts.shape:
            is_part = (region.starts, region.lengths) in whole.boxes
            return VariablePart(region, facts.shape, owner) if is_part else None
    return None


def possible_variables(name: str) -> Iterator[str]:
    """Yield the possible names of a slot's variable: the scopes around it, with and without the leading ones."""
    scopes = name.split("/", _MOST_SCOPES)[:-1]
    for end in range(len(scopes), 0, -1):
        yield "/".join(scopes[:end])
    for start in range(1, len(scopes)):
        yield "/".join(scopes[start:-1])
