"""The contract of ``tfbundle.Tensor`` (its module says it in five points), enforced on every format."""

import itertools
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same, object_array, sample_array
from tests.support.bundle_writer import FULL, Array, Saved, data_file, write_bundle
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle import FormatError, MissingFileError, TfBundleError
from tfbundle.formats.checksum import crc32c
from tfbundle.storage.local import LocalSource

ARRAYS = {
    "bfloats": sample_array("bfloat16", (4, 6)),
    "bools": sample_array("bool", (4, 6)),
    "cube": sample_array("float32", (4, 6, 5)),
    "empty": sample_array("float32", (4, 0)),
    "integers": sample_array("int64", (4, 6)),
    "scalar": sample_array("float64", ()),
    "words": sample_array("object", (4, 6)),
}
NAMES = tuple(ARRAYS)
INDEXES = (
    0,
    -1,
    slice(1, 3),
    (slice(None), slice(None, None, -2)),
    (2, 3),
    (..., 1),
    (np.newaxis, ..., 0),
    slice(4, 1),
)


def in_halves(shape: tuple[int, ...]) -> list[Any]:
    return [((0, 1), *[FULL] * (len(shape) - 1)), ((1, shape[0] - 1), *[FULL] * (len(shape) - 1))]


def write_plain(prefix: Path, arrays: dict[str, Array]) -> None:
    write_bundle(prefix, arrays)


def write_partitioned(prefix: Path, arrays: dict[str, Array]) -> None:
    saved = {
        name: Saved(array, slices=in_halves(array.shape) if array.ndim > 1 else (), shards=[0, 1])
        for name, array in arrays.items()
    }
    write_bundle(prefix, saved, num_shards=2)


def write_big_endian(prefix: Path, arrays: dict[str, Array]) -> None:
    write_bundle(prefix, arrays, byteorder="big", compress=True)


def write_v1_plain(prefix: Path, arrays: dict[str, Array]) -> None:
    write_v1(prefix, arrays)


def write_v1_partitioned(prefix: Path, arrays: dict[str, Array]) -> None:
    saved = {
        name: V1Saved(array, slices=in_halves(array.shape) if array.ndim > 1 else None)
        for name, array in arrays.items()
    }
    write_v1(prefix, saved, compress=True, block_size=100)


WRITERS: dict[str, Callable[[Path, dict[str, Array]], None]] = {
    "v2": write_plain,
    "v2-partitioned": write_partitioned,
    "v2-big-endian": write_big_endian,
    "v1": write_v1_plain,
    "v1-partitioned": write_v1_partitioned,
}


class Written(NamedTuple):
    """A checkpoint with ``ARRAYS``, in a folder of its own."""

    prefix: Path
    write: Callable[[Path, dict[str, Array]], None]
    is_v1: bool

    def replace(self, arrays: dict[str, Array]) -> None:
        """Put another checkpoint in its place as a writer does, by renaming."""
        other = self.prefix.parent / "other"
        other.mkdir()
        self.write(other / self.prefix.name, arrays)
        for path in other.iterdir():
            os.replace(path, self.prefix.parent / path.name)
        other.rmdir()


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    folder = tmp_path / "run"
    folder.mkdir()
    result = Written(folder / "model", WRITERS[request.param], request.param.startswith("v1"))
    result.write(result.prefix, ARRAYS)
    return result


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """A spawned process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def checkpoint(written: Written) -> Iterator[tfbundle.Checkpoint]:
    with tfbundle.open_checkpoint(written.prefix) as opened:
        yield opened


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Every read of a file from here on: its path, offset and size."""
    seen: list[tuple[str, int, int]] = []
    for name in ("read_at", "read_into", "view"):
        method = getattr(LocalSource, name)

        def spy(self: LocalSource, offset: int, what: Any, method: Any = method) -> Any:
            seen.append((self.path, offset, what if isinstance(what, int) else len(what)))
            return method(self, offset, what)

        monkeypatch.setattr(LocalSource, name, spy)
    return seen


def describe(tensor: tfbundle.Tensor) -> tuple[Any, ...]:
    return (
        tensor.name,
        tensor.shape,
        tensor.ndim,
        tensor.size,
        tensor.dtype,
        tensor.data_type,
        tensor.slices,
        repr(tensor),
        bool(tensor),
    )


# 1. Facts without data.


def test_facts_are_those_of_the_array(checkpoint: tfbundle.Checkpoint) -> None:
    assert set(checkpoint) == set(ARRAYS)
    for name, array in ARRAYS.items():
        tensor = checkpoint[name]
        assert (tensor.name, tensor.shape, tensor.ndim, tensor.size) == (name, array.shape, array.ndim, array.size)
        assert tensor.dtype == array.dtype
        assert tensor.dtype.isnative
        if array.dtype != object:
            assert tensor.nbytes == array.nbytes


def test_facts_read_nothing(checkpoint: tfbundle.Checkpoint, reads: list[tuple[str, int, int]]) -> None:
    tensors = list(checkpoint.values())
    reads.clear()
    for tensor in tensors:
        describe(tensor)
    assert reads == []


def test_facts_need_no_data_files(written: Written) -> None:
    if written.is_v1:
        pytest.skip("a V1 checkpoint keeps facts and values in one file")
    for path in written.prefix.parent.glob("*.data-*"):
        path.unlink()
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        for name, tensor in checkpoint.items():
            assert describe(tensor)[:2] == (name, ARRAYS[name].shape)
            assert pickle.loads(pickle.dumps(tensor)).shape == tensor.shape
        with pytest.raises(MissingFileError):
            checkpoint["cube"].read()


# 2. Reading gives an array that the caller owns.


@pytest.mark.parametrize("name", NAMES)
def test_read(checkpoint: tfbundle.Checkpoint, name: str) -> None:
    array = checkpoint[name].read()
    assert_same(array, ARRAYS[name])
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert array.dtype.isnative


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_the_caller_s_own(checkpoint: tfbundle.Checkpoint, name: str) -> None:
    tensor = checkpoint[name]
    for get in (tensor.read, lambda: tensor[...], lambda: np.asarray(tensor), lambda: tensor[np.newaxis]):
        array = get()
        assert array.flags.writeable
        array[...] = array.dtype.type(1) if array.dtype != object else None
        assert_same(tensor.read(), ARRAYS[name])
        assert not np.shares_memory(get(), array)


def test_asarray(checkpoint: tfbundle.Checkpoint) -> None:
    for name, array in ARRAYS.items():
        assert_same(np.asarray(checkpoint[name]), array)
        assert_same(np.array(checkpoint[name]), array)
    tensor = checkpoint["integers"]
    assert_same(np.asarray(tensor, np.float64), ARRAYS["integers"].astype(np.float64))
    assert_same(np.asarray(tensor, dtype="int64"), ARRAYS["integers"])
    assert_same(tensor.__array__(np.dtype(">i8")), ARRAYS["integers"].astype(">i8"))
    assert_same(tensor.__array__(copy=True), ARRAYS["integers"])
    assert_same(np.add(tensor, 1), ARRAYS["integers"] + 1)
    assert_same(np.stack([tensor, tensor]), np.stack([ARRAYS["integers"]] * 2))


def test_no_array_without_a_copy(checkpoint: tfbundle.Checkpoint) -> None:
    with pytest.raises(ValueError, match="copy=False"):
        checkpoint["cube"].__array__(copy=False)
    if int(np.__version__.split(".")[0]) >= 2:
        with pytest.raises(ValueError, match="copy"):
            np.asarray(checkpoint["cube"], copy=False)


@pytest.mark.parametrize("name", NAMES)
def test_sequence(checkpoint: tfbundle.Checkpoint, name: str) -> None:
    tensor, array = checkpoint[name], ARRAYS[name]
    assert bool(tensor) is True
    if array.ndim == 0:
        with pytest.raises(TypeError):
            len(tensor)
        with pytest.raises(TypeError):
            iter(tensor)
        return
    assert len(tensor) == len(array)
    for found, wanted in itertools.zip_longest(tensor, array):
        assert_same(found, wanted)


def test_checksums_are_verified(written: Written) -> None:
    """A flipped bit anywhere in the data: an error for the tensor it belongs to, and right values for the others."""
    if written.is_v1:
        pytest.skip("a V1 checkpoint has one checksum for all tensors of a block")
    path = next(iter(sorted(written.prefix.parent.glob("*.data-*"))))
    good = path.read_bytes()
    for place in range(0, len(good), 13):
        data = bytearray(good)
        data[place] ^= 1
        path.write_bytes(data)
        refused = set()
        with tfbundle.open_checkpoint(written.prefix) as checkpoint:
            for name, array in ARRAYS.items():
                try:
                    found = checkpoint[name].read()
                except FormatError:
                    refused.add(name)
                else:
                    assert_same(found, array)
        assert len(refused) == 1


# 3. Indexing is that of numpy, and reads no more than it needs.


@pytest.mark.parametrize("name", NAMES)
def test_index(checkpoint: tfbundle.Checkpoint, name: str) -> None:
    tensor, array = checkpoint[name], ARRAYS[name]
    for index in (*INDEXES, (), ...):
        try:
            wanted = array[index]
        except IndexError:
            with pytest.raises(IndexError):
                tensor[index]
            continue
        assert_same(tensor[index], wanted)


def test_no_advanced_index(checkpoint: tfbundle.Checkpoint, reads: list[tuple[str, int, int]]) -> None:
    tensor = checkpoint["cube"]
    reads.clear()
    for index in ([0], np.array([True] * 4), "a", 1.0, (0, [1])):
        with pytest.raises(TypeError):
            tensor[index]
    with pytest.raises(IndexError):
        tensor[4]
    assert reads == []


@pytest.mark.parametrize("partitioned", [False, True])
def test_bytes_that_an_index_reads(tmp_path: Path, reads: list[tuple[str, int, int]], partitioned: bool) -> None:
    array = np.arange(600_000, dtype=np.float64).reshape(300, 2000)
    slices = [((0, 100), FULL), ((100, 200), (0, 1000)), ((100, 200), (1000, 1000))] if partitioned else ()
    write_bundle(tmp_path / "b", {"v": Saved(array, slices=slices)})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        tensor = checkpoint["v"]
        for index in (7, (slice(99, 101), slice(10, 20)), (-1, -1), slice(None, None, 50), (..., 3), slice(5, 5)):
            reads.clear()
            found = tensor[index]
            assert_same(found, array[index])
            in_data = [size for path, _, size in reads if ".data-" in path and size]
            assert sum(in_data) == found.nbytes


# 4. No cursor.


def test_threads(checkpoint: tfbundle.Checkpoint) -> None:
    def work(number: int) -> None:
        name = NAMES[number % len(NAMES)]
        tensor, array = checkpoint[name], ARRAYS[name]
        if number % 3 == 0 or array.ndim < 2 or not array.size:
            assert_same(tensor.read(), array)
        else:
            index = INDEXES[number % len(INDEXES)]
            assert_same(tensor[index], array[index])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))


def test_threads_of_one_tensor_in_many_blocks_and_shards(tmp_path: Path) -> None:
    array = np.arange(100_000, dtype=np.int32).reshape(100, 1000)
    slices = [((row, 1), FULL) for row in range(100)]
    write_bundle(tmp_path / "b", {"v": Saved(array, slices=slices, shards=range(100))}, num_shards=100, block_size=50)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint, ThreadPoolExecutor(8) as pool:
        tensor = checkpoint["v"]
        for row, found in enumerate(pool.map(tensor.__getitem__, range(100))):
            assert_same(found, array[row])


# 5. Pickling.


@pytest.mark.parametrize("name", NAMES)
def test_pickle(checkpoint: tfbundle.Checkpoint, name: str) -> None:
    tensor = checkpoint[name]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(tensor, protocol))
        assert describe(copy) == describe(tensor)
        assert_same(copy.read(), ARRAYS[name])
        assert_same(pickle.loads(pickle.dumps(copy)).read(), ARRAYS[name])


def test_pickle_is_small_and_reads_nothing(checkpoint: tfbundle.Checkpoint, reads: list[tuple[str, int, int]]) -> None:
    tensors = list(checkpoint.values())
    reads.clear()
    for tensor in tensors:
        assert len(pickle.dumps(tensor)) < 3000
        pickle.loads(pickle.dumps(tensor)).shape  # noqa: B018
    assert reads == []


def test_unpickled_tensor_outlives_the_checkpoint(written: Written) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        data = pickle.dumps(dict(checkpoint))
    for name, tensor in pickle.loads(data).items():
        assert_same(tensor.read(), ARRAYS[name])


def test_pickle_of_a_relative_path(written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(written.prefix.parent)
    with tfbundle.open_checkpoint(written.prefix.name) as checkpoint:
        monkeypatch.chdir(tmp_path)
        data = pickle.dumps(checkpoint["cube"])
    assert_same(pickle.loads(data).read(), ARRAYS["cube"])


def test_pickle_in_another_process_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every format, in a process that has imported nothing."""
    pickles = []
    for kind, write in WRITERS.items():
        folder = tmp_path / kind
        folder.mkdir()
        write(folder / "model", ARRAYS)
        monkeypatch.chdir(folder)
        with tfbundle.open_checkpoint("model") as checkpoint:
            pickles.append(folder / "tensor.pickle")
            pickles[-1].write_bytes(pickle.dumps([checkpoint["cube"], checkpoint]))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = (
        "import pickle, sys\n"
        "for path in sys.argv[1:]:\n"
        "    tensor, checkpoint = pickle.load(open(path, 'rb'))\n"
        "    assert tensor.read().tobytes() == checkpoint['cube'].read().tobytes()\n"
        "    print(tensor.read().tobytes().hex())\n"
    )
    path = os.pathsep.join([str(Path(tfbundle.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, pickles)],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [ARRAYS["cube"].tobytes().hex()] * len(WRITERS)


def read_tensor(tensor: tfbundle.Tensor) -> bytes:
    return tensor.read().tobytes()


def test_workers(written: Written, worker: ProcessPoolExecutor) -> None:
    """Tensors go to spawned workers."""
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        assert worker.submit(read_tensor, checkpoint["cube"]).result() == ARRAYS["cube"].tobytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename over open files")
def test_errors_of_workers(written: Written, worker: ProcessPoolExecutor) -> None:
    """Errors come back from spawned workers, though they have the replaced files open."""
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        tensor = checkpoint["integers"]
        worker.submit(read_tensor, tensor).result()
        written.replace({name: array[::-1] if array.ndim else array for name, array in ARRAYS.items()})
        with pytest.raises(FormatError, match="replaced") as caught:
            worker.submit(read_tensor, tensor).result()
        assert caught.value.tensor == "integers"


def test_unpickled_tensor_notices_another_checkpoint(written: Written) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        data = {name: pickle.dumps(tensor) for name, tensor in checkpoint.items()}
    written.replace({**ARRAYS, "cube": ARRAYS["cube"][::-1], "words": object_array([b"x"])})
    for name in ("cube", "words"):
        tensor = pickle.loads(data[name])
        assert tensor.shape == ARRAYS[name].shape
        for read in (tensor.read, lambda tensor=tensor: tensor[...], lambda tensor=tensor: tensor.ranges):
            with pytest.raises(FormatError, match="replaced") as caught:
                read()
            assert caught.value.tensor == name


def test_unpickled_tensor_without_its_checkpoint(written: Written) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        data = pickle.dumps(checkpoint["cube"])
    shutil.rmtree(written.prefix.parent)
    tensor = pickle.loads(data)
    assert tensor.shape == ARRAYS["cube"].shape
    with pytest.raises(MissingFileError):
        tensor.read()


def test_checkpoint_pickles(written: Written) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        data = pickle.dumps(checkpoint)
    with pickle.loads(data) as copy:
        assert copy.format == checkpoint.format
        assert_same(copy["cube"].read(), ARRAYS["cube"])


# Closing.


def test_reading_after_close_is_a_value_error(written: Written) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        tensors = dict(checkpoint)
        tensors["cube"].read()
    for name, tensor in tensors.items():
        for read in (tensor.read, lambda tensor=tensor: tensor[...], lambda tensor=tensor: np.asarray(tensor)):
            if written.is_v1 and not tensor.size:
                continue  # It lies nowhere.
            with pytest.raises(ValueError, match="closed") as caught:
                read()
            assert not isinstance(caught.value, TfBundleError)
        assert describe(tensor)[:2] == (name, ARRAYS[name].shape)
    checkpoint.close()


def test_arrays_outlive_close(written: Written) -> None:
    views = tfbundle.load(written.prefix, mmap=True)
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        arrays = {name: tensor.read() for name, tensor in checkpoint.items()}
        parts = {name: tensor[...] for name, tensor in checkpoint.items()}
    for found in (views, arrays, parts):
        for name, array in ARRAYS.items():
            assert_same(found[name], array)


def test_numbers(tmp_path: Path) -> None:
    scalars = {"f": np.float32(1.5), "b": np.array(2.5, "bfloat16"), "i": np.int64(-(2**63)), "z": np.complex64(1 + 2j)}
    write_bundle(tmp_path / "m", {**scalars, "vector": np.arange(2)})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert (float(checkpoint["f"]), float(checkpoint["b"]), int(checkpoint["i"])) == (1.5, 2.5, -(2**63))
        assert complex(checkpoint["z"]) == 1 + 2j
        for name, value in scalars.items():
            if name == "b":  # Numbers are all that ml_dtypes takes.
                continue
            assert_same(np.array([checkpoint[name], checkpoint[name]]), np.array([value, value]))
        for number in (int, float, complex):
            with pytest.raises(TypeError, match=r"'vector' has shape \[2\]"):
                number(checkpoint["vector"])


def test_repr_never_raises(written: Written) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        fresh = list(checkpoint.values())
        assert "cube" in repr(checkpoint["cube"])
        assert "(4, 6, 5)" in repr(checkpoint["cube"])
        assert "float32 (DT_FLOAT)" in repr(checkpoint["cube"])
        assert f"{checkpoint['cube'].nbytes} bytes" in repr(checkpoint["cube"])
    for tensor in fresh:
        assert tensor.name in repr(tensor)
    shutil.rmtree(written.prefix.parent)
    for tensor in fresh:
        assert tensor.name in repr(tensor)


# Where it lies.


def test_ranges_of_v2(tmp_path: Path) -> None:
    for byteorder in ("little", "big"):
        prefix = tmp_path / byteorder
        halves = in_halves((4, 6, 5))
        tensors = {**ARRAYS, "parts": Saved(ARRAYS["cube"], slices=halves, shards=[1, 0])}
        placed = write_bundle(prefix, tensors, num_shards=2, byteorder=byteorder, alignment=32)
        with tfbundle.open_checkpoint(prefix) as checkpoint:
            for name, tensor in checkpoint.items():
                assert [range_[:3] for range_ in tensor.ranges] == [
                    (str(data_file(prefix, place.shard, 2)), place.offset, place.size) for place in placed[name]
                ]
                for path, offset, size, crc in tensor.ranges:
                    data = Path(path).read_bytes()[offset : offset + size]
                    assert len(data) == size
                    assert tensor.dtype == object or crc == crc32c(data)
            order = "<" if byteorder == "little" else ">"
            ((path, offset, size, _),) = checkpoint["integers"].ranges
            data = Path(path).read_bytes()[offset : offset + size]
            assert data == ARRAYS["integers"].astype(order + "i8").tobytes()
            assert checkpoint["words"].nbytes == placed["words"][0].size


def test_ranges_of_v1(tmp_path: Path) -> None:
    """A slice of a V1 checkpoint lies somewhere in a block, whose checksum covers the type byte after it too."""
    write_v1_partitioned(tmp_path / "model", ARRAYS)
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        data = (tmp_path / "model").read_bytes()
        for tensor in checkpoint.values():
            assert 1 <= len(tensor.ranges) <= 2
            for path, offset, size, crc in tensor.ranges:
                assert path == str(tmp_path / "model")
                assert crc in (crc32c(data[offset : offset + size]), None)


def test_ranges_need_no_data(written: Written, reads: list[tuple[str, int, int]]) -> None:
    with tfbundle.open_checkpoint(written.prefix) as checkpoint:
        ranges = {name: tensor.ranges for name, tensor in checkpoint.items()}
    assert not [path for path, _, _ in reads if ".data-" in path]
    for found in ranges.values():
        for path, offset, size, _ in found:
            assert 0 <= offset <= offset + size <= Path(path).stat().st_size
