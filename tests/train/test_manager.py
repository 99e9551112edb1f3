"""``CheckpointManager`` beside TensorFlow's: after the same saves the folders are equal, to the byte."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.train.twins import Clock, assert_same_folders, tree
from tfbundle import train
from tfbundle.errors import FormatError

HOUR = 3600


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Both:
    """A pair of managers; what TensorFlow's saves is handed to the other one, in the order in which it lies."""

    def __init__(self, tf: Any, root: Path, **settings: Any) -> None:
        self.tf = tf
        self.folders = root / "ours", root / "theirs"
        self.settings = settings
        self.variable = tf.Variable([1.0, 2.0])
        self.restart()

    def restart(self) -> None:
        self.checkpoint = self.tf.train.Checkpoint(v=self.variable)
        self.theirs = self.tf.train.CheckpointManager(self.checkpoint, str(self.folders[1]), **self.settings)
        if self.theirs.latest_checkpoint is not None:
            self.checkpoint.restore(self.theirs.latest_checkpoint)
        self.ours = train.CheckpointManager(self.folders[0], **self.settings)

    def save(self, number: int | None = None) -> None:
        self.variable.assign_add([1.0, 1.0])
        other = self.theirs.save(checkpoint_number=number)
        with tfbundle.open_checkpoint(other) as checkpoint:
            # The order of the data is that of the graph of objects.
            order = sorted(checkpoint, key=lambda name: checkpoint[name].ranges[0].offset)
            mine = self.ours.save({name: checkpoint[name] for name in order}, checkpoint_number=number)
        assert mine.replace("/ours/", "/theirs/") == other
        self.check()

    def check(self) -> None:
        assert_same_folders(*self.folders)
        mine = [path.replace("/ours/", "/theirs/") for path in self.ours.checkpoints]
        assert mine == self.theirs.checkpoints
        latest = self.ours.latest_checkpoint
        assert (latest and latest.replace("/ours/", "/theirs/")) == self.theirs.latest_checkpoint


Make = Callable[..., Both]


@pytest.fixture
def both(tf: Any, tmp_path: Path, clock: Clock) -> Make:
    def make(**settings: Any) -> Both:
        return Both(tf, tmp_path, **settings)

    return make


@pytest.mark.parametrize("kept", [1, 3, None])
def test_max_to_keep(both: Make, kept: int | None) -> None:
    pair = both(max_to_keep=kept)
    for _ in range(5):
        pair.save()
    assert len(list(pair.folders[0].glob("*.index"))) == (kept or 5)


@pytest.mark.parametrize(("hours", "kept"), [(None, 2), (0, 2), (1, 4), (0.5, 5), (0.4, 9), (100, 2)])
def test_one_in_so_many_hours(both: Make, clock: Clock, hours: float | None, kept: int) -> None:
    pair = both(max_to_keep=2, keep_checkpoint_every_n_hours=hours)
    for _ in range(9):
        clock.now += 0.4 * HOUR
        pair.save()
    assert len(list(pair.folders[0].glob("*.index"))) == kept


def test_numbers(both: Make) -> None:
    pair = both(max_to_keep=3, checkpoint_name="model")
    for number in (None, 7, None, 7, 2, None, -1, 0):
        pair.save(number)
    assert (pair.folders[0] / "model-0.index").exists()


@pytest.mark.parametrize("seconds", [1, 4 * HOUR, -10, -4 * HOUR])
def test_going_on_after_a_restart(both: Make, clock: Clock, seconds: float) -> None:
    pair = both(max_to_keep=2, keep_checkpoint_every_n_hours=1)
    for _ in range(5):
        clock.now += 0.6 * HOUR
        pair.save()
    clock.now += seconds
    pair.restart()
    pair.check()
    for _ in range(4):
        pair.save()
        clock.now += 0.6 * HOUR


def test_a_state_file_without_times(both: Make) -> None:
    pair = both(max_to_keep=2)
    for _ in range(2):
        pair.save()
    for folder in pair.folders:
        (folder / "checkpoint").write_text(
            'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n'
            'all_model_checkpoint_paths: "ckpt-2"\n'
        )
    pair.restart()
    pair.check()
    pair.save()


@pytest.mark.parametrize("given", ["run", "./run", "a/b/run", "../{name}/run", "."])
def test_relative_folders(tf: Any, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    values = {"v": np.arange(2)}
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        folder = given.format(name=name)
        if name == "ours":
            manager = train.CheckpointManager(folder, 2)
            mine = [manager.save(values) for _ in range(3)]
        else:
            manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=tf.Variable(values["v"])), folder, 2)
            other = [manager.save() for _ in range(3)]
    assert [path.replace("ours", "theirs") for path in mine] == other
    states = [
        next(data for path, data in tree(tmp_path / name).items() if "checkpoint" in path)
        for name in ("ours", "theirs")
    ]
    assert states[0] == states[1]


def test_the_next_number_follows_the_latest(tmp_path: Path) -> None:
    values = {"v": np.arange(2)}
    for _ in range(3):
        assert train.CheckpointManager(tmp_path, 2).save(values) is not None
    assert train.CheckpointManager(tmp_path, 2).checkpoints == [str(tmp_path / "ckpt-2"), str(tmp_path / "ckpt-3")]


def test_a_folder_that_moved(tmp_path: Path) -> None:
    manager = train.CheckpointManager(tmp_path / "old", 2)
    for _ in range(2):
        manager.save({"v": np.arange(2)})
    (tmp_path / "old").rename(tmp_path / "new")
    moved = train.CheckpointManager(tmp_path / "new", 2)
    moved.save({"v": np.arange(2)})
    assert moved.checkpoints == [str(tmp_path / "new" / f"ckpt-{number}") for number in (2, 3)]
    assert not (tmp_path / "new" / "ckpt-1.index").exists()


@pytest.mark.parametrize("kept", [0, -1])
def test_max_to_keep_that_keeps_none(tmp_path: Path, kept: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        train.CheckpointManager(tmp_path, kept)


def test_damage_is_not_taken_for_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"\xff\xff")
    with pytest.raises(FormatError):
        train.CheckpointManager(tmp_path, 2)


def test_what_cannot_be_removed(tmp_path: Path) -> None:
    manager = train.CheckpointManager(tmp_path, 1)
    manager.save({"v": np.arange(2)})
    os.unlink(tmp_path / "ckpt-1.index")
    (tmp_path / "ckpt-1.index").mkdir()
    with pytest.warns(RuntimeWarning, match="the old checkpoint .*ckpt-1 cannot be removed"):
        manager.save({"v": np.arange(2)})
    assert train.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-2")


def test_a_save_that_fails_changes_nothing(tmp_path: Path) -> None:
    manager = train.CheckpointManager(tmp_path, 1)
    manager.save({"v": np.arange(2)})
    before = tree(tmp_path)
    with pytest.raises(TypeError):
        manager.save({"v": object()})
    assert tree(tmp_path) == before
    assert manager.latest_checkpoint == str(tmp_path / "ckpt-1")
    assert manager.save({"v": np.arange(2)}) == str(tmp_path / "ckpt-2")
