"""What ops of strings and small numbers make of known values.

Each function takes the node and the values of its inputs, and returns the value of the first output; ``None`` says that
the result is not known. Only what programs use to put together paths, addresses and commands is here, and what hides
such. The results are those of TensorFlow, or unknown.
"""

from __future__ import annotations

import base64
import binascii
import operator
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tfbundle.proto import NodeDef
from tfbundle.scanning.values import LONGEST_TEXT, MOST_ITEMS, Text, Value, join_texts, scalar, value_of

Fold = Callable[[NodeDef, Sequence[Value]], "Value | None"]

# Bits of DT_INT32, UINT8, INT16, INT8, INT64, UINT16, UINT32, UINT64, and whether they are signed.
_INTEGERS = {3: (32, True), 4: (8, False), 5: (16, True), 6: (8, True), 9: (64, True), 17: (16, False)}
_INTEGERS |= {22: (32, False), 23: (64, False)}
_BOOL = 10
_FLOATS = (1, 2, 14, 19)
# What is not put into another string as it is.
_ESCAPED = re.compile(rb"[^ !#-&(-\[\]-~]")
# Characters that mean something to RE2. Patterns with others alone are literal.
_SPECIAL = frozenset(b"\\.+*?()|[]{}^$")


def _attribute(node: NodeDef, name: str, default: Any) -> Any:
    if name not in node.attr:
        return default
    value = node.attr[name]
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in ("s", "i", "b", "type", "f") else default


def _texts(value: Value) -> list[Text] | None:
    items = list(value.flat)
    return items if all(isinstance(item, Text) for item in items) else None


def _data(value: Value) -> list[bytes] | None:
    found = [item.data if isinstance(item, Text) else None for item in value.flat]
    return None if None in found else [data for data in found if data is not None]


def _whole(value: Value) -> list[int] | None:
    items = list(value.flat)
    return [int(item) for item in items] if all(isinstance(item, int) for item in items) else None


def _one(value: Value) -> int | None:
    numbers = _whole(value)
    return numbers[0] if numbers is not None and len(numbers) == 1 else None


def _mapped(change: Callable[[bytes], bytes]) -> Fold:
    """Return a fold that changes each string by itself."""

    def fold(node: NodeDef, values: Sequence[Value]) -> Value | None:
        found = _data(values[0])
        if found is None or _attribute(node, "encoding", b""):
            return None
        return value_of((Text(change(data)) for data in found), values[0].shape)

    return fold


def _string_join(node: NodeDef, values: Sequence[Value]) -> Value | None:
    separator = Text(_attribute(node, "separator", b""))
    size = max((value.size for value in values), default=1)
    columns = []
    for value in values:
        texts = _texts(value)
        if texts is None or len(texts) not in (1, size):
            return None
        columns.append(texts * size if len(texts) == 1 else texts)
    shape = next((value.shape for value in values if value.size == size and value.ndim), ())
    rows = []
    for row in zip(*columns, strict=True):
        pieces = [row[0]]
        for text in row[1:]:
            pieces += (separator, text)
        rows.append(join_texts(pieces))
    return value_of(rows, shape)


def _reduce_join(node: NodeDef, values: Sequence[Value]) -> Value | None:
    texts, axes = _texts(values[0]), _whole(values[1])
    if texts is None or axes is None or (values[0].ndim > 1 and len(set(axes)) != values[0].ndim):
        return None
    if values[0].ndim == 0 or not axes:
        return values[0]
    separator = Text(_attribute(node, "separator", b""))
    pieces = [piece for text in texts for piece in (separator, text)][1:]
    joined = join_texts(pieces)
    return value_of([joined], (1,) * values[0].ndim if _attribute(node, "keep_dims", False) else ())


def _string_format(node: NodeDef, values: Sequence[Value]) -> Value | None:
    template = _attribute(node, "template", b"%s")
    placeholder = _attribute(node, "placeholder", b"%s")
    pieces = template.split(placeholder) if placeholder else [template]
    if len(pieces) != len(values) + 1 or any(value.ndim for value in values):
        return None
    texts = [Text(pieces[0])]
    for value, piece in zip(values, pieces[1:], strict=True):
        item = value.item()
        if isinstance(item, float):
            return None
        if isinstance(item, Text):
            if item.data is not None and _ESCAPED.search(item.data):
                return None
            texts += (Text(b'"'), item, Text(b'"'))  # As TensorFlow puts strings into others.
        else:
            texts.append(Text(str(int(item)).encode()))
        texts.append(Text(piece))
    return scalar(join_texts(texts))


def _as_string(node: NodeDef, values: Sequence[Value]) -> Value | None:
    items: list[Any] = list(values[0].flat)
    if _attribute(node, "width", -1) != -1 or _attribute(node, "fill", b""):
        return None
    texts: list[Text] = []
    for item in items:
        if isinstance(item, Text):
            texts.append(item)
        elif isinstance(item, bool):
            texts.append(Text(b"true" if item else b"false"))
        elif isinstance(item, int):
            texts.append(Text(str(item).encode()))
        else:
            return None
    return value_of(texts, values[0].shape)


def _wrap(number: int, data_type: int) -> int:
    bits, signed = _INTEGERS.get(data_type, (64, True))
    number &= (1 << bits) - 1
    return number - (1 << bits) if signed and number >> (bits - 1) else number


def _cast(node: NodeDef, values: Sequence[Value]) -> Value | None:
    target = _attribute(node, "DstT", 0)
    items: list[object] = []
    for item in values[0].flat:
        if isinstance(item, Text):
            items.append(item)
        elif target in _INTEGERS and abs(item) < 1 << 63:
            items.append(_wrap(int(item), target))
        elif target == _BOOL:
            items.append(bool(item))
        elif target in _FLOATS:
            items.append(float(item))
        else:
            return None
    return value_of(items, values[0].shape)


def _arithmetic(compute: Callable[[int, int], int]) -> Fold:
    """Return a fold of whole numbers, two by two."""

    def fold(node: NodeDef, values: Sequence[Value]) -> Value | None:
        if _whole(values[0]) is None or _whole(values[1]) is None:
            return None
        left, right = np.broadcast_arrays(values[0], values[1])
        if left.size > MOST_ITEMS:
            return None
        data_type = _attribute(node, "T", 9)
        if data_type not in _INTEGERS:
            return None
        results = (compute(int(a), int(b)) for a, b in zip(left.flat, right.flat, strict=True))
        return value_of((_wrap(result, data_type) for result in results), left.shape)

    return fold


def _add(node: NodeDef, values: Sequence[Value]) -> Value | None:
    if _texts(values[0]) is None or _texts(values[1]) is None:
        return _arithmetic(operator.add)(node, values)
    left, right = np.broadcast_arrays(values[0], values[1])
    if left.size > MOST_ITEMS:
        return None
    return value_of((join_texts(pair) for pair in zip(left.flat, right.flat, strict=True)), left.shape)


def _substr(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found, start, length = _data(values[0]), _one(values[1]), _one(values[2])
    if found is None or start is None or length is None or _attribute(node, "unit", b"BYTE") != b"BYTE" or length < 0:
        return None
    if any(abs(start) > len(data) for data in found):
        return None
    starts = (start if start >= 0 else len(data) + start for data in found)
    return value_of(
        (Text(data[first : first + length]) for data, first in zip(found, starts, strict=True)), values[0].shape
    )


def _replace(text: Value, pattern: bytes, rewrite: bytes, *, everywhere: bool) -> Value | None:
    found = _data(text)
    if found is None or not pattern or _SPECIAL & set(pattern) or b"\\" in rewrite:
        return None
    if sum(map(len, found)) * max(1, len(rewrite)) > LONGEST_TEXT:
        return None
    count = -1 if everywhere else 1
    return value_of((Text(data.replace(pattern, rewrite, count)) for data in found), text.shape)


def _regex_replace(node: NodeDef, values: Sequence[Value]) -> Value | None:
    pattern, rewrite = _data(values[1]), _data(values[2])
    if not pattern or not rewrite:
        return None
    return _replace(values[0], pattern[0], rewrite[0], everywhere=_attribute(node, "replace_global", True))


def _static_regex_replace(node: NodeDef, values: Sequence[Value]) -> Value | None:
    pattern, rewrite = _attribute(node, "pattern", b""), _attribute(node, "rewrite", b"")
    return _replace(values[0], pattern, rewrite, everywhere=_attribute(node, "replace_global", True))


def _decode_base64(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found = _data(values[0])
    if found is None:
        return None
    try:
        return value_of(
            (Text(base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)) for data in found),
            values[0].shape,
        )
    except (binascii.Error, ValueError):
        return None


def _encode_base64(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found = _data(values[0])
    if found is None:
        return None
    encoded = (base64.urlsafe_b64encode(data) for data in found)
    is_padded = _attribute(node, "pad", False)
    return value_of((Text(data if is_padded else data.rstrip(b"=")) for data in encoded), values[0].shape)


def _unicode_encode(node: NodeDef, values: Sequence[Value]) -> Value | None:
    points, splits = _whole(values[0]), _whole(values[1])
    if points is None or splits is None or _attribute(node, "output_encoding", b"UTF-8") != b"UTF-8":
        return None
    if any(not 0 <= point < 0x110000 or 0xD800 <= point < 0xE000 for point in points):
        return None
    texts = ("".join(map(chr, points[max(0, a) : max(0, b)])) for a, b in pairwise(splits))
    return value_of(Text(text.encode()) for text in texts)


def _decode_raw(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found = _data(values[0])
    if found is None or len(found) != 1 or _attribute(node, "out_type", 0) != 4 or len(found[0]) > MOST_ITEMS:
        return None
    return value_of(found[0], (*values[0].shape, len(found[0])))


def _pack(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axis = _attribute(node, "axis", 0)
    stacked: Value = np.stack(list(values), axis=axis)
    return stacked


def _concat(node: NodeDef, values: Sequence[Value]) -> Value | None:
    *parts, axis = values if node.op == "ConcatV2" else (*values[1:], values[0])
    number = _one(axis)
    return None if number is None else np.concatenate(parts, axis=number)


def _reshape(node: NodeDef, values: Sequence[Value]) -> Value | None:
    shape = _whole(values[1])
    return None if shape is None else values[0].reshape(shape)


def _expand_dims(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axis = _one(values[1])
    return None if axis is None else np.expand_dims(values[0], axis)


def _squeeze(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axes = tuple(node.attr["squeeze_dims"].list.i) if "squeeze_dims" in node.attr else ()
    return np.squeeze(values[0], axis=axes or None)


def _gather(node: NodeDef, values: Sequence[Value]) -> Value | None:
    numbers = _whole(values[1])
    if numbers is None or (len(values) > 2 and _one(values[2]) != 0) or not values[0].ndim:
        return None
    if not all(0 <= number < values[0].shape[0] for number in numbers):
        return None
    rows = values[0][np.array(numbers, dtype=np.int64)]
    return rows.reshape((*values[1].shape, *values[0].shape[1:]))


def _slice(node: NodeDef, values: Sequence[Value]) -> Value | None:
    starts, sizes = _whole(values[1]), _whole(values[2])
    if starts is None or sizes is None or len(starts) != values[0].ndim or len(sizes) != len(starts):
        return None
    return values[0][
        tuple(slice(start, None if size < 0 else start + size) for start, size in zip(starts, sizes, strict=True))
    ]


def _strided_slice(node: NodeDef, values: Sequence[Value]) -> Value | None:
    starts, ends, steps = (_whole(value) for value in values[1:4])
    if starts is None or ends is None or steps is None or not len(starts) == len(ends) == len(steps):
        return None
    if _attribute(node, "ellipsis_mask", 0) or _attribute(node, "new_axis_mask", 0) or len(starts) > values[0].ndim:
        return None
    begins, stops = _attribute(node, "begin_mask", 0), _attribute(node, "end_mask", 0)
    shrinks = _attribute(node, "shrink_axis_mask", 0)
    index: list[int | slice] = []
    for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True)):
        if shrinks >> axis & 1:
            index.append(start)
        elif not step:
            return None
        else:
            index.append(slice(None if begins >> axis & 1 else start, None if stops >> axis & 1 else end, step))
    found = values[0][tuple(index)]
    # An index of numbers alone takes an item out.
    return scalar(found) if all(isinstance(part, int) for part in index) and len(index) == values[0].ndim else found


def _fill(node: NodeDef, values: Sequence[Value]) -> Value | None:
    shape = _whole(values[0])
    if shape is None or values[1].size != 1 or any(size < 0 for size in shape):
        return None
    count = 1
    for size in shape:
        count *= size
    return value_of([values[1].item()] * count, tuple(shape)) if count <= MOST_ITEMS else None


def _range(node: NodeDef, values: Sequence[Value]) -> Value | None:
    start, limit, step = (_one(value) for value in values[:3])
    if start is None or limit is None or not step or len(range(start, limit, step)) > MOST_ITEMS:
        return None
    return value_of(range(start, limit, step))


def _reverse(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axes = _whole(values[1])
    return None if axes is None or node.op != "ReverseV2" else np.flip(values[0], axis=tuple(axes))


def _unpack(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    axis = _attribute(node, "axis", 0)
    parts = np.moveaxis(values[0], axis, 0)
    return value_of(parts[index : index + 1].flat, parts.shape[1:])


def _split_texts(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    found, separators = _data(values[0]), _data(values[1])
    if index != 1 or found is None or separators is None or len(separators) != 1:
        return None
    if _attribute(node, "maxsplit", -1) != -1:
        return None
    pieces = [piece for data in found for piece in data.split(separators[0] or None)]
    return value_of(map(Text, pieces)) if len(pieces) <= MOST_ITEMS else None


OUTPUT_FOLDS: dict[str, Callable[[NodeDef, Sequence[Value], int], Value | None]] = {
    "StringSplitV2": _split_texts,
    "Unpack": _unpack,
}
"""The same for ops with several outputs."""
FOLDS: dict[str, Fold] = {
    "Add": _add,
    "AddV2": _add,
    "AsString": _as_string,
    "BitwiseAnd": _arithmetic(operator.and_),
    "BitwiseOr": _arithmetic(operator.or_),
    "BitwiseXor": _arithmetic(operator.xor),
    "Cast": _cast,
    "Concat": _concat,
    "ConcatV2": _concat,
    "DecodeBase64": _decode_base64,
    "DecodeRaw": _decode_raw,
    "EncodeBase64": _encode_base64,
    "ExpandDims": _expand_dims,
    "Fill": _fill,
    "Gather": _gather,
    "GatherV2": _gather,
    "Mul": _arithmetic(operator.mul),
    "Pack": _pack,
    "Range": _range,
    "ReduceJoin": _reduce_join,
    "RegexReplace": _regex_replace,
    "Reshape": _reshape,
    "ReverseV2": _reverse,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "StaticRegexReplace": _static_regex_replace,
    "StridedSlice": _strided_slice,
    "StringFormat": _string_format,
    "StringJoin": _string_join,
    "StringLower": _mapped(bytes.lower),
    "StringStrip": _mapped(bytes.strip),
    "StringUpper": _mapped(bytes.upper),
    "Sub": _arithmetic(operator.sub),
    "Substr": _substr,
    "UnicodeEncode": _unicode_encode,
}
"""By op how its first output follows from its inputs."""


def fold_op(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    """Return an output of a node for these inputs, or ``None`` where it is not known."""
    several = OUTPUT_FOLDS.get(node.op)
    try:
        found = several(node, values, index) if several is not None else FOLDS[node.op](node, values)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None  # The inputs do not fit the op, and TensorFlow would raise an error.
    return found if found is not None and found.size <= MOST_ITEMS else None
