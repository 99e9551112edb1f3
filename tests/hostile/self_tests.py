"""Cases that break the promise, each in another way, to see that the worker notices."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.hostile.catalogue import Case, Wanted
from tests.hostile.exercise import attempt, demand


def _case(name: str, action: Callable[[], object]) -> tuple[str, Case]:
    def build(folder: Path) -> Wanted:
        return Wanted(folder, {"action": action})

    return name, Case(name, "self-test", build, name)


def _be_busy() -> None:
    end = time.process_time() + 1.2
    while time.process_time() < end:
        pass


SELF_TESTS = dict(
    [
        _case("self-test-wrong-value", lambda: demand(False, "a wrong value")),
        _case("self-test-abort", os.abort),
        _case("self-test-memory", lambda: bytearray(300 << 20)),
        _case("self-test-time", lambda: attempt(_be_busy)),
    ]
)
