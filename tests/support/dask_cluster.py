"""A dask cluster on this machine, in a process of its own; tests that need one are skipped without dask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import tfbundle

_ROOT = Path(tfbundle.__file__).resolve().parents[1]
# A scheduler and two workers, which reach each other by TCP; its process ends with its input.
_PROGRAM = """
import json, sys
from distributed import LocalCluster
settings = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
with LocalCluster(n_workers=2, threads_per_worker=1, **settings) as cluster:
    print(json.dumps(cluster.scheduler_address), flush=True)
    sys.stdin.read()
"""


class Cluster:
    """``address`` is the scheduler's."""

    def __init__(self, folder: Path) -> None:
        """Choose the working folder of the workers."""
        self._folder = folder

    def __enter__(self) -> Cluster:
        with open(self._folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONWARNINGS": "ignore"},
            )
        assert self._process.stdout is not None
        self.address: str = json.loads(self._process.stdout.readline())
        return self

    def kill(self) -> None:
        """End the cluster without a farewell."""
        self._process.kill()

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
