"""Names of the local file system: how they are joined and split, and what exists there.

This is the only module that knows the separators and drives of the operating system.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Hashable, Iterable
from itertools import takewhile

from tfbundle.errors import MissingFileError
from tfbundle.storage.base import FileStat, Listing, Location
from tfbundle.storage.local import LEADS_NOWHERE, LocalSource


class LocalListing(Listing):
    """The entries of a local folder; each fact about an entry is looked up once."""

    def __init__(self, folder: str, path: str) -> None:
        """List ``folder``, whose full path is ``path``; raises ``MissingFileError`` if there is none."""
        try:
            with os.scandir(path) as entries:
                self._entries = {entry.name: entry for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            raise MissingFileError(f"there is no folder {folder}", path=folder) from None
        except OSError as error:
            if error.errno not in LEADS_NOWHERE:
                raise
            raise MissingFileError(f"{folder} leads to no folder: {error.strerror}", path=folder) from None
        except ValueError:  # The name holds a NUL, or cannot be encoded; no such folder can exist.
            raise MissingFileError(f"there is no folder {folder!r}", path=folder) from None
        self.names = sorted(self._entries)

    def is_folder(self, name: str) -> bool:
        """Return whether an entry is a folder (links are followed)."""
        entry = self._entries.get(name)
        try:
            return entry is not None and entry.is_dir()
        except OSError:
            return False

    def stat(self, name: str) -> FileStat | None:
        """Return size and time of an entry that is a regular file, otherwise ``None``."""
        entry = self._entries.get(name)
        return None if entry is None else _stat(entry)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


class LocalLocation(Location):
    """A path of the local file system, kept as the caller spelled it."""

    __slots__ = ("_base", "path")

    def __init__(self, path: str, base: str = "") -> None:
        """Resolve a relative ``path`` from the folder ``base``, or from the working folder if ``base`` is empty."""
        self.path = path
        self._base = base

    @property
    def _full(self) -> str:
        """The path to pass to the system."""
        return os.path.join(self._base, self.path) if self._base else self.path

    def _with(self, path: str) -> LocalLocation:
        return LocalLocation(path, self._base)

    @property
    def name(self) -> str:
        """The last component, which is empty after a final separator."""
        return os.path.basename(self.path)

    @property
    def parent(self) -> LocalLocation:
        """The folder that contains it."""
        return self._with(os.path.dirname(self.path) or os.curdir)

    @property
    def is_absolute(self) -> bool:
        """Whether it is independent of the working folder."""
        return os.path.isabs(self.path)

    def absolute(self) -> LocalLocation:
        """Return the same place by a name that does not depend on the working folder; nothing is normalised."""
        # A prefix may end in a separator: its files then have no base name.
        return self if self.is_absolute else LocalLocation(os.path.join(self._base or os.getcwd(), self.path))

    def anchored(self) -> LocalLocation:
        """Return the same location under the same name, independent of the working folder from now on."""
        if self._base or self.is_absolute:
            return self
        try:
            return LocalLocation(self.path, os.getcwd())
        except FileNotFoundError:
            raise MissingFileError(
                f"{self.path} is relative, and the working folder was deleted; pass an absolute path", path=self.path
            ) from None

    def real(self) -> LocalLocation:
        """Return the absolute name without links, which is equal for two names of one place."""
        return LocalLocation(os.path.realpath(self._full))

    def join(self, *names: str) -> LocalLocation:
        """Return the location of ``names`` below this folder; an absolute name restarts from the root."""
        return self._with(os.path.join(self.path, *names))

    def beside(self, name: str) -> LocalLocation:
        """Return another entry of the same folder."""
        return self._with(os.path.join(os.path.dirname(self.path), name))

    def plus(self, suffix: str) -> LocalLocation:
        """Return the location whose name is this one followed by ``suffix``, such as a member of a prefix."""
        return self._with(self.path + suffix)

    def bare(self) -> LocalLocation:
        """Return the location without separators at its end."""
        return self._with(self.path.rstrip("/\\"))

    def is_below(self, folder: Location) -> bool:
        """Return whether the name is that of ``folder`` or leads into it; for names that ``real`` returned."""
        return os.path.join(self.path, "").startswith(os.path.join(folder.path, ""))

    def relative_to(self, folder: Location) -> str:
        """Return the shortest path that leads here from ``folder``; nothing is looked up, so links are not followed."""
        return os.path.relpath(self.absolute().path, folder.absolute().path)

    def is_file(self) -> bool:
        """Return whether there is something other than a folder that could be opened (links are followed)."""
        return self._is_valid() and os.path.lexists(self._full) and not os.path.isdir(self._full)

    def is_folder(self) -> bool:
        """Return whether it is a folder (links are followed)."""
        return self._is_valid() and os.path.isdir(self._full)

    def stat(self) -> FileStat | None:
        """Return size and time of a regular file, or ``None`` if there is none."""
        return _stat(self._full)

    def list(self) -> LocalListing:
        """Return the entries of this folder; raises ``MissingFileError`` if there is no such folder."""
        return LocalListing(self.path, self._full)

    def place(self) -> Hashable:
        """Return what is equal for two names of one folder; raises ``MissingFileError`` if there is none."""
        try:
            facts = os.stat(self._full)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise MissingFileError(f"there is no folder {self.path}", path=self.path) from None
        except OSError as error:
            if error.errno not in LEADS_NOWHERE:
                raise
            raise MissingFileError(f"{self.path} leads to no folder: {error.strerror}", path=self.path) from None
        # Some network drives have no inode numbers, so that all of their folders would be equal.
        return facts.st_dev, facts.st_ino or os.path.realpath(self._full)

    def open(self, first: tuple[int, int] | None = None) -> LocalSource:
        """Open the file; raises as ``LocalSource`` does. ``first`` makes no difference here."""
        return LocalSource(self.path, self._base)

    def __reduce__(self) -> tuple[type[LocalLocation], tuple[str, str]]:
        return LocalLocation, (self.path, self._base)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalLocation) and other.path == self.path and other._base == self._base

    def __hash__(self) -> int:
        return hash((self.path, self._base))

    def _is_valid(self) -> bool:
        return "\0" not in self.path


def _stat(entry: str | os.DirEntry[str]) -> FileStat | None:
    try:
        facts = os.stat(entry) if isinstance(entry, str) else entry.stat()
    except (OSError, ValueError):
        return None
    return FileStat(facts.st_size, facts.st_mtime) if stat.S_ISREG(facts.st_mode) else None


def local_path(location: Location) -> str:
    """Return the path of a file of this machine; raise ``ValueError`` for a location elsewhere."""
    if not isinstance(location, LocalLocation):
        raise ValueError(f"{location} is not on this machine, where the other files are")
    return location.path


def common_folder(paths: Iterable[str]) -> str:
    """Return the folder that all paths begin with, with its final separator, or ``""`` if there is none."""
    folders = {os.path.dirname(path) for path in paths}
    if folders and all("://" in folder for folder in folders):
        first, last = min(folders).split("/"), max(folders).split("/")
        shared = list(takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
        return "/".join([*(part for part, _ in shared), ""]) if len(shared) > 2 else ""
    try:
        return os.path.join(os.path.commonpath(folders), "") if all(folders) else ""
    except ValueError:  # There are none, or they are on several drives.
        return ""


def without_common_folder(paths: Collection[str]) -> tuple[str, ...]:
    """Return the paths without the folder that all of them begin with."""
    folder = common_folder(paths)
    return tuple(path.removeprefix(folder) for path in paths)
