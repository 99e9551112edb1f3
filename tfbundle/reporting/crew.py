"""Threads that read tensors and summarize them, and help each other when there is nothing left to read.

Each thread takes a tensor and reads it chunk by chunk; while a chunk is in the processor's cache, it is summarized. A
thread for which no tensor is left waits, and the reader passes it chunks, so that one large tensor keeps all of them
busy too::

    thread 1    read and summarize A   read C  summarize C  read C ...
    thread 2    read and summarize B   summarize a chunk of C   summarize a chunk of C ...

The calling thread works too, and does everything if the system cannot start others.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

# With more threads than this, memory bandwidth is the limit.
_MOST_THREADS = 4

Task = Callable[[], None]


class Crew:
    """Runs jobs, and tasks that jobs pass on."""

    def __init__(self, jobs: Iterable[Task], after_each: Callable[[], None]) -> None:
        """``after_each`` is called by the calling thread after each of its jobs and tasks."""
        self._jobs = deque(jobs)
        self._after_each = after_each
        self._tasks: deque[Task] = deque()
        self._change = threading.Condition()
        self._idle = self._running = 0
        self._error: BaseException | None = None

    def run(self) -> None:
        """Run everything; raises the error of a job that failed, after which no other is begun."""
        threads = []
        with suppress(RuntimeError):  # The system cannot start more threads.
            for _ in range(min(_MOST_THREADS, os.cpu_count() or 1, max(2, len(self._jobs))) - 1):
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

    def run_or_pass(self, task: Task) -> None:
        """Pass a task on to a thread that waits, or run it now."""
        with self._change:
            is_passed = self._idle > len(self._tasks)
            if is_passed:
                self._tasks.append(task)
                self._change.notify()
        if not is_passed:
            task()

    def _work(self, after_each: Callable[[], None] | None = None) -> None:
        try:
            while (task := self._next()) is not None:
                try:
                    task()
                finally:
                    self._done()
                if after_each is not None:
                    after_each()
        except BaseException as error:
            self._fail(error)

    def _next(self) -> Task | None:
        with self._change:
            while self._error is None:
                if self._tasks or self._jobs:
                    self._running += 1
                    return (self._tasks or self._jobs).popleft()
                if not self._running:
                    return None
                self._idle += 1
                try:
                    self._change.wait()
                finally:
                    self._idle -= 1
            return None

    def _done(self) -> None:
        with self._change:
            self._running -= 1
            if not self._running:
                self._change.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._change:
            self._error = self._error or error
            self._change.notify_all()
