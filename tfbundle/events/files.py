"""Find the event files below a path and group them into runs.

A file is an event file if its name contains ``tfevents`` (TensorBoard, ``backend/event_processing/io_wrapper``), which
includes ``.v2`` and ``.profile-empty`` files, or if it begins with an event, whatever its name. Files that other
programs create next to a file (such as ``._NAME`` on macOS) are ignored. All event files of one folder form one run,
named by the folder's path relative to the opened one. They are read in the order of their names, which contain the
time of their creation.

Links are followed, so a folder with two names is listed under both, as in TensorBoard. A link to one of its own parent
folders is a cycle and is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from tfbundle.checkpoint.find.names import is_sidecar, is_sidecar_folder, prefix_of_member
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError
from tfbundle.formats.records.compression import HEADER_SIZE, is_header
from tfbundle.identification.files import identify_source, kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import is_event_file_name
from tfbundle.natural_order import natural_key
from tfbundle.storage.base import Listing, Location
from tfbundle.storage.locations import StrPath, locate

# The name of a run in the folder itself; other runs are named by the folders that lead to them, with slashes.
ROOT = "."

# The kinds of file that are opened although they are not named like event files.
READABLE = (FileKind.EVENTS, FileKind.EMPTY)
# How many files with other names are opened to determine their kind, in a whole tree; a folder of images has more.
_MOST_LOOKED_INTO = 1000
# The first field of an event is its wall time, a double with field number 1.
_WALL_TIME = b"\x09"
# Links may give a folder many names, which multiply in the folders below it: at most so many per folder are listed.
_MOST_NAMES = 1000


class Found(NamedTuple):
    """The event files of each run by name, and the folders that cannot be listed, each with the error."""

    runs: dict[str, list[Location]]
    unreadable: dict[str, OSError]


def parts_of_run(run: str) -> list[str]:
    """Return the names of the folders that lead to a run."""
    return [] if run == ROOT else run.split("/")


def find_runs(path: StrPath) -> Found:
    """Return the event files below ``path``; the run in ``path`` itself is named ``"."``.

    ``path`` may also be a file. Raises ``MissingFileError`` if ``path`` does not exist, ``OSError`` if a folder cannot
    be read, ``UnsupportedError`` if links give a folder more than a thousand names, and ``FormatError`` if a file does
    not contain events.
    """
    location = locate(path)
    if not location.path:
        raise MissingFileError("the path is empty; pass an event file, or a folder of event files", path="")
    if location.is_folder():
        found = _Search(location)
        order = sorted(found.runs, key=lambda name: (name != ROOT, natural_key(name)))
        return Found({name: found.runs[name] for name in order}, found.unreadable)
    if not location.is_file():
        raise MissingFileError(f"there is no file or folder {location}", path=location.path)
    kind = kind_of(location)
    if kind not in READABLE and not is_event_file_name(location.name):
        raise FormatError(
            f"{location} is {kind.value}; pass an event file, or a folder of event files", path=location.path
        )
    return Found({ROOT: [location]}, {})


class _Search:
    """One traversal of a tree of folders."""

    def __init__(self, root: Location) -> None:
        self.runs: dict[str, list[Location]] = {}
        self.unreadable: dict[str, OSError] = {}
        self._left = _MOST_LOOKED_INTO
        names: Counter[Hashable] = Counter()
        above: set[Hashable] = set()
        # Folders to list, each with the name of its run, and markers (places) for folders that are finished.
        waiting: list[tuple[Location, str] | Hashable] = [(root, ROOT)]
        while waiting:
            step = waiting.pop()
            if not (isinstance(step, tuple) and isinstance(step[0], Location)):
                above.discard(step)
                continue
            folder, name = step
            try:
                place = folder.place()
                if place in above:
                    continue
                listing = folder.list()
            except MissingFileError:
                if name == ROOT:
                    raise
                continue  # It was deleted in the meantime.
            except OSError as error:
                if name == ROOT:
                    raise
                self.unreadable[folder.path] = error
                continue
            names[place] += 1
            if names[place] > _MOST_NAMES:
                raise UnsupportedError(
                    f"{folder} and {_MOST_NAMES} other names lead to one folder by links; open a folder below {root}",
                    path=folder.path,
                )
            above.add(place)
            waiting.append(place)
            below = [entry for entry in listing.names if listing.is_folder(entry) and not is_sidecar_folder(entry)]
            waiting.extend(
                (folder.join(entry), entry if name == ROOT else f"{name}/{entry}") for entry in reversed(below)
            )
            if files := self._files(folder, listing):
                self.runs[name] = files

    def _files(self, folder: Location, listing: Listing) -> list[Location]:
        files = []
        for entry in listing.names:
            if is_sidecar(entry) or listing.is_folder(entry):
                continue
            file = folder.join(entry)
            if is_event_file_name(entry) or self._holds_events(file, listing, entry):
                files.append(file)
        return files

    def _holds_events(self, file: Location, listing: Listing, name: str) -> bool:
        """Return whether a file with another name begins with an event."""
        if not self._left or prefix_of_member(name) is not None:
            return False
        stat = listing.stat(name)
        if stat is None or stat.size <= HEADER_SIZE:
            return False
        self._left -= 1
        try:
            source = file.open()
        except OSError:
            return False
        try:
            head = source.read_at(0, HEADER_SIZE + 1)
            return is_header(head) and head.endswith(_WALL_TIME) and identify_source(source) is FileKind.EVENTS
        except (OSError, FormatError):
            return False
        finally:
            source.close()
