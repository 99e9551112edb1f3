"""V2 checkpoints whose entries, strings, data files or headers have another form than usual, or lie."""

import errno
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.arrays import DTYPES, PLAIN_DTYPES, assert_same, object_array
from tests.support.bundle_writer import (
    FULL,
    STRING,
    VARIANT,
    Saved,
    data_file,
    encode_entry,
    encode_field,
    encode_header,
    encode_slice_key,
    encode_values,
    write_bundle,
)
from tests.support.sampling import places
from tests.support.table_writer import encode_table, masked_crc
from tfbundle import ChecksumError, FormatError, MissingFileError, TfBundleError, TruncatedError, UnsupportedError
from tfbundle.checkpoint.v2.entry import decode_facts, decode_location
from tfbundle.limits import MOST_SLICES

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)

WORDS = object_array([b"one", b"", b"three\0"])


# Entries in any form that a serializer may give them.


@given(st.permutations(range(6)), st.sampled_from([(), (3,), (2, 0), (300, 5)]), st.integers(0, 300))
def test_entry_fields_in_any_order(order: list[int], shape: tuple[int, ...], offset: int) -> None:
    size = int(np.prod(shape)) * 4
    dims = b"".join(encode_field(2, encode_field(1, length)) for length in shape)
    fields = [
        encode_field(1, 1),
        encode_field(2, dims),
        encode_field(3, 2),
        encode_field(4, offset),
        encode_field(5, size),
        b"\x35\1\2\3\4",
    ]
    value = b"".join(fields[number] for number in order)
    facts = decode_facts(value)
    assert facts == (1, shape, ())
    assert decode_location(value, facts) == (2, offset, size, 0x04030201)
    for more in (b"\xf8\x06\x2a", b"\xf2\x06\x03new"):
        assert decode_facts(value + more) == facts
        assert decode_facts(more + value) == facts
        assert decode_location(value + more, facts) == (2, offset, size, 0x04030201)


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda data: b"\x08\1\x12\4\x12\2\x08\3" + data))
def test_any_bytes_are_an_entry_or_an_error(data: bytes) -> None:
    try:
        facts = decode_facts(data)
        decode_location(data, facts)
    except (FormatError, UnsupportedError):
        return
    assert all(length >= 0 for length in facts.shape)


# Entries that are inconsistent.


def corrupt(saved: Any = MATRIX, **lies: Any) -> Saved:
    return Saved(saved, lies=lies)


HALVES = [((0, 3), FULL), ((3, 3), FULL)]

LIES: dict[str, tuple[Saved, type[TfBundleError], str]] = {
    "checksum": (corrupt(crc=7), ChecksumError, "CRC-32C"),
    "checksum of nothing": (corrupt(crc=None), ChecksumError, "CRC-32C"),
    "offset of other bytes": (corrupt(offset=0), ChecksumError, "CRC-32C"),
    "offset at the end": (corrupt(offset=10_000), TruncatedError, "bytes are needed|are needed"),
    "offset into the end": (corrupt(offset=170), TruncatedError, "are needed"),
    "offset of 2^62": (corrupt(offset=1 << 62), TruncatedError, "are needed"),
    "offset of 2^63 - 1": (corrupt(offset=(1 << 63) - 1), TruncatedError, "are needed"),
    "negative offset": (corrupt(offset=-1), FormatError, "offset -1"),
    "least offset": (corrupt(offset=-(1 << 63)), FormatError, "offset -"),
    "size less": (corrupt(size=92), FormatError, "92 bytes"),
    "size more": (corrupt(size=97), FormatError, "97 bytes"),
    "size zero": (corrupt(size=0), FormatError, "0 bytes"),
    "negative size": (corrupt(size=-96), FormatError, "size -96"),
    "size of 2^62": (corrupt(size=1 << 62), FormatError, "bytes"),
    "shape less": (corrupt(shape=(6, 3)), FormatError, "96 bytes"),
    "shape more": (corrupt(shape=(6, 5)), FormatError, "96 bytes"),
    "shape without elements": (corrupt(shape=(0,)), FormatError, "96 bytes"),
    "negative shape": (corrupt(shape=(-6, 4)), FormatError, "-6"),
    "twice negative shape": (corrupt(shape=(-6, -4)), FormatError, "-6"),
    "shape of one unknown": (corrupt(shape=(-1,)), FormatError, "-1"),
    "unknown rank": (corrupt(unknown_rank=True), FormatError, "unknown rank"),
    "huge shape": (corrupt(shape=(1 << 40,), size=1 << 42), TruncatedError, "are needed"),
    "shape that overflows": (corrupt(shape=(1 << 40, 1 << 40), size=0), FormatError, "more elements"),
    "shape that overflows to the size": (corrupt(shape=(1 << 62, 4, 6)), FormatError, "more elements"),
    "empty shape that overflows": (corrupt(shape=(1 << 62, 1 << 62, 0), size=0), FormatError, "more elements"),
    "255 dimensions": (corrupt(shape=(1,) * 255), FormatError, "255 dimensions"),
    "dtype 0": (corrupt(dtype=0), FormatError, "data type"),
    "dtype 999": (corrupt(dtype=999), FormatError, "data type"),
    "dtype -1": (corrupt(dtype=-1), FormatError, "data type"),
    "dtype of a reference": (corrupt(dtype=101), FormatError, "data type"),
    "dtype resource": (corrupt(dtype=20), UnsupportedError, "DT_RESOURCE"),
    "dtype of another size": (corrupt(dtype=2), FormatError, "DT_DOUBLE"),
    "dtype string": (corrupt(dtype=STRING), FormatError, "24 strings"),
    "dtype variant": (corrupt(dtype=VARIANT), FormatError, "variants? "),
    "shard 1 of 1": (corrupt(shard=1), FormatError, "shard 1"),
    "shard of 2^31 - 1": (corrupt(shard=(1 << 31) - 1), FormatError, "shard 2147483647"),
    "negative shard": (corrupt(shard=-1), FormatError, "shard -1"),
    "not a message": (corrupt(raw=b"\xff"), FormatError, "BundleEntryProto"),
    "wrong wire types": (corrupt(raw=b"\x08"), FormatError, "BundleEntryProto"),
    "no message at all": (corrupt(raw=b""), FormatError, "data type"),
    "strings: size less": (corrupt(WORDS, size=10), FormatError, "do not fit"),
    "strings: size more": (corrupt(WORDS, size=1000), TruncatedError, "are needed"),
    "strings: size of 2^62": (corrupt(WORDS, size=1 << 62), TruncatedError, "are needed"),
    "strings: no size": (corrupt(WORDS, size=0), TruncatedError, "0 bytes"),
    "strings: a million of them": (corrupt(WORDS, shape=(1_000_000,)), TruncatedError, "1000000 strings"),
    "strings: 2^40 of them": (corrupt(WORDS, shape=(1 << 40,)), TruncatedError, "strings"),
    "strings: one more": (corrupt(WORDS, shape=(4,)), FormatError, "4 strings|varint"),
    "strings: one less": (corrupt(WORDS, shape=(2,)), FormatError, "2 strings"),
    "strings: none": (corrupt(WORDS, shape=(0,)), FormatError, "0 strings"),
    "strings: checksum": (corrupt(WORDS, crc=7), ChecksumError, "CRC-32C"),
    "strings: read as floats": (corrupt(WORDS, dtype=1), FormatError, "DT_FLOAT"),
    "slice absent": (Saved(MATRIX, slices=HALVES, slice_lies={1: {"raw": None}}), FormatError, r"region \[3:6, 0:4\]"),
    "slices all absent": (corrupt(slices=HALVES), FormatError, r"region \[0:6, 0:4\]"),
    "slices that leave a hole": (corrupt(slices=HALVES[:1]), FormatError, "region"),
    "slices that overlap": (
        Saved(MATRIX, slices=[((0, 4), FULL), ((3, 3), FULL)]),
        FormatError,
        r"\[0:4, 0:4\] and \[3:6, 0:4\] overlap",
    ),
    "slice outside of the tensor": (
        Saved(MATRIX, slices=HALVES, lies={"slices": [HALVES[0], ((3, 4), FULL)]}),
        FormatError,
        "4 elements from index 3",
    ),
    "slice with a negative start": (corrupt(slices=[((-1, 3), FULL)]), FormatError, "from index -1"),
    "slice with a negative length": (corrupt(slices=[((0, -3), FULL)]), FormatError, "-3 elements"),
    "slice of another rank": (corrupt(slices=[((0, 3),)]), FormatError, "1 dimension,"),
    "slice of another shape": (
        Saved(MATRIX, slices=HALVES, slice_lies={0: {"shape": (4, 3)}}),
        FormatError,
        "another type or shape",
    ),
    "slice of another type": (
        Saved(MATRIX, slices=HALVES, slice_lies={0: {"dtype": 3}}),
        FormatError,
        "another type or shape",
    ),
    "slice with slices of its own": (
        Saved(MATRIX, slices=HALVES, slice_lies={0: {"slices": HALVES, "shape": (6, 4)}}),
        FormatError,
        "another type or shape",
    ),
    "slice's entry is no message": (
        Saved(MATRIX, slices=HALVES, slice_lies={0: {"raw": b"\xff"}}),
        FormatError,
        "BundleEntryProto",
    ),
    "slice's checksum": (Saved(MATRIX, slices=HALVES, slice_lies={1: {"crc": 7}}), ChecksumError, "CRC-32C"),
    "slice's offset": (Saved(MATRIX, slices=HALVES, slice_lies={1: {"offset": 1 << 40}}), TruncatedError, "needed"),
    "slice's shard": (Saved(MATRIX, slices=HALVES, slice_lies={1: {"shard": 9}}), FormatError, "shard 9"),
    "slice's size": (Saved(MATRIX, slices=HALVES, slice_lies={1: {"size": 4}}), FormatError, "4 bytes"),
    "slices of a shape that overflows": (
        corrupt(shape=(1 << 62, 1 << 62), slices=[((0, 1 << 62), (0, 1 << 62))]),
        FormatError,
        "more elements",
    ),
    "slices of a huge tensor": (
        Saved(MATRIX, slices=HALVES, lies={"shape": (1 << 40, 4)}),
        FormatError,
        "region",
    ),
}


@pytest.mark.parametrize("case", LIES)
def test_entry_that_lies(tmp_path: Path, case: str) -> None:
    saved, error_class, message = LIES[case]
    prefix = tmp_path / "b"
    write_bundle(prefix, {"a": MATRIX * 2, "lie": saved, "z": WORDS})
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert list(checkpoint) == ["a", "lie", "z"]
        tensor = checkpoint["lie"]
        assert "lie" in repr(tensor)
        with pytest.raises(error_class, match=message) as caught:
            tensor.read()
        error = caught.value
        assert error.tensor == "lie"
        assert "lie" in str(error)
        assert error.path is not None
        assert error.path.startswith(str(prefix))
        assert error.path in str(error)
        if isinstance(error, ChecksumError):
            assert error.path == str(data_file(prefix))
            assert error.shard == 0
            assert error.offset is not None
            assert error.expected != error.actual
        if isinstance(error, TruncatedError):
            assert error.path == str(data_file(prefix))
            assert error.offset is not None
        # Its neighbours are none the worse for it.
        assert_same(checkpoint["a"].read(), MATRIX * 2)
        assert_same(checkpoint["z"].read(), WORDS)
    for names in (None, ["lie"]):
        for mmap in (False, True):
            with pytest.raises(error_class, match=message):
                tfbundle.load(prefix, names=names, mmap=mmap)
    assert list(tfbundle.load(prefix, names=["a", "z"])) == ["a", "z"]


@pytest.mark.parametrize("case", LIES)
def test_lies_stay_errors_without_verification(tmp_path: Path, case: str) -> None:
    saved, error_class, _ = LIES[case]
    write_bundle(tmp_path / "b", {"lie": saved})
    with tfbundle.open_checkpoint(tmp_path / "b", verify=False) as checkpoint:
        tensor = checkpoint["lie"]
        if error_class is ChecksumError:
            assert tensor.read().shape == saved.array.shape
            return
        with pytest.raises(error_class):
            tensor.read()


@pytest.mark.parametrize("case", [case for case, (_, error, _) in LIES.items() if error is not ChecksumError])
def test_parts_of_what_lies(tmp_path: Path, case: str) -> None:
    saved, error_class, _ = LIES[case]
    write_bundle(tmp_path / "b", {"lie": saved})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        with pytest.raises(error_class) as caught:
            checkpoint["lie"][...]
        assert caught.value.tensor == "lie"


def test_verification_off_gives_the_bytes_that_are_there(tmp_path: Path) -> None:
    (place,) = write_bundle(tmp_path / "b", {"v": MATRIX})["v"]
    data = bytearray(data_file(tmp_path / "b").read_bytes())
    data[place.offset + 3] ^= 0xFF
    data_file(tmp_path / "b").write_bytes(data)
    with pytest.raises(ChecksumError) as caught:
        tfbundle.load(tmp_path / "b")
    assert caught.value.offset == place.offset
    found = tfbundle.load(tmp_path / "b", verify=False)["v"]
    assert found.tobytes() == bytes(data)


# Strings and variants, whose bytes have a form of their own.


def string_payload(count: int, lengths: bytes, tail: bytes, hashed: bytes) -> tuple[bytes, Saved]:
    """The bytes of a string tensor put together by hand, under an honest checksum."""
    data = lengths + tail
    array = np.frombuffer(data, np.uint8)
    return data, Saved(array, lies={"dtype": STRING, "shape": (count,), "crc": masked_crc(hashed + tail)})


@pytest.mark.parametrize(
    ("count", "lengths", "elements", "error_class"),
    [
        (2, b"\1\2", b"abc", None),
        (2, b"\1\3", b"abc", FormatError),
        (2, b"\1\1", b"abc", FormatError),
        (1, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", b"abc", FormatError),
        (1, b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", b"abc", FormatError),
        (3, b"\x80\x80\x80", b"", FormatError),
    ],
)
def test_lengths_of_strings(
    tmp_path: Path, count: int, lengths: bytes, elements: bytes, error_class: type[TfBundleError] | None
) -> None:
    hashed = b"".join(length.to_bytes(4, "little") for length in lengths[:count])
    tail = masked_crc(hashed).to_bytes(4, "little") + elements
    _, saved = string_payload(count, lengths, tail, hashed)
    write_bundle(tmp_path / "b", {"s": saved})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        if error_class is None:
            assert checkpoint["s"].read().tolist() == [b"a", b"bc"]
            return
        with pytest.raises(error_class) as caught:
            checkpoint["s"].read()
        assert (caught.value.tensor, caught.value.shard) == ("s", 0)
        assert caught.value.path == str(data_file(tmp_path / "b"))


def test_inner_checksum_of_strings(tmp_path: Path) -> None:
    """The lengths have a checksum of their own, which a reader of the outer one alone would not hold to them."""
    hashed = b"\1\0\0\0\2\0\0\0"
    _, saved = string_payload(2, b"\1\2", b"\0\0\0\0abc", hashed)
    write_bundle(tmp_path / "b", {"s": saved})
    with pytest.raises(ChecksumError, match="lengths") as caught:
        tfbundle.load(tmp_path / "b")
    assert caught.value.offset == 2
    assert tfbundle.load(tmp_path / "b", verify=False)["s"].tolist() == [b"a", b"bc"]


def test_every_damaged_byte_of_strings(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"s": WORDS})
    good = data_file(tmp_path / "b").read_bytes()
    for place, bit in itertools.product(places(len(good)), (1, 0x80)):
        data = bytearray(good)
        data[place] ^= bit
        data_file(tmp_path / "b").write_bytes(data)
        with pytest.raises(FormatError):
            tfbundle.load(tmp_path / "b")


def variant_message(type_name: bytes, metadata: bytes) -> bytes:
    return encode_field(1, type_name) + encode_field(2, metadata)


VARIANTS = object_array([variant_message(b"one", b"\1"), variant_message(b"two", bytes(200))])


def test_variants_are_messages(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(VARIANTS, data_type=VARIANT)})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        tensor = checkpoint["v"]
        assert tensor.dtype == object
        assert tensor.data_type == "DT_VARIANT"
        array = tensor.read()
        assert [element.type_name for element in array] == ["one", "two"]
        assert [element.metadata for element in array] == [b"\1", bytes(200)]
        assert tensor[1].type_name == "two"


def test_every_damaged_byte_of_variants(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(VARIANTS, data_type=VARIANT)})
    good = data_file(tmp_path / "b").read_bytes()
    for place in places(len(good)):
        data = bytearray(good)
        data[place] ^= 0x81
        data_file(tmp_path / "b").write_bytes(data)
        with pytest.raises(FormatError) as caught:
            tfbundle.load(tmp_path / "b")
        assert caught.value.tensor == "v"


@pytest.mark.parametrize(
    ("lies", "error_class"),
    [
        ({"shape": (3,)}, TruncatedError),
        ({"shape": (1,)}, FormatError),
        ({"shape": (1 << 40,)}, TruncatedError),
        ({"shape": (0,)}, FormatError),
        ({"size": 10}, TruncatedError),
        ({"crc": 7}, ChecksumError),
    ],
)
def test_variants_that_lie(tmp_path: Path, lies: dict[str, Any], error_class: type[TfBundleError]) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(VARIANTS, data_type=VARIANT, lies=lies)})
    with pytest.raises(error_class) as caught:
        tfbundle.load(tmp_path / "b")
    assert caught.value.tensor == "v"


def test_variant_that_is_not_a_message(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(object_array([b"\xff"]), data_type=VARIANT)})
    with pytest.raises(FormatError, match="VariantTensorDataProto"):
        tfbundle.load(tmp_path / "b")


def test_big_endian_variants_are_unsupported(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(VARIANTS, data_type=VARIANT), "f": MATRIX}, byteorder="big")
    with pytest.raises(UnsupportedError, match="big-endian") as caught:
        tfbundle.load(tmp_path / "b")
    assert caught.value.tensor == "v"
    assert_same(tfbundle.load(tmp_path / "b", names="f")["f"], MATRIX)


# Shards.


def test_absent_shard(tmp_path: Path) -> None:
    parts = Saved(MATRIX, slices=HALVES, shards=[0, 1])
    tensors = {"here": MATRIX, "gone": Saved(WORDS, shards=[1]), "parts": parts}
    write_bundle(tmp_path / "b", tensors, num_shards=2, leave_out=[1])
    gone = str(data_file(tmp_path / "b", 1, 2))
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for name in ("gone", "parts"):
            assert checkpoint[name].shape == (tensors[name].array if name == "parts" else WORDS).shape
            with pytest.raises(MissingFileError) as caught:
                checkpoint[name].read()
            error = caught.value
            assert (error.errno, error.filename, error.path) == (errno.ENOENT, gone, gone)
            assert (error.tensor, error.shard) == (name, 1)
            assert gone in str(error)
        assert_same(checkpoint["here"].read(), MATRIX)
        assert_same(checkpoint["parts"][:2], MATRIX[:2])
    with pytest.raises(FileNotFoundError):
        tfbundle.load(tmp_path / "b")
    assert_same(tfbundle.load(tmp_path / "b", names=["here"])["here"], MATRIX)


def test_a_folder_in_the_place_of_a_shard(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, leave_out=[0])
    data_file(tmp_path / "b").mkdir()
    with pytest.raises(FormatError, match="a folder"):
        tfbundle.load(tmp_path / "b")


@pytest.mark.parametrize("size", [0, 1, 95])
def test_shard_that_was_cut_short(tmp_path: Path, size: int) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX})
    data_file(tmp_path / "b").write_bytes(MATRIX.tobytes()[:size])
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for call in (
            lambda: tfbundle.load(tmp_path / "b"),
            lambda: tfbundle.load(tmp_path / "b", mmap=True),
            checkpoint["v"].read,
            lambda: checkpoint["v"][-1],
            lambda: list(checkpoint["v"].chunks()),
        ):
            with pytest.raises(TruncatedError, match=str(size)) as caught:
                call()
            assert (caught.value.tensor, caught.value.shard, caught.value.offset) == ("v", 0, 0)
            assert caught.value.path == str(data_file(tmp_path / "b"))


# Headers.


@pytest.mark.parametrize(
    "header",
    [
        encode_header(producer=None),
        encode_header(producer=0),
        encode_header(producer=99),
        encode_header(min_consumer=1),
        encode_header(bad_consumers=[0, 2]),
        encode_header() + b"\xf2\x06\x03new",
    ],
)
def test_headers_that_are_read(tmp_path: Path, header: bytes) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=header)
    assert_same(tfbundle.load(tmp_path / "b")["v"], MATRIX)


@pytest.mark.parametrize("header", [encode_header(min_consumer=2), encode_header(min_consumer=99)])
def test_newer_format(tmp_path: Path, header: bytes) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=header)
    with pytest.raises(UnsupportedError, match=r"version (2|99)") as caught:
        tfbundle.open_checkpoint(tmp_path / "b")
    assert caught.value.path == str(tmp_path / "b.index")


def test_reader_of_this_version_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=encode_header(bad_consumers=[1]))
    with pytest.raises(UnsupportedError):
        tfbundle.open_checkpoint(tmp_path / "b")


@pytest.mark.parametrize(
    "header",
    [
        b"\xff",
        b"\x08",
        encode_header(num_shards=-1),
        encode_header(num_shards=2**31 - 1),
        encode_field(1, 1) + encode_field(2, 2),
        encode_field(1, 1) + encode_field(2, -1),
        encode_field(3, b"\xff"),
    ],
)
def test_malformed_header(tmp_path: Path, header: bytes) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=header)
    with pytest.raises(FormatError) as caught:
        tfbundle.open_checkpoint(tmp_path / "b")
    assert caught.value.path == str(tmp_path / "b.index")


@pytest.mark.parametrize("byteorder", [3, -1, -871_999_960])
@pytest.mark.parametrize("num_shards", [0, -5, 2**31 - 1])
def test_a_header_that_was_never_filled_in(tmp_path: Path, byteorder: int, num_shards: int) -> None:
    """Old writers left it as they found it, which matters where there are tensors alone; TensorFlow lists none."""
    fields = encode_field(1, num_shards & 0xFFFFFFFFFFFFFFFF) + encode_field(2, byteorder & 0xFFFFFFFFFFFFFFFF)
    write_bundle(tmp_path / "b", {}, header=fields + encode_field(3, b""))
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert dict(checkpoint) == {}
        assert "v" not in checkpoint
    assert tfbundle.load(tmp_path / "b") == {}
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=fields + encode_field(3, b""))
    with pytest.raises(FormatError, match="byte order"):
        tfbundle.open_checkpoint(tmp_path / "b")


def test_many_shards_that_are_not_there(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=encode_header(num_shards=1 << 20))
    with pytest.raises(MissingFileError, match="of-1048576"):
        tfbundle.load(tmp_path / "b")


def test_bundles_without_tensors(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {}, num_shards=0)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert list(checkpoint) == []
        assert checkpoint
    assert tfbundle.load(tmp_path / "b") == {}


def test_stored_bytes_are_those_of_the_format() -> None:
    """The examples of the string form: two elements, and none at all."""
    data, crc = encode_values(object_array([b"a", b"bc"]), STRING)
    assert data[:2] == b"\1\2"
    assert data[6:] == b"abc"
    assert crc == masked_crc(b"\1\0\0\0\2\0\0\0" + data[2:])
    assert encode_values(object_array([]), STRING)[0].hex() == "d8ea82a2"
    assert encode_entry(dtype=1) == b"\x08\1\x12\0"
    assert len(PLAIN_DTYPES) == len(DTYPES) - 1


@pytest.mark.parametrize("count", [MOST_SLICES, MOST_SLICES + 1])
def test_too_many_slices_are_an_error_of_their_tensor_alone(tmp_path: Path, count: int) -> None:
    """The entries of its slices are no tensors, and others can be listed and read."""
    boxes = [((number, 1),) for number in range(count)]
    pairs = {
        b"": encode_header(num_shards=1),
        encode_slice_key(b"x", boxes[0]): encode_entry(dtype=1, shape=(1,)),
        b"a": encode_entry(dtype=1, shape=(0,)),
        b"x": encode_entry(dtype=1, shape=(count,), slices=boxes),
    }
    (tmp_path / "m.index").write_bytes(encode_table(pairs))
    (tmp_path / "m.data-00000-of-00001").write_bytes(b"")
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert list(checkpoint) == ["a", "x"]
        assert checkpoint["a"].shape == (0,)
        if count > MOST_SLICES:
            with pytest.raises(UnsupportedError, match="are not read") as caught:
                checkpoint["x"].shape  # noqa: B018
            assert caught.value.tensor == "x"
        else:
            assert len(checkpoint["x"].slices) == count
