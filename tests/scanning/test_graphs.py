"""When nodes run, and what they act on: every way in which a graph leads from one thing to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

import tfbundle
from tests.support.programs import STRING, call, constant, function, integers, node, saved_model
from tfbundle.formats.coding import encode_varint
from tfbundle.proto import AttrValue, GraphDef, MetaGraphDef, SavedModel
from tfbundle.scanning.values import MOST_ITEMS

READ = node("read", "ReadFile", "path")
PATH = constant("path", b"/etc/hostname")


def scan(message: Message, tmp_path: Path, name: str = "saved_model.pb") -> tfbundle.ScanReport:
    file = tmp_path / name
    file.write_bytes(message.SerializeToString())
    return tfbundle.scan(file)


def triggers(message: Message, tmp_path: Path, **options: Any) -> dict[str, str]:
    """When each node runs that was found."""
    return {finding.node or "": finding.trigger for finding in scan(message, tmp_path, **options).findings}


def arguments(graph: GraphDef, tmp_path: Path) -> list[str | None]:
    """What the nodes act on that were found."""
    return [finding.argument for finding in scan(graph, tmp_path, "graph.pb").findings]


def with_functions(*functions: Any, calls: Any = None) -> SavedModel:
    """A model whose signature calls the first function."""
    model = saved_model(GraphDef(node=[PATH, calls or call("c", "first", "path")]), {"serve": ["c"]})
    model.meta_graphs[0].graph_def.library.function.extend(functions)
    return model


READS = function("reads", ["path"], [READ])
FIRST = function("first", ["path"], [call("c", "reads", "path")])


# When it runs.


def test_data_and_control_edges_lead_to_a_node(tmp_path: Path) -> None:
    graph = GraphDef(
        node=[PATH, READ, node("y", "Identity", "read:0"), node("z", "NoOp", "^read"), node("other", "NoOp")]
    )
    assert triggers(saved_model(graph, {"serve": ["y"]}), tmp_path) == {"read": "call"}
    assert triggers(saved_model(graph, {"serve": ["z"]}), tmp_path) == {"read": "call"}
    assert triggers(saved_model(graph, {"serve": ["other"]}), tmp_path) == {"read": "unreachable"}


@pytest.mark.parametrize(
    "collection", ["saved_model_main_op", "legacy_init_op", "saved_model_init_op", "table_initializer"]
)
def test_collections_that_loading_runs(tmp_path: Path, collection: str) -> None:
    model = saved_model(GraphDef(node=[PATH, READ, node("y", "NoOp")]), {"serve": ["y"]})
    model.meta_graphs[0].collection_def[collection].node_list.value.append("read")
    assert triggers(model, tmp_path) == {"read": "load"}


def test_signatures_of_loading_and_training(tmp_path: Path) -> None:
    graph = GraphDef(node=[PATH, READ])
    assert triggers(saved_model(graph, {"__saved_model_init_op": ["read"]}), tmp_path) == {"read": "load"}
    assert triggers(saved_model(graph, {"__saved_model_train_op": ["read"]}), tmp_path) == {"read": "call"}
    both = saved_model(graph, {"__saved_model_init_op": ["read"], "serve": ["read"]})
    assert triggers(both, tmp_path) == {"read": "load"}


def test_main_ops_as_bytes(tmp_path: Path) -> None:
    model = saved_model(GraphDef(node=[PATH, READ]), {})
    model.meta_graphs[0].collection_def["saved_model_main_op"].bytes_list.value.append(b"read")
    assert triggers(model, tmp_path) == {"read": "load"}


def test_a_signature_of_parts(tmp_path: Path) -> None:
    model = saved_model(GraphDef(node=[PATH, READ]), {})
    output = model.meta_graphs[0].signature_def["serve"].outputs["y"]
    output.coo_sparse.values_tensor_name = "read:0"
    assert triggers(model, tmp_path) == {"read": "call"}
    output.composite_tensor.components.add().name = "read:0"
    assert triggers(model, tmp_path) == {"read": "call"}


def test_graphs_that_are_not_saved_models(tmp_path: Path) -> None:
    """Whoever runs these may fetch any node."""
    graph = GraphDef(node=[PATH, READ, node("y", "NoOp")])
    assert triggers(graph, tmp_path, name="graph.pb") == {"read": "call"}
    meta = MetaGraphDef(graph_def=graph)
    meta.meta_info_def.meta_graph_version = "1"
    assert triggers(meta, tmp_path, name="model.meta") == {"read": "call"}
    meta.collection_def["table_initializer"].node_list.value.append("read")
    assert triggers(meta, tmp_path, name="model.meta") == {"read": "load"}


@pytest.mark.parametrize(
    "calls",
    [
        call("c", "first", "path"),
        call("c", "first", "path", op="StatefulPartitionedCall"),
        node("c", "first", "path"),
        call("c", "first", "x", "path", op="If", attribute="then_branch"),
        call("c", "first", "path", op="While", attribute="cond"),
        call("c", "first", "path", op="MapDefun"),
        call("c", "first", "path", op="SomebodysCaller"),
        node("c", "Case", "x", "path"),
    ],
    ids=lambda calls: calls.op,
)
def test_ways_to_call_a_function(tmp_path: Path, calls: Any) -> None:
    if calls.op == "Case":
        calls.attr["branches"].list.func.add(name="first")
    found = [
        item for item in scan(with_functions(FIRST, READS, calls=calls), tmp_path).findings if item.op == "ReadFile"
    ]
    assert [(item.trigger, item.function) for item in found] == [("call", "reads")]


def test_a_function_in_an_attribute_of_a_function(tmp_path: Path) -> None:
    calls = call("c", "first", "path")
    calls.attr["f"].func.attr["inner"].func.name = "reads"
    empty = function("first", ["path"], [])
    assert triggers(with_functions(empty, READS, calls=calls), tmp_path) == {"read": "call"}


def test_gradients(tmp_path: Path) -> None:
    model = with_functions(function("first", ["path"], []), READS)
    library = model.meta_graphs[0].graph_def.library
    assert triggers(model, tmp_path) == {"read": "unreachable"}
    library.gradient.add(function_name="first", gradient_func="reads")
    assert triggers(model, tmp_path) == {"read": "call"}
    del library.gradient[:]
    library.function[0].attr["backward_function_name"].s = b"reads"
    assert triggers(model, tmp_path) == {"read": "call"}
    del library.function[0].attr["backward_function_name"]
    library.function[0].node_def.append(node("i", "IdentityN", "path"))
    library.function[0].node_def[0].attr["_gradient_op_type"].s = b"CustomGradient-1"
    assert triggers(model, tmp_path) == {"read": "unreachable"}
    library.registered_gradients.add(registered_op_type="CustomGradient-1", gradient_func="reads")
    assert triggers(model, tmp_path) == {"read": "call"}


def test_gradients_of_ops(tmp_path: Path) -> None:
    """A library may have gradients of ops, and any op may name a registered one."""
    for body in ([], [node("m", "Mul", "path", "path")]):
        model = with_functions(
            function("first", ["path"], body), READS, calls=call("c", "first", "path", op="SymbolicGradient")
        )
        assert triggers(model, tmp_path) == {"read": "unreachable"}
        model.meta_graphs[0].graph_def.library.gradient.add(function_name="Mul", gradient_func="reads")
        assert triggers(model, tmp_path) == {"read": "call"}
    for place in ("graph", "function"):
        model = with_functions(function("first", ["path"], []), READS)
        graph = model.meta_graphs[0].graph_def
        nodes = graph.node if place == "graph" else graph.library.function[0].node_def
        nodes.append(node("m", "MatMul", "path", "path"))
        nodes[-1].attr["_gradient_op_type"].s = b"CustomGradient-1"
        if place == "graph":
            model.meta_graphs[0].signature_def["serve"].outputs["m"].name = "m:0"
        assert triggers(model, tmp_path) == {"read": "unreachable"}
        graph.library.registered_gradients.add(registered_op_type="CustomGradient-1", gradient_func="reads")
        assert triggers(model, tmp_path) == {"read": "call"}


def test_functions_with_the_names_of_ops(tmp_path: Path) -> None:
    """Neither hides what the other does."""
    graph = GraphDef(node=[PATH, READ])
    graph.library.function.append(function("ReadFile", ["x"], [], o="x"))
    assert triggers(saved_model(graph, {"serve": ["read"]}), tmp_path) == {"read": "call"}
    graph = GraphDef(node=[PATH, node("i", "Identity", "path")])
    graph.library.function.append(function("Identity", ["path"], [READ], o="path"))
    assert triggers(saved_model(graph, {"serve": ["i"]}), tmp_path) == {"read": "call"}
    empty = constant("path", b"")
    cache = node("cache", "CacheDatasetV2", "data", "i")
    graph = GraphDef(node=[empty, node("i", "Identity", "path"), cache])
    assert triggers(saved_model(graph, {"serve": ["cache"]}), tmp_path) == {}
    graph.library.function.append(function("Identity", ["x"], [constant("p", b"/tmp/x")], o="p:output:0"))
    (finding,) = scan(saved_model(graph, {"serve": ["cache"]}), tmp_path).findings
    assert finding.argument == "/tmp/x"


def test_functions_that_the_optimizer_may_choose_instead(tmp_path: Path) -> None:
    model = with_functions(function("first", ["path"], []), READS)
    for found in model.meta_graphs[0].graph_def.library.function:
        found.attr["api_implements"].s = b"lstm"
    assert triggers(model, tmp_path) == {"read": "call"}


def object_model(**names: str) -> SavedModel:
    """A model whose root has a resource with functions under these names, and a function called ``run``."""
    model = saved_model(GraphDef(), {})
    meta = model.meta_graphs[0]
    meta.graph_def.library.function.append(function("f", [], [PATH, READ]))
    graph = meta.object_graph_def
    root, resource, run = graph.nodes.add(), graph.nodes.add(), graph.nodes.add()
    root.children.add(node_id=1, local_name="table")
    resource.resource.device = "x"
    run.function.concrete_functions.append("f")
    for name in names.values():
        resource.children.add(node_id=2, local_name=name)
    return model


@pytest.mark.parametrize("name", ["_create_resource", "_initialize", "_destroy_resource"])
def test_resources_that_loading_makes(tmp_path: Path, name: str) -> None:
    (finding,) = scan(object_model(name=name), tmp_path).findings
    assert (finding.trigger, finding.argument) == ("load", "/etc/hostname")
    assert f"({name} of table)" in finding.message


def test_other_functions_of_objects(tmp_path: Path) -> None:
    (finding,) = scan(object_model(name="run"), tmp_path).findings
    assert (finding.trigger, "(the function table.run)" in finding.message) == ("call", True)
    model = object_model()
    saveable = model.meta_graphs[0].object_graph_def.nodes[1].saveable_objects["value"]
    saveable.save_function = saveable.restore_function = 2
    assert triggers(model, tmp_path) == {"read": "load"}


# What it acts on.


def test_arguments_of_each_caller(tmp_path: Path) -> None:
    model = with_functions(FIRST, READS)
    graph = model.meta_graphs[0].graph_def
    graph.node.extend(
        [constant("p", b"/etc/other"), node("x", "Placeholder"), call("c2", "reads", "p"), call("c3", "reads", "x")]
    )
    for name in ("c2", "c3"):
        model.meta_graphs[0].signature_def["serve"].outputs[name].name = f"{name}:0"
    found = {finding.argument for finding in scan(model, tmp_path).findings}
    assert found == {"/etc/hostname", "/etc/other", "comes from the caller"}


def test_captured_values_of_objects(tmp_path: Path) -> None:
    model = object_model(name="run")
    meta = model.meta_graphs[0]
    meta.graph_def.node.append(constant("captured", b"/etc/captured"))
    del meta.graph_def.library.function[:]
    reads = [node("a", "ReadFile", "given"), node("b", "ReadFile", "held"), node("c", "ReadFile", "asset")]
    meta.graph_def.library.function.append(function("f", ["given", "held", "asset"], reads))
    meta.asset_file_def.add(filename="vocabulary.txt").tensor_info.name = "x:0"
    meta.object_graph_def.nodes.add().constant.operation = "captured"
    meta.object_graph_def.nodes.add().asset.asset_file_def_index = 0
    meta.object_graph_def.concrete_functions["f"].bound_inputs.extend([3, 4])
    assert {f.node: f.argument for f in scan(model, tmp_path).findings} == {
        "a": "comes from the caller",
        "b": "/etc/captured",
    }


def loop(body: Any) -> SavedModel:
    found = call("c", "cond", "path", op="While", attribute="cond")
    found.attr["body"].func.name = "body"
    return with_functions(function("cond", ["path"], [], o="path"), body, calls=found)


def test_loops(tmp_path: Path) -> None:
    """What a loop leaves as it is stays known; what it changes may be anything after the first turn."""
    kept = function("body", ["path"], [READ], o="path")
    changed = function("body", ["path"], [READ, node("j", "StringJoin", "path", "path")], o="j:output:0")
    assert [f.argument for f in scan(loop(kept), tmp_path).findings] == ["/etc/hostname"]
    assert [f.argument for f in scan(loop(changed), tmp_path).findings] == ["/etc/hostname, <unknown>"]


def fill(name: str, op: str, *inputs: str, **attributes: Any) -> Any:
    found = node(name, op, *inputs)
    for key, value in attributes.items():
        found.attr[key].CopyFrom(value if isinstance(value, AttrValue) else AttrValue(s=value))
    return found


STRINGS = fill("v", "VariableV2", dtype=AttrValue(type=STRING))
HANDLE = fill("v", "VarHandleOp", dtype=AttrValue(type=STRING))
ASSIGN = fill("a", "AssignVariableOp", "v", "p", dtype=AttrValue(type=STRING))
CHAIN = [
    constant("i0", b"/etc/hostname"),
    *(node(f"i{n}", "Identity", f"i{n - 1}") for n in range(1, 3000)),
    node("path", "Identity", "i2999"),
]


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([PATH], "/etc/hostname"),
        (CHAIN, "/etc/hostname"),
        ([node("path", "Placeholder")], "comes from the caller"),
        ([constant("d", b"/etc/default"), node("path", "PlaceholderWithDefault", "d")], "/etc/default"),
        ([constant("a", b"/etc/a"), constant("b", b"/etc/b"), node("path", "Merge", "a", "b")], "/etc/a, /etc/b"),
        ([node("path", "SomebodysOp")], "unknown"),
        ([node("path", "path")], "unknown"),
        ([], "unknown"),
        ([constant("x", b"/etc/", b"x"), fill("path", "Unpack", "x")], "/etc/"),
        ([STRINGS, constant("p", b"/etc/v"), node("a", "Assign", "v", "p"), node("path", "Identity", "v")], "/etc/v"),
        ([HANDLE, constant("p", b"/etc/h"), ASSIGN, node("path", "ReadVariableOp", "v")], "/etc/h"),
        ([HANDLE, node("path", "ReadVariableOp", "v")], "unknown"),
        ([constant("s", b"/a", b"b"), integers("z", 0), fill("path", "ReduceJoin", "s", "z", separator=b"/")], "/a/b"),
        ([node("x", "Placeholder"), fill("path", "StringFormat", "x", template=b"/a%s")], '/a"<from the caller>"'),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}-nodes",
)  # fmt: skip
def test_where_a_path_comes_from(tmp_path: Path, nodes: list[Any], wanted: str) -> None:
    found = [
        f.argument for f in scan(GraphDef(node=[*nodes, READ]), tmp_path, "graph.pb").findings if f.op == "ReadFile"
    ]
    assert found == [wanted]


def test_elements_of_datasets(tmp_path: Path) -> None:
    files = constant("files", b"/etc/a", b"/etc/b")
    data = node("data", "TensorSliceDataset", "files")
    shuffled = node("shuffled", "ShuffleDataset", "data", "x")
    mapped = call("c", "reads", "shuffled", op="MapDataset")
    graph = GraphDef(node=[files, data, shuffled, mapped])
    graph.library.function.append(READS)
    model = saved_model(graph, {"serve": ["c"]})
    assert [f.argument for f in scan(model, tmp_path).findings] == ["/etc/a, /etc/b"]
    mapped = call("c", "reads", "shuffled", "held", op="MapDataset")
    mapped.attr["Targuments"].list.type.append(STRING)
    graph = GraphDef(node=[files, data, shuffled, constant("held", b"/etc/held"), mapped])
    graph.library.function.append(function("reads", ["element", "path"], [READ]))
    assert [f.argument for f in scan(saved_model(graph, {"serve": ["c"]}), tmp_path).findings] == ["/etc/held"]


# What is harmless.


@pytest.mark.parametrize(
    ("op", "attribute", "harmless", "harmful"),
    [
        ("PrintV2", "output_stream", b"stderr", b"file:///tmp/x"),
        ("PrintV2", "output_stream", b"log(warning)", b"/tmp/x"),
        ("DebugIdentityV2", "debug_urls", b"memcbk:///x", b"grpc://x:1"),
        ("FixedUnigramCandidateSampler", "vocab_file", b"", b"/etc/x"),
        ("DecodeProtoV2", "descriptor_source", b"local://", b"/etc/x"),
        ("EncodeProto", "descriptor_source", b"bytes://abc", b"/etc/x"),
    ],
)
def test_values_that_make_an_op_harmless(
    tmp_path: Path, op: str, attribute: str, harmless: bytes, harmful: bytes
) -> None:
    found = node("n", op, "x")
    kinds: list[Callable[[bytes], None]] = [lambda value: found.attr[attribute].__setattr__("s", value)]
    if attribute == "debug_urls":
        kinds = [lambda value: found.attr[attribute].list.s.__setitem__(slice(None), [value])]
    for put in kinds:
        put(harmless)
        assert scan(GraphDef(node=[found]), tmp_path, "graph.pb").findings == ()
        put(harmful)
        (finding,) = scan(GraphDef(node=[found]), tmp_path, "graph.pb").findings
        assert finding.argument == harmful.decode()


def saver_graph(prefix: Any) -> GraphDef:
    return GraphDef(
        node=[prefix, node("save", "SaveV2", "prefix", "n", "s"), node("restore", "RestoreV2", "prefix", "n", "s")]
    )


def test_savers(tmp_path: Path) -> None:
    """A saver is silent while only it is run, with the path that it is given; the same ops are not otherwise."""
    model = saved_model(saver_graph(node("prefix", "Placeholder")), {})
    saver = model.meta_graphs[0].saver_def
    saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name = "prefix:0", "save:0", "restore"
    assert scan(model, tmp_path).findings == ()
    model.meta_graphs[0].signature_def["serve"].outputs["y"].name = "save:0"
    assert triggers(model, tmp_path) == {"save": "call"}
    del model.meta_graphs[0].signature_def["serve"]
    model.meta_graphs[0].collection_def["legacy_init_op"].node_list.value.append("save")
    assert triggers(model, tmp_path) == {"save": "load"}
    other = saved_model(saver_graph(constant("prefix", b"/tmp/elsewhere")), {})
    other.meta_graphs[0].saver_def.CopyFrom(saver)
    other.meta_graphs[0].saver_def.filename_tensor_name = "another:0"
    assert triggers(other, tmp_path) == {"save": "call", "restore": "load"}


def test_savers_that_are_not_declared(tmp_path: Path) -> None:
    assert scan(saver_graph(constant("prefix", b"model")), tmp_path, "graph.pb").findings == ()
    assert len(scan(saver_graph(constant("prefix", b"models")), tmp_path, "graph.pb").findings) == 2


@pytest.mark.parametrize(
    ("following", "is_silent"),
    [
        ([constant("s", b"_temp/part")], True),
        ([constant("s", b"..part")], True),
        ([constant("s", b"/../../x")], False),
        ([constant("s", b"\\..\\x")], False),
        ([node("s", "SomebodysOp")], False),
    ],
)
def test_what_follows_the_path_of_a_saver(tmp_path: Path, following: list[Any], is_silent: bool) -> None:
    nodes = [node("given", "Placeholder"), *following, node("prefix", "StringJoin", "given", "s")]
    model = saved_model(GraphDef(node=[*nodes, node("save", "SaveV2", "prefix", "n", "t")]), {})
    saver = model.meta_graphs[0].saver_def
    saver.filename_tensor_name, saver.save_tensor_name = "given:0", "save:0"
    assert [f.op for f in scan(model, tmp_path).findings if f.op == "SaveV2"] == ([] if is_silent else ["SaveV2"])


def test_what_a_saver_merges(tmp_path: Path) -> None:
    """Merging removes the files that it reads."""
    for others, found in (("given", {}), ("other", {"merge": "call"})):
        merge = node("merge", "MergeV2Checkpoints", others, "given")
        graph = GraphDef(node=[node("given", "Placeholder"), constant("other", b"/home/x/model"), merge])
        model = saved_model(graph, {})
        saver = model.meta_graphs[0].saver_def
        saver.filename_tensor_name, saver.save_tensor_name = "given:0", "merge:0"
        assert triggers(model, tmp_path) == found


def test_checkpoints_that_training_starts_from(tmp_path: Path) -> None:
    """A program that trains reads others; a model that is served does not, and neither writes elsewhere."""
    path, restore = constant("path", b"/data/earlier"), node("restore", "RestoreV2", "path", "n", "s")
    graph = GraphDef(node=[path, restore, node("save", "SaveV2", "path", "n", "s")])
    severities = {finding.op: finding.severity for finding in scan(graph, tmp_path, "graph.pb").findings}
    assert severities == {"RestoreV2": "info", "SaveV2": "high"}
    model = saved_model(graph, {"serve": ["restore"]})
    severities = {finding.op: finding.severity for finding in scan(model, tmp_path).findings}
    assert severities == {"RestoreV2": "medium", "SaveV2": "low"}


def test_assets_are_only_those_that_are_fed(tmp_path: Path) -> None:
    """Loading gives assets their paths; who calls the model afterwards gets what the graph has."""
    model = saved_model(GraphDef(node=[PATH, READ]), {"serve": ["read"]})
    meta = model.meta_graphs[0]
    meta.collection_def["asset_filepaths"].node_list.value.append("path:0")
    assert triggers(model, tmp_path) == {"read": "call"}
    asset = meta.asset_file_def.add(filename="hostname")
    asset.tensor_info.name = "path:0"
    (finding,) = scan(model, tmp_path).findings
    assert (finding.trigger, finding.argument) == ("call", "/etc/hostname")
    meta.signature_def["__saved_model_init_op"].outputs["x"].name = "read"
    del meta.signature_def["serve"]
    assert triggers(model, tmp_path) == {}
    asset.tensor_info.name = "path"
    assert triggers(model, tmp_path) == {}
    asset.tensor_info.name = "path:1"
    assert triggers(model, tmp_path) == {"read": "load"}


def test_more_values_than_are_traced_are_not_left_out(tmp_path: Path) -> None:
    for count, found in ((MOST_ITEMS, []), (MOST_ITEMS + 1, [", <unknown>"])):
        empty = [constant(f"e{number}", b"") for number in range(count)]
        merge = node("m", "Merge", *(item.name for item in empty))
        graph = GraphDef(node=[*empty, merge, node("cache", "CacheDatasetV2", "data", "m")])
        findings = scan(saved_model(graph, {"serve": ["cache"]}), tmp_path).findings
        assert [finding.argument for finding in findings] == found


def test_assets(tmp_path: Path) -> None:
    graph = GraphDef(node=[PATH, node("init", "InitializeTableFromTextFileV2", "table", "path"), READ])
    model = saved_model(graph, {"__saved_model_init_op": ["init"]})
    assert triggers(model, tmp_path) == {"init": "load", "read": "unreachable"}
    model.meta_graphs[0].asset_file_def.add(filename="hostname").tensor_info.name = "path:0"
    assert triggers(model, tmp_path) == {}
    model.meta_graphs[0].asset_file_def[0].filename = "../hostname"
    (finding,) = scan(model, tmp_path).findings
    assert finding.rule == "asset-outside"


def test_ops_that_nobody_knows(tmp_path: Path) -> None:
    graph = GraphDef(node=[node("x", "SomebodysOp")])
    model = saved_model(graph, {"serve": ["x"]})
    (finding,) = scan(model, tmp_path).findings
    assert (finding.rule, finding.severity, finding.trigger) == ("unknown-op", "info", "call")
    definitions = model.meta_graphs[0].meta_info_def.stripped_op_list.op
    definitions.add(name="Other")
    assert scan(model, tmp_path).findings[0].severity == "medium"
    definitions.add(name="SomebodysOp")
    assert scan(model, tmp_path).findings[0].severity == "info"


# Graphs in values.


def test_graphs_in_constants_and_variants(tmp_path: Path) -> None:
    inner = GraphDef(node=[PATH, node("write", "WriteFile", "path", "path")]).SerializeToString()
    for place in ("string", "content", "variant", "metadata"):
        held = constant("held", inner)
        if place == "content":
            tensor = held.attr["value"].tensor
            tensor.tensor_content = encode_varint(len(inner)) + inner
            del tensor.string_val[:]
        elif place != "string":
            held.attr["dtype"].type = held.attr["value"].tensor.dtype = 21
            tensor = held.attr["value"].tensor
            variant = tensor.variant_val.add(type_name="x")
            if place == "variant":
                variant.tensors.add(dtype=STRING, string_val=[inner])
            else:
                variant.metadata = inner
            del tensor.string_val[:]
        model = saved_model(GraphDef(node=[held]), {"serve": ["held"]})
        (finding,) = scan(model, tmp_path).findings
        assert (finding.op, finding.trigger, finding.argument) == ("WriteFile", "call", "/etc/hostname")
        assert finding.within == ("held",)
    other = saved_model(GraphDef(node=[constant("held", b"\n\x05no graph at all")]), {"serve": ["held"]})
    assert scan(other, tmp_path).findings == ()


def test_a_program_from_the_caller(tmp_path: Path) -> None:
    graph = GraphDef(node=[node("x", "Placeholder"), node("data", "DatasetFromGraph", "x")])
    (finding,) = scan(saved_model(graph, {"serve": ["data"]}), tmp_path).findings
    assert (finding.rule, finding.argument) == ("program-in-data", "comes from the caller")
    broken = GraphDef(node=[constant("x", b"\xff\xff\xff"), node("data", "DatasetFromGraph", "x")])
    assert not scan(saved_model(broken, {"serve": ["data"]}), tmp_path).complete


@pytest.mark.parametrize(("size", "shown"), [(300, "x" * 300), (301, f"{'x' * 300}...")])
def test_long_arguments_are_shortened(tmp_path: Path, size: int, shown: str) -> None:
    graph = GraphDef(node=[constant("path", b"x" * size), READ])
    (finding,) = scan(graph, tmp_path, "graph.pb").findings
    assert finding.argument == shown
    assert finding.arguments == ("x" * size,)
