"""Ranges of an object that are requested before they are read, for readers that go through it from front to back.

::

    read so far        pos                requested, in flight
    ------------------ [........][................][................]
                        2 MiB     8 MiB            8 MiB

A round trip takes as long as a megabyte or more, so that one range after the other would leave the line idle. As much
is requested ahead as was read in one sequence before, up to a limit, so that a reader that stops has caused at most as
many bytes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

# Of one range, and of all that are in flight for one reader.
RANGE = 8 << 20
MOST_AHEAD = 32 << 20
_SMALLEST = 1 << 20

Fetch = Callable[[int, int], "Future[memoryview]"]


class ReadAhead:
    """A sequence of reads, each from where the one before it ended; one thread at a time may use it."""

    def __init__(self, pos: int, done: int, size: int, fetch: Fetch) -> None:
        """Continue at ``pos`` of an object of ``size`` bytes, after ``done`` bytes; ``fetch`` requests a range."""
        self.pos = pos
        self._done = done
        self._size = size
        self._fetch = fetch
        self._ranges: deque[tuple[int, int, Future[memoryview]]] = deque()
        self._requested = pos

    def read_into(self, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes that follow, and request those after them."""
        end = self.pos + len(buffer)
        self._done += len(buffer)
        self._request(end + min(MOST_AHEAD, self._done))
        filled = 0
        while filled < len(buffer):
            start, stop, future = self._ranges[0]
            data = future.result()
            count = min(stop - self.pos, len(buffer) - filled)
            buffer[filled : filled + count] = data[self.pos - start : self.pos - start + count]
            filled += count
            self.pos += count
            if self.pos == stop:
                self._ranges.popleft()

    def _request(self, end: int) -> None:
        """Request ranges up to ``end``, once a whole one is missing."""
        end = min(end, self._size)
        while self._requested < end:
            rest = end - self._requested
            stop = min(self._requested + RANGE, end)
            if self._ranges and rest < min(RANGE, max(_SMALLEST, self._done // 2)) and stop < self._size:
                return
            self._ranges.append((self._requested, stop, self._fetch(self._requested, stop)))
            self._requested = stop

    def cancel(self) -> None:
        """Drop what was requested and not read."""
        for _, _, future in self._ranges:
            future.cancel()
        self._ranges.clear()
