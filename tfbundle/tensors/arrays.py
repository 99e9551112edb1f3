"""Arrays in memory: operations that every format needs and numpy does not provide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.tensors.dtypes import numpy_dtype

Array = np.ndarray[Any, np.dtype[Any]]

# Small enough for the processor's cache, so that the checksum finds the bytes there; large enough to call rarely. A
# multiple of every element's size.
CHUNK = 1 << 20


def allocate(data_type: int, shape: tuple[int, ...]) -> Array:
    """Return an array to be filled; raise ``UnsupportedError`` for a shape that numpy does not support."""
    dtype = numpy_dtype(data_type)
    try:
        return np.empty(shape, dtype)
    except ValueError:
        raise UnsupportedError(f"numpy has no arrays of shape {list(shape)}") from None


def shaped(array: Array, shape: tuple[int, ...]) -> Array:
    """Return the array in another shape; raise ``UnsupportedError`` for a shape that numpy does not support."""
    try:
        return array.reshape(shape)
    except ValueError:
        raise UnsupportedError(f"numpy has no arrays of shape {list(shape)}") from None


def swap_bytes(array: Array) -> Array:
    """Reverse the bytes of each number of a contiguous array in place, and those of complex numbers by halves.

    The types of ``ml_dtypes`` do not support ``byteswap`` with every version of numpy.
    """
    size = array.itemsize // 2 if array.dtype.kind == "c" else array.itemsize
    array.reshape(-1).view(f"u{size}").byteswap(inplace=True)
    return array


def split(array: Array) -> Iterator[Array]:
    """Yield the elements of an array in memory, as flat views of it."""
    flat = array.reshape(-1)
    step = max(1, CHUNK // flat.itemsize)
    for start in range(0, len(flat), step):
        yield flat[start : start + step]
