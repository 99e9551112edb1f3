"""``EventAccumulator`` beside TensorBoard's, on every event file of the fixtures."""

from __future__ import annotations

import dataclasses
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle import train
from tfbundle.errors import ChecksumError, FormatError, MissingFileError
from tfbundle.proto import Event
from tfbundle.train import event_accumulator as ours_module

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


def event_file(*events: Event) -> bytes:
    return frames(event.SerializeToString() for event in events)


def scalar(step: int, value: float, tag: str = "loss") -> Event:
    event = Event(wall_time=float(step), step=step)
    event.summary.value.add(tag=tag, simple_value=value)
    return event


def test_files_that_grow(board: Any, tmp_path: Path) -> None:
    """What is appended, and files that are new, come with the next ``Reload``; earlier files are left alone."""
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
    with pytest.raises(FormatError, match="no GraphDef"):
        accumulator.Graph()
