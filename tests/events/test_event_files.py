"""Which files are found, what a damaged one does to the others, and what a log says of files that change."""

from __future__ import annotations

import gzip
import os
import threading
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.records import frame, frames
from tests.support.table_writer import encode_varint
from tfbundle.events import files
from tfbundle.events.file import Options
from tfbundle.events.log import EventLog
from tfbundle.proto import Event, Summary


def scalar(step: int, value: float = 0.5, tag: str = "loss") -> bytes:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return Event(wall_time=1.5 + step, step=step, summary=summary).SerializeToString()


def write(path: Path, steps: range, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(frames(scalar(step, **settings) for step in steps))
    return path


def points(log: tfbundle.EventLog, run: str = ".") -> list[tuple[int, float]]:
    series = log.runs[run].scalars["loss"]
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_what_other_programs_put_beside_files_is_not_an_event_file(tmp_path: Path) -> None:
    path = write(tmp_path / "run" / "events.out.tfevents.1.h", range(10))
    for name in ("._NAME", ".NAME.crc", ".NAME.XyZ123", "NAME_.gstmp", ".NAME.icloud", "../__MACOSX/run/._NAME"):
        beside = path.parent / name.replace("NAME", path.name)
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(b"\0\5\x16\7 of another program")
    log = tfbundle.open_events(tmp_path)
    assert list(log.runs) == ["run"]
    assert len(log.runs["run"].scalars["loss"]) == 10


def test_an_event_file_is_found_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train" / "curves.bin", range(3))
    (tmp_path / "train" / "examples.tfrecord").write_bytes(frames([b"\x0a\x02\x0a\x00"] * 3))
    (tmp_path / "train" / "notes.txt").write_text("no records at all, and longer than a header")
    log = tfbundle.open_events(tmp_path)
    assert [Path(path).name for path in log.runs["train"].paths] == ["curves.bin"]
    # Two files come before it in the order of names, and a limit of as many leaves it out.
    write(tmp_path / "train" / "a.tfevents", range(3))
    (tmp_path / "train" / "b.txt").write_text("something else")
    for most, found in ((1, 1), (2, 2)):
        monkeypatch.setattr(files, "_MOST_LOOKED_INTO", most)
        assert len(tfbundle.open_events(tmp_path).runs["train"].paths) == found


def link(target: Path, path: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("the system does not allow links")


def test_a_folder_with_two_names_is_two_runs(tmp_path: Path) -> None:
    write(tmp_path / "run10" / "events.out.tfevents.1", range(3))
    link(tmp_path / "run10", tmp_path / "run2")
    link(tmp_path, tmp_path / "run10" / "loop")
    log = tfbundle.open_events(tmp_path)
    assert list(log.runs) == ["run2", "run10"]
    assert points(log, "run2") == points(log, "run10")


def test_links_that_multiply_names_are_refused(tmp_path: Path) -> None:
    """Each level has two names for the next one, so that the last has 2^30."""
    levels = [tmp_path / f"level{number}" for number in range(30)]
    for folder in levels:
        folder.mkdir()
    for folder, below in pairwise(levels):
        link(below, folder / "a")
        link(below, folder / "b")
    with pytest.raises(tfbundle.UnsupportedError, match="lead to one folder by links"):
        tfbundle.open_events(levels[0])


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are those of POSIX")
def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "good" / "a.tfevents", range(3))
    write(tmp_path / "bad" / "a.tfevents", range(3))
    from tfbundle.storage.folders import LocalListing

    original = LocalListing.__init__

    def refuse(self: LocalListing, folder: str, path: str) -> None:
        if folder.endswith("bad"):
            raise PermissionError(13, "Permission denied", folder)
        original(self, folder, path)

    monkeypatch.setattr(LocalListing, "__init__", refuse)
    log = tfbundle.open_events(tmp_path)
    assert list(log.runs) == ["good"]
    assert list(log.unreadable) == [str(tmp_path / "bad")]


def replace(path: Path, content: bytes, how: str) -> None:
    """Put another file in the place of one, by any of the ways in which programs do."""
    before = path.stat()
    if how == "a new file":
        path.with_name("other").write_bytes(content)
        path.with_name("other").replace(path)
        return
    if how == "a new file of the same inode":
        path.unlink()  # Many file systems give it the same one again.
    with open(path, "r+b" if how.startswith("in place") else "wb") as file:
        file.write(content)
        file.truncate()
    if how == "in place at the same time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert path.stat().st_ino == before.st_ino or how == "a new file of the same inode"


HOW = ["in place", "in place at the same time", "emptied and written", "a new file", "a new file of the same inode"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("count", [0, 1, 50, 100, 300])
@pytest.mark.parametrize("partial", [False, True])
def test_refresh_notices_another_file_in_the_place_of_the_old_one(
    tmp_path: Path, how: str, count: int, partial: bool
) -> None:
    path = write(tmp_path / "events.out.tfevents.1", range(100), value=1.0)
    with EventLog(tmp_path, Options(partial=partial)) as log:
        assert len(points(log)) == 100
        content = frames(scalar(step, 2.0) for step in range(count))
        replace(path, content, how)
        assert log.refresh()
        assert not log.refresh()
        assert list(log.runs["."].scalars) == (["loss"] if count else [])
        if count:
            assert points(log) == points(tfbundle.open_events(tmp_path))
            assert {value for _, value in points(log)} == {2.0}
            # It continues from there.
            path.write_bytes(content + frames([scalar(1000, 3.0)]))
            assert log.refresh()
            assert points(log)[count - 1 :] == [(count - 1, 2.0), (1000, 3.0)]


# What a file shows that grew in place, or kept its size and time, is that its ends are as before.
ONE_POINT = [
    (how, changed, more)
    for how in HOW
    for changed, more in ((0, 10), (999, 10), (500, 0), (500, 10))
    if (changed, more) != (500, 10) or how == "a new file"
    if (changed, more) != (500, 0) or how != "in place at the same time"
]


@pytest.mark.parametrize(("how", "changed", "more"), ONE_POINT)
def test_refresh_notices_a_file_that_differs_in_one_point(tmp_path: Path, how: str, changed: int, more: int) -> None:
    path = write(tmp_path / "events.out.tfevents.1", range(1000), value=1.0)
    assert path.stat().st_size > 20_000
    with tfbundle.open_events(tmp_path) as log:
        assert len(points(log)) == 1000
        replace(path, frames(scalar(step, 2.0 if step == changed else 1.0) for step in range(1000 + more)), how)
        assert log.refresh()
        assert points(log) == [(step, 2.0 if step == changed else 1.0) for step in range(1000 + more)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("count", [50, 100, 300])
@pytest.mark.parametrize("reader", [tfbundle.read_records, tfbundle.read_events])
def test_an_iterator_reads_on_in_no_other_file(tmp_path: Path, how: str, count: int, reader: Any) -> None:
    path = write(tmp_path / "events.out.tfevents.1", range(100), value=1.0)
    iterator = reader(path)
    assert len(list(iterator)) == 100
    replace(path, frames(scalar(step, 2.0) for step in range(count)), how)
    assert list(iterator) == []


def test_threads_that_refresh_and_read_see_one_state_at_a_time(tmp_path: Path) -> None:
    """Each state of the file has points of one value; a reader sees one of the states, whole."""
    path = tmp_path / "events.out.tfevents.1"
    states = [frames(scalar(step, float(number)) for step in range(100 + 10 * number)) for number in range(20)]
    path.write_bytes(states[0])
    problems: list[Any] = []
    done = threading.Event()
    with tfbundle.open_events(tmp_path) as log:
        log.load()

        def watch() -> None:
            while not done.is_set():
                series = log.runs["."].scalars["loss"]
                values = set(series.values.tolist())
                if len(values) != 1 or len(series) != 100 + 10 * int(values.pop()):
                    problems.append(series.values)

        threads = [threading.Thread(target=watch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for state in states[1:]:
            path.with_name("other").write_bytes(state)
            path.with_name("other").replace(path)
            log.refresh()
        done.set()
        for thread in threads:
            thread.join()
        assert problems == []
        assert points(log) == [(step, 19.0) for step in range(290)]


def test_many_threads_may_ask_first(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"events.out.tfevents.{number}", range(number * 1000, number * 1000 + 1000))
    for _ in range(3):
        log = tfbundle.open_events(tmp_path)
        found: list[Any] = []
        barrier = threading.Barrier(16)

        def first(log: tfbundle.EventLog = log, found: list[Any] = found, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            found.append(points(log))

        threads = [threading.Thread(target=first) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [[(step, 0.5) for step in range(5000)]] * 16


def test_without_verification_no_checksum_is_looked_at(tmp_path: Path) -> None:
    whole = frames(scalar(step) for step in range(100))
    size = len(frame(scalar(1)))
    path = tmp_path / "a.tfevents"
    for place in (8, size - 4):  # The checksum of the first length, and that of the first payload.
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(tfbundle.ChecksumError):
            list(tfbundle.read_events(path))
        with pytest.raises(tfbundle.ChecksumError):
            list(tfbundle.read_records(path))
        with pytest.raises(tfbundle.ChecksumError):
            points(tfbundle.open_events(path))
        assert len(list(tfbundle.read_events(path, verify=False))) == 100
        assert list(tfbundle.read_records(path, verify=False)) == [scalar(step) for step in range(100)]
        assert points(tfbundle.open_events(path, verify=False)) == [(step, 0.5) for step in range(100)]
    path.write_bytes(whole[:-1])
    records = tfbundle.read_records(path, verify=False)
    assert len(list(records)) == 99
    assert records.truncation is not None


def test_raw_deflate_is_read_when_it_is_named(tmp_path: Path) -> None:
    payloads = [scalar(step) for step in range(100)]
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    path = tmp_path / "a.tfrecord"
    path.write_bytes(packer.compress(frames(payloads)) + packer.flush())
    assert list(tfbundle.read_records(path, compression="DEFLATE")) == payloads
    assert len(list(tfbundle.read_events(path, compression="DEFLATE"))) == 100
    with pytest.raises(tfbundle.FormatError):
        list(tfbundle.read_records(path))


def test_raw_deflate_as_tensorflow_writes_it(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    options = tf.io.TFRecordOptions(compression_type="ZLIB", window_bits=-15)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for step in range(100):
            writer.write(scalar(step))
    assert list(tfbundle.read_records(path, compression="DEFLATE")) == [scalar(step) for step in range(100)]


def test_iterators_go_on_when_the_file_has_grown_as_tensorflows_do(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.tfevents"
    content = frames(scalar(step) for step in range(1, 7))
    size = len(content) // 6
    path.write_bytes(content[: 2 * size])
    ours, theirs = tfbundle.read_records(path), tf.compat.v1.io.tf_record_iterator(str(path))
    events = tfbundle.read_events(path)
    found = []
    for end in (2 * size, 2 * size, 3 * size, 4 * size, 6 * size):
        path.write_bytes(content[:end])
        more = list(ours)
        assert more == list(theirs)
        assert [event.step for event in events] == list(range(len(found) + 1, len(found) + len(more) + 1))
        found += more
    assert found == [scalar(step) for step in range(1, 7)]
    assert ours.number == 5
    ours.close()
    path.write_bytes(content + content)
    assert list(ours) == []


def test_an_iterator_goes_on_with_the_record_that_was_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "a.tfevents"
    content = frames(scalar(step) for step in range(1, 7))
    size = len(content) // 6
    path.write_bytes(content[: 2 * size + 5])
    records = tfbundle.read_records(path)
    assert len(list(records)) == 2
    assert records.truncation == (2 * size, 5)
    assert list(records) == []
    path.write_bytes(content)
    assert list(records) == [scalar(step) for step in range(3, 7)]
    assert records.truncation is None


def test_a_value_without_a_tag_takes_its_nodes_name(tmp_path: Path) -> None:
    values = [Summary.Value(node_name=name, simple_value=1) for name in ("first", "second")]
    events = [Event(step=step, summary=Summary(value=[value])) for step in range(40) for value in values]
    path = tmp_path / "a.tfevents"
    path.write_bytes(frames(event.SerializeToString() for event in events))
    run = tfbundle.open_events(path).runs["."]
    assert {tag: len(series) for tag, series in run.scalars.items()} == {"first": 40, "second": 40}
    assert len(list(run.events("second"))) == 40


@pytest.mark.parametrize(("size", "fits"), [(100_000, True), (101_000, False), (1 << 40, False)])
def test_a_text_that_repeats_one_string_is_bounded(tmp_path: Path, size: int, fits: bool) -> None:
    value = Summary.Value(tag="t")
    value.metadata.plugin_data.plugin_name = "text"
    value.tensor.dtype = 7
    value.tensor.tensor_shape.dim.add(size=size)
    value.tensor.string_val.append(b"word")
    path = tmp_path / "a.tfevents"
    path.write_bytes(frames([Event(step=1, summary=Summary(value=[value])).SerializeToString()]))
    series = tfbundle.open_events(path).runs["."].text["t"]
    if fits:
        assert set(series[0].tolist()) == {"word"}
    else:
        with pytest.raises(tfbundle.FormatError, match="far too few"):
            _ = series[0]


def test_what_stands_before_damage_is_kept_once(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.tfevents", range(1, 40)).read_bytes()
    size = len(frame(scalar(1)))
    damaged = bytearray(whole)
    damaged[20 * size + 14] ^= 1
    (tmp_path / "a.tfevents").write_bytes(damaged)
    log = EventLog(tmp_path, Options(partial=True))
    for more in (b"", frame(scalar(99))):
        with open(tmp_path / "a.tfevents", "ab") as file:
            file.write(more)
        log.refresh()
        assert [step for step, _ in points(log)] == list(range(1, 21))
        (losses,) = log.runs["."].losses.values()
        assert [(loss.offset, loss.size) for loss in losses] == [(20 * size, 19 * size + len(more))]


@pytest.mark.parametrize("partial", [False, True])
def test_salvage_passes_records_that_are_not_events(tmp_path: Path, partial: bool) -> None:
    path = tmp_path / "a.tfevents"
    records = [scalar(1), b"\xff\xff", scalar(2), b"\x2a\x05", b"\xff\xff"]
    path.write_bytes(frames(records))
    with EventLog(path, Options(salvage=not partial, partial=partial)) as log:
        run = log.runs["."]
        assert points(log) == [(1, 0.5), (2, 0.5)]
        size = len(frame(scalar(1)))
        assert [(loss.offset, loss.size, loss.number) for loss in run.losses[str(path)]] == [
            (size, 18, 1),
            (2 * size + 18, 18, 3),
            (2 * size + 36, 18, 4),
        ]
        assert run.event_count == 2
        with open(path, "ab") as file:
            file.write(frames([b"\xff\xff", scalar(3)]))
        assert log.refresh()
        assert points(log) == [(1, 0.5), (2, 0.5), (3, 0.5)]
        assert [loss.number for loss in run.losses[str(path)]] == [1, 3, 4, 5]
    with pytest.raises(tfbundle.FormatError, match="not an Event message"):
        tfbundle.open_events(path).load()


def test_a_file_that_is_given_up_is_not_read_on(tmp_path: Path) -> None:
    """Of what is refused for its amount, points are kept once, however often the log is refreshed."""
    path = tmp_path / "a.tfevents"
    summary = b"\x0a\x00" * 100_001
    path.write_bytes(frames([scalar(1), b"\x2a" + encode_varint(len(summary)) + summary, scalar(2)]))
    with EventLog(path, Options(partial=True)) as log:
        assert points(log) == [(1, 0.5)]
        with open(path, "ab") as file:
            file.write(frames([scalar(3)]))
        assert not log.refresh()
        assert points(log) == [(1, 0.5)]
        path.write_bytes(frames([scalar(4), scalar(5)]))
        assert log.refresh()
        assert points(log) == [(4, 0.5), (5, 0.5)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("verify", [False, True])
def test_elements_of_a_file_that_was_replaced_are_not_read_from_the_new_one(
    tmp_path: Path, packed: bool, verify: bool
) -> None:
    def content(letter: bytes) -> bytes:
        events = []
        for step in range(3):
            event = Event(step=step)
            event.summary.value.add(tag="i").image.encoded_image_string = letter * 9000
            events.append(event.SerializeToString())
        return gzip.compress(frames(events)) if packed else frames(events)

    path = tmp_path / "a.tfevents"
    path.write_bytes(content(b"a"))
    with tfbundle.open_events(tmp_path, verify=verify) as log:
        images = log.runs["."].images["i"]
        replace(path, content(b"b"), "a new file")
        with pytest.raises(tfbundle.FormatError, match="overwritten"):
            images[1]
        assert log.refresh()
        assert log.runs["."].images["i"][1].encoded == (b"b" * 9000,)


def test_an_empty_path() -> None:
    with pytest.raises(tfbundle.MissingFileError, match="the path is empty; pass an event file"):
        tfbundle.open_events("")
