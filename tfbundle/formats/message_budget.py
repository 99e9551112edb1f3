"""What a serialized message will cost in memory, before protobuf decodes it.

An empty node takes two bytes in a file and a hundred in memory, and protobuf decodes a message as a whole or not at
all. ``check_message`` therefore estimates first, and refuses what exceeds ``FREE_MESSAGE_MEMORY`` plus
``LARGEST_MESSAGE_GROWTH`` times the size of the message::

    small           no message of up to _SMALL bytes can exceed it         nothing is looked at
    level by level  protobuf itself splits a level into the bytes of its   at the speed of C
                    fields; those of one type, joined, are the next level
    sample          of many messages in a list all large ones and some     where this comes close to the budget, all
                    small ones, drawn at random, stand for all             of them are counted
    stretches       where even the list of a level's fields could exceed   a regular expression finds where fields end
                    the budget, a few thousand fields are split at a time

Joining works because the bytes of several messages in a row are one message, with the fields of all. Costs follow the
layout of protobuf's C runtime (upb): 8 bytes a field, 16 for a string, a pointer for each message in a list, lists that
double as they grow, and a hash table for each map.

Nobody can foresee what a sample will draw, and what it leaves out is small and grows by a bounded factor. Of a message
that costs twice its budget, at least thirty costly parts are drawn on average, and it is accepted only if fewer than
half of them turn up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from tfbundle.errors import UnsupportedError
from tfbundle.limits import DEEPEST_NESTING, FREE_MESSAGE_MEMORY, LARGEST_MESSAGE_GROWTH

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

# Lists of more messages than this are sampled, and so many of the small ones drawn. A small message has no more bytes
# than this, or than twice the mean.
_MANY = 10_000
_DRAWN = 2000
_SMALL_PART = 512

# Some thousand fields in a row that have tags of a byte and are numbers, or no longer than 31 bytes.
_STRETCH = re.compile(
    b"(?:[%s](?:%s)|[%s][\x80-\xff]{0,9}[\0-\x7f]){1,4096}"
    % (
        b"".join(re.escape(bytes((number << 3 | _BYTES,))) for number in range(1, 16)),
        b"|".join(re.escape(bytes((size,))) + b".{%d}" % size for size in range(32)),
        b"".join(re.escape(bytes((number << 3 | _VARINT,))) for number in range(1, 16)),
    ),
    re.DOTALL,
)


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
    kind = _type_of(descriptor)
    whole = bytes(data)
    likely = budget // 8 * 7
    if not _exceeds(whole, kind, likely, sampled=True) or not _exceeds(whole, kind, budget, sampled=False):
        return
    name = f" of {path}" if path else ""
    raise UnsupportedError(
        f"the {descriptor.name}{name} has {size} bytes, and decoding it would take more than {budget} bytes of "
        "memory: it holds far more messages than TensorFlow writes in so few bytes",
        path=path,
    )


class _Level(NamedTuple):
    """Fields of one type, those of many messages in a row; each stands for ``weight`` messages like it."""

    data: bytes
    kind: _Type
    depth: int
    weight: float


def _exceeds(data: bytes, kind: _Type, budget: int, *, sampled: bool) -> bool:
    """Return whether a message costs more than ``budget``, as far as it can be split."""
    left: float = budget - len(data)
    levels = [_Level(data, kind, 1, 1.0)]
    while levels:
        level = levels.pop()
        if level.depth > DEEPEST_NESTING:
            continue  # Protobuf refuses it.
        inner: dict[int, list[_Level]] = {}
        stretches = _stretches(level.data) if _is_dense(level.data, level.kind, budget) else (level.data,)
        for stretch in stretches:
            try:
                parts = level.kind.split(stretch)
            except DecodeError:
                break  # It is no message from here on, and is not decoded either.
            for number, field in level.kind.fields.items():
                values = getattr(parts, f"f{number}")
                if not values:
                    continue
                left -= field.cost * len(values) * level.weight
                if left < 0:
                    return True
                if field.inner is not None:
                    for values_part, weight in _sample(values) if sampled else ((values, 1.0),):
                        joined = b"".join(values_part)
                        if joined:
                            found = _Level(joined, field.inner, level.depth + 1, level.weight * weight)
                            inner.setdefault(number, []).append(found)
                elif field.growth:
                    left -= field.growth * sum(map(len, values)) * level.weight
        for found_levels in inner.values():
            levels += _merge(found_levels)
    return left < 0


def _merge(levels: list[_Level]) -> Iterator[_Level]:
    """Return the levels with the stretches of one weight in one."""
    by_weight: dict[float, list[_Level]] = {}
    for level in levels:
        by_weight.setdefault(level.weight, []).append(level)
    for group in by_weight.values():
        yield group[0] if len(group) == 1 else group[0]._replace(data=b"".join(level.data for level in group))


def _sample(values: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], float]]:
    """Return messages of a list, and for how many of the list each of them stands."""
    count = len(values)
    if count <= _MANY:
        yield values, 1.0
        return
    import numpy as np

    sizes = np.fromiter(map(len, values), np.int64, count)
    is_large = sizes > max(_SMALL_PART, 2 * int(sizes.mean()))
    large, small = np.flatnonzero(is_large).tolist(), np.flatnonzero(~is_large)
    yield [values[index] for index in large], 1.0
    if len(small):
        drawn = np.random.default_rng().choice(small, _DRAWN)
        yield [values[index] for index in drawn.tolist()], len(small) / _DRAWN


def _is_dense(data: bytes, kind: _Type, budget: int) -> bool:
    """Return whether the list of the fields of a level could take more than the budget, at a string an element."""
    if len(data) * _STRING <= budget:
        return False
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    # Then fields have four bytes on average, with tag and length, as a budget is at least eight times the size. At
    # least a third of them has to be of no more than two bytes besides, and to say so.
    if budget >= LARGEST_MESSAGE_GROWTH * len(data) and np.count_nonzero(array <= 2) * 12 < len(data):
        return False
    firsts = {first for number in kind.fields for first in _first_bytes(number << 3 | _BYTES)}
    return sum(int(np.count_nonzero(array == first)) for first in firsts) * 2 * _STRING > budget


def _stretches(data: bytes) -> Iterator[bytes]:
    """Return the fields of a level, some thousand at a time; it ends where something is no field."""
    pos = 0
    while pos < len(data):
        match = _STRETCH.match(data, pos)
        try:
            end = _field_end(data, pos) if match is None else match.end()
        except IndexError:
            return
        yield data[pos:end]
        pos = end


def _field_end(data: bytes, pos: int) -> int:
    """Return where a field ends; ``IndexError`` where it runs past the end, or is none."""
    tag, pos = _varint(data, pos)
    wire_type = tag & 7
    size = 0
    if wire_type == _VARINT:
        _, pos = _varint(data, pos)
    elif wire_type == _BYTES:
        size, pos = _varint(data, pos)
    elif wire_type in (_FIXED64, _FIXED32):
        size = 8 if wire_type == _FIXED64 else 4
    else:
        raise IndexError
    if pos + size > len(data):
        raise IndexError
    return pos + size


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
    # The members of a oneof share one place, and a number says which of them it is.
    alone = [field for field in descriptor.fields if field.containing_oneof is None]
    return (
        _MESSAGE
        + (_STRING + _FIELD) * len(descriptor.oneofs)
        + sum(_STRING if field.type in strings and not _is_repeated(field) else _FIELD for field in alone)
    )


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
