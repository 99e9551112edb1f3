"""V2 checkpoints: an index and what stands in the data files, read in every way.

An input is the length of the index (4 bytes, little-endian), the index, and the bytes of the data files, which are all
the same.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
from sealing import seal_table

from tests.hostile.exercise import exercise_checkpoint, exercise_report
from tests.support.bundle_writer import FULL, VARIANT, Saved, write_bundle
from tests.support.expected import FIXTURES

_LARGEST_SEED = 3 << 10
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
_MEMBERS = ("00000-of-00001", "00000-of-00002", "00001-of-00002", "00000-of-00003", "00002-of-00003")


def seeds() -> Iterator[bytes]:
    """Checkpoints that are not large, each with all its data files in one."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _read_seeds(_write_samples(Path(folder)))
    yield from _read_seeds(sorted(FIXTURES.glob("*/*/*.index")))


def _write_samples(folder: Path) -> list[Path]:
    """A few tensors of the kinds that differ, in several forms of the index."""
    array = np.arange(12, dtype=np.int16).reshape(4, 3)
    words = np.array([b"one", b"", b"three"], object)
    tensors = {
        "bfloat16": array.astype(ml_dtypes.bfloat16),
        "empty": np.zeros((0, 2), np.float32),
        "parts": Saved(array, slices=[((0, 1), FULL), ((1, 3), FULL)]),
        "tiles": Saved(array, slices=[(FULL, (0, 2)), ((0, 3), (2, 1)), ((3, 1), (2, 1))]),
        "step": np.array(7, np.int64),
        "variant": Saved(np.array([b"\x0a\x01a"], object), data_type=VARIANT),
        "word_parts": Saved(words, slices=[((0, 1),), ((1, 2),)]),
        "words": words,
    }
    write_bundle(folder / "plain", tensors)
    write_bundle(folder / "blocks", tensors, block_size=60, restart_interval=2)
    write_bundle(folder / "snappy", tensors, compress=True)
    write_bundle(folder / "few", {"a": array, "b": np.float32(1)})
    write_bundle(folder / "big", {"a": array, "words": words}, byteorder="big")
    return sorted(folder.glob("*.index"))


def _read_seeds(indexes: list[Path]) -> Iterator[bytes]:
    for index in indexes:
        shards = sorted(index.parent.glob(f"{index.name.removesuffix('.index')}.data-*"))
        data = b"".join(path.read_bytes() for path in shards)
        table = index.read_bytes()
        if len(table) + len(data) <= _LARGEST_SEED:
            yield struct.pack("<I", len(table)) + table + data
            yield struct.pack("<I", len(table) | 1 << 31) + table + data


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    if len(data) < 4:
        return
    size = int.from_bytes(data[:4], "little")
    verify = bool(size & 1 << 31)
    table, rest = data[4 : 4 + (size & 0xFFFFFF)], data[4 + (size & 0xFFFFFF) :]
    (_FOLDER / "model.index").write_bytes(seal_table(table) if verify else table)
    for member in _MEMBERS:
        (_FOLDER / f"model.data-{member}").write_bytes(rest)
    found = exercise_checkpoint(_FOLDER / "model", verify=verify)
    if verify:
        exercise_report(_FOLDER / "model", found)
