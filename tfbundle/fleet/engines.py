"""Run a function over many tasks: in this process, in worker processes, or on a dask cluster.

All three return the same results in the same order. Tasks are submitted a few at a time, so that the results which wait
for their turn stay within memory however many tasks there are::

    workers=None, 1   in this process, one task when its result is needed
    workers=N         this process and N - 1 others on this machine (``local_workers``)
    scheduler="..."   the workers of an existing dask cluster (``dask_cluster``)

A function that runs elsewhere must be importable there. Its errors are raised here, as they would be in this process.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(NamedTuple):
    """Where tasks run; neither field is set for this process."""

    workers: int = 1
    scheduler: str | None = None

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result, None, None]:
        """Yield the result of each task, in order.

        Nothing is started before the first result is requested, and everything has ended when the iterator is closed
        or raises an error. Raises ``TfBundleError`` if a worker or the cluster is lost.
        """
        if self.scheduler is not None:
            from tfbundle.fleet.dask_cluster import map_on_cluster

            return map_on_cluster(self.scheduler, function, tasks)
        if self.workers > 1:
            from tfbundle.fleet.local_workers import map_in_processes

            return map_in_processes(self.workers, function, tasks)
        return (function(task) for task in tasks)


def choose_engine(workers: int | None, scheduler: str | None) -> Engine:
    """Return the engine that the arguments of a public function select.

    Raises ``ValueError`` if ``workers`` is less than 1 or both are given, and ``TypeError`` for other types.
    """
    if scheduler is not None:
        if workers is not None:
            raise ValueError("workers and scheduler exclude each other; the cluster has its own workers")
        if not isinstance(scheduler, str):
            raise TypeError(f"scheduler must be an address such as 'tcp://host:8786', not {type(scheduler).__name__}")
        return Engine(scheduler=scheduler)
    if workers is None:
        return Engine()
    count = operator.index(workers)
    if count < 1:
        raise ValueError(f"workers must be at least 1, not {count}")
    return Engine(count)


def in_order(
    submit: Callable[[Any], Future[Result]],
    result: Callable[[Future[Result]], Result],
    tasks: Iterable[Any],
    most_pending: int,
) -> Iterator[Result]:
    """Yield results in the order of the tasks, of which at most ``most_pending`` are submitted ahead."""
    pending: deque[Future[Result]] = deque()
    for task in tasks:
        pending.append(submit(task))
        if len(pending) >= most_pending:
            yield result(pending.popleft())
    while pending:
        yield result(pending.popleft())
