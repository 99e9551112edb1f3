"""Files that are beside their place under another name: the error says which one it is and what to call it."""

import bz2
import gzip
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES
from tests.support.refusals import forbid
from tests.support.v1_writer import write_v1
from tfbundle import MissingFileError, UnsupportedError
from tfbundle.checkpoint.find.renamed import original_name

DATA = "m.data-00000-of-00001"
VALUE = np.arange(100, dtype="f4")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "m", {"v": VALUE})
    return tmp_path / "m"


def missing(path: Path) -> str:
    with pytest.raises(MissingFileError) as caught:
        tfbundle.load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        f"{DATA}.1",
        f"{DATA} (1)",
        f"{DATA}(1)",
        f"{DATA} (12).txt",
        "m (1).data-00000-of-00001",
        f"{DATA}.txt",
        f"{DATA}.bin",
        f"{DATA}.bak",
        f"{DATA}?download=true",
        "m%2Edata-00000-of-00001",
        f"{DATA} copy",
        f"Copy of {DATA}",
        f"{DATA} - Copy",
        f"{DATA} - Copy (2)",
        f"{DATA}-copy",
        f"{DATA} (copy)",
        f"{DATA} (3rd copy)",
        "m 2.data-00000-of-00001",
        f"{DATA}_1",
        f"{DATA}~",
        f"{DATA}.gz",  # A browser unpacked it, and kept the name.
        f"{DATA}.crdownload",
        f"{DATA}.part",
        f"{DATA}.partial",
        f"{DATA}.download",
        f"{DATA}.tmp",
        f"{DATA}_.gstmp",
        "m.data",
        "m.data-00000",
        "M.DATA-00000-OF-00001",
        "m_data_00000_of_00001",
        f"{DATA}-1",
        f"{DATA}.1000",
        f"{DATA}_1000",
        f"{DATA}-Copy1",
        f"{DATA}.json",
        f"{DATA}.sync-conflict-20260101-120000-ABCDEFG",
        f"{DATA}-20260101T120000Z-001",
        f"{DATA} (conflicted copy 2026-01-01)",
        "m (Jo's conflicted copy 2026-01-01).data-00000-of-00001",
        "m.data-0-of-1",
        "m.data-000-of-001.1",
        "m.data-1-of-1",
        "m.data-00001-of-00001",
        "m.data.bin",
    ],
)
def test_a_data_file(prefix: Path, name: str) -> None:
    os.rename(prefix.parent / DATA, prefix.parent / name)
    assert f"{name} exists: rename it to {DATA}" in missing(prefix)
    (finding,) = (finding for finding in tfbundle.verify(prefix).findings if finding.kind == "missing")
    assert f"{name} exists: rename it to {DATA}" in finding.message
    os.rename(prefix.parent / name, prefix.parent / DATA)
    assert tfbundle.load(prefix)["v"].tolist() == VALUE.tolist()


@pytest.mark.parametrize(
    "name",
    [
        f"{DATA}x",
        "m.data-00000-of-00002",
        "other",
        f"._{DATA}",
        "m.data-0-of-2",
        "m.database",
        f"#{DATA}#",
        f"~{DATA}",
    ],
)
def test_other_files_are_none(prefix: Path, name: str) -> None:
    os.remove(prefix.parent / DATA)
    (prefix.parent / name).write_bytes(bytes(399))
    assert "rename it" not in missing(prefix)


@pytest.mark.parametrize(("size", "is_whole"), [(0, False), (399, False), (400, True), (500, True)])
def test_how_much_of_a_download_is_there(prefix: Path, size: int, is_whole: bool) -> None:
    os.remove(prefix.parent / DATA)
    (prefix.parent / f"{DATA}.crdownload").write_bytes(bytes(size))
    text = missing(prefix)
    assert ("rename it to" in text) == is_whole
    assert (f"is incomplete ({size} of 400 bytes): download it again" in text) != is_whole


def test_of_several_the_one_that_is_long_enough(prefix: Path) -> None:
    os.rename(prefix.parent / DATA, prefix.parent / f"{DATA} (2)")
    (prefix.parent / f"{DATA} (1)").write_bytes(bytes(10))
    assert f"; {DATA} (2) exists: rename it" in missing(prefix)
    (prefix.parent / f"{DATA} (3)").write_bytes(bytes(400))
    assert f"{DATA} (2), {DATA} (3) exist: rename the right one" in missing(prefix)


def test_one_of_several_data_files(tmp_path: Path) -> None:
    prefix = tmp_path / "m"
    tfbundle.save(prefix, {"a": VALUE, "b": VALUE}, shards=2)
    data = "m.data-00001-of-00002"
    for name in (f"{data}-1", "m.data-1-of-2", f"{data} (2)"):
        os.rename(tmp_path / data, tmp_path / name)
        assert f"{name} exists: rename it to {data}" in missing(prefix)
        os.rename(tmp_path / name, tmp_path / data)
    os.rename(tmp_path / data, tmp_path / "m.data-1-of-3")
    assert "m.data-1-of-3 exists" not in missing(prefix)


@pytest.mark.parametrize(
    "name", ["m.idx", "m.index-1", "m.index.sync-conflict-20260101-120000-ABCDEFG", "m.index.0001"]
)
def test_an_index_with_more_after_its_name(prefix: Path, name: str) -> None:
    os.rename(prefix.parent / "m.index", prefix.parent / name)
    with pytest.raises(tfbundle.MissingFileError, match=f"{name} is an index: rename it to m.index"):
        tfbundle.load(prefix)


def test_by_its_size_alone(prefix: Path) -> None:
    os.rename(prefix.parent / DATA, prefix.parent / "f3a9c")
    assert f"f3a9c has the 400 bytes that the index lists: if it is this file, rename it to {DATA}" in missing(prefix)
    shutil.copy(prefix.parent / "f3a9c", prefix.parent / "another")
    assert "rename" not in missing(prefix)


@pytest.mark.parametrize(("size", "is_found"), [(63, False), (64, True)])
def test_few_bytes_are_not_proof(tmp_path: Path, size: int, is_found: bool) -> None:
    write_bundle(tmp_path / "m", {"v": np.ones(size, np.uint8)})
    os.rename(tmp_path / DATA, tmp_path / "f3a9c")
    assert (f"f3a9c has the {size} bytes that the index lists" in missing(tmp_path / "m")) is is_found


@pytest.mark.parametrize(("others", "is_found"), [(99, True), (100, False)])
def test_so_many_files_of_a_folder_are_opened(tmp_path: Path, others: int, is_found: bool) -> None:
    for number in range(others):
        (tmp_path / f"a{number:03}").touch()
    write_v1(tmp_path / "old", {"v": VALUE})
    if is_found:
        assert list(tfbundle.load(tmp_path)) == ["v"]
    else:
        assert missing(tmp_path) == f"there is no checkpoint in the folder {tmp_path}"


def test_a_shard_of_several(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"v": VALUE, "w": VALUE}, num_shards=2)
    os.rename(tmp_path / "m.data-00000-of-00002", tmp_path / "m.data-00000-of-00002.1")
    text = missing(tmp_path / "m")
    assert "m.data-00000-of-00002.1 exists: rename it to m.data-00000-of-00002, or read" in text


def test_the_files_of_another_checkpoint_are_not_taken(prefix: Path) -> None:
    write_bundle(prefix.parent / "M", {"v": VALUE})
    os.remove(prefix.parent / DATA)
    assert "rename" not in missing(prefix)


@pytest.mark.parametrize(
    "form", ["{}.txt", "{}.1", "{} (1)", "{}.bin", "{}?raw=true", "{}.download", "{}_1", "{}~", "{} - Copy", "{}.part"]
)
def test_an_index_and_its_data(prefix: Path, form: str) -> None:
    index, data = form.format("m.index"), form.format(DATA)
    os.rename(prefix.parent / "m.index", prefix.parent / index)
    assert f"{index} is an index: rename it to m.index" in missing(prefix)
    assert f"{index} is an index: rename it to m.index" in missing(prefix.parent / DATA)
    os.rename(prefix.parent / DATA, prefix.parent / data)
    assert missing(prefix).endswith(f"; {index} is an index: rename it to m.index, and {data} to {DATA}")
    assert f"{prefix.parent / index} is the index of a V2 checkpoint: rename it to m.index" in missing(prefix.parent)
    (prefix.parent / "checkpoint").write_text('model_checkpoint_path: "m"')
    assert f"{index} is an index: rename it" in missing(prefix.parent)
    with pytest.raises(UnsupportedError, match=r"rename it to m\.index"):
        tfbundle.load(prefix.parent / index)


@pytest.mark.parametrize(("index", "data"), [("M.index", DATA.replace("m", "M")), ("m (1).index", f"m (1).{DATA[2:]}")])
def test_a_prefix_that_was_renamed(prefix: Path, index: str, data: str) -> None:
    os.rename(prefix.parent / "m.index", prefix.parent / index)
    os.rename(prefix.parent / DATA, prefix.parent / data)
    assert missing(prefix).endswith(f"; {index} is an index: rename it to m.index, and {data} to {DATA}")


def test_the_suffix_in_capitals(prefix: Path) -> None:
    os.rename(prefix.parent / "m.index", prefix.parent / "M.INDEX")
    os.rename(prefix.parent / DATA, prefix.parent / DATA.upper())
    text = f"{prefix.parent / 'M.INDEX'} is the index of a V2 checkpoint: rename it to M.index, and its data files"
    assert missing(prefix.parent).endswith(text)


@pytest.mark.parametrize(
    ("suffix", "pack", "kind"),
    [
        (".gz", gzip.compress, "a gzip file"),
        (".bz2", bz2.compress, "a bzip2 file"),
        (".xz", lzma.compress, "an xz file"),
    ],
)
def test_files_that_are_still_compressed(prefix: Path, suffix: str, pack: Callable[[bytes], bytes], kind: str) -> None:
    for name in (DATA, "m.index"):
        path = prefix.parent / name
        path.with_name(name + suffix).write_bytes(pack(path.read_bytes()))
        path.unlink()
        assert f"{name}{suffix} is {kind}: unpack it, as {name}" in missing(prefix)
    assert f"{suffix} is {kind}: unpack it first" in missing(prefix.parent)


def test_what_is_called_like_an_index_has_to_be_one(prefix: Path) -> None:
    os.remove(prefix.parent / "m.index")
    (prefix.parent / "m.index.txt").write_text("a list")
    assert "m.index.txt" not in missing(prefix)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (file,) = (FIXTURES / "tf-2.15.1" / "keras-saved-model").glob("*/saved_model.pb")
    shutil.copytree(file.parent, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["variables (1)", "Variables.1", "vars"])
def test_the_variables_folder_of_a_saved_model(model: Path, name: str) -> None:
    os.rename(model / "variables", model / name)
    text = missing(model)
    assert f"the folder {model / name} contains variables.index: rename the folder to variables" in text


def test_the_variables_of_a_saved_model(model: Path) -> None:
    for path in list((model / "variables").iterdir()):
        path.rename(path.with_name(path.name + ".1"))
    assert "variables.index.1 is an index: rename it to variables.index, and variables.data-" in missing(model)
    for path in list((model / "variables").iterdir()):
        path.rename(path.with_name(path.name.replace("variables", "weights").removesuffix(".1")))
    index = model / "variables" / "weights.index"
    assert f"{index} exists: rename it to variables.index, and its data files" in missing(model)
    for path in list((model / "variables").iterdir()):
        path.rename(model / path.name)
    text = missing(model)
    assert f"{model / 'weights.index'} exists: move it and its data files to the folder variables, as va" in text
    for path in model.glob("weights*"):
        path.unlink()
    assert missing(model).endswith("variables.index does not exist")


@pytest.mark.parametrize("name", ["saved_model (1).pb", "saved_model.pb.txt", "Saved_Model.pb", "saved_model.pb~"])
def test_the_file_of_a_saved_model(model: Path, name: str) -> None:
    os.rename(model / "saved_model.pb", model / name)
    assert f"{name} is a SavedModel: rename it to saved_model.pb" in missing(model)
    (model / "saved_model.pb.gz").write_bytes(gzip.compress((model / name).read_bytes()))
    (model / name).write_text("something else")
    assert "saved_model.pb.gz is a gzip file: unpack it, as saved_model.pb" in missing(model)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("m.index.txt", "m.index"),
        ("my%20m.index (3)", "my m.index"),
        ("m.ckpt-7.index.1.crdownload", "m.ckpt-7.index"),
        ("m.ckpt-7", "m.ckpt-7"),
        ("m.7", "m"),
        ("m.7777", "m.7777"),
        ("m_7", "m"),
        ("m_7777", "m_7777"),
        ("m 12.index", "m.index"),
        ("m 123.index", "m 123.index"),
        ("m (another copy)", "m"),
        ("m - Kopie.index", "m.index"),
        ("m-copy-1234", "m-copy-1234"),
        ("photocopy.index", "photocopy.index"),
        ("m (1000)", "m (1000)"),
    ],
)
def test_names_before_they_were_changed(name: str, original: str) -> None:
    assert original_name(name) == original


# Neighbours that are no part of a checkpoint.

FORMS = ["._{}", ".{}.crc", ".{}.XyZ123", "{}_.gstmp", "{}.crdownload", "{}.tempstate123"]
FORMS += [".~{}", ".in.{}", ".azDownload-0a1b-{}", "{}.rclone_chunk.001", "{}.gdownload", ".{}.icloud", "{}.icloud"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sidecars_are_not_checkpoints(tmp_path: Path, form: str, state: bool, version: str) -> None:
    (write_bundle if version == "v2" else write_v1)(tmp_path / "m-7", {"v": VALUE})
    files = [*tmp_path.iterdir()]
    if state:
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-7"')
        files.append(tmp_path / "checkpoint")
    for file in files:
        if form == "._{}":
            file.with_name(form.format(file.name)).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        else:
            shutil.copy(file, file.with_name(form.format(file.name)))
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._m-7.index").write_bytes(b"\0\5\x16\7")
    assert [item.prefix for item in tfbundle.list_checkpoints(tmp_path)] == [str(tmp_path / "m-7")]
    assert tfbundle.load(tmp_path)["v"].tolist() == VALUE.tolist()


def test_a_folder_of_sidecars_alone(tmp_path: Path) -> None:
    (tmp_path / "__MACOSX").mkdir()
    for folder in (tmp_path, tmp_path / "__MACOSX"):
        (folder / "._m.index").write_bytes(b"\0\5\x16\7")
    assert missing(tmp_path) == f"there is no checkpoint in the folder {tmp_path}"


@pytest.mark.parametrize(("others", "is_found"), [(98, True), (99, False)])  # One is the data file.
def test_so_many_files_are_opened(model: Path, others: int, is_found: bool) -> None:
    for number in range(others):
        (model / "variables" / f"a{number:03}").touch()
    os.rename(model / "variables" / "variables.index", model / "variables" / "weights.index")
    assert ("weights.index exists: rename it" in missing(model)) is is_found


def test_variables_that_may_not_be_listed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (model / "variables").iterdir():
        path.unlink()
    forbid(monkeypatch, model / "variables")
    assert missing(model).endswith("variables.index does not exist")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (f"below/{DATA}", "below{sep}{name} exists: move it next to the index"),
        (f"../{DATA}", "{name} exists: move it next to the index"),
        (f".{DATA}.icloud", "is only in iCloud: download it there"),
        (f".{DATA}.XyZ123", "probably of an interrupted transfer: copy {name} again"),
        (f".{DATA}.crc", "copy it next to the index"),
        (f"below/.{DATA}", "copy it next to the index"),
    ],
)
def test_data_files_elsewhere(tmp_path: Path, name: str, advice: str) -> None:
    folder = tmp_path / "run"
    (folder / "below").mkdir(parents=True)
    write_bundle(folder / "m", {"v": VALUE})
    (folder / DATA).rename(folder / name)
    assert missing(folder / "m").endswith(advice.format(sep=os.sep, name=DATA))


def test_an_index_that_is_only_in_icloud(prefix: Path) -> None:
    (prefix.parent / "m.index").rename(prefix.parent / ".m.index.icloud")
    assert "is only in iCloud" in missing(prefix)


def test_the_contents_of_a_folder_without_the_checkpoint(prefix: Path) -> None:
    """Under names that have nothing in common with the requested one, the content counts."""
    assert missing(prefix.parent / "weights").endswith(f"the folder has {prefix}")
    (prefix.parent / "m.index").rename(prefix.parent / "a.bin")
    (prefix.parent / DATA).rename(prefix.parent / "b.bin")
    assert "a.bin is the index of a V2 checkpoint" in missing(prefix.parent / "weights")


@pytest.mark.skipif(os.name != "posix", reason="links are otherwise on this system")
@pytest.mark.parametrize("name", [DATA, "m.index"])
def test_links_that_git_annex_has_not_fetched(prefix: Path, name: str) -> None:
    (prefix.parent / name).unlink()
    (prefix.parent / name).symlink_to(f".git/annex/objects/Xx/8k/{name}")
    assert missing(prefix).endswith(f"{name}, which does not exist; fetch it with 'git annex get'")
    (prefix.parent / name).unlink()
    (prefix.parent / name).symlink_to("gone")
    assert missing(prefix).endswith("is a link to gone, which does not exist")
