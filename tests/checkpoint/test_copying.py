"""Stored tensors that are saved unchanged: bytes as they are, verified on the way, slice by slice in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES
from tfbundle.checkpoint.v2.stored_slices import COPIED

SIZES = [0, 1, COPIED - 1, COPIED, COPIED + 1, 3 * COPIED + 17]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copy(source: Path, target: Path, **options: Any) -> None:
    with tfbundle.open_checkpoint(source) as checkpoint:
        tfbundle.save(target, checkpoint, **options)


@pytest.mark.parametrize("size", SIZES)
def test_any_size(tmp_path: Path, size: int) -> None:
    values = {"a": np.arange(size, dtype=np.uint8), "b": np.arange(size // 8, dtype=np.float64), "c": [b"x" * size]}
    tfbundle.save(tmp_path / "source" / "model", values)
    copy(tmp_path / "source" / "model", tmp_path / "copy" / "model")
    assert contents(tmp_path / "copy") == contents(tmp_path / "source")


@pytest.mark.parametrize("at", [0, COPIED, 2 * COPIED - 1, 2 * COPIED + 4])
def test_damage_anywhere_is_found(tmp_path: Path, at: int) -> None:
    tfbundle.save(tmp_path / "model", {"a": np.zeros(2 * COPIED, np.uint8), "b": np.ones(3, np.int32)})
    data = tmp_path / "model.data-00000-of-00001"
    changed = bytearray(data.read_bytes())
    changed[at] ^= 4
    data.write_bytes(changed)
    before = set(contents(tmp_path))
    with pytest.raises(tfbundle.ChecksumError, match=r"'[ab]'") as caught:
        copy(tmp_path / "model", tmp_path / "copy")
    assert caught.value.path == str(data)
    assert set(contents(tmp_path)) == before


def test_damage_that_was_not_verified_stays_detectable(tmp_path: Path) -> None:
    """With ``verify=False`` the copy has the bytes and the checksum that the source has."""
    tfbundle.save(tmp_path / "source" / "model", {"a": np.zeros(9), "s": ["text"]})
    data = tmp_path / "source" / "model.data-00000-of-00001"
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    with tfbundle.open_checkpoint(tmp_path / "source" / "model", verify=False) as checkpoint:
        tfbundle.save(tmp_path / "copy" / "model", checkpoint)
    assert contents(tmp_path / "copy") == contents(tmp_path / "source")
    with pytest.raises(tfbundle.ChecksumError):
        tfbundle.load(tmp_path / "copy" / "model")


def test_slices_of_several_tensors_may_alternate(tmp_path: Path) -> None:
    """Each slice goes where the source has it, whatever is between two of one tensor."""
    with tfbundle.CheckpointWriter(tmp_path / "source" / "model") as writer:
        for start in (0, 2, 4):
            writer.add_slice("w", (6, 2), np.s_[start : start + 2, :], np.full((2, 2), start, np.float32))
            writer.add(f"between{start}", np.full(3, start))
            writer.add_slice("v", (6,), np.s_[start : start + 2], np.full(2, start, np.int8))
    copy(tmp_path / "source" / "model", tmp_path / "copy" / "model")
    assert contents(tmp_path / "copy") == contents(tmp_path / "source")


def test_an_open_checkpoint_becomes_several_shards(tmp_path: Path) -> None:
    source = FIXTURES / "tf-1.15.5" / "partitioned" / "sharded.ckpt"
    copy(source, tmp_path / "copy", shards=3)
    assert len(list(tmp_path.iterdir())) == 4
    found, expected = tfbundle.load(tmp_path / "copy"), tfbundle.load(source)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_bytes_of_another_machine_are_swapped(tmp_path: Path) -> None:
    values = {"a": np.arange(5, dtype=np.float32), "s": np.array([b"x", b"yz"], object)}
    write_bundle(tmp_path / "big", values, byteorder="big")
    copy(tmp_path / "big", tmp_path / "copy")
    tfbundle.save(tmp_path / "native", values)
    for suffix in (".index", ".data-00000-of-00001"):
        copied = (tmp_path / f"copy{suffix}").read_bytes()
        assert copied == (tmp_path / f"native{suffix}").read_bytes()


def test_a_checkpoint_that_is_overwritten_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    names = [f"v{number}" for number in range(4)]
    tfbundle.save(tmp_path / "model", {name: np.zeros(3) for name in names})

    def pairs(checkpoint: Any) -> Any:
        for name in names:
            yield name, checkpoint[name]
            if name == "v1":
                (tmp_path / "model.data-00000-of-00001").write_bytes(np.ones(12).tobytes())

    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint, pytest.raises(tfbundle.FormatError):
        tfbundle.save(tmp_path / "copy", pairs(checkpoint))
    assert not list(tmp_path.glob("copy*"))


def test_a_tensor_of_an_open_checkpoint_among_arrays(tmp_path: Path) -> None:
    tfbundle.save(tmp_path / "model", {"a": np.arange(3), "s": ["x"]})
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        tfbundle.save(tmp_path / "mixed", {"new": checkpoint["a"], "other": 7, "text": checkpoint["s"]})
    found = tfbundle.load(tmp_path / "mixed")
    assert found["new"].tolist() == [0, 1, 2]
    assert (int(found["other"]), found["text"].tolist()) == (7, [b"x"])
