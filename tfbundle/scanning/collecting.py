"""The results that a scan collects from files, and its remaining budget."""

from __future__ import annotations

from functools import partial

from tfbundle.proto import GraphDef, MetaGraphDef, SavedModel
from tfbundle.scanning.archives import Budget
from tfbundle.scanning.assets import asset_findings
from tfbundle.scanning.embedded import EmbeddedGraphs
from tfbundle.scanning.entry_points import entry_points, no_entry_points
from tfbundle.scanning.folding import Effort
from tfbundle.scanning.graphs import GraphScan
from tfbundle.scanning.keras_code import metadata_findings
from tfbundle.scanning.program import Program
from tfbundle.scanning.report import NotScanned, ScanFinding, ScanReport

MOST_NODES = 200_000
"""Nodes of one graph and its functions that are traced; those of the largest that are published are fewer."""
_MOST_LISTED = 1_500_000


class Collection:
    """Findings, and the files that were not scanned in full."""

    def __init__(self) -> None:
        self.findings: list[ScanFinding] = []
        self.not_scanned: list[NotScanned] = []
        self.files: list[str] = []
        self.archives = Budget()
        self._effort = Effort()
        self.nodes = 0
        self.ignored = 0

    def leave_out(self, path: str, reason: str) -> None:
        """Record that a file was not scanned in full."""
        note = NotScanned(path, reason)
        if note not in self.not_scanned[-100:]:
            self.not_scanned.append(note)

    def report(self, path: str) -> ScanReport:
        """Return the report, with the worst findings first."""
        findings = sorted(dict.fromkeys(self.findings), key=lambda finding: (-finding.rank, finding.path))
        return ScanReport(
            path, tuple(findings), tuple(dict.fromkeys(self.not_scanned)), tuple(self.files), self.nodes, self.ignored
        )

    def message(self, message: GraphDef | MetaGraphDef | SavedModel, path: str) -> None:
        """Scan a graph, or all graphs of a SavedModel."""
        if isinstance(message, GraphDef):
            self._graph(message, None, path, is_served=False)
            return
        is_served = isinstance(message, SavedModel)
        for meta in message.meta_graphs if isinstance(message, SavedModel) else [message]:
            self.findings += asset_findings(meta, path)
            try:
                self.findings += metadata_findings(meta, path)
            except ValueError as error:
                self.leave_out(path, f"the configuration of a Keras layer cannot be read: {error}")
            self._graph(meta.graph_def, meta, path, is_served=is_served)

    def _graph(self, graph: GraphDef, meta: MetaGraphDef | None, path: str, *, is_served: bool) -> None:
        count = len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
        self.nodes += count
        self._effort.add(count)
        definitions = () if meta is None else meta.meta_info_def.stripped_op_list.op
        scan = GraphScan(
            Program(graph, definitions),
            no_entry_points if meta is None else partial(entry_points, meta),
            path,
            is_served=is_served,
            embedded=EmbeddedGraphs(),
            effort=self._effort,
        )
        if count <= MOST_NODES:
            scan.run()
        else:
            self.leave_out(path, f"a graph has {count} nodes; in graphs of more than {MOST_NODES}, ops are only listed")
            if count <= _MOST_LISTED:
                scan.list_ops()
        self.findings += scan.findings
        for problem in scan.problems:
            self.leave_out(path, problem)
