"""The checks of a folder and its subfolders: checkpoints, SavedModels, event files and the graph of a run.

In a folder, the checkpoint that its state file names is checked, or all of its checkpoints if there is no state file.
All others are listed as not checked, so that a report states what it does not cover.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.names import CheckpointFiles, Format, is_incomplete_folder, is_sidecar_folder
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.find.saved_models import is_saved_model
from tfbundle.checkpoint.listing import find_all
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, Report, finding_of
from tfbundle.identification.names import SAVED_MODEL_NAMES, SAVED_MODEL_NOTES, STATE_NAME, VARIABLES
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate
from tfbundle.storage.visits import Visits
from tfbundle.verification.checkpoints import report_of, size_of
from tfbundle.verification.misnamed import check_names
from tfbundle.verification.models import joined, verify_found, verify_model, verify_saved_model
from tfbundle.verification.values import Bytes

# The name that TensorFlow 1 gives the graph of a run, next to its checkpoints and event files.
_GRAPH_OF_RUN = "graph.pbtxt"


class Model(NamedTuple):
    """A checkpoint, or a SavedModel if ``files`` is ``None``, in ``folder``."""

    folder: Location
    files: CheckpointFiles | None

    @property
    def path(self) -> str:
        """The path to pass to check it alone."""
        return self.folder.path if self.files is None else self.files.prefix.path


def verify_folder(
    folder: Location,
    format: Format | None,
    every: bool,
    progress: Progress | None,
    verified: Container[Bytes] = frozenset(),
) -> Report:
    """Check a folder; with ``every``, all checkpoints in it and its subfolders; with ``format``, only checkpoints.

    ``verified`` are bytes of data files that need not be read again.
    """
    try:
        logs = _find_logs(folder) if format is None else {}
        unreadable: list[str] = []
        models = [
            model
            for model in find_models(folder, unreadable)
            if format in (None, "v2" if model.files is None else model.files.format)
        ]
    except (TfBundleError, OSError) as error:
        return report_of(folder.path, finding_of(error, "missing"))
    steps = _Steps(progress, sum(logs.values()))
    own = [model for model in models if model.folder == folder]
    chosen = models if every else _choose(folder, own, format)
    reports = []
    listings = Listings()
    for model in chosen:
        steps.begin(0)
        reports.append(_verify(model, steps, listings, verified))
    is_alone = not chosen and bool(own or not logs or folder.join(STATE_NAME).is_file())
    if is_alone:
        reports.append(verify_model(folder, format, steps, verified))
    checked = {_identity(locate(item.prefix), item.format) for report in reports for item in report.checkpoints}
    checked_models = set(chosen)
    others = [
        model.path
        for model in models
        if model not in checked_models
        and not (is_alone and model == Model(folder, None))
        and (model.files is None or _identity(model.files.prefix, model.files.format) not in checked)
    ]
    for log, size in logs.items():
        from tfbundle.verification.records import verify_records

        steps.begin(size)
        reports.append(verify_records(locate(log), "events", steps))
    graph = folder.join(_GRAPH_OF_RUN)
    if format is None and graph.is_file():
        from tfbundle.verification.graphs import verify_graph

        reports.append(verify_graph(graph.path))
    findings = tuple(_check_folder(folder, own, is_alone=is_alone)) if format is None else ()
    reports.append(Report(folder.path, findings=findings, not_checked=tuple(dict.fromkeys([*others, *unreadable]))))
    report = replace(_summed(reports), path=folder.path)
    return report if reports[0].checkpoints or not logs or own else replace(report, prefix=None)


def _choose(folder: Location, own: list[Model], format: Format | None) -> list[Model]:
    """Return which models of a folder to check; none if the folder itself determines its checkpoint."""
    if folder.join(STATE_NAME).is_file() or is_saved_model(folder.path):
        return []
    if len(own) != 1:
        return own
    try:  # Its index may be missing, or the folder may have the name of a checkpoint next to it.
        find_checkpoint(folder, format)
    except (TfBundleError, OSError):
        return own
    return []


def _check_folder(folder: Location, own: list[Model], *, is_alone: bool) -> Iterator[Finding]:
    """Yield findings about the state file, unless it was used to check the folder, and about misnamed files."""
    try:
        if not is_alone and folder.join(STATE_NAME).is_file():
            find_checkpoint(folder)
    except (TfBundleError, OSError) as error:
        yield finding_of(error, "missing")
    others = [STATE_NAME, _GRAPH_OF_RUN]
    others += (*SAVED_MODEL_NAMES, *SAVED_MODEL_NOTES) if is_saved_model(folder) else ()
    try:
        yield from check_names(folder, {model.files.prefix.name for model in own if model.files is not None}, others)
    except (TfBundleError, OSError) as error:  # The folder was just removed.
        yield finding_of(error, "missing")


def _summed(reports: list[Report]) -> Report:
    report = reduce(joined, reports)
    checkpoints = report.checkpoints
    if len(checkpoints) < 2:
        return report
    formats = {item.format for item in checkpoints}
    return replace(
        report,
        prefix=None,
        format=formats.pop() if len(formats) == 1 else None,
        tensors=sum(item.tensors for item in checkpoints),
        recoverable=sum(item.recoverable for item in checkpoints),
    )


def _verify(model: Model, progress: Progress, listings: Listings, verified: Container[Bytes]) -> Report:
    if model.files is None:
        return verify_saved_model(model.folder, progress, verified)
    return verify_found(model.files, progress, listings, verified)


def _identity(prefix: Location, format: str) -> tuple[Hashable, str]:
    return prefix.parent.real().join(prefix.name), format


def find_models(root: Location, unreadable: list[str]) -> Iterator[Model]:
    """Yield all checkpoints and SavedModels in a folder and its subfolders, found by the names of their files.

    Raises ``MissingFileError`` or ``OSError`` if the folder cannot be listed. The paths of subfolders that cannot be
    listed are added to ``unreadable``, unless they were just removed.
    """
    visits = Visits()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            listing = visits.list(folder)
            if listing is None:
                continue
            below = [name for name in listing.names if listing.is_folder(name) and not is_sidecar_folder(name)]
            if is_saved_model(folder.path):
                yield Model(folder, None)
                below = [name for name in below if name != VARIABLES]
            yield from (Model(folder, files) for files in find_all(folder))
        except (TfBundleError, OSError) as error:
            if folder is root:
                raise
            if not isinstance(error, FileNotFoundError):
                unreadable.append(folder.path)
            continue
        waiting += (folder.join(name) for name in reversed(below) if not is_incomplete_folder(name))


def _find_logs(folder: Location) -> dict[str, int]:
    """Return the event files of all runs below a folder, with their sizes in bytes."""
    from tfbundle.events.files import find_runs

    files = (file for files in find_runs(folder.path).runs.values() for file in files)
    return {file.path: size_of(file) or 0 for file in files}


class _Steps:
    """Reports the progress of several consecutive checks as that of one."""

    def __init__(self, progress: Progress | None, later: int) -> None:
        """Begin the first check; those after it have ``later`` bytes in total."""
        self._progress = progress
        self._before = self._total = 0
        self._later = later

    def begin(self, size: int) -> None:
        """Begin the next check, of ``size`` bytes."""
        self._before += self._total
        self._total = size
        self._later -= size

    def __call__(self, done: int, total: int) -> None:
        """Report the progress of the current check."""
        self._total = total
        if self._progress is not None:
            self._progress(self._before + done, self._before + total + self._later)
