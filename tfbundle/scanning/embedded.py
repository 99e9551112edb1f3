"""Graphs in the values of nodes: those that ``DatasetFromGraph`` runs, and constants that are serialized graphs.

A string constant is one where its bytes are a ``GraphDef`` with nodes that have ops. Variants carry tensors, and these
strings. How much is decoded, and how deep graphs in constants of graphs in constants go, is bounded for one scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from tfbundle.errors import TfBundleError
from tfbundle.graph.reading import decode_message
from tfbundle.proto import GraphDef, NodeDef, TensorProto
from tfbundle.scanning.program import Program
from tfbundle.tensors.tensor_proto import decode_tensor

_DEEPEST = 8
_MOST = 256
_MOST_BYTES = 64 << 20
# Strings that begin as a graph does; each takes longer to be refused than to be skipped.
_MOST_TRIES = 4000
_SMALLEST = 8
_STRING, _VARIANT = 7, 21
_TRIGGERS = ("load", "call", "unreachable")
_TOO_MUCH = "graphs in values of graphs are nested too deeply, too many or too large to be scanned"
# Variants in tensors in variants: lists of lists have a few levels.
_DEEPEST_VARIANT = 8
# The first field of a GraphDef: a node, a library or versions.
_FIRST_BYTES = (b"\x0a", b"\x12", b"\x22")


class EmbeddedGraphs:
    """The embedded graphs that were decoded in a scan, and the remaining budget."""

    def __init__(self) -> None:
        self._left = _MOST
        self._bytes_left = _MOST_BYTES
        self._tries_left = _MOST_TRIES
        self._seen: set[tuple[bytes, str]] = set()

    def find(self, data: bytes) -> GraphDef | str | None:
        """Return the graph that a constant is, or ``None`` if it is not one; or the reason why it was not scanned."""
        if not _may_be_graph(data):
            return None
        self._tries_left -= 1
        if self._tries_left < 0:
            return _TOO_MUCH
        try:
            graph = decode_message(data, GraphDef)
        except TfBundleError:
            return None
        return graph if _has_ops(graph) else None

    def take(self, data: bytes, graph: GraphDef | None, trigger: str, depth: int) -> Program | str | None:
        """Return a graph as a program to scan, or the reason why it cannot be scanned.

        ``None`` is the answer for one that was taken for the same trigger before, or, of a constant that ``find`` found
        to be one, for any: an op that runs it comes first. ``depth`` counts the graphs around it.
        """
        digest = hashlib.sha256(data).digest()
        seen = _TRIGGERS if graph is not None else (trigger,)
        if any((digest, word) in self._seen for word in seen):
            return None
        if depth >= _DEEPEST or not self._left or len(data) > self._bytes_left:
            return _TOO_MUCH
        if graph is None:
            try:
                graph = decode_message(data, GraphDef)
            except TfBundleError:
                return f"a graph of {len(data)} bytes in a value cannot be read"
        self._left -= 1
        self._bytes_left -= len(data)
        self._seen.add((digest, trigger))
        return Program(graph)


def _may_be_graph(data: bytes) -> bool:
    """Return whether bytes begin as a graph does: with a field of a length that fits, which begins with another."""
    if len(data) < _SMALLEST or data[:1] not in _FIRST_BYTES:
        return False
    size = shift = 0
    for position in range(1, 6):
        size |= (data[position] & 127) << shift
        shift += 7
        if data[position] < 128:
            break
    else:
        return False
    if position + 1 + size > len(data):
        return False
    # A node begins with its name (or, in a hostile one, with any field), a library with a function.
    return not size or (data[position + 1] & 7 in (0, 1, 2, 5) and 0 < data[position + 1] >> 3 < 16)


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
    strings: Iterable[bytes] = tensor.string_val
    if tensor.tensor_content and tensor.dtype == _STRING:
        try:
            strings = decode_tensor(tensor).flat
        except TfBundleError:
            strings = ()  # TensorFlow does not load such a graph.
    for data in strings:
        if _may_be_graph(data):
            yield data
    for variant in tensor.variant_val:
        if _may_be_graph(variant.metadata):
            yield variant.metadata
        for inner in variant.tensors:
            if depth:
                yield from _strings(inner, depth - 1)
