"""Scalars of runs as a Ray data source.

    ray.data.read_datasource(EventDatasource("s3://bucket/logs", tags="*loss"))

The columns are those of ``event_batches``, and ``runs`` and ``tags`` mean the same. Ray's workers import tfbundle, and
the path must lead to the same files on each of them. Damaged files are logged there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ray.data import Datasource, ReadTask  # type: ignore[import-untyped, import-not-found, unused-ignore]
from ray.data.block import BlockMetadata  # type: ignore[import-untyped, import-not-found, unused-ignore]

from tfbundle.events.by_name import Names
from tfbundle.fleet.event_batches import batch_schema, log_troubles, read_batches
from tfbundle.fleet.runs import FoundRun, as_patterns, find_chosen_runs, group_by_size
from tfbundle.matching import Pattern
from tfbundle.storage.locations import StrPath

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]


class EventDatasource(Datasource):  # type: ignore[misc, unused-ignore]
    """The runs below ``root``, which are found at once and read by Ray's tasks."""

    def __init__(self, root: StrPath, *, tags: Names = None, runs: Names = None) -> None:
        """Find the runs; raises the errors of ``event_batches``."""
        super().__init__()
        self._tags = as_patterns(tags)
        self._runs, unlisted = find_chosen_runs(root, runs)
        log_troubles(unlisted)

    def estimate_inmemory_data_size(self) -> int:
        """Return the size of the event files in bytes, which is that of their rows within a factor of two."""
        return sum(run.size for run in self._runs)

    def get_read_tasks(self, parallelism: int, *limits: Any, **settings: Any) -> list[ReadTask]:
        """Return a task for each group of runs, of which Ray runs ``parallelism`` or fewer at a time."""
        return [
            ReadTask(
                partial(_read, self._tags, runs),
                BlockMetadata(None, sum(run.size for run in runs), None, None),
                schema=batch_schema(),
            )
            for runs in group_by_size((run, run.size) for run in self._runs)
        ]


def _read(tags: Sequence[Pattern] | None, runs: Sequence[FoundRun]) -> Iterator[pyarrow.Table]:
    import pyarrow

    batches, troubles = read_batches(tags, runs)
    log_troubles(troubles)
    yield pyarrow.Table.from_batches(batches, batch_schema())
