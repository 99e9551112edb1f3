"""The graphs, meta graphs and SavedModels at a path: versions, sizes, signatures, ops, and their nodes for drawings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tfbundle.errors import TfBundleError
from tfbundle.graph.graph import Graph
from tfbundle.graph.loading import load_any
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.saved_model import SavedModel
from tfbundle.graph.signatures import Signature, SignatureTensor
from tfbundle.overview.items import Overview
from tfbundle.reporting.drawings import Space, draw_graph
from tfbundle.reporting.facts import Drawing, Facts, Notice, Table
from tfbundle.reporting.folder import GRAPHS
from tfbundle.storage.base import Location
from tfbundle.storage.locations import within
from tfbundle.tensors.dtypes import python_name

_MOST_GRAPHS = 8
_MOST_ROWS = 200


class Graphs(NamedTuple):
    """The facts of graphs, and their nodes."""

    facts: list[Facts]
    drawings: list[Drawing]


def read_graphs(location: Location, found: Overview, notices: list[Notice]) -> Graphs:
    """Return the graphs at a path; a folder has those of its items, and of the latest checkpoint."""
    paths = [item.path for item in found.items if item.kind in GRAPHS and not item.problem]
    with_graphs = [item for item in found.items if item.kind == "checkpoint" and item.facts.get("graph")]
    paths += [item.path for item in sorted(with_graphs, key=lambda item: -(item.step or 0))[:1]]
    if len(paths) > _MOST_GRAPHS:
        notices.append(Notice("note", "graphs", f"{len(paths) - _MOST_GRAPHS:,} more graphs are left out."))
    graphs = Graphs([], [])
    space = Space()
    for path in paths[:_MOST_GRAPHS]:
        name = location.name if path == location.path else within(path, location)
        try:
            loaded = load_any(path)
            if isinstance(loaded, SavedModel):
                for meta in loaded.meta_graphs:
                    title = f"{name}, tags {', '.join(meta.tags) or 'none'}"
                    graphs.facts.append(_meta_graph(meta, title, _assets(loaded)))
                    graphs.drawings.append(draw_graph(meta.graph, title, path, meta.signatures, space))
            elif isinstance(loaded, MetaGraph):
                graphs.facts.append(_meta_graph(loaded, name, ()))
                graphs.drawings.append(draw_graph(loaded.graph, name, path, loaded.signatures, space))
            else:
                graphs.facts.append(_graph(loaded, name))
                graphs.drawings.append(draw_graph(loaded, name, path, {}, space))
        except (TfBundleError, OSError) as error:
            notices.append(Notice("warning", "graph", str(error)))
    return graphs


def _graph(graph: Graph, title: str) -> Facts:
    return Facts(title, tuple(_sizes(graph)), tuple(_tables(graph, {})))


def _meta_graph(meta: MetaGraph, title: str, assets: Iterable[tuple[str, str]]) -> Facts:
    rows = [("TensorFlow", meta.tensorflow_version or "not stated"), *_sizes(meta.graph)]
    variables = len(meta.all_variables)
    rows.append(("Variables", f"{variables:,}"))
    if meta.saver is not None:
        rows.append(("Saver", f"version {meta.saver.version}, {'sharded' if meta.saver.sharded else 'one file'}"))
    return Facts(title, (*rows, *assets), tuple(_tables(meta.graph, meta.signatures)))


def _sizes(graph: Graph) -> Iterator[tuple[str, str]]:
    yield "Nodes", f"{len(graph.proto.node):,}"
    yield "Functions", f"{len(graph.functions):,}"
    yield "Nodes of functions", f"{sum(graph.function_op_counts.values()):,}"
    yield "Graph version", f"{graph.graph_version}, at least {graph.proto.versions.min_consumer} to read it"


def _assets(model: SavedModel) -> Iterator[tuple[str, str]]:
    for asset in model.assets:
        yield "Asset", f"{asset.name}{'' if asset.exists else ' (missing)'}"


def _tables(graph: Graph, signatures: Mapping[str, Signature]) -> Iterator[tuple[str, Table]]:
    rows = [
        (name, direction, key, *_describe(tensor), signature.method_name)
        for name, signature in signatures.items()
        for direction, group in (("input", signature.inputs), ("output", signature.outputs))
        for key, tensor in group.items()
    ]
    if rows:
        headings = ("Signature", "Direction", "Name", "Type", "Shape", "Tensor", "Method")
        yield "Signatures", Table.of(dict.fromkeys(headings, False), rows, _MOST_ROWS)
    counts = graph.op_counts + graph.function_op_counts
    ops = [(op, f"{count:,}") for op, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    if ops:
        yield "Ops", Table.of({"Op": False, "Nodes": True}, ops, _MOST_ROWS)


def _describe(tensor: SignatureTensor) -> tuple[str, str, str]:
    """Return the type, the shape, and the names in the graph of an input or output."""
    dtype = "–" if tensor.data_type is None else python_name(tensor.data_type)
    if tensor.shape is None:
        return dtype, "unknown", ", ".join(tensor.names)
    lengths = ("?" if length is None else str(length) for length in tensor.shape)
    return dtype, f"[{','.join(lengths)}]", ", ".join(tensor.names)
