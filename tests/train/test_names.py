"""What ``tfbundle.train`` offers, and what it costs to import it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tfbundle import train


@pytest.mark.parametrize("name", train.__all__)
def test_names_are_there(name: str) -> None:
    assert getattr(train, name) is not None
    assert name in dir(train)


def test_names_alone_are_offered() -> None:
    from tfbundle.train import reading

    own = {name for name in dir(train) if not name.startswith("__")}
    assert own == set(train.__all__)
    assert train.__all__ == sorted(train.__all__)
    assert set(train._MODULES) <= set(train.__all__)
    assert not hasattr(train, "locate")
    assert train.load_checkpoint is reading.load_checkpoint
    with pytest.raises(AttributeError, match="has no attribute 'Savers'"):
        _ = train.Savers  # type: ignore[attr-defined]


def test_the_package_loads_nothing() -> None:
    script = "import sys, tfbundle.train; dir(tfbundle.train); print('numpy' in sys.modules, 'google' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_names_of_files_may_be_bytes(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    values = {"w": np.arange(3.0)}
    train.Saver().save(values, os.path.join(folder, b"m"), global_step=7, latest_filename=b"newest")
    assert train.latest_checkpoint(folder, b"newest") == os.fsdecode(tmp_path / "m-7")
    assert tfbundle.read_checkpoint_state(folder, b"newest").model_checkpoint_path == os.fsdecode(tmp_path / "m-7")
    assert [item.step for item in tfbundle.list_checkpoints(folder, b"newest")] == [7]
    assert train.load_variable(os.path.join(folder, b"m-7"), b"w:0").tolist() == [0, 1, 2]
    manager = train.CheckpointManager(os.path.join(folder, b"managed"), 2, checkpoint_name=b"model")
    assert manager.save(values) == os.fsdecode(tmp_path / "managed" / "model-1")
    train.update_checkpoint_state(folder, os.path.join(folder, b"m-7"), latest_filename=b"other")
    assert (tmp_path / "other").read_bytes() == (tmp_path / "newest").read_bytes()
    os.remove(tmp_path / "m-7.index")
    tfbundle.save(tmp_path / "m-8", values)
    tfbundle.repair_state(folder, b"other")
    assert train.latest_checkpoint(folder, b"other") == os.fsdecode(tmp_path / "m-8")
    assert train.gfile.join(folder, b"m") == os.fsdecode(tmp_path / "m")
