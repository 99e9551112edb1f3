"""What the system does not read: an ``OSError`` for readers, a finding for ``verify``, and lost to salvage."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import Saved, data_file, write_bundle
from tests.support.command import run
from tests.support.expected import FIXTURES
from tests.support.records import frame
from tests.support.refusals import break_disk, forbid
from tests.support.v1_writer import write_v1
from tfbundle import TfBundleError
from tfbundle.formats.table.reader import Table
from tfbundle.storage.local import LocalSource

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    f"tensor{number}": np.arange(number, number + 1500, dtype=np.float32) for number in range(6)
}
EVENT_FILE = FIXTURES / "events-tf-1.15.5" / "every-plugin-1" / "events.out.tfevents.1500000000.host"


def write(prefix: Path) -> dict[str, list[Any]]:
    """Three tensors in each of two shards, and each in a block of the index of its own."""
    tensors = {name: Saved(array, shards=[number // 3]) for number, (name, array) in enumerate(ARRAYS.items())}
    return write_bundle(prefix, tensors, num_shards=2, block_size=1)


def assert_salvaged(prefix: Path, lost: set[str], path: Path, reason: int) -> None:
    """Salvage returns all but the ``lost``, and says of these that the system did not read ``path``."""
    with tfbundle.open_checkpoint(prefix, salvage=True) as checkpoint:
        assert set(checkpoint) == ARRAYS.keys() - lost
        for name, tensor in checkpoint.items():
            assert_same(tensor.read(), ARRAYS[name])
        assert {finding.tensor for finding in checkpoint.lost} - {None} == lost
        for finding in checkpoint.lost:
            assert (finding.kind, finding.path) == ("unreadable", str(path))
            assert finding.message.endswith(f"{path} cannot be read: {os.strerror(reason)}")


def test_a_data_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "model")
    path = data_file(tmp_path / "model", 1, 2)
    forbid(monkeypatch, path)
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        assert_same(checkpoint["tensor0"].read(), ARRAYS["tensor0"])
        with pytest.raises(PermissionError) as caught:
            checkpoint["tensor4"].read()
        assert caught.value.filename == str(path)
        assert not isinstance(caught.value, TfBundleError)
    report = tfbundle.verify(tmp_path / "model")
    # One for the file, not one for each tensor in it.
    (finding,) = report.findings
    assert (finding.kind, finding.path, finding.shard) == ("unreadable", str(path), 1)
    assert (report.tensors, report.recoverable) == (6, 3)
    assert_salvaged(tmp_path / "model", {"tensor3", "tensor4", "tensor5"}, path, errno.EACCES)


def test_a_data_file_on_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = write(tmp_path / "model")
    path = data_file(tmp_path / "model", 1, 2)
    place = placed["tensor4"][0]
    break_disk(monkeypatch, path, place.offset + 10)
    with pytest.raises(OSError, match="model"):
        tfbundle.load(tmp_path / "model")
    report = tfbundle.verify(tmp_path / "model")
    (finding,) = report.findings
    assert (finding.kind, finding.path, finding.tensor) == ("unreadable", str(path), "tensor4")
    assert (finding.shard, finding.offset, finding.size) == (1, place.offset, place.size)
    assert report.recoverable == 5
    assert_salvaged(tmp_path / "model", {"tensor4"}, path, errno.EIO)


def test_padding_on_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "model", {**ARRAYS, "a": np.zeros(3, np.int8)}, alignment=64)
    path = data_file(tmp_path / "model")
    break_disk(monkeypatch, path, ARRAYS["tensor0"].nbytes + 3)
    report = tfbundle.verify(tmp_path / "model")
    assert [(finding.kind, finding.path, finding.tensor) for finding in report.findings] == [
        ("unreadable", str(path), None)
    ]
    assert report.recoverable == 7


@pytest.mark.parametrize("format", ["v1", "v2"])
def test_a_table_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    """Nothing is left of the checkpoint, so that salvage raises as well."""
    path = tmp_path / ("model.index" if format == "v2" else "model")
    if format == "v2":
        write(tmp_path / "model")
    else:
        write_v1(path, ARRAYS)
    forbid(monkeypatch, path)
    for salvage in (False, True):
        with pytest.raises(PermissionError):
            tfbundle.open_checkpoint(tmp_path / "model", salvage=salvage)
    (finding,) = tfbundle.verify(tmp_path / "model").findings
    assert (finding.kind, finding.path) == ("unreadable", str(path))


def test_an_index_on_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks are lost one by one, and unlike in damaged ones no names can be made out."""
    write(tmp_path / "model")
    path = tmp_path / "model.index"
    source = LocalSource(path)
    block = Table(source).handles[4]  # In front of the tensors' is the header's.
    source.close()
    break_disk(monkeypatch, path, block.offset + 3)
    report = tfbundle.verify(tmp_path / "model")
    (finding,) = report.findings
    assert (finding.kind, finding.path, finding.offset, finding.size) == ("unreadable", str(path), *block)
    assert report.recoverable == report.tensors == 5
    assert [(file.kind, file.whole) for file in report.files] == [("index", 6), ("data", 3), ("data", 2)]
    with tfbundle.open_checkpoint(tmp_path / "model", salvage=True) as checkpoint:
        assert set(checkpoint) == ARRAYS.keys() - {"tensor3"}
        assert [(finding.kind, finding.tensor) for finding in checkpoint.lost] == [("unreadable", None)]


def test_one_file_of_a_v1_checkpoint_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"model-{number:05}-of-00002" for number in range(2)]
    halves = (dict(list(ARRAYS.items())[:3]), dict(list(ARRAYS.items())[3:]))
    for path, tensors in zip(paths, halves, strict=True):
        write_v1(path, tensors)
    forbid(monkeypatch, paths[1])
    with pytest.raises(PermissionError):
        tfbundle.open_checkpoint(tmp_path / "model")
    report = tfbundle.verify(tmp_path / "model")
    (finding,) = report.findings
    assert (finding.kind, finding.path) == ("unreadable", str(paths[1]))
    with tfbundle.open_checkpoint(tmp_path / "model", salvage=True) as checkpoint:
        assert set(checkpoint) == set(halves[0])
        assert [(finding.kind, finding.path) for finding in checkpoint.lost] == [("unreadable", str(paths[1]))]


@pytest.mark.parametrize("is_checksum", [False, True])
def test_a_v1_checkpoint_on_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_checksum: bool) -> None:
    write_v1(tmp_path / "model", ARRAYS, block_size=50)
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        (place,) = checkpoint["tensor2"].ranges
    break_disk(monkeypatch, tmp_path / "model", place.offset + (place.size + 1 if is_checksum else 70))
    findings = tfbundle.verify(tmp_path / "model").findings
    assert [(finding.kind, finding.tensor) for finding in findings] == [("unreadable", "tensor2")]
    assert {(finding.offset, finding.size) for finding in findings} == {(place.offset, place.size - 1)}
    assert_salvaged(tmp_path / "model", {"tensor2"}, tmp_path / "model", errno.EIO)


def test_a_folder_of_a_checkpoint_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "model")
    forbid(monkeypatch, tmp_path)
    (finding,) = tfbundle.verify(tmp_path).findings
    assert (finding.kind, finding.path) == ("unreadable", str(tmp_path))
    report = tfbundle.verify(tmp_path / "model")  # The names of its files follow from the index.
    assert (report.ok, report.tensors) == (True, len(tfbundle.load(tmp_path / "model")))


def test_a_graph_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(FIXTURES / "tf-1.15.5" / "training", tmp_path / "training"))
    forbid(monkeypatch, folder / "graph.pbtxt", folder / "model.ckpt-40.meta")
    report = tfbundle.verify(folder)
    assert [(finding.kind, Path(finding.path or "").name) for finding in report.findings] == [
        ("unreadable", "model.ckpt-40.meta"),
        ("unreadable", "graph.pbtxt"),
    ]
    assert report.recoverable == 19
    assert [finding.kind for finding in tfbundle.verify(folder / "graph.pbtxt").findings] == ["unreadable"]


# Event files and other records.


def make_runs(tmp_path: Path) -> Path:
    for run_name in ("train", "eval"):
        (tmp_path / run_name).mkdir()
        shutil.copy(EVENT_FILE, tmp_path / run_name)
    return tmp_path / "eval" / EVENT_FILE.name


def test_an_event_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_runs(tmp_path)
    with tfbundle.open_events(tmp_path) as whole:
        count = whole.runs["train"].event_count
        scalars = list(whole.runs["train"].scalars)
    with monkeypatch.context() as patch:
        forbid(patch, path)
        with tfbundle.open_events(tmp_path) as log:
            assert log.runs["train"].event_count == count
            with pytest.raises(PermissionError):
                log.load()
        log = tfbundle.open_events(tmp_path, salvage=True, purge=True)
        assert list(log.runs["train"].scalars) == scalars
        lost = log.runs["eval"]
        assert (lost.event_count, list(lost.scalars), list(lost.events())) == (0, [], [])
        ((_, (loss,)),) = lost.losses.items()
        assert (loss.offset, loss.size, loss.number) == (0, path.stat().st_size, 0)
        assert isinstance(loss.error, PermissionError)
        assert not log.refresh()
        report = tfbundle.verify(tmp_path)
        (finding,) = report.findings
        assert (finding.kind, finding.path) == ("unreadable", str(path))
        assert [file.whole for file in report.files] == [0, count]
    # It may be read again.
    assert log.refresh()
    assert (lost.event_count, lost.losses) == (count, {})
    assert list(log.runs["eval"].scalars) == scalars
    log.close()


def test_an_event_file_on_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_runs(tmp_path)
    with tfbundle.read_events(path) as events:
        places = [events.offset for _ in events]
    break_disk(monkeypatch, path, places[5])
    with tfbundle.open_events(path) as log, pytest.raises(OSError, match="tfevents"):
        log.load()
    with tfbundle.open_events(path, salvage=True) as log:
        (run_found,) = log.runs.values()
        assert run_found.event_count == 5
        ((loss,),) = run_found.losses.values()
        assert (loss.offset, loss.size, loss.number) == (places[5] - 12, path.stat().st_size - places[5] + 12, 5)
        assert len(list(run_found.events())) == 5
    report = tfbundle.verify(path)
    (finding,) = report.findings
    assert (finding.kind, finding.offset) == ("unreadable", places[5] - 12)
    assert [file.whole for file in report.files] == [5]


def test_an_event_file_of_which_nothing_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_runs(tmp_path)
    break_disk(monkeypatch, path, 0)
    with pytest.raises(OSError, match="tfevents"):
        tfbundle.read_events(path, salvage=True)
    with tfbundle.open_events(tmp_path, salvage=True) as log:
        assert [list(run_found.losses) for run_found in log.runs.values()] == [[str(path)], []]
    assert [finding.kind for finding in tfbundle.verify(path).findings] == ["unreadable"]


def test_records_on_a_broken_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.tfrecord"
    path.write_bytes(b"".join(map(frame, (b"one", b"two", b"three", b"four"))))
    break_disk(monkeypatch, path, 50)
    found = []
    with pytest.raises(OSError, match=r"data\.tfrecord"):
        found.extend(iter(tfbundle.read_records(path)))
    records = tfbundle.read_records(path)
    assert [next(records), next(records)] == [b"one", b"two"]
    with pytest.raises(OSError, match=r"data\.tfrecord"):
        next(records)
    records = tfbundle.read_records(path, salvage=True)
    assert list(records) == [b"one", b"two"]
    ((offset, size, number, error),) = records.losses
    assert (offset, size, number, error.errno) == (38, path.stat().st_size - 38, 2, errno.EIO)
    assert records.truncation is None


def test_folders_of_logs_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was requested is an error; one below may be another program else's, such as a disk's lost+found."""
    make_runs(tmp_path)
    with monkeypatch.context() as patch:
        forbid(patch, tmp_path)
        with pytest.raises(PermissionError):
            tfbundle.open_events(tmp_path)
        (finding,) = tfbundle.verify(tmp_path).findings
        assert (finding.kind, finding.path) == ("unreadable", str(tmp_path))
    forbid(monkeypatch, tmp_path / "eval")
    with tfbundle.open_events(tmp_path) as log:
        assert list(log.runs) == ["train"]
    assert [Path(file.path).parent.name for file in tfbundle.verify(tmp_path).files] == ["train"]


# The command.


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "model")
    path = data_file(tmp_path / "model", 1, 2)
    forbid(monkeypatch, path)
    result = run("verify", tmp_path / "model")
    assert result.exit_code == 1
    assert f"unreadable: {path.name} cannot be read: {os.strerror(errno.EACCES)}\n" in result.stdout
    assert "save the intact part, 3 of 6 known tensors" in result.stdout
    result = run("convert", tmp_path / "model", tmp_path / "out.npz", "--salvage")
    assert result.exit_code == 1
    assert f"unreadable: tensor 'tensor3': {path.name} cannot be read: {os.strerror(errno.EACCES)}\n" in result.stdout
    assert set(np.load(tmp_path / "out.npz")) == {"tensor0", "tensor1", "tensor2"}
