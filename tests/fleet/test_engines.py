"""Tasks in this process, in worker processes and on a dask cluster: the same results, and clear ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.fleet import tasks
from tests.support.dask_cluster import Cluster
from tests.support.runs import points, records, write_run
from tfbundle.fleet import dask_cluster
from tfbundle.fleet.engines import choose_engine

ROOT = Path(tfbundle.__file__).resolve().parents[1]


@pytest.fixture(params=["here", "processes", "dask"])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "dask":
        return choose_engine(None, request.getfixturevalue("cluster").address)
    return choose_engine(2 if request.param == "processes" else None, None)


def test_results_are_in_order(engine: Any) -> None:
    assert list(engine.map(tasks.square, range(40))) == [number * number for number in range(40)]


def test_errors_are_those_of_the_function(engine: Any) -> None:
    results = engine.map(tasks.fail_at_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(tfbundle.FormatError, match="three is damaged") as caught:
        next(results)
    assert (caught.value.path, caught.value.offset) == ("/three", 3)
    assert multiprocessing.active_children() == []


def test_this_process_is_one_of_them() -> None:
    """It has results before another process has started, and afterwards both have."""
    home = os.getpid()
    results = choose_engine(2, None).map(tasks.process, repeat(home))
    assert next(results) == home
    worker = next(result for result in results if result != home)
    assert set(islice(results, 50)) == {home, worker}
    assert [child.pid for child in multiprocessing.active_children()] == [worker]
    results.close()
    assert multiprocessing.active_children() == []


def test_tasks_that_end_before_another_process_has_started() -> None:
    home = os.getpid()
    assert list(choose_engine(2, None).map(tasks.process, [home] * 2)) == [home] * 2
    assert multiprocessing.active_children() == []
    assert list(choose_engine(2, None).map(tasks.process, [])) == []


def test_an_error_elsewhere_is_raised_here() -> None:
    with pytest.raises(tfbundle.FormatError, match="it is damaged") as caught:
        list(choose_engine(3, None).map(tasks.fail_elsewhere, repeat(os.getpid())))
    assert caught.value.path == "/elsewhere"
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_is_an_error() -> None:
    started = time.monotonic()
    with pytest.raises(tfbundle.TfBundleError, match="a worker process ended before its task was done"):
        list(choose_engine(2, None).map(tasks.die_elsewhere, repeat(os.getpid())))
    assert multiprocessing.active_children() == []
    assert time.monotonic() - started < 30


def test_results_that_are_dropped_end_the_workers() -> None:
    home = os.getpid()
    results = choose_engine(2, None).map(tasks.hold_elsewhere, repeat(home))
    worker = next(result for result in results if result != home)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 10
    assert multiprocessing.active_children() == []
    assert not exists(worker)


def test_a_function_that_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="define the function in a module"):
        list(choose_engine(2, None).map(lambda number: number, range(3)))
    assert multiprocessing.active_children() == []


def test_descriptors_are_closed() -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts descriptors in /proc")
    list(choose_engine(2, None).map(tasks.square, range(4)))  # What multiprocessing keeps is open now.
    before = len(os.listdir("/proc/self/fd"))
    list(choose_engine(2, None).map(tasks.square, range(4)))
    assert len(os.listdir("/proc/self/fd")) == before


SCRIPT = """
import itertools, os, sys
from tests.fleet import tasks
from tfbundle.fleet.engines import choose_engine
if __name__ == "__main__":
    home = os.getpid()
    for process in choose_engine(2, None).map(tasks.hold_elsewhere, itertools.repeat(home)):
        if process != home:
            print(process, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert exists(worker)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=30)
    assert errors.count("KeyboardInterrupt") == (1 if number == signal.SIGINT else 0)
    until(lambda: not exists(worker))


@pytest.mark.skipif(os.name != "posix", reason="a console sends Ctrl-C in another way")
def test_a_script_without_guard_is_an_error_and_no_hang(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "lacks 'if __name__ == \"__main__\":'" in done.stderr


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_workers_that_cannot_be(workers: int) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1"):
        choose_engine(workers, None)


def test_arguments_that_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        choose_engine(2, "tcp://127.0.0.1:1")
    with pytest.raises(TypeError, match="scheduler must be an address"):
        choose_engine(None, object())  # type: ignore[arg-type]


def test_a_relative_path_is_that_of_the_caller(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of a cluster have another working folder."""
    pytest.importorskip("pyarrow", reason="batches are those of pyarrow")
    write_run(tmp_path / "logs/run", records(points(["loss"], range(3))))
    tfbundle.save(tmp_path / "logs/model", {"w": 1.0})
    monkeypatch.chdir(tmp_path)
    assert tfbundle.event_batches("logs", scheduler=cluster.address).read_all().num_rows == 3
    table = tfbundle.inventory("logs", scheduler=cluster.address)
    assert table.to_pylist() == tfbundle.inventory("logs").to_pylist()
    assert table["path"].to_pylist() == ["logs/model"]
    assert table["complete"].to_pylist() == [True]


def test_batches_are_equal_everywhere(cluster: Cluster, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="batches are those of pyarrow")
    for number in range(70):
        write_run(tmp_path / f"run{number}", records(points(["loss", "accuracy"], range(number))))
    (tmp_path / "run5/events.out.tfevents.1").write_bytes(b"damaged" * 9)
    found = []
    for settings in ({}, {"workers": 2}, {"scheduler": cluster.address}):
        troubles = tfbundle.EventTroubles()
        reader = tfbundle.event_batches(tmp_path, troubles=troubles, tags="l*", **settings)  # type: ignore[arg-type]
        found.append((list(reader), list(troubles)))
    assert found[0] == found[1] == found[2]
    assert sum(batch.num_rows for batch in found[0][0]) == sum(range(70)) - 5
    assert len(found[0][1]) == 1


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    monkeypatch.setattr(dask_cluster, "_PATIENCE", 0.2)
    with pytest.raises(tfbundle.TfBundleError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(choose_engine(None, "tcp://127.0.0.1:9").map(tasks.square, range(3)))
    with pytest.raises(tfbundle.TfBundleError, match="no dask scheduler answers at nonsense://x"):
        list(choose_engine(None, "nonsense://x").map(tasks.square, range(3)))


def test_a_scheduler_that_goes_away(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    with Cluster(tmp_path) as lost:
        results = choose_engine(None, lost.address).map(tasks.slow, range(1000))
        assert next(results) == 0
        lost.kill()
        started = time.monotonic()
        with pytest.raises(tfbundle.TfBundleError, match=r"the dask scheduler at tcp://.* was lost"):
            list(results)
        assert time.monotonic() - started < 60


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(tfbundle.UnsupportedError, match=r"tfbundle\[dask\]"):
        list(choose_engine(None, "tcp://127.0.0.1:9").map(tasks.square, range(3)))


def exists(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass
    if os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
