"""What ``tfbundle.verify`` tells of the likely cause, for each way to damage a file and each kind of file."""

import base64
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import data_file, write_bundle
from tests.support.expected import FIXTURES
from tests.support.v1_writer import write_v1

RANDOM = np.random.default_rng(4)
# Bytes of all kinds, with a line feed and a CR LF among the first, and zeros as a slot that was never updated has them.
TENSORS = {
    "a": np.frombuffer(b"\r\n\n" + RANDOM.bytes(2045), np.uint8),
    "b": RANDOM.random((30, 40), np.float32),
    "c": np.concatenate([RANDOM.random(700, np.float32), np.zeros(300, np.float32), RANDOM.random(600, np.float32)]),
    "d": RANDOM.random(2000, np.float32),
}
EVENTS = FIXTURES / "events-tf-1.15.5" / "every-plugin-1" / "events.out.tfevents.1500000000.host"
FILES = ("data", "index", "v1", "events")

Change = Callable[[bytes], bytes]


def make(kind: str, folder: Path) -> tuple[Path, Path]:
    """The path to verify, and the file of this kind that belongs to it."""
    if kind == "v1":
        write_v1(folder / "old", TENSORS)
        return folder / "old", folder / "old"
    if kind == "events":
        path = Path(shutil.copy(EVENTS, folder))
        return path, path
    names = {f"{'scope/' * (number % 7)}variable{number}": np.float32([number]) for number in range(60)}
    write_bundle(folder / "model", TENSORS | (names if kind == "index" else {}))
    return folder / "model", data_file(folder / "model") if kind == "data" else folder / "model.index"


def causes(kind: str, folder: Path, change: Change) -> tuple[str, ...]:
    path, file = make(kind, folder)
    before = file.read_bytes()
    after = change(before)
    assert after != before
    file.write_bytes(after)
    report = tfbundle.verify(path)
    assert not report.ok
    assert all(cause.startswith(f"{file} ") for cause in report.causes)
    return report.causes


def without(data: bytes, start: int, size: int) -> bytes:
    return data[:start] + data[start + size :]


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: b"\xef\xbb\xbf" + data, "begins with a byte-order mark"),
        (lambda data: data.replace(b"\n", b"\r\n"), "each line feed into CR LF"),
        (lambda data: data.decode("latin-1").encode(), "iconv -f UTF-8 -t ISO-8859-1"),
        (lambda data: b"\xef\xbb\xbf" + data.decode("latin-1").encode(), "iconv -f UTF-8 -t ISO-8859-1' reverses"),
        (lambda data: data.decode("utf-8", "replace").encode(), "which replaced other bytes"),
        (lambda data: data.decode("latin-1").encode("utf-16"), "UTF-16"),
        (base64.b64encode, "base64 -d"),
        (base64.encodebytes, "base64 -d"),
        (lambda data: data.hex().encode(), "xxd -r -p"),
        (lambda data: b"404: Not Found", "it is 14 bytes of text, which begin with '404: Not Found'"),
        (lambda data: b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", "<Code>AccessDenied</Code>"),
        (lambda data: b"<!DOCTYPE html><html></html>", "web page"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (lambda data: b"/annex/objects/SHA256E-s171--0\n", "git annex get"),
        (lambda data: bytes(len(data)), "is all zeros"),
        (lambda data: data[:700] + bytes(len(data) - 700), "zero bytes: a transfer stopped after 700 bytes"),
        (lambda data: data[:512] + bytes(1024) + data[1536:], "has 1024 zero bytes at offset 512"),
    ],
)
def test_one_cause_of_each_kind_of_file(tmp_path: Path, kind: str, change: Change, words: str) -> None:
    (cause,) = causes(kind, tmp_path, change)
    assert words in cause


@pytest.mark.parametrize("kind", ["index", "v1"])
def test_bytes_that_a_table_lacks_or_has_too_many(tmp_path: Path, kind: str) -> None:
    for change, words in (
        (lambda data: without(data, 300, 512), "is 512 bytes shorter than its footer states"),
        (lambda data: data[:300] + bytes(range(1, 101)) + data[300:], "is 100 bytes longer than its footer states"),
        (lambda data: data + b"more", "continues after the end of its table"),
        (lambda data: data[:-3], "was truncated to"),
    ):
        (cause,) = causes(kind, tmp_path, change)
        assert words in cause


def test_bytes_that_a_data_file_lacks_or_has_too_many(tmp_path: Path) -> None:
    (cause,) = causes("data", tmp_path, lambda data: without(data, 3000, 512))
    assert "lost 512 bytes in a transfer" in cause
    assert "that many bytes too early" in cause
    (cause,) = causes("data", tmp_path, lambda data: data[:3000] + b"HTTP" + data[3000:])
    assert "gained 4 bytes in a transfer" in cause
    assert "that many bytes too late" in cause


@pytest.mark.parametrize("kind", FILES)
def test_a_changed_byte_shows_no_cause(tmp_path: Path, kind: str) -> None:
    size = make(kind, tmp_path)[1].stat().st_size
    for place in range(5, size - 60, size // 23):
        assert not causes(
            kind, tmp_path, lambda data, place=place: data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        )


@pytest.mark.parametrize("size", [60, 600, 6000])
def test_white_space_is_neither_a_message_nor_encoded(tmp_path: Path, size: int) -> None:
    for cause in causes("index", tmp_path, lambda data: b" \n" * size):
        assert "neither begins nor ends like a table" in cause


def test_a_file_that_is_merely_packed_was_not_cut_short(tmp_path: Path) -> None:
    path, file = make("data", tmp_path)
    file.write_bytes(gzip.compress(file.read_bytes()))
    report = tfbundle.verify(path)
    assert [finding.kind for finding in report.findings] == ["wrong-file"]
    assert not report.causes


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html></html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_takes_the_place_of_an_event_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(data)
    assert [finding.kind for finding in tfbundle.verify(path).findings] == ["wrong-file"]
    with pytest.raises(tfbundle.FormatError, match=r"is (an HTML page|a Git LFS pointer)"):
        _ = tfbundle.open_events(tmp_path).runs["."].scalars
