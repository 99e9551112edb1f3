"""Which values TensorBoard's ``EventAccumulator`` drops because a restarted program wrote them again.

Files of version 2, which all current writers make, record when the program starts (``SessionLog.START``): every earlier
value at that event's step or later is dropped, whatever its tag. In an older file, an event whose step is smaller than
that of an event before it purges its tags instead. Tensors are never dropped.

The first rule needs the starts alone, and the position of each value. The second depends on which values share an
event and on events without values, which series do not know, so that it reads the events of such a run.

``tfbundle.events.purge`` has the rule of TensorBoard's data server, which differs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

import numpy as np

from tfbundle.events.run import Run
from tfbundle.proto import Event, SessionLog
from tfbundle.tensors.arrays import Array
from tfbundle.train.reservoir import Purge

_PURGED = ("simple_value", "histo", "image", "audio")
_HAS_STARTS = 2


class Orphans:
    """The purges of a run.

    ``most_recent_step`` and ``most_recent_wall_time`` are those of the last event in order that the rule of older files
    applied to, or -1.
    """

    def __init__(self, run: Run) -> None:
        """Find the purges of all tags; raises what reading events raises."""
        self.most_recent_step = -1
        self.most_recent_wall_time = -1.0
        self._starts: list[tuple[int, int]] = []  # Positions and steps.
        self._by_tag: defaultdict[tuple[str, str], list[Purge]] = defaultdict(list)
        first = next(run.events(), None)
        versions = [file.event(other).file_version for _, file, other in run.others("file_version")]
        if first is not None and first.HasField("file_version") and min(map(parse_version, versions)) >= _HAS_STARTS:
            for position, file, other in run.others("session_log"):
                if _is_start(file.event(other)):
                    self._starts.append((position, other.step))
        else:
            self._read_events(run)

    def find(self, field: str, tag: str, positions: Array) -> list[Purge]:
        """Return the purges of the values that a field of ``Summary.Value`` holds, in order, given their positions."""
        if field not in _PURGED:
            return []
        counts = np.searchsorted(positions, [position for position, _ in self._starts]).tolist()
        starts = [Purge(count, step) for count, (_, step) in zip(counts, self._starts, strict=True)]
        return starts or self._by_tag.get((field, tag), [])

    def _read_events(self, run: Run) -> None:
        seen: Counter[tuple[str, str]] = Counter()
        version = -1.0
        # What was appended after the run was read is not in its series either.
        for event in islice(run.events(), run.event_count):
            if event.HasField("file_version"):
                version = parse_version(event.file_version)
            if version >= _HAS_STARTS:
                if _is_start(event):
                    self._purge(seen, list(seen), event.step)
            elif event.step < self.most_recent_step and event.HasField("summary"):
                tags = {value.tag for value in event.summary.value}
                # In TensorBoard a value without a tag purges all tags.
                keys = list(seen) if "" in tags else [(field, tag) for field in _PURGED for tag in tags]
                self._purge(seen, keys, event.step)
            else:
                self.most_recent_step, self.most_recent_wall_time = event.step, event.wall_time
            for value in event.summary.value:
                field = value.WhichOneof("value")
                if field in _PURGED:
                    seen[field, value.tag or value.node_name] += 1

    def _purge(self, seen: Counter[tuple[str, str]], keys: list[tuple[str, str]], step: int) -> None:
        for key in keys:
            if seen[key]:
                self._by_tag[key].append(Purge(seen[key], step))


def parse_version(text: str) -> float:
    """Return the number in ``brain.Event:2``, or -1 if there is none."""
    try:
        return float(text.rpartition("brain.Event:")[2])
    except ValueError:
        return -1.0


def _is_start(event: Event) -> bool:
    return event.HasField("session_log") and event.session_log.status == SessionLog.START
