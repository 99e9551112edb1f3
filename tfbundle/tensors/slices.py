"""Slices of partitioned tensors: the box of each slice, and whether the slices cover the tensor.

A partitioned tensor is stored in slices. Each is a box: a start and a length for each dimension. Slices may tile the
tensor in any way, not only along one axis, so completeness must be proved: no two boxes overlap, and their volumes add
up to the tensor's. If they do not, the first region that no box covers is found by cutting the tensor along the edges
of the boxes, one dimension after another.

Pure arithmetic; nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np

from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.formats.slice_keys import FULL, Extent
from tfbundle.limits import MOST_EXTENTS, MOST_SLICES, OVERLAP_EFFORT
from tfbundle.plurals import plural
from tfbundle.proto import TensorSliceProto
from tfbundle.tensors.overlaps import Column, Effort, find_overlap

# Tensors of which some slices are damaged or lost, each with the numbers of damaged ones.
DamagedSlices = tuple[tuple[str, frozenset[int]], ...]
_EXTENT = re.compile(r"(\d{1,18}),(\d{1,18})|-")


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """A box of a tensor: along dimension ``i`` the elements ``starts[i]`` up to ``starts[i] + lengths[i]``.

    ``extents`` is the form in the file: a (start, length) for each dimension, with length -1 for a whole dimension.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    extents: tuple[Extent, ...]

    def __str__(self) -> str:
        return _describe_box(self.starts, self.lengths)

    @property
    def volume(self) -> int:
        """The number of elements in the box."""
        return prod(self.lengths)

    @property
    def index(self) -> tuple[slice, ...]:
        """The box as an index, so that ``array[box.index]`` is this part of the whole array."""
        return tuple(slice(start, start + length) for start, length in zip(self.starts, self.lengths, strict=True))


def _describe_box(starts: Sequence[int], lengths: Sequence[int]) -> str:
    """Return a box in numpy's notation, such as ``[0:4, 2:3]``."""
    return "[" + ", ".join(f"{a}:{a + n}" for a, n in zip(starts, lengths, strict=True)) + "]"


def check_count(slices: Sized, rank: int) -> None:
    """Raise ``UnsupportedError`` if a tensor has more slices, or extents in them, than the limits allow."""
    if len(slices) > MOST_SLICES:
        raise UnsupportedError(f"it has {len(slices)} slices, and more than {MOST_SLICES} are not read")
    if len(slices) * rank > MOST_EXTENTS:
        raise UnsupportedError(
            f"it has {len(slices)} slices of {rank} dimensions, and more than {MOST_EXTENTS} extents are not read"
        )


def decode_extents(message: TensorSliceProto) -> tuple[Extent, ...]:
    """Return the (start, length) of each dimension that a message states."""
    return tuple([(one.start, one.length or (0 if one.HasField("length") else FULL)) for one in message.extent])


def locate_slice(extents: Sequence[Extent], shape: tuple[int, ...]) -> TensorSlice:
    """Return the box of ``extents`` in a tensor of ``shape``; raise ``FormatError`` if it is not inside."""
    if len(extents) != len(shape):
        raise FormatError(f"a slice has {plural(len(extents), 'dimension')}, and its tensor has {len(shape)}")
    starts, lengths = [], []
    for (start, length), whole in zip(extents, shape, strict=True):
        if length == FULL and start == 0:
            length = whole
        if start < 0 or length < 0 or start + length > whole:
            raise FormatError(f"a slice has {length} elements from index {start} of a dimension of length {whole}")
        starts.append(start)
        lengths.append(length)
    return TensorSlice(tuple(starts), tuple(lengths), tuple(extents))


def parse_extents(text: str) -> tuple[Extent, ...] | None:
    """Return the (start, length) of each dimension in TensorFlow's text form of a slice, such as ``0,5:-``.

    Returns ``None`` for any other text.
    """
    extents = []
    for dimension in text.split(":"):
        match = _EXTENT.fullmatch(dimension)
        if match is None:
            return None
        extents.append((int(match[1]), int(match[2])) if match[1] else (0, FULL))
    return tuple(extents)


def find_uncovered(boxes: Iterable[TensorSlice], slices: Sequence[TensorSlice]) -> TensorSlice | None:
    """Return the first box that the slices do not cover, or ``None``; there must be slices, and they must be disjoint.

    Raises ``UnsupportedError`` if boxes and slices are arranged so that the search would take too long.
    """
    known = {(one.starts, one.lengths) for one in slices}
    others = [box for box in boxes if box.volume and (box.starts, box.lengths) not in known]
    if not others:
        return None
    starts, ends = _edges(slices)
    # Only slices that begin before a box ends, and end after its start, can meet it. Sorted along one dimension, these
    # are adjacent; the dimension in which they begin at the most places leaves the fewest.
    axis = max(range(starts.shape[1]), key=lambda axis: len(np.unique(starts[:, axis])), default=None)
    if axis is None:
        return None  # A tensor without dimensions has one box, and a slice covers it.
    order = np.argsort(starts[:, axis], kind="stable")
    starts, ends = starts[order], ends[order]
    reach = np.maximum.accumulate(ends[:, axis])
    firsts, lasts = _edges(others)
    begin = np.searchsorted(reach, firsts[:, axis], side="right")
    end = np.searchsorted(starts[:, axis], lasts[:, axis], side="left")
    if int(np.maximum(end - begin, 0).sum()) * starts.shape[1] > OVERLAP_EFFORT:
        raise UnsupportedError(f"{len(others)} regions and {len(slices)} slices meet too often to be compared")
    for number, box in enumerate(others):
        near = slice(begin[number], end[number])
        common = np.minimum(ends[near], lasts[number]) - np.maximum(starts[near], firsts[number])
        if int(np.maximum(common, 0).prod(axis=1).sum()) != box.volume:
            return box
    return None


def _edges(boxes: Sequence[TensorSlice]) -> tuple[Column, Column]:
    """Return the starts and the ends of boxes: one row per box and one column per dimension."""
    starts = np.array([box.starts for box in boxes], np.int64)
    return starts, starts + np.array([box.lengths for box in boxes], np.int64)


def check_disjoint(slices: Sequence[TensorSlice], effort: Effort | None = None) -> None:
    """Raise ``FormatError`` if two slices of one tensor overlap, ``UnsupportedError`` if the check takes too long.

    ``effort`` limits the comparisons for all tensors of the checkpoint.
    """
    boxes = [box for box in slices if box.volume]
    if len(boxes) < 2:
        return
    if not boxes[0].starts:
        raise FormatError("a tensor without dimensions is stored in several slices")
    found = find_overlap(*_edges(boxes), effort)
    if found is not None:
        raise FormatError(f"slices {boxes[found[0]]} and {boxes[found[1]]} overlap")


def incomplete(gap: str | None, count: int) -> FormatError:
    """Return the error about a tensor whose region ``gap``, from ``find_gap``, is in none of its ``count`` slices."""
    return FormatError(
        f"its region {gap} is in none of the stored slices ({count}); other regions can be read by slicing, "
        "other tensors without this one (slots=False or --no-slots if it is an optimizer's)"
    )


def find_gap(slices: Sequence[TensorSlice], shape: tuple[int, ...]) -> str | None:
    """Return the first box that no slice covers, in numpy's notation, or ``None`` if the slices cover the tensor.

    The slices must be disjoint.
    """
    if sum(box.volume for box in slices) == prod(shape):
        return None
    starts, lengths = [], []
    inside = [box for box in slices if box.volume]
    for axis, whole in enumerate(shape):
        section = prod(shape[axis + 1 :])
        start, end = _first_incomplete(inside, axis, whole, section)
        starts.append(start)
        lengths.append(end - start)
        inside = [p for p in inside if p.starts[axis] <= start and end <= p.starts[axis] + p.lengths[axis]]
    return _describe_box(starts, lengths)


def _first_incomplete(slices: Sequence[TensorSlice], axis: int, whole: int, section: int) -> tuple[int, int]:
    """Return the first interval of a dimension, between two edges, where boxes do not cover the cross-section."""
    change: dict[int, int] = {0: 0, whole: 0}
    for box in slices:
        start, end = box.starts[axis], box.starts[axis] + box.lengths[axis]
        area = prod(box.lengths[axis + 1 :])
        change[start] = change.get(start, 0) + area
        change[end] = change.get(end, 0) - area
    covered = 0
    edges = sorted(change)
    for start, end in pairwise(edges):
        covered += change[start]
        if covered < section:
            return start, end
    return 0, whole
