"""How attributes of nodes are shown: as JSON, and as that JSON on a line.

::

    bytes      a string, in which bytes that are not UTF-8 are escaped as in names
    tensor     {"dtype", "shape", "values"}, without values where there are many
    function   {"function", "attributes"}
    what the caller of a function says  {"placeholder"}
    what makes no sense                 {"error"}
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tfbundle.cli.output import json_number, one_line
from tfbundle.cli.values import FEW, json_values
from tfbundle.errors import TfBundleError
from tfbundle.graph.attributes import AttributePlaceholder, Attributes, FunctionCall

# A longer line is cut; --json has it all.
_LONGEST_LINE = 200


def json_attribute(attributes: Attributes, name: str) -> Any:
    """Return an attribute's value as JSON; one that cannot be decoded says why."""
    try:
        return _json(attributes[name])
    except TfBundleError as error:
        return {"error": str(error)}


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list | tuple) and not isinstance(value, FunctionCall | AttributePlaceholder):
        return [_json(item) for item in value]
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, np.ndarray):
        values = json_values(value) if value.size <= FEW else None
        dtype = "string" if value.dtype == object else value.dtype.name
        return {"dtype": dtype, "shape": value.shape, "values": values}
    if isinstance(value, FunctionCall):
        attributes = {name: json_attribute(value.attributes, name) for name in value.attributes}
        return {"function": value.name, "attributes": attributes}
    if isinstance(value, AttributePlaceholder):
        return {"placeholder": value.name}
    return value


def format_attribute(value: Any) -> str:
    """Return a value that ``json_attribute`` gave, on one line."""
    text = json.dumps(value, ensure_ascii=False)
    return one_line(text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "...")
