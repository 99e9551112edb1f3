"""Python code in the configurations of Keras models: found, measured and named, never run or unmarshalled.

A configuration is JSON of nested objects, each with a class and settings::

    {"class_name": "Lambda", "config": {"function": ["<base64>", defaults, closure], "function_type": "lambda"}}
    {"class_name": "__lambda__", "config": {"code": "<base64>", ...}}                      Keras 3
    {"module": "os", "class_name": "function", "config": "system"}                         code by its name

It is in ``config.json`` of a ``.keras`` archive, in an attribute of an HDF5 file, in ``keras_metadata.pb`` and in the
objects of a SavedModel, one a layer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from tfbundle.proto import MetaGraphDef
from tfbundle.scanning.keras_layers import reach_findings
from tfbundle.scanning.keras_names import judge_name
from tfbundle.scanning.report import ScanFinding

# Marshalled short strings: a type, a length of one byte, and so many bytes.
_MARSHALLED_NAME = re.compile(rb"[\xfa\xda\x7a\x5a](.)([A-Za-z_][\w.]*)", re.DOTALL)
_MOST_NAMES = 20
_MOST_OBJECTS = 200_000


def metadata_findings(meta: MetaGraphDef, path: str) -> Iterator[ScanFinding]:
    """Yield the findings in the configurations that older releases of Keras put into the objects of a SavedModel.

    Raises ``ValueError`` as ``text_findings`` does.
    """
    if not meta.HasField("object_graph_def"):
        return
    for node in meta.object_graph_def.nodes:
        if node.WhichOneof("kind") == "user_object" and node.user_object.metadata:
            yield from text_findings(node.user_object.metadata, path, "")


def text_findings(text: str | bytes, path: str, where: str) -> Iterator[ScanFinding]:
    """Yield the findings in a configuration; ``where`` names it if a file has several.

    Raises ``ValueError`` if it is not JSON, or nested too deeply.
    """
    check_size(text)
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    yield from config_findings(value, path, where)


def check_size(text: str | bytes) -> None:
    """Raise ``ValueError`` if a configuration would take far more memory than its bytes."""
    count = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if count > _MOST_OBJECTS:
        raise ValueError(f"it has {count} objects, more than {_MOST_OBJECTS}")


def config_findings(value: Any, path: str, where: str) -> Iterator[ScanFinding]:
    """Yield the findings in the objects of a decoded configuration; ``where`` is as in ``text_findings``."""
    waiting: list[tuple[Any, str]] = [(value, where)]
    while waiting:
        item, name = waiting.pop()
        if isinstance(item, list):
            waiting += [(inner, name) for inner in item if isinstance(inner, dict | list)]
        elif isinstance(item, dict):
            config = item.get("config")
            if isinstance(config, dict) and isinstance(config.get("name"), str):
                name = config["name"]
            elif isinstance(item.get("name"), str):
                name = item["name"]
            yield from _object(item, config, path, name)
            waiting += [(inner, name) for inner in item.values() if isinstance(inner, dict | list)]


def _object(item: dict[str, Any], config: Any, path: str, name: str) -> Iterator[ScanFinding]:
    class_name, module = item.get("class_name"), item.get("module")
    if not isinstance(class_name, str):
        return
    layer = f"the layer {name!r}" if name else "a layer"
    if isinstance(config, dict):
        if class_name == "__lambda__":
            yield _code(config.get("code", config.get("value")), layer, path, name)
        elif class_name == "Lambda":
            yield from _lambda(config, layer, path, name)
        else:
            yield from reach_findings(class_name, module, config, layer, path, name)
    if isinstance(module, str):
        is_function = class_name == "function"
        target = item.get("spec_name") if class_name == "__typespec__" else config if is_function else class_name
        target = target if isinstance(target, str) else class_name
        named = judge_name(module, target, is_function=is_function)
        if named is not None:
            what = f"{module}.{target}"
            yield _finding(named.severity, f"{layer} names {what}, {named.why}", path, name, what)


def _lambda(config: dict[str, Any], layer: str, path: str, name: str) -> Iterator[ScanFinding]:
    function = config.get("function")
    if isinstance(function, dict) and isinstance(function.get("items"), list) and function["items"]:
        function = function["items"]
    if isinstance(function, list) and function and isinstance(function[0], str):
        yield _code(function[0], layer, path, name)
    elif isinstance(function, dict) and function.get("class_name") == "function":
        called = f"{function.get('module') or ''}:{function.get('config')}".lstrip(":")
        yield _finding("medium", f"{layer} is a Lambda that calls the Python function {called!r}", path, name, called)
    elif isinstance(function, str):
        message = f"{layer} is a Lambda that calls the Python function {function!r}"
        yield _finding("medium", message, path, name, f"{config.get('module') or ''}:{function}".lstrip(":"))
    elif not (isinstance(function, dict) and function.get("class_name") == "__lambda__"):
        yield _finding("high", f"{layer} is a Lambda, whose code is not where Keras stores it", path, name, None)
    # Older releases keep code for the shape of the output and for the mask in the same way.
    for key in ("output_shape", "mask"):
        value = config.get(key)
        if isinstance(value, dict):
            value = value.get("items")
        if isinstance(value, list) and value and isinstance(value[0], str):
            yield _code(value[0], layer, path, name)


def _code(text: Any, layer: str, path: str, name: str) -> ScanFinding:
    if not isinstance(text, str):
        return _finding("high", f"{layer} is a Lambda, whose code is not where Keras stores it", path, name, None)
    try:
        code = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return _finding(
            "high", f"{layer} is a Lambda with {len(text)} characters of code that is not base64", path, name, None
        )
    names = list(
        dict.fromkeys(
            match[2][: match[1][0]].decode("ascii", "replace")
            for match in _MARSHALLED_NAME.finditer(code)
            if match[1][0] <= len(match[2])
        )
    )[:_MOST_NAMES]
    argument = f"{len(code)} bytes, sha256 {hashlib.sha256(code).hexdigest()}"
    if names:
        argument += f", names {', '.join(names)}"
    return _finding(
        "high", f"{layer} is a Lambda with Python bytecode, which Keras runs: {argument}", path, name, argument
    )


def _finding(severity: str, message: str, path: str, name: str, argument: str | None) -> ScanFinding:
    return ScanFinding("python-code", severity, message, path, node=name or None, argument=argument)
