"""Threads that share tasks.

::

    thread 1    read and summarize A.0   A.2   A.3   ...
    thread 2    read and summarize A.1   B     C.0   ...

The calling thread works too, and does everything if the system cannot start others. A task should be long: threads take
turns at everything but reading, checksums and arithmetic.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

# With more threads than this, memory bandwidth is the limit.
_MOST_THREADS = 4

Task = Callable[[], None]


def run_tasks(tasks: Iterable[Task], after_each: Callable[[], None]) -> None:
    """Run all tasks; raise the error of one that failed, after which no other is begun.

    Tasks are created one at a time. ``after_each`` is called by the calling thread after each of its tasks.
    """
    _Crew(tasks, after_each).run()


class _Crew:
    def __init__(self, tasks: Iterable[Task], after_each: Callable[[], None]) -> None:
        self._tasks = iter(tasks)
        self._after_each = after_each
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def run(self) -> None:
        threads = []
        with suppress(RuntimeError):  # The system cannot start more threads.
            for _ in range(min(_MOST_THREADS, os.cpu_count() or 1) - 1):
                thread = threading.Thread(target=self._work, daemon=True)
                thread.start()
                threads.append(thread)
        try:
            self._work(self._after_each)
        except BaseException as error:  # Ctrl-C.
            self._fail(error)
        for thread in threads:
            thread.join()
        if self._error is not None:
            failure, self._error = self._error, None
            raise failure

    def _work(self, after_each: Callable[[], None] | None = None) -> None:
        try:
            while (task := self._next()) is not None:
                task()
                if after_each is not None:
                    after_each()
        except BaseException as error:
            self._fail(error)

    def _next(self) -> Task | None:
        with self._lock:
            return None if self._error is not None else next(self._tasks, None)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
