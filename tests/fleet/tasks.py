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


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait(number: int) -> int:
    time.sleep(600 if number else 0)
    return os.getpid()


def slow(number: int) -> int:
    time.sleep(0.2)
    return number
