"""What a path is, and what is below a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import encode_field, write_bundle
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tests.support.v1_writer import write_v1
from tfbundle import MissingFileError
from tfbundle.overview import walk
from tfbundle.overview.items import Item
from tfbundle.overview.walk import overview
from tfbundle.proto import Event, Summary

GRAPH = encode_field(1, encode_field(1, b"x") + encode_field(2, b"NoOp")) + encode_field(4, encode_field(1, 21))
ONES = {"w": np.ones(3, np.float32)}


def events(*steps: int) -> bytes:
    summary = Summary(value=[Summary.Value(tag="loss", simple_value=1.0)])
    return frames(Event(wall_time=1.0, step=step, summary=summary).SerializeToString() for step in steps)


def by_path(path: Path) -> dict[str, Item]:
    return {os.path.relpath(item.path, path): item for item in overview(path).items}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "run").mkdir(parents=True)
    write_bundle(root / "run" / "model-1", ONES)
    write_bundle(root / "run" / "model-2", ONES)
    write_v1(root / "run" / "old-3", ONES)
    (root / "run" / "model-2.meta").write_bytes(b"")
    (root / "run" / "checkpoint").write_text('model_checkpoint_path: "model-2"')
    (root / "run" / "events.out.tfevents.1").write_bytes(events(0, 5))
    (root / "run" / "events.out.tfevents.2").write_bytes(events(6, 9))
    shutil.copytree(FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model", root / "exported" / "1")
    (root / "graphs").mkdir()
    (root / "graphs" / "frozen.pb").write_bytes(GRAPH)
    (root / "graphs" / "data.tfrecord").write_bytes(frames([b"x"]))
    (root / "graphs" / "weights.safetensors").write_bytes(b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32"}}' + bytes(50))
    (root / "graphs" / "notes.txt").write_text("notes")
    (root / "orbax" / "params" / "d").mkdir(parents=True)
    (root / "orbax" / "_CHECKPOINT_METADATA").write_text("{}")
    (root / "orbax" / "params" / "d" / "1").write_bytes(bytes(100))
    return root


def test_a_tree_in_order(tree: Path) -> None:
    found = overview(tree)
    assert found.ok
    assert (found.kind, found.complete) == ("folder", True)
    assert (found.others, found.others_size) == (1, 5)
    items = by_path(tree)
    assert {path: item.kind for path, item in items.items()} == {
        "run/model-1": "checkpoint",
        "run/model-2": "checkpoint",
        "run/old-3": "checkpoint",
        "run": "run",
        "exported/1": "saved-model-folder",
        "graphs/frozen.pb": "graph",
        "graphs/data.tfrecord": "tfrecord",
        "graphs/weights.safetensors": "safetensors",
        "orbax": "orbax-folder",
    }
    assert [items[f"run/{name}"].step for name in ("model-1", "model-2", "old-3")] == [1, 2, 3]
    assert items["run/model-2"].facts["in_state"]
    assert items["run/model-2"].facts["graph"]
    assert not items["run/model-1"].facts["graph"]
    assert (items["run"].step, items["run"].facts["files"], items["run"].facts["tags"]) == (9, 2, 1)
    assert items["orbax"].size == 102
    saved_model = FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model"
    assert items["exported/1"].size == sum(path.stat().st_size for path in saved_model.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "data", "path", "words"),
    [
        ("run/model-1.data-00000-of-00001", None, "run/model-1", "model-1.data-00000-of-00001"),
        ("run/model-1.index", None, "run/model-1", "model-1.index does not exist"),
        ("run/model-1.index", b"<html>", "run/model-1", "HTML"),
        ("run/checkpoint", b"<html>", "run/checkpoint", "HTML"),
        ("run/checkpoint", b'model_checkpoint_path: "gone-7"', "run/checkpoint", "'gone-7', which does not exist"),
        ("run/events.out.tfevents.2", events(6)[:-3], "run", "incomplete"),
        ("run/events.out.tfevents.2", events(6, 7, 8)[:60] + b"x" + events(6, 7, 8)[61:], "run", "damaged"),
        ("run/events.out.tfevents.3", b"version https://git-lfs.github.com/spec/v1\n", None, "Git LFS"),
        ("exported/1/saved_model.pb", b"<html>", "exported/1", "saved_model.pb is an HTML page"),
        ("exported/1/variables/variables.index", None, "exported/1", "variables.index does not exist"),
        ("run/model.ckpt-5_temp_0123456789abcdef0123456789abcdef/part-00000", b"x", None, "was not finished"),
        ("graphs/index.txt", "run/model-1.index", None, "must end in .index"),
        ("graphs/curves", events(1), None, "tfevents"),
        ("graphs/model.h5", GRAPH, None, "has the suffix .h5, but is a GraphDef"),
        ("graphs/model.onnx", b"random bytes\0", None, "suffix .onnx, but is damaged, or belongs to another program"),
        ("graphs/model.npz", b"", None, "is empty"),
        ("graphs/weights.bin", bytes(100), None, "zero bytes"),
        ("graphs/saved_model (1).pb", "exported/1/saved_model.pb", None, "must be named saved_model.pb"),
        ("run/checkpoint", b'all_model_checkpoint_paths: "model-1"', "run/checkpoint", "names no checkpoint"),
        ("graphs/page.bin", b"<!doctype html><html>", None, "HTML page"),
    ],
)
def test_what_is_wrong(tree: Path, name: str, data: bytes | str | None, path: str | None, words: str) -> None:
    target = tree / name
    if data is None:
        target.unlink()
    else:
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((tree / data).read_bytes() if isinstance(data, str) else data)
    found = overview(tree)
    assert not found.ok
    (item,) = [item for item in found.items if item.problem]
    where = path or (name if "_temp" not in name else os.path.dirname(name))
    assert os.path.relpath(item.path, tree) == where
    assert words in (item.problem or "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.html", b"<html></html>"),
        ("__init__.py", b""),
        ("book.index", b"an index of another program"),
        ("._model-1.index", b"\0\x05\x16\x07\0\x02\0\0"),
        ("archive.zip", b"PK\x03\x04" + bytes(40)),
        ("data.gz", b"\x1f\x8b\x08\0"),
    ],
)
def test_what_is_not_wrong(tree: Path, name: str, data: bytes) -> None:
    (tree / "run" / name).write_bytes(data)
    assert overview(tree).ok


def test_an_empty_path() -> None:
    with pytest.raises(MissingFileError, match="the path is empty"):
        overview("")


def test_folders_of_other_programs(tree: Path) -> None:
    for name in ("#recycle", ".snapshot", "~old", ".hidden"):
        shutil.copytree(tree / "run", tree / "new" / name)
    found = {os.path.relpath(item.path, tree / "new") for item in overview(tree / "new").items if item.kind == "run"}
    # What begins as a file of another program would is a folder like any other.
    assert found == {"~old", ".hidden"}
    with tfbundle.open_events(tree / "new") as log:
        assert set(log.runs) == found
    assert {
        os.path.relpath(os.path.dirname(one.prefix), tree / "new")
        for one in tfbundle.verify(tree / "new", all=True).checkpoints
    } == found


def test_other_paths(tree: Path) -> None:
    for name in ("model-2", "model-2.index", "model-2.data-00000-of-00001"):
        found = overview(tree / "run" / name)
        assert found.kind == "checkpoint"
        (item,) = found.items
        assert (item.path, item.step) == (str(tree / "run" / "model-2"), 2)
    assert overview(tree / "run" / "old-3").items[0].description == "a V1 checkpoint"
    assert overview(tree / "graphs" / "frozen.pb").kind == "graph"
    assert overview(tree / "run" / "events.out.tfevents.2").items[0].step == 9
    state = overview(tree / "run" / "checkpoint")
    assert (state.kind, state.items[0].facts["latest"]) == ("state", "model-2")
    assert overview(tree / "exported" / "1").kind == "saved-model-folder"
    for name in ("nowhere", "run/nowhere", "nowhere/model"):
        with pytest.raises(MissingFileError, match="no file, folder or checkpoint"):
            overview(tree / name)


def test_a_prefix_comes_before_a_state_file_and_a_folder(tree: Path) -> None:
    write_bundle(tree / "run" / "checkpoint", ONES)
    assert overview(tree / "run" / "checkpoint").kind == "checkpoint"
    (tree / "run" / "model-1").mkdir()
    assert overview(tree / "run" / "model-1").kind == "checkpoint"


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are otherwise on this system")
@pytest.mark.parametrize("name", ["._m", "~", "m-1 (conflicted copy 2024-01-02)"])
def test_a_prefix_with_the_name_of_a_sidecar(tmp_path: Path, name: str) -> None:
    """In the folder it is left aside; a caller who passes its path means it."""
    tfbundle.save(tmp_path / name, {"v": [1.0]})
    tfbundle.save(tmp_path / "m-1", {"v": [1.0]})
    assert [Path(item.path).name for item in overview(tmp_path).items] == ["m-1"]
    found = overview(tmp_path / name)
    assert [(item.kind, item.problem) for item in found.items] == [("checkpoint", None)]


def test_links_pipes_and_circles(tree: Path) -> None:
    before = by_path(tree)
    (tree / "run" / "up").symlink_to(tree)
    (tree / "graphs" / "again").symlink_to(tree / "run")
    (tree / "dangling").symlink_to(tree / "gone")
    os.mkfifo(tree / "graphs" / "pipe")
    found = overview(tree)
    assert found.ok
    assert len(found.items) == len(before)


def test_what_cannot_be_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = walk.kind_of

    def refuse(path: object) -> object:
        if str(path).endswith("frozen.pb"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)  # type: ignore[arg-type]

    monkeypatch.setattr(walk, "kind_of", refuse)
    (item,) = [item for item in overview(tree).items if item.problem]
    assert (item.kind, item.problem) == ("unreadable", "cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("limit", "enough", "too_few"), [("_MOST_FOLDERS", 12, 3), ("_MOST_FILES", 100, 5), ("_MOST_EVENTS", 1000, 100)]
)
def test_there_is_a_limit(tree: Path, monkeypatch: pytest.MonkeyPatch, limit: str, enough: int, too_few: int) -> None:
    monkeypatch.setattr(walk, limit, enough)
    assert overview(tree).complete
    monkeypatch.setattr(walk, limit, too_few)
    assert not overview(tree).complete


def test_so_many_graphs_are_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read to see whether variables are missing."""
    shutil.copytree(tree / "exported" / "1", tree / "exported" / "2")
    for number in (1, 2):
        shutil.rmtree(tree / "exported" / str(number) / "variables")
    size = (tree / "exported" / "1" / "saved_model.pb").stat().st_size
    for most, expected in ((2 * size, 2), (2 * size - 1, 1), (0, 0)):
        monkeypatch.setattr(walk, "_MOST_GRAPHS", most)
        found = overview(tree)
        assert (sum(item.problem is not None for item in found.items), found.complete) == (expected, expected == 2)


def test_deep_trees(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(200):
        deep = deep / "d"
    deep.mkdir(parents=True)
    write_bundle(deep / "model-7", ONES)
    (item,) = overview(tmp_path).items
    assert (item.kind, item.step) == ("checkpoint", 7)


# The variables of a SavedModel under another name, or elsewhere: as ``load`` and ``verify`` say it.

INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"


@pytest.mark.parametrize(
    ("renamed", "words"),
    [
        ({"variables": "variables (1)"}, "contains variables.index: rename the folder to variables"),
        ({"variables": "Variables"}, "contains variables.index: rename the folder to variables"),
        ({INDEX: "variables.index", DATA: "variables.data-00000-of-00001"}, "its data files to the folder variables"),
        ({INDEX: INDEX + ".txt"}, "variables.index.txt is an index: rename it to variables.index"),
        ({INDEX: INDEX + " (1)", DATA: DATA + " (1)"}, "variables.index (1) is an index: rename it to variables.index"),
        ({INDEX: "variables/model.index"}, "model.index exists: rename it to variables.index, and its data files"),
        ({DATA: DATA + " (1)"}, "(1) exists: rename it to variables.data-00000-of-00001"),
        ({DATA: "variables/VARIABLES.DATA-00000-OF-00001"}, "rename it to variables.data-00000-of-00001"),
        ({"variables": "../elsewhere"}, "variables.index does not exist"),
        ({INDEX: "../index", DATA: "../data"}, "variables.index does not exist"),
    ],
)
def test_variables_of_a_saved_model(tree: Path, renamed: dict[str, str], words: str) -> None:
    model = tree / "exported" / "1"
    for old, new in renamed.items():
        (model / old).rename(model / new)
    problem = by_path(tree)["exported/1"].problem or ""
    assert words in problem
    findings = [finding for finding in tfbundle.verify(model).findings if finding.kind == "missing"]
    assert [words in finding.message for finding in findings] == [True]
    with pytest.raises(MissingFileError) as caught:
        tfbundle.load(model)
    assert words in str(caught.value)
    if DATA not in renamed or INDEX in renamed:
        assert str(caught.value) == problem == findings[0].message


def test_a_saved_model_without_variables_needs_none(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    meta_graph = encode_field(1, encode_field(4, b"serve")) + encode_field(2, GRAPH)
    (tmp_path / "model" / "saved_model.pb").write_bytes(encode_field(1, 1) + encode_field(2, meta_graph))
    write_bundle(tmp_path / "model" / "beside-1", ONES)
    assert {path: item.problem for path, item in by_path(tmp_path).items()} == {"model": None, "model/beside-1": None}
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\x08\x01\x12")
    assert by_path(tmp_path)["model"].problem


@pytest.mark.parametrize(("form", "is_found"), [("{}~", True), ("{}.part", True), (".{}.crc", False), ("~{}", False)])
def test_copies_whose_original_is_not_there(tmp_path: Path, form: str, is_found: bool) -> None:
    write_bundle(tmp_path / "m-1", ONES)
    index = tmp_path / "m-1.index"
    copy = index.with_name(form.format(index.name))
    shutil.copy(index, copy)
    assert set(by_path(tmp_path)) == {"m-1"}
    for path in (index, tmp_path / "m-1.data-00000-of-00001"):
        path.unlink()
    found = by_path(tmp_path)
    assert set(found) == ({copy.name} if is_found else set())
    assert all("rename it to m-1.index" in (item.problem or "") for item in found.values())
