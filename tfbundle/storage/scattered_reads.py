"""Ranges of an object that are received straight into the memory of the arrays that they are for.

::

    parts, sorted       |---a---|--b--|    |------------- c -------------|
    ranges              [---------------------][-------------][-----------]
    received into        a       b     gap  c   c              c

Neighbours are requested together, and large parts in several ranges, so that each range has 8 to 16 MiB where there are
as many. Each byte of a buffer is in one range, and one thread at a time receives a range, so that an attempt that is
repeated overwrites all that the one before it left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from tfbundle.storage.planned_reads import GAP
from tfbundle.storage.read_ahead import RANGE

# Receives the bytes from an offset on into buffers, one after the other, in another thread.
Receive = Callable[[int, "list[memoryview]"], "Future[memoryview]"]
# An offset, and the buffer that is filled from there.
Part = tuple[int, memoryview]


class _Range(NamedTuple):
    """One request: where it starts, the buffers for its bytes in order, and the numbers of the parts they are of."""

    start: int
    buffers: list[memoryview]
    numbers: list[int]


def receive_all(parts: Sequence[Part], receive: Receive) -> list[list[Future[memoryview]]]:
    """Request all parts, and return for each what must be done before its buffer is filled."""
    waits: list[list[Future[memoryview]]] = [[] for _ in parts]
    for part in _ranges(parts):
        future = receive(part.start, part.buffers)
        for number in part.numbers:
            waits[number].append(future)
    return waits


def _ranges(parts: Sequence[Part]) -> list[_Range]:
    ranges: list[_Range] = []
    end = filled = 0
    for number in sorted(range(len(parts)), key=lambda number: parts[number][0]):
        offset, buffer = parts[number]
        pos = 0
        while pos < len(buffer):
            # Parts that overlap are requested separately, because each has a separate buffer.
            gap = offset + pos - end
            if not ranges or not 0 <= gap <= GAP or filled >= RANGE:
                ranges.append(_Range(offset + pos, [], []))
                filled = gap = 0
            last = ranges[-1]
            if gap:
                last.buffers.append(memoryview(bytearray(gap)))
            rest = len(buffer) - pos
            size = rest if filled + gap + rest <= 2 * RANGE else min(rest, max(1, RANGE - filled - gap))
            last.buffers.append(buffer[pos : pos + size])
            last.numbers.append(number)
            filled += gap + size
            pos += size
            end = offset + pos
    return ranges
