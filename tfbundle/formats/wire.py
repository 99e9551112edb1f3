"""Protobuf's wire format, just deep enough to see which fields a message has.

Each field is a varint tag (its number times eight, plus its wire type) and a value::

    type 0  varint        type 1  8 bytes        type 2  varint length, bytes        type 5  4 bytes

Nearly any bytes parse as *some* message, so that what a file is follows from the numbers and wire types of its
fields. ``walk_fields`` steps over the fields of a message in a file, and fetches no more than their tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.formats.coding import Buffer, decode_varint
from tfbundle.limits import LARGEST_FIELD_NUMBER
from tfbundle.storage.base import Source

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# A tag takes at most five bytes, and the varint behind it ten.
_HEAD_SIZE = 15
# Short fields are read together: so many bytes at first, and twice as many each time that the next is near.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 6, 1 << 12


class Field(NamedTuple):
    """A field of a message: its number and wire type, and where in the file its value lies."""

    number: int
    wire_type: int
    offset: int
    size: int


def walk_fields(source: Source, offset: int, end: int) -> Iterator[Field]:
    """Return the fields of the message at ``offset`` of a file up to ``end``, as ``message_fields`` has them."""
    block, start, size = b"", offset, _SMALLEST_BLOCK
    while offset < end:
        if offset + _HEAD_SIZE > start + len(block) < end:
            is_near = start < offset < start + len(block) + _LARGEST_BLOCK
            size = min(2 * size, _LARGEST_BLOCK) if is_near else _SMALLEST_BLOCK
            block, start = source.read_at(offset, min(size, end - offset)), offset
        field = _decode_field(block, offset - start, end - start)
        field = field._replace(offset=start + field.offset)
        yield field
        offset = field.offset + field.size


def message_fields(data: Buffer, pos: int, end: int) -> Iterator[Field]:
    """Yield the fields of the serialized message ``data[pos:end]``, with offsets in ``data``.

    No value is looked at, so that what stands deep in a large message is found at the cost of its tags; ``data`` may
    end before ``end``, with its last field still to come. Raises ``FormatError`` where the bytes are no message.
    """
    last = min(end, len(data)) - 1
    while pos < end:
        # As a rule the tag and the length, or the number, take a byte each.
        if pos < last and 8 <= (tag := data[pos]) < 0x80 and (size := data[pos + 1]) < 0x80:
            wire_type = tag & 7
            if wire_type == BYTES and pos + 2 + size <= end:
                yield Field(tag >> 3, BYTES, pos + 2, size)
                pos += 2 + size
                continue
            if wire_type == VARINT:
                yield Field(tag >> 3, VARINT, pos + 1, 1)
                pos += 2
                continue
        field = _decode_field(data, pos, end)
        yield field
        pos = field.offset + field.size


def _decode_field(data: bytes | memoryview, start: int, end: int) -> Field:
    """Return the field at ``start`` of a message that goes on to ``end``; ``data`` has to hold no more than its
    head.
    """
    limit = min(end, len(data))
    tag, pos = decode_varint(data, start, limit, 32)
    number, wire_type = tag >> 3, tag & 7
    if not 0 < number <= LARGEST_FIELD_NUMBER:
        raise FormatError(f"no field has the number {number}", offset=start)
    if wire_type == BYTES:
        size, pos = decode_varint(data, pos, limit)
    elif wire_type == VARINT:
        _, stop = decode_varint(data, pos, limit)
        size = stop - pos
    elif wire_type in (FIXED32, FIXED64):
        size = 4 if wire_type == FIXED32 else 8
    else:
        raise FormatError(f"no field has the wire type {wire_type}", offset=start)
    if pos + size > end:
        raise TruncatedError("a field runs past the end of its message", offset=start)
    return Field(number, wire_type, pos, size)
