"""Runs and checkpoints in a bucket: what the same local files give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, open_bucket
from tests.support.buckets import Bucket as Served
from tests.support.runs import append, points, records, write_run
from tfbundle.storage.remote_folders import RemoteLocation

pyarrow = pytest.importorskip("pyarrow", reason="tables of many runs are those of pyarrow")
pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TAGS = ["loss", "accuracy"]


class Bucket:
    """A bucket that has the files of a local folder."""

    def __init__(self, served: Served, local: Path) -> None:
        self._served = served
        self.local = local
        self.url = served.url

    def put(self, path: Path) -> None:
        self._served.put_bytes(path.relative_to(self.local).as_posix(), path.read_bytes())


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with open_bucket(request.param) as served:
        yield served


@pytest.fixture
def bucket(served: Served, tmp_path: Path) -> Iterator[Bucket]:
    found = Bucket(served, tmp_path / "local")
    for number in range(4):
        write_run(found.local / f"logs/run{number}", records(points(TAGS, range(5 + number))))
    for step in (1, 2):
        tfbundle.save(found.local / f"logs/run1/model.ckpt-{step}", {"w": np.ones((2, 3), np.float32)})
    for path in found.local.rglob("*"):
        if path.is_file():
            found.put(path)
    yield found
    for key in served.list_keys():
        served.delete(key)


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


def test_a_data_set_is_not_written_to_a_url(bucket: Bucket) -> None:
    with pytest.raises(tfbundle.UnsupportedError, match=f"{bucket.url}/out is a URL"):
        tfbundle.export_events(bucket.local / "logs", f"{bucket.url}/out")
