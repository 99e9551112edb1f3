r"""Aggregate scalars over several runs, such as several seeds: mean, standard deviation and count by step.

    log = tfbundle.open_events("logs/")
    log.aggregate(r"run_(.*)_seed\d+", tags="loss").to_pandas()

The pattern extracts the group from the name of a run: ``run_wide_seed0`` and ``run_wide_seed1`` belong to ``wide``.

All points of all series are sorted once, by group and tag, step and run, so that points to be combined are adjacent.
Means and deviations take two passes in float64: the deviations are taken from the mean of the first pass, and their
sum corrects the rounding error of that mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfbundle.events.by_name import Names, choose
from tfbundle.events.column_table import Categories, ColumnTable
from tfbundle.events.run import Run
from tfbundle.events.tables import as_floats, as_text
from tfbundle.matching import is_glob, select
from tfbundle.suggestions import closest_names
from tfbundle.tensors.arrays import Array

Group: TypeAlias = "str | re.Pattern[str] | Callable[[str], str | None]"


def aggregate_runs(runs: Iterable[Run], group: Group, tags: Names = None) -> ColumnTable:
    """Return a row for each group, tag and step: ``group``, ``tag``, ``step``, ``count``, ``mean``, ``std``.

    ``group`` is a regular expression that must match the whole name of a run. The name of the group is the text
    captured by the parentheses (joined by ``/``), or the expression itself if it has none. Alternatively, ``group`` is
    a function that maps the name of a run to the name of its group, or to ``None`` to leave the run out. ``tags``
    selects scalars; by default all are included.

    If a run has several points at a step, the last one counts. NaN is left out, as in pandas: ``count`` is the number
    of runs that have a number at the step, not counting runs without a point or with NaN, and the mean of no numbers is
    NaN. ``std`` is the sample standard deviation (``ddof=1``), and NaN for fewer than two numbers. Statistics are
    computed in float64; if a value is infinite, the mean is infinite or NaN, and ``std`` is NaN.

    Raises ``KeyError`` if no run is in a group and for tags that none of the runs has, ``ValueError`` for an invalid
    regular expression, and ``UnsupportedError`` for complex numbers.
    """
    grouped = _group(list(runs), group)
    known = dict.fromkeys(tag for run, _ in grouped for tag in run.scalars)
    chosen = set(choose("tag", known, tags))
    # Groups are in the order of their first runs, and the tags of each in the order of first appearance.
    by_group: dict[str, dict[str, None]] = {}
    for run, name in grouped:
        by_group.setdefault(name, {}).update(dict.fromkeys(tag for tag in run.scalars if tag in chosen))
    keys = {(name, tag): None for name, found in by_group.items() for tag in found}
    numbers = {key: number for number, key in enumerate(keys)}
    parts: list[tuple[int, int, Array, Array]] = []
    for number, (run, name) in enumerate(grouped):
        for tag, series in run.scalars.items():
            if tag in chosen:
                parts.append((numbers[name, tag], number, series.steps, as_floats(series)))
    which, steps, count, mean, std = _statistics(parts)
    return ColumnTable(
        {
            "group": _categories([name for name, _ in keys], which),
            "tag": _categories([tag for _, tag in keys], which),
            "step": steps,
            "count": count,
            "mean": mean,
            "std": std,
        }
    )


def _group(runs: Sequence[Run], group: Group) -> list[tuple[Run, str]]:
    """Return the runs that are in a group, each with the group's name."""
    name_of = _group_namer(group)
    found = []
    for run in runs:
        name = name_of(run.name)
        if name is not None:
            if not isinstance(name, str):
                raise ValueError(f"group must return a str or None, but returned {name!r} for the run {run.name!r}")
            found.append((run, name))
    if not found:
        names = [run.name for run in runs]
        close = closest_names(str(getattr(group, "pattern", group)), names, count=3) or names[:3]
        there = f"; there is {', '.join(map(repr, close))}" if close else "; there is no run"
        glob = _advise_for_glob(group) if isinstance(group, str) and select(group, names) else ""
        raise KeyError(f"no run's whole name matches {getattr(group, 'pattern', group)!r}{glob or there}")
    return found


def _advise_for_glob(group: object) -> str:
    """Return the end of a message about a group that is a glob: the regular expression that it corresponds to."""
    if not isinstance(group, str) or not is_glob(group):
        return ""
    parts = ("(.*)" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", group))
    return f"; globs are not accepted: pass '{''.join(parts)}'"


def _group_namer(group: Group) -> Callable[[str], Any]:
    if callable(group):
        return group
    try:
        pattern = re.compile(group)
    except (re.error, TypeError) as error:
        raise ValueError(f"group is not a valid regular expression: {error}{_advise_for_glob(group)}") from None

    def name_of(run: str) -> str | None:
        match = pattern.fullmatch(run)
        if match is None:
            return None
        return "/".join(filter(None, match.groups())) if pattern.groups else pattern.pattern

    return name_of


def _statistics(parts: Sequence[tuple[int, int, Array, Array]]) -> tuple[Array, Array, Array, Array, Array]:
    """Return the key, the step, and count, mean and standard deviation over runs, for each key and step.

    ``parts`` are series, each as its key, the number of its run, its steps and its values.
    """
    lengths = [len(steps) for _, _, steps, _ in parts]
    keys = np.repeat(np.array([key for key, *_ in parts], np.int32), lengths)
    runs = np.repeat(np.array([run for _, run, _, _ in parts], np.int32), lengths)
    steps = np.concatenate([np.zeros(0, np.int64), *(part[2] for part in parts)])
    values = np.concatenate([np.zeros(0), *(part[3] for part in parts)])
    order = np.lexsort((runs, steps, keys))  # The sort is stable.
    keys, runs, steps, values = keys[order], runs[order], steps[order], values[order]
    last = np.ones(len(order), bool)
    last[:-1] = (keys[1:] != keys[:-1]) | (steps[1:] != steps[:-1]) | (runs[1:] != runs[:-1])
    keys, steps, values = keys[last], steps[last], values[last]
    if not len(values):
        return keys, steps, np.zeros(0, np.int64), values, values
    first = np.ones(len(values), bool)
    first[1:] = (keys[1:] != keys[:-1]) | (steps[1:] != steps[:-1])
    starts = np.flatnonzero(first)
    place = np.cumsum(first) - 1
    is_number = ~np.isnan(values)
    count = np.add.reduceat(is_number.astype(np.int64), starts)
    with np.errstate(all="ignore"):
        mean = np.add.reduceat(np.where(is_number, values, 0.0), starts) / count
        deviations = np.where(is_number, values - mean[place], 0.0)
        error = np.add.reduceat(deviations, starts) / count
        squares = np.add.reduceat(deviations * deviations, starts) - error * error * count
        std = np.sqrt(np.maximum(squares, 0.0) / (count - 1))
        std[count < 2] = np.nan
        mean = np.where(np.isfinite(mean), mean + error, mean)
    return keys[starts], steps[starts], count, mean, std


def _categories(names: Sequence[str], which: Array) -> Categories:
    """Return a column with the name of the key in each row."""
    texts = [as_text(name) for name in names]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    codes = np.array([numbers[text] for text in texts], np.int32)
    return Categories(codes[which], list(numbers))
