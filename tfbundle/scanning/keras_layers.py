"""Layers of Keras whose settings lead beyond the model: to files, addresses, ops and pickles.

::

    {"class_name": "StringLookup", "config": {"vocabulary": "/a/path"}}          read when the model is loaded
    {"class_name": "TFSMLayer", "config": {"filepath": "/a/saved_model"}}        loaded, and run
    {"class_name": "KerasLayer", "config": {"handle": "https://..."}}            TensorFlow Hub: fetched, and run
    {"class_name": "TorchModuleWrapper", "config": {"module": "<base64>"}}       unpickled
    {"class_name": "TensorFlowOpLayer", "config": {"node_def": "{...}"}}         any op
    {"class_name": "TFOpLambda", "config": {"function": "math.add"}}             any function of TensorFlow's
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from tfbundle.proto import NodeDef
from tfbundle.scanning.judging import RULE_OF_CLASS
from tfbundle.scanning.keras_names import is_arithmetic
from tfbundle.scanning.op_effects import CLASSES, effects
from tfbundle.scanning.program import is_known
from tfbundle.scanning.report import ScanFinding

_READERS = ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup", "Tokenizer")
_FILES = ("vocabulary", "merges")
# Layers that call what they name in TensorFlow, and the setting with its name.
_FUNCTIONS = {"TFOpLambda": "function", "SlicingOpLambda": "function", "ClassMethod": "cls_ref"}
_LONGEST = 300


def reach_findings(
    class_name: str, module: object, config: dict[str, Any], layer: str, path: str, name: str
) -> Iterator[ScanFinding]:
    """Yield the effects of a layer of Keras beyond the model; ``layer`` describes it, and ``name`` is its name."""

    def finding(rule: str, severity: str, does: str, argument: str | None, op: str = class_name) -> ScanFinding:
        message = f"{layer} ({class_name}) {does}" + ("" if argument is None else f": {argument}")
        return ScanFinding(rule, severity, message, path, op=op, node=name or None, argument=argument)

    if class_name.endswith(_READERS):
        for key in _FILES:
            file = config.get(key)
            if isinstance(file, str) and file:
                what = "vocabulary" if key == "vocabulary" else "merges of its vocabulary"
                yield finding("reads-files", "medium", f"reads its {what} from a file when the model is loaded", file)
    elif class_name == "TFSMLayer":
        yield finding(
            "reads-files",
            "high",
            "loads and runs another SavedModel when the model is loaded",
            _text(config, "filepath"),
        )
    elif class_name == "KerasLayer" and _text(config, "handle") is not None:
        handle = _text(config, "handle") or ""
        # Without its module nothing imports it.
        severity = "medium" if isinstance(module, str) else "info"
        rule = "network" if "://" in handle else "reads-files"
        yield finding(rule, severity, "loads and runs another model when the model is loaded", handle)
    elif class_name == "TorchModuleWrapper":
        yield finding("python-code", "critical", "unpickles a PyTorch module, which runs code", None)
    elif class_name == "TensorFlowOpLayer":
        op = _op(config.get("node_def"))
        effect = effects().get(op)
        if effect is not None:
            constants = config.get("constants")
            argument = json.dumps(constants)[:_LONGEST] if constants else None
            yield finding(
                RULE_OF_CLASS[effect.op_class], effect.called, f"{CLASSES[effect.op_class]} with {op}", argument, op
            )
        elif not is_known(op):
            yield finding("unknown-op", "medium", "runs an op that TensorFlow does not have", None, op or class_name)
    elif class_name in _FUNCTIONS:
        function = _text(config, _FUNCTIONS[class_name]) or ""
        effect = effects().get(function.rpartition("raw_ops.")[2])
        if effect is not None:
            yield finding(RULE_OF_CLASS[effect.op_class], effect.called, CLASSES[effect.op_class], f"tf.{function}")
        elif not is_arithmetic(function):
            yield finding(
                "python-code", "high", "calls a function of TensorFlow that does more than compute", f"tf.{function}"
            )


def _text(config: dict[str, Any], key: str) -> str | None:
    value = config.get(key)
    return value if isinstance(value, str) else None


def _op(text: Any) -> str:
    """Return the op of a node that is written as JSON, or, in older releases, as the bytes of a message."""
    if not isinstance(text, str):
        return ""
    try:
        document = json.loads(text)
        op = document.get("op") if isinstance(document, dict) else None
        return op if isinstance(op, str) else ""
    except (ValueError, RecursionError):
        pass
    try:
        return NodeDef.FromString(text.encode("utf-8", "surrogatepass")).op
    except DecodeError:
        return ""
