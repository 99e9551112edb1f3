"""Names in an object store: how they are joined and taken apart, and what exists there.

A store has no folders, only keys with slashes in them; a folder exists while a key begins with its name. Listing one
answers all questions about the names in it, so that a location and all that are derived from it share the listings
that were made. Each ``locate`` begins without any. HTTP servers list nothing; there each name costs a request, and a
folder is a name that ends in a slash or that another name was joined to.

A name that leads out of the store, such as one in a state file that somebody else wrote, is a location at which nothing
exists, and no request is made for it.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Hashable

from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.storage.base import FileStat, Listing, Location
from tfbundle.storage.object_stores import Address, load_obstore, open_store, scheme_of, split_url, translate
from tfbundle.storage.remote import ObjectFacts, RemoteSource, facts_of


class RemoteListing(Listing):
    """The objects and folders in a folder of a store, from one request for a thousand of them."""

    def __init__(self, objects: dict[str, ObjectFacts], folders: set[str]) -> None:
        self.objects = objects
        self._folders = folders
        self.names = sorted({*objects, *folders})

    def is_folder(self, name: str) -> bool:
        """Return whether an entry is a folder; a name may be that of an object, too, which then counts."""
        return name in self._folders and name not in self.objects

    def stat(self, name: str) -> FileStat | None:
        """Return size and time of an object, otherwise ``None``."""
        facts = self.objects.get(name)
        return None if facts is None else FileStat(facts.size, facts.mtime, facts.e_tag)

    def __contains__(self, name: object) -> bool:
        return name in self.objects or name in self._folders


class _Store:
    """A store, with what was learned about it since the location was made from which all others are derived."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.can_list = Address(root, "").can_list
        self._listings: dict[str, RemoteListing] = {}
        self._objects: dict[str, ObjectFacts | None] = {}

    def url(self, key: str) -> str:
        return f"{self.root}/{key}" if key else self.root

    def listing(self, folder: str) -> RemoteListing:
        """Return the entries of a folder; raises ``OSError`` where it may not be listed."""
        found = self._listings.get(folder)
        if found is None:
            found = self._listings[folder] = self._list(folder)
        return found

    def _list(self, folder: str) -> RemoteListing:
        if not self.can_list:
            reason = "HTTP servers do not list folders; pass a file, or the prefix of a checkpoint"
            raise OSError(errno.ENOTSUP, reason, self.url(folder))
        try:
            found = load_obstore(self.root).list_with_delimiter(open_store(self.root), folder or None)
        except UnsupportedError:
            raise
        except Exception as error:  # The class depends on the store.
            raise translate(error, self.url(folder)) from None
        above = f"{folder}/" if folder else ""
        objects = {meta["path"].removeprefix(above): facts_of(meta) for meta in found["objects"]}
        folders = {path.removeprefix(above).rstrip("/") for path in found["common_prefixes"]}
        return RemoteListing({name: facts for name, facts in objects.items() if name and "/" not in name}, folders)

    def object(self, key: str) -> ObjectFacts | None:
        """Return the facts of an object, or ``None`` if there is none."""
        folder, _, name = key.rpartition("/")
        if not name:
            return None
        if self.can_list:
            try:
                return self.listing(folder).objects.get(name)
            except PermissionError:
                self.can_list = False
        if key not in self._objects:
            self._objects[key] = self._head(key)
        return self._objects[key]

    def _head(self, key: str) -> ObjectFacts | None:
        try:
            return facts_of(load_obstore(self.root).head(open_store(self.root), key))
        except FileNotFoundError:
            return None
        except UnsupportedError:
            raise
        except Exception as error:  # The class depends on the store.
            raise translate(error, self.url(key)) from None

    def has_folder(self, key: str) -> bool:
        """Return whether a key begins with this name."""
        above, _, name = key.rpartition("/")
        known = self._listings.get(above)
        if known is not None and name:
            return known.is_folder(name)
        try:
            return not key or bool(self.listing(key).names)
        except PermissionError:
            self.can_list = False
            return False


class RemoteLocation(Location):
    """A URL in an object store or on an HTTP server."""

    __slots__ = ("_is_outside", "_key", "_said_folder", "_store", "path")

    def __init__(self, store: _Store, key: str, *, folder: bool = False, outside: str = "") -> None:
        """Make the location of a key; ``outside`` is a name that leads out of the store."""
        self._store = store
        self._key = key
        self._said_folder = folder or key.endswith("/")
        self._is_outside = bool(outside)
        self.path = outside or store.url(key)

    @staticmethod
    def at(url: str) -> RemoteLocation:
        """Return the location of a URL, without anything that was learned about its store before."""
        address = split_url(url)
        location = RemoteLocation(_Store(address.root), address.key)
        location.path = url
        return location

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
                if address.root != self._store.root:
                    return RemoteLocation(self._store, "", outside=name)
                key = address.key
            elif name.startswith("/"):
                return RemoteLocation(self._store, "", outside=name)
            else:
                key = posixpath.join(key, name)
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
        if not isinstance(folder, RemoteLocation) or folder._store.root != self._store.root:
            return self.path
        return posixpath.relpath(f"/{self._key}", f"/{folder._key}")

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        return not self._is_outside and self._store.object(self._key) is not None

    def is_folder(self) -> bool:
        """Return whether keys begin with this name; on an HTTP server, whether the name says so."""
        if self._is_outside:
            return False
        return self._store.has_folder(self._key.rstrip("/")) if self._store.can_list else self._said_folder

    def stat(self) -> FileStat | None:
        """Return size and time of an object, or ``None`` where there is none."""
        facts = None if self._is_outside else self._store.object(self._key)
        return None if facts is None else FileStat(facts.size, facts.mtime, facts.e_tag)

    def list(self) -> RemoteListing:
        """Return the entries of this folder; raises ``MissingFileError`` if there is no such folder."""
        listing = None if self._is_outside else self._store.listing(self._key.rstrip("/"))
        if listing is None or not (listing.names or not self._key):
            raise MissingFileError(f"there is no folder {self.path}", path=self.path)
        return listing

    def place(self) -> Hashable:
        """Return what is equal for two names of one folder; raises ``MissingFileError`` if there is none."""
        if not self.is_folder():
            raise MissingFileError(f"there is no folder {self.path}", path=self.path)
        return self._store.root, self._key.rstrip("/")

    def open(self) -> RemoteSource:
        """Open the object, of which nothing is requested yet; raises ``MissingFileError`` if there is none."""
        facts = None if self._is_outside else self._store.object(self._key)
        if facts is None:
            raise MissingFileError(f"there is no file {self.path}", path=self.path)
        return RemoteSource(self._store.root, self._key, self.path, facts)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return RemoteLocation.at, (self.path,)
