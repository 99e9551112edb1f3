"""Paths that files state: of checkpoints in state files, of the assets of a model, of the members of archives.

They may have been written on any system, so both slashes and backslashes separate their parts. They are text until
they are joined to a location, and one that leads out of its folder is not joined to it.
"""

from __future__ import annotations

import re

from tfbundle.storage.locations import locate
from tfbundle.storage.object_stores import SCHEMES, scheme_of

# On Windows, a path joined to a drive letter is searched for on that drive and not in the folder.
_DRIVE = re.compile(r"[A-Za-z]:")


def split_path(text: str, most: int = -1) -> list[str]:
    """Return the parts of a path; with ``most``, it is divided at no more separators than that, from its end."""
    return text.replace("\\", "/").rsplit("/", most)


def last_part(text: str) -> str:
    """Return what follows the last separator."""
    return split_path(text, 1)[-1]


def has_drive(text: str) -> bool:
    """Return whether a path, or a part of one, begins with a drive letter."""
    return _DRIVE.match(text) is not None


def leads_outside(text: str) -> bool:
    """Return whether a path leads out of the folder to which it is relative, or cannot be a path."""
    return (
        text[:1] in ("/", "\\")
        or has_drive(text)
        or ".." in split_path(text)
        or "\0" in text
        or scheme_of(text) in SCHEMES
        or locate(text).is_absolute
    )
