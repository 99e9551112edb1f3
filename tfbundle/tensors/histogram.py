"""How many values of a tensor are in each of some intervals of equal width, without the whole tensor in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tfbundle.errors import UnsupportedError
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast

if TYPE_CHECKING:
    from tfbundle.tensors.tensor import Tensor


def count_values(tensor: Tensor, bins: int) -> tuple[Array, Array]:
    """Return the counts of the finite values, and the edges of the intervals, of which there is one more.

    Raises ``UnsupportedError`` if the values are not real numbers, and the errors of ``Tensor.read``.
    """
    if tensor.dtype.hasobject or tensor.dtype.kind == "c":
        raise UnsupportedError(
            f"{tensor.data_type} has no histogram; its values are not real numbers", tensor=tensor.name
        )
    low, high = np.inf, -np.inf
    for values in _finite(tensor):
        low, high = min(low, float(values.min(initial=np.inf))), max(high, float(values.max(initial=-np.inf)))
    if low > high:
        low, high = 0.0, 1.0
    edges = np.histogram_bin_edges([low, high], bins, (low, high) if low < high else None)
    counts = np.zeros(bins, np.int64)
    for values in _finite(tensor):
        counts += np.histogram(values, edges)[0]
    return counts, edges


def _finite(tensor: Tensor) -> Iterator[Array]:
    for chunk in tensor.chunks():
        values: Array = cast(chunk, np.float64)
        yield values[np.isfinite(values)]
