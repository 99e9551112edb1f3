"""``TensorProto``, a tensor inside a message, as a numpy array.

Constants of a graph, values of an event and slices of a V1 checkpoint are stored this way (TensorFlow,
``core/framework/tensor.proto``). Elements are in one of two places::

    tensor_content   the bytes of the array, row by row; strings as [length: varint]* [bytes]*
    a typed field    the one for the data type: packed floats, packed varints, raw bytes, strings

A typed field may have fewer elements than the shape requires: the last one is then repeated, and an empty field means
zeros.

Typed fields are decoded from their serialized bytes with numpy. That is fast for the hundreds of megabytes
that a V1 checkpoint may hold in one, and exact: a Python float would turn a signalling NaN into a quiet one.
Unusual serializations (an unpacked field, or one in several parts) are normalised by protobuf first.
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError, TruncatedError, UnsupportedError
from tfbundle.formats.coding import decode_varint
from tfbundle.formats.wire import BYTES, Field, message_fields
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH, LONGEST_VARINT
from tfbundle.plurals import plural
from tfbundle.proto import TensorProto
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, data_type_name, numpy_dtype
from tfbundle.tensors.shapes import decode_shape

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]

# Varints are decoded in stretches, so that the intermediate arrays of eight bytes per element stay small.
_STRETCH = 1 << 18

# The steps that join the eight groups of seven bits in a 64-bit word: first in pairs, then in fours, then all.
_ALL_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
_PUSHES = tuple(
    (np.uint64(low), np.uint64(high), np.uint64(shift))
    for low, high, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)

# The field that contains the elements of a data type, for the types that are not in ``int_val``.
_VALUE_FIELDS = {
    "DT_FLOAT": TensorProto.FLOAT_VAL_FIELD_NUMBER,
    "DT_DOUBLE": TensorProto.DOUBLE_VAL_FIELD_NUMBER,
    "DT_COMPLEX64": TensorProto.SCOMPLEX_VAL_FIELD_NUMBER,
    "DT_COMPLEX128": TensorProto.DCOMPLEX_VAL_FIELD_NUMBER,
    "DT_INT64": TensorProto.INT64_VAL_FIELD_NUMBER,
    "DT_UINT32": TensorProto.UINT32_VAL_FIELD_NUMBER,
    "DT_UINT64": TensorProto.UINT64_VAL_FIELD_NUMBER,
    "DT_BOOL": TensorProto.BOOL_VAL_FIELD_NUMBER,
    "DT_HALF": TensorProto.HALF_VAL_FIELD_NUMBER,
    "DT_BFLOAT16": TensorProto.HALF_VAL_FIELD_NUMBER,
    "DT_FLOAT8_E5M2": TensorProto.FLOAT8_VAL_FIELD_NUMBER,
    "DT_FLOAT8_E4M3FN": TensorProto.FLOAT8_VAL_FIELD_NUMBER,
    "DT_FLOAT8_E4M3FNUZ": TensorProto.FLOAT8_VAL_FIELD_NUMBER,
    "DT_FLOAT8_E4M3B11FNUZ": TensorProto.FLOAT8_VAL_FIELD_NUMBER,
    "DT_FLOAT8_E5M2FNUZ": TensorProto.FLOAT8_VAL_FIELD_NUMBER,
    "DT_FLOAT4_E2M1FN": TensorProto.FLOAT8_VAL_FIELD_NUMBER,
}
# The fields whose bytes are the array's; complex numbers are pairs of floats. All others contain varints.
_STORED_AS_BYTES = {
    TensorProto.FLOAT_VAL_FIELD_NUMBER,
    TensorProto.DOUBLE_VAL_FIELD_NUMBER,
    TensorProto.SCOMPLEX_VAL_FIELD_NUMBER,
    TensorProto.DCOMPLEX_VAL_FIELD_NUMBER,
    TensorProto.FLOAT8_VAL_FIELD_NUMBER,
}


def decode_tensor(proto: TensorProto) -> Array:
    """Return the array in a message; it is read-only, so that it may share the message's bytes.

    An array that repeats a single value, such as the zeros of a huge constant, is a broadcast view (its
    strides are 0) and takes no memory; ``.copy()`` makes it a plain, writable array, of ``.nbytes`` bytes.

    Raises ``FormatError`` if type, shape and elements are inconsistent. Raises ``UnsupportedError`` for resources and
    variants, for a shape that numpy does not support, and for an array that states several of its elements and leaves
    out far more (``limits.LARGEST_EXPANSION``).
    """
    dtype = _array_dtype(proto.dtype)
    shape = decode_shape(proto.tensor_shape)
    count = prod(shape)
    if not count:
        values = np.empty(0, dtype)
    elif proto.tensor_content:
        values = _decode_content(proto.tensor_content, dtype, count)
    else:
        data = proto.SerializeToString()
        values = decode_values(data, 0, len(data), proto.dtype)
        if len(values) > count:
            raise FormatError(f"a tensor of shape {list(shape)} holds {len(values)} values for its {count} elements")
    try:
        array = _repeat_last(values, count, shape)
    except ValueError:
        raise UnsupportedError(f"numpy has no arrays of shape {list(shape)}") from None
    array.flags.writeable = False
    return array


def _array_dtype(data_type: int) -> np.dtype[Any]:
    dtype = numpy_dtype(data_type)
    if data_type == DT_VARIANT:
        raise UnsupportedError(f"an element of {data_type_name(data_type)} is an object of a program, and has no array")
    return dtype


def _repeat_last(values: Array, count: int, shape: tuple[int, ...]) -> Array:
    if len(values) == count:
        return values.reshape(shape)
    if not len(values):
        values = np.array([b""], object) if values.dtype.hasobject else np.zeros(1, values.dtype)
    if len(values) == 1:
        return np.broadcast_to(values.reshape((1,) * len(shape)), shape)
    most = max(LARGEST_EXPANSION, values.nbytes * LARGEST_EXPANSION_GROWTH)
    if count * values.dtype.itemsize > most:
        raise UnsupportedError(
            f"a tensor of shape {list(shape)} states only {len(values)} of its elements, and would take "
            f"{count * values.dtype.itemsize} bytes; more than {most} are not made up"
        )
    array = np.empty(count, values.dtype)
    array[: len(values)] = values
    array[len(values) :] = values[-1]
    return array.reshape(shape)


def _decode_content(content: bytes, dtype: np.dtype[Any], count: int) -> Array:
    if dtype.hasobject:
        return _decode_strings(content, count)
    if len(content) != count * dtype.itemsize:
        stored, elements = plural(len(content), "byte"), plural(count, "element")
        raise FormatError(f"a tensor holds {stored} for {elements} of {plural(dtype.itemsize, 'byte')}")
    return _view(content, 0, len(content), dtype)


def _decode_strings(content: bytes, count: int) -> Array:
    """Return the strings that TensorFlow's ``EncodeStringList`` packed: all lengths, then all bytes."""
    end = len(content)
    if count > end:
        raise TruncatedError(f"{count} strings need more than the {end} bytes that exist")
    lengths = []
    pos = 0
    for _ in range(count):
        length, pos = decode_varint(content, pos, end, 32)
        lengths.append(length)
    if pos + sum(lengths) != end:
        raise FormatError(f"{count} strings with {sum(lengths)} bytes do not fit the {end} bytes that exist")
    array = np.empty(count, object)
    for i, length in enumerate(lengths):
        array[i] = content[pos : pos + length]
        pos += length
    return array


def decode_values(data: bytes, pos: int, end: int, data_type: int) -> Array:
    """Return the elements in the typed field of a serialized ``TensorProto``, ``data[pos:end]``, all in a row.

    The message's own type and shape are ignored. Integers are truncated to the low bits of their type, as in
    TensorFlow. The array may be a read-only view of ``data``. Raises ``FormatError`` if the bytes are not a
    ``TensorProto``, and ``UnsupportedError`` for a type without an array form.
    """
    dtype = _array_dtype(data_type)
    if data_type == DT_STRING:
        strings = _decode_proto(data[pos:end]).string_val
        array = np.empty(len(strings), object)
        array[:] = list(strings)
        return array
    number = _VALUE_FIELDS.get(data_type_name(data_type), TensorProto.INT_VAL_FIELD_NUMBER)
    try:
        found = _find_once(data, pos, end, number)
    except _Unusual:
        proto = _decode_proto(data[pos:end])
        proto.DiscardUnknownFields()  # One may have the same number with another wire type.
        data = proto.SerializeToString()
        pos, end = 0, len(data)
        found = _find_once(data, pos, end, number)
    if found is None:
        return np.empty(0, dtype)
    if number not in _STORED_AS_BYTES:
        return _decode_varints(np.frombuffer(data, np.uint8, found.size, found.offset), dtype)
    if found.size % dtype.itemsize:
        raise FormatError(f"{found.size} bytes of values are not a multiple of {dtype.itemsize}", offset=found.offset)
    return _view(data, found.offset, found.size, dtype)


def find_stored_array(data: bytes, pos: int, end: int, data_type: int) -> Field | None:
    """Return the field whose bytes are exactly the array of elements, or ``None`` if there is no such field.

    ``data`` may end anywhere after the tags of the fields.
    """
    number = _VALUE_FIELDS.get(data_type_name(data_type))
    if number not in _STORED_AS_BYTES or sys.byteorder == "big":
        return None
    try:
        return _find_once(data, pos, end, number)
    except _Unusual:
        return None


class _Unusual(Exception):
    """A field has a form that protobuf must normalise."""


def _find_once(data: bytes, pos: int, end: int, wanted: int) -> Field | None:
    found = None
    for field in message_fields(data, pos, end):
        if field.number == wanted:
            if found is not None or field.wire_type != BYTES:
                raise _Unusual
            found = field
    return found


def _decode_proto(data: bytes) -> TensorProto:
    try:
        return TensorProto.FromString(data)
    except DecodeError:
        raise FormatError("its value is not a TensorProto") from None


def _view(data: bytes, offset: int, size: int, dtype: np.dtype[Any]) -> Array:
    """Return stored little-endian bytes as an array of ``dtype``."""
    raw = np.frombuffer(data, np.uint8, size, offset)
    if dtype == np.bool_:
        return np.not_equal(raw, 0)  # Only the bytes 0 and 1 are valid as a numpy bool.
    if sys.byteorder == "big" and dtype.itemsize > 1:
        part = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
        raw = raw.reshape(-1, part)[:, ::-1].reshape(-1)
    return raw.view(dtype)


def _decode_varints(data: _Bytes, dtype: np.dtype[Any]) -> Array:
    """Return packed varints as elements of ``dtype``."""
    if len(data) and data[-1] >= 0x80:
        raise TruncatedError("a varint runs past the end of its field")
    count = sum(int(np.count_nonzero(data[i : i + _STRETCH] < 0x80)) for i in range(0, len(data), _STRETCH))
    array = np.empty(count, dtype)
    done = start = 0
    while start < len(data):
        stretch = data[start : start + _STRETCH]
        ends = np.flatnonzero(stretch < 0x80)
        if not len(ends):
            raise FormatError("a varint is longer than ten bytes", offset=start)
        # The last varint of a stretch may continue after it.
        stretch = stretch[: ends[-1] + 1]
        start += len(stretch)
        array[done : done + len(ends)] = _narrow(_join_groups(stretch, ends, dtype), dtype)
        done += len(ends)
    return array


def _join_groups(data: _Bytes, ends: np.ndarray[Any, np.dtype[np.intp]], dtype: np.dtype[Any]) -> Array:
    """Return the varints with their last bytes at ``ends``, as unsigned numbers with the low bits of ``dtype``.

    Eight bytes are fetched from the start of each varint, truncated to its length, and their groups of seven bits are
    joined pairwise. Only numbers of 64 bits have more bytes; bits above these are dropped, as in protobuf.
    """
    if len(ends) == len(data):
        return data
    starts = np.empty_like(ends)
    starts[0] = 0
    np.add(ends[:-1], 1, out=starts[1:])
    lengths = ends - starts + 1
    longest = lengths.max()
    if longest > LONGEST_VARINT:
        raise FormatError("a varint is longer than ten bytes")
    padded = np.concatenate((data, np.zeros(7, np.uint8)))
    # The eight bytes from every byte on, without a copy.
    words = np.ndarray(len(data), "<u8", padded, strides=(1,))
    values: Array = words[starts].astype(np.uint64, copy=False)
    values &= _ALL_ONES >> (64 - 8 * np.minimum(lengths, 8)).astype(np.uint64)
    for low, high, shift in _PUSHES:
        values = (values & low) | ((values & high) >> shift)
    if longest > 8 and (dtype.itemsize == 8 or dtype == np.bool_):
        for group in (8, 9):
            rest = np.flatnonzero(lengths > group)
            values[rest] |= (data[starts[rest] + group] & 0x7F).astype(np.uint64) << np.uint64(7 * group)
    return values


def _narrow(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return unsigned numbers as elements of ``dtype``: their low bits, which for 16-bit floats are the float's."""
    if dtype == np.bool_:
        nonzero: Array = values != 0
        return nonzero
    if dtype.kind in "iu":
        return values.astype(dtype)
    # The remaining types are 16-bit floats and the integers of ml_dtypes.
    if dtype.itemsize == 2:
        return values.astype(np.uint16).view(dtype)
    return values.astype(np.int8).astype(dtype)
