"""How long a report takes beside verification, and how large a page of many tensors is.

    python tools/bench/report.py [--gigabytes 1] [--tensors 100000] [--folder FOLDER]

Files are in the page cache: then reading costs least, and statistics show most. The functions and the whole commands
are run in turn, and every time is the median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tfbundle
from tfbundle.reporting.report import render_report

_ROUNDS = 5


def in_turn(*functions: Callable[[], Any]) -> list[float]:
    """Return the median seconds of each function, after a round that does not count."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(_ROUNDS + 1):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return [statistics.median(found[1:]) for found in times]


def run(*arguments: str) -> None:
    """Run the command ``tfbundle``."""
    subprocess.run([sys.executable, "-m", "tfbundle", *arguments], check=True, stdout=subprocess.DEVNULL)


def compare(what: str, verifying: float, reporting: float) -> None:
    print(f"{what}: verify {verifying:.3f} s, report {reporting:.3f} s, {reporting / verifying:.2f} times as long")


def layers(gigabytes: float, rows: int) -> Iterator[tuple[str, Any]]:
    """Kernels of [rows, 4096] and their biases."""
    rng = np.random.default_rng(0)
    for number in range(max(1, round(gigabytes * 2**30 / (rows * 4096 * 4)))):
        yield f"layer_{number}/dense/kernel", rng.standard_normal((rows, 4096), dtype=np.float32) * 0.02
        yield f"layer_{number}/dense/bias", rng.standard_normal(4096, dtype=np.float32) * 0.02


def many(count: int) -> Iterator[tuple[str, Any]]:
    value = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    for number in range(count):
        yield f"encoder/block_{number // 100}/layer_{number % 100}/attention/kernel", value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--tensors", type=int, default=100_000)
    parser.add_argument("--folder", help="where the checkpoints are written")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for what, rows in (("kernels of 16 MiB", 1024), ("one tensor", round(arguments.gigabytes * 65536))):
            prefix = tfbundle.save(Path(folder) / f"large-{rows}", layers(arguments.gigabytes, rows))
            out = str(Path(folder) / "report.html")
            times = in_turn(partial(tfbundle.verify, prefix), partial(render_report, prefix))
            compare(f"{arguments.gigabytes:g} GiB, {what}, functions", *times)
            times = in_turn(partial(run, "verify", prefix), partial(run, "report", prefix, "-o", out, "--overwrite"))
            compare(f"{arguments.gigabytes:g} GiB, {what}, commands", *times)
            for file in Path(folder).iterdir():
                file.unlink()
        prefix = tfbundle.save(Path(folder) / "many", many(arguments.tensors))
        start = time.perf_counter()
        size = len(render_report(prefix))
        print(f"{arguments.tensors:,} tensors: {size / 1e6:.2f} MB of page in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
