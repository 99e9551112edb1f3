"""Large tensors on several processors at once.

Reading files and computing CRC-32C over many bytes both release the interpreter's lock, so threads run them in
parallel. The calling thread works too, and if the system cannot start more threads, it does all of the work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

# With more threads than this, memory bandwidth is the limit.
_MOST_THREADS = 4
# Less work than this is done before threads have started.
_LEAST_BYTES = 8 << 20
# With fewer bytes per job, the threads mostly wait for the interpreter.
_LEAST_BYTES_EACH = 64 << 10


def run_together(jobs: Sequence[Callable[[], T]], nbytes: int) -> list[T]:
    """Return the results of the jobs, which together read ``nbytes``.

    Raises the error of the first job that failed, in the order of ``jobs``; those after it may not have run.
    """
    if nbytes < max(_LEAST_BYTES, _LEAST_BYTES_EACH * len(jobs)):
        return [job() for job in jobs]
    waiting = deque(enumerate(jobs))
    results: dict[int, T] = {}
    errors: dict[int, BaseException] = {}

    def work() -> None:
        while True:
            try:
                number, job = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = job()
            except BaseException as error:
                errors[number] = error
                waiting.clear()

    started = []
    with suppress(RuntimeError):  # The system cannot start more threads.
        for _ in range(min(_MOST_THREADS, os.cpu_count() or 1, len(jobs)) - 1):
            thread = threading.Thread(target=work)
            thread.start()
            started.append(thread)
    try:
        work()
        for thread in started:
            thread.join()
    finally:
        waiting.clear()
    if errors:
        first = errors[min(errors)]
        errors.clear()  # The traceback refers to this frame; this avoids a reference cycle.
        raise first
    return [results[number] for number in range(len(jobs))]
