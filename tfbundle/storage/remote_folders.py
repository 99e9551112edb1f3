"""Names in an object store: how they are joined and taken apart, and what exists there.

A store has no folders, only keys with slashes in them; a folder exists while a key begins with its name. Listing one
answers all questions about the names in it, so that a location and all that are derived from it share the listings
that were made. Each ``locate`` begins without any, unless it is of a path that this library has just returned. HTTP
servers list nothing; there each name costs a request, and a folder is a name that ends in a slash or that another name
was joined to.

A name that leads out of the store, such as one in a state file from elsewhere, is a location at which nothing
exists, and no request is made for it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import FileStat, Location
from tfbundle.storage.object_stores import open_objects, scheme_of, split_url
from tfbundle.storage.objects import Objects
from tfbundle.storage.remote import RemoteSource
from tfbundle.storage.remote_store import RemoteListing, RemoteStore


class RemotePath(str):
    """A URL with the location that it is of, so that it leads to the same store, however that was opened."""

    __slots__ = ("_location",)
    _location: RemoteLocation

    @property
    def location(self) -> RemoteLocation:
        """The location. What was learned about its folder is kept if it is recent."""
        return self._location.recent()

    def __reduce__(self) -> tuple[object, ...]:
        return _path_of, (self._location,)


def _path_of(location: RemoteLocation) -> str:
    return location.path


class RemoteLocation(Location):
    """A URL in an object store or on an HTTP server."""

    __slots__ = ("_is_outside", "_key", "_said_folder", "_store", "path")
    path: RemotePath

    def __init__(self, store: RemoteStore, key: str, *, folder: bool = False, outside: str = "") -> None:
        """Make the location of a key; ``outside`` is a name that leads out of the store."""
        self._store = store
        self._key = key
        self._said_folder = folder or key.endswith("/")
        self._is_outside = bool(outside)
        self.path = RemotePath(outside or store.objects.url(key))
        self.path._location = self

    @staticmethod
    def at(url: str, options: Mapping[str, Any] | None = None) -> RemoteLocation:
        """Return the location of a URL, without anything that was learned about its store before."""
        address = split_url(url)
        objects = open_objects(address.root, options, address.query)
        objects.check_key(address.key)
        return RemoteLocation(RemoteStore(objects), address.key)

    def recent(self) -> RemoteLocation:
        """Return this location, without what was learned about its store unless that is recent."""
        store = self._store.recent()
        return self if store is self._store else self._in(store)

    def current(self) -> RemoteLocation:
        """Return the same location, without what was learned about its store before."""
        return self._in(RemoteStore(self._store.objects))

    def _in(self, store: RemoteStore) -> RemoteLocation:
        outside = str(self.path) if self._is_outside else ""
        return RemoteLocation(store, self._key, folder=self._said_folder, outside=outside)

    @property
    def objects(self) -> Objects:
        """The store that the key is of."""
        return self._store.objects

    @property
    def key(self) -> str:
        """The name in the store; raises ``ValueError`` for one that leads out of it."""
        if self._is_outside:
            raise ValueError(f"{self.path} is not in the store {self.objects.root}")
        return self._key

    def _with(self, key: str, *, folder: bool = False) -> RemoteLocation:
        return RemoteLocation(self._store, key, folder=folder)

    @property
    def name(self) -> str:
        """The last component, which is empty after a final slash."""
        return self._key.rpartition("/")[2]

    @property
    def parent(self) -> RemoteLocation:
        """The folder of this name."""
        return self._with(self._key.rpartition("/")[0], folder=True)

    @property
    def is_absolute(self) -> bool:
        """Return that a URL is independent of the working folder."""
        return True

    def absolute(self) -> RemoteLocation:
        """Return this location."""
        return self

    def anchored(self) -> RemoteLocation:
        """Return this location."""
        return self

    def real(self) -> RemoteLocation:
        """Return this location without slashes at its end; a store has no links."""
        return self.bare()

    def join(self, *names: str) -> RemoteLocation:
        """Return the location of ``names`` below this folder; one that leads out of the store is one of nothing."""
        key = self._key
        for name in names:
            if scheme_of(name) is not None:
                address = split_url(name)
                if address.root != self._store.objects.root:
                    return RemoteLocation(self._store, "", outside=name)
                key = address.key
            elif name.startswith("/"):
                return RemoteLocation(self._store, "", outside=name)
            else:
                key = posixpath.join(key, _simple(name))
        parts = posixpath.normpath(f"/{key}").split("/") if ".." in key.split("/") else None
        if parts is not None:
            if posixpath.normpath(key).startswith(".."):
                return RemoteLocation(self._store, "", outside=f"{self.path}/{'/'.join(names)}")
            key = "/".join(parts).lstrip("/")
        return self._with(key)

    def beside(self, name: str) -> RemoteLocation:
        """Return another entry of the same folder."""
        return self.parent.join(name)

    def plus(self, suffix: str) -> RemoteLocation:
        """Return the location whose name is this one followed by ``suffix``, such as a member of a prefix."""
        return self._with(self._key + suffix)

    def bare(self) -> RemoteLocation:
        """Return the location without slashes at its end."""
        return self._with(self._key.rstrip("/"), folder=self._said_folder)

    def is_below(self, folder: Location) -> bool:
        """Return whether the name is that of ``folder`` or leads into it."""
        return f"{self.path}/".startswith(f"{folder.path.rstrip('/')}/")

    def relative_to(self, folder: Location) -> str:
        """Return the shortest path that leads here from ``folder``, or the URL where they are in different stores."""
        if not isinstance(folder, RemoteLocation) or folder._store.objects.root != self._store.objects.root:
            return self.path
        return posixpath.relpath(f"/{self._key}", f"/{folder._key}")

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        return not self._is_outside and self._store.facts(self._key) is not None

    def is_folder(self) -> bool:
        """Return whether keys begin with this name; on an HTTP server, whether the name ends in a slash."""
        if self._is_outside:
            return False
        return self._store.has_folder(self._key.rstrip("/")) if self._store.can_list else self._said_folder

    def stat(self) -> FileStat | None:
        """Return size and time of an object, or ``None`` if there is none."""
        facts = None if self._is_outside else self._store.facts(self._key)
        return None if facts is None else FileStat(facts.size, facts.mtime, facts.e_tag)

    def list(self) -> RemoteListing:
        """Return the entries of this folder; raises ``MissingFileError`` if there is no such folder."""
        listing = None if self._is_outside else self._store.listing(self._key.rstrip("/"))
        if listing is None or not (listing.names or not self._key or self._store.has_marker(self._key.rstrip("/"))):
            raise MissingFileError(f"there is no folder {self.path}", path=self.path)
        return listing

    def expect(self, chosen: Callable[[str], bool], most: int) -> None:
        """Read small entries of this folder and the ends of others together."""
        if not self._is_outside:
            self._store.expect(self._key.rstrip("/"), chosen, most)

    def place(self) -> Hashable:
        """Return what is equal for two names of one object or folder; raises ``MissingFileError`` if there is none."""
        if not self.is_file() and not self.is_folder():
            raise MissingFileError(f"there is no file or folder {self.path}", path=self.path)
        return self._store.objects.root, self._key.rstrip("/")

    def open(self, first: tuple[int, int] | None = None) -> RemoteSource:
        """Open the object; raises ``MissingFileError`` if there is none."""
        if self._is_outside:
            raise MissingFileError(f"there is no file {self.path}", path=self.path)
        return self._store.open(self._key, self.path, first)

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (
            self._store.objects,
            self._key,
            self._said_folder,
            str(self.path) if self._is_outside else "",
        )


def _simple(name: str) -> str:
    """Return a name without empty segments and those that mean the folder itself, as a file system reads it."""
    segments = [segment for segment in name.split("/") if segment not in ("", ".")]
    return "/".join(segments) + "/" * (name.endswith("/") and bool(segments))


def _unpickled(objects: Objects, key: str, folder: bool, outside: str) -> RemoteLocation:
    return RemoteLocation(RemoteStore(objects), key, folder=folder, outside=outside)


def locate_in(store: Any, name: str) -> RemoteLocation:
    """Return the location of a name in a store of obstore or a file system of fsspec that the caller made.

    Raises ``TypeError`` for an object that is neither.
    """
    objects: Objects
    if hasattr(store, "cat_file") and hasattr(store, "protocol"):
        from tfbundle.storage.fsspec_objects import FsspecObjects

        path = str(store._strip_protocol(name))
        objects = FsspecObjects(store, "/" if path.startswith("/") else "")
        key = path.lstrip("/") + "/" * name.endswith("/")
    elif type(store).__module__.partition(".")[0] == "obstore":
        from tfbundle.storage.obstore_objects import ObstoreObjects

        address = split_url(name) if scheme_of(name) is not None else None
        objects = ObstoreObjects(store, "store:/" if address is None else address.root)
        key = name.lstrip("/") if address is None else address.key
    else:
        raise TypeError(f"a store of obstore or a file system of fsspec is expected, not {type(store).__name__}")
    objects.check_key(key)
    return RemoteLocation(RemoteStore(objects), key)
