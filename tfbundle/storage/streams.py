"""An open file as a file object with a cursor, for the libraries that expect one."""

from __future__ import annotations

import io
from typing import Any

from tfbundle.storage.base import Source


class SourceStream(io.RawIOBase):
    """A part of an open source, read from a position. Closing it leaves the source open."""

    def __init__(self, source: Source, start: int = 0, size: int | None = None) -> None:
        """Start at ``start``; without ``size`` the part extends to the end."""
        super().__init__()
        self.source = source
        self.start = start
        self.size = source.size - start if size is None else size
        self.pos = 0

    def readable(self) -> bool:
        """Return ``True``."""
        return True

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position and return it."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.pos, io.SEEK_END: self.size}[whence]
        if origin + offset < 0:
            raise ValueError(f"a position before the start of {self.source.path}: {origin + offset}")
        self.pos = origin + offset
        return self.pos

    def readinto(self, buffer: Any, /) -> int:
        """Read into ``buffer`` as far as there are bytes, and return their number."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size - self.pos))
        if count:
            self.source.read_into(self.start + self.pos, view[:count])
            self.pos += count
        return count
