"""Locate the parts of a serialized ``Event``.

An event of a summary nests four messages (TensorFlow, ``core/util/event.proto`` and ``core/framework/summary.proto``)::

    Event     wall_time 1: double    step 2: varint    summary 5:
      Summary   value 1, repeatedly:
        Value     tag 1    metadata 9    simple_value 2: float, or image 4, histo 5, audio 6, tensor 8:
          TensorProto  dtype 1    tensor_shape 2    one field with the element

A ``Layout`` gives the positions of these parts in one record. ``mask_of`` gives the bytes that another record must
share in order to have the same layout, so that one layout serves thousands of records.

Messages that TensorFlow does not write (a repeated singular field, or another wire type) have no layout. They are
parsed by protobuf, which has many rules for these cases, and serialized again.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.formats.coding import Buffer
from tfbundle.formats.wire import BYTES, FIXED32, FIXED64, VARINT, Field, message_fields
from tfbundle.limits import LONGEST_VARINT, MOST_VALUES
from tfbundle.tensors.dtypes import numpy_dtype

SUMMARY = 5
SIMPLE_VALUE, IMAGE, HISTO, AUDIO, TENSOR = 2, 4, 5, 6, 8

_WHATS = (3, 4, SUMMARY, 6, 7, 8, 9)
_LARGEST_KNOWN = 10  # source_metadata, which is not used.
_TAG, _NODE_NAME, _METADATA = 1, 7, 9
_FORMS = (SIMPLE_VALUE, 3, IMAGE, HISTO, AUDIO, TENSOR)

# By data type number: the field of a TensorProto that has the elements (core/framework/tensor.proto).
ELEMENT_FIELDS = {
    1: 5,
    2: 6,
    3: 7,
    4: 7,
    5: 7,
    6: 7,
    8: 9,
    9: 10,
    10: 11,
    14: 13,
    17: 7,
    18: 12,
    19: 13,
    22: 16,
    23: 17,
}
_CONTENT = 4
# The fields that store the bytes of the element; the others hold a varint.
_STORED_AS_BYTES = (_CONTENT, 5, 6, 9, 12)
# A tensor with one number is never longer.
LONGEST_SCALAR = 64


class Unusual(Exception):
    """The event is in a form that only protobuf can parse."""


class Span(NamedTuple):
    """A range of bytes in the record."""

    start: int
    end: int


_NOWHERE = Span(0, 0)


class NumberLayout(NamedTuple):
    """A number: its dtype, and the position of its bytes or varint; an empty span means zero."""

    dtype: np.dtype[Any]
    is_varint: bool
    span: Span


class ValueLayout(NamedTuple):
    """A ``Summary.Value``: its span, tag and metadata, the field that it has and its span, and the number in that."""

    span: Span
    tag: Span
    metadata: Span | None
    form: int
    content: Span
    number: NumberLayout | None


class Layout(NamedTuple):
    """An ``Event``: the positions of its parts, its kind and the position of the content, and its values."""

    wall: int | None
    step: Span | None
    what: int
    content: Span
    values: tuple[ValueLayout, ...]


def decode_layout(record: Buffer) -> Layout:
    """Return the layout of an event; ``FormatError`` if the bytes are not a message, ``Unusual`` if it has none."""
    wall, step, what, content = None, None, 0, _NOWHERE
    values: list[ValueLayout] = []
    seen = 0
    for number, wire_type, start, size in message_fields(record, 0, len(record)):
        if number > _LARGEST_KNOWN:
            continue
        if seen >> number & 1:
            raise Unusual
        seen |= 1 << number
        if number == 1 and wire_type == FIXED64:
            wall = start
        elif number == 2 and wire_type == VARINT:
            step = Span(start, start + size)
        elif number in _WHATS and wire_type == BYTES and not what:
            what, content = number, Span(start, start + size)
            if number == SUMMARY:
                values = _decode_values(record, start, start + size)
        elif number != _LARGEST_KNOWN or wire_type != BYTES:
            raise Unusual
    return Layout(wall, step, what, content, tuple(values))


def _decode_values(record: Buffer, start: int, end: int) -> list[ValueLayout]:
    fields = list(islice(message_fields(record, start, end), MOST_VALUES + 1))
    if len(fields) > MOST_VALUES:
        raise UnsupportedError(f"a record has more than {MOST_VALUES} values, far more than a summary has tags")
    return [_EMPTY if _is_empty(record, field) else _decode_value(record, field) for field in fields]


_EMPTY = ValueLayout(_NOWHERE, _NOWHERE, None, 0, _NOWHERE, None)


def _is_empty(record: Buffer, value: Field) -> bool:
    """Return whether a value is empty or has only a short tag; hundreds of thousands of these fit into a file."""
    number, wire_type, start, size = value
    if number != 1 or wire_type != BYTES:
        return False
    return not size or (size > 1 and record[start] == _TAG << 3 | BYTES and record[start + 1] == size - 2 < 0x80)


def _decode_value(record: Buffer, value: Field) -> ValueLayout:
    if value.number != 1 or value.wire_type != BYTES:
        raise Unusual
    tag = node_name = content = _NOWHERE
    metadata, form, element, seen = None, 0, None, 0
    for number, wire_type, start, size in message_fields(record, value.offset, value.offset + value.size):
        if number > _LARGEST_KNOWN:
            continue
        if seen >> number & 1:
            raise Unusual
        seen |= 1 << number
        if number in _FORMS:
            if form or wire_type != (FIXED32 if number == SIMPLE_VALUE else BYTES):
                raise Unusual
            form, content = number, Span(start, start + size)
            if number == SIMPLE_VALUE:
                element = NumberLayout(numpy_dtype(1), False, Span(start, start + 4))
            elif number == TENSOR and size <= LONGEST_SCALAR:
                element = _decode_scalar(record, start, start + size)
        elif wire_type != BYTES and number in (_TAG, _NODE_NAME, _METADATA):
            raise Unusual
        elif number == _TAG:
            tag = Span(start, start + size)
        elif number == _NODE_NAME:
            node_name = Span(start, start + size)
        elif number == _METADATA:
            metadata = Span(start, start + size)
    if tag.start == tag.end:
        tag = node_name  # The first tensor summaries have no tag.
    return ValueLayout(Span(value.offset, value.offset + value.size), tag, metadata, form, content, element)


def _decode_scalar(record: Buffer, start: int, end: int) -> NumberLayout | None:
    """Return the number in a tensor without dimensions, or ``None`` for any other tensor."""
    data_type = 0
    element = None
    seen = 0
    for field in message_fields(record, start, end):
        number, wire_type, pos, size = field
        if number > 18 or seen >> number & 1:
            return None
        seen |= 1 << number
        if number == 1 and wire_type == VARINT and size == 1:
            data_type = record[pos]
        elif number == 2 and wire_type == BYTES:
            if size:
                return None
        elif number == 3 and wire_type == VARINT:
            pass
        elif wire_type == BYTES and element is None and size:
            element = field
        else:
            return None
    if data_type not in ELEMENT_FIELDS:
        return None
    dtype = numpy_dtype(data_type)
    if element is None:
        return NumberLayout(dtype, False, Span(start, start))
    number, _, pos, size = element
    if number in _STORED_AS_BYTES:
        fits = size == dtype.itemsize and number in (_CONTENT, ELEMENT_FIELDS[data_type])
        return NumberLayout(dtype, False, Span(pos, pos + size)) if fits else None
    if number != ELEMENT_FIELDS[data_type] or size > LONGEST_VARINT:
        return None
    ends = [place for place in range(pos, pos + size) if record[place] < 0x80]
    if ends != [pos + size - 1] or (size == LONGEST_VARINT and record[ends[0]] > 1):
        return None
    return NumberLayout(dtype, True, Span(pos, pos + size))


def mask_of(layout: Layout, record: bytes) -> tuple[bytes, bytes]:
    """Return two masks of the record's bytes: the bits that determine the layout, and the bits that name the series.

    Values, tags and metadata may differ. The continuation bits of a varint may not.
    """
    shared = bytearray(b"\xff" * len(record))
    names = bytearray(len(record))

    def free(span: Span, bits: int = 0) -> None:
        shared[span.start : span.end] = bytes((bits,)) * (span.end - span.start)
        if bits and span.end - span.start == LONGEST_VARINT:
            shared[span.end - 1] = 0xFF

    if layout.wall is not None:
        free(Span(layout.wall, layout.wall + 8))
    if layout.step is not None:
        free(layout.step, 0x80)
    for value in layout.values:
        for name in (value.tag, value.metadata):
            if name is not None:
                free(name)
                names[name.start : name.end] = b"\xff" * (name.end - name.start)
        if value.number is None:
            free(value.content)
        else:
            free(value.number.span, 0x80 if value.number.is_varint else 0)
    return bytes(shared), bytes(names)
