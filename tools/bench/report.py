"""How long a report takes beside verification, and how large a page of many tensors is.

    python tools/bench/report.py [--gigabytes 1] [--tensors 100000] [--folder FOLDER]

Every time is the best of five, with the files in the page cache: then reading costs least, and statistics show most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tfbundle
from tfbundle.reporting.report import render_report

_TIMES = 5


def best(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


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
            verifying = best(lambda prefix=prefix: tfbundle.verify(prefix))
            reporting = best(lambda prefix=prefix: render_report(prefix))
            print(
                f"{arguments.gigabytes:g} GiB, {what}: verify {verifying:.3f} s, report {reporting:.3f} s, "
                f"{reporting / verifying:.2f} times as long"
            )
            for file in Path(folder).iterdir():
                file.unlink()
        prefix = tfbundle.save(Path(folder) / "many", many(arguments.tensors))
        start = time.perf_counter()
        size = len(render_report(prefix))
        print(f"{arguments.tensors:,} tensors: {size / 1e6:.2f} MB of page in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
