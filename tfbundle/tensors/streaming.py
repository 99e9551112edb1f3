"""The elements of a tensor from first to last, in arrays of bounded size, so that a large one is never in memory whole.

The arrays are flat, and concatenated they are the whole tensor in C order. They are read from the slices as follows::

    unpartitioned    ================  one slice is in order already; its checksum runs along and is compared at its end

    cut along the    ================  slices follow each other in order; each is compared at its own end
    first dimension  ================

    cut in any       ======|=========  neighbours alternate, so every slice is verified first, and then bands of rows
    other way        ======|====|====  are read across them; the bytes are read twice, and no slice is kept in memory

In the last case the files must not change between the two passes, which is checked for every band.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from tfbundle.tensors.arrays import CHUNK
from tfbundle.tensors.selection import Selection

if TYPE_CHECKING:
    from tfbundle.tensors.arrays import Array
    from tfbundle.tensors.slices import TensorSlice


def in_order(boxes: Sequence[TensorSlice], shape: tuple[int, ...]) -> list[int] | None:
    """Return the numbers of the boxes in the order of their elements, or ``None`` if elements of several alternate.

    The boxes must tile the tensor.
    """
    if any(box.lengths[1:] != shape[1:] for box in boxes):
        return None
    return sorted(range(len(boxes)), key=lambda number: boxes[number].starts[:1])


def stream_bands(shape: tuple[int, ...], itemsize: int, read: Callable[[Selection], Array]) -> Iterator[Array]:
    """Yield the elements of a tensor with dimensions, by reading boxes that are contiguous in C order."""
    if 0 in shape:
        return
    # One element of the dimension ``cut`` fits into a band, and perhaps several.
    cut = 0
    while cut < len(shape) - 1 and prod(shape[cut + 1 :]) * itemsize > CHUNK:
        cut += 1
    rows = max(1, CHUNK // (prod(shape[cut + 1 :]) * itemsize))
    steps = (1,) * len(shape)
    for outer in itertools.product(*map(range, shape[:cut])):
        for first in range(0, shape[cut], rows):
            starts = (*outer, first, *[0] * (len(shape) - cut - 1))
            counts = (*steps[:cut], min(rows, shape[cut] - first), *shape[cut + 1 :])
            yield read(Selection(starts, counts, steps, (), counts, False)).reshape(-1)
