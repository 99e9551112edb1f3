"""Ranges of an object that are requested in parallel because the caller has stated what it is about to read.

::

    extents, sorted     |--a--|-b-|   |------------------ c ------------------|
    ranges              [-----------------][-----------------][---------------]
                         8 to 16 MiB each, neighbours together with what is between them

A few ranges are in flight at a time, from the one that is read on. A range is dropped once all of it that was
announced has been read.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from itertools import pairwise

from tfbundle.storage.read_ahead import RANGE, Fetch

# Bytes between two extents that are read along sooner than a request is made for each.
GAP = 256 << 10
_IN_FLIGHT = 4
# Ranges of which parts are read in another order are kept, up to so many.
_MOST_KEPT = 12


class PlannedReads:
    """The ranges of one plan, for any number of threads."""

    def __init__(self, extents: Iterable[tuple[int, int]], fetch: Fetch) -> None:
        """Plan to read ``extents``, offsets and sizes; ``fetch`` requests a range in another thread."""
        self._fetch = fetch
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._left: list[int] = []
        for start, end, wanted in _coalesced(extents):
            count = max(1, (end - start) // RANGE)
            bounds = [start + (end - start) * number // count for number in range(count + 1)]
            self._starts += bounds[:-1]
            self._ends += bounds[1:]
            # Of small extents in one range the bytes between them are not read.
            self._left += [wanted] if count == 1 else [b - a for a, b in pairwise(bounds)]
        self._futures: dict[int, Future[memoryview]] = {}
        self._next = 0
        self._lock = threading.Lock()

    def covers(self, offset: int, size: int) -> bool:
        """Return whether there are ranges of all these bytes, none of which was dropped."""
        numbers = self._numbers(offset, offset + size)
        return numbers is not None and all(self._left[number] > 0 for number in numbers)

    def _numbers(self, offset: int, end: int) -> range | None:
        """Return the numbers of the ranges that have these bytes, or ``None`` if some are in none."""
        first = number = bisect_right(self._starts, offset) - 1
        pos = offset
        while pos < end:
            if number < 0 or number >= len(self._starts) or not self._starts[number] <= pos < self._ends[number]:
                return None
            pos = self._ends[number]
            number += 1
        return range(first, number)

    def read_into(self, offset: int, buffer: memoryview) -> bool:
        """Fill ``buffer``; return ``False`` where the plan does not have all of its bytes, or no longer."""
        end = offset + len(buffer)
        parts: list[tuple[int, Future[memoryview]]] = []
        with self._lock:
            numbers = self._numbers(offset, end)
            if numbers is None:
                return False
            for number in numbers:
                future = self._request(number)
                if future is None:
                    return False
                parts.append((number, future))
            for following in range(self._next, min(len(self._starts), numbers.stop + _IN_FLIGHT - 1)):
                self._request(following)
        for number, future in parts:
            try:
                data = future.result()
            except CancelledError:  # Another thread has dropped the range, or closed the object.
                return False
            start = self._starts[number]
            low, high = max(offset, start), min(end, self._ends[number])
            buffer[low - offset : high - offset] = data[low - start : high - start]
            self._count(number, high - low)
        return True

    def _request(self, number: int) -> Future[memoryview] | None:
        found = self._futures.get(number)
        if found is None and self._left[number] > 0:
            while len(self._futures) >= _MOST_KEPT:
                oldest = next(iter(self._futures))
                self._left[oldest] = 0
                self._futures.pop(oldest).cancel()
            found = self._futures[number] = self._fetch(self._starts[number], self._ends[number])
            self._next = max(self._next, number + 1)
        return found

    def _count(self, number: int, size: int) -> None:
        with self._lock:
            self._left[number] -= size
            if self._left[number] <= 0:
                self._futures.pop(number, None)

    def cancel(self) -> None:
        """Drop what was requested and not read."""
        with self._lock:
            for future in self._futures.values():
                future.cancel()
            self._futures.clear()
            self._left = [0] * len(self._left)


def _coalesced(extents: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return start and end of runs of extents, and how many bytes of each the extents take."""
    runs: list[tuple[int, int, int]] = []
    for offset, size in sorted(extents):
        if not size:
            continue
        if runs and offset - runs[-1][1] <= GAP:
            start, end, wanted = runs[-1]
            runs[-1] = start, max(end, offset + size), wanted + size
        else:
            runs.append((offset, offset + size, size))
    return runs
