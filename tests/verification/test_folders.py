"""``tfbundle.verify`` of folders: which checkpoints it reads, and which it says that it did not."""

import gc
import gzip
import json
import os
import re
import shutil
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import data_file, write_bundle
from tests.support.command import outcome, refusal, run, run_json
from tests.support.expected import FIXTURES
from tests.support.v1_writer import write_v1

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
EVENT_FILE = FIXTURES / "events-tf-1.15.5" / "every-plugin-1" / "events.out.tfevents.1500000000.host"
SAVED_MODEL = FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model"


def make(folder: Path, *names: str, latest: str | None = None) -> Path:
    """Write a checkpoint of each name, and a state file that names ``latest``."""
    folder.mkdir(exist_ok=True)
    for name in names:
        write_bundle(folder / name, {"v": MATRIX, "w": MATRIX})
    if latest:
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{latest}"\n')
    return folder


def damage(prefix: Path) -> None:
    data = bytearray(data_file(prefix).read_bytes())
    data[5] ^= 1
    data_file(prefix).write_bytes(data)


def test_what_was_not_read_is_listed(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", "m-2", "m-10", latest="m-10")
    damage(folder / "m-2")
    report = tfbundle.verify(folder)
    assert report.ok
    assert report.prefix == str(folder / "m-10")
    assert report.not_checked == (str(folder / "m-1"), str(folder / "m-2"))
    assert "2 not checked" in repr(report)
    status, out, _ = outcome("verify", folder)
    assert status == 0
    assert "not checked: 2 models: m-1, m-2 (--all checks them)" in out
    assert out.splitlines()[-1].startswith(f"{folder}: partly checked, no problem found; 2 tensors, ")
    assert run_json("verify", folder)["not_checked"] == list(report.not_checked)


def test_how_one_that_was_not_read_is_listed(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", "m-2", latest="m-2")
    assert "not checked: 1 model: m-1 (--all checks it)\n" in run("verify", folder).stdout
    whole = run("verify", "--all", folder).stdout
    assert "not checked" not in whole
    assert whole.splitlines()[-1].startswith(f"{folder}: ok; 2 checkpoints, ")


def test_all_checkpoints_of_a_folder(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", "m-2", "m-10", latest="m-10")
    damage(folder / "m-2")
    report = tfbundle.verify(folder, all=True)
    assert not report.ok
    assert [(Path(item.prefix).name, item.recoverable, item.ok) for item in report.checkpoints] == [
        ("m-1", 2, True),
        ("m-2", 1, False),
        ("m-10", 2, True),
    ]
    assert (report.tensors, report.recoverable, report.prefix, report.format) == (6, 5, None, "v2")
    assert report.not_checked == ()
    status, out, _ = outcome("verify", folder, "--all")
    assert status == 1
    lines = out.splitlines()
    assert [line.split() for line in lines if line.startswith("m-") and " of " in line] == [
        ["m-1", "v2", "2", "of", "2", "ok"],
        ["m-2", "v2", "1", "of", "2", "damaged"],
        ["m-10", "v2", "2", "of", "2", "ok"],
    ]
    assert lines[-1].endswith("1 finding; 3 checkpoints, 6 tensors, 480 B verified")
    assert f"save the intact part, 1 of 2 known tensors: tfbundle convert {folder / 'm-2'} OUT.npz --salvage" in out
    assert run_json("verify", folder, "--all", status=1)["checkpoints"][1]["ok"] is False


def test_without_a_state_file_all_are_checked(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "a", "b")
    write_v1(folder / "old", {"v": MATRIX})
    damage(folder / "b")
    report = tfbundle.verify(folder)
    assert [(Path(item.prefix).name, item.format, item.ok) for item in report.checkpoints] == [
        ("a", "v2", True),
        ("b", "v2", False),
        ("old", "v1", True),
    ]
    assert report.format is None
    assert [finding.kind for finding in report.findings] == ["checksum"]


def test_what_is_below_is_listed_and_checked(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    make(folder / "best", "m-7", latest="m-7")
    shutil.copytree(SAVED_MODEL, folder / "export" / "1")
    make(folder / ".Trash-0", "m-3")
    report = tfbundle.verify(folder)
    assert report.not_checked == (str(folder / "best" / "m-7"), str(folder / "export" / "1"))
    report = tfbundle.verify(folder, all=True)
    assert report.ok
    assert report.not_checked == ()
    assert [Path(item.prefix).name for item in report.checkpoints] == ["m-1", "m-7", "variables"]
    assert "graph" in {file.kind for file in report.files}
    damage(folder / "best" / "m-7")
    assert [item.ok for item in tfbundle.verify(folder, all=True).checkpoints] == [True, False, True]
    assert tfbundle.verify(folder).ok


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    try:
        (folder / "again").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    assert len(tfbundle.verify(folder, all=True).checkpoints) == 1
    assert tfbundle.verify(folder).not_checked == ()


def test_an_incomplete_checkpoint_is_not_passed_over(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", "m-2", latest="m-1")
    (folder / "m-2.index").unlink()
    assert tfbundle.verify(folder).not_checked == (str(folder / "m-2"),)
    report = tfbundle.verify(folder, all=True)
    assert [(finding.kind, finding.path) for finding in report.findings] == [("missing", str(folder / "m-2.index"))]
    assert [item.ok for item in report.checkpoints] == [True, False]


def test_a_format_and_all(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", "m-2")
    write_v1(folder / "m-1", {"v": MATRIX})
    shutil.copy(EVENT_FILE, folder)
    report = tfbundle.verify(folder, format="v1", all=True)
    assert [(item.format, item.tensors) for item in report.checkpoints] == [("v1", 1)]
    assert {file.kind for file in report.files} == {"v1"}
    shutil.copytree(SAVED_MODEL, folder / "model")  # Its variables are in the other format.
    report = tfbundle.verify(folder, format="v1", all=True)
    assert (len(report.checkpoints), report.not_checked) == (1, ())
    assert len(tfbundle.verify(folder, format="v2", all=True).checkpoints) == 3


@pytest.mark.parametrize(
    "name", ["checkpoint", "._m-2.index", ".m-2.index.crc", "m-2.index.AbC123", "__MACOSX/m-2.index"]
)
def test_files_of_other_programs(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    (folder / name).parent.mkdir(exist_ok=True)
    if name != "checkpoint":
        (folder / name).write_bytes(b"\0\5\x16\7" + bytes(50))
    for every in (False, True):
        report = tfbundle.verify(folder, all=every)
        assert report.ok
        assert (len(report.checkpoints), report.not_checked) == (1, ())


def test_damage_of_event_files_and_graphs_needs_no_salvage(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    path = Path(shutil.copy(EVENT_FILE, folder))
    for change in (lambda data: data[:-3], lambda data: data[:40] + b"\xff" + data[41:], lambda data: b"<html></html>"):
        path.write_bytes(change(EVENT_FILE.read_bytes()))
        status, out, _ = outcome("verify", folder)
        assert status == 1
        assert "tfbundle convert" not in out
        assert "salvage=True" not in out
    (folder / "graph.pbtxt").write_text("node {")
    assert "tfbundle convert" not in run("verify", folder).stdout
    damage(folder / "m-1")
    assert "--salvage" in run("verify", folder).stdout


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX})
    assert "there is no checkpoint" in refusal("verify", tmp_path / "gone")
    refusal("verify", tmp_path / "gone.index")
    refusal("verify", "--json", tmp_path / "none" / "below")
    # What is there in part is damage.
    (tmp_path / "b.index").unlink()
    assert run("verify", tmp_path / "b").exit_code == 1
    assert run("verify", tmp_path).exit_code == 1
    (tmp_path / "empty").mkdir()
    assert run("verify", tmp_path / "empty").exit_code == 1


def test_names_reach_no_terminal_unescaped(tmp_path: Path) -> None:
    folder = make(tmp_path / "run\x1b[31m", "m\r-1", "m\u202e-2", "x", latest="x")
    damage(folder / "m\r-1")
    for arguments in ((), ("--all",)):
        out = run("verify", *arguments, folder).stdout
        assert out.replace("\n", "").isprintable()


def test_files_that_vanish_while_they_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfbundle.verification import runs

    folder = make(tmp_path / "run", "m-1", "m-2", latest="m-2")
    shutil.copy(EVENT_FILE, folder)
    listed = runs.find_models

    def delete_after_listing(root: object, unreadable: object) -> object:
        models = list(listed(root, unreadable))  # type: ignore[arg-type]
        for path in folder.iterdir():
            path.unlink()
        return models

    monkeypatch.setattr(runs, "find_models", delete_after_listing)
    report = tfbundle.verify(folder, all=True)
    assert {finding.kind for finding in report.findings} == {"missing"}
    assert [item.ok for item in report.checkpoints] == [False, False]


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    ("error", "expected"), [(PermissionError(13, "no"), ["below"]), (FileNotFoundError(2, "no"), [])]
)
def test_folders_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, expected: list[str], every: bool
) -> None:
    """What is in them is not known; one that vanished has nothing in it."""
    from tfbundle.storage.folders import LocalLocation

    folder = make(tmp_path / "run", "m-1", latest="m-1")
    make(folder / "below", "m-2")
    listed = LocalLocation.list

    def refuse(location: LocalLocation) -> object:
        if location.name == "below":
            raise error
        return listed(location)

    monkeypatch.setattr(LocalLocation, "list", refuse)
    report = tfbundle.verify(folder, all=every)
    assert report.ok
    assert report.not_checked == tuple(str(folder / name) for name in expected)
    out = run("verify", folder, *(["--all"] if every else [])).stdout
    assert ("not checked: 1 unreadable folder: " in out) is (every and bool(expected))


# Files that are not what their names say.

PAGE = b"<!DOCTYPE html><html></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


def agreed_problems(folder: Path) -> set[str]:
    """Return the files with problems, on which verify, info and state have to agree."""
    listed = json.loads(run("state", "--json", folder).stdout)
    state = {item["path"] for item in listed["problems"]}
    state |= {item["prefix"] for item in listed["checkpoints"] if not item["complete"]}
    items = json.loads(run("info", "--json", folder).stdout)["items"]
    assert {item["path"] for item in items if item["problem"] and item["kind"] != "run"} == state
    found = {finding.path or "" for finding in tfbundle.verify(folder, all=True).findings}
    assert state <= {re.sub(r"\.(index|data-\d+-of-\d+)$", "", path) for path in found} | found
    return {os.path.relpath(path, folder) for path in state}


def test_placeholders_are_found_and_are_not_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "a.index").write_bytes(PAGE)
    (tmp_path / "b.index").write_bytes(POINTER)
    report = tfbundle.verify(tmp_path)
    assert report.checkpoints == ()
    wrong = [finding for finding in report.findings if finding.kind == "wrong-file"]
    assert [Path(finding.path or "").name for finding in wrong] == ["a.index", "b.index"]
    assert agreed_problems(tmp_path) == {"a.index", "b.index"}


def test_placeholders_beside_a_checkpoint(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    assert agreed_problems(folder) == set()
    (folder / "weights.h5").write_bytes(PAGE)
    (folder / "page.html").write_bytes(PAGE)
    (folder / "m-2.index.txt").write_bytes((folder / "m-1.index").read_bytes())
    (folder / "._m-3.index").write_bytes(PAGE)
    for copy in ("m-1.index (1)", "m-1.index - Copy", "m-1.index.old", "m-1.index.bak"):  # The original exists.
        (folder / copy).write_bytes((folder / "m-1.index").read_bytes())
    assert agreed_problems(folder) == {"weights.h5", "m-2.index.txt"}
    assert [item.ok for item in tfbundle.verify(folder).checkpoints] == [True]
    assert run("verify", folder).exit_code == 1
    assert tfbundle.verify(folder, format="v2").ok


def test_only_so_many_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    for name in ("a.h5", "b.h5", "c.h5"):
        (folder / name).write_bytes(PAGE)
    for most in (2, 3):
        monkeypatch.setattr("tfbundle.verification.misnamed._MOST_OPENED", most)
        assert len(tfbundle.verify(folder).findings) == most


@pytest.mark.parametrize("content", [None, b"", PAGE, POINTER, b"a text"])
def test_a_checkpoint_beside_what_should_be_a_saved_model(tmp_path: Path, content: bytes | None) -> None:
    folder = make(tmp_path / "run", "m-1")
    if content is None:
        (folder / "saved_model.pb").symlink_to(tmp_path / "nowhere")
    else:
        (folder / "saved_model.pb").write_bytes(content)
    assert list(tfbundle.load(folder)) == ["v", "w"]
    assert run("ls", folder).exit_code == 0
    for every in (False, True):
        report = tfbundle.verify(folder, all=every)
        assert [(Path(item.prefix).name, item.ok) for item in report.checkpoints] == [("m-1", True)]
        assert [finding.path for finding in report.findings] == [str(folder / "saved_model.pb")]
        assert report.not_checked == ()


def test_a_checkpoint_beside_a_saved_model(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model", model)
    write_bundle(model / "m-1", {"v": MATRIX})
    report = tfbundle.verify(model)
    assert (report.ok, len(report.checkpoints), report.not_checked) == (True, 1, (str(model / "m-1"),))
    report = tfbundle.verify(model, all=True)
    assert (report.ok, len(report.checkpoints), report.not_checked) == (True, 2, ())
    # A state file means the other one; its index is not compared with the model's fingerprint.
    (model / "checkpoint").write_text('model_checkpoint_path: "m-1"')
    report = tfbundle.verify(model)
    assert (report.ok, len(report.checkpoints), report.not_checked) == (True, 2, ())
    damage(model / "variables" / "variables")
    assert [item.ok for item in tfbundle.verify(model).checkpoints] == [True, False]


def test_one_checkpoint_without_an_index(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1")
    (folder / "m-1.index").rename(folder / "m-1.index.txt")
    report = tfbundle.verify(folder)
    assert [(Path(item.prefix).name, item.ok) for item in report.checkpoints] == [("m-1", False)]
    assert "m-1.index.txt is an index: rename it to m-1.index" in report.findings[0].message
    assert report.not_checked == ()
    assert len(json.loads(run("state", "--json", folder).stdout)["checkpoints"]) == 1


def test_a_state_file_that_names_a_missing_checkpoint(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", latest="gone-2")
    for every in (False, True):
        report = tfbundle.verify(folder, all=every)
        assert ["gone-2" in finding.message for finding in report.findings] == [True]


def test_a_pipe_in_place_of_an_event_file(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", "m-1", latest="m-1")
    os.mkfifo(folder / "events.out.tfevents.1")
    report = tfbundle.verify(folder)
    assert [(finding.kind, "named pipe" in finding.message) for finding in report.findings] == [("wrong-file", True)]
    status, out, _ = outcome("verify", folder)
    assert status == 1
    assert "1 finding" in next(line for line in out.splitlines() if line.startswith("events.out"))
    assert "next:" not in out
    os.mkfifo(tmp_path / "pipe")
    assert "is a named pipe, not a regular file" in refusal("verify", tmp_path / "pipe")


@pytest.mark.effort
def test_many_incomplete_checkpoints_take_no_more_than_each(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m-0", {"v": MATRIX})
    (tmp_path / "m-0.data-00000-of-00001").unlink()
    for step in range(1, 1000):
        shutil.copy(tmp_path / "m-0.index", tmp_path / f"m-{step}.index")
    start = time.process_time()
    report = tfbundle.verify(tmp_path)
    assert time.process_time() - start < 5  # 0.7 s; with a look at all names for each it takes 15 s.
    assert len(report.findings) == len(report.checkpoints) == 1000
    assert sum("copy it next to the index" in finding.message for finding in report.findings) == 20


@pytest.mark.parametrize("other", ["b.index", "b.data-00000-of-00001"])
def test_placeholders_of_data_files_are_not_checkpoints(tmp_path: Path, other: str) -> None:
    names = ("a.data-00000-of-00001", other)
    for name, content in zip(names, (PAGE, POINTER), strict=True):
        (tmp_path / name).write_bytes(content)
    assert tfbundle.list_checkpoints(tmp_path) == []
    assert tfbundle.verify(tmp_path).checkpoints == ()
    assert agreed_problems(tmp_path) == set(names)
    assert "data files but no index" not in refusal("ls", tmp_path)
    # What the state file names, and one of several that is whole, is a checkpoint without its index.
    (tmp_path / "a.data-00001-of-00002").write_bytes(b"\x01\xff")
    (prefix,) = (item.prefix for item in tfbundle.list_checkpoints(tmp_path))
    assert prefix == str(tmp_path / "a")
    assert "a has data files but no index" in refusal("ls", tmp_path)
    (tmp_path / "a.data-00001-of-00002").unlink()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "a"')
    assert [item.prefix for item in tfbundle.list_checkpoints(tmp_path)] == [str(tmp_path / "a")]


@pytest.mark.parametrize("name", ["m-1.index", "m-1.data-00000-of-00001"])
def test_files_that_are_still_compressed(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "run", "m-1")
    packed = folder / f"{name}.gz"
    packed.write_bytes(gzip.compress((folder / name).read_bytes()))
    (folder / "m-1.meta.gz").write_bytes(gzip.compress(b""))
    assert agreed_problems(folder) == set()  # It is a copy.
    (folder / name).unlink()
    assert agreed_problems(folder) == {"m-1", packed.name}
    for path in folder.glob("m-1.[id]*[!z]"):
        path.unlink()
    assert agreed_problems(folder) == {packed.name}
    assert f"is a gzip file: unpack it to {name}" in run("info", folder).stdout


def test_one_model_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the garbage collector does not run."""
    from tfbundle.verification import graphs

    loaded: list[weakref.ref[Any]] = []

    def load(path: str) -> Any:
        assert [one() for one in loaded] == [None] * len(loaded)
        model = load_any(path)
        loaded.extend(weakref.ref(meta.graph) for meta in model.meta_graphs)
        return model

    for number in range(3):
        shutil.copytree(SAVED_MODEL, tmp_path / f"model-{number}")
    load_any = graphs.load_any
    monkeypatch.setattr(graphs, "load_any", load)
    gc.disable()
    try:
        assert tfbundle.verify(tmp_path, all=True).ok
    finally:
        gc.enable()
    assert len(loaded) == 3
