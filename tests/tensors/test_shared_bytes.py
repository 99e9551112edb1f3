"""Copies of checkpoints whose tensors share bytes are refused beyond a bound, and below it they are whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import data_file, encode_entry, encode_header, encode_values
from tests.support.table_writer import encode_table
from tfbundle.limits import FREE_SIZE, MOST_PASSES
from tfbundle.tensors.shared_bytes import check_shared_bytes
from tfbundle.tensors.store import Range


def write_shared(prefix: Path, count: int, length: int) -> None:
    data, crc = encode_values(np.arange(length, dtype=np.float32), 1)
    data_file(prefix).write_bytes(data)
    entry = encode_entry(dtype=1, shape=(length,), size=len(data), crc=crc)
    entries = {b"": encode_header(), **{b"x%05d" % number: entry for number in range(count)}}
    Path(f"{prefix}.index").write_bytes(encode_table(entries))


@pytest.mark.parametrize("name", ["model", "model.npz", "model.safetensors"])
def test_copies_are_bounded(name: str, tmp_path: Path) -> None:
    if name.endswith(".safetensors"):
        pytest.importorskip("safetensors", reason="the library that writes the target is not installed")
    (tmp_path / "out").mkdir()
    write_shared(tmp_path / "much", 400, 1 << 14)
    with pytest.raises(tfbundle.FormatError, match="most of them overlap"):
        tfbundle.convert(tmp_path / "much", tmp_path / "out" / name)
    assert not list((tmp_path / "out").iterdir())
    write_shared(tmp_path / "less", 100, 1 << 14)
    assert len(tfbundle.convert(tmp_path / "less", tmp_path / "out" / name).items) == 100


def test_an_open_checkpoint_is_not_saved_either(tmp_path: Path) -> None:
    write_shared(tmp_path / "much", 400, 1 << 14)
    with (
        tfbundle.open_checkpoint(tmp_path / "much") as checkpoint,
        pytest.raises(tfbundle.FormatError, match="most of them overlap"),
    ):
        tfbundle.save(tmp_path / "out", checkpoint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["much.data-00000-of-00001", "much.index"]


def test_the_bound() -> None:
    most = FREE_SIZE + MOST_PASSES * 100
    check_shared_bytes([Range("a", 0, 100, None)] * (most // 100))
    with pytest.raises(tfbundle.FormatError):
        check_shared_bytes([Range("a", 0, 100, None)] * (most // 100 + 1))
