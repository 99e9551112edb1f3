"""Large tensors in segments, which are read in any order and verified together."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tfbundle.checkpoint.v2.segments import SEGMENT, Segments
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import ChecksumError, TfBundleError, TruncatedError
from tfbundle.storage.locations import locate


def open_segments(prefix: str, name: str = "w", *, verify: bool = True) -> tuple[BundleStore, Segments]:
    store = BundleStore.open(locate(prefix), verify=verify)
    segments = store.segments(name, store.records()[name])
    assert segments is not None
    return store, segments


def write(folder: Path, value: Any, **rest: Any) -> str:
    # Something comes before it in the data file.
    return tfbundle.save(folder / "model", {"a": np.arange(5.0), "w": value, **rest})


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.complex128])
@pytest.mark.parametrize(("extra", "count"), [(-1, 2), (0, 2), (1, 3)])
def test_they_are_the_tensor(tmp_path: Path, dtype: Any, extra: int, count: int) -> None:
    length = 2 * SEGMENT // np.dtype(dtype).itemsize + extra
    value = np.random.default_rng(0).integers(0, 256, length).astype(dtype)
    store, segments = open_segments(write(tmp_path, value))
    numbers = list(range(len(segments)))
    assert len(numbers) == count
    random.Random(0).shuffle(numbers)
    found = np.zeros_like(value)
    for number in numbers:
        array = segments.read(number)
        found[segments.start(number) :][: len(array)] = array
    segments.check()
    assert np.array_equal(found, value)
    store.close()


@pytest.mark.parametrize("place", [0, SEGMENT - 1, SEGMENT, 3 * SEGMENT + 8])
def test_damage_anywhere(tmp_path: Path, place: int) -> None:
    prefix = write(tmp_path, np.zeros(3 * SEGMENT // 4 + 3, np.float32))
    (data,) = tmp_path.glob("*.data-*")
    with data.open("r+b") as file:
        file.seek(5 * 8 + place)
        file.write(b"\1")
    store, segments = open_segments(prefix)
    for number in range(len(segments)):
        segments.read(number)
    with pytest.raises(ChecksumError) as caught:
        segments.check()
    with pytest.raises(ChecksumError) as expected, tfbundle.open_checkpoint(prefix) as checkpoint:
        checkpoint["w"].read()
    assert (caught.value.tensor, caught.value.offset, caught.value.actual) == ("w", 40, expected.value.actual)
    store.close()
    store, segments = open_segments(prefix, verify=False)
    for number in range(len(segments)):
        segments.read(number)
    segments.check()
    store.close()


def test_truncated_files(tmp_path: Path) -> None:
    prefix = write(tmp_path, np.zeros(2 * SEGMENT, np.uint8))
    (data,) = tmp_path.glob("*.data-*")
    with data.open("r+b") as file:
        file.truncate(SEGMENT + 100)
    store, segments = open_segments(prefix)
    for number in range(2):  # Nothing is read of a tensor that is not there whole.
        with pytest.raises(TruncatedError) as caught:
            segments.read(number)
        assert caught.value.tensor == "w"
    store.close()


def test_files_that_were_overwritten(tmp_path: Path) -> None:
    prefix = write(tmp_path, np.zeros(2 * SEGMENT, np.uint8))
    store, segments = open_segments(prefix)
    segments.read(0)
    (data,) = tmp_path.glob("*.data-*")
    with data.open("r+b") as file:
        file.write(b"\1" * (2 * SEGMENT))
    segments.read(1)
    with pytest.raises(TfBundleError, match="was overwritten"):
        segments.check()
    store.close()


def test_other_tensors_have_none(tmp_path: Path) -> None:
    prefix = write(tmp_path, np.array([b"text"] * 9, object))
    store = BundleStore.open(locate(prefix), verify=True)
    assert store.segments("w", store.records()["w"]) is None
    store.close()
