"""The names of partitions, and of the folders in which their rows are.

The name of a run may have any characters. A folder's name has those that every file system and every reader of Parquet
takes literally: ``=`` would make a column of it, and ``_`` or ``.`` at the start would hide it. All others become
``_``. If two names become the same, or differ only in case, the later ones get numbers. The column ``run`` of the rows
has the exact name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE)
_LONGEST = 100

PARTITIONS: Mapping[str, Callable[[str], str]] = {
    "run": lambda run: run,
    "sweep": lambda run: run.partition("/")[0],
}
"""For each way to partition, the function from a run's name to that of its partition.

A sweep is everything below one folder of the root.
"""


def name_folders(names: Collection[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return a folder's name for each partition; those in ``known`` keep theirs."""
    folders = {name: known[name] for name in names if name in known}
    taken = {folder.casefold() for folder in folders.values()}
    counts: dict[str, int] = {}
    for name in names:
        if name in folders:
            continue
        base = _UNSAFE.sub("_", name[:_LONGEST]).strip("._") or "run"
        base = f"run-{base}" if _DEVICE.match(base) else base
        folder = base
        while folder.casefold() in taken:
            counts[base.casefold()] = counts.get(base.casefold(), 1) + 1
            folder = f"{base}-{counts[base.casefold()]}"
        taken.add(folder.casefold())
        folders[name] = folder
    return folders
