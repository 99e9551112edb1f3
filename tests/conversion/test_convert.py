"""Exports: other libraries read back what the checkpoint holds, and what cannot be written is refused beforehand."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import crc32c
import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.arrays import DTYPES, PLAIN_DTYPES, assert_same, object_array, sample_array
from tests.support.bundle_writer import (
    FULL,
    Saved,
    data_file,
    encode_entry,
    encode_header,
    encode_slice_key,
    numpy_type,
    write_bundle,
)
from tests.support.expected import FIXTURES, Expected, expected_checkpoints, sha256_of
from tests.support.table_writer import encode_table
from tfbundle.conversion.casting import Casts
from tfbundle.conversion.convert import convert
from tfbundle.errors import ChecksumError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.tensors.dtypes import numpy_dtypes, python_name

ROOT = Path(__file__).resolve().parents[2]
MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
FORMATS = ("npz", "safetensors")

# What numpy itself has no type for.
NOT_IN_NPZ = {name for name in PLAIN_DTYPES if hasattr(ml_dtypes, name)}
NOT_IN_SAFETENSORS = {
    "complex128", "float4_e2m1fn", "float8_e4m3b11fnuz", "int2", "int4", "uint2", "uint4",
}  # fmt: skip
REFUSED = {"npz": NOT_IN_NPZ, "safetensors": NOT_IN_SAFETENSORS}
SAFETENSORS_NAMES = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
# The releases of safetensors that first read a type, where the oldest one that is supported does not.
SINCE = {"C64": (0, 7), "F8_E4M3FNUZ": (0, 8), "F8_E5M2FNUZ": (0, 8)}


def read_back(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What numpy, or the safetensors library, makes of a file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    safetensors = pytest.importorskip("safetensors", reason="reads back with safetensors, which is not installed")
    version = tuple(map(int, re.findall(r"\d+", safetensors.__version__)[:2]))
    newer = {facts["dtype"] for facts in safetensors_header(path).values()} & {
        dtype for dtype, since in SINCE.items() if version < since
    }
    if newer:
        pytest.skip(f"safetensors {safetensors.__version__} does not know {', '.join(sorted(newer))}")
    found = {}
    for name, facts in safetensors.deserialize(path.read_bytes()):
        dtype = numpy_type(SAFETENSORS_NAMES[facts["dtype"]])
        found[name] = np.frombuffer(bytes(facts["data"]), dtype).reshape(facts["shape"])
    return found


def safetensors_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(size))
        return header


def export_fixture(expected: Expected, out: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Export what TensorFlow could read of a checkpoint, and the format can hold; return it."""
    with tfbundle.open_checkpoint(expected.path, format=expected.format) as checkpoint:  # type: ignore[arg-type]
        wanted = {}
        for name, tensor in checkpoint.items():
            with contextlib.suppress(TfBundleError, UnicodeEncodeError):
                name.encode()
                if tensor.dtype.name not in {*REFUSED[out.suffix[1:]], "object"} and "\0" not in name:
                    wanted[name] = tensor.read()
        refusal = pytest.raises(ValueError, match=r"no tensor of .* is left to write")
        with refusal if set(checkpoint) - {"_CHECKPOINTABLE_OBJECT_GRAPH"} and not wanted else contextlib.nullcontext():
            convert(checkpoint, out, names=list(wanted))
    return wanted


CHECKPOINTS = [expected for format in ("v1", "v2") for expected in expected_checkpoints(format) if not expected.error]
# numpy takes seconds to read an archive of 20,000 arrays.
EXPORTS = [
    (one, format) for one in CHECKPOINTS for format in FORMATS if (one.path.parent.name, format) != ("many-keys", "npz")
]


@pytest.mark.parametrize(("expected", "format"), EXPORTS, ids=str)
def test_fixtures_come_back_as_tensorflow_read_them(tmp_path: Path, expected: Expected, format: str) -> None:
    out = tmp_path / f"out.{format}"
    wanted = export_fixture(expected, out)
    found = read_back(out) if out.exists() else {}
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_same(found[name], array)
        if "sha256" in expected.tensors.get(name, {}) and array.dtype.name not in ("int4", "int2"):
            assert sha256_of(found[name]) == expected.tensors[name]["sha256"]


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_comes_back_or_is_refused_by_name(tmp_path: Path, name: str, format: str, byteorder: str) -> None:
    array = sample_array(name, (5, 3, 2))
    tensors = {
        "cube": array,
        "empty": array[:, :0],
        "parts": Saved(array, slices=[(FULL, (0, 1), FULL), (FULL, (1, 2), FULL)]),
        "scalar": array[0, 0, :1].reshape(()),
    }
    write_bundle(tmp_path / "b", tensors, byteorder=byteorder)
    out = tmp_path / f"out.{format}"
    if name in {*REFUSED[format], "object"}:
        with pytest.raises(UnsupportedError) as caught:
            convert(tmp_path / "b", out)
        assert all(repr(tensor) in str(caught.value) for tensor in tensors)
        assert ("string" if name == "object" else name) in str(caught.value)
        assert not out.exists()
        return
    written = convert(tmp_path / "b", out)
    found = read_back(out)
    assert found.keys() == tensors.keys()
    for tensor, value in tensors.items():
        assert_same(found[tensor], value.array if isinstance(value, Saved) else value)
    assert (written.path, written.format, written.tensors) == (str(out), format, 4)
    assert written.nbytes == sum(value.nbytes for value in found.values())


def test_the_library_writes_the_same_safetensors(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="compares with safetensors, which is not installed")
    names = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool"]
    arrays = {f"{number}/{name}": sample_array(name, (3, number)) for number, name in enumerate(names)}
    write_bundle(tmp_path / "b", arrays)
    convert(tmp_path / "b", tmp_path / "ours.safetensors")
    numpy.save_file(arrays, tmp_path / "theirs.safetensors")
    theirs, ours = (numpy.load_file(tmp_path / f"{who}.safetensors") for who in ("theirs", "ours"))
    assert theirs.keys() == ours.keys()
    for name in arrays:
        assert_same(ours[name], theirs[name])
    assert safetensors_header(tmp_path / "ours.safetensors").keys() == arrays.keys()


def test_safetensors_are_aligned(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {f"a/{name}": sample_array(name, (3,)) for name in ("uint8", "float64", "bfloat16")})
    convert(tmp_path / "b", tmp_path / "out.safetensors")
    (size,) = struct.unpack("<Q", (tmp_path / "out.safetensors").read_bytes()[:8])
    assert size % 8 == 0
    for facts in safetensors_header(tmp_path / "out.safetensors").values():
        itemsize = numpy_type(SAFETENSORS_NAMES[facts["dtype"]]).itemsize
        assert facts["data_offsets"][0] % itemsize == 0


def test_npz_is_made_as_numpy_makes_it(tmp_path: Path) -> None:
    arrays = {"w": MATRIX, "b/c": np.int64(3).reshape(()), "größe": MATRIX[:0]}
    write_bundle(tmp_path / "b", arrays)
    convert(tmp_path / "b", tmp_path / "ours.npz")
    np.savez(tmp_path / "theirs.npz", **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(tmp_path / "ours.npz") as ours, zipfile.ZipFile(tmp_path / "theirs.npz") as theirs:
        assert ours.testzip() is None
        assert sorted(ours.namelist()) == sorted(theirs.namelist())
        for name in theirs.namelist():
            assert ours.read(name) == theirs.read(name)
    first = (tmp_path / "ours.npz").read_bytes()
    convert(tmp_path / "b", tmp_path / "ours.npz")
    assert (tmp_path / "ours.npz").read_bytes() == first


# Names.


@pytest.mark.parametrize(
    ("format", "name", "reason"),
    [
        ("npz", "a\0b", "NUL"),
        ("npz", "latin1-\udce9", "not UTF-8"),
        ("npz", "x" * 65532, "65532 bytes"),
        ("safetensors", "latin1-\udce9", "not UTF-8"),
        ("safetensors", "__metadata__", "reserves"),
    ],
)
def test_names_that_a_format_cannot_hold(tmp_path: Path, format: str, name: str, reason: str) -> None:
    write_bundle(tmp_path / "b", {name: MATRIX, "other": MATRIX})
    with pytest.raises(UnsupportedError) as caught:
        convert(tmp_path / "b", tmp_path / f"out.{format}")
    assert repr(name) in str(caught.value)
    assert reason in str(caught.value)
    convert(tmp_path / "b", tmp_path / f"out.{format}", exclude=[name])
    assert list(read_back(tmp_path / f"out.{format}")) == ["other"]
    convert(tmp_path / "b", tmp_path / f"out.{format}", names={name: "renamed"})
    assert list(read_back(tmp_path / f"out.{format}")) == ["renamed"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["../up", "/", " ", "C:\\path", "\U0001f600", "x" * 2000, "file", "a.npy", "é\u0301"])
def test_names_that_it_can(tmp_path: Path, format: str, name: str) -> None:
    write_bundle(tmp_path / "b", {name: MATRIX})
    convert(tmp_path / "b", tmp_path / f"out.{format}")
    assert list(read_back(tmp_path / f"out.{format}")) == [name]
    assert_same(read_back(tmp_path / f"out.{format}")[name], MATRIX)


def test_a_nul_in_a_name(tmp_path: Path) -> None:
    """JSON has a way to write it, and ZIP none."""
    write_bundle(tmp_path / "b", {"a\0b": MATRIX})
    convert(tmp_path / "b", tmp_path / "out.safetensors")
    assert_same(read_back(tmp_path / "out.safetensors")["a\0b"], MATRIX)


def test_a_name_that_numpy_would_take_for_another(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX, "a.npy": MATRIX + 1})
    with pytest.raises(UnsupportedError, match=r"'a\.npy'"):
        convert(tmp_path / "b", tmp_path / "out.npz")


def test_more_dimensions_than_numpy_has(tmp_path: Path) -> None:
    """The elements need no array of this rank on their way."""
    scalar = np.float32(3).reshape(())
    write_bundle(tmp_path / "b", {"deep": Saved(scalar, lies={"shape": (1,) * 100})})
    with pytest.raises(UnsupportedError, match="100 dimensions: 'deep'"):
        convert(tmp_path / "b", tmp_path / "out.npz")
    convert(tmp_path / "b", tmp_path / "out.safetensors")
    assert safetensors_header(tmp_path / "out.safetensors")["deep"]["shape"] == [1] * 100


def test_names_and_exclude(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", dict.fromkeys(["a/w", "a/w/Adam", "b/w"], MATRIX))
    out = tmp_path / "out.npz"
    for arguments, wanted in (
        ({"names": "a/*"}, ["a/w", "a/w/Adam"]),
        ({"exclude": "*Adam"}, ["a/w", "b/w"]),
        ({"names": ["b/w"]}, ["b/w"]),
        ({"names": "a/*", "exclude": ["a/w"]}, ["a/w/Adam"]),
    ):
        convert(tmp_path / "b", out, **arguments)  # type: ignore[arg-type]
        assert list(read_back(out)) == wanted
    for arguments in ({"names": "c*"}, {"names": ["a"]}, {"exclude": "c*"}):
        with pytest.raises(KeyError):
            convert(tmp_path / "b", out, **arguments)  # type: ignore[arg-type]


# Casts.


def test_bfloat16_to_float32_is_exact(tmp_path: Path) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    write_bundle(tmp_path / "b", {"every": every})
    convert(tmp_path / "b", tmp_path / "out.npz", cast="bfloat16=float32")
    found = read_back(tmp_path / "out.npz")["every"]
    assert found.dtype == np.float32
    # A float32 whose lower half is zero is a bfloat16; of a NaN that it is one is what counts.
    wanted = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(found, wanted)
    assert (np.signbit(found) == np.signbit(wanted))[~np.isnan(wanted)].all()


@pytest.mark.parametrize(
    ("cast", "wanted"),
    [
        ("float32", {"bf": "float32", "f8": "float32", "f64": "float32", "i4": "int4", "i64": "int64", "q": "int8"}),
        ("int16", {"bf": "bfloat16", "f8": "float8_e5m2", "f64": "float64", "i4": "int16", "q": "int16"}),
        ({"bfloat16": "float16"}, {"bf": "float16", "f8": "float8_e5m2", "f64": "float64", "i4": "int4"}),
        (["float16", "float64=float32", "int4=int8"], {"bf": "float16", "f64": "float32", "i4": "int8"}),
        (["qint8=float32"], {"q": "float32", "i64": "int64"}),
        (["bool=uint8", "complex64=complex128"], {"b": "uint8", "c": "complex128"}),
    ],
)  # fmt: skip
def test_casts(tmp_path: Path, cast: Any, wanted: dict[str, str]) -> None:
    values = [-1, 0, 1, 1]
    arrays = {
        "bf": np.array(values, ml_dtypes.bfloat16),
        "f8": np.array(values, ml_dtypes.float8_e5m2),
        "f64": np.array(values, np.float64),
        "i4": np.array(values, ml_dtypes.int4),
        "i64": np.array(values, np.int64),
        "b": np.array([True, False, True, True]),
        "c": np.array(values, np.complex64),
        "q": Saved(np.array(values, np.int8), data_type=11),
    }
    write_bundle(tmp_path / "b", {name: arrays[name] for name in wanted})
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        types = {python_name(tensor.data_type) for tensor in checkpoint.values()}
        casts = Casts(cast, {}.__getitem__, lambda: types)
        for name, dtype in wanted.items():
            assert casts.dtype_of(checkpoint[name]).name == dtype
    # What safetensors cannot hold even so is not what this is about.
    held = [name for name, dtype in wanted.items() if dtype in SAFETENSORS_NAMES.values()]
    convert(tmp_path / "b", tmp_path / "out.safetensors", names=held, cast=cast)
    for name, array in read_back(tmp_path / "out.safetensors").items():
        assert array.dtype.name == wanted[name]
        expected = arrays[name].array if isinstance(arrays[name], Saved) else arrays[name]  # type: ignore[union-attr]
        assert array.astype(np.float64).tolist() == expected.astype(np.float64).tolist()  # type: ignore[union-attr]


def test_casts_of_floats_may_lose(tmp_path: Path) -> None:
    array = np.array([1e300, -1e300, 1 / 3, np.nan, np.inf, 1e-300])
    write_bundle(tmp_path / "b", {"x": array})
    convert(tmp_path / "b", tmp_path / "out.npz", cast="float32")
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(read_back(tmp_path / "out.npz")["x"], array.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "target", "fits"),
    [
        (np.array([127, -128]), "int8", True),
        (np.array([128]), "int8", False),
        (np.array([7, -8]), "int4", True),
        (np.array([8]), "int4", False),
        (np.array([-1]), "uint64", False),
        (np.array([2**64 - 1], np.uint64), "int64", False),
        (np.array([2**63 - 1], np.uint64), "int64", True),
        (np.array([2.0**63]), "int64", False),
        (np.array([-(2.0**63), 2.0**62]), "int64", True),
        (np.array([255.9, -0.9]), "uint8", True),
        (np.array([256.0]), "uint8", False),
        (np.array([np.nan]), "int32", False),
        (np.array([np.inf]), "int32", False),
        (np.array([300], ml_dtypes.bfloat16), "uint8", False),
        (np.array([15], ml_dtypes.uint4), "int4", False),
    ],
)
def test_casts_to_integers_do_not_wrap(tmp_path: Path, array: np.ndarray[Any, Any], target: str, fits: bool) -> None:
    write_bundle(tmp_path / "b", {"x": array})
    out = tmp_path / "out.safetensors"
    if target == "int4":
        with pytest.raises(UnsupportedError, match="int4"):
            convert(tmp_path / "b", out, cast={array.dtype.name: target})
    elif fits:
        convert(tmp_path / "b", out, cast={array.dtype.name: target})
        assert read_back(out)["x"].tolist() == [int(value) for value in array]
    else:
        with pytest.raises(UnsupportedError, match=r"'x'.*out of range"):
            convert(tmp_path / "b", out, cast={array.dtype.name: target})
        assert not out.exists()


@pytest.mark.parametrize("cast", ["float33", "string", "qint8", "bool", "complex64=float32", "=", ""])
def test_casts_that_do_not_exist(cast: str) -> None:
    with pytest.raises(ValueError, match=r"there is no type|imaginary"):
        Casts(cast, {}.__getitem__, numpy_dtypes)


def test_the_refusal_says_how_to_go_on(tmp_path: Path) -> None:
    tensors = {
        "b": sample_array("bfloat16", (2,)),
        "i": sample_array("int4", (2,)),
        "s": object_array([b"x"]),
    }
    write_bundle(tmp_path / "b", tensors)
    with pytest.raises(UnsupportedError) as caught:
        convert(tmp_path / "b", tmp_path / "out.npz")
    message = str(caught.value)
    assert "\n" not in message
    match = re.search(r"cast (.*) \(--cast\) or leave them out \(--exclude\)", message)
    assert match is not None
    convert(tmp_path / "b", tmp_path / "out.npz", cast=match[1].split(), exclude="s")
    assert {name: array.dtype.name for name, array in read_back(tmp_path / "out.npz").items()} == {
        "b": "float32",
        "i": "int8",
    }


# What goes wrong half way.


def damaged(prefix: Path) -> None:
    """A bundle whose last tensor is damaged."""
    write_bundle(prefix, {"a": np.zeros((1000, 1000), np.float32), "z": MATRIX})
    with data_file(prefix).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


@pytest.mark.parametrize("format", FORMATS)
def test_damage_leaves_the_old_file(tmp_path: Path, format: str) -> None:
    damaged(tmp_path / "b")
    out = tmp_path / f"out.{format}"
    with pytest.raises(ChecksumError):
        convert(tmp_path / "b", out)
    assert not out.exists()
    out.write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ChecksumError) as caught:
        convert(tmp_path / "b", out)
    assert caught.value.tensor == "z"
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == before
    with tfbundle.open_checkpoint(tmp_path / "b", verify=False) as checkpoint:
        convert(checkpoint, out)
    assert read_back(out).keys() == {"a", "z"}


@pytest.mark.parametrize("format", FORMATS)
def test_interruption_leaves_the_old_file(tmp_path: Path, format: str) -> None:
    write_bundle(tmp_path / "b", {"a": np.zeros((1000, 1000), np.float32)})
    out = tmp_path / f"out.{format}"
    out.write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    during = []

    def interrupt(done: int, total: int) -> None:
        during.extend(os.listdir(tmp_path))
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "b", out, progress=interrupt)
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == before
    assert any(name.startswith(f".out.{format}.") for name in during)


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, format: str) -> None:
    """A limit on the size of files has the effect of a disk that fills up."""
    resource = pytest.importorskip("resource", reason="this system has no limit on the size of files")
    write_bundle(tmp_path / "b", {"a": np.zeros((1000, 1000), np.float32)})
    out = tmp_path / f"out.{format}"
    out.write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            convert(tmp_path / "b", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (type(caught.value), caught.value.filename) == (OSError, str(out))
    assert out.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_written_where_nothing_can_be(tmp_path: Path, format: str) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX})
    with pytest.raises(MissingFileError, match="no folder"):
        convert(tmp_path / "b", tmp_path / "nowhere" / f"out.{format}")
    (tmp_path / f"folder.{format}").mkdir()
    with pytest.raises(ValueError, match="a folder"):
        convert(tmp_path / "b", tmp_path / f"folder.{format}")
    convert(tmp_path / "b", os.devnull, to=format)
    with pytest.raises(ValueError, match="does not have the suffix of an output format"):
        convert(tmp_path / "b", tmp_path / "out.pt")
    with pytest.raises(ValueError, match="'pt'"):
        convert(tmp_path / "b", tmp_path / "out", to="pt")


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX})
    plain_open = os.open

    def refuse(path: str, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return plain_open(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        convert(tmp_path / "b", tmp_path / "out.npz")
    assert caught.value.filename == str(tmp_path / "out.npz")


def test_a_checkpoint_is_not_replaced_by_its_export(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX})
    for own in (tmp_path / "b.index", data_file(tmp_path / "b")):
        before = own.read_bytes()
        with pytest.raises(ValueError, match="file of a checkpoint"):
            convert(tmp_path / "b", own, to="npz")
        assert own.read_bytes() == before


@pytest.mark.parametrize("own", ["b.index", "b.data-00000-of-00001", "b.meta"])
@pytest.mark.parametrize("link", ["symbolic", "hard", "of the file"])
def test_nor_by_way_of_a_link(tmp_path: Path, own: str, link: str) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX})
    (tmp_path / "b.meta").write_bytes(b"graph")
    out = tmp_path / "out.npz"
    try:
        if link == "symbolic":
            out.symlink_to(own)
        elif link == "hard":
            out.hardlink_to(tmp_path / own)
        else:
            (tmp_path / own).rename(out)
            (tmp_path / own).symlink_to(out)
    except OSError:
        pytest.skip("this system does not allow links")
    before = out.read_bytes()
    with pytest.raises(ValueError, match="file of a checkpoint"):
        convert(tmp_path / "b", out)
    assert out.read_bytes() == before


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\U0001f600"])
def test_the_longest_name_of_a_file(tmp_path: Path, letter: str) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX})
    out = tmp_path / (letter * ((255 - len(".npz")) // len(letter.encode())) + ".npz")
    convert(tmp_path / "b", out)
    assert_same(read_back(out)["a"], MATRIX)


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are those of POSIX")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX})
    umask = os.umask(0o022)
    try:
        convert(tmp_path / "b", tmp_path / "new.npz")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new.npz").stat().st_mode) == 0o644
    (tmp_path / "old.npz").write_bytes(b"old")
    (tmp_path / "old.npz").chmod(0o640)
    (tmp_path / "link.npz").symlink_to("old.npz")
    convert(tmp_path / "b", tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert stat.S_IMODE((tmp_path / "old.npz").stat().st_mode) == 0o640
    assert_same(read_back(tmp_path / "old.npz")["a"], MATRIX)


def test_an_output_that_the_system_does_not_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: what is open or read-only is not replaced, and what is read-only is not removed."""
    write_bundle(tmp_path / "b", {"a": MATRIX})
    out = tmp_path / "out.npz"
    out.write_bytes(b"old")
    out.chmod(stat.S_IREAD)
    unlink = os.unlink

    def refuse(source: str, target: str) -> None:
        raise PermissionError(errno.EACCES, "Access is denied", source, None, target)

    def unlink_writable(path: str) -> None:
        if not os.stat(path).st_mode & stat.S_IWRITE:
            raise PermissionError(errno.EACCES, "Access is denied", path)
        unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        patched.setattr(os, "unlink", unlink_writable)
        with pytest.raises(PermissionError) as caught:
            convert(tmp_path / "b", out)
    assert (caught.value.filename, caught.value.filename2) == (str(out), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.data-00000-of-00001", "b.index", "out.npz"]
    assert out.read_bytes() == b"old"
    out.chmod(stat.S_IREAD | stat.S_IWRITE)


def test_progress(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": np.zeros(3_000_000, np.uint8), "b": MATRIX})
    calls: list[tuple[int, int]] = []
    written = convert(tmp_path / "b", tmp_path / "out.npz", progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert len(calls) >= 4
    assert calls[-1] == (written.nbytes, written.nbytes)
    assert {total for _, total in calls} == {3_000_000 + MATRIX.nbytes}


def test_a_v1_checkpoint(tmp_path: Path) -> None:
    folder = FIXTURES / "tf-1.15.5" / "v1-training"
    convert(folder, tmp_path / "out.npz")
    wanted = tfbundle.load(folder)
    found = read_back(tmp_path / "out.npz")
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert_same(found[name], array)


# Memory.


def write_zeros(prefix: Path, tensors: int, size: int, *, columns: bool = False) -> None:
    """A bundle of zeros in a sparse file, which takes no room on disk; each tensor has ``size`` bytes."""
    crc, block = 0, bytes(1 << 20)
    half = size // 2
    for start in range(0, half if columns else size, 1 << 20):
        crc = crc32c.crc32c(block[: (half if columns else size) - start], crc)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    shape = (size // 4096, 1024)
    entries = {b"": encode_header(1)}
    for number in range(tensors):
        name = b"t%d" % number
        if columns:
            boxes = [(FULL, (0, 512)), (FULL, (512, 512))]
            entries[name] = encode_entry(shape=shape, slices=boxes)
            for part, box in enumerate(boxes):
                entries[encode_slice_key(name, box)] = encode_entry(
                    shape=(shape[0], 512), offset=number * size + part * half, size=half, crc=masked
                )
        else:
            entries[name] = encode_entry(shape=shape, offset=number * size, size=size, crc=masked)
    Path(f"{prefix}.index").write_bytes(encode_table(entries))
    with data_file(prefix).open("wb") as file:
        file.truncate(tensors * size)


_PEAK = """
import sys
import google.protobuf, ml_dtypes, numpy, tfbundle.conversion.convert

def peak():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10

before = peak()
tfbundle.conversion.convert.convert(*sys.argv[1:3], cast=sys.argv[3] or None)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux's /proc")
@pytest.mark.parametrize(
    ("format", "tensors", "size", "columns", "cast"),
    [
        ("safetensors", 2, 1 << 27, False, ""),
        ("npz", 1, 1 << 27, False, ""),
        ("npz", 1, 1 << 27, True, "float16"),
    ],
    ids=["safetensors", "npz", "cut in columns and cast"],
)
@pytest.mark.effort
def test_memory_does_not_grow_with_the_checkpoint(
    tmp_path: Path, format: str, tensors: int, size: int, columns: bool, cast: str
) -> None:
    """VmHWM counts mapped pages too."""
    write_zeros(tmp_path / "b", tensors, size, columns=columns)
    out = tmp_path / f"out.{format}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, str(tmp_path / "b"), str(out), cast],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 50 << 20
        assert out.stat().st_size >= tensors * size // (2 if cast else 1)
    finally:
        out.unlink(missing_ok=True)


def test_the_object_graph_is_written_only_if_asked_for(tmp_path: Path) -> None:
    source = ROOT / "fixtures" / "tf-2.15.1" / "keras-weights" / "weights"
    convert(source, tmp_path / "weights.npz")
    with tfbundle.open_checkpoint(source) as checkpoint, np.load(tmp_path / "weights.npz") as written:
        assert set(written.files) == set(checkpoint) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    with pytest.raises(tfbundle.UnsupportedError, match="_CHECKPOINTABLE_OBJECT_GRAPH"):
        convert(source, tmp_path / "weights.npz", names="_CHECK*")
