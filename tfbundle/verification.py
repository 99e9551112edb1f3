"""Checks whatever a path holds: a checkpoint with its graph, a SavedModel, a graph, event files and other records.

Where there are checksums they are compared, and what has none is read to its end. Nothing is needed to start with, so
that a path to an HTML page or to nothing at all gives a report too. What is not there to be checked is not loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING

from tfbundle.checkpoint.findings import CheckedFile, Finding, Report, finding_of
from tfbundle.checkpoint.inspection import inspect, report_of
from tfbundle.checkpoint.names import META_SUFFIX, Format, prefix_of_member, scan_folder
from tfbundle.checkpoint.paths import find_checkpoint, is_saved_model
from tfbundle.checkpoint.stores import from_root
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.identify import FileKind, identify
from tfbundle.storage import is_file, is_folder, stat_file

if TYPE_CHECKING:
    from tfbundle.graph.graph import Graph

Progress = Callable[[int, int], None]


def verify(path: str | os.PathLike[str], *, format: Format | None = None, progress: Progress | None = None) -> Report:
    """Check every checksum of a checkpoint, and everything else that can be told from its files.

    ``path`` and ``format`` are as for ``open_checkpoint``. The ``.meta`` beside a checkpoint and the graphs and assets
    of a SavedModel are checked with it. Without a ``format``, ``path`` may also be a graph, which has no checksums and
    whose constants are decoded; an event file or another file of records, compressed or not; and a folder in which
    there are event files and no checkpoint.

    ``progress`` is called with the bytes done and the bytes there are, or of a graph alone with the constants. Damage
    of any kind is a finding; only what the operating system refuses (such as a file that may not be read) raises, as
    ``OSError``.
    """
    path = os.fspath(path)
    try:
        prefix = from_root(find_checkpoint(path, format)).prefix
    except TfBundleError as error:
        other = None
        with suppress(TfBundleError):  # Of what is no regular file ``inspect`` says what it is.
            other = _verify_other(path, error, progress) if format is None else None
        return inspect(path, format, progress) if other is None else other
    graphs = [prefix + META_SUFFIX] if is_file(prefix + META_SUFFIX) else []
    if is_saved_model(path):
        graphs.append(os.path.abspath(_file_of_saved_model(path)))
    return reduce(_joined, map(_verify_graph, graphs), inspect(path, format, progress))


def _verify_other(path: str, error: TfBundleError, progress: Progress | None) -> Report | None:
    """Check what is no checkpoint, for the reason that ``error`` gives, if it is of another kind that is known."""
    if is_saved_model(path):
        return _verify_graph(_file_of_saved_model(path), progress, missing=error)
    if is_folder(path):
        return None if any(scan_folder(path)) else _verify_runs(path, progress)
    if not is_file(path):
        return None
    if _holds_graph(path):
        return _verify_graph(path, progress, missing=error)
    return _verify_records(path, progress) if _holds_records(path) else None


def _joined(report: Report, other: Report) -> Report:
    """What two reports found; of what else they say, the first one's."""
    findings, stories, files = (
        getattr(report, field) + getattr(other, field) for field in ("findings", "stories", "files")
    )
    return replace(report, findings=findings, stories=stories, files=files)


# Graphs.


def _holds_graph(path: str) -> bool:
    from tfbundle.graph.reading import holds_graph

    return holds_graph(path)


def _file_of_saved_model(path: str) -> str:
    from tfbundle.graph.reading import find_saved_model

    return find_saved_model(path)


def _verify_graph(path: str, progress: Progress | None = None, *, missing: TfBundleError | None = None) -> Report:
    """Check a graph's file; ``missing`` says that its checkpoint is not there, which matters where it needs one."""
    from tfbundle.graph.restoring import VARIABLE_OPS
    from tfbundle.graph.weights import ConstantStore

    findings: list[Finding] = []
    try:
        graphs = _load_graphs(path, findings)
        stores = [ConstantStore(graph, path) for graph in graphs]
    except TfBundleError as error:
        return replace(report_of(path, finding_of(error, "graph"), "graph"), format="graph")
    # A graph without variables needs no checkpoint, and one that is called like none is asked about alone.
    is_part = prefix_of_member(path) is not None or is_saved_model(path)
    has_variables = any(graph.op_counts[op] for graph in graphs for op in VARIABLE_OPS)
    if is_part and has_variables and isinstance(missing, MissingFileError):
        findings.append(finding_of(missing, "missing"))
    damaged = [finding for store in stores for finding in store.check(progress)]
    constants = sum(len(store.records()) for store in stores)
    file = CheckedFile(path, "graph", _size(path), sum(len(graph.nodes) for graph in graphs))
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


def _holds_records(path: str) -> bool:
    kind = identify(path)
    if kind in (FileKind.EVENTS, FileKind.TFRECORD) or _is_called_events(path):
        return True
    if kind not in (FileKind.GZIP, FileKind.UNKNOWN):
        return False
    from tfbundle.formats.tfrecord import read_records

    # Compressed, or else the first record would have told.
    try:
        with read_records(path) as records:
            return next(records, None) is not None and records.compression != "NONE"
    except FormatError:
        return False


def _is_called_events(path: str) -> bool:
    return "tfevents" in os.path.basename(path)


def _verify_runs(folder: str, progress: Progress | None) -> Report | None:
    from tfbundle.events.files import find_runs

    paths = [path for run in find_runs(folder).values() for path in run]
    if not paths:
        return None
    sizes = [_size(path) or 0 for path in paths]
    total, before = sum(sizes), 0
    reports = []
    for path, size in zip(paths, sizes, strict=True):
        try:
            reports.append(_verify_records(path, progress and partial(_moved, progress, before, total)))
        except TfBundleError as error:  # It is no regular file, or was deleted meanwhile.
            reports.append(replace(report_of(path, finding_of(error, "record"), "events"), format="events"))
        before += size
    nbytes = sum(report.nbytes for report in reports)
    return replace(reduce(_joined, reports), path=folder, prefix=None, nbytes=nbytes)


def _moved(progress: Progress, before: int, total: int, done: int, _: int) -> None:
    """Progress of a file as that of all of them."""
    progress(before + done, total)


def _verify_records(path: str, progress: Progress | None) -> Report:
    from tfbundle.events.messages import decode_event
    from tfbundle.formats.tfrecord import read_records

    format = "events" if _is_called_events(path) or identify(path) is FileKind.EVENTS else "records"
    size = _size(path) or 0
    findings = []
    count = nbytes = 0
    with read_records(path, salvage=True) as records:
        for payload in records:
            if progress is not None and not count % 1000:
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
    if records.compression != "NONE":
        # What is known are places in the stream, which are none in the file.
        findings = [replace(finding, offset=None, size=None) for finding in findings]
    file = CheckedFile(path, format, size, count)
    return Report(path, path, format, 0, nbytes, tuple(findings), files=(file,))


def _size(path: str) -> int | None:
    facts = stat_file(path)
    return None if facts is None else facts.size
