"""Varints and ordered code: round trips, the order of the encodings, and everything that is no encoding."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import bundle_writer, table_writer
from tfbundle.errors import FormatError, TruncatedError
from tfbundle.formats import coding
from tfbundle.formats.slice_keys import FULL, decode_slice_key, encode_slice_key
from tfbundle.formats.table.reader import Table
from tfbundle.storage.local import LocalSource

UINT64 = st.integers(0, 2**64 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
# The numbers on both sides of each length of an encoding.
EDGES = [sign * ((1 << bits) + delta) for bits in range(63) for delta in (-1, 0, 1) for sign in (1, -1)]
EDGES += [2**63 - 1, -(2**63)]
NAMES = st.binary(max_size=8) | st.lists(st.sampled_from([b"\0", b"\1", b"\xff", b"\xfe", b"a"]), max_size=8).map(
    b"".join
)


# Varints.


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"\0", 0), (b"\x7f", 127), (b"\x80\1", 128), (b"\xac\2", 300), (b"\xff" * 9 + b"\1", 2**64 - 1)],
)
def test_known_varints(data: bytes, value: int) -> None:
    assert coding.decode_varint(data, 0, len(data)) == (value, len(data))


@given(UINT64, st.binary(max_size=3), st.binary(max_size=3))
def test_varint_is_read_where_it_stands(value: int, before: bytes, after: bytes) -> None:
    encoded = table_writer.encode_varint(value)
    data = before + encoded + after
    assert coding.decode_varint(data, len(before), len(data)) == (value, len(before) + len(encoded))


@given(UINT64)
def test_cut_varint_is_truncated(value: int) -> None:
    encoded = table_writer.encode_varint(value)
    for end in range(len(encoded)):
        with pytest.raises(TruncatedError) as caught:
            coding.decode_varint(encoded, 0, end)
        assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (b"\x80" * 10 + b"\0", 64),
        (b"\xff" * 10 + b"\1", 64),
        (b"\xff" * 9 + b"\2", 64),
        (b"\xff\xff\xff\xff\x10", 32),
        (b"\x80\x80\x80\x80\x80\1", 32),
        (b"\xff" * 9 + b"\1", 63),
    ],
)
def test_oversized_varint(data: bytes, bits: int) -> None:
    with pytest.raises(FormatError) as caught:
        coding.decode_varint(b"!" + data, 1, 1 + len(data), bits)
    assert caught.value.offset == 1
    assert not isinstance(caught.value, TruncatedError)


@given(st.integers(0, 2**32 - 1))
@example(2**32 - 1)
def test_bounded_varint_takes_what_fits(value: int) -> None:
    encoded = table_writer.encode_varint(value)
    assert coding.decode_varint(encoded, 0, len(encoded), 32)[0] == value


@given(st.binary(max_size=12), st.sampled_from([32, 64]))
def test_any_bytes_are_a_varint_or_an_error(data: bytes, bits: int) -> None:
    try:
        value, pos = coding.decode_varint(data, 0, len(data), bits)
    except FormatError:
        return
    assert 0 <= value < 1 << bits
    assert 0 < pos <= min(len(data), 10)


# Ordered code.


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "80"),
        (1, "81"),
        (63, "bf"),
        (64, "c040"),
        (-1, "7f"),
        (-64, "40"),
        (-65, "3fbf"),
        (8191, "dfff"),
        (8192, "e02000"),
        (2**62 - 1, "ffbfffffffffffffff"),
        (2**63 - 1, "ffc07fffffffffffffff"),
        (-(2**63), "003f8000000000000000"),
    ],
)
def test_known_signed_numbers(value: int, encoded: str) -> None:
    assert coding.encode_ordered_signed(value).hex() == encoded
    assert coding.decode_ordered_signed(bytes.fromhex(encoded), 0, len(encoded) // 2) == (value, len(encoded) // 2)


@pytest.mark.parametrize(("value", "encoded"), [(0, "00"), (1, "0101"), (255, "01ff"), (256, "020100")])
def test_known_numbers(value: int, encoded: str) -> None:
    assert coding.encode_ordered_number(value).hex() == encoded


@pytest.mark.parametrize(
    ("value", "encoded"), [(b"", "0001"), (b"v", "760001"), (b"\0", "00ff0001"), (b"\xff\0", "ff0000ff0001")]
)
def test_known_strings(value: bytes, encoded: str) -> None:
    assert coding.encode_ordered_string(value).hex() == encoded


Code = tuple[Callable[[Any], bytes], Callable[[bytes, int, int], tuple[Any, int]]]
NUMBER: Code = coding.encode_ordered_number, coding.decode_ordered_number
SIGNED: Code = coding.encode_ordered_signed, coding.decode_ordered_signed
STRING: Code = coding.encode_ordered_string, coding.decode_ordered_string
VALUES = (
    UINT64.map(lambda value: (NUMBER, value))
    | (INT64 | st.sampled_from(EDGES)).map(lambda value: (SIGNED, value))
    | NAMES.map(lambda value: (STRING, value))
)


@given(VALUES, st.binary(max_size=3), st.binary(max_size=3))
def test_ordered_code_round_trips_where_it_stands(value: tuple[Code, Any], before: bytes, after: bytes) -> None:
    (encode, decode), wanted = value
    encoded = encode(wanted)
    data = before + encoded + after
    assert decode(data, len(before), len(data)) == (wanted, len(before) + len(encoded))


@given(VALUES)
def test_cut_ordered_code_is_an_error(value: tuple[Code, Any]) -> None:
    (encode, decode), wanted = value
    encoded = encode(wanted)
    for end in range(len(encoded)):
        with pytest.raises(FormatError):
            decode(encoded, 0, end)


def test_signed_edges_round_trip_and_keep_their_order() -> None:
    encoded = [coding.encode_ordered_signed(value) for value in sorted(set(EDGES))]
    assert encoded == sorted(encoded)
    assert len(set(encoded)) == len(encoded)
    assert [coding.decode_ordered_signed(code, 0, len(code))[0] for code in encoded] == sorted(set(EDGES))
    assert encoded == [bundle_writer.ordered_signed(value) for value in sorted(set(EDGES))]


@given(st.lists(INT64 | st.sampled_from(EDGES), min_size=2))
def test_order_of_signed_numbers(values: list[int]) -> None:
    assert sorted(values) == sorted(values, key=coding.encode_ordered_signed)


@given(st.lists(UINT64, min_size=2))
def test_order_of_numbers(values: list[int]) -> None:
    assert sorted(values) == sorted(values, key=coding.encode_ordered_number)


@given(st.lists(NAMES, min_size=2))
def test_order_of_strings(values: list[bytes]) -> None:
    assert sorted(values) == sorted(values, key=coding.encode_ordered_string)
    # No encoding is the beginning of another, so that the order holds for whatever follows.
    encoded = sorted({coding.encode_ordered_string(value) for value in values})
    assert not any(after.startswith(before) for before, after in pairwise(encoded))


@pytest.mark.parametrize("decode", [NUMBER[1], SIGNED[1], STRING[1]])
@given(data=st.binary(max_size=14))
def test_any_bytes_are_the_one_code_of_a_value_or_an_error(
    decode: Callable[[bytes, int, int], tuple[Any, int]], data: bytes
) -> None:
    encode = {NUMBER[1]: NUMBER[0], SIGNED[1]: SIGNED[0], STRING[1]: STRING[0]}[decode]
    try:
        value, pos = decode(data, 0, len(data))
    except FormatError:
        return
    assert encode(value) == data[:pos]


@pytest.mark.parametrize("encoded", ["0900", "020001", "0100", "02ff"])
def test_malformed_number(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    with pytest.raises(FormatError) as caught:
        coding.decode_ordered_number(data, 0, len(data))
    assert caught.value.offset == 0


@pytest.mark.parametrize("encoded", ["6100", "61", "0002", "61ff01", "ffff0001"])
def test_malformed_string(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    with pytest.raises(FormatError) as caught:
        coding.decode_ordered_string(data, 0, len(data))
    assert caught.value.offset is not None


@pytest.mark.parametrize("encoded", ["c000", "3fff", "ffc08000000000000000", "ffe0" + "00" * 9, "0000" + "00" * 10])
def test_malformed_signed_number(encoded: str) -> None:
    """Longer forms than needed, and numbers beyond 64 bits."""
    data = bytes.fromhex(encoded)
    with pytest.raises(FormatError):
        coding.decode_ordered_signed(data, 0, len(data))


# Keys of slices.


def test_known_slice_key() -> None:
    """Row 1 of ``v`` with shape [2, 3]: its start and length, and a whole dimension."""
    key = bytes.fromhex("0076000101028181807f")
    assert encode_slice_key(b"v", [(1, 1), (0, FULL)]) == key
    assert decode_slice_key(key) == (b"v", ((1, 1), (0, FULL)))


EXTENTS = st.lists(st.tuples(st.integers(0, 2**40), st.integers(-1, 2**40)), max_size=5)


@given(NAMES, EXTENTS)
def test_slice_keys_round_trip(name: bytes, extents: list[tuple[int, int]]) -> None:
    key = encode_slice_key(name, extents)
    assert key[0] == 0
    assert key == bundle_writer.encode_slice_key(name, extents)
    assert decode_slice_key(key) == (name, tuple(extents))


@given(NAMES, EXTENTS, st.binary(min_size=1, max_size=3))
def test_longer_slice_key_is_an_error(name: bytes, extents: list[tuple[int, int]], more: bytes) -> None:
    with pytest.raises(FormatError):
        decode_slice_key(encode_slice_key(name, extents) + more)


@given(st.binary(max_size=20) | st.binary(max_size=20).map(lambda data: b"\0a\0\1" + data))
def test_any_bytes_are_a_slice_key_or_an_error(data: bytes) -> None:
    try:
        name, extents = decode_slice_key(data)
    except FormatError:
        return
    assert encode_slice_key(name, extents) == data


@pytest.mark.parametrize("key", [b"\1\1v\0\1\0", b"\0v\0\1\1\xff" + b"\x80\x80" * 255, b"\0v\0\1\x09"])
def test_malformed_slice_key(key: bytes) -> None:
    with pytest.raises(FormatError):
        decode_slice_key(key)


def test_slice_keys_are_tensorflow_s(tf: Any, tmp_path: Path) -> None:
    """Slices of a vector, with starts and lengths of one, two and three bytes."""
    bounds = [0, 1, 64, 65, 200, 8192, 20000]
    array = tf.zeros(bounds[-1], tf.uint8)
    parts = [(start, end - start) for start, end in pairwise(bounds)]
    prefix = str(tmp_path / "bundle")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["a\xff b"] * len(parts),
        shape_and_slices=[f"{bounds[-1]} {start},{length}" for start, length in parts],
        tensors=[array[start : start + length] for start, length in parts],
    )
    source = LocalSource(prefix + ".index")
    keys = [key for key in Table(source) if key[:1] == b"\0"]
    source.close()
    assert keys == [encode_slice_key("a\xff b".encode(), [part]) for part in parts]
