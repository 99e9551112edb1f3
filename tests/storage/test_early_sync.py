"""Files that are brought to disk while they are written."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tfbundle.checkpoint.v2.writer import CheckpointWriter
from tfbundle.storage import early_sync as module
from tfbundle.storage.early_sync import EarlySync

SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(os, SYNC, calls.append)
    return calls


@pytest.mark.parametrize(("counts", "is_synced"), [([99], False), ([100], True), ([50, 49], False), ([50, 50], True)])
def test_so_many_bytes_are_worth_it(synced: list[int], counts: list[int], is_synced: bool) -> None:
    early = EarlySync()
    for count in counts:
        early.written(7, count)
    early.finish("file")
    assert synced == [7] * is_synced


def test_only_one_file_is_synced_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    go, calls = threading.Event(), []

    def sync(number: int) -> None:
        calls.append(number)
        assert go.wait(10)

    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(os, SYNC, sync)
    early = EarlySync()
    for number in range(5):
        early.written(number, 100)
    go.set()
    early.wait()
    early.written(9, 1)
    early.finish("file")
    assert calls == [0, 9]


def test_an_error_is_raised_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(os, SYNC, fail)
    early = EarlySync()
    early.written(7, 100)
    with pytest.raises(OSError, match="Input/output") as caught:
        early.finish("file")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "file")
    early.finish("file")  # It is raised once.


@pytest.mark.parametrize("suffix", ["", ".safetensors"])
def test_what_could_not_be_synced_does_not_replace_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Linux reports an error of writing back once, so that the last fsync of the same file succeeds."""
    old, new = tmp_path / "old", str(tmp_path / "new") + suffix
    tfbundle.save(old, {"w": np.zeros(1000, np.float32)})
    tfbundle.convert(old, new)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tfbundle.save(tmp_path / "other", {"w": np.ones(1000, np.float32)})

    def fail(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(os, SYNC, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        tfbundle.convert(tmp_path / "other", new, overwrite=True)
    assert str(caught.value.filename).startswith(new)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not list(tmp_path.glob("*tempstate*"))


@pytest.mark.parametrize("sync", [True, False])
def test_checkpoints_are_synced_while_they_are_written(tmp_path: Path, synced: list[int], sync: bool) -> None:
    with CheckpointWriter(tmp_path / "model", shards=2, sync=sync) as writer:
        for name in "abcd":
            writer.add(name, np.zeros(100_000, np.float32))
    assert bool(synced) == sync
