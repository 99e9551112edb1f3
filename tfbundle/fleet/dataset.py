"""The scalars of any number of runs as a folder of Parquet files, of which a second call reads only what is new.

::

    DIR/_manifest.json               what was read of which run (``manifest``)
    DIR/RUN/part-00000.parquet       a partition is a run, or a sweep of several runs
    DIR/RUN/part-00001.parquet       rows that were appended later

Whatever changed, the data set then has the rows that a new one would have:

==============================================  =========================================================
a run                                           its partition
==============================================  =========================================================
has the same files, sizes, times and ETags      stays; nothing is opened
has more at the end of its last file, or new    gets another part, of the new records alone; beyond
files after that one                            ``_MOST_PARTS`` it is written again as one
changed in any other way                        is written again
is gone                                         goes too, unless a folder could not be listed
==============================================  =========================================================

The new state is made in a folder next to ``DIR``, with links to the files that stay, and takes its place in one step.
In an object store, new files get numbers that were not used before, and count once the manifest is replaced
(``storage.folder_updates``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import NamedTuple

from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.events.by_name import Names
from tfbundle.fleet.engines import choose_engine
from tfbundle.fleet.manifest import (
    NAME,
    Manifest,
    Part,
    Partition,
    Selection,
    describe_tags,
    encode_manifest,
    has_function,
    is_file_name,
    read_manifest,
)
from tfbundle.fleet.partitions import PARTITIONS, name_folders
from tfbundle.fleet.parts import MadePart, PlannedPart, make_parts
from tfbundle.fleet.reading import RunState
from tfbundle.fleet.runs import FoundRun, RunFile, as_patterns, find_chosen_runs, group_by_size
from tfbundle.fleet.troubles import EventTroubles
from tfbundle.formats.records.continuation import ReadSoFar
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.changing import make_folder, write_in_place_of
from tfbundle.storage.folder_updates import check_updatable, finish_update, folder_update
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options

# A file of a sweep has the rows of event files of so many bytes together, unless a single run is larger.
_PART_SIZE = 64 << 20
# Many small files are slow to read; a partition that has collected so many is written again.
_MOST_PARTS = 16


class EventDataset(NamedTuple):
    """A data set that ``export_events`` wrote or found up to date.

    ``runs`` counts its runs and ``points`` its rows. ``runs_read`` counts the runs of which anything was read, and
    ``runs_removed`` those that are gone. ``troubles`` has a row for each thing that could not be read, now or before.
    """

    path: str
    runs: int
    points: int
    runs_read: int
    runs_removed: int
    troubles: EventTroubles


class _Plan(NamedTuple):
    """The future of a partition: the files that stay, the states of runs that are not read, and the files to make."""

    name: str
    folder: str
    kept: tuple[Part, ...]
    unread: dict[str, RunState]
    planned: tuple[PlannedPart, ...]


def export_events(
    root: StrPath,
    out: StrPath,
    *,
    tags: Names = None,
    runs: Names = None,
    partition: str = "run",
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> EventDataset:
    """Write the scalars below ``root`` to the folder ``out`` as a Parquet data set, or update an existing one.

    The columns are those of ``event_batches``, whose arguments have the same meaning. ``partition`` is ``"run"``, or
    ``"sweep"`` for one partition for each folder of ``root``, with larger files. ``progress`` is called with the number
    of bytes read so far and the total. ``storage_options`` are those of ``locate``, for URLs.

    Only files that are new, grown or changed since the last call are opened. Runs that no longer exist, or are no
    longer selected, are removed. If ``root``, ``tags`` or ``partition`` are not those of the last call, or ``tags`` has
    a function, everything is read again. Other files in ``out`` are kept. If the process is stopped at any time,
    ``out`` is as it was before, or complete.

    ``out`` may be the URL of a folder in an object store. There, the manifest is replaced last; if the process is
    killed while files are sent, some that the manifest does not have remain until the next call.

    Raises ``MissingFileError`` if there are no event files or no folder for ``out``, ``KeyError`` if one of ``runs``
    matches no run, ``ValueError`` if ``out`` is something other than a data set, ``FormatError`` if its manifest is
    damaged, and ``UnsupportedError`` if pyarrow is not installed or ``out`` cannot be written.
    """
    if partition not in PARTITIONS:
        raise ValueError(f"partition must be one of {', '.join(map(repr, PARTITIONS))}, not {partition!r}")
    root, out = with_options(root, storage_options), with_options(out, storage_options)
    engine = choose_engine(workers, scheduler)
    patterns = as_patterns(tags)
    folder = locate(out).current()
    selection = Selection(locate(root).absolute().path, partition, describe_tags(patterns))
    old = _read_old(folder, selection)
    found, unlisted = find_chosen_runs(root, runs)
    if not found:
        raise MissingFileError(f"there are no event files below {locate(root)}", path=locate(root).path)
    plans = list(_plan(selection, old, found, is_whole=not unlisted))
    planned = [part for plan in plans for part in plan.planned]
    is_current = selection == old.selection and {plan.name for plan in plans} == {one.name for one in old.partitions}
    new = old
    if planned or not is_current:
        tasks = list(group_by_size((part, part.size) for part in planned))
        with closing(engine.map(partial(make_parts, patterns), tasks)) as results:
            made = _counted(results, [sum(part.size for part in task) for task in tasks], progress)
            new = _write(folder, selection, old, plans, chain.from_iterable(made))
    before, after = _states(old), _states(new)
    troubles = EventTroubles(unlisted)
    for state in after.values():
        troubles.extend(state.troubles)
    return EventDataset(
        folder.path,
        len(after),
        sum(part.rows for one in new.partitions for part in one.parts),
        len({run.name for part in planned for run, _ in part.runs}),
        len(before.keys() - after.keys()),
        troubles,
    )


def _states(manifest: Manifest) -> dict[str, RunState]:
    return {name: state for one in manifest.partitions for name, state in one.runs.items()}


def _read_old(folder: Location, selection: Selection) -> Manifest:
    """Return the manifest of the data set in a folder; without one, or with another selection, it has no partitions."""
    check_updatable(folder)
    if folder.is_file():
        raise ValueError(f"{folder} is a file; name a folder")
    if not folder.is_folder():
        return Manifest(selection, ())
    manifest = read_manifest(folder)
    folder = finish_update(folder, set(manifest.files) if manifest is not None else (), is_file_name)
    if manifest is None:
        if folder.is_folder() and folder.list().names:
            raise ValueError(f"{folder} is not empty, and not a data set of this kind; name another folder")
        return Manifest(selection, ())
    return manifest


def _plan(selection: Selection, old: Manifest, found: Iterable[FoundRun], *, is_whole: bool) -> Iterator[_Plan]:
    """Yield what becomes of each partition; with ``is_whole``, runs that were not found are gone."""
    name_of = PARTITIONS[selection.partition]
    by_name: dict[str, dict[str, FoundRun]] = {}
    for run in found:
        by_name.setdefault(name_of(run.name), {})[run.name] = run
    known = {one.name: one for one in old.partitions}
    folders = {one.name: one.folder for one in old.partitions}
    if selection != old.selection or has_function(selection):
        known = {}
    if not is_whole:
        by_name |= {name: {} for name in known if name not in by_name}
    folders = name_folders(by_name, folders)
    for name, runs in by_name.items():
        yield _plan_partition(name, folders[name], runs, known.get(name), is_whole=is_whole)


def _plan_partition(
    name: str, folder: str, runs: dict[str, FoundRun], old: Partition | None, *, is_whole: bool
) -> _Plan:
    everything = _Plan(name, folder, (), {}, tuple(_divide([(run, None) for run in runs.values()])))
    if old is None:
        return everything
    unread = {run: state for run, state in old.runs.items() if run not in runs}
    if unread and is_whole:
        return everything
    must_stay = bool(unread)  # Runs that cannot be found now have rows that cannot be read again.
    fresh: list[tuple[FoundRun, RunState | None]] = []
    for run in runs.values():
        before = old.runs.get(run.name)
        if before is None or _is_grown(run, before):
            fresh.append((run, before))
        elif must_stay or _is_same(run, before):
            unread[run.name] = before
        else:
            return everything
    planned = tuple(_divide(fresh))
    too_many = len(old.parts) + len(planned) > len(everything.planned) + _MOST_PARTS
    if planned and too_many and not must_stay:
        return everything
    return _Plan(name, folder, old.parts, unread, planned)


def _divide(runs: Iterable[tuple[FoundRun, RunState | None]]) -> Iterator[PlannedPart]:
    """Yield the files of which a partition will consist."""
    part: list[tuple[FoundRun, RunState | None]] = []
    size = 0
    for run in runs:
        if part and size + run[0].size > _PART_SIZE:
            yield PlannedPart(tuple(part))
            part, size = [], 0
        part.append(run)
        size += run[0].size
    if part:
        yield PlannedPart(tuple(part))


def _is_same(run: FoundRun, before: RunState) -> bool:
    return {file.location.name: file.stat for file in run.files} == {
        name: state.stat for name, state in before.files.items()
    }


def _is_grown(run: FoundRun, before: RunState) -> bool:
    """Return whether only the last known file has grown, and other files are new and come after it."""
    names = [file.location.name for file in run.files]
    if names[: len(before.files)] != list(before.files) or any(row.tag is not None for row in before.troubles):
        return False
    *others, last = run.files[: len(before.files)]
    if any(file.stat != before.files[file.location.name].stat for file in others):
        return False
    state = before.files[last.location.name]
    if last.stat == state.stat:
        return len(names) > len(before.files)
    if last.stat is None or state.stat is None or state.marks is None or last.stat.size <= state.stat.size:
        return False
    # An object in a store is replaced as a whole, so its ETag changed with its content.
    return last.stat.e_tag is None and _goes_on(last, ReadSoFar(state.position, state.marks))


def _goes_on(file: RunFile, so_far: ReadSoFar) -> bool:
    try:
        source = file.location.open()
        try:
            return so_far.goes_on_in(source)
        finally:
            source.close()
    except (TfBundleError, OSError):
        return False


def _counted(
    made: Iterator[list[MadePart]], sizes: Sequence[int], progress: Progress | None
) -> Iterator[list[MadePart]]:
    done, total = 0, sum(sizes)
    for parts, size in zip(made, sizes, strict=True):
        yield parts
        done += size
        if progress is not None:
            progress(done, total)


def _write(
    folder: Location, selection: Selection, old: Manifest, plans: list[_Plan], made: Iterator[MadePart]
) -> Manifest:
    kept = {f"{plan.folder}/{part.name}" for plan in plans for part in plan.kept}
    dropped = [name for name in old.files if name not in kept]
    numbers = {one.folder: max((part.number for part in one.parts), default=-1) + 1 for one in old.partitions}
    partitions = []
    with folder_update(folder, NAME, dropped) as new:
        for plan in plans:
            parts, states = list(plan.kept), dict(plan.unread)
            number = numbers.get(plan.folder, 0)
            for _ in plan.planned:
                one = next(made)
                states |= one.runs
                if one.data is not None:
                    part = Part(number, one.rows)
                    make_folder(new.join(plan.folder))
                    write_in_place_of(new.join(plan.folder, part.name), one.data)
                    parts.append(part)
                    number += 1
            partitions.append(Partition(plan.name, plan.folder, tuple(parts), states))
        manifest = Manifest(selection, tuple(partitions))
        write_in_place_of(new.join(NAME), encode_manifest(manifest))
    return manifest
