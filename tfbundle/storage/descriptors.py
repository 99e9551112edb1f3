"""Keeping many files open when a process may have few descriptors.

Many systems allow 1024 or 256 descriptors, and a batch job perhaps 64. At most a quarter of them is used for open
files, and at most half of them for mapped ones. The calling program has other open files, so that even this may be
too many: when the system refuses, the oldest is closed.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

from tfbundle.limits import MOST_OPEN_FILES

T = TypeVar("T")

# The errors of the system when a process, or the machine, has as many descriptors as it may have.
NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def most_open_files() -> int:
    """Return how many files of one checkpoint to keep open at once."""
    if sys.platform == "win32":
        return MOST_OPEN_FILES
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_OPEN_FILES if allowed == resource.RLIM_INFINITY else max(1, min(MOST_OPEN_FILES, allowed // 4))


def most_maps() -> int:
    """Return how many files may be mapped at once; before Python 3.13 each map keeps a separate descriptor."""
    if sys.platform == "win32" or sys.version_info >= (3, 13):
        return sys.maxsize
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if allowed == resource.RLIM_INFINITY else allowed // 2


def open_making_room(open_file: Callable[[], T], opened: MutableMapping[int, Any]) -> T:
    """Return what ``open_file`` returns; while the system has no descriptor left, drop the oldest of ``opened``.

    A dropped file closes with its last user, and has to be opened again when it is needed next. Raises as
    ``open_file`` does, and the system's ``OSError`` once nothing is left to drop.
    """
    while True:
        try:
            return open_file()
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS or not opened:
                raise
            del opened[next(iter(opened))]
