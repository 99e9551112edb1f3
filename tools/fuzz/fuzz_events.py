"""Event files: events say the same alone, among thousands and as messages, one by one.

An input is a run of pieces, each the payload of records and how often it comes; their checksums are right, so that what
is tried is the reading of messages and not that of frames, which ``fuzz_records`` tries. Whatever an event may look
like is met alone, side by side with others of any length, and as a row among its like.
"""

from __future__ import annotations

import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.exercise import demand
from tests.hostile.exercise_others import exercise_events
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle import open_events, read_events, read_records
from tfbundle.errors import TfBundleError
from tfbundle.events import file, stacks
from tfbundle.events.plugins import KINDS, SCALARS
from tfbundle.formats.records import frames as record_frames
from tfbundle.proto import Event

_LARGEST_SEED = 2 << 10
_FILE = Path(tempfile.mkdtemp(prefix="fuzz-")) / "events.out.tfevents.1"
_NEVER = 1 << 30

# A number of a message: its step, and the bytes of its wall time and of itself.
Row = tuple[int, bytes, bytes]


def seeds() -> Iterator[bytes]:
    """The events of the fixtures, a few a file, each once and many times; and a run of scalars."""
    for path in sorted(FIXTURES.rglob("*tfevents*")):
        payloads = [payload for payload in read_records(path) if len(payload) < 1 << 9]
        for count in (0, 19):
            yield _packed(payloads, count)
    scalars = [Event(wall_time=step, step=step) for step in range(40)]
    for event in scalars:
        event.summary.value.add(tag="loss", simple_value=event.step / 4)
    yield _packed([event.SerializeToString() for event in scalars], 0)


def _packed(payloads: list[bytes], count: int) -> bytes:
    return b"".join(struct.pack("<BH", count, len(payload)) + payload for payload in payloads)[:_LARGEST_SEED]


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    pieces = list(_pieces(data))
    _FILE.write_bytes(frames(payload for _, payload in pieces))
    exercise_events(_FILE)
    _FILE.write_bytes(frames(payload for count, payload in pieces for _ in range(count)))
    many = _contents()
    fewest = [(module, module.FEWEST_ROWS) for module in (stacks, file, record_frames)]
    try:
        for module, _ in fewest:
            module.FEWEST_ROWS = _NEVER
        demand(_contents() == many, "alone, events say something else than among many")
    finally:
        for module, count in fewest:
            module.FEWEST_ROWS = count
    _compare_with_messages(many)


def _pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    pos = 0
    while pos + 3 <= len(data):
        count, size = struct.unpack_from("<BH", data, pos)
        pos += 3
        yield count % 24 + 1, data[pos : pos + size]
        pos += size


def _contents() -> Any:
    """The points of each kind and tag, with their values or what is wrong with them; or the type of the error."""
    try:
        run = open_events(_FILE).runs["."]
        found = {}
        for kind in KINDS:
            for tag, series in getattr(run, kind).items():
                found[kind, tag] = series.steps.tolist(), series.wall_times.astype("<f8"), _values(kind, series)
    except TfBundleError as error:
        return type(error)
    return {name: (steps, walls.tobytes(), values) for name, (steps, walls, values) in found.items()}


def _values(kind: str, series: Any) -> list[Any]:
    try:
        if kind == SCALARS:
            values = series.values
            return [values.dtype, str(values.tolist()) if values.dtype == object else values.tobytes()]
        return [repr(element) for element in series]
    except TfBundleError as error:
        return [type(error)]


def _compare_with_messages(found: Any) -> None:
    """Every step of every tag, and every number of a tag that has nothing but ``simple_value``."""
    steps: defaultdict[str, list[int]] = defaultdict(list)
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    others: set[str] = set()
    try:
        for event in read_events(_FILE):
            for value in event.summary.value:
                form = value.WhichOneof("value")
                if form in (None, "obsolete_old_style_histogram"):
                    continue
                steps[value.tag].append(event.step)
                if form == "simple_value":
                    row = event.step, _bits(event.wall_time), _bits(value.simple_value)
                    rows[value.tag].append(row)
                else:
                    others.add(value.tag)
    except TfBundleError:
        return  # What the columns do not show is decoded when it is asked for, and may be no message.
    demand(isinstance(found, dict), "every event is a message, but the file is refused")
    found_steps: defaultdict[str, list[int]] = defaultdict(list)
    for (_, tag), (points, _, _) in found.items():
        found_steps[tag] += points
    demand(
        {tag: sorted(points) for tag, points in found_steps.items()}
        == {tag: sorted(points) for tag, points in steps.items()},
        "the steps of a tag are others than those of the messages",
    )
    for tag in rows.keys() - others:
        points, walls, values = found[SCALARS, tag]
        found_rows = zip(points, np.frombuffer(walls, "<f8"), np.frombuffer(values[-1], "<f4"), strict=True)
        demand(
            [(step, _bits(wall), _bits(number)) for step, wall, number in found_rows] == rows[tag],
            f"the columns of {tag!r} differ from the messages",
        )


def _bits(number: Any) -> bytes:
    """A number's bits, which for NaN depend on how it came here."""
    return b"nan" if number != number else struct.pack("<d", number)
