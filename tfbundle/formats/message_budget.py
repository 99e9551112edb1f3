"""What a serialized message will cost in memory, before protobuf decodes it.

An empty node takes two bytes in a file and a hundred in memory, and protobuf decodes a message as a whole or not at
all. ``check_message`` therefore estimates first, and refuses what exceeds ``FREE_MESSAGE_MEMORY`` plus
``LARGEST_MESSAGE_GROWTH`` times the size of the message::

    small           no message of up to _SMALL bytes can exceed it             nothing is looked at
    level by level  protobuf itself splits a level into the bytes of its       at the speed of C
                    fields; those of one type, joined, are the next level
    field by field  where a level may hold so many fields that even their      stops as soon as the budget is spent
                    list is too long

Joining works because the bytes of several messages in a row are one message, with the fields of all. Costs follow the
layout of protobuf's C runtime (upb): 8 bytes a field, 16 for a string, a pointer for each message in a list, lists that
double as they grow, and a hash table for each map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from tfbundle.errors import UnsupportedError
from tfbundle.limits import FREE_MESSAGE_MEMORY, LARGEST_MESSAGE_GROWTH

# The densest messages of TensorFlow take about a hundred times their bytes.
_SMALL = FREE_MESSAGE_MEMORY // 128

# Bytes of memory: of a message without its fields, a field, a string, an element of a list of pointers (which has up to
# twice the room that it needs), a map, and an entry of one.
_MESSAGE = 16
_FIELD = 8
_STRING = 16
_ELEMENT = 16
_MAP = 64
_ENTRY = 48

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """What one occurrence of a field costs, what each of its bytes costs besides, and the type of its messages."""

    cost: int
    growth: int
    inner: _Type | None


class _Type:
    """A message type: its fields by number, as far as they cost more than their bytes."""

    __slots__ = ("_shadow", "fields")

    def __init__(self) -> None:
        self.fields: dict[int, _Field] = {}
        self._shadow: type[Message] | None = None

    def split(self, data: bytes) -> Message:
        """Return a message whose fields ``f1``, ``f2``... list the bytes of each field of the type."""
        if self._shadow is None:
            self._shadow = _make_shadow(self.fields)
        return self._shadow.FromString(data)


def _make_shadow(numbers: Iterable[int]) -> type[Message]:
    """Return a message class that has repeated bytes under each of the numbers."""
    file = FileDescriptorProto(name="shadow.proto", syntax="proto3")
    shadow = file.message_type.add(name="Shadow")
    for number in numbers:
        shadow.field.add(
            name=f"f{number}",
            number=number,
            type=FieldDescriptorProto.TYPE_BYTES,
            label=FieldDescriptorProto.LABEL_REPEATED,
        )
    # A pool of its own, which no other program's schemas can collide with.
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName("Shadow")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    factory: Any = message_factory.MessageFactory(pool)  # Before protobuf 4.22.
    found: type[Message] = factory.GetPrototype(descriptor)
    return found


_types: dict[str, _Type] = {}


def check_message(data: bytes | memoryview, message_class: type[Message], *, path: str | None = None) -> None:
    """Raise ``UnsupportedError`` if decoding ``data`` could take more memory than a message of its size may.

    Bytes that are not a message of the type pass or are refused as far as they go; decoding says what is wrong.
    """
    size = len(data)
    if size <= _SMALL:
        return
    budget = FREE_MESSAGE_MEMORY + LARGEST_MESSAGE_GROWTH * size
    descriptor: Any = message_class.DESCRIPTOR
    left = budget - size
    levels = [(bytes(data), _type_of(descriptor))]
    while levels and left >= 0:
        level, kind = levels.pop()
        if _is_dense(level, kind, budget):
            left = _walk(level, kind, left)
            continue
        try:
            parts = kind.split(level)
        except DecodeError:
            return  # It is no message, and is not decoded either.
        for number, field in kind.fields.items():
            values = getattr(parts, f"f{number}")
            if not values:
                continue
            left -= field.cost * len(values)
            if left < 0:
                break
            if field.growth or field.inner is not None:
                inner = b"".join(values)
                left -= field.growth * len(inner)
                if field.inner is not None and inner:
                    levels.append((inner, field.inner))
    if left < 0:
        name = f" of {path}" if path else ""
        raise UnsupportedError(
            f"the {descriptor.name}{name} has {size} bytes, and decoding it would take more than {budget} bytes of "
            "memory: it holds far more messages than TensorFlow writes in so few bytes",
            path=path,
        )


def _is_dense(data: bytes, kind: _Type, budget: int) -> bool:
    """Return whether the list of the fields of a level could take more than the budget, at a string an element."""
    if len(data) * _STRING <= budget:
        return False
    firsts = {bytes((first,)) for number in kind.fields for first in _first_bytes(number << 3 | _BYTES)}
    return sum(map(data.count, firsts)) * 2 * _STRING > budget


def _first_bytes(tag: int) -> tuple[int, ...]:
    """Return the bytes with which a tag may begin; the second is that of a longer form than it needs."""
    return (tag & 127 | 128,) if tag > 127 else (tag, tag | 128)


def _type_of(descriptor: Descriptor) -> _Type:
    known = _types.get(descriptor.full_name)
    if known is not None:
        return known
    kind = _types[descriptor.full_name] = _Type()
    for field in descriptor.fields:
        described = _describe(field)
        if described.cost:
            kind.fields[field.number] = described
    return kind


def _describe(field: FieldDescriptor) -> _Field:
    # The label is deprecated in new releases of protobuf, and the only way in old ones.
    repeated = _is_repeated(field)
    if field.message_type is None:
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            return _Field(2 * _STRING if repeated else 0, 0, None)
        # Packed numbers of variable length take a byte each in the file, and up to eight in memory.
        growth = {FieldDescriptor.TYPE_BOOL: 1, FieldDescriptor.TYPE_FLOAT: 1, FieldDescriptor.TYPE_DOUBLE: 1}
        wide = field.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_SINT64)
        return _Field(_ELEMENT if repeated else 0, growth.get(field.type, 12 if wide else 6) if repeated else 0, None)
    inner = field.message_type
    if inner.GetOptions().map_entry:
        # The entry's own value is counted where it is met; a map that holds one entry has a table of its own.
        return _Field(_MAP + _ENTRY + (0 if inner.fields_by_number[2].message_type else _STRING), 0, _type_of(inner))
    return _Field(_size_of(inner) + (_ELEMENT if repeated else 0), 0, _type_of(inner))


def _is_repeated(field: FieldDescriptor) -> bool:
    known: Any = field
    if hasattr(known, "is_repeated"):
        return bool(known.is_repeated)
    return bool(known.label == FieldDescriptor.LABEL_REPEATED)


def _size_of(descriptor: Descriptor) -> int:
    strings = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    return _MESSAGE + sum(
        _STRING if field.type in strings and not _is_repeated(field) else _FIELD for field in descriptor.fields
    )


def _walk(data: bytes, kind: _Type, budget: int) -> int:
    """Return what is left of ``budget`` after all fields of a message, or a negative number where they exceed it.

    What is no message ends the walk: protobuf stops there too.
    """
    pos, end = 0, len(data)
    fields = kind.fields
    stack: list[tuple[int, dict[int, _Field]]] = []
    while True:
        if pos >= end:
            if pos > end or not stack:
                return budget
            end, fields = stack.pop()
            continue
        try:
            tag = data[pos]
            pos += 1
            if tag > 127:
                tag, pos = _varint(data, pos - 1)
            wire_type = tag & 7
            if wire_type == _BYTES:
                size = data[pos]
                pos += 1
                if size > 127:
                    size, pos = _varint(data, pos - 1)
            elif wire_type == _VARINT:
                while data[pos] > 127:
                    pos += 1
                pos += 1
                size = 0
            elif wire_type in (_FIXED64, _FIXED32):
                pos += 8 if wire_type == _FIXED64 else 4
                size = 0
            else:
                return budget
        except IndexError:
            return budget
        field = fields.get(tag >> 3)
        if field is None:
            pos += size
            continue
        budget -= field.cost + field.growth * size
        if budget < 0:
            return budget
        if field.inner is not None and wire_type == _BYTES and size:
            if len(stack) > 200:
                return budget
            stack.append((end, fields))
            end, fields = pos + size, field.inner.fields
        else:
            pos += size


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """Return a number of seven-bit groups and the position behind it; ``IndexError`` where it does not end."""
    value = shift = 0
    while data[pos] > 127:
        value |= (data[pos] & 127) << shift
        shift += 7
        pos += 1
        if shift > 63:
            raise IndexError
    return value | data[pos] << shift, pos + 1
