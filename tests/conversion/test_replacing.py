"""What takes the place of an earlier output: all of it or nothing, with no files of the earlier one left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import write_bundle
from tfbundle.conversion.convert import convert
from tfbundle.conversion.sources.opening import open_source
from tfbundle.errors import ChecksumError
from tfbundle.storage import copying

ARRAYS = {f"t{number}": np.full(1000, number, np.float32) for number in range(6)}
OTHERS = {f"t{number}": np.full(1000, -number, np.float32) for number in range(6)}
LARGE = np.random.default_rng(0).standard_normal((3, 700_001)).astype(np.float32)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(path: Path) -> dict[str, Any]:
    with open_source(path) as source:
        return {name: tensor.read() for name, tensor in source.items()}


@pytest.mark.parametrize(("first", "second"), [(3, 1), (1, 3), (3, 2), (2, 2), (6, 5)])
def test_data_files_of_another_number_of_shards_are_removed(tmp_path: Path, first: int, second: int) -> None:
    # Files that have nothing to do with it stay.
    kept = ["m.meta", "m.data", "m-2.data-00000-of-00007", "mm.data-00000-of-00007", "m.data-00000-of-00007.bak"]
    for name in kept:
        (tmp_path / name).write_bytes(b"kept")
    convert(ARRAYS, tmp_path / "m", shards=first)
    convert(OTHERS, tmp_path / "m", shards=second, overwrite=True)
    data = [f"m.data-{number:05d}-of-{second:05d}" for number in range(second)]
    assert names(tmp_path) == sorted([*kept, *data, "m.index"])
    for name, array in tfbundle.load(tmp_path / "m").items():
        assert_same(array, OTHERS[name])


def test_a_checkpoint_is_converted_in_place_to_other_shards(tmp_path: Path) -> None:
    convert(ARRAYS, tmp_path / "m", shards=3)
    convert(tmp_path / "m", tmp_path / "m", shards=2, overwrite=True)
    assert names(tmp_path) == ["m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"]
    for name, array in tfbundle.load(tmp_path / "m").items():
        assert_same(array, ARRAYS[name])


@pytest.mark.parametrize(("first", "second"), [(3, 1), (1, 3), (3, 2), (2, 2)])
def test_shards_of_safetensors_are_replaced_together(tmp_path: Path, first: int, second: int) -> None:
    pytest.importorskip("safetensors")
    kept = ["model-00001-of-00009.safetensors", "model.txt"]
    for name in kept:
        (tmp_path / name).write_bytes(b"kept")
    index = tmp_path / "model.safetensors.index.json"
    convert(ARRAYS, tmp_path / "model.safetensors", shards=first)
    convert(OTHERS, tmp_path / "model.safetensors", shards=second)
    shards = [f"model-{number:05d}-of-{second:05d}.safetensors" for number in range(1, second + 1)]
    assert names(tmp_path) == sorted([*kept, *shards, index.name])
    for name, array in contents(index).items():
        assert_same(array, OTHERS[name])


def test_an_index_of_others_removes_none_of_their_files(tmp_path: Path) -> None:
    """It may name anything, and only what is called as its shards are goes."""
    pytest.importorskip("safetensors")
    for name in ("precious.safetensors", "other-00001-of-00002.safetensors", "model-00001-of-00003.safetensors"):
        (tmp_path / name).write_bytes(b"kept")
    named = [*names(tmp_path), "../outside", "model-00002-of-00003.safetensors"]
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {str(number): name for number, name in enumerate(named)}}))
    convert(ARRAYS, tmp_path / "model.safetensors", shards=2)
    assert "precious.safetensors" in names(tmp_path)
    assert "other-00001-of-00002.safetensors" in names(tmp_path)
    assert "model-00001-of-00003.safetensors" not in names(tmp_path)
    for damaged in (b"{", b"[]", b'{"weight_map": 3}', b"\xff", b'{"weight_map": {"a": []}}'):
        index.write_bytes(damaged)
        convert(ARRAYS, tmp_path / "model.safetensors", shards=2)
        assert set(contents(index)) == set(ARRAYS)


@pytest.mark.parametrize("out", ["m", "model.safetensors"])
@pytest.mark.parametrize("shards", [2, 3])
def test_what_fails_leaves_all_shards(tmp_path: Path, out: str, shards: int) -> None:
    pytest.importorskip("safetensors")
    convert(ARRAYS, tmp_path / out, shards=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    source = tmp_path / "source"
    source.mkdir()
    write_bundle(source / "b", OTHERS)
    data = bytearray((source / "b.data-00000-of-00001").read_bytes())
    data[-1] ^= 1
    (source / "b.data-00000-of-00001").write_bytes(data)
    with pytest.raises(ChecksumError):
        convert(source / "b", tmp_path / out, shards=shards, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_reader_finds_the_old_or_the_new_shards_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    convert(ARRAYS, tmp_path / "model.safetensors", shards=2)
    rename = os.replace
    seen = []

    def look(*arguments: Any) -> None:
        rename(*arguments)
        found = contents(tmp_path / "model.safetensors.index.json")
        assert {name: array.tolist() for name, array in found.items()} in [
            {name: array.tolist() for name, array in arrays.items()} for arrays in (ARRAYS, OTHERS)
        ]
        seen.append(arguments)

    monkeypatch.setattr(os, "replace", look)
    convert(OTHERS, tmp_path / "model.safetensors", shards=2)
    assert len(seen) == 4  # The index of the way round, two shards, and the index.


# Copies by the system.


@pytest.mark.parametrize("way", ["system", "refused", "unavailable", "refused later"])
@pytest.mark.parametrize("out", ["copy", "x.safetensors", "x.h5"])
def test_copies_are_the_same_however_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, out: str
) -> None:
    if out.endswith("h5"):
        pytest.importorskip("h5py")
    arrays = {"large": LARGE, "small": LARGE[0, :10], "wide": LARGE[0].astype(np.float64)}
    write_bundle(tmp_path / "b", arrays)
    calls = []
    copy = getattr(os, "copy_file_range", None)

    def refuse(*arguments: Any) -> int:
        calls.append(arguments)
        if way == "system" or (way == "refused later" and len(calls) == 2):
            assert copy is not None
            return copy(*arguments)
        raise OSError(18, "Invalid cross-device link")

    if way == "unavailable":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif copy is None:
        pytest.skip("this system has no copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    counted: list[tuple[int, int]] = []
    done = convert(tmp_path / "b", tmp_path / out, progress=lambda *pair: counted.append(pair))
    monkeypatch.undo()
    assert bool(calls) == (way != "unavailable")
    assert counted[-1] == (done.nbytes, done.nbytes)
    found = tfbundle.load(done.path) if out == "copy" else contents(tmp_path / out)
    for name, array in arrays.items():
        assert_same(found[name], array)


def test_damage_after_a_copy_by_the_system_is_found(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": LARGE})
    path = tmp_path / "b.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[3_000_000] ^= 1
    path.write_bytes(data)
    for out in ("copy", "x.safetensors"):
        with pytest.raises(ChecksumError, match="'a'"):
            convert(tmp_path / "b", tmp_path / out)
    assert names(tmp_path) == ["b.data-00000-of-00001", "b.index"]


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="this system has no copy_file_range")
def test_a_full_disk_names_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "b", {"a": LARGE})

    def full(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    for out in ("copy", "x.safetensors"):
        with pytest.raises(OSError, match="No space left") as caught:
            convert(tmp_path / "b", tmp_path / out)
        assert str(caught.value.filename).startswith(str(tmp_path / out))
    assert names(tmp_path) == ["b.data-00000-of-00001", "b.index"]


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="this system has no copy_file_range")
def test_a_source_that_becomes_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfbundle.storage.locations import locate

    (tmp_path / "a").write_bytes(b"x" * 100)
    source = locate(tmp_path / "a").open()
    answers = iter([10, 0])
    monkeypatch.setattr(os, "copy_file_range", lambda *arguments: next(answers))
    with pytest.raises(tfbundle.TruncatedError, match="became shorter"):
        copying.copy_range(source, 0, 100, 1)
    source.close()
