"""The workers of an existing dask cluster, which import tfbundle from their own environments.

The paths of tasks must lead to the same files on every worker: a shared file system, or URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.fleet.engines import in_order

Task = TypeVar("Task")
Result = TypeVar("Result")

# Seconds until a scheduler that does not answer counts as absent.
_PATIENCE = 10
_PENDING_EACH = 3


def map_on_cluster(
    scheduler: str, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Generator[Result, None, None]:
    """Yield the results in order; raises as ``Engine.map`` does, and ``UnsupportedError`` if dask is not installed."""
    try:
        import distributed  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise UnsupportedError('a dask cluster requires the extra "dask": pip install "tfbundle[dask]"') from None
    try:
        client = distributed.Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise TfBundleError(f"no dask scheduler answers at {scheduler}: {str(error) or type(error).__name__}") from None

    def submit(task: Task) -> Any:
        # Results of earlier calls are never reused: the files may have changed.
        return client.submit(function, task, pure=False)

    def result(future: Any) -> Result:
        while True:
            try:
                done: Result = future.result(timeout=_PATIENCE)
            except (TimeoutError, distributed.TimeoutError):
                # A task may take long, but a client whose scheduler is gone never learns of its end.
                if client.status != "running":
                    raise _lost(scheduler) from None
            except (CancelledError, distributed.comm.CommClosedError):
                raise _lost(scheduler) from None
            except distributed.KilledWorker as error:
                raise TfBundleError(f"workers of {scheduler} were killed while they ran a task: {error}") from None
            else:
                return done

    try:
        count = max(1, sum(client.nthreads().values()))
        yield from in_order(submit, result, tasks, count * _PENDING_EACH)
    except OSError as error:
        if client.status == "running" or isinstance(error, TfBundleError):
            raise
        raise _lost(scheduler) from None
    finally:
        with suppress(Exception):  # The cluster may be gone.
            client.close(timeout=_PATIENCE)


def _lost(scheduler: str) -> TfBundleError:
    return TfBundleError(f"the dask scheduler at {scheduler} was lost before all tasks were done")
