"""Event files: the columns hold what the messages say, one by one.

An input is a run of records, each with two bytes of its length ahead of it; they are framed with right checksums, so
that what is tried is the reading of messages and not that of frames, which ``fuzz_records`` tries.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.exercise import attempt, demand
from tests.hostile.exercise_others import exercise_events
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle import open_events, read_events, read_records
from tfbundle.errors import TfBundleError
from tfbundle.events.plugins import SCALARS
from tfbundle.proto import Event

_LARGEST_SEED = 4 << 10
_FILE = Path(tempfile.mkdtemp(prefix="fuzz-")) / "events.out.tfevents.1"


def seeds() -> Iterator[bytes]:
    """The records of the event files in the fixtures, as many as fit, and runs of scalars."""
    for path in sorted(FIXTURES.rglob("*tfevents*")):
        yield _packed([record for record in read_records(path) if len(record) < 600])[:_LARGEST_SEED]
    scalars = [Event(wall_time=step, step=step) for step in range(40)]
    for event in scalars:
        event.summary.value.add(tag="loss", simple_value=event.step / 4)
    yield _packed([event.SerializeToString() for event in scalars])


def _packed(records: list[bytes]) -> bytes:
    return b"".join(struct.pack("<H", len(record)) + record for record in records)


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    records = []
    pos = 0
    while pos + 2 <= len(data):
        size = int.from_bytes(data[pos : pos + 2], "little")
        records.append(data[pos + 2 : pos + 2 + size])
        pos += 2 + size
    _FILE.write_bytes(frames(records))
    problem, _ = exercise_events(_FILE)
    if problem is None:
        _compare_with_messages()


def _compare_with_messages() -> None:
    """Every number of a scalar that is a ``simple_value``, beside the message's own."""
    wanted: dict[str, list[tuple[int, bytes, bytes]]] = {}
    forms: dict[str, set[str | None]] = {}
    events = attempt(lambda: list(read_events(_FILE)))
    if isinstance(events, TfBundleError):
        return  # What the columns do not show is decoded when it is asked for, and may be no message.
    for event in events:
        for value in event.summary.value if event.WhichOneof("what") == "summary" else ():
            form = value.WhichOneof("value")
            forms.setdefault(value.tag, set()).add(form)
            row = event.step, _bits(event.wall_time), _bits(value.simple_value)
            wanted.setdefault(value.tag, []).append(row)
    with open_events(_FILE) as log:
        for run in log.runs.values():
            scalars = run.scalars
            for tag, rows in wanted.items():
                if forms[tag] != {"simple_value"} or run.metadata.get(tag) is not None:
                    continue
                demand(tag in scalars, f"the {SCALARS} of {tag!r} are not there")
                try:
                    series = scalars[tag]
                    values = series.values.astype("<f4")
                except TfBundleError as error:
                    demand(False, f"the {SCALARS} of {tag!r} are refused: {error}")
                found = zip(series.steps.tolist(), np.asarray(series.wall_times, "<f8"), values, strict=True)
                demand(
                    [(step, _bits(time), _bits(value)) for step, time, value in found] == rows,
                    f"the columns of {tag!r} differ from the messages",
                )


def _bits(number: Any) -> bytes:
    """A number's bits, which for NaN depend on how it came here."""
    return b"nan" if number != number else struct.pack("<d", number)
