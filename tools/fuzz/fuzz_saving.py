"""Saving: whatever is given is refused by one of the documented errors, or read back equal.

An input chooses names, dtypes, shapes and elements, and whether a tensor is written whole, in chunks or in slices.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import atheris
import ml_dtypes
import numpy as np

import tfbundle

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
_DTYPES = [np.dtype(name) for name in ("f4", ">f8", "i1", ">i2", "i4", "u8", "c8", "?", "f2")]
_DTYPES += [np.dtype(ml_dtypes.bfloat16), np.dtype(ml_dtypes.int4), np.dtype(object)]


def seeds() -> Iterator[bytes]:
    """A few inputs of different lengths."""
    for length in (8, 64, 512):
        yield random.Random(length).randbytes(length)


def check(data: bytes) -> None:
    """Save what ``data`` chooses, and read it back."""
    choose = atheris.FuzzedDataProvider(data)
    shards = choose.ConsumeIntInRange(1, 3)
    expected = {}
    try:
        with tfbundle.CheckpointWriter(_FOLDER / "model", shards=shards) as writer:
            for _ in range(choose.ConsumeIntInRange(0, 6)):
                name, array = choose.ConsumeUnicode(12), _array(choose)
                _write(writer, choose.ConsumeIntInRange(0, 2), name, array)
                expected[name] = array
    except ValueError as error:
        if isinstance(error, tfbundle.FormatError):
            raise
        return
    found = tfbundle.load(_FOLDER / "model")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)


def _array(choose: atheris.FuzzedDataProvider) -> np.ndarray:
    dtype = choose.PickValueInList(_DTYPES)
    shape = tuple(choose.ConsumeIntInRange(0, 3) for _ in range(choose.ConsumeIntInRange(0, 3)))
    size = int(np.prod(shape, dtype=int))
    if dtype.hasobject:
        array = np.empty(size, object)
        array[:] = [choose.ConsumeBytes(choose.ConsumeIntInRange(0, 9)) for _ in range(size)]
        return array.reshape(shape)
    limit = 1 if dtype.kind == "b" else 7
    return np.array([choose.ConsumeIntInRange(0, limit) for _ in range(size)]).astype(dtype).reshape(shape)


def _write(writer: tfbundle.CheckpointWriter, way: int, name: str, array: np.ndarray) -> None:
    if way == 1 and not array.dtype.hasobject:
        writer.add_chunks(name, array.shape, array.dtype, array.reshape(-1, 1))
    elif way == 2 and array.ndim and len(array) > 1:
        for start in range(len(array)):
            index = (slice(start, start + 1), *(slice(0, length) for length in array.shape[1:]))
            writer.add_slice(name, array.shape, index, array[index])
    else:
        writer.add(name, array)
