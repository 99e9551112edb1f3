"""Files that belong together, written under temporary names and renamed once all of them are complete.

A temporary name is ``NAME.tempstate`` and a random number, as TensorFlow's. Whatever fails before the first file is
renamed, everything is removed, and what was there before is untouched. Between the first and the last renaming over
existing files, which is as short as it can be, a process that is killed leaves some old and some new ones: as with
TensorFlow, checksums then tell, and the new last file is whole under its temporary name.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress

from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation

# So many bytes are collected before the system is called.
_BUFFER = 1 << 20


class StagedFile:
    """A new file under a temporary name, which is written from its start to its end."""

    def __init__(self, target: Location) -> None:
        """Create the file beside ``target``; raises ``ValueError`` where a folder or a device is in its place."""
        if not isinstance(target, LocalLocation):
            raise UnsupportedError(f"{target} is not on this machine, and only local files are written")
        self.target = target.path
        check_replaceable(self.target)
        self.path = f"{self.target}.tempstate{secrets.randbits(64)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            self._number: int | None = os.open(self.path, flags, 0o666)
        except FileNotFoundError:
            folder = os.path.dirname(self.target) or os.curdir
            raise MissingFileError(f"there is no folder {folder} to write to", path=folder) from None
        except OSError as error:
            error.filename = self.target  # Nobody knows the temporary name.
            raise
        self._buffer = bytearray()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes. An ``OSError`` names the file that it was to become."""
        self.size += len(data)
        if len(data) < _BUFFER:
            self._buffer += data
            if len(self._buffer) < _BUFFER:
                return
            data = b""
        self._flush()
        if data:
            self._write(data)

    def _flush(self) -> None:
        if self._buffer:
            self._write(self._buffer)
            self._buffer = bytearray()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        assert self._number is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._number, rest[: 1 << 30]) :]
        except OSError as error:
            error.filename = self.target
            raise

    def finish(self, *, sync: bool) -> None:
        """Write what is left and close the file; with ``sync`` its bytes are on disk then."""
        self._flush()
        assert self._number is not None
        if sync:
            os.fsync(self._number)
        number, self._number = self._number, None
        os.close(number)

    def rename(self) -> None:
        """Take the final name."""
        try:
            os.replace(self.path, self.target)
        except OSError as error:
            error.filename, error.filename2 = self.target, None
            raise

    def discard(self) -> None:
        """Remove the file, if it has not taken its final name."""
        if self._number is not None:
            os.close(self._number)
            self._number = None
        with suppress(OSError):
            os.unlink(self.path)


def check_replaceable(path: str) -> None:
    """Raise ``ValueError`` if something other than a file lies at ``path``."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise ValueError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a file'}; choose another name")


def rename_together(files: list[StagedFile], *, sync: bool) -> None:
    """Rename finished files in the order given; the last one is what makes the others count."""
    for file in files:
        check_replaceable(file.target)
    folder = os.path.dirname(files[-1].target) or os.curdir
    for file in files[:-1]:
        file.rename()
    if sync:
        _sync_folder(folder)
    files[-1].rename()
    if sync:
        _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Bring the names in a folder to disk, where the system can."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
