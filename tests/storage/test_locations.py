"""From what a person passes to a location, and what a location of the file system knows."""

import os
import pickle
from pathlib import Path

import pytest

from tfbundle import FormatError, MissingFileError, UnsupportedError
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.locations import locate, within
from tfbundle.storage.stated_paths import last_part, leads_outside, split_path

posix = pytest.mark.skipif(os.name == "nt", reason="paths of Windows have other separators")


@pytest.mark.parametrize(
    "path", ["run/m.ckpt", b"run/m.ckpt", Path("run/m.ckpt"), LocalLocation("run/m.ckpt")], ids=repr
)
def test_kinds_of_paths(path: object) -> None:
    assert locate(path) == LocalLocation(os.path.join("run", "m.ckpt") if isinstance(path, Path) else "run/m.ckpt")  # type: ignore[arg-type]


@posix
@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///runs/m.ckpt", "/runs/m.ckpt"),
        ("file://localhost/runs/m.ckpt", "/runs/m.ckpt"),
        ("file:/runs/m%20a.ckpt", "/runs/m a.ckpt"),
        ("FILE:///a%20b", "/a b"),
        ("file:///a?b#c", "/a?b#c"),
        ("file:///%ff", "/\udcff"),
    ],
)
def test_file_urls(url: str, path: str) -> None:
    assert locate(url).path == path


@pytest.mark.parametrize("path", ["C:\\runs", "model:0", "a:b://c".replace("://", ":/"), "./file:///x", ""])
def test_what_is_not_a_url(path: str) -> None:
    assert locate(path).path == path


@pytest.mark.parametrize("url", ["ftp://h/m", "hdfs://h/m", "file://elsewhere/m"])
def test_other_urls_are_refused_by_name(url: str) -> None:
    with pytest.raises(UnsupportedError, match=r"ftp:|hdfs:|elsewhere"):
        locate(url)


def test_what_is_not_a_path() -> None:
    with pytest.raises(TypeError):
        locate(3)  # type: ignore[arg-type]


@posix
def test_names_are_joined_and_taken_apart() -> None:
    prefix = locate("run/m.ckpt-7")
    assert (prefix.name, prefix.parent.path, prefix.plus(".index").path) == ("m.ckpt-7", "run", "run/m.ckpt-7.index")
    assert prefix.beside("checkpoint").path == "run/checkpoint"
    assert (locate("m").parent.path, locate("m").beside("n").path) == (".", "n")
    assert (locate("run").join("a", "b").path, locate("run").join("a", "/b").path) == ("run/a/b", "/b")
    assert (locate("run/").name, locate("run/").bare().path) == ("", "run")
    assert (locate("run").is_absolute, locate("/run").is_absolute) == (False, True)
    assert locate("run/").absolute().path == os.path.join(os.getcwd(), "run/")
    assert str(prefix) == "run/m.ckpt-7"
    assert pickle.loads(pickle.dumps(prefix)) == prefix
    assert len({prefix, locate("run/m.ckpt-7")}) == 1


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("folder")
    folder = locate(tmp_path)
    listing = folder.list()
    assert listing.names == ["dangling", "file", "folder", "link"]
    facts = {name: (listing.is_file(name), listing.is_folder(name), listing.stat(name)) for name in listing.names}
    for name, (is_file, is_folder, stat) in facts.items():
        location = folder.join(name)
        assert (location.is_file(), location.is_folder(), location.stat()) == (is_file, is_folder, stat)
    assert {name: found[:2] for name, found in facts.items()} == {
        "dangling": (True, False),
        "file": (True, False),
        "folder": (False, True),
        "link": (False, True),
    }
    stat = facts["file"][2]
    assert stat is not None
    assert stat.size == 5
    assert facts["folder"][2] is facts["dangling"][2] is None
    assert "absent" not in listing
    assert not listing.is_file("absent")
    assert listing.stat("absent") is None
    assert folder.join("link").place() == folder.join("folder").place() != folder.place()
    assert folder.join("link").real() == folder.join("folder").real()


@pytest.mark.parametrize("name", ["absent", "file", "a\0b", "x" * 300, "loop"])
def test_what_is_not_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(MissingFileError, match="folder"):
        locate(tmp_path).join(name).list()


def test_reading_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    location = locate(tmp_path / "file")
    assert location.read(5) == b"12345"
    with pytest.raises(FormatError, match="5 bytes"):
        location.read(4)
    with pytest.raises(MissingFileError):
        location.beside("absent").read(5)


@posix
def test_a_location_that_is_anchored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "below").mkdir(parents=True)
    (tmp_path / "run" / "file").write_bytes(b"12345")
    monkeypatch.chdir(tmp_path / "run")
    anchored = locate("file").anchored()
    monkeypatch.chdir(tmp_path)
    assert anchored.path == "file"
    assert not locate("file").is_file()
    source = anchored.open()
    assert (source.path, source.read_at(0, 5), source.same_file()) == ("file", b"12345", True)
    for location in (
        anchored,
        anchored.beside("file"),
        anchored.parent.join("file"),
        pickle.loads(pickle.dumps(anchored)),
    ):
        assert location.is_file()
        assert location.stat() is not None
        assert location.absolute().path == location.absolute().anchored().path
        assert location.real().path == str((tmp_path / "run" / "file").resolve())
    assert anchored.parent.list().names == ["below", "file"]
    assert anchored.parent.is_folder()
    assert anchored.plus("x").bare().anchored() == anchored.beside("filex")
    assert anchored != locate("file")
    assert locate(tmp_path).anchored() == locate(tmp_path)
    with pytest.raises(MissingFileError, match="no file filex"):
        anchored.plus("x").open()


def test_what_is_below(tmp_path: Path) -> None:
    folder = locate(tmp_path).real()
    assert folder.is_below(folder)
    assert folder.join("a").is_below(folder)
    assert not folder.is_below(folder.join("a"))
    assert not folder.join("ab").is_below(folder.join("a"))


@pytest.mark.parametrize(
    ("path", "is_outside"),
    [
        ("vocab.txt", False),
        ("a/b..c/d", False),
        ("a:/b", True),
        ("C:vocab.txt", True),
        ("/etc/passwd", True),
        ("\\\\host\\share", True),
        ("a/../b", True),
        ("a\\..\\..\\b", True),
        ("..", True),
        ("a\0b", True),
        ("s3://bucket/key", True),
        ("", False),
    ],
)
def test_paths_that_lead_out_of_their_folder(path: str, is_outside: bool) -> None:
    assert leads_outside(path) is is_outside


def test_parts_of_paths_of_any_system() -> None:
    assert split_path("a\\b/c") == ["a", "b", "c"]
    assert split_path("a\\b/c", 1) == ["a\\b".replace("\\", "/"), "c"]
    assert [last_part(text) for text in ("a\\b", "a/b", "b", "a/")] == ["b", "b", "b", ""]


def test_paths_within_a_folder() -> None:
    folder = LocalLocation("run")
    inner = os.path.join("run", "a", "b")
    assert within(inner, folder) == os.path.join("a", "b")
    assert within("run", folder) == within(os.path.join("run", ""), folder) == "."
    assert within("runs/a", folder) == "runs/a"
