"""The checks of a graph: that it, its constants and its assets can be read. Graphs have no checksums."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tfbundle.checkpoint.find.names import prefix_of_member
from tfbundle.checkpoint.find.saved_models import is_saved_model
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.findings import CheckedFile, Finding, Report, finding_of
from tfbundle.graph.loading import load_any
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.restoring import VARIABLE_OPS
from tfbundle.graph.saved_model import SavedModel
from tfbundle.graph.weights import ConstantStore, check_constants
from tfbundle.progress import Progress
from tfbundle.storage.locations import locate
from tfbundle.verification.checkpoints import report_of, size_of

if TYPE_CHECKING:
    from tfbundle.graph.graph import Graph


def verify_graph(path: str, progress: Progress | None = None, *, missing: Exception | None = None) -> Report:
    """Check the file of a graph; ``missing`` is the error about its checkpoint, reported only if the graph needs it."""
    findings: list[Finding] = []
    try:
        graphs = _load_graphs(path, findings)
        stores = [ConstantStore(graph, path) for graph in graphs]
    except (TfBundleError, OSError) as error:
        return replace(report_of(path, finding_of(error, "graph"), "graph"), format="graph")
    # A graph without variables needs no checkpoint. One whose name is not part of a checkpoint is checked alone.
    is_part = prefix_of_member(path) is not None or is_saved_model(path)
    if is_part and isinstance(missing, MissingFileError) and _have_variables(graphs):
        findings.append(finding_of(missing, "missing"))
    damaged = [finding for store in stores for finding in check_constants(store, progress)]
    constants = sum(len(store.records()) for store in stores)
    file = CheckedFile(path, "graph", size_of(locate(path)), sum(len(graph.nodes) for graph in graphs))
    findings += damaged
    return Report(path, path, "graph", constants, 0, tuple(findings), constants - len(damaged), files=(file,))


def requires_variables(path: str) -> bool:
    """Return whether a graph, or any graph of a SavedModel, has variables; raises the errors of loading it."""
    return _have_variables(_load_graphs(path, []))


def _have_variables(graphs: list[Graph]) -> bool:
    return any(graph.op_counts[op] for graph in graphs for op in VARIABLE_OPS)


def _load_graphs(path: str, findings: list[Finding]) -> list[Graph]:
    """Return all graphs of a file; for a SavedModel, add findings about missing assets."""
    loaded = load_any(path)
    if isinstance(loaded, SavedModel):
        for asset in loaded.assets:
            if not asset.exists:
                message = f"the asset {asset.path} is missing; the model reads it when it is loaded"
                findings.append(Finding("missing", message, asset.path))
        return [meta_graph.graph for meta_graph in loaded.meta_graphs]
    return [loaded.graph if isinstance(loaded, MetaGraph) else loaded]
