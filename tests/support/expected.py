"""The fixtures: files that TensorFlow wrote, and what it read from them (each folder's EXPECTED.json)."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

# Of the fixture with very many tensors, which are all alike, so many are read.
MOST_READ = 500


class Expected(NamedTuple):
    """A checkpoint in the fixtures.

    ``tensors`` holds for each name the dtype, the shape and the SHA-256 of the elements, or what TensorFlow said when
    it could not read the tensor; ``error`` is what it said to the whole checkpoint.
    """

    path: Path
    format: str
    tensors: dict[str, dict[str, Any]]
    error: str | None

    def __str__(self) -> str:
        return f"{self.path.relative_to(FIXTURES).as_posix()}-{self.format}"


def expected_checkpoints(format: str) -> Iterator[Expected]:
    """Every checkpoint of a format (``"v1"`` or ``"v2"``) in the fixtures."""
    for file in sorted(FIXTURES.glob("*/*/EXPECTED.json")):
        expected = json.loads(file.read_text(encoding="utf-8"))
        for checkpoint in expected.get("checkpoints", [expected]):
            if checkpoint.get("format") == format:
                path = file.parent / checkpoint["path"]
                yield Expected(path, format, checkpoint.get("tensors", {}), checkpoint.get("error"))


def read_of(names: Iterable[str]) -> list[str]:
    """All names; of very many, those at equal distances."""
    every = list(names)
    return every[:: max(1, len(every) // MOST_READ)]


# Names that numpy has for TensorFlow's; the quantised types are stored as plain integers.
_NUMPY_NAMES = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "variant": "object",
    "qint8": "int8",
    "quint8": "uint8",
    "qint16": "int16",
    "quint16": "uint16",
    "qint32": "int32",
}


def numpy_name(dtype: str) -> str:
    """The name of the numpy dtype in which a tensor of TensorFlow's ``dtype`` is read."""
    return _NUMPY_NAMES.get(dtype, dtype)


def sha256_of(array: np.ndarray[Any, Any], *, as_int8: bool = False) -> str:
    """The hash of an array's elements as the fixtures have it.

    For strings: each length as uint64, then the bytes. For everything else the little-endian bytes in C order, with
    ``as_int8`` of the values as int8.
    """
    if array.dtype == object:
        digest = hashlib.sha256()
        for element in array.ravel():
            digest.update(struct.pack("<Q", len(element)) + element)
        return digest.hexdigest()
    if as_int8:
        array = array.astype(np.int8)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
