"""Scan the programs at a path for effects on the machine that loads them."""

from __future__ import annotations

from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.graph.reading import find_graph
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.scanning.collecting import Collection
from tfbundle.scanning.contents import Content
from tfbundle.scanning.files import scan_file
from tfbundle.scanning.report import ScanReport
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.storage.visits import Visits

_MOST_FOLDERS = 10_000
_MOST_FILES = 50_000
# Of these a caller who names the file expects an answer.
_NOT_KNOWN = (FileKind.UNKNOWN, FileKind.TFLITE, FileKind.TFJS)


def scan(
    path: StrPath,
    *,
    storage_options: StorageOptions | None = None,
) -> ScanReport:
    """Return what the graphs and models at ``path`` could do when they are loaded or called; nothing is run.

    ``path`` is a file, a folder, which is scanned with its subfolders, or the prefix of a checkpoint with a ``.meta``
    file. Archives are read in memory. Files that cannot be read in full are listed in ``ScanReport.not_scanned``; the
    report is then not ``complete``.

    Raises ``MissingFileError`` if ``path`` does not exist, and ``FormatError`` if it is neither a regular file nor a
    folder. Damage in a file raises no error.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    location = locate(path)
    found = Collection()
    if location.is_folder():
        _folder(location, found)
        return found.report(location.path)
    if not location.is_file():
        graph = find_graph(location)
        _file(graph, (), found)
        return found.report(location.path)
    source = location.open()
    try:
        scan_file(Content(source, location.name, _folders_above(location)), found)
    finally:
        source.close()
    if not found.files and not found.not_scanned and not found.findings:
        kind = kind_of(location)
        if kind in _NOT_KNOWN:
            found.leave_out(location.path, f"it is {kind.value}, which the scan cannot examine")
    return found.report(location.path)


def _folders_above(location: Location) -> tuple[str, ...]:
    return (location.parent.name,)


def _folder(root: Location, found: Collection) -> None:
    """Scan a folder and its subfolders; a folder that several names lead to is scanned once."""
    visits = Visits()
    waiting: list[tuple[Location, tuple[str, ...]]] = [(root, ())]
    files = 0
    while waiting:
        folder, names = waiting.pop()
        try:
            listing = visits.list(folder)
            if listing is None:
                continue
        except (TfBundleError, OSError) as error:
            found.leave_out(folder.path, f"the folder cannot be listed: {error}")
            continue
        if len(visits) > _MOST_FOLDERS:
            found.leave_out(root.path, f"there are more than {_MOST_FOLDERS} folders")
            return
        for name in listing.names:
            entry = folder.join(name)
            if listing.is_folder(name):
                waiting.append((entry, (*names, name)))
                continue
            files += 1
            if files > _MOST_FILES:
                found.leave_out(root.path, f"there are more than {_MOST_FILES} files")
                return
            _file(entry, names, found)


def _file(location: Location, folders: tuple[str, ...], found: Collection) -> None:
    try:
        source = location.open()
    except (FormatError, MissingFileError, OSError) as error:
        found.leave_out(location.path, f"the file cannot be opened: {error}")
        return
    try:
        scan_file(Content(source, location.name, folders), found)
    finally:
        source.close()
