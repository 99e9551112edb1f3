"""V1 checkpoints that are inconsistent or damaged: a right value, or an error of the tensor that it is about."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support import sampling
from tests.support.arrays import assert_same
from tests.support.bundle_writer import (
    DATA_TYPES,
    FULL,
    STRING,
    Extents,
    encode_field,
    encode_slice_key,
    numpy_type,
)
from tests.support.expected import FIXTURES
from tests.support.overwriting import overwrite
from tests.support.table_writer import encode_table, seal_block
from tests.support.v1_stores import numbers, store_of, tensor_of
from tests.support.v1_writer import V1Saved, encode_slice, encode_statement, encode_values, write_v1
from tfbundle.checkpoint.v1 import index as index_module
from tfbundle.errors import (
    ChecksumError,
    FormatError,
    MissingFileError,
    TfBundleError,
    UnsupportedError,
)
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]


# Bad input.


def versions(**numbers: int) -> bytes:
    return b"".join(
        encode_field({"producer": 1, "min_consumer": 2, "bad_consumers": 3}[key], n) for key, n in numbers.items()
    )


def test_versions(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for accepted in (b"", versions(producer=0), versions(producer=9, min_consumer=1, bad_consumers=2)):
        write_v1(path, {"a": np.float32([1])}, versions=accepted)
        assert list(store_of(path).records()) == ["a"]
    for refused in (versions(producer=9, min_consumer=2), versions(producer=1, bad_consumers=1)):
        write_v1(path, {"a": np.float32([1])}, versions=refused)
        with pytest.raises(UnsupportedError, match="newer tfbundle"):
            store_of(path)


@pytest.mark.parametrize(
    "meta", [b"\x0a\x05abc", b"\xff", encode_field(1, encode_field(2, b"\xff")), encode_field(1, b"\x0a\x7f")]
)
def test_metas_that_are_none(tmp_path: Path, meta: bytes) -> None:
    path = tmp_path / "model"
    write_v1(path, {}, meta=meta)
    with pytest.raises(FormatError) as caught:
        store_of(path)
    assert caught.value.path == os.fspath(path)


def test_a_table_without_a_meta(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(encode_table({b"a": b"b"}))
    with pytest.raises(FormatError, match="has no meta"):
        store_of(path)


T = np.float32([[1, 2], [3, 4]])
WHOLE: Extents = [FULL, FULL]


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (V1Saved(T, lies={"shape": (-1, 2)}), "not known in full"),
        (V1Saved(T, lies={"unknown_rank": True}), "unknown rank"),
        (V1Saved(T, lies={"shape": (2, 3)}), "holds 4 values for 6 elements"),
        (V1Saved(T, lies={"shape": (2, 1)}), "holds 4 values for 2 elements"),
        (V1Saved(T, lies={"shape": (1 << 30, 1 << 20)}), "holds 4 values|cannot be stored in"),
        (V1Saved(T, lies={"shape": (1 << 40, 1 << 20)}), "more elements than can be addressed"),
        (V1Saved(T, lies={"shape": (4,)}), "2 dimensions"),
        (V1Saved(T, lies={"dtype": 3}), "holds 0 values"),
        (V1Saved(T, lies={"dtype": 77}), "77 is not the number"),
        (V1Saved(T, lies={"dtype": 101}), "101 is not the number"),
        (V1Saved(T, lies={"raw": encode_field(2, b"\xff")}), "not a SavedSliceMeta"),
        (V1Saved(T, lies={"slices": []}), "none of the stored slices"),
        (V1Saved(T, lies={"slices": [WHOLE, WHOLE]}), "overlap"),
        (V1Saved(T, lies={"slices": [[(0, 3), FULL]]}), "has 3 elements"),
        (V1Saved(T, lies={"slices": [[(0, 1), FULL]]}), r"its region \[1:2, 0:2\] is in none"),
        (V1Saved(T, lies={"slices": [[(0, 1), FULL], [(1, 1), FULL]]}), "is listed, but"),
        (V1Saved(T, values={0: None}), "is listed, but"),
        (V1Saved(T, values={0: b"\xff"}), "varint"),
        (V1Saved(T, values={0: b""}), "slice of b''"),
        (V1Saved(T, values={0: encode_slice(b"u", WHOLE, encode_values(T, 1))}), "slice of b'u'"),
        (V1Saved(T, values={0: encode_slice(b"t", [FULL, (0, 2)], encode_values(T, 1))}), "another slice"),
        (V1Saved(T, values={0: encode_slice(b"t", WHOLE, encode_values(T[0], 1))}), "2 values for 4"),
        (V1Saved(T, values={0: encode_slice(b"t", WHOLE, encode_field(5, bytes(15)))}), "multiple of 4"),
        (V1Saved(T, values={0: encode_slice(b"t", WHOLE, encode_field(4, T.tobytes()))}), "0 values for 4"),
        (V1Saved(T, slices=[[(0, 1), FULL], [(1, 1), FULL]], lies={"shape": (1 << 40, 2)}), "is in none"),
        (
            V1Saved(
                T, slices=[[(0, 1), FULL], [(1, 1), FULL]],
                lies={"shape": (1 << 40, 2), "slices": [[(0, 1), FULL], [(1, (1 << 40) - 1), FULL]]},
            ),
            "cannot be stored in",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error_of_its_tensor_alone(tmp_path: Path, saved: V1Saved, message: str) -> None:
    path = tmp_path / "model"
    write_v1(path, {"fine": np.int64([7]), "t": saved})
    store = store_of(path)
    assert list(store.records()) == ["fine", "t"]
    assert tensor_of(store, "fine").read().tolist() == [7]
    for read in (lambda: tensor_of(store, "t").read(), lambda: tensor_of(store, "t")[...]):
        with pytest.raises(FormatError, match=message) as caught:
            read()
        assert caught.value.tensor == "t"
        assert caught.value.path == os.fspath(path)


@pytest.mark.parametrize("data_type", [20, 21])
def test_types_without_an_array_form(tmp_path: Path, data_type: int) -> None:
    path = tmp_path / "model"
    write_v1(path, {"t": V1Saved(T, lies={"dtype": data_type})})
    with pytest.raises(UnsupportedError):
        tensor_of(store_of(path), "t").read()


def test_more_dimensions_than_numpy_has(tmp_path: Path) -> None:
    path = tmp_path / "model"
    shape = (1,) * 100
    statement = encode_statement(name=b"t", dtype=1, shape=shape, slices=[[FULL] * 100])
    value = encode_slice(b"t", [FULL] * 100, encode_values(np.float32([1]), 1))
    write_v1(
        path,
        {},
        meta=encode_field(1, encode_field(1, statement)),
        extra={encode_slice_key(b"t", [FULL] * 100): value},
    )
    with pytest.raises(UnsupportedError, match="numpy has no arrays"):
        tensor_of(store_of(path), "t").read()


def test_a_large_block_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model"
    array = np.ones(1 << 20, np.float32)
    write_v1(path, {"a": np.ones(1 << 17, np.float32), "t": array}, block_size=1 << 18)
    data = bytearray(path.read_bytes())
    data[3 << 20] ^= 1
    path.write_bytes(data)
    for read in (Tensor.read, lambda tensor: tensor[5:7]):
        with pytest.raises(ChecksumError, match=r"'t'.*block at offset") as caught:
            read(tensor_of(store_of(path), "t"))
        assert caught.value.path == os.fspath(path)
    damaged = tensor_of(store_of(path, verify=False), "t").read()
    assert (damaged != array).sum() == 1


def test_an_unsorted_table_is_damage_and_not_an_absent_slice(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.float32([1]), "b": np.float32([2])})
    meta = next(iter(store_of(path).files))[b""]
    keys = [encode_slice_key(name, [FULL]) for name in (b"b", b"a")]
    values = [encode_slice(name, [FULL], encode_values(np.float32([1]), 1)) for name in (b"b", b"a")]
    path.write_bytes(encode_table([(b"", meta), *zip(keys, values, strict=True)]))
    store = store_of(path)
    with pytest.raises(FormatError, match="not in order"):
        [tensor_of(store, name).read() for name in ("a", "b")]


def small_file(path: Path, **settings: Any) -> dict[str, Array]:
    arrays = {
        "bool": np.array([True, False, True]),
        "float": numbers(1, (2, 3)),
        "half": numbers(19, (3,)),
        "int": np.array([-1, 300, 5], np.int32),
        "none": np.zeros(0, np.float32),
        "parts": numbers(9, (4,)),
        "string": numbers(STRING, (2,)),
    }
    write_v1(path, {**arrays, "parts": V1Saved(arrays["parts"], slices=[[(0, 1)], [(1, 3)]])}, **settings)
    return arrays


def read_all(path: Path, arrays: dict[str, Array], *, verify: bool) -> int:
    """Read what can be read; every value must be right, every error ours. Returns how many tensors were read."""
    read = 0
    try:
        store = store_of(path, verify=verify)
    except TfBundleError:
        return 0
    for name in arrays:
        record = store.find(name)
        if record is None:
            continue
        tensor = Tensor(store, name, record)
        try:
            array = tensor.read()
            part = tensor[:1]
        except TfBundleError:
            continue
        if verify:
            assert_same(array, arrays[name])
            assert_same(part, arrays[name][:1])
        read += 1
    store.close()
    return read


@pytest.mark.parametrize("compress", [False, True])
def test_every_flipped_byte(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "model"
    arrays = small_file(path, block_size=120, compress=compress)
    whole = path.read_bytes()
    assert read_all(path, arrays, verify=True) == len(arrays)
    survived = 0
    for pos in sampling.places(len(whole)):
        overwrite(path, whole[:pos] + bytes([whole[pos] ^ (1 << pos % 8)]) + whole[pos + 1 :])
        survived += read_all(path, arrays, verify=True) == len(arrays)
    # Only the padding of the footer and the empty metaindex block mean nothing to a reader.
    assert survived < 60


@pytest.mark.parametrize("compress", [False, True])
def test_every_flipped_byte_without_checksums(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "model"
    arrays = small_file(path, block_size=120, compress=compress)
    whole = path.read_bytes()
    for pos in sampling.places(len(whole)):
        overwrite(path, whole[:pos] + bytes([whole[pos] ^ (1 << pos % 8)]) + whole[pos + 1 :])
        read_all(path, arrays, verify=False)


def test_every_truncation(tmp_path: Path) -> None:
    path = tmp_path / "model"
    arrays = small_file(path)
    whole = path.read_bytes()
    for size in sampling.places(len(whole)):
        overwrite(path, whole[:size])
        with pytest.raises(TfBundleError):
            store_of(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FormatError):
        store_of(path)
    path.write_bytes(whole)
    assert read_all(path, arrays, verify=True) == len(arrays)


def test_nonsense_under_right_checksums(tmp_path: Path) -> None:
    """Blocks whose checksums are right and whose contents were changed before they were computed."""
    path = tmp_path / "model"
    arrays = small_file(path)
    whole = path.read_bytes()
    (table,) = store_of(path).files
    offset, size = table.handles[0]
    chance = random.Random(5)
    for _ in sampling.rounds(range(750)):
        contents = bytearray(whole[offset : offset + size])
        for _ in range(chance.randint(1, 3)):
            contents[chance.randrange(size)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        overwrite(path, whole[:offset] + seal_block(bytes(contents)) + whole[offset + size + 5 :])
        read_all(path, arrays, verify=False)


def large_table(path: Path) -> tuple[Array, int]:
    array = numbers(1, (1 << 19,))
    write_v1(path, {"a": np.int64([3]), "t": array}, block_size=1 << 18)
    return array, path.stat().st_size


@pytest.mark.parametrize("chosen", ["head", "tail"])
def test_nonsense_around_a_large_value(tmp_path: Path, chosen: str) -> None:
    path = tmp_path / "model"
    array, _ = large_table(path)
    whole = bytearray(path.read_bytes())
    (table,) = store_of(path).files
    offset, size = table.handles[-1]
    places = range(offset, offset + 90) if chosen == "head" else range(offset + size - 12, offset + size + 5)
    for pos in places:
        for byte in (0, 0xFF, whole[pos] ^ 1):
            damaged = whole[:pos] + bytes([byte]) + whole[pos + 1 :]
            overwrite(path, damaged)
            try:
                store = store_of(path, verify=False)
                if store.find("t") is not None:
                    assert tensor_of(store, "t").read().shape == array.shape
            except TfBundleError:
                continue
        if pos % 10 == 0:
            overwrite(path, whole[:pos] + bytes([whole[pos] ^ 1]) + whole[pos + 1 :])
            with pytest.raises(TfBundleError):
                store_of(path)  # The meta is in the same block.


def test_files_that_are_not_tables(tmp_path: Path) -> None:
    contents: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "html": lambda: b"<html>" * 100,
        "zeros": lambda: bytes(1000),
        "index": lambda: next((FIXTURES / "tf-2.21.0").glob("strings/*.index")).read_bytes(),
    }
    for name, data in contents.items():
        path = tmp_path / name
        path.write_bytes(data())
        with pytest.raises(FormatError) as caught:
            store_of(path)
        assert caught.value.path == os.fspath(path)
    with pytest.raises(MissingFileError):
        store_of(tmp_path / "absent")


def test_numpy_names_of_the_writer() -> None:
    assert all(numpy_type(name) == numpy_dtype(number) for name, number in DATA_TYPES.items())


def _listing(count: int, rows: int, *, stored: int) -> dict[bytes, bytes]:
    """Tensors in slices of a row each, of which the first ones have values; beside them one that is whole."""
    boxes = [((row, 1),) for row in range(rows)]
    statements = [encode_statement(name=b"v%d" % n, dtype=1, shape=(rows,), slices=boxes) for n in range(count)]
    statements.append(encode_statement(name=b"w", dtype=1, shape=(1,), slices=[[FULL]]))
    one = encode_values(np.zeros(1, np.float32), 1)
    pairs = {b"": encode_field(1, b"".join(encode_field(1, statement) for statement in statements))}
    pairs[encode_slice_key(b"w", [FULL])] = encode_slice(b"w", [FULL], one)
    for number in range(count):
        for box in boxes[:stored]:
            pairs[encode_slice_key(b"v%d" % number, box)] = encode_slice(b"v%d" % number, box, one)
    return pairs


@pytest.mark.parametrize(
    ("count", "stored", "refused"), [(2, 0, 0), (3, 0, 1), (3, 15, 1), (3, 16, 0), (5, 50, 0), (9, 0, 7)]
)
def test_slices_that_are_listed_and_have_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, stored: int, refused: int
) -> None:
    """A meta may list some slices without values, and any number that have them; what lists too many is refused."""
    monkeypatch.setattr(index_module, "FREE_SLICES", 100)
    (tmp_path / "m").write_bytes(encode_table(_listing(count, 50, stored=stored)))
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert checkpoint["w"].read().tolist() == [0.0]
        for number in range(count):
            is_refused = number >= count - refused
            with pytest.raises(UnsupportedError, match="far more slices") if is_refused else nullcontext():
                assert checkpoint[f"v{number}"].shape == (50,)


@pytest.mark.parametrize("place", ["first", "last", "twice", "absent"])
@pytest.mark.parametrize("rows", [2, 1000])
def test_where_the_name_stands_in_a_statement(tmp_path: Path, place: str, rows: int) -> None:
    """A long statement is taken apart another way; as for protobuf, the last of several names counts."""
    boxes = [((row, 1),) for row in range(rows)]
    name, other = encode_field(1, b"v\xff"), encode_field(1, b"other")
    rest = encode_statement(name=b"", dtype=1, shape=(rows,), slices=boxes).removeprefix(encode_field(1, b""))
    statement = {"first": name + rest, "last": rest + name, "twice": other + rest + name, "absent": rest}[place]
    key = b"" if place == "absent" else b"v\xff"
    one = encode_values(np.ones(1, np.float32), 1)
    pairs = {b"": encode_field(1, encode_field(1, statement))}
    pairs |= {encode_slice_key(key, box): encode_slice(key, box, one) for box in boxes}
    (tmp_path / "m").write_bytes(encode_table(pairs))
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        (found,) = checkpoint
        assert found == key.decode("utf-8", "surrogateescape")
        assert checkpoint[found].read().tolist() == [1.0] * rows
