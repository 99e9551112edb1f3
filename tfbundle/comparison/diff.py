"""Two checkpoints, or frozen graphs, held against each other by the values of their tensors.

How the values are stored (format, shards, slices, byte order) makes no difference. Numbers are compared as numbers: a
NaN equals a NaN, and zero equals negative zero. Equal checksums prove nothing, so that all values are read; they pass
in pieces, two tensors side by side, and no tensor lies in memory whole unless its format wants it to (``Tensor.chunks``
says which).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.find.names import Format
from tfbundle.open_tensors import open_tensors
from tfbundle.progress import Progress
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast, clear_unused_bits
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor


@dataclass(frozen=True)
class Change:
    """A tensor that both checkpoints have, and that is not the same in them.

    ``data_types`` and ``shapes`` are those of the first and the second checkpoint. Where both agree, ``differing`` is
    how many of the elements differ, and ``None`` otherwise, for then no values were compared.

    ``largest_absolute`` is the largest difference of two numbers (an ``int`` for integers), ``largest_relative`` the
    largest one divided by the larger magnitude of the two, ``inf`` where infinity meets a finite number. Both are
    ``None`` for strings and variants, and where nothing but NaN meets numbers; ``nans`` counts the latter.
    """

    name: str
    data_types: tuple[str, str]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    differing: int | None = None
    largest_absolute: int | float | None = None
    largest_relative: float | None = None
    nans: int = 0


@dataclass(frozen=True)
class Diff:
    """In what two checkpoints differ; true if in anything.

    ``added`` are the tensors that only the second has, ``removed`` those that only the first has, ``changed`` those
    that are different, and ``same`` counts the others.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]
    same: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(
    a: str | os.PathLike[str] | TensorMapping,
    b: str | os.PathLike[str] | TensorMapping,
    *,
    format: Format | None = None,
    progress: Progress | None = None,
) -> Diff:
    """Compare two checkpoints by name and value; each is a path as for ``open_checkpoint``, or an open checkpoint.

    Either may be a frozen graph, or a SavedModel that is frozen, whose tensors are its constants. ``format`` is as for
    ``open_checkpoint``. ``progress`` is called with the bytes of values that were compared, and those that there are.
    Every value is verified, if it has a checksum; raises what opening and reading raise.
    """
    with ExitStack() as stack:
        first, second = (
            source if isinstance(source, TensorMapping) else stack.enter_context(open_tensors(source, format=format))
            for source in (a, b)
        )
        pairs = [(tensor, second[name]) for name, tensor in first.items() if name in second]
        total = sum(tensor.nbytes for tensor, other in pairs if _is_comparable(tensor, other))
        done = 0

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            if progress is not None:
                progress(done, total)

        changes = [change for pair in pairs if (change := _compare(*pair, count)) is not None]
        return Diff(
            tuple(name for name in second if name not in first),
            tuple(name for name in first if name not in second),
            tuple(changes),
            len(pairs) - len(changes),
        )


def _is_comparable(a: Tensor, b: Tensor) -> bool:
    return a.data_type == b.data_type and a.shape == b.shape


def _compare(a: Tensor, b: Tensor, count: Callable[[int], None]) -> Change | None:
    kinds = (a.data_type, b.data_type), (a.shape, b.shape)
    if not _is_comparable(a, b):
        return Change(a.name, *kinds)
    found = _Difference()
    for ours, theirs in _side_by_side(a.chunks(), b.chunks()):
        found = found.merged(_compare_values(ours, theirs))
        if not ours.dtype.hasobject:
            count(ours.nbytes)
    if a.dtype.hasobject:
        count(a.nbytes)
    return Change(a.name, *kinds, **found._asdict()) if found.differing else None


def _side_by_side(a: Iterator[Array], b: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    """Two runs of flat arrays with the same elements in all, cut so that each pair has the same length.

    Both runs are followed to their ends, where they raise if what they gave was damaged.
    """
    left = right = None
    while True:
        left = next(a, None) if left is None else left
        right = next(b, None) if right is None else right
        if left is None or right is None:
            return
        length = min(len(left), len(right))
        yield left[:length], right[:length]
        left, right = left[length:], right[length:]
        # An empty array is used up; taking the next one is what notices the end.
        left, right = (rest if len(rest) else None for rest in (left, right))


class _Difference(NamedTuple):
    """The last fields of a ``Change``, for a part of a tensor."""

    differing: int = 0
    largest_absolute: int | float | None = None
    largest_relative: float | None = None
    nans: int = 0

    def merged(self, other: _Difference) -> _Difference:
        return _Difference(
            self.differing + other.differing,
            _larger(self.largest_absolute, other.largest_absolute),
            _larger(self.largest_relative, other.largest_relative),
            self.nans + other.nans,
        )


def _larger(a: Any, b: Any) -> Any:
    return max((value for value in (a, b) if value is not None), default=None)


def _compare_values(a: Array, b: Array) -> _Difference:
    """Two flat arrays of the same dtype and length."""
    if a.dtype.hasobject:
        return _Difference(sum(ours != theirs for ours, theirs in zip(a.tolist(), b.tolist(), strict=True)))
    a, b = clear_unused_bits(a), clear_unused_bits(b)
    if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
        return _Difference()
    if a.dtype.kind == "b" or "int" in a.dtype.name:
        return _compare_integers(a, b)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    return _compare_floats(cast(a, wide), cast(b, wide))


def _compare_integers(a: Array, b: Array) -> _Difference:
    wide = np.uint64 if a.dtype.kind == "u" or a.dtype.name.startswith("uint") else np.int64
    a, b = a.astype(wide), b.astype(wide)
    unequal = a != b
    a, b = a[unequal], b[unequal]
    if not len(a):
        return _Difference()
    larger, smaller = np.maximum(a, b), np.minimum(a, b)
    # Modulo 2**64 the difference of two 64-bit integers is exact, whatever their signs.
    distance = larger.astype(np.uint64) - smaller.astype(np.uint64)
    magnitude = np.maximum(np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64)))
    relative = distance.astype(np.float64) / magnitude
    return _Difference(len(a), int(distance.max()), float(relative.max()))


def _compare_floats(a: Array, b: Array) -> _Difference:
    unequal = (a != b) & ~(np.isnan(a) & np.isnan(b))
    a, b = a[unequal], b[unequal]
    differing = len(a)
    numbers = ~(np.isnan(a) | np.isnan(b))
    a, b = a[numbers], b[numbers]
    nans = differing - len(a)
    if not len(a):
        return _Difference(differing, nans=nans)
    with np.errstate(all="ignore"):
        distance = np.abs(a - b)
        relative = distance / np.maximum(np.abs(a), np.abs(b))
    # Infinity divided by infinity is no number; what differs by infinity does so relative to anything. Halves of a
    # complex number may be infinite both, and then their difference is none either.
    distance[np.isnan(distance)] = np.inf
    relative[~np.isfinite(distance)] = np.inf
    return _Difference(differing, float(distance.max()), float(relative.max()), nans)
