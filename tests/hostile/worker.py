"""Runs cases, each in a process of its own that can take 256 MB more than its imports have.

    python -m tests.hostile.worker

reads names of cases from standard input, a line each, and answers each with a line of JSON: ``seconds`` of the
processor's time that the slowest call took, and ``slowest``, which one it was; ``megabytes`` by which the resident
memory grew; ``problem``, a traceback or how the process died; and ``said``, what the library said.

Where processes can be forked (POSIX) the imports are made once. Elsewhere cases run in this process, without limits.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

MEMORY = 256 << 20
# Long enough for slow machines; what takes this long is a hang.
SECONDS = 60


def fill_catalogue() -> None:
    """Import the modules that add cases."""
    from tests.hostile import (  # noqa: F401
        bundles,
        folders,
        foreign,
        graphs,
        old_checkpoints,
        others,
        programs,
        slot_names,
        streams,
        surgery,
        tables,
    )


def main() -> None:
    """Answer until the input ends."""
    from tests.hostile.cases import prepare

    fill_catalogue()
    prepare()
    # What has been imported is not searched for garbage again in each process, which copies the pages that it marks.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_run_apart(line.strip())), flush=True)


def _run_apart(name: str) -> dict[str, Any]:
    if not hasattr(os, "fork"):
        return _run(name)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        signal.alarm(SECONDS)
        answer = json.dumps(_run(name)).encode()
        with open(writing, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status or not answer:
        reason = f"it took more than {SECONDS} s" if status == -signal.SIGALRM else f"the process died: {status}"
        return {"seconds": 0.0, "megabytes": 0.0, "slowest": "", "problem": reason, "said": ""}
    result: dict[str, Any] = json.loads(answer)
    return result


def _run(name: str) -> dict[str, Any]:
    from tests.hostile.cases import run
    from tests.hostile.catalogue import CASES
    from tests.hostile.exercise import WATCH
    from tests.hostile.self_tests import SELF_TESTS

    case = CASES.get(name) or SELF_TESTS[name]
    WATCH.seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        wanted = case.build(Path(folder))
        before = _limit_memory()
        problem = said = ""
        try:
            said = run(case, wanted)
        except BaseException:
            problem = traceback.format_exc()
        return {
            "seconds": WATCH.seconds,
            "megabytes": _resident("VmHWM") - before,
            "slowest": WATCH.line,
            "problem": problem,
            "said": said[:300],
        }


def _limit_memory() -> float:
    """Allow so much memory beyond what is in use; return how much of that is resident, in megabytes."""
    if not sys.platform.startswith("linux"):
        return 0.0
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Sets the peak back.
    return _resident("VmRSS")


def _resident(what: str) -> float:
    if not sys.platform.startswith("linux"):
        return 0.0
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    main()
