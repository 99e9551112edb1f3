"""Variables of a SavedModel that are replaced: TensorFlow loads the new values, and the model's fingerprint is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.command import run
from tests.support.expected import FIXTURES
from tfbundle.formats.farmhash import fingerprint64
from tfbundle.proto import FingerprintDef
from tfbundle.storage import staging

MODEL = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


def note_of(model: Path) -> FingerprintDef:
    return FingerprintDef.FromString((model / "fingerprint.pb").read_bytes())


def increased(prefix: Path) -> dict[str, np.ndarray]:
    return {name: value + 1 if value.dtype.kind == "f" else value for name, value in tfbundle.load(prefix).items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_fingerprint_follows(model: Path) -> None:
    prefix, before = model / "variables" / "variables", note_of(model)
    index = prefix.with_suffix(".index")
    assert before.checkpoint_hash == fingerprint64(index.read_bytes())  # What TensorFlow wrote.
    values = increased(prefix)
    tfbundle.save(prefix, values)
    after = note_of(model)
    assert after.checkpoint_hash == fingerprint64(index.read_bytes()) != before.checkpoint_hash
    after.checkpoint_hash = before.checkpoint_hash
    assert after == before
    assert tfbundle.verify(model).ok
    assert set(contents(model)) == set(contents(MODEL))
    for name, value in tfbundle.load(model).items():
        np.testing.assert_array_equal(value, values[name])


def test_the_same_variables_have_the_same_fingerprint(model: Path) -> None:
    with tfbundle.open_checkpoint(MODEL / "variables" / "variables") as checkpoint:
        tfbundle.save(model / "variables" / "variables", checkpoint)
    assert contents(model) == contents(MODEL)


@pytest.mark.parametrize("way", ["relative", "link"])
def test_other_names_of_the_prefix(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "relative":
        monkeypatch.chdir(model / "variables")
        prefix: str | Path = "variables"
    else:
        (tmp_path / "elsewhere").symlink_to(model / "variables")
        prefix = tmp_path / "elsewhere" / "variables"
    tfbundle.save(prefix, {"a": 1})
    assert note_of(model).checkpoint_hash == fingerprint64((model / "variables" / "variables.index").read_bytes())


@pytest.mark.parametrize("name", ["other", "variables-2"])
def test_other_checkpoints_leave_it_alone(model: Path, name: str) -> None:
    before = note_of(model)
    tfbundle.save(model / "variables" / name, {"a": 1})
    tfbundle.save(model.parent / "variables", {"a": 1})
    assert note_of(model) == before


@pytest.mark.parametrize("note", [b"\xff\xff", None])
def test_a_fingerprint_that_cannot_be_read_stays(model: Path, note: bytes | None) -> None:
    path = model / "fingerprint.pb"
    path.unlink()
    if note is not None:
        path.write_bytes(note)
    tfbundle.save(model / "variables" / "variables", {"a": 1})
    assert (path.read_bytes() if path.exists() else None) == note


def test_a_model_that_may_not_be_written_keeps_its_variables(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(model)
    system_open = os.open

    def refuse(path: str, *arguments: int, **options: int) -> int:  # For root, no folder is read-only.
        if "fingerprint.pb.tempstate" in path:
            raise PermissionError(13, "Permission denied", path)
        return system_open(path, *arguments, **options)

    monkeypatch.setattr(staging.os, "open", refuse)
    with pytest.raises(PermissionError, match=r"fingerprint\.pb'$"):
        tfbundle.save(model / "variables" / "variables", {"a": 1})
    assert contents(model) == before


# Each child stops before its n-th rename, as a process that is killed.
STOPPING = """
import os, shutil, sys
import tfbundle
from tests.checkpoint.test_saved_model_variables import increased
from tests.support.stopping import exit_before
from pathlib import Path
folder, model, way = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
for number in range(100):
    here = Path(shutil.copytree(model, folder / str(number)))
    prefix = here / "variables" / "variables"
    values = increased(prefix)
    child = os.fork()
    if not child:
        exit_before(("rename", "replace"), number)
        if way == "save":
            tfbundle.save(prefix, values)
        else:
            tfbundle.convert(here, prefix, transform=lambda name, tensor: values[name], overwrite=True)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
print(number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="stops child processes that it forks")
@pytest.mark.parametrize("way", ["save", "convert"])
def test_a_save_that_is_stopped_is_explained(tmp_path: Path, way: str) -> None:
    command = [sys.executable, "-c", STOPPING, str(tmp_path), str(MODEL), way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    count = int(done.stdout)
    assert count > 1
    old, new = tfbundle.load(MODEL), increased(MODEL / "variables" / "variables")
    repairs = []
    for number in range(count + 1):
        here = tmp_path / str(number)
        found = tfbundle.load(here)
        is_new = all(np.array_equal(found[name], value) for name, value in new.items())
        assert is_new or all(np.array_equal(found[name], value) for name, value in old.items())
        findings = [one for one in tfbundle.verify(here).findings if one.kind != "superfluous"]
        if not findings:
            continue
        assert is_new
        (finding,) = findings
        assert (finding.kind, finding.path) == ("wrong-file", str(here / "fingerprint.pb"))
        assert "was interrupted before it replaced fingerprint.pb" in finding.message
        lines = run("verify", here)
        assert lines.exit_code == 1
        assert "interrupted" in lines.stdout
        assert "again from the original" not in lines.stdout
        # Does what it says.
        rename = re.search(r"rename (\S+) to fingerprint\.pb\Z", finding.message)
        if rename is not None:
            os.replace(rename[1], here / "fingerprint.pb")
            repairs.append("rename")
        else:
            assert run(*finding.message.partition("tfbundle ")[2].split()).exit_code == 0
            repairs.append("write")
        assert note_of(here).checkpoint_hash == fingerprint64((here / "variables" / "variables.index").read_bytes())
        assert tfbundle.verify(here).ok
        assert all(np.array_equal(value, new[name]) for name, value in tfbundle.load(here).items())
    # Data files have other names from the first index to the last, and then only the fingerprint remains.
    assert repairs[-1:] == ["rename"]
    assert repairs[:-1] == ["write"] * (len(repairs) - 1) != []


def test_another_fingerprint_is_replaced_by_writing_again(model: Path) -> None:
    """As after TensorFlow saved the variables, or where the temporary file of an interrupted save was removed."""
    prefix = model / "variables" / "variables"
    note, values = (model / "fingerprint.pb").read_bytes(), increased(prefix)
    tfbundle.save(prefix, values)
    (model / "fingerprint.pb").write_bytes(note)
    # Temporary files of other saves, and of other files, do not count.
    (model / "fingerprint.pb.tempstate1").write_bytes(note)
    (model / "fingerprint.pb.tempstate2").write_bytes(b"\xff")
    (finding,) = tfbundle.verify(model).findings
    assert (finding.kind, finding.path) == ("checksum", f"{prefix}.index")
    command = finding.message.partition("tfbundle ")[2]
    assert command == f"convert {prefix} {prefix} --overwrite"
    assert run(*command.split()).exit_code == 0
    assert tfbundle.verify(model).ok
    for name, value in tfbundle.load(model).items():
        np.testing.assert_array_equal(value, values[name])


def test_tensorflow_loads_the_new_values(model: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    values = [variable.numpy() for variable in tf.saved_model.load(str(model)).variables]
    prefix = model / "variables" / "variables"
    tfbundle.save(prefix, increased(prefix))
    found = [variable.numpy() for variable in tf.saved_model.load(str(model)).variables]
    assert len(found) == len(values) > 0
    for new, old in zip(found, values, strict=True):
        np.testing.assert_array_equal(new, old + 1 if old.dtype.kind == "f" else old)
    read = tf.saved_model.experimental.read_fingerprint(str(model))
    assert read.checkpoint_hash == note_of(model).checkpoint_hash


def test_the_fingerprint_is_the_one_that_tensorflow_makes(model: Path) -> None:
    """TensorFlow makes a note for a folder that has none, and comes to the same hash."""
    pytest.importorskip("tensorflow")
    utils = pytest.importorskip("tensorflow.python.saved_model.fingerprinting_utils")
    prefix = model / "variables" / "variables"
    tfbundle.save(prefix, increased(prefix))
    ours = note_of(model)
    (model / "fingerprint.pb").unlink()
    utils.write_fingerprint(str(model))
    theirs = note_of(model)
    assert ours.checkpoint_hash == theirs.checkpoint_hash
    assert ours.saved_model_checksum == theirs.saved_model_checksum
