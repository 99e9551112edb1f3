"""Parquet files of the rows of a few runs, made wherever the runs are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

from tfbundle.fleet.event_batches import MOST_ROWS, batch_schema, make_batches
from tfbundle.fleet.reading import RunState, read_run
from tfbundle.fleet.runs import FoundRun
from tfbundle.fleet.troubles import import_pyarrow
from tfbundle.matching import Pattern

# Names repeat, steps ascend, and the bytes of floats compress best apart from each other.
_ENCODING = {
    "compression": "zstd",
    "write_batch_size": MOST_ROWS,
    "use_dictionary": ["run", "tag"],
    "column_encoding": {
        "step": "DELTA_BINARY_PACKED",
        "wall_time": "BYTE_STREAM_SPLIT",
        "value": "BYTE_STREAM_SPLIT",
    },
}


class PlannedPart(NamedTuple):
    """The runs whose rows a file is to have, each with what was read of it before, if the rest alone is new."""

    runs: tuple[tuple[FoundRun, RunState | None], ...]

    @property
    def size(self) -> int:
        """The number of bytes to read."""
        before = (file for _, state in self.runs if state is not None for file in state.files.values())
        return sum(run.size for run, _ in self.runs) - sum(file.position for file in before)


class MadePart(NamedTuple):
    """The bytes of a file, or ``None`` if it has no rows, and what was read of its runs."""

    data: bytes | None
    rows: int
    runs: dict[str, RunState]


def make_parts(tags: Sequence[Pattern] | None, planned: Sequence[PlannedPart]) -> list[MadePart]:
    """Read runs and encode their rows; this is the unit of work that other processes carry out."""
    return [_make(tags, part) for part in planned]


def _make(tags: Sequence[Pattern] | None, planned: PlannedPart) -> MadePart:
    import_pyarrow()
    import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]

    buffer = io.BytesIO()
    states = {}
    rows = 0
    with pyarrow.parquet.ParquetWriter(buffer, batch_schema(), **_ENCODING) as writer:
        for run, before in planned.runs:
            points, states[run.name] = read_run(run, tags, before)
            rows += len(points.steps)
            for batch in make_batches([points]):
                writer.write_batch(batch)
    return MadePart(buffer.getvalue() if rows else None, rows, states)
