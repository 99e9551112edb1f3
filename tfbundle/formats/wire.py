"""Read protobuf's wire format, as far as needed to list the fields of a message.

Each field is a varint tag (its number times eight, plus its wire type) and a value::

    type 0  varint        type 1  8 bytes        type 2  varint length, bytes        type 5  4 bytes

Nearly any bytes parse as *some* message, so the kind of a file is determined by the numbers and wire types of its
fields. ``walk_fields`` steps over the fields of a message in a file, and reads no more than their tags and lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.formats.coding import Buffer, decode_varint
from tfbundle.limits import LARGEST_FIELD_NUMBER

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# A tag takes at most five bytes, and the varint after it ten.
_HEAD_SIZE = 15
# Short fields are read together: so many bytes at first, and twice as many each time that the next field is near.
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 10, 1 << 16


class Field(NamedTuple):
    """A field of a message: its number and wire type, and the offset and size of its value."""

    number: int
    wire_type: int
    offset: int
    size: int


class Readable(Protocol):
    """Anything whose bytes can be read at offsets, such as an open file."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``."""


def walk_fields(source: Readable, offset: int, end: int) -> Iterator[Field]:
    """Return the fields of the message from ``offset`` to ``end`` of a file, as ``message_fields`` does."""
    return message_fields(b"", offset, end, _Blocks(source, offset, end).at)


class _Blocks:
    """Reads the blocks of a file that contain the heads of fields; blocks grow while the next one is near."""

    def __init__(self, source: Readable, start: int, end: int) -> None:
        self._source = source
        self._end = end
        self._behind = start  # A block that begins here or later is not near.
        self._size = _SMALLEST_BLOCK

    def at(self, offset: int) -> bytes:
        """Return a block that begins at ``offset``."""
        self._size = min(2 * self._size, _LARGEST_BLOCK) if offset < self._behind else _SMALLEST_BLOCK
        block = self._source.read_at(offset, min(self._size, self._end - offset))
        self._behind = offset + len(block) + _LARGEST_BLOCK
        return block


def message_fields(
    data: Buffer, pos: int, end: int, block_at: Callable[[int], Buffer] | None = None
) -> Iterator[Field]:
    """Yield the fields of the serialized message ``data[pos:end]``, with offsets in ``data``.

    Values are skipped, so the cost depends only on the number of fields; ``data`` may end before ``end``, within its
    last field. For a message that is not in memory, ``data`` is empty and ``block_at`` returns the bytes at an offset.
    Raises ``FormatError`` if the bytes are not a message.
    """
    start = 0
    while pos < end:
        if block_at is not None and pos + _HEAD_SIZE > start + len(data) < end:
            data, start = block_at(pos), pos
        field = _decode_field(data, pos - start, end - start)
        if start:
            field = field._replace(offset=start + field.offset)
        yield field
        pos = field.offset + field.size


def _decode_field(data: bytes | memoryview, start: int, end: int) -> Field:
    """Return the field at ``start`` of a message that ends at ``end``; ``data`` only needs to contain its head."""
    limit = min(end, len(data))
    tag, pos = decode_varint(data, start, limit, 32)
    number, wire_type = tag >> 3, tag & 7
    if not 0 < number <= LARGEST_FIELD_NUMBER:
        raise FormatError(f"a field cannot have the number {number}", offset=start)
    if wire_type == BYTES:
        size, pos = decode_varint(data, pos, limit)
    elif wire_type == VARINT:
        _, stop = decode_varint(data, pos, limit)
        size = stop - pos
    elif wire_type in (FIXED32, FIXED64):
        size = 4 if wire_type == FIXED32 else 8
    else:
        raise FormatError(f"a field cannot have the wire type {wire_type}", offset=start)
    if pos + size > end:
        raise TruncatedError("a field continues past the end of its message", offset=start)
    return Field(number, wire_type, pos, size)
