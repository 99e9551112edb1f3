"""Fuzzes what reads files, for a bounded time, with coverage as the guide.

    python tools/fuzz/run.py [--seconds N] [--seed N] [--corpus FOLDER] [target ...]    one for each processor at a time
    python tools/fuzz/run.py target --input FILE                                        one on one input, say a finding

A target is a file ``fuzz_NAME.py`` beside this one, with ``seeds()`` (inputs to start from, taken from the fixtures)
and ``check(data)``, which raises if the library's promise is broken: a right value, or one of its errors, and never
anything else. Memory is limited too, so that an allocation beyond what the input can ask for is a finding.

Needs atheris (``pip install --group fuzz``), which exists for Linux and macOS. Without it nothing is run, and the exit
status is 0. It is 1 where something was found; the input is then kept in the current folder.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))

# What a target may take beyond its imports, most of which is the corpus, and how long one input may last.
_MEMORY = 2 << 30
_SECONDS_EACH = 10
# A process is not used for longer: with some targets, atheris itself keeps tens of kilobytes of each input.
_SECONDS_A_PROCESS = 30


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the readers of tfbundle.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="to repeat a run; without it each run is another")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps the inputs found worthwhile")
    parser.add_argument("--input", type=Path, help="run one target on this input, without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    targets = arguments.targets or TARGETS
    if arguments.input:
        importlib.import_module(f"fuzz_{targets[0]}").check(arguments.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print(f"fuzzing is skipped: Python {sys.version.split()[0]} on {sys.platform} has no atheris")
        return 0
    if arguments.child:
        _fuzz(targets[0], arguments.seconds, arguments.seed, arguments.corpus)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        corpus = arguments.corpus or Path(scratch)
        clean = list(pool.map(lambda name: _run(name, arguments.seconds, arguments.seed, corpus), targets))
    return 0 if all(clean) else 1


def _run(target: str, seconds: int, seed: int, corpus: Path) -> bool:
    """Run a target for so long, in processes of its own; whether nothing was found."""
    total = 0
    while seconds > 0:
        executions = _run_once(target, min(seconds, _SECONDS_A_PROCESS), seed, corpus)
        if executions is None:
            return False
        total += executions
        seconds -= _SECONDS_A_PROCESS
    print(f"{target}: {total} inputs, nothing found", flush=True)
    return True


def _run_once(target: str, seconds: int, seed: int, corpus: Path) -> int | None:
    """How many inputs a process has tried, or ``None`` where it found something, which is then printed."""
    options = [f"--seconds={seconds}", f"--seed={seed}", f"--corpus={corpus / target}"]
    command = [sys.executable, __file__, target, "--child", *options]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as files:
        done = subprocess.run(
            command,
            env={**os.environ, "TMPDIR": files},
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    executions = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    if done.returncode == 0 and executions:
        return int(executions[1])
    print(done.stderr[-8000:], file=sys.stderr)
    print(f"{target}: FOUND something, exit status {done.returncode}; repeat it with --input", flush=True)
    return None


def _fuzz(target: str, seconds: int, seed: int, corpus: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["tfbundle"]):
        module = importlib.import_module(f"fuzz_{target}")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(module.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    for path in sorted(corpus.glob("seed-*"))[:50]:
        module.check(path.read_bytes())  # Loads what is imported late, before memory is limited.
    _limit_memory()
    largest = max(path.stat().st_size for path in corpus.iterdir())
    options = (
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={_SECONDS_EACH}"),
        *(f"-max_len={largest}", "-verbosity=1"),
    )
    atheris.Setup([sys.argv[0], *options, str(corpus)], module.check)
    atheris.Fuzz()


def _limit_memory() -> None:
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    sys.exit(main())
