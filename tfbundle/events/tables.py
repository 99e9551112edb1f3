"""Scalars as tables of pandas or Arrow, where these are installed.

A long table has a row for each point, with the columns ``run``, ``tag``, ``step``, ``wall_time`` and ``value``
(float64). A wide one has a row for each run and step, and a column for each tag besides ``run``, ``step`` and
``wall_time`` (the latest of the step); of several points of a tag at one step the last one counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.events.points import Array

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from tfbundle.events.log import EventLog


def to_pandas(log: EventLog, *, wide: bool) -> pandas.DataFrame:
    """A ``DataFrame``; ``run`` and ``tag`` are categories."""
    try:
        import pandas
    except ImportError:
        raise UnsupportedError("to_pandas needs pandas: pip install pandas") from None
    if wide:
        return pandas.DataFrame(_wide(log))
    names, columns = _long(log)
    for name, codes in names.items():
        columns[name] = pandas.Categorical.from_codes(codes[0], codes[1])
    return pandas.DataFrame({name: columns[name] for name in ("run", "tag", "step", "wall_time", "value")})


def to_arrow(log: EventLog, *, wide: bool) -> pyarrow.Table:
    """A ``Table``; ``run`` and ``tag`` are dictionary-encoded."""
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedError("to_arrow needs pyarrow: pip install pyarrow") from None
    if wide:
        return pyarrow.table(_wide(log))
    names, columns = _long(log)
    for name, codes in names.items():
        columns[name] = pyarrow.DictionaryArray.from_arrays(codes[0], pyarrow.array(codes[1], pyarrow.string()))
    return pyarrow.table({name: columns[name] for name in ("run", "tag", "step", "wall_time", "value")})


def _long(log: EventLog) -> tuple[dict[str, tuple[Array, list[str]]], dict[str, Any]]:
    """Codes and categories of the names, and the other columns."""
    series = [(run.name, one) for run in log.runs.values() for one in run.scalars.values()]
    lengths = [len(one) for _, one in series]
    names = {}
    for column, values in (("run", [name for name, _ in series]), ("tag", [one.tag for _, one in series])):
        categories = list(dict.fromkeys(values))
        numbers = {value: number for number, value in enumerate(categories)}
        names[column] = np.repeat(np.array([numbers[value] for value in values], np.int32), lengths), categories
    columns = {
        "step": _join([one.steps for _, one in series], np.int64),
        "wall_time": _join([one.wall_times for _, one in series], np.float64),
        "value": _join([one.values.astype(np.float64) for _, one in series], np.float64),
    }
    return names, columns


def _join(parts: list[Array], dtype: Any) -> Array:
    return np.concatenate([np.empty(0, dtype), *parts])


def _wide(log: EventLog) -> dict[str, Any]:
    tags = dict.fromkeys(tag for run in log.runs.values() for tag in run.scalars)
    parts: dict[str, list[Array]] = {name: [] for name in ("run", "step", "wall_time", *tags)}
    for run in log.runs.values():
        steps = np.unique(_join([one.steps for one in run.scalars.values()], np.int64))
        walls = np.full(len(steps), -np.inf)
        for tag in tags:
            column = np.full(len(steps), np.nan)
            if tag in run.scalars:
                one = run.scalars[tag]
                rows = np.searchsorted(steps, one.steps)
                column[rows] = one.values.astype(np.float64)
                np.maximum.at(walls, rows, one.wall_times)
            parts[tag].append(column)
        parts["run"].append(np.full(len(steps), run.name, object))
        parts["step"].append(steps)
        parts["wall_time"].append(walls)
    dtypes = {"run": object, "step": np.int64}
    return {name: _join(columns, dtypes.get(name, np.float64)) for name, columns in parts.items()}
