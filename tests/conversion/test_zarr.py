"""Zarr folders, compared with what the zarr library reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import write_bundle
from tests.support.command import refusal, run
from tfbundle.conversion.convert import convert
from tfbundle.conversion.targets import zarr as target
from tfbundle.errors import ChecksumError, UnsupportedError

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
# The library is loaded by the tests that need it; the others are about the time before.
library = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("zarr") is None, reason="the zarr library is not installed"
)


def read(path: Path) -> dict[str, Any]:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="r")
    return {name: np.asarray(item[...]) for name, item in group.members(max_depth=None) if isinstance(item, zarr.Array)}


@library
def test_zarr_is_what_the_library_reads(tmp_path: Path) -> None:
    arrays = {
        "scope/w": MATRIX,
        "scope/deep/er": MATRIX[0],
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 3), np.int16),
        "none": np.zeros((2, 0, 3), np.int8),
        "bool": np.array([True, False]),
        "complex": np.array([1 + 2j], np.complex128),
        "half": np.arange(3).astype(np.float16),
        "unsigned": np.array([(1 << 64) - 1], np.uint64),
        "negative_zero": -np.zeros(4, np.float32),
        "nan": np.array([np.nan, np.inf], np.float64),
        "é": np.array([1], np.uint8),
        "model/w/.ATTRIBUTES/VARIABLE_VALUE": MATRIX,
    }
    done = convert(arrays, tmp_path / "x.zarr")
    assert (done.format, done.files) == ("zarr", (str(tmp_path / "x.zarr"),))
    found = read(tmp_path / "x.zarr")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert_same(found[name], array)
        # The sign of a zero is no difference to numpy.
        assert found[name].tobytes() == array.tobytes()


@library
def test_strings(tmp_path: Path) -> None:
    words = object_array([b"a\0", b"", "é".encode(), b"\xff"], (2, 2))
    write_bundle(tmp_path / "b", {"words": words, "word": object_array([b"x\0"], ()), "none": object_array([], (0,))})
    convert(tmp_path / "b", tmp_path / "x.zarr")
    found = read(tmp_path / "x.zarr")
    assert found["words"].tolist() == words.tolist()
    assert found["word"].item().rstrip(b"\0") == b"x"
    assert found["none"].shape == (0,)


@library
@pytest.mark.parametrize(
    "shape", [(700, 1000), (3, 5, 7, 11), (1, 40_000), (40_000, 1), (2, 3, 20_000), (1, 1), (9001,), (1, 2, 3, 4, 5)]
)
def test_large_tensors_are_cut_into_runs_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(target, "_CHUNK_BYTES", 36_000)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    write_bundle(tmp_path / "b", {"w": array})
    convert(tmp_path / "b", tmp_path / "x.zarr")
    assert_same(read(tmp_path / "x.zarr")["w"], array)
    chunks = json.loads((tmp_path / "x.zarr" / "w" / ".zarray").read_text())["chunks"]
    assert np.prod(chunks) * 4 <= 36_000
    # No more chunks than twice those that the bytes need.
    count = np.prod([-(-length // chunk) for length, chunk in zip(shape, chunks, strict=True)])
    assert count <= max(1, 2 * array.nbytes / 36_000 + 2 * np.prod(shape[:-1]) * (shape[-1] > 9000))


@library
@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"w": np.zeros(2, ml_dtypes.bfloat16)}, "bfloat16: 'w'.*--cast"),
        ({"w": np.zeros(2, ml_dtypes.float8_e4m3fn)}, "float8_e4m3fn: 'w'"),
        ({"w": np.zeros(2, ml_dtypes.int4)}, "int4: 'w'.*int4=int8"),
        ({"w": MATRIX, "w/Adam": MATRIX}, "below another tensor.*'w/Adam'"),
        ({"/w": MATRIX}, "not a valid .* path"),
        ({"a//b": MATRIX}, "not a valid .* path"),
        ({"a/../b": MATRIX}, "not a valid .* path"),
        ({"..": MATRIX}, "not a valid .* path"),
        ({".zarray": MATRIX}, "not a valid .* path"),
        ({"a\\b": MATRIX}, "not a valid .* path"),
        ({"a\0b": MATRIX}, "not a valid .* path"),
        ({"x" * 256: MATRIX}, "not a valid .* path"),
        ({"x/" * 300 + "w": MATRIX}, "301 levels"),
        ({"\udcff": MATRIX}, "not UTF-8"),
    ],
)
def test_what_zarr_cannot_hold(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    for dry_run in (True, False):
        with pytest.raises(UnsupportedError, match=match):
            convert(arrays, tmp_path / "x.zarr", dry_run=dry_run)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="not divided"):
        convert({"w": MATRIX, "v": MATRIX}, tmp_path / "x.zarr", shards=2)


@library
def test_a_folder_is_replaced_only_when_asked_and_only_by_its_kind(tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    convert({"a": MATRIX}, out)
    with pytest.raises(ValueError, match="overwrite=True"):
        convert({"b": MATRIX}, out)
    write_bundle(tmp_path / "b", {"b": MATRIX})
    assert "--overwrite" in refusal("convert", tmp_path / "b", f"{out}/")
    assert set(read(out)) == {"a"}
    assert run("convert", tmp_path / "b", f"{out}/", "--overwrite").exit_code == 0
    assert set(read(out)) == {"b"}
    (tmp_path / "empty.zarr").mkdir()
    convert({"a": MATRIX}, tmp_path / "empty.zarr")
    assert set(read(tmp_path / "empty.zarr")) == {"a"}
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "notes.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    for name, match in (("mine.zarr", "other files"), ("file.zarr", "is a file")):
        with pytest.raises(ValueError, match=match):
            convert({"a": MATRIX}, tmp_path / name, overwrite=True)
    assert (tmp_path / "mine.zarr" / "notes.txt").read_text() == "mine"
    write_bundle(out / "inside", {"b": MATRIX})
    with pytest.raises(ValueError, match="a source of the output"):
        convert(out / "inside", out, overwrite=True)
    assert (out / "inside.index").is_file()
    (tmp_path / "link.zarr").symlink_to(out)
    convert({"c": MATRIX}, tmp_path / "link.zarr", overwrite=True)
    assert (tmp_path / "link.zarr").is_symlink()
    assert set(read(out)) == {"c"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@library
def test_what_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    convert({"a": MATRIX}, out)
    write_bundle(tmp_path / "b", {"a": MATRIX, "b": MATRIX + 1})
    path = tmp_path / "b.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ChecksumError):
        convert(tmp_path / "b", out, overwrite=True)
    with pytest.raises(ChecksumError):
        convert(tmp_path / "b", tmp_path / "new.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert set(read(out)) == {"a"}


def test_a_library_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UnsupportedError, match=r'zarr library, version 3\.1 or newer: pip install "tfbundle\[zarr\]"'):
        convert({"a": MATRIX}, tmp_path / "x.zarr", dry_run=True)
    assert not list(tmp_path.iterdir())
