"""Settings of Keras layers that lead beyond the model, and names that Keras would import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.programs import node

CODE = "4wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def found(tmp_path: Path, value: Any) -> list[tuple[str, str, str | None, str | None]]:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"class_name": "Sequential", "config": {"layers": [value]}}))
    report = tfbundle.scan(file)
    assert report.complete
    return [(item.rule, item.severity, item.op, item.argument) for item in report.findings]


def layer(class_name: str, module: str | None = None, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "module": module, "config": config}


def op_layer(op: str, *, as_bytes: bool = False) -> dict[str, Any]:
    text = node("n", op).SerializeToString().decode() if as_bytes else json.dumps({"name": "n", "op": op})
    return layer("TensorFlowOpLayer", node_def=text, constants={"0": "/etc/passwd"})


TORCH = {"class_name": "TorchModuleWrapper", "config": {"module": CODE}}
HUB = "https://tfhub.dev/x/1"
CONSTANTS = '{"0": "/etc/passwd"}'


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (layer("TFSMLayer", filepath="/tmp/model"), ("reads-files", "high", "TFSMLayer", "/tmp/model")),
        (layer("KerasLayer", handle=HUB), ("network", "info", "KerasLayer", HUB)),
        (layer("KerasLayer", "tensorflow_hub.keras_layer", handle=HUB), ("network", "medium", "KerasLayer", HUB)),
        (layer("KerasLayer", handle="/tmp/module"), ("reads-files", "info", "KerasLayer", "/tmp/module")),
        (TORCH, ("python-code", "critical", "TorchModuleWrapper", None)),
        (layer("TextVectorization", vocabulary="/etc/x"), ("reads-files", "medium", "TextVectorization", "/etc/x")),
        (layer("BytePairTokenizer", merges="/etc/x"), ("reads-files", "medium", "BytePairTokenizer", "/etc/x")),
        (op_layer("ReadFile"), ("reads-files", "medium", "ReadFile", CONSTANTS)),
        (op_layer("WriteFile", as_bytes=True), ("writes-files", "high", "WriteFile", CONSTANTS)),
        (op_layer("SomebodysOp"), ("unknown-op", "medium", "SomebodysOp", None)),
        (layer("TensorFlowOpLayer", node_def=7), ("unknown-op", "medium", "TensorFlowOpLayer", None)),
        (layer("TFOpLambda", function="io.write_file"), ("python-code", "high", "TFOpLambda", "tf.io.write_file")),
        (layer("TFOpLambda", function="compat.v1.Print"), ("python-code", "high", "TFOpLambda", "tf.compat.v1.Print")),
        (layer("TFOpLambda", function="raw_ops.Abort"), ("process", "high", "TFOpLambda", "tf.raw_ops.Abort")),
        (layer("ClassMethod", cls_ref="data.Dataset"), ("python-code", "high", "ClassMethod", "tf.data.Dataset")),
    ],
    ids=lambda value: value["class_name"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_layers_that_lead_beyond_the_model(tmp_path: Path, value: Any, wanted: tuple[str, ...]) -> None:
    layers = [item for item in found(tmp_path, value) if item[3] != "tensorflow_hub.keras_layer.KerasLayer"]
    assert layers == [wanted]


@pytest.mark.parametrize(
    "value",
    [
        op_layer("AddV2"),
        op_layer("AddV2", as_bytes=True),
        layer("TFOpLambda", function="math.add"),
        layer("TFOpLambda", function="io.decode_raw"),
        layer("TFOpLambda", function="compat.v1.transpose"),
        layer("SlicingOpLambda", function="__operators__.getitem"),
        layer("ClassMethod", cls_ref="RaggedTensor"),
        layer("TextVectorization", vocabulary=["a"]),
        layer("KerasLayer"),
    ],
    ids=lambda value: value["class_name"],
)
def test_layers_that_do_not(tmp_path: Path, value: Any) -> None:
    assert found(tmp_path, value) == []


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name}


@pytest.mark.parametrize(
    ("value", "severity"),
    [
        (function("os", "system"), "critical"),
        (function("posix", "system"), "critical"),
        (function("builtins", "eval"), "critical"),
        (function("timeit", "timeit"), "critical"),
        (function("asyncio.subprocess", "create_subprocess_shell"), "critical"),
        (function("keras.config", "enable_unsafe_deserialization"), "high"),
        (function("keras.models", "load_model"), "high"),
        (function("keras.src.utils.python_utils", "func_load"), "high"),
        (function("keras.src.activations.activations", "func_load"), "high"),
        (function("torch.hub", "load"), "high"),
        (function("numpy", "load"), "high"),
        (function("keras.layers", "helper"), "medium"),
        (function("somebodys.losses", "loss"), "info"),
        ({"module": "keras.utils", "class_name": "get_file", "config": {}}, "high"),
        ({"module": "keras.utils", "class_name": "something", "config": {}}, "medium"),
        ({"module": "os", "class_name": "__typespec__", "spec_name": "system", "config": []}, "critical"),
        ({"module": "keras.utils", "class_name": "__typespec__", "spec_name": "get_file", "config": []}, "high"),
        ({"module": "transformers.bert", "class_name": "TFBertMainLayer", "config": {}}, "info"),
        (function("builtins", "my_loss"), None),
        (function("keras.activations", "relu"), None),
        (function("keras.src.losses.losses", "hinge"), None),
        ({"module": "keras.src.models.functional", "class_name": "Functional", "config": {}}, None),
        ({"module": None, "class_name": "get_file", "config": {}}, None),
    ],
)  # fmt: skip
def test_names_that_are_imported(tmp_path: Path, value: Any, severity: str | None) -> None:
    assert [item[:2] for item in found(tmp_path, value)] == ([] if severity is None else [("python-code", severity)])


def test_code_in_other_settings_of_a_lambda(tmp_path: Path) -> None:
    for setting in ([CODE, None, None], {"class_name": "__tuple__", "items": [CODE, None, None]}):
        for key in ("output_shape", "mask"):
            value = layer("Lambda", function="relu", function_type="function", **{key: setting})
            assert [item[1] for item in found(tmp_path, value)] == ["high", "medium"]
    assert len(found(tmp_path, layer("Lambda", function="relu", output_shape=[None, 3]))) == 1


def test_a_lambda_that_names_a_function(tmp_path: Path) -> None:
    value = layer("Lambda", function=function("my_code", "twice"))
    assert [(item[1], item[3]) for item in found(tmp_path, value)] == [
        ("medium", "my_code:twice"),
        ("info", "my_code.twice"),
    ]
    value = {"class_name": "__lambda__", "config": {"value": CODE}}
    assert [item[1] for item in found(tmp_path, value)] == ["high"]


def test_configurations_in_any_json(tmp_path: Path) -> None:
    text = r'{"x": 1, "\u0063lass_n\u0061me": "Lambda", "config": {"function": ["' + CODE + '"]}}'
    (tmp_path / "model.json").write_text(text)
    assert [item.severity for item in tfbundle.scan(tmp_path).findings] == ["high"]
    (tmp_path / "model.json").write_text(text[:-1])
    assert not tfbundle.scan(tmp_path).complete
    (tmp_path / "model.json").write_text('{"x": ')
    assert tfbundle.scan(tmp_path).complete
