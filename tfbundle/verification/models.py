"""The checks of a checkpoint with its graphs, a SavedModel, or any other file."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from dataclasses import replace
from functools import reduce

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.misplaced import describe_missing_variables
from tfbundle.checkpoint.find.names import CheckpointFiles, Format, find_files
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.find.saved_models import is_saved_model, variables_prefix
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.findings import Report, finding_of
from tfbundle.identification.names import INDEX_SUFFIX, META_SUFFIX
from tfbundle.progress import Progress
from tfbundle.storage.base import Location
from tfbundle.verification.checkpoints import verify_checkpoint, verify_files
from tfbundle.verification.saved_models import check_fingerprint
from tfbundle.verification.values import Bytes


def verify_model(
    location: Location, format: Format | None, progress: Progress, verified: Container[Bytes] = frozenset()
) -> Report:
    """Check a checkpoint or a SavedModel with its graphs, or a file of any other kind.

    ``verified`` are bytes of data files that need not be read again.
    """
    path = location.path
    try:
        files = find_checkpoint(location, format)
    except (TfBundleError, OSError) as error:
        other = None
        with suppress(TfBundleError, OSError):  # verify_checkpoint reports irregular files.
            other = _verify_other(location, error, progress) if format is None else None
        return verify_checkpoint(path, format, progress, verified) if other is None else other
    is_model = is_saved_model(path)
    if is_model:
        folder = location if location.is_folder() else location.parent
        if files.prefix.absolute() == variables_prefix(folder).absolute():
            return verify_saved_model(location, progress, verified)
    report = _with_graphs(verify_files(path, files, progress, verified=verified), _meta_of(files.prefix))
    # The file of a SavedModel with a checkpoint elsewhere: a state file names it, or the file is of another kind.
    return joined(report, verify_saved_model(location, progress)) if is_model else report


def verify_saved_model(location: Location, progress: Progress, verified: Container[Bytes] = frozenset()) -> Report:
    """Check a SavedModel, given its folder or a file in it: its variables, graphs, assets and fingerprint."""
    from tfbundle.graph.reading import find_saved_model
    from tfbundle.verification.graphs import verify_graph

    file = find_saved_model(location)
    prefix = variables_prefix(file.parent)
    files = find_files(prefix)
    if files is None:
        error = MissingFileError(describe_missing_variables(file.parent), path=prefix.path + INDEX_SUFFIX)
        return verify_graph(file.path, progress, missing=error)
    report = verify_files(location.path, files, progress, verified=verified)
    return joined(_with_graphs(report, [*_meta_of(prefix), file]), check_fingerprint(file.parent, prefix))


def verify_found(
    files: CheckpointFiles, progress: Progress, listings: Listings, verified: Container[Bytes] = frozenset()
) -> Report:
    """Check a checkpoint that was found in a folder, with its graph; ``listings`` caches listed folders."""
    return _with_graphs(verify_files(files.prefix.path, files, progress, listings, verified), _meta_of(files.prefix))


def joined(report: Report, other: Report) -> Report:
    """Return the first report, extended by the findings and statistics of the second."""
    return replace(
        report,
        findings=report.findings + other.findings,
        causes=report.causes + other.causes,
        files=report.files + other.files,
        nbytes=report.nbytes + other.nbytes,
        checkpoints=report.checkpoints + other.checkpoints,
        not_checked=report.not_checked + other.not_checked,
    )


def _meta_of(prefix: Location) -> list[Location]:
    meta = prefix.plus(META_SUFFIX)
    return [meta] if meta.is_file() else []


def _with_graphs(report: Report, graphs: list[Location]) -> Report:
    if not graphs:
        return report
    from tfbundle.verification.graphs import verify_graph

    whole = reduce(joined, (verify_graph(graph.path) for graph in graphs), report)
    return replace(whole, checkpoints=tuple(item._replace(ok=whole.ok) for item in whole.checkpoints))


def _verify_other(location: Location, error: TfBundleError | OSError, progress: Progress) -> Report | None:
    """Check a path of another known kind; ``error`` is the reason why it is not a checkpoint."""
    path = location.path
    if is_saved_model(path):
        report = verify_saved_model(location, progress)
        folder = location if location.is_folder() else location.parent
        if isinstance(error, MissingFileError) and error.path == variables_prefix(folder).plus(INDEX_SUFFIX).path:
            return report  # It reports whether the model needs variables.
        return joined(report, Report(path, findings=(finding_of(error, "missing"),)))  # Perhaps about a state file.
    if not location.is_file():
        return None
    from tfbundle.graph.reading import holds_graph

    if holds_graph(path):
        from tfbundle.verification.graphs import verify_graph

        return verify_graph(path, progress, missing=error)
    from tfbundle.verification.records import format_of_records, verify_records

    format = format_of_records(location)
    return None if format is None else verify_records(location, format, progress)
