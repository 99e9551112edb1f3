"""Files that are brought to disk while they are written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tfbundle.storage import early_sync as module
from tfbundle.storage.early_sync import early_sync

SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(os, SYNC, calls.append)
    return calls


@pytest.mark.parametrize(("counts", "is_synced"), [([99], False), ([100], True), ([50, 49], False), ([50, 50], True)])
def test_so_many_bytes_are_worth_it(tmp_path: Path, synced: list[int], counts: list[int], is_synced: bool) -> None:
    done = threading.Event()
    with open(tmp_path / "file", "wb") as file, early_sync(file) as written:
        for count in counts:
            written(count)
        threads = [thread for thread in threading.enumerate() if thread.name == "tfbundle-sync"]
        assert bool(threads) == is_synced
        while is_synced and not synced:
            assert not done.wait(0.01)
        assert set(synced) <= {file.fileno()}
    assert not any(thread.name == "tfbundle-sync" for thread in threading.enumerate())


def test_the_thread_ends_with_the_block(tmp_path: Path, synced: list[int]) -> None:
    def interrupt() -> None:
        with early_sync(file) as written:
            written(1000)
            raise KeyboardInterrupt

    with open(tmp_path / "file", "wb") as file:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert not any(thread.name == "tfbundle-sync" for thread in threading.enumerate())


def test_errors_are_left_to_the_last_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(number: int) -> None:
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_BYTES", 100)
    monkeypatch.setattr(os, SYNC, fail)
    with open(tmp_path / "file", "wb") as file, early_sync(file) as written:
        written(100)
        assert failed.wait(10)
        written(100)
