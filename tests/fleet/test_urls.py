"""Runs and checkpoints in a bucket: what the same local files give."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, permutations, product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, open_bucket
from tests.support.buckets import Bucket as Served
from tests.support.runs import append, points, records, write_run
from tfbundle.fleet.manifest import NAME
from tfbundle.storage.locations import locate
from tfbundle.storage.obstore_objects import ObstoreObjects
from tfbundle.storage.remote_folders import RemoteLocation

pyarrow = pytest.importorskip("pyarrow", reason="tables of many runs are those of pyarrow")
pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TAGS = ["loss", "accuracy"]


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """An empty bucket."""
    with open_bucket(request.param) as served:
        yield served


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A local folder of runs and checkpoints."""
    for number in range(4):
        write_run(tmp_path / f"local/logs/run{number}", records(points(TAGS, range(5 + number))))
    for step in (1, 2):
        tfbundle.save(tmp_path / f"local/logs/run1/model.ckpt-{step}", {"w": np.ones((2, 3), np.float32)})
    return tmp_path / "local/logs"


class Bucket:
    """A bucket that has the files of a local folder."""

    def __init__(self, served: Served, logs: Path) -> None:
        self._served = served
        self.local = logs.parent
        self.url = served.url
        served.put(logs, "logs")

    def put(self, path: Path) -> None:
        self._served.put_bytes(path.relative_to(self.local).as_posix(), path.read_bytes())


@pytest.fixture
def bucket(served: Served, logs: Path) -> Bucket:
    return Bucket(served, logs)


@pytest.mark.parametrize("workers", [None, 2])
def test_batches(bucket: Bucket, workers: int | None) -> None:
    wanted = list(tfbundle.event_batches(bucket.local / "logs", runs="run[12]"))
    assert list(tfbundle.event_batches(f"{bucket.url}/logs", runs="run[12]", workers=workers)) == wanted
    assert sum(batch.num_rows for batch in wanted) == 26


def test_a_data_set(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export() -> tfbundle.EventDataset:
        done = tfbundle.export_events(f"{bucket.url}/logs", tmp_path / "out")
        import pyarrow.dataset

        found = pyarrow.dataset.dataset(tmp_path / "out").to_table()
        wanted = tfbundle.event_batches(bucket.local / "logs").read_all()
        assert sorted(map(str, found.to_pylist())) == sorted(map(str, wanted.to_pylist()))
        return done

    assert export().runs_read == 4
    opened: list[str] = []
    real = RemoteLocation.open

    def spy(self: RemoteLocation) -> Any:
        opened.append(self.path)
        return real(self)

    monkeypatch.setattr(RemoteLocation, "open", spy)
    assert export().runs_read == 0
    assert opened == []
    path = bucket.local / "logs/run2/events.out.tfevents.1"
    append(path, records(points(TAGS, range(7, 9))))
    bucket.put(path)
    assert export().runs_read == 1
    # The size and, within a second, the time are the same; the ETag is not.
    write_run(path.parent, records(points(["lost", "accuracy"], range(9))))
    bucket.put(path)
    assert export().runs_read == 1
    assert {file.rpartition("/")[0] for file in opened} == {f"{bucket.url}/logs/run2"}


def test_inventory(bucket: Bucket) -> None:
    wanted = tfbundle.inventory(bucket.local / "logs").to_pylist()
    found = tfbundle.inventory(f"{bucket.url}/logs").to_pylist()
    assert [row["path"] for row in found] == [f"{bucket.url}/logs/run1/model.ckpt-{step}" for step in (1, 2)]
    assert [{**row, "path": ""} for row in found] == [{**row, "path": ""} for row in wanted]
    assert tfbundle.inventory(f"{bucket.url}/logs", workers=2).to_pylist() == found


def rows(folder: Any) -> list[str]:
    """All rows that a reader finds which lists the objects, as pyarrow does."""
    import pyarrow.dataset

    found = pyarrow.dataset.dataset(folder).to_table()
    return sorted(map(str, found.to_pylist()))


class Written:
    """A data set in the bucket, which ``rows`` reads from a local copy of its objects."""

    def __init__(self, served: Served, logs: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._served = served
        self._logs = logs
        self._copy = copy
        self.url = f"{served.url}/out"
        self.sent: list[str] = []
        self.failing: str | None = None
        real = ObstoreObjects.upload

        def spy(objects: ObstoreObjects, key: str, file: Any) -> None:
            if self.failing is not None and self.failing in key:
                raise OSError(5, "the line broke", key)
            self.sent.append(key)
            real(objects, key, file)

        monkeypatch.setattr(ObstoreObjects, "upload", spy)

    def list_keys(self) -> list[str]:
        return self._served.list_keys("out/")

    def export(self, **settings: Any) -> tfbundle.EventDataset:
        self.sent.clear()
        return tfbundle.export_events(self._logs, self.url, **settings)

    def rows(self) -> list[str]:
        shutil.rmtree(self._copy, ignore_errors=True)
        for key in self.list_keys():
            path = self._copy / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(locate(f"{self._served.url}/{key}").read(1 << 30))
        return rows(self._copy / "out")

    def expected(self, **settings: Any) -> list[str]:
        return sorted(map(str, tfbundle.event_batches(self._logs, **settings).read_all().to_pylist()))


@pytest.fixture
def written(served: Served, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(served, logs, tmp_path / "copy", monkeypatch)


@pytest.mark.parametrize("workers", [None, 2])
def test_a_data_set_in_a_bucket(logs: Path, written: Written, workers: int | None) -> None:
    done = written.export(workers=workers)
    assert (done.path, done.runs, done.runs_read) == (written.url, 4, 4)
    assert written.sent[-1] == f"out/{NAME}"
    names = {f"out/run{number}/part-00000.parquet" for number in range(4)}
    assert set(written.list_keys()) == {*names, f"out/{NAME}"}
    assert written.rows() == written.expected()
    # Nothing is new.
    assert written.export(workers=workers) == done._replace(runs_read=0, troubles=mock.ANY)
    assert written.sent == []
    # One run has grown, one was replaced, one is gone.
    append(logs / "run2/events.out.tfevents.1", records(points(TAGS, range(7, 9))))
    write_run(logs / "run3", records(points(TAGS, range(3))))
    shutil.rmtree(logs / "run0")
    done = written.export(workers=workers)
    assert (done.runs, done.runs_read, done.runs_removed) == (3, 2, 1)
    assert written.sent[1:] in ([*pair, f"out/{NAME}"] for pair in permutations(written.sent[1:3]))
    parts = ["run1/part-00000", "run2/part-00000", "run2/part-00001", "run3/part-00001"]
    assert written.list_keys() == [f"out/{NAME}", *(f"out/{part}.parquet" for part in parts)]
    assert written.rows() == written.expected()


def test_a_data_set_from_bucket_to_bucket(bucket: Bucket, written: Written) -> None:
    tfbundle.export_events(f"{bucket.url}/logs", written.url)
    assert written.rows() == written.expected()
    assert tfbundle.export_events(f"{bucket.url}/logs", written.url).runs_read == 0


STAGES = ["_pending", "run1/", "run3/", NAME]


# The stores differ in each request, which the tests above make to all of them, and not in which one fails.
@pytest.mark.parametrize(("served", "failing"), list(zip(cycle(KINDS), STAGES)), indirect=["served"])
def test_a_failure_leaves_the_objects_that_were_there(logs: Path, written: Written, failing: str) -> None:
    written.failing = failing
    with pytest.raises(OSError, match="the line broke"):
        written.export()
    assert written.list_keys() == []
    written.failing = None
    written.export()
    before, keys = written.rows(), written.list_keys()
    for number in range(4):
        write_run(logs / f"run{number}", records(points(TAGS, range(2))))
    written.failing = failing
    with pytest.raises(OSError, match="the line broke"):
        written.export()
    assert (written.rows(), written.list_keys()) == (before, keys)
    written.failing = None
    written.export()
    assert written.rows() == written.expected()


def test_an_answer_that_is_lost_leaves_the_new_data_set(
    logs: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is there although its upload has failed, and counts on the other objects."""
    written.export()
    append(logs / "run2/events.out.tfevents.1", records(points(TAGS, range(7, 9))))
    real = ObstoreObjects.upload

    def lose(objects: ObstoreObjects, key: str, file: Any) -> None:
        real(objects, key, file)
        if key.endswith(NAME):
            raise OSError(5, "the answer was lost", key)

    with monkeypatch.context() as patched:
        patched.setattr(ObstoreObjects, "upload", lose)
        with pytest.raises(OSError, match="the answer was lost"):
            written.export()
    assert written.rows() == written.expected()
    assert written.export().runs_read == 0
    assert written.rows() == written.expected()
    assert not any("_pending" in key for key in written.list_keys())


@pytest.mark.parametrize(
    ("served", "stop", "is_first"),
    [(kind, *case) for kind, case in zip(cycle(KINDS), product(STAGES, [True, False]))],
    indirect=["served"],
)
def test_a_stop_is_completed_by_the_next_call(
    logs: Path, written: Written, monkeypatch: pytest.MonkeyPatch, stop: str, is_first: bool
) -> None:
    if not is_first:
        written.export()
        for number in range(4):
            write_run(logs / f"run{number}", records(points(TAGS, range(2))))
    is_killed = False

    def until_killed(name: str) -> Any:
        real = getattr(ObstoreObjects, name)

        def method(objects: ObstoreObjects, key: str, *arguments: Any) -> Any:
            nonlocal is_killed
            if is_killed:
                raise OSError(5, "the process was killed")
            answer = real(objects, key, *arguments)
            is_killed = is_killed or (name == "upload" and stop in key)
            return answer

        return method

    with monkeypatch.context() as patched:
        for name in ("upload", "delete", "facts"):
            patched.setattr(ObstoreObjects, name, until_killed(name))
        with suppress(OSError):
            written.export()
    assert is_killed
    left = written.list_keys()
    assert "out/_pending.json" in left
    assert (f"out/{NAME}" in left) == (stop == NAME or not is_first)
    written.export()
    assert written.rows() == written.expected()
    assert set(written.list_keys()) - {f"out/{NAME}"} == {
        f"out/run{number}/part-0000{0 if is_first else 1}.parquet" for number in range(4)
    }
    assert written.export().runs_read == 0


def test_names_of_a_stopped_update_are_checked(served: Served, written: Written) -> None:
    written.export()
    for content in (b"", b"{}", b'["../logs/run0/events.out.tfevents.1"]', b"[1]", b"[" * 100_000):
        served.put_bytes("out/_pending.json", content)
        with pytest.raises(tfbundle.FormatError, match=r"_pending\.json does not have the names of objects; remove it"):
            written.export()


def test_a_folder_of_a_bucket_that_is_not_a_data_set(
    bucket: Bucket, served: Served, logs: Path, written: Written
) -> None:
    with pytest.raises(ValueError, match="is not empty, and not a data set of this kind"):
        tfbundle.export_events(logs, f"{bucket.url}/logs")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        tfbundle.export_events(logs, f"{bucket.url}/logs/run1/model.ckpt-1.index")
    served.put_bytes("out/README.txt", b"mine")
    with pytest.raises(ValueError, match="is not empty, and not a data set of this kind"):
        written.export()
    served.delete("out/README.txt")
    written.export()
    served.put_bytes("out/README.txt", b"mine")
    write_run(logs / "run3", records(points(TAGS, range(3))))
    written.export()
    assert "out/README.txt" in written.list_keys()


def test_a_data_set_is_not_written_to_a_server_that_is_read_only(logs: Path) -> None:
    with pytest.raises(tfbundle.UnsupportedError, match="read"):
        tfbundle.export_events(logs, "http://127.0.0.1:9/out")
