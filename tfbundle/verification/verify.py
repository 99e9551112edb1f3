"""Checks whatever a path holds: a checkpoint with its graph, a SavedModel, a graph, event files and other records.

A folder is checked for all that TensorFlow leaves of a run, and any other path for what it means alone. Where there are
checksums they are compared, and what has none is read to its end. Nothing is needed to start with, so that a path to an
HTML page or to nothing at all gives a report too. What is not there to be checked is not loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from tfbundle.checkpoint.find.names import META_SUFFIX, Format, prefix_of_member, scan_folder
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.find.saved_models import is_saved_model
from tfbundle.checkpoint.find.state import STATE_NAME
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.findings import CheckedFile, Finding, Report, finding_of
from tfbundle.identification.files import identify_source, is_event_file_name, kind_of
from tfbundle.identification.kinds import PLACEHOLDERS, FileKind
from tfbundle.progress import Progress
from tfbundle.storage.base import Source
from tfbundle.storage.local import LocalSource, file_size, is_file, is_folder
from tfbundle.storage.locations import locate
from tfbundle.verification.checkpoints import inspect, report_of

if TYPE_CHECKING:
    from tfbundle.formats.records.reader import Loss
    from tfbundle.graph.graph import Graph

# What TensorFlow 1 calls the graph of a run beside its checkpoints and event files.
_GRAPH_OF_RUN = "graph.pbtxt"


def verify(path: str | os.PathLike[str], *, format: Format | None = None, progress: Progress | None = None) -> Report:
    """Check every checksum of a checkpoint, and everything else that can be told from its files.

    ``path`` and ``format`` are as for ``open_checkpoint``. The ``.meta`` beside a checkpoint and the graphs and assets
    of a SavedModel are checked with it. Without a ``format``, ``path`` may also be a graph, which has no checksums and
    whose constants are decoded, or an event file or another file of records, compressed or not. And a folder means a
    run: the checkpoint that ``open_checkpoint`` opens, if there is one, all event files in the folder and below it, and
    ``graph.pbtxt``. Its other checkpoints are not checked.

    ``progress`` is called with the bytes done and the bytes there are, or of a graph alone with the constants. Damage
    of any kind is a finding, and so is what the operating system does not read.
    """
    path = os.fspath(path)
    is_run = format is None and is_folder(path)
    folder = os.path.join(os.getcwd(), path)
    try:
        logs = _find_logs(folder) if is_run else {}
    except OSError as error:
        return report_of(path, finding_of(error, "missing"))
    steps = _Steps(progress, sum(logs.values()))
    model = _verify_model(path, format, steps, is_needed=not logs)
    reports = [] if model is None else [model]
    for log, size in logs.items():
        steps.begin(size)
        reports.append(_verify_records(log, "events", steps))
    if is_run and is_file(os.path.join(folder, _GRAPH_OF_RUN)):
        reports.append(_verify_graph(os.path.join(folder, _GRAPH_OF_RUN)))
    report = reduce(_joined, reports)
    return replace(report, path=path, prefix=None) if model is None else report


class _Steps:
    """Tells the progress of several checks, one behind the other, as that of one."""

    def __init__(self, tell: Progress | None, later: int) -> None:
        """The first check begins, and those behind it have ``later`` bytes."""
        self._tell = tell
        self._before = self._total = 0
        self._later = later

    def begin(self, size: int) -> None:
        """Another check begins, of so many bytes."""
        self._before += self._total
        self._total = size
        self._later -= size

    def __call__(self, done: int, total: int) -> None:
        """Tell of the current check."""
        self._total = total
        if self._tell is not None:
            self._tell(self._before + done, self._before + total + self._later)


def _verify_model(path: str, format: Format | None, progress: Progress, *, is_needed: bool) -> Report | None:
    """Check a checkpoint or a SavedModel, with the graphs that belong to it, or whatever else a file is.

    ``None`` for a folder in which nothing speaks of one, unless it ``is_needed``.
    """
    try:
        prefix = find_checkpoint(path, format).prefix.absolute().path
    except (TfBundleError, OSError) as error:
        if not is_needed and not _has_model(path):
            return None
        other = None
        with suppress(TfBundleError, OSError):  # Of what is no regular file ``inspect`` says what it is.
            other = _verify_other(path, error, progress) if format is None else None
        return inspect(path, format, progress) if other is None else other
    graphs = [prefix + META_SUFFIX] if is_file(prefix + META_SUFFIX) else []
    if is_saved_model(path):
        graphs.append(os.path.abspath(_file_of_saved_model(path)))
    return reduce(_joined, map(_verify_graph, graphs), inspect(path, format, progress))


def _has_model(folder: str) -> bool:
    """Whether a folder has a SavedModel, or any sign of a checkpoint."""
    state = os.path.join(folder, STATE_NAME)
    return is_file(state) or is_saved_model(folder) or any(scan_folder(locate(folder)))


def _verify_other(path: str, error: TfBundleError | OSError, progress: Progress) -> Report | None:
    """Check what is no checkpoint, for the reason that ``error`` gives, if it is of another kind that is known."""
    if is_saved_model(path):
        return _verify_graph(_file_of_saved_model(path), progress, missing=error)
    if not is_file(path):
        return None
    if _holds_graph(path):
        return _verify_graph(path, progress, missing=error)
    format = _format_of_records(path)
    return None if format is None else _verify_records(path, format, progress)


def _joined(report: Report, other: Report) -> Report:
    """What two reports found and verified; of what else they say, the first one's."""
    findings, stories, files, nbytes = (
        getattr(report, field) + getattr(other, field) for field in ("findings", "stories", "files", "nbytes")
    )
    return replace(report, findings=findings, stories=stories, files=files, nbytes=nbytes)


# Graphs.


def _holds_graph(path: str) -> bool:
    from tfbundle.graph.reading import holds_graph

    return holds_graph(path)


def _file_of_saved_model(path: str) -> str:
    from tfbundle.graph.reading import find_saved_model

    return find_saved_model(path)


def _verify_graph(path: str, progress: Progress | None = None, *, missing: Exception | None = None) -> Report:
    """Check a graph's file; ``missing`` says that its checkpoint is not there, which matters where it needs one."""
    from tfbundle.graph.restoring import VARIABLE_OPS
    from tfbundle.graph.weights import ConstantStore

    findings: list[Finding] = []
    try:
        graphs = _load_graphs(path, findings)
        stores = [ConstantStore(graph, path) for graph in graphs]
    except (TfBundleError, OSError) as error:
        return replace(report_of(path, finding_of(error, "graph"), "graph"), format="graph")
    # A graph without variables needs no checkpoint, and one that is called like none is asked about alone.
    is_part = prefix_of_member(path) is not None or is_saved_model(path)
    has_variables = any(graph.op_counts[op] for graph in graphs for op in VARIABLE_OPS)
    if is_part and has_variables and isinstance(missing, MissingFileError):
        findings.append(finding_of(missing, "missing"))
    damaged = [finding for store in stores for finding in store.check(progress)]
    constants = sum(len(store.records()) for store in stores)
    file = CheckedFile(path, "graph", file_size(path), sum(len(graph.nodes) for graph in graphs))
    findings += damaged
    return Report(path, path, "graph", constants, 0, tuple(findings), constants - len(damaged), files=(file,))


def _load_graphs(path: str, findings: list[Finding]) -> list[Graph]:
    """All graphs of a file; of a SavedModel also look for its assets."""
    from tfbundle.graph.loading import load_any
    from tfbundle.graph.meta_graph import MetaGraph
    from tfbundle.graph.saved_model import SavedModel

    loaded = load_any(path)
    if isinstance(loaded, SavedModel):
        for asset in loaded.assets:
            if not asset.exists:
                message = f"the asset {asset.path} is not there, which the model reads when it is loaded"
                findings.append(Finding("missing", message, asset.path))
        return [meta_graph.graph for meta_graph in loaded.meta_graphs]
    return [loaded.graph if isinstance(loaded, MetaGraph) else loaded]


# Records.


def _format_of_records(path: str) -> str | None:
    """``"events"`` or ``"records"``, or ``None`` for a file of neither."""
    kind = FileKind.EVENTS if is_event_file_name(os.path.basename(path)) else kind_of(path)
    if kind is FileKind.EVENTS:
        return "events"
    if kind is FileKind.TFRECORD:
        return "records"
    if kind not in (FileKind.GZIP, FileKind.UNKNOWN):
        return None
    from tfbundle.formats.records.tfrecord import read_records

    # Compressed, or else the first record would have told.
    try:
        with read_records(path) as records:
            return "records" if next(records, None) is not None and records.compression != "NONE" else None
    except FormatError:
        return None


def _find_logs(folder: str) -> dict[str, int]:
    """The event files of all runs below a folder, with their sizes."""
    from tfbundle.events.files import find_runs

    files = (file for files in find_runs(folder).runs.values() for file in files)
    return {file.path: stat.size if (stat := file.stat()) is not None else 0 for file in files}


def _verify_records(path: str, format: str, progress: Progress) -> Report:
    from tfbundle.events.messages import decode_event
    from tfbundle.formats.records.tfrecord import read_records

    size = file_size(path) or 0
    findings = []
    count = nbytes = 0
    try:
        opened = read_records(path, salvage=True)
    except (TfBundleError, OSError) as error:  # It is no regular file, may not be read, or was deleted meanwhile.
        return replace(report_of(path, finding_of(error, "record"), format), format=format)
    with opened as records:
        for payload in records:
            if not count % 1000:
                progress(min(records.offset, size), size)
            count += 1
            nbytes += len(payload)
            try:
                if format == "events":
                    decode_event(payload)
            except FormatError as error:
                finding = finding_of(error.locate(path=path, offset=records.offset), "record")
                findings.append(replace(finding, size=len(payload)))
                count -= 1
    findings += (
        replace(finding_of(loss.error, "record"), offset=loss.offset, size=loss.size) for loss in records.losses
    )
    if records.truncation is not None:
        offset, there = records.truncation
        what = f"the last record of {path}, at offset {offset}, is half there, with {there} bytes"
        if not there:
            what = f"the compressed stream in {path} ends too early, and records may be lost"
        message = f"{what}; its writer is still at work, or was stopped, or a copy of the file was"
        findings.append(Finding("truncated", message, path, None, None, offset, there))
    if not count and size and (kind := kind_of(path)) in PLACEHOLDERS:
        findings = [Finding("wrong-file", f"{path} is {kind.value}; {kind.advice}", path)]
    if records.compression != "NONE":
        # What is known are places in the stream, which are none in the file.
        findings = [replace(finding, offset=None, size=None) for finding in findings]
    stories = _tell_of_records(path, records.losses if records.compression == "NONE" else (), is_lost=not count)
    file = CheckedFile(path, format, size, count)
    return Report(path, path, format, 0, nbytes, tuple(findings), stories=stories, files=(file,))


def _tell_of_records(path: str, losses: Sequence[Loss], *, is_lost: bool) -> tuple[str, ...]:
    """What probably happened to a file of records, of which perhaps none is left."""
    if not losses:
        return ()
    with suppress(TfBundleError, OSError), closing(LocalSource(path)) as source:
        for story in _stories_of_records(source, losses, is_lost=is_lost):
            return (f"{path} {story}",)
    return ()


def _stories_of_records(source: Source, losses: Sequence[Loss], *, is_lost: bool) -> Iterator[str]:
    from tfbundle.verification.file_causes import find_zeros, tell_transfer, tell_zeros

    yield from tell_transfer(source, identify_source(source) if is_lost else FileKind.EVENTS, None)
    for loss in (losses[-1], losses[0]):
        zeros = find_zeros(source, loss.offset, loss.offset + loss.size)
        if zeros is not None:
            yield tell_zeros(source, zeros)
