"""The exceptions: what they are, what they know, and that they survive a pickle."""

import copy
import errno
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tfbundle import (
    ChecksumError,
    FormatError,
    MissingFileError,
    TfBundleError,
    TruncatedError,
    UnsupportedError,
    errors,
)

CLASSES = [TfBundleError, FormatError, TruncatedError, ChecksumError, UnsupportedError, MissingFileError]
FACTS = {"path": "run/model.data", "offset": 96, "tensor": "conv/w", "shard": 3}


def facts_of(error: TfBundleError) -> dict[str, Any]:
    return {name: getattr(error, name) for name in ("message", "path", "offset", "tensor", "shard")}


@pytest.mark.parametrize(
    ("error_class", "bases"),
    [
        (FormatError, (TfBundleError, ValueError)),
        (TruncatedError, (FormatError,)),
        (ChecksumError, (FormatError,)),
        (UnsupportedError, (TfBundleError, NotImplementedError)),
        (MissingFileError, (TfBundleError, FileNotFoundError)),
        (TfBundleError, (Exception,)),
    ],
)
def test_each_is_what_a_person_would_catch(error_class: type[TfBundleError], bases: tuple[type, ...]) -> None:
    assert all(issubclass(error_class, base) for base in bases)


def test_there_are_no_others() -> None:
    assert {getattr(errors, name) for name in errors.__all__} == set(CLASSES)


@pytest.mark.parametrize("error_class", CLASSES)
def test_facts(error_class: type[TfBundleError]) -> None:
    error = error_class("it is damaged", **FACTS)  # type: ignore[arg-type]
    assert facts_of(error) == {"message": "it is damaged", **FACTS}
    assert str(error) == "tensor 'conv/w': it is damaged (run/model.data, offset 96)"
    bare = error_class("it is damaged")
    assert facts_of(bare) == {"message": "it is damaged", **dict.fromkeys(FACTS)}
    assert str(bare) == "it is damaged"
    assert error_class("it is damaged", path=Path("run") / "model.data").path == os.path.join("run", "model.data")


@pytest.mark.parametrize("error_class", CLASSES)
def test_what_the_message_says_is_not_said_again(error_class: type[TfBundleError]) -> None:
    text = "tensor 'conv/w' at offset 96 of run/model.data is damaged"
    assert str(error_class(text, **FACTS)) == text  # type: ignore[arg-type]
    # A number within another one says nothing.
    assert str(error_class("196 of 960 bytes are damaged", offset=96)).endswith("(offset 96)")


@pytest.mark.parametrize("error_class", CLASSES)
@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_pickling(error_class: type[TfBundleError], duplicate: Any) -> None:
    error = error_class("it is damaged", **FACTS)  # type: ignore[arg-type]
    if error_class is ChecksumError:
        error.expected, error.actual = 1, 2  # type: ignore[attr-defined]
    other = duplicate(error)
    other = pickle.loads(other) if isinstance(other, bytes) else other
    assert type(other) is error_class
    assert str(other) == str(error)
    assert vars(other) == vars(error)
    assert other.args == error.args


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol(protocol: int) -> None:
    error = ChecksumError("it is damaged", expected=1, actual=2, **FACTS)  # type: ignore[arg-type]
    other = pickle.loads(pickle.dumps(error, protocol))
    assert (other.expected, other.actual) == (1, 2)
    assert facts_of(other) == facts_of(error)


def test_checksum_error() -> None:
    error = ChecksumError("it is damaged", expected=0xE3069283, actual=0)
    assert (error.expected, error.actual) == (0xE3069283, 0)
    assert ChecksumError("it is damaged").expected is None


def test_missing_file_is_as_python_s_own() -> None:
    error = MissingFileError("there is no file", path="gone")
    assert (error.errno, error.filename, error.strerror) == (errno.ENOENT, "gone", os.strerror(errno.ENOENT))
    other = pickle.loads(pickle.dumps(error))
    assert (other.errno, other.filename, other.strerror) == (error.errno, error.filename, error.strerror)
    assert str(other) == "there is no file (gone)"


def test_locate_fills_what_was_not_known() -> None:
    error = FormatError("a varint is too long", offset=4)
    assert error.locate(path="file", offset=100, tensor="t", shard=2) is error
    assert facts_of(error) == {
        "message": "a varint is too long",
        "path": "file",
        "offset": 104,
        "tensor": "t",
        "shard": 2,
    }
    # What was known stays: the innermost place is the right one.
    error.locate(path="other", offset=1, tensor="u", shard=3)
    assert (error.path, error.offset, error.tensor, error.shard) == ("file", 104, "t", 2)


def test_locate_without_an_offset() -> None:
    error = FormatError("it is damaged").locate(path="file", tensor="t")
    assert (error.path, error.offset, error.tensor) == ("file", None, "t")
    assert str(error) == "tensor 't': it is damaged (file)"
    assert FormatError("it is damaged").locate(path="file", offset=7).offset == 7


@pytest.mark.parametrize("path", ["hdfs://bucket/model.ckpt-5", "ftp://host/model.index"])
def test_addresses_that_are_not_read(path: str) -> None:
    with pytest.raises(UnsupportedError, match=r"is a \w+: URL, .* copy the files to a local folder"):
        tfbundle.open_checkpoint(path)
    (finding,) = tfbundle.verify(path).findings
    assert "copy" in finding.message


def test_an_object_store_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'tfbundle\[remote\]'"):
        tfbundle.open_checkpoint("s3://bucket-of-nobody/model.ckpt-5")


@pytest.mark.parametrize("path", ["~/run", "~/run/model.ckpt-5.index", "~"])
def test_home_folders_are_a_matter_of_shells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (tfbundle.open_checkpoint, tfbundle.list_checkpoints, tfbundle.load_graph):
        with pytest.raises(MissingFileError, match=r"; only shells expand ~, so pass os\.path\.expanduser\(path\)"):
            call(path)
    (tmp_path / "~run").mkdir()
    assert tfbundle.list_checkpoints("~run") == []
