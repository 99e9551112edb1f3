"""Changes in folders: files removed, moved, copied and written in place, folders made.

What is written whole goes through ``replacing``. These are for the rotation of checkpoints, and for programs that use a
storage by TensorFlow's ``tf.io.gfile``. Errors are those of the operating system, with the path as it was given;
``MissingFileError`` if nothing exists there.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal

from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.storage.base import FileStat, Location
from tfbundle.storage.remote_folders import RemoteLocation
from tfbundle.storage.replacing import replacement
from tfbundle.storage.streams import SourceStream
from tfbundle.storage.uploads import objects_below

Mode = Literal["wb", "ab", "r+b", "w+b", "a+b"]


def change_time(location: Location) -> float:
    """Return when a file, or the entries of a folder, last changed, in seconds since 1970."""
    if isinstance(location, RemoteLocation):
        stat = location.stat()
        if stat is None and location.is_folder():
            listing = location.list()
            stats = [listing.stat(name) for name in listing.names]
            return max((one.mtime for one in stats if one is not None), default=0.0)
        return _there(location, stat).mtime
    with _as_given(location):
        return os.stat(location.absolute().path).st_mtime


def remove_file(location: Location) -> None:
    """Remove a file, or a link and not what it leads to."""
    if isinstance(location, RemoteLocation):
        _there(location, location.current().stat())
        location.objects.delete(location.key)
        return
    with _as_given(location):
        os.unlink(location.absolute().path)


def remove_tree(location: Location) -> None:
    """Remove a folder and all that is in it, or a file; links in it are removed and not followed."""
    if isinstance(location, RemoteLocation):
        if not location.is_folder():
            remove_file(location)
        for _, place in list(objects_below(location)):
            place.objects.delete(place.key)
        return
    with _as_given(location):
        path = location.absolute().path
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def remove_empty_folder(location: Location) -> None:
    """Remove a folder in which nothing is; one that holds something, or cannot be removed, stays."""
    if isinstance(location, RemoteLocation):
        return  # A store has no folders.
    with suppress(OSError):
        os.rmdir(location.absolute().path)


def make_folder(location: Location) -> None:
    """Make a folder in one that is there, if it does not exist yet; raises ``FileExistsError`` where a file is."""
    if isinstance(location, RemoteLocation):
        make_folders(location)
        return
    with _as_given(location):
        try:
            os.mkdir(location.absolute().path)
        except FileExistsError:
            if not location.is_folder():
                raise


def make_folders(location: Location) -> None:
    """Make a folder and those above it, as far as they do not exist; raises as ``make_folder`` does."""
    if isinstance(location, RemoteLocation):
        # A store has no folders: they begin to exist with what is written into them.
        location.objects.check_writable(location.path)
        stat = location.stat()
        if stat is not None and stat.size:  # An empty object may be the marker of a folder.
            raise FileExistsError(errno.EEXIST, "it is a file", location.path)
        return
    with _as_given(location):
        os.makedirs(location.absolute().path, exist_ok=True)


def move(source: Location, target: Location) -> None:
    """Give a file or folder another name in the same file system, in one step; a file there is replaced."""
    if isinstance(source, RemoteLocation) or isinstance(target, RemoteLocation):
        copy_file(source, target)
        remove_file(source)
        return
    with _as_given(source):
        os.replace(source.absolute().path, target.absolute().path)


def copy_file(source: Location, target: Location) -> None:
    """Copy a file; ``target`` is replaced only once the copy is complete. Raises ``ValueError`` for a folder there."""
    if isinstance(source, RemoteLocation):
        opened = source.open()
        try:
            with replacement(target) as copy:
                shutil.copyfileobj(SourceStream(opened), copy, 1 << 20)
        finally:
            opened.close()
        return
    with _as_given(source), open(source.absolute().path, "rb") as file, replacement(target) as copy:
        shutil.copyfileobj(file, copy, 1 << 20)


def open_in_place(location: Location, mode: Mode) -> BinaryIO:
    """Open a file to change it in place; written bytes are visible immediately, complete or not."""
    if isinstance(location, RemoteLocation):
        raise UnsupportedError(f"{location} cannot be written in place; objects appear whole", path=location.path)
    with _as_given(location):
        return open(location.absolute().path, mode)


def _there(location: Location, stat: FileStat | None) -> FileStat:
    if stat is None:
        raise MissingFileError(f"there is no file or folder {location}", path=location.path)
    return stat


@contextmanager
def _as_given(location: Location) -> Iterator[None]:
    """Make system errors name ``location`` as the caller passed it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error, MissingFileError):
            raise
        raise MissingFileError(f"there is no file or folder {location}", path=location.path) from None
    except OSError as error:
        error.filename = location.path
        raise


def make_folders_below(top: Location, names: Sequence[str]) -> Location:
    """Make the folder that ``names`` lead to from ``top``, and return it.

    Raises ``FileExistsError`` where one of them is a link, which may lead elsewhere.
    """
    if isinstance(top, RemoteLocation):
        return top.join(*names)
    place = top
    for name in names:
        place = place.join(name)
        if os.path.islink(place.absolute().path):
            raise FileExistsError(errno.EEXIST, "it is a link, which may lead elsewhere", place.path)
    make_folders(place)
    return place


def write_in_place_of(location: Location, data: bytes) -> None:
    """Write a file in place of whatever has its name: a link or a pipe is replaced and not followed."""
    if isinstance(location, RemoteLocation):
        location.objects.upload(location.key, io.BytesIO(data))
        return
    path = location.absolute().path
    with _as_given(location):
        with suppress(FileNotFoundError):
            os.unlink(path)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
        except OSError as error:
            error.filename = path  # The system does not name the file that does not fit on a full disk.
            raise
