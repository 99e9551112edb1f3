"""V1 checkpoints as the reader has them, and what the tests of them put into one."""

from __future__ import annotations

import os

from tests.support.arrays import Array, sample_array
from tfbundle.checkpoint.v1.store import V1Store
from tfbundle.storage.locations import locate
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.tensor import Tensor


def store_of(path: str | os.PathLike[str], *files: str | os.PathLike[str], verify: bool = True) -> V1Store:
    return V1Store.open(locate(path), [locate(file) for file in files or (path,)], verify=verify)


def tensor_of(store: V1Store, name: str) -> Tensor:
    record = store.find(name)
    assert record is not None
    return Tensor(store, name, record)


def numbers(data_type: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """An array of a ``DataType``, of random bits."""
    return sample_array(numpy_dtype(data_type).name, shape, seed + data_type)
