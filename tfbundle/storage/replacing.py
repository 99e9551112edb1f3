"""A file that takes the place of another only once it is complete.

What is written goes to a new file in the same folder, ``.NAME.RANDOM.tmp``. At the end it is brought to disk and takes
the name in one step; if anything goes wrong before, Ctrl-C included, it is removed, and the old file is as it was.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from tfbundle.errors import MissingFileError

# Characters of its name, each of up to four bytes of the 255 that a name may have, beside the rest.
_LONGEST_BASE = 50


class _NamedFile(io.FileIO):
    """A file whose errors say which one it is to become; the system tells only that a disk is full."""

    def __init__(self, number: int, path: str) -> None:
        super().__init__(number, "w")
        self._path = path

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self._path
            raise


@contextmanager
def replacement(path: str) -> Iterator[BinaryIO]:
    """A new file to write to, which becomes ``path`` when the block ends without an exception.

    ``ValueError`` where ``path`` is a folder, a device or the like, and ``MissingFileError`` where its folder is not
    there. A link is followed, and a file that is replaced hands its permissions on.
    """
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise ValueError(f"{path} is {'a folder' if os.path.isdir(target) else 'not a file'}; name a file to write to")
    folder, base = os.path.split(target)
    if not os.path.isdir(folder):
        raise MissingFileError(f"there is no folder {folder} to write {base} to", path=folder)
    temporary = os.path.join(folder, f".{base[:_LONGEST_BASE]}.{secrets.token_hex(4)}.tmp")
    # 0o666 less the umask is what any new file has.
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        error.filename = path  # Nobody knows the temporary one.
        raise
    try:
        with io.BufferedWriter(_NamedFile(number, path)) as file:
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
