"""From an index expression to the byte ranges that it needs.

``tensor[2:9, ::-1, 4]`` becomes a ``Selection``: for each dimension a start, a count and a positive step, and the axes
to flip and the final shape, which turn the block that is read into numpy's result. ``plan_reads`` then maps the
selection to an array in a file and yields the spans to read: neighbours whose gap is smaller than a disk page are read
together, and no span exceeds a fixed window, so that a slice of a huge tensor needs little memory.

Pure arithmetic on Python integers, which cannot overflow; nothing here does I/O.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tfbundle.plurals import plural

# The page cache fetches pages of this size, so skipping a smaller gap saves nothing and costs a call.
GAP = 4096
# The most that one read fetches, unless a single element is larger.
WINDOW = 4 << 20


class Selection(NamedTuple):
    """A regular grid of elements: along dimension ``i``, ``starts[i] + k * steps[i]`` for ``k < counts[i]``.

    ``flips`` are the dimensions that come out in reverse order, ``shape`` is the result's shape after integers have
    dropped their dimensions and ``np.newaxis`` has added some. ``scalar`` is true if numpy would return a scalar and
    not an array of shape ``()``.
    """

    starts: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, ...]
    flips: tuple[int, ...]
    shape: tuple[int, ...]
    scalar: bool

    @property
    def grid(self) -> tuple[Any, ...]:
        """The selection as an index of an array in memory, whose result is an array even without dimensions."""
        axes = zip(self.starts, self.counts, self.steps, strict=True)
        return (*(slice(start, start + count * step, step) for start, count, step in axes), ...)

    def finish(self, block: np.ndarray[Any, Any]) -> Any:
        """Return what numpy returns, from the block of shape ``counts`` that was read in ascending order."""
        if self.flips:
            block = np.ascontiguousarray(np.flip(block, self.flips))
        block = block.reshape(self.shape)
        return block[()] if self.scalar else block


class Span(NamedTuple):
    """One read: ``size`` bytes at ``offset`` from the array's start, which contain ``target`` of the block.

    The elements are in the span as an array of shape ``counts`` with ``strides`` in bytes.
    """

    offset: int
    size: int
    target: tuple[int | slice, ...]
    counts: tuple[int, ...]
    strides: tuple[int, ...]


def parse_index(index: Any, shape: tuple[int, ...]) -> Selection:
    """Return a basic index (integers, slices, ``...``, ``np.newaxis``) of an array of ``shape``.

    Raises ``TypeError`` for anything else, such as lists and masks, and ``IndexError`` as numpy does.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    consuming = sum(item is not None and item is not Ellipsis for item in items)
    ellipses = [pos for pos, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if consuming > len(shape):
        raise IndexError(
            f"too many indices: the tensor has {plural(len(shape), 'dimension')}, and {consuming} were indexed"
        )
    rest: list[Any] = [slice(None)] * (len(shape) - consuming)
    where = ellipses[0] if ellipses else len(items)
    items[where : where + 1] = rest

    starts: list[int] = []
    counts: list[int] = []
    steps: list[int] = []
    flips: list[int] = []
    result: list[int] = []
    for item in items:
        if item is None:
            result.append(1)
            continue
        axis = len(starts)
        length = shape[axis]
        if isinstance(item, slice):
            chosen = range(*item.indices(length))
            if chosen.step < 0:
                flips.append(axis)
                chosen = chosen[::-1]
            starts.append(chosen.start if chosen else 0)
            counts.append(len(chosen))
            # With a single element, the step may be larger than any array.
            steps.append(chosen.step if len(chosen) > 1 else 1)
            result.append(len(chosen))
        else:
            starts.append(_position(item, axis, length))
            counts.append(1)
            steps.append(1)
    return Selection(
        tuple(starts),
        tuple(counts),
        tuple(steps),
        tuple(axis for axis in flips if counts[axis] > 1),
        tuple(result),
        not result and not ellipses,
    )


def _position(item: Any, axis: int, length: int) -> int:
    if isinstance(item, bool | np.bool_ | np.ndarray | list):
        raise TypeError(
            f"a tensor in a file takes integers, slices, ... and np.newaxis as index, not {type(item).__name__}; "
            "read() it first for numpy's advanced indexing"
        )
    try:
        position = operator.index(item)
    except TypeError:
        raise TypeError(
            f"a tensor in a file takes integers, slices, ... and np.newaxis as index, not {type(item).__name__}"
        ) from None
    if not -length <= position < length:
        raise IndexError(f"index {position} is out of bounds for axis {axis} with size {length}")
    return position % length


def intersect(
    selection: Selection, starts: tuple[int, ...], lengths: tuple[int, ...]
) -> tuple[Selection, tuple[slice, ...]] | None:
    """Return the part of a selection that falls into a box, or ``None``.

    Returns the selection within the box, and where its elements belong in the selected block.
    """
    inner_starts, counts, target = [], [], []
    for first, count, step, low, length in zip(
        selection.starts, selection.counts, selection.steps, starts, lengths, strict=True
    ):
        begin = max(0, -((first - low) // step))
        end = min(count, -((first - low - length) // step))
        if begin >= end:
            return None
        inner_starts.append(first + begin * step - low)
        counts.append(end - begin)
        target.append(slice(begin, end))
    shape = tuple(counts)
    return Selection(tuple(inner_starts), shape, selection.steps, (), shape, False), tuple(target)


def find_run(selection: Selection, shape: tuple[int, ...]) -> int | None:
    """Return the number of the first selected element in C order if the selected ones follow each other, or ``None``.

    A selection without elements is not a run.
    """
    if 0 in selection.counts:
        return None
    first, is_whole = 0, True
    stride = 1
    for start, count, step, length in zip(
        reversed(selection.starts), reversed(selection.counts), reversed(selection.steps), reversed(shape), strict=True
    ):
        if count > 1 and (step > 1 or not is_whole):
            return None
        is_whole = is_whole and count == length
        first += start * stride
        stride *= length
    return first


def plan_reads(selection: Selection, shape: tuple[int, ...], itemsize: int) -> Iterator[Span]:
    """Yield the spans that hold a selection's elements in a C-contiguous array of ``shape``, in the order of the
    file.
    """
    rank = len(shape)
    starts, counts, steps = selection.starts, selection.counts, selection.steps
    if 0 in counts:
        return
    strides = [itemsize] * rank
    for axis in range(rank - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    base = sum(start * stride for start, stride in zip(starts, strides, strict=True))
    jumps = tuple(step * stride for step, stride in zip(steps, strides, strict=True))
    # From the first byte to the end of one element of the dimensions before ``axis``.
    extents = [itemsize] * (rank + 1)
    for axis in range(rank - 1, -1, -1):
        extents[axis] = (counts[axis] - 1) * jumps[axis] + extents[axis + 1]

    # The dimensions from ``inner`` on fit into one span.
    inner = rank
    while inner and extents[inner - 1] <= WINDOW and _is_near(inner - 1, counts, jumps, extents):
        inner -= 1
    if inner == 0:
        yield Span(base, extents[0], (), counts, jumps)
        return
    split = inner - 1
    group = 1
    if _is_near(split, counts, jumps, extents):
        group += max(0, WINDOW - extents[inner]) // jumps[split]
    for outer in itertools.product(*(range(count) for count in counts[:split])):
        offset = base + sum(k * jump for k, jump in zip(outer, jumps[:split], strict=True))
        for first in range(0, counts[split], group):
            many = min(group, counts[split] - first)
            yield Span(
                offset + first * jumps[split],
                (many - 1) * jumps[split] + extents[inner],
                (*outer, slice(first, first + many)),
                (many, *counts[inner:]),
                jumps[split:],
            )


def _is_near(axis: int, counts: tuple[int, ...], jumps: tuple[int, ...], extents: list[int]) -> bool:
    return counts[axis] == 1 or jumps[axis] - extents[axis + 1] <= GAP
