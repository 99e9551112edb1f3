"""Every way to name a checkpoint, and what is said of the names that cannot work."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import data_file, write_bundle
from tests.support.expected import FIXTURES
from tests.support.refusals import forbid
from tests.support.v1_writer import write_v1
from tfbundle import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.overview.walk import overview
from tfbundle.storage.folders import LocalListing

STATES = sorted(path for path in FIXTURES.glob("*/*/EXPECTED.json") if "state" in json.loads(path.read_bytes()))


def save(prefix: Path, value: int = 0) -> Path:
    """A V2 checkpoint with one tensor."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(prefix, {"v": np.array(value)})
    return prefix


def save_v1(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_v1(path, {"v": np.array(value)})
    return path


def write_state(folder: Path, *paths: str, name: str = "checkpoint") -> Path:
    """A state file that names ``paths``, the last of them as the latest."""
    lines = [f"model_checkpoint_path: {json.dumps(paths[-1])}"]
    lines += [f"all_model_checkpoint_paths: {json.dumps(path)}" for path in paths]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def value_of(path: Any, **options: Any) -> int:
    return int(tfbundle.load(path, **options)["v"])


def error_of(path: Any, error_class: type[TfBundleError], **options: Any) -> str:
    """What is said of a path that cannot be opened."""
    with pytest.raises(error_class) as caught:
        tfbundle.open_checkpoint(path, **options)
    assert type(caught.value) is error_class
    assert caught.value.path is not None
    return str(caught.value)


# Members of a checkpoint.


@pytest.mark.parametrize("member", ["", ".index", ".data-00000-of-00001", ".meta"])
@pytest.mark.parametrize("kind", [str, Path])
def test_any_member_of_a_v2_checkpoint(tmp_path: Path, member: str, kind: Callable[[str], Any]) -> None:
    prefix = save(tmp_path / "model.ckpt-1000", 7)
    (tmp_path / "model.ckpt-1000.meta").write_bytes(b"\x0a\x02\x08\x01")
    assert value_of(kind(f"{prefix}{member}")) == 7
    with tfbundle.open_checkpoint(f"{prefix}{member}") as checkpoint:
        assert checkpoint.prefix == str(prefix)


@pytest.mark.parametrize("member", [".data-00001-of-00002", ".meta"])
def test_members_that_are_not_there(tmp_path: Path, member: str) -> None:
    """The name of a member says which checkpoint is meant, even if the member itself is gone."""
    assert value_of(f"{save(tmp_path / 'model', 7)}{member}") == 7


@pytest.mark.parametrize("prefix", ["m", "m.index", "m.meta", "m.data-00000-of-00001", "a b", "a[0]*?", "model.ckpt"])
def test_odd_prefixes(tmp_path: Path, prefix: str) -> None:
    if os.name == "nt" and set(prefix) & set("*?"):
        pytest.skip("Windows has no such file names")
    save(tmp_path / prefix, 7)
    assert value_of(tmp_path / prefix) == 7
    assert value_of(f"{tmp_path / prefix}.index") == 7


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "run" / "model", 7)
    write_state(tmp_path / "run", "model")
    monkeypatch.chdir(tmp_path)
    for path in ("run/model", "./run/model", "run", "run/", "run/../run/model.index", "run/checkpoint"):
        assert value_of(path) == 7
    monkeypatch.chdir(tmp_path / "run")
    for path in ("model", "model.index", ".", "checkpoint", "../run"):
        assert value_of(path) == 7


def test_the_working_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "run" / "model", 7)
    save_v1(tmp_path / "run" / "old", 8)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with tfbundle.open_checkpoint("model") as checkpoint, tfbundle.open_checkpoint("old") as old:
        monkeypatch.chdir(tmp_path / "other")
        assert checkpoint["v"].read() == 7
        assert old["v"].read() == 8
        for opened in (checkpoint, old):
            with pickle.loads(pickle.dumps(opened)) as copy:
                assert copy["v"].read() == opened["v"].read()


def test_links(tmp_path: Path) -> None:
    save(tmp_path / "store" / "model", 7)
    try:
        (tmp_path / "linked").symlink_to(tmp_path / "store", target_is_directory=True)
        for path in sorted((tmp_path / "store").iterdir()):
            (tmp_path / path.name.replace("model", "other")).symlink_to(path)
    except OSError:
        pytest.skip("this system does not allow links")
    assert value_of(tmp_path / "linked" / "model") == 7
    assert value_of(tmp_path / "other") == 7


def test_sharded_checkpoint_by_any_shard(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"v": np.array(7)}, num_shards=3)
    for shard in range(3):
        assert value_of(data_file(tmp_path / "m", shard, 3)) == 7


def test_v1_files(tmp_path: Path) -> None:
    path = save_v1(tmp_path / "model.ckpt-5", 1)
    assert value_of(path) == 1
    (tmp_path / "model.ckpt-5.meta").write_bytes(b"\x0a\x02\x08\x01")
    assert value_of(tmp_path / "model.ckpt-5.meta") == 1
    assert value_of(tmp_path) == 1


def test_sharded_v1_files() -> None:
    folder = FIXTURES / "tf-1.15.5" / "v1-sharded"
    with tfbundle.open_checkpoint(folder / "model.ckpt-5") as checkpoint:
        names = set(checkpoint)
        assert checkpoint.format == "v1"
        assert checkpoint.prefix == str(folder / "model.ckpt-5")
    patterns = [folder / f"model.ckpt-5-?????-of-{count}" for count in ("00004", "?????")]
    for path in (folder, folder / "model.ckpt-5-00002-of-00004", folder / "model.ckpt-5.meta", *patterns):
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert set(checkpoint) == names


def test_v1_and_v2_of_one_name(tmp_path: Path) -> None:
    save(tmp_path / "m", 2)
    save_v1(tmp_path / "m", 1)
    for path in (tmp_path / "m", tmp_path / "m.index", tmp_path, tmp_path / "m.data-00000-of-00001"):
        assert value_of(path) == 2
        assert value_of(path, format="v2") == 2
        assert value_of(path, format="v1") == 1


def test_the_format_that_is_not_there(tmp_path: Path) -> None:
    prefix = save(tmp_path / "new" / "m")
    old = save_v1(tmp_path / "old" / "m")
    assert "v1" in error_of(prefix, MissingFileError, format="v1").lower()
    assert "v2 was requested" in error_of(old, MissingFileError, format="v2")
    assert "v1" in error_of(f"{prefix}.index", MissingFileError, format="v1").lower()
    (tmp_path / "new" / "checkpoint").write_text('model_checkpoint_path: "m"')
    text = error_of(tmp_path / "new", MissingFileError, format="v1")
    assert "v1 was requested" in text
    assert "not there" not in text


# Folders.


@pytest.mark.parametrize("file", STATES, ids=lambda path: path.parent.relative_to(FIXTURES).as_posix())
def test_folders_of_the_fixtures(file: Path) -> None:
    """A folder opens what TensorFlow takes for its latest checkpoint, or says that it does not exist."""
    wanted = json.loads(file.read_bytes())["state"]
    state = tfbundle.read_checkpoint_state(file.parent)
    assert state.model_checkpoint_path == wanted["model_checkpoint_path"]
    assert state.all_model_checkpoint_paths == wanted["all_model_checkpoint_paths"]
    latest = tfbundle.latest_checkpoint(file.parent)
    if "folder-of-strangers" in str(file):
        assert latest is None
        assert "model.ckpt-20" in error_of(file.parent, MissingFileError)
        return
    # Where the path is stale, the checkpoint in the folder is meant, which TensorFlow does not find.
    name = os.path.basename(wanted["latest_checkpoint"] or wanted["model_checkpoint_path"])
    assert latest is not None
    with tfbundle.open_checkpoint(file.parent) as checkpoint, tfbundle.open_checkpoint(latest) as same:
        assert os.path.dirname(checkpoint.prefix) == str(file.parent)
        assert os.path.basename(checkpoint.prefix) == name.replace("-?????-of-00004", "")
        assert list(same) == list(checkpoint)


def test_state_file_names_the_checkpoint(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path / f"model.ckpt-{step}", step)
    write_state(tmp_path, "model.ckpt-10", "model.ckpt-30", "model.ckpt-20")
    assert value_of(tmp_path) == 20
    assert value_of(tmp_path / "checkpoint") == 20
    assert tfbundle.latest_checkpoint(tmp_path) == str(tmp_path / "model.ckpt-20")


def test_state_file_of_another_name(tmp_path: Path) -> None:
    save(tmp_path / "a", 1)
    save(tmp_path / "b", 2)
    write_state(tmp_path, "b", name="best")
    assert value_of(tmp_path / "best") == 2
    assert tfbundle.latest_checkpoint(tmp_path) is None
    assert tfbundle.latest_checkpoint(tmp_path, "best") == str(tmp_path / "b")
    assert tfbundle.read_checkpoint_state(tmp_path, "best").model_checkpoint_path == "b"


@pytest.mark.parametrize(
    "stored",
    [
        "/home/me/run/model.ckpt-30",
        "C:\\runs\\one\\model.ckpt-30",
        "C:/runs/one/model.ckpt-30",
        "\\\\server\\share\\model.ckpt-30",
        "./model.ckpt-30",
    ],
)
def test_stale_paths(tmp_path: Path, stored: str) -> None:
    save(tmp_path / "model.ckpt-30", 30)
    save(tmp_path / "model.ckpt-40", 40)
    write_state(tmp_path, stored)
    assert value_of(tmp_path) == 30
    state = tfbundle.read_checkpoint_state(tmp_path)
    assert state.model_checkpoint_path == stored
    assert state.resolved is not None
    assert os.path.normpath(state.resolved) == str(tmp_path / "model.ckpt-30")


def test_stale_path_into_a_folder_below(tmp_path: Path) -> None:
    save(tmp_path / "best" / "model", 3)
    write_state(tmp_path, "/gone/run/best/model")
    assert value_of(tmp_path) == 3


def test_absolute_path_that_still_leads_there(tmp_path: Path) -> None:
    """It wins over a namesake in the folder of the state file."""
    save(tmp_path / "store" / "model", 1)
    save(tmp_path / "run" / "model", 2)
    write_state(tmp_path / "run", str(tmp_path / "store" / "model"))
    assert value_of(tmp_path / "run") == 1


def test_never_another_step(tmp_path: Path) -> None:
    save(tmp_path / "model.ckpt-10")
    save(tmp_path / "model.ckpt-9")
    write_state(tmp_path, "model.ckpt-20")
    text = error_of(tmp_path, MissingFileError)
    assert "'model.ckpt-20'" in text
    assert text.index("model.ckpt-9") < text.index("model.ckpt-10")
    assert tfbundle.latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("text", ["", "\n", 'model_checkpoint_path: ""\n'])
def test_state_file_that_names_nothing(tmp_path: Path, text: str) -> None:
    save(tmp_path / "model.ckpt-10")
    (tmp_path / "checkpoint").write_text(text)
    assert "model.ckpt-10" in error_of(tmp_path, MissingFileError)
    assert tfbundle.latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("data", [b"\xff\xfe", b"model_checkpoint_path", b"nonsense: 3", bytes(40)])
def test_state_file_that_is_none(tmp_path: Path, data: bytes) -> None:
    save(tmp_path / "model.ckpt-10")
    (tmp_path / "checkpoint").write_bytes(data)
    assert str(tmp_path / "checkpoint") in error_of(tmp_path, FormatError)
    with pytest.raises(FormatError):
        tfbundle.latest_checkpoint(tmp_path)
    # Whoever knows which one is meant can still open it.
    assert value_of(tmp_path / "model.ckpt-10") == 0


def test_no_state_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        tfbundle.read_checkpoint_state(tmp_path)
    assert tfbundle.latest_checkpoint(tmp_path) is None
    assert tfbundle.latest_checkpoint(tmp_path / "gone") is None
    save(tmp_path / "model.ckpt-10", 10)
    assert value_of(tmp_path) == 10
    save(tmp_path / "model.ckpt-9", 9)
    text = error_of(tmp_path, MissingFileError)
    assert "2 checkpoints" in text
    assert text.index("model.ckpt-9") < text.index("model.ckpt-10")


def test_a_long_list_of_candidates_is_cut(tmp_path: Path) -> None:
    for step in range(40):
        shutil.copy(save(tmp_path / "one" / "m").with_suffix(".index"), tmp_path / f"m-{step}.index")
    text = error_of(tmp_path, MissingFileError)
    assert "and 30 more" in text
    assert "m-39" not in text


def test_lonely_v1_file_without_a_state_file(tmp_path: Path) -> None:
    save_v1(tmp_path / "old.ckpt", 1)
    (tmp_path / "notes.txt").write_text("my notes")
    assert value_of(tmp_path) == 1
    save_v1(tmp_path / "older.ckpt", 1)
    assert "older.ckpt" in error_of(tmp_path, MissingFileError)


def test_empty_folder(tmp_path: Path) -> None:
    assert "there is no checkpoint in the folder" in error_of(tmp_path, MissingFileError)


def test_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("how to train")
    assert error_of(tmp_path, MissingFileError).endswith(str(tmp_path))
    (tmp_path / "model.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    text = error_of(tmp_path, MissingFileError)
    assert f"{tmp_path / 'model.weights.h5'} is an HDF5 file" in text
    assert "read it with h5py" in text


def test_checkpoints_one_folder_below(tmp_path: Path) -> None:
    save(tmp_path / "run1" / "model")
    (tmp_path / "run2").mkdir()
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    save(tmp_path / "saved" / "variables" / "variables")
    text = error_of(tmp_path, MissingFileError)
    assert "run1" in text
    assert "run2" not in text
    assert "saved" in text.removeprefix(str(tmp_path))


def test_folder_with_the_name_of_an_index(tmp_path: Path) -> None:
    (tmp_path / "model.index").mkdir()
    assert "there is no checkpoint" in error_of(tmp_path, MissingFileError)
    assert "did you mean" not in error_of(tmp_path / "model", MissingFileError)


def test_folder_with_the_name_of_a_prefix(tmp_path: Path) -> None:
    save(tmp_path / "model", 7)
    (tmp_path / "model").mkdir()
    assert value_of(tmp_path / "model") == 7
    assert value_of(f"{tmp_path / 'model'}{os.sep}") == 7


# SavedModels.


@pytest.mark.parametrize(
    "member", ["", "saved_model.pb", "variables", "variables/variables", "variables/variables.index"]
)
@pytest.mark.parametrize("release", ["tf-2.4.4", "tf-2.15.1", "tf-2.21.0"])
def test_saved_model(release: str, member: str) -> None:
    (model,) = (FIXTURES / release / "keras-saved-model").glob("*/saved_model.pb")
    with tfbundle.open_checkpoint(model.parent / member) as checkpoint:
        assert checkpoint.prefix == str(model.parent / "variables" / "variables")
        assert len(checkpoint)


def test_saved_model_without_variables(tmp_path: Path) -> None:
    (model,) = (FIXTURES / "tf-2.15.1" / "keras-saved-model").glob("*/saved_model.pb")
    shutil.copy(model, tmp_path)
    for path in (tmp_path, tmp_path / "saved_model.pb"):
        text = error_of(path, MissingFileError)
        assert "SavedModel" in text
        assert os.path.join("variables", "variables.index") in text


# Half-saved checkpoints and lost files.


def test_half_saved(tmp_path: Path) -> None:
    folder = tmp_path / "model.ckpt-20_temp_0123456789abcdef0123456789abcdef"
    write_bundle(save(folder / "x").parent / "part-00000-of-00001", {"v": np.array(1)})
    for path in folder.glob("x*"):
        path.unlink()
    for path in (tmp_path, tmp_path / "model.ckpt-20", tmp_path / "model.ckpt-20.index"):
        assert f"{folder.name}" in error_of(path, MissingFileError)
        assert "incomplete" in error_of(path, MissingFileError)
    assert "incomplete" not in error_of(tmp_path / "model.ckpt-2", MissingFileError)
    write_state(tmp_path, "model.ckpt-20")
    text = error_of(tmp_path, MissingFileError)
    assert "incomplete" in text
    assert folder.name in text
    # A whole checkpoint beside it is not in doubt.
    save(tmp_path / "model.ckpt-10", 10)
    (tmp_path / "checkpoint").unlink()
    assert value_of(tmp_path) == 10


def test_empty_half_saved_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model_temp"
    folder.mkdir()
    assert "incomplete" in error_of(folder, MissingFileError)


@pytest.mark.parametrize("member", ["", ".index", ".data-00000-of-00001"])
def test_data_without_an_index(tmp_path: Path, member: str) -> None:
    prefix = save(tmp_path / "model")
    Path(f"{prefix}.index").unlink()
    text = error_of(f"{prefix}{member}", MissingFileError)
    assert f"{prefix}.index does not exist" in text
    assert "no index" in text
    assert "no index" in error_of(tmp_path, MissingFileError)


def test_meta_files_of_others(tmp_path: Path) -> None:
    """Nothing is missing beside the notes that another program calls so."""
    save(tmp_path / "model")
    (tmp_path / "notes.meta").write_text("# seconds\n2.5\n")
    assert "is a text file, not a TensorFlow checkpoint" in error_of(tmp_path / "notes.meta", UnsupportedError)
    (tmp_path / "page.meta").write_text("<html>")
    assert "is an HTML page" in error_of(tmp_path / "page.meta", FormatError)
    shutil.copy(FIXTURES / "tf-1.2.1" / "training" / "model.ckpt-40.meta", tmp_path / "alone.meta")
    assert "alone.index does not exist" in error_of(tmp_path / "alone.meta", MissingFileError)


def test_files_under_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model.ckpt-20")
    os.rename(tmp_path / "model.ckpt-20.index", tmp_path / "weights.index")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        MissingFileError,
        match=r"; model.ckpt-20.data-00000-of-00001 exists without an index.* weights.data-",
    ):
        tfbundle.load("weights")
    (finding,) = tfbundle.verify("weights").findings
    assert "; model.ckpt-20.data-00000-of-00001 exists without an index" in finding.message
    for path in ("model.ckpt-20", tmp_path / "model.ckpt-20", "model.ckpt-20.data-00000-of-00001"):
        with pytest.raises(MissingFileError, match=r"has no index: .*; weights.index exists without data files"):
            tfbundle.open_checkpoint(path)
    # With several that may be meant, or none, nothing is guessed.
    save(tmp_path / "other").with_suffix(".index").rename(tmp_path / "gone")
    with pytest.raises(MissingFileError, match=r"copy it next to the index\Z"):
        tfbundle.load("weights")
    shutil.copy("weights.index", "more.index")
    with pytest.raises(MissingFileError, match=r"copy it from where"):
        tfbundle.open_checkpoint("model.ckpt-20")


def test_index_that_is_a_dangling_link(tmp_path: Path) -> None:
    try:
        (tmp_path / "model.index").symlink_to(tmp_path / "gone")
    except OSError:
        pytest.skip("this system does not allow links")
    with pytest.raises(MissingFileError):
        tfbundle.open_checkpoint(tmp_path / "model")
    with pytest.raises(MissingFileError, match=r"model\.index is a link to .*gone, which does not exist"):
        tfbundle.read_records(tmp_path / "model.index")


@pytest.mark.parametrize(
    "name", ["model.ckpt-1001", "model.ckp-1000", "model.ckpt-1000.indx", "model.ckpt-1000.data", "model.ckpt-1000/"]
)
def test_near_misses_are_suggested(tmp_path: Path, name: str) -> None:
    save(tmp_path / "model.ckpt-1000")
    path = os.path.join(tmp_path, name)
    assert f"did you mean {tmp_path / 'model.ckpt-1000'}?" in error_of(path, MissingFileError)
    with pytest.raises(FileNotFoundError) as caught:
        tfbundle.load(path)
    assert caught.value.filename == path


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("model.ckpt-4", ["model.ckpt-3", "model.ckpt-5", "model.ckpt-1"]),
        ("modle.ckpt-900", ["model.ckpt-1000", "model.ckpt-5", "model.ckpt-3"]),
        ("model-5", ["model.ckpt-5", "model.ckpt-3", "model.ckpt-1"]),
        ("encodr", ["encoder"]),
        ("best.ckpt", []),
        ("mold.ckpt-5", []),
        ("decoder", []),
        ("encoders", ["encoder"]),
        ("enxodre", []),
        ("ckpt-5", []),
    ],
)
def test_other_models_are_not_suggested(tmp_path: Path, name: str, likely: list[str]) -> None:
    for other in ("model.ckpt-1", "model.ckpt-3", "model.ckpt-5", "model.ckpt-1000", "encoder", "last.ckpt"):
        save(tmp_path / other)
    text = error_of(tmp_path / name, MissingFileError)
    assert ("did you mean" in text) is bool(likely)
    if likely:
        assert text.endswith(f"did you mean {', '.join(str(tmp_path / other) for other in likely)}?")


def test_nothing_there_at_all(tmp_path: Path) -> None:
    assert "there is no folder" in error_of(tmp_path / "gone" / "model", MissingFileError)
    assert "there is no checkpoint" in error_of(tmp_path / "gone", MissingFileError)
    assert "did you mean" not in error_of(tmp_path / "zzz", MissingFileError)


@pytest.mark.parametrize("path", ["", "\0", "a\0b", "a/\0/b", "checkpoint\0.index"], ids=ascii)
def test_names_that_no_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    error_of(path, MissingFileError)
    assert not tfbundle.verify(path).ok


@pytest.mark.parametrize("path", [None, 3, object()])
def test_what_is_not_a_path(path: Any) -> None:
    with pytest.raises(TypeError):
        tfbundle.open_checkpoint(path)


def test_very_long_name(tmp_path: Path) -> None:
    """The system refuses it; that is an ``OSError`` of whatever kind."""
    with pytest.raises((OSError, TfBundleError)):
        tfbundle.open_checkpoint(tmp_path / ("x" * 5000))


# Files of other kinds.


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>"
STRANGERS: dict[str, tuple[bytes, type[TfBundleError], str]] = {
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), UnsupportedError, "h5py"),
    "model.ckpt": (HTML, FormatError, "download"),
    "model.index": (LFS, FormatError, "git lfs pull"),
    "pointer.ckpt": (LFS, FormatError, "git lfs pull"),
    "page.index": (HTML, FormatError, "download"),
    "empty.ckpt": (b"", FormatError, "empty"),
    "empty.index": (b"", FormatError, "empty"),
    "zeros.ckpt": (bytes(5000), FormatError, "zero bytes"),
    "zeros.index": (bytes(5000), FormatError, "zero bytes"),
    "noise.ckpt": (b"\xde\xad\xbe\xef" * 40, FormatError, "pass a checkpoint's prefix"),
    "model.npy": (b"\x93NUMPY\x01\x00" + bytes(80), UnsupportedError, "numpy.load"),
    "model.tgz": (b"\x1f\x8b\x08" + bytes(80), UnsupportedError, "unpack"),
    "model.tar": (bytes(257) + b"ustar\x0000" + bytes(300), UnsupportedError, "unpack"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), UnsupportedError, "TensorFlow Lite"),
    "model.safetensors": (b'\x10\0\0\0\0\0\0\0{"__metadata__":{}}', UnsupportedError, "safetensors"),
    "graph.pbtxt": (b'node {\n  name: "x"\n  op: "NoOp"\n}\n', UnsupportedError, "GraphDef in text"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_files_of_other_kinds(tmp_path: Path, name: str) -> None:
    data, error_class, message = STRANGERS[name]
    (tmp_path / name).write_bytes(data)
    text = error_of(tmp_path / name, error_class)
    assert message in text
    assert name in text
    report = tfbundle.verify(tmp_path / name)
    if name == "graph.pbtxt":
        assert report.ok  # A graph can be verified too.
    else:
        assert message in report.findings[0].message


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["archive/data.pkl", "archive/version"], "torch.load"),
        (["metadata.json", "model.weights.h5"], "Keras"),
        (["arr_0.npy"], "numpy.load"),
        (["model.ckpt.index"], "unpack"),
    ],
)
def test_archives(tmp_path: Path, names: list[str], message: str) -> None:
    write_zip(tmp_path / "model.ckpt", *names)
    assert message in error_of(tmp_path / "model.ckpt", UnsupportedError)


def test_index_with_another_name(tmp_path: Path) -> None:
    save(tmp_path / "model")
    (tmp_path / "model.index").rename(tmp_path / "downloaded")
    text = error_of(tmp_path / "downloaded", UnsupportedError)
    assert "PREFIX.index" in text


@pytest.mark.parametrize("name", ["graph.pb", "graph.pbtxt", "model.ckpt-20.meta"])
def test_graphs_beside_checkpoints(tmp_path: Path, name: str) -> None:
    """A graph is no checkpoint, unless its name says to which one it belongs."""
    shutil.copy(FIXTURES / "tf-1.15.5" / "training" / name, tmp_path)
    with pytest.raises((UnsupportedError, MissingFileError)) as caught:
        tfbundle.open_checkpoint(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["model", "model.index", "model.data-00000-of-00001", "checkpoint"])
def test_named_pipes_block_nobody(tmp_path: Path, name: str) -> None:
    if name != "checkpoint":
        save(tmp_path / "model")
    if os.path.exists(tmp_path / name):
        os.unlink(tmp_path / name)
    os.mkfifo(tmp_path / name)
    if name == "model":  # The prefix is another thing than the pipe.
        assert value_of(tmp_path / name) == 0
        return
    with pytest.raises(FormatError, match="a named pipe"):
        tfbundle.load(tmp_path if name == "checkpoint" else tmp_path / name)
    assert not tfbundle.verify(tmp_path / name).ok


def test_devices() -> None:
    if not os.path.exists("/dev/zero"):
        pytest.skip("this system has no /dev/zero")
    assert "a device" in error_of("/dev/zero", FormatError)


def test_an_empty_prefix_beside_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``Saver.save(session, "run/")`` leaves it, seen from inside of the folder."""
    monkeypatch.chdir(tmp_path)
    save(Path("model"), 7)
    for member in (".index", ".data-00000-of-00001"):
        os.rename(f"model{member}", member)
    shutil.copy(FIXTURES / "tf-1.2.1" / "training" / "model.ckpt-40.meta", ".meta")
    for path in (".", ".index", ".data-00000-of-00001", ".meta"):
        assert value_of(path) == 7
        assert len(tfbundle.load_graph(path).nodes) > 100
    os.remove(".data-00000-of-00001")
    with tfbundle.open_checkpoint(".data-00000-of-00001") as checkpoint:
        assert list(checkpoint) == ["v"]
    os.remove(".index")
    assert error_of(".index", MissingFileError).count(".index") == 2


def test_an_empty_path() -> None:
    assert "the path is empty; pass a checkpoint's prefix" in error_of("", MissingFileError)


# A prefix that exists is that prefix, whatever else has its name.


def test_a_prefix_that_is_called_as_the_state_file(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint", 1)
    save(tmp_path / "final", 2)
    write_state(tmp_path, "final")
    for path in ("checkpoint", "checkpoint.index", "checkpoint.data-00000-of-00001"):
        assert value_of(tmp_path / path) == 1
    assert tfbundle.verify(tmp_path / "checkpoint").prefix == str(tmp_path / "checkpoint")
    assert value_of(tmp_path) == 2
    assert value_of(f"{tmp_path}{os.sep}") == 2
    assert tfbundle.latest_checkpoint(tmp_path) == str(tmp_path / "final")
    write_state(tmp_path, "checkpoint")
    assert value_of(tmp_path) == 1
    # Another name of the state file is no different.
    write_state(tmp_path, "checkpoint", name="final")
    assert value_of(tmp_path / "final") == 2


def test_a_v1_checkpoint_that_is_called_as_the_state_file(tmp_path: Path) -> None:
    save_v1(tmp_path / "checkpoint", 1)
    assert value_of(tmp_path / "checkpoint") == value_of(tmp_path) == 1
    assert tfbundle.latest_checkpoint(tmp_path) is None
    (listed,) = tfbundle.list_checkpoints(tmp_path)
    assert (listed.prefix, listed.in_state) == (str(tmp_path / "checkpoint"), False)
    save_v1(tmp_path / "other", 2)
    assert "2 checkpoints" in error_of(tmp_path, MissingFileError)


def test_a_sharded_v1_prefix_that_is_called_as_the_state_file(tmp_path: Path) -> None:
    save_v1(tmp_path / "checkpoint-00000-of-00001", 1)
    save(tmp_path / "final", 2)
    write_state(tmp_path, "final")
    for path in ("checkpoint", "checkpoint-00000-of-00001"):
        assert value_of(tmp_path / path) == 1
        assert overview(tmp_path / path).kind == "checkpoint"
    assert value_of(tmp_path) == 2
    assert [one.problem for one in tfbundle.list_checkpoints(tmp_path)] == [None, None]
    # Records are called so, too, and a file beside them keeps its meaning.
    (tmp_path / "checkpoint-00000-of-00001").write_bytes(bytes(100))
    assert value_of(tmp_path / "checkpoint") == 2


def test_a_prefix_and_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "run", 1)
    save(tmp_path / "run" / "model", 2)
    for state in (False, True):
        if state:
            write_state(tmp_path / "run", "model")
        assert value_of(tmp_path / "run") == 1
        assert value_of(f"{tmp_path / 'run'}{os.sep}") == 2
    # An index of another program makes no checkpoint.
    (tmp_path / "run.index").write_bytes(b"IxFI" + bytes(100))
    assert value_of(tmp_path / "run") == 2


def test_a_sharded_v1_prefix_and_a_folder(tmp_path: Path) -> None:
    save_v1(tmp_path / "run-00000-of-00001", 1)
    save(tmp_path / "run" / "model", 2)
    assert value_of(tmp_path / "run") == 1


def test_a_prefix_that_is_called_as_a_member(tmp_path: Path) -> None:
    save(tmp_path / "m", 1)
    save(tmp_path / "m.index", 2)
    assert value_of(tmp_path / "m.index") == 2
    assert value_of(tmp_path / "m") == 1


# Paths of other kinds.


def test_bytes_and_urls(tmp_path: Path) -> None:
    prefix = save(tmp_path / "a b" / "m", 1)
    write_state(prefix.parent, "m")
    for path in (os.fsencode(prefix), prefix.as_uri(), prefix.parent.as_uri(), f"{prefix.as_uri()}.index"):
        assert value_of(path) == 1
    assert tfbundle.latest_checkpoint(prefix.parent.as_uri()) == str(prefix)
    (listed,) = tfbundle.list_checkpoints(prefix.parent.as_uri())
    assert listed.prefix == str(prefix)
    assert tfbundle.read_checkpoint_state(prefix.parent.as_uri()).model_checkpoint_path == "m"


def test_the_working_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    try:
        (tmp_path / "gone").rmdir()
    except OSError:
        pytest.skip("this system keeps the working folder")
    assert "the working folder was deleted" in error_of("m", MissingFileError)


# What cannot be read, or goes away, beside a checkpoint.


def test_strangers_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_v1(tmp_path / "old", 1)
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "below").mkdir()
    save(tmp_path / "below" / "model", 2)
    forbid(monkeypatch, tmp_path / "secret", tmp_path / "below")
    assert value_of(tmp_path) == 1
    assert [item.prefix for item in tfbundle.list_checkpoints(tmp_path)] == [str(tmp_path / "old")]
    (tmp_path / "old").unlink()
    assert error_of(tmp_path, MissingFileError) == f"there is no checkpoint in the folder {tmp_path}"


def test_a_state_file_that_names_a_folder_which_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").mkdir()
    save(tmp_path / "run" / "model-7", 7)
    write_state(tmp_path / "run", str(tmp_path / "root" / "job" / "model-7"), str(tmp_path / "root" / "model-7"))
    forbid(monkeypatch, tmp_path / "root")
    assert value_of(tmp_path / "run") == 7
    assert [item.step for item in tfbundle.list_checkpoints(tmp_path / "run")] == [7]
    assert tfbundle.read_checkpoint_state(tmp_path / "run").all_resolved == [str(tmp_path / "run" / "model-7")] * 2


def test_a_folder_that_may_be_entered_but_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = save(tmp_path / "run" / "model-7", 7)
    write_state(tmp_path / "run", "model-7")
    forbid(monkeypatch, tmp_path / "run")
    assert value_of(prefix) == 7
    assert value_of(tmp_path / "run") == 7
    assert tfbundle.read_checkpoint_state(tmp_path / "run").all_resolved == [str(prefix)]


def test_files_that_disappear_after_they_were_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_v1(tmp_path / "old", 1)
    save(tmp_path / "model-7", 7)
    for name in ("gone", "gone.index", "gone-00000-of-00001", "gone_temp"):
        (tmp_path / name).write_bytes(b"")
    scan = LocalListing.__init__

    def scan_then_lose(self: LocalListing, folder: str, path: str) -> None:
        scan(self, folder, path)
        for gone in tmp_path.glob("gone*"):
            gone.unlink()

    monkeypatch.setattr(LocalListing, "__init__", scan_then_lose)
    assert [Path(item.prefix).name for item in tfbundle.list_checkpoints(tmp_path)] == ["old", "model-7"]


def test_relative_paths_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "run" / "model", 7)
    monkeypatch.chdir(tmp_path)
    checkpoint = tfbundle.open_checkpoint(os.path.join("run", "model.index"))
    monkeypatch.chdir(tmp_path / "run")
    assert checkpoint.prefix == os.path.join("run", "model")
    assert checkpoint["v"].read() == 7
    with pickle.loads(pickle.dumps(checkpoint)) as copy:
        assert (copy.prefix, copy["v"].read()) == (checkpoint.prefix, 7)
    checkpoint.close()
    expected = "there is no checkpoint gone: gone.index does not exist; the folder has model"
    assert error_of("gone", MissingFileError) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"<!doctype html><html>", "HTML page"), (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer")],
)
def test_what_only_is_called_an_index_is_not_a_candidate(tmp_path: Path, data: bytes, words: str) -> None:
    for name in ("page", "other"):
        (tmp_path / f"{name}.index").write_bytes(data)
    with pytest.raises(MissingFileError, match="there is no checkpoint in the folder") as raised:
        tfbundle.open_checkpoint(tmp_path)
    assert words in str(raised.value)
    write_bundle(tmp_path / "model-1", {"a": np.ones(3)})
    with tfbundle.open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.prefix == str(tmp_path / "model-1")
    # A damaged index with data beside it is a checkpoint that is damaged.
    write_bundle(tmp_path / "model-2", {"a": np.ones(3)})
    (tmp_path / "model-2.index").write_bytes(data)
    with pytest.raises(MissingFileError, match="has 2 checkpoints"):
        tfbundle.open_checkpoint(tmp_path)


def test_folders_of_other_programs_are_named(tmp_path: Path) -> None:
    (tmp_path / "_CHECKPOINT_METADATA").write_text("{}")
    (tmp_path / "params").mkdir()
    with pytest.raises(
        MissingFileError, match="it is the folder of an Orbax checkpoint; read it with orbax-checkpoint"
    ):
        tfbundle.open_checkpoint(tmp_path)


@pytest.mark.parametrize("format", ["v2", "v1"])
@pytest.mark.parametrize("salvage", [False, True])
def test_errors_and_places_keep_the_name_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, salvage: bool
) -> None:
    """A relative path stays relative in what is shown, and still leads to its files from another folder."""
    (tmp_path / "run").mkdir()
    write = write_bundle if format == "v2" else write_v1
    write(tmp_path / "run" / "m", {"a": np.float32([1, 2])})
    file = os.path.join("run", "m" if format == "v1" else "m.data-00000-of-00001")
    monkeypatch.chdir(tmp_path)
    with tfbundle.open_checkpoint(os.path.join("run", "m"), salvage=salvage) as checkpoint:
        monkeypatch.chdir(tmp_path / "run")
        tensor = checkpoint["a"]
        copy = pickle.loads(pickle.dumps(tensor))
        assert tensor.read().tolist() == copy.read().tolist() == [1, 2]
        assert [place.path for place in tensor.ranges] == [place.path for place in copy.ranges] == [file]
    monkeypatch.chdir(tmp_path)
    Path(file).write_bytes(b"")
    with pytest.raises(FormatError) as caught:
        tfbundle.load(os.path.join("run", "m"))
    assert caught.value.path == file
