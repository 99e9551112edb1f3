"""Large tensors on several processors at once.

Reading files and CRC-32C over many bytes both release the interpreter's lock, so that threads do them side by side.
The calling thread works too, and where the system gives no more threads it does all of the work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

# More threads than this wait for the memory, and not for a processor.
_MOST_THREADS = 4
# Less work than this is done before the threads have begun.
_LEAST_BYTES = 8 << 20
# With less than this for each job, it is the interpreter that they wait for.
_LEAST_BYTES_EACH = 64 << 10


def run_together(jobs: Sequence[Callable[[], T]], nbytes: int) -> list[T]:
    """Return what the jobs return, which together read ``nbytes``.

    Raises what the first of them raises, first by its place in ``jobs``; those behind it may not have run.
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
    with suppress(RuntimeError):  # The system gives no more threads.
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
        errors.clear()  # Its traceback leads here; nothing should lead back.
        raise first
    return [results[number] for number in range(len(jobs))]
