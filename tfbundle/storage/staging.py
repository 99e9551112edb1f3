"""New files that belong together, written under temporary names until all of them are complete.

A temporary name is ``NAME.tempstate`` and a random number, as TensorFlow's, whose first digits all of them share. How
they take their final names together is in ``placing``. What goes to an object store is complete on this machine first,
and is then sent by ``uploads``.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from contextlib import suppress

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import Location, Source
from tfbundle.storage.copying import copy_range, read_back
from tfbundle.storage.descriptors import most_open_files, open_making_room
from tfbundle.storage.early_sync import EarlySync
from tfbundle.storage.folders import local_path
from tfbundle.storage.remote_folders import RemoteLocation
from tfbundle.storage.uploads import check_writable, send

# So many bytes are collected before the system is called: of one file, of all, and of each of very many. Linux
# searches for contiguous memory for a single call; with a megabyte and more, that may take longer than the copy.
_BUFFER = 256 << 10
_ALL_BUFFERS = 8 << 20
_SMALLEST_BUFFER = 1 << 12
# Bytes of a name, which most file systems limit.
_LONGEST_NAME = 255
# Of these 13 digits are the save's, and 7 count its files.
_TOKEN_BITS = 43
_BINARY = getattr(os, "O_BINARY", 0)


class _Descriptor:
    """A file descriptor that closes with its last user."""

    def __init__(self, path: str, flags: int) -> None:
        self.number: int | None = os.open(path, flags | os.O_RDWR | _BINARY, 0o666)

    def close(self) -> None:
        """Close it, which is when some network drives report failed writes."""
        number, self.number = self.number, None
        if number is not None:
            os.close(number)

    def __del__(self) -> None:
        if getattr(self, "number", None) is not None:
            with suppress(OSError):
                self.close()


class OpenFiles:
    """The descriptors of files that are written together, of which the system may allow fewer than there are files."""

    def __init__(self, count: int, base: str | None = None, *, sync: bool) -> None:
        """``count`` is how many files there will be; with ``sync``, their bytes are on disk when they are finished.

        ``base`` is what temporary names begin with, for files whose names have a meaning in a listing of the folder.
        """
        self.early = EarlySync() if sync else None
        self._base = base
        self._token = secrets.randbits(_TOKEN_BITS)
        self._named = 0
        self.buffer = min(_BUFFER, max(_ALL_BUFFERS // count, _SMALLEST_BUFFER))
        self._open: dict[int, _Descriptor] = {}

    def temporary(self, path: str) -> str:
        """Return another temporary name beside ``path``, which is no longer than a name may be."""
        folder, base = os.path.split(path)
        base = base if self._base is None else self._base
        end = f".tempstate{self._token:013d}{self._named:07d}"
        self._named += 1
        kept = os.fsencode(base)[: _LONGEST_NAME - len(end)]
        return os.path.join(folder, os.fsdecode(kept) + end)

    def get(self, key: int, path: str, flags: int = 0) -> int:
        """Return the descriptor of a file, which is opened again, for appending, if it had to be closed."""
        descriptor = self._open.get(key)
        if descriptor is None:
            descriptor = open_making_room(lambda: _Descriptor(path, flags or os.O_APPEND), self._open)
            if len(self._open) >= most_open_files():
                self.close(next(iter(self._open)))
            self._open[key] = descriptor
        assert descriptor.number is not None
        return descriptor.number

    def close(self, key: int) -> None:
        """Close the descriptor of a file, if it is open."""
        descriptor = self._open.pop(key, None)
        if descriptor is not None:
            if self.early is not None:
                self.early.wait()
            descriptor.close()


class StagedFile:
    """A new file under a temporary name, which is written from its start to its end."""

    def __init__(self, target: Location, opened: OpenFiles) -> None:
        """Create the file beside ``target``; raises ``ValueError`` where a folder or a device is in its place."""
        check_replaceable(target)
        self.target: str = target.path
        # What goes to an object store is complete on this machine first.
        self.remote = target if isinstance(target, RemoteLocation) else None
        folder = tempfile.gettempdir() if self.remote is not None else os.path.dirname(self.target)
        self.path = opened.temporary(os.path.join(folder, target.name))
        self.opened = opened
        try:
            opened.get(id(self), self.path, os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            folder = os.path.dirname(self.target) or os.curdir
            raise MissingFileError(f"there is no folder {folder} to write to", path=folder) from None
        except OSError as error:
            raise self._named(error) from None
        self._is_staged = True
        self._buffer = bytearray()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. An ``OSError`` names the file that it was to become."""
        self.size += len(data)
        if len(data) < self.opened.buffer:
            self._buffer += data
            if len(self._buffer) < self.opened.buffer:
                return
            data = b""
        self._flush()
        if data:
            self._write(data)

    def copy_range(self, source: Source, offset: int, buffer: memoryview) -> bool:
        """Append a part of an open file by the system; see ``copying.Sink``."""
        self._flush()
        try:
            number = self.opened.get(id(self), self.path)
            if not copy_range(source, offset, len(buffer), number):
                return False
            read_back(number, self.size, buffer)
        except OSError as error:
            raise self._named(error) from None
        self.size += len(buffer)
        if self.opened.early is not None:
            self.opened.early.written(number, len(buffer))
        return True

    def _flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            self._write(buffer)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        try:
            number = self.opened.get(id(self), self.path)
            while rest:
                count = os.write(number, rest[:_BUFFER])
                rest = rest[count:]
                if self.opened.early is not None:
                    self.opened.early.written(number, count)
        except OSError as error:
            raise self._named(error) from None

    def close(self) -> None:
        """Write the remaining bytes, and close the file until more is written."""
        self._flush()
        try:
            self.opened.close(id(self))
        except OSError as error:
            raise self._named(error) from None

    def finish(self) -> None:
        """Write the remaining bytes and close the file."""
        self._flush()
        if self.opened.early is not None:
            try:
                self.opened.early.finish(self.target)
                os.fsync(self.opened.get(id(self), self.path))
            except OSError as error:
                raise self._named(error) from None
        self.close()

    def retarget(self, target: Location) -> None:
        """Change the name that it is to take in the same folder; raises as the constructor does."""
        if target.path != self.target:
            check_replaceable(target)
            self.target = target.path
            self.remote = target if isinstance(target, RemoteLocation) else None

    def rename(self) -> None:
        """Take the final name."""
        if self.remote is not None:
            send(self.path, self.remote)
            return
        try:
            os.replace(self.path, self.target)
        except OSError as error:
            raise self._named(error) from None
        self._is_staged = False

    def discard(self) -> None:
        """Remove the file, if it has not taken its final name."""
        if self._is_staged:
            with suppress(OSError):
                self.opened.close(id(self))
            remove(self.path)

    def _named(self, error: OSError) -> OSError:
        """Return an error with the final name of the file instead of the temporary one."""
        return type(error)(error.errno, error.strerror, self.target)


def check_replaceable(target: Location) -> None:
    """Raise ``ValueError`` if something other than a file is there, and ``OSError`` for a name that is too long."""
    if isinstance(target, RemoteLocation):
        check_writable(target)
        return
    path = local_path(target)
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        return
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise ValueError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a file'}; choose another name")


def remove(path: str) -> None:
    """Remove a file, if the system allows it."""
    with suppress(OSError):
        os.unlink(path)
