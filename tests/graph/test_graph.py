"""Graphs of every kind and generation, compared with what TensorFlow read from the same files."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.internal import api_implementation

import tfbundle
from tests.support.expected import FIXTURES, sha256_of
from tests.support.graphs import ExpectedGraph, expected_graphs, sha256_of_message
from tfbundle.graph.attributes import AttributePlaceholder, Attributes, FunctionCall
from tfbundle.graph.body import Body
from tfbundle.graph.graph import Graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.proto import AttrValue, FunctionDef, GraphDef, MetaGraphDef, NodeDef, OpDef, VersionDef

GRAPHS = list(expected_graphs())
LOADERS = {
    "graph": tfbundle.load_graph,
    "meta_graph": tfbundle.load_meta_graph,
    "saved_model": tfbundle.load_saved_model,
}
TRAINING = FIXTURES / "tf-1.15.5" / "training"

every_graph = pytest.mark.parametrize("expected", GRAPHS, ids=str)


def load(expected: ExpectedGraph) -> Any:
    return LOADERS[expected.kind](expected.path)


def parts(expected: ExpectedGraph) -> Iterator[tuple[Graph, dict[str, Any]]]:
    """Each graph in a file, with what is expected of it."""
    loaded = load(expected)
    if expected.kind == "graph":
        yield loaded, expected.facts["graph"]
    elif expected.kind == "meta_graph":
        yield loaded.graph, expected.facts["graph"]
    else:
        for meta, facts in zip(loaded.meta_graphs, expected.facts["meta_graphs"], strict=True):
            yield meta.graph, facts["graph"]


def metas(expected: ExpectedGraph) -> Iterator[tuple[MetaGraph, dict[str, Any]]]:
    if expected.kind == "meta_graph":
        yield load(expected), expected.facts
    elif expected.kind == "saved_model":
        yield from zip(load(expected).meta_graphs, expected.facts["meta_graphs"], strict=True)


def bodies(graph: Graph) -> list[Body]:
    return [graph, *graph.functions.values()]


# What TensorFlow read.


def test_the_fixtures_have_all_kinds() -> None:
    kinds = {(expected.kind, expected.facts["encoding"]) for expected in GRAPHS}
    assert len(kinds) == 6
    assert len(GRAPHS) > 50


@pytest.mark.skipif(
    api_implementation.Type() != "upb", reason="other implementations of protobuf serialize maps in another order"
)
@every_graph
def test_messages_are_what_tensorflow_reads(expected: ExpectedGraph) -> None:
    assert sha256_of_message(load(expected).proto) == expected.facts["sha256"]


@every_graph
def test_nodes_ops_and_functions(expected: ExpectedGraph) -> None:
    for graph, facts in parts(expected):
        assert dict(graph.op_counts) == facts["ops"]
        assert len(graph.nodes) == len(list(graph.nodes)) == facts["nodes"]
        assert {name: len(function.nodes) for name, function in graph.functions.items()} == facts["functions"]


@every_graph
def test_every_input_is_a_tensor_with_a_type(expected: ExpectedGraph) -> None:
    for graph, _ in parts(expected):
        for body in bodies(graph):
            arguments = getattr(body, "inputs", {})
            for node in body.nodes.values():
                assert node.outputs is not None, node
                assert all(output.data_type for output in node.outputs), node
                for name in node.inputs:
                    if name not in arguments:
                        output = body[name]
                        assert output in (output.node.outputs or ())
                assert all(name in body.nodes or name in arguments for name in node.control_inputs)


@every_graph
def test_every_attribute_decodes(expected: ExpectedGraph) -> None:
    for graph, _ in parts(expected):
        for body in bodies(graph):
            for node in body.nodes.values():
                values = dict(node.attributes)
                assert list(values) == sorted(node.proto.attr)
                assert not any(isinstance(value, AttrValue) for value in values.values())


@every_graph
def test_meta_graphs(expected: ExpectedGraph) -> None:
    for meta, facts in metas(expected):
        assert list(meta.tags) == facts["tags"]
        assert meta.tensorflow_version == facts["tensorflow_version"]
        assert {name: len(items) for name, items in meta.collections.items()} == {
            name: collection["length"] for name, collection in facts["collections"].items()
        }
        for name, wanted in facts["signatures"].items():
            signature = meta.signatures[name]
            assert signature.method_name == wanted["method_name"]
            for group in ("inputs", "outputs"):
                tensors = getattr(signature, group)
                assert {key: tensor.name or "" for key, tensor in tensors.items()} == wanted[group]
        assert set(meta.signatures) == set(facts["signatures"])


@every_graph
def test_signatures_agree_with_the_graph(expected: ExpectedGraph) -> None:
    for meta, _ in metas(expected):
        for signature in meta.signatures.values():
            for tensor in (*signature.inputs.values(), *signature.outputs.values()):
                # What is run before a model serves is an op, and no tensor.
                if tensor.name and ":" in tensor.name:
                    output = meta.graph[tensor.name]
                    assert output.data_type == tensor.data_type
                    assert output.shape in (None, tensor.shape)


@pytest.mark.parametrize("expected", [item for item in GRAPHS if "lookups" in item.facts], ids=str)
def test_tensors_by_name(expected: ExpectedGraph) -> None:
    graph = tfbundle.load_graph(expected.path)
    for name, wanted in expected.facts["lookups"].items():
        output = graph[name]
        assert (output.node.name, output.node.op) == (wanted["node"], wanted["op"])
        assert output.dtype == np.dtype(wanted["dtype"])
        assert output.shape == (None if wanted["shape"] is None else tuple(wanted["shape"]))
        assert output.name == name


@pytest.mark.parametrize("expected", [item for item in GRAPHS if "constants" in item.facts], ids=str)
def test_constants(expected: ExpectedGraph) -> None:
    graph = tfbundle.load_graph(expected.path)
    assert set(graph.constants) == set(expected.facts["constants"])
    for name, wanted in expected.facts["constants"].items():
        array = graph.constants[name]
        assert array.shape == tuple(wanted["shape"])
        assert sha256_of(array) == wanted["sha256"]


@pytest.mark.parametrize("expected", [item for item in GRAPHS if "collections_by_scope" in item.facts], ids=str)
def test_variables_by_scope(expected: ExpectedGraph) -> None:
    meta = tfbundle.load_meta_graph(expected.path)
    asked = 0
    for question in expected.facts["collections_by_scope"]:
        trainable = {"variables": None, "trainable_variables": True}.get(question["key"], "other")
        if trainable == "other":
            assert question["key"] not in meta.collections
            assert question["names"] == []
            continue
        asked += 1
        assert meta.variables(question["scope"], trainable) == question["names"]
    assert asked > 5


def test_text_and_binary_are_the_same() -> None:
    text, binary = (tfbundle.load_graph(TRAINING / name) for name in ("graph.pbtxt", "graph.pb"))
    assert text.proto == binary.proto


# What a user does with a graph.


def test_variables_are_names_to_load() -> None:
    meta = tfbundle.load_meta_graph(TRAINING / "model.ckpt-40.meta")
    everything = meta.variables()
    assert set(tfbundle.load(TRAINING, names=everything)) == set(everything)
    trainable = meta.variables(trainable=True)
    assert trainable == meta.variables("", True)
    assert set(everything) - set(trainable) == set(meta.variables(trainable=False))
    assert meta.variables("conv1", True) == ["conv1/weights"]
    assert meta.variables("onv1") == []


@pytest.mark.parametrize("version", ["tf-0.12.1", "tf-1.2.1", "tf-1.15.5"])
def test_partitioned_variables_come_once_under_their_full_name(version: str) -> None:
    for path in sorted(FIXTURES.glob(f"{version}/*partitioned/*.meta")):
        meta = tfbundle.load_meta_graph(path)
        stored = tfbundle.open_checkpoint(path)
        names = meta.variables()
        assert len(set(names)) == len(names) < len(meta.collections["variables"])
        assert set(names) <= set(stored)
        shapes = {variable.stored_name: variable.shape for variable in meta.all_variables}
        assert all(shapes[name] == stored[name].shape for name in names if shapes[name] is not None)


def test_the_saver() -> None:
    meta = tfbundle.load_meta_graph(TRAINING / "model.ckpt-40.meta")
    assert meta.saver is not None
    assert (meta.saver.version, meta.saver.max_to_keep, meta.saver.sharded) == ("V2", 3, False)
    assert meta.saver.keep_checkpoint_every_n_hours == 10000.0
    assert meta.saver.filename_tensor_name in meta.graph
    assert meta.saver.save_tensor_name in meta.graph
    assert meta.saver.restore_op_name in meta.graph.nodes
    assert meta.step == 40
    with tfbundle.open_checkpoint(TRAINING) as checkpoint:
        assert {tensor.name for tensor in meta.saver.tensors} == set(checkpoint)
        for tensor in meta.saver.tensors:
            assert tensor.data_type == checkpoint[tensor.name].data_type
            assert tensor.shape == checkpoint[tensor.name].shape


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("tf-*/*/*.meta")), ids=lambda path: "/".join(path.parts[-3:]))
def test_every_saver_restores_what_its_checkpoint_holds(path: Path) -> None:
    meta = tfbundle.load_meta_graph(path)
    if meta.saver is None:
        assert path.name == "exported.meta"
        return
    # The graph of a V1 checkpoint is taken by the V2 checkpoint of the same name, which holds the same names.
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert {tensor.name for tensor in meta.saver.tensors} == set(checkpoint)


def test_without_a_saver() -> None:
    meta = tfbundle.load_meta_graph(FIXTURES / "tf-1.15.5" / "partial-savers" / "exported.meta")
    assert meta.saver is None
    assert meta.step is None


def test_collections_are_decoded() -> None:
    collections = tfbundle.load_meta_graph(TRAINING / "model.ckpt-40.meta").collections
    assert collections["variables"][0].variable_name == "global_step:0"
    assert collections["train_op"]
    assert all(isinstance(name, str) for name in collections["train_op"])
    assert {context.context_name for context in collections["cond_context"]}
    with pytest.raises(KeyError, match="there is no collection 'variable'; there are"):
        collections["variable"]


def test_a_node() -> None:
    graph = tfbundle.load_graph(FIXTURES / "tf-1.15.5" / "functions-and-control-flow" / "graph.pb")
    node = graph.nodes["halves"]
    assert (node.name, node.op) == ("halves", "Split")
    assert node.attributes["num_split"] == 2
    assert node.attributes["T"] == "DT_FLOAT"
    assert [output.name for output in node.outputs or ()] == ["halves:0", "halves:1"]
    assert node.inputs == ("halves/split_dim:0", "stack:0")
    assert graph["halves"] == graph["halves:0"] == (node.outputs or ())[0]
    assert graph["halves:0"] != graph["halves:1"]
    assert graph.nodes["start"].device == "/job:worker/task:3/device:GPU:1"
    (before,) = graph.nodes["stack"].control_inputs
    assert graph.nodes[before].op == "AssignAdd"
    assert len({graph["halves:0"], graph["halves"], graph["halves:1"]}) == 2
    assert repr(graph["halves:1"]) == "<Output 'halves:1', DT_FLOAT, shape [2]>"


def test_names_that_are_not_there() -> None:
    graph = tfbundle.load_graph(TRAINING / "graph.pb")
    assert graph.nodes.get("fc1/weight") is None
    assert graph.nodes.get("fc1/weights") == graph.nodes["fc1/weights"]
    with pytest.raises(KeyError, match=r"did you mean 'fc1/weights'"):
        graph.nodes["fc1/weight"]
    with pytest.raises(KeyError, match="this is the name of a tensor"):
        graph.nodes["fc1/weights:0"]
    with pytest.raises(KeyError, match="has 1 outputs"):
        graph["fc1/weights:1"]
    with pytest.raises(KeyError, match="there is no constant 'fc1/weights'"):
        graph.constants["fc1/weights"]
    for name in ("", ":0", "^fc1/weights", "fc1/weights:-1", "fc1/weights:x", 0):
        assert name not in graph
    assert "fc1/weights" in graph


def test_a_graph_is_freed_without_the_garbage_collector() -> None:
    """A message takes much memory in few objects, so that the collector would not run while many are read."""
    graph = Graph(GraphDef(node=[NodeDef(name="a", op="Const"), NodeDef(name="b", op="NoOp")]))
    gc.disable()
    try:
        assert list(graph.nodes) == [*graph.constants, "b"] == list(graph)
        assert graph.nodes == graph.nodes
        nodes, freed = graph.nodes, weakref.ref(graph)
        del graph
        assert nodes["b"].op == "NoOp"
        del nodes
        assert freed() is None
    finally:
        gc.enable()


def test_functions() -> None:
    graph = tfbundle.load_graph(FIXTURES / "tf-2.21.0" / "graph-with-functions" / "graph.pb")
    loop = next(node for node in graph.nodes.values() if node.op == "StatelessWhile")
    called = loop.attributes["body"]
    assert isinstance(called, FunctionCall)
    function = graph.functions[called.name]
    assert function.name == called.name
    assert [argument.data_type for argument in function.inputs.values()] == loop.attributes["T"]
    for name in function.outputs.values():
        assert function[name].data_type is not None
    assert str(function.signature) == (
        "while_body_18(while_while_loop_counter: int32[], while_while_maximum_iterations: int32[], "
        "while_placeholder: int32[], while_placeholder_1: float32[]) -> (while_identity: int32, "
        "while_identity_1: int32, while_identity_2: int32, while_identity_3: float32)"
    )
    assert graph.function_op_counts["Const"] == sum(item.op_counts["Const"] for item in graph.functions.values()) > 0
    name = next(iter(function.inputs))
    with pytest.raises(KeyError, match="is an input of"):
        function[name]
    add = next(node for node in function.nodes.values() if node.op == "AddV2")
    assert function[f"{add.name}:z:0"] == function[f"{add.name}:0"]
    for wrong in (f"{add.name}:z:1", f"{add.name}:1"):
        with pytest.raises(KeyError):
            function[wrong]


# What no file of the fixtures has.


def one_node(op: str, **attributes: AttrValue) -> Graph:
    return Graph(GraphDef(node=[NodeDef(name="n", op=op, attr=attributes)]))


def test_an_unknown_op_stays_unknown() -> None:
    graph = one_node("MadeUpOp", T=AttrValue(type=1))
    assert graph.nodes["n"].outputs is None
    output = graph["n:3"]
    assert (output.data_type, output.dtype, output.shape) == (None, None, None)
    assert repr(output) == "<Output 'n:3', unknown type, shape ?>"


def test_a_definition_in_the_file_decides() -> None:
    definition = OpDef(
        name="MadeUpOp",
        output_arg=[
            OpDef.ArgDef(name="one", type=1),
            OpDef.ArgDef(name="same", type_attr="T", number_attr="N"),
            OpDef.ArgDef(name="any", type_list_attr="L"),
            OpDef.ArgDef(name="reference", type=3, is_ref=True),
        ],
        attr=[OpDef.AttrDef(name="T", type="type", default_value=AttrValue(type=9))],
    )
    node = NodeDef(name="n", op="MadeUpOp")
    node.attr["N"].i = 2
    node.attr["L"].list.type.extend([7, 101])
    proto = MetaGraphDef()
    proto.meta_info_def.stripped_op_list.op.append(definition)
    proto.graph_def.node.append(node)
    outputs = MetaGraph(proto).graph.nodes["n"].outputs
    assert outputs is not None
    assert [output.data_type for output in outputs] == [
        "DT_FLOAT", "DT_INT64", "DT_INT64", "DT_STRING", "DT_FLOAT", "DT_INT32",
    ]  # fmt: skip


def test_a_resource_has_no_dtype() -> None:
    graph = one_node("VarHandleOp", dtype=AttrValue(type=1))
    assert (graph["n:0"].data_type, graph["n:0"].dtype, graph["n:0"].shape) == ("DT_RESOURCE", None, ())


@pytest.mark.parametrize(
    ("op", "producer", "shape"),
    [
        ("Placeholder", 23, None),
        ("Placeholder", 24, ()),
        ("PlaceholderWithDefault", 23, ()),
        ("Variable", 24, None),
        ("VariableV2", 24, ()),
    ],
)
def test_a_scalar_that_may_mean_anything(op: str, producer: int, shape: tuple[int, ...] | None) -> None:
    graph = one_node(op, shape=AttrValue(shape={}))
    graph.proto.versions.producer = producer
    assert Graph(graph.proto)["n:0"].shape == shape


def test_attributes_of_every_kind() -> None:
    attributes = Attributes(
        {
            "nothing": AttrValue(),
            "s": AttrValue(s=b"\xff"),
            "i": AttrValue(i=-1),
            "f": AttrValue(f=0.5),
            "b": AttrValue(b=True),
            "type": AttrValue(type=14),
            "new_type": AttrValue(type=77),  # type: ignore[arg-type]
            "shape": AttrValue(shape={"dim": [{"size": 2}, {"size": -1}]}),
            "any_shape": AttrValue(shape={"unknown_rank": True}),
            "tensor": AttrValue(tensor={"dtype": 3, "int_val": [5], "tensor_shape": {"dim": [{"size": 2}]}}),
            "func": AttrValue(func={"name": "f", "attr": {"T": AttrValue(type=1)}}),
            "placeholder": AttrValue(placeholder="T"),
            "empty": AttrValue(list={}),
            "strings": AttrValue(list={"s": [b"a", b""]}),
            "types": AttrValue(list={"type": [1, 7]}),
            "shapes": AttrValue(list={"shape": [{"unknown_rank": True}, {}]}),
            "bad_shape": AttrValue(shape={"dim": [{"size": -2}]}),
        },
        "a.pb",
    )
    assert attributes["nothing"] is None
    assert [attributes[name] for name in ("s", "i", "f", "b")] == [b"\xff", -1, 0.5, True]
    assert (attributes["type"], attributes["new_type"]) == ("DT_BFLOAT16", "DT_77")
    assert (attributes["shape"], attributes["any_shape"]) == ((2, None), None)
    assert attributes["tensor"].tolist() == [5, 5]
    assert attributes["func"].name == "f"
    assert dict(attributes["func"].attributes) == {"T": "DT_FLOAT"}
    assert attributes["placeholder"] == AttributePlaceholder("T")
    assert attributes["empty"] == []
    assert attributes["strings"] == [b"a", b""]
    assert attributes["types"] == ["DT_FLOAT", "DT_STRING"]
    assert attributes["shapes"] == [None, ()]
    with pytest.raises(tfbundle.FormatError, match=r"a tensor cannot have the shape \[-2\] \(a.pb\)"):
        attributes["bad_shape"]
    assert "absent" not in attributes
    with pytest.raises(KeyError):
        attributes["absent"]
    assert len(attributes) == 17


def test_asking_does_not_change_the_message() -> None:
    graph = one_node("MatMul")
    before = graph.proto.SerializeToString()
    assert graph["n:0"].data_type is None
    assert graph["n:0"].shape is None
    assert "T" not in graph.nodes["n"].attributes
    with pytest.raises(tfbundle.FormatError, match="Const without a value"):
        _ = one_node("Const").constants["n"]
    assert graph.proto.SerializeToString() == before


def test_types_in_a_function_that_its_caller_chooses() -> None:
    body = NodeDef(name="n", op="Neg", input=["x"])
    body.attr["T"].placeholder = "T"
    function = FunctionDef(node_def=[body], signature={"name": "f", "input_arg": [{"name": "x", "type_attr": "T"}]})
    graph = Graph(GraphDef(library={"function": [function]}, versions=VersionDef(producer=1)))
    assert graph.functions["f"].inputs["x"].data_type is None
    assert graph.functions["f"]["n:y:0"].data_type is None


def test_opening_decodes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("decoded before anybody asked")

    monkeypatch.setattr("tfbundle.graph.constants.decode_tensor", refuse)
    monkeypatch.setattr("tfbundle.graph.attributes.decode_attribute", refuse)
    monkeypatch.setattr("tfbundle.graph.body.Nodes", refuse)
    graph = tfbundle.load_graph(FIXTURES / "tf-1.15.5" / "frozen" / "frozen.pb")
    assert graph.op_counts["Const"] == 6
    assert "frozen.pb" in repr(graph)


def test_a_graph_is_iterated_over_as_a_mapping_is() -> None:
    proto = GraphDef()
    proto.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    proto.node.add(name="init", op="NoOp")
    proto.node.add(name="bad", op="Split").attr["num_split"].i = -1
    graph = Graph(proto)
    assert list(graph) == ["x", "init", "bad"]
    assert len(graph) == 3
    assert all(name in graph for name in graph)
    assert "x:0" in graph
    assert "x:1" not in graph
    assert "y" not in graph
    assert 0 not in graph
    assert graph._ipython_key_completions_() == ["x"]
    assert [graph[name].name for name in graph._ipython_key_completions_()] == ["x:0"]
    empty = Graph(GraphDef())
    assert len(empty) == 0
    assert empty
