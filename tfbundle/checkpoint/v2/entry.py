"""The value that a bundle's index stores under a tensor's name: ``BundleEntryProto``, decoded and checked.

Two steps, because a listing of a hundred thousand tensors needs shapes alone. ``decode_facts`` gives type, shape and
slices; ``decode_location`` returns the place of the bytes, and rejects a size that does not match the shape. TensorFlow
writes an entry's fields in order, type and shape first::

    08 dtype | 12 n [shape, n bytes] | 18 shard | 20 offset | 28 size | 35 crc32c, 4 bytes LE

so that tensors of the same type and shape share their first bytes, and these are decoded once. An entry in any other
form goes through protobuf with the same result.
"""

from __future__ import annotations

import re
from math import prod
from typing import NamedTuple

from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.limits import LARGEST_ENTRY
from tfbundle.plurals import plural
from tfbundle.proto import BundleEntryProto
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, data_type_name, numpy_dtype
from tfbundle.tensors.shapes import decode_shape
from tfbundle.tensors.slices import check_count, decode_extents, locate_slice
from tfbundle.tensors.store import Facts

# Fields 3 to 6 in order, each at most once. It does not match an entry with slices.
_VARINT = rb"[\x80-\xff]*[\0-\x7f]"
_LOCATION = re.compile(
    rb"(?:\x18" + _VARINT + rb")?(?:\x20" + _VARINT + rb")?(?:\x28" + _VARINT + rb")?(?:\x35.{4})?", re.DOTALL
)

_match_location = _LOCATION.fullmatch

# Types and shapes that were met, by the first bytes of their entries. A model has few.
_HEADS_KEPT = 4096
_heads: dict[bytes, Facts] = {}


class Location(NamedTuple):
    """The place of a tensor's bytes: shard, offset and size in bytes, and their masked CRC-32C."""

    shard: int
    offset: int
    size: int
    crc: int


def decode_facts(value: bytes) -> Facts:
    """Type, shape and slices; raises ``FormatError`` where they are not a tensor's."""
    if len(value) > 4:
        head = value[: 4 + value[3]]
        facts = head_facts(head)
        if facts is not None and _match_location(value, len(head)):
            return facts
    return _facts(_decode_entry(value))


def head_facts(head: bytes) -> Facts | None:
    """Return the decoded first ``4 + value[3]`` bytes of an entry, or ``None`` if they are not a type and a shape.

    Raises ``FormatError`` where they are, and no tensor has them.
    """
    facts = _heads.get(head)
    if facts is None and head[0] == 0x08 and head[1] < 0x80 and head[2] == 0x12 and head[3] < 0x80:
        facts = _facts(_decode_entry(head))
        if len(_heads) >= _HEADS_KEPT:
            _heads.clear()
        _heads[head] = facts
    return facts


def decode_location(value: bytes, facts: Facts) -> Location:
    """Return the place of the bytes of an unpartitioned tensor; raise ``FormatError`` if it is invalid."""
    entry = _decode_entry(value)
    location = Location(entry.shard_id, entry.offset, entry.size, entry.crc32c)
    if location.offset < 0 or location.size < 0:
        raise FormatError(f"its entry states offset {location.offset} and size {location.size}")
    if facts.data_type not in (DT_STRING, DT_VARIANT):
        wanted = prod(facts.shape) * numpy_dtype(facts.data_type).itemsize
        if location.size != wanted:
            raise FormatError(
                f"its entry states {plural(location.size, 'byte')}, but {data_type_name(facts.data_type)} of shape "
                f"{list(facts.shape)} takes {wanted}"
            )
    return location


def _decode_entry(value: bytes) -> BundleEntryProto:
    """Return the message itself; raises ``FormatError`` if the bytes are not one."""
    if len(value) > LARGEST_ENTRY:
        raise UnsupportedError(f"its entry has {len(value)} bytes, and more than {LARGEST_ENTRY} are not read")
    try:
        return BundleEntryProto.FromString(value)
    except DecodeError:
        raise FormatError("its entry is not a BundleEntryProto") from None


def _facts(entry: BundleEntryProto) -> Facts:
    shape = decode_shape(entry.shape)
    check_count(entry.slices, len(shape))
    return Facts(entry.dtype, shape, tuple(locate_slice(decode_extents(box), shape) for box in entry.slices))
