"""Event files: events say the same alone, side by side with others of any length, and as rows of a matrix.

An input is a run of pieces, each the payload of records and how often it comes; their checksums are right. So whatever
an event may look like is met alone, side by side with others, and as a row among its like.
"""

from __future__ import annotations

import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile.exercise import demand
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle import open_events, read_events, read_records
from tfbundle.errors import TfBundleError
from tfbundle.events import columns, file
from tfbundle.events.plugins import KINDS
from tfbundle.formats import frames as record_frames

_LARGEST_SEED = 2 << 10
_FILE = Path(tempfile.mkdtemp(prefix="fuzz-")) / "a.tfevents"
_NEVER = 1 << 30


def seeds() -> Iterator[bytes]:
    """The events of the fixtures, a few a file, each once and many times."""
    for path in sorted(FIXTURES.rglob("*tfevents*")):
        payloads = [payload for payload in read_records(path) if len(payload) < 1 << 9]
        for count in (0, 19):
            pieces = [struct.pack("<BH", count, len(payload)) + payload for payload in payloads]
            yield b"".join(pieces)[:_LARGEST_SEED]


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    _FILE.write_bytes(frames(_payloads(data)))
    many = _contents()
    fewest = [(module, module.FEWEST_ROWS) for module in (columns, file, record_frames)]
    try:
        for module, _ in fewest:
            module.FEWEST_ROWS = _NEVER
        demand(_contents() == many, "alone, events say something else than among many")
    finally:
        for module, count in fewest:
            module.FEWEST_ROWS = count
    wanted: defaultdict[str, list[int]] = defaultdict(list)
    try:
        for event in read_events(_FILE):
            for value in event.summary.value:
                if value.WhichOneof("value") not in (None, "obsolete_old_style_histogram"):
                    wanted[value.tag].append(event.step)
    except TfBundleError:
        return  # What nobody asked for may be damaged inside.
    demand(isinstance(many, dict), "every event is a message, but the file is refused")
    steps: defaultdict[str, list[int]] = defaultdict(list)
    for (_, tag), (points, _) in many.items():
        steps[tag] += points
    demand(
        {tag: sorted(points) for tag, points in steps.items()}
        == {tag: sorted(points) for tag, points in wanted.items()},
        "the steps of a tag are others than those of the messages",
    )


def _payloads(data: bytes) -> Iterator[bytes]:
    pos = 0
    while pos + 3 <= len(data):
        count, size = struct.unpack_from("<BH", data, pos)
        pos += 3
        for _ in range(count % 24 + 1):
            yield data[pos : pos + size]
        pos += size


def _contents() -> Any:
    """The points of each kind and tag, with their values or what is wrong with them; or the type of the error."""
    try:
        run = open_events(_FILE).runs["."]
        found = {}
        for kind in KINDS:
            for tag, series in getattr(run, kind).items():
                found[kind, tag] = series.steps.tolist(), [series.wall_times.tobytes(), *_values(kind, series)]
    except TfBundleError as error:
        return type(error)
    for what in ("graph", "meta_graph", "run_metadata", "hparams", "custom_scalars"):
        try:
            getattr(run, what)
        except TfBundleError:
            continue
    return found


def _values(kind: str, series: Any) -> list[Any]:
    try:
        if kind == "scalars":
            return [
                series.values.dtype,
                series.values.tobytes() if series.values.dtype != object else str(series.values),
            ]
        return [repr(element) for element in series]
    except TfBundleError as error:
        return [type(error)]
