"""The commands ``graph`` and ``check``."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

import tfbundle
from tests.support.command import documents, outcome, refusal, run, run_json
from tests.support.expected import FIXTURES
from tests.support.graphs import ExpectedGraph, expected_graphs
from tests.support.records import frames
from tfbundle.graph_sources import load_any_graph
from tfbundle.proto import AttrValue, Event, GraphDef, MetaGraphDef, NodeDef, SavedModel

TRAINING = FIXTURES / "tf-1.15.5" / "training"
OF_TWO = FIXTURES / "tf-1.15.5" / "saved-model-of-two" / "model"
EVENTS_1, EVENTS_2 = FIXTURES / "events-tf-1.15.5", FIXTURES / "events-tf-2.21.0"
EVENT_FILE = "events.out.tfevents.1500000000.host"
FUNCTIONS = FIXTURES / "tf-2.21.0" / "graph-with-functions" / "graph.pb"


def test_a_partitioned_variable_is_one_line() -> None:
    path = FIXTURES / "tf-1.15.5" / "v1-partitioned" / "model.ckpt-3.meta"
    facts = run_json("graph", path)["graphs"][0]["variables"]
    parts = [variable["variable"] for variable in facts if variable["name"] == "fc1/weights"]
    assert len(parts) == len(set(parts)) > 1
    lines = [line for line in run("graph", path).stdout.splitlines() if line.startswith("fc1/weights ")]
    assert len(lines) == 1


@pytest.mark.parametrize("expected", list(expected_graphs()), ids=str)
def test_graph_tells_what_tensorflow_read(expected: ExpectedGraph) -> None:
    facts = run_json("graph", expected.path)
    assert (facts["path"], facts["kind"]) == (str(expected.path), expected.kind)
    for graph, wanted in zip(facts["graphs"], expected.facts.get("meta_graphs", [expected.facts]), strict=True):
        assert graph["nodes"] == wanted["graph"]["nodes"]
        assert graph["ops"] == wanted["graph"]["ops"]
        assert {name: item["nodes"] for name, item in graph["functions"].items()} == wanted["graph"]["functions"]
        assert graph["collections"] == wanted.get("collections", {})
        assert graph["tags"] == wanted.get("tags", [])
        assert graph["tensorflow_version"] == wanted.get("tensorflow_version", "")
        assert set(graph["signatures"]) == set(wanted.get("signatures", {}))
    printed = run("graph", expected.path)
    assert (printed.exit_code, printed.stderr) == (0, "")
    for op, count in expected.facts.get("meta_graphs", [expected.facts])[0]["graph"]["ops"].items():
        assert re.search(rf"^{op} +{count}( +\d+)?$", printed.stdout, re.MULTILINE)


def test_graph_fields() -> None:
    facts = run_json("graph", OF_TWO)
    assert set(facts) == {"path", "kind", "graphs", "assets"}
    graph = facts["graphs"][1]
    assert set(graph) == {
        "tags", "tensorflow_version", "producer", "min_consumer", "nodes", "ops", "function_ops", "functions",
        "variables", "collections", "signatures", "saver",
    }  # fmt: skip
    assert graph["variables"][0] == {
        "name": "vgg_feat_fc/weights", "variable": "vgg_feat_fc/weights:0", "trainable": True, "shape": [6, 4],
        "dtype": "float32", "data_type": "DT_FLOAT",
    }  # fmt: skip
    assert graph["signatures"]["scores"]["inputs"]["images"] == {
        "names": ["images:0"], "shape": [None, 6], "dtype": "float32", "data_type": "DT_FLOAT",
    }  # fmt: skip
    assert graph["saver"]["version"] == "V2"
    assert len(graph["saver"]["tensors"]) == 7
    (asset,) = facts["assets"]
    assert (asset["name"], asset["exists"]) == ("vocabulary.txt", True)


def test_graph_for_people() -> None:
    printed = run("graph", OF_TWO).stdout
    assert "kind         SavedModel\n" in printed
    assert "tags         train, gpu\n" in printed
    assert "tags         serve\n" in printed
    assert re.search(r"^scores +input +images +\[\?,6\] +float32 +images:0$", printed, re.MULTILINE)
    assert re.search(r"^global_step +\[\] +int32 +no$", printed, re.MULTILINE)
    assert re.search(r"^vocabulary.txt +yes$", printed, re.MULTILINE)


def test_ops_and_signatures_of_functions() -> None:
    path = FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model"
    (facts,) = run_json("graph", path)["graphs"]
    message = SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    counts = Counter(node.op for function in message.library.function for node in function.node_def)
    assert facts["function_ops"] == counts
    assert facts["functions"]["__inference_signature_wrapper_embed_42"] == {
        "nodes": 4,
        "inputs": [
            {"name": "words", "shape": [None], "dtype": "string", "data_type": "DT_STRING"},
            {"name": "unknown", "shape": None, "dtype": "resource", "data_type": "DT_RESOURCE"},
            {"name": "unknown_0", "shape": [], "dtype": "int64", "data_type": "DT_INT64"},
            {"name": "unknown_1", "shape": None, "dtype": "resource", "data_type": "DT_RESOURCE"},
        ],
        "outputs": [
            {"name": "identity", "shape": [None, 2], "dtype": "float32", "data_type": "DT_FLOAT",
             "tensor": "Identity:output:0"},
            {"name": "identity_1", "shape": [], "dtype": "int32", "data_type": "DT_INT32",
             "tensor": "Identity_1:output:0"},
        ],
    }  # fmt: skip
    printed = run("graph", path).stdout
    assert "functions    9, with 56 nodes\n" in printed
    assert re.search(r"^op +nodes +in functions$", printed, re.MULTILINE)
    assert re.search(r"^StatefulPartitionedCall +5 +3$", printed, re.MULTILINE)
    assert re.search(r"^RestoreV2 +0 +1$", printed, re.MULTILINE)  # Only a function has it.
    assert re.search(
        r"^__inference_signature_wrapper_embed_42 +4 +words: string\[\?\], unknown: resource, unknown_0: int64\[\], "
        r"and 1 more +identity: float32\[\?,2\], identity_1: int32\[\]$",
        printed,
        re.MULTILINE,
    )
    assert "in functions" not in run("graph", TRAINING).stdout


@pytest.mark.parametrize(("count", "more"), [(3, ""), (4, ", and 1 more"), (9, ", and 6 more")])
def test_long_lists_of_inputs_are_cut(count: int, more: str, tmp_path: Path) -> None:
    """In 64 columns as many as fit, and how many do not."""
    graph = GraphDef()
    signature = graph.library.function.add().signature
    signature.name = "f"
    for number in range(count):
        signature.input_arg.add(name=str(number) * 10, type=1)
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    inputs = re.search(r"^f +0 +(.*?) +-$", run("graph", tmp_path / "graph.pb").stdout, re.MULTILINE)
    assert inputs
    shown = [f"{str(number) * 10}: float32" for number in range(3)]
    assert inputs[1] == ", ".join(shown) + more


def test_one_node() -> None:
    facts = run_json("graph", TRAINING, "fc1/weights")
    assert (facts["name"], facts["op"]) == ("fc1/weights", "VariableV2")
    assert facts["attributes"]["shape"] == [64, 12]
    assert facts["outputs"] == [
        {"name": "fc1/weights:0", "shape": [64, 12], "dtype": "float32", "data_type": "DT_FLOAT"}
    ]
    assert run_json("graph", TRAINING, "fc1/weights:0") == facts
    printed = run("graph", TRAINING, "fc1/weights").stdout
    assert "attribute    shape = [64, 12]\n" in printed
    assert "output       fc1/weights:0 float32 [64,12]\n" in printed


def test_variables_of_tensorflow_2() -> None:
    path = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model"
    variables = run_json("graph", path)["graphs"][0]["variables"]
    listed = variables[0]
    name = listed["variable"].removesuffix(":0")
    printed = run("graph", path).stdout
    assert re.search(r"^variable +shape +dtype +trainable +key$", printed, re.MULTILINE)
    assert re.search(rf"^{re.escape(name)} +\[3,3,1,4\] +float32 +yes +{listed['name']}$", printed, re.MULTILINE)
    by_key = run_json("graph", path, listed["name"])
    assert by_key == {**listed, "variable": name, "node": by_key["node"]}
    node = run_json("graph", path, by_key["node"])
    assert (node["op"], node["stored_as"]) == ("VarHandleOp", listed["name"])
    # A node comes before a variable that is called as it is.
    graph = tfbundle.load_graph(path)
    for variable in variables:
        own = variable["variable"].removesuffix(":0")
        facts = run_json("graph", path, own)
        if own in graph.nodes:
            assert facts["op"] == "VarHandleOp"
        else:
            assert facts["name"] == min(item["name"] for item in variables if item["variable"] == variable["variable"])
    assert run_json("graph", TRAINING, "fc1/weights")["stored_as"] == "fc1/weights"
    assert "variable     " in run("graph", path, listed["name"]).stdout


def test_variables_that_share_a_name(tmp_path: Path) -> None:
    meta = MetaGraphDef()
    meta.graph_def.node.add(name="n", op="NoOp")
    root = meta.object_graph_def.nodes.add()
    for number, key in enumerate(("x", "y"), 1):
        root.children.add(node_id=number, local_name=key)
        meta.object_graph_def.nodes.add().variable.name = "shared"
    (tmp_path / "model.meta").write_bytes(meta.SerializeToString())
    keys = [f"{key}/.ATTRIBUTES/VARIABLE_VALUE" for key in ("x", "y")]
    message = f"2 variables are named shared; pass one of {', '.join(keys)}"
    assert message in refusal("graph", tmp_path / "model.meta", "shared")
    assert run_json("graph", tmp_path / "model.meta", keys[1])["name"] == keys[1]


def test_every_node_can_be_shown() -> None:
    import tfbundle

    for path in (FUNCTIONS, FIXTURES / "tf-1.15.5" / "every-kind-of-constant" / "constants.pb"):
        for name, node in tfbundle.load_graph(path).nodes.items():
            facts = run_json("graph", path, name)
            assert (facts["op"], set(facts["attributes"])) == (node.op, set(node.attributes))
            assert run("graph", path, name).exit_code == 0
    assert run_json("graph", path, "special")["attributes"]["value"]["values"][:3] == ["Infinity", "-Infinity", "NaN"]


def test_one_function() -> None:
    facts = run_json("graph", FUNCTIONS, "while_body_18")
    assert (facts["function"], facts["nodes"], facts["ops"]["Const"]) == ("while_body_18", 15, 5)
    assert facts["inputs"][0]["dtype"] == "int32"
    assert facts["outputs"][0]["name"] == "while_identity"
    assert facts["outputs"][0]["tensor"] == "while/Identity:output:0"
    printed = run("graph", FUNCTIONS, "while_body_18").stdout
    assert "output       while_identity int32 ? = while/Identity:output:0\n" in printed


def test_strange_graphs_stay_on_their_lines(tmp_path: Path) -> None:
    node = NodeDef(name="a\nb\x1b[31m", op="Own\tOp", device="\r", input=["^x\ny"])
    node.attr["bad\n"].shape.dim.add(size=-5)
    node.attr["text"].s = b"\x1b[0m\n\xff"
    node.attr["f"].f = float("nan")
    node.attr["long"].s = b"x" * 10000
    node.attr["call"].func.name = "f"
    node.attr["call"].func.attr["T"].placeholder = "T"
    path = tmp_path / "graph.pb"
    path.write_bytes(GraphDef(node=[NodeDef(name="first", op="NoOp"), node]).SerializeToString())
    for arguments in (["graph", path], ["graph", path, "a\\nb\\x1b[31m"], ["graph", path, "a\nb\x1b[31m"]):
        printed = run(*arguments)
        assert (printed.exit_code, printed.stderr) == (0, "")
        assert not set(printed.stdout) & {"\x1b", "\r", "\t"}
        assert all(len(line) < 300 for line in printed.stdout.splitlines())
    assert "output       not known: the op has no known definition\n" in printed.stdout
    attributes = run_json("graph", path, "a\nb\x1b[31m")["attributes"]
    assert "a tensor cannot have the shape [-5]" in attributes["bad\n"]["error"]
    assert attributes["text"] == "\x1b[0m\n\udcff"
    assert attributes["f"] == "NaN"
    assert attributes["call"] == {"function": "f", "attributes": {"T": {"placeholder": "T"}}}


def test_what_graph_refuses(tmp_path: Path) -> None:
    assert "did you mean 'fc1/weights'" in refusal("graph", TRAINING, "fc1/weight")
    assert "does not exist" in refusal("graph", tmp_path / "absent")
    (tmp_path / "page").write_bytes(b"<html>")
    assert "HTML page" in refusal("graph", tmp_path / "page")
    bad = NodeDef(name="n", op="Split", attr={"num_split": AttrValue(i=-1)})
    (tmp_path / "bad.pb").write_bytes(GraphDef(node=[bad]).SerializeToString())
    assert "claims to have -1 outputs" in refusal("graph", tmp_path / "bad.pb", "n")


OBJECTS = FIXTURES / "tf-2.21.0" / "plain-objects"


@pytest.mark.parametrize(
    ("command", "path", "words"),
    [
        ("graph", "", "the path is empty; pass a graph's file"),
        ("records", "", "the path is empty; pass a file of records"),
        ("graph", "absent.index", "there is no file absent.index, and absent.meta does not exist; pass a graph's file"),
        ("graph", "absent.meta", "there is no file absent.meta; pass a graph's file"),
        ("graph", "absent", "there is no file absent, and absent.meta does not exist"),
        ("graph", OBJECTS / "objects.index", "has no graph: {folder}/objects.meta does not exist, and TensorFlow 2"),
        ("graph", OBJECTS / "objects", "or read its tensors with 'tfbundle ls'"),
        ("graph", TRAINING / "checkpoint", "is a checkpoint state file, not a graph; 'tfbundle state' reads it"),
        ("graph", FIXTURES / "tf-2.21.0" / "names" / "EXPECTED.json", "a text file, not a graph; pass a graph's file"),
        ("graph", EVENTS_2 / "truncated-tails", "its event files contain none; 'tfbundle events' reads them"),
        ("graph", EVENTS_2 / "restarts" / EVENT_FILE, "an event file without a graph; 'tfbundle events' reads it"),
        ("graph", EVENTS_2 / "compressed-records" / "records.gzip", "is a gzip file, not a graph; unpack it first"),
        ("records", OBJECTS / "objects.index", "not a file of records; use 'tfbundle ls {folder}/objects.index'"),
        ("records", OBJECTS / "objects.data-00000-of-00001", "a data file of a checkpoint, not a file of records; use "
         "'tfbundle ls {folder}/objects'"),
        ("records", TRAINING / "checkpoint", "use 'tfbundle state {folder}/checkpoint'"),
        ("records", TRAINING / "graph.pb", "GraphDef, not a file of records; use 'tfbundle graph {folder}/graph.pb'"),
        ("records", TRAINING / "graph.pbtxt", "a GraphDef in text form, not a file of records; use 'tfbundle graph"),
        ("records", TRAINING, "is a folder, not a file of records; 'tfbundle info {folder}/training' lists"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_says_which_command_reads_it(command: str, path: Path | str, words: str) -> None:
    folder = path.parent if isinstance(path, Path) else ""
    assert words.format(folder=folder) in refusal(command, path)


def test_the_graph_of_an_event_file() -> None:
    folder = EVENTS_1 / "every-plugin-1"
    run_of_it = tfbundle.open_events(folder).runs["."]
    assert run_of_it.meta_graph is not None
    facts = run_json("graph", folder)
    assert facts == run_json("graph", folder / EVENT_FILE)
    assert (facts["kind"], facts["path"]) == ("meta_graph", str(folder / EVENT_FILE))
    assert facts["graphs"][0]["nodes"] == len(run_of_it.meta_graph.graph.nodes) > 0
    name = next(iter(run_of_it.meta_graph.graph.nodes))
    assert run_json("graph", folder, name)["name"] == name
    # Of Keras 2.3 the run below has a GraphDef; its validation has none.
    keras = FIXTURES / "events-tf-2.3.4" / "keras-2"
    facts = run_json("graph", keras)
    assert (facts["kind"], facts["path"]) == ("graph", str(keras / "train" / f"{EVENT_FILE}.v2"))


@pytest.mark.parametrize("name", ["keras-2", "every-plugin-2"])
def test_graphs_of_a_trace_are_joined_as_in_tensorboard(name: str) -> None:
    """What ``tf.summary.trace_export`` wrote: the graph of one function, and those of four."""
    graph_util = pytest.importorskip("tensorboard.plugins.graph.graph_util", reason="TensorBoard is the oracle")
    from tensorboard.compat.proto.config_pb2 import RunMetadata

    train = tfbundle.open_events(EVENTS_2 / name).runs["train"]
    (trace,) = train.run_metadata.values()
    theirs = RunMetadata.FromString(trace.SerializeToString()).function_graphs
    expected = graph_util.merge_graph_defs([graph.pre_optimization_graph for graph in theirs])
    graph = load_any_graph(EVENTS_2 / name)
    assert isinstance(graph, tfbundle.Graph)
    # TensorBoard puts the scope before the mark of a control input too, where it no longer is one.
    assert [(node.name, list(node.input)) for node in graph.proto.node] == [
        (node.name, [re.sub(r"\A(graph_\d/)\^", r"^\1", name) for name in node.input]) for node in expected.node
    ]
    # A function has one name in a program, so that it needs no scope.
    assert {function.signature.name for function in graph.proto.library.function} == {
        re.sub(r"\Agraph_\d_", "", function.signature.name) for function in expected.library.function
    }
    assert run("graph", EVENTS_2 / name).exit_code == 0


def test_runs_with_several_graphs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(EVENTS_1 / "every-plugin-1", tmp_path / name)
    assert refusal("graph", tmp_path).endswith("have a graph; pass the folder of one of them: a, b\n")
    assert run("graph", tmp_path / "a").exit_code == 0
    # The one of the folder itself comes first.
    shutil.copy(EVENTS_1 / "every-plugin-1" / EVENT_FILE, tmp_path / EVENT_FILE)
    assert run_json("graph", tmp_path)["path"] == str(tmp_path / EVENT_FILE)


def test_a_folder_with_a_checkpoint_and_events(tmp_path: Path) -> None:
    """A checkpoint's own graph comes before that of its run, and the run's where the checkpoint has none."""
    shutil.copy(EVENTS_1 / "every-plugin-1" / EVENT_FILE, tmp_path / EVENT_FILE)
    for file in TRAINING.glob("model.ckpt-40.*"):
        shutil.copy(file, tmp_path)
    assert run_json("graph", tmp_path)["path"] == str(tmp_path / "model.ckpt-40.meta")
    (tmp_path / "model.ckpt-40.meta").unlink()
    assert run_json("graph", tmp_path)["path"] == str(tmp_path / EVENT_FILE)
    assert "model.ckpt-40.meta does not exist" in refusal("graph", tmp_path / "model.ckpt-40")


def test_damage_elsewhere_does_not_hide_a_graph(tmp_path: Path) -> None:
    data = bytearray((EVENTS_1 / "every-plugin-1" / EVENT_FILE).read_bytes())
    data[-3] ^= 1
    (tmp_path / EVENT_FILE).write_bytes(data)
    assert run("graph", tmp_path / EVENT_FILE).exit_code == 0
    data = bytearray((EVENTS_2 / "restarts" / EVENT_FILE).read_bytes())
    data[-3] ^= 1
    (tmp_path / EVENT_FILE).write_bytes(data)
    assert f"without a graph ({tmp_path / EVENT_FILE} is damaged)" in refusal("graph", tmp_path / EVENT_FILE)


def test_check_takes_the_graph_of_a_run(tmp_path: Path) -> None:
    graph = tfbundle.load_graph(TRAINING / "graph.pb").proto.SerializeToString()
    (tmp_path / EVENT_FILE).write_bytes(frames([Event(graph_def=graph).SerializeToString()]))
    assert run_json("check", tmp_path, TRAINING)["ok"] is True


def test_check_that_fits() -> None:
    result = run("check", TRAINING / "graph.pbtxt", TRAINING)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "ok: 19 of 19 variables match\n"
    facts = run_json("check", TRAINING, TRAINING)
    assert set(facts) == {"ok", "graph", "checkpoint", "matched", "missing", "mismatched", "unexpected"}
    assert facts["ok"] is True
    assert len(facts["matched"]) == 19


def test_check_that_does_not_fit() -> None:
    result = run("check", OF_TWO, TRAINING)
    assert (result.exit_code, result.stderr) == (1, "")
    assert re.search(r"^missing +head/fc/biases +float32\[2\] +-$", result.stdout, re.MULTILINE)
    assert re.search(r"^mismatched +global_step +int32\[\] +int64\[\]$", result.stdout, re.MULTILINE)
    assert re.search(r"^unexpected +conv1/weights +-$", result.stdout, re.MULTILINE)
    facts = run_json("check", OF_TWO, TRAINING, status=1)
    assert facts["ok"] is False
    assert facts["missing"][0] == {
        "name": "head/fc/biases", "variable": "head/fc/biases", "data_type": "DT_FLOAT", "shape": [2],
        "suggestion": None,
    }  # fmt: skip
    assert facts["mismatched"] == [
        {"name": "global_step", "variable": "global_step", "data_type": "DT_INT32", "shape": [],
         "found_data_type": "DT_INT64", "found_shape": [], "absent": None},
    ]  # fmt: skip


def test_what_check_refuses(tmp_path: Path) -> None:
    assert "there is no checkpoint" in refusal("check", TRAINING, tmp_path / "absent")
    assert "does not exist" in refusal("check", tmp_path / "absent", TRAINING)


@pytest.mark.parametrize("hours", [float("inf"), float("-inf"), float("nan")])
def test_hours_that_are_not_a_number_in_json(hours: float, tmp_path: Path) -> None:
    meta = MetaGraphDef()
    meta.graph_def.node.add(name="a", op="NoOp")
    meta.saver_def.keep_checkpoint_every_n_hours = hours
    path = tmp_path / "model.meta"
    path.write_bytes(meta.SerializeToString())
    facts = json.loads(run("graph", path, "--json").stdout)
    wanted = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(hours)]
    assert facts["graphs"][0]["saver"]["keep_checkpoint_every_n_hours"] == wanted


@pytest.mark.parametrize(("count", "is_fine"), [(1, True), (2, False), (900, False)])
def test_the_attributes_of_a_node_have_one_limit(tmp_path: Path, count: int, is_fine: bool) -> None:
    """Tensors that state only some of their elements are decoded up to a limit, also those of functions."""
    graph = GraphDef()
    node = graph.node.add(name="n", op="Op")
    for number in range(count):
        value = node.attr[f"{number:03}"]
        if number % 2:
            value = value.func.attr["inner"]
        value.tensor.dtype = 1
        value.tensor.tensor_shape.dim.add(size=15_000_000)
        value.tensor.float_val.extend([1.0, 2.0])
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.SerializeToString())
    start = time.process_time()
    values = list(run_json("graph", path, "n")["attributes"].values())
    assert time.process_time() - start < 1
    assert values[0] == {"dtype": "float32", "shape": [15_000_000], "values": None}
    assert all("together" in str(value) for value in values[1:])
    assert len(values) == count
    assert is_fine is ("together" not in str(values))


def test_the_nodes_around_a_node() -> None:
    result = run("graph", TRAINING, "fc2/BiasAdd", "--depth", "1")
    lines = result.stdout.partition("steps")[2].splitlines()[1:]
    assert [line.split()[:3] for line in lines[:3]] == [
        ["-1", "fc2/MatMul", "MatMul"],
        ["-1", "fc2/biases/read", "Identity"],
        ["0", "fc2/BiasAdd", "BiasAdd"],
    ]
    assert all(line.split()[0] == "+1" and line.endswith("fc2/BiasAdd") for line in lines[3:])
    (facts,) = documents(run("graph", TRAINING, "fc2/BiasAdd", "--depth", "1", "--json").stdout)
    assert len(facts["around"]["nodes"]) == len(lines)
    assert {"source": "fc2/MatMul", "target": "fc2/BiasAdd", "tensor": "fc2/MatMul"} in facts["around"]["edges"]
    (facts,) = documents(run("graph", TRAINING, "fc2/BiasAdd", "--json").stdout)
    assert facts["around"] is None


def test_a_drawing_for_graphviz(tmp_path: Path) -> None:
    names = ['say "hi"\\', "line\nbreak", "\x1b[31m"]
    nodes = [NodeDef(name=name, op="NoOp", input=names[:place]) for place, name in enumerate(names)]
    nodes.append(NodeDef(name="last", op="Add", input=[f"{names[0]}:1", f"^{names[1]}"]))
    (tmp_path / "graph.pb").write_bytes(GraphDef(node=nodes).SerializeToString())
    drawing = run("graph", tmp_path / "graph.pb", "last", "--dot").stdout
    assert drawing.startswith("digraph {")
    assert drawing.rstrip().endswith("}")
    assert "\x1b" not in drawing
    assert r'[label="say \"hi\"\\\\\nNoOp"]' in drawing
    assert r'[label="line\\nbreak\nNoOp"]' in drawing
    assert drawing.count("style=dashed") == 1
    assert drawing.count('[label="1"]') == 1


@pytest.mark.parametrize("arguments", [["--dot"], ["--depth", "2"], ["fc2/BiasAdd", "--dot", "--json"]])
def test_what_has_nothing_around_it(arguments: list[str]) -> None:
    status, printed, error = outcome("graph", TRAINING, *arguments)
    assert (status, printed) == (2, "")
    assert "--dot" in error
