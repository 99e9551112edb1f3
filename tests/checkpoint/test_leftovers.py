"""What interrupted saves leave is listed, and removed unless it is young; a state file is made again."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.checkpoint.test_overwriting import contents, run_stopping, save, step_of
from tests.support.command import outcome
from tfbundle.checkpoint.leftovers import YOUNGEST_AGE

UNFINISHED = "model-2_temp_0123456789abcdef0123456789abcdef"


@pytest.fixture
def run() -> Any:
    return partial(outcome, "state")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    for inner in (*path.glob("*"), path):
        os.utime(inner, (then, then))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint, and a file and a folder of saves that were interrupted."""
    save(tmp_path / "model-1", 0)
    (tmp_path / "model-2.index.tempstate1234567890123456789").write_bytes(b"abc")
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"12")
    tfbundle.train.update_checkpoint_state(tmp_path, "model-1")
    return tmp_path


def test_leftovers_are_listed(folder: Path, run: Any) -> None:
    found = tfbundle.list_leftovers(folder)
    assert [(Path(item.path).name, item.size) for item in found] == [
        ("model-2.index.tempstate1234567890123456789", 3),
        (UNFINISHED, 2),
    ]
    assert all(item.is_young() for item in found)
    code, out, _ = run(folder)
    assert code == 0
    assert "2 leftovers of interrupted saves" in out
    assert [item["path"] for item in json.loads(run("--json", folder)[1])["leftovers"]] == [item.path for item in found]


@pytest.mark.parametrize(("seconds", "is_removed"), [(YOUNGEST_AGE - 60, False), (YOUNGEST_AGE + 60, True)])
def test_only_old_leftovers_are_removed(folder: Path, run: Any, seconds: float, is_removed: bool) -> None:
    for item in tfbundle.list_leftovers(folder):
        age(Path(item.path), seconds)
    code, out, _ = run("--clean", "--dry-run", folder)
    assert code == 0
    assert out.count("would remove" if is_removed else "kept") == 2
    assert len(tfbundle.list_leftovers(folder)) == 2
    code, out, _ = run("--clean", folder)
    assert (code, out.count("removed:")) == (0, 2 * is_removed)
    assert len(tfbundle.list_leftovers(folder)) == (0 if is_removed else 2)
    assert step_of(folder / "model-1") == 0
    assert (folder / "checkpoint").exists()


def test_a_young_file_keeps_the_others_of_its_save(folder: Path) -> None:
    """A shard that was complete early is part of a save that continues."""
    with tfbundle.CheckpointWriter(folder / "model-3", shards=2) as writer:
        names = sorted(folder.glob("model-3.*"))
        assert len(names) == 2
        age(names[0], 2 * YOUNGEST_AGE)
        assert tfbundle.remove_leftovers(folder) == []
        writer.add("a", 1)
    assert tfbundle.load(folder / "model-3")["a"] == 1


def test_a_folder_with_a_young_file_is_kept(folder: Path) -> None:
    then = time.time() - 2 * YOUNGEST_AGE
    os.utime(folder / UNFINISHED, (then, then))
    assert tfbundle.remove_leftovers(folder) == []


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], list[Path]]:
    return run_stopping(tmp_path_factory.mktemp("stopped"), (1, 1), (3, 3))


@pytest.mark.parametrize("shards", [1, 3])
def test_whatever_a_stopped_save_left_is_removed(stopped: dict[tuple[int, int], list[Path]], shards: int) -> None:
    seen = 0
    for here in stopped[shards, shards]:
        step = step_of(here / "model")
        for path in here.iterdir():
            age(path, 2 * YOUNGEST_AGE)
        seen += len(tfbundle.remove_leftovers(here))
        assert step_of(here / "model") == step
        names = {path.name.split(".")[1] for path in here.iterdir()}
        assert not any(".tempstate" in path.name for path in here.iterdir())
        assert len(names) in (shards + 1, shards + 2)
    assert seen > 10


def test_data_files_of_their_own_are_not_leftovers(tmp_path: Path) -> None:
    save(tmp_path / "model", 0)
    (tmp_path / "model.data-00000-of-00003").write_bytes(b"perhaps of value")
    (tmp_path / "model.data-00001-of-00003").write_bytes(b"")
    (tmp_path / "model.data-00002-of-00003").hardlink_to(tmp_path / "model.data-00000-of-00001")
    (tmp_path / "other.data-00000-of-00003").write_bytes(b"")
    found = [Path(item.path).name for item in tfbundle.list_leftovers(tmp_path)]
    assert found == ["model.data-00001-of-00003", "model.data-00002-of-00003"]


def test_a_state_file_is_made_again(tmp_path: Path, run: Any) -> None:
    for step in (9, 10, 100):
        tfbundle.save(tmp_path / f"model-{step}", {"a": step})
    (tmp_path / "model-11.data-00000-of-00001").write_bytes(b"incomplete")
    code, out, _ = run("--repair", "--dry-run", tmp_path)
    assert code == 0
    assert 'model_checkpoint_path: "model-100"' in out
    assert not (tmp_path / "checkpoint").exists()
    assert run("--repair", "--yes", tmp_path)[0] == 0
    state = tfbundle.read_checkpoint_state(tmp_path)
    assert state.all_model_checkpoint_paths == ["model-9", "model-10", "model-100"]
    assert state.all_model_checkpoint_timestamps == [
        (tmp_path / f"{path}.index").stat().st_mtime for path in state.all_model_checkpoint_paths
    ]
    assert tfbundle.latest_checkpoint(tmp_path) == str(tmp_path / "model-100")
    assert tfbundle.plan_repair(tmp_path) is None
    assert "needs no repair" in run("--repair", tmp_path)[1]


def test_stale_paths_become_those_that_lie_there(tmp_path: Path) -> None:
    for step in (1, 2):
        tfbundle.save(tmp_path / f"model-{step}", {"a": step})
    paths = ["/gone/run/model-0", "/gone/run/model-1", str(tmp_path / "model-2")]
    tfbundle.train.update_checkpoint_state(
        tmp_path, paths[2], paths, all_model_checkpoint_timestamps=[0.5, 1.5, 2.5], last_preserved_timestamp=0.25
    )
    assert tfbundle.repair_state(tmp_path)
    state = tfbundle.read_checkpoint_state(tmp_path)
    assert state.all_model_checkpoint_paths == ["model-1", str(tmp_path / "model-2")]
    assert state.all_model_checkpoint_timestamps == [1.5, 2.5]
    assert state.last_preserved_timestamp == 0.25
    assert state.model_checkpoint_path == str(tmp_path / "model-2")
    assert not tfbundle.repair_state(tmp_path)


def test_tensorflow_reads_a_repaired_state_file(tmp_path: Path) -> None:
    train = pytest.importorskip("tensorflow").train
    tfbundle.save(tmp_path / "model-7", {"a": np.float32(7)})
    tfbundle.train.update_checkpoint_state(tmp_path, "/gone/model-8", ["/gone/model-7", "/gone/model-8"])
    assert train.latest_checkpoint(str(tmp_path)) is None
    assert tfbundle.repair_state(tmp_path)
    assert train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model-7")


def test_what_cannot_be_repaired_stays(tmp_path: Path, run: Any) -> None:
    code, _, error = run("--repair", "--yes", tmp_path)
    assert code == 2
    assert "no complete checkpoint" in error
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone"')
    before = contents(tmp_path)
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.repair_state(tmp_path)
    assert contents(tmp_path) == before


def test_options_go_together(tmp_path: Path, run: Any) -> None:
    for options in (["--yes"], ["--dry-run"], ["--clean", "--json"]):
        assert run(*options, tmp_path)[0] == 2
