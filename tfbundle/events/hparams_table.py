"""Hyperparameters and last metrics of many runs as one table, like TensorBoard's hparams page.

A session is a run in which the hparams plugin wrote a session start. Its metrics are scalars of that run or of runs
below it, such as ``train`` and ``validation`` of Keras. The experiment lists the metrics to show (TensorBoard,
``plugins/hparams``: a metric has a tag, and a group, which is the run below the session's run)::

    run        written by the plugin       scalars
    .          experiment
    trial1     start of a session
    trial1/validation                      epoch_loss    ->    row "trial1", column "validation/epoch_loss"
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tfbundle.errors import UnsupportedError
from tfbundle.events.by_name import Names, choose
from tfbundle.events.column_table import ColumnTable
from tfbundle.events.files import ROOT
from tfbundle.events.hparams import HParams
from tfbundle.events.run import Run
from tfbundle.events.tables import as_text
from tfbundle.limits import LARGEST_TABLE_GROWTH, MOST_TABLE_CELLS
from tfbundle.tensors.arrays import Array

# The group of a session that TensorBoard's hparams API wrote: a digest of its hyperparameters.
_HASH = re.compile(r"[0-9a-f]{64}")


class Metric(NamedTuple):
    """A scalar: the run below the session's run ("" for that run itself) and the tag."""

    below: str
    tag: str

    @property
    def title(self) -> str:
        """The name of its column."""
        return f"{self.below}/{self.tag}" if self.below else self.tag


class _Session(NamedTuple):
    """A run with hyperparameters, and the runs below it that belong to it."""

    run: Run
    hparams: HParams
    below: dict[str, Run]


def shorten_group(name: str) -> str:
    """Return a group's name for display: the first digits of a SHA-256, which TensorBoard's API writes, else all."""
    return f"{name[:12]}..." if _HASH.fullmatch(name) else name


def hparams_table(runs: Iterable[Run], tags: Names = None) -> ColumnTable:
    """Return a row for each session: its facts, its hyperparameters, and the last value of each metric.

    The columns are ``run``, ``group`` (the session group named by the writer), ``status``, ``start_time``, ``end_time``
    (seconds since 1970, NaN if not known), one for each hyperparameter, and one for each metric. A metric of a run
    below the session's run is named by that run and the tag: ``validation/epoch_loss``. ``tags`` selects metrics by
    this name, or else by tag. By default, all metrics listed by the experiments are included, or all scalars if none
    are listed.

    A hyperparameter is float64, ``bool``, or an ``object`` array of ``str``, with NaN or ``None`` for sessions that
    lack it; one with values of several types is an ``object`` array. Metrics are float64: the last value in the order
    of the files, or NaN if there is none. A name that is already taken gets the suffix " (hparam)" or " (metric)".

    Raises ``KeyError`` for tags that no session has, ``FormatError`` for invalid data of the plugin, and
    ``UnsupportedError`` for complex numbers.
    """
    every = list(runs)
    found = [(run, run.hparams) for run in every]
    sessions = _find_sessions(every, {run.name: hparams for run, hparams in found if hparams is not None})
    measured = [_metrics_of(session) for session in sessions]
    known = {metric.title: metric for metrics in measured for metric in metrics}
    if tags is not None:
        metrics = _choose(tags, known)
    else:
        listed = [Metric(*metric) for _, hparams in found if hparams is not None for metric in hparams.metrics]
        metrics = list(dict.fromkeys(listed)) or list(known.values())
    names = list(dict.fromkeys(name for session in sessions for name in session.hparams.values))
    stated = sum(len(session.hparams.values) for session in sessions) + sum(map(len, measured))
    _check_size(len(sessions), len(names) + len(metrics), stated)
    columns: dict[str, Array] = {
        "run": _texts([session.run.name for session in sessions]),
        "group": _texts([session.hparams.group_name for session in sessions]),
        "status": _texts([session.hparams.status for session in sessions]),
        "start_time": _numbers([session.hparams.start_time for session in sessions]),
        "end_time": _numbers([session.hparams.end_time for session in sessions]),
    }
    for name in names:
        values = [_plain(session.hparams.values.get(name)) for session in sessions]
        columns[_title(name, columns, "hparam")] = _column(values)
    for metric in metrics:
        columns[_title(metric.title, columns, "metric")] = _numbers([_last(session, metric) for session in sessions])
    return ColumnTable(columns)


def _check_size(rows: int, columns: int, stated: int) -> None:
    """Reject a table of mostly missing values, such as a thousand sessions with a hundred distinct names each."""
    if rows * columns > max(MOST_TABLE_CELLS, stated * LARGEST_TABLE_GROWTH):
        raise UnsupportedError(
            f"{rows} sessions have {columns} hyperparameters and metrics, with hardly any in common; open fewer "
            "runs, or select metrics with tags"
        )


def _find_sessions(runs: Sequence[Run], hparams: Mapping[str, HParams]) -> list[_Session]:
    sessions = {
        run.name: _Session(run, hparams[run.name], {})
        for run in runs
        if run.name in hparams and _is_session(hparams[run.name])
    }
    for run in runs:
        if run.name in sessions:
            continue
        # A run belongs to the nearest session above it.
        parts = run.name.split("/")
        for length in range(len(parts) - 1, -1, -1):
            session = sessions.get("/".join(parts[:length]) or ROOT)
            if session is not None:
                session.below["/".join(parts[length:])] = run
                break
    return list(sessions.values())


def _is_session(hparams: HParams) -> bool:
    return bool(hparams.values or hparams.group_name) or hparams.start_time is not None


def _metrics_of(session: _Session) -> list[Metric]:
    own = [Metric("", tag) for tag in session.run.scalars]
    return own + [Metric(name, tag) for name, run in session.below.items() for tag in run.scalars]


def _choose(tags: Names, known: Mapping[str, Metric]) -> list[Metric]:
    """Return the selected metrics, by the titles of their columns or by their tags."""
    named: dict[str, list[Metric]] = {}
    for metric in known.values():
        named.setdefault(metric.tag, []).append(metric)
    named.update({title: [metric] for title, metric in known.items()})
    return list(dict.fromkeys(metric for name in choose("tag", named, tags) for metric in named[name]))


def _last(session: _Session, metric: Metric) -> float | None:
    run = session.below.get(metric.below) if metric.below else session.run
    series = run.scalars.get(metric.tag) if run is not None else None
    if series is None or not len(series):
        return None
    value = series.values[-1]
    if isinstance(value, complex | np.complexfloating):
        raise UnsupportedError(f"{metric.tag!r} has complex numbers, which float64 cannot hold; leave it out")
    return float(value)


def _title(name: str, taken: Mapping[str, Any], kind: str) -> str:
    name = as_text(name)
    while name in taken:
        name += f" ({kind})"
    return name


def _plain(value: Any) -> float | str | bool | None:
    """Return a value without types that only JSON has: null becomes ``None``, and a list or an object becomes text."""
    if isinstance(value, Message):
        return str(MessageToDict(value))
    return None if type(value) is int else value


def _column(values: Sequence[Any]) -> Array:
    types = {type(value) for value in values if value is not None}
    if types <= {float}:
        return _numbers(values)
    if types == {bool} and None not in values:
        return np.array(values, bool)
    return _objects(values)


def _numbers(values: Sequence[float | None]) -> Array:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _texts(values: Sequence[str | None]) -> Array:
    return _objects([None if value is None else as_text(value) for value in values])


def _objects(values: Sequence[Any]) -> Array:
    column = np.empty(len(values), object)
    column[:] = values
    return column
