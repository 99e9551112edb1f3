"""Every file of the catalogue in ``tests/hostile``: a right value, or one of our errors, in bounded time and memory.

A case runs in a process that cannot take more than 256 MB beyond what it has (where the system can limit that), and
each single call in it has a second. The seconds are the processor's own, for a machine that
runs tests does other things too; and what takes longer may try again, for even these depend on what else is running.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click", reason="the cases try the command, which needs click; it is not installed")
pytest.importorskip("rich", reason="the cases try the command, which needs rich; it is not installed")

from tests.hostile.catalogue import CASES
from tests.hostile.effort import is_large
from tests.hostile.worker import MEMORY, SECONDS, fill_catalogue

ROOT = Path(__file__).resolve().parents[2]
# In all ways of reading a file together, and only to get rid of what hangs.
_PATIENCE = 2 * SECONDS
_TRIES = 3

fill_catalogue()


class Worker:
    """A process that runs cases (``tests.hostile.worker``), started again where one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, name: str) -> dict[str, Any]:
        if self._process is None:
            command = [sys.executable, "-m", "tests.hostile.worker"]
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(_PATIENCE, process.kill)
        timer.start()
        try:
            process.stdin.write(f"{name}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self.close()
            return {"seconds": 0.0, "megabytes": 0.0, "slowest": "", "problem": "the process died, or was hanging"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("name", list(CASES))
def test_hostile(name: str, worker: Worker) -> None:
    for _ in range(_TRIES):
        answer = worker.run(name)
        assert not answer["problem"], answer["problem"]
        if answer["seconds"] < 1:
            break
    assert answer["seconds"] < 1, f"{answer['slowest']} takes {answer['seconds']:.2f} s"
    assert answer["megabytes"] * (1 << 20) < MEMORY


def test_worker_notices_what_it_is_for(worker: Worker) -> None:
    """A case that breaks its promise is told, and one that ends the process or takes too much memory too."""
    assert "BrokenPromise" in worker.run("self-test-wrong-value")["problem"]
    if hasattr(os, "fork"):
        assert "died" in worker.run("self-test-abort")["problem"]
    if sys.platform.startswith("linux"):
        assert "MemoryError" in worker.run("self-test-memory")["problem"]
    assert worker.run("self-test-time")["seconds"] > 1


def test_large_files(tmp_path: Path) -> None:
    """A case is large by all its files together, by what they hold decompressed, or by their number."""
    prefix = tmp_path / "model"
    (tmp_path / "other").write_bytes(bytes(1 << 20))
    (tmp_path / "model.index").write_bytes(bytes(1 << 14))
    (tmp_path / "model.data").write_bytes(bytes(1 << 14))
    assert not is_large(prefix)
    (tmp_path / "model.data").write_bytes(bytes((1 << 14) + 1))
    assert is_large(prefix)
    for size in (1 << 15, (1 << 15) + 1):
        (tmp_path / "packed").write_bytes(gzip.compress(bytes(size)))
        assert is_large(tmp_path / "packed") == (size > 1 << 15)
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(33):
        assert not is_large(folder)
        (folder / str(number)).touch()
    assert is_large(folder)


def test_table_in_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page says that tfbundle makes of the files is what it makes of them."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import hostile_table
    finally:
        sys.path.remove(str(ROOT / "tools"))
    rows = [
        line
        for line in (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    for name in hostile_table.CASES_SHOWN:
        folder = tmp_path / name
        folder.mkdir()
        case = CASES[name]
        path = case.build(folder).path.relative_to(folder)
        monkeypatch.chdir(folder)
        outcome = hostile_table.outcome(hostile_table.with_tfbundle(case.kind, path))
        (row,) = (row for row in rows if row.startswith(f"| {case.title} |"))
        assert row.endswith(f" | {outcome} |")
