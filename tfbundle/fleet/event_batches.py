"""The scalars of any number of runs as a stream of Arrow record batches.

::

    find the runs -> leave out those not selected -> read a few at a time -> batches of at most 128 Ki rows

A batch has the rows of one or more runs, in the order of the runs, and in each run in the order in which its tags first
appear. ``run`` and ``tag`` are dictionaries of int32 and string; each batch has the names of its own rows only, so that
a million names are never in memory together. ``Table.unify_dictionaries`` merges them where a consumer requires it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import chain
from logging import getLogger
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.events.by_name import Names
from tfbundle.events.tables import as_text
from tfbundle.fleet.engines import choose_engine
from tfbundle.fleet.reading import RunPoints, read_run
from tfbundle.fleet.runs import FoundRun, as_patterns, find_chosen_runs, group_by_size
from tfbundle.fleet.troubles import EventTrouble, EventTroubles, import_pyarrow
from tfbundle.matching import Pattern
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

MOST_ROWS = 1 << 17
# An offset in an Arrow string column has 31 bits.
_MOST_TEXT = (1 << 31) - 1

_log = getLogger(__name__)


def event_batches(
    root: StrPath,
    *,
    tags: Names = None,
    runs: Names = None,
    workers: int | None = None,
    scheduler: str | None = None,
    troubles: EventTroubles | None = None,
    storage_options: StorageOptions | None = None,
) -> pyarrow.RecordBatchReader:
    """Return a reader of the scalars of all runs below ``root``, a few runs in memory at a time.

    The columns are ``run``, ``tag`` (both dictionary-encoded), ``step`` (int64), ``wall_time`` (float64, seconds since
    1970) and ``value`` (float64): the points that ``open_events(root)`` has, without any purge. ``root`` is an event
    file, the folder of a run, or a tree of runs, on this machine or in an object store.

    ``runs`` and ``tags`` are a name, a glob, a compiled pattern, a predicate on names, or several of these. Files of
    runs that are not selected are not opened. Tags are selected in each run; a tag that no run has gives no rows.

    ``workers`` is the number of processes on this machine, of which this one is the first, and by default the only one;
    ``scheduler`` is the address of an existing dask cluster. Both return the same batches in the same order.
    ``storage_options`` are those of ``locate``, for URLs.

    Files that are damaged, or cannot be read, contribute the records before the damage, and a row in ``troubles``,
    which fills while the reader is consumed; without ``troubles``, each row is logged as a warning.

    Raises ``MissingFileError`` if ``root`` does not exist, ``KeyError`` if one of ``runs`` matches no run, and
    ``UnsupportedError`` if pyarrow is not installed. Reading raises ``TfBundleError`` if a worker is killed or the
    cluster is lost.
    """
    arrow = import_pyarrow()
    engine = choose_engine(workers, scheduler)
    found, unlisted = find_chosen_runs(with_options(root, storage_options), runs)
    tasks = group_by_size((run, run.size) for run in found)
    read = partial(read_batches, as_patterns(tags))
    report = log_troubles if troubles is None else troubles.extend

    def batches() -> Iterator[Any]:
        report(unlisted)
        with closing(engine.map(read, tasks)) as results:
            for rows, bad in results:
                report(bad)
                yield from rows

    return arrow.RecordBatchReader.from_batches(batch_schema(), batches())


def log_troubles(rows: Sequence[EventTrouble]) -> None:
    """Log rows that no table will have, as warnings."""
    for row in rows:
        _log.warning("run %r: %s", row.run, row.message)


@cache
def batch_schema() -> pyarrow.Schema:
    """Return the columns of all batches."""
    import pyarrow

    name = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    return pyarrow.schema(
        [
            ("run", name),
            ("tag", name),
            ("step", pyarrow.int64()),
            ("wall_time", pyarrow.float64()),
            ("value", pyarrow.float64()),
        ]
    )


def read_batches(
    tags: Sequence[Pattern] | None, runs: Sequence[FoundRun]
) -> tuple[list[pyarrow.RecordBatch], list[EventTrouble]]:
    """Read runs; this is the unit of work that other processes, dask, Spark and Ray carry out."""
    points, states = zip(*(read_run(run, tags) for run in runs), strict=True)
    return make_batches(points), [*chain.from_iterable(state.troubles for state in states)]


def make_batches(points: Sequence[RunPoints]) -> list[pyarrow.RecordBatch]:
    """Return the rows of runs as batches."""
    batches = []
    rows: list[RunPoints] = []
    count = 0
    for one in chain.from_iterable(map(_split, points)):
        if rows and count + len(one.steps) > MOST_ROWS:
            batches.append(_batch(rows))
            rows, count = [], 0
        if len(one.steps):
            rows.append(one)
            count += len(one.steps)
    return [*batches, _batch(rows)] if rows else batches


def _split(points: RunPoints) -> Iterator[RunPoints]:
    """Yield the points of a run in parts that fit into a batch."""
    if len(points.steps) <= MOST_ROWS:
        yield points
        return
    ends = np.cumsum(points.counts)
    for start in range(0, len(points.steps), MOST_ROWS):
        stop = min(start + MOST_ROWS, len(points.steps))
        first, last = np.searchsorted(ends, [start, stop - 1], side="right").tolist()
        bounds = np.clip(np.concatenate([[0], ends[first : last + 1]]), start, stop)
        bounds[0] = start
        part = slice(start, stop)
        yield RunPoints(
            points.run,
            points.tags[first : last + 1],
            np.diff(bounds).tolist(),
            points.steps[part],
            points.walls[part],
            points.values[part],
        )


def _batch(points: Sequence[RunPoints]) -> pyarrow.RecordBatch:
    import pyarrow

    columns = [
        _encode([one.run for one in points], [len(one.steps) for one in points]),
        _encode([tag for one in points for tag in one.tags], [count for one in points for count in one.counts]),
        *(_as_arrow(_join(parts)) for parts in zip(*(one[3:] for one in points), strict=True)),
    ]
    return pyarrow.RecordBatch.from_arrays(columns, schema=batch_schema())


def _join(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _encode(names: list[str], counts: list[int]) -> pyarrow.DictionaryArray:
    """Return a column in which each name is repeated so many times."""
    import pyarrow

    codes = {name: code for code, name in enumerate(dict.fromkeys(map(as_text, names)))}
    rows = np.repeat(np.array([codes[as_text(name)] for name in names], np.int32), counts)
    return pyarrow.DictionaryArray.from_arrays(_as_arrow(rows), _strings(codes))


def _strings(texts: Collection[str]) -> pyarrow.StringArray:
    import pyarrow

    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=offsets[1:])
    if offsets[-1] > _MOST_TEXT:
        raise UnsupportedError(f"the names of {len(encoded)} tags take {offsets[-1]} bytes, more than an Arrow column")
    return pyarrow.StringArray.from_buffers(
        len(encoded), pyarrow.py_buffer(offsets.astype(np.int32)), pyarrow.py_buffer(b"".join(encoded))
    )


def _as_arrow(numbers: Array) -> pyarrow.Array:
    """Return numbers as an Arrow array, without a copy; ``pyarrow.array`` would import pandas if it is installed."""
    import pyarrow

    buffers = [None, pyarrow.py_buffer(np.ascontiguousarray(numbers))]
    return pyarrow.Array.from_buffers(pyarrow.from_numpy_dtype(numbers.dtype), len(numbers), buffers)
