"""How users work with logs, runs and series: look, index, iterate, pickle, complete; also of compressed files."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import struct
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snappy

import tfbundle
from tests.support.records import frame, frames
from tests.support.sampling import IS_EXHAUSTIVE
from tfbundle.events.plugins import KINDS
from tfbundle.proto import Event, Summary
from tfbundle.storage.local import LocalSource


def events(count: int = 40, size: int = 300) -> list[Event]:
    """Scalars, images of ``size`` bytes and more, and histograms in turn, with a graph."""
    found = [Event(wall_time=1, file_version="brain.Event:2"), Event(graph_def=b"\x0a\x03\x0a\x01x")]
    for step in range(count):
        event = Event(wall_time=step, step=step)
        event.summary.value.add(tag="loss", simple_value=step / 2)
        event.summary.value.add(tag="image").image.encoded_image_string = b"%d" % step * (size + step)
        histo = event.summary.value.add(tag="weights").histo
        histo.min, histo.max = 0, step + 1
        histo.bucket_limit.append(step + 1)
        histo.bucket.append(step + 1)
        found.append(event)
    return found


def packed(count: int = 40) -> bytes:
    return frames(event.SerializeToString() for event in events(count))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name in ("train", "eval"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.out.tfevents.1").write_bytes(packed())
    return tmp_path


def snap(data: bytes) -> bytes:
    blocks = (snappy.compress(data[i : i + 5000]) for i in range(0, len(data), 5000))
    return b"".join(struct.pack(">I", len(block)) + block for block in blocks)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"GZIP": gzip.compress, "ZLIB": zlib.compress, "SNAPPY": snap}


@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_files_say_the_same(tmp_path: Path, compression: str) -> None:
    plain, path = tmp_path / "plain.tfevents", tmp_path / "packed.tfevents"
    plain.write_bytes(packed())
    path.write_bytes(COMPRESS[compression](packed()))
    wanted, found = (tfbundle.open_events(one).runs["."] for one in (plain, path))
    assert found.scalars["loss"].values.tolist() == wanted.scalars["loss"].values.tolist()
    assert list(found.images["image"]) == list(wanted.images["image"])
    for place in (30, 2, 39, 0):
        assert found.images["image"][place] == wanted.images["image"][place]
        assert found.histograms["weights"][place].counts.tolist() == [place + 1]
    assert found.graph.proto == wanted.graph.proto
    assert [event.step for event in found.events("loss")] == list(range(40))


def test_a_compressed_file_that_grows_or_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tfevents"
    path.write_bytes(gzip.compress(packed(10)))
    log = tfbundle.open_events(path)
    images = log.runs["."].images["image"]
    assert len(images) == 10
    assert log.refresh() is False
    path.write_bytes(gzip.compress(packed(12)))
    assert log.refresh() is True
    assert log.runs["."].images["image"][11].encoded == (b"11" * 311,)
    data = gzip.compress(packed(12))
    path.write_bytes(data[: len(data) // 2])
    assert log.refresh() is True
    run = log.runs["."]
    assert 0 < len(run.scalars["loss"]) < 12
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(tfbundle.FormatError):
        run.images["image"][0]


@pytest.mark.effort
def test_a_compressed_bomb_takes_time_and_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.tfevents"
    event = Event(step=1)
    event.summary.value.add(tag="image").image.encoded_image_string = bytes(1 << 20)
    with gzip.open(path, "wb") as file:
        for _ in range(40):
            file.write(frames([event.SerializeToString()]))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        images = tfbundle.open_events(path).runs["."].images["image"]
        assert len(images) == 40
        assert sum(len(image.encoded[0]) for image in images) == 40 << 20
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_elements_in_order_unpack_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tfevents"
    path.write_bytes(gzip.compress(packed(200), 0))
    images = tfbundle.open_events(path).runs["."].images["image"]
    read: list[int] = []
    original = LocalSource.read_at
    monkeypatch.setattr(
        LocalSource, "read_at", lambda self, offset, size: (read.append(size), original(self, offset, size))[1]
    )
    assert len(list(images)) == 200
    assert sum(read) < 2 * path.stat().st_size
    read.clear()
    assert images[0].encoded == (b"0" * 300,)
    assert sum(read) < 1 << 20


def test_equal_events_by_the_million_are_refused(tmp_path: Path) -> None:
    """They take a fifth of a byte each, and their points a hundred in memory."""
    event = Event(wall_time=1, step=1)
    event.summary.value.add(tag="loss", simple_value=0.5)
    path = tmp_path / "events.out.tfevents.1.packed"
    path.write_bytes(gzip.compress(frame(event.SerializeToString()) * 400_000))
    assert path.stat().st_size < 200_000
    with (
        tfbundle.open_events(path) as log,
        pytest.raises(tfbundle.UnsupportedError, match="compressed bytes") as caught,
    ):
        log.load()
    assert caught.value.path == str(path)


def test_what_they_say_of_themselves(logs: Path) -> None:
    log = tfbundle.open_events(logs)
    assert repr(log) == f"<EventLog {str(logs)!r}, 2 runs>"
    assert repr(log.runs) == "<2 runs: eval, train>"
    run = log.runs["train"]
    assert repr(run) == "<Run 'train', 1 file>"
    assert repr(run.scalars) == "<1 tag: loss>"
    assert repr(run.scalars["loss"]) == "<ScalarSeries 'loss', 40 points, steps 0 to 39>"
    (logs / "one").mkdir()
    event = Event(step=5, summary=Summary(value=[Summary.Value(tag="loss", simple_value=1)]))
    (logs / "one" / "events.out.tfevents.1").write_bytes(frame(event.SerializeToString()))
    one = tfbundle.open_events(logs).runs["one"].scalars["loss"]
    assert repr(one) == "<ScalarSeries 'loss', 1 point, step 5>"
    assert "5 to 5" not in one._repr_html_()
    assert repr(run.images["image"]) == "<ElementSeries 'image', 40 points, steps 0 to 39>"


def test_names_are_completed_and_suggested(logs: Path) -> None:
    log = tfbundle.open_events(logs)
    assert log.runs._ipython_key_completions_() == ["eval", "train"]
    assert log.runs["train"].scalars._ipython_key_completions_() == ["loss"]
    assert "loss" in log.runs["train"].scalars
    assert "lost" not in log.runs["train"].scalars
    assert 3 not in log.runs
    assert log.runs.get("no") is None
    with pytest.raises(KeyError, match="no run 'trian'; did you mean 'train'\\?"):
        log.runs["trian"]
    with pytest.raises(KeyError, match="no tag 'lozs'; did you mean 'loss'\\?"):
        log.runs["train"].scalars["lozs"]
    with pytest.raises(KeyError, match="there are none"):
        log.runs["train"].audio["x"]


def test_scalars_are_as_good_as_their_values(logs: Path) -> None:
    loss = tfbundle.open_events(logs).runs["train"].scalars["loss"]
    assert len(loss) == 40
    assert loss[3] == 1.5
    assert loss[-2:].tolist() == [19.0, 19.5]
    assert [float(value) for value in loss][:3] == [0.0, 0.5, 1.0]
    assert np.asarray(loss) is loss.values
    assert np.asarray(loss, np.float64).dtype == np.float64
    assert np.array(loss).flags.writeable
    assert np.mean(loss) == loss.values.mean()
    assert (loss[loss.steps > 37] == [19.0, 19.5]).all()
    with pytest.raises(IndexError):
        loss[40]


def test_elements_are_a_sequence(logs: Path) -> None:
    images = tfbundle.open_events(logs).runs["train"].images["image"]
    assert images[-1] == images[39]
    assert [one.encoded[0][:1] for one in images[1:9:3]] == [b"1", b"4", b"7"]
    assert next(iter(reversed(images))) == images[39]
    assert images[5] in images
    with pytest.raises(IndexError):
        images[40]
    with pytest.raises(TypeError):
        images["0"]  # type: ignore[call-overload]


@pytest.mark.parametrize("duplicate", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])
def test_all_of_it_pickles(logs: Path, duplicate: Callable[[Any], Any]) -> None:
    log = tfbundle.open_events(logs, purge=True)
    copied = duplicate(log)
    assert list(copied.runs) == ["eval", "train"]
    run = log.runs["train"]
    for one in (copied.runs["train"], duplicate(run), duplicate(log.runs)["train"]):
        assert one.scalars["loss"].values.tolist() == run.scalars["loss"].values.tolist()
    assert list(duplicate(run.images)["image"]) == list(run.images["image"])
    loss, image = duplicate(run.scalars["loss"]), duplicate(run.images["image"])
    assert loss.values.tolist() == run.scalars["loss"].values.tolist()
    assert loss.steps.tolist() == image.steps.tolist() == list(range(40))
    assert image[7] == run.images["image"][7]
    assert duplicate(image[7]) == image[7]


def test_pickled_numbers_need_no_file_and_the_rest_notices_another_one(logs: Path) -> None:
    run = tfbundle.open_events(logs).runs["train"]
    numbers, elements = (pickle.dumps(one) for one in (run.scalars["loss"], run.images["image"]))
    Path(run.paths[0]).write_bytes(packed(7))
    assert len(pickle.loads(numbers).values) == 40
    with pytest.raises(tfbundle.FormatError, match="'image' of run 'train' no longer has the points"):
        pickle.loads(elements)


@pytest.mark.effort
def test_a_tree_of_a_thousand_runs(tmp_path: Path) -> None:
    data = packed(2)
    for number in range(1000):
        folder = tmp_path / f"sweep{number % 10}" / f"run{number:04}"
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1").write_bytes(data)
    log = tfbundle.open_events(tmp_path)
    assert len(log.runs) == 1000
    assert list(log.runs)[:2] == ["sweep0/run0000", "sweep0/run0010"]
    log.load()
    # No file stays open, however many there are.
    assert all(run.scalars["loss"].values.tolist() == [0.0, 0.5] for run in log.runs.values())
    (tmp_path / "sweep3" / "run0003" / "events.out.tfevents.2").write_bytes(packed(1))
    assert log.refresh() is True
    assert len(log.runs["sweep3/run0003"].scalars["loss"]) == 3
    assert sum(len(getattr(run, kind)) for run in log.runs.values() for kind in KINDS) == 3000


def test_reading_elements_of_many_runs_keeps_few_files_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="the limit of open files is one of POSIX")
    for number in range(300):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "events.out.tfevents.1").write_bytes(packed(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Whatever this process has open from other tests does not count.
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 100, hard))
    try:
        log = tfbundle.open_events(tmp_path)
        assert [run.images["image"][0].width for run in log.runs.values()] == [0] * 300
        assert all(run.graph is not None for run in log.runs.values())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("step", [1, 17, 60, 300] if IS_EXHAUSTIVE else [17, 60, 300])
@pytest.mark.parametrize("damage", ["header", "payload", "missing bytes"])
def test_a_damaged_log_that_grows_says_what_a_fresh_one_says(tmp_path: Path, damage: str, step: int) -> None:
    records = [frame(event.SerializeToString()) for event in events(4, 30)]
    start = sum(map(len, records[:3]))
    data = bytearray(b"".join(records))
    if damage == "missing bytes":
        del data[start + 15 : start + 60]
    else:
        data[start + (3 if damage == "header" else 20)] ^= 1
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"")

    def state(log: tfbundle.EventLog) -> Any:
        run = log.runs["."]
        steps = {tag: series.steps.tolist() for tag, series in run.scalars.items()}
        losses = [(loss.offset, loss.size, loss.number) for loss in run.losses.get(str(path), ())]
        return run.event_count, steps, losses, run.truncations

    with tfbundle.open_events(path, salvage=True) as log:
        before = state(log)
        for pos in range(0, len(data), step):
            with open(path, "ab") as file:
                file.write(data[pos : pos + step])
            changed = log.refresh()
            assert changed == (state(log) != before)
            assert not log.refresh()
            before = state(log)
            assert before == state(tfbundle.open_events(path, salvage=True))
        assert next(loss[0] for loss in before[2]) == start


def test_a_log_that_is_refreshed_while_it_is_written(tmp_path: Path) -> None:
    """Half-written records, new files and images as they come: what is there is right, and never less than before."""

    def write() -> None:
        for number in range(3):
            with open(tmp_path / f"events.out.tfevents.{number}", "wb", buffering=0) as file:
                for step in range(number * 100, number * 100 + 100):
                    event = Event(step=step)
                    event.summary.value.add(tag="loss", simple_value=step)
                    event.summary.value.add(tag="image").image.encoded_image_string = b"%d" % step * 500
                    record = frames([event.SerializeToString()])
                    file.write(record[: len(record) // 2])
                    time.sleep(0.001)
                    file.write(record[len(record) // 2 :])

    writer = threading.Thread(target=write)
    writer.start()
    log = tfbundle.open_events(tmp_path)
    lengths = [0]
    while writer.is_alive() or log.refresh():
        log.refresh()
        loss = log.runs["."].scalars.get("loss") if "." in log.runs else None
        if loss is not None and len(loss):
            assert loss.values.tolist() == list(range(len(loss)))
            assert log.runs["."].images["image"][-1].encoded == (b"%d" % (len(loss) - 1) * 500,)
            assert len(loss) >= lengths[-1]
            lengths.append(len(loss))
    writer.join()
    assert lengths[-1] == 300
    assert len(set(lengths)) > 3
    assert log.runs["."].truncations == {}


@pytest.mark.skipif(os.name != "posix", reason="paths are shorter on this system")
def test_runs_lie_deeper_than_calls_can_nest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    Path("events.out.tfevents.1.x").write_bytes(frame(Event(wall_time=1.0).SerializeToString()))
    found = [name.count("/") for name in tfbundle.open_events(tmp_path).runs]
    os.remove("events.out.tfevents.1.x")
    for _ in range(1200):  # What clears up after pytest would nest too many calls.
        os.chdir("..")
        os.rmdir("d")
    assert found == [1199]
