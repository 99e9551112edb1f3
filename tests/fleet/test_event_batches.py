"""Batches of scalars: the points that ``open_events`` has, of the runs and tags that were selected."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.runs import points, records, tensor_records, write_run
from tfbundle.fleet import event_batches as module
from tfbundle.fleet.reading import RunPoints
from tfbundle.proto import Event
from tfbundle.storage.folders import LocalLocation

pyarrow = pytest.importorskip("pyarrow", reason="batches are those of pyarrow")

TAGS = ["loss", "accuracy", "w[0]/norm", "w0/norm"]


def rows(table: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def read(root: Any, **settings: Any) -> list[tuple[Any, ...]]:
    return rows(tfbundle.event_batches(root, **settings).read_all())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Runs of both TensorFlows, one of two files, and one without scalars."""
    write_run(tmp_path / "a/run10", records(points(TAGS, range(20))))
    write_run(tmp_path / "a/run9", tensor_records(points(TAGS[:2], range(5)), "scalars"))
    write_run(tmp_path / "a/run9", tensor_records(points(TAGS[:2], range(3, 9))), "events.out.tfevents.2")
    write_run(tmp_path / "b", tensor_records(points(["other"], range(5)), "unknown"))
    write_run(tmp_path, records(points(["loss"], range(3))))
    return tmp_path


def test_the_points_are_those_of_open_events(tree: Path) -> None:
    found = read(tree)
    assert found == rows(tfbundle.open_events(tree).to_arrow())
    assert len(found) == 3 + 22 + 80
    assert found[0] == (".", "loss", 0, 1000.0, 0.0)
    # Obsolete points after a restart are kept.
    assert [step for run, tag, step, *_ in found if (run, tag) == ("a/run9", "loss")] == [*range(5), *range(3, 9)]


def test_the_schema(tree: Path) -> None:
    reader = tfbundle.event_batches(tree)
    name = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    assert isinstance(reader, pyarrow.RecordBatchReader)
    assert reader.schema.names == ["run", "tag", "step", "wall_time", "value"]
    assert reader.schema.types == [name, name, pyarrow.int64(), pyarrow.float64(), pyarrow.float64()]
    assert tfbundle.event_batches(tree / "b").read_all().num_rows == 0


@pytest.mark.parametrize(
    "names",
    ["a/*", re.compile("run9|run10"), lambda name: name.startswith("a/"), ["a/run9", "a/run10"], iter(["a/r*"])],
    ids=["glob", "pattern", "function", "names", "iterator"],
)
def test_runs_that_are_not_selected_are_never_opened(tree: Path, names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = LocalLocation.open

    def spy(self: LocalLocation) -> Any:
        opened.append(self.path)
        return real(self)

    monkeypatch.setattr(LocalLocation, "open", spy)
    reader = tfbundle.event_batches(tree, runs=names)
    assert not opened
    assert {row[0] for row in rows(reader.read_all())} == {"a/run9", "a/run10"}
    assert len(opened) == 3
    assert all("/a/run" in path for path in opened)


def test_a_run_that_does_not_exist(tree: Path) -> None:
    with pytest.raises(KeyError, match=r"no run 'a/run8'.*a/run9"):
        tfbundle.event_batches(tree, runs="a/run8")
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.event_batches(tree / "absent")


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        ("loss", {"loss"}),
        ("*/norm", {"w[0]/norm", "w0/norm"}),
        ("w[0]/norm", {"w[0]/norm"}),
        (re.compile("^acc"), {"accuracy"}),
        (lambda tag: "o" in tag, {"loss", "w[0]/norm", "w0/norm"}),
        (iter(["loss", "acc*"]), {"loss", "accuracy"}),
        ("absent", set()),
    ],
    ids=["name", "glob", "name-with-brackets", "pattern", "function", "several", "absent"],
)
def test_tags_are_selected(tree: Path, tags: Any, chosen: set[str]) -> None:
    found = read(tree, tags=tags)
    assert {row[1] for row in found} == chosen
    assert found == [row for row in read(tree) if row[1] in chosen]


def test_damaged_files_are_rows_of_the_second_table(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tree / "a/run10/events.out.tfevents.1"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    write_run(tree / "c", []).write_bytes(b"<html>nothing here</html>" * 9)
    (tree / "d").mkdir()
    (tree / "d/events.out.tfevents.1").symlink_to(tree / "absent")
    troubles = tfbundle.EventTroubles()
    found = rows(tfbundle.event_batches(tree, troubles=troubles).read_all())
    assert not caplog.records
    assert [(row.run, row.kind) for row in troubles] == [("a/run10", "checksum"), ("c", "record"), ("d", "missing")]
    assert troubles[0].path == str(path)
    assert 0 < troubles[0].offset < len(data) // 2 < troubles[0].offset + troubles[0].size == len(data)
    # Records before the damage are read.
    assert 0 < sum(row[0] == "a/run10" for row in found) < 80
    table = troubles.to_arrow()
    assert table.schema.names == ["path", "run", "tag", "kind", "message", "offset", "size"]
    assert table["run"].to_pylist() == ["a/run10", "c", "d"]
    with caplog.at_level(logging.WARNING):
        assert read(tree) == found
    assert len(caplog.records) == 3


def test_no_troubles_are_an_empty_table(tree: Path) -> None:
    troubles = tfbundle.EventTroubles()
    tfbundle.event_batches(tree, troubles=troubles).read_all()
    assert list(troubles) == []
    assert troubles.to_arrow().num_rows == 0
    assert pyarrow.types.is_string(troubles.to_arrow().schema.field("message").type)


def test_a_tag_whose_values_are_not_numbers_is_a_row(tmp_path: Path) -> None:
    event = Event.FromString(tensor_records(points(["bad"], range(1)), "scalars")[0])
    event.summary.value[0].tensor.tensor_shape.dim.add(size=2)
    event.summary.value[0].tensor.float_val.append(1.0)
    write_run(tmp_path, [event.SerializeToString(), *records(points(["loss"], range(2)))])
    troubles = tfbundle.EventTroubles()
    assert len(rows(tfbundle.event_batches(tmp_path, troubles=troubles).read_all())) == 2
    assert [(row.run, row.tag) for row in troubles] == [(".", "bad")]


def test_names_of_any_kind(tmp_path: Path) -> None:
    tags = ["new\nline", "a=b", "..", "%2F", "t" * (1 << 20), "\0", "\u202e"]
    write_run(tmp_path / "x=1/y\nz", records(points(tags, range(2))))
    found = read(tmp_path)
    assert {row[0] for row in found} == {"x=1/y\nz"}
    assert list(dict.fromkeys(row[1] for row in found)) == tags


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1000])
def test_batches_are_cut_between_and_within_runs(tree: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(tree)
    monkeypatch.setattr(module, "MOST_ROWS", most)
    batches = list(tfbundle.event_batches(tree))
    assert max(batch.num_rows for batch in batches) == min(most, len(whole))
    assert rows(pyarrow.Table.from_batches(batches)) == whole


def test_a_part_of_a_run_has_the_tags_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 4)
    steps = np.arange(9)
    one = RunPoints("run", ["a", "b", "c"], [4, 1, 4], steps, steps * 1.0, steps * 1.0)
    parts = list(module._split(one))
    assert [(part.tags, part.counts) for part in parts] == [(["a"], [4]), (["b", "c"], [1, 3]), (["c"], [1])]


def test_without_pyarrow_the_extra_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(tfbundle.UnsupportedError, match=r"tfbundle\[arrow\]"):
        tfbundle.event_batches(tree)
