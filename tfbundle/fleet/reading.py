"""Read the scalars of one run, from the start of its files or from where an earlier process stopped.

What was read is noted in a ``RunState``: the size and time of each file, the position after its last complete record,
and checksums of bytes before that position. The metadata of a tag, which only its first value has, is noted too: it
decides whether tensors in the rest of the file are scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from tfbundle.errors import TfBundleError
from tfbundle.events import plugins
from tfbundle.events.assembly import Assembly, Stretch
from tfbundle.events.file import EventFile, Options, Replaced
from tfbundle.events.layout import SIMPLE_VALUE
from tfbundle.events.points import Column
from tfbundle.events.series import Origin
from tfbundle.events.tables import as_floats
from tfbundle.events.unusual import UnusualBudget
from tfbundle.fleet.runs import FoundRun, RunFile
from tfbundle.fleet.troubles import EventTrouble, trouble_of
from tfbundle.formats.records.continuation import Mark, ReadSoFar
from tfbundle.matching import Pattern, select
from tfbundle.proto import SummaryMetadata
from tfbundle.storage.base import FileStat
from tfbundle.tensors.arrays import Array

_KEPT = 8 << 20
# What a damaged file has before the damage is read; the rest is a trouble.
_OPTIONS = Options(partial=True)


class FileState(NamedTuple):
    """How far a file was read.

    ``position`` is the offset after the last complete record and ``records`` the number of those before it; ``marks``
    are ``None`` if the file can only be read again from its start.
    """

    stat: FileStat | None
    position: int = 0
    records: int = 0
    marks: tuple[Mark, ...] | None = None


class TagMetadata(NamedTuple):
    """The metadata of tags that decides their kind."""

    plugin: str
    data_class: int


class RunState(NamedTuple):
    """What was read of a run: its files by name, the metadata of its tags, and what could not be read."""

    files: Mapping[str, FileState]
    metadata: Mapping[str, TagMetadata]
    troubles: tuple[EventTrouble, ...]


class RunPoints(NamedTuple):
    """Scalars of a run, tag by tag: ``counts[i]`` points of ``tags[i]``.

    ``steps`` is int64, ``walls`` and ``values`` are float64; within a tag they are in the order of the files.
    """

    run: str
    tags: list[str]
    counts: list[int]
    steps: Array
    walls: Array
    values: Array


def read_run(
    found: FoundRun, tags: Sequence[Pattern] | None, before: RunState | None = None
) -> tuple[RunPoints, RunState]:
    """Return the scalars of a run that ``tags`` select, and what was read; nothing is purged.

    With ``before``, only data after the noted positions is read, and files that were not noted. A tag that is a name in
    this run is never a pattern; a pattern that matches nothing here selects nothing.
    """
    _keep_freed_memory()
    troubles = [] if before is None else _lasting(found, before)
    budget = UnusualBudget()
    read = [_read_file(file, before, budget, found.name, troubles) for file in found.files]
    files = [file for file, _ in read]
    known = {} if before is None else before.metadata
    points = RunPoints(found.name, [], [], *(np.zeros(0, dtype) for dtype in (np.int64, np.float64, np.float64)))
    metadata = dict(known)
    try:
        origin: Callable[[str, str], Origin] = partial(Origin, None)
        assembly = Assembly(files, origin, purge=False, known={tag: _message(*one) for tag, one in known.items()})
        metadata |= {
            tag: TagMetadata(one.plugin_data.plugin_name, one.data_class) for tag, one in assembly.metadata.items()
        }
        points = _points(found.name, assembly, tags, troubles)
    except TfBundleError as error:
        troubles.append(trouble_of(error, files[0].path if files else "", found.name))
    finally:
        for file in files:
            file.close()
    states = {file.location.name: state for file, state in read}
    return points, RunState(states, metadata, tuple(dict.fromkeys(troubles)))


@cache
def _keep_freed_memory() -> None:
    """Make the C library keep freed memory of arrays for the next run, instead of returning it to the system.

    Otherwise every page of every temporary array is mapped again for each run, which is a third of the processor's
    time. glibc returns blocks up to the size of the largest one that was freed so far only if there are many of them;
    this one is never written to, and therefore takes no memory. Other libraries ignore it.
    """
    np.empty(_KEPT, np.uint8)


def _lasting(found: FoundRun, before: RunState) -> list[EventTrouble]:
    """Return the troubles in the parts of files that are not read again."""
    ends = {one.location.path: before.files.get(one.location.name, FileState(None)).position for one in found.files}
    return [row for row in before.troubles if row.offset is not None and row.offset < ends.get(row.path, 0)]


def _read_file(
    file: RunFile, before: RunState | None, budget: UnusualBudget, run: str, troubles: list[EventTrouble]
) -> tuple[EventFile, FileState]:
    """Return a file with everything read that is intact and new, and how far it was read."""
    location, stat = file
    opened = EventFile(location, _OPTIONS, budget)
    state = None if before is None else before.files.get(location.name)
    if state is not None and state.marks is not None:
        opened.resume(ReadSoFar(state.position, state.marks), state.records)
    try:
        opened.read()
    except Replaced as error:
        message = TfBundleError(f"{location} was replaced while it was read; run again", path=location.path)
        troubles.append(trouble_of(message, error.path or location.path, run))
        return opened, FileState(None)  # Which is equal to no state of a file, so that it is read again.
    troubles += [trouble_of(loss.error, location.path, run, None, loss.offset, loss.size) for loss in opened.losses]
    noted = opened.so_far
    if noted is None:
        return opened, FileState(stat)
    return opened, FileState(stat, noted.position, opened.count, tuple(noted.marks))


def _message(plugin: str, data_class: int) -> SummaryMetadata:
    message = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    message.data_class = data_class  # type: ignore[assignment]
    return message


def _points(run: str, assembly: Assembly, tags: Sequence[Pattern] | None, troubles: list[EventTrouble]) -> RunPoints:
    scalars = assembly.tags_of(plugins.SCALARS)
    chosen = scalars if tags is None else {tag for pattern in tags for tag in select(pattern, scalars)}
    names, counts = [], []
    steps, walls, values = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0)]
    for tag in scalars:
        if tag not in chosen:
            continue
        columns = _plain_columns(assembly.stretches[tag])
        if columns is not None:
            names.append(tag)
            counts.append(sum(len(column.steps) for column, _ in columns))
            steps += [column.steps for column, _ in columns]
            walls += [column.walls for column, _ in columns]
            values += [numbers for _, numbers in columns]
            continue
        series = assembly.make(plugins.SCALARS, tag)  # A million of them would not fit into memory.
        try:
            values.append(as_floats(series))
        except TfBundleError as error:
            paths = dict.fromkeys(stretch.file.path for stretch in assembly.stretches[tag])
            troubles.append(trouble_of(error, next(iter(paths)), run, tag))
            continue
        names.append(tag)
        counts.append(len(series))
        steps.append(series.steps)
        walls.append(series.wall_times)
    return RunPoints(
        run, names, counts, np.concatenate(steps), np.concatenate(walls), np.concatenate(values, dtype=np.float64)
    )


def _plain_columns(stretches: list[Stretch]) -> list[tuple[Column, Array]] | None:
    """Return the points of a tag, and their numbers, file by file; ``None`` if they are not plain numbers of one kind.

    These need no series, which costs more than the points of a tag that has one.
    """
    kind = stretches[0].kind
    if any(one.kind != kind for one in stretches) or kind[0] != SIMPLE_VALUE:
        return None
    found = []
    for one in stretches:
        if one.column.numbers is None:
            return None
        found.append((one.column, one.column.numbers))
    return found
