"""Messages that begin with unknown fields, so that only their structure identifies them.

A message is a sequence of fields, each a tag and a value of a length that follows from it. Bytes of another kind stop
being one within a few fields.
"""

from __future__ import annotations

from tfbundle.storage.base import Source

_MOST_FIELDS = 64
_LONGEST_HEAD = 20
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)


def may_be_message(source: Source) -> bool:
    """Return whether the first fields of a file are those of a message with nodes, or with messages in field 2."""
    return _walk(source, 0, source.size, is_inner=False)


def _walk(source: Source, position: int, end: int, *, is_inner: bool) -> bool:
    depth = 0
    has_messages = False
    for _ in range(_MOST_FIELDS):
        if position >= end:
            return has_messages
        head = source.read_at(position, min(_LONGEST_HEAD, end - position))
        tag, place = _varint(head, 0)
        kind = tag & 7
        if place < 0 or not tag >> 3 or kind > _FIXED32:
            return False
        size = 0
        if kind in (_VARINT, _BYTES):
            value, place = _varint(head, place)
            if place < 0:
                return False
            size = value if kind == _BYTES else 0
        elif kind in (_GROUP, _END_GROUP):
            depth += 1 if kind == _GROUP else -1
        else:
            size = 8 if kind == _FIXED64 else 4
        position += place
        if position + size > end or depth < 0:
            return False
        # A string in field 2, as other formats have, is hardly ever a message.
        if kind == _BYTES and not has_messages and tag >> 3 in (1, 2):
            has_messages = tag >> 3 == 1 or is_inner or _walk(source, position, position + size, is_inner=True)
        position += size
    return True


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and its end, which is -1 if it is truncated."""
    value = 0
    for count in range(10):
        if place + count >= len(data):
            break
        value |= (data[place + count] & 127) << (7 * count)
        if data[place + count] < 128:
            return value, place + count + 1
    return 0, -1
