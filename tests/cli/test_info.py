"""The command info, and that others agree with it."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.bundle_writer import write_bundle
from tests.support.command import refusal, run, run_json
from tests.support.expected import FIXTURES

ONES = {"w": np.ones(3, np.float32)}


def test_a_checkpoint(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model-7", ONES)
    result = run("info", tmp_path / "model-7.index")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert (lines["kind"], lines["step"], lines["format"]) == ("a V2 checkpoint", "7", "v2")
    assert lines["next:"] == f"tfbundle ls {tmp_path / 'model-7'}"


def test_a_file_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(20))
    lines = dict(line.split(None, 1) for line in run("info", tmp_path / "m.gguf").stdout.splitlines())
    assert (lines["kind"], lines["advice"]) == ("a GGUF model of llama.cpp", "read it with the gguf package")


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b/model-10", "b/model-9", "a/m 1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_bundle(tmp_path / name, ONES)
    (tmp_path / "a" / "page.index").write_text("<html>")
    (tmp_path / "a" / "notes").write_text("x")
    result = run("info", tmp_path)
    assert (result.exit_code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:5]] == ["kind", "checkpoint", "html", "checkpoint", "checkpoint"]
    places = [line.split()[1] for line in lines[2:5]]
    assert places == ["a/page.index", "b/model-9", "b/model-10"]
    assert "a/page.index: is an HTML page, probably of a failed download" in lines
    assert lines[-2] == f"{tmp_path}: a folder; 3 checkpoints, 1 html file, 1 other file (1 B) in 3 folders"
    assert lines[-1] == f"next: tfbundle ls {tmp_path / 'b' / 'model-10'}"
    found = run_json("info", tmp_path, status=1)
    assert (found["ok"], found["kind"], len(found["items"]), found["complete"]) == (False, "folder", 4, True)
    assert found["next"] == [f"tfbundle ls {tmp_path / 'b' / 'model-10'}"]
    assert run_json("info", tmp_path / "a" / "m 1")["next"] == [f"tfbundle ls '{tmp_path / 'a' / 'm 1'}'"]


def test_the_summary_counts_nouns(tmp_path: Path) -> None:
    for number in range(2):
        write_bundle(tmp_path / f"m-{number}", ONES)
        (tmp_path / f"{number}.rar").write_bytes(b"Rar!\x1a\x07\x01\0" + bytes(20))
        (tmp_path / f"{number}.onnx").write_bytes(b"")
        (tmp_path / f"m_temp_{number:032x}").mkdir()
    (tmp_path / "a.h5").write_bytes(bytes(100))
    (tmp_path / "copy").write_bytes((tmp_path / "m-1.index").read_bytes())
    line = next(line for line in run("info", tmp_path).stdout.splitlines() if line.startswith(f"{tmp_path}: "))
    counts = line.partition("; ")[2].partition(", 0 other")[0].split(", ")
    assert sorted(counts) == [
        "1 bundle-index",
        "1 zeros file",
        "2 checkpoints",
        "2 empty files",
        "2 incomplete checkpoints",
        "2 rar files",
    ]


def test_an_empty_folder(tmp_path: Path) -> None:
    assert run("info", tmp_path).stdout == f"{tmp_path}: a folder; 0 other files (0 B) in 1 folder\n"


def test_nothing_there(tmp_path: Path) -> None:
    assert "there is no file, folder or checkpoint" in refusal("info", tmp_path / "gone")


# state says the same of a folder, and where to look if there is nothing in it.


def test_state_of_a_folder_above(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_bundle(tmp_path / "run" / "model-1", ONES)
    result = run("state", tmp_path)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        f"0 checkpoints; there is no {tmp_path / 'checkpoint'}",
        f"checkpoints found in {tmp_path / 'run'}",
    ]
    assert run_json("state", tmp_path, status=1)["elsewhere"] == [str(tmp_path / "run")]
    assert run_json("state", tmp_path / "run")["elsewhere"] == []


def test_state_of_an_empty_folder(tmp_path: Path) -> None:
    result = run("state", tmp_path)
    assert (result.exit_code, result.stdout) == (1, f"0 checkpoints; there is no {tmp_path / 'checkpoint'}\n")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("page.index", b"<!doctype html><html>", "HTML"),
        ("model-2.index", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("weights.h5", b"<html>", "HTML"),
        ("model-3.index", bytes(300), "zero bytes"),
    ],
)
def test_state_names_what_info_names(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    write_bundle(tmp_path / "model-1", ONES)
    assert run("state", tmp_path).exit_code == 0
    (tmp_path / name).write_bytes(data)
    for command in ("state", "info"):
        result = run(command, tmp_path)
        assert result.exit_code == 1
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"{name}: ")]
        assert words in line
    (problem,) = run_json("state", tmp_path, status=1)["problems"]
    assert problem["path"] == str(tmp_path / name)


def test_state_of_folders_that_only_look_empty(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m-1", {"v": np.ones(3)})
    (tmp_path / "m-1.index.gz").write_bytes(gzip.compress((tmp_path / "m-1.index").read_bytes()))
    for name in ("m-1.index", "m-1.data-00000-of-00001"):
        (tmp_path / name).unlink()
    result = run("state", tmp_path)
    assert result.exit_code == 1
    assert "m-1.index.gz: is a gzip file: unpack it to m-1.index" in result.stdout
    (tmp_path / "m-1.index.gz").rename(tmp_path / "m-1.tar.gz")
    assert "m-1.tar.gz is a gzip file: unpack it first" in run("state", tmp_path).stdout
    model = shutil.copytree(FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model", tmp_path / "model")
    assert f"checkpoints found in {model / 'variables'}" in run("state", model).stdout
    shutil.rmtree(model / "variables")
    assert "checkpoints found in" not in run("state", model).stdout


@pytest.mark.parametrize("size", [10, 60, -1])
def test_a_truncated_index_without_data(tmp_path: Path, size: int) -> None:
    write_bundle(tmp_path / "m-1", {"v": np.ones(3)})
    (tmp_path / "m-1.data-00000-of-00001").unlink()
    index = tmp_path / "m-1.index"
    index.write_bytes(index.read_bytes()[:size])
    for command in ("info", "state"):
        found = run_json(command, tmp_path, status=1)
        (item,) = found["items" if command == "info" else "checkpoints"]
        assert "truncated" in item["problem"]


@pytest.mark.parametrize(
    ("name", "is_problem"),
    [("model.ckpt-3.index", True), ("variables.index", True), ("model.index", False), ("pack.meta", False)],
)
def test_the_name_of_a_checkpoint_with_unknown_content(tmp_path: Path, name: str, is_problem: bool) -> None:
    (tmp_path / name).write_bytes(b"\1\2\3\xff" * 50)
    found = run_json("info", tmp_path, status=int(is_problem))
    assert [item["path"] for item in found["items"]] == [str(tmp_path / name)] * is_problem


def test_models_of_others_can_be_scanned() -> None:
    path = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model"
    assert f"tfbundle scan {path}" in run_json("info", path)["next"]
    path = FIXTURES / "tf-2.21.0" / "many-keys"
    assert not [line for line in run_json("info", path)["next"] if " scan " in line]
