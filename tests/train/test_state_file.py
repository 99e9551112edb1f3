"""State files beside TensorFlow's, and what is made of checkpoints that are no longer wanted."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.bundle_writer import write_bundle
from tests.train.twins import tree
from tfbundle import train
from tfbundle.errors import MissingFileError

TIMES = [0.0, 1.0, 1.5, 1e15, 1e16, 123456789.123456789, 1e-7, float("inf"), -2.0]
ARGUMENTS: list[dict[str, Any]] = [
    {"model_checkpoint_path": "m-1"},
    {"model_checkpoint_path": "m-2", "all_model_checkpoint_paths": ["m-1"]},
    {"model_checkpoint_path": "m-2", "all_model_checkpoint_paths": ["m-1", "m-2"]},
    {"model_checkpoint_path": "/a/m-2", "all_model_checkpoint_paths": ["m-1", "/a/m-2"]},
    {"model_checkpoint_path": "run/m", "all_model_checkpoint_paths": ["run/l", "../k", "run/m"]},
    *({"model_checkpoint_path": "m", "last_preserved_timestamp": time} for time in TIMES),
    {
        "model_checkpoint_path": "m",
        "all_model_checkpoint_paths": [*map(str, range(8)), "m"],
        "all_model_checkpoint_timestamps": TIMES,
    },
    {"model_checkpoint_path": "m", "latest_filename": "latest"},
    {"model_checkpoint_path": "".join(map(chr, range(1, 300)))},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("folder", ["{root}", "run", "./run", "."])
def test_against_tensorflow(
    tf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], folder: str
) -> None:
    found = []
    for name, module in (("ours", train), ("theirs", tf.compat.v1.train)):
        (tmp_path / name / "run").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        given = {key: list(value) if isinstance(value, list) else value for key, value in arguments.items()}
        module.update_checkpoint_state(folder.format(root=tmp_path / name), **given)
        given = {key: list(value) if isinstance(value, list) else value for key, value in arguments.items()}
        given.pop("latest_filename", None)
        proto = module.generate_checkpoint_state_proto(folder, **given)
        found.append((tree(tmp_path / name), proto.SerializeToString()))
    assert found[0] == found[1]
    assert len(found[0][0]) == 1


def test_lists_are_left_as_they_are() -> None:
    paths = ["run/a"]
    state = train.generate_checkpoint_state_proto("run", "run/b", paths)
    assert paths == ["run/a"]
    assert list(state.all_model_checkpoint_paths) == ["a", "b"]


def test_times_that_do_not_add_up(tf: Any, tmp_path: Path) -> None:
    for module in (train, tf.compat.v1.train):
        with pytest.raises(ValueError, match="timestamps"):
            module.update_checkpoint_state(str(tmp_path), "m", all_model_checkpoint_timestamps=[1.0, 2.0])
    assert tree(tmp_path) == {}


def test_a_checkpoint_that_is_called_as_the_state_file(tf: Any, tmp_path: Path) -> None:
    for module in (train, tf.compat.v1.train):
        with pytest.raises(RuntimeError, match=r"state"):
            module.update_checkpoint_state(str(tmp_path), str(tmp_path / "checkpoint"))
    for path in ("checkpoint", tmp_path / "checkpoint"):
        with pytest.raises(RuntimeError, match="both a checkpoint and the state file"):
            train.update_checkpoint_state(tmp_path, path)
    assert tree(tmp_path) == {}


def test_an_absent_folder_and_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFileError):
        train.update_checkpoint_state(tmp_path / "none", "m")
    train.update_checkpoint_state(tmp_path, "m-1")
    before = tree(tmp_path)

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        train.update_checkpoint_state(tmp_path, "m-2")
    assert tree(tmp_path) == before


def test_mode_of_a_state_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        train.update_checkpoint_state(tmp_path, "m")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "checkpoint").stat().st_mode) == 0o644


class TestRemoval:
    FILES = (
        "m.index",
        "m.meta",
        "m.data-00000-of-00002",
        "m.data-00001-of-00002",
        "m",
        "m-00000-of-00002",
        "m-00001-of-00002",
        "m-00001-of-00002.meta",
        "m.graph",
        "mm.index",
        "m.index.bak",
    )

    @pytest.mark.parametrize("version", [train.SaverDef.V1, train.SaverDef.V2])
    @pytest.mark.parametrize("suffix", ["meta", "graph"])
    @pytest.mark.parametrize("prefix", ["m", "m-?????-of-00002", "none"])
    def test_remove_checkpoint(self, tf: Any, tmp_path: Path, version: Any, suffix: str, prefix: str) -> None:
        left = []
        for name, module in (("ours", train), ("theirs", tf.compat.v1.train)):
            (tmp_path / name).mkdir()
            for file in self.FILES:
                (tmp_path / name / file).write_bytes(b"x")
            module.remove_checkpoint(str(tmp_path / name / prefix), version, suffix)
            left.append(sorted(os.listdir(tmp_path / name)))
        assert left[0] == left[1]
        assert len(left[0]) < len(self.FILES) or prefix == "none"

    def test_absent_folder(self, tmp_path: Path) -> None:
        train.remove_checkpoint(tmp_path / "none" / "m")

    def test_mtimes(self, tf: Any, tmp_path: Path) -> None:
        write_bundle(tmp_path / "v2", {"a": np.arange(2)})
        for number, name in enumerate(("v1", "sharded-00001-of-00002", "v2.index", "v2")):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, ns=(0, 1_700_000_000_123_456_789 + number * 10**9))
        prefixes = [str(tmp_path / name) for name in ("v2", "none", "v1", "sharded-?????-of-00002")]
        ours = train.get_checkpoint_mtimes(prefixes)
        assert ours == pytest.approx([1_700_000_002.123, 1_700_000_000.123, 1_700_000_001.123], abs=0.001)
        assert ours == pytest.approx(
            tf.compat.v1.train.get_checkpoint_mtimes(prefixes), abs=1
        )  # Its are whole seconds.
