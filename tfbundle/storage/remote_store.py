"""An object store as it is known to a location and all that are derived from it: listings, facts, ends of objects.

Listing a folder answers all questions about the names in it, so that what was learned is shared and kept until this
process writes to the store. An HTTP server lists nothing; there the request for the end of a file answers whether the
file exists, and has the bytes that a reader of a table needs first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.storage.base import FileStat, Listing
from tfbundle.storage.objects import Answer, ObjectFacts, Objects, UnlistableFolderError
from tfbundle.storage.read_ahead import RANGE
from tfbundle.storage.remote import SMALL, RemoteSource

# So many objects' ends of 64 KiB are kept, and so many are requested at the same time.
_MOST_TAILS = 256
_MOST_TOGETHER = 32
# For so long a path that this library returned leads to what was learned when it was made.
_RECENT_SECONDS = 2.0


class RemoteListing(Listing):
    """The objects and folders in a folder of a store, from one request for a thousand of them."""

    def __init__(self, objects: dict[str, ObjectFacts], folders: set[str]) -> None:
        # An empty object with the name of a folder is a marker, as Hadoop and Azure's data lakes leave them.
        self.objects = {name: facts for name, facts in objects.items() if facts.size or name not in folders}
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


class RemoteStore:
    """A store, with what was learned about it since the location was made from which all others are derived."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.can_list = objects.can_list
        # Folders that cannot be listed, though their objects may be read by name.
        self._unlisted: set[str] = set()
        self._began = time.monotonic()
        self._changes = objects.changes
        self._listings: dict[str, RemoteListing] = {}
        self._facts: dict[str, ObjectFacts | None] = {}
        self._tails: dict[str, Answer] = {}

    def recent(self) -> RemoteStore:
        """Return this store if what it learned is recent, otherwise one that has learned nothing."""
        return self if time.monotonic() - self._began < _RECENT_SECONDS else RemoteStore(self.objects)

    def lists(self, folder: str) -> bool:
        """Return whether a folder can be listed, as far as is known."""
        return self.can_list and folder not in self._unlisted

    def _notice_changes(self) -> None:
        """Drop what is known if this process has written to the store since."""
        if self._changes != self.objects.changes:
            self._changes = self.objects.changes
            self._listings, self._facts, self._tails = {}, {}, {}

    def listing(self, folder: str) -> RemoteListing:
        """Return the entries of a folder; raises ``OSError`` where it may not be listed."""
        self._notice_changes()
        found = self._listings.get(folder)
        if found is None:
            found = self._listings[folder] = RemoteListing(*self.objects.list(folder))
        return found

    def facts(self, key: str) -> ObjectFacts | None:
        """Return the facts of an object, or ``None`` if there is none."""
        self._notice_changes()
        folder, _, name = key.rpartition("/")
        if not name:
            return None
        if self.lists(folder):
            try:
                return self.listing(folder).objects.get(name)
            except (PermissionError, UnlistableFolderError):
                self._unlisted.add(folder)
        if key not in self._facts:
            self._facts[key] = self._ask(key)
        return self._facts[key]

    def _ask(self, key: str) -> ObjectFacts | None:
        """Return the facts of an object from an answer that has its end too, which is where tables are read first."""
        try:
            answer = self.objects.read_tail(key, SMALL)
        except MissingFileError:
            return None
        self._keep(key, answer)
        return answer.facts

    def open(self, key: str, url: str, first: tuple[int, int] | None) -> RemoteSource:
        """Open an object; raises ``MissingFileError`` if there is none.

        If nothing is known of it, its facts come with the bytes that are read first, at an offset and of a size.
        """
        if first is not None and not self.lists(key.rpartition("/")[0]) and key not in self._facts:
            offset, size = first
            answer = self.objects.read(key, offset, offset + max(1, min(size, RANGE)), None)
            self._facts[key] = answer.facts
            return RemoteSource(self.objects, key, url, answer.facts, answer)
        facts = self.facts(key)
        if facts is None:
            raise MissingFileError(f"there is no file {url}", path=url)
        return RemoteSource(self.objects, key, url, facts, self._tails.get(key))

    def expect(self, folder: str, chosen: Callable[[str], bool], most: int) -> None:
        """Read the ends of objects of a folder together, if they have ``most`` bytes at most."""
        if not self.lists(folder):
            return
        try:
            listing = self.listing(folder)
        except OSError:
            return
        above = f"{folder}/" if folder else ""
        wanted = {above + name: facts for name, facts in listing.objects.items() if chosen(name)}
        wanted = {key: facts for key, facts in wanted.items() if facts.size and key not in self._tails}
        if not wanted or sum(min(facts.size, SMALL) for facts in wanted.values()) > most:
            return

        def read(key: str) -> Answer | None:
            facts = wanted[key]
            with suppress(TfBundleError, OSError):
                answer = self.objects.read(key, max(0, facts.size - SMALL), facts.size, facts.e_tag)
                return answer if answer.facts.size == facts.size and answer.facts.e_tag == facts.e_tag else None
            return None

        with ThreadPoolExecutor(min(_MOST_TOGETHER, len(wanted))) as pool:
            for key, answer in zip(wanted, pool.map(read, wanted), strict=True):
                if answer is not None:
                    self._keep(key, answer)

    def _keep(self, key: str, answer: Answer) -> None:
        while len(self._tails) >= _MOST_TAILS:
            del self._tails[next(iter(self._tails))]
        self._tails[key] = answer

    def has_folder(self, key: str) -> bool:
        """Return whether a key begins with this name."""
        above, _, name = key.rpartition("/")
        known = self._listings.get(above)
        if known is not None and name:
            return known.is_folder(name)
        try:
            return not key or bool(self.listing(key).names) or self.has_marker(key)
        except UnlistableFolderError:
            self._unlisted.add(key)
            return True
        except PermissionError:
            self._unlisted.add(key)
            return False

    def has_marker(self, key: str) -> bool:
        """Return whether a folder without entries exists, which the listing of the folder above it has.

        An empty object whose key ends in a slash makes such a folder, and stores do not list it in the folder itself.
        """
        above, _, name = key.rpartition("/")
        with suppress(OSError):
            return bool(name) and self.listing(above).is_folder(name)
        return False
