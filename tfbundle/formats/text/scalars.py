r"""Convert the text of field values to protobuf's wire bytes, for values in printed form.

An encoder belongs to one field and puts the field's tag before each value. It accepts only values that every release of
``text_format`` reads in the same way, and raises ``Unsure`` for all others, valid or not: strings in single quotes or
in several parts, ``\x`` escapes, numbers in octal or too large for the field, unknown names of enum values.
"""

from __future__ import annotations

import re
import struct
from typing import Protocol

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_SHORT_VARINTS = [bytes((value,)) for value in range(128)]

_PLAIN_STRING = re.compile(rb'"([^"\\\n]*)"').fullmatch
# Maps each escape that is never printed to `\b`, in a string without quotes and pairs of backslashes. Printed escapes
# are \n \t \r \' and octal numbers, which fit into a byte if they start with 0 to 3.
_ESCAPE_KINDS = bytearray(b"b" * 256)
_ESCAPE_KINDS[ord("\\")] = ord("\\")
for _byte in b"0123ntr'":
    _ESCAPE_KINDS[_byte] = ord("a")

# Releases differ in how they read octal numbers in floating-point fields.
_ODD_NUMBER = re.compile(rb"\s|-?0[0-9]").match

_LONGEST_INTEGER = 20
_INTEGER_RANGES = {
    FieldDescriptorProto.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptorProto.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptorProto.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptorProto.TYPE_UINT64: (0, (1 << 64) - 1),
}


class Unsure(Exception):
    """The fast path cannot determine the meaning or validity of a text.

    ``final`` means that ``text_format`` could not either, for a part so large that trying each of the enclosing parts
    in turn would take too long: the whole text must be parsed.
    """

    def __init__(self, *, final: bool = False) -> None:
        super().__init__()
        self.final = final


class Encoder(Protocol):
    """Encodes the values of one field."""

    def encode(self, text: bytes) -> bytes:
        """Return the wire bytes for one value."""

    def encode_all(self, texts: list[bytes]) -> bytes:
        """Return the wire bytes for several values of a repeated field."""


def encoder_of(field: FieldDescriptorProto, names: dict[str, int]) -> Encoder | None:
    """Return the encoder of a field with the enum ``names``, or ``None`` for types that TensorFlow does not use."""
    if field.type in (FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES):
        return _Strings(field.number, utf8=field.type == FieldDescriptorProto.TYPE_STRING)
    if field.type == FieldDescriptorProto.TYPE_FLOAT:
        return _Floats(field.number, FIXED32, "f")
    if field.type == FieldDescriptorProto.TYPE_DOUBLE:
        return _Floats(field.number, FIXED64, "d")
    if field.type in _INTEGER_RANGES:
        return _Integers(field.number, *_INTEGER_RANGES[field.type])
    if field.type == FieldDescriptorProto.TYPE_BOOL:
        return _Names(field.number, {"true": 1, "false": 0})
    if field.type == FieldDescriptorProto.TYPE_ENUM:
        return _Names(field.number, names)
    return None


class _Strings:
    def __init__(self, number: int, *, utf8: bool) -> None:
        self._tag = tag(number, BYTES)
        self._short_heads = [self._tag + varint(size) for size in range(128)]
        self._utf8 = utf8

    def encode(self, text: bytes) -> bytes:
        match = _PLAIN_STRING(text)
        value = match[1] if match else _unescape(text)
        if self._utf8 and not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError:
                raise Unsure from None
        size = len(value)
        return (self._short_heads[size] if size < 128 else self._tag + varint(size)) + value

    def encode_all(self, texts: list[bytes]) -> bytes:
        return b"".join(map(self.encode, texts))


def _unescape(text: bytes) -> bytes:
    """Return the value of a string with escapes."""
    # Pairs in a run of backslashes are counted from the left, as when the string is parsed.
    rest = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    if not rest.startswith(b'"') or not rest.endswith(b'"') or rest.count(b'"') != 2 or b"\n" in rest:
        raise Unsure
    if b"\\b" in rest.translate(_ESCAPE_KINDS):
        raise Unsure
    return text.decode("unicode_escape").encode("latin-1")[1:-1]


class _Floats:
    def __init__(self, number: int, wire_type: int, code: str) -> None:
        self._tag = tag(number, wire_type)
        self._packed_tag = tag(number, BYTES)
        self._code = code
        self._pack = struct.Struct(f"<{code}").pack

    def encode(self, text: bytes) -> bytes:
        if _ODD_NUMBER(text):
            raise Unsure
        try:
            return self._tag + self._pack(float(text))
        except (ValueError, OverflowError):
            raise Unsure from None

    def encode_all(self, texts: list[bytes]) -> bytes:
        if any(map(_ODD_NUMBER, {text[:3] for text in texts})):
            raise Unsure
        try:
            packed = struct.pack(f"<{len(texts)}{self._code}", *map(float, texts))
        except (ValueError, OverflowError):
            raise Unsure from None
        return self._packed_tag + varint(len(packed)) + packed


class _Integers:
    def __init__(self, number: int, least: int, most: int) -> None:
        self._tag = tag(number, VARINT)
        self._packed_tag = tag(number, BYTES)
        self._least = least
        self._most = most

    def encode(self, text: bytes) -> bytes:
        (value,) = self._values([text])
        return self._tag + varint(value)

    def encode_all(self, texts: list[bytes]) -> bytes:
        packed = b"".join(map(varint, self._values(texts)))
        return self._packed_tag + varint(len(packed)) + packed

    def _values(self, texts: list[bytes]) -> list[int]:
        if max(map(len, texts)) > _LONGEST_INTEGER:
            raise Unsure
        try:
            values = list(map(int, texts))
        except ValueError:
            raise Unsure from None
        # Unless printed in the same way, a number has a plus sign, an underscore, white space, or an octal prefix.
        printed = " ".join(map(str, values)).encode()
        if printed != b" ".join(texts) or min(values) < self._least or max(values) > self._most:
            raise Unsure
        return values


class _Names:
    def __init__(self, number: int, values: dict[str, int]) -> None:
        self._wires = {name.encode(): tag(number, VARINT) + varint(value) for name, value in values.items()}

    def encode(self, text: bytes) -> bytes:
        wire = self._wires.get(text)
        if wire is None:
            raise Unsure
        return wire

    def encode_all(self, texts: list[bytes]) -> bytes:
        return b"".join(map(self.encode, texts))


def tag(number: int, wire_type: int) -> bytes:
    """Return the tag that precedes a field's value."""
    return varint(number << 3 | wire_type)


def varint(value: int) -> bytes:
    """Return a number in groups of seven bits; a negative one in 64-bit two's complement."""
    if 0 <= value < 128:
        return _SHORT_VARINTS[value]
    if 0 <= value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    value &= (1 << 64) - 1
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)
