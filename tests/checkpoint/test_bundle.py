"""V2 checkpoints: compared with TensorFlow and numpy, and entries that are inconsistent."""

import hashlib
import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfbundle
from tests.support.arrays import DTYPES, assert_same, object_array, sample_array
from tests.support.bundle_writer import (
    FULL,
    QUANTISED,
    Saved,
    data_file,
    encode_entry,
    encode_header,
    encode_slice_key,
    write_bundle,
)
from tests.support.expected import Expected, expected_checkpoints, numpy_name, sha256_of
from tests.support.sampling import IS_EXHAUSTIVE
from tests.support.strategies import Extents, indexes, tilings
from tests.support.table_writer import encode_table
from tfbundle import FormatError, UnsupportedError
from tfbundle.checkpoint.v2 import index as index_module
from tfbundle.checkpoint.v2.entry import decode_facts
from tfbundle.limits import MOST_BYTES_A_KEY_BYTE, MOST_OPEN_FILES
from tfbundle.tensors.tensor_proto import decode_tensor

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
WORDS = object_array([b"one", b"", b"three\0"])
EXPECTED = list(expected_checkpoints("v2"))


# What TensorFlow read from the fixtures.


def test_there_are_fixtures() -> None:
    assert len(EXPECTED) > 40


@pytest.mark.parametrize("expected", EXPECTED, ids=str)
def test_fixture(expected: Expected) -> None:
    if expected.error is not None:
        with pytest.raises(UnsupportedError):
            tfbundle.open_checkpoint(expected.path)
        return
    with tfbundle.open_checkpoint(expected.path) as checkpoint:
        assert checkpoint.format == "v2"
        assert set(checkpoint) == set(expected.tensors)
        for name, tensor in checkpoint.items():
            check_expected(tensor, expected.tensors[name])


def check_expected(tensor: tfbundle.Tensor, wanted: Mapping[str, Any]) -> None:
    """Hold a tensor against what TensorFlow said of it."""
    assert list(tensor.whole_shape) == wanted["shape"]
    assert tensor.dtype.name == numpy_name(wanted["dtype"])
    if tensor.region is not None:
        # TensorFlow reads a part by its slice alone; tests of parts compare the values.
        assert "error" in wanted
        assert tensor.read().shape == tensor.shape == tensor.region.lengths
        return
    if "sha256" not in wanted and "error" in wanted:
        # Slices are absent. TensorFlow refuses too, but does not say which.
        with pytest.raises(FormatError, match=r"region \[\d+:\d+, \d+:\d+\]") as caught:
            tensor.read()
        assert caught.value.tensor == tensor.name
        return
    array = tensor.read()
    assert list(array.shape) == wanted["shape"]
    assert array.dtype == tensor.dtype
    if "variants" in wanted:
        assert [describe_variant(element) for element in array.ravel()] == wanted["variants"]
    elif "sha256_as_int8" in wanted:
        assert sha256_of(array, as_int8=True) == wanted["sha256_as_int8"]
    else:
        assert sha256_of(array) == wanted["sha256"]


def describe_variant(element: Any) -> dict[str, Any]:
    tensors = [decode_tensor(proto) for proto in element.tensors]
    return {
        "type_name": element.type_name,
        "metadata_sha256": hashlib.sha256(element.metadata).hexdigest(),
        "tensors": [
            {
                "dtype": "string" if array.dtype == object else array.dtype.name,
                "shape": list(array.shape),
                "sha256": sha256_of(array),
            }
            for array in tensors
        ],
    }


# What the installed TensorFlow writes and reads.


def tensorflow_values(tf: Any, name: str, array: np.ndarray[Any, Any]) -> Any:
    """A tensor with an array's bits, of a type of TensorFlow's that numpy may lack."""
    if name.startswith(("qint", "quint")):
        return tf.bitcast(tf.constant(array), tf.as_dtype(name))
    return tf.constant(array, dtype=tf.as_dtype("string" if name == "object" else name))


QUANTISED_NAMES = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "qint16": "int16", "quint16": "uint16"}


@pytest.mark.parametrize("name", [*DTYPES, *QUANTISED_NAMES])
def test_what_tensorflow_writes(tf: Any, tmp_path: Path, name: str) -> None:
    """Plain and partitioned; two bundles with one part each are merged to two shards."""
    if not hasattr(tf.dtypes, "string" if name == "object" else name) and not hasattr(tf.dtypes.experimental, name):
        pytest.skip(f"this TensorFlow has no {name}")
    stored = QUANTISED_NAMES.get(name, name)
    array = sample_array(stored, (5, 3), seed=1)
    scalar = sample_array(stored, (), seed=2)
    parts = []
    for number, (start, stop) in enumerate([(0, 2), (2, 5)]):
        part = str(tmp_path / f"part{number}")
        plain = {"plain": array, "scalar": scalar} if number else {"empty": array[:0]}
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=[*plain, "parts"],
            shape_and_slices=[""] * len(plain) + [f"5 3 {start},{stop - start}:-"],
            tensors=[tensorflow_values(tf, name, value) for value in (*plain.values(), array[start:stop])],
        )
        parts.append(part)
    prefix = str(tmp_path / "merged")
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False)

    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert list(checkpoint) == ["empty", "parts", "plain", "scalar"]
        assert_same(checkpoint["plain"].read(), array)
        assert_same(checkpoint["scalar"].read(), scalar)
        assert_same(checkpoint["empty"].read(), array[:0])
        assert_same(checkpoint["parts"].read(), array)
        assert_same(checkpoint["parts"][1:4, ::-1], array[1:4, ::-1])
        assert len(checkpoint["parts"].slices) == 2
        assert (
            checkpoint["plain"].data_type
            == "DT_"
            + {"object": "string", "float16": "half"}.get(
                name, {"float32": "float", "float64": "double"}.get(name, name)
            ).upper()
        )


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_tensorflow_reads_what_the_tests_write(tf: Any, tmp_path: Path, byteorder: str) -> None:
    """The writer of these tests is no better than what TensorFlow makes of its files."""
    names = ["float32", "int64", "bfloat16", "complex64", "bool", "object", "float64", "int8"]
    arrays = {name: sample_array(name, (4, 3), seed=3) for name in names}
    saved = {name: Saved(array, shards=[number % 3]) for number, (name, array) in enumerate(arrays.items())}
    boxes = [((0, 1), FULL), ((1, 3), (0, 2)), ((1, 3), (2, 1))]
    saved["parts"] = Saved(arrays["float32"], slices=boxes, shards=[2, 0])
    write_bundle(
        tmp_path / "b", saved, num_shards=3, byteorder=byteorder, alignment=16, block_size=50, restart_interval=2
    )
    reader = tf.train.load_checkpoint(str(tmp_path / "b"))
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for name, array in {**arrays, "parts": arrays["float32"]}.items():
            assert_same(np.asarray(reader.get_tensor(name), array.dtype), array)
            assert_same(checkpoint[name].read(), array)


# Whatever the tests' own writer writes.


@st.composite
def bundles(draw: st.DrawFn) -> tuple[dict[str, Saved], dict[str, Any]]:
    """Tensors, plain and partitioned, and how to write them."""
    settings: dict[str, Any] = {
        "num_shards": draw(st.integers(1, 4)),
        "byteorder": draw(st.sampled_from(["little", "big"])),
        "alignment": draw(st.sampled_from([1, 4, 64])),
        "block_size": draw(st.sampled_from([1, 100, 4096])),
        "restart_interval": draw(st.sampled_from([1, 16])),
        "compress": draw(st.booleans()),
    }
    names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
    tensors = {}
    for seed, name in enumerate(draw(st.sets(names, min_size=1, max_size=4))):
        shards = draw(st.lists(st.integers(0, settings["num_shards"] - 1), min_size=1, max_size=3))
        slices: list[Extents] = []
        if draw(st.booleans()):
            shape, tiles = draw(tilings(most_cuts=4))
            # A slice is stored once, even one without elements.
            slices = list(dict.fromkeys(tiles)) if len(tiles) > 1 else []
        else:
            shape = draw(st.lists(st.integers(0, 5), max_size=4).map(tuple))
        array = sample_array(draw(st.sampled_from(DTYPES)), shape, seed)
        tensors[name] = Saved(array, slices=slices, shards=shards)
    return tensors, settings


@settings(max_examples=100 if IS_EXHAUSTIVE else 15)
@given(bundles(), st.data())
def test_tensors_are_the_arrays_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, bundle: tuple[dict[str, Saved], dict[str, Any]], data: st.DataObject
) -> None:
    tensors, how = bundle
    prefix = tmp_path_factory.mktemp("bundle") / "b"
    write_bundle(prefix, tensors, **how)
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert list(checkpoint) == sorted(tensors, key=str.encode)
        for name, saved in tensors.items():
            tensor, array = checkpoint[name], saved.array
            assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype)
            assert len(tensor.slices) == len(saved.slices)
            assert_same(tensor.read(), array)
            index = data.draw(indexes(array.shape))
            assert_same(tensor[index], array[index])
    for mmap in (False, True):
        loaded = tfbundle.load(prefix, mmap=mmap)
        for name, saved in tensors.items():
            assert_same(loaded[name], saved.array)


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(tmp_path: Path, name: str, byteorder: str) -> None:
    array = sample_array(name, (3, 4, 5))
    tensors = {
        "cube": array,
        "empty": array[:, :0],
        "parts": Saved(array, slices=[(FULL, (0, 1), FULL), (FULL, (1, 3), (0, 2)), (FULL, (1, 3), (2, 3))]),
        "scalar": array[0, 0, :1].reshape(()),
    }
    write_bundle(tmp_path / "b", tensors, byteorder=byteorder)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for tensor_name, tensor in checkpoint.items():
            wanted = tensors[tensor_name]
            wanted = wanted.array if isinstance(wanted, Saved) else wanted
            assert_same(tensor.read(), wanted)
            assert tensor.dtype.isnative
        for tensor_name in ("cube", "parts"):
            for index in (0, (slice(None, None, -2), 1), (..., slice(1, 4, 2)), (2, 3, 4), np.newaxis):
                assert_same(checkpoint[tensor_name][index], array[index])


@pytest.mark.parametrize("number", QUANTISED)
def test_quantised_types_are_plain_integers(tmp_path: Path, number: int) -> None:
    array = sample_array(QUANTISED[number], (7,))
    write_bundle(tmp_path / "b", {"q": Saved(array, data_type=number)})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert_same(checkpoint["q"].read(), array)
        assert checkpoint["q"].data_type.startswith("DT_Q")


@pytest.mark.parametrize(
    "name",
    [
        " ",
        "a/b/c:0",
        "\0",
        "\0\1",
        "a\0b",
        "\udcff\udc80",
        "caf\u00e9",
        "\U0001f600",
        "x" * 70_000,
        "../up",
        "\0v\0\1\1\1\x01\x02",
        "\x7f",
        "[0]*?",
    ],
    ids=ascii,
)
def test_any_name(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "b", {name: MATRIX, "other": MATRIX + 1})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert_same(checkpoint[name].read(), MATRIX)
        assert set(checkpoint) == {name, "other"}
        assert checkpoint[name].name == name
    assert_same(tfbundle.load(tmp_path / "b", names=[name])[name], MATRIX)


def test_a_name_that_is_a_slice_s_key_but_no_slice(tmp_path: Path) -> None:
    """A tensor called as the rows 1 to 3 of ``v`` would be stored, while ``v`` has no such slice."""
    key = encode_slice_key(b"v", [(1, 2), FULL])
    name = key.decode("utf-8", "surrogateescape")
    write_bundle(tmp_path / "b", {"v": MATRIX, name: MATRIX + 1})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert set(checkpoint) == {"v", name}
        assert_same(checkpoint[name].read(), MATRIX + 1)


def test_slices_are_not_tensors(tmp_path: Path) -> None:
    halves = [((0, 2), FULL), ((2, 4), FULL)]
    write_bundle(tmp_path / "b", {"v": Saved(MATRIX, slices=halves), "\0": MATRIX})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert set(checkpoint) == {"v", "\0"}
        key = encode_slice_key(b"v", halves[0]).decode("utf-8", "surrogateescape")
        assert key not in checkpoint
        with pytest.raises(KeyError):
            checkpoint[key]


def test_a_parent_of_many_slices_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a slice would be a minute of listing for a thousand slices."""
    array = np.arange(600, dtype=np.float32).reshape(300, 2)
    write_bundle(tmp_path / "b", {"v": Saved(array, slices=[((row, 1), FULL) for row in range(300)])})
    decoded = []

    def count(record: bytes) -> Any:
        decoded.append(record)
        return decode_facts(record)

    monkeypatch.setattr(index_module, "decode_facts", count)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert list(checkpoint) == ["v"]
    assert len(decoded) == 1


def test_part_of_a_tensor_with_absent_slices(tmp_path: Path) -> None:
    """What is there can be read; what is not names its region."""
    slices = [((0, 2), FULL), ((2, 2), FULL), ((4, 2), FULL)]
    write_bundle(tmp_path / "b", {"v": Saved(MATRIX, slices=slices, slice_lies={1: {"raw": None}})})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        tensor = checkpoint["v"]
        assert_same(tensor[:2], MATRIX[:2])
        assert_same(tensor[5], MATRIX[5])
        assert_same(tensor[::4], MATRIX[::4])
        for index in (slice(1, 3), 3, slice(None), slice(None, None, -1)):
            with pytest.raises(FormatError, match=re.escape("region [2:4, 0:4]")):
                tensor[index]
        with pytest.raises(FormatError, match=re.escape("region [2:4, 0:4]")) as caught:
            tensor.read()
        assert caught.value.tensor == "v"


def test_a_parent_may_list_a_slice_twice_no_more(tmp_path: Path) -> None:
    """TensorFlow's own reader ends the process here."""
    halves = [((0, 3), FULL), ((3, 3), FULL)]
    write_bundle(tmp_path / "b", {"v": Saved(MATRIX, slices=halves, lies={"slices": [*halves, halves[0]]})})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint, pytest.raises(FormatError, match="overlap"):
        checkpoint["v"].read()


@pytest.mark.parametrize("step", [1 << 61, -(1 << 63), 10**30, -(10**30)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("slices", [(), [((0, 2), FULL), ((2, 1), FULL)]])
def test_steps_beyond_any_array(tmp_path: Path, slices: Any, axis: int, step: int) -> None:
    array = np.arange(15, dtype=np.float32).reshape(3, 5)
    write_bundle(tmp_path / "b", {"v": Saved(array, slices=slices, shards=[0, 0])})
    index = (*[slice(None)] * axis, slice(None, None, step))
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert_same(checkpoint["v"][index], array[index])


def test_more_shards_than_are_kept_open(tmp_path: Path) -> None:
    count = MOST_OPEN_FILES + 10
    tensors = {f"t{number:03}": Saved(MATRIX + number, shards=[number]) for number in range(count)}
    write_bundle(tmp_path / "b", tensors, num_shards=count)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for name in [*tensors, *reversed(tensors)]:
            assert_same(checkpoint[name].read(), tensors[name].array)


def test_two_hundred_dimensions(tmp_path: Path) -> None:
    """A rank that the format allows and no numpy has."""
    array = np.ones((), np.float32)
    lies = {"shape": (1,) * 200}
    write_bundle(tmp_path / "b", {"deep": Saved(array, lies=lies), "words": Saved(WORDS[:1], lies=lies)})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for tensor in checkpoint.values():
            assert tensor.shape == (1,) * 200
            with pytest.raises(UnsupportedError):
                tensor.read()
            with pytest.raises(UnsupportedError):
                tensor[...]
            with pytest.raises(UnsupportedError):
                tfbundle.load(tmp_path / "b", names=[tensor.name])


def _partitioned(count: int, rows: int, *, stored: int) -> dict[bytes, bytes]:
    """An index of tensors of so many rows each, with a slice a row, of which the first ones have entries."""
    pairs = {b"": encode_header()}
    for number in range(count):
        name = b"v%d" % number
        boxes = [((row, 1), FULL) for row in range(rows)]
        pairs[name] = encode_entry(dtype=1, shape=(rows, 1 + number), slices=boxes)
        for box in boxes[:stored]:
            pairs[encode_slice_key(name, box)] = encode_entry(dtype=1, shape=(1, 1 + number), size=4 * (1 + number))
    return pairs


@pytest.mark.parametrize(("count", "stored", "refused"), [(2, 0, False), (5, 0, True), (5, 130, False)])
def test_slices_that_are_listed_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, stored: int, refused: bool
) -> None:
    """Entries may list some slices that are not stored, and any number that are."""
    monkeypatch.setattr(index_module, "FREE_SLICE_LISTS", 12_000)
    pairs = _partitioned(count, 400, stored=stored)
    size = sum(len(value) for name, value in pairs.items() if name.startswith(b"v"))
    keys = sum(map(len, (key for key in pairs if key.startswith(b"\0"))))
    assert (size > 12_000 + MOST_BYTES_A_KEY_BYTE * keys) == refused
    (tmp_path / "b.index").write_bytes(encode_table(pairs, block_size=1 << 18))
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        names = [f"v{number}" for number in range(count)]
        assert list(checkpoint) == names
        with pytest.raises(UnsupportedError, match="far more slices") if refused else nullcontext():
            assert [checkpoint[name].shape for name in names] == [(400, 1 + number) for number in range(count)]
        # What was read is not counted again, and other tensors are not refused.
        assert checkpoint["v0"].shape == (400, 1)


@pytest.mark.effort
def test_tensors_of_few_slices_take_no_longer_for_their_neighbours(tmp_path: Path) -> None:
    """A block of the index holds thousands of slices, and is not decoded for each tensor that has two."""
    pairs = _partitioned(2000, 2, stored=2)
    (tmp_path / "b.index").write_bytes(encode_table(pairs, block_size=1 << 18))
    data_file(tmp_path / "b").write_bytes(bytes(4 * 2000))
    start = time.process_time()
    with tfbundle.open_checkpoint(tmp_path / "b", verify=False) as checkpoint:
        assert len([tensor.ranges for tensor in checkpoint.values()]) == 2000
    assert time.process_time() - start < 2
