"""Worker processes on this machine.

Processes are spawned, not forked, because programs that use this library have threads. A worker ends in one of three
ways: when all tasks are done, when this process drops the results, and when this process dies. For the last two, each
worker waits in a thread for the end of a pipe whose other end only this process holds (``_end_with``). Ctrl-C reaches
the whole group of processes, so workers ignore it and leave the decision to this process.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from tfbundle.errors import TfBundleError
from tfbundle.fleet.engines import in_order

Task = TypeVar("Task")
Result = TypeVar("Result")

# Tasks per worker that are submitted ahead, so that no worker waits for the next one.
_PENDING_EACH = 3


def map_in_processes(
    workers: int, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result, None, None]:
    """Yield the results in order; raises as ``Engine.map`` does, and ``TypeError`` if a task cannot be pickled."""
    context = multiprocessing.get_context("spawn")
    lifeline, alive = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(lifeline,))

    def submit(task: Task) -> Future[Result]:
        return executor.submit(_run, _pickled((function, task)))

    try:
        yield from in_order(submit, Future.result, tasks, workers * _PENDING_EACH)
        executor.shutdown(wait=True)
    except BrokenProcessPool:
        raise TfBundleError(
            "a worker process ended before its task was done; it may have been killed because memory ran out "
            "(use fewer workers), or the calling script lacks 'if __name__ == \"__main__\":', which processes need"
        ) from None
    finally:
        alive.close()  # Workers that still run a task end now.
        executor.shutdown(wait=True, cancel_futures=True)
        lifeline.close()


def _pickled(task: tuple[Any, Any]) -> bytes:
    """Return a task as bytes; pickling here, and not in the executor's thread, keeps errors clear."""
    try:
        return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"worker processes need functions that they can import: {error}; define the function in a module"
        ) from None


def _run(task: bytes) -> Any:
    function, argument = pickle.loads(task)  # noqa: S301 - the parent process wrote it.
    return function(argument)


def _begin(lifeline: Connection) -> None:
    """Prepare a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """End this process when the other end of ``lifeline`` is closed, by intention or because its process died."""
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)
