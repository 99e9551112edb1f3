"""Python code in the configurations of Keras models: found, measured and named, never run or unmarshalled.

A configuration is JSON of nested objects, each with a class and settings::

    {"class_name": "Lambda", "config": {"function": ["<base64>", defaults, closure], "function_type": "lambda"}}
    {"class_name": "__lambda__", "config": {"code": "<base64>", ...}}                      Keras 3
    {"module": "os", "class_name": "function", "config": "system"}                         Keras 3: code by its name
    {"class_name": "StringLookup", "config": {"vocabulary": "/a/path"}}                    read when it is loaded

It is in ``config.json`` of a ``.keras`` archive, in an attribute of an HDF5 file, in ``keras_metadata.pb`` and in the
objects of a SavedModel, one a layer. HDF5 keeps attributes as they are, so that they are found without its reader.
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
from tfbundle.scanning.report import ScanFinding

# Marshalled short strings: a type, a length of one byte, and so many bytes.
_MARSHALLED_NAME = re.compile(rb"[\xfa\xda\x7a\x5a](.)([A-Za-z_][\w.]*)", re.DOTALL)
_MOST_NAMES = 20
_MOST_OBJECTS = 200_000
# Bytes of one configuration in a file of weights, and of all that may be one; unclosed ones are read several times.
_LONGEST_JSON = 16 << 20
_MOST_JSON = 64 << 20
_MOST_FINDINGS = 1000
_HOMES = ("keras", "tensorflow", "tf_keras", "keras_nlp", "keras_cv", "keras_hub", "keras_tuner")
# Modules of Keras whose functions are made to be named in a configuration.
_FUNCTIONS = re.compile(
    r"(?:keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras|keras\.src)"
    r"\.(?:activations|losses|metrics|initializers|regularizers|constraints|optimizers|ops|layers|models)\b"
)
_DANGEROUS = re.compile(
    r"(?:os|posix|nt|sys|subprocess|shutil|socket|ctypes|importlib|pickle|runpy|pty|code|webbrowser|urllib|requests)\b"
)
_READERS = ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup")
_START = re.compile(rb'\{\s*"(?:class_name|module|name|config|registered_name)"\s*:')
_LAMBDA_TEXT = re.compile(r'"class_name"\s*:\s*"(?:Lambda|__lambda__)"')
_NOT_TEXT = re.compile(rb"[^\t\n\r -~]")


def metadata_findings(meta: MetaGraphDef, path: str) -> Iterator[ScanFinding]:
    """Yield what is found in the configurations that older releases of Keras put into the objects of a SavedModel.

    Raises ``ValueError`` as ``text_findings`` does.
    """
    if not meta.HasField("object_graph_def"):
        return
    for node in meta.object_graph_def.nodes:
        if node.WhichOneof("kind") == "user_object" and node.user_object.metadata:
            yield from text_findings(node.user_object.metadata, path, "")


def text_findings(text: str | bytes, path: str, where: str) -> Iterator[ScanFinding]:
    """Yield what is found in a configuration; ``where`` says which one it is, where a file has several.

    Raises ``ValueError`` where it is no JSON, or too deep.
    """
    _check_size(text)
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    yield from _findings(value, path, where)


def bytes_findings(data: memoryview, path: str) -> tuple[list[ScanFinding], str | None]:
    """Return what is found in configurations somewhere in a file, and why one could not be read, if so."""
    findings: list[ScanFinding] = []
    decoder = json.JSONDecoder()
    problem = None
    left = _MOST_JSON
    position = 0
    while (match := _START.search(data, position)) is not None:
        start = match.start()
        # JSON of Keras is ASCII. A string in HDF5 ends with a zero byte, or something binary follows.
        end = _NOT_TEXT.search(data, start, start + _LONGEST_JSON + 1)
        stop = min(len(data), start + _LONGEST_JSON) if end is None else end.start()
        left -= stop - start
        if left < 0 or len(findings) > _MOST_FINDINGS:
            return findings[:_MOST_FINDINGS], "it has more configurations than are looked at"
        text = bytes(data[start:stop]).decode("ascii")
        try:
            _check_size(text)
            value, size = decoder.raw_decode(text)
        except json.JSONDecodeError as error:
            if _LAMBDA_TEXT.search(text):
                problem = "a configuration in it that mentions a Lambda is no JSON"
            position = max(match.end(), start + error.pos)
            continue
        except RecursionError:
            return findings, "a configuration in it is nested too deeply"
        findings += _findings(value, path, "")
        position = start + size
    return findings, problem


def _check_size(text: str | bytes) -> None:
    """Raise ``ValueError`` where a configuration would take far more memory than its bytes."""
    count = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if count > _MOST_OBJECTS:
        raise ValueError(f"it has {count} objects, more than {_MOST_OBJECTS}")


def _findings(value: Any, path: str, where: str) -> Iterator[ScanFinding]:
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
    layer = f"the layer {name!r}" if name else "a layer"
    if class_name == "__lambda__" and isinstance(config, dict):
        yield _code(config.get("code"), layer, path, name)
    elif class_name == "Lambda" and isinstance(config, dict):
        function = config.get("function")
        if isinstance(function, dict) and isinstance(function.get("items"), list) and function["items"]:
            function = function["items"]
        if isinstance(function, list) and function and isinstance(function[0], str):
            yield _code(function[0], layer, path, name)
        elif isinstance(function, str):
            message = f"{layer} is a Lambda that calls the Python function {function!r}"
            yield _finding("medium", message, path, name, f"{config.get('module') or ''}:{function}".lstrip(":"))
        elif not (isinstance(function, dict) and function.get("class_name") == "__lambda__"):
            yield _finding("high", f"{layer} is a Lambda, whose code is not where Keras puts it", path, name, None)
    if isinstance(module, str) and isinstance(class_name, str):
        yield from _named(module, class_name, item.get("config"), layer, path, name)
    vocabulary = config.get("vocabulary") if isinstance(config, dict) else None
    if isinstance(vocabulary, str) and vocabulary and isinstance(class_name, str) and class_name.endswith(_READERS):
        message = f"{layer} ({class_name}) reads its vocabulary from a file when the model is loaded: {vocabulary}"
        yield ScanFinding("reads-files", "medium", message, path, op=class_name, node=name or None, argument=vocabulary)


def _named(module: str, class_name: str, config: Any, layer: str, path: str, name: str) -> Iterator[ScanFinding]:
    """Yield a finding for code that a configuration names by its module."""
    is_function = class_name == "function"
    what = f"{module}.{config if is_function and isinstance(config, str) else class_name}"
    if module.split(".")[0] in _HOMES:
        if is_function and not _FUNCTIONS.match(module):
            yield _finding(
                "medium", f"{layer} names the function {what}, which is no part of a layer", path, name, what
            )
    elif _DANGEROUS.match(module):
        yield _finding("critical", f"{layer} names {what}, which Keras would import and call", path, name, what)
    elif module != "builtins" or not is_function:
        yield _finding("info", f"{layer} needs {what}, code that is no part of Keras", path, name, what)


def _code(text: Any, layer: str, path: str, name: str) -> ScanFinding:
    if not isinstance(text, str):
        return _finding("high", f"{layer} is a Lambda, whose code is not where Keras puts it", path, name, None)
    try:
        code = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return _finding(
            "high", f"{layer} is a Lambda with {len(text)} characters of code that is no base64", path, name, None
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
