"""A folder that takes the place of another only once it is complete.

It is written as ``.NAME.RANDOM.tmp`` beside its place, brought to disk file by file, and then renamed. No system can
exchange two folders in one step everywhere, so that a folder that is replaced is first renamed, and has its name back
if the new one cannot take it::

    NAME -> .NAME.RANDOM.old     .NAME.RANDOM.tmp -> NAME     .NAME.RANDOM.old is removed
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate

# Characters of its name, each of up to four bytes of the 255 that a name may have, beside the rest.
_LONGEST_BASE = 50


@contextmanager
def folder_replacement(location: Location) -> Iterator[Location]:
    """Yield a new folder to write files into, which becomes ``location`` when the block ends without an exception.

    What is at ``location`` must be a folder, a link to one, or nothing. Raises ``MissingFileError`` where the folder
    above it is not there.
    """
    target = os.path.realpath(location.bare().absolute().path)
    parent, base = os.path.split(target)
    if not os.path.isdir(parent):
        raise MissingFileError(f"there is no folder {parent} to write {base} to", path=parent)
    hidden = os.path.join(parent, f".{base[:_LONGEST_BASE]}.{secrets.token_hex(4)}")
    new, old = f"{hidden}.tmp", f"{hidden}.old"
    try:
        os.mkdir(new)
    except OSError as error:
        error.filename = location.path  # Nobody knows the temporary one.
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


def _bring_to_disk(folder: str) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            number = os.open(os.path.join(place, name), os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                os.fsync(number)
            finally:
                os.close(number)
