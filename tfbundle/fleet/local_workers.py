"""Worker processes on this machine, which share the work with this process.

Of N processes, this one is the first: it runs tasks while the others start, which takes as long as reading hundreds of
runs, and afterwards those that no worker has begun. So a few tasks take no longer than without workers.

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
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import chain, islice
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from tfbundle.errors import TfBundleError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Tasks per worker that are submitted ahead, so that none waits for the next one.
_PENDING_EACH = 3


def map_in_processes(
    workers: int, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result, None, None]:
    """Yield the results in order; raises as ``Engine.map`` does, and ``TypeError`` if a task cannot be pickled.

    ``workers`` is the number of processes with this one, at least 2.
    """
    others = workers - 1
    context = multiprocessing.get_context("spawn")
    lifeline, alive = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(others, context, initializer=_begin, initargs=(lifeline,))
    remaining = iter(tasks)

    def submit(task: Task) -> Future[Result]:
        return executor.submit(_run, sent, _pickled(task))

    try:
        sent = _pickled(function)
        started = [executor.submit(_load, sent) for _ in range(others)]
        for task in remaining:
            if any(one.done() for one in started):
                for one in started:
                    if one.done():
                        one.result()
                yield from _share(submit, function, chain([task], remaining), others * _PENDING_EACH)
                break
            yield function(task)
    except BrokenProcessPool:
        raise TfBundleError(
            "a worker process ended before its task was done; it may have been killed because memory ran out "
            "(use fewer workers), or the calling script lacks 'if __name__ == \"__main__\":', which processes need"
        ) from None
    finally:
        alive.close()  # Workers that still start or run a task end now.
        executor.shutdown(wait=True, cancel_futures=True)
        lifeline.close()


def _share(
    submit: Callable[[Any], Future[Any]],
    function: Callable[[Any], Any],
    tasks: Iterator[Any],
    most_submitted: int,
) -> Iterator[Any]:
    """Yield the results of tasks, of which ``most_submitted`` are submitted ahead; the next ones are run here.

    Nothing is cancelled: an executor that loses a worker cannot cope with futures that are.
    """
    pending: deque[Future[Any]] = deque()
    submitted: list[Future[Any]] = []
    most_pending = 2 * most_submitted
    while True:
        submitted = [future for future in submitted if not future.done()]
        new = [
            submit(task) for task in islice(tasks, min(most_submitted - len(submitted), most_pending - len(pending)))
        ]
        submitted += new
        pending.extend(new)
        if not pending:
            return
        if not pending[0].done() and len(pending) < most_pending:
            here = [_run_here(function, task) for task in islice(tasks, 1)]
            if here:
                pending += here
                continue
        yield pending.popleft().result()


def _run_here(function: Callable[[Any], Any], task: Any) -> Future[Any]:
    done: Future[Any] = Future()
    try:
        done.set_result(function(task))
    except Exception as error:  # It is raised when its turn comes.
        done.set_exception(error)
    return done


def _pickled(value: Any) -> bytes:
    """Return a function or task as bytes; pickling here, and not in the executor's thread, keeps errors clear."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"worker processes need functions that they can import: {error}; define the function in a module"
        ) from None


def _load(function: bytes) -> None:
    """Import what a function needs."""
    pickle.loads(function)  # noqa: S301 - the parent process wrote it.


def _run(function: bytes, task: bytes) -> Any:
    return pickle.loads(function)(pickle.loads(task))  # noqa: S301 - the parent process wrote them.


def _begin(lifeline: Connection) -> None:
    """Prepare a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """End this process when the other end of ``lifeline`` is closed, by intention or because its process died."""
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(0)
