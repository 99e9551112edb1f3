"""Runs of event files, written without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.records import frames
from tfbundle.proto import Event, Summary

Point = tuple[str, int, float]


def points(tags: Sequence[str], steps: range) -> list[Point]:
    """A point of each tag at each step; no two values are equal."""
    return [(tag, step, step + number / 16) for step in steps for number, tag in enumerate(tags)]


def records(found: Iterable[Point]) -> list[bytes]:
    """Events of TensorFlow 1."""
    return [
        Event(
            wall_time=1000.0 + step, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        ).SerializeToString()
        for tag, step, value in found
    ]


def tensor_records(found: Iterable[Point], plugin: str | None = None) -> list[bytes]:
    """Events of TensorFlow 2; the first one of each tag has metadata, unless ``plugin`` is ``None``."""
    seen = set()
    events = []
    for tag, step, number in found:
        value = Summary.Value(tag=tag)
        value.tensor.dtype = 1
        value.tensor.tensor_shape.SetInParent()
        value.tensor.float_val.append(number)
        if plugin is not None and tag not in seen:
            value.metadata.plugin_data.plugin_name = plugin
        seen.add(tag)
        events.append(Event(wall_time=1000.0 + step, step=step, summary=Summary(value=[value])).SerializeToString())
    return events


def write_run(folder: Path, payloads: Iterable[bytes], name: str = "events.out.tfevents.1") -> Path:
    """Write an event file, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(frames(payloads))
    return path


def append(path: Path, payloads: Iterable[bytes]) -> None:
    """Append records to an event file."""
    with open(path, "ab") as file:
        file.write(frames(payloads))
