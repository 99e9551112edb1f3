"""A dask scheduler and two workers as processes on this machine; tests that need one are skipped without dask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import tfbundle

_ROOT = Path(tfbundle.__file__).resolve().parents[1]


class Cluster:
    """``address`` is the scheduler's, and ``scheduler`` its process."""

    def __init__(self, folder: Path) -> None:
        """Start the processes, whose files are kept in ``folder``."""
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Cluster:
        note = self._folder / "scheduler.json"
        here = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(note)]
        self.scheduler = self._start("scheduler", *here)
        deadline = time.monotonic() + 60
        while not note.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.address: str = json.loads(note.read_text())["address"]
        self._start("worker", self.address, "--nworkers", "2", "--nthreads", "1", "--death-timeout", "20")
        return self

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--no-dashboard", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "ignore"}
        with open(self._folder / f"{what}.log", "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder, env=environment)
        self._processes.append(process)
        return process

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
