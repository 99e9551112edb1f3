"""Scalars of runs as a Spark data source (PySpark 4, ``pyspark.sql.datasource``).

    spark.dataSource.register(EventDataSource)
    spark.read.format("tfbundle").option("tags", "*loss").load("s3://bucket/logs")

The columns are those of ``event_batches``, with plain strings. ``runs`` and ``tags`` are a name or a glob. Executors
import tfbundle, and the path must lead to the same files on each of them. Damaged files are logged there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    DataSource,
    DataSourceReader,
    InputPartition,
)

from tfbundle.fleet.event_batches import log_troubles, read_batches
from tfbundle.fleet.runs import FoundRun, find_chosen_runs, group_by_size

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

_SCHEMA = "run STRING, tag STRING, step BIGINT, wall_time DOUBLE, value DOUBLE"


class EventDataSource(DataSource):  # type: ignore[misc, unused-ignore]
    """The data source ``tfbundle``."""

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "tfbundle"

    def schema(self) -> str:
        """Return the columns."""
        return _SCHEMA

    def reader(self, schema: Any) -> _Reader:
        """Return what plans and reads partitions."""
        if not self.options.get("path"):
            raise ValueError("pass the folder of the runs to load()")
        return _Reader(self.options["path"], self.options.get("runs"), self.options.get("tags"))


class _Partition(InputPartition):  # type: ignore[misc, unused-ignore]
    def __init__(self, runs: Sequence[FoundRun]) -> None:
        super().__init__(runs)
        self.runs = runs


class _Reader(DataSourceReader):  # type: ignore[misc, unused-ignore]
    def __init__(self, path: str, runs: str | None, tags: str | None) -> None:
        self._path = path
        self._runs = runs
        self._tags = tags

    def partitions(self) -> list[_Partition]:
        """Return groups of runs, found by the driver; no event file is opened."""
        found, unlisted = find_chosen_runs(self._path, self._runs)
        log_troubles(unlisted)
        return [_Partition(runs) for runs in group_by_size((run, run.size) for run in found)]

    def read(self, partition: _Partition) -> Iterator[pyarrow.RecordBatch]:
        """Yield the batches of a group of runs."""
        import pyarrow

        batches, troubles = read_batches(None if self._tags is None else (self._tags,), partition.runs)
        log_troubles(troubles)
        for batch in batches:
            columns = [
                column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column
                for column in batch.columns
            ]
            yield pyarrow.RecordBatch.from_arrays(columns, batch.schema.names)
