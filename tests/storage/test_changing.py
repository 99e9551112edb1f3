"""Files removed, moved, copied and written in place: what happens, and which errors name what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfbundle.errors import MissingFileError
from tfbundle.storage import changing
from tfbundle.storage.locations import locate


def test_removal(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "kept").write_bytes(b"x")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "kept")
    changing.remove_file(locate(tmp_path / "folder" / "link"))
    assert (tmp_path / "kept").exists()
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    changing.remove_tree(locate(tmp_path / "folder"))
    assert os.listdir(tmp_path) == ["kept"]
    changing.remove_tree(locate(tmp_path / "kept"))
    assert os.listdir(tmp_path) == []


def test_folders(tmp_path: Path) -> None:
    changing.make_folders(locate(tmp_path / "a" / "b"))
    changing.make_folders(locate(tmp_path / "a" / "b"))
    changing.make_folder(locate(tmp_path / "a" / "c"))
    changing.make_folder(locate(tmp_path / "a" / "c"))
    assert sorted(os.listdir(tmp_path / "a")) == ["b", "c"]
    (tmp_path / "file").touch()
    for make in (changing.make_folder, changing.make_folders):
        with pytest.raises(FileExistsError):
            make(locate(tmp_path / "file"))
    with pytest.raises(MissingFileError, match="none"):
        changing.make_folder(locate(tmp_path / "none" / "a"))


def test_move_and_copy(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    changing.copy_file(locate(tmp_path / "a"), locate(tmp_path / "c"))
    changing.move(locate(tmp_path / "a"), locate(tmp_path / "b"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"a", "c": b"a"}


def test_in_place(tmp_path: Path) -> None:
    with changing.open_in_place(locate(tmp_path / "a"), "wb") as file:
        file.write(b"one")
        file.flush()
        assert (tmp_path / "a").read_bytes() == b"one"
    with changing.open_in_place(locate(tmp_path / "a"), "ab") as file:
        file.write(b"two")
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_errors_name_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    none, folder = locate("none"), locate("folder")
    for act in (changing.remove_file, changing.remove_tree):
        with pytest.raises(MissingFileError, match="there is no file or folder none"):
            act(none)
    for change in (changing.move, changing.copy_file):
        with pytest.raises(MissingFileError, match="there is no file or folder none"):
            change(none, folder)
    with pytest.raises(OSError, match="'folder'"):
        changing.remove_file(folder)
    with pytest.raises(IsADirectoryError, match="'folder'"):
        changing.open_in_place(folder, "wb")


def test_relative_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("run/m").relative_to(locate("run")) == "m"
    assert locate("m").relative_to(locate("run")) == os.path.join("..", "m")
    assert locate(tmp_path / "run" / "m").relative_to(locate(".")) == os.path.join("run", "m")
    assert locate("run").relative_to(locate(tmp_path / "run")) == "."
