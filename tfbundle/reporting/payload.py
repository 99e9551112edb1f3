r"""The data of a page for its script: compact JSON, which holds a hundred thousand tensors in less than ten megabytes.

Tensors are columns. A name is stored as the number of characters that it shares with the one before it, and the rest;
types and shapes are numbers into lists. Histograms, quantiles and pictures are ``details`` of single tensors: the
largest tensors come first, and if the page would become too large, the rest has none and ``leftOut`` is their number.
A picture has one character an element, from A (the smallest) to / (the largest) as in base64, and a dot for NaN.

The text is ASCII without ``<``, ``>`` and ``&``, so that nothing in it ends the element that contains it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfbundle.printable import escape_name, one_line
from tfbundle.reporting.facts import Page, TensorFacts, Tensors
from tfbundle.tensors.distributions import QUANTILES
from tfbundle.tensors.dtypes import cast
from tfbundle.tensors.statistics import Picture, Statistics

# Of all data, in bytes; the rest of a page is small.
_MOST_BYTES = 9 << 20
# More tensors than this have numbers with fewer digits.
_MANY = 20_000
_DIGITS, _FEW_DIGITS = 7, 4
# Names and texts are cut to about so many characters.
LONGEST = 400
_KEPT_END = 60
_LEVELS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_ASCII = re.compile(r"[\x00-\x7f]*")
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_STATES = {"intact": "i", "read": "r", "damaged": "d"}
_ROLES = {"slot": "s", "weight": "w", "": "-"}


def shorten(text: str) -> str:
    """Return a text without its middle, if it is long; the length is stated in its place."""
    if len(text) <= LONGEST + _KEPT_END:
        return text
    return f"{text[: LONGEST - _KEPT_END]} … ({len(text):,} characters) … {text[-_KEPT_END:]}"


def shown(text: str) -> str:
    """Return a text of any length and content as one that can be shown."""
    # Escapes make a text longer, so it is cut first, which also bounds the work.
    return one_line(shorten(text))


def name_text(name: str) -> str:
    """Return a name of any length and content as it is shown; a name that is not long can be told from any other."""
    return escape_name(shorten(name))


def encode(page: Page, reserved: int = 0) -> str:
    """Return the JSON of a page's tensors and curves, with ``reserved`` bytes less than usual."""
    data: dict[str, Any] = {}
    if page.charts:
        data["charts"] = [
            {
                "tag": shown(tag),
                "curves": [
                    {
                        "run": shown(curve.run),
                        "steps": curve.steps,
                        "times": curve.times,
                        "values": curve.values,
                        "total": curve.total,
                    }
                    for curve in curves
                ],
            }
            for tag, curves in page.charts.items()
        ]
    if page.tensors is not None:
        data["tensors"] = _columns(page.tensors, _MOST_BYTES - reserved - len(dumps(data)))
    return dumps(data)


def dumps(value: Any) -> str:
    """Return a value as JSON that cannot end the element that it is in."""
    text = _ENCODER.encode(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _columns(tensors: Tensors, most_bytes: int) -> dict[str, Any]:
    facts = tensors.tensors
    digits = _DIGITS if len(facts) <= _MANY else _FEW_DIGITS
    shared, rest = front_coded([name_text(item.name) for item in facts])
    dtypes = {name: number for number, name in enumerate(dict.fromkeys(item.dtype for item in facts))}
    shapes = {shape: number for number, shape in enumerate(dict.fromkeys(item.shape for item in facts))}
    columns: dict[str, Any] = {
        "files": [shown(file) for file in tensors.files],
        "quantiles": QUANTILES,
        "shared": shared,
        "rest": rest,
        "dtypes": list(dtypes),
        "dtype": [dtypes[item.dtype] for item in facts],
        "shapes": [list(shape) for shape in shapes],
        "shape": [shapes[item.shape] for item in facts],
        "bytes": [item.nbytes for item in facts],
        "file": [item.places[0].file if item.places else -1 for item in facts],
        "offset": [item.places[0].offset if item.places else 0 for item in facts],
        "places": {
            i: [list(place) for place in item.places[:9]] for i, item in enumerate(facts) if len(item.places) > 1
        },
        "state": "".join(_STATES[item.state] for item in facts),
        "role": "".join(_ROLES[item.role] for item in facts),
        "problem": {i: shown(item.problem) for i, item in enumerate(facts) if item.problem is not None},
        "variable": {},
        "details": {},
        "leftOut": 0,
    }
    if any(item.owner is not None for item in facts):
        columns["owner"] = [-1 if item.owner is None else item.owner for item in facts]
    if tensors.has_statistics:
        columns["statistics"] = _statistics([item.statistics for item in facts], digits)
    left = most_bytes - len(dumps(columns))
    for i, item in enumerate(facts):
        if item.variable is not None and item.variable != item.name:
            left = _spend(columns["variable"], i, name_text(item.variable), left)
    order = sorted(range(len(facts)), key=lambda i: (-facts[i].nbytes, i))
    for done, i in enumerate(order):
        if detail := _detail(facts[i]):
            left = _spend(columns["details"], i, detail, left)
            if i not in columns["details"]:  # There is no room for others either, which take as long to make.
                columns["leftOut"] = sum(facts[i].statistics is not None for i in order[done:])
                break
    return columns


def _spend(target: dict[int, Any], i: int, value: Any, left: int) -> int:
    """Add a value unless it is too large for what is left, and return how many bytes are left then."""
    size = len(dumps(value)) + 12
    if size > left:
        return left
    target[i] = value
    return left - size


def front_coded(names: Iterable[str]) -> tuple[list[int], list[str]]:
    """Return how many characters each name shares with the one before it, and the rest of each."""
    shared, rest = [], []
    before = b""
    for name in names:
        # A script counts some characters as two, so that only those of ASCII are shared.
        own = (name if name.isascii() else _ASCII.match(name)[0]).encode()  # type: ignore[index]
        most = min(len(own), len(before))
        # The highest bit in which two large numbers differ is found far sooner than the first character.
        differing = int.from_bytes(own[:most], "big") ^ int.from_bytes(before[:most], "big")
        count = most - (differing.bit_length() + 7) // 8
        shared.append(count)
        rest.append(name[count:])
        before = own
    return shared, rest


def _statistics(found: list[Statistics | None], digits: int) -> dict[str, Any]:
    def column(name: str) -> list[Any]:
        return [None if item is None else _number(getattr(item, name), digits) for item in found]

    return {
        **{name: column(name) for name in ("min", "max", "mean", "std")},
        "zeros": [None if item is None else item.zeros for item in found],
        "nan": {i: item.nan for i, item in enumerate(found) if item is not None and item.nan},
        "infinite": {i: item.infinite for i, item in enumerate(found) if item is not None and item.infinite},
    }


def _number(value: Any, digits: int = _DIGITS) -> Any:
    """Return a number as JSON has it; integers that a script could not hold exactly, and NaN, are texts."""
    if isinstance(value, complex):
        return [_number(value.real, digits), _number(value.imag, digits)]
    if isinstance(value, bool) or value is None:
        return None if value is None else str(value)
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else f"{value:,}"
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"
    short = float(f"{number:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _detail(item: TensorFacts) -> dict[str, Any]:
    detail: dict[str, Any] = {}
    if item.texts:
        detail["texts"] = [shown(text) for text in item.texts]
    if item.values:
        detail["values"] = [_number(value) for value in item.values]
    found = item.statistics
    if found is None or item.values:
        return detail
    if found.quantiles:
        detail["quantiles"] = [_number(value, 5) for value in found.quantiles]
        detail["counts"] = found.counts
        detail["stride"] = found.stride
        if not found.counts:
            del detail["counts"]
    if found.picture is not None:
        detail["picture"] = _picture(found.picture, item.parameters)
    return detail


def _picture(picture: Picture, elements: int) -> list[Any]:
    values = cast(picture.values, np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if low < 0 < high:  # White is zero then.
        high = max(-low, high)
        low = -high
    with np.errstate(all="ignore"):
        parts = (values / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.zeros(len(values))
        levels = np.clip(np.where(np.isnan(parts), 0, parts) * 63 + 0.5, 0, 63).astype(np.uint8)
    letters = _LEVELS[levels]
    letters[np.isnan(values)] = ord(".")
    is_sampled = picture.rows * picture.columns < elements
    return [picture.rows, picture.columns, _number(low), _number(high), letters.tobytes().decode(), is_sampled]
