"""Dask arrays of tensors: equal to what is read, one request a chunk, here and in other processes."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.arrays import DTYPES, assert_same, object_array, sample_array
from tests.support.bundle_writer import FULL, Saved, data_file, write_bundle
from tests.support.dask_cluster import Cluster
from tests.support.http_server import serving
from tests.tensors.test_store_contract import OPENERS, values_of
from tfbundle import ChecksumError, FormatError, UnsupportedError
from tfbundle.limits import MOST_CHUNKS
from tfbundle.storage.local import LocalSource
from tfbundle.tensors.dask_arrays import LazyTensor

dask = pytest.importorskip("dask", reason="dask is not installed")
base = pytest.importorskip("dask.base")

ROWS = np.arange(1000 * 8, dtype=np.float32).reshape(1000, 8)
TRAINING = Path(__file__).resolve().parents[2] / "fixtures" / "tf-1.15.5" / "training" / "model.ckpt-40"


def compute(array: Any, scheduler: str = "sync") -> Any:
    return array.compute(scheduler=scheduler)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Offset and size of each read of a data file."""
    found: list[tuple[int, int]] = []
    read_into, read_at = LocalSource.read_into, LocalSource.read_at

    def note(self: LocalSource, offset: int, size: int) -> None:
        if ".data-" in self.path and size:
            found.append((offset, size))

    def counting_read_into(self: LocalSource, offset: int, buffer: memoryview) -> None:
        note(self, offset, len(buffer))
        read_into(self, offset, buffer)

    def counting_read_at(self: LocalSource, offset: int, size: int) -> bytes:
        note(self, offset, size)
        return read_at(self, offset, size)

    monkeypatch.setattr(LocalSource, "read_into", counting_read_into)
    monkeypatch.setattr(LocalSource, "read_at", counting_read_at)
    return found


@pytest.mark.parametrize("chunk_bytes", [None, 16, 1])
@pytest.mark.parametrize("opener", OPENERS)
def test_every_kind_of_store(tmp_path: Path, opener: str, chunk_bytes: int | None) -> None:
    with OPENERS[opener](tmp_path) as tensors:
        expected = values_of(tensors._store)
        arrays = tensors.to_dask(chunk_bytes=chunk_bytes)  # type: ignore[attr-defined]
        one = tensors["a"].to_dask(chunk_bytes)
    assert sorted(arrays) == sorted(expected)
    for scheduler in ("sync", "threads"):
        computed = dict(zip(arrays, dask.compute(*arrays.values(), scheduler=scheduler), strict=True))
        for name, array in expected.items():
            assert arrays[name].shape == array.shape
            assert arrays[name].dtype == array.dtype
            assert_same(np.asarray(computed[name]), array)
    assert one.name == arrays["a"].name


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_every_type(tmp_path: Path, byteorder: str) -> None:
    shapes = {"matrix": (5, 3), "scalar": (), "empty": (0, 3), "none": (4, 0)}
    arrays = {f"{name}/{kind}": sample_array(name, shape) for name in DTYPES for kind, shape in shapes.items()}
    write_bundle(tmp_path / "m", arrays, byteorder=byteorder)
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint.to_dask(chunk_bytes=6)
    for name, array in arrays.items():
        assert_same(np.asarray(compute(lazy[name])), array)


def test_names_are_chosen_as_by_load() -> None:
    with tfbundle.open_checkpoint(TRAINING) as checkpoint:
        assert list(checkpoint.to_dask("fc1/weights")) == ["fc1/weights"]
        assert list(checkpoint.to_dask("fc1/*")) == list(tfbundle.load(TRAINING, names="fc1/*"))
        renamed = checkpoint.to_dask({"fc1/weights": "w"})
        assert list(renamed) == ["w"]
        with pytest.raises(KeyError, match="did you mean"):
            checkpoint.to_dask(["fc1/weight"])
    assert_same(compute(renamed["w"]), tfbundle.load(TRAINING)["fc1/weights"])


def test_saved_models() -> None:
    folder = next(
        path.parent for path in TRAINING.parents[2].rglob("saved_model.pb") if (path.parent / "variables").is_dir()
    )
    with tfbundle.open_checkpoint(folder) as checkpoint:
        arrays = checkpoint.to_dask()
        for name, array in tfbundle.load(folder).items():
            assert_same(np.asarray(compute(arrays[name])), array)


def test_chunks_are_rows_and_each_is_one_read(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    write_bundle(tmp_path / "m", {"w": ROWS, "x": ROWS[:, :1]})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint["w"].to_dask(chunk_bytes=32 * 300)
        assert reads == []
    assert lazy.chunks == ((300, 300, 300, 100), (8,))
    assert_same(compute(lazy), ROWS)
    assert sorted(reads) == [(32 * start, 32 * min(300, 1000 - start)) for start in range(0, 1000, 300)]
    reads.clear()
    assert_same(compute(lazy[310:320]), ROWS[310:320])
    assert reads == [(32 * 310, 320)]  # Only the selected part of the chunk.
    assert_same(np.asarray(compute(lazy[7, 3])), ROWS[7, 3, ...])


def test_indices_of_dask(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    write_bundle(tmp_path / "m", {"w": ROWS})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint["w"].to_dask(chunk_bytes=32 * 300)
    for index in (
        np.s_[::-1],
        np.s_[5:900:7, ::2],
        np.s_[-1],
        np.s_[:, 2],
        np.s_[None, 3:5, None],
        np.s_[[17, 3, 3, 950]],
        np.s_[[17, 3, 3, 950], 1],
        np.s_[[17, 3, 3, 950], 1:3],
        np.s_[:, [3, 1]],
        np.s_[4:8, [3, 1]],
        np.s_[4, [3, 1]],
        np.s_[[]],
        np.s_[ROWS[:, 0] % 3 == 0],
    ):
        assert_same(np.asarray(compute(lazy[index])), ROWS[index])
    # Some versions of dask combine the list with the slice of the chunk.
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        tensor = LazyTensor(checkpoint["w"])
    reads.clear()
    assert_same(tensor[[17, 3, 3], 1:3], ROWS[[17, 3, 3], 1:3])
    assert sum(size for _, size in reads) < 32 * 16
    assert_same(tensor[2:4, np.array([], np.int64)], ROWS[2:4, :0])


def test_rows_that_are_too_large_are_divided(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    wide = np.arange(3 * 100, dtype=np.int64).reshape(3, 100)
    write_bundle(tmp_path / "m", {"w": wide})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint["w"].to_dask(chunk_bytes=799)
        assert checkpoint["w"].to_dask(chunk_bytes=800).chunks == ((1, 1, 1), (100,))
    assert lazy.chunks == ((1, 1, 1), (99, 1))
    assert_same(compute(lazy), wide)
    assert len(reads) == 6


def test_slices_of_partitioned_tensors_are_read_separately(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    slices = [((0, 300), FULL), ((300, 700), FULL)]
    uneven = [((0, 1000), (0, 3)), ((0, 400), (3, 5)), ((400, 600), (3, 5))]
    saved = {"u": Saved(ROWS, slices=uneven, shards=(0, 1, 0)), "w": Saved(ROWS, slices=slices, shards=(0, 1))}
    write_bundle(tmp_path / "m", saved, num_shards=2)
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint.to_dask(chunk_bytes=32 * 400)
    assert lazy["w"].chunks == ((300, 400, 300), (8,))
    assert_same(compute(lazy["w"]), ROWS)
    assert len(reads) == 3
    assert lazy["u"].chunks == ((400, 400, 200), (8,))
    assert_same(compute(lazy["u"]), ROWS)


def test_what_a_checksum_covers_is_verified(tmp_path: Path) -> None:
    slices = [((0, 300), FULL), ((300, 700), FULL)]
    placed = write_bundle(tmp_path / "m", {"p": Saved(ROWS, slices=slices, shards=(0, 0)), "w": ROWS})
    path = data_file(tmp_path / "m")
    content = bytearray(path.read_bytes())
    for places in placed.values():
        content[places[0].offset] ^= 1
    path.write_bytes(content)
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        for name in ("p", "w"):
            with pytest.raises(ChecksumError):
                compute(checkpoint[name].to_dask())
        parts = checkpoint["w"].to_dask(chunk_bytes=32 * 999)  # Nothing covers a part, as the documentation states.
        assert compute(parts)[1:].tolist() == ROWS[1:].tolist()
        assert_same(compute(checkpoint["p"].to_dask(32 * 300)[300:]), ROWS[300:])


def test_a_replaced_checkpoint_is_an_error(tmp_path: Path) -> None:
    tfbundle.save(tmp_path / "m", {"w": ROWS})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint["w"].to_dask(chunk_bytes=32 * 300)
    tfbundle.save(tmp_path / "m", {"w": ROWS + 1})
    with pytest.raises(FormatError, match="replaced since"):
        compute(lazy)
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        lazy = checkpoint["w"].to_dask(chunk_bytes=32 * 300)
        assert_same(compute(lazy[:1]), ROWS[:1] + 1)
        tfbundle.save(tmp_path / "m", {"w": ROWS + 2})
        with pytest.raises(FormatError, match=r"replaced|overwritten"):
            compute(lazy)


TOKENS = """
import sys, dask.base, tfbundle
with tfbundle.open_checkpoint(sys.argv[1]) as checkpoint:
    print(dask.base.tokenize(checkpoint["w"]), checkpoint["w"].to_dask(100).name)
"""


def tokens(path: Path) -> list[str]:
    with tfbundle.open_checkpoint(path) as checkpoint:
        return [base.tokenize(checkpoint["w"]), checkpoint["w"].to_dask(100).name]


def test_tokens_identify_the_version_of_a_file(tmp_path: Path) -> None:
    tfbundle.save(tmp_path / "m", {"w": ROWS, "x": ROWS})
    first = tokens(tmp_path / "m")
    assert first == tokens(tmp_path / "m")
    command = [sys.executable, "-c", TOKENS, str(tmp_path / "m")]
    assert first == subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        tensor = checkpoint["w"]
        assert base.tokenize(pickle.loads(pickle.dumps(tensor))) == base.tokenize(tensor)
        names = {tensor.to_dask(100).name, tensor.to_dask(200).name, checkpoint["x"].to_dask(100).name}
    assert len(names) == 3
    tfbundle.save(tmp_path / "m", {"w": ROWS, "x": ROWS})  # Equal values, but another file.
    assert not set(tokens(tmp_path / "m")) & set(first)


def test_the_number_of_chunks_is_limited(tmp_path: Path) -> None:
    shape = (MOST_CHUNKS, 1 << 20)  # Far more than the file has.
    lies = {"shape": shape, "size": shape[0] * shape[1]}
    write_bundle(tmp_path / "m", {"w": Saved(np.zeros(1, np.int8), lies=lies), "x": np.zeros(2, np.int8)})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert checkpoint["w"].to_dask(chunk_bytes=1 << 20).npartitions == MOST_CHUNKS
        with pytest.raises(UnsupportedError, match="larger chunk_bytes"):
            checkpoint["w"].to_dask(chunk_bytes=(1 << 20) - 1)
        with pytest.raises(UnsupportedError, match="fewer names"):
            checkpoint.to_dask(chunk_bytes=1 << 20)
        with pytest.raises(ValueError, match="at least 1"):
            checkpoint["x"].to_dask(chunk_bytes=0)


def test_without_dask_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with tfbundle.open_checkpoint(TRAINING) as checkpoint:
        for call in (checkpoint.to_dask, checkpoint["fc1/weights"].to_dask):
            with pytest.raises(UnsupportedError, match=r'pip install "tfbundle\[dask\]"'):
                call()


FEW = """
import resource, sys, dask, tfbundle
with tfbundle.open_checkpoint(sys.argv[1]) as checkpoint:
    arrays = checkpoint.to_dask()
dask.compute(arrays["t00"], scheduler="threads", num_workers=8)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
values = dask.compute(*arrays.values(), scheduler="threads", num_workers=8)
print([int(value) for value in values] == list(range(100)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_few_descriptors(tmp_path: Path) -> None:
    tensors = {f"t{number:02d}": Saved(np.array(number), shards=(number,)) for number in range(100)}
    write_bundle(tmp_path / "m", tensors, num_shards=100)
    done = subprocess.run([sys.executable, "-c", FEW, str(tmp_path / "m")], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_urls(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed")
    tfbundle.save(tmp_path / "m", {"w": ROWS, "words": object_array([b"a", b"bc"])})
    with serving(tmp_path) as server, tfbundle.open_checkpoint(f"{server.url}/m") as checkpoint:
        arrays = checkpoint.to_dask(chunk_bytes=32 * 300)
        assert_same(compute(arrays["w"], "threads"), ROWS)
        assert_same(compute(arrays["words"]), object_array([b"a", b"bc"]))
        server.requests.clear()
        assert_same(compute(arrays["w"][300:600]), ROWS[300:600])
        gets = [request for request in server.requests if request[0] == "GET"]
        assert len(gets) <= 1
        tfbundle.save(tmp_path / "m", {"w": ROWS + 1})
        with pytest.raises(FormatError):
            compute(arrays["w"])


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Any]:
    """A client of a scheduler with two workers in another process."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    with distributed.Client(cluster.address) as client:
        yield client


@pytest.mark.filterwarnings("ignore")
def test_processes_of_a_cluster(tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = object_array([b"one", b"", b"\xff\0"])
    saved = {
        "bf": ROWS.astype(ml_dtypes.bfloat16),
        "e": np.zeros((0, 3), np.int16),
        "p": Saved(ROWS, slices=[((0, 300), FULL), ((300, 700), FULL)], shards=(0, 1)),
        "s": np.array(2.5, np.float16),
        "w": ROWS,
        "words": words,
    }
    write_bundle(tmp_path / "m", saved, num_shards=2)
    monkeypatch.chdir(tmp_path)  # The workers have another working folder.
    with tfbundle.open_checkpoint("m") as checkpoint:
        arrays = checkpoint.to_dask(chunk_bytes=32 * 100)
    expected = {name: one.array if isinstance(one, Saved) else one for name, one in saved.items()}
    for name, future in client.compute(arrays).result(timeout=60).items():
        assert_same(np.asarray(future), expected[name])
    assert float(client.compute(arrays["w"].sum()).result(timeout=60)) == float(ROWS.sum())

    def where(block: Any) -> Any:
        import os

        return np.full((1, 1), os.getpid())

    pids = client.compute(arrays["w"].map_blocks(where, dtype=int, chunks=((1,) * 10, (1,)))).result(timeout=60)
    import os

    assert os.getpid() not in set(pids.ravel().tolist())
    tfbundle.save(tmp_path / "m", {"w": ROWS + 1})
    with pytest.raises(FormatError, match="replaced since"):
        client.compute(arrays["w"].max()).result(timeout=60)
