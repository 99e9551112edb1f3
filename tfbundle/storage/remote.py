"""Objects of an object store, read by ranges.

Each request names the ETag of the version that was opened, and each answer is compared with it, so that bytes of two
versions are never mixed. A round trip takes as long as a megabyte, so that small reads fetch the bytes around them:

    near the end     the last 64 KiB: the footer of a table and its index block come together
    elsewhere        64 KiB from where the read begins: blocks and small tensors that follow come along

What the caller states beforehand is read in ranges of 8 to 16 MiB that are requested at the same time: straight into
its buffers where these exist already (``scattered_reads``), otherwise into memory of their own (``planned_reads``).
Reads that follow one another are served from ranges that were requested ahead (``read_ahead``).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial

from tfbundle.plurals import plural
from tfbundle.storage.base import Filling, Source
from tfbundle.storage.objects import Answer, ObjectFacts, Objects, overwritten
from tfbundle.storage.planned_reads import PlannedReads
from tfbundle.storage.read_ahead import RANGE, ReadAhead
from tfbundle.storage.scattered_reads import Part, receive_all

SMALL = 64 << 10
_MOST_WINDOWS = 16
_THREADS = 8
# Reads that follow one another are a sequence from this many bytes, and so many sequences may be under way.
_SEQUENCE = 1 << 20
_MOST_SEQUENCES = 2
_MOST_ENDS = 16


class RemoteSource(Source):
    """An object that is read by ranges, from any thread."""

    is_remote = True

    def __init__(self, objects: Objects, key: str, url: str, facts: ObjectFacts, known: Answer | None = None) -> None:
        """Read the version of an object that has these ``facts``, of which a part may be ``known`` already."""
        self.path = url
        self.size = facts.size
        self.version = (url, facts)
        self._facts = facts
        self._objects: Objects | None = objects
        self._key = key
        self._windows: dict[int, memoryview] = {} if known is None else {known.start: known.data}
        # Where reads ended, with the number of bytes that were read in sequence up to there.
        self._ends: dict[int, int] = {}
        self._sequences: dict[int, ReadAhead] = {}
        self._plan: PlannedReads | None = None
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        closed = ", closed" if self._objects is None else ""
        return f"<RemoteSource {self.path!r}, {plural(self.size, 'byte')}{closed}>"

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``, or a ``TruncatedError``."""
        self.require(offset, size)
        window = self._known(offset, size) if size else b""
        if window is not None:
            return bytes(window)
        data = bytearray(size)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer``, a writable view of plain bytes, from ``offset``; raises as ``read_at`` does."""
        size = len(buffer)
        self.require(offset, size)
        if not size:
            return
        window = self._known(offset, size)
        plan = self._plan
        if window is None and plan is not None and plan.read_into(offset, buffer):
            return
        if window is None and size < SMALL:
            begun = self._beginning(offset)
            if begun is not None:
                buffer[: len(begun)] = begun
                self.read_into(offset + len(begun), buffer[len(begun) :])
                return
            start = offset if offset + SMALL < self.size else max(0, self.size - SMALL)
            data = memoryview(bytearray(min(SMALL, self.size - start)))
            self._read(start, data)
            self._keep(start, data)
            window = data[offset - start : offset - start + size]
        if window is not None:
            buffer[:] = window
        else:
            self._read(offset, buffer)

    def read_some(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` as a whole, and return its length; an object has no places that cannot be read."""
        self.read_into(offset, buffer)
        return len(buffer)

    def expect(self, extents: Iterable[tuple[int, int]]) -> None:
        """Prepare for reads of ``extents``, offsets and sizes, which should come about in the order of the offsets."""
        before = self._plan
        wanted = [
            (offset, size)
            for offset, size in extents
            if not self._knows(offset, size) and (before is None or not before.covers(offset, size))
        ]
        for offset, size in wanted:
            self.require(offset, size)
        if sum(size for _, size in wanted) >= SMALL:
            self._plan = PlannedReads(wanted, self._request)
            if before is not None:
                before.cancel()

    def fill(self, parts: Sequence[Part]) -> Filling:
        """Begin to fill buffers from ranges that are requested in parallel; see ``Source.fill``."""
        for offset, buffer in parts:
            self.require(offset, len(buffer))
        waits: list[Callable[[], object]] = [partial(self.read_into, offset, buffer) for offset, buffer in parts]
        numbers = [number for number, (offset, buffer) in enumerate(parts) if not self._knows(offset, len(buffer))]
        wanted = [parts[number] for number in numbers]
        if sum(len(buffer) for _, buffer in wanted) >= SMALL:
            received = receive_all(wanted, self._receive)
            for number, futures in zip(numbers, received, strict=True):
                waits[number] = partial(self._wait, futures)
            return Filling(waits, partial(_cancel, received))
        return Filling(waits, lambda: None)

    def view(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``offset`` as a read-only view of a copy."""
        return memoryview(self.read_at(offset, size))

    def check_unchanged(self) -> None:
        """Raise ``ValueError`` after ``close()``; each read has compared the version, so that nothing is requested."""
        self.check_open()

    def same_file(self) -> bool:
        """Return whether the URL still leads to the version that was opened, which takes a request."""
        found = self.check_open().facts(self._key)
        return found is not None and self._is_version(found)

    def was_replaced(self) -> bool:
        """Return whether the URL leads to another version than the one that was opened, which takes a request."""
        found = self.check_open().facts(self._key)
        return found is not None and not self._is_version(found)

    def check_open(self) -> Objects:
        """Return the store; raises ``ValueError`` after ``close()``."""
        objects = self._objects
        if objects is None:
            raise ValueError(f"{self.path} is closed; read before close(), or open it again outside of the with block")
        return objects

    def close(self) -> None:
        """Drop what was fetched; a later read is a ``ValueError``."""
        with self._lock:
            self._objects = None
            self._windows = {}
            sequences, self._sequences = self._sequences, {}
            plan, self._plan = self._plan, None
            pool, self._pool = self._pool, None
        for sequence in sequences.values():
            sequence.cancel()
        if plan is not None:
            plan.cancel()
        if pool is not None and pool[0] == os.getpid():
            pool[1].shutdown(wait=False, cancel_futures=True)

    def _is_version(self, facts: ObjectFacts) -> bool:
        """Return whether facts are those of the version that was opened; times matter without an ETag only."""
        known = self._facts
        same = facts.size == known.size and facts.e_tag == known.e_tag
        return same and (known.e_tag is not None or facts.mtime == known.mtime)

    def _knows(self, offset: int, size: int) -> bool:
        with self._lock:
            items = self._windows.items()
            return any(start <= offset and offset + size <= start + len(window) for start, window in items)

    def _known(self, offset: int, size: int) -> memoryview | None:
        with self._lock:
            for start, window in self._windows.items():
                if start <= offset and offset + size <= start + len(window):
                    if offset + size == start + len(window) and SMALL < len(window) < self.size:
                        del self._windows[start]  # It was read to its end.
                    return window[offset - start : offset - start + size]
        return None

    def _beginning(self, offset: int) -> memoryview | None:
        """Return what is known from ``offset`` on, so that windows follow one another without overlap."""
        with self._lock:
            for start, window in self._windows.items():
                if start <= offset < start + len(window):
                    return window[offset - start :]
        return None

    def _keep(self, start: int, window: memoryview) -> None:
        with self._lock:
            while len(self._windows) >= _MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            self._windows[start] = window

    def _read(self, offset: int, buffer: memoryview) -> None:
        """Request bytes, or take those that were requested ahead."""
        end = offset + len(buffer)
        with self._lock:
            before = self._ends.pop(offset, 0)
            sequence = self._sequences.pop(offset, None)
            while len(self._ends) >= _MOST_ENDS:
                del self._ends[next(iter(self._ends))]
            self._ends[end] = before + len(buffer)
        if sequence is None and before >= _SEQUENCE and end < self.size:
            sequence = ReadAhead(offset, before, self.size, self._request)
        if sequence is None:
            self._fill(offset, buffer)
            return
        try:
            sequence.read_into(buffer)
        except CancelledError:
            self.check_open()  # It was closed by another thread.
            raise
        with self._lock:
            if self._objects is None or end == self.size:
                return
            while len(self._sequences) >= _MOST_SEQUENCES:
                self._sequences.pop(next(iter(self._sequences))).cancel()
            self._sequences[end] = sequence

    def _fill(self, offset: int, buffer: memoryview) -> None:
        def fetch(begin: int) -> None:
            end = min(begin + RANGE, len(buffer))
            self._get(offset + begin, offset + end, [buffer[begin:end]])

        begins = range(0, len(buffer), RANGE)
        if len(begins) == 1:
            fetch(0)
        else:
            with ThreadPoolExecutor(min(_THREADS, len(begins))) as pool:
                _drain(pool.map(fetch, begins))

    def _request(self, start: int, end: int) -> Future[memoryview]:
        """Request a range in another thread."""
        return self._submit(start, end, ())

    def _receive(self, start: int, buffers: Sequence[memoryview]) -> Future[memoryview]:
        """Fill buffers with a range in another thread."""
        return self._submit(start, start + sum(map(len, buffers)), buffers)

    def _submit(self, start: int, end: int, into: Sequence[memoryview]) -> Future[memoryview]:
        with self._lock:
            self.check_open()
            process = os.getpid()
            # The threads of a parent process do not exist in its child.
            if self._pool is None or self._pool[0] != process:
                self._pool = process, ThreadPoolExecutor(_THREADS, "tfbundle-read")
            return self._pool[1].submit(self._get, start, end, into)

    def _wait(self, futures: Iterable[Future[memoryview]]) -> None:
        """Wait for all futures, and raise the first error."""
        for future in futures:
            try:
                future.result()
            except CancelledError:
                self.check_open()  # It was closed by another thread.
                raise

    def _get(self, start: int, end: int, into: Sequence[memoryview]) -> memoryview:
        """Request a range of the version that was opened, check the answer, and return or place its bytes."""
        answer = self.check_open().read(self._key, start, end, self._facts.e_tag, into)
        if not self._is_version(answer.facts):
            raise overwritten(self.path)
        if answer.is_placed:
            return answer.data
        if answer.start > start or answer.start + len(answer.data) < end:
            sent = f"{answer.start} to {answer.start + len(answer.data)}"
            raise OSError(errno.EIO, f"bytes {start} to {end} were requested, and {sent} were sent", self.path)
        if len(answer.data) > end - start:
            self._keep(answer.start, answer.data)  # The server sends whole files only.
        data = answer.data[start - answer.start : end - answer.start]
        pos = 0
        for buffer in into:
            buffer[:] = data[pos : pos + len(buffer)]
            pos += len(buffer)
        return data


def _drain(results: Iterable[None]) -> None:
    """Wait for all results, and raise the first error."""
    for _ in results:
        pass


def _cancel(received: Iterable[Iterable[Future[memoryview]]]) -> None:
    for futures in received:
        for future in futures:
            future.cancel()
