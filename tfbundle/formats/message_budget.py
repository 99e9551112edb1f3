"""Estimate the memory that a serialized message takes before protobuf decodes it.

An empty node takes two bytes in a file and a hundred in memory, and protobuf cannot decode only a part of a message.
``check_message`` therefore estimates the memory first, and rejects messages that exceed ``FREE_MESSAGE_MEMORY`` plus
``LARGEST_MESSAGE_GROWTH`` times the size of the message::

    small           a message of up to _SMALL bytes cannot exceed it       no estimate is made
    level by level  protobuf itself splits a level into the bytes of its   at the speed of C
                    fields; those of one type, joined, are the next level
    sample          of many messages in a list, some drawn at random       if the estimate is close to the budget,
                    represent all; if their sizes leave too many bytes     ten times as many are drawn
                    unexplained, all large ones and some small ones
    stretches       if even the list of a level's fields could exceed the  a regular expression finds where fields end
                    budget, a few thousand fields are split at a time

Joining works because the concatenated bytes of several messages are one message with the fields of all. Costs follow
the layout of protobuf's C runtime (upb): 8 bytes per field, 16 per string, a pointer for each message in a list, lists
that double as they grow, and a hash table for each map.

A crafted file cannot predict the sample. The total size of a list is known, while the size of each of its messages
costs a Python object. The drawn messages therefore have to account for the list: bytes beyond their mean size, less
four standard errors, are charged at the largest growth of any message. A few large messages that are not drawn stay
unexplained. Those that are drawn widen the error by more than they explain. If that charge is too high, all sizes are
listed and all large messages counted; the others are small and grow by a bounded factor.

Of a message that costs twice its budget, at least thirty costly parts are drawn on average, and it is accepted only if
fewer than half of them are drawn.
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

# The densest messages of TensorFlow take about a hundred times their bytes. With the Python objects for each function,
# empty functions take six hundred times theirs.
_LARGEST_GROWTH = 128
_SMALL = FREE_MESSAGE_MEMORY // 1024

# Bytes of memory: of a message without its fields, a field, a string, an element of a list of pointers (which has up to
# twice the room that it needs), a map, and an entry of one.
_MESSAGE = 16
_FIELD = 8
_STRING = 16
_ELEMENT = 16
_MAP = 64
_ENTRY = 48
# Bytes of Python objects that are made for each message of a type; TensorFlow writes none of these that takes less than
# a hundred bytes in the file.
_OBJECTS = {"FunctionDef": 1024, "MetaGraphDef": 512}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Lists of more than _MANY times as many messages as are drawn are sampled. A second sample decides if the first is
# close to the budget. The mean size of the drawn messages is trusted to _DEVIATIONS standard errors. A small message
# has no more than _SMALL_PART bytes, or twice the mean.
_MANY = 4
_DRAWN = 2000
_DRAWN_AGAIN = 20_000
_DEVIATIONS = 4
_SMALL_PART = 512
# The number of bytes that are drawn to find out whether a level may be dense.
_DRAWN_BYTES = 1 << 16
# The number of bytes that are split at a time of a level that is dense.
_STRETCH_SIZE = 1 << 16

# A few thousand consecutive fields with one-byte tags that are numbers or no longer than 31 bytes.
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
    """The cost of one occurrence of a field, the additional cost of each of its bytes, and the type of its messages."""

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
    # A separate pool, so that the schema cannot collide with those of other programs.
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

    Bytes that are not a message of the type are checked as far as they can be split; decoding reports the error.
    """
    size = len(data)
    if size <= _SMALL:
        return
    budget = FREE_MESSAGE_MEMORY + LARGEST_MESSAGE_GROWTH * size
    descriptor: Any = message_class.DESCRIPTOR
    kind = _type_of(descriptor)
    whole = bytes(data)
    if not _exceeds(whole, kind, budget // 8 * 7, _DRAWN) or not _exceeds(whole, kind, budget, _DRAWN_AGAIN):
        return
    name = f" of {path}" if path else ""
    raise UnsupportedError(
        f"the {descriptor.name}{name} has {size} bytes, and decoding it would take more than {budget} bytes of "
        "memory: it contains far more messages than TensorFlow writes in so few bytes",
        path=path,
    )


class _Level(NamedTuple):
    """The joined fields of messages of one type; each message represents ``weight`` messages like it."""

    data: bytes
    kind: _Type
    depth: int
    weight: float


def _exceeds(data: bytes, kind: _Type, budget: int, draws: int) -> bool:
    """Return whether a message costs more than ``budget``, as far as it can be split; of long lists, by ``draws``."""
    left: float = budget - len(data)
    levels = [_Level(data, kind, 1, 1.0)]
    while levels:
        level = levels.pop()
        if level.depth > DEEPEST_NESTING:
            continue  # Protobuf rejects it.
        inner: dict[int, list[_Level]] = {}
        stretches = _stretches(level.data) if _is_dense(level.data, level.kind, budget) else (level.data,)
        for stretch in stretches:
            try:
                parts = level.kind.split(stretch)
            except DecodeError:
                break  # From here on the bytes are not a message, and will not be decoded either.
            for number, field in level.kind.fields.items():
                values = getattr(parts, f"f{number}")
                if not values:
                    continue
                left -= field.cost * len(values) * level.weight
                if left < 0:
                    return True
                if field.inner is not None:
                    groups: Iterable[tuple[Sequence[bytes], float]] = ((values, 1.0),)
                    if len(values) > _MANY * draws:
                        drawn = _draw(values, draws)
                        unseen = _unseen(drawn, len(values), len(stretch)) * _LARGEST_GROWTH * level.weight
                        if unseen < left / 2:
                            left -= unseen
                            groups = ((drawn, len(values) / draws),)
                        else:
                            groups = _sample(values, draws)
                    for values_part, weight in groups:
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
    """Yield the levels, with stretches of the same weight merged."""
    by_weight: dict[float, list[_Level]] = {}
    for level in levels:
        by_weight.setdefault(level.weight, []).append(level)
    for group in by_weight.values():
        yield group[0] if len(group) == 1 else group[0]._replace(data=b"".join(level.data for level in group))


def _draw(values: Sequence[bytes], draws: int) -> list[bytes]:
    """Return some messages of a list, drawn at random; one may be drawn more than once."""
    import numpy as np

    return [values[index] for index in np.random.default_rng().integers(0, len(values), draws).tolist()]


def _unseen(drawn: Sequence[bytes], count: int, size: int) -> float:
    """Return how many of the ``size`` bytes of ``count`` messages are not explained by the sizes of the ``drawn``."""
    import numpy as np

    sizes = np.fromiter(map(len, drawn), np.int64, len(drawn))
    seen = count * (sizes.mean() - _DEVIATIONS * sizes.std() / len(drawn) ** 0.5)
    # Each message also has a tag and a length.
    return max(0.0, size - 2 * count - float(seen))


def _sample(values: Sequence[bytes], draws: int) -> Iterator[tuple[Sequence[bytes], float]]:
    """Yield large messages and some small ones, with the number of messages in the list that each represents."""
    import numpy as np

    sizes = np.fromiter(map(len, values), np.int64, len(values))
    is_large = sizes > max(_SMALL_PART, 2 * int(sizes.mean()))
    large, small = np.flatnonzero(is_large).tolist(), np.flatnonzero(~is_large)
    yield [values[index] for index in large], 1.0
    if len(small):
        drawn = np.random.default_rng().choice(small, draws)
        yield [values[index] for index in drawn.tolist()], len(small) / draws


def _is_dense(data: bytes, kind: _Type, budget: int) -> bool:
    """Return whether the list of a level's fields could take more than the budget, with one string per field."""
    if len(data) * _STRING <= budget:
        return False
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    # To exceed a budget of at least eight times the size, fields must have at most four bytes on average, with tag and
    # length. At least a third of them must then have a length of at most two, which is a byte in the data: a twelfth of
    # all bytes. Of bytes that are drawn at random, a thirteenth is six standard deviations below that.
    drawn = array[np.random.default_rng().integers(0, len(data), _DRAWN_BYTES)]
    if budget >= LARGEST_MESSAGE_GROWTH * len(data) and np.count_nonzero(drawn <= 2) * 13 < _DRAWN_BYTES:
        return False
    firsts = {first for number in kind.fields for first in _first_bytes(number << 3 | _BYTES)}
    return sum(int(np.count_nonzero(array == first)) for first in firsts) * 2 * _STRING > budget


def _stretches(data: bytes) -> Iterator[bytes]:
    """Yield the fields of a level, some thousand bytes at a time, up to the first bytes that are not a field."""
    start = pos = 0
    while pos < len(data):
        match = _STRETCH.match(data, pos)
        try:
            pos = _field_end(data, pos) if match is None else match.end()
        except IndexError:
            break
        if pos - start >= _STRETCH_SIZE:
            yield data[start:pos]
            start = pos
    if pos > start:
        yield data[start:pos]


def _field_end(data: bytes, pos: int) -> int:
    """Return the end of a field; ``IndexError`` if it continues past the end of the data or is not a field."""
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
    """Return the bytes with which a tag may begin; the second is that of a longer form than necessary."""
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
    # The label is deprecated in new releases of protobuf, but the only way in old ones.
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
        # The entry's value is counted at its own level; even a map of one entry has a hash table.
        return _Field(_MAP + _ENTRY + (0 if inner.fields_by_number[2].message_type else _STRING), 0, _type_of(inner))
    cost = _size_of(inner) + (_ELEMENT if repeated else 0) + _OBJECTS.get(inner.name, 0)
    return _Field(cost, 0, _type_of(inner))


def _is_repeated(field: FieldDescriptor) -> bool:
    known: Any = field
    if hasattr(known, "is_repeated"):
        return bool(known.is_repeated)
    return bool(known.label == FieldDescriptor.LABEL_REPEATED)


def _size_of(descriptor: Descriptor) -> int:
    strings = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    # The members of a oneof share one slot, and a number identifies the one that is set.
    alone = [field for field in descriptor.fields if field.containing_oneof is None]
    return (
        _MESSAGE
        + (_STRING + _FIELD) * len(descriptor.oneofs)
        + sum(_STRING if field.type in strings and not _is_repeated(field) else _FIELD for field in alone)
    )


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """Return a varint and the position after it; ``IndexError`` if it does not end."""
    value = shift = 0
    while data[pos] > 127:
        value |= (data[pos] & 127) << shift
        shift += 7
        pos += 1
        if shift > 63:
            raise IndexError
    return value | data[pos] << shift, pos + 1
