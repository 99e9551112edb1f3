"""Events of any length side by side: the same as one by one, however they are written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfbundle
from tests.support.records import frames
from tests.support.sampling import IS_EXHAUSTIVE
from tfbundle.events.plugins import KINDS
from tfbundle.proto import Event, Summary, TensorProto


def value_of(draw: random.Random, kind: str) -> Summary.Value:
    """A value whose size is drawn, so that no two records are alike."""
    value = Summary.Value(tag=f"{kind}/{draw.choice('abc') * draw.choice([1, 1, 200])}")
    size = draw.choice([0, 1, 100, 127, 128, 700, 3000])
    if kind == "scalar":
        value.simple_value = draw.choice([0.0, 1.5, float("nan")])
    elif kind == "image":
        value.image.width = 3
        value.image.encoded_image_string = draw.randbytes(size)
    elif kind == "audio":
        value.audio.encoded_audio_string = draw.randbytes(size)
    elif kind == "histo":
        value.histo.min, value.histo.max = -1, 1
        value.histo.bucket_limit.extend(np.linspace(-1, 1, size % 99 + 1))
        value.histo.bucket.extend([1.0] * (size % 99 + 1))
    elif kind == "tensor":
        value.tensor.CopyFrom(TensorProto(dtype=4, tensor_content=draw.randbytes(size)))
        value.tensor.tensor_shape.dim.add(size=size)
    if draw.random() < 0.3:
        value.metadata.display_name = draw.choice(["one", "two" * 100])
    return value


def event_of(draw: random.Random, kinds: tuple[str, ...]) -> Event:
    event = Event()
    if draw.random() < 0.9:
        event.wall_time = draw.choice([1.5e9 + draw.random(), float("nan")])
    if draw.random() < 0.9:
        event.step = draw.choice([0, 1, 127, 128, 2**31, 2**63 - 1, -1, -(2**63)])
    if not kinds:
        event.log_message.message = "x" * draw.randrange(300)
    event.summary.value.extend(value_of(draw, kind) for kind in kinds)
    return event


def contents(path: Path) -> Any:
    """All that is in a log, or the error that it gives."""
    try:
        run = tfbundle.open_events(path).runs["."]
        found: dict[str, Any] = {"metadata": {tag: str(one) for tag, one in run.metadata.items()}}
        for kind in KINDS:
            for tag, series in getattr(run, kind).items():
                head = kind, tag, series.steps.tolist(), series.wall_times.tobytes()
                found[f"{kind} {tag}"] = head, series.values.tobytes() if kind == "scalars" else elements(series)
        return found
    except tfbundle.TfBundleError as error:
        return type(error), error.offset


def elements(series: Any) -> list[str]:
    """What its elements are, with the errors of those that are damaged inside."""
    found = []
    for place in range(len(series)):
        try:
            found.append(repr(series[place]))
        except tfbundle.TfBundleError as error:
            found.append(str(error))
    return found


@contextmanager
def rows_at_least(count: int) -> Iterator[None]:
    """Let so many records be the fewest that are read side by side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfbundle.events.file.FEWEST_ROWS", count)
        yield


ALL = ("scalar", "image", "audio", "histo", "tensor")
lists_of_kinds = st.lists(
    st.one_of(st.sampled_from(ALL).map(lambda kind: (kind,)), st.lists(st.sampled_from(ALL), max_size=5).map(tuple)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60 if IS_EXHAUSTIVE else 15)
@given(lists_of_kinds, st.integers(1, 60), st.integers(0, 1 << 32).map(random.Random))
def test_the_same_as_the_messages(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[str, ...]], count: int, draw: random.Random
) -> None:
    events = [event_of(draw, draw.choice(kinds)) for _ in range(count)]
    path = tmp_path_factory.mktemp("run") / "a.tfevents"
    path.write_bytes(frames(event.SerializeToString() for event in events))
    wanted: dict[str, list[tuple[int, str, Any]]] = {}
    for event in events:
        for value in event.summary.value:
            held = getattr(value, value.WhichOneof("value"))
            wanted.setdefault(value.tag, []).append((event.step, repr(event.wall_time), held))
    run = tfbundle.open_events(path).runs["."]
    assert {tag for kind in KINDS for tag in getattr(run, kind)} == set(wanted)
    for tag, points in wanted.items():
        series: Any = next(getattr(run, kind)[tag] for kind in KINDS if tag in getattr(run, kind))
        assert series.steps.tolist() == [point[0] for point in points]
        assert list(map(repr, series.wall_times.tolist())) == [point[1] for point in points]
        kind = tag.split("/")[0]
        for place, (_, _, held) in enumerate(points):
            if kind == "scalar":
                assert repr(float(series.values[place])) == repr(held)
            elif kind == "image":
                assert series[place] == (3, 0, (held.encoded_image_string,))
            elif kind == "audio":
                assert series[place].encoded == (held.encoded_audio_string,)
            elif kind == "histo":
                assert series[place].counts.tolist() == list(held.bucket)
            else:
                assert series[place].tobytes() == held.tensor_content


@settings(max_examples=150 if IS_EXHAUSTIVE else 15)
@given(lists_of_kinds, st.integers(1, 4), st.integers(0, 1 << 32).map(random.Random))
def test_damaged_messages_give_what_they_give_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[str, ...]], times: int, draw: random.Random
) -> None:
    """The checksums are right, the messages are not: lengths, tags of fields and all else may be anything."""
    records = [event_of(draw, draw.choice(kinds)).SerializeToString() for _ in range(20)]
    for _ in range(times):
        number = draw.randrange(len(records))
        record = bytearray(records[number] or b"\0")
        place = min(int(draw.expovariate(0.03)), len(record) - 1)  # Most of what matters stands in front.
        record[place] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, record[place] ^ 1 << draw.randrange(8)])
        records[number] = bytes(record[: draw.choice([len(record), place + 1])])
    path = tmp_path_factory.mktemp("run") / "a.tfevents"
    path.write_bytes(frames(records))
    with rows_at_least(1 << 30):
        wanted = contents(path)
    with rows_at_least(1):
        assert contents(path) == wanted


def test_it_is_used_for_records_of_many_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(1)
    events = [event_of(draw, (kind,)) for kind in ALL for _ in range(20)]
    path = tmp_path / "a.tfevents"
    path.write_bytes(frames(event.SerializeToString() for event in events))
    alone = []
    take = tfbundle.events.file.EventFile._take_single
    monkeypatch.setattr(
        "tfbundle.events.file.EventFile._take_single", lambda self, *parts: (alone.append(1), take(self, *parts))[1]
    )
    run = tfbundle.open_events(path).runs["."]
    assert sum(len(series) for kind in KINDS for series in getattr(run, kind).values()) == len(events)
    # Tensors of a few bytes may be numbers.
    assert len(alone) <= sum(1 for e in events if e.summary.value[0].tensor.ByteSize() <= 64) - 60


def test_a_value_among_many_is_read_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is most of its record is read with it, one among many is not."""
    draw = random.Random(2)
    tags = [f"image{number}" for number in range(50)]
    summary = Summary(value=[Summary.Value(tag=t, image={"encoded_image_string": draw.randbytes(1000)}) for t in tags])
    summary.value.add(tag="large").image.encoded_image_string = draw.randbytes(60_000)
    path = tmp_path / "a.tfevents"
    path.write_bytes(frames(Event(step=s, summary=summary).SerializeToString() for s in range(3)))
    run = tfbundle.open_events(path).runs["."]
    sizes: list[int] = []
    read_at = tfbundle.storage.local.LocalSource.read_at
    for tag in ("image7", "large"):
        images = run.images[tag]
        with monkeypatch.context() as patch:
            patch.setattr(
                "tfbundle.storage.local.LocalSource.read_at",
                lambda self, offset, size: (sizes.append(size), read_at(self, offset, size))[1],
            )
            one = images[1]
        assert one.encoded == (next(v for v in summary.value if v.tag == tag).image.encoded_image_string,)
    assert 1000 < sizes[0] < 1100
    assert 110_000 < sizes[1] < 115_000
