"""The bytes of a file in a folder or an archive, without unpacking it to disk."""

from __future__ import annotations

import io

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.storage.base import Source
from tfbundle.storage.streams import SourceStream

LARGEST = (1 << 31) - 1
"""Bytes of a file that are read as a whole: protobuf reads no larger message."""


class BytesSource(Source):
    """Bytes in memory, as an open file."""

    def __init__(self, path: str, data: bytes | memoryview) -> None:
        self.path = path
        self.size = len(data)
        self.version = None
        self._data = data

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes."""
        self.require(offset, size)
        return bytes(self._data[offset : offset + size])

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer."""
        buffer[:] = self.read_at(offset, len(buffer))

    def read_some(self, offset: int, buffer: memoryview) -> int:
        """Fill a buffer, and return its length."""
        self.read_into(offset, buffer)
        return len(buffer)

    def view(self, offset: int, size: int) -> memoryview:
        """Return a part without a copy."""
        self.require(offset, size)
        return memoryview(self._data)[offset : offset + size]

    def require(self, offset: int, size: int) -> None:
        """Raise ``TruncatedError`` for bytes after the end."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise TruncatedError(f"{self.path} ends before byte {offset + size}", path=self.path, offset=offset)

    def check_unchanged(self) -> None:
        """Do nothing: these bytes do not change."""

    def same_file(self) -> bool:
        """Return ``True``."""
        return True

    def was_replaced(self) -> bool:
        """Return ``False``."""
        return False

    def check_open(self) -> object:
        """Do nothing: there is nothing to close."""
        return None

    def close(self) -> None:
        """Do nothing."""


class Content:
    """One file to scan: its name and its bytes. ``folder`` has the names of the folders that it is in."""

    def __init__(self, source: Source, name: str, folders: tuple[str, ...] = ()) -> None:
        self.source = source
        self.path = source.path
        self.name = name
        self.folders = folders

    def read(self, largest: int = LARGEST) -> bytes:
        """Return all bytes; raises ``FormatError`` if there are more than ``largest``."""
        if self.source.size > largest:
            raise FormatError(
                f"{self.path} has {self.source.size} bytes, and no more than {largest} are read", path=self.path
            )
        return self.source.read_at(0, self.source.size)

    def head(self, size: int) -> bytes:
        """Return the first bytes, up to ``size`` of them."""
        return self.source.read_at(0, min(size, self.source.size))

    def stream(self) -> io.BufferedReader:
        """Return the bytes as a file object."""
        return io.BufferedReader(SourceStream(self.source), 1 << 16)
