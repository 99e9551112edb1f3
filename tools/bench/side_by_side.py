"""Runs pieces of Python side by side and prints how they compare.

Each contender runs in a fresh process, the contenders in turn, round after round, so that whatever else the machine
does hits all of them alike. A process does its set-up (imports), one run that is not counted, then the counted runs, of
which the median is its result; a contender's figure is the median over the rounds. What to read is the ratio: absolute
times belong to one machine on one day.

Memory is the peak resident size above what it was after the set-up, mapped pages included, in the first run (where the
system tells it: Linux, macOS).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_CHILD = r"""
import json, statistics, sys, time

def peak():
    # Linux can start the count again; elsewhere the peak of the set-up hides what is smaller.
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
    except OSError:
        pass
    try:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        return 0

task = json.loads(sys.argv[1])
space = {}
exec(task["setup"], space)
run, between = compile(task["run"], "<run>", "exec"), compile(task["between"], "<between>", "exec")
exec(between, space)
try:
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
except OSError:
    pass
before = peak()
exec(run, space)
grown = peak() - before
times = []
for _ in range(task["repeat"]):
    exec(between, space)
    start = time.perf_counter()
    exec(run, space)
    times.append(time.perf_counter() - start)
print(json.dumps({"seconds": statistics.median(times), "bytes": grown}))
"""


@dataclass(frozen=True)
class Contender:
    """A way to do the work: its name, code that is not timed, and the code that is.

    ``whole_process`` times the process from its start to its end instead, with ``setup`` as part of it. Then too the
    first run is not counted: it leaves compiled modules behind, as an installation does. ``between`` is code that comes
    before each run, and is not timed either.
    """

    name: str
    setup: str
    run: str
    whole_process: bool = False
    between: str = ""


@dataclass(frozen=True)
class Figure:
    """What a contender took: seconds and bytes, medians over the rounds."""

    seconds: float
    nbytes: float


class Task(NamedTuple):
    """A piece of work for which a benchmark was asked: its title, who does it, and in how many rounds."""

    name: str
    title: str
    contenders: list[Contender]
    rounds: int


def chosen_tasks(
    about: str, write: str, last: str, tasks: Callable[[str], dict[str, tuple[str, list[Contender]]]]
) -> Iterator[Task]:
    """The tasks that the command line names, or all.

    ``write`` is code that fills a folder, whose name it is given, and ``last`` the last file in there; ``tasks`` gives
    titles and contenders for such a folder.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the files are kept for another run")
    parser.add_argument("only", nargs="*", metavar="name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or scratch
        if not os.path.exists(os.path.join(folder, last)):
            os.makedirs(folder, exist_ok=True)
            subprocess.run([sys.executable, "-c", write, folder], check=True)
        for name, (title, contenders) in tasks(folder).items():
            if not arguments.only or name in arguments.only:
                yield Task(name, f"{name}: {title}", contenders, arguments.rounds)


def compare(title: str, contenders: list[Contender], *, rounds: int = 5, repeat: int = 3) -> list[Figure]:
    """Run the contenders in turn, print a table with ratios to the first one, and return the figures."""
    results: list[list[Figure]] = [[] for _ in contenders]
    for contender in contenders:
        if contender.whole_process:
            _whole(contender)
    for _ in range(rounds):
        for contender, found in zip(contenders, results, strict=True):
            found.append(_whole(contender) if contender.whole_process else _inside(contender, repeat))
    figures = [
        Figure(statistics.median(f.seconds for f in found), statistics.median(f.nbytes for f in found))
        for found in results
    ]
    print(f"\n{title}  (median of {rounds} rounds)")
    for contender, figure in zip(contenders, figures, strict=True):
        ratio = figure.seconds / figures[0].seconds
        memory = f"{figure.nbytes / 1e6:9.1f} MB" if figure.nbytes else "            "
        print(f"  {contender.name:<44} {figure.seconds * 1e3:10.2f} ms  x {ratio:8.2f}  {memory}", flush=True)
    return figures


def _inside(contender: Contender, repeat: int) -> Figure:
    task = json.dumps({"setup": contender.setup, "run": contender.run, "between": contender.between, "repeat": repeat})
    output = subprocess.run([sys.executable, "-c", _CHILD, task], check=True, capture_output=True, text=True).stdout
    result = json.loads(output.splitlines()[-1])
    return Figure(result["seconds"], result["bytes"])


_TIMER = r"""
import subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.perf_counter() - start)
"""


def _whole(contender: Contender) -> Figure:
    code = f"{contender.setup}\n{contender.run}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _TIMER, code]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return Figure(float(output), 0)
