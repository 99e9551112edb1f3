"""Event files written back, beside what protobuf makes of the same changes and what TensorFlow and TensorBoard read."""

from __future__ import annotations

import gzip
import os
import random
import re
import struct
import time
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.events.test_events_oracle import ask, tensorboard_server, write_restarts
from tests.support.records import frame, frames, header
from tfbundle import edit_events
from tfbundle.conversion.event_files import rewriting
from tfbundle.formats.checksum import crc32c, mask
from tfbundle.proto import Event, SessionLog, Summary, SummaryMetadata, TensorProto

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CASES = [
    case
    for case in sorted(FIXTURES.glob("events-*/*"))
    if case.name not in ("compressed-records", "truncated-tails", "empty-files")
]
NAME = "events.out.tfevents.1"
# Fields that are unknown: a varint 100, and bytes 2000.
UNKNOWN = bytes.fromhex("a00605") + bytes.fromhex("827d03") + b"new"


def scalar(tag: str, step: int, value: float = 0.5, wall: float | None = None, **fields: Any) -> Event:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value, **fields)])
    return Event(wall_time=1000.0 + step if wall is None else wall, step=step, summary=summary)


def write(path: Path, events: list[Event | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(frames(e if isinstance(e, bytes) else e.SerializeToString() for e in events))
    return path


def payloads(path: Path | str) -> list[bytes]:
    return list(tfbundle.read_records(path))


def messages(path: Path | str) -> list[Event]:
    return [Event.FromString(payload) for payload in payloads(path)]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# Nothing changes.


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_run_that_does_not_change_is_the_same_bytes(case: Path, tmp_path: Path) -> None:
    done = edit_events(case, tmp_path / "out")
    assert done.files
    for file in done.files:
        assert Path(file).read_bytes() == (case / os.path.relpath(file, tmp_path / "out")).read_bytes()
    assert {item.action for item in done.items} <= {"copied"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_every_other_event_is_the_same_bytes(case: Path, tmp_path: Path) -> None:
    """One tag of each run is renamed, and what TensorFlow's writers wrote beside it stays as it is."""
    tags = {tag: f"new/{tag}" for run in tfbundle.open_events(case).runs.values() for tag in list(run.scalars)[:1]}
    done = edit_events(case, tmp_path / "out", rename=tags)
    changed = 0
    for file in done.files:
        old, new = payloads(case / os.path.relpath(file, tmp_path / "out")), payloads(file)
        for before, after in zip(old, new, strict=True):
            event = Event.FromString(before)
            if not any(value.tag in tags for value in event.summary.value):
                assert after == before
                continue
            changed += 1
            for value in event.summary.value:
                value.tag = tags.get(value.tag, value.tag)
            assert same(Event.FromString(after)) == same(event)  # NaN is the same as NaN.
    assert bool(changed) == bool(tags)


# Beside protobuf.


def any_event(draw: random.Random) -> bytes:
    """An event such as some program writes, or none does: of few layouts, so that many share one."""
    event = Event()
    if draw.random() < 0.95:
        event.wall_time = draw.choice([1.5e9, 1e-300, float("inf")]) + draw.randint(0, 99)
    event.step = draw.choice([0, 0, 5, 99, 127, 128, 20_000, 1 << 40, -1, -300]) + draw.randint(0, 3)
    kind = draw.random()
    if kind < 0.04:
        event.session_log.status = SessionLog.START
    elif kind < 0.08:
        event.graph_def = b"\x0a\x03\x0a\x01x" * draw.randint(0, 30)
    elif kind < 0.1:
        event.file_version = "brain.Event:2"
    elif kind < 0.12:
        event.tagged_run_metadata.tag = "step1"
    elif kind < 0.14:
        event.summary.SetInParent()
    else:
        for _ in range(draw.choice([1, 1, 1, 1, 3])):
            value = event.summary.value.add(tag=draw.choice(["loss", "lost", "model/acc", "üñ", "l" * 130]))
            if draw.random() < 0.7:
                value.simple_value = draw.random()
            elif draw.random() < 0.5:
                value.tensor.CopyFrom(TensorProto(dtype=1, float_val=[draw.random()]))
            else:
                value.image.encoded_image_string = b"x" * draw.choice([7, 150, 16_200])
            if draw.random() < 0.1:
                value.metadata.plugin_data.plugin_name = "scalars"
    data = event.SerializeToString()
    if draw.random() < 0.03:
        data += UNKNOWN
    if draw.random() < 0.02:  # Two summaries, or a step twice: in unusual form.
        data += draw.choice([scalar("loss", 3).SerializeToString()[9:], b"\x10\x07"])
    return data


class Reference:
    """The same changes, event by event, with nothing but protobuf."""

    def __init__(self, payloads: list[bytes]) -> None:
        self.events = [(payload, Event.FromString(payload)) for payload in payloads]

    def expect(
        self, drop: Callable[[str, int], bool], rename: Callable[[str], str], steps: int, seconds: float
    ) -> list[tuple[bytes | None, Event]]:
        """Each event that is left, with its bytes if it must not change."""
        found: list[tuple[bytes | None, Event]] = []
        for payload, old in self.events:
            event = Event.FromString(payload)
            values = [value for value in event.summary.value if not drop(value.tag, event.step)]
            if event.summary.value and not values:
                continue
            if event.HasField("summary"):
                kept = [Summary.Value.FromString(value.SerializeToString()) for value in values]
                for value in kept:
                    value.tag = rename(value.tag)
                if kept != list(event.summary.value):
                    del event.summary.value[:]
                    event.summary.value.extend(kept)
            if event.WhichOneof("what") not in ("graph_def", "file_version"):
                event.step += steps
            event.wall_time += seconds
            found.append((payload if event == old else None, event))
        return found


def same(event: Event) -> str:
    return event.SerializeToString(deterministic=True).hex()


@pytest.mark.parametrize("seed", range(12))
def test_as_protobuf_makes_the_changes(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    path = write(tmp_path / "in" / NAME, [any_event(draw) for _ in range(draw.choice([3, 60, 800]))])
    known = {value.tag for event in messages(path) for value in event.summary.value}
    exclude = {tag for tag in known if draw.random() < 0.2}
    mapping = {tag: draw.choice(["a", "longer name " * 12, "ß"]) + tag for tag in known if draw.random() < 0.4}
    mapping = {tag: new for tag, new in mapping.items() if tag not in exclude}
    first, last = draw.choice([(None, None), (6, None), (None, 130), (-5, 20_001)])
    steps, seconds = draw.choice([(0, 0.0), (1000, 0.0), (0, 3600.5), (-130, -1.0), (1 << 20, 0.25)])
    edit_events(
        path,
        tmp_path / "out",
        exclude=sorted(exclude) or None,
        rename=mapping or None,
        first_step=first,
        last_step=last,
        shift_steps=steps,
        shift_time=seconds,
    )

    def drop(tag: str, step: int) -> bool:
        return tag in exclude or (first is not None and step < first) or (last is not None and step > last)

    wanted = Reference(payloads(path)).expect(drop, lambda tag: mapping.get(tag, tag), steps, seconds)
    found = payloads(tmp_path / "out" / NAME)
    metadata_moved = 0
    for after, (payload, event) in zip(found, wanted, strict=True):
        if (payload is not None and after != payload) or same(Event.FromString(after)) != same(event):
            # The first value of a tag that is left may have taken metadata over.
            moved = Event.FromString(after)
            for value, other in zip(moved.summary.value, event.summary.value, strict=True):
                if value.HasField("metadata") and not other.HasField("metadata"):
                    value.ClearField("metadata")
                    metadata_moved += 1
            assert same(moved) == same(event)
    assert metadata_moved <= len(known)


def test_fields_that_nobody_knows_stay_where_events_change(tmp_path: Path) -> None:
    """In the event, the summary, the value, the tensor and the metadata; in one event and in many of one layout."""

    def field(number: int, data: bytes) -> bytes:
        key = number << 3 | 2
        return bytes([key & 0x7F | 0x80, key >> 7] if key > 0x7F else [key]) + bytes([len(data)]) + data

    def event(step: int, tag: bytes, *, summary: bytes = b"") -> bytes:
        tensor = b"\x08\x01\x12\x00" + field(5, struct.pack("<f", step)) + field(30, b"tensor")
        metadata = field(1, field(1, b"scalars") + field(31, b"plugin")) + field(32, b"metadata")
        value = field(1, tag) + field(33, b"before") + field(8, tensor) + field(9, metadata) + field(34, b"value")
        head = b"\x09" + struct.pack("<d", step) + b"\x10" + bytes([step])
        return head + field(5, field(1, value) + summary) + field(36, b"event")

    for count in (1, 40):
        path = write(tmp_path / f"in{count}" / NAME, [event(step, b"loss") for step in range(1, 1 + count)])
        edit_events(path, tmp_path / f"out{count}", rename={"loss": "the_loss"})
        assert payloads(tmp_path / f"out{count}" / NAME) == [event(step, b"the_loss") for step in range(1, 1 + count)]
        assert tfbundle.open_events(tmp_path / f"out{count}").runs["."].scalars["the_loss"].values[0] == 1.0
    # Beside the values of a summary nothing is expected, and protobuf writes the event again.
    path = write(tmp_path / "in" / NAME, [event(1, b"loss", summary=field(35, b"summary"))])
    edit_events(path, tmp_path / "out", rename={"loss": "the_loss"})
    (found,) = payloads(tmp_path / "out" / NAME)
    assert sorted(found) == sorted(event(1, b"the_loss", summary=field(35, b"summary")))
    assert Event.FromString(found).summary.value[0].tag == "the_loss"


# Names.


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two runs, one of two files after a restart; the other has a tag of its own."""
    root = tmp_path / "logs"
    tags = ("loss", "debug/a", "debug/b")
    write(
        root / "train" / "events.out.tfevents.1",
        [Event(wall_time=1, file_version="brain.Event:2"), Event(graph_def=b"\x0a\x03\x0a\x01x", wall_time=2)]
        + [scalar(tag, step, step) for step in range(10) for tag in tags],
    )
    write(root / "train" / "events.out.tfevents.2", [scalar("loss", step, -step) for step in range(7, 12)])
    write(root / "eval" / "events.out.tfevents.1", [scalar("accuracy", step, step) for step in range(3)])
    return root


def scalars(path: Path | str, run: str = ".") -> dict[str, list[tuple[int, float]]]:
    with tfbundle.open_events(path) as log:
        return {
            tag: list(zip(series.steps.tolist(), series.values.tolist(), strict=True))
            for tag, series in log.runs[run].scalars.items()
        }


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("debug/a", ["loss", "debug/b"]),
        ("debug/*", ["loss"]),
        (re.compile("^deb.*[ab]$"), ["loss"]),
        (lambda tag: tag.endswith("b"), ["loss", "debug/a"]),
        (["debug/a", "lo?s"], ["debug/b"]),
    ],
    ids=["name", "glob", "pattern", "function", "several"],
)
def test_tags_are_dropped(logs: Path, tmp_path: Path, exclude: Any, left: list[str]) -> None:
    before = scalars(logs, "train")
    edit_events(logs, tmp_path / "out", exclude=exclude)
    assert scalars(tmp_path / "out", "train") == {tag: before[tag] for tag in left}
    chosen = edit_events(logs, tmp_path / "chosen", tags=exclude)
    assert set(scalars(tmp_path / "chosen", "train")) == set(before) - set(left)
    assert {item.action for item in chosen.items} == {"copied", "left out: not chosen"}


@pytest.mark.parametrize(
    ("rename", "names"),
    [
        ({"loss": "train/loss"}, ["train/loss", "debug/a", "debug/b"]),
        ({r"^debug/(\w)": r"d_\1"}, ["loss", "d_a", "d_b"]),
        ({re.compile(r"(?P<end>[ab])$"): r"\g<end>\g<end>"}, ["loss", "debug/aa", "debug/bb"]),
        ({"debug/a": "debug/b", "debug/b": "debug/a"}, ["loss", "debug/b", "debug/a"]),
        ([("loss", "l"), ("l", "m")], ["m", "debug/a", "debug/b"]),
        (str.upper, ["LOSS", "DEBUG/A", "DEBUG/B"]),
    ],
    ids=["name", "groups", "pattern", "swap", "steps", "function"],
)
def test_tags_are_renamed(logs: Path, tmp_path: Path, rename: Any, names: list[str]) -> None:
    before = scalars(logs, "train")
    done = edit_events(logs, tmp_path / "out", rename=rename)
    assert scalars(tmp_path / "out", "train") == dict(zip(names, before.values(), strict=True))
    assert [item.new_tag for item in done.items if item.run == "train"] == names


def test_names_that_collide_or_match_nothing_are_found_before_a_byte_is_written(logs: Path, tmp_path: Path) -> None:
    before = snapshot(logs)
    for settings, error, message in (
        ({"rename": {"debug/a": "loss"}}, ValueError, "run 'train': 'loss', 'debug/a' would all be called 'loss'"),
        ({"rename": lambda tag: "same"}, ValueError, "would all be called 'same'"),
        ({"rename": {"loss": ""}}, ValueError, "a name must be a non-empty str"),
        ({"rename": lambda tag: "\ud800" + tag}, ValueError, "surrogates not allowed"),
        ({"rename": {"nothing": "x"}}, KeyError, "no tag is called 'nothing'"),
        ({"rename": {"[": "x"}}, KeyError, "no tag is called '\\['"),
        ({"exclude": "debug/c"}, KeyError, "did you mean 'debug/[ab]'"),
        ({"tags": ["loss", re.compile("zz")]}, KeyError, "no tag matches the pattern 'zz'"),
        ({"first_step": 5, "last_step": 4}, ValueError, "first_step is 5"),
        ({"shift_steps": (1 << 63) - 5}, ValueError, "does not fit into 64 bits"),
    ):
        with pytest.raises(error, match=message):
            edit_events(logs, tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert snapshot(logs) == before
    assert not (tmp_path / "out").exists()


def test_a_name_that_another_run_has_is_free(logs: Path, tmp_path: Path) -> None:
    edit_events(logs, tmp_path / "out", rename=[("loss", "accuracy"), ("accuracy", "quality")])
    assert "quality" in scalars(tmp_path / "out", "train")
    assert list(scalars(tmp_path / "out", "eval")) == ["quality"]


def test_bytes_that_are_not_utf8_stay_in_names(tmp_path: Path) -> None:
    record = scalar("ab", 1).SerializeToString().replace(b"ab", b"\xffb")
    path = write(tmp_path / "in" / NAME, [record] * 20)
    edit_events(path, tmp_path / "out", rename={"b$": "c"})
    assert payloads(tmp_path / "out" / NAME) == [record.replace(b"\xffb", b"\xffc")] * 20


# Steps.


def test_steps_are_cut_at_both_ends(logs: Path, tmp_path: Path) -> None:
    before = scalars(logs, "train")
    for first, last in ((3, None), (None, 8), (4, 4), (-(1 << 70), 1 << 70)):
        out = tmp_path / f"{first} {last}"
        edit_events(logs, out, first_step=first, last_step=last)
        kept = {
            tag: [point for point in points if (first or 0) <= point[0] <= (99 if last is None else last)]
            for tag, points in before.items()
        }
        assert scalars(out, "train") == kept
    done = edit_events(logs, tmp_path / "none", first_step=1 << 70)
    assert done.points == 0
    assert [item.new_tag for item in done.items] == [None] * 4
    # What is no curve is there nevertheless.
    assert [event.WhichOneof("what") for event in messages(done.files[1])] == ["file_version", "graph_def"]


def test_a_shift_leaves_what_has_no_step(tmp_path: Path) -> None:
    events = [
        Event(wall_time=1, file_version="brain.Event:2"),
        Event(wall_time=2, graph_def=b"\x0a\x03\x0a\x01x"),
        Event(wall_time=3, step=5, session_log=SessionLog(status=SessionLog.START)),
        Event(wall_time=4, step=7, tagged_run_metadata={"tag": "t"}),
        scalar("loss", 9, wall=5),
        Event(wall_time=6, summary=Summary(value=[described("_hparams_/session_start_info", "hparams")])),
    ]
    path = write(tmp_path / "in" / NAME, events)
    edit_events(path, tmp_path / "out", shift_steps=100, first_step=1)
    assert [event.step for event in messages(tmp_path / "out" / NAME)] == [0, 0, 105, 107, 109, 0]
    assert [event.wall_time for event in messages(tmp_path / "out" / NAME)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="step 5 of an event shifted by 9223372036854775803 does not fit"):
        edit_events(path, tmp_path / "far", exclude="loss", shift_steps=(1 << 63) - 5)
    edit_events(path, tmp_path / "later", shift_time=-0.5)
    assert [event.wall_time for event in messages(tmp_path / "later" / NAME)] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert [event.step for event in messages(tmp_path / "later" / NAME)] == [0, 0, 5, 7, 9, 0]


def described(tag: str, plugin: str, **fields: Any) -> Summary.Value:
    value = Summary.Value(tag=tag, **fields)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.plugin_data.content = b"what it is"
    return value


@pytest.mark.parametrize("how", ["cut", "purge", "tags kept"])
def test_metadata_of_a_first_value_move_to_the_first_that_is_kept(tmp_path: Path, how: str) -> None:
    """As tensorboardX and TensorFlow 1 write them: once a tag, with the first value."""

    def value(step: int, tag: str) -> Summary.Value:
        tensor = TensorProto(dtype=7, string_val=[b"text %d" % step])
        return described(tag, "text", tensor=tensor) if not step else Summary.Value(tag=tag, tensor=tensor)

    steps = [0, 1, 2, 0, 1] if how == "purge" else [0, 1, 2, 3]
    events = [
        Event(step=step, summary=Summary(value=[value(place, "a"), value(place, "b")]))
        for place, step in enumerate(steps)
    ]
    path = write(tmp_path / "in" / NAME, events)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"cut": {"first_step": 2}, "purge": {"purge": True}, "tags kept": {"tags": "a"}}[how]
    edit_events(path, tmp_path / "out", **settings)
    run = tfbundle.open_events(tmp_path / "out").runs["."]
    places = {"cut": [2, 3], "purge": [3, 4], "tags kept": [0, 1, 2, 3]}[how]
    assert [str(one) for one in run.text["a"]] == [f"text {place}" for place in places]
    assert run.metadata["a"].plugin_data.content == b"what it is"
    found = messages(tmp_path / "out" / NAME)
    assert [one.HasField("metadata") for event in found for one in event.summary.value if one.tag == "a"] == [
        True,
        *[False] * (len(places) - 1),
    ]


def test_metadata_stay_alone_where_their_value_is_kept(tmp_path: Path) -> None:
    values = [Summary.Value(tag="a", simple_value=0), described("a", "scalars", simple_value=1)]
    values += [Summary.Value(tag="a", simple_value=2)]
    path = write(
        tmp_path / "in" / NAME, [Event(step=step, summary=Summary(value=[one])) for step, one in enumerate(values)]
    )
    edit_events(path, tmp_path / "out", first_step=1)
    assert payloads(tmp_path / "out" / NAME) == payloads(path)[1:]


def test_settings_of_a_run_are_not_cut(tmp_path: Path) -> None:
    plugins = ("hparams", "custom_scalars", "graph_keras_model", "graph_run_metadata", "graph_run_metadata_graph")
    events = [Event(summary=Summary(value=[described(name, name)])) for name in plugins]
    path = write(tmp_path / "in" / NAME, [*events, scalar("loss", 0), scalar("loss", 10)])
    done = edit_events(path, tmp_path / "out", first_step=5)
    assert payloads(tmp_path / "out" / NAME) == [*payloads(path)[:-2], payloads(path)[-1]]
    assert [item.action for item in done.items] == ["copied"] * 5 + ["1 point cut"]


# Restarts, and the files of a run as one.


@pytest.mark.parametrize("merge", [False, True])
def test_purge_is_what_open_events_purges(tmp_path: Path, merge: bool) -> None:
    (tmp_path / "in").mkdir()
    for number in range(25):
        write_restarts(tmp_path / "in" / f"run{number}", random.Random(number))
    wanted = tfbundle.open_events(tmp_path / "in", purge=True)
    done = edit_events(tmp_path / "in", tmp_path / "out", purge=True, merge=merge)
    found = tfbundle.open_events(tmp_path / "out")
    assert list(found.runs) == list(wanted.runs)
    dropped = 0
    for name, run in wanted.runs.items():
        assert len(found.runs[name].paths) == (1 if merge else len(run.paths))
        # A tag may first appear in another place.
        assert set(found.runs[name].scalars) == set(run.scalars)
        for tag, series in run.scalars.items():
            other = found.runs[name].scalars[tag]
            for attribute in ("steps", "wall_times", "values"):
                assert getattr(other, attribute).tolist() == getattr(series, attribute).tolist()
    dropped = done.left_out
    assert dropped > done.points
    assert dropped + done.points == sum(item.points for item in done.items)


def test_merged_files_follow_each_other_byte_for_byte(logs: Path, tmp_path: Path) -> None:
    done = edit_events(logs, tmp_path / "out", merge=True)
    parts = [path.read_bytes() for path in sorted((logs / "train").iterdir())]
    assert (tmp_path / "out" / "train" / NAME).read_bytes() == b"".join(parts)
    assert [os.path.relpath(file, tmp_path / "out") for file in done.files] == [f"eval/{NAME}", f"train/{NAME}"]
    assert done.removed == ()
    one = edit_events(logs / "train", tmp_path / "one.tfevents", merge=True)
    assert one.files == (str(tmp_path / "one.tfevents"),)
    assert (tmp_path / "one.tfevents").read_bytes() == b"".join(parts)


# Other programs read it.


def test_summary_iterator_reads_the_result(logs: Path, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    edit_events(
        logs, tmp_path / "out", rename={"debug/(.)": r"\1"}, shift_steps=-2, first_step=3, shift_time=5, merge=True
    )
    found: dict[str, list[tuple[int, float, float]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = list(tf.compat.v1.train.summary_iterator(str(tmp_path / "out" / "train" / NAME)))
    for event in events:
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, event.wall_time, value.simple_value))
    points = [(step - 2, 1005.0 + step, float(step)) for step in range(3, 10)]
    again = [(step - 2, 1005.0 + step, float(-step)) for step in range(7, 12)]
    assert found == {"loss": points + again, "a": points, "b": points}
    assert [event.WhichOneof("what") for event in events[:2]] == ["file_version", "graph_def"]


@pytest.mark.skipif(os.name == "nt", reason="TensorBoard's data server runs on Linux and macOS")
def test_tensorboard_shows_the_result(tmp_path: Path) -> None:
    """What TensorFlow wrote, edited, as TensorBoard's server serves it: scalars, images, text, hyperparameters."""
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    hp = pytest.importorskip("tensorboard.plugins.hparams.api", reason="compares with TensorBoard")
    picture = np.zeros((1, 3, 3, 3), np.uint8)
    for part in range(2):  # A restart at step 30.
        with tf.summary.create_file_writer(str(tmp_path / "in" / "run"), filename_suffix=f".{part}").as_default():
            hp.hparams({"rate": 0.1}, trial_id="one")
            for step in range(50) if not part else range(30, 60):
                tf.summary.scalar("loss", step + 100 * part, step=step)
                tf.summary.scalar("debug/x", step, step=step)
                if step % 10 == 0:
                    tf.summary.image("picture", picture, step=step)
                    tf.summary.text("note", f"at {step}", step=step)
        if not part:
            time.sleep(1.1)  # The time in a file's name has whole seconds.
    edit_events(
        tmp_path / "in",
        tmp_path / "out",
        exclude="debug/*",
        rename={"loss": "train/loss", "picture": "sample"},
        purge=True,
        merge=True,
        first_step=10,
        shift_steps=1000,
    )
    with tensorboard_server(tmp_path / "out") as address:
        tags: dict[str, dict[str, Any]] = {}
        for _ in range(600):  # The data server reads the files in the background.
            tags = ask(f"{address}/plugin/scalars/tags")
            if tags:
                break
            time.sleep(0.05)
        assert {run: list(found) for run, found in tags.items()} == {"run": ["train/loss"]}
        query = urllib.parse.urlencode({"run": "run", "tag": "train/loss"})
        points = ask(f"{address}/plugin/scalars/scalars?{query}")
        assert [(step, value) for _, step, value in points] == [
            (1000 + step, step + (100 if step >= 30 else 0)) for step in range(10, 60)
        ]
        images = ask(f"{address}/plugin/images/tags")
        assert list(images["run"]) == ["sample"]
        query = urllib.parse.urlencode({"run": "run", "tag": "sample", "sample": 0})
        assert [one["step"] for one in ask(f"{address}/plugin/images/images?{query}")] == [1010, 1020, 1030, 1040, 1050]
        assert ask(f"{address}/plugin/text/tags") == {"run": ["note"]}
    run = tfbundle.open_events(tmp_path / "out").runs["run"]
    assert run.hparams is not None
    assert run.hparams.values == {"rate": 0.1}


# Damage.


@pytest.mark.parametrize("place", ["header", "payload"])
def test_damage_is_named_with_its_offset_and_salvage_leaves_it_out(logs: Path, tmp_path: Path, place: str) -> None:
    path = logs / "train" / "events.out.tfevents.1"
    records = [frame(payload) for payload in payloads(path)]
    start = sum(map(len, records[:20]))
    data = bytearray(path.read_bytes())
    data[start + (3 if place == "header" else 15)] ^= 1
    path.write_bytes(data)
    with pytest.raises(tfbundle.ChecksumError, match=f"record 20 at offset {start}") as caught:
        edit_events(logs, tmp_path / "out", shift_steps=1)
    assert (caught.value.path, caught.value.offset) == (str(path), start)
    assert not (tmp_path / "out").exists()
    done = edit_events(logs, tmp_path / "out", salvage=True)
    assert [(loss.offset, loss.size) for loss in done.losses[str(path)]] == [(start, len(records[20]))]
    assert (tmp_path / "out" / "train" / NAME).read_bytes() == b"".join(records[:20] + records[21:])
    shifted = edit_events(logs, tmp_path / "shifted", salvage=True, shift_steps=1)
    assert len(payloads(shifted.files[1])) == len(records) - 1


def test_a_file_in_which_nothing_is_whole_is_never_replaced(logs: Path, tmp_path: Path) -> None:
    for name in ("events.out.tfevents.0", "events.out.tfevents.3"):
        path = logs / "train" / name
        path.write_bytes(b"it is no event file, whatever its name says")
        done = edit_events(logs, tmp_path / f"out{name[-1]}", salvage=True)
        assert list(done.losses) == [str(path)]
        assert [Path(file).name for file in done.files] == [NAME, NAME, "events.out.tfevents.2"]
        merged = edit_events(logs / "train", tmp_path / f"merged{name[-1]}", salvage=True, merge=True)
        assert len(payloads(merged.files[0])) == 37
        before = snapshot(logs)
        for merge in (False, True):
            with pytest.raises(tfbundle.FormatError) as caught:
                edit_events(logs, logs, salvage=True, merge=merge, overwrite=True)
            assert caught.value.path == str(path)
        assert snapshot(logs) == before
        alone = edit_events(path, tmp_path / "alone", salvage=True)
        assert (alone.files, list(alone.losses)) == ((), [str(path)])
        path.unlink()


def test_an_incomplete_last_record_is_left_out(logs: Path, tmp_path: Path) -> None:
    path = logs / "eval" / NAME
    data = path.read_bytes()
    path.write_bytes(data + header(100) + b"half")
    done = edit_events(logs, tmp_path / "out", rename={"accuracy": "a"})
    assert done.truncations == {str(path): (len(data), 16)}
    assert len(payloads(done.files[0])) == 3


def test_padding_of_an_old_writer_does_not_stay(tmp_path: Path) -> None:
    payload = scalar("loss", 1).SerializeToString()
    padded = payload + b"\x9a\x9b\x9c"
    record = header(len(payload)) + padded + struct.pack("<I", mask(crc32c(padded)))
    path = tmp_path / "in" / NAME
    path.parent.mkdir()
    path.write_bytes(frame(payload) + record + frame(payload))
    edit_events(path, tmp_path / "out", salvage=True)
    assert (tmp_path / "out" / NAME).read_bytes() == frame(payload) * 3


def test_a_record_that_is_not_an_event_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / NAME, [scalar("loss", 1), b"\xff\xff", scalar("loss", 2)])
    with pytest.raises(tfbundle.FormatError, match="not an Event message") as caught:
        edit_events(path, tmp_path / "out")
    assert caught.value.path == str(path)
    assert caught.value.offset == len(frame(payloads(path)[0])) + 12
    good = [payloads(path)[0], payloads(path)[2]]
    for settings in ({}, {"shift_time": 0.0, "rename": {"loss": "cost"}}):
        done = edit_events(path, tmp_path / f"out{len(settings)}", salvage=True, **settings)  # type: ignore[arg-type]
        assert [loss.number for loss in done.losses[str(path)]] == [1]
        assert [payload.replace(b"cost", b"loss") for payload in payloads(done.files[0])] == good


def test_compressed_files_are_written_plain(logs: Path, tmp_path: Path) -> None:
    path = logs / "eval" / NAME
    plain = path.read_bytes()
    path.write_bytes(gzip.compress(plain))
    done = edit_events(logs, tmp_path / "out")
    assert Path(done.files[0]).read_bytes() == plain
    edit_events(path, tmp_path / "renamed", rename={"accuracy": "a"})
    assert list(scalars(tmp_path / "renamed")) == ["a"]


# What is in the way.


def test_nothing_of_a_run_is_replaced_without_overwrite(logs: Path, tmp_path: Path) -> None:
    before = snapshot(logs)
    for source, out in ((logs, logs), (logs / "train", logs / "train"), (logs / "eval" / NAME, logs / "eval" / NAME)):
        with pytest.raises(ValueError, match="overwrite=True"):
            edit_events(source, out, shift_steps=1)
    with pytest.raises(ValueError, match="one run with them; name another folder"):
        edit_events(logs / "train" / "events.out.tfevents.2", logs / "eval", overwrite=True)
    with pytest.raises(ValueError, match="is one file, and the source has 2 runs; name a folder"):
        edit_events(logs, tmp_path / "all.tfevents")
    with pytest.raises(ValueError, match="2 files, which merge=True writes as one"):
        edit_events(logs / "train", tmp_path / "all.tfevents")
    with pytest.raises(tfbundle.MissingFileError):
        edit_events(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(tfbundle.MissingFileError, match="no event files below"):
        edit_events(tmp_path / "empty", tmp_path / "out")
    assert snapshot(logs) == before
    assert not (tmp_path / "out").exists()


def test_a_run_is_edited_in_its_place(logs: Path) -> None:
    os.chmod(logs / "eval" / NAME, 0o640)
    before = scalars(logs, "train")
    (logs / "train" / "model.ckpt.index").write_bytes(b"of another program")
    done = edit_events(logs, logs, rename={"loss": "cost"}, overwrite=True)
    assert sorted(done.files) == sorted(str(path) for path in logs.glob("*/*tfevents*"))
    after = scalars(logs, "train")
    assert list(after) == ["cost", "debug/a", "debug/b"]
    assert after["cost"] == before["loss"]
    assert (logs / "eval" / NAME).stat().st_mode & 0o777 == 0o640
    assert {path.name for path in logs.rglob("*") if path.is_file()} == {
        NAME,
        "events.out.tfevents.2",
        "model.ckpt.index",
    }


def test_one_file_of_a_run_is_edited_in_its_place(logs: Path) -> None:
    path = logs / "train" / "events.out.tfevents.2"
    other = (logs / "train" / NAME).read_bytes()
    edit_events(path, path, shift_steps=1, overwrite=True)
    assert scalars(path)["loss"][0] == (8, -7.0)
    assert (logs / "train" / NAME).read_bytes() == other


@pytest.mark.parametrize("name", [None, "events.out.tfevents.2", "events.out.tfevents.0.all"])
def test_files_are_merged_in_their_place(logs: Path, name: str | None) -> None:
    parts = [path.read_bytes() for path in sorted((logs / "train").iterdir())]
    out = logs / "train" / name if name else logs / "train"
    with pytest.raises(ValueError, match="overwrite=True"):
        edit_events(logs / "train", out, merge=True)
    done = edit_events(logs / "train", out, merge=True, overwrite=True)
    assert snapshot(logs / "train") == {name or NAME: b"".join(parts)}
    assert done.removed == tuple(
        str(logs / "train" / one) for one in (NAME, "events.out.tfevents.2") if one != (name or NAME)
    )


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("merge", [False, True])
def test_what_fails_leaves_everything_as_it_was(
    logs: Path, monkeypatch: pytest.MonkeyPatch, failing: int, merge: bool
) -> None:
    before = snapshot(logs)
    calls = 0
    original, remove = os.replace, os.unlink

    def fail(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(28, "No space left on device")
        original(*arguments)

    def fail_to_remove(path: Any, **settings: Any) -> None:
        if "tfevents" in os.path.basename(path):
            raise OSError(13, "Permission denied")
        remove(path, **settings)

    def fail_to_sync(number: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        if failing < 3:
            patch.setattr(os, "replace", fail)
        else:
            patch.setattr(os, *("unlink", fail_to_remove) if merge else ("fsync", fail_to_sync))
        with pytest.raises(OSError, match=r"No space|Permission|Input"):
            edit_events(logs, logs, shift_steps=1, merge=merge, overwrite=True)
    assert snapshot(logs) == before


def test_a_new_folder_goes_again_where_writing_fails(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **settings: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rewriting, "encode_record", fail)
    monkeypatch.setattr(rewriting, "encode_records", fail)
    with pytest.raises(OSError, match="No space"):
        edit_events(logs, tmp_path / "out", shift_steps=1)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_links_are_followed(logs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere.tfevents"
    os.replace(logs / "eval" / NAME, kept)
    os.symlink(kept, logs / "eval" / NAME)
    edit_events(logs / "eval", logs / "eval", rename={"accuracy": "a"}, overwrite=True)
    assert (logs / "eval" / NAME).is_symlink()
    assert list(scalars(kept)) == ["a"]
    os.symlink(logs / "eval", logs / "again")
    with pytest.raises(ValueError, match="are one file, to which links lead"):
        edit_events(logs, logs, overwrite=True)
    done = edit_events(logs, tmp_path / "out")
    assert len(done.files) == 4


@pytest.mark.parametrize("linked", [NAME, "events.out.tfevents.2"])
def test_links_are_merged_in_their_place(logs: Path, tmp_path: Path, linked: str) -> None:
    parts = [path.read_bytes() for path in sorted((logs / "train").iterdir())]
    kept = tmp_path / "elsewhere.tfevents"
    os.replace(logs / "train" / linked, kept)
    os.symlink(kept, logs / "train" / linked)
    before = kept.read_bytes()
    done = edit_events(logs / "train", logs / "train", merge=True, overwrite=True)
    assert done.removed == (str(logs / "train" / "events.out.tfevents.2"),)
    assert snapshot(logs / "train") == {NAME: b"".join(parts)}
    # The file that a link leads to is written where it is, or left alone.
    assert kept.read_bytes() == (b"".join(parts) if linked == NAME else before)


def test_no_temporary_file_is_an_event_file(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TensorBoard that watches the folder reads whatever has tfevents in its name."""
    seen: set[str] = set()
    original = rewriting.encode_records

    def look(rows: Any) -> Any:
        seen.update(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
        return original(rows)

    path = write(tmp_path / "in" / NAME, [scalar("loss", step) for step in range(100)])
    monkeypatch.setattr(rewriting, "encode_records", look)
    edit_events(path, tmp_path / "out", shift_steps=1)
    assert seen
    assert not any("tfevents" in name for name in seen)
    assert not (tfbundle.open_events(tmp_path / "out").runs["."].paths)[1:]


def test_a_file_that_grows_meanwhile_is_written_as_it_was_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "in" / NAME, [scalar("loss", step) for step in range(100)])
    wanted = payloads(path)
    from tfbundle.conversion.event_files import edit

    original = edit.plan_runs

    def plan(*arguments: Any) -> Any:
        plans = original(*arguments)
        with open(path, "ab") as file:
            file.write(frames([scalar("late", 1).SerializeToString()] * 50))
        return plans

    monkeypatch.setattr(edit, "plan_runs", plan)
    edit_events(path, tmp_path / "out")
    assert payloads(tmp_path / "out" / NAME) == wanted
    path.write_bytes(frames(wanted))

    def shorten(*arguments: Any) -> Any:
        plans = original(*arguments)
        path.write_bytes(frames(wanted[:50]))
        return plans

    monkeypatch.setattr(edit, "plan_runs", shorten)
    with pytest.raises(tfbundle.FormatError, match="became shorter while it was edited"):
        edit_events(path, tmp_path / "other")


# The plan.


def test_a_dry_run_plans_and_writes_nothing(logs: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "exclude": "debug/a",
        "rename": {"loss": "cost"},
        "purge": True,
        "first_step": 2,
        "shift_steps": 3,
    }
    plan = edit_events(logs, tmp_path / "out", dry_run=True, **settings)
    assert not (tmp_path / "out").exists()
    assert plan.items == (
        ("eval", "accuracy", "accuracy", "scalars", 3, 1, "2 points cut, shifted"),
        ("train", "loss", "cost", "scalars", 15, 10, "renamed, 3 points obsolete, 2 points cut, shifted"),
        ("train", "debug/a", None, "scalars", 10, 0, "left out: excluded"),
        ("train", "debug/b", "debug/b", "scalars", 10, 8, "2 points cut, shifted"),
    )
    assert "would be written" in repr(plan)
    done = edit_events(logs, tmp_path / "out", **settings)
    assert (done.items, done.files, done.points, done.left_out) == (plan.items, plan.files, plan.points, plan.left_out)
    assert len(scalars(tmp_path / "out", "train")["cost"]) == 10


def test_progress_ends_at_the_total(logs: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    edit_events(logs, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    size = sum(len(data) for data in snapshot(logs).values())
    assert seen[-1] == (2 * size, 2 * size)
    assert seen == sorted(seen)


def steps_of(count: int) -> Iterator[bytes]:
    for step in range(count):
        for tag in ("loss", "accuracy/top1", "rate"):
            yield scalar(tag, step).SerializeToString()


@pytest.mark.effort
def test_many_tags_and_many_points_take_no_longer_than_reading_them(tmp_path: Path) -> None:
    """3,000 tags of 10 points, and 3 tags of 10,000: the same number of events."""
    write(tmp_path / "tags" / NAME, [scalar(f"tag{t:04}", s) for s in range(10) for t in range(3000)])
    write(tmp_path / "points" / NAME, list(steps_of(10_000)))
    seconds = []
    for name in ("tags", "points"):
        start = time.process_time()
        done = edit_events(tmp_path / name, tmp_path / f"{name} out", rename=lambda tag: f"new/{tag}", shift_steps=7)
        seconds.append(time.process_time() - start)
        assert done.points == 30_000
    assert max(seconds) < 1.5


def test_the_metadata_that_move_are_valid(tmp_path: Path) -> None:
    """An unusual event takes them over too."""
    first = Event(step=1, summary=Summary(value=[described("a", "scalars", simple_value=1)]))
    unusual = scalar("a", 2).SerializeToString() + b"\x10\x03"
    path = write(tmp_path / "in" / NAME, [first, unusual])
    edit_events(path, tmp_path / "out", first_step=2, rename={"a": "b"}, shift_steps=1, shift_time=1.0)
    (event,) = messages(tmp_path / "out" / NAME)
    assert (event.step, event.summary.value[0].tag) == (4, "b")
    assert event.summary.value[0].metadata == SummaryMetadata(
        plugin_data={"plugin_name": "scalars", "content": b"what it is"}
    )
