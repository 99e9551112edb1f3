"""Messages that begin with fields that nobody knows, so that only their structure shows what they are.

A message is a sequence of fields, each a tag and a value of a length that follows from it. Bytes of another kind stop
being one within a few fields.
"""

from __future__ import annotations

from tfbundle.storage.base import Source

_MOST_FIELDS = 64
_LONGEST_HEAD = 20
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)


def may_be_message(source: Source) -> bool:
    """Return whether the first fields of a file are those of a message with others in it."""
    position = depth = 0
    has_bytes = False
    for _ in range(_MOST_FIELDS):
        if position >= source.size:
            break
        head = source.read_at(position, min(_LONGEST_HEAD, source.size - position))
        tag, place = _varint(head, 0)
        kind = tag & 7
        if place < 0 or not tag >> 3 or kind > _FIXED32:
            return False
        if kind in (_VARINT, _BYTES):
            value, place = _varint(head, place)
            if place < 0:
                return False
            if kind == _BYTES:
                has_bytes = has_bytes or tag >> 3 in (1, 2)
                place += value
        elif kind in (_GROUP, _END_GROUP):
            depth += 1 if kind == _GROUP else -1
        else:
            place += 8 if kind == _FIXED64 else 4
        position += place
        if position > source.size or depth < 0:
            return False
    return has_bytes or position < source.size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and where it ends; -1 where it does not."""
    value = 0
    for count in range(10):
        if place + count >= len(data):
            break
        value |= (data[place + count] & 127) << (7 * count)
        if data[place + count] < 128:
            return value, place + count + 1
    return 0, -1
