"""The entries of folders, listed once each however many checkpoints are searched for.

A state file may name a hundred thousand checkpoints, in folders with thousands of names. Each name costs one call of
the file system, and each folder is listed once. For a single checkpoint, listing a large folder would cost more than
checking its few files by name (``Asked``).
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

from tfbundle.errors import FormatError, MissingFileError
from tfbundle.limits import MOST_FOLDER_NAMES
from tfbundle.storage.base import FileStat, Listing, Location

# For this many missing files, all names of their folders are searched for advice where they may be.
_MOST_LOOKS = 20


class Asked(Listing):
    """A folder whose entries are checked one by one, which also works without permission to list it."""

    def __init__(self, folder: Location) -> None:
        """Accept any folder, even one that does not exist; nothing is read yet."""
        self._folder = folder

    @cached_property
    def names(self) -> list[str]:  # type: ignore[override]
        """The base names, sorted; none if the folder may not be listed or does not exist."""
        try:
            return self._folder.list().names
        except OSError:
            return []

    def is_folder(self, name: str) -> bool:
        """Return whether an entry is a folder (links are followed)."""
        return self._folder.join(name).is_folder()

    def is_file(self, name: str) -> bool:
        """Return whether there is such an entry and it is not a folder."""
        return self._folder.join(name).is_file()

    def stat(self, name: str) -> FileStat | None:
        """Return size and time of an entry that is a regular file, otherwise ``None``."""
        return self._folder.join(name).stat()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (self.is_file(name) or self.is_folder(name))


class Nothing(Listing):
    """The entries of a folder that does not exist."""

    names: list[str] = []  # noqa: RUF012 - shared, and never changed

    def is_folder(self, name: str) -> bool:
        """Return that there is none."""
        return False

    def stat(self, name: str) -> FileStat | None:
        """Return that there is none."""
        return None

    def __contains__(self, name: object) -> bool:
        return False


class Listings:
    """The entries of any folder, cached once it has been listed under any name."""

    def __init__(self) -> None:
        """Start with an empty cache."""
        self._by_name: dict[Location, Listing] = {}
        self._by_place: dict[Hashable, Listing] = {}
        self._real: dict[Location, Location] = {}
        # Folders that a path in a state file may lead to, by the state file and the path without its name.
        self.likely: dict[tuple[Location, str], list[Listing]] = {}
        self._looks = _MOST_LOOKS

    def take_look(self) -> bool:
        """Return whether a folder may be searched once more for a missing file under another name."""
        self._looks -= 1
        return self._looks >= 0

    def of(self, folder: Location) -> Listing:
        """Return the entries of a folder: none if it does not exist, checked one by one if it may not be listed.

        Raises ``FormatError`` for more names of folders than a valid state file has.
        """
        listing = self._by_name.get(folder)
        if listing is None:
            if len(self._by_name) >= MOST_FOLDER_NAMES:
                raise FormatError(
                    f"checkpoints are named in more than {MOST_FOLDER_NAMES} folders, the last of which is {folder}; "
                    "the state file is damaged",
                    path=folder.path,
                )
            listing = self._by_name[folder] = self._find(folder)
        return listing

    def _find(self, folder: Location) -> Listing:
        try:
            place = folder.place()
            listing = self._by_place.get(place)
            if listing is None:
                listing = self._by_place[place] = folder.list()
        except MissingFileError:
            return Nothing()
        except OSError:
            return Asked(folder)
        return listing

    def real(self, folder: Location) -> Location:
        """Return the name of a folder without links, which is equal for all names of the same folder."""
        found = self._real.get(folder)
        if found is None:
            found = self._real[folder] = folder.real()
        return found


class Asking(Listings):
    """For a single checkpoint: folders are not listed, but checked for a few names."""

    def _find(self, folder: Location) -> Listing:
        return Asked(folder)
