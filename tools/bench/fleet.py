"""Many runs and checkpoints at once: data sets beside tbparse, updates with nothing new, and an inventory.

    python tools/bench/fleet.py [--rounds N] [--folder FOLDER] [--runs N] [name ...]

Writes its own files (1,000 runs of 10,000 scalars, 0.5 GB, and 2,000 checkpoints of 100 tensors; once, into FOLDER, by
default a temporary one), then measures:

    export     all runs to a Parquet data set with one process and with two, and tbparse with pandas on ``_SAMPLE`` of
               the same runs, whose time is multiplied: it takes minutes for all of them
    again      the same data set again, with nothing new
    inventory  a row for each of 2,000 checkpoints

Memory is the largest resident size of the process, plus that of its worker, imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

_POINTS = 10_000
_CHECKPOINTS = 2_000
# Runs that tbparse reads.
_SAMPLE = 5
_AIMS = {
    "tbparse": "25 (aim 50)",
    "one": "1.8",
    "memory": "500 MB",
    "again": "5% (aim 1%)",
    "inventory": "10 s (aim 5 s)",
}

_WRITE = r"""
import os, shutil, sys
import numpy as np
import tfbundle
from tfbundle.formats.checksum import crc32c, mask
from tfbundle.proto import Event, Summary
folder, runs, points, checkpoints = sys.argv[1], *map(int, sys.argv[2:])
def frame(event):
    data = event.SerializeToString()
    size = len(data).to_bytes(8, "little")
    return b"".join((size, mask(crc32c(size)).to_bytes(4, "little"), data, mask(crc32c(data)).to_bytes(4, "little")))
tags = ["loss", "accuracy", "learning_rate", "val/loss"]
generator = np.random.default_rng(0)
for run in range(runs):
    place = f"{folder}/logs/sweep{run // 100}/trial{run:04d}"
    os.makedirs(place)
    values = generator.standard_normal(points).astype("f4").tolist()
    frames = [frame(Event(wall_time=1.6e9, file_version="brain.Event:2"))]
    for number, value in enumerate(values):
        summary = Summary(value=[Summary.Value(tag=tags[number % 4], simple_value=value)])
        frames.append(frame(Event(wall_time=1.6e9 + number * 0.3, step=number // 4, summary=summary)))
    with open(f"{place}/events.out.tfevents.1600000000.host", "wb") as file:
        file.write(b"".join(frames))
names = [f"layer{layer}/{part}" for layer in range(25) for part in ("kernel", "bias", "kernel/m", "kernel/v")]
first = f"{folder}/checkpoints/first/model.ckpt"
os.makedirs(os.path.dirname(first))
tfbundle.save(first, {name: generator.standard_normal((16, 16)).astype("f4") for name in names})
for number in range(checkpoints):
    place = f"{folder}/checkpoints/run{number // 20}"
    os.makedirs(place, exist_ok=True)
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copyfile(first + suffix, f"{place}/model.ckpt-{number}{suffix}")
shutil.rmtree(os.path.dirname(first))
"""

# Each prints seconds, and bytes of the process and of its largest child.
_MEASURE = r"""
import json, resource, shutil, sys, time
{setup}
start = time.perf_counter()
{run}
seconds = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024
peaks = [resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([seconds, *peaks]))
"""
_EXPORT = "tfbundle.export_events({logs!r}, {out!r}, workers={workers})"
_TBPARSE = r"""
for path in {paths!r}:
    SummaryReader(path, extra_columns={{"wall_time"}}).scalars.to_parquet({out!r} + "/part.parquet", compression="zstd")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the files are kept for another run")
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("only", nargs="*", metavar="name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or scratch
        if not os.path.exists(f"{folder}/checkpoints"):
            sizes = [str(arguments.runs), str(_POINTS), str(_CHECKPOINTS)]
            subprocess.run([sys.executable, "-c", _WRITE, folder, *sizes], check=True)
        only = arguments.only or ["export", "again", "inventory"]
        if "export" in only or "again" in only:
            _exports(folder, scratch, arguments.rounds)
        if "inventory" in only:
            _inventory(folder, arguments.rounds)


def _exports(folder: str, scratch: str, rounds: int) -> None:
    logs, out = f"{folder}/logs", f"{scratch}/out"
    paths = sorted(f"{logs}/{sweep}/{trial}" for sweep in os.listdir(logs) for trial in os.listdir(f"{logs}/{sweep}"))
    ours = f"import pyarrow.parquet, tfbundle.fleet.dataset\nshutil.rmtree({out!r}, ignore_errors=True)"
    tbparse = _TBPARSE.format(paths=paths[:_SAMPLE], out=scratch)
    # The contenders take turns, round after round, so that whatever else the machine does affects all of them.
    results: dict[str, list[list[float]]] = {"one": [], "two": [], "again": [], "tbparse": []}
    for _ in range(rounds):
        two = _EXPORT.format(logs=logs, out=out, workers=2)
        results["one"].append(_measure(ours, _EXPORT.format(logs=logs, out=out, workers=1)))
        results["two"].append(_measure(ours, two))
        results["again"].append(_measure("import tfbundle.fleet.dataset", two))
        results["tbparse"].append(_measure("from tbparse import SummaryReader", tbparse))
    one, both, again, other = (statistics.median(row[0] for row in results[name]) for name in results)
    other *= len(paths) / _SAMPLE
    memory = statistics.median(own + child for _, own, child in results["two"])
    print(f"\nexport: {len(paths):,} runs of {_POINTS:,} scalars to Parquet  (median of {rounds} rounds)")
    _line("tfbundle, 2 processes", both, f"{memory / 1e6:.0f} MB; at most {_AIMS['memory']}")
    _line("tfbundle, 1 process", one, f"x {one / both:.2f}; at least {_AIMS['one']}")
    _line(f"tbparse ({_SAMPLE} runs, scaled)", other, f"x {other / both:.1f}; at least {_AIMS['tbparse']}")
    _line("the same again, nothing new", again, f"{again / both:.2%}; at most {_AIMS['again']}")


def _inventory(folder: str, rounds: int) -> None:
    run = f"assert tfbundle.inventory({folder + '/checkpoints'!r}).num_rows == {_CHECKPOINTS}"
    setup = "import pyarrow, tfbundle.fleet.inventory"
    seconds = statistics.median(_measure(setup, run)[0] for _ in range(rounds))
    print(f"\ninventory: {_CHECKPOINTS:,} checkpoints of 100 tensors  (median of {rounds} rounds)")
    _line("tfbundle.inventory", seconds, f"at most {_AIMS['inventory']}")


def _measure(setup: str, run: str) -> list[float]:
    code = _MEASURE.format(setup=f"import tfbundle\n{setup}", run=run)
    output = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    figures: list[float] = json.loads(output.stdout.splitlines()[-1])
    return figures


def _line(name: str, seconds: float, remark: str) -> None:
    print(f"  {name:<32} {seconds:9.3f} s   {remark}", flush=True)


if __name__ == "__main__":
    main()
