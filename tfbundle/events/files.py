"""Which event files lie below a path, and which runs they make.

A file is an event file if its name contains ``tfevents`` (TensorBoard, ``backend/event_processing/io_wrapper``), which
takes in ``.v2`` and ``.profile-empty`` files. All event files of one folder are one run, named by the folder's path
below the one that was opened, and are read in the order of their names, which begin with the time of their creation.
"""

from __future__ import annotations

import os

from tfbundle.errors import FormatError, MissingFileError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.local import folder_place, is_file, is_folder, list_folder

ROOT = "."

# What a file may hold that is not called as event files are.
_READABLE = (FileKind.EVENTS, FileKind.EMPTY)


def find_runs(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """The event files of each run below ``path``, by the run's name; that of ``path`` itself is ``"."``.

    ``path`` may also be one file. Raises ``MissingFileError`` where nothing lies at ``path``, ``PermissionError`` for a
    folder that may not be read (of those below it nothing is said), and ``FormatError`` for a file that holds something
    else than records.
    """
    path = os.fspath(path)
    if is_folder(path):
        return dict(sorted(_search(path).items(), key=lambda item: (item[0] != ROOT, item[0])))
    if not is_file(path):
        raise MissingFileError(f"there is no file or folder {path}", path=path)
    kind = kind_of(path)
    if kind not in _READABLE and "tfevents" not in os.path.basename(path):
        raise FormatError(f"{path} is {kind.value}; pass an event file, or a folder with some", path=path)
    return {ROOT: [path]}


def _search(root: str) -> dict[str, list[str]]:
    runs: dict[str, list[str]] = {}
    seen = set()
    waiting = [(root, ROOT)]
    while waiting:
        folder, name = waiting.pop()
        # A link to a folder above would lead round for ever.
        try:
            place = folder_place(folder)
            if place in seen:
                continue
            seen.add(place)
            entries = list_folder(folder)
        except (MissingFileError, PermissionError):
            if name == ROOT:
                raise
            continue  # It was deleted in the meantime, or is none of ours.
        files = []
        below = []
        for entry in entries:
            path = os.path.join(folder, entry)
            if is_folder(path):
                below.append((path, entry if name == ROOT else f"{name}/{entry}"))
            elif "tfevents" in entry:
                files.append(path)
        if files:
            runs[name] = files
        waiting.extend(reversed(below))
    return runs
