"""The location that a path argument means.

A path is a ``str``, ``bytes``, an ``os.PathLike``, or a location already. ``file:`` URLs are paths of the file system;
those of object stores need the extra ``remote``. A store that the caller made is taken as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, cast
from urllib.parse import unquote, urlsplit

from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.object_stores import SCHEMES, scheme_of

StrPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes] | Location"


StorageOptions: TypeAlias = Mapping[str, Any]

T = TypeVar("T")


def locate(path: StrPath, storage_options: StorageOptions | None = None, *, store: Any = None) -> Location:
    """Return the location of ``path``, which every function accepts in place of a path.

    ``storage_options`` are for the URL of an object store: the options of obstore's stores, such as ``endpoint``,
    ``region``, ``access_key_id``, ``secret_access_key`` and ``token``, ``skip_signature=True`` for public buckets, and
    ``client_options``; for an HTTP server they are its ``headers``. Without them, credentials and endpoints come from
    the environment.

    ``store`` is a store of obstore or a file system of fsspec that the caller made, in which ``path`` is a name. An
    object with a file system, such as one that ``fsspec.open`` or ``fs.get_mapper`` returned or a ``UPath``, is a path
    by itself.

    Raises ``UnsupportedError`` for a URL of another scheme, or if the library that it needs is not installed,
    ``ValueError`` for options that the store does not have, and ``TypeError`` for other objects.
    """
    given: Any = path
    if store is None and not isinstance(path, str | bytes | Location) and hasattr(given, "fs"):
        path, store = given.path if hasattr(given, "path") else given.root, given.fs
    if isinstance(path, Location):
        if storage_options is not None or store is not None:
            raise ValueError(f"{path} is a location, which has a store already; pass a path")
        return path.recent()
    text = os.fsdecode(path)
    if store is not None:
        if storage_options is not None:
            raise ValueError("pass a store, or options to make one")
        from tfbundle.storage.remote_folders import locate_in

        return locate_in(store, text)
    scheme = scheme_of(text)
    if scheme in SCHEMES:
        from tfbundle.storage.remote_folders import RemoteLocation, RemotePath

        if isinstance(path, RemotePath) and storage_options is None:
            return path.location
        return RemoteLocation.at(text, storage_options)
    if storage_options is None and hasattr(given, "location"):
        found: Location = given.location  # A path in a store that the caller made.
        return found
    if storage_options is not None:
        raise ValueError(f"storage options are for the URLs of object stores, and {text} is not one")
    if scheme is None and text[:6].lower() == "file:/":  # As Java and Spark write them.
        scheme, text = "file", f"file://{text[5:]}"
    if scheme is None:
        return LocalLocation(text)
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
    if os.name != "nt":
        return LocalLocation(unquote(rest, errors="surrogateescape"))
    from urllib.request import url2pathname  # It loads what HTTP needs.

    return LocalLocation(url2pathname(rest))


def with_options(source: T, storage_options: StorageOptions | None) -> T | Location:
    """Return the location of a URL with options, also of those in a list; anything else is returned as it is."""
    if storage_options is None:
        return source
    if isinstance(source, list | tuple):
        return cast("T", [with_options(item, storage_options) for item in source])
    if isinstance(source, str | bytes | os.PathLike) and scheme_of(os.fsdecode(source)) in SCHEMES:
        return locate(source, storage_options)
    return source


def within(path: str, folder: Location) -> str:
    """Return how ``path`` continues after ``folder``: ``"."`` for the folder, and ``path`` if it is elsewhere."""
    root = folder.join("").path if isinstance(folder, LocalLocation) else f"{folder.path.rstrip('/')}/"
    return "." if path in (folder.path, root, root[:-1]) else path.removeprefix(root)
