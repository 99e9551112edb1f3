"""The nodes around a node, compared with what TensorFlow's graph says of producers and consumers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tfbundle.graph.graph import Graph
from tfbundle.graph.neighbourhood import find_neighbourhood
from tfbundle.proto import GraphDef, NodeDef

GRAPH = Path(__file__).resolve().parents[2] / "fixtures" / "tf-1.15.5" / "training" / "graph.pb"


def make(**inputs: list[str]) -> Graph:
    return Graph(GraphDef(node=[NodeDef(name=name, op="AddN", input=texts) for name, texts in inputs.items()]))


def test_as_tensorflow_connects_them(tf: Any) -> None:
    ours = tfbundle.load_graph(GRAPH)
    theirs = tf.Graph()
    with theirs.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(GRAPH.read_bytes()), name="")
    for depth in (1, 2, 3):
        for operation in theirs.get_operations()[::25]:
            up, down = {operation}, {operation}
            around = {operation.name}
            for _ in range(depth):
                up = {x.op for one in up for x in one.inputs} | {x for one in up for x in one.control_inputs}
                around |= {one.name for one in up}
            for _ in range(depth):
                users = {x for one in down for out in one.outputs for x in out.consumers()}
                down = users | {x for one in down for x in one._control_outputs}
                around |= {one.name for one in down}
            found = find_neighbourhood(ours, operation.name, depth, most=10_000)
            assert found.complete
            assert set(found.distances) == around


def test_distances_are_the_shortest_and_signed() -> None:
    graph = make(a=[], b=["a"], c=["b:1", "a"], d=["^c"], e=["d", "c"], other=["a"])
    found = find_neighbourhood(graph, "c", 2, most=10)
    assert found.distances == {"c": 0, "b": -1, "a": -1, "d": 1, "e": 1}
    assert {tuple(edge) for edge in found.edges} == {
        ("a", "b", "a"), ("b", "c", "b:1"), ("a", "c", "a"), ("c", "d", "^c"), ("d", "e", "d"), ("c", "e", "c"),
    }  # fmt: skip
    assert found.complete


def test_circles_and_inputs_that_do_not_exist() -> None:
    graph = make(a=["b", "nowhere"], b=["a"], c=["c"])
    assert find_neighbourhood(graph, "a", 9, most=10).distances == {"a": 0, "b": -1}
    assert find_neighbourhood(graph, "c", 9, most=10).distances == {"c": 0}


@pytest.mark.parametrize(("most", "complete"), [(4, True), (3, False)])
@pytest.mark.parametrize("name", ["a", "d"])
def test_so_many_nodes(name: str, most: int, complete: bool) -> None:
    graph = make(a=[], b=["a"], c=["a"], d=["b", "c", "a"]) if name == "d" else make(a=[], b=["a"], c=["a"], d=["a"])
    found = find_neighbourhood(graph, name, 5, most=most)
    assert len(found.distances) == most
    assert found.complete == complete


@pytest.mark.parametrize(("count", "complete"), [(40, True), (41, False)])
def test_so_many_edges(count: int, complete: bool) -> None:
    graph = make(a=[], b=[f"a:{number}" for number in range(count)])
    found = find_neighbourhood(graph, "b", 1, most=2)
    assert found.complete == complete
    assert len(found.edges) == count
    same = make(a=[], b=["a"] * 1000)
    assert len(find_neighbourhood(same, "b", 1, most=2).edges) == 1
