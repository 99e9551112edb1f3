"""Whether any two of many boxes overlap, in about n log n steps for the layouts that partitioners make.

Boxes that tile a box overlap nowhere. At the corners of a box, count 1 and -1 in turn, so that summing these numbers up
along each dimension gives 1 inside and 0 elsewhere. Where boxes meet, the numbers of their corners cancel out::

    +---+-------+---+        1 . . . . . .-1                  1 . . . . . .-1
    |   |       |   |   =    .             .    if and only   .             .
    |   +---+---+   |        .             .    if the boxes  .             .
    +---+---+---+---+       -1 . . . . . . 1    tile it      -1 . . . . . . 1

Tilings are therefore proved by sorting corners. Otherwise boxes leave holes, or overlap. Sorted along a dimension, a
box can meet only those that begin before it ends::

    |--a--|                         a meets b, and b meets c: two pairs are compared
       |--b--|
             |---c---|

This suffices for boxes in a row. Where boxes are long in every dimension, most pairs would have to be compared; such
boxes are first divided by a plane, with boxes that cross it on both sides, until few are left on each. Boxes can be
arranged so that no plane separates many. The effort is therefore limited, far beyond the needs of any grid, and the
limit applies to all tensors of one checkpoint together (``Effort``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.limits import OVERLAP_EFFORT

Column = np.ndarray[Any, np.dtype[np.int64]]

# At most this many corners are sorted to find out whether boxes tile a box; with more, the sweep is as fast.
_MOST_CORNERS = 1 << 18
# Up to this many boxes are compared without counting the effort.
_FEW_BOXES = 64
# Up to this many pairs for each box, comparing them is cheaper than cutting.
_FEW_PAIRS = 64
# Sorting a number takes as long as this many comparisons.
_SORTING = 16
# This many pairs are compared at a time, so that they stay in the processor's cache.
_BATCH = 1 << 16


class _Boxes(NamedTuple):
    """Boxes by number, with their starts and ends: one row per box and one column per dimension."""

    number: Column
    starts: Column
    ends: Column

    def rows(self, which: Any) -> _Boxes:
        return _Boxes(*(column[which] for column in self))


class Effort:
    """The number of comparisons of coordinates that are left for all tensors of one checkpoint."""

    def __init__(self) -> None:
        """Start with the number that one tensor may take."""
        self.left = OVERLAP_EFFORT


def find_overlap(starts: Column, ends: Column, effort: Effort | None = None) -> tuple[int, int] | None:
    """Return the numbers of two boxes that overlap, or ``None``.

    ``starts`` and ``ends`` have a row for each box and a column for each dimension; no box is empty. The comparisons
    are deducted from ``effort``. Raises ``UnsupportedError`` if the boxes are arranged so that the search would take
    more than is left.
    """
    if len(starts) < 2 or _is_tiling(starts, ends):
        return None
    if effort is None or len(starts) <= _FEW_BOXES:
        effort = Effort()
    waiting = [_Boxes(np.arange(len(starts)), starts, ends)]
    while waiting:
        boxes = waiting.pop()
        if len(boxes.number) < 2:
            continue
        pairs = [_count_pairs(boxes, axis) for axis in range(starts.shape[1])]
        fewest = min(pairs)
        halves = _cut(boxes) if fewest > _FEW_PAIRS * len(boxes.number) else None
        effort.left -= boxes.starts.size * _SORTING + (0 if halves else fewest * starts.shape[1])
        if effort.left < 0:
            raise UnsupportedError(f"its {len(starts)} slices cross each other too often to be checked for overlaps")
        if halves:
            waiting += halves
            continue
        found = _sweep(boxes, pairs.index(fewest))
        if found is not None:
            return found
    return None


def _is_tiling(starts: Column, ends: Column) -> bool:
    """Return whether boxes tile a box, by the numbers at their corners; ``False`` if there are too many corners."""
    # Along the other dimensions all boxes are the same.
    axes = np.flatnonzero((starts != starts[0]).any(axis=0) | (ends != ends[0]).any(axis=0)).tolist()
    if not axes or len(starts) << len(axes) > _MOST_CORNERS:
        return False
    # The place of a corner: which edge it is along each dimension, as one number.
    place, places = np.zeros((1, len(starts)), np.int64), 1
    sign = np.ones((1, 1), np.int64)
    for axis in axes:
        edges, numbers = np.unique(np.concatenate((starts[:, axis], ends[:, axis])), return_inverse=True)
        places *= len(edges)
        if places > np.iinfo(np.int64).max:
            return False
        first, last = numbers.reshape(2, -1)
        place = np.concatenate((place * len(edges) + first, place * len(edges) + last))
        sign = np.concatenate((sign, -sign))
    order = np.argsort(place, axis=None, kind="stable")
    changes = np.flatnonzero(np.diff(place.ravel()[order], prepend=-1))
    sums = np.add.reduceat(np.broadcast_to(sign, place.shape).ravel()[order], changes)
    # Along each line through corners the numbers add up to 0, so the nonzero ones are at least the corners of a box.
    return int(np.count_nonzero(sums)) == len(sign) == int(np.abs(sums).sum())


def _count_pairs(boxes: _Boxes, axis: int) -> int:
    """Return how many pairs overlap in one dimension."""
    starts, ends = np.sort(boxes.starts[:, axis]), boxes.ends[:, axis]
    count = len(starts)
    return int(np.searchsorted(starts, ends, side="left").sum()) - count * (count + 1) // 2


def _cut(boxes: _Boxes) -> list[_Boxes] | None:
    """Return the boxes on either side of the plane that cuts the fewest, or ``None`` if none separates any."""
    count = len(boxes.number)
    best = None
    for axis in range(boxes.starts.shape[1]):
        starts, ends = boxes.starts[:, axis], boxes.ends[:, axis]
        plane = np.partition(np.concatenate((starts, ends)), count)[count]
        left, right = np.flatnonzero(starts < plane), np.flatnonzero(ends > plane)
        if max(len(left), len(right)) < count and (best is None or len(left) + len(right) < best[0]):
            best = len(left) + len(right), axis, plane, left, right
    if best is None:
        return None
    _, axis, plane, left, right = best
    below, above = boxes.rows(left), boxes.rows(right)
    below.ends[:, axis] = np.minimum(below.ends[:, axis], plane)
    above.starts[:, axis] = np.maximum(above.starts[:, axis], plane)
    return [above, below]


def _sweep(boxes: _Boxes, axis: int) -> tuple[int, int] | None:
    """Return a pair of boxes that overlap, of those that overlap along ``axis``, or ``None``."""
    boxes = boxes.rows(np.argsort(boxes.starts[:, axis], kind="stable"))
    reach = np.searchsorted(boxes.starts[:, axis], boxes.ends[:, axis], side="left")
    others = reach - np.arange(1, len(reach) + 1)
    behind = np.cumsum(others)
    first = 0
    while first < len(reach):
        done = int(behind[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(behind, done + _BATCH, side="right")))
        counts = others[first:last]
        one = np.repeat(np.arange(first, last), counts)
        two = np.arange(len(one)) - np.repeat(behind[first:last] - counts - done, counts) + one + 1
        for column in range(boxes.starts.shape[1]):
            if not len(one):
                break
            starts, ends = boxes.starts[:, column], boxes.ends[:, column]
            meets = (starts[two] < ends[one]) & (starts[one] < ends[two])
            one, two = one[meets], two[meets]
        if len(one):
            return int(boxes.number[one[0]]), int(boxes.number[two[0]])
        first = last
    return None
