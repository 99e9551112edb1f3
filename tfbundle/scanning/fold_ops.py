"""The results of ops on strings and small numbers, for known inputs.

Each function accepts the node and the values of its inputs, and returns the value of the first output, or ``None`` if
it is not known. Only ops that programs use to compose, or to hide, paths, addresses and commands are here. The results
are those of TensorFlow, or unknown.
"""

from __future__ import annotations

import base64
import binascii
import operator
import re
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tfbundle.proto import NodeDef
from tfbundle.scanning.fold_arrays import ARRAY_FOLDS, Fold, attribute, one_number, split, unpack, whole_numbers
from tfbundle.scanning.values import LONGEST_TEXT, MOST_ITEMS, Text, Value, join_texts, scalar, value_of

# Bits of DT_INT32, UINT8, INT16, INT8, INT64, UINT16, UINT32, UINT64, and whether they are signed.
_INTEGERS = {3: (32, True), 4: (8, False), 5: (16, True), 6: (8, True), 9: (64, True), 17: (16, False)}
_INTEGERS |= {22: (32, False), 23: (64, False)}
_BOOL = 10
_FLOATS = (1, 2, 14, 19)
# Bits of the window of zlib for what ``DecodeCompressed`` unpacks.
_WINDOWS = {b"ZLIB": 15, b"GZIP": 31}
# What is not put into another string as it is.
_ESCAPED = re.compile(rb"[^ !#-&(-\[\]-~]")
# Patterns that mean the same to RE2 and to Python, and take linear time: characters, and one repeated class at most.
_LITERAL = re.compile(rb"[^\\.+*?()|\[\]{}^$]+")
_CLASS = rb"(?:\[\^?[\w/. ]+(?:-[\w/. ]+)*\]|\\[dws.]|\.|[\w/ ])"
_SIMPLE = re.compile(rb"[\w/ ]*" + _CLASS + rb"\+?[\w/ ]*")


def _texts(value: Value) -> list[Text] | None:
    items = list(value.flat)
    return items if all(isinstance(item, Text) for item in items) else None


def _data(value: Value) -> list[bytes] | None:
    found = [item.data if isinstance(item, Text) else None for item in value.flat]
    return None if None in found else [data for data in found if data is not None]


def _mapped(change: Callable[[bytes], bytes]) -> Fold:
    """Return a fold that changes each string by itself."""

    def fold(node: NodeDef, values: Sequence[Value]) -> Value | None:
        found = _data(values[0])
        if found is None or attribute(node, "encoding", b""):
            return None
        return value_of((Text(change(data)) for data in found), values[0].shape)

    return fold


def _string_join(node: NodeDef, values: Sequence[Value]) -> Value | None:
    separator = Text(attribute(node, "separator", b""))
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
    texts, axes = _texts(values[0]), whole_numbers(values[1])
    if texts is None or axes is None or (values[0].ndim > 1 and len(set(axes)) != values[0].ndim):
        return None
    if values[0].ndim == 0 or not axes:
        return values[0]
    separator = Text(attribute(node, "separator", b""))
    pieces = [piece for text in texts for piece in (separator, text)][1:]
    joined = join_texts(pieces)
    return value_of([joined], (1,) * values[0].ndim if attribute(node, "keep_dims", False) else ())


def _string_format(node: NodeDef, values: Sequence[Value]) -> Value | None:
    template = attribute(node, "template", b"%s")
    placeholder = attribute(node, "placeholder", b"%s")
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
    if attribute(node, "width", -1) != -1 or attribute(node, "fill", b""):
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
    target = attribute(node, "DstT", 0)
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
        if whole_numbers(values[0]) is None or whole_numbers(values[1]) is None:
            return None
        left, right = np.broadcast_arrays(values[0], values[1])
        if left.size > MOST_ITEMS:
            return None
        data_type = attribute(node, "T", 9)
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
    found, start, length = _data(values[0]), one_number(values[1]), one_number(values[2])
    if found is None or start is None or length is None or attribute(node, "unit", b"BYTE") != b"BYTE" or length < 0:
        return None
    if any(abs(start) > len(data) for data in found):
        return None
    starts = (start if start >= 0 else len(data) + start for data in found)
    return value_of(
        (Text(data[first : first + length]) for data, first in zip(found, starts, strict=True)), values[0].shape
    )


def _replace(text: Value, pattern: bytes, rewrite: bytes, *, everywhere: bool) -> Value | None:
    found = _data(text)
    if found is None or b"\\" in rewrite or not (_LITERAL.fullmatch(pattern) or _SIMPLE.fullmatch(pattern)):
        return None
    if sum(map(len, found)) * max(1, len(rewrite)) > LONGEST_TEXT:
        return None
    if not _LITERAL.fullmatch(pattern) and not all(data.isascii() and b"\n" not in data for data in found):
        return None
    count = 0 if everywhere else 1
    return value_of((Text(re.sub(pattern, lambda match: rewrite, data, count=count)) for data in found), text.shape)


def _regex_replace(node: NodeDef, values: Sequence[Value]) -> Value | None:
    pattern, rewrite = _data(values[1]), _data(values[2])
    if not pattern or not rewrite:
        return None
    return _replace(values[0], pattern[0], rewrite[0], everywhere=attribute(node, "replace_global", True))


def _static_regex_replace(node: NodeDef, values: Sequence[Value]) -> Value | None:
    pattern, rewrite = attribute(node, "pattern", b""), attribute(node, "rewrite", b"")
    return _replace(values[0], pattern, rewrite, everywhere=attribute(node, "replace_global", True))


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
    is_padded = attribute(node, "pad", False)
    return value_of((Text(data if is_padded else data.rstrip(b"=")) for data in encoded), values[0].shape)


def _unicode_encode(node: NodeDef, values: Sequence[Value]) -> Value | None:
    points, splits = whole_numbers(values[0]), whole_numbers(values[1])
    if points is None or splits is None or attribute(node, "output_encoding", b"UTF-8") != b"UTF-8":
        return None
    if any(not 0 <= point < 0x110000 or 0xD800 <= point < 0xE000 for point in points):
        return None
    texts = ("".join(map(chr, points[max(0, a) : max(0, b)])) for a, b in pairwise(splits))
    return value_of(Text(text.encode()) for text in texts)


def _unicode_transcode(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found = _data(values[0])
    encodings = attribute(node, "input_encoding", b""), attribute(node, "output_encoding", b"")
    # TensorFlow treats text in other encodings, and invalid text, differently.
    if found is None or encodings != (b"UTF-8", b"UTF-8") or not all(data.isascii() for data in found):
        return None
    return values[0] if all(min(data, default=32) >= 32 for data in found) else None


def _decode_compressed(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found, kind = _data(values[0]), attribute(node, "compression_type", b"")
    if found is None or kind not in _WINDOWS:
        return None
    unpacked: list[bytes] = []
    left = LONGEST_TEXT
    for data in found:
        unpacker = zlib.decompressobj(_WINDOWS[kind])
        try:
            unpacked.append(unpacker.decompress(data, max(left, 1)))
        except zlib.error:
            return None
        left -= len(unpacked[-1])
        if not unpacker.eof or unpacker.unused_data or left < 0:
            return None
    return value_of(map(Text, unpacked), values[0].shape)


def _decode_raw(node: NodeDef, values: Sequence[Value]) -> Value | None:
    found = _data(values[0])
    if found is None or len(found) != 1 or attribute(node, "out_type", 0) != 4 or len(found[0]) > MOST_ITEMS:
        return None
    return value_of(found[0], (*values[0].shape, len(found[0])))


def _split_texts(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    found, separators = _data(values[0]), _data(values[1])
    if index != 1 or found is None or separators is None or len(separators) != 1:
        return None
    if attribute(node, "maxsplit", -1) != -1:
        return None
    pieces = [piece for data in found for piece in data.split(separators[0] or None)]
    return value_of(map(Text, pieces)) if len(pieces) <= MOST_ITEMS else None


OUTPUT_FOLDS: dict[str, Callable[[NodeDef, Sequence[Value], int], Value | None]] = {
    "Split": split,
    "SplitV": split,
    "StringSplitV2": _split_texts,
    "Unpack": unpack,
}
"""The same for ops with several outputs."""
FOLDS: dict[str, Fold] = {
    **ARRAY_FOLDS,
    "Add": _add,
    "AddV2": _add,
    "AsString": _as_string,
    "BitwiseAnd": _arithmetic(operator.and_),
    "BitwiseOr": _arithmetic(operator.or_),
    "BitwiseXor": _arithmetic(operator.xor),
    "Cast": _cast,
    "DecodeBase64": _decode_base64,
    "DecodeCompressed": _decode_compressed,
    "DecodeRaw": _decode_raw,
    "EncodeBase64": _encode_base64,
    "Mul": _arithmetic(operator.mul),
    "ReduceJoin": _reduce_join,
    "RegexReplace": _regex_replace,
    "StaticRegexReplace": _static_regex_replace,
    "StringFormat": _string_format,
    "StringJoin": _string_join,
    "StringLower": _mapped(bytes.lower),
    "StringStrip": _mapped(bytes.strip),
    "StringUpper": _mapped(bytes.upper),
    "Sub": _arithmetic(operator.sub),
    "Substr": _substr,
    "UnicodeEncode": _unicode_encode,
    "UnicodeTranscode": _unicode_transcode,
}
"""By op how its first output follows from its inputs."""


def fold_op(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    """Return an output of a node for these inputs, or ``None`` if it is not known."""
    several = OUTPUT_FOLDS.get(node.op)
    try:
        found = several(node, values, index) if several is not None else FOLDS[node.op](node, values)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None  # The inputs do not fit the op, and TensorFlow would raise an error.
    return found if found is not None and found.size <= MOST_ITEMS else None
