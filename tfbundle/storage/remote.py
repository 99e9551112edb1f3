"""Objects of an object store, read by ranges.

Each request names the ETag of the version that was opened, and each answer is compared with it, so that bytes of two
versions are never mixed. A round trip takes as long as a megabyte, so that small reads fetch the bytes around them:

    near the end     the last 64 KiB: the footer of a table and its index block come together
    elsewhere        64 KiB from where the read begins: blocks and small tensors that follow come along

Large reads are divided into ranges of 8 MiB that are requested at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from tfbundle.storage.base import Source
from tfbundle.storage.object_stores import load_obstore, open_store, overwritten, translate

if TYPE_CHECKING:
    from obstore import ObjectMeta

_SMALL = 64 << 10
_MOST_WINDOWS = 16
_RANGE = 8 << 20
_THREADS = 8


class ObjectFacts(NamedTuple):
    """What a store states of an object: its size in bytes, its time of change in seconds since 1970, and its ETag."""

    size: int
    mtime: float
    e_tag: str | None


def facts_of(meta: ObjectMeta) -> ObjectFacts:
    """Return the facts of an answer; one without an ETag is known by size and time alone."""
    return ObjectFacts(int(meta["size"]), meta["last_modified"].timestamp(), meta["e_tag"])


class RemoteSource(Source):
    """An object that is read by ranges, from any thread."""

    def __init__(self, root: str, key: str, url: str, facts: ObjectFacts) -> None:
        """Read the version of an object that has these ``facts``; nothing is requested yet."""
        self.path = url
        self.size = facts.size
        self.version = (url, facts)
        self._facts = facts
        self._store: Any = open_store(root)
        self._key = key
        self._windows: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        closed = ", closed" if self._store is None else ""
        return f"<RemoteSource {self.path!r}, {self.size} bytes{closed}>"

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``, or a ``TruncatedError``."""
        self.require(offset, size)
        if size == 0:
            return b""
        if size >= _SMALL:
            data = bytearray(size)
            self._fill(offset, memoryview(data))
            return bytes(data)
        start, window = self._window(offset, size)
        return window[offset - start : offset - start + size]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer``, a writable view of plain bytes, from ``offset``; raises as ``read_at`` does."""
        self.require(offset, len(buffer))
        if len(buffer) < _SMALL:
            buffer[:] = self.read_at(offset, len(buffer))
        else:
            self._fill(offset, buffer)

    def read_some(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` as a whole, and return its length; an object has no places that cannot be read."""
        self.read_into(offset, buffer)
        return len(buffer)

    def view(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``offset`` as a read-only view of a copy."""
        return memoryview(self.read_at(offset, size))

    def check_unchanged(self) -> None:
        """Raise ``FormatError`` if the object is not the one that was opened; with an ETag each read checks that."""
        self.check_open()
        if self._facts.e_tag is None and self.was_replaced():
            raise overwritten(self.path)

    def same_file(self) -> bool:
        """Return whether the URL still leads to the version that was opened."""
        return self._now() == self._facts

    def was_replaced(self) -> bool:
        """Return whether the URL leads to another version than the one that was opened."""
        return self._now() not in (None, self._facts)

    def check_open(self) -> Any:
        """Return the store; raises ``ValueError`` after ``close()``."""
        store = self._store
        if store is None:
            raise ValueError(f"{self.path} is closed; read before close(), or open it again outside of the with block")
        return store

    def close(self) -> None:
        """Drop what was fetched; a later read is a ``ValueError``."""
        self._store = None
        self._windows = {}

    def _now(self) -> ObjectFacts | None:
        try:
            return facts_of(load_obstore(self.path).head(self.check_open(), self._key))
        except FileNotFoundError:
            return None
        except Exception as error:  # The class depends on the store.
            raise translate(error, self.path) from None

    def _window(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return bytes that include the range, and the offset at which they begin."""
        with self._lock:
            for start, window in self._windows.items():
                if start <= offset and offset + size <= start + len(window):
                    return start, window
            start = offset if offset + _SMALL < self.size else max(0, self.size - _SMALL)
            window = self._get(start, min(start + _SMALL, self.size))
            while len(self._windows) >= _MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
            self._windows[start] = window
            return start, window

    def _fill(self, offset: int, buffer: memoryview) -> None:
        def fetch(begin: int) -> None:
            end = min(begin + _RANGE, len(buffer))
            buffer[begin:end] = self._get(offset + begin, offset + end)

        begins = range(0, len(buffer), _RANGE)
        if len(begins) == 1:
            fetch(0)
            return
        with ThreadPoolExecutor(min(_THREADS, len(begins))) as pool:
            _drain(pool.map(fetch, begins))

    def _get(self, start: int, end: int) -> bytes:
        """Request a range, and check that it is that range of the version that was opened."""
        options: Any = {"range": (start, end)}
        e_tag = self._facts.e_tag
        # A weak ETag matches nothing in a condition (RFC 9110, 13.1.1), but the answer's can be compared.
        if e_tag is not None and not e_tag.startswith("W/"):
            options["if_match"] = e_tag
        try:
            answer = load_obstore(self.path).get(self.check_open(), self._key, options=options)
            facts = facts_of(answer.meta)
            if facts.size != self.size or facts.e_tag != e_tag or (e_tag is None and facts.mtime != self._facts.mtime):
                raise overwritten(self.path)
            got, data = answer.range, bytes(answer.bytes())
        except (ValueError, OSError) as error:
            raise (translate(error, self.path) if type(error) is FileNotFoundError else error) from None
        except Exception as error:  # The class depends on the store.
            raise translate(error, self.path) from None
        if tuple(got) != (start, end) or len(data) != end - start:
            raise OSError(5, f"bytes {start} to {end} were requested, and {len(data)} others were sent", self.path)
        return data


def _drain(results: Iterator[None]) -> None:
    """Wait for all results, and raise the first error."""
    for _ in results:
        pass
