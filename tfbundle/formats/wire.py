"""Protobuf's wire format, just deep enough to see which fields a message has.

Each field is a varint tag (its number times eight, plus its wire type) and a value::

    type 0  varint        type 1  8 bytes        type 2  varint length, bytes        type 5  4 bytes

Nearly any bytes parse as *some* message, so that what a file is must be told from the numbers and wire types of its
fields. ``walk_fields`` steps over the fields of a message in a file, and fetches no more than their tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.formats.coding import Buffer, decode_varint
from tfbundle.limits import LARGEST_FIELD_NUMBER
from tfbundle.storage import ByteSource

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# A tag takes at most five bytes, and the varint behind it ten.
_HEAD_SIZE = 15


class Field(NamedTuple):
    """A field of a message: its number and wire type, and where in the file its value lies."""

    number: int
    wire_type: int
    offset: int
    size: int


def walk_fields(source: ByteSource, offset: int, end: int) -> Iterator[Field]:
    """The fields of the message at ``offset`` up to ``end``; ``FormatError`` where the bytes are no message."""
    while offset < end:
        head = source.read_at(offset, min(_HEAD_SIZE, end - offset))
        tag, pos = decode_varint(head, 0, len(head), 32)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number <= LARGEST_FIELD_NUMBER:
            raise FormatError(f"no field has the number {number}", path=source.path, offset=offset)
        if wire_type == VARINT:
            _, stop = decode_varint(head, pos, len(head))
            start, size = pos, stop - pos
        elif wire_type == BYTES:
            size, start = decode_varint(head, pos, len(head))
        elif wire_type in (FIXED64, FIXED32):
            start, size = pos, 8 if wire_type == FIXED64 else 4
        else:
            raise FormatError(f"no field has the wire type {wire_type}", path=source.path, offset=offset)
        if offset + start + size > end:
            raise TruncatedError("a field runs past the end of its message", path=source.path, offset=offset)
        yield Field(number, wire_type, offset + start, size)
        offset += start + size


def message_fields(data: Buffer, pos: int, end: int) -> Iterator[Field]:
    """The fields of the serialized message ``data[pos:end]``, with offsets in ``data``.

    No value is looked at, so that what stands deep in a large message is found at the cost of its tags; ``data`` may
    end before ``end``, with its last field still to come. Raises ``FormatError`` where the bytes are no message.
    """
    limit = min(end, len(data))
    while pos < end:
        start = pos
        tag, pos = decode_varint(data, pos, limit, 32)
        wire_type = tag & 7
        if wire_type == BYTES:
            size, pos = decode_varint(data, pos, limit)
        elif wire_type == VARINT:
            _, stop = decode_varint(data, pos, limit)
            size = stop - pos
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise FormatError(f"no field has the wire type {wire_type}", offset=start)
        if not tag >> 3:
            raise FormatError("no field has the number 0", offset=start)
        if pos + size > end:
            raise TruncatedError("a field runs past the end of its message", offset=start)
        yield Field(tag >> 3, wire_type, pos, size)
        pos += size
