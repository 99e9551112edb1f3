"""The entry point of reports: one function that writes a page about any path.

::

    path ──> tensors, notices, ... ──> Page (facts) ──> template, style, script ──> out

Values are read once: what the statistics pass has verified is not read again by verification.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from tfbundle._version import __version__
from tfbundle.checkpoint.find.owned import check_output
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.findings import Report
from tfbundle.identification.names import META_SUFFIX
from tfbundle.open_tensors import open_tensors
from tfbundle.overview.items import Overview
from tfbundle.overview.walk import overview_with_neighbours
from tfbundle.printable import format_size
from tfbundle.progress import Progress
from tfbundle.reporting.facts import Facts, Notice, Page, Tensors
from tfbundle.reporting.folder import GRAPHS, checkpoint_table, contents_table
from tfbundle.reporting.graphs import read_graphs
from tfbundle.reporting.notices import advice_of, scan_notices, scan_verdict, verify_notices, verify_verdict
from tfbundle.reporting.rendering import render
from tfbundle.reporting.tensors import describe_tensors, read_tensors
from tfbundle.scanning.report import ScanReport
from tfbundle.scanning.scan import scan
from tfbundle.storage.base import Location
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options
from tfbundle.storage.replacing import replacement
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.verification.verify import verify_rest

if TYPE_CHECKING:
    from tfbundle.reporting.curves import Runs

_MOST_NOTICES = 500
# The largest total size of graphs, in bytes of their files, that is left to the garbage collector. Graphs are about ten
# times as large in memory.
_SMALL_GRAPHS = 1 << 20


def report(
    path: StrPath,
    out: StrPath,
    *,
    other: StrPath | None = None,
    statistics: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> str:
    """Write one self-contained HTML page about ``path`` to ``out``, and return the path of the page.

    ``path`` is a checkpoint's prefix or one of its files, a SavedModel, a graph, an event file, or a folder of these.
    The page shows the findings of ``verify`` and ``scan``, the tensors with their statistics, the checkpoints of the
    folder, and what else there is. ``other`` is a second checkpoint or graph; the page then also shows what differs in
    it. With ``statistics=False`` the values are verified, but not summarized.

    The page opens without a server, loads nothing, and has the same bytes for the same files. Names and values from
    files are text in it, whatever they contain. ``progress`` is called with the number of bytes of values read so far
    and the total. ``storage_options`` are those of ``locate``, for URLs.

    Damage is shown in the page. Raises ``MissingFileError`` if ``path`` does not exist, ``UnsupportedError`` if jinja2
    is not installed (the extra ``report``), and ``ValueError`` if ``out`` is a file of a checkpoint, graph or run, or
    has the name of one, unless ``overwrite`` is true. On any error, a file that was at ``out`` before is unchanged.
    """
    path, out = with_options(path, storage_options), with_options(out, storage_options)
    other = with_options(other, storage_options)
    location, target = locate(path), locate(out)
    check_output(target, overwrite=overwrite, sources=[location])
    # Reading may take long, so this is not left to the end. Object stores have no folders that could be missing.
    if isinstance(target, LocalLocation) and not target.parent.is_folder():
        raise MissingFileError(f"there is no folder {target.parent} to write {target.name} to", path=target.path)
    page = render_report(path, other=other, statistics=statistics, progress=progress)
    with replacement(target) as file:
        file.write(page)
    return target.path


def render_report(
    path: StrPath, *, other: StrPath | None = None, statistics: bool = True, progress: Progress | None = None
) -> bytes:
    """Return the page that ``report`` writes."""
    location = locate(path)
    return render(_collect(location, other, statistics=statistics, progress=progress))


def _collect(location: Location, other: StrPath | None, *, statistics: bool, progress: Progress | None) -> Page:
    found, listed = overview_with_neighbours(location)
    notices: list[Notice] = []
    size_of_graphs = _size_of_graphs(found)
    _release(size_of_graphs)
    tensors, checked, changes = _read_tensors(location, found, other, notices, statistics, progress)
    _release(size_of_graphs)
    scanned = _scan(location)
    _release(size_of_graphs)
    verdicts = [verify_verdict(checked)]
    notices[:0] = verify_notices(checked)
    if scanned is not None:
        verdicts.append(scan_verdict(scanned))
        notices += scan_notices(scanned)
    runs = _read_runs(location, found, notices)
    graphs = read_graphs(location, found, notices)
    order = {"error": 0, "warning": 1, "note": 2}
    notices.sort(key=lambda notice: order[notice.level])
    return Page(
        location.path,
        location.absolute().name or location.path,
        found.description,
        __version__,
        tuple(verdicts),
        tuple(notices[:_MOST_NOTICES]),
        max(0, len(notices) - _MOST_NOTICES),
        tuple(advice_of(location.path, checked)),
        _summary(found, tensors),
        tensors,
        checkpoint_table(location, found, listed),
        contents_table(location, found),
        {} if runs is None else runs.charts,
        0 if runs is None else runs.left_out,
        None if runs is None else runs.hparams,
        tuple(graphs.facts),
        changes,
        tuple(graphs.drawings),
    )


def _size_of_graphs(found: Overview) -> int:
    """Return the size of the files of graphs in bytes; for SavedModels, with that of their variables."""
    prefixes = (locate(item.path) for item in found.items if item.facts.get("graph"))
    metas = (prefix.plus(META_SUFFIX).stat() for prefix in prefixes)
    return sum(item.size or 0 for item in found.items if item.kind in GRAPHS) + sum(stat.size for stat in metas if stat)


def _release(size_of_graphs: int) -> None:
    """Release the graphs read so far, if they are large, so that one at a time is in memory: they refer to themselves.

    The garbage collector visits every object of the process, which may take longer than a page about a small model.
    """
    if size_of_graphs > _SMALL_GRAPHS:
        gc.collect()


def _read_tensors(
    location: Location,
    found: Overview,
    other: StrPath | None,
    notices: list[Notice],
    statistics: bool,
    progress: Progress | None,
) -> tuple[Tensors | None, Report, Facts | None]:
    """Return the tensors at a path, the result of verifying everything, and what differs in ``other``."""
    tensors: Tensors | None = None
    with ExitStack() as stack:
        opened = None
        mapping = _open(location, found, notices)
        if mapping is not None:
            stack.enter_context(mapping)
            opened = read_tensors(mapping, statistics=statistics, progress=progress)
        verified = opened.values.verified if opened is not None and opened.values is not None else frozenset()
        checked = _without_nothing(verify_rest(location, verified, progress=None if statistics else progress), found)
        if opened is not None:
            tensors = describe_tensors(opened, checked)
        changes = None if other is None else _compare(location, mapping, locate(other), tensors, progress)
    return tensors, checked, changes


def _open(location: Location, found: Overview, notices: list[Notice]) -> TensorMapping | None:
    """Return the tensors at a path, those that can be salvaged if it is damaged, or ``None`` if there are none."""
    try:
        return open_tensors(location)
    except FormatError as error:
        try:
            salvaged = open_tensors(location, salvage=True)
        except (TfBundleError, OSError):
            return None
        notices.append(Notice("warning", "salvaged", f"Only the intact tensors are shown: {error}"))
        return salvaged
    except (MissingFileError, UnsupportedError, OSError) as error:
        # Verification reports why there are no tensors, unless a folder has several checkpoints.
        if any(item.kind == "checkpoint" and not item.problem for item in found.items):
            notices.append(Notice("note", "tensors", f"No tensors are shown: {error}"))
        return None


def _without_nothing(report: Report, found: Overview) -> Report:
    """Return a report without the finding that a folder has no checkpoint, if there is something else to show."""
    if report.files or not found.folders or not found.items:
        return report
    rest = tuple(item for item in report.findings if (item.kind, item.path) != ("missing", found.path))
    return replace(report, findings=rest)


def _compare(
    location: Location,
    mapping: TensorMapping | None,
    other: Location,
    tensors: Tensors | None,
    progress: Progress | None,
) -> Facts:
    """Return the changes from the checkpoint at a path to another; raises the errors of opening either."""
    from tfbundle.comparison.diff import diff  # Few reports compare.
    from tfbundle.reporting.changes import describe_changes

    found = diff(location if mapping is None else mapping, other, progress=progress)
    variables = {item.name: item.variable for item in (tensors.tensors if tensors else ()) if item.variable}
    return describe_changes(location.path, other.path, found, variables)


def _read_runs(location: Location, found: Overview, notices: list[Notice]) -> Runs | None:
    if not any(item.kind in ("run", "events") for item in found.items):
        return None
    from tfbundle.reporting.curves import read_runs  # Most checkpoints have no runs beside them.

    try:
        runs = read_runs(location)
    except (TfBundleError, OSError) as error:
        notices.append(Notice("warning", "curves", str(error)))
        return None
    notices += runs.notices
    return runs


def _scan(location: Location) -> ScanReport | None:
    """Return what a scan found, or ``None`` if there is nothing to scan."""
    try:
        found = scan(location)
    except (TfBundleError, OSError):
        return None
    return found if found.files or found.not_scanned else None


def _summary(found: Overview, tensors: Tensors | None) -> tuple[tuple[str, str], ...]:
    rows = []
    if tensors is not None:
        facts = tensors.tensors
        nbytes = sum(item.nbytes for item in facts)
        rows += [
            ("Tensors", f"{len(facts):,}"),
            ("Parameters", f"{sum(item.parameters for item in facts):,}"),
            ("Bytes", format_size(nbytes)),
        ]
        slots = sum(item.nbytes for item in facts if item.role == "slot")
        if slots:
            rows.append(("Optimizer slots", f"{100 * slots / nbytes:.0f} %"))
        damaged = sum(item.state == "damaged" for item in facts)
        if damaged:
            rows.append(("Damaged tensors", f"{damaged:,}"))
    steps = [item.step for item in found.items if item.step is not None]
    if steps:
        rows.append(("Step" if len(steps) == 1 else "Latest step", f"{max(steps):,}"))
    return tuple(rows)
