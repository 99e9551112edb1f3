"""Checks of the arguments of a ``CheckpointWriter``: names, shapes, slices, chunks, and the division into files.

All functions raise ``ValueError`` with the tensor and the expected form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from operator import index as as_index
from typing import Any

import numpy as np

from tfbundle.checkpoint.v2.values import stored_bytes
from tfbundle.errors import FormatError
from tfbundle.formats.slice_keys import FULL, Extent, encode_name
from tfbundle.limits import LARGEST_RANK, MOST_SHARDS
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, data_type_number, numpy_dtype
from tfbundle.tensors.slices import TensorSlice, locate_slice

# Sizes and offsets are stored as signed numbers of 64 bits.
_LARGEST_SIZE = (1 << 63) - 1


def check_shards(shards: object) -> int:
    """Return the number of data files."""
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= MOST_SHARDS:
        raise ValueError(f"shards must be a number from 1 to {MOST_SHARDS}, not {shards!r}")
    return shards


def check_shard_size(shards: int, shard_size: object) -> int | None:
    """Return the largest size of a data file in bytes, or ``None`` if it is not limited."""
    if shard_size is None:
        return None
    if isinstance(shard_size, bool) or not isinstance(shard_size, int) or shard_size < 1:
        raise ValueError(f"shard_size must be a number of bytes of at least 1, not {shard_size!r}")
    if shards != 1:
        raise ValueError("shards and shard_size both determine the division of the data; pass one of them")
    return shard_size


def check_name(name: object) -> bytes:
    """Return the key of a name."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"the name of a tensor must be a non-empty str, not {name!r}")
    try:
        return encode_name(name)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} is not a valid name: {error.reason}") from None


def check_shape(name: str, shape: Iterable[int]) -> tuple[int, ...]:
    """Return the shape as a tuple of integers."""
    try:
        dims = tuple(map(as_index, shape))
    except TypeError:
        raise ValueError(f"the shape of {name!r} must be a sequence of integers, not {shape!r}") from None
    if len(dims) > LARGEST_RANK or any(length < 0 for length in dims):
        raise ValueError(f"{name!r} cannot have the shape {list(dims)}")
    if prod(length for length in dims if length) > _LARGEST_SIZE:
        raise ValueError(f"{name!r} of shape {list(dims)} would have more elements than a tensor can")
    return dims


def check_slice(name: str, index: Any, shape: tuple[int, ...]) -> TensorSlice:
    """Return the slice of a tensor that ``index`` selects."""
    items = index if isinstance(index, tuple) else (index,)
    if len(items) != len(shape) or not all(isinstance(i, slice) and i.step in (None, 1) for i in items):
        raise ValueError(f"the index of a slice of {name!r} must be a tuple of {len(shape)} slices with step 1")
    extents: list[Extent] = []
    try:
        for item, whole in zip(items, shape, strict=True):
            if item.start is None and item.stop is None:
                extents.append((0, FULL))
            else:
                start = 0 if item.start is None else as_index(item.start)
                stop = whole if item.stop is None else as_index(item.stop)
                extents.append((start, stop - start))
    except TypeError:
        raise ValueError(f"the index of a slice of {name!r} must start and end at integers, not {index!r}") from None
    if any(length < 0 and (start, length) != (0, FULL) for start, length in extents):
        raise ValueError(f"the index of a slice of {name!r} ends before it starts")
    try:
        return locate_slice(extents, shape)
    except FormatError as error:
        raise ValueError(f"{name!r}: {error}") from None


def check_chunk_type(name: str, dtype: Any) -> int:
    """Return the ``DataType`` number of a tensor that is given in chunks."""
    number = data_type_number(dtype if isinstance(dtype, str) else np.dtype(dtype).name)
    if number in (DT_STRING, DT_VARIANT):
        raise ValueError(f"{name!r} is added in chunks, which must be numbers; add() strings as a whole")
    return number


def checked_chunks(name: str, number: int, shape: tuple[int, ...], chunks: Iterable[Any]) -> Iterator[memoryview]:
    """Yield the bytes of chunks, and raise ``ValueError`` if they do not add up to the tensor."""
    left = prod(shape)
    dtype = numpy_dtype(number)
    for chunk in chunks:
        array = np.asarray(chunk)
        if array.dtype.name != dtype.name:
            raise ValueError(f"a chunk of {name!r} has the dtype {array.dtype}, but the tensor has {dtype}")
        left -= array.size
        if left < 0:
            raise ValueError(f"the chunks of {name!r} have more elements than the shape {list(shape)}")
        yield stored_bytes(array)
    if left:
        raise ValueError(f"the chunks of {name!r} lack {left} elements of the shape {list(shape)}")
