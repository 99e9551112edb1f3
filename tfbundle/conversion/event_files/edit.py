r"""Editing of event files: tags renamed and dropped, steps cut and shifted, restarts cleaned up, files merged.

    import tfbundle

    tfbundle.edit_events("logs/", "clean/", exclude="debug/*", rename={r"^model/(\w+)": r"\1"}, purge=True)
    tfbundle.edit_events("logs/", "clean/", first_step=1000, shift_steps=-1000, dry_run=True).items

Everything is read and planned first (``plan``), so that errors are raised before anything is written. Then each file is
read again and written under a temporary name (``rewriting``). Unchanged records are copied with their checksums; in the
others, only the changed fields are encoded again (``splicing``). The new files get their names once all of them are
complete and, if they replace others, on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tfbundle.conversion.event_files.plan import Choices, EditItem, RunPlan, plan_runs
from tfbundle.conversion.event_files.rewriting import rewrite_file
from tfbundle.conversion.event_files.splicing import Shift
from tfbundle.conversion.event_files.targets import Target, Targets, find_targets
from tfbundle.conversion.renaming import Rename
from tfbundle.errors import MissingFileError
from tfbundle.events.by_name import Names
from tfbundle.events.file import EventFile, Options
from tfbundle.events.files import find_runs, parts_of_run
from tfbundle.events.unusual import UnusualBudget
from tfbundle.formats.records.reader import Loss, Truncation
from tfbundle.plurals import plural
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.changing import make_folders, make_folders_below, remove_empty_folder
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.storage.placing import replace_all
from tfbundle.storage.staging import OpenFiles, StagedFile

__all__ = ["EditItem", "EditedEvents", "edit_events"]

# The start of temporary names. TensorBoard reads every file with "tfevents" in its name; this library reads none with
# a leading dot.
_TEMPORARY = ".edited"


@dataclass(frozen=True)
class EditedEvents:
    """The result of ``edit_events``, or of a dry run.

    ``path`` is the output, and ``files`` are all of its files; ``removed`` are files whose events are now in a merged
    one. ``items`` has a row for every series of every run, including those left out. ``truncations`` and ``losses``
    describe the data of each source file that was not read, as those of a ``Run`` do, and ``unreadable`` has the error
    for each folder that could not be listed.
    """

    path: str
    files: tuple[str, ...]
    removed: tuple[str, ...]
    items: tuple[EditItem, ...]
    truncations: Mapping[str, Truncation]
    losses: Mapping[str, Sequence[Loss]]
    unreadable: Mapping[str, OSError]
    dry_run: bool = False

    @property
    def points(self) -> int:
        """The number of points kept."""
        return sum(item.kept for item in self.items)

    @property
    def left_out(self) -> int:
        """The number of points left out."""
        return sum(item.points - item.kept for item in self.items)

    def __repr__(self) -> str:
        verb = "would be written" if self.dry_run else "written"
        return f"<EditedEvents {self.path!r}, {plural(len(self.files), 'file')}, {plural(self.points, 'point')} {verb}>"


def edit_events(
    source: StrPath,
    out: StrPath,
    *,
    tags: Names = None,
    exclude: Names = None,
    rename: Rename | None = None,
    first_step: int | None = None,
    last_step: int | None = None,
    shift_steps: int = 0,
    shift_time: float = 0.0,
    purge: bool = False,
    merge: bool = False,
    salvage: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> EditedEvents:
    r"""Write event files again, with changes.

    ``source`` is an event file, the folder of a run, or a tree of runs. ``out`` is a folder, in which runs and files
    have the same names as in the source; for a single file it may also be a name that contains ``tfevents``, which
    TensorBoard requires of event files. Files of other kinds are not copied.

    * ``tags`` are the only ones to keep, and ``exclude`` those to drop: a name, a glob, a compiled pattern, a function,
      or a list of these.
    * ``rename`` is as for ``convert``: ``{old: new}``, where an old name that no tag has is a regular expression with
      its replacement (``{r"^layer_(\d+)/": r"layers/\1/"}``), a list of such pairs in order, or a function. Two tags of
      a run must not get the same name. Names of tags in other data, such as a layout of charts, are not changed.
    * ``first_step`` and ``last_step`` are the first and the last step to keep; ``shift_steps`` is then added to the
      steps, and ``shift_time`` (seconds) to all wall times. Graphs and other data without a training step, such as
      hyperparameters, are neither cut nor shifted in steps.
    * ``purge`` drops data that a restart made obsolete: in each tag every point that is followed by one with the same
      or a smaller step, as TensorBoard's data server does.
    * ``merge`` writes the files of a run into one, in their order, under the name of the first.

    Events without changes are copied byte for byte, with their checksums; in the others only the changed fields are
    encoded again, and unknown fields are kept. Metadata of the first value of a tag move to the first value that is
    kept. The output is never compressed, because TensorBoard does not read compressed files. Memory holds about fifty
    bytes for each point, and one window of a file.

    Event files are replaced only with ``overwrite=True``, which also allows editing a run in place; its files are then
    merged into one of them. A folder with event files of another run is rejected. ``dry_run=True`` reads, plans and
    checks, and writes nothing. ``progress`` is called with the bytes read and the total number of bytes.

    A damaged file raises ``ChecksumError`` or ``FormatError`` with the offset, and an unreadable one ``OSError``,
    unless ``salvage`` leaves out damaged and unreadable data (``losses``, ``unreadable``); a file without any intact
    event is still an error if it would replace another. An incomplete last record is left out (``truncations``). Raises
    ``KeyError`` for patterns that match no tag of any run, ``ValueError`` for invalid arguments and colliding names,
    and ``MissingFileError`` if there are no event files. After an error, the existing files are unchanged.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    source = with_options(source, storage_options)
    out = with_options(out, storage_options)
    choices = Choices(tags, exclude, rename, purge, first_step, last_step, Shift(shift_steps, float(shift_time)))
    found = find_runs(source)
    if found.unreadable and not salvage:
        raise next(iter(found.unreadable.values()))
    if not found.runs:
        raise MissingFileError(f"there are no event files below {locate(source)}", path=locate(source).path)
    place = locate(out)
    targets = find_targets(place, found.runs, merge=merge, overwrite=overwrite)
    count = _Counter(found.runs, progress, passes=1 if dry_run else 2)
    options, unusual = Options(salvage=salvage), UnusualBudget()
    runs: dict[str, list[EventFile]] = {}
    for name, files in found.runs.items():
        runs[name] = [EventFile(file, options, unusual) for file in files]
        for file in runs[name]:
            file.read(count)
    plans = {plan.name: plan for plan in plan_runs(runs, choices)}
    runs.clear()  # The points are no longer needed.
    targets = _without_unread(targets, plans)
    if targets.targets and not dry_run:
        _write(place, targets, plans, choices.shift, count, salvage=salvage)
    return EditedEvents(
        place.path,
        tuple(target.location.path for target in targets.targets),
        tuple(location.path for location in targets.removed),
        tuple(item for plan in plans.values() for item in plan.items),
        {path: one for plan in plans.values() for path, one in plan.truncations.items()},
        {path: one for plan in plans.values() for path, one in plan.losses.items()},
        found.unreadable,
        dry_run,
    )


def _without_unread(targets: Targets, plans: Mapping[str, RunPlan]) -> Targets:
    """Return the targets for which something was read.

    Raises the error of a file of which nothing could be read, if its target would replace another file.
    """
    unread = {file.location.real(): plan for plan in plans.values() for file in plan.files if file.is_unread}
    for location in (*(target.location for target in targets.targets), *targets.removed):
        plan = unread.get(location.real())
        if plan is not None:
            raise plan.losses[location.path][0].error
    kept = [one for one in targets.targets if not all(plans[one.run].files[number].is_unread for number in one.files)]
    return targets._replace(targets=kept)


class _Counter:
    """The number of bytes read, in all passes."""

    def __init__(self, runs: Mapping[str, Sequence[Location]], progress: Progress | None, *, passes: int) -> None:
        stats = [file.stat() for files in runs.values() for file in files] if progress is not None else []
        self._total = passes * sum(stat.size for stat in stats if stat is not None)
        self._progress = progress
        self._done = 0

    def __call__(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)


def _write(
    out: Location,
    targets: Targets,
    plans: Mapping[str, RunPlan],
    shift: Shift,
    advance: Callable[[int], None],
    *,
    salvage: bool,
) -> None:
    with ExitStack() as stack:
        for target in targets.targets:
            _make_folder(out, target, stack)
        # After a power failure the output can be written again, unless it replaced the source.
        sync = bool(targets.removed) or any(target.location.is_file() for target in targets.targets)
        opened = OpenFiles(len(targets.targets), _TEMPORARY, sync=sync)
        staged: list[StagedFile] = []
        for target in targets.targets:
            # A link is followed, as when a program writes to it.
            file = StagedFile(target.location.real(), opened)
            stack.callback(file.discard)
            for number in target.files:
                rewrite_file(plans[target.run].files[number], shift, file.write, salvage=salvage, advance=advance)
            file.finish()
            staged.append(file)
        replace_all(staged, targets.removed, sync=sync)


def _make_folder(out: Location, target: Target, stack: ExitStack) -> None:
    """Make the folder of a target; it is removed again if it is empty in the end because of an error."""
    folder = target.location.parent
    if folder.is_folder():
        return
    parts = parts_of_run(target.run)
    if target.location != out and parts:
        make_folders_below(out, parts)
    else:
        make_folders(folder)
    stack.callback(remove_empty_folder, folder)
