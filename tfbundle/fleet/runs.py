"""Which runs are read, and in which groups they become tasks; no event file is opened here.

A run is known by its name and its files, each with the size and time that the listing of its folder states. Small runs
share a task, because sending a task to another process takes longer than reading a few kilobytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from tfbundle.events.by_name import Names, choose
from tfbundle.events.files import find_runs
from tfbundle.fleet.troubles import EventTrouble, trouble_of
from tfbundle.matching import Pattern, check_names
from tfbundle.storage.base import FileStat, Location
from tfbundle.storage.locations import StrPath, locate

# A task has event files of so many bytes, or so many runs, unless a single run is larger.
_TASK_SIZE = 2 << 20
_MOST_RUNS = 64


class RunFile(NamedTuple):
    """An event file, and its size and time when its folder was listed; ``None`` if it is not a regular file."""

    location: Location
    stat: FileStat | None


class FoundRun(NamedTuple):
    """A run that has not been read."""

    name: str
    files: tuple[RunFile, ...]

    @property
    def size(self) -> int:
        """The size of its files in bytes."""
        return sum(file.stat.size for file in self.files if file.stat is not None)


def find_chosen_runs(root: StrPath, names: Names) -> tuple[list[FoundRun], list[EventTrouble]]:
    """Return the runs below ``root`` that ``names`` select, in order, and a row for each folder that cannot be listed.

    Raises the errors of ``open_events`` for ``root`` itself, and ``KeyError`` if a name or pattern matches no run.
    """
    # Workers may have another working folder.
    found = find_runs(locate(root).anchored())
    chosen = choose("run", found.runs, names)
    runs = [FoundRun(name, tuple(RunFile(file, file.stat()) for file in found.runs[name])) for name in chosen]
    return runs, [trouble_of(error, path, None) for path, error in found.unreadable.items()]


def as_patterns(names: Names) -> tuple[Pattern, ...] | None:
    """Return one or several patterns as a tuple that can be used, and sent, more than once."""
    if names is None:
        return None
    check_names(names)
    if isinstance(names, str | re.Pattern) or callable(names):
        return (names,)
    return tuple(names)


Sized = TypeVar("Sized")


def group_by_size(items: Iterable[tuple[Sized, int]]) -> Iterator[Sequence[Sized]]:
    """Yield consecutive items, each with its size in bytes, in groups that make a task."""
    group: list[Sized] = []
    total = 0
    for item, size in items:
        if group and (total + size > _TASK_SIZE or len(group) >= _MOST_RUNS):
            yield group
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield group
