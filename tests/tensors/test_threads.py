"""Large tensors on several threads: the same arrays, and the same error, as one after the other."""

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import Saved, write_bundle
from tfbundle.tensors.threads import run_together

LARGE = 1 << 30


@pytest.fixture(autouse=True)
def three_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)


def test_jobs_run_side_by_side_and_results_keep_their_order() -> None:
    meeting = threading.Barrier(3, timeout=60)

    def job(number: int) -> tuple[int, int]:
        meeting.wait()
        return number, threading.get_ident()

    results = run_together([partial(job, number) for number in range(9)], LARGE)
    assert [number for number, _ in results] == list(range(9))
    assert len({thread for _, thread in results}) == 3


def test_little_work_needs_no_threads() -> None:
    jobs: list[Callable[[], int]] = [threading.get_ident] * 9
    assert set(run_together(jobs, 1000)) == {threading.get_ident()}
    assert run_together([], LARGE) == []


def test_without_threads_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert set(run_together([threading.get_ident] * 9, LARGE)) == {threading.get_ident()}


def test_the_first_error_by_place_is_raised() -> None:
    both = threading.Barrier(2, timeout=60)

    def fail(number: int) -> None:
        both.wait()
        raise ValueError(number)

    for _ in range(20):
        with pytest.raises(ValueError, match=r"^3$") as caught:
            run_together([int, int, int, partial(fail, 3), partial(fail, 4), int], LARGE)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("mmap", [False, True])
def test_load(tmp_path: Path, mmap: bool) -> None:
    wanted = {f"t{number:02}": np.full((1 << 18) + number, number, np.float32) for number in range(20)}
    write_bundle(tmp_path / "b", {name: Saved(array, shards=[1]) for name, array in wanted.items()}, num_shards=2)
    loaded = tfbundle.load(tmp_path / "b", mmap=mmap)
    assert list(loaded) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(loaded[name], array)
    damaged = ["t07", "t08", "t15"]
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        places = {name: checkpoint[name].ranges[0] for name in damaged}
    for path, offset, _, _ in places.values():
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(b"?")
    with pytest.raises(tfbundle.ChecksumError) as caught:
        tfbundle.load(tmp_path / "b", mmap=mmap)
    assert caught.value.tensor == "t07"
