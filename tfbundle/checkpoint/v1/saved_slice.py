"""The values in the table of a V1 checkpoint: each is a ``SavedTensorSlices`` message, the meta or one slice.

Numbers are those of the fields (TensorFlow, ``core/util/saved_tensor_slice.proto``)::

    ""          1 meta     1 tensor, repeated    1 name   2 shape   3 type   4 slice, repeated
                           2 versions
    slice key   2 data     1 name   2 slice   3 data: a TensorProto without type and shape

The outer messages are parsed by hand. A slice may have hundreds of megabytes, which protobuf would copy level by level;
and protobuf rejects a name that is not UTF-8, which TensorFlow writes. A slice in a form that serializers do not write
is parsed by protobuf first.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError
from tfbundle.formats.slice_keys import Extent
from tfbundle.formats.wire import BYTES, Field, message_fields
from tfbundle.proto import SavedSliceMeta, SavedTensorSlices, TensorSliceProto, VersionDef
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.shapes import decode_shape
from tfbundle.tensors.slices import check_count, decode_extents
from tfbundle.tensors.tensor_proto import decode_values, find_stored_array

_META = SavedTensorSlices.META_FIELD_NUMBER
_DATA = SavedTensorSlices.DATA_FIELD_NUMBER
_TENSOR, _VERSIONS = 1, 2
_NAME, _SLICE, _VALUES = 1, 2, 3
# A statement of more bytes than this has many slices, or a very long name.
_LONG_STATEMENT = 4 << 10


class Meta(NamedTuple):
    """The description of a file: the name of each tensor with its statement, and the versions."""

    statements: list[tuple[bytes, bytes]]
    versions: VersionDef


class Statement(NamedTuple):
    """The description of a tensor in one file: ``DataType`` number, whole shape, and the slices in the file."""

    data_type: int
    shape: tuple[int, ...]
    slices: tuple[tuple[Extent, ...], ...]


def decode_meta(value: bytes) -> Meta:
    """Return the decoded value of the empty key; raise ``FormatError`` if it is not a meta."""
    statements = []
    versions = []
    metas = [
        field for field in message_fields(value, 0, len(value)) if (field.number, field.wire_type) == (_META, BYTES)
    ]
    if value and not metas:
        raise FormatError(
            "the value of the empty key is not a SavedTensorSliceMeta; the table is not that of a V1 checkpoint"
        )
    for outer in metas:
        for field in message_fields(value, outer.offset, outer.offset + outer.size):
            if field.wire_type == BYTES and field.number == _TENSOR:
                statements.append(_split_name(value, field))
            elif field.wire_type == BYTES and field.number == _VERSIONS:
                versions.append(value[field.offset : field.offset + field.size])
    try:
        # Concatenated messages are merged.
        return Meta(statements, VersionDef.FromString(b"".join(versions)))
    except DecodeError:
        raise FormatError("the versions in the meta are not a VersionDef") from None


def _split_name(value: bytes, statement: Field) -> tuple[bytes, bytes]:
    """Return the name in a ``SavedSliceMeta``, and the message without it."""
    name = b""
    rest = []
    start, end = statement.offset, statement.offset + statement.size
    if statement.size > _LONG_STATEMENT:
        # Thousands of slices follow, which protobuf passes over sooner. Its last name counts, if there are several.
        first = next(message_fields(value, start, end))
        behind = value[first.offset + first.size : end]
        with suppress(FormatError):
            if (first.number, first.wire_type) == (_NAME, BYTES) and not _parse_statement(behind).name:
                return value[first.offset : first.offset + first.size], behind
    for field in message_fields(value, start, end):
        stop = field.offset + field.size
        if field.number == _NAME and field.wire_type == BYTES:
            name = value[field.offset : stop]
        else:
            rest.append(value[start:stop])
        start = stop
    return name, b"".join(rest)


def count_slices(statement: bytes) -> int:
    """Return the number of slices in a statement, 20 times as fast as decoding them; raise as decoding does."""
    return len(_parse_statement(statement).slice)


def _parse_statement(statement: bytes) -> SavedSliceMeta:
    try:
        return SavedSliceMeta.FromString(statement)
    except DecodeError:
        raise FormatError("its description in the meta is not a SavedSliceMeta") from None


def decode_statement(statement: bytes) -> Statement:
    """Return type, shape and slices of a ``SavedSliceMeta`` without name; raise ``FormatError`` if it is invalid."""
    meta = _parse_statement(statement)
    shape = decode_shape(meta.shape)
    check_count(meta.slice, len(shape))
    return Statement(meta.type, shape, tuple(map(decode_extents, meta.slice)))


def decode_slice(value: bytes, name: bytes, extents: tuple[Extent, ...], data_type: int, length: int) -> Array:
    """Return the ``length`` elements of a slice, in a row; the array may be a read-only view of ``value``.

    Raises ``FormatError`` if the value is not that of the slice with this name and these extents, or has more or fewer
    elements. No element may be left out, unlike in other ``TensorProto`` messages.
    """
    span = _find_tensor(value, len(value), name, extents)
    if span is None:
        try:
            message = SavedTensorSlices.FromString(value)
        except DecodeError:
            raise FormatError("the value of its slice is not a SavedTensorSlices") from None
        message.DiscardUnknownFields()
        value = message.SerializeToString()
        span = _find_tensor(value, len(value), name, extents) or (0, 0)
    elements = decode_values(value, *span, data_type)
    if len(elements) != length:
        raise FormatError(f"its slice holds {len(elements)} values for {length} elements")
    return elements


def find_slice_array(
    head: bytes, size: int, name: bytes, extents: tuple[Extent, ...], data_type: int, nbytes: int
) -> int | None:
    """Return the offset of a slice's array in its value of ``size`` bytes, given the first bytes of the value.

    Return ``None`` if the elements are stored in another form or the value is invalid; ``decode_slice`` then reads
    them or raises the error.
    """
    try:
        span = _find_tensor(head, size, name, extents)
        field = find_stored_array(head, *span, data_type) if span else None
    except FormatError:
        return None
    return field.offset if field is not None and field.size == nbytes else None


def _find_tensor(value: bytes, size: int, name: bytes, extents: tuple[Extent, ...]) -> tuple[int, int] | None:
    """Return the start and end of the ``TensorProto`` in a value of ``size`` bytes; ``value`` may be its first bytes.

    Return ``None`` if the messages around it are not in the form that serializers write.
    """
    outer = _fields_once(value, 0, size)
    inner = _fields_once(value, *_span(outer, _DATA)) if outer is not None else None
    if inner is None:
        return None
    start, end = _span(inner, _NAME)
    stored = value[start:end]
    if stored != name:
        raise FormatError(f"under the key of its slice stands a slice of {stored!r}")
    start, end = _span(inner, _SLICE)
    try:
        places = decode_extents(TensorSliceProto.FromString(value[start:end]))
    except DecodeError:
        raise FormatError("the place of its slice is not a TensorSliceProto") from None
    if places != extents:
        raise FormatError("under the key of its slice stands another slice")
    return _span(inner, _VALUES)


def _fields_once(data: bytes, pos: int, end: int) -> dict[int, Field] | None:
    """Return the fields of a message by number, or ``None`` if one is repeated or of an unexpected wire type."""
    found: dict[int, Field] = {}
    for field in message_fields(data, pos, end):
        if field.number in found or field.wire_type != BYTES:
            return None
        found[field.number] = field
    return found


def _span(fields: dict[int, Field], number: int) -> tuple[int, int]:
    """From where to where a field's value goes; an absent field is an empty one, as protobuf has it."""
    field = fields.get(number)
    return (field.offset, field.offset + field.size) if field is not None else (0, 0)
