"""Data sets of scalars: what a new one has, what an update reads, and what a stop leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.dask_cluster import Cluster
from tests.support.records import frames
from tests.support.runs import append, points, records, tensor_records, write_run
from tfbundle.fleet import dataset as module
from tfbundle.fleet.manifest import NAME
from tfbundle.fleet.partitions import name_folders
from tfbundle.storage import folder_updates, replacing_folders
from tfbundle.storage.folders import LocalLocation

pyarrow = pytest.importorskip("pyarrow", reason="data sets are written by pyarrow")

ROOT = Path(tfbundle.__file__).resolve().parents[1]
TAGS = ["loss", "accuracy"]


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """All rows, as pyarrow's own reader of folders finds them, sorted by run and tag only."""
    import pyarrow.dataset

    table = pyarrow.dataset.dataset(folder).to_table()
    assert table.num_rows == 0 or table.column_names == ["run", "tag", "step", "wall_time", "value"]
    found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return sorted(found, key=lambda row: row[:2])


def expected(root: Path, **settings: Any) -> list[tuple[Any, ...]]:
    table = tfbundle.event_batches(root, troubles=tfbundle.EventTroubles(), **settings).read_all()
    found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return sorted(found, key=lambda row: row[:2])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for number in range(3):
        write_run(tmp_path / f"logs/a/run{number}", records(points(TAGS, range(20 + number))))
    write_run(tmp_path / "logs/b", tensor_records(points(TAGS, range(5)), "scalars"))
    write_run(tmp_path / "logs", records(points(["loss"], range(3))))
    return tmp_path / "logs"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The event files that are opened."""
    names: list[str] = []
    real = LocalLocation.open

    def spy(self: LocalLocation) -> Any:
        if "tfevents" in self.name:
            names.append(self.parent.name)
        return real(self)

    monkeypatch.setattr(LocalLocation, "open", spy)
    return names


@pytest.mark.parametrize("partition", ["run", "sweep"])
def test_a_new_data_set(logs: Path, tmp_path: Path, partition: str) -> None:
    done = tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    assert rows(tmp_path / "out") == expected(logs)
    assert done == (str(tmp_path / "out"), 5, 139, 5, 0, done.troubles)
    assert not done.troubles
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == ({"run", "a_run0", "a_run1", "a_run2", "b"} if partition == "run" else {"run", "a", "b"})
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "out"}


def test_compression(logs: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    tfbundle.export_events(logs, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.parquet"):
        group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0)
        assert {group.column(number).compression for number in range(5)} == {"ZSTD"}


@pytest.mark.parametrize("partition", ["run", "sweep"])
def test_nothing_new_opens_nothing_and_writes_nothing(
    logs: Path, tmp_path: Path, partition: str, opened: list[str]
) -> None:
    tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    before = snapshot(tmp_path / "out")
    inode = (tmp_path / "out").stat().st_ino
    opened.clear()
    done = tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    assert (done.runs, done.points, done.runs_read) == (5, 139, 0)
    assert opened == []
    assert (tmp_path / "out").stat().st_ino == inode
    assert snapshot(tmp_path / "out") == before


@pytest.mark.parametrize("partition", ["run", "sweep"])
def test_appended_records_become_another_part(logs: Path, tmp_path: Path, partition: str, opened: list[str]) -> None:
    tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    append(logs / "a/run1/events.out.tfevents.1", records(points([*TAGS, "new"], range(21, 25))))
    # These have no metadata, which the first file part has.
    append(logs / "b/events.out.tfevents.1", tensor_records(points(TAGS, range(5, 9))))
    opened.clear()
    done = tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    assert done.runs_read == 2
    assert set(opened) == {"run1", "b"}
    assert rows(tmp_path / "out") == expected(logs)
    assert len(list((tmp_path / "out").rglob("part-00001.parquet"))) == 2
    import pyarrow.parquet

    new = pyarrow.parquet.read_table(tmp_path / "out/b/part-00001.parquet")
    assert new["step"].to_pylist() == [5, 6, 7, 8] * 2


def test_metadata_that_comes_later_does_not_change_a_tag(logs: Path, tmp_path: Path) -> None:
    path = write_run(logs / "c", tensor_records(points(["text"], range(2)), "text"))
    tfbundle.export_events(logs, tmp_path / "out")
    append(path, tensor_records(points(["text"], range(2)), "scalars"))
    tfbundle.export_events(logs, tmp_path / "out")
    assert rows(tmp_path / "out") == expected(logs)
    assert not [row for row in rows(tmp_path / "out") if row[0] == "c"]


def test_an_incomplete_record_is_read_when_it_is_complete(logs: Path, tmp_path: Path) -> None:
    path = logs / "b/events.out.tfevents.1"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert not tfbundle.export_events(logs, tmp_path / "out").troubles
    assert rows(tmp_path / "out") == expected(logs)
    path.write_bytes(whole)
    tfbundle.export_events(logs, tmp_path / "out")
    assert rows(tmp_path / "out") == expected(logs)


def replace(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def grow_another(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"loss", b"Loss", 1) + path.read_bytes())


def rewrite_same_size(path: Path) -> None:
    stat = path.stat()
    path.write_bytes(bytes(path.read_bytes()))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


def insert_earlier(path: Path) -> None:
    write_run(path.parent, records(points(TAGS, range(5))), "events.out.tfevents.0")


def grow_and_insert_earlier(path: Path) -> None:
    insert_earlier(path)
    append(path, records(points(TAGS, range(40, 42))))


def rename(path: Path) -> None:
    path.rename(path.with_name("events.out.tfevents.7"))


def add_later(path: Path) -> None:
    write_run(path.parent, records(points(TAGS, range(5))), "events.out.tfevents.2")


def remove(path: Path) -> None:
    shutil.rmtree(path.parent)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


CHANGES = [
    replace, grow_another, rewrite_same_size, insert_earlier, grow_and_insert_earlier, rename, add_later, remove, damage
]  # fmt: skip


@pytest.mark.parametrize("partition", ["run", "sweep"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_after_any_change_the_rows_are_those_of_a_new_data_set(
    logs: Path, tmp_path: Path, partition: str, change: Any
) -> None:
    tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    change(logs / "a/run1/events.out.tfevents.1")
    done = tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    assert rows(tmp_path / "out") == expected(logs)
    assert done.points == len(rows(tmp_path / "out"))
    assert done.runs == (4 if change is remove else 5)
    assert len(done.troubles) == (1 if change in (damage, grow_another) else 0)
    again = tfbundle.export_events(logs, tmp_path / "out", partition=partition)
    assert again == done._replace(runs_read=0, runs_removed=0, troubles=again.troubles)
    assert list(again.troubles) == list(done.troubles)
    fresh = tfbundle.export_events(logs, tmp_path / "fresh", partition=partition)
    assert list(fresh.troubles) == list(done.troubles)


def test_troubles_before_the_position_are_kept(logs: Path, tmp_path: Path) -> None:
    """A record that is not an event is passed; what follows is read."""
    path = write_run(logs / "c", [*records(points(TAGS, range(3))), b"\xff" * 9, *records(points(TAGS, range(3, 5)))])
    first = tfbundle.export_events(logs, tmp_path / "out")
    append(path, records(points(TAGS, range(5, 7))))
    second = tfbundle.export_events(logs, tmp_path / "out")
    assert second.runs_read == 1
    assert [row.offset for row in first.troubles] == [row.offset for row in second.troubles]
    assert len(first.troubles) == 1
    assert rows(tmp_path / "out") == expected(logs)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs / "b/events.out.tfevents.1"
    tfbundle.export_events(logs, tmp_path / "out")
    append(path, tensor_records(points(TAGS, range(5, 9))))
    with monkeypatch.context() as patched:

        def plan(*arguments: Any) -> bool:
            path.write_bytes(path.read_bytes().replace(b"loss", b"lass"))
            return True

        patched.setattr(module, "_goes_on", plan)
        done = tfbundle.export_events(logs, tmp_path / "out")
    assert [(row.run, "was replaced while it was read" in row.message) for row in done.troubles] == [("b", True)]
    damaged = tfbundle.export_events(logs, tmp_path / "out")
    assert damaged.runs_read == 1
    assert "was replaced" not in damaged.troubles[0].message
    assert rows(tmp_path / "out") == expected(logs)


@pytest.mark.skipif(sys.platform != "linux", reason="measures the processor's time of Linux")
def test_hundreds_of_damaged_runs(tmp_path: Path) -> None:
    good = frames(records(points(TAGS, range(20))))
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    contents = [bytes(bad), b"x" * 100, good[:-3], b"", b"\xff" * 4000]
    for number in range(400):
        folder = tmp_path / f"logs/run{number}"
        folder.mkdir(parents=True)
        (folder / "events.out.tfevents.1").write_bytes(contents[number % 5])
    start = time.process_time()
    done = tfbundle.export_events(tmp_path / "logs", tmp_path / "out")
    assert (done.runs, len(done.troubles)) == (400, 240)
    assert rows(tmp_path / "out") == expected(tmp_path / "logs")
    again = tfbundle.export_events(tmp_path / "logs", tmp_path / "out")
    assert (again.runs_read, list(again.troubles)) == (0, list(done.troubles))
    assert time.process_time() - start < 3


def test_many_tags(tmp_path: Path) -> None:
    """The time for each does not grow with their number."""

    def seconds(count: int) -> float:
        write_run(tmp_path / f"logs{count}", records((f"layer_{number}/loss", 1, number) for number in range(count)))
        start = time.process_time()
        done = tfbundle.export_events(tmp_path / f"logs{count}", tmp_path / f"out{count}")
        assert done.points == count
        return (time.process_time() - start) / count

    seconds(100)
    few = min(seconds(1_000), seconds(1_001), seconds(1_002))
    assert min(seconds(10_000), seconds(10_001)) < 3 * few
    import pyarrow.dataset

    found = pyarrow.dataset.dataset(tmp_path / "out10000").to_table()
    assert found["tag"].to_pylist() == [f"layer_{number}/loss" for number in range(10_000)]


def test_many_parts_become_one(logs: Path, tmp_path: Path) -> None:
    parts = []
    for number in range(module._MOST_PARTS + 3):
        append(logs / "b/events.out.tfevents.1", tensor_records(points(TAGS, range(5 + number, 6 + number))))
        tfbundle.export_events(logs, tmp_path / "out")
        parts.append(len(list((tmp_path / "out/b").iterdir())))
    assert max(parts) == module._MOST_PARTS + 1
    assert parts[-1] == 2
    assert rows(tmp_path / "out") == expected(logs)


def test_the_selection(logs: Path, tmp_path: Path) -> None:
    def export(**settings: Any) -> int:
        done = tfbundle.export_events(logs, tmp_path / "out", **settings)
        assert rows(tmp_path / "out") == expected(logs, **settings)
        return done.runs_read

    assert export(tags="l*", runs="a/*") == 3
    assert export(tags="l*") == 2
    assert export(tags="l*", runs="b") == 0
    assert export() == 5
    assert export(tags=lambda tag: tag == "loss") == 5
    assert export(tags=lambda tag: tag == "accuracy") == 5
    assert export() == 5


def test_another_root_is_another_data_set(logs: Path, tmp_path: Path) -> None:
    tfbundle.export_events(logs, tmp_path / "out")
    done = tfbundle.export_events(logs / "a", tmp_path / "out")
    assert (done.runs, done.runs_read, done.runs_removed) == (3, 3, 5)
    assert rows(tmp_path / "out") == expected(logs / "a")


def test_other_files_are_kept(logs: Path, tmp_path: Path) -> None:
    tfbundle.export_events(logs, tmp_path / "out")
    (tmp_path / "out/README.txt").write_text("mine")
    (tmp_path / "out/link").symlink_to("nowhere")
    append(logs / "b/events.out.tfevents.1", tensor_records(points(TAGS, range(5, 9))))
    tfbundle.export_events(logs, tmp_path / "out")
    assert (tmp_path / "out/README.txt").read_text() == "mine"
    assert (tmp_path / "out/link").is_symlink()


def test_a_folder_that_cannot_be_listed_loses_nothing(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for partition in ("run", "sweep"):
        tfbundle.export_events(logs, tmp_path / partition, partition=partition)
        before = rows(tmp_path / partition)
        real = LocalLocation.list

        def refuse(self: LocalLocation, real: Any = real) -> Any:
            if self.name == "run1":
                raise PermissionError(13, "Permission denied", self.path)
            return real(self)

        with monkeypatch.context() as patched:
            patched.setattr(LocalLocation, "list", refuse)
            append(logs / "a/run2/events.out.tfevents.1", records(points(["new"], range(3))))
            done = tfbundle.export_events(logs, tmp_path / partition, partition=partition)
        assert [(row.path, row.kind) for row in done.troubles] == [(str(logs / "a/run1"), "unreadable")]
        assert (done.runs, done.runs_removed) == (5, 0)
        assert len(rows(tmp_path / partition)) == len(before) + 3
        tfbundle.export_events(logs, tmp_path / partition, partition=partition)
        assert rows(tmp_path / partition) == expected(logs)


def test_refusals(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(ValueError, match="is not empty, and not a data set of this kind"):
        tfbundle.export_events(logs, tmp_path / "full")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        tfbundle.export_events(logs, tmp_path / "full/file")
    with pytest.raises(tfbundle.MissingFileError, match="there is no folder"):
        tfbundle.export_events(logs, tmp_path / "absent/out")
    with pytest.raises(tfbundle.MissingFileError, match="there are no event files below"):
        tfbundle.export_events(tmp_path / "full", tmp_path / "out")
    with pytest.raises(ValueError, match="partition must be one of 'run', 'sweep', not 'tag'"):
        tfbundle.export_events(logs, tmp_path / "out", partition="tag")
    with pytest.raises(KeyError, match="no run 'absent'"):
        tfbundle.export_events(logs, tmp_path / "out", runs="absent")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "logs"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"\xff" + content,
        lambda content: content[:-5],
        lambda content: content.replace(b'"folder":"b"', b'"folder":".."'),
        lambda content: content.replace(b'"folder":"b"', b'"folder":"/tmp"'),
        lambda content: content.replace(b'"folder":"b"', b'"folder":"a_RUN0"'),
        lambda content: content.replace(b"event-dataset/1", b"event-dataset/2"),
        lambda content: content.replace(b'"parts":[[0,', b'"parts":[[-1,'),
        lambda content: content.replace(b'"parts":[[0,', b'"parts":[["0",'),
        lambda content: content.replace(b'"files":{', b'"files":{"x":[1,2],'),
        lambda content: content.replace(b"[[0,4096,", b"[[0,4097,").replace(b"[[0,", b"[[0,1099511627776"),
        lambda content: b"[" * 100_000,
    ],
)
def test_a_damaged_manifest(logs: Path, tmp_path: Path, change: Any) -> None:
    tfbundle.export_events(logs, tmp_path / "out")
    path = tmp_path / "out" / NAME
    changed = change(path.read_bytes())
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    before = snapshot(tmp_path / "out")
    with pytest.raises(tfbundle.FormatError, match=r"_manifest\.json is damaged: .*; remove .* to write it again"):
        tfbundle.export_events(logs, tmp_path / "out")
    assert snapshot(tmp_path / "out") == before


def test_folders_of_partitions() -> None:
    names = ["a/b", "a_b", "A/B", "..", ".", "lr=0.1", "%2F", "new\nline", "con", "CON.1", "_x", "é", "x" * 300]
    folders = name_folders(names, {"a_b": "a_b"})
    assert list(folders.values()) != []
    assert folders["a_b"] == "a_b"
    assert folders["a/b"] == "a_b-2"
    assert folders["A/B"] == "A_B-3"
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    for folder in folders.values():
        assert not set("=/%\n") & set(folder)
        assert folder[0] not in "._"
        assert len(folder) <= 110
        assert folder.casefold().partition(".")[0] not in ("con", "nul")


def test_runs_whose_folders_would_collide(tmp_path: Path) -> None:
    names = ["a=b", "a_b", "a%b", "A_B", "x\ny", "..z", "lr=1", "c/d", "c_d"]
    for number, name in enumerate(names):
        write_run(tmp_path / "logs" / name, records(points(["loss"], range(number + 1))))
    for partition in ("run", "sweep"):
        tfbundle.export_events(tmp_path / "logs", tmp_path / partition, partition=partition)
        assert rows(tmp_path / partition) == expected(tmp_path / "logs")
        assert {row[0] for row in rows(tmp_path / partition)} == set(names)


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
def test_other_readers(logs: Path, tmp_path: Path, reader: str) -> None:
    write_run(logs / "lr=0.1", records(points(TAGS, range(2))))
    tfbundle.export_events(logs, tmp_path / "out")
    library = pytest.importorskip(reader, reason=f"{reader} is not installed")
    if reader == "pandas":
        frame = library.read_parquet(tmp_path / "out")
        found = list(zip(*(frame[name].tolist() for name in frame), strict=True))
    elif reader == "polars":
        found = library.read_parquet(tmp_path / "out/**/*.parquet").rows()
    else:
        found = library.sql(f"SELECT * FROM '{tmp_path}/out/*/*.parquet'").fetchall()
    assert sorted(found, key=lambda row: row[:2]) == expected(logs)


def test_results_are_equal_everywhere(logs: Path, tmp_path: Path, cluster: Cluster) -> None:
    for number in range(70):
        write_run(logs / f"c/run{number}", records(points(TAGS, range(number))))
    (logs / "c/run5/events.out.tfevents.1").write_bytes(b"damaged" * 9)
    done = []
    for name, settings in {"one": {}, "two": {"workers": 2}, "dask": {"scheduler": cluster.address}}.items():
        found = tfbundle.export_events(logs, tmp_path / name, **settings)  # type: ignore[arg-type]
        done.append((found[1:5], list(found.troubles), snapshot(tmp_path / name)))
    assert done[0] == done[1] == done[2]
    append(logs / "c/run7/events.out.tfevents.1", records(points(TAGS, range(7, 9))))
    for name, settings in {"two": {"workers": 2}, "dask": {"scheduler": cluster.address}}.items():
        assert tfbundle.export_events(logs, tmp_path / name, **settings).runs_read == 1  # type: ignore[arg-type]
        assert rows(tmp_path / name) == expected(logs)


def test_a_failure_leaves_what_was_there(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tfbundle.export_events(logs, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    append(logs / "b/events.out.tfevents.1", tensor_records(points(TAGS, range(5, 9))))
    for where, name in (
        (module, "write_in_place_of"),
        (folder_updates, "link_tree"),
        (module, "encode_manifest"),
        (module, "make_parts"),
    ):

        def fail(*arguments: Any, **settings: Any) -> Any:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(where, name, fail)
            with pytest.raises(OSError, match="No space left"):
                tfbundle.export_events(logs, tmp_path / "out")
        assert snapshot(tmp_path / "out") == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "out"]


def test_a_failure_ends_the_workers(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_in_place_of", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        tfbundle.export_events(logs, tmp_path / "out", workers=2)
    assert caught.tb is not None  # The frames, and what they refer to, still exist.
    assert multiprocessing.active_children() == []


def test_without_an_exchange_of_folders(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replacing_folders, "_exchange", lambda one, other: False)
    tfbundle.export_events(logs, tmp_path / "out")
    append(logs / "b/events.out.tfevents.1", tensor_records(points(TAGS, range(5, 9))))
    tfbundle.export_events(logs, tmp_path / "out")
    assert rows(tmp_path / "out") == expected(logs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "out"]


STOPS = """
import os, shutil, sys
import pyarrow.parquet, tfbundle.fleet.dataset
logs, old, place = sys.argv[1:]
def export(number, stop):
    out, left = f"{place}/out{number}", stop
    shutil.copytree(old, out)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    def count(event, arguments):
        nonlocal left
        if event.startswith(("os.", "shutil.", "ctypes.")) or event == "open":
            left -= 1
            if not left:
                os._exit(9)  # As if it were killed: nothing is cleaned up.
    sys.addaudithook(count)
    tfbundle.export_events(logs, out)
    print(stop - left, flush=True)
    os._exit(0)
assert export(0, 1 << 30) == 0
total = int(open(f"{place}/count").readline())
stops = sorted({*range(1, total, total // 25), *range(total - 30, total + 1)})
assert [export(stop, stop) for stop in stops] == [9] * len(stops)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may exchange folders in two steps")
def test_a_stop_at_any_call_leaves_the_old_data_set_or_the_new(logs: Path, tmp_path: Path) -> None:
    old = expected(logs)
    tfbundle.export_events(logs, tmp_path / "old")
    for number in range(3):
        append(logs / f"a/run{number}/events.out.tfevents.1", records(points(TAGS, range(50, 60))))
    write_run(logs / "b", tensor_records(points(TAGS, range(3)), "scalars"))
    new = expected(logs)
    (tmp_path / "stops").mkdir()
    with open(tmp_path / "stops/count", "wb") as count:
        subprocess.run(
            [sys.executable, "-c", STOPS, logs, tmp_path / "old", tmp_path / "stops"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=count,
            check=True,
            timeout=200,
        )
    outs = sorted((path for path in (tmp_path / "stops").glob("out*")), key=lambda path: int(path.name[3:]))
    found = [rows(out) for out in outs]
    assert len(found) > 40
    assert found.pop(0) == new  # The one that was not stopped.
    changed = found.index(new)
    assert found == [old] * changed + [new] * (len(found) - changed)
    assert 10 < changed < len(found)
    # The next call completes whatever there is.
    tfbundle.export_events(logs, outs[5])
    assert rows(outs[5]) == new


def test_the_manifest_names_positions(logs: Path, tmp_path: Path) -> None:
    tfbundle.export_events(logs, tmp_path / "out")
    content = json.loads((tmp_path / "out" / NAME).read_text())
    found = {name: run for one in content["partitions"] for name, run in one["runs"].items()}
    assert found.keys() == {".", "a/run0", "a/run1", "a/run2", "b"}
    path = logs / "b/events.out.tfevents.1"
    size, mtime, e_tag, position, records_read, marks = found["b"]["files"][path.name]
    assert (size, mtime, e_tag) == (path.stat().st_size, path.stat().st_mtime, None)
    assert (position, records_read) == (size, 10)
    assert [mark[:2] for mark in marks] == [[0, size], [0, size]]
    assert found["b"]["metadata"] == [["scalars", 0, TAGS]]
