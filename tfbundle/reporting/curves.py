"""The training curves of all runs at a path, thinned out to what a screen can show, and their hyperparameters.

Of each stretch of a long curve, the lowest and the highest point are kept, so that no peak is lost.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tfbundle.errors import TfBundleError
from tfbundle.events.hparams_table import shorten_group
from tfbundle.events.log import EventLog, open_events
from tfbundle.events.series import ScalarSeries
from tfbundle.natural_order import natural_key
from tfbundle.printable import escape_name
from tfbundle.reporting.facts import Curve, Notice, Table
from tfbundle.reporting.folder import format_time
from tfbundle.storage.base import Location
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast

# Points of one curve, and of all together; more curves than this would have too few points each.
_MOST_POINTS = 1000
_ALL_POINTS = 100_000
_MOST_CURVES = 2000
_MOST_COLUMNS = 200
_DIGITS = 6
_TIMES = ("start_time", "end_time")


class Runs(NamedTuple):
    """The curves by tag, how many were left out, the hyperparameters, and what could not be read."""

    charts: dict[str, tuple[Curve, ...]]
    left_out: int
    hparams: Table | None
    notices: list[Notice]


def read_runs(location: Location) -> Runs:
    """Return what the event files at a path contain; damaged records are left out, as verification reports them."""
    notices: list[Notice] = []
    with open_events(location, salvage=True) as log:
        found: dict[str, list[tuple[str, ScalarSeries]]] = {}
        count = left_out = 0
        for run in log.runs.values():
            try:
                scalars = run.scalars
            except (TfBundleError, OSError) as error:
                notices.append(Notice("warning", "unreadable", str(error)))
                continue
            for tag, series in scalars.items():
                if count < _MOST_CURVES:
                    found.setdefault(tag, []).append((run.name, series))
                    count += 1
                else:
                    left_out += 1
        most = max(2, min(_MOST_POINTS, _ALL_POINTS // max(1, count)))
        charts = {}
        for tag in sorted(found, key=natural_key):
            curves = []
            for name, series in found[tag]:
                try:
                    values = series.values
                except (TfBundleError, OSError) as error:
                    notices.append(Notice("warning", "unreadable", str(error), f"run {escape_name(name)}"))
                    continue
                if values.dtype.kind in "fiub" or values.dtype.isbuiltin != 1:
                    curves.append(_curve(name, series, cast(values, np.float64), most))
                else:
                    left_out += 1  # Complex numbers, or those of several types.
            if curves:
                charts[tag] = tuple(curves)
        return Runs(charts, left_out, _hparams(log, notices), notices)


def _curve(run: str, series: ScalarSeries, values: Array, most: int) -> Curve:
    kept = thinned(values, most)
    times = series.wall_times[kept]
    times = np.where(np.isfinite(times), times, 0.0)
    return Curve(
        run,
        series.steps[kept].tolist(),
        [round(time, 2) for time in times.tolist()],
        [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in values[kept].tolist()],
        len(values),
    )


def thinned(values: Array, most: int) -> Array:
    """Return the indices of at most ``most`` points: the lowest and the highest of each stretch, in order."""
    count = len(values)
    if count <= most:
        return np.arange(count)
    edges = np.linspace(0, count, max(1, most // 2) + 1).astype(np.int64)
    starts = edges[:-1]
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    kept = []
    for start, stop in zip(starts.tolist(), edges[1:].tolist(), strict=True):
        kept += [start + int(low[start:stop].argmin()), start + int(high[start:stop].argmax())]
    return np.unique(np.array(kept))


def _hparams(log: EventLog, notices: list[Notice]) -> Table | None:
    """Return the hyperparameters and last metrics of all sessions, or ``None`` if there are none."""
    try:
        table = log.hparams_table()
    except (TfBundleError, OSError) as error:
        notices.append(Notice("note", "hyperparameters", str(error)))
        return None
    if not table.row_count:
        return None
    names = [name for name in table if not all(_is_missing(value) for value in table[name].tolist())]
    names = names[:_MOST_COLUMNS]
    numeric = tuple(not table[name].dtype.hasobject and name not in _TIMES for name in names)
    cells = [[_cell(name, value) for value in table[name].tolist()] for name in names]
    return Table.of(dict(zip(names, numeric, strict=True)), list(zip(*cells, strict=True)))


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN is not equal to itself.


def _cell(name: str, value: Any) -> str:
    if _is_missing(value):
        return "–"
    if name in _TIMES:
        return format_time(value)
    if name == "group":
        return shorten_group(str(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
