"""``EventAccumulator`` beside TensorBoard's, on every event file of the fixtures."""

from __future__ import annotations

import dataclasses
import gzip
import importlib
import math
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle import train
from tfbundle.errors import ChecksumError, FormatError, MissingFileError, UnsupportedError
from tfbundle.limits import MOST_EMPTY_VALUES
from tfbundle.proto import Event, SessionLog, Summary
from tfbundle.train import event_accumulator as ours_module
from tfbundle.train import stand_in
from tfbundle.train.reservoir import Purge, draw_sample

FOLDERS = sorted({path.parent for path in FIXTURES.glob("events-*/**/*tfevents*")})
FOLDERS = [folder for folder in FOLDERS if "compressed" not in str(folder)]
KINDS = ("Scalars", "Histograms", "CompressedHistograms", "Images", "Audio", "Tensors")
TAGS = ("scalars", "histograms", "distributions", "images", "audio", "tensors")


@pytest.fixture(scope="module")
def board() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def plain(value: Any) -> Any:
    """Return what can be compared: NaN as a word, messages as bytes."""
    if hasattr(value, "SerializeToString"):
        return value.SerializeToString(deterministic=True)
    if dataclasses.is_dataclass(value):
        return [plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return "nan" if math.isnan(value) else float(value)
    return value


def facts(accumulator: Any) -> dict[str, Any]:
    tags = accumulator.Tags()
    found = {"tags": tags, "metadata": {key: plain(value) for key, value in accumulator.summary_metadata.items()}}
    for kind, name in zip(KINDS, TAGS, strict=True):
        found[kind] = {tag: plain(getattr(accumulator, kind)(tag)) for tag in tags[name]}
    found["graph"] = plain(accumulator.Graph()) if tags["graph"] else None
    found["meta_graph"] = plain(accumulator.MetaGraph()) if tags["meta_graph"] else None
    found["run_metadata"] = {tag: plain(accumulator.RunMetadata(tag)) for tag in tags["run_metadata"]}
    found["version"] = accumulator.file_version
    found["writer"] = accumulator.GetSourceWriter()
    found["steps"] = accumulator.most_recent_step, accumulator.most_recent_wall_time
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(FIXTURES).as_posix())
@pytest.mark.parametrize("purge", [True, False])
@pytest.mark.parametrize("guidance", [None, "everything", {"scalars": 3, "histograms": 2, "tensors": 1}], ids=str)
def test_against_tensorboard(board: Any, folder: Path, purge: bool, guidance: Any) -> None:
    made = []
    for module in (ours_module, board):
        sizes = module.STORE_EVERYTHING_SIZE_GUIDANCE if guidance == "everything" else guidance
        accumulator = module.EventAccumulator(str(folder), size_guidance=sizes, purge_orphaned_data=purge)
        assert accumulator.Reload() is accumulator
        made.append(facts(accumulator))
    for key, value in made[0].items():
        assert value == made[1][key], key


def test_names(board: Any) -> None:
    for name in dir(ours_module):
        if name.isupper() and not name.startswith("_"):
            assert getattr(ours_module, name) == getattr(board, name), name
    assert train.EventAccumulator is ours_module.EventAccumulator
    for name, target in stand_in._ACCUMULATOR_NAMES.items():
        module, attribute = target.split(":")
        assert name == attribute
        found = getattr(importlib.import_module(module), name)
        if dataclasses.is_dataclass(found):
            theirs = [field.name for field in dataclasses.fields(getattr(board, name))]
            assert [field.name for field in dataclasses.fields(found)] == theirs


def event_file(*events: Event) -> bytes:
    return frames(event.SerializeToString() for event in events)


def scalar(step: int, value: float, tag: str = "loss") -> Event:
    event = Event(wall_time=float(step), step=step)
    event.summary.value.add(tag=tag, simple_value=value)
    return event


def test_files_that_grow(board: Any, tmp_path: Path) -> None:
    """What is appended, and files that are new, come with the next ``Reload``; here alone, earlier files do too."""
    pair = [module.EventAccumulator(str(tmp_path)) for module in (ours_module, board)]

    def check(count: int) -> None:
        found = [plain(accumulator.Reload().Scalars("loss")) for accumulator in pair]
        assert found[0] == found[1]
        assert len(found[0]) == count

    first, second = tmp_path / "a.tfevents.1", tmp_path / "a.tfevents.2"
    whole = event_file(*(scalar(step, step / 2) for step in range(6)))
    first.write_bytes(whole[:-5])
    check(5)
    first.write_bytes(whole)
    check(6)
    second.write_bytes(event_file(scalar(6, 3.0)))
    check(7)
    with second.open("ab") as file:
        file.write(event_file(scalar(7, 3.5)))
    check(8)
    check(8)
    with first.open("ab") as file:
        file.write(event_file(scalar(5, 9.0)))
    assert len(pair[0].Reload().Scalars("loss")) == 9


def test_samples(board: Any, tmp_path: Path) -> None:
    events = [scalar(step, step, tag) for step in range(300) for tag in ("a", "b")]
    (tmp_path / "tfevents").write_bytes(event_file(*events))
    for size in (1, 2, 10, 299, 300):
        found = []
        for module in (ours_module, board):
            accumulator = module.EventAccumulator(str(tmp_path / "tfevents"), size_guidance={"scalars": size}).Reload()
            found.append(plain([accumulator.Scalars("a"), accumulator.Scalars("b")]))
        assert found[0] == found[1]
        assert len(found[0][0]) == size


def test_steps_that_go_back(board: Any, tmp_path: Path) -> None:
    """Without a version of the file, tags whose steps go back are purged, from what a sample kept of them."""
    steps = [*range(40), *range(20, 50), *range(5, 60)]
    events = [scalar(step, number, "ab"[number % 3 == 0]) for number, step in enumerate(steps)]
    (tmp_path / "tfevents").write_bytes(event_file(*events))
    for size in (0, 7):
        found = []
        for module in (ours_module, board):
            accumulator = module.EventAccumulator(str(tmp_path), size_guidance={"scalars": size}).Reload()
            found.append(plain([accumulator.Scalars("a"), accumulator.Scalars("b")]))
        assert found[0] == found[1]


def version(number: float, writer: str = "") -> Event:
    event = Event(wall_time=1.0, file_version=f"brain.Event:{number}")
    if writer:
        event.source_metadata.writer = writer
    return event


def start(step: int) -> Event:
    return Event(wall_time=2.0, step=step, session_log=SessionLog(status=SessionLog.START))


def both(board: Any, path: Path, sizes: dict[str, int] | None = None) -> list[dict[str, Any]]:
    return [facts(module.EventAccumulator(str(path), sizes).Reload()) for module in (ours_module, board)]


@pytest.mark.parametrize("size", [0, 7, 1000])
@pytest.mark.parametrize("head", [[version(2)], [version(1)], [], [version(1), scalar(3, 1.0), version(2)]], ids=len)
def test_restarts(board: Any, tmp_path: Path, head: list[Event], size: int) -> None:
    """Each file states its version; a start drops what comes after its step, of every kind but tensors."""
    events = list(head)
    for first, end in ((0, 40), (20, 50), (50, 60), (10, 11), (5, 30), (-3, 4)):
        events.append(start(first))
        for step in range(first, end):
            event = scalar(step, step * 2.0)
            event.summary.value.add(tag="h").histo.num = 1.0
            event.summary.value.add(tag="loss" if step % 2 else "i").image.width = step + 9
            event.summary.value.add(tag="t").tensor.float_val.append(step)
            events.append(event)
    (tmp_path / "tfevents.1").write_bytes(event_file(*events))
    (tmp_path / "tfevents.2").write_bytes(event_file(*head, scalar(2, 1.0), start(2), start(1), scalar(1, 7.0)))
    found = both(board, tmp_path, dict.fromkeys(ours_module.DEFAULT_SIZE_GUIDANCE, size))
    assert found[0] == found[1]
    assert found[0]["Scalars"]["loss"]


def test_old_files_with_unusual_events(board: Any, tmp_path: Path) -> None:
    """Events without values count as the most recent; a tag twice in an event is purged before either is added."""
    twice = scalar(3, 1.0)
    twice.summary.value.add(tag="loss", simple_value=2.0)
    nameless = scalar(2, 1.0, "other")
    nameless.summary.value.add(simple_value=3.0)
    events = [
        scalar(5, 0.0, "a"),
        scalar(6, 0.5),
        twice,
        twice,
        Event(step=9),
        scalar(8, 1.0),
        Event(step=10),
        nameless,
    ]
    for count in range(1, len(events) + 1):
        (tmp_path / "tfevents").write_bytes(event_file(*events[:count]))
        found = both(board, tmp_path)
        assert found[0] == found[1]


@pytest.mark.parametrize("size", [0, 3])
def test_scalars_as_tensors(board: Any, tmp_path: Path, size: int) -> None:
    """A tensor of one number comes as the message that was written, however it was encoded."""
    events = [version(2)]
    for step in range(20):
        event = Event(wall_time=step + 0.5, step=step)
        for tag in ("a", "b", ""):
            value = event.summary.value.add(tag=tag, node_name="" if tag else "node")
            value.tensor.dtype = 1
            if step % 3 == 0:
                value.tensor.float_val.append(step)
            elif step % 3 == 1:
                value.tensor.tensor_content = np.float32(step).tobytes()
                value.tensor.tensor_shape.SetInParent()
            else:
                value.tensor.tensor_shape.dim.add(size=2)
                value.tensor.float_val.extend([step, step])
        event.summary.value[0].metadata.plugin_data.plugin_name = "scalars"
        events.append(event)
    (tmp_path / "tfevents").write_bytes(event_file(*events))
    found = both(board, tmp_path, {"tensors": size})
    assert found[0] == found[1]
    assert found[0]["tags"]["tensors"] == ["a", "b", "node"]
    assert found[0]["tags"]["scalars"] == []


def test_samples_after_purges_as_tensorboard_draws_them(board: Any) -> None:
    reservoir = pytest.importorskip("tensorboard.backend.event_processing.reservoir")
    generator = np.random.default_rng(7)
    for case in range(300):
        steps = generator.integers(0, 50, generator.integers(1, 80))
        befores = np.sort(generator.integers(0, len(steps) + 1, case % 6))
        purges = [Purge(int(before), int(generator.integers(0, 60))) for before in befores]
        for size in (0, 1, 5, len(steps), len(steps) + 1):
            for keep in (True, False):
                theirs = reservoir.Reservoir(size, always_keep_last=keep)
                left = list(purges)
                for index in range(len(steps) + 1):
                    while left and left[0].before == index:
                        limit = left.pop(0).step
                        theirs.FilterItems(lambda item, steps=steps, limit=limit: steps[item] < limit)
                    if index < len(steps):
                        theirs.AddItem("tag", index)
                assert draw_sample(steps, size, purges, always_keep_last=keep) == theirs.Items("tag")


def test_one_reading_path(tmp_path: Path) -> None:
    """A compressed file gives what the plain one does; the budgets of ``open_events`` hold."""
    events = [version(2, "writer"), *(scalar(step, step / 4) for step in range(30))]
    for step in range(5):
        event = Event(step=step)
        event.summary.value.add(tag="t").tensor.float_val.append(step)
        events.append(event)
    plain_folder, packed_folder, hostile = tmp_path / "plain", tmp_path / "packed", tmp_path / "hostile"
    for folder in (plain_folder, packed_folder, hostile):
        folder.mkdir()
    (plain_folder / "tfevents").write_bytes(event_file(*events))
    (packed_folder / "tfevents").write_bytes(gzip.compress(event_file(*events)))
    found = [facts(train.EventAccumulator(folder).Reload()) for folder in (plain_folder, packed_folder)]
    assert found[0] == found[1]
    assert len(found[0]["Scalars"]["loss"]) == 30
    empty = Event()
    empty.summary.value.extend(Summary.Value() for _ in range(MOST_EMPTY_VALUES))
    (hostile / "tfevents").write_bytes(event_file(empty, Event(summary=Summary(value=[Summary.Value()]))))
    with pytest.raises(UnsupportedError, match="values without content"):
        train.EventAccumulator(hostile).Reload()
    (hostile / "tfevents").write_bytes(event_file(empty))
    assert train.EventAccumulator(hostile).Reload().Tags()["scalars"] == []


@pytest.mark.effort
def test_many_restarts_in_little_time(tmp_path: Path) -> None:
    """Purges do not cost the product of their number and that of the values."""
    for number, make in enumerate((start, lambda step: scalar(step, 0.0))):
        events = [version(2)] if number == 0 else []
        events += [scalar(0, 1.0) for _ in range(5000)]
        for step in range(5000, 0, -1):
            events += [scalar(step + 1, 1.0), make(step)]
        path = tmp_path / f"tfevents.{number}"
        path.write_bytes(event_file(*events))
        began = time.process_time()
        for size in (0, 4000):
            assert train.EventAccumulator(path, {"scalars": size}).Reload().Scalars("loss")[-1].step <= 1
        assert time.process_time() - began < 2


def test_values_of_files_that_are_gone(tmp_path: Path) -> None:
    image = scalar(1, 2.0)
    image.summary.value.add(tag="i").image.width = 3
    (tmp_path / "tfevents").write_bytes(event_file(image))
    accumulator = train.EventAccumulator(tmp_path).Reload()
    (tmp_path / "tfevents").unlink()
    assert accumulator.Scalars("loss")[0].value == 2.0
    assert accumulator.FirstEventTimestamp() == 1.0
    with pytest.raises(MissingFileError):
        accumulator.Images("i")


@pytest.mark.parametrize("points", [(0, 2500, 5000, 7500, 10000), (5000, 10000), (0, 10000)])
def test_compression_points(board: Any, points: Any) -> None:
    folder = FIXTURES / "events-tf-1.15.5" / "every-plugin-1"
    folder = next(path.parent for path in sorted(folder.rglob("*tfevents*")))
    pair = [module.EventAccumulator(str(folder), compression_bps=points).Reload() for module in (ours_module, board)]
    tags = pair[0].Tags()["distributions"]
    assert tags
    for tag in tags:
        assert plain(pair[0].CompressedHistograms(tag)) == plain(pair[1].CompressedHistograms(tag))


def test_first_events(board: Any, tmp_path: Path) -> None:
    event = Event(wall_time=7.5, file_version="brain.Event:2")
    event.source_metadata.writer = "somebody"
    (tmp_path / "tfevents").write_bytes(event_file(event, scalar(1, 2.0)))
    for module in (ours_module, board):
        accumulator = module.EventAccumulator(str(tmp_path))
        assert accumulator.FirstEventTimestamp() == 7.5
        assert accumulator.GetSourceWriter() == "somebody"
        assert len(accumulator.Reload().Scalars("loss")) == 1


def test_what_is_not_there(board: Any, tmp_path: Path) -> None:
    for module in (ours_module, board):
        accumulator = module.EventAccumulator(str(tmp_path)).Reload()
        for kind in (*KINDS, "SummaryMetadata", "PluginTagToContent"):
            with pytest.raises(KeyError):
                getattr(accumulator, kind)("none")
        for ask in (accumulator.Graph, accumulator.MetaGraph, accumulator.FirstEventTimestamp):
            with pytest.raises(ValueError, match=r"[Nn]o "):
                ask()
        with pytest.raises(ValueError, match="no run metadata"):
            accumulator.RunMetadata("none")
        with pytest.raises(ValueError, match="path"):
            module.EventAccumulator("")
    with pytest.raises(MissingFileError):
        train.EventAccumulator(tmp_path / "none").Reload()
    with pytest.raises(ValueError, match="non-negative"):
        train.EventAccumulator(tmp_path, {"scalars": -1})


def test_damage(tmp_path: Path) -> None:
    source = next(iter(sorted((FIXTURES / "events-tf-1.15.5" / "every-plugin-1").rglob("*tfevents*"))))
    shutil.copy(source, tmp_path / "tfevents")
    data = bytearray(source.read_bytes())
    data[20] ^= 1
    (tmp_path / "tfevents").write_bytes(data)
    with pytest.raises(ChecksumError):
        train.EventAccumulator(tmp_path).Reload()
    event = Event()
    value = event.summary.value.add(tag="h")
    value.histo.num = 1
    value.histo.bucket.append(1.0)
    graph = Event(graph_def=b"\xff")
    (tmp_path / "tfevents").write_bytes(event_file(event, graph))
    accumulator = train.EventAccumulator(tmp_path).Reload()
    with pytest.raises(FormatError, match="1 buckets, but only 0 limits"):
        accumulator.CompressedHistograms("h")
    with pytest.raises(FormatError, match="not a GraphDef message"):
        accumulator.Graph()
