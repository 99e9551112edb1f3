"""Bytes of an open file copied into another by the system, without passing through this process.

The kernel moves pages, or on some file systems shares them, in half the time that reading and writing them takes. What
has been copied is read back where it arrived, so that a checksum is one of what was written.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import BinaryIO, Protocol

from tfbundle.errors import TruncatedError
from tfbundle.storage.base import Source
from tfbundle.storage.local import LocalSource

# The errors of the system if it cannot copy between two files: other devices, old kernels, files that only grow.
_NOT_COPIED = (
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.EPERM,
    errno.ETXTBSY,
)


class Sink(Protocol):
    """What takes bytes in their order."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Append bytes."""

    def copy_range(self, source: Source, offset: int, buffer: memoryview) -> bool:
        """Append as many bytes of ``source`` as ``buffer`` has room for, and fill it with what has arrived.

        Returns ``False``, and has appended nothing, where the system does not copy between the two files.
        """


class FileSink:
    """Appends to a file of ``storage.replacing``, and continues at its position."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        """``path`` is what errors of the system call the file."""
        self._file = file
        self._path = path

    def write(self, data: bytes | memoryview, /) -> None:
        """Append bytes."""
        self._file.write(data)

    def copy_range(self, source: Source, offset: int, buffer: memoryview) -> bool:
        """Append a part of ``source``; see ``Sink``."""
        start = self._file.tell()
        self._file.flush()
        try:
            if not copy_range(source, offset, len(buffer), self._file.fileno()):
                return False
        except OSError as error:
            error.filename = self._path
            raise
        self._file.seek(start)
        read_back(self._file.fileno(), start, buffer)
        self._file.seek(start + len(buffer))
        return True


class CountingSink:
    """Hands everything on to another sink, and calls a function with the number of bytes each time."""

    def __init__(self, sink: Sink, written: Callable[[int], object]) -> None:
        self._sink = sink
        self._written = written

    def write(self, data: bytes | memoryview, /) -> None:
        """Append bytes."""
        self._sink.write(data)
        self._written(len(data))

    def copy_range(self, source: Source, offset: int, buffer: memoryview) -> bool:
        """Append a part of ``source``; see ``Sink``."""
        is_copied = self._sink.copy_range(source, offset, buffer)
        if is_copied:
            self._written(len(buffer))
        return is_copied


def copy_range(source: Source, offset: int, size: int, number: int) -> bool:
    """Copy a part of ``source`` to the position of the open file ``number``; ``False`` where the system does not.

    Raises ``TruncatedError`` where the source ends before, and the system's ``OSError``.
    """
    if not isinstance(source, LocalSource) or not hasattr(os, "copy_file_range"):
        return False
    descriptor = source.check_open()
    assert descriptor.number is not None  # It is open for as long as it is kept here.
    done = 0
    while done < size:
        try:
            count = os.copy_file_range(descriptor.number, number, size - done, offset + done)
        except OSError as error:
            if not done and error.errno in _NOT_COPIED:
                return False
            raise
        if not count:
            if not done:
                return False  # Some file systems report this; reading determines whether the file has become shorter.
            raise TruncatedError(f"{source.path} became shorter while it was copied", path=source.path, offset=offset)
        done += count
    return True


def read_back(number: int, offset: int, buffer: memoryview) -> None:
    """Fill ``buffer`` from an offset of an open file, which has so many bytes."""
    done = 0
    while done < len(buffer):
        count = os.preadv(number, [buffer[done:]], offset + done)
        if not count:
            raise OSError(errno.EIO, "what was just written cannot be read")
        done += count
