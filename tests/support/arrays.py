"""Arrays of any dtype with bits that are easy to get wrong, and what it takes for two to be the same."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tests.support.bundle_writer import DATA_TYPES, numpy_type

Array = np.ndarray[Any, np.dtype[Any]]

# Every dtype that numpy or ml_dtypes has for a type of TensorFlow's; ``object`` is strings.
DTYPES = tuple(DATA_TYPES)
PLAIN_DTYPES = tuple(name for name in DTYPES if name != "object")

# Types that fill a byte only in part: how many bits they have.
_BITS = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "float4_e2m1fn": 4, "bool": 1}
_WORDS = (b"", b"a", b"\0", b"caf\xc3\xa9", b"\xff\xfe", b"x" * 127, b"y" * 128, b"line\r\n")


def sample_array(name: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """An array of random bits: floats hold NaN payloads, infinities and subnormals."""
    random = np.random.RandomState(seed)
    length = prod(shape)
    if name == "object":
        return object_array([_WORDS[number] for number in random.randint(0, len(_WORDS), length)], shape)
    dtype = numpy_type(name)
    data = random.randint(0, 256, length * dtype.itemsize).astype(np.uint8)
    if name in _BITS:
        data %= 1 << _BITS[name]
    return data.view(dtype).reshape(shape)


def object_array(elements: list[Any], shape: tuple[int, ...] | None = None) -> Array:
    """An array of objects, such as ``bytes``."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(array.shape if shape is None else shape)


def assert_same(found: Any, wanted: Any) -> None:
    """The same kind, dtype, shape and bits (a NaN is itself, a negative zero is not zero)."""
    assert type(found) is type(wanted)
    if not isinstance(wanted, np.ndarray | np.generic):
        assert found == wanted  # An element of an object array.
        return
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if wanted.dtype == object:
        assert found.tolist() == wanted.tolist()
    else:
        assert found.tobytes() == wanted.tobytes()
