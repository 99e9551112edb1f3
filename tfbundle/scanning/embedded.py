"""Graphs in the values of nodes: what ``DatasetFromGraph`` runs, and constants that are serialized graphs.

A string constant is one where its bytes are a ``GraphDef`` with nodes that have ops. Variants carry tensors, and these
strings. How much is decoded, and how deep graphs in constants of graphs in constants go, is bounded for one scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from tfbundle.errors import TfBundleError
from tfbundle.graph.reading import decode_message
from tfbundle.proto import GraphDef, NodeDef, TensorProto
from tfbundle.scanning.entry_points import EntryPoints, no_entry_points
from tfbundle.scanning.program import Program

_DEEPEST = 8
_MOST = 256
_MOST_BYTES = 64 << 20
_SMALLEST = 8
_STRING, _VARIANT = 7, 21
_TRIGGERS = ("load", "call", "unreachable")
# Variants in tensors in variants: lists of lists have a few levels.
_DEEPEST_VARIANT = 8
# The first field of a GraphDef: a node, a library or versions.
_FIRST_BYTES = (b"\x0a", b"\x12", b"\x22")


class EmbeddedGraphs:
    """What may still be decoded in a scan, and what was."""

    def __init__(self) -> None:
        self.no_entries: EntryPoints = no_entry_points()
        self._left = _MOST
        self._bytes_left = _MOST_BYTES
        self._seen: set[tuple[bytes, str]] = set()

    def take(self, data: bytes, trigger: str, depth: int, *, is_certain: bool) -> Program | str | None:
        """Return the graph that bytes are; or why it cannot be looked at; or ``None`` where it is none.

        ``None`` is also the answer for one that was taken for the same trigger before, or, if it is not certain that
        somebody runs it, for any. ``depth`` counts the graphs around it.
        """
        if not is_certain and not _may_be_graph(data):
            return None
        digest = hashlib.sha256(data).digest()
        if (digest, trigger) in self._seen or (
            not is_certain and any((digest, word) in self._seen for word in _TRIGGERS)
        ):
            return None
        if depth >= _DEEPEST or not self._left or len(data) > self._bytes_left:
            return "graphs in values of graphs are too deep, too many or too large to be looked at"
        try:
            graph = decode_message(data, GraphDef)
        except TfBundleError:
            return f"a graph of {len(data)} bytes in a value cannot be read" if is_certain else None
        if not is_certain and not _has_ops(graph):
            return None
        self._left -= 1
        self._bytes_left -= len(data)
        self._seen.add((digest, trigger))
        return Program(graph)


def _may_be_graph(data: bytes) -> bool:
    return len(data) >= _SMALLEST and data[:1] in _FIRST_BYTES


def _has_ops(graph: GraphDef) -> bool:
    nodes = list(graph.node[:8]) or [node for function in graph.library.function[:8] for node in function.node_def[:1]]
    return bool(nodes) and all(node.name and node.op and node.op.isprintable() for node in nodes)


def string_constants(nodes: Iterable[NodeDef]) -> Iterator[tuple[NodeDef, bytes]]:
    """Yield the strings in the constants among nodes that may be graphs, each with its node."""
    for node in nodes:
        if node.op != "Const" or "value" not in node.attr:
            continue
        tensor = node.attr["value"].tensor
        if tensor.dtype in (_STRING, _VARIANT):
            for data in _strings(tensor, _DEEPEST_VARIANT):
                yield node, data


def _strings(tensor: TensorProto, depth: int) -> Iterator[bytes]:
    for data in tensor.string_val:
        if _may_be_graph(data):
            yield data
    for variant in tensor.variant_val:
        if _may_be_graph(variant.metadata):
            yield variant.metadata
        for inner in variant.tensors:
            if depth:
                yield from _strings(inner, depth - 1)
