"""Many small tensors at once: what is decoded and read together is what each tensor says and reads by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.arrays import assert_same, sample_array
from tests.support.bundle_writer import FULL, Saved, encode_field, write_bundle
from tfbundle import ChecksumError, FormatError, MissingFileError, TruncatedError
from tfbundle.checkpoint.v2 import bulk
from tfbundle.formats.checksum import crc32c
from tfbundle.formats.table.reader import Table
from tfbundle.storage.base import Source
from tfbundle.storage.local import LocalSource


@pytest.fixture(autouse=True, scope="module")
def _even_few() -> Iterator[None]:
    """Take the way of the many from the first tensor on, so that small files will do for the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_FEWEST", 1)
        patch.setattr(bulk, "_FEWEST_IN_ALL", 1)
        yield


def many(count: int = 300) -> dict[str, np.ndarray[Any, Any]]:
    """Small tensors of a few types and shapes, in no order."""
    shapes = [(), (3,), (4, 5), (0,), (100,)]
    types = ["float32", "int64", "bfloat16", "bool", "complex64", "int4", "object"]
    return {
        f"t{number * 7919 % 1000:03}/{number}": sample_array(types[number % 7], shapes[number % 5], number)
        for number in range(count)
    }


def check_facts(path: Path) -> None:
    """Hold what is known of all tensors at once against what each says by itself, errors included."""
    with tfbundle.open_checkpoint(path) as checkpoint:
        for name, tensor in checkpoint.items():
            assert outcome(tensor) == outcome(checkpoint[name])
        store = checkpoint._store
        for name, facts in zip(checkpoint, store.all_facts(), strict=True):
            assert facts in (None, store.facts(name, store.find(name)) if facts else None)  # type: ignore[arg-type]


def outcome(tensor: tfbundle.Tensor) -> object:
    try:
        return tensor.shape, tensor.data_type, tensor.slices, tensor.nbytes
    except FormatError as error:
        return str(error)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads of data files."""
    sizes: list[int] = []
    read_at, read_into = LocalSource.read_at, LocalSource.read_into

    def spy_at(self: LocalSource, offset: int, size: int) -> bytes:
        sizes.extend([size] if size and ".data-" in self.path else [])
        return read_at(self, offset, size)

    def spy_into(self: LocalSource, offset: int, buffer: memoryview) -> None:
        sizes.extend([len(buffer)] if ".data-" in self.path else [])
        read_into(self, offset, buffer)

    monkeypatch.setattr(LocalSource, "read_at", spy_at)
    monkeypatch.setattr(LocalSource, "read_into", spy_into)
    return sizes


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("alignment", [1, 64])
@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_many(tmp_path: Path, byteorder: str, alignment: int, verify: bool) -> None:
    arrays = many()
    saved = {name: Saved(array, shards=[number % 3]) for number, (name, array) in enumerate(arrays.items())}
    write_bundle(tmp_path / "b", saved, num_shards=3, byteorder=byteorder, alignment=alignment)
    check_facts(tmp_path / "b")
    loaded = tfbundle.load(tmp_path / "b", verify=verify)
    assert list(loaded) == sorted(arrays)
    for name, array in loaded.items():
        assert_same(array, arrays[name])
        assert array.flags.writeable
        assert array.base is None or array.base.nbytes <= array.nbytes


def test_neighbours_are_one_read(tmp_path: Path, reads: list[int]) -> None:
    arrays = {f"t{number:04}": np.full(5, number, np.float32) for number in range(2000)}
    write_bundle(tmp_path / "b", arrays)
    loaded = tfbundle.load(tmp_path / "b")
    assert sum(reads) == 2000 * 20
    assert len(reads) < 10
    for name, array in arrays.items():
        assert_same(loaded[name], array)


def test_offsets_that_continue_in_another_shard(tmp_path: Path) -> None:
    """They are neighbours in number alone; without checksums nothing else would show it."""
    a, b = np.arange(5, dtype=np.float32), np.arange(5, 10, dtype=np.float32)
    tensors = {
        "a": Saved(a, shards=[1]),
        "b": Saved(b, shards=[2]),
        "before_a": Saved(np.zeros(20, np.uint8), shards=[1]),
        "before_b": Saved(np.zeros(40, np.uint8), shards=[2]),
        "behind_a": Saved(np.full(60, 9, np.uint8), shards=[1]),
    }
    order = ["before_a", "before_b", "a", "b", "behind_a"]
    placed = write_bundle(tmp_path / "m", {name: tensors[name] for name in order}, num_shards=3)
    assert (placed["a"][0].offset, placed["b"][0].offset) == (20, 40)
    loaded = tfbundle.load(tmp_path / "m", names=["a", "b"], verify=False)
    assert_same(loaded["a"], a)
    assert_same(loaded["b"], b)


def test_what_was_not_asked_for_is_not_read(tmp_path: Path, reads: list[int]) -> None:
    arrays = {f"t{number:04}": np.full(1000, number, np.float32) for number in range(100)}
    write_bundle(tmp_path / "b", arrays)
    loaded = tfbundle.load(tmp_path / "b", names=["t0003", "t0090"])
    assert sum(reads) == 8000
    assert (loaded["t0090"] == 90).all()


@pytest.mark.parametrize(("count", "every_block"), [(64, False), (65, True)])
def test_a_few_names_are_looked_up_without_a_scan_of_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, every_block: bool
) -> None:
    names = [f"layer_{number:06}/{'kernel' * 30}" for number in range(5_000)]
    tfbundle.save(tmp_path / "m", {name: np.float32(number) for number, name in enumerate(names)})
    decoded: list[int] = []
    block = Table.block
    monkeypatch.setattr(Table, "block", lambda table, number: [decoded.append(number), block(table, number)][1])
    loaded = tfbundle.load(tmp_path / "m", names=names[:count])
    assert [int(value) for value in loaded.values()] == list(range(count))
    read = set(decoded)
    blocks = len(list(Table(LocalSource(tmp_path / "m.index")).blocks()))
    assert blocks > 3
    assert (set(range(blocks)) <= read) == every_block


def test_kinds_that_take_turns_are_read_together(tmp_path: Path, reads: list[int]) -> None:
    """Layer by layer, as models are saved: no tensor has a neighbour of its own type and shape."""
    shapes = {"bias": (5,), "kernel": (5, 3), "step": ()}
    arrays = {
        f"layer_{number:02}/{name}": sample_array(dtype, shape, number)
        for number in range(40)
        for (name, shape), dtype in zip(shapes.items(), ["float32", "bfloat16", "int64"], strict=True)
    }
    write_bundle(tmp_path / "b", arrays)
    loaded = tfbundle.load(tmp_path / "b")
    assert reads == [40 * (20 + 30 + 8)]
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert_same(loaded[name], array)


def test_more_than_are_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]) -> None:
    monkeypatch.setattr(bulk, "_BATCH", 7)
    arrays = {f"t{number:03}": np.full(number % 3, number, np.float32) for number in range(100)}
    write_bundle(tmp_path / "b", arrays)
    check_facts(tmp_path / "b")
    loaded = tfbundle.load(tmp_path / "b")
    assert len(reads) == 1
    for name, array in arrays.items():
        assert_same(loaded[name], array)


def test_few_are_left_to_the_ordinary_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]) -> None:
    monkeypatch.setattr(bulk, "_FEWEST", 10)
    shapes = [(2,)] * 9 + [(40_000,)] + [(2,)] * 10 + [(3,)] * 9 + [(2,)]
    arrays = {f"t{number:02}": sample_array("float32", shape, number) for number, shape in enumerate(shapes)}
    write_bundle(tmp_path / "b", arrays)
    loaded = tfbundle.load(tmp_path / "b")
    assert sorted(reads) == sorted([8] * 9 + [160_000] + [11 * 8 + 9 * 12] + [12] * 9)
    for name, array in arrays.items():
        assert_same(loaded[name], array)


@pytest.mark.parametrize("count", [63, 64])
def test_few_in_all_are_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int], count: int
) -> None:
    monkeypatch.setattr(bulk, "_FEWEST_IN_ALL", 64)
    write_bundle(tmp_path / "b", {f"t{number:02}": np.full(2, number, np.float32) for number in range(count)})
    loaded = tfbundle.load(tmp_path / "b")
    assert len(reads) == (count if count < 64 else 1)
    assert [int(array[0]) for array in loaded.values()] == list(range(count))


def test_stretches_are_bounded(tmp_path: Path, reads: list[int]) -> None:
    arrays = {f"t{number:04}": np.full(10_000, number, np.float32) for number in range(300)}
    write_bundle(tmp_path / "b", arrays)
    loaded = tfbundle.load(tmp_path / "b")
    assert max(reads) <= 4 << 20
    assert sum(reads) == 300 * 40_000
    for name, array in arrays.items():
        assert_same(loaded[name], array)


@pytest.mark.parametrize(
    ("lies", "error_class"),
    [
        ({"crc": 1}, ChecksumError),
        ({"crc": None}, ChecksumError),
        ({"offset": 0}, ChecksumError),
        ({"offset": -1}, FormatError),
        ({"offset": 1 << 40}, TruncatedError),
        ({"offset": (1 << 63) - 1}, TruncatedError),
        ({"size": 4}, FormatError),
        ({"size": 1 << 40}, FormatError),
        ({"shard": 1}, FormatError),
        ({"shard": 1 << 30}, FormatError),
        ({"shard": -1}, FormatError),
        ({"dtype": 2}, FormatError),
        ({"shape": (1 << 40,)}, FormatError),
        ({"slices": [((0, 5),)]}, FormatError),
        ({"raw": b"\x08\1\x12\4\x12\2\x08\5"}, FormatError),
        ({"raw": b"\x08\1\x12\4\x12\2\x08\5" + b"\x28" + b"\xff" * 12}, FormatError),
        ({"raw": b"\x08\1\x12\x7f\x12\2\x08\5"}, FormatError),
        ({"raw": b"\x08\1\x12\4"}, FormatError),
    ],
    ids=range(18),
)
def test_one_that_lies_among_many(tmp_path: Path, lies: dict[str, Any], error_class: type[FormatError]) -> None:
    arrays = {f"t{number:02}": np.full(5, number, np.float32) for number in range(50)}
    write_bundle(tmp_path / "b", {**arrays, "t25": Saved(arrays["t25"], lies=lies)})
    check_facts(tmp_path / "b")
    with pytest.raises(error_class) as caught:
        tfbundle.load(tmp_path / "b")
    assert caught.value.tensor == "t25"
    loaded = tfbundle.load(tmp_path / "b", names=[name for name in arrays if name != "t25"])
    for name, array in loaded.items():
        assert_same(array, arrays[name])


def test_entries_in_an_unusual_form(tmp_path: Path) -> None:
    """Fields in another order, zeros that are spelled out, longer varints: the same tensor."""
    array = np.arange(5, dtype=np.float32)
    (place,) = write_bundle(tmp_path / "a", {"v": array})["v"]
    crc = b"\x35" + place.crc.to_bytes(4, "little")
    head = b"\x08\1\x12\4\x12\2\x08\5"
    forms = [
        head + encode_field(5, 20) + crc,
        head + encode_field(3, 0) + encode_field(4, 0) + encode_field(5, 20) + crc,
        head + b"\x28\x94\x80\x00" + crc,
        head + b"\x28\x94\x80\x80\x80\x80\x80\x80\x80\x80\x00" + crc,
        crc + encode_field(5, 20) + head,
        head + crc + encode_field(5, 20),
        head + encode_field(5, 7) + encode_field(5, 20) + crc,
        b"\x08\x81\x00" + head[2:] + encode_field(5, 20) + crc,
        head + encode_field(5, 20) + crc + b"\xf8\x06\x2a",
        head + encode_field(5, 20) + b"\x35\0\0\0\0" + crc,
    ]
    write_bundle(tmp_path / "a", {f"v{n}": Saved(array[:0], lies={"raw": raw}) for n, raw in enumerate(forms)})
    (tmp_path / "a.data-00000-of-00001").write_bytes(array.tobytes())
    check_facts(tmp_path / "a")
    loaded = tfbundle.load(tmp_path / "a")
    assert len(loaded) == len(forms)
    for found in loaded.values():
        assert_same(found, array)


def test_facts_of_the_usual_form_are_known_at_once(tmp_path: Path) -> None:
    arrays = many(100)
    write_bundle(tmp_path / "b", {**arrays, "other": Saved(np.zeros(1), lies={"raw": b"\x28\0\x08\1"})})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        facts = dict(zip(checkpoint, checkpoint._store.all_facts(), strict=True))
        assert facts.pop("other") is None
        assert {name: known.shape for name, known in facts.items() if known} == {
            name: array.shape for name, array in arrays.items()
        }


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_arrays_to_copy_are_known_at_once(tmp_path: Path, byteorder: str) -> None:
    arrays = many(100)
    others: dict[str, Any] = {
        "text": np.array([b"a", b"bc"], object),
        "parts": Saved(np.zeros((4, 2), np.float32), slices=[((0, 2), FULL), ((2, 2), FULL)]),
        "short": Saved(np.zeros(3, np.float32), lies={"size": 8}),
        "negative": Saved(np.zeros(3, np.float32), lies={"offset": -1}),
    }
    saved = {name: Saved(array, shards=[number % 3]) for number, (name, array) in enumerate(arrays.items())}
    write_bundle(tmp_path / "b", {**saved, **others}, num_shards=3, byteorder=byteorder)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        together = dict(zip(checkpoint, checkpoint.all_copyable(), strict=True))
        if byteorder == "big":
            assert set(together.values()) == {()}
            return
        texts = {name for name, array in arrays.items() if array.dtype.hasobject}
        assert {name for name, found in together.items() if found is None} == others.keys() | texts
        for name, array in arrays.items():
            if name in texts:
                continue
            (found,), (alone,) = together[name] or (), checkpoint[name].copyable()
            assert found[:-1] == alone[:-1]
            sink = Written()
            assert found.copy(sink) == crc32c(sink.data)
            assert sink.data == array.tobytes()


class Written:
    """A sink in memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | memoryview, /) -> None:
        self.data += data

    def copy_range(self, source: Source, offset: int, buffer: memoryview) -> bool:
        return False


def test_absent_shard_among_many(tmp_path: Path) -> None:
    arrays = many(40)
    saved = {name: Saved(array, shards=[number % 2]) for number, (name, array) in enumerate(arrays.items())}
    write_bundle(tmp_path / "b", saved, num_shards=2, leave_out=[1])
    with pytest.raises(MissingFileError) as caught:
        tfbundle.load(tmp_path / "b")
    assert caught.value.shard == 1
    here = [name for name, tensor in saved.items() if tensor.shards == [0]]
    assert list(tfbundle.load(tmp_path / "b", names=here)) == here


@given(st.data())
def test_any_mixture(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Tensors that share their bytes, lie in any order, and are partitioned in between."""
    pool = sample_array("uint8", (200,), seed=1)
    arrays: dict[str, Any] = {"pool": pool}
    lies: dict[str, Any] = {}
    for number in range(data.draw(st.integers(1, 12))):
        dtype = np.dtype(data.draw(st.sampled_from(["uint8", "int16", "float32", "float64"])))
        length = data.draw(st.integers(0, 200 // dtype.itemsize))
        offset = data.draw(st.integers(0, 200 - length * dtype.itemsize))
        name = data.draw(st.sampled_from("abcdefgh")) + str(number)
        arrays[name] = pool[offset : offset + length * dtype.itemsize].copy().view(dtype)
        lies[name] = offset
    saved: dict[str, Any] = {"pool": Saved(pool)}
    saved |= {name: Saved(arrays[name], lies={"offset": offset}) for name, offset in lies.items()}
    arrays["parts"] = sample_array("float32", (4, 2))
    saved["parts"] = Saved(arrays["parts"], slices=[((0, 2), FULL), ((2, 2), FULL)])
    prefix = tmp_path_factory.mktemp("bulk") / "b"
    write_bundle(prefix, saved)
    loaded = tfbundle.load(prefix, names=data.draw(st.permutations(list(arrays))))
    for name, array in arrays.items():
        assert_same(loaded[name], array)
