"""Encode and decode integers and strings in keys, handles and lengths, as LevelDB and TensorFlow do.

Varint (LevelDB, protobuf): seven bits per byte, lowest first, with the high bit set on all but the last::

    300 = 1010 1100  0000 0010

Ordered code (TensorFlow, ``core/lib/strings/ordered_code``): encodings whose byte order is the order of the values. An
unsigned number is the count of its bytes, then the bytes, highest first. A string ends with ``00 01``; a ``00`` in it
is encoded as ``00 ff`` and an ``ff`` as ``ff 00``. A signed number is a two's complement of as many bytes as it needs,
with a header of as many one bits (the first bit inverted for the sign) ahead of the value::

    0 -> 80     1 -> 81     63 -> bf     64 -> c0 40     -1 -> 7f     -64 -> 40     -65 -> 3f bf

Decoders accept a buffer, a position and the end of the readable part, and return the value and the position after it.
Malformed bytes raise ``FormatError``, whose ``offset`` is a position in the buffer.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.limits import LONGEST_VARINT

_ESCAPED = {b"\0": b"\0\xff", b"\xff": b"\xff\0"}
_UNESCAPED = {escaped: byte for byte, escaped in _ESCAPED.items()}
_SPECIAL = re.compile(rb"[\0\xff]")

# A memoryview is sliced without a copy.
Buffer = bytes | memoryview


def decode_varint(data: Buffer, pos: int, end: int, bits: int = 64) -> tuple[int, int]:
    """Return an unsigned varint of at most ``bits`` bits."""
    if pos < end and data[pos] < 0x80:  # Most are a single byte.
        return data[pos], pos + 1
    value = shift = 0
    start = pos
    while True:
        if pos >= end:
            raise TruncatedError("a varint continues past the end of its buffer", offset=start)
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if pos - start >= LONGEST_VARINT:
            raise FormatError("a varint is longer than ten bytes", offset=start)
    if value >> bits:
        raise FormatError(f"a varint does not fit into {bits} bits", offset=start)
    return value, pos


def encode_varint(value: int) -> bytes:
    """Return a non-negative number as a varint."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def encode_ordered_number(value: int) -> bytes:
    """Return an unsigned number below 2^64 in ordered code."""
    size = (value.bit_length() + 7) // 8
    return bytes((size,)) + value.to_bytes(size, "big")


def decode_ordered_number(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Decode the result of ``encode_ordered_number``; only the shortest form is valid."""
    if pos >= end:
        raise TruncatedError("an ordered number is missing", offset=pos)
    size = data[pos]
    stop = pos + 1 + size
    if size > 8 or stop > end or (size and data[pos + 1] == 0):
        raise FormatError("an ordered number is malformed", offset=pos)
    return int.from_bytes(data[pos + 1 : stop], "big"), stop


def encode_ordered_string(value: bytes) -> bytes:
    """Return a string of bytes in ordered code, with its terminator."""
    return _SPECIAL.sub(lambda match: _ESCAPED[match[0]], value) + b"\0\1"


def decode_ordered_string(data: bytes, pos: int, end: int) -> tuple[bytes, int]:
    """Decode the result of ``encode_ordered_string``."""
    start = pos
    parts = []
    while special := _SPECIAL.search(data, pos, end):
        parts.append(data[pos : special.start()])
        pair = data[special.start() : min(special.start() + 2, end)]
        pos = special.start() + 2
        if pair == b"\0\1":
            return b"".join(parts), pos
        if pair not in _UNESCAPED:
            raise FormatError("an ordered string has an unknown escape", offset=special.start())
        parts.append(_UNESCAPED[pair])
    raise TruncatedError("an ordered string has no end", offset=start)


# Starts and lengths have few distinct values, which many tensors share.
@lru_cache(maxsize=1 << 14)
def encode_ordered_signed(value: int) -> bytes:
    """Return a signed 64-bit number in ordered code."""
    magnitude = ~value if value < 0 else value
    # A form of n bytes has n header bits and the sign, which leaves 7n - 1 bits for the magnitude.
    size = magnitude.bit_length() // 7 + 1
    header = ((1 << size) - 1) << (7 * size)
    encoded = magnitude | header
    if value < 0:
        encoded ^= (1 << (8 * size)) - 1
    return encoded.to_bytes(size, "big")


def decode_ordered_signed(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """Decode the result of ``encode_ordered_signed``; only the shortest form is valid."""
    if pos >= end:
        raise TruncatedError("an ordered signed number is missing", offset=pos)
    negative = data[pos] < 0x80
    flip = 0xFF if negative else 0
    first = data[pos] ^ flip
    size = 8 - (first ^ 0xFF).bit_length()
    if size == 8:
        second = (data[pos + 1] ^ flip) if pos + 1 < end else 0
        size = 8 if second < 0x80 else 9 if second < 0xC0 else 10
    if pos + size > end:
        raise TruncatedError("an ordered signed number runs past the end of its key", offset=pos)
    encoded = int.from_bytes(data[pos : pos + size], "big")
    if negative:
        encoded ^= (1 << (8 * size)) - 1
    # The bits after the header are a zero and the magnitude.
    magnitude = encoded & ((1 << (7 * size if size < 10 else 64)) - 1)
    value = ~magnitude if negative else magnitude
    if magnitude >> 63 or encode_ordered_signed(value) != data[pos : pos + size]:
        raise FormatError("an ordered signed number is malformed", offset=pos)
    return value, pos + size
