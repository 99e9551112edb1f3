"""Scalars as pandas or Arrow tables, if these are installed.

A long table has a row for each point, with the columns ``run``, ``tag``, ``step``, ``wall_time`` and ``value``
(float64). A wide one has a row for each run and step, and a column for each tag in addition to ``run``, ``step`` and
``wall_time`` (the latest of the step). If a tag has several points at one step, the last one counts.

The name of a run or tag may have bytes that are not UTF-8. These are escaped, because Arrow does not accept them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.events.series import ScalarSeries
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

# Series, each with the name of its run.
Named = Sequence[tuple[str, ScalarSeries]]

_COLUMNS = ("run", "tag", "step", "wall_time", "value")
# The columns of a wide table other than tags.
_KEYS = ("run", "step", "wall_time")


def to_pandas(series: Named, *, wide: bool = False) -> pandas.DataFrame:
    """Return a ``DataFrame``; in a long one ``run`` and ``tag`` are categories."""
    try:
        import pandas
    except ImportError:
        raise UnsupportedError("to_pandas requires pandas: pip install pandas") from None
    if wide:
        return pandas.DataFrame(_wide(series))
    names, columns = _long(series)
    for name, (codes, categories) in names.items():
        columns[name] = pandas.Categorical.from_codes(codes, categories)
    return pandas.DataFrame({name: columns[name] for name in _COLUMNS})


def to_arrow(series: Named, *, wide: bool = False) -> pyarrow.Table:
    """Return a ``Table``; in a long one ``run`` and ``tag`` are dictionary-encoded."""
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedError("to_arrow requires pyarrow: pip install pyarrow") from None
    if wide:
        return pyarrow.table(_wide(series))
    names, columns = _long(series)
    for name, (codes, categories) in names.items():
        columns[name] = pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array(categories, pyarrow.string()))
    return pyarrow.table({name: columns[name] for name in _COLUMNS})


def _long(series: Named) -> tuple[dict[str, tuple[Array, list[str]]], dict[str, Any]]:
    """Return codes and categories of the names, and the other columns."""
    lengths = [len(one) for _, one in series]
    names = {}
    for column, values in (
        ("run", [as_text(run) for run, _ in series]),
        ("tag", [as_text(one.tag) for _, one in series]),
    ):
        categories = list(dict.fromkeys(values))
        numbers = {value: number for number, value in enumerate(categories)}
        names[column] = np.repeat(np.array([numbers[value] for value in values], np.int32), lengths), categories
    columns = {
        "step": _join([one.steps for _, one in series], np.int64),
        "wall_time": _join([one.wall_times for _, one in series], np.float64),
        "value": _join([as_floats(one) for _, one in series], np.float64),
    }
    return names, columns


def _wide(series: Named) -> dict[str, Any]:
    titles = _titles(dict.fromkeys(one.tag for _, one in series))
    parts: dict[str, list[Array]] = {name: [] for name in (*_KEYS, *titles.values())}
    runs: defaultdict[str, dict[str, ScalarSeries]] = defaultdict(dict)
    for run, one in series:
        runs[run][one.tag] = one
    for run, by_tag in runs.items():
        steps = np.unique(_join([one.steps for one in by_tag.values()], np.int64))
        walls = np.full(len(steps), -np.inf)
        for tag, title in titles.items():
            column = np.full(len(steps), np.nan)
            if tag in by_tag:
                rows = np.searchsorted(steps, by_tag[tag].steps)
                column[rows] = as_floats(by_tag[tag])
                np.maximum.at(walls, rows, by_tag[tag].wall_times)
            parts[title].append(column)
        parts["run"].append(np.full(len(steps), as_text(run), object))
        parts["step"].append(steps)
        parts["wall_time"].append(walls)
    dtypes = {"run": object, "step": np.int64}
    return {name: _join(columns, dtypes.get(name, np.float64)) for name, columns in parts.items()}


def _titles(tags: Iterable[str]) -> dict[str, str]:
    """Return the column name of each tag; a tag with the name of a key column gets a suffix."""
    taken = {*_KEYS, *tags}
    titles = {tag: as_text(tag) for tag in tags}
    for tag in _KEYS:
        while tag in titles and titles[tag] in taken:
            titles[tag] += " (tag)"
    return titles


def as_text(name: str) -> str:
    """Return a name with its bytes that are not UTF-8 escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def as_floats(series: ScalarSeries) -> Array:
    """Return the values of a series as float64; raises ``UnsupportedError`` for complex numbers."""
    if any(
        isinstance(value, complex) for value in (series.values.tolist() if series.values.dtype.kind in "cO" else ())
    ):
        raise UnsupportedError(f"{series.tag!r} has complex numbers, which float64 cannot hold; choose other tags")
    return cast(series.values, np.float64)


def _join(parts: list[Array], dtype: Any) -> Array:
    return np.concatenate([np.empty(0, dtype), *parts])
