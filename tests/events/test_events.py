"""Series from event files: the same as the messages say one by one, whatever they are made of."""

from __future__ import annotations

import gzip
import os
import random
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfbundle
from tests.support.records import frames
from tests.support.sampling import IS_EXHAUSTIVE, places
from tests.support.table_writer import encode_varint
from tfbundle.events.plugins import KINDS
from tfbundle.formats.records.unpacked import Unpacked
from tfbundle.overview.walk import overview
from tfbundle.proto import Event, Summary, SummaryMetadata, TensorProto
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.tensor_proto import decode_tensor

STEPS = [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)]
DTYPES = [1, 2, 3, 4, 5, 6, 8, 9, 10, 14, 17, 18, 19, 22, 23, 24]


def write(path: Path, events: list[Event]) -> Path:
    path.write_bytes(frames(event.SerializeToString(deterministic=True) for event in events))
    return path


def version(wall_time: float = 1.0) -> Event:
    return Event(wall_time=wall_time, file_version="brain.Event:2")


def scalar(tag: str, step: int, value: float, wall_time: float = 2.5) -> Event:
    return Event(wall_time=wall_time, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def tensor_of(draw: random.Random, dtype: int, form: str) -> TensorProto:
    proto = TensorProto(dtype=dtype)
    size = numpy_dtype(dtype).itemsize
    if form == "empty":
        return proto
    raw = bytes(draw.randrange(256) for _ in range(size)) if dtype != 10 else bytes([draw.randrange(2)])
    if form == "content":
        proto.tensor_content = raw
        return proto
    number = draw.choice([0, 1, 127, 128, 2**31 - 1, -1])
    if dtype in (1, 2, 8, 18):
        field = {1: proto.float_val, 2: proto.double_val, 8: proto.scomplex_val, 18: proto.dcomplex_val}[dtype]
        field.extend([draw.choice([0.0, 1.5, float("nan"), float("-inf")])] * (2 if dtype > 2 else 1))
    elif dtype == 24:
        proto.float8_val = raw
    elif dtype in (14, 19):
        proto.half_val.append(int.from_bytes(raw, "little"))
    else:
        fields = {9: proto.int64_val, 10: proto.bool_val, 22: proto.uint32_val, 23: proto.uint64_val}
        fields.get(dtype, proto.int_val).append(
            abs(number) if dtype in (22, 23) else bool(number) if dtype == 10 else number
        )
    if form == "shaped":
        proto.tensor_shape.SetInParent()
    return proto


def one_event(draw: random.Random, shape: tuple[Any, ...]) -> Event:
    """An event of a shape: how many values, of which forms and tags. What varies is drawn."""
    event = Event()
    if shape[0]:
        event.wall_time = draw.choice([1.5e9 + draw.random(), float("nan"), 0.0])
    event.step = draw.choice(STEPS) if shape[1] else draw.randrange(300)
    event.summary.SetInParent()
    for number, (form, dtype) in enumerate(shape[2]):
        value = event.summary.value.add(tag=f"{'loss' if shape[3] else draw.choice('abcdefgh')}{number}")
        if form == "simple":
            value.simple_value = draw.choice([0.0, 0.25, float("nan"), float("inf")])
        else:
            value.tensor.CopyFrom(tensor_of(draw, dtype, form))
            if shape[3] or draw.random() < 0.8:
                value.metadata.plugin_data.plugin_name = "scalars"
                value.metadata.display_name = draw.choice(["one", "two"])
        if draw.random() < 0.02:
            value.node_name = "node"
    return event


value_shapes = st.one_of(
    st.just(("simple", 1)),
    st.tuples(st.sampled_from(["empty", "content", "typed", "shaped"]), st.sampled_from(DTYPES)),
)
event_shapes = st.tuples(st.booleans(), st.booleans(), st.lists(value_shapes, max_size=3), st.booleans())


def one_by_one(events: list[Event]) -> dict[str, list[tuple[int, float, Any, bool]]]:
    """What the messages say: step, wall time, the number with its dtype, of each tag."""
    found = defaultdict(list)
    for event in events:
        for value in event.summary.value:
            if value.HasField("simple_value"):
                number = np.array(value.simple_value, np.float32)
            else:
                number = decode_tensor(value.tensor)
            found[value.tag].append((event.step, event.wall_time, number, value.HasField("tensor")))
    return found


def assert_same(one: Any, other: Any) -> None:
    one, other = np.asarray(one), np.asarray(other)
    assert one.dtype == other.dtype
    assert one.tobytes() == other.tobytes()


@settings(max_examples=80 if IS_EXHAUSTIVE else 15)
@given(
    st.lists(st.tuples(event_shapes, st.sampled_from([1, 3, 40, 90])), min_size=1, max_size=4),
    st.integers(0, 1 << 32).map(random.Random),
    st.booleans(),
)
def test_columns_equal_the_messages(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[Any], draw: random.Random, mixed: bool
) -> None:
    events = [one_event(draw, shape) for shape, count in shapes for _ in range(count)]
    if mixed:
        draw.shuffle(events)
    path = write(tmp_path_factory.mktemp("run") / "events.out.tfevents.1", events)
    wanted = one_by_one(list(tfbundle.read_events(path)))
    with tfbundle.open_events(path) as log:
        run = log.runs["."]
        tags = defaultdict(list)
        for tag, points in wanted.items():
            metadata = next(
                (v.metadata for e in events for v in e.summary.value if v.tag == tag and v.HasField("metadata")), None
            )
            assert run.metadata.get(tag) == metadata
            for point in points:
                is_tensor = point[3] and metadata is None
                tags["tensors" if is_tensor else "scalars", tag].append(point)
        assert {("scalars", tag) for tag in run.scalars} | {("tensors", tag) for tag in run.tensors} == set(tags)
        for (kind, tag), points in tags.items():
            series: Any = getattr(run, kind)[tag]
            assert series.steps.tolist() == [point[0] for point in points]
            assert_same(series.wall_times, np.array([point[1] for point in points]))
            numbers = [point[2] for point in points]
            if kind == "tensors":
                for one, other in zip(series, numbers, strict=True):
                    assert_same(one, other)
            elif len({number.dtype for number in numbers}) == 1:
                assert_same(series.values, np.array(numbers))
            else:
                assert series.values.dtype in (np.float64, object)
                for one, other in zip(series.values.tolist(), [number.item() for number in numbers], strict=True):
                    assert one == other or (one != one and other != other)


def test_mixed_dtypes_become_float64_or_object(tmp_path: Path) -> None:
    def series(*tensors: TensorProto) -> np.ndarray[Any, Any]:
        events = [
            Event(
                summary=Summary(
                    value=[Summary.Value(tag="t", tensor=t, metadata={"plugin_data": {"plugin_name": "scalars"}})]
                )
            )
            for t in tensors
        ]
        return tfbundle.open_events(write(tmp_path / "a.tfevents", events)).runs["."].scalars["t"].values

    half = TensorProto(dtype=1, float_val=[0.5])
    assert series(half, half).dtype == np.float32
    mixed = series(half, TensorProto(dtype=9, int64_val=[2**53]))
    assert mixed.dtype == np.float64
    assert mixed.tolist() == [0.5, 2.0**53]
    mixed = series(half, TensorProto(dtype=9, int64_val=[2**53 + 1]))
    assert mixed.dtype == object
    assert mixed.tolist() == [0.5, 2**53 + 1]
    assert series(half, TensorProto(dtype=8, scomplex_val=[1.0, 2.0])).tolist() == [0.5, 1 + 2j]
    # A signalling NaN becomes a quiet one, without a warning.
    assert np.isnan(series(half, TensorProto(dtype=14, half_val=[0x7F81])).astype(float)).tolist() == [False, True]


def test_metadata_of_the_first_value_count_for_all(tmp_path: Path) -> None:
    events = []
    for step in range(50):
        value = Summary.Value(tag="t", tensor=TensorProto(dtype=1, float_val=[step]))
        if step == 0:
            value.metadata.plugin_data.plugin_name = "scalars"
        events.append(Event(step=step, summary=Summary(value=[value])))
    run = tfbundle.open_events(write(tmp_path / "a.tfevents", events)).runs["."]
    assert run.scalars["t"].values.tolist() == list(range(50))
    assert list(run.tensors) == []


def unusual_events() -> list[bytes]:
    """Events that protobuf reads and no writer writes so."""
    plain = scalar("t", 5, 0.5).SerializeToString()
    value = Summary.Value(tag="t", simple_value=0.5).SerializeToString()
    summary = b"\x0a" + bytes([len(value)]) + value
    wrapped = b"\x2a" + bytes([len(summary)]) + summary
    group = b"\xa3\x06\x08\x01\xa4\x06"  # A group, which proto3 does not know.
    return [
        plain + b"\x10\x07",  # The step twice.
        plain + wrapped,  # The summary twice: both are one.
        plain + group,
        plain + b"\xa8\x06\x01",  # An unknown field.
        b"\x15\0\0\0\0" + plain,  # The step as a fixed number: unknown.
        b"\x10\x85\x80\x00" + wrapped,  # A varint that is longer than it need be.
        b"\x2a\x0a\x0a\x08\x0a\x01t\x15\0\0\0?\x0a"[:0] + plain,
        Event(step=3, graph_def=b"g").SerializeToString() + wrapped,  # The last member of a oneof counts.
        wrapped + Event(graph_def=b"g").SerializeToString(),
    ]


@pytest.mark.parametrize("count", [1, 40])
def test_unusual_messages(tmp_path: Path, count: int) -> None:
    for number, record in enumerate(unusual_events()):
        path = tmp_path / f"{number}.tfevents"
        path.write_bytes(frames([record] * count))
        wanted = one_by_one(list(tfbundle.read_events(path)))
        run = tfbundle.open_events(path).runs["."]
        assert set(run.scalars) == set(wanted)
        for tag, points in wanted.items():
            assert run.scalars[tag].steps.tolist() == [point[0] for point in points]
            assert run.scalars[tag].values.tolist() == [point[2].item() for point in points]


PLUGINS = ["scalars", "histograms", "images", "audio", "text", "pr_curves", "custom_scalars", "graph_run_metadata"]
TENSORS = {
    "of nothing": TensorProto(),
    "number": TensorProto(dtype=1, float_val=[1]),
    "complex": TensorProto(dtype=8, scomplex_val=[1, 2]),
    "string": TensorProto(dtype=7, string_val=[b"\xff"]),
    "strings": TensorProto(dtype=7, string_val=[b"9", b"x"], tensor_shape={"dim": [{"size": 2}]}),
    "no strings": TensorProto(dtype=7, tensor_shape={"dim": [{"size": 0}]}),
    "rows of strings": TensorProto(dtype=7, string_val=[b"a"] * 6, tensor_shape={"dim": [{"size": 2}, {"size": 3}]}),
    "rows of complex": TensorProto(dtype=8, tensor_shape={"dim": [{"size": 2}, {"size": 3}]}),
    "no rows": TensorProto(dtype=1, tensor_shape={"dim": [{"size": 0}, {"size": 3}]}),
    "six rows": TensorProto(dtype=1, float_val=[1], tensor_shape={"dim": [{"size": 6}, {"size": 3}]}),
    "resource": TensorProto(dtype=20),
    "of an unknown type": TensorProto(dtype=99),
    "larger than it can be": TensorProto(dtype=1, tensor_content=b"1234", tensor_shape={"dim": [{"size": 1 << 40}]}),
}


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("name", TENSORS)
def test_a_plugin_may_hold_any_tensor(tmp_path: Path, plugin: str, name: str) -> None:
    """A value comes out that its plugin has, or an error that names the tag."""
    value = Summary.Value(tag="t", tensor=TENSORS[name], metadata={"plugin_data": {"plugin_name": plugin}})
    if plugin == "custom_scalars":
        value.tag = "custom_scalars__config__"
    run = tfbundle.open_events(write(tmp_path / "a.tfevents", [Event(summary=Summary(value=[value]))])).runs["."]
    kind = plugin if plugin in KINDS else "tensors"
    series: Any = getattr(run, kind)[value.tag]
    assert len(series) == 1
    reads = [lambda: series.values if kind == "scalars" else series[0]]
    reads += [lambda: run.custom_scalars] * (plugin == "custom_scalars")
    reads += [lambda: run.run_metadata] * (plugin == "graph_run_metadata")
    for read in reads:
        try:
            found = read()
        except tfbundle.TfBundleError as error:
            caught = error
        else:
            assert found is not None
            continue
        assert caught.tensor == value.tag


def test_hashes_that_collide_are_distinguished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfbundle.events.stacks._FACTOR", np.uint64(0))
    events = [scalar(f"tag{i % 7}", i, float(i)) for i in range(300)]
    run = tfbundle.open_events(write(tmp_path / "a.tfevents", events)).runs["."]
    for i in range(7):
        assert run.scalars[f"tag{i}"].values.tolist() == list(range(i, 300, 7))


def test_many_tags_of_one_length(tmp_path: Path) -> None:
    events = [scalar(f"tag{i % 1000:04}", i, float(i)) for i in range(20_000)]
    run = tfbundle.open_events(write(tmp_path / "a.tfevents", events)).runs["."]
    assert len(run.scalars) == 1000
    assert list(run.scalars)[:3] == ["tag0000", "tag0001", "tag0002"]
    for i in (0, 1, 500, 999):
        assert run.scalars[f"tag{i:04}"].values.tolist() == list(range(i, 20_000, 1000))


SMALL = [
    version(),
    scalar("loss", 1, 0.5),
    Event(
        wall_time=3,
        step=2,
        summary=Summary(
            value=[
                Summary.Value(
                    tag="t",
                    tensor=TensorProto(dtype=9, int64_val=[7]),
                    metadata={"plugin_data": {"plugin_name": "scalars"}},
                )
            ]
        ),
    ),
    *(scalar("loss", step, step / 7) for step in range(2, 40)),
]
STARTS = np.cumsum([0] + [len(event.SerializeToString()) + 16 for event in SMALL]).tolist()
# The bytes of the records that differ, and of some in the midst and at the end of those that are alike.
DIFFERENT = [place for number in (0, 1, 2, 3, 20, 39, 40) for place in range(STARTS[number], STARTS[number + 1])]


def contents(path: Path) -> dict[str, tuple[list[int], list[Any]]]:
    with tfbundle.open_events(path) as log:
        return {t: (s.steps.tolist(), s.values.tolist()) for t, s in log.runs["."].scalars.items()} if log.runs else {}


def test_every_flipped_byte_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfevents", SMALL)
    data = path.read_bytes()
    assert len(data) == STARTS[-1]
    for place in [DIFFERENT[number] for number in places(len(DIFFERENT))]:
        for bit in (0x01, 0x80):
            bad = bytearray(data)
            bad[place] ^= bit
            path.write_bytes(bad)
            with pytest.raises(tfbundle.ChecksumError):
                contents(path)
            if bit != 0x80:
                continue
            # What is whole is all there.
            run = tfbundle.open_events(path, salvage=True).runs["."]
            hit = max(number for number, start in enumerate(STARTS) if start <= place)
            whole = one_by_one(SMALL[:hit] + SMALL[hit + 1 :])
            assert {tag: series.steps.tolist() for tag, series in run.scalars.items()} == {
                tag: [point[0] for point in points] for tag, points in whole.items()
            }
            ((loss,),) = run.losses.values()
            assert (loss.number, loss.offset) == (hit, STARTS[hit])


def test_every_truncation_keeps_what_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfevents", SMALL)
    data = path.read_bytes()
    for size in [DIFFERENT[number] for number in places(len(DIFFERENT))]:
        path.write_bytes(data[:size])
        events = tfbundle.read_events(path)
        wanted = {
            tag: ([p[0] for p in points], [p[2].item() for p in points])
            for tag, points in one_by_one(list(events)).items()
        }
        assert contents(path) == wanted
        assert tfbundle.open_events(path).runs["."].truncations == (
            {str(path): events.truncation} if events.truncation else {}
        )


def test_damage_is_an_error_every_time_and_salvage_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfevents", SMALL)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    log = tfbundle.open_events(path)
    for _ in range(3):
        with pytest.raises(tfbundle.ChecksumError, match=r"record 40 at offset \d+ of .*a.tfevents is damaged"):
            _ = log.runs["."].scalars
    run = tfbundle.open_events(path, salvage=True).runs["."]
    assert run.scalars["loss"].steps.tolist() == [1, *range(2, 39)]
    assert [len(losses) for losses in run.losses.values()] == [1]
    assert run.event_count == 40


def test_runs_of_a_tree(tmp_path: Path) -> None:
    for name in (".", "train", "eval/fold 1", "empty"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    write(tmp_path / "events.out.tfevents.1.host", [version(), scalar("root", 1, 1)])
    write(tmp_path / "train" / "events.out.tfevents.1.host.v2", [version(), scalar("a", 1, 1)])
    write(tmp_path / "train" / "events.out.tfevents.2.host.v2", [version(), scalar("a", 2, 2), scalar("b", 2, 2)])
    write(tmp_path / "train" / "events.out.tfevents.2.host.profile-empty", [version()])
    write(tmp_path / "eval" / "fold 1" / "my.tfevents", [])
    (tmp_path / "empty" / "notes.txt").write_text("none")
    with suppress(OSError):  # Where the system does not allow links, there is one case less.
        (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    log = tfbundle.open_events(tmp_path)
    assert list(log.runs) == [".", "eval/fold 1", "train"]
    assert log.runs["train"].scalars["a"].steps.tolist() == [1, 2]
    assert list(log.runs["train"].scalars) == ["a", "b"]
    assert log.runs["train"].event_count == 6
    assert list(log.runs["eval/fold 1"].scalars) == []
    with pytest.raises(KeyError, match="did you mean 'root'"):
        log.runs["."].scalars["rot"]
    assert list(tfbundle.open_events(tmp_path / "train").runs) == ["."]
    assert dict(tfbundle.open_events(tmp_path / "empty").runs) == {}


def test_folders_of_a_drive_that_numbers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network drives give every folder the number 0."""
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name / "events.out.tfevents.1.host", [version()])
    real = os.stat

    def numberless(path: Any, **settings: Any) -> os.stat_result:
        facts = real(path, **settings)
        return os.stat_result((facts.st_mode, 0, *facts[2:]), {"st_mtime_ns": facts.st_mtime_ns})

    monkeypatch.setattr(os, "stat", numberless)
    assert list(tfbundle.open_events(tmp_path).runs) == ["a", "b/c"]


def test_what_is_not_an_event_file(tmp_path: Path) -> None:
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.open_events(tmp_path / "nothing")
    (tmp_path / "page").write_text("<html><body>")
    with pytest.raises(tfbundle.FormatError, match="an HTML page"):
        tfbundle.open_events(tmp_path / "page")
    (tmp_path / "a.tfrecord").write_bytes(frames([b"\x0a\x02\x0a\x00"]))
    with pytest.raises(tfbundle.FormatError, match="a TFRecord file"):
        tfbundle.open_events(tmp_path / "a.tfrecord")
    path = tmp_path / "b.tfevents"
    path.write_bytes(frames([b"\xff\xff"]))
    with pytest.raises(tfbundle.FormatError, match="not an Event message"):
        _ = tfbundle.open_events(path).runs["."].scalars
    with pytest.raises(tfbundle.FormatError, match=r"b.tfevents.*offset 12"):
        list(tfbundle.read_events(path))


def test_a_tag_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a.tfevents"
    for count in (1, 50):
        bad = scalar("x", 1, 1).SerializeToString().replace(b"x", b"\xff")
        path.write_bytes(frames([version().SerializeToString(), *[bad] * count]))
        with pytest.raises(tfbundle.FormatError):
            list(tfbundle.read_events(path))
        log = tfbundle.open_events(path)
        assert {tag: series.values.tolist() for tag, series in log.runs["."].scalars.items()} == {"\udcff": [1] * count}
        pytest.importorskip("pandas", reason="tables are pandas' and Arrow's")
        assert set(log.to_pandas().tag) == set(log.to_arrow()["tag"].to_pylist()) == {"\\udcff"}


def test_a_compressed_file_is_unpacked_once_for_all_small_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def values(step: int) -> list[bytes]:
        tensors = {f"t{n}": TensorProto(dtype=1, tensor_shape={"dim": [{"size": 1}]}, float_val=[n]) for n in range(50)}
        return [
            Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor)])).SerializeToString()
            for tag, tensor in tensors.items()
        ]

    path = tmp_path / "a.tfevents"
    path.write_bytes(gzip.compress(frames([*values(1), *[b""] * 1000, *values(2)])))
    run = tfbundle.open_events(path).runs["."]
    run.load()
    reads: list[int] = []
    read_at = Unpacked.read_at
    monkeypatch.setattr(Unpacked, "read_at", lambda self, *args: (reads.append(args[0]), read_at(self, *args))[1])
    assert {tag: [float(value[0]) for value in series] for tag, series in run.tensors.items()} == {
        f"t{n}": [n, n] for n in range(50)
    }
    assert len(reads) == 100
    assert reads == sorted(reads)


@pytest.mark.parametrize("count", [15, 17])
def test_unusual_events_of_all_files_share_a_budget(tmp_path: Path, count: int) -> None:
    # Two steps, which is valid and which no program writes.
    metadata = SummaryMetadata(summary_description="x" * ((1 << 20) - 1000))
    data = Event(step=1, summary=Summary(value=[Summary.Value(tag="t", simple_value=1, metadata=metadata)]))
    unusual = b"\x10\x05" + data.SerializeToString()
    for number in range(count):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "a.tfevents").write_bytes(frames([unusual]))
    with tfbundle.open_events(tmp_path) as log:
        if count == 15:
            log.load()
            assert [run.scalars["t"].values.tolist() for run in log.runs.values()] == [[1]] * count
        else:
            with pytest.raises(tfbundle.UnsupportedError, match="read_events"):
                log.load()


@pytest.mark.parametrize("count", [100_000, 100_001])
@pytest.mark.effort
def test_values_of_one_record_are_limited(tmp_path: Path, count: int) -> None:
    value = Event(summary=Summary(value=[Summary.Value(tag="t")])).SerializeToString()[2:]
    size = len(value) * count
    payload = b"\x2a" + encode_varint(size) + value * count
    (tmp_path / "a.tfevents").write_bytes(frames([payload, SMALL[0].SerializeToString()]))
    run = tfbundle.open_events(tmp_path).runs["."]
    if count == 100_000:
        assert run.event_count == 2
    else:
        with pytest.raises(tfbundle.UnsupportedError, match="more than 100000 values"):
            run.load()


@pytest.mark.parametrize("count", [50_000, 50_001])
def test_values_without_content_in_all_files_share_a_budget(tmp_path: Path, count: int) -> None:
    value = Event(summary=Summary(value=[Summary.Value(tag="t")])).SerializeToString()[2:]
    for number, times in enumerate((50_000, count)):
        payload = b"\x2a" + encode_varint(len(value) * times) + value * times
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "a.tfevents").write_bytes(
            frames([payload, scalar("loss", 5, 0.5).SerializeToString()])
        )
    with tfbundle.open_events(tmp_path) as log:
        if count == 50_000:
            log.load()
            assert [len(run.scalars["loss"]) for run in log.runs.values()] == [1, 1]
        else:
            with pytest.raises(tfbundle.UnsupportedError, match="more than 100000 values without content"):
                log.load()


@pytest.mark.parametrize("more", [0, 1])
def test_compressed_records_in_all_files_share_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """Those beyond one for each compressed byte count, in all runs of a log and of an overview."""
    data = gzip.compress(frames([scalar("loss", 5, 0.5).SerializeToString()] * 900))
    for number in range(2):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "a.tfevents").write_bytes(data)
    monkeypatch.setattr("tfbundle.events.unusual.MOST_INFLATED_RECORDS", 2 * (900 - len(data)) - more)
    problems = {Path(item.path).name: item.problem or "" for item in overview(tmp_path).items}
    with tfbundle.open_events(tmp_path) as log:
        assert log.runs["run0"].event_count == 900
        if more:
            with pytest.raises(tfbundle.UnsupportedError, match="far more records"):
                log.load()
            assert "far more records" in problems["run1"]
        else:
            log.load()
            assert problems == {"run0": "", "run1": ""}


def test_a_tag_whose_length_is_written_in_two_bytes_is_not_an_empty_value(tmp_path: Path) -> None:
    """The first of the two is what it would be if the tag were all of the value."""
    tensor = b"\x22\x7b" + bytes(123)
    value = b"\x0a\x81\x00t" + b"\x42\x7d" + tensor
    assert value[1] == len(value) - 2
    summary = b"\x0a" + encode_varint(len(value)) + value
    (tmp_path / "a.tfevents").write_bytes(frames([b"\x2a" + encode_varint(len(summary)) + summary]))
    assert list(tfbundle.open_events(tmp_path).runs["."].tensors) == ["t"]


@pytest.mark.parametrize("count", [10_000, 10_001])
@pytest.mark.effort
def test_unusual_events_are_limited_in_number(tmp_path: Path, count: int) -> None:
    unusual = b"\x10\x05" + scalar("loss", 5, 0.5).SerializeToString() + b"\x10\x07"
    (tmp_path / "a.tfevents").write_bytes(frames([unusual] * count))
    run = tfbundle.open_events(tmp_path).runs["."]
    if count == 10_000:
        assert run.scalars["loss"].steps.tolist() == [7] * count
    else:
        with pytest.raises(tfbundle.UnsupportedError, match="at most 10000 events"):
            run.load()


@pytest.mark.parametrize("count", [5000, 5001])
def test_records_that_are_not_events_are_skipped_up_to_a_number(tmp_path: Path, count: int) -> None:
    for number, times in enumerate((5000, count)):
        (tmp_path / f"run{number}").mkdir()
        records = [*[b"\xff\xff"] * times, scalar("loss", 5, 0.5).SerializeToString()]
        (tmp_path / f"run{number}" / "a.tfevents").write_bytes(frames(records))
    with tfbundle.open_events(tmp_path, salvage=True) as log:
        if count == 5000:
            assert [run.scalars["loss"].steps.tolist() for run in log.runs.values()] == [[5], [5]]
        else:
            with pytest.raises(tfbundle.UnsupportedError, match="more than 10000 records that are not events"):
                log.load()


def test_arrays_outlive_close_and_cannot_be_written(tmp_path: Path) -> None:
    image = Summary.Image(width=1, height=2, encoded_image_string=b"png")
    events = [*SMALL, Event(step=1, summary=Summary(value=[Summary.Value(tag="i", image=image)]))]
    with tfbundle.open_events(write(tmp_path / "a.tfevents", events)) as log:
        run = log.runs["."]
        series = run.scalars["loss"]
        images = run.images["i"]
        assert images[0].encoded == (b"png",)
    assert series.values[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        series.values[0] = 1
    with pytest.raises(ValueError, match="closed"):
        images[0]


def test_a_file_that_was_overwritten_is_not_taken_for_the_one_that_was_read(tmp_path: Path) -> None:
    def events(data: bytes) -> list[Event]:
        image = Summary.Image(width=1, height=2, encoded_image_string=data)
        return [version(), Event(step=1, summary=Summary(value=[Summary.Value(tag="i", image=image)]))]

    path = write(tmp_path / "a.tfevents", events(b"old"))
    log = tfbundle.open_events(path)
    images = log.runs["."].images["i"]
    write(path, events(b"new"))
    with pytest.raises(tfbundle.FormatError, match="overwritten"):
        images[0]


# Following a file that is being written.


def appended(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def test_refresh_gives_the_same_as_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "a.tfevents"
    data = frames(event.SerializeToString() for event in SMALL)
    path.write_bytes(b"")
    log = tfbundle.open_events(path)
    draw = random.Random(3)
    done = 0
    while done < len(data):
        size = draw.randrange(1, 90)
        appended(path, data[done : done + size])
        done += size
        assert log.refresh() in (True, False)
        assert {t: (s.steps.tolist(), s.values.tolist()) for t, s in log.runs["."].scalars.items()} == contents(path)
    assert log.runs["."].event_count == len(SMALL)
    assert log.refresh() is False


def test_refresh_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tfevents", SMALL * 500)
    log = tfbundle.open_events(tmp_path)
    assert len(log.runs["."].scalars["loss"]) == 39 * 500
    from tfbundle.storage.local import LocalSource

    read = []
    original = LocalSource.read_at
    monkeypatch.setattr(
        LocalSource, "read_at", lambda self, offset, size: (read.append(size), original(self, offset, size))[1]
    )
    appended(path, frames([scalar("loss", 99, 1.0).SerializeToString()]))
    assert log.refresh() is True
    assert log.runs["."].scalars["loss"].steps[-1] == 99
    # What is new, and a few blocks by which another file would be noticed.
    assert sum(read) < 20_000 < path.stat().st_size / 10


def test_refresh_survives_rotation_new_files_and_new_runs(tmp_path: Path) -> None:
    first = write(tmp_path / "events.out.tfevents.1", [version(), scalar("a", 1, 1), scalar("a", 2, 2)])
    log = tfbundle.open_events(tmp_path)
    before = log.runs["."].scalars["a"]
    assert before.steps.tolist() == [1, 2]
    write(tmp_path / "events.out.tfevents.2", [version(), scalar("a", 3, 3)])
    assert log.refresh() is True
    assert log.runs["."].scalars["a"].steps.tolist() == [1, 2, 3]
    # The file is replaced by another one of the same name, then cut short in place, then gone.
    write(tmp_path / "new", [version(), scalar("b", 7, 7), scalar("b", 8, 8), scalar("b", 9, 9)]).replace(first)
    assert log.refresh() is True
    assert {tag: series.steps.tolist() for tag, series in log.runs["."].scalars.items()} == {"b": [7, 8, 9], "a": [3]}
    write(first, [version(), scalar("c", 1, 1)])
    assert log.refresh() is True
    assert set(log.runs["."].scalars) == {"a", "c"}
    first.unlink()
    (tmp_path / "eval").mkdir()
    write(tmp_path / "eval" / "x.tfevents", [scalar("d", 1, 1)])
    assert log.refresh() is True
    assert {name: set(run.scalars) for name, run in log.runs.items()} == {".": {"a"}, "eval": {"d"}}
    assert before.steps.tolist() == [1, 2]
