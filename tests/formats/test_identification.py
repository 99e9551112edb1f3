"""What a file is, by its content alone."""

import bz2
import lzma
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfbundle
from tests.support.bundle_writer import encode_field, write_bundle
from tests.support.expected import FIXTURES, expected_checkpoints
from tests.support.sampling import IS_EXHAUSTIVE
from tests.support.table_writer import encode_table, encode_varint, masked_crc
from tests.support.v1_writer import write_v1
from tfbundle import FormatError, MissingFileError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind


def identify_bytes(data: bytes, folder: Path, name: str = "file") -> FileKind:
    (folder / name).write_bytes(data)
    return kind_of(str(folder / name))


# Files of TensorFlow's, under a name that means nothing.


def fixture_files(*patterns: str) -> list[Path]:
    found = sorted(path for pattern in patterns for path in FIXTURES.glob(f"*/*/{pattern}"))
    assert found
    return found


KINDS = {
    FileKind.BUNDLE_INDEX: fixture_files("*.index", "*/variables/*.index"),
    FileKind.STATE: fixture_files("checkpoint"),
    FileKind.META_GRAPH: fixture_files("*.meta"),
    FileKind.SAVED_MODEL: fixture_files("*/saved_model.pb"),
    FileKind.SAVED_MODEL_TEXT: fixture_files("*/saved_model.pbtxt"),
    FileKind.GRAPH: fixture_files("graph.pb"),
    FileKind.GRAPH_TEXT: fixture_files("graph.pbtxt"),
    FileKind.FINGERPRINT: fixture_files("*/fingerprint.pb"),
    FileKind.KERAS_METADATA: fixture_files("*/keras_metadata.pb"),
    FileKind.V1_TABLE: [path for case in expected_checkpoints("v1") for path in case.path.parent.glob(case.path.name)],
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_files_of_tensorflow(tmp_path: Path, kind: FileKind) -> None:
    for path in KINDS[kind]:
        copy = Path(shutil.copy(path, tmp_path))
        for name in ("file", "file.index", "events.out.tfevents.1", "file.pb", "checkpoint"):
            copy = copy.replace(tmp_path / name)
            assert kind_of(str(copy)) is kind, path


def test_every_kind_speaks_of_itself() -> None:
    for kind in FileKind:
        assert kind.value.split()[0] in ("a", "an", "the", "no", "metadata", "Darknet")
        assert len(kind.advice) > 10
        assert kind.facts == (kind.word, kind.value, kind.advice)
        assert kind.word == kind.word.lower()
    assert FileKind.V1_TABLE.word == "v1-table"


# Protobufs, which have no magic: told by their fields.

NODE = encode_field(1, b"x") + encode_field(2, b"NoOp")
GRAPH = encode_field(1, NODE) + encode_field(4, encode_field(1, 21))
# The profiler's: planes with a name, lines and metadata, and the host's name.
PLANE = encode_field(2, b"/host:CPU") + encode_field(3, encode_field(1, 1)) + encode_field(4, encode_field(1, 1))
META_INFO = encode_field(4, b"serve") + encode_field(5, b"2.21.0")
META_GRAPH = encode_field(1, META_INFO) + encode_field(2, GRAPH)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (GRAPH, FileKind.GRAPH),
        (encode_field(1, NODE), FileKind.GRAPH),
        (encode_field(4, encode_field(1, 21)) + encode_field(1, NODE), FileKind.GRAPH),
        (encode_field(1, NODE) * 500, FileKind.GRAPH),
        # A node may tell of the functions that it was inlined from.
        (encode_field(1, NODE + encode_field(6, encode_field(1, b"f/x"))) + encode_field(4, b""), FileKind.GRAPH),
        (encode_field(2, encode_field(1, encode_field(1, b"f"))), FileKind.GRAPH),
        (META_GRAPH, FileKind.META_GRAPH),
        (encode_field(2, GRAPH) + encode_field(1, META_INFO), FileKind.META_GRAPH),
        (encode_field(1, 1) + encode_field(2, META_GRAPH), FileKind.SAVED_MODEL),
        (encode_field(1, 1), FileKind.SAVED_MODEL),
        (encode_field(1, 3), FileKind.HUB_MODULE),
        (encode_field(1, 3) + encode_field(2, META_GRAPH), FileKind.SAVED_MODEL),
        (encode_field(1, PLANE) + encode_field(4, b"host"), FileKind.UNKNOWN),
        (encode_field(1, b"/home/me/train.py") + encode_field(2, NODE), FileKind.UNKNOWN),
        (encode_field(1, b"") + encode_field(2, GRAPH), FileKind.META_GRAPH),
        (
            encode_field(1, 8) + encode_field(2, b"pytorch") + encode_field(7, NODE) + encode_field(8, b""),
            FileKind.ONNX,
        ),
        (b'node {\n name: "x"\n}\n', FileKind.GRAPH_TEXT),
        (b'# A comment.\n\nnode <name: "x">', FileKind.GRAPH_TEXT),
        (b'node: [ # A comment.\n{ name: "x" }]', FileKind.TEXT),
        (b'node # A comment.\n: [{ name: "x" }]', FileKind.GRAPH_TEXT),
        (b"meta_info_def {\n}\n", FileKind.META_GRAPH_TEXT),
        (b"saved_model_schema_version: 1\n", FileKind.SAVED_MODEL_TEXT),
        (b'model_checkpoint_path: "model"\n', FileKind.STATE),
        (b'all_model_checkpoint_paths: "model"\r\n', FileKind.STATE),
        (b'all_model_checkpoint_paths: ["a", "b"]', FileKind.STATE),
        (b"nodes: 3", FileKind.TEXT),
        (b"some notes about the run\n", FileKind.TEXT),
        (b"", FileKind.EMPTY),
        (b"\0", FileKind.ZEROS),
        (bytes(10_000), FileKind.ZEROS),
        (b"\xff" * 30, FileKind.UNKNOWN),
    ],
)
def test_messages_and_texts(tmp_path: Path, data: bytes, kind: FileKind) -> None:
    assert identify_bytes(data, tmp_path) is kind


# A tokenizer's pieces have a text, a score and a type; its trainer's and its normalizer's settings follow.
PIECE = encode_field(1, b"the") + b"\x15" + struct.pack("<f", -3.5) + encode_field(3, 2)
TRAINER = encode_field(1, b"corpus.txt") + encode_field(3, 1) + encode_field(4, 32_000)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_field(1, PIECE) * 3 + encode_field(2, TRAINER), id="SentencePiece model"),
        pytest.param(encode_field(1, encode_field(1, b"a.proto") + encode_field(2, b"a")), id="schemas of proto2"),
        pytest.param(
            encode_field(1, encode_field(1, b"a.proto") + encode_field(2, b"a") + encode_field(12, b"proto3")),
            id="schemas of proto3",
        ),
        pytest.param(
            encode_field(1, encode_field(1, b"2.0") + encode_field(2, 0) + encode_field(3, 1_500_000_000))
            + encode_field(2, encode_field(1, b"bus") + encode_field(4, encode_field(1, 1))),
            id="GTFS feed",
        ),
        pytest.param(encode_field(1, 3) + encode_field(2, b"weights"), id="number and name"),
        pytest.param(encode_field(1, b"name") + encode_field(3, 3), id="name and number"),
        pytest.param(
            encode_field(1, 1) + encode_field(2, 20) + encode_field(3, 1) + encode_field(7, b"BLOB_SEQUENCE"),
            id="header of a decision forest",
        ),
        # Quotation marks and line feeds are tags of bytes, and lengths too.
        pytest.param(b'"""A module of a length that fits."""\n'[:36], id="doc string"),
        pytest.param(b"\n\nfoo = 123\n", id="line feeds"),
        pytest.param(b"node: 1a2b3c\nnode-date: 2020-01-01\n", id="archive of git"),
        pytest.param(b'#!/bin/sh\nnode "$1"\n', id="script"),
        pytest.param(b"versions:\n  - 1.0\n", id="YAML"),
        pytest.param(b"library\n=======\n", id="heading"),
        pytest.param(b"saved_model_schema_version {\n}\n", id="brace behind a number's name"),
    ],
)
def test_what_others_write_is_not_taken_for_tensorflows(tmp_path: Path, data: bytes) -> None:
    assert identify_bytes(data, tmp_path) in (FileKind.UNKNOWN, FileKind.TEXT)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"import os\n", FileKind.TEXT),
        ("Überschrift\n\tα — 日本\r\n".encode(), FileKind.TEXT),
        ("\ufeffnotes".encode(), FileKind.TEXT),
        ("notes".encode("utf-16"), FileKind.TEXT),
        ("é".encode() * 2048 + b"x", FileKind.TEXT),
        (b"x" + "é".encode() * 2048, FileKind.TEXT),  # A character lies across the end of what is read.
        (b"x" + "é".encode()[:1], FileKind.UNKNOWN),  # Here the file ends within it.
        ("Überschrift".encode("latin-1"), FileKind.UNKNOWN),
        (b"text\0", FileKind.UNKNOWN),
        (b"x" * 4095 + b"\0", FileKind.UNKNOWN),
        (b"x" * 4096 + b"\0", FileKind.TEXT),  # No more is read.
        (b"\x1b[31mred", FileKind.UNKNOWN),
        (b" \n\t", FileKind.UNKNOWN),
    ],
)
def test_any_other_text(tmp_path: Path, data: bytes, kind: FileKind) -> None:
    assert identify_bytes(data, tmp_path) is kind


# Tables.


def test_tables(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": np.ones(3)})
    write_v1(tmp_path / "old", {"v": np.ones(3)})
    assert kind_of(str(tmp_path / "b.index")) is FileKind.BUNDLE_INDEX
    assert kind_of(str(tmp_path / "old")) is FileKind.V1_TABLE
    assert identify_bytes(encode_table({b"key": b"value"}), tmp_path) is FileKind.TABLE
    assert identify_bytes(encode_table({}), tmp_path) is FileKind.TABLE


def test_damaged_tables_are_tables(tmp_path: Path) -> None:
    """What is wrong with them is for the reader to say."""
    write_bundle(tmp_path / "b", {"v": np.ones(3)})
    data = bytearray((tmp_path / "b.index").read_bytes())
    data[5] ^= 0xFF
    assert identify_bytes(bytes(data), tmp_path, "b.index") is FileKind.BUNDLE_INDEX
    data[-48:-8] = b"\xff" * 40
    assert identify_bytes(bytes(data), tmp_path, "b.index") is FileKind.BUNDLE_INDEX
    assert identify_bytes(bytes(data), tmp_path, "old") is FileKind.V1_TABLE


@pytest.mark.parametrize("path", [*KINDS[FileKind.BUNDLE_INDEX], *KINDS[FileKind.V1_TABLE]], ids=str)
def test_truncated_tables_are_tables(path: Path, tmp_path: Path) -> None:
    """The first entry identifies a truncated table, compressed or not, unless the header has no version."""
    data = path.read_bytes()
    is_known = path.suffix != ".index" or b"\x1a" in data[:11]
    for size in (20, len(data) // 2, len(data) - 1):
        found = identify_bytes(data[:size], tmp_path, path.name)
        assert (found is kind_of(path)) is is_known, size


@pytest.mark.parametrize(
    "data",
    [b"\0\0\x06\x08\x01\x12\x02\x08\x01", b"\0\1\x06\x08\x01\x1a\x02\x08\x01", bytes(60), b"\0\0\x37\x0a\x35\x12"],
)
def test_other_beginnings_are_not_tables(data: bytes, tmp_path: Path) -> None:
    assert identify_bytes(data + b"\xff\x01" * 30, tmp_path, "b.index") is FileKind.UNKNOWN


# Records.


def record(data: bytes) -> bytes:
    size = struct.pack("<Q", len(data))
    return size + struct.pack("<I", masked_crc(size)) + data + struct.pack("<I", masked_crc(data))


EVENT = b"\x09" + struct.pack("<d", 1.5e9)


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (record(EVENT + encode_field(3, b"brain.Event:2")), "file", FileKind.EVENTS),
        (record(EVENT + encode_field(2, 7) + encode_field(5, b"")), "file", FileKind.EVENTS),
        (record(EVENT)[:-6], "events.out.tfevents.1.host", FileKind.EVENTS),
        (record(b""), "events.out.tfevents.1.host", FileKind.EVENTS),
        (record(b"any bytes"), "file", FileKind.TFRECORD),
        (record(b""), "file", FileKind.TFRECORD),
        (record(encode_field(1, b"\x0a\0")), "data.tfrecord", FileKind.TFRECORD),
        (record(bytes(1000))[:500], "file", FileKind.TFRECORD),
    ],
    ids=range(8),
)
def test_records(tmp_path: Path, data: bytes, name: str, kind: FileKind) -> None:
    assert identify_bytes(data, tmp_path, name) is kind


# Files of others.


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(50), FileKind.HDF5),
        (b"\x1c\0\0\0TFL3" + bytes(30), FileKind.TFLITE),
        (b"\x93NUMPY\1\0", FileKind.NUMPY),
        (b"\x1f\x8b\x08\0", FileKind.GZIP),
        (bytes(257) + b"ustar\x0000", FileKind.TAR),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", FileKind.GIT_LFS),
        (b"<!DOCTYPE html><html>", FileKind.HTML),
        (b"\n  <!-- saved -->\n<HTML lang=en>", FileKind.HTML),
        (b"<!-- a -- > --><!----> <!--\n-->" * 40 + b"<html>", FileKind.HTML),
        (b"<!---->" * 400, FileKind.TEXT),  # Each comment could be a part of the one before.
        (b"<!--" * 1000 + b"-->", FileKind.TEXT),
        (b"<html>", FileKind.HTML),
        (b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32"}}', FileKind.SAFETENSORS),
        (b"\x80\x04\x95\x05\0\0\0\0\0\0\0K\x01.", FileKind.PICKLE),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M", FileKind.PYTORCH),
    ],
    ids=lambda value: value.name if isinstance(value, FileKind) else ascii(value[:20]),
)
def test_other_files(tmp_path: Path, data: bytes, kind: FileKind) -> None:
    assert identify_bytes(data, tmp_path) is kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["archive/data.pkl"], FileKind.PYTORCH),
        (["config.json", "model.weights.h5"], FileKind.KERAS),
        (["a.npy", "b.npy"], FileKind.NUMPY_ARCHIVE),
        (["readme.txt"], FileKind.ZIP),
        (["package/module.py", "package/tests/a.npy"], FileKind.ZIP),
    ],
)
def test_archives(tmp_path: Path, names: list[str], kind: FileKind) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, bytes(10))
    assert kind_of(str(tmp_path / "file")) is kind


def test_files_that_libraries_write(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    assert kind_of(str(tmp_path / "a.npy")) is FileKind.NUMPY
    assert kind_of(str(tmp_path / "a.npz")) is FileKind.NUMPY_ARCHIVE
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    safetensors.save_file({"x": np.ones(3)}, tmp_path / "a.safetensors")
    assert kind_of(str(tmp_path / "a.safetensors")) is FileKind.SAFETENSORS


# Other programs, as their libraries write them (msgpack 1.2, zstandard 0.25, lz4 4.4, py7zr 1.1, tensorstore 0.1.86,
# bz2 and lzma of Python), or as their schemas say.

ARRAY = b"\xc7\x16\x01\x93\x92\x01\x02\xa7float32\xc4\x08\0\0\x80?\0\0\x80?"
MINDSPORE_TENSOR = encode_field(1, 2) + encode_field(1, 3) + encode_field(2, b"Float32") + encode_field(3, bytes(24))
PADDLE_BLOCK = encode_field(1, 0) + encode_field(2, (1 << 64) - 1) + encode_field(3, encode_field(1, b"x"))
CAFFE_LAYER = encode_field(1, b"conv1") + encode_field(2, b"Convolution")
OLD_CAFFE_LAYER = encode_field(2, b"data") + encode_field(3, b"conv1") + encode_field(4, b"conv1") + encode_field(5, 4)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (bz2.compress(b"hello"), FileKind.BZIP2),
        (bz2.compress(b""), FileKind.BZIP2),
        (b"BZh is how a text begins", FileKind.TEXT),
        (lzma.compress(b"hello"), FileKind.XZ),
        (lzma.compress(b"hello", format=lzma.FORMAT_ALONE), FileKind.LZMA),
        (b"]\0\0\x80\0" + struct.pack("<Q", (1 << 40) - 1), FileKind.LZMA),
        (b"]\0\0\x80\0" + struct.pack("<Q", 1 << 40), FileKind.UNKNOWN),
        (b"]\0", FileKind.UNKNOWN),
        (b"\x50*M\x18\4\0\0\0skip(\xb5/\xfd", FileKind.ZSTD),
        (b"\x5f*M\x18\0\0\0\0", FileKind.ZSTD),
        (b"\x60*M\x18\0\0\0\0", FileKind.UNKNOWN),
        (b"PK\5\6" + bytes(18), FileKind.ZIP),
        (b"PK\3\4" + bytes(5000) + b"model.weights.h5" + bytes((64 << 10) - 16), FileKind.KERAS),
        (b"PK\3\4" + bytes(5000) + b"model.weights.h5" + bytes((64 << 10) - 15), FileKind.ZIP),
        (b"\x08\0\0\0\0\0\0\0{}      ", FileKind.SAFETENSORS),
        (bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(50), FileKind.HDF5),
        (bytes(2048) + b"\x89HDF\r\n\x1a\n" + bytes(50), FileKind.HDF5),
        (bytes(100) + b"\x89HDF\r\n\x1a\n" + bytes(500), FileKind.UNKNOWN),
        *((pickle.dumps({"w": np.ones(3)}, protocol), FileKind.PICKLE) for protocol in range(6)),
        *((pickle.dumps([1, 2], protocol), FileKind.PICKLE) for protocol in range(6)),
        (pickle.dumps(np.ones(3), 0), FileKind.PICKLE),
        (pickle.dumps({"w": 1}, 0)[:-1], FileKind.TEXT),  # A pickle ends in a full stop.
        (b"cats\nand\ndogs.", FileKind.TEXT),
        (b"(\xb5/\xfd \x05)\0\0hello", FileKind.ZSTD),
        (b'\x04"M\x18h@\x05\0\0\0\0\0\0\0a\x05\0\0\x80hello\0\0\0\0', FileKind.LZ4),
        (b"7z\xbc\xaf'\x1c\0\x04=\xe4\x86\x1fZ" + bytes(20), FileKind.SEVEN_ZIP),
        (b"Rar!\x1a\x07\x01\0" + bytes(20), FileKind.RAR),
        (b"Rar!\x1a\x07\0" + bytes(20), FileKind.RAR),
        (b"\x81\xa6params\x81\xa7Dense_0\x81\xa6kernel" + ARRAY, FileKind.FLAX),
        (b"\x81\xa1w" + ARRAY, FileKind.FLAX),
        (b"\x84\xa4step\x07\xa2lr\xcb?\xe0\0\0\0\0\0\0\xa4note\xa1x\xa6params\x81\xa1w" + ARRAY, FileKind.FLAX),
        (b"\x82\xa7version\x03\xa9optimizer\x81\xa6target\x80", FileKind.FLAX),
        (b"\xde\0\x10\xa6params\x81\xa1w" + ARRAY, FileKind.FLAX),
        (b"\x81\xd9\x28" + b"k" * 40 + b"\x81\xa1w" + ARRAY, FileKind.FLAX),
        (b"\x81\xa1w\xc7\x02\x05\0\0", FileKind.UNKNOWN),  # An extension of another type.
        (b"\x82\xa1a\x01\xa1b\xa4text", FileKind.UNKNOWN),  # Values that are plain.
        (b"\x81\xa3\x01\x02\x03\x81\xa1w\x01", FileKind.UNKNOWN),  # A key that does not show.
        (b"\x81\xa9short", FileKind.UNKNOWN),
        (b"\x8f" + b"\xa1a\x01" * 15 + b"\xa1w\x81", FileKind.FLAX),
        (b"\xde\0\x20" + b"\xa1a\x01" * 16 + b"\xa1w\x81", FileKind.UNKNOWN),  # So many are not followed.
        (b"\x80\xa6params\x81", FileKind.UNKNOWN),  # A map of nothing.
        (b"\x91\xa6params\x81", FileKind.UNKNOWN),  # A list.
        (bytes.fromhex("0cdb3a2ab600000000000000000128b52ffd20b0"), FileKind.OCDBT),
        (bytes.fromhex("0cdb20de8000000000000000000128b52ffd2073"), FileKind.OCDBT),
        (b'{"chunks":[10],"compressor":null,"dtype":"<f4","zarr_format":2}', FileKind.ZARR),
        (b'{"zarr_format": 3, "node_type": "group"}', FileKind.ZARR),
        (
            bytes.fromhex("83af70d10d884a3f0000000000000000400000000000000091bac23c9287e1a9"),
            FileKind.SAVED_MODEL_CHUNKED,
        ),
        (encode_field(1, encode_field(1, b"conv1.weight") + encode_field(2, MINDSPORE_TENSOR)) * 3, FileKind.MINDSPORE),
        (encode_field(1, encode_field(1, b"step") + encode_field(2, MINDSPORE_TENSOR[4:])), FileKind.MINDSPORE),
        (encode_field(1, encode_field(1, b"table") + encode_field(3, encode_field(1, 1))), FileKind.MINDSPORE),
        (encode_field(1, PADDLE_BLOCK) + encode_field(4, encode_field(1, 0)), FileKind.PADDLE),
        (bytes(16) + b"\x0a\0\0\0\x08\x05\x10\x03\x10\x04" + bytes(50), FileKind.PADDLE),
        (pickle.dumps({"w": 1, "StructuredToParameterName@@": {"w": "w_0"}}), FileKind.PADDLE),
        (encode_field(1, b"CaffeNet") + encode_field(100, CAFFE_LAYER) * 2, FileKind.CAFFE),
        (encode_field(1, b"CaffeNet") + encode_field(2, OLD_CAFFE_LAYER) * 2, FileKind.CAFFE),
        (b'name: "CaffeNet"\nlayer {\n  name: "data"\n}\n', FileKind.CAFFE_TEXT),
        (b'layer {\n  name: "data"\n}\n', FileKind.CAFFE_TEXT),
        (b'name: "something"\nvalue: 3\n', FileKind.TEXT),
        (b"[net]\nbatch=1\n", FileKind.DARKNET_CONFIG),
        (b"# A comment.\n[net]\n", FileKind.DARKNET_CONFIG),
        (b"[section]\nnet=1\n", FileKind.TEXT),
        (encode_field(1, 4) + encode_field(2, encode_field(1, b"")) + encode_field(500, b""), FileKind.COREML),
        (encode_field(1, 4) + encode_field(2, b"about") + encode_field(199, b""), FileKind.UNKNOWN),
        (b"GGUF\x03\0\0\0" + bytes(16), FileKind.GGUF),
        (b'<?xml version="1.0"?>\n<net name="m" version="11">\n<layers>', FileKind.OPENVINO),
        (b"<net><a/></net>", FileKind.TEXT),
        (b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>', FileKind.STORE_ERROR),
        (b'{\n "error": {"code": 403, "message": "The user has exceeded"}}', FileKind.STORE_ERROR),
        (b'{"error": 0.25, "step": 3}', FileKind.TEXT),
        (b"404: Not Found", FileKind.STORE_ERROR),
        (b"Entry not found", FileKind.STORE_ERROR),
        (b"not found: 12 of them", FileKind.TEXT),
        (b"/annex/objects/SHA256E-s171--01.index\n", FileKind.GIT_ANNEX),
        (b"../.git/annex/objects/Xx/8k/MD5E-s171--01.index/MD5E-s171--01.index", FileKind.GIT_ANNEX),
        (b"../git/annex/objects", FileKind.TEXT),
        (b"version https://hawser.github.com/spec/v1\noid sha256:0\n", FileKind.GIT_LFS),
        (b'{"format": "graph-model", "generatedBy": "2.9", "modelTopology": {}}', FileKind.TFJS),
        (b'{"modelTopology": {}}', FileKind.TFJS),
        (b'{"format": "csv"}', FileKind.TEXT),
        (b'{"class_name": "Sequential", "config": {}}', FileKind.KERAS_JSON),
        (b'{"module": "keras", "class_name": "Functional", "config": {}}', FileKind.KERAS_JSON),
        (b'{"class_name": "Person"}', FileKind.TEXT),
        (b'{"metadata": {"total_size": 1}, "weight_map": {"w": "model-1.safetensors"}}', FileKind.SAFETENSORS_INDEX),
        (b"\x80\x04\x95\x20\0\0\0\0\0\0\0\x8c\x10jax._src.array\x94", FileKind.JAX_PICKLE),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", FileKind.APPLE_DOUBLE),
    ],
)
def test_files_of_other_programs(tmp_path: Path, data: bytes, kind: FileKind) -> None:
    assert identify_bytes(data, tmp_path) is kind
    if len(data) > 40:
        for size in range(0, len(data), max(7, len(data) // 300)):
            assert isinstance(identify_bytes(data[:size], tmp_path), FileKind)


def test_what_is_weak_needs_its_name(tmp_path: Path) -> None:
    weights = struct.pack("<iiiq", 0, 2, 5, 64000) + bytes(400)
    assert identify_bytes(weights, tmp_path, "yolo.weights") is FileKind.DARKNET
    assert identify_bytes(weights, tmp_path, "yolo.bin") is FileKind.UNKNOWN
    assert identify_bytes(bytes(400), tmp_path, "yolo.weights") is FileKind.ZEROS


def test_saved_model_without_a_version(tmp_path: Path) -> None:
    assert identify_bytes(encode_field(2, META_GRAPH), tmp_path) is FileKind.SAVED_MODEL
    # The library of a GraphDef has the number of a SavedModel's graphs.
    gradient = encode_field(2, encode_field(1, b"f") + encode_field(2, b"f_grad"))
    assert identify_bytes(encode_field(2, gradient), tmp_path) is FileKind.GRAPH


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["saved_model.pb", "variables/"], FileKind.SAVED_MODEL_FOLDER),
        (["saved_model.pbtxt"], FileKind.SAVED_MODEL_FOLDER),
        (["saved_model.cpb"], FileKind.SAVED_MODEL_CHUNKED_FOLDER),
        (["orbax.checkpoint", "pytree/"], FileKind.ORBAX_FOLDER),
        (["_CHECKPOINT_METADATA", "params/"], FileKind.ORBAX_FOLDER),
        (["_METADATA", "d/", "manifest.ocdbt"], FileKind.ORBAX_FOLDER),
        (["manifest.ocdbt", "d/"], FileKind.OCDBT_FOLDER),
        ([".zarray", "0.0"], FileKind.ZARR_FOLDER),
        (["zarr.json"], FileKind.ZARR_FOLDER),
        (["checkpoint", "target.encoder.kernel/"], FileKind.T5X_FOLDER),
        (["checkpoint", "target.txt"], FileKind.FOLDER),
        (["Manifest.json", "Data/"], FileKind.COREML_FOLDER),
        (["saved_model.pb/"], FileKind.FOLDER),
        ([], FileKind.FOLDER),
    ],
)
def test_folders(tmp_path: Path, names: list[str], kind: FileKind) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(b"x")
    assert tfbundle.identify(tmp_path) == kind.facts


def test_what_identify_returns(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": np.ones(3)})
    path = tmp_path / "b.index"
    for spelling in (path, str(path), os.fsencode(path), path.as_uri()):
        facts = tfbundle.identify(spelling)
        assert facts.kind == "bundle-index"
        assert facts.description == "the index of a V2 checkpoint"
        assert "data files are next to it" in facts.advice


# Nothing that a file holds is an exception.


@settings(max_examples=300 if IS_EXHAUSTIVE else 60)
@given(
    st.binary(max_size=100)
    | st.binary(max_size=40).map(lambda data: b"\x0a" + encode_varint(len(data)) + data)
    | st.binary(max_size=80).map(lambda data: data + struct.pack("<Q", 0xDB4775248B80FB57))
    | st.binary(max_size=40).map(record)
    | st.text(max_size=40).map(str.encode)
)
def test_any_bytes_are_some_kind(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    assert isinstance(identify_bytes(data, tmp_path_factory.getbasetemp()), FileKind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_cut_files_are_some_kind(tmp_path: Path, kind: FileKind) -> None:
    data = min(KINDS[kind], key=lambda path: path.stat().st_size).read_bytes()
    for size in sorted({*range(min(len(data), 200)), *range(0, len(data), max(1, len(data) // 50))}):
        assert isinstance(identify_bytes(data[:size], tmp_path), FileKind)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        kind_of(str(tmp_path / "gone"))
    with pytest.raises(MissingFileError):
        tfbundle.identify(tmp_path / "gone")
    with pytest.raises(FormatError, match="a folder"):
        kind_of(str(tmp_path))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FormatError, match="pipe"):
            tfbundle.identify(tmp_path / "pipe")


def test_identifying_reads_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen graph of hundreds of megabytes is known after its first fields."""
    from tfbundle.storage.local import LocalSource

    sizes = []
    read_at = LocalSource.read_at

    def spy(self: LocalSource, offset: int, size: int) -> bytes:
        sizes.append(size)
        return read_at(self, offset, size)

    monkeypatch.setattr(LocalSource, "read_at", spy)
    node = encode_field(1, NODE + encode_field(5, bytes(100_000)))
    assert identify_bytes(node * 200, tmp_path) is FileKind.GRAPH
    assert sum(sizes) < 100_000
