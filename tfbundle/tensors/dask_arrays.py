"""Tensors as dask arrays, whose chunks are read when they are computed, by any process that can open the files.

::

    dask array   w-<token>   chunk 0, 1, 2, ...  ->  LazyTensor[rows]  ->  Tensor, by reference to its checkpoint

A dask graph refers to a ``LazyTensor``, which has the interface that dask requires of an array. It holds the tensor as
it would be unpickled elsewhere: its path, and what the checkpoint stated for it. So an array computes the same here and
on another machine, independent of whether the checkpoint is still open, and raises ``FormatError`` once its files were
replaced. Dask reads only the selected part of a chunk if it is indexed directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.limits import MOST_CHUNKS
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.chunk_grid import Intervals, divide

if TYPE_CHECKING:
    import dask.array

    from tfbundle.tensors.mapping import TensorMapping
    from tfbundle.tensors.tensor import Tensor

# What dask itself aims at by default.
CHUNK_BYTES = 128 << 20


class LazyTensor:
    """A tensor as dask uses it: an index returns an array, also without dimensions, and may contain one list."""

    def __init__(self, tensor: Tensor) -> None:
        """Refer to ``tensor`` independently of the checkpoint in which it was looked up."""
        self.tensor = copy(tensor)
        self.token = tensor.__dask_tokenize__()
        self.shape = tensor.shape
        self.ndim = tensor.ndim
        self.dtype = tensor.dtype

    def __getitem__(self, index: Any) -> Array:
        index = index if isinstance(index, tuple) else (index,)
        if any(isinstance(item, list | np.ndarray) for item in index):
            return self._take(index)
        if self._is_all(index):
            return self.tensor.read()  # Unlike a part, this is verified.
        # With the ellipsis, the result is an array even if integers alone are left.
        part: Array = self.tensor[index if Ellipsis in index else (*index, ...)]
        return part

    def _take(self, index: tuple[Any, ...]) -> Array:
        """Return the elements that lists of numbers select, which dask combines with the slices of a chunk."""
        spans: list[Any] = []
        rest: list[Any] = []
        for item in index:
            if isinstance(item, list | np.ndarray):
                numbers = np.asarray(item, np.int64)
                first = int(numbers.min(initial=0 if not numbers.size else numbers.flat[0]))
                item = slice(first, int(numbers.max(initial=first - 1)) + 1)
                rest.append(numbers - first)
            elif item is None or isinstance(item, slice):
                rest.append(slice(None))
            spans.append(item)
        part: Array = self[tuple(spans)][tuple(rest)]
        return part

    def __dask_tokenize__(self) -> str:
        return self.token

    def __repr__(self) -> str:
        return f"<LazyTensor {self.tensor.name!r}>"

    def _is_all(self, index: tuple[Any, ...]) -> bool:
        return len(index) <= self.ndim and all(
            isinstance(item, slice) and item.indices(length) == (0, length, 1)
            for item, length in zip(index, self.shape, strict=False)
        )


def dask_array(tensor: Tensor, chunk_bytes: int = CHUNK_BYTES) -> dask.array.Array:
    """Return one tensor as a dask array; ``Tensor.to_dask`` documents it."""
    da = _library()
    return _wrap(da, tensor, _divide(tensor, chunk_bytes, MOST_CHUNKS))


def dask_arrays(tensors: TensorMapping, names: Mapping[str, str], chunk_bytes: int) -> dict[str, dask.array.Array]:
    """Return the tensors of some names as dask arrays, under the names that are the mapping's values."""
    da = _library()
    arrays = {}
    left = MOST_CHUNKS
    for name, called in names.items():
        tensor = tensors[name]
        array = arrays[called] = _wrap(da, tensor, _divide(tensor, chunk_bytes, left))
        left -= array.npartitions
    return arrays


def _divide(tensor: Tensor, chunk_bytes: int, most: int) -> Intervals:
    """Return the lengths of the chunks along each dimension; raise an error for more than ``most`` chunks."""
    if chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, not {chunk_bytes}")
    shape, dtype = tensor.shape, tensor.dtype
    if dtype.hasobject:
        return tuple((length,) for length in shape)  # No string can be found without those before it.
    division = divide(shape, tensor.slices, max(1, chunk_bytes // dtype.itemsize))
    if division.total > most:
        raise UnsupportedError(
            f"the arrays would have more than {MOST_CHUNKS} chunks; pass a larger chunk_bytes, or fewer names",
            tensor=tensor.name,
        )
    return division.lengths


def _wrap(da: Any, tensor: Tensor, lengths: Intervals) -> dask.array.Array:
    lazy = LazyTensor(tensor)
    # The name identifies the chunks, so that one tensor in other chunks must have another.
    token = sha256(f"{lazy.token} {lengths}".encode()).hexdigest()
    array: dask.array.Array = da.from_array(
        lazy,
        chunks=lengths,
        name=f"tensor-{token[:32]}",
        meta=np.empty((0,) * lazy.ndim, lazy.dtype),  # Otherwise dask reads an element to find out what chunks are.
    )
    return array


def _library() -> Any:
    try:
        import dask.array
    except ImportError:
        raise UnsupportedError('to_dask needs dask: pip install "tfbundle[dask]"') from None
    return dask.array
