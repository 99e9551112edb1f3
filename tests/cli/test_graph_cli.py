"""The commands ``graph`` and ``check``."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.command import refusal, run, run_json
from tests.support.expected import FIXTURES
from tests.support.graphs import ExpectedGraph, expected_graphs
from tfbundle.proto import AttrValue, GraphDef, MetaGraphDef, NodeDef, SavedModel

TRAINING = FIXTURES / "tf-1.15.5" / "training"
OF_TWO = FIXTURES / "tf-1.15.5" / "saved-model-of-two" / "model"
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
    assert "output       not known: nothing defines this op\n" in printed.stdout
    attributes = run_json("graph", path, "a\nb\x1b[31m")["attributes"]
    assert "no tensor has the shape [-5]" in attributes["bad\n"]["error"]
    assert attributes["text"] == "\x1b[0m\n\udcff"
    assert attributes["f"] == "NaN"
    assert attributes["call"] == {"function": "f", "attributes": {"T": {"placeholder": "T"}}}


def test_what_graph_refuses(tmp_path: Path) -> None:
    assert "did you mean 'fc1/weights'" in refusal("graph", TRAINING, "fc1/weight")
    assert "is not there" in refusal("graph", tmp_path / "absent")
    (tmp_path / "page").write_bytes(b"<html>")
    assert "HTML page" in refusal("graph", tmp_path / "page")
    bad = NodeDef(name="n", op="Split", attr={"num_split": AttrValue(i=-1)})
    (tmp_path / "bad.pb").write_bytes(GraphDef(node=[bad]).SerializeToString())
    assert "says that it has -1 outputs" in refusal("graph", tmp_path / "bad.pb", "n")


def test_check_that_fits() -> None:
    result = run("check", TRAINING / "graph.pbtxt", TRAINING)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("ok: of 19 variables 19 fit")
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
    assert "is not there" in refusal("check", tmp_path / "absent", TRAINING)


@pytest.mark.parametrize("hours", [float("inf"), float("-inf"), float("nan")])
def test_hours_that_are_no_number_in_json(hours: float, tmp_path: Path) -> None:
    meta = MetaGraphDef()
    meta.graph_def.node.add(name="a", op="NoOp")
    meta.saver_def.keep_checkpoint_every_n_hours = hours
    path = tmp_path / "model.meta"
    path.write_bytes(meta.SerializeToString())
    facts = json.loads(run("graph", path, "--json").stdout)
    wanted = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(hours)]
    assert facts["graphs"][0]["saver"]["keep_checkpoint_every_n_hours"] == wanted
