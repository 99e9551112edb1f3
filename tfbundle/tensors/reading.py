"""The selected elements of an array that is stored in C order, as an array in memory.

A selection that is one run of the stored elements, such as some rows, is read into its array by one request. Any other
is read span by span (``selection.plan_reads``), and its elements are copied out of the spans.
"""

from __future__ import annotations

import numpy as np

from tfbundle.storage.base import Source
from tfbundle.tensors.arrays import Array, allocate
from tfbundle.tensors.selection import Selection, find_run, plan_reads


def read_selected(source: Source, offset: int, data_type: int, shape: tuple[int, ...], selection: Selection) -> Array:
    """Return the selected elements, as stored, of the array of ``shape`` at ``offset``; the caller owns the result.

    Raises the errors of ``Source.read_into`` and ``allocate``.
    """
    array = allocate(data_type, selection.counts)
    run = find_run(selection, shape)
    if run is not None:
        source.read_into(offset + run * array.itemsize, array.reshape(-1).view(np.uint8).data)
        return array
    for span in plan_reads(selection, shape, array.itemsize):
        data = source.read_at(offset + span.offset, span.size)
        # With the ellipsis, arrays are assigned; ml_dtypes cannot convert every array without dimensions to an element.
        target = (*span.target, ...)
        array[target] = np.ndarray(span.counts, array.dtype, data, strides=span.strides)
    return array
