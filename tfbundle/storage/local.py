"""Local files, read at offsets.

``read_at`` and ``read_into`` copy; ``view`` maps the file and copies nothing, for callers who accept that a mapped file
must not be truncated while they use it.

Training jobs overwrite and delete checkpoints while others read them; ``storage.base`` describes how a source detects
this.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import threading
from contextlib import suppress
from typing import NamedTuple
from weakref import WeakSet

from tfbundle.errors import FormatError, MissingFileError, TruncatedError
from tfbundle.plurals import plural
from tfbundle.storage.base import Source
from tfbundle.storage.descriptors import NO_DESCRIPTORS, most_maps

# Linux transfers at most 0x7ffff000 bytes a call and others less; asking for 1 GiB at a time suits them all.
_LARGEST_READ = 1 << 30
# Circular links, and names (perhaps from a hostile file) that no file can have.
LEADS_NOWHERE = (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)
# A map keeps its file open by itself. Before Python 3.13 each holds a descriptor nevertheless, of which systems allow
# 1024, or 256.
_MAP_SETTINGS = {"trackfd": False} if sys.version_info >= (3, 13) and sys.platform != "win32" else {}
# The maps of all files that are in use.
_maps: WeakSet[mmap.mmap] = WeakSet()


class FileIdentity(NamedTuple):
    """What distinguishes one version of a file from another: device and inode, size, modification time."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def _identity(facts: os.stat_result) -> FileIdentity:
    return FileIdentity(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


class _Descriptor:
    """A file descriptor that closes with its last user.

    Readers hold a reference while they read. Closing a source from another thread therefore never hands their
    descriptor's number to a file that is opened next.
    """

    __slots__ = ("lock", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()

    def __del__(self) -> None:
        os.close(self.number)


class LocalSource(Source):
    """A file that is open for reading at any offset, from any thread.

    ``path`` is the name it was opened by, ``size`` its length in bytes at that time.
    """

    def __init__(self, path: str | os.PathLike[str], base: str = "") -> None:
        """Open ``path``, which starts from the folder ``base`` if it is relative.

        Raises ``MissingFileError`` if nothing exists there and ``FormatError`` if it is not a regular file: a
        pipe would block forever. Other ``OSError``s pass through.
        """
        self.path = os.fspath(path)
        self._full = os.path.join(base, self.path)
        try:
            facts = os.stat(self._full)
            if not stat.S_ISREG(facts.st_mode):
                raise FormatError(f"{self.path} is {_kind(facts.st_mode)}, not a regular file", path=self.path)
            descriptor = _Descriptor(os.open(self._full, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError(_absence(self.path, self._full), path=self.path) from None
        except ValueError as error:
            if isinstance(error, FormatError):
                raise
            # The name holds a NUL or a character that the file system cannot encode; no such file can exist.
            raise MissingFileError(f"there is no file {self.path!r}", path=self.path) from None
        except OSError as error:
            if error.errno not in LEADS_NOWHERE:
                raise
            raise MissingFileError(f"{self.path} leads to no file: {error.strerror}", path=self.path) from None
        self._descriptor: _Descriptor | None = descriptor
        self._map: mmap.mmap | None = None
        self.version = _identity(os.fstat(descriptor.number))
        self.size = self.version.size

    def __repr__(self) -> str:
        closed = ", closed" if self._descriptor is None else ""
        return f"<LocalSource {self.path!r}, {plural(self.size, 'byte')}{closed}>"

    def close(self) -> None:
        """Close the file. Views that were handed out stay valid; a later read is a ``ValueError``."""
        self._descriptor = None
        self._map = None

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``, or a ``TruncatedError``."""
        descriptor = self._check(offset, size)
        parts = []
        done = 0
        while True:
            try:
                data = _read(descriptor, min(size - done, _LARGEST_READ), offset + done)
            except OSError as error:
                raise self._named(error) from None
            done += len(data)
            parts.append(data)
            if done == size:
                return b"".join(parts)
            if not data:
                raise self._shrunk(offset + done)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer``, a writable view of plain bytes, from ``offset``; a ``TruncatedError`` if the file ends."""
        descriptor = self._check(offset, len(buffer))
        done = 0
        while done < len(buffer):
            done += self._fill_start(descriptor, offset + done, buffer[done:])

    def read_some(self, offset: int, buffer: memoryview) -> int:
        """Fill the start of ``buffer`` with what one read returns, and return the number of bytes, at least one.

        A read ends before bytes that the device cannot read. Raises as ``read_into`` does.
        """
        return self._fill_start(self._check(offset, len(buffer)), offset, buffer)

    def _fill_start(self, descriptor: _Descriptor, offset: int, buffer: memoryview) -> int:
        try:
            got = _read_into(descriptor, buffer[:_LARGEST_READ], offset)
        except OSError as error:
            raise self._named(error) from None
        if not got:
            raise self._shrunk(offset)
        return got

    def view(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``offset`` as a read-only view of the mapped file, without a copy.

        Where too many files are mapped for the descriptors that the process may have, the bytes are read instead.
        A mapped file that another process cuts short ends this process with SIGBUS when the lost pages are
        touched; no library can turn that into an exception. Use it for files that stay as they are.
        """
        descriptor = self._check(offset, size)
        if size == 0:
            return memoryview(b"")  # An empty file cannot be mapped.
        mapped = self._map
        if mapped is None:
            if len(_maps) >= most_maps():
                return memoryview(self.read_at(offset, size))
            try:
                mapped = mmap.mmap(descriptor.number, self.size, access=mmap.ACCESS_READ, **_MAP_SETTINGS)
            except OSError as error:
                if error.errno in NO_DESCRIPTORS:
                    return memoryview(self.read_at(offset, size))
                raise self._named(error) from None
            except ValueError:
                raise self._shrunk(os.fstat(descriptor.number).st_size) from None
            self._map = mapped
            _maps.add(mapped)
        return memoryview(mapped)[offset : offset + size]

    def check_unchanged(self) -> None:
        """Raise ``FormatError`` if the open file was written to since it was opened."""
        # A deleted file keeps its bytes while it is open, so that its path alone would not be enough.
        if _identity(os.fstat(self.check_open().number)) != self.version:
            raise FormatError(
                f"{self.path} was overwritten while it was being read; open the checkpoint again",
                path=self.path,
            )

    def same_file(self) -> bool:
        """Return whether the path still leads to the file that was opened, as it was then."""
        try:
            return _identity(os.stat(self._full)) == self.version
        except OSError:
            return False

    def was_replaced(self) -> bool:
        """Return whether the path leads to another file, or to other content, than when it was opened."""
        try:
            return _identity(os.stat(self._full)) != self.version
        except OSError:
            return False  # Nothing exists there, and so no other file.

    def check_open(self) -> _Descriptor:
        """Return the descriptor, for as long as the caller keeps it; a ``ValueError`` after ``close()``."""
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError(f"{self.path} is closed; read before close(), or outside of the with block open it again")
        return descriptor

    def _check(self, offset: int, size: int) -> _Descriptor:
        self.require(offset, size)
        return self.check_open()

    def _named(self, error: OSError) -> OSError:
        """Return an error of the system, such as that of a failing disk, with the file's name."""
        return OSError(error.errno, error.strerror, self.path)

    def _shrunk(self, offset: int) -> TruncatedError:
        return TruncatedError(
            f"{self.path} became shorter while it was being read; open it again",
            path=self.path,
            offset=offset,
        )


# POSIX reads at an offset in one call. Elsewhere (Windows) the descriptor's own position serves, under a lock.
def _read_positioned(descriptor: _Descriptor, size: int, offset: int) -> bytes:
    return os.pread(descriptor.number, size, offset)


def _read_seeking(descriptor: _Descriptor, size: int, offset: int) -> bytes:
    with descriptor.lock:
        os.lseek(descriptor.number, offset, os.SEEK_SET)
        return os.read(descriptor.number, size)


def _read_into_positioned(descriptor: _Descriptor, buffer: memoryview, offset: int) -> int:
    return os.preadv(descriptor.number, [buffer], offset)


def _read_into_copying(descriptor: _Descriptor, buffer: memoryview, offset: int) -> int:
    # The portable way passes through a copy; a bounded one, so that a large tensor is never in memory twice.
    data = _read(descriptor, min(len(buffer), 1 << 20), offset)
    buffer[: len(data)] = data
    return len(data)


_read = _read_positioned if hasattr(os, "pread") else _read_seeking
_read_into = _read_into_positioned if hasattr(os, "preadv") else _read_into_copying


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return name
    return "something else"


def _absence(path: str, full: str) -> str:
    """Return a message that there is no file, or that it is a dangling link, which listings show as a file."""
    with suppress(OSError):  # It may be deleted in the meantime.
        if os.path.islink(full):
            target = os.readlink(full)
            advice = "; fetch it with 'git annex get'" if "annex/objects/" in target.replace("\\", "/") else ""
            return f"{path} is a link to {target}, which does not exist{advice}"
    return f"there is no file {path or repr(path)}"
