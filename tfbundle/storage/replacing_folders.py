"""A folder that takes the place of another only once it is complete.

It is written as ``.NAME.RANDOM.tmp`` beside its place, brought to disk file by file, and then renamed. Linux and macOS
exchange two folders in one step, on the file systems that can. Elsewhere a folder that is replaced is first renamed,
and gets its name back if the new one cannot take it::

    NAME -> .NAME.RANDOM.old     .NAME.RANDOM.tmp -> NAME     .NAME.RANDOM.old is removed
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate
from tfbundle.storage.remote_folders import RemoteLocation
from tfbundle.storage.uploads import prefix_replacement

# Characters of its name, each of up to four bytes of the 255 that a name may have, beside the rest.
_LONGEST_BASE = 50
_THREADS = 8
# The system's flags for an exchange, and the folder from which relative paths start.
_RENAME_EXCHANGE, _RENAME_SWAP, _AT_FDCWD = 2, 2, -100


@contextmanager
def folder_replacement(location: Location) -> Iterator[Location]:
    """Yield a new folder to write files into, which becomes ``location`` when the block ends without an exception.

    What is at ``location`` must be a folder, a link to one, or nothing. Raises ``MissingFileError`` where the folder
    above it does not exist.
    """
    if isinstance(location, RemoteLocation):
        with prefix_replacement(location) as folder:
            yield folder
        return
    target = os.path.realpath(location.bare().absolute().path)
    parent, base = os.path.split(target)
    if not os.path.isdir(parent):
        raise MissingFileError(f"there is no folder {parent} to write {base} to", path=parent)
    hidden = os.path.join(parent, f".{base[:_LONGEST_BASE]}.{secrets.token_hex(4)}")
    new, old = f"{hidden}.tmp", f"{hidden}.old"
    try:
        os.mkdir(new)
    except OSError as error:
        error.filename = location.path  # The temporary one means nothing to the caller.
        raise
    try:
        yield locate(new)
        _bring_to_disk(new)
        _put_in_place(new, target, old)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _put_in_place(new: str, target: str, old: str) -> None:
    is_replaced = os.path.isdir(target)
    if is_replaced:
        shutil.copymode(target, new)
        if _exchange(new, target):
            shutil.rmtree(new, ignore_errors=True)
            return
        os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        if is_replaced:
            with suppress(OSError):
                os.rename(old, target)
        raise
    if is_replaced:
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: str, other: str) -> bool:
    """Exchange the names of two folders in one step; return ``False`` if that is not possible, with nothing changed."""
    try:
        system = ctypes.CDLL(None, use_errno=True)
        first, second = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            return bool(system.renamex_np(first, second, _RENAME_SWAP) == 0)
        return bool(system.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE) == 0)
    except (OSError, TypeError, AttributeError):  # The system, or its library, has no such function.
        return False


def link_tree(source: Location, target: Location, without: Collection[Location] = ()) -> None:
    """Give the files of one folder, and of its subfolders, second names in another; links are made again.

    The files ``without``, of ``source``, are left out. Where the file system has no links, files are copied.
    """
    top = source.absolute().path
    left_out = {location.absolute().path for location in without}
    for place, folders, names in os.walk(top):
        new = os.path.join(target.absolute().path, os.path.relpath(place, top))
        os.makedirs(new, exist_ok=True)
        # A link to a folder is listed with the folders, and not followed.
        linked = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in (*names, *linked):
            path = os.path.join(place, name)
            if path in left_out:
                continue
            try:
                os.link(path, os.path.join(new, name), follow_symlinks=False)
            except (OSError, NotImplementedError):
                shutil.copy2(path, os.path.join(new, name), follow_symlinks=False)


def _bring_to_disk(folder: str) -> None:
    """Bring the files that were written to disk; linked ones are there already."""
    new = []
    for place, _, names in os.walk(folder):
        for path in (os.path.join(place, name) for name in names):
            facts = os.lstat(path)
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1:
                new.append(path)
    # The disk writes several at a time.
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(_sync, new))


def _sync(path: str) -> None:
    # Only Windows requires the right to write for this.
    number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
