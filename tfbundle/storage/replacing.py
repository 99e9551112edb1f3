"""A file that takes the place of another only once it is complete.

::

    a file, or nothing       .NAME.RANDOM.tmp in the same folder, brought to disk, then renamed to NAME in one step
    a pipe, a device         a temporary file elsewhere, whose bytes follow once all are there
    an object of a store     a temporary file elsewhere, which is sent once it is complete
    /dev/stdout, /dev/fd/3   the same, into what is open already

If anything goes wrong before, Ctrl-C included, the temporary file is removed, and what was there is as it was. A pipe
gets all bytes of a complete output, or none.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from tfbundle.errors import MissingFileError
from tfbundle.storage.locations import StrPath, locate
from tfbundle.storage.remote_folders import RemoteLocation
from tfbundle.storage.uploads import object_replacement

# Characters of its name, each of up to four bytes of the 255 that a name may have, beside the rest.
_LONGEST_BASE = 50
# What is open already under a number; opened by its name, it would lose its position.
_DESCRIPTOR = re.compile(r"/dev/(?:fd/(\d{1,6})|(stdin|stdout|stderr))|/proc/self/fd/(\d{1,6})")
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}


class _NamedFile(io.FileIO):
    """A file whose errors name the final file; the system only reports that a disk is full."""

    def __init__(self, number: int, path: str, *, mode: str = "w") -> None:
        super().__init__(number, mode)
        self._path = path

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self._path
            raise


@contextmanager
def replacement(path: StrPath) -> Iterator[BinaryIO]:
    """Yield a new file to write to, which becomes ``path`` when the block ends without an exception.

    It can be written and read at any offset. A link is followed, and a file that is replaced hands its permissions on.
    Raises ``ValueError`` where ``path`` is a folder, and ``MissingFileError`` where its folder does not exist.
    """
    location = locate(path)
    if isinstance(location, RemoteLocation):
        with object_replacement(location) as file:
            yield file
        return
    path = location.path
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        mode = stat.S_IFREG  # Nothing exists there, or the path is invalid: creating the file will fail.
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path} is a folder; name a file to write to")
    number = _descriptor(path)
    if number is None and stat.S_ISREG(mode):
        with _renamed(path) as file:
            yield file
        return
    # Opening it first fails early if it cannot be opened; a pipe waits here for its reader.
    with _open_device(path, number, mode) as device, tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        while data := memoryview(file.read(1 << 20)):
            while data:  # What a pipe takes at once may be less.
                data = data[device.write(data) :]


def is_stdout(path: StrPath) -> bool:
    """Return whether what is written to ``path`` goes where stdout goes, so that nothing else should."""
    with suppress(OSError, ValueError):
        return os.path.samestat(os.fstat(1), os.stat(locate(path).path))
    return False


def is_terminal(path: StrPath) -> bool:
    """Return whether what is written to ``path`` is shown on a terminal."""
    path = locate(path).path
    number = _descriptor(path)
    try:
        if number is not None:
            return os.isatty(number)
        if not stat.S_ISCHR(os.stat(path).st_mode):
            return False
        opened = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
    except (OSError, ValueError):
        return False
    try:
        return os.isatty(opened)
    finally:
        os.close(opened)


def _descriptor(path: str) -> int | None:
    match = _DESCRIPTOR.fullmatch(path)
    if match is None or os.name != "posix":
        return None
    return _STANDARD[match[2]] if match[2] else int(match[1] or match[3])


def _open_device(path: str, number: int | None, mode: int) -> io.FileIO:
    if number is None and stat.S_ISSOCK(mode):
        raise ValueError(f"{path} is a socket; name a file to write to")
    try:
        opened = os.dup(number) if number is not None else os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        error.filename = path
        raise
    return _NamedFile(opened, path)


@contextmanager
def _renamed(path: str) -> Iterator[BinaryIO]:
    target = os.path.realpath(path)
    folder, base = os.path.split(target)
    if not os.path.isdir(folder):
        raise MissingFileError(f"there is no folder {folder} to write {base} to", path=folder)
    temporary = os.path.join(folder, f".{base[:_LONGEST_BASE]}.{secrets.token_hex(4)}.tmp")
    # 0o666 less the umask is what any new file has.
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(temporary, flags, 0o666)
    except OSError as error:
        error.filename = path  # The temporary one means nothing to the caller.
        raise
    try:
        with io.BufferedRandom(_NamedFile(number, path, mode="r+")) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        try:
            os.replace(temporary, target)
        except OSError as error:  # On Windows, that of a file that is open or may not be written.
            error.filename, error.filename2 = path, None
            raise
    except BaseException:
        with suppress(OSError):
            os.chmod(temporary, stat.S_IRUSR | stat.S_IWUSR)  # Windows removes no file that may not be written.
            os.unlink(temporary)
        raise
