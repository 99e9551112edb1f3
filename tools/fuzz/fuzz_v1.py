"""V1 checkpoints in one file, read in every way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sealing import seal_table

from tests.hostile.exercise import exercise_checkpoint, exercise_report
from tests.support.bundle_writer import FULL
from tests.support.expected import expected_checkpoints
from tests.support.v1_writer import V1Saved, write_v1

_LARGEST_SEED = 3 << 10
_FILE = Path(tempfile.mkdtemp(prefix="fuzz-")) / "model"


def seeds() -> Iterator[bytes]:
    """V1 checkpoints that are not large; of a sharded one, each file."""
    with tempfile.TemporaryDirectory() as folder:
        yield from (path.read_bytes() for path in _write_samples(Path(folder)))
    for expected in expected_checkpoints("v1"):
        for path in sorted(expected.path.parent.glob(f"{expected.path.name}*")):
            if path.suffix not in (".meta", ".index") and path.stat().st_size <= _LARGEST_SEED:
                yield path.read_bytes()


def _write_samples(folder: Path) -> list[Path]:
    """A few tensors of the kinds that differ, in several forms of the table."""
    array = np.arange(12, dtype=np.int16).reshape(4, 3)
    tensors = {
        "floats": array.astype(np.float32),
        "half": array.astype(np.float16),
        "parts": V1Saved(array, slices=[((0, 1), FULL), ((1, 3), FULL)]),
        "step": np.array(-7, np.int64),
        "words": np.array([b"one", b"", b"three"], object),
    }
    write_v1(folder / "plain", tensors)
    write_v1(folder / "blocks", tensors, block_size=60, restart_interval=2)
    write_v1(folder / "snappy", tensors, compress=True)
    write_v1(folder / "few", {"a": array, "b": np.float32(1)})
    return sorted(folder.iterdir())


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    verify = bool(data[:1] and data[0] & 1)
    _FILE.write_bytes(seal_table(data))
    found = exercise_checkpoint(_FILE, verify=verify)
    if verify:
        exercise_report(_FILE, found)
