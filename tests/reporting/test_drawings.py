"""The columns of nodes in a page: they are those of the graph, and stay within the space of a page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")

import tfbundle
from tests.support.graphs import ExpectedGraph, expected_graphs
from tfbundle.graph.graph import Function, Graph
from tfbundle.graph.loading import load_any
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.proto import GraphDef, MetaGraphDef, NodeDef, SavedModel
from tfbundle.reporting.drawing_payload import encode_drawings
from tfbundle.reporting.drawings import MOST_NODES, Space, draw_graph
from tfbundle.reporting.facts import Drawing
from tfbundle.reporting.report import render_report

HOSTILE = ("\u202e", "<b>", "\\", "\0", "é")


def drawings_of(page: bytes) -> Any:
    found = re.search(rb'<script type="application/json" id="graph-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def edges_of(body: Any) -> list[tuple[str, str, list[tuple[str, bool, str]]]]:
    """Each node of the encoded columns: its name, its op, and its inputs as source, control, and output."""
    names, before = [], ""
    for shared, rest in zip(body["shared"], body["rest"], strict=True):
        before = before[:shared] + rest
        names.append(before)
    nodes, position = [], 0
    for name, op, count in zip(names, body["op"], body["counts"], strict=True):
        inputs = []
        for place in range(position, position + count):
            source = body["sources"][place]
            output = body["outputs"][body["output"][place]]
            inputs.append((names[source if source >= 0 else ~source], source < 0, output))
        position += count
        nodes.append((name, body["ops"][op], inputs))
    assert position == len(body["sources"]) == len(body["output"])
    return nodes


def stated(inputs: Any, known: set[str]) -> list[tuple[str, bool, str]]:
    parts = [(text.lstrip("^").partition(":"), text.startswith("^")) for text in inputs]
    return [(name, waits, "" if output == "0" else output) for (name, _, output), waits in parts if name in known]


def draw(graph: Graph) -> Drawing:
    return draw_graph(graph, "title", "path", {}, Space())


def encoded(graph: Graph) -> Any:
    (drawing,) = json.loads(encode_drawings([draw(graph)]))
    return drawing


class TestColumns:
    @pytest.mark.parametrize("expected", list(expected_graphs()), ids=str)
    def test_they_are_the_nodes_and_inputs_of_the_file(self, expected: ExpectedGraph) -> None:
        loaded = load_any(expected.path)
        graph = loaded if isinstance(loaded, Graph) else (
            loaded if isinstance(loaded, MetaGraph) else loaded.meta_graphs[0]
        ).graph  # fmt: skip
        drawing = encoded(graph)
        own, *functions = drawing["bodies"]
        known = set(graph.nodes)
        assert edges_of(own) == [(node.name, node.op, stated(node.input, known)) for node in graph.proto.node]
        assert drawing["functionsLeftOut"] == drawing["nodesLeftOut"] == 0
        assert {body["function"] for body in functions} == set(graph.functions)
        for body in functions:
            check_function(graph.functions[body["function"]], body)

    def test_it_starts_where_a_signature_ends(self) -> None:
        meta = MetaGraphDef()
        for name in ("a", "b", "c"):
            meta.graph_def.node.add(name=name, op="NoOp")
        meta.signature_def["other"].outputs["y"].name = "a:0"
        meta.signature_def["serving_default"].outputs["y"].name = "b:0"
        loaded = MetaGraph(meta)
        (nodes,) = draw_graph(loaded.graph, "title", "path", loaded.signatures, Space()).bodies
        assert nodes.names[nodes.start] == "b"
        (nodes,) = draw(loaded.graph).bodies
        assert nodes.start == 0

    def test_inputs_that_do_not_exist_are_left_out(self) -> None:
        graph = Graph(
            GraphDef(node=[NodeDef(name="a", op="A"), NodeDef(name="b", op="B", input=["none", "^a", "a:1"])])
        )
        assert edges_of(encoded(graph)["bodies"][0])[1][2] == [("a", True, ""), ("a", False, "1")]

    def test_calls_by_attribute_and_by_op(self) -> None:
        graph = GraphDef(node=[NodeDef(name="a", op="f"), NodeDef(name="b", op="PartitionedCall")])
        graph.node[1].attr["f"].func.name = "g"
        for name in "fg":
            graph.library.function.add().signature.name = name
        assert draw(Graph(graph)).bodies[0].calls == {0: ("f",), 1: ("g",)}

    def test_two_nodes_of_a_name(self) -> None:
        with pytest.raises(tfbundle.FormatError, match="two nodes"):
            draw(Graph(GraphDef(node=[NodeDef(name="a", op="A")] * 2)))


def check_function(function: Function, body: Any) -> None:
    nodes = edges_of(body)
    arguments = [(name, "(input)", []) for name in function.inputs]
    known = {*function.inputs, *function.nodes}
    protos = [(node.name, node.op, stated(node.input, known)) for node in function.proto.node_def]
    returns = [(name, "(output)", stated([tensor], known)) for name, tensor in function.outputs.items()]
    assert nodes == arguments + protos + returns
    if returns:
        assert nodes[body["start"]][:2] == returns[0][:2]


class TestSpace:
    @pytest.mark.parametrize(("count", "is_drawn"), [(MOST_NODES, True), (MOST_NODES + 1, False)])
    def test_of_nodes(self, count: int, is_drawn: bool) -> None:
        graph = Graph(GraphDef(node=[NodeDef(name=f"n{i}", op="A", input=["n0"]) for i in range(count)]))
        drawing = encoded(graph)
        assert len(drawing["bodies"]) == is_drawn
        assert drawing["nodesLeftOut"] == (0 if is_drawn else count)

    @pytest.mark.parametrize(("count", "is_drawn"), [(4 * MOST_NODES, True), (4 * MOST_NODES + 1, False)])
    def test_of_inputs(self, count: int, is_drawn: bool) -> None:
        graph = Graph(GraphDef(node=[NodeDef(name="n", op="A", input=["n"] * count)]))
        assert len(encoded(graph)["bodies"]) == is_drawn

    def test_small_functions_follow_a_graph_that_is_too_large(self) -> None:
        graph = GraphDef(node=[NodeDef(name=f"n{i}", op="A") for i in range(MOST_NODES + 1)])
        for name in ("f10", "f9"):
            graph.library.function.add().signature.name = name
        large = graph.library.function.add()
        large.signature.name = "large"
        large.node_def.extend(graph.node)
        drawing = encoded(Graph(graph))
        assert [body["function"] for body in drawing["bodies"]] == ["f9", "f10"]
        assert drawing["functionsLeftOut"] == 1
        assert drawing["nodesLeftOut"] == MOST_NODES + 1

    @pytest.mark.parametrize("text", HOSTILE)
    def test_long_names_of_any_characters(self, text: str) -> None:
        """Escapes take up to twelve bytes a character; what does not fit is counted."""
        graph = GraphDef(node=[NodeDef(name=text * 400 + str(i), op=text * 400 + str(i)) for i in range(2000)])
        for i in range(20):
            function = graph.library.function.add()
            function.signature.name = f"{text * 400}{i}"
            function.node_def.extend(graph.node[: 100 * i])
        data = encode_drawings([draw(Graph(graph))])
        (drawing,) = json.loads(data)
        assert len(data) < 3_300_000
        assert bool(drawing["nodesLeftOut"]) + len(drawing["bodies"]) + drawing["functionsLeftOut"] == 21
        assert drawing["functionsLeftOut"]

    def test_many_functions(self) -> None:
        graph = GraphDef()
        for i in range(3000):
            graph.library.function.add().signature.name = f"f{i}"
        drawing = encoded(Graph(graph))
        assert len(drawing["bodies"]) + drawing["functionsLeftOut"] == 3001


class TestPages:
    def test_the_same_graph_gives_the_same_bytes(self, tmp_path: Path) -> None:
        graph = GraphDef(node=[NodeDef(name="a", op="A"), NodeDef(name="b", op="B", input=["a"])])
        (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
        assert render_report(tmp_path / "graph.pb") == render_report(tmp_path / "graph.pb")

    def test_a_checkpoint_with_a_graph(self, tmp_path: Path) -> None:
        import numpy as np

        prefix = tfbundle.save(tmp_path / "a model", {"w": np.float32(1)})
        meta = MetaGraphDef(graph_def=GraphDef(node=[NodeDef(name="w", op="VariableV2")]))
        meta.graph_def.versions.producer = 1
        meta.meta_info_def.tags.append("train")
        Path(f"{prefix}.meta").write_bytes(meta.SerializeToString())
        (drawing,) = drawings_of(render_report(prefix))
        assert drawing["command"] == f"tfbundle graph '{prefix}' NODE --depth 2"
        assert drawing["bodies"][0]["rest"] == ["w"]

    def test_graphs_of_a_folder_share_the_space(self, tmp_path: Path) -> None:
        for name in ("a.pb", "b.pb"):
            graph = GraphDef(node=[NodeDef(name=f"n{i}", op="NoOp") for i in range(MOST_NODES * 2 // 3)])
            (tmp_path / name).write_bytes(graph.SerializeToString())
        first, second = drawings_of(render_report(tmp_path))
        assert len(first["bodies"][0]["rest"]) == second["nodesLeftOut"] == MOST_NODES * 2 // 3
        assert second["bodies"] == []

    @pytest.mark.parametrize("name", ["graph.pb", "saved_model.pb", "model.meta"])
    def test_large_graphs_are_released(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        meta = MetaGraphDef(graph_def=GraphDef(node=[NodeDef(name="a", op="NoOp")]))
        meta.meta_info_def.tags.append("serve")
        graphs = {"graph.pb": meta.graph_def, "saved_model.pb": SavedModel(meta_graphs=[meta]), "model.meta": meta}
        (tmp_path / name).write_bytes(graphs[name].SerializeToString())
        path = tfbundle.save(tmp_path / "model", {"w": 1.0}) if name == "model.meta" else tmp_path
        size = (tmp_path / name).stat().st_size
        for limit, is_released in ((size, False), (size - 1, True)):
            calls: list[None] = []
            monkeypatch.setattr("tfbundle.reporting.report._SMALL_GRAPHS", limit)
            monkeypatch.setattr("gc.collect", lambda calls=calls: calls.append(None))
            assert len(drawings_of(render_report(path))) == 1
            assert bool(calls) == is_released

    def test_without_a_graph_there_is_nothing_to_draw(self, tmp_path: Path) -> None:
        import numpy as np

        page = render_report(tfbundle.save(tmp_path / "model", {"w": np.float32(1)}))
        assert b'id="nodes"' not in page
        assert b'id="graph-data"' not in page
