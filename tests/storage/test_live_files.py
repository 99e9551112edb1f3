"""Checkpoints that a training job overwrites or deletes while they are read.

What comes out is what was there when the checkpoint was opened, or an error that says so; never a mixture.
"""

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import FULL, Saved, data_file, write_bundle
from tests.support.v1_writer import write_v1
from tfbundle import FormatError, MissingFileError, TfBundleError
from tfbundle.limits import MOST_OPEN_FILES
from tfbundle.storage.local import LocalSource

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows neither renames over nor deletes open files")

SHAPE = (40, 50)
HALVES = [((0, 20), FULL), ((20, 20), FULL)]


def generation(number: int) -> dict[str, Any]:
    """Tensors in two shards that all hold one number."""
    array = np.full(SHAPE, number, np.int32)
    return {
        "first": array,
        "second": Saved(array, shards=[1]),
        "parts": Saved(array, slices=HALVES, shards=[0, 1]),
    }


def save(prefix: Path, number: int) -> None:
    """Write a generation beside the old one, then rename it into place: data first, the index last."""
    folder = prefix.parent / "saving"
    folder.mkdir(exist_ok=True)
    write_bundle(folder / prefix.name, generation(number), num_shards=2)
    for path in (data_file(prefix, 0, 2), data_file(prefix, 1, 2), Path(f"{prefix}.index")):
        os.replace(folder / path.name, path)


def overwrite(path: Path, data: bytes) -> None:
    """Write to a file in place, at a later time by the file system's clock."""
    later = os.stat(path).st_mtime_ns + 1_000_000_000
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
    os.utime(path, ns=(later, later))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    save(path, 1)
    return path


READS: dict[str, Callable[[tfbundle.Tensor], Any]] = {
    "read": lambda tensor: tensor.read(),
    "part": lambda tensor: tensor[5:30, 3],
    "element": lambda tensor: tensor[39, 49],
    "array": np.asarray,
}


@pytest.mark.parametrize("name", ["first", "second", "parts"])
@pytest.mark.parametrize("read", READS)
def test_replaced_before_its_data_was_opened(prefix: Path, name: str, read: str) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        tensor = checkpoint[name]
        save(prefix, 2)
        with pytest.raises(FormatError, match="overwritten or deleted") as caught:
            READS[read](tensor)
        assert caught.value.tensor == name
    assert (READS[read](tfbundle.open_checkpoint(prefix)[name]) == 2).all()


@pytest.mark.parametrize("read", READS)
def test_replaced_after_its_data_was_opened(prefix: Path, read: str) -> None:
    """Open files keep what they held; but without a checksum, nothing tells that they were opened before."""
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert (checkpoint["parts"].read() == 1).all()
        save(prefix, 2)
        for name in ("first", "second", "parts"):
            if read in ("read", "array"):
                assert (READS[read](checkpoint[name]) == 1).all()
            else:
                with pytest.raises(FormatError, match="overwritten") as caught:
                    READS[read](checkpoint[name])
                assert caught.value.tensor == name


def replace(prefix: Path, number: int, *which: int) -> None:
    """Rename some shards of a generation into place, and leave the index to be the old one."""
    other = prefix.parent / "other" / "model"
    other.parent.mkdir(exist_ok=True)
    save(other, number)
    for shard in which:
        os.replace(data_file(other, shard, 2), data_file(prefix, shard, 2))


UNVERIFIED: dict[str, Callable[[Path], Any]] = {
    "parts": lambda prefix: tfbundle.open_checkpoint(prefix),
    "unverified": lambda prefix: tfbundle.open_checkpoint(prefix, verify=False),
}


@pytest.mark.parametrize("how", UNVERIFIED)
def test_unverified_reads_while_the_writer_is_halfway(prefix: Path, how: str) -> None:
    """It has renamed its data files, and the index not yet."""
    with UNVERIFIED[how](prefix) as checkpoint:
        assert (checkpoint["first"][3:5] == 1).all()
        replace(prefix, 2, 0, 1)
        for name in ("first", "second", "parts"):
            with pytest.raises(FormatError, match="overwritten"):
                checkpoint[name][...]


@pytest.mark.parametrize("how", UNVERIFIED)
def test_unverified_reads_once_the_writer_is_done(prefix: Path, how: str) -> None:
    """What was opened while it was halfway is of the new generation, which nothing tells until its index is there."""
    with UNVERIFIED[how](prefix) as checkpoint:
        replace(prefix, 2, 0, 1)
        assert (checkpoint["first"][3:5] == 2).all()
        os.replace(f"{prefix.parent}/other/model.index", f"{prefix}.index")
        for name in ("first", "second", "parts"):
            with pytest.raises(FormatError, match="overwritten"):
                checkpoint[name][...]


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("shards", [(0,), (1,), (0, 1)])
def test_unverified_load_while_a_writer_begins(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, shards: tuple[int, ...], mmap: bool
) -> None:
    """The writer begins when the second data file is opened, so that the first was still the old one."""
    open_source = LocalSource.__init__

    def open_and_replace(self: LocalSource, path: Any, *base: Any) -> None:
        open_source(self, path, *base)
        if os.fspath(path).endswith("data-00001-of-00002") and "other" not in os.fspath(path):
            replace(prefix, 2, *shards)

    monkeypatch.setattr(LocalSource, "__init__", open_and_replace)
    with pytest.raises(FormatError, match="overwritten"):
        tfbundle.load(prefix, verify=False, mmap=mmap)


def test_replaced_between_two_shards(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert (checkpoint["first"].read() == 1).all()
        save(prefix, 2)
        assert (checkpoint["first"].read() == 1).all()
        for name in ("second", "parts"):
            with pytest.raises(FormatError, match="overwritten"):
                checkpoint[name].read()


def test_data_that_is_newer_than_the_index(prefix: Path) -> None:
    """The writer is halfway: the data is new, the index still the old one."""
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        tensor = checkpoint["first"]
        replace(prefix, 2, 0)
        with pytest.raises(FormatError):
            tensor.read()


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("opened", [False, True])
def test_data_that_is_overwritten_in_place(prefix: Path, opened: bool, read: str) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        if opened:
            assert (checkpoint["first"].read() == 1).all()
        overwrite(data_file(prefix, 0, 2), np.full(5000, 2, np.int32).tobytes())
        if not opened and read not in ("read", "array"):
            # Nothing tells that the bytes were others: parts have no checksum, and the index is as it was.
            assert (READS[read](checkpoint["first"]) == 2).all()
            return
        with pytest.raises(FormatError):
            READS[read](checkpoint["first"])


def test_shard_that_was_closed_in_between(tmp_path: Path) -> None:
    """Of many shards some are closed while others are read; each has to come back as the file that it was."""
    count = MOST_OPEN_FILES + 1
    arrays = {f"t{number:02}": np.full(SHAPE, number, np.int32) for number in range(count)}
    saved = {name: Saved(array, shards=[number]) for number, (name, array) in enumerate(arrays.items())}
    write_bundle(tmp_path / "b", saved, num_shards=count)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        for name in arrays:
            assert checkpoint[name][0, 0] == arrays[name][0, 0]
        overwrite(data_file(tmp_path / "b", 0, count), np.full(SHAPE, 7, np.int32).tobytes())
        with pytest.raises(FormatError, match="overwritten"):
            checkpoint["t00"][0, 0]


@pytest.mark.parametrize("size", [50, 50_000], ids=["small", "large"])
def test_data_that_is_overwritten_while_load_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Without checksums it is the file's time of change that tells."""
    write_bundle(tmp_path / "b", {name: np.zeros(size, np.int32) for name in "abc"})
    data = data_file(tmp_path / "b")
    for method in ("read_at", "read_into"):
        read = getattr(LocalSource, method)

        def read_and_overwrite(self: LocalSource, offset: int, what: Any, read: Any = read) -> Any:
            result = read(self, offset, what)
            if ".data-" in self.path and what:
                overwrite(data, np.ones(3 * size, np.int32).tobytes())
            return result

        monkeypatch.setattr(LocalSource, method, read_and_overwrite)
    with pytest.raises(FormatError, match="overwritten"):
        tfbundle.load(tmp_path / "b", verify=False)


def test_index_that_is_overwritten_in_place(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        index = Path(f"{prefix}.index")
        overwrite(index, index.read_bytes())
        for ask in (list, lambda names: names["first"]):
            with pytest.raises(FormatError, match="overwritten"):
                ask(checkpoint)


def test_data_that_shrinks_after_it_was_opened(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert (checkpoint["first"].read() == 1).all()
        overwrite(data_file(prefix, 0, 2), b"")
        for read in READS.values():
            with pytest.raises(FormatError):
                read(checkpoint["first"])


@pytest.mark.parametrize("read", READS)
def test_deleted_before_its_data_was_opened(prefix: Path, read: str) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        tensors = list(checkpoint.values())
        for path in prefix.parent.glob("model*"):
            path.unlink()
        for tensor in tensors:
            with pytest.raises(MissingFileError, match="was deleted while it was being read") as caught:
                READS[read](tensor)
            assert caught.value.tensor == tensor.name
            assert caught.value.filename is not None


def test_deleted_after_its_data_was_opened(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        assert (checkpoint["parts"].read() == 1).all()
        for path in prefix.parent.glob("model*"):
            path.unlink()
        for name in checkpoint:
            assert (checkpoint[name].read() == 1).all()
            assert (checkpoint[name][7:9] == 1).all()


def test_index_deleted_alone(prefix: Path) -> None:
    """The data is there, but nothing says any more that it is the index's own."""
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        Path(f"{prefix}.index").unlink()
        with pytest.raises(FormatError, match="overwritten or deleted"):
            checkpoint["first"].read()


def test_views_outlive_replacement_and_deletion(prefix: Path) -> None:
    views = tfbundle.load(prefix, mmap=True)
    save(prefix, 2)
    assert all((view == 1).all() for view in views.values())
    for path in prefix.parent.glob("model*"):
        path.unlink()
    assert all((view == 1).all() for view in views.values())


def test_unpickled_tensors_follow_the_file_that_they_came_from(prefix: Path) -> None:
    with tfbundle.open_checkpoint(prefix) as checkpoint:
        copies = [pickle.loads(pickle.dumps(tensor)) for tensor in checkpoint.values()]
        read, unread = copies[:2], copies[2:]
        for tensor in read:
            tensor.read()
        save(prefix, 2)
        for tensor in read:
            assert (tensor.read() == 1).all()
        for tensor in unread:
            with pytest.raises(FormatError, match="replaced"):
                tensor.read()


def write_while(work: Callable[[], None], write: Callable[[int], None]) -> None:
    """Do ``work`` again and again, at least 60 times, while another thread writes 10 generations or more."""
    stop = threading.Event()
    written = 1

    def keep_writing() -> None:
        nonlocal written
        while not stop.is_set():
            written += 1
            write(written)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        done = 0
        while done < 60 or (written <= 10 and writer.is_alive()):
            work()
            done += 1
    finally:
        stop.set()
        writer.join()
    assert written > 10


def test_never_a_mixture(prefix: Path) -> None:
    right = refused = 0

    def work() -> None:
        nonlocal right, refused
        try:
            with tfbundle.open_checkpoint(prefix) as checkpoint:
                seen = set()
                for read in READS.values():
                    for tensor in checkpoint.values():
                        seen |= set(np.unique(read(tensor)).tolist())
                        right += 1
                assert len(seen) == 1
        except TfBundleError:
            refused += 1
        try:
            loaded = tfbundle.load(prefix)
        except TfBundleError:
            refused += 1
            return
        assert len({number for array in loaded.values() for number in np.unique(array).tolist()}) == 1
        right += 1

    write_while(work, lambda number: save(prefix, number))
    assert right


def test_never_a_mixture_in_v1(tmp_path: Path) -> None:
    path = tmp_path / "model"

    def write(number: int) -> None:
        write_v1(tmp_path / "saving", {name: np.full(SHAPE, number, np.int32) for name in "abc"}, block_size=1)
        os.replace(tmp_path / "saving", path)

    write(1)
    right = 0

    def work() -> None:
        nonlocal right
        with tfbundle.open_checkpoint(path) as checkpoint:
            values = [read(tensor) for tensor in checkpoint.values() for read in READS.values()]
        assert len({number for value in values for number in np.unique(value).tolist()}) == 1
        right += 1

    write_while(work, write)
    assert right >= 60


def test_verify_while_it_is_replaced(prefix: Path) -> None:
    reports = []
    write_while(lambda: reports.append(tfbundle.verify(prefix)), lambda number: save(prefix, number))
    assert len(reports) >= 60
    assert all(finding.message for report in reports for finding in report.findings)
