"""``tf.io.gfile``: files and folders by the functions that programs for TensorFlow use.

It differs from TensorFlow's in this:

* Lists are sorted. A missing file raises ``MissingFileError``, which is a ``FileNotFoundError``; an existing file
  that must not be replaced raises ``FileExistsError``; other errors are those of the operating system.
* ``readline`` keeps carriage returns, which TensorFlow leaves out, and writing with mode ``"r+"`` keeps the rest of
  the file, while TensorFlow empties it.
* ``copy`` replaces a file only once the copy is complete. ``walk`` does not follow a link to a folder above it.
* ``stat`` is for files.
"""

from __future__ import annotations

import fnmatch
import io
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, cast

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import Location
from tfbundle.storage.changing import (
    Mode,
    copy_file,
    make_folder,
    make_folders,
    move,
    open_in_place,
    remove_file,
    remove_tree,
)
from tfbundle.storage.locations import StrPath, locate
from tfbundle.storage.streams import SourceStream

__all__ = [
    "FileStatistics",
    "GFile",
    "copy",
    "exists",
    "glob",
    "isdir",
    "join",
    "listdir",
    "makedirs",
    "mkdir",
    "remove",
    "rename",
    "rmtree",
    "stat",
    "walk",
]

_MAGIC = re.compile(r"[*?\[\\]")
_MODES = ("r", "w", "a", "r+", "w+", "a+")


class FileStatistics(NamedTuple):
    """The result of ``stat``: the size in bytes, and the time of the last change in nanoseconds since 1970."""

    length: int
    mtime_nsec: int
    is_directory: bool = False


def exists(path: StrPath) -> bool:
    """Return whether there is a file or folder; not for a dangling link."""
    try:
        locate(path).place()
    except OSError:
        return False
    return True


def isdir(path: StrPath) -> bool:
    """Return whether there is a folder (links are followed)."""
    return locate(path).is_folder()


def listdir(path: StrPath) -> list[str]:
    """Return the names in a folder, sorted; raise ``MissingFileError`` if it does not exist."""
    return locate(path).list().names


def glob(pattern: StrPath | list[StrPath] | tuple[StrPath, ...]) -> list[str]:
    r"""Return the paths that match a pattern, or each of several, sorted by pattern and name.

    ``*``, ``?`` and ``[...]`` match characters other than separators, including leading dots, and ``\`` escapes the
    next character. A path without a wildcard matches itself, if it exists.
    """
    patterns = pattern if isinstance(pattern, list | tuple) else [pattern]
    return [found.path for one in patterns for found in _glob(locate(one))]


def _glob(pattern: Location) -> list[Location]:
    parts = []
    while _MAGIC.search(pattern.path):
        parts.append(pattern.name)
        pattern = pattern.parent
    if not parts:
        return [pattern] if exists(pattern) else []
    found = [pattern]
    for part in reversed(parts):
        found = [entry for folder in found for entry in _matching(folder, part)]
    return found


def _matching(folder: Location, part: str) -> list[Location]:
    if not part:  # A separator at the end.
        return [folder]
    if not _MAGIC.search(part):
        entry = folder.join(part)
        return [entry] if exists(entry) else []
    try:
        names = folder.list().names
    except MissingFileError:  # A file has nothing below it.
        return []
    matches = _matcher(part)
    return [folder.join(name) for name in names if matches(name)]


@lru_cache
def _matcher(part: str) -> Callable[[str], object]:
    unescaped = re.sub(r"\\(.)", lambda match: f"[{match[1]}]" if match[1] in "*?[" else match[1], part)
    return re.compile(fnmatch.translate(unescaped)).match


def join(path: StrPath, *paths: str | bytes) -> str:
    """Return a folder joined with ``paths``; an absolute path replaces everything before it."""
    return locate(path).join(*map(os.fsdecode, paths)).path


def stat(path: StrPath) -> FileStatistics:
    """Return size and time of a file; raise ``MissingFileError`` or, for a folder, ``IsADirectoryError``."""
    location = locate(path)
    found = location.stat()
    if found is not None:
        return FileStatistics(found.size, int(found.mtime * 1e9))
    if location.is_folder():
        raise IsADirectoryError(21, "Is a directory", location.path)
    raise MissingFileError(f"there is no file {location}", path=location.path)


def walk(
    top: StrPath, topdown: bool = True, onerror: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder below ``top``, itself included, with the names of the folders and of the files in it.

    With ``topdown``, parent folders come first, and folders whose names are removed from the list are not entered. The
    error of a folder that cannot be listed is passed to ``onerror``, and the folder is left out.
    """
    if not topdown:
        yield from reversed(list(walk(top, onerror=onerror)))
        return
    waiting: list[tuple[Location, frozenset[Any]]] = [(locate(top), frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            place = folder.place()
            if place in above:
                continue
            listing = folder.list()
        except OSError as error:
            if onerror is not None:
                onerror(error)
            continue
        folders = [name for name in listing.names if listing.is_folder(name)]
        yield folder.path, folders, [name for name in listing.names if not listing.is_folder(name)]
        below = above | {place}
        waiting.extend((folder.join(name), below) for name in reversed(folders))


def mkdir(path: StrPath) -> None:
    """Make a folder in an existing one, unless it exists already."""
    make_folder(locate(path))


def makedirs(path: StrPath) -> None:
    """Make a folder and its missing parents."""
    make_folders(locate(path))


def remove(path: StrPath) -> None:
    """Remove a file."""
    remove_file(locate(path))


def rmtree(path: StrPath) -> None:
    """Remove a folder with its contents, or a file."""
    remove_tree(locate(path))


def rename(src: StrPath, dst: StrPath, overwrite: bool = False) -> None:
    """Rename a file or folder; raise ``FileExistsError`` if the new name exists, unless ``overwrite``."""
    move(locate(src), _target(dst, overwrite))


def copy(src: StrPath, dst: StrPath, overwrite: bool = False) -> None:
    """Copy a file; raise ``FileExistsError`` if the copy exists, unless ``overwrite``."""
    copy_file(locate(src), _target(dst, overwrite))


def _target(path: StrPath, overwrite: bool) -> Location:
    target = locate(path)
    if not overwrite and exists(target):
        raise FileExistsError(17, "File exists; pass overwrite=True to replace it", target.path)
    return target


class GFile:
    """A file for reading or writing, opened when it is first used.

    ``mode`` is ``"r"``, ``"w"``, ``"a"``, ``"r+"``, ``"w+"`` or ``"a+"``, with a ``"b"`` for bytes; otherwise text is
    UTF-8, with unchanged line ends. Positions and lengths count bytes. The content read is that of the file when it was
    opened; written data is in the file after ``flush`` or ``close``.
    """

    def __init__(self, name: StrPath, mode: str = "r") -> None:
        """Store the path and mode; raises ``ValueError`` for another mode."""
        kind = mode.replace("b", "")
        if kind not in _MODES:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(_MODES)}, with or without a b")
        self._location = locate(name)
        self._kind = kind
        self._is_binary = "b" in mode
        self._file: BinaryIO | None = None
        self.mode = mode

    @property
    def name(self) -> str:
        """The path."""
        return self._location.path

    def size(self) -> int:
        """Return the length of the file in bytes."""
        return stat(self._location).length

    def read(self, n: int = -1) -> Any:
        """Return the next ``n`` bytes, or all remaining ones, as ``bytes`` or decoded."""
        return self._decoded(self._open(to_read=True).read(n))

    def readline(self) -> Any:
        """Return the next line with its end; empty after the last."""
        return self._decoded(self._open(to_read=True).readline())

    def readlines(self) -> list[Any]:
        """Return all remaining lines, with their ends."""
        return list(self)

    def write(self, file_content: Any) -> int:
        """Write ``bytes`` or text, and return the number of bytes."""
        data = file_content.encode() if isinstance(file_content, str) else file_content
        return self._open(to_write=True).write(data)

    def seek(self, offset: int | None = None, whence: int = 0, position: int | None = None) -> int:
        """Move to a position relative to the start of the file (0), the current position (1) or the end (2), and return
        it.

        ``position`` is an older name of ``offset``.
        """
        place = position if offset is None else offset
        if place is None:
            raise TypeError("seek expects an offset")
        return self._open().seek(place, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._open().tell()

    def seekable(self) -> bool:
        """Return ``True``."""
        return True

    def readable(self) -> bool:
        """Return whether the mode allows reading."""
        return self._kind != "w" and self._kind != "a"

    def writable(self) -> bool:
        """Return whether the mode allows writing."""
        return self._kind != "r"

    def flush(self) -> None:
        """Write buffered data to the file."""
        if self._file is not None and self.writable():
            self._file.flush()

    def close(self) -> None:
        """Close the file; it is opened again if it is used again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Any]:
        while line := self.readline():
            yield line

    def __enter__(self) -> GFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<GFile {self.name!r}, mode {self.mode!r}>"

    def _decoded(self, data: bytes) -> Any:
        return data if self._is_binary else data.decode()

    def _open(self, *, to_read: bool = False, to_write: bool = False) -> BinaryIO:
        if (to_read and not self.readable()) or (to_write and not self.writable()):
            raise io.UnsupportedOperation(f"{self.name} is opened with mode {self.mode!r}")
        if self._file is None:
            if self._kind == "r":
                self._file = cast(BinaryIO, io.BufferedReader(_Reading(self._location.open())))
            else:
                mode: dict[str, Mode] = {"w": "wb", "a": "ab", "r+": "r+b", "w+": "w+b", "a+": "a+b"}
                self._file = open_in_place(self._location, mode[self._kind])
        return self._file


class _Reading(SourceStream):
    """A source with a position; closing it closes the source."""

    def close(self) -> None:
        if not self.closed:
            self.source.close()
        super().close()


def __dir__() -> list[str]:
    """Return the public names and those of every module, without the names that this file imports."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
