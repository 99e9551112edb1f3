"""V1 checkpoints: what TensorFlow wrote and read, every way to store one, and every way to break one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle.checkpoint.v1.files as v1_files_module
import tfbundle.checkpoint.v1.slice_table as slice_table_module
from tests.support.arrays import assert_same
from tests.support.bundle_writer import (
    DATA_TYPES,
    FULL,
    QUANTISED,
    Extents,
    encode_field,
    encode_slice_key,
)
from tests.support.expected import FIXTURES, Expected, expected_checkpoints, numpy_name, sha256_of
from tests.support.v1_stores import numbers, store_of, tensor_of
from tests.support.v1_writer import V1Saved, encode_statement, encode_values, write_v1
from tfbundle.checkpoint.v1.store import V1Store, open_v1
from tfbundle.errors import (
    FormatError,
    MissingFileError,
)
from tfbundle.storage.local import LocalSource
from tfbundle.storage.locations import locate
from tfbundle.tensors.dtypes import data_type_name

Array = np.ndarray[Any, Any]
EXPECTED = list(expected_checkpoints("v1"))


def fixture_store(expected: Expected) -> V1Store:
    files = sorted(expected.path.parent.glob(expected.path.name))
    return store_of(expected.path, *files)


# What TensorFlow wrote and read.


@pytest.mark.parametrize("expected", EXPECTED, ids=str)
def test_fixtures(expected: Expected) -> None:
    store = fixture_store(expected)
    assert list(store.records()) == sorted(expected.tensors, key=str.encode)
    for name, facts in expected.tensors.items():
        tensor = tensor_of(store, name)
        assert list(tensor.shape) == facts["shape"]
        assert tensor.dtype.name == numpy_name(facts["dtype"])
        if "sha256" not in facts:
            with pytest.raises(FormatError, match="its region"):
                tensor.read()
            continue
        array = tensor.read()
        assert array.flags.writeable
        assert sha256_of(array) == facts["sha256"]
        assert_same(tensor[...], array)
        if tensor.ndim:
            assert_same(tensor[::-2], array[::-2])
            assert_same(tensor[1:3, ...], array[1:3, ...])
            assert_same(tensor[..., :1], array[..., :1])


def test_there_are_fixtures_of_several_versions_and_kinds() -> None:
    names = {str(expected) for expected in EXPECTED}
    assert len(names) >= 15
    assert any("every-dtype" in name for name in names)
    assert any("partitioned" in name for name in names)
    assert any("?????-of-" in name for name in names)


def test_a_region_that_was_never_written_is_named() -> None:
    store = store_of(FIXTURES / "handmade" / "v1-missing-slice" / "bundle")
    lacking = tensor_of(store, "lacking")
    with pytest.raises(FormatError, match=r"'lacking'.*its region \[20:40\]"):
        lacking.read()
    assert lacking[:20].shape == (20,)
    assert lacking[40:].shape == (20,)
    with pytest.raises(FormatError, match=r"its region \[20:40\]"):
        lacking[19:21]


# What TensorFlow writes here and now.

V1_TYPES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 18, 19]


def save_slices(tf: Any, path: Path, rows: Sequence[tuple[str | bytes, str, Any]]) -> None:
    names, places, arrays = zip(*rows, strict=True)
    tf.raw_ops.SaveSlices(
        filename=os.fspath(path), tensor_names=list(names), shapes_and_slices=list(places), data=list(arrays)
    )


def as_tensorflow(tf: Any, array: Array, data_type: int) -> Any:
    dtype = tf.as_dtype(data_type)
    if data_type in QUANTISED:
        return tf.bitcast(tf.constant(array), dtype)
    return tf.constant(array, dtype)


def test_every_dtype_that_tensorflow_saves(tf: Any, tmp_path: Path) -> None:
    saved = []
    for data_type in sorted([*DATA_TYPES.values(), *QUANTISED]):
        path = tmp_path / str(data_type)
        rows: list[tuple[str, str, Any]] = []
        arrays = {}
        for shape in ((), (0,), (7,), (2, 3, 4)):
            arrays[f"whole{shape}"] = numbers(data_type, shape)
            rows.append((f"whole{shape}", "", as_tensorflow(tf, arrays[f"whole{shape}"], data_type)))
        parts = arrays["parts"] = numbers(data_type, (5, 4))
        for place, index in (("3,2:-", np.s_[3:]), ("0,3:0,1", np.s_[:3, :1]), ("0,3:1,3", np.s_[:3, 1:])):
            rows.append(("parts", f"5 4 {place}", as_tensorflow(tf, parts[index], data_type)))
        try:
            save_slices(tf, path, rows)
        except (tf.errors.OpError, TypeError):
            assert data_type not in V1_TYPES, data_type_name(data_type)
            continue
        saved.append(data_type)
        store = store_of(path)
        assert sorted(store.records()) == sorted(arrays)
        for name, array in arrays.items():
            tensor = tensor_of(store, name)
            assert tensor.data_type == data_type_name(data_type)
            assert_same(tensor.read(), array), (name, tensor)
            assert len(tensor.slices) == (3 if name == "parts" else 0)
        assert_same(tensor_of(store, "parts")[1:4, ::-1], parts[1:4, ::-1])
    assert set(saved) >= set(V1_TYPES)


def test_what_tensorflow_reads_is_what_is_read_here(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "large"
    arrays = {f"tensor{i}": numbers(1, (300, 1000), i) for i in range(3)} | {"step": numbers(9, ())}
    save_slices(tf, path, [(name, "", array) for name, array in arrays.items()])
    reader = tf.compat.v1.train.NewCheckpointReader(os.fspath(path))
    store = store_of(path)
    assert list(store.records()) == sorted(reader.get_variable_to_shape_map())
    for name in store.records():
        assert_same(tensor_of(store, name).read(), np.asarray(reader.get_tensor(name)))


def test_names_that_tensorflow_writes_and_cannot_read(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "names"
    save_slices(tf, path, [(b"caf\xe9", "", np.float32([1, 2])), (b"a\0b", "", np.float32([3]))])
    store = store_of(path)
    assert list(store.records()) == ["a\0b", "caf\udce9"]
    assert tensor_of(store, "caf\udce9").read().tolist() == [1, 2]
    assert tensor_of(store, "a\0b").read().tolist() == [3]


def test_a_file_written_here_is_read_by_tensorflow(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "ours"
    arrays = {"a": numbers(1, (3, 5)), "b": numbers(9, (2,)), "c": numbers(10, (9,))}
    write_v1(path, arrays)  # Keeps the writer of the tests below honest.
    reader = tf.compat.v1.train.NewCheckpointReader(os.fspath(path))
    for name, array in arrays.items():
        assert_same(np.asarray(reader.get_tensor(name)), array)


# Every way to store a tensor.


def tilings(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Extents]:
    """Cut a box again and again, anywhere along any dimension."""
    boxes = [[(0, length) for length in shape]]
    for _ in range(draw(st.integers(0, 6))):
        box = boxes.pop(draw(st.integers(0, len(boxes) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        start, length = box[axis]
        cut = draw(st.integers(0, length))
        for part in ((start, cut), (start + cut, length - cut)):
            boxes.append([*box[:axis], part, *box[axis + 1 :]])
    boxes = [box for box in boxes if all(length for _, length in box)]
    whole = draw(st.booleans())
    return [[FULL if whole and part == (0, n) else part for part, n in zip(box, shape, strict=True)] for box in boxes]


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    items: list[Any] = []
    for length in shape:
        if draw(st.booleans()):
            items.append(draw(st.slices(length)))
        else:
            items.append(draw(st.integers(-length, length - 1)))
    return tuple(items)


@given(st.data())
def test_slices_of_any_tiling(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "tiling"
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    data_type = data.draw(st.sampled_from([1, 3, 7, 9, 10, 18, 19, 29]))
    array = numbers(data_type, shape)
    slices = tilings(data.draw, shape)
    write_v1(
        path,
        {"before": np.float32([1]), "t": V1Saved(array, data_type, slices), "u": np.int32([2])},
        block_size=data.draw(st.sampled_from([1, 100, 4096])),
        compress=data.draw(st.booleans()),
    )
    store = store_of(path)
    tensor = tensor_of(store, "t")
    assert_same(tensor.read(), array)
    assert len(tensor.slices) == (0 if len(slices) == 1 else len(slices))
    index = data.draw(indices(shape))
    expected = array[index]
    got = tensor[index]
    assert_same(np.asarray(got), np.asarray(expected)) if not array.dtype.hasobject else np.array_equal(got, expected)
    store.close()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.effort
def test_large_tensors_in_one_block_with_small_ones(tmp_path: Path, compress: bool) -> None:
    arrays = {
        "a": numbers(3, (5,)),
        "b/large": numbers(1, (700, 1000)),
        "c": numbers(9, (4,)),
        "d/complex": numbers(18, (300, 301)),
        "e/integers": np.arange(-100_000, 100_000, dtype=np.int32).reshape(400, 500),
        "f": numbers(7, (3,)),
        "g/half": numbers(19, (400_001,)),
    }
    large = numbers(2, (400, 900))
    parts = V1Saved(large, slices=[[(0, 390), FULL], [(390, 10), FULL]])
    path = tmp_path / "large"
    write_v1(path, {**arrays, "h/parts": parts}, block_size=1 << 18, compress=compress)
    for verify in (True, False):
        store = store_of(path, verify=verify)
        for name, array in {**arrays, "h/parts": large}.items():
            tensor = tensor_of(store, name)
            assert_same(tensor.read(), array)
            if array.ndim == 2:
                assert_same(tensor[3::100, 7:-1:13], array[3::100, 7:-1:13])
                assert_same(tensor[385:395], array[385:395])
                assert_same(tensor[::-1, 5], array[::-1, 5])


@pytest.mark.effort
def test_large_values_are_not_kept_and_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    arrays = {f"{i:03}": numbers(1, (10,), i) for i in range(50)} | {"z/large": numbers(3, (600_000,))}
    write_v1(path, arrays, block_size=1 << 18)
    store = store_of(path)
    sizes: list[int] = []
    read_at = LocalSource.read_at

    def counting(self: LocalSource, offset: int, size: int) -> bytes:
        sizes.append(size)
        return read_at(self, offset, size)

    monkeypatch.setattr(LocalSource, "read_at", counting)
    found = store.read_many(list(arrays), mmap=False)
    for name, array in arrays.items():
        assert_same(found[name], array)
    # The large one is decoded from its own bytes, and its block is not kept.
    assert sum(size > 1 << 20 for size in sizes) == 1
    (table,) = store.files
    assert not table._kept


def test_part_of_a_large_tensor_reads_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    array = numbers(1, (4000, 1000))
    write_v1(path, {"large": array}, block_size=1 << 18)
    tensor = tensor_of(store_of(path), "large")
    assert_same(tensor[:1], array[:1])  # The block is verified now.
    sizes: list[int] = []
    read_at, read_into = LocalSource.read_at, LocalSource.read_into
    monkeypatch.setattr(LocalSource, "read_at", lambda *args: sizes.append(args[2]) or read_at(*args))
    monkeypatch.setattr(LocalSource, "read_into", lambda *args: sizes.append(len(args[2])) or read_into(*args))
    assert_same(tensor[2000:2010], array[2000:2010])
    assert sum(sizes) < 1 << 20


def test_selections_read_only_the_slices_they_touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slices"
    array = numbers(1, (8, 100))
    write_v1(path, {"t": V1Saved(array, slices=[[(i, 2), FULL] for i in range(0, 8, 2)])}, block_size=1)
    tensor = tensor_of(store_of(path), "t")
    asked: list[bytes] = []
    find = slice_table_module.SliceTable.find
    monkeypatch.setattr(slice_table_module.SliceTable, "find", lambda self, key: asked.append(key) or find(self, key))
    assert_same(tensor[2:5], array[2:5])
    assert asked == [encode_slice_key(b"t", [(i, 2), FULL]) for i in (2, 4)]


def test_values_in_forms_that_no_serializer_gives(tmp_path: Path) -> None:
    path = tmp_path / "forms"
    tensor = encode_values(np.float32([1, 2, 3]), 1)
    half = encode_values(np.float32([1]), 1), encode_values(np.float32([2, 3]), 1)
    name, place = encode_field(1, b"t"), encode_field(2, encode_field(1, b""))
    forms = [
        encode_field(2, encode_field(3, tensor) + place + name),
        encode_field(2, encode_field(1, b"other") + name + place + encode_field(3, tensor)),
        encode_field(2, name + place + encode_field(3, half[0]) + encode_field(3, half[1])),
        encode_field(2, name + place) + encode_field(2, encode_field(3, tensor)),
        encode_field(2, name + place + encode_field(3, tensor) + encode_field(77, 5)) + encode_field(78, b"x"),
        encode_field(2, name + place + encode_field(3, tensor + encode_field(1, 2))),
    ]
    for value in forms:
        write_v1(path, {"t": V1Saved(np.float32([1, 2, 3]), values={0: value})})
        assert tensor_of(store_of(path), "t").read().tolist() == [1, 2, 3]


def test_metas_in_forms_that_no_serializer_gives(tmp_path: Path) -> None:
    path = tmp_path / "forms"
    facts: dict[str, Any] = {"name": b"t", "dtype": 1, "shape": (2,)}
    one = encode_statement(**facts, slices=[[(0, 1)]])
    two = encode_statement(**facts, slices=[[(1, 1)]])
    versions = encode_field(2, encode_field(1, 1))
    write_v1(
        path,
        {"t": V1Saved(np.float32([1, 2]), slices=[[(0, 1)], [(1, 1)]])},
        meta=encode_field(9, 1)
        + encode_field(1, encode_field(1, one))
        + encode_field(1, versions + encode_field(1, two)),
    )
    tensor = tensor_of(store_of(path), "t")
    assert tensor.read().tolist() == [1, 2]
    assert len(tensor.slices) == 2


# Several files.


def write_set(folder: Path, count: int = 3, base: str = "model") -> tuple[list[Path], Array]:
    files = [folder / f"{base}-{number:05}-of-{count:05}" for number in range(count)]
    array = numbers(1, (count * 2, 3))
    for number, file in enumerate(files):
        box = [(number * 2, 2), FULL]
        shared = V1Saved(array, slices=[box])
        write_v1(file, {"shared": shared, f"own{number}": np.int64([number])})
    return files, array


def test_slices_of_one_tensor_in_several_files(tmp_path: Path) -> None:
    files, array = write_set(tmp_path)
    store = store_of(tmp_path / "model", *files)
    assert list(store.records()) == ["own0", "own1", "own2", "shared"]
    shared = tensor_of(store, "shared")
    assert_same(shared.read(), array)
    assert_same(shared[1:5:2, ::-1], array[1:5:2, ::-1])
    assert [Path(place.path) for place in shared.ranges] == files
    assert len(shared.slices) == 3


def test_more_files_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1_files_module, "most_open_files", lambda: 2)
    files, array = write_set(tmp_path, 5)
    store = store_of(tmp_path / "model", *files)
    assert_same(tensor_of(store, "shared").read(), array)
    assert_same(tensor_of(store, "shared").read(), array)
    assert len(store.files._open) == 2
    write_v1(files[0], {"shared": V1Saved(array, slices=[[(0, 2), FULL]]), "own0": np.int64([7])})
    with pytest.raises(FormatError, match="overwritten"):
        tensor_of(store, "own0").read()


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    files, _ = write_set(tmp_path)
    with pytest.raises(MissingFileError, match="model-00001-of-00003 is absent") as caught:
        store_of(tmp_path / "model", files[0], files[2])
    assert caught.value.filename == os.fspath(files[1])
    files[1].unlink()
    with pytest.raises(MissingFileError, match="model-00001-of-00003"):
        store_of(tmp_path / "model", *files)
    with pytest.raises(MissingFileError, match="there is no V1 checkpoint"):
        V1Store.open(locate("nothing"), [], verify=True)


@pytest.mark.parametrize("number", range(3))
def test_any_file_may_be_the_absent_one(tmp_path: Path, number: int) -> None:
    files, _ = write_set(tmp_path)
    present = [path for place, path in enumerate(files) if place != number]
    with pytest.raises(MissingFileError, match=f"model-0000{number}-of-00003 is absent of the 3"):
        store_of(tmp_path / "model", *present)


def test_files_of_two_sets_are_refused(tmp_path: Path) -> None:
    files, _ = write_set(tmp_path)
    others, _ = write_set(tmp_path, 2)
    with pytest.raises(FormatError, match="files of 2 and of 3"):
        store_of(tmp_path / "model", *files, *others)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (V1Saved(np.float32([[1, 2]]), lies={"shape": (3, 2)}), r"of shape \[2, 2\], and .*of shape \[3, 2\]"),
        (V1Saved(np.float32([[1, 2]]), lies={"shape": (2, 2), "dtype": 3}), "DT_FLOAT .* DT_INT32"),
        (V1Saved(np.float32([[1, 2], [3, 4]])), "overlap"),
    ],
)  # fmt: skip
def test_files_that_contradict_each_other(tmp_path: Path, other: V1Saved, message: str) -> None:
    files = [tmp_path / "m-00000-of-00002", tmp_path / "m-00001-of-00002"]
    write_v1(files[0], {"t": V1Saved(np.float32([[1, 2], [3, 4]]), slices=[[(0, 1), FULL]]), "fine": np.int8([5])})
    write_v1(files[1], {"t": other})
    store = store_of(tmp_path / "m", *files)
    with pytest.raises(FormatError, match=message):
        tensor_of(store, "t").read()
    assert tensor_of(store, "fine").read().tolist() == [5]


# The store.


def test_ranges_are_blocks_with_their_checksums(tmp_path: Path) -> None:
    for compress in (False, True):
        path = tmp_path / "ranges"
        write_v1(path, {f"t{i}": np.zeros(100, np.float32) for i in range(9)}, block_size=1000, compress=compress)
        store = store_of(path)
        data = path.read_bytes()
        for name in store.records():
            (place,) = tensor_of(store, name).ranges
            assert crc32c.crc32c(data[place.offset : place.offset + place.size]) == place.crc


def test_tensors_pickle_and_notice_another_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.float32([1, 2]), "b": np.float32([3])})
    store = store_of(path)
    pickled = pickle.dumps([tensor_of(store, "a"), tensor_of(store, "b")])
    one, two = pickle.loads(pickled)
    assert one.read().tolist() == [1, 2]
    assert two.read().tolist() == [3]
    assert one._store is two._store
    write_v1(path, {"a": np.float32([1, 9]), "b": np.float32([3])})  # The same sizes everywhere.
    with pytest.raises(FormatError, match="contains a different 'a'"):
        pickle.loads(pickled)[0].read()


def test_an_unpickled_tensor_of_a_file_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.float32([1, 2])})
    store = store_of(path)
    pickled = pickle.dumps(tensor_of(store, "a"))
    store.close()
    path.unlink()
    with pytest.raises(MissingFileError):
        pickle.loads(pickled).read()


def test_open_v1_shares_stores_of_files_that_stay(tmp_path: Path) -> None:
    path = locate(tmp_path / "model")
    write_v1(tmp_path / "model", {"a": np.float32([1, 2])})
    first = open_v1(path, (path,), True)
    assert open_v1(path, (path,), True) is first
    assert open_v1(path, (path,), False) is not first
    write_v1(tmp_path / "model", {"a": np.float32([1, 3])})
    assert not first.is_current()
    assert open_v1(path, (path,), True) is not first


def test_arrays_outlive_the_store(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.float32([1, 2]), "large": np.ones(1 << 20, np.float32)})
    store = store_of(path)
    tensor, array, large = tensor_of(store, "a"), tensor_of(store, "a").read(), tensor_of(store, "large").read()
    view = store.view("a", store.records()["a"])
    store.close()
    assert array.tolist() == view.tolist() == [1, 2]
    assert large.sum() == 1 << 20
    array[0] = 5
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="closed"):
        tensor.read()
    assert tensor.shape == (2,)


def test_many_threads_read_one_store(tmp_path: Path) -> None:
    path = tmp_path / "model"
    arrays = {f"t{i}": numbers(1, (i * 40, 5), i) for i in range(30)} | {"large": numbers(1, (1 << 20,))}
    write_v1(path, arrays, block_size=2000)
    store = store_of(path)
    with ThreadPoolExecutor(8) as pool:
        names = list(arrays) * 4
        for name, found in zip(names, pool.map(lambda name: tensor_of(store, name).read(), names), strict=True):
            assert_same(found, arrays[name])


def test_read_many_keeps_the_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.float32([1]), "b": np.float32([2])})
    store = store_of(path)
    assert list(store.read_many(["b", "a"], mmap=False)) == ["b", "a"]
    assert not store.read_many(["b"], mmap=True)["b"].flags.writeable
    assert store.find("c") is None


def test_checks_find_what_reading_finds(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.float32([1, 2]), "lacking": V1Saved(np.float32([1, 2]), slices=[[(0, 1)]])})
    store = store_of(path)
    checks = list(store.checks("a", store.records()["a"], ()))
    assert [(check.nbytes, check.place and check.place.path) for check in checks] == [(0, None), (8, str(path))]
    for check in checks:
        check.run()
    complete, check = store.checks("lacking", store.records()["lacking"], ())
    check.run()
    with pytest.raises(FormatError, match=r"its region \[1:2\]"):
        complete.run()


@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_is_written_over_in_place_is_noticed(tmp_path: Path, large: bool) -> None:
    path = tmp_path / "model"
    write_v1(path, {"a": np.zeros(1 << 20 if large else 10, np.float32)})
    for verify in (True, False):
        store = store_of(path, verify=verify)
        tensor = tensor_of(store, "a")
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"x")
        os.utime(path, ns=(1, 1 + verify))
        if verify and not large:  # Its block was verified with the meta that it holds, and is still at hand.
            assert not tensor.read().any()
            continue
        with pytest.raises(FormatError, match="overwritten"):
            tensor.read()
