"""Functions that worker processes import."""

from __future__ import annotations

import os
import signal
import time

from tfbundle import FormatError


def square(number: int) -> int:
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise FormatError("three is damaged", path="/three", offset=3)
    return number


def die_elsewhere(home: int) -> int:
    """Kill this process, unless it is ``home``."""
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return process(home)


_has_answered = False


def hold_elsewhere(home: int) -> int:
    """Return the number of this process; the second time, do not return, unless this is ``home``."""
    global _has_answered
    if os.getpid() != home and _has_answered:
        time.sleep(600)
    _has_answered = True
    return process(home)


def process(_: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def fail_elsewhere(home: int) -> int:
    if os.getpid() != home:
        raise FormatError("it is damaged", path="/elsewhere")
    return process(home)


def slow(number: int) -> int:
    time.sleep(0.2)
    return number
