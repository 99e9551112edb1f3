"""The elements of a tensor from first to last, in arrays of bounded size, so that a large one never lies in memory.

The arrays are flat, and one behind the other they are the whole tensor in C order. How the stored pieces give that::

    unpartitioned    ================  one piece is in order already; its checksum runs along and is compared at its end

    cut along the    ================  so are pieces that follow each other; each is compared at its own end
    first dimension  ================

    cut in any       ======|=========  neighbours alternate, so every piece is verified first, and then bands of rows
    other way        ======|====|====  are read across them; the bytes pass twice, and no piece is held

In the last case the files must stay as they are from one reading to the other, which is asked at every band.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from tfbundle.checkpoint.pieces import CHUNK, check_crc, swap_bytes
from tfbundle.checkpoint.selection import Selection
from tfbundle.dtypes import numpy_dtype
from tfbundle.formats.checksum import crc32c

if TYPE_CHECKING:
    from tfbundle.checkpoint.pieces import Piece, PieceReader
    from tfbundle.checkpoint.slices import TensorSlice
    from tfbundle.checkpoint.tensor import Array


def split(array: Array) -> Iterator[Array]:
    """An array that is in memory, as flat views of it."""
    flat = array.reshape(-1)
    step = max(1, CHUNK // flat.itemsize)
    for start in range(0, len(flat), step):
        yield flat[start : start + step]


def stream_piece(reader: PieceReader, piece: Piece) -> Iterator[Array]:
    """The elements of one stored piece; what ``PieceReader.read`` raises for damage, this raises after the last."""
    if piece.is_objects:
        yield from split(reader.read(piece))
        return
    source = reader.source(piece)
    dtype = numpy_dtype(piece.data_type)
    place = piece.location
    crc = 0
    for start in range(0, place.size, CHUNK):
        size = min(CHUNK, place.size - start)
        array = np.empty(size // dtype.itemsize, dtype)
        buffer = array.view(np.uint8).data
        source.read_into(place.offset + start, buffer)
        if reader.verify:
            crc = crc32c(buffer, crc)
        yield swap_bytes(array) if reader.swapped else array
    if reader.verify:
        check_crc(source, place, crc)
    else:
        reader.shards.check_unverified(source)


def in_order(boxes: Sequence[TensorSlice], shape: tuple[int, ...]) -> list[int] | None:
    """The numbers of the boxes in the order of their elements, or ``None`` where elements of several alternate.

    The boxes must tile the tensor.
    """
    if any(box.lengths[1:] != shape[1:] for box in boxes):
        return None
    return sorted(range(len(boxes)), key=lambda number: boxes[number].starts[:1])


def stream_bands(shape: tuple[int, ...], itemsize: int, read: Callable[[Selection], Array]) -> Iterator[Array]:
    """The elements of a tensor with dimensions, by reading boxes that are contiguous in C order."""
    if 0 in shape:
        return
    # One element of the dimension ``cut`` fits into a band, and several perhaps.
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
