"""Tensors in messages, compared with what TensorFlow's C++ and Python make of the same bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.bundle_writer import DATA_TYPES, QUANTISED, encode_field, encode_shape
from tests.support.table_writer import encode_varint
from tests.support.v1_writer import encode_values
from tfbundle.errors import FormatError, TfBundleError, TruncatedError, UnsupportedError
from tfbundle.formats.wire import message_fields
from tfbundle.proto import TensorProto
from tfbundle.tensors.dtypes import data_type_name, numpy_dtype
from tfbundle.tensors.tensor_proto import decode_tensor, decode_values, find_stored_array

TYPES = sorted([*DATA_TYPES.values(), *QUANTISED])
TYPE_IDS = [data_type_name(number) for number in TYPES]
# The types that tf.io.serialize_tensor has kernels for.
SERIALIZABLE = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 17, 18, 19, 22, 23]
# The types of which tf.make_tensor_proto makes neither one value nor none: it knows no typed field for them.
WITHOUT_A_PYTHON_FIELD = [26, 27, 28]
BELOW_A_BYTE = {"int4", "uint4", "int2", "uint2"}
FLOAT, INT32, STRING, COMPLEX64, INT64, BOOL, INT4 = 1, 3, 7, 8, 9, 10, 29


def some_values(data_type: int, length: int) -> np.ndarray[Any, Any]:
    """Values of a type, the bits of floats at random: with infinities, subnormals and NaNs of both kinds."""
    random = np.random.default_rng(data_type * 1000 + length)
    dtype = numpy_dtype(data_type)
    if dtype.hasobject:
        values = np.empty(length, object)
        values[:] = [random.bytes(random.integers(0, 200)) for _ in range(length)]
        return values
    if dtype == np.bool_:
        return random.integers(0, 2, length).astype(bool)
    if dtype.name in BELOW_A_BYTE:
        return random.integers(-128, 128, length).astype(np.int8).astype(dtype)
    if dtype.name == "float4_e2m1fn":
        return random.integers(0, 16, length).astype(np.uint8).view(dtype)
    values = np.frombuffer(random.bytes(length * dtype.itemsize), dtype).copy()
    if dtype == np.float32 and length:
        values.view(np.uint32)[-1] = 0x7FA55555  # A signalling NaN.
    return values


def proto_of(data_type: int, shape: tuple[int, ...], fields: bytes) -> bytes:
    return encode_field(1, data_type) + encode_field(2, encode_shape(shape)) + fields


def decoded(data_type: int, shape: tuple[int, ...], fields: bytes) -> np.ndarray[Any, Any]:
    return decode_tensor(TensorProto.FromString(proto_of(data_type, shape, fields)))


def same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays have the same bits (and for types below a byte the same values)."""
    if one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return bool((one == other).all())
    if one.dtype.name in BELOW_A_BYTE:
        return bool((one.astype(np.int8) == other.astype(np.int8)).all())
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


@pytest.mark.parametrize("data_type", TYPES, ids=TYPE_IDS)
@pytest.mark.parametrize("length", [0, 1, 2, 60, 1000])
def test_typed_fields_give_back_what_was_written(data_type: int, length: int) -> None:
    values = some_values(data_type, length)
    array = decoded(data_type, (length,), encode_values(values, data_type))
    assert array.dtype == numpy_dtype(data_type)
    assert array.dtype.isnative
    assert not array.flags.writeable
    assert same(array, values)


@pytest.mark.parametrize("data_type", TYPES, ids=TYPE_IDS)
@pytest.mark.parametrize(
    ("shape", "length"), [((), 1), ((3,), 3), ((2, 3), 6), ((2, 3), 1), ((2, 3), 0), ((2, 3), 4), ((2, 0), 0)]
)
def test_typed_fields_as_tensorflow_decodes_them(tf: Any, data_type: int, shape: tuple[int, ...], length: int) -> None:
    data = proto_of(data_type, shape, encode_values(some_values(data_type, length), data_type))
    expected = tf.io.parse_tensor(data, tf.as_dtype(data_type)).numpy()
    if data_type == STRING:
        expected = np.array(expected, object)
    assert same(decode_tensor(TensorProto.FromString(data)), expected.reshape(shape))


@pytest.mark.parametrize("data_type", TYPES, ids=TYPE_IDS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (0, 4)])
def test_what_make_tensor_proto_makes(tf: Any, data_type: int, shape: tuple[int, ...]) -> None:
    dtype = tf.as_dtype(data_type)
    values = some_values(data_type, int(np.prod(shape))).reshape(shape)
    if values.dtype.kind in "fc":
        values = np.nan_to_num(values)  # It goes through Python's floats, which quieten NaNs.
    if data_type in QUANTISED:
        values = values.view(dtype.as_numpy_dtype)
    if data_type in WITHOUT_A_PYTHON_FIELD and values.size < 2:
        with pytest.raises(TypeError, match="not supported in TensorProto"):
            tf.make_tensor_proto(values, dtype)
        return
    proto = tf.make_tensor_proto(values, dtype)
    array = decode_tensor(TensorProto.FromString(proto.SerializeToString()))
    assert same(array, np.asarray(tf.make_ndarray(proto)))
    if data_type not in QUANTISED:
        assert same(array, values)


@pytest.mark.parametrize("data_type", SERIALIZABLE)
def test_content_as_tensorflow_serializes_it(tf: Any, data_type: int) -> None:
    values = some_values(data_type, 24).reshape(2, 3, 4)
    data = proto_of(data_type, values.shape, encode_values(values, data_type))
    tensor = tf.io.parse_tensor(data, tf.as_dtype(data_type))
    proto = TensorProto.FromString(tf.io.serialize_tensor(tensor).numpy())
    assert data_type == STRING or proto.tensor_content
    assert same(decode_tensor(proto), values)


def test_strings_in_content_are_lengths_then_bytes() -> None:
    content = encode_varint(1) + encode_varint(0) + encode_varint(200) + b"a" + b"x" * 200
    assert decoded(STRING, (3,), encode_field(4, content)).tolist() == [b"a", b"", b"x" * 200]
    for broken in (content[:-1], content + b"b", b"\x01", b"\xff\xff\xff"):
        with pytest.raises(FormatError):
            decoded(STRING, (3,), encode_field(4, broken))


def test_bools_in_content_are_true_if_not_zero() -> None:
    array = decoded(BOOL, (3,), encode_field(4, b"\0\1\2"))
    assert array.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize("data_type", TYPES, ids=TYPE_IDS)
def test_one_value_for_a_huge_shape_takes_no_memory(data_type: int) -> None:
    value = some_values(data_type, 1)
    array = decoded(data_type, (1 << 20, 1 << 20), encode_values(value, data_type))
    assert array.shape == (1 << 20, 1 << 20)
    assert array.strides == (0, 0)
    assert same(array[-1, -1:], value)
    assert not array.flags.writeable
    none = decoded(data_type, (1 << 20, 1 << 20), b"")
    assert none[5, 7] == (b"" if data_type == STRING else np.zeros((), none.dtype))


def test_several_values_for_a_huge_shape_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="would take"):
        decoded(FLOAT, (1 << 20, 1 << 20), encode_values(np.float32([1, 2]), FLOAT))


def test_integers_are_cut_to_their_low_bits(tf: Any) -> None:
    numbers = np.array([-1, 255, 256, 300, -129, 65536, 2**31 - 1, -(2**31)], np.int64)
    packed = encode_field(7, b"".join(map(encode_varint, numbers.tolist())))
    for data_type in (3, 4, 5, 6, 17, 29, 30, 31, 32):
        data = proto_of(data_type, (8,), packed)
        expected = tf.io.parse_tensor(data, tf.as_dtype(data_type)).numpy()
        assert same(decode_tensor(TensorProto.FromString(data)), expected)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
@example([-1] * 40_000 + [1] * 300_000 + [2**63 - 1] * 40_000)
def test_packed_varints_of_every_length(numbers: list[int]) -> None:
    data = encode_field(10, b"".join(map(encode_varint, numbers)))
    assert decode_values(data, 0, len(data), INT64).tolist() == numbers
    data = encode_field(11, b"".join(map(encode_varint, numbers)))
    assert decode_values(data, 0, len(data), BOOL).tolist() == [number != 0 for number in numbers]


@pytest.mark.parametrize("data_type", TYPES, ids=TYPE_IDS)
def test_fields_in_pieces_mean_the_same(data_type: int) -> None:
    one, two = some_values(data_type, 3), some_values(data_type, 4)
    first, second = encode_values(one, data_type), encode_values(two, data_type)
    if 24 <= data_type <= 28 or data_type == 33:  # Of a field that does not repeat, the last one counts.
        assert same(decoded(data_type, (4,), first + second), two)
    else:
        assert same(decoded(data_type, (7,), first + second), np.concatenate([one, two]))
    unknown = b"".join(encode_field(100 + number, b"x") for number in range(40))
    assert same(decoded(data_type, (4,), unknown + second), two)


def test_unpacked_fields_mean_the_same() -> None:
    signalling = 0x7FA55555.to_bytes(4, "little")
    tag = encode_varint(5 << 3 | 5)
    assert decoded(FLOAT, (2,), tag + signalling + tag + b"\0\0\x80\x3f").tobytes() == signalling + b"\0\0\x80\x3f"
    assert decoded(INT32, (2,), encode_field(7, 5) + encode_field(7, -1)).tolist() == [5, -1]


@pytest.mark.parametrize(
    ("data_type", "shape", "fields"),
    [
        (FLOAT, (2,), encode_values(np.float32([1, 2, 3]), FLOAT)),
        (FLOAT, (2,), encode_field(5, b"abc")),
        (COMPLEX64, (2,), encode_field(9, bytes(12))),
        (FLOAT, (2,), encode_field(4, bytes(7))),
        (FLOAT, (2,), encode_field(4, bytes(12))),
        (INT64, (2,), encode_field(10, b"\x80" * 11 + b"\x01")),
        (INT64, (300_000,), encode_field(10, b"\x80" * 299_999 + b"\x01")),
        (INT64, (2,), encode_field(10, b"\x80")),
        (FLOAT, (-1,), b""),
        (FLOAT, (1 << 62, 1 << 62), b""),
        (FLOAT, (1,) * 255, b""),
        (0, (), b""),
        (101, (), b""),
        (99, (), b""),
    ],
)
def test_what_does_not_fit_is_refused(data_type: int, shape: tuple[int, ...], fields: bytes) -> None:
    with pytest.raises((FormatError, DecodeError)):
        decoded(data_type, shape, fields)


def test_an_unknown_rank_is_refused() -> None:
    data = encode_field(1, FLOAT) + encode_field(2, encode_shape((), unknown_rank=True))
    with pytest.raises(FormatError, match="unknown rank"):
        decode_tensor(TensorProto.FromString(data))


@pytest.mark.parametrize("data_type", [20, 21])
def test_resources_and_variants_are_unsupported(data_type: int) -> None:
    for fields in (b"", encode_field(4, b"content"), encode_field(15, b"")):
        with pytest.raises(UnsupportedError):
            decoded(data_type, (2,), fields)


def test_more_dimensions_than_numpy_has_are_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="numpy has no arrays"):
        decoded(FLOAT, (1,) * 200, encode_values(np.float32([1]), FLOAT))


def test_varints_are_refused_without_protobuf_too() -> None:
    for packed, error in ((b"\x80", TruncatedError), (b"\x80" * 10 + b"\0", FormatError)):
        data = encode_field(10, packed)
        with pytest.raises(error):
            decode_values(data, 0, len(data), INT64)


def test_only_the_tags_are_needed_to_find_an_array() -> None:
    data = encode_field(99, b"xyz") + encode_values(np.zeros(1000, np.float32), FLOAT)
    field = find_stored_array(data[:12], 0, len(data), FLOAT)
    assert field is not None
    assert (field.offset, field.size) == (len(data) - 4000, 4000)
    assert find_stored_array(data, 0, len(data), INT32) is None
    assert find_stored_array(data + data, 0, 2 * len(data), FLOAT) is None
    with pytest.raises(TruncatedError):
        find_stored_array(data[:6], 0, len(data), FLOAT)


@pytest.mark.parametrize("data", [b"\x0b", b"\x00\x01", b"\x0a\x05abc", b"\x0d\0\0", b"\x80", b"\x0e"])
def test_bytes_that_are_not_a_message(data: bytes) -> None:
    with pytest.raises(FormatError):
        list(message_fields(data, 0, len(data)))


@given(st.binary(max_size=60), st.sampled_from(TYPES), st.lists(st.integers(-2, 1 << 40), max_size=3))
def test_any_bytes_give_an_array_or_our_error(data: bytes, data_type: int, shape: list[int]) -> None:
    with suppress(TfBundleError):
        decode_values(data, 0, len(data), data_type)
    try:
        proto = TensorProto.FromString(proto_of(data_type, tuple(shape), data))
    except DecodeError:
        return
    try:
        array = decode_tensor(proto)
    except TfBundleError:
        return
    assert array.size == np.prod(shape, dtype=object)
