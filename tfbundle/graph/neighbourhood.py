"""The nodes around one node: those that it depends on, and those that depend on it, to a depth.

A node states its inputs, so the way up is a lookup a node. Who uses a node is stated nowhere: the way down is a pass
over all nodes for each step, which needs no memory for the edges of the whole graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.graph.graph import Graph
from tfbundle.proto import NodeDef

# The most edges for each node that may be found.
_MOST_EDGES = 20


class Edge(NamedTuple):
    """What one node takes from another: ``tensor`` is the input as the node states it, with ``^`` if it only waits."""

    source: str
    target: str
    tensor: str


class Neighbourhood(NamedTuple):
    """The nodes around one: ``distances`` by name, negative for inputs; ``complete`` unless a limit was reached."""

    distances: dict[str, int]
    edges: list[Edge]
    complete: bool


def find_neighbourhood(graph: Graph, name: str, depth: int, *, most: int) -> Neighbourhood:
    """Return the nodes that can be reached in ``depth`` steps up, or in as many steps down, at most ``most``.

    Nearer nodes come first. An input that is not a node of the graph is left out.
    """
    distances = {name: 0}
    complete = _add_inputs(graph, distances, name, depth, most)
    complete &= _add_users(graph, distances, name, depth, most)
    edges: dict[Edge, None] = {}
    for target in distances:
        for source, text in _inputs(graph.nodes[target].proto):
            if source in distances:
                edges[Edge(source, target, text)] = None
                if len(edges) > _MOST_EDGES * most:
                    return Neighbourhood(distances, list(edges), False)
    return Neighbourhood(distances, list(edges), complete)


def _add_inputs(graph: Graph, distances: dict[str, int], start: str, depth: int, most: int) -> bool:
    nearest = [start]
    for step in range(1, depth + 1):
        found: list[str] = []
        for name in nearest:
            for source, _ in _inputs(graph.nodes[name].proto):
                if source in distances or source not in graph.nodes:
                    continue
                if len(distances) >= most:
                    return False
                distances[source] = -step
                found.append(source)
        nearest = found
    return True


def _add_users(graph: Graph, distances: dict[str, int], start: str, depth: int, most: int) -> bool:
    nearest = {start}
    for step in range(1, depth + 1):
        if not nearest:
            break
        found: set[str] = set()
        for proto in graph.proto.node:
            if proto.name in distances or not any(source in nearest for source, _ in _inputs(proto)):
                continue
            if len(distances) >= most:
                return False
            distances[proto.name] = step
            found.add(proto.name)
        nearest = found
    return True


def _inputs(proto: NodeDef) -> Iterator[tuple[str, str]]:
    """Yield the producer of each input, and the input as it is stated: ``name``, ``name:1`` or ``^name``."""
    for text in proto.input:
        yield text.removeprefix("^").partition(":")[0], text
