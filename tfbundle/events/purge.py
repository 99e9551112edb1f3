"""Which points a restart has made obsolete.

A program that crashes at step 120 and goes on from a checkpoint of step 100 writes steps 100 to 120 twice. TensorBoard
drops the first ones (``backend/event_processing/event_accumulator``): in files of version 2 and later, when a session
says that it starts at a step, everything before it with that step or a later one. In older files, when the step of a
summary is smaller than one before, points with that step or a later one, of the tags in that summary.

Older files know their restarts from the order of all their events, which are gone through one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tfbundle.proto import Event, SessionLog
from tfbundle.tensors.arrays import Array

_VERSION_WITH_STARTS = 2.0
_PREFIX = "brain.Event:"

# An event, and a position that grows from one of a run to the next.
Positioned = tuple[int, Event]


class Purge(NamedTuple):
    """Points before ``position`` with ``step`` or a later one are dropped, of all tags or of these."""

    position: int
    step: int
    tags: frozenset[str] | None


def find_purges(
    starts_and_versions: Iterable[Positioned], events: Iterable[Positioned], *, first_is_version: bool
) -> list[Purge]:
    """What restarts in a run's files drop, in order.

    ``starts_and_versions`` are the events with a session log or a file version, as the first one of a run should be.
    All ``events`` are gone through only where those do not tell.
    """
    versions = []
    starts = []
    for position, event in starts_and_versions:
        if event.WhichOneof("what") == "file_version":
            versions.append(_parse_version(event.file_version))
        elif event.session_log.status == SessionLog.START:
            starts.append(Purge(position, event.step, None))
    if first_is_version and all(version >= _VERSION_WITH_STARTS for version in versions):
        return starts
    return list(_purges_of_events(events))


def _purges_of_events(events: Iterable[Positioned]) -> Iterator[Purge]:
    version = 0.0
    latest = -1
    for position, event in events:
        what = event.WhichOneof("what")
        if what == "file_version":
            version = _parse_version(event.file_version)
        if version >= _VERSION_WITH_STARTS:
            if what == "session_log" and event.session_log.status == SessionLog.START:
                yield Purge(position, event.step, None)
        elif event.step < latest and what == "summary":
            yield Purge(position, event.step, frozenset(value.tag for value in event.summary.value))
        else:
            latest = event.step


def _parse_version(text: str) -> float:
    """The number in a file version such as ``brain.Event:2``; -1 where there is none."""
    try:
        return float(text.split(_PREFIX)[-1])
    except ValueError:
        return -1.0


def kept_by(purges: list[Purge], tag: str, positions: Array, steps: Array) -> Array | None:
    """Which points of a tag stay; ``None`` for all of them."""
    purges = [purge for purge in purges if purge.tags is None or tag in purge.tags]
    if not purges or not len(positions):
        return None
    # The smallest step that any purge from here on drops.
    smallest = np.minimum.accumulate(np.array([purge.step for purge in purges], np.int64)[::-1])[::-1]
    following = np.searchsorted(np.array([purge.position for purge in purges], np.int64), positions, side="right")
    last = np.minimum(following, len(purges) - 1)
    dropped = (following < len(purges)) & (steps >= smallest[last])
    return None if not dropped.any() else ~dropped
