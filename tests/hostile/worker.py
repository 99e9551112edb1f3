"""Runs cases in processes that can take 256 MB more than they have, and that end with a case that is large or fails.

    python -m tests.hostile.worker

reads names of cases from standard input, a line each, and answers each with a line of JSON: ``seconds`` of the
processor's time that the slowest call took, and ``slowest``, which one it was; ``megabytes`` by which the resident
memory grew; ``problem``, a traceback or how the process died; and ``said``, what the library said.

Where processes can be forked (POSIX) the imports are made once; small cases share a process, for copying one takes as
long as most of them. Elsewhere cases run in this process, without limits.
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
    copies: list[_Copy] = []
    for line in sys.stdin:
        print(json.dumps(_run_apart(line.strip(), copies)), flush=True)


class _Copy:
    """A copy of this process, which runs cases until one is large, fails, or ends it."""

    def __init__(self) -> None:
        reading, self._names = os.pipe()
        self._answers, writing = os.pipe()
        self._process = os.fork()
        if not self._process:
            os.close(self._names)
            os.close(self._answers)
            _serve(reading, writing)
            os._exit(0)
        os.close(reading)
        os.close(writing)

    def run(self, name: str) -> dict[str, Any] | None:
        """Return the answer, or ``None`` if the process died."""
        os.write(self._names, f"{name}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            part = os.read(self._answers, 1 << 16)
            if not part:
                return None
            answer += part
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> int:
        """End the process, and return its exit code."""
        os.close(self._names)
        os.close(self._answers)
        return os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])


def _serve(reading: int, writing: int) -> None:
    with open(reading, encoding="utf-8") as names, open(writing, "wb") as answers:
        for name in names:
            signal.alarm(SECONDS)
            answer = _run(name.strip())
            signal.alarm(0)
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()


def _run_apart(name: str, copies: list[_Copy]) -> dict[str, Any]:
    """Run a case in the last of the ``copies``, or in a new one, which replaces it."""
    if not hasattr(os, "fork"):
        return _run(name)
    copy = copies.pop() if copies else _Copy()
    result = copy.run(name)
    if result is None:
        status = copy.close()
        reason = f"it took more than {SECONDS} s" if status == -signal.SIGALRM else f"the process died: {status}"
        return {"seconds": 0.0, "megabytes": 0.0, "slowest": "", "problem": reason, "said": "", "is_large": True}
    if result["problem"] or result["is_large"]:
        copy.close()
    else:
        copies.append(copy)
    return result


def _run(name: str) -> dict[str, Any]:
    from tests.hostile.cases import run
    from tests.hostile.catalogue import CASES
    from tests.hostile.effort import is_large
    from tests.hostile.exercise import WATCH
    from tests.hostile.self_tests import SELF_TESTS

    case = CASES.get(name) or SELF_TESTS[name]
    WATCH.seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        wanted = case.build(Path(folder))
        is_last = is_large(wanted.path)
        before = _limit_memory()
        problem = said = ""
        try:
            said = run(case, wanted)
        except BaseException:
            problem = traceback.format_exc()
        megabytes = _resident("VmHWM") - before
        _lift_limit()
        return {
            "seconds": WATCH.seconds,
            "megabytes": megabytes,
            "slowest": WATCH.line,
            "problem": problem,
            "said": said[:300],
            "is_large": is_last,
        }


def _limit_memory() -> float:
    """Allow so much memory beyond what is in use; return how much of that is resident, in megabytes."""
    if not sys.platform.startswith("linux"):
        return 0.0
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Sets the peak back.
    return _resident("VmRSS")


def _lift_limit() -> None:
    if sys.platform.startswith("linux"):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _resident(what: str) -> float:
    if not sys.platform.startswith("linux"):
        return 0.0
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    main()
