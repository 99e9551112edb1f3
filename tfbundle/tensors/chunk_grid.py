"""How a tensor is divided into chunks that are runs of its stored elements.

Elements are stored in C order, so a run is some rows; of rows that are too large, some rows of the second dimension,
and so on::

    shape (6, 4), at most 8 elements       shape (2, 6, 4), at most 8 elements: chunks of shape (1, 2, 4)
    ========
    ========
    ========

The slices of a partitioned tensor are divided separately, provided that they form a grid, so that no chunk is read from
two of them.

Pure arithmetic; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tfbundle.tensors.slices import TensorSlice

# The lengths of the intervals into which each dimension is divided.
Intervals = tuple[tuple[int, ...], ...]


def chunk_shape(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """Return the shape of the largest run of an array that has at most ``most`` elements, or else one element."""
    for axis, length in enumerate(shape):
        row = prod(shape[axis + 1 :])
        if row <= most:
            rows = min(length, max(1, most // max(1, row)))
            return (*(min(1, size) for size in shape[:axis]), rows, *shape[axis + 1 :])
    return ()


def find_grid(slices: Sequence[TensorSlice], shape: Sequence[int]) -> Intervals | None:
    """Return the intervals of the dimensions whose products are the slices, or ``None`` if these form no grid."""
    axes: list[dict[int, int]] = [{} for _ in shape]
    for box in slices:
        for axis, start, length in zip(axes, box.starts, box.lengths, strict=True):
            if length == 0 or axis.setdefault(start, length) != length:
                return None
    grid = []
    for axis, length in zip(axes, shape, strict=True):
        end = 0
        for start in sorted(axis):
            if start != end:
                return None
            end += axis[start]
        if end != length:
            return None
        grid.append(tuple(axis[start] for start in sorted(axis)))
    # So many distinct boxes can only be all products of the intervals.
    is_whole = prod(map(len, grid)) == len(slices) == len({box.starts for box in slices})
    return tuple(grid) if is_whole else None


class Division(NamedTuple):
    """The intervals of each dimension that are divided separately, and the shape of the largest chunk."""

    intervals: Intervals
    chunk: tuple[int, ...]

    @property
    def total(self) -> int:
        """The number of chunks, which may be far too large to list them."""
        return prod(
            sum(max(1, -(-length // max(1, size))) for length in axis)
            for axis, size in zip(self.intervals, self.chunk, strict=True)
        )

    @property
    def lengths(self) -> Intervals:
        """The lengths of the chunks along each dimension."""
        return tuple(
            tuple(part for length in axis for part in _split(length, size))
            for axis, size in zip(self.intervals, self.chunk, strict=True)
        )


def divide(shape: Sequence[int], slices: Sequence[TensorSlice], most: int) -> Division:
    """Return how a tensor is divided into chunks of at most ``most`` elements, but at least one.

    A chunk is a run of the stored elements of one slice, unless the slices form no grid.
    """
    grid = (find_grid(slices, shape) if slices else None) or tuple((length,) for length in shape)
    return Division(grid, chunk_shape([max(axis) for axis in grid], most))


def _split(length: int, size: int) -> list[int]:
    """Return the lengths of the parts of an interval; an empty one is a single part."""
    if length <= size:
        return [length]
    rest = length % size
    return [size] * (length // size) + ([rest] if rest else [])
