"""The protocol ``TensorStore``, which every kind of store implements in the same way, whatever it reads."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import FULL, Saved, data_file, write_bundle
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle import TfBundleError
from tfbundle.open_tensors import open_tensors
from tfbundle.proto import AttrValue, GraphDef, NodeDef, TensorProto, TensorShapeProto
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.selection import parse_index
from tfbundle.tensors.store import TensorStore

WHOLE = np.arange(10, dtype=np.float32).reshape(5, 2)
HALVES = [((0, 3), FULL), ((3, 2), FULL)]
WORDS = object_array([b"one", b"", b"three\0"])
ARRAYS = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "w": WHOLE, "x": np.array(1.5, np.float32)}
PART = {"w/part_0/Adam": WHOLE[:3] * 10}
METHODS = [name for name in vars(TensorStore) if not name.startswith("_") and callable(getattr(TensorStore, name))]


def v2(folder: Path) -> TensorMapping:
    write_bundle(folder / "m", {**ARRAYS, "words": WORDS})
    return tfbundle.open_checkpoint(folder / "m")


def v2_unverified(folder: Path) -> TensorMapping:
    write_bundle(folder / "m", {**ARRAYS, "words": WORDS})
    return tfbundle.open_checkpoint(folder / "m", verify=False)


def v2_parts(folder: Path) -> TensorMapping:
    slot = Saved(WHOLE * 10, slices=[HALVES[0]])
    write_bundle(folder / "m", {**ARRAYS, "words": WORDS, "w": Saved(WHOLE, slices=HALVES), "w/part_0/Adam": slot})
    return tfbundle.open_checkpoint(folder / "m")


def v2_salvaged(folder: Path) -> TensorMapping:
    write_bundle(folder / "m", {**ARRAYS, "words": WORDS, "zz": Saved(np.ones(4), shards=(1,))}, num_shards=2)
    data_file(folder / "m", 1, 2).write_bytes(b"")
    return tfbundle.open_checkpoint(folder / "m", salvage=True)


def v1(folder: Path) -> TensorMapping:
    write_v1(folder / "m", {**ARRAYS, "words": WORDS}, block_size=1)
    return tfbundle.open_checkpoint(folder / "m")


def v1_parts(folder: Path) -> TensorMapping:
    slot = V1Saved(WHOLE * 10, slices=[HALVES[0]])
    saved = {**ARRAYS, "words": WORDS, "w": V1Saved(WHOLE, slices=HALVES), "w/part_0/Adam": slot}
    write_v1(folder / "m", saved, block_size=1)
    return tfbundle.open_checkpoint(folder / "m")


def v1_salvaged(folder: Path) -> TensorMapping:
    write_v1(folder / "m", {**ARRAYS, "words": WORDS, "zz": V1Saved(np.ones(4), values={0: b"\xff"})}, block_size=1)
    return tfbundle.open_checkpoint(folder / "m", salvage=True)


def constants(folder: Path) -> TensorMapping:
    graph = GraphDef()
    for name, array in {**ARRAYS, "words": WORDS}.items():
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=length) for length in array.shape])
        value = TensorProto(dtype={"i": 9, "f": 1, "O": 7}[array.dtype.kind], tensor_shape=shape)
        if array.dtype.hasobject:
            value.string_val.extend(array.tolist())
        else:
            value.tensor_content = array.tobytes()
        attributes = {"dtype": AttrValue(type=value.dtype), "value": AttrValue(tensor=value)}
        graph.node.append(NodeDef(name=name, op="Const", attr=attributes))
    (folder / "frozen.pb").write_bytes(graph.SerializeToString())
    return open_tensors(folder / "frozen.pb")


OPENERS: dict[str, Callable[[Path], TensorMapping]] = {
    opener.__name__: opener
    for opener in (v2, v2_unverified, v2_parts, v2_salvaged, v1, v1_parts, v1_salvaged, constants)
}


@pytest.fixture(params=OPENERS)
def tensors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TensorMapping]:
    with OPENERS[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def store(tensors: TensorMapping) -> TensorStore:
    return tensors._store


def values_of(store: TensorStore) -> dict[str, Any]:
    found = {**ARRAYS, "words": WORDS}
    return found | (PART if "w/part_0/Adam" in store.records() else {})


def test_every_method_is_there(store: TensorStore) -> None:
    assert {"read", "read_many", "read_selection", "chunks", "close"} < set(METHODS)
    for name in METHODS:
        assert callable(getattr(store, name)), name
    assert isinstance(store.path, str)


def test_records(store: TensorStore) -> None:
    assert sorted(store.records()) == sorted(values_of(store))
    assert store.find("no such") is None
    all_facts = list(store.all_facts())
    assert len(all_facts) == len(store.records())
    for (name, record), known in zip(store.records().items(), all_facts, strict=True):
        assert store.find(name) == record
        facts = store.facts(name, record)
        assert known is None or known == facts
        assert facts.shape == values_of(store)[name].shape
        assert (store.part(name, record) is not None) == (name in PART)


def test_all_copyable(store: TensorStore) -> None:
    """What is known of all tensors together is what is known of each."""
    together = list(store.all_copyable())
    assert len(together) == len(store.records())
    for (name, record), found in zip(store.records().items(), together, strict=True):
        assert found is None or [one[:-1] for one in found] == [one[:-1] for one in store.copyable(name, record)]


def test_all_ways_of_reading_agree(store: TensorStore) -> None:
    arrays = values_of(store)
    names = sorted(arrays, reverse=True)
    for mmap in (False, True):
        many = store.read_many(names, mmap=mmap)
        assert list(many) == names
        for name, array in many.items():
            assert_same(array, arrays[name])
            assert array.flags.writeable == (not mmap)
    assert store.read_many([], mmap=False) == {}
    for name, record in store.records().items():
        array = store.read(name, record)
        assert_same(array, arrays[name])
        assert array.flags.writeable
        selection = parse_index((..., slice(1, None)) if array.ndim else (...,), array.shape)
        assert_same(store.read_selection(name, record, selection), array[..., 1:] if array.ndim else array)
        chunks = list(store.chunks(name, record))
        assert all(chunk.ndim == 1 for chunk in chunks)
        assert_same(np.concatenate(chunks), array.reshape(-1))


def test_ranges_are_in_files(store: TensorStore) -> None:
    for name, record in store.records().items():
        for place in store.ranges(name, record):
            assert 0 <= place.offset <= place.offset + place.size <= Path(place.path).stat().st_size
        for copy in store.copyable(name, record):
            assert copy.size <= Path(store.ranges(name, record)[0].path).stat().st_size


def test_another_store_opens_the_same(store: TensorStore) -> None:
    function, arguments = pickle.loads(pickle.dumps(store.reopening()))
    other: TensorStore = function(*arguments)
    for name, record in store.records().items():
        assert other.find(name) == record
        assert other.fingerprint(name, record) == store.fingerprint(name, record)
        assert_same(other.read(name, record), values_of(store)[name])


def test_after_close_every_read_is_a_value_error(store: TensorStore) -> None:
    records = dict(store.records())
    whole = {name: parse_index((...,), array.shape) for name, array in values_of(store).items()}
    store.close()
    store.close()  # Twice does no harm.
    for name, record in records.items():
        for read in (
            lambda name=name, record=record: store.read(name, record),
            lambda name=name, record=record: store.read_selection(name, record, whole[name]),
            lambda name=name, record=record: list(store.chunks(name, record)),
            lambda name=name: store.read_many([name], mmap=False),
            lambda name=name: store.read_many([name], mmap=True),
        ):
            with pytest.raises(ValueError, match="closed") as caught:
                read()
            assert not isinstance(caught.value, TfBundleError)


@pytest.mark.parametrize("opener", [v2, v2_unverified, v2_parts, v1, v1_parts])
def test_errors_name_the_tensor(tmp_path: Path, opener: Callable[[Path], TensorMapping]) -> None:
    opener(tmp_path).close()
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        damaged = content.replace(WORDS[2], b"thre3\0")
        path.write_bytes(damaged if opener is not v2_unverified else content.replace(WORDS[2], b""))
    with tfbundle.open_checkpoint(tmp_path / "m", verify=opener is not v2_unverified) as tensors:
        store = tensors._store
        for read in (
            lambda: store.read("words", store.find("words")),
            lambda: list(store.chunks("words", store.find("words"))),
            lambda: store.read_many(["a", "words"], mmap=False),
            lambda: store.read_many(["words"], mmap=True),
        ):
            with pytest.raises(TfBundleError) as caught:
                read()
            assert caught.value.tensor == "words"
            assert caught.value.path is not None
