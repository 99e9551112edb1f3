"""``gfile`` beside ``tf.io.gfile``, on the same folders."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfbundle.errors import MissingFileError
from tfbundle.train import gfile


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    for name in ("a/x.txt", "a/.hidden", "a/b/y.txt", "a/b/.h", "a/[z].txt", "a/x*", "a/b/c/model-10.index", "a/ü"):
        (tmp_path / name).write_bytes(b"1\r\n2\n")
    return tmp_path


PATTERNS = [
    *("a/*", "a/*/*", "a/?.txt", "*", "a", "a/", "a//x.txt", "./a/*", "nope*", "a/**", "a/[xy].txt", "a/[!x].txt"),
    *("a/*/", "a/x.tx[t]", r"a/\[z\].txt", r"a/x\*", "a/{x,b}*", "", "a/.*", "a/b/../x.txt", "a/*/*/*.index"),
    *("a/x.txt/*", "**/*.txt", "a/?", "/", "a/*/c", "no/*/x", "a/[", "a/[]", "?/x.txt"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_glob(tf: Any, folder: Path, pattern: str) -> None:
    assert gfile.glob(pattern) == sorted(tf.io.gfile.glob(pattern))
    assert gfile.glob(str(folder / pattern)) == sorted(tf.io.gfile.glob(str(folder / pattern)))


def test_glob_of_several(tf: Any) -> None:
    assert gfile.glob(["a/x*", "a/x.txt"]) == ["a/x*", "a/x.txt", "a/x.txt"]
    assert sorted(tf.io.gfile.glob(["a/x*", "a/x.txt"])) == sorted(gfile.glob(("a/x*", "a/x.txt")))


@pytest.mark.parametrize("path", ["a", "a/", "a/x.txt", "no", "", "/", ".", "link", "broken", "a\0b"])
def test_what_is_there(tf: Any, folder: Path, path: str) -> None:
    (folder / "link").symlink_to("a")
    (folder / "broken").symlink_to("nowhere")
    if "\0" not in path:
        assert gfile.exists(path) is tf.io.gfile.exists(path)
        assert gfile.isdir(path) is tf.io.gfile.isdir(path)
    assert gfile.exists(folder / path) is os.path.exists(folder / path)
    if gfile.isdir(path):
        assert gfile.listdir(path) == sorted(tf.io.gfile.listdir(path))
    else:
        with pytest.raises(MissingFileError):
            gfile.listdir(path)


def test_walk(tf: Any, folder: Path) -> None:
    (folder / "a" / "d").mkdir()

    def found(module: Any, **settings: Any) -> list[Any]:
        return [(top, sorted(below), sorted(files)) for top, below, files in module.walk("a", **settings)]

    assert sorted(found(gfile)) == sorted(found(tf.io.gfile))
    assert found(gfile)[0][0] == found(gfile, topdown=False)[-1][0] == "a"
    assert list(gfile.walk("no")) == []
    errors: list[OSError] = []
    assert list(gfile.walk("no", onerror=errors.append)) == []
    assert isinstance(errors[0], MissingFileError)
    (folder / "a" / "circle").symlink_to(folder / "a")
    assert [top for top, _, _ in gfile.walk("a")] == ["a", "a/b", "a/b/c", "a/d"]
    entered = []
    for top, below, _ in gfile.walk("a"):
        entered.append(top)
        below[:] = [name for name in below if name != "b"]
    assert entered == ["a", "a/d"]


def test_changes(folder: Path) -> None:
    gfile.makedirs("m/n/o")
    gfile.makedirs("m/n/o")
    gfile.mkdir("m/p")
    assert gfile.listdir("m") == ["n", "p"]
    with pytest.raises(MissingFileError):
        gfile.mkdir("no/p")
    with pytest.raises(FileExistsError):
        gfile.makedirs("a/x.txt")
    for change in (gfile.copy, gfile.rename):
        with pytest.raises(FileExistsError, match="overwrite=True"):
            change("a/x.txt", "a/b/y.txt")
    (folder / "a/x.txt").write_bytes(b"new")
    gfile.copy("a/x.txt", "a/b/y.txt", overwrite=True)
    gfile.rename("a/x.txt", "a/z")
    assert (folder / "a/b/y.txt").read_bytes() == (folder / "a/z").read_bytes() == b"new"
    gfile.remove("a/z")
    with pytest.raises(MissingFileError):
        gfile.remove("a/z")
    gfile.rmtree("a")
    assert gfile.listdir(".") == ["m"]
    assert gfile.join("m", "n", "o") == os.path.join("m", "n", "o")


def test_stat(tf: Any) -> None:
    ours, theirs = gfile.stat("a/x.txt"), tf.io.gfile.stat("a/x.txt")
    assert ours.length == theirs.length == 5
    assert ours.is_directory is theirs.is_directory is False
    assert abs(ours.mtime_nsec - theirs.mtime_nsec) < 10**9
    with pytest.raises(IsADirectoryError):
        gfile.stat("a")
    with pytest.raises(MissingFileError):
        gfile.stat("no")


class TestGFile:
    @pytest.mark.parametrize("mode", ["r", "rb", "br", "r+", "w", "wb", "a", "ab", "w+", "a+", "r+b"])
    def test_same_as_tensorflow(self, tf: Any, folder: Path, mode: str) -> None:
        results = []
        for name, make in (("ours", gfile.GFile), ("theirs", tf.io.gfile.GFile)):
            (folder / name).write_bytes("hé\nb\nc\n\nend".encode())
            steps: list[Any] = []
            with make(str(folder / name), mode) as file:
                if "r" in mode:
                    steps += [file.read(4), file.tell(), file.readline(), file.readlines(), file.read(), file.size()]
                    file.seek(3)
                    steps += [file.readline(), list(file), file.readline()]
                    file.seek(offset=-3, whence=2)
                    steps += [file.read(2), file.read()]
                if "r" not in mode:
                    file.write(b"new" if "b" in mode else "nü\n")
                    file.flush()
                    steps.append((folder / name).read_bytes())
                steps += [file.mode, file.seekable()]
            steps.append((folder / name).read_bytes())
            results.append(steps)
        assert results[0] == results[1]

    @pytest.mark.parametrize("mode", ["", "x", "rU", "rt", "rw", "q"])
    def test_other_modes(self, mode: str) -> None:
        with pytest.raises(ValueError, match="is not one of"):
            gfile.GFile("a/x.txt", mode)

    def test_what_a_mode_does_not_allow(self, folder: Path) -> None:
        with pytest.raises(io.UnsupportedOperation):
            gfile.GFile("a/x.txt").write("x")
        for mode in ("w", "a"):
            with pytest.raises(io.UnsupportedOperation):
                gfile.GFile("a/x.txt", mode).read()
        assert (folder / "a/x.txt").read_bytes() == b"1\r\n2\n"

    def test_what_is_not_there(self) -> None:
        file = gfile.GFile("no")  # As in TensorFlow, nothing is opened yet.
        with pytest.raises(MissingFileError):
            file.read()
        with pytest.raises(MissingFileError):
            gfile.GFile("no/file", "w").write("x")
        with pytest.raises(TypeError, match="offset"):
            gfile.GFile("a/x.txt").seek()
        with pytest.raises(ValueError, match="before the start"):
            gfile.GFile("a/x.txt").seek(-9, 2)

    def test_writing_into_a_file(self, folder: Path) -> None:
        """TensorFlow cuts a file that is opened with r+ when it is first written to."""
        with gfile.GFile("a/x.txt", "r+") as file:
            assert file.readline() == "1\r\n"
            file.seek(1)
            file.write("+")
        assert (folder / "a/x.txt").read_bytes() == b"1+\n2\n"

    def test_line_ends_stay(self) -> None:
        """TensorFlow leaves out every carriage return of a line, also of bytes."""
        assert list(gfile.GFile("a/x.txt", "rb")) == [b"1\r\n", b"2\n"]

    def test_as_a_file_of_other_libraries(self) -> None:
        values = {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}
        with gfile.GFile("v.npz", "wb") as file:
            np.savez(file, **values)  # type: ignore[arg-type]
        with gfile.GFile("v.npz", "rb") as file, np.load(file) as loaded:
            for name, value in values.items():
                np.testing.assert_array_equal(loaded[name], value)
        with gfile.GFile("v.json", "w") as file:
            json.dump([1, "ü"], file, ensure_ascii=False)
        with gfile.GFile("v.json") as file:
            assert json.load(file) == [1, "ü"]
        with gfile.GFile("v.pickle", "wb") as file:
            pickle.dump([1, "ü"], file)
        with gfile.GFile("v.pickle", "rb") as file:
            assert pickle.load(file) == [1, "ü"]


def test_names_alone_are_offered() -> None:
    assert {name for name in dir(gfile) if not name.startswith("__")} == set(gfile.__all__)
