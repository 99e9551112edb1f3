"""Which points a restart has made obsolete.

A program that crashes at step 120 and goes on from a checkpoint of step 100 writes steps 100 to 120 twice. TensorBoard
drops the first ones (``backend/event_processing/event_accumulator``): in files of version 2 and later, when a session
says that it starts at a step, everything before it with that step or a later one. In older files, when the step of a
summary is smaller than one before, points with that step or a later one, of the tags in that summary.

Older files know their restarts from the order of all their events, which are gone through one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfbundle.events.points import Array
from tfbundle.proto import Event, SessionLog

if TYPE_CHECKING:
    from tfbundle.events.run import Run

_VERSION_WITH_STARTS = 2.0
_PREFIX = "brain.Event:"


class Purge(NamedTuple):
    """Points before ``position`` with ``step`` or a later one are dropped, of all tags or of these."""

    position: int
    step: int
    tags: frozenset[str] | None


def find_purges(run: Run) -> list[Purge]:
    """What restarts in a run's files drop, in order."""
    versions = []
    starts = []
    for position, event in run.other_events(("file_version", "session_log")):
        if event.WhichOneof("what") == "file_version":
            versions.append(parse_version(event.file_version))
        elif event.session_log.status == SessionLog.START:
            starts.append(Purge(position, event.step, None))
    if run.first_is_version and all(version >= _VERSION_WITH_STARTS for version in versions):
        return starts
    return list(_purges_of_events(run.positioned_events()))


def _purges_of_events(events: Iterable[tuple[int, Event]]) -> Iterator[Purge]:
    version = 0.0
    latest = -1
    for position, event in events:
        what = event.WhichOneof("what")
        if what == "file_version":
            version = parse_version(event.file_version)
        if version >= _VERSION_WITH_STARTS:
            if what == "session_log" and event.session_log.status == SessionLog.START:
                yield Purge(position, event.step, None)
        elif event.step < latest and what == "summary":
            yield Purge(position, event.step, frozenset(value.tag for value in event.summary.value))
        else:
            latest = event.step


def parse_version(text: str) -> float:
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
