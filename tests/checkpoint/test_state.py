"""State files: their contents, and what is now at the places that they name."""

import json
import ntpath
import os
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES
from tests.support.v1_writer import write_v1
from tfbundle import train
from tfbundle.checkpoint.find.state import CheckpointState
from tfbundle.errors import FormatError, MissingFileError
from tfbundle.limits import LARGEST_BY_HAND, LARGEST_NOTE, LONGEST_PATH

STATES = {
    file.parent: json.loads(file.read_text(encoding="utf-8"))["state"]
    for file in sorted(FIXTURES.glob("*/*/EXPECTED.json"))
    if "state" in json.loads(file.read_text(encoding="utf-8"))
}


def write_state(folder: Path, latest: str, *others: str, name: str = "checkpoint", more: str = "") -> None:
    lines = [f"model_checkpoint_path: {json.dumps(latest, ensure_ascii=False)}"]
    lines += [f"all_model_checkpoint_paths: {json.dumps(path, ensure_ascii=False)}" for path in (*others, latest)]
    (folder / name).write_text("\n".join(lines) + "\n" + more, encoding="utf-8")


def write_checkpoint(prefix: Path) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(prefix, {"a": np.arange(3)})
    return prefix


class TestFixtures:
    @pytest.mark.parametrize("folder", STATES, ids=lambda folder: folder.relative_to(FIXTURES).as_posix())
    def test_as_written(self, folder: Path) -> None:
        expected = STATES[folder]
        for path in (folder, str(folder), folder / "checkpoint"):
            state = tfbundle.read_checkpoint_state(path)
            assert state.path == str(folder / "checkpoint")
            assert state.model_checkpoint_path == expected["model_checkpoint_path"]
            assert state.all_model_checkpoint_paths == expected["all_model_checkpoint_paths"]

    @pytest.mark.parametrize("folder", STATES, ids=lambda folder: folder.relative_to(FIXTURES).as_posix())
    def test_latest(self, folder: Path) -> None:
        state = tfbundle.read_checkpoint_state(folder)
        latest = tfbundle.latest_checkpoint(folder)
        assert latest == state.resolved
        if folder.name == "folder-of-strangers":
            assert latest is None
            assert state.all_resolved == [None, None]
            return
        # A pattern of a sharded V1 checkpoint stands for its prefix.
        name = Path(STATES[folder]["model_checkpoint_path"]).name.removesuffix("-?????-of-00004")
        assert latest == str(folder / name)
        with tfbundle.open_checkpoint(latest) as checkpoint:
            assert len(checkpoint) > 0

    def test_timestamps(self, tf: Any) -> None:
        folder = FIXTURES / "tf-2.21.0" / "checkpoint-manager"
        ours, theirs = tfbundle.read_checkpoint_state(folder), tf.train.get_checkpoint_state(str(folder))
        assert len(ours.all_model_checkpoint_timestamps) == 2
        assert ours.all_model_checkpoint_timestamps == list(theirs.all_model_checkpoint_timestamps)
        assert ours.last_preserved_timestamp == theirs.last_preserved_timestamp > 0

    def test_without_timestamps(self) -> None:
        state = tfbundle.read_checkpoint_state(FIXTURES / "tf-1.2.1" / "training")
        assert state.all_model_checkpoint_timestamps == []
        assert state.last_preserved_timestamp == 0


class TestResolving:
    @pytest.mark.parametrize(
        "stored",
        [
            "model.ckpt-5",
            "./model.ckpt-5",
            "/tmp/train/model.ckpt-5",
            "/model.ckpt-5",
            "/a/very/far/place/it/was/once/at/model.ckpt-5",
            "C:\\Users\\me\\train\\model.ckpt-5",
            "C:/Users/me/train/model.ckpt-5",
            "\\\\server\\share\\model.ckpt-5",
            "train\\model.ckpt-5",
            "train/model.ckpt-5",
            "../train/model.ckpt-5",
            "gs://bucket/train/model.ckpt-5",
            "hdfs://host:9000/train/model.ckpt-5",
        ],
    )
    def test_folder_that_moved(self, tmp_path: Path, stored: str) -> None:
        folder = tmp_path / "elsewhere"
        prefix = write_checkpoint(folder / "model.ckpt-5")
        write_state(folder, stored)
        latest = tfbundle.latest_checkpoint(folder)
        assert latest is not None
        assert os.path.normpath(latest) == str(prefix)
        with tfbundle.open_checkpoint(folder) as checkpoint:
            assert checkpoint["a"].read().tolist() == [0, 1, 2]
        assert tfbundle.read_checkpoint_state(folder).model_checkpoint_path == stored

    @pytest.mark.parametrize("stored", ["/train/ckpts/best/model", "ckpts/best/model", "D:\\ckpts\\best\\model"])
    def test_folders_below_moved_along(self, tmp_path: Path, stored: str) -> None:
        prefix = write_checkpoint(tmp_path / "ckpts" / "best" / "model")
        write_state(tmp_path, stored)
        assert tfbundle.latest_checkpoint(tmp_path) == str(prefix)

    @pytest.mark.parametrize(
        "stored", ["C:\\run\\model", "C:/run/model", "C:\\run\\", "\\\\host\\run\\model", "/run/model"]
    )
    def test_on_windows(self, monkeypatch: pytest.MonkeyPatch, stored: str) -> None:
        """Apart from where it was stored, nothing is searched for but in the state file's folder."""
        asked: list[str] = []
        monkeypatch.setattr("tfbundle.storage.folders.os", SimpleNamespace(path=ntpath, curdir=ntpath.curdir))
        monkeypatch.setattr("tfbundle.checkpoint.find.listings.Asked.__contains__", lambda *_: True)
        monkeypatch.setattr(
            "tfbundle.checkpoint.find.state.find_files", lambda prefix, *rest: asked.append(prefix.path)
        )
        assert CheckpointState("D:\\copy\\checkpoint", stored, [], [], 0).resolved is None
        assert len(asked) > 2
        assert all(path.startswith("D:\\copy\\") for path in asked[1:])

    def test_moved_twice(self, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        prefix = write_checkpoint(first / "run" / "model-1")
        write_state(first / "run", str(prefix))
        assert tfbundle.latest_checkpoint(first / "run") == str(prefix)
        first.rename(second)
        assert tfbundle.latest_checkpoint(second / "run") == str(second / "run" / "model-1")
        second.rename(first)
        assert tfbundle.latest_checkpoint(first / "run") == str(prefix)

    def test_what_is_there_comes_first(self, tmp_path: Path) -> None:
        prefix = write_checkpoint(tmp_path / "original" / "model")
        write_checkpoint(tmp_path / "copy" / "model")
        write_state(tmp_path / "copy", str(prefix))
        assert tfbundle.latest_checkpoint(tmp_path / "copy") == str(prefix)

    def test_copy_of_a_folder_that_is_still_there(self, tmp_path: Path) -> None:
        prefix = write_checkpoint(tmp_path / "run" / "model-1")
        write_checkpoint(tmp_path / "run" / "model-2")
        write_state(tmp_path / "run", str(tmp_path / "run" / "model-2"), str(prefix))
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        for folder in (tmp_path / "run", tmp_path / "copy"):
            state = tfbundle.read_checkpoint_state(folder)
            assert state.all_resolved == [str(folder / "model-1"), str(folder / "model-2")]
            with tfbundle.open_checkpoint(folder) as checkpoint:
                assert checkpoint.prefix == tfbundle.latest_checkpoint(folder) == str(folder / "model-2")
            assert [item.prefix for item in tfbundle.list_checkpoints(folder)] == state.all_resolved
        data = tmp_path / "copy" / "model-2.data-00000-of-00001"
        data.write_bytes(bytes(data.stat().st_size))
        assert tfbundle.verify(tmp_path / "run").ok
        assert not tfbundle.verify(tmp_path / "copy").ok
        # What was not copied is where the state file says.
        for path in (tmp_path / "copy").glob("model-2*"):
            path.unlink()
        assert tfbundle.latest_checkpoint(tmp_path / "copy") == str(tmp_path / "run" / "model-2")

    def test_folder_below_with_a_state_file_of_its_own(self, tmp_path: Path) -> None:
        prefix = write_checkpoint(tmp_path / "below" / "model")
        write_state(tmp_path / "below", "model")
        write_checkpoint(tmp_path / "model")
        write_state(tmp_path, str(prefix))
        assert tfbundle.latest_checkpoint(tmp_path) == str(prefix)
        # A relative path means the same in a copy.
        write_state(tmp_path / "below", "../model")
        assert tfbundle.latest_checkpoint(tmp_path / "below") == os.path.join(tmp_path, "below", "../model")

    def test_never_another_step(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "model.ckpt-10")
        write_state(tmp_path, "/old/model.ckpt-1", "/old/model.ckpt-100", "/old/model.ckpt-10")
        state = tfbundle.read_checkpoint_state(tmp_path)
        assert state.resolved is None
        assert state.all_resolved == [None, str(tmp_path / "model.ckpt-10"), None]
        assert tfbundle.latest_checkpoint(tmp_path) is None
        with pytest.raises(MissingFileError, match=r"names '/old/model.ckpt-1', which does not exist; .*model.ckpt-10"):
            tfbundle.open_checkpoint(tmp_path)

    def test_v1(self, tmp_path: Path) -> None:
        write_v1(tmp_path / "model.ckpt", {"a": np.arange(3, dtype="f4")})
        write_state(tmp_path, "/old/model.ckpt")
        assert tfbundle.latest_checkpoint(tmp_path) == str(tmp_path / "model.ckpt")
        write_v1(tmp_path / "shards-00000-of-00001", {"a": np.arange(3, dtype="f4")})
        write_state(tmp_path, "/old/shards-?????-of-00001")
        assert tfbundle.latest_checkpoint(tmp_path) == str(tmp_path / "shards")

    def test_relative_to_where_we_are(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_checkpoint(tmp_path / "run" / "model")
        write_state(tmp_path / "run", "model")
        monkeypatch.chdir(tmp_path)
        assert tfbundle.latest_checkpoint("run") == os.path.join("run", "model")
        monkeypatch.chdir(tmp_path / "run")
        assert tfbundle.latest_checkpoint(".") == os.path.join(".", "model")
        assert tfbundle.latest_checkpoint("") == os.path.join(".", "model")

    def test_long_paths_take_no_time(self, tmp_path: Path) -> None:
        write_state(tmp_path, "a/" * 100_000 + "model", "/" + "b" * 100_000, "c\\" * 100_000)
        start = time.monotonic()
        assert tfbundle.read_checkpoint_state(tmp_path).all_resolved == [None, None, None]
        assert time.monotonic() - start < 5

    def test_strange_names(self, tmp_path: Path) -> None:
        for name in ("mödel ckpt", "model[1]*", "model'\"", "a?b-?????-of"):
            write_checkpoint(tmp_path / name)
            write_state(tmp_path, f"/old/{name}")
            assert tfbundle.latest_checkpoint(tmp_path) == str(tmp_path / name)
        state = tfbundle.read_checkpoint_state(tmp_path)
        for stored in ("", "a\0b", "/", ".", "..", "\\"):
            assert state.resolve(stored) is None


class TestFilesWithoutAName:
    """What a prefix that ends in a slash leaves: ``.index``, ``.data-00000-of-00001``, and "." in the state file."""

    @pytest.mark.parametrize("stored", [".", "./", "/old/run/", "/old/run/.", "run/", "D:\\old\\run\\"])
    def test_resolved(self, tmp_path: Path, stored: str) -> None:
        folder = tmp_path / "run"
        write_checkpoint(folder / "other-7")
        for path in folder.iterdir():
            path.rename(path.with_name(path.name.removeprefix("other-7")))
        write_state(folder, stored)
        latest = tfbundle.latest_checkpoint(folder)
        assert latest == os.path.join(folder, "")
        for path in (folder, latest, folder / ".index"):
            with tfbundle.open_checkpoint(path) as checkpoint:
                assert checkpoint["a"].read().tolist() == [0, 1, 2]
        (listed,) = tfbundle.list_checkpoints(folder)
        assert listed.in_state
        assert listed.complete

    def test_what_to_pass_is_the_index(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "gone-1", {"a": np.arange(3)})
        for path in tmp_path.iterdir():
            path.rename(path.with_name(path.name.removeprefix("gone-1")))
        write_state(tmp_path, "gone-1")
        with pytest.raises(MissingFileError, match=r"pass one of them") as caught:
            tfbundle.open_checkpoint(tmp_path)
        assert str(tmp_path / ".index") in str(caught.value)

    def test_what_to_pass_is_not_a_stranger(self, tmp_path: Path) -> None:
        # A web page and a note of that suffix are no checkpoints; a damaged index that has its data is one.
        for name in ("whole-1", "damaged-2"):
            write_checkpoint(tmp_path / name)
        (tmp_path / "damaged-2.index").write_bytes(b"\xff" * 300)
        (tmp_path / "page-3.index").write_text("<!DOCTYPE html><html></html>")
        (tmp_path / "note-4.index").write_text("nothing of a table")
        write_state(tmp_path, "gone-9")
        with pytest.raises(MissingFileError, match=r"damaged-2, .*whole-1, pass one of them") as caught:
            tfbundle.open_checkpoint(tmp_path)
        assert "page-3" not in str(caught.value)
        assert "note-4" not in str(caught.value)

    @pytest.mark.parametrize("stored", [".", None])
    def test_as_tensorflow_saves_and_reads(
        self, tf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str | None
    ) -> None:
        monkeypatch.chdir(tmp_path)
        # An absolute prefix is stored as it is.
        prefix = os.path.join(tmp_path if stored is None else "", "run", "")
        os.mkdir(prefix)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variable = tf.compat.v1.get_variable("w", initializer=[1.0, 2.0])
            session.run(variable.initializer)
            tf.compat.v1.train.Saver().save(session, prefix, write_meta_graph=False)
        assert tfbundle.read_checkpoint_state(prefix).model_checkpoint_path == (stored or prefix)
        assert tfbundle.load(tmp_path / "run")["w"].tolist() == [1, 2]
        write_checkpoint(tmp_path / "run" / "model")
        write_state(tmp_path / "run", "model")
        # With a slash it is a prefix for the reader, and a folder for everything that takes folders.
        for reader in (tf.compat.v1.train.NewCheckpointReader, train.NewCheckpointReader):
            assert list(reader(prefix).get_variable_to_shape_map()) == ["w"]
        for load in (tf.train.load_checkpoint, train.load_checkpoint):
            assert list(load(prefix).get_variable_to_shape_map()) == ["a"]


class TestOtherNames:
    def test_latest_filename(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "best-7")
        write_state(tmp_path, "best-7", name="best_checkpoint")
        assert tfbundle.latest_checkpoint(tmp_path) is None
        assert tfbundle.latest_checkpoint(tmp_path, "best_checkpoint") == str(tmp_path / "best-7")
        for state in (
            tfbundle.read_checkpoint_state(tmp_path, "best_checkpoint"),
            tfbundle.read_checkpoint_state(tmp_path / "best_checkpoint"),
        ):
            assert state.path == str(tmp_path / "best_checkpoint")
            assert state.resolved == str(tmp_path / "best-7")

    def test_absent(self, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "checkpoint", tmp_path / "none"):
            with pytest.raises(MissingFileError):
                tfbundle.read_checkpoint_state(path)
            assert tfbundle.latest_checkpoint(path) is None


class TestDamage:
    @pytest.mark.parametrize(
        "text",
        [
            b"nonsense",
            b"model_checkpoint_path",
            b"model_checkpoint_path: ",
            b'model_checkpoint_path: "model',
            b"model_checkpoint_path: 7",
            b'model_checkpoint: "model"',
            b'model_checkpoint_path: "a" model_checkpoint_path: "b" }',
            b'all_model_checkpoint_timestamps: "x"',
            b'model_checkpoint_path: "\xff"',
            b"\x0a\x05model",
            b"<!DOCTYPE html><html>",
            b"version https://git-lfs.github.com/spec/v1",
            bytes(100),
        ],
    )
    def test_garbage(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "checkpoint").write_bytes(text)
        for call in (
            tfbundle.read_checkpoint_state,
            tfbundle.latest_checkpoint,
            tfbundle.open_checkpoint,
            tfbundle.list_checkpoints,
        ):
            with pytest.raises(FormatError) as caught:
                call(tmp_path)
            assert str(tmp_path / "checkpoint") in str(caught.value)

    @pytest.mark.parametrize("suffix", [".index", ".meta", ".data-00000-of-00001"])
    def test_files_of_other_kinds(self, suffix: str) -> None:
        path = FIXTURES / "tf-1.15.5" / "training" / f"model.ckpt-20{suffix}"
        with pytest.raises(FormatError) as caught:
            tfbundle.read_checkpoint_state(path)
        assert str(path) in str(caught.value)
        assert "not a state file; pass the folder" in str(caught.value)

    @given(st.binary(max_size=80))
    def test_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any"
        path.write_bytes(text)
        try:
            state = tfbundle.read_checkpoint_state(path)
        except FormatError:
            return
        assert isinstance(state.model_checkpoint_path, str)

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "checkpoint").write_bytes(b"")
        state = tfbundle.read_checkpoint_state(tmp_path)
        assert (state.model_checkpoint_path, state.all_model_checkpoint_paths) == ("", [])
        assert state.resolved is None
        assert tfbundle.latest_checkpoint(tmp_path) is None

    def test_escapes(self, tmp_path: Path) -> None:
        (tmp_path / "checkpoint").write_text(
            '# A comment.\nmodel_checkpoint_path: "m\\303\\266del" "\\x2d\\061"\nlast_preserved_timestamp: 1.5e9\n'
        )
        state = tfbundle.read_checkpoint_state(tmp_path)
        assert state.model_checkpoint_path == "mödel-1"
        assert state.last_preserved_timestamp == 1.5e9


class TestWrittenByHand:
    """What TensorFlow does not write, and people do."""

    @pytest.mark.parametrize(
        "stored",
        [
            r"C:\Users\new\model.ckpt-7",
            r"C:\runs\train\model.ckpt-7",  # Each backslash begins an escape but the last.
            r"new\run\train\abc\fold\bar\vgg\model.ckpt-7",
            r"C:\2024\07\model.ckpt-7",
            r"D:\xray\model.ckpt-7",
            r"\\server\share\model.ckpt-7",
            r"C:\\Users\\me\\model.ckpt-7",
            r".\model.ckpt-7",
        ],
    )
    @pytest.mark.parametrize("quote", ["'", '"'])
    def test_single_backslashes(self, tmp_path: Path, stored: str, quote: str) -> None:
        prefix = write_checkpoint(tmp_path / "model.ckpt-7")
        (tmp_path / "checkpoint").write_text(f"model_checkpoint_path: {quote}{stored}{quote}\n")
        assert tfbundle.latest_checkpoint(tmp_path) == str(prefix)
        assert tfbundle.load(tmp_path)["a"].tolist() == [0, 1, 2]

    @pytest.mark.parametrize("name", ["new-7", "trial-7", "bold-7", "root-7", "alpha-7", "final-7", "vgg-7"])
    def test_a_name_whose_first_letter_is_an_escape(self, tmp_path: Path, name: str) -> None:
        prefix = write_checkpoint(tmp_path / name)
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "C:\\{name}"\n')
        assert tfbundle.latest_checkpoint(tmp_path) == str(prefix)

    def test_escapes_that_are_meant(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "new")
        prefix = write_checkpoint(tmp_path / "a\new")
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "a\\new"\n')
        assert tfbundle.latest_checkpoint(tmp_path) == str(prefix)

    @pytest.mark.parametrize("text", [b'model_checkpoint_path: "a\\m', b'model_checkpoint_path "\\m"', b"\\m"])
    def test_what_is_wrong_otherwise(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "checkpoint").write_bytes(text)
        with pytest.raises(FormatError, match="checkpoint"):
            tfbundle.latest_checkpoint(tmp_path)

    @pytest.mark.parametrize("member", [".index", ".data-00000-of-00001", ".meta"])
    @pytest.mark.parametrize("folder", ["", "/old/run/"])
    def test_the_name_of_a_member(self, tmp_path: Path, member: str, folder: str) -> None:
        prefix = write_checkpoint(tmp_path / "model.ckpt-7")
        write_state(tmp_path, f"{folder}model.ckpt-7{member}")
        assert tfbundle.latest_checkpoint(tmp_path) == train.latest_checkpoint(tmp_path) == str(prefix)
        assert tfbundle.load(tmp_path)["a"].tolist() == [0, 1, 2]
        (listed,) = tfbundle.list_checkpoints(tmp_path)
        assert (listed.prefix, listed.in_state) == (str(prefix), True)
        # A prefix of that name comes first.
        other = write_checkpoint(tmp_path / f"model.ckpt-7{member}")
        assert tfbundle.latest_checkpoint(tmp_path) == str(other)

    def test_urls(self, tmp_path: Path) -> None:
        prefix = write_checkpoint(tmp_path / "a run" / "model")
        (tmp_path / "copy").mkdir()
        for stored in (prefix.as_uri(), f"file://elsewhere{prefix}"):
            for folder in (tmp_path / "a run", tmp_path / "copy"):
                write_state(folder, stored)
            assert tfbundle.latest_checkpoint(tmp_path / "a run") == str(prefix)
            wanted = str(prefix) if stored == prefix.as_uri() else None
            assert tfbundle.latest_checkpoint(tmp_path / "copy") == wanted


@pytest.mark.effort
class TestEffort:
    """A state file may name any number of checkpoints, by any number of spellings."""

    def check(self, folder: Path, error: str | None = None, seconds: float = 1) -> None:
        for call in (
            lambda: tfbundle.list_checkpoints(folder),
            lambda: tfbundle.read_checkpoint_state(folder).all_resolved,
            lambda: train.get_checkpoint_state(folder),
        ):
            start = time.process_time()
            with pytest.raises(FormatError, match=error) if error else nullcontext():
                call()
            assert time.process_time() - start < seconds

    def test_paths_longer_than_any_system_opens(self, tmp_path: Path) -> None:
        """Longer and longer ends of a path are searched for, but not those of one that never was a file's."""
        write_checkpoint(tmp_path / "m-7")
        state = CheckpointState(str(tmp_path / "checkpoint"), "", [], [], 0.0)
        assert state.resolve("/" * (LONGEST_PATH - 3) + "m-7") == str(tmp_path / "m-7")
        assert state.resolve("/" * (LONGEST_PATH - 2) + "m-7") is None
        write_state(tmp_path, "/" * (LONGEST_PATH - 2) + "m-7")
        with pytest.raises(MissingFileError, match=f"names a path of {LONGEST_PATH + 1} characters.* pass one of them"):
            tfbundle.open_checkpoint(tmp_path)

    def test_separators_at_the_end_of_a_path(self, tmp_path: Path) -> None:
        """As many are examined as any folder that is searched for has room for."""
        write_checkpoint(tmp_path / "m-7")
        state = CheckpointState(str(tmp_path / "checkpoint"), "", [], [], 0.0)
        (tmp_path / "run").mkdir()
        write_checkpoint(tmp_path / "run" / "m-8")
        assert state.resolve("/gone/run" + "/" * 60 + "m-8") == str(tmp_path / "run" / "m-8")
        assert state.resolve("/gone" * 70 + "/run/./m-8") == str(tmp_path / "run" / "m-8")

    @pytest.mark.parametrize(("size", "error"), [(LARGEST_NOTE, None), (LARGEST_NOTE + 1, "no file of its kind")])
    def test_size_of_the_file(self, tmp_path: Path, size: int, error: str | None) -> None:
        text = b'model_checkpoint_path: "m-1"\n'
        (tmp_path / "checkpoint").write_bytes(text + b"#" * (size - len(text)))
        self.check(tmp_path, error)

    @pytest.mark.parametrize(("count", "error"), [(100, None), (500_000, "are escapes")])
    def test_backslashes(self, tmp_path: Path, count: int, error: str | None) -> None:
        """Text of escapes takes many times its size in memory; a short one may have been written by hand."""
        (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "%s"\n' % (rb"\zz" * count))
        with pytest.raises(FormatError, match=error) if error else nullcontext():
            tfbundle.read_checkpoint_state(tmp_path)

    def test_escapes_of_other_alphabets(self, tmp_path: Path) -> None:
        path = "ä" * 150_000
        escaped = "".join(f"\\{byte:03o}" for byte in path.encode())
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{escaped}"\n')
        assert (tmp_path / "checkpoint").stat().st_size > LARGEST_BY_HAND
        assert tfbundle.read_checkpoint_state(tmp_path).model_checkpoint_path == path

    @pytest.mark.parametrize("form", ["m-{}", "/old/a/b/c/d/e/f/g/h/m-{}", "C:\\\\old\\\\m-{}", "same"])
    def test_many_checkpoints(self, tmp_path: Path, form: str) -> None:
        write_checkpoint(tmp_path / "same")
        lines = "".join(f'all_model_checkpoint_paths: "{form.format(step)}"\n' for step in range(10_000))
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-1"\n' + lines)
        self.check(tmp_path, seconds=1 / 3)

    def test_spellings_of_one_folder(self, tmp_path: Path) -> None:
        for number in range(3000):
            (tmp_path / f"neighbour{number}").touch()
        lines = "".join(f'all_model_checkpoint_paths: "{"./" * step}m-7"\n' for step in range(700))
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-1"\n' + lines)
        self.check(tmp_path)
        write_checkpoint(tmp_path / "m-7")
        assert len(tfbundle.list_checkpoints(tmp_path)) == 1

    @pytest.mark.parametrize(("count", "error"), [(9_000, None), (10_000, "in more than 10000 folders")])
    def test_many_folders(self, tmp_path: Path, count: int, error: str | None) -> None:
        lines = "".join(f'all_model_checkpoint_paths: "/old/{number}/m"\n' for number in range(count))
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m"\n' + lines)
        self.check(tmp_path, error)
