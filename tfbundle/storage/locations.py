"""The location that a path argument means.

A path is a ``str``, ``bytes``, an ``os.PathLike``, or a location already. ``file:`` URLs are paths of the file system;
those of object stores and HTTP servers need the extra ``remote``.
"""

from __future__ import annotations

import os
from typing import TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.object_stores import SCHEMES, scheme_of

StrPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes] | Location"


def locate(path: StrPath) -> Location:
    """Return the location that ``path`` means.

    Raises ``UnsupportedError`` for a URL that is not a ``file:`` URL, and ``TypeError`` for other objects.
    """
    if isinstance(path, Location):
        return path
    text = os.fsdecode(path)
    scheme = scheme_of(text)
    if scheme is None:
        return LocalLocation(text)
    if scheme in SCHEMES:
        from tfbundle.storage.remote_folders import RemoteLocation, RemotePath

        return path.location if isinstance(path, RemotePath) else RemoteLocation.at(text)
    if scheme != "file":
        raise UnsupportedError(
            f"{text} is a {scheme}: URL, which is not supported; copy the files to a local folder", path=text
        )
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise UnsupportedError(
            f"{text} names a file of the host {parts.netloc}; pass file:///PATH for one of this machine", path=text
        )
    # A "?" or "#" has no meaning in the URL of a file, and such characters do occur in names.
    rest = text[len("file://") + len(parts.netloc) :]
    return LocalLocation(url2pathname(rest) if os.name == "nt" else unquote(rest, errors="surrogateescape"))
