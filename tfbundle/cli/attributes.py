"""How attributes of nodes are shown: as JSON, and as that JSON on a line.

::

    bytes      a string, in which bytes that are not UTF-8 are escaped as in names
    tensor     {"dtype", "shape", "values"}, without values where there are many
    function   {"function", "attributes"}
    placeholder  {"placeholder"}, for a value that the caller of a function provides
    invalid      {"error"}
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tfbundle.cli.output import json_number
from tfbundle.cli.values import FEW, json_values
from tfbundle.errors import TfBundleError
from tfbundle.graph.attributes import AttributePlaceholder, Attributes, Expansion, FunctionCall
from tfbundle.printable import one_line

# A longer line is cut; --json has it all.
_LONGEST_LINE = 200


def json_attributes(attributes: Attributes) -> dict[str, Any]:
    """Return the values of attributes as JSON, by name.

    A value that cannot be decoded is an error message. All tensors in them, and in those of functions, have one limit.
    """
    return _json_attributes(attributes, Expansion())


def _json_attributes(attributes: Attributes, expansion: Expansion) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in attributes:
        try:
            values[name] = _json(attributes.decode(name, expansion), expansion)
        except TfBundleError as error:
            values[name] = {"error": str(error)}
    return values


def _json(value: Any, expansion: Expansion) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list | tuple) and not isinstance(value, FunctionCall | AttributePlaceholder):
        return [_json(item, expansion) for item in value]
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, np.ndarray):
        values = json_values(value) if value.size <= FEW else None
        dtype = "string" if value.dtype == object else value.dtype.name
        return {"dtype": dtype, "shape": value.shape, "values": values}
    if isinstance(value, FunctionCall):
        return {"function": value.name, "attributes": _json_attributes(value.attributes, expansion)}
    if isinstance(value, AttributePlaceholder):
        return {"placeholder": value.name}
    return value


def format_attribute(value: Any) -> str:
    """Return a value that ``json_attributes`` returned, on one line."""
    text = json.dumps(value, ensure_ascii=False)
    return one_line(text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "...")
