"""The location that a path argument means.

A path is a ``str``, ``bytes``, an ``os.PathLike``, or a location already. ``file:`` URLs are paths of the file system.
"""

from __future__ import annotations

import os
import re
from typing import TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation

StrPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes] | Location"

# The two slashes are required: "C:\runs" is a drive, and "model:0" a file.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def locate(path: StrPath) -> Location:
    """Return the location that ``path`` means.

    Raises ``UnsupportedError`` for a URL that is not a ``file:`` URL, and ``TypeError`` for other objects.
    """
    if isinstance(path, Location):
        return path
    text = os.fsdecode(path)
    scheme = _URL.match(text)
    if scheme is None:
        return LocalLocation(text)
    if scheme[1].lower() != "file":
        raise UnsupportedError(
            f"{text} is a {scheme[1]}: URL, which is not supported; copy the files to a local folder", path=text
        )
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise UnsupportedError(
            f"{text} names a file of the host {parts.netloc}; pass file:///PATH for one of this machine", path=text
        )
    # A "?" or "#" has no meaning in the URL of a file, and such characters do occur in names.
    rest = text[scheme.end() + len(parts.netloc) :]
    return LocalLocation(url2pathname(rest) if os.name == "nt" else unquote(rest, errors="surrogateescape"))
