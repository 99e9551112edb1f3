"""``state --repair``: what it writes in place of a state file that is gone, stale or broken, and what it leaves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.checkpoint.test_overwriting import contents
from tests.support.command import outcome, refusal
from tests.support.expected import FIXTURES
from tfbundle.limits import LARGEST_NOTE

BROKEN = {
    "empty": b"",
    "zeros": bytes(100),
    "cut in a string": b'model_checkpoint_path: "model-1"\nall_model_checkpoint_paths: "mod',
    "cut in a name": b'model_checkpoint_path: "model-1"\nall_mod',
    "another text": b"see the other folder\n",
    "an unknown field": b'model_checkpoint_path: "model-1"\nbest: 3\n',
    "a merge conflict": b'<<<<<<< ours\nmodel_checkpoint_path: "model-1"\n=======\n',
    "UTF-16 with an error": 'model_checkpoint_path: "model-'.encode("utf-16"),
    "noise": np.random.default_rng(1).bytes(300),
}
PATHS = ["model-1", "model-2", "model-10"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three checkpoints, and a state file that is right."""
    for path in PATHS:
        tfbundle.save(tmp_path / path, {"a": np.float32(1)})
    tfbundle.train.update_checkpoint_state(tmp_path, PATHS[-1], PATHS)
    return tmp_path


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_state_file_is_made_again(folder: Path, data: bytes) -> None:
    (folder / "checkpoint").write_bytes(data)
    before = contents(folder)
    code, out, _ = outcome("state", "--repair", "--dry-run", folder)
    assert code == 0
    assert f'model_checkpoint_path: "{PATHS[-1]}"' in out
    assert contents(folder) == before
    assert outcome("state", "--repair", "--yes", folder)[0] == 0
    assert tfbundle.read_checkpoint_state(folder).all_model_checkpoint_paths == PATHS
    assert tfbundle.latest_checkpoint(folder) == str(folder / PATHS[-1])
    assert {**contents(folder), "checkpoint": b""} == {**before, "checkpoint": b""}
    assert "needs no repair" in outcome("state", "--repair", folder)[1]


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_it_shows_what_it_would_write_and_asks(folder: Path, answer: str, written: bool) -> None:
    (folder / "checkpoint").write_text('model_checkpoint_path: "/gone/model-2"')
    before = contents(folder)
    code, out, _ = outcome("state", "--repair", folder, answer=answer)
    shown, question = out.split("Write it?")
    assert 'model_checkpoint_path: "model-2"' in shown
    assert "[y/N]" in question
    assert (code == 0) is written
    assert (contents(folder) != before) is written
    assert (tfbundle.read_checkpoint_state(folder).model_checkpoint_path == "model-2") is written


@pytest.mark.parametrize("change", ["gone", "stale", "moved"])
def test_what_else_may_be_wrong(folder: Path, change: str) -> None:
    state = folder / "checkpoint"
    if change == "gone":
        state.unlink()
    elif change == "stale":
        tfbundle.train.update_checkpoint_state(folder, "/old/run/model-10", [f"/old/run/{path}" for path in PATHS])
    else:
        folder = folder.rename(folder.with_name("moved"))
        paths = [f"/old/{path}" for path in ["model-0", *PATHS]]
        tfbundle.train.update_checkpoint_state(folder, paths[-1], paths)
    assert outcome("state", "--repair", "--yes", folder)[0] == 0
    found = tfbundle.read_checkpoint_state(folder)
    assert (found.model_checkpoint_path, found.all_model_checkpoint_paths) == (PATHS[-1], PATHS)


def test_a_state_file_of_another_name(folder: Path) -> None:
    (folder / "best").write_bytes(b"\0")
    assert outcome("state", "--repair", "--yes", folder / "best")[0] == 0
    assert tfbundle.read_checkpoint_state(folder, "best").all_model_checkpoint_paths == PATHS


@pytest.mark.parametrize(
    "file",
    [
        "tf-1.15.5/v1-blocks/bundle",
        "tf-2.21.0/strings/bundle.index",
        "tf-2.21.0/keras-saved-model/model/saved_model.pb",
    ],
)
def test_files_of_other_kinds_stay(folder: Path, file: str) -> None:
    (folder / "checkpoint").write_bytes((FIXTURES / file).read_bytes())
    before = contents(folder)
    assert str(folder / "checkpoint") in refusal("state", "--repair", "--yes", folder)
    with pytest.raises(tfbundle.FormatError):
        tfbundle.repair_state(folder)
    assert contents(folder) == before


@pytest.mark.parametrize(("size", "repaired"), [(LARGEST_NOTE, True), (LARGEST_NOTE + 1, False)])
def test_a_file_too_large_for_a_state_stays(folder: Path, size: int, repaired: bool) -> None:
    os.truncate(folder / "checkpoint", size)
    if repaired:
        assert tfbundle.repair_state(folder)
    else:
        with pytest.raises(tfbundle.FormatError):
            tfbundle.repair_state(folder)
    assert ((folder / "checkpoint").stat().st_size < 1000) is repaired


def test_a_folder_without_a_complete_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"\0")
    (tmp_path / "model-1.data-00000-of-00001").write_bytes(b"")
    assert "no complete checkpoint" in refusal("state", "--repair", "--yes", tmp_path)
    assert (tmp_path / "checkpoint").read_bytes() == b"\0"
