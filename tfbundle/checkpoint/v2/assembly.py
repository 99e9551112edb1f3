"""Partitioned tensors, put together from their stored slices::

    a tensor of shape [4,5]     +-----+---+    its slices, as boxes with starts and lengths, in any order and in any
                                |  0  | 1 |    shard; together they must cover the tensor
                                +-----+---+
                                |    2    |
                                +---------+

Before anything is allocated, the slices are checked for gaps, and their claimed bytes against those of the shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from math import prod

from tfbundle.checkpoint.v2.index import Slices
from tfbundle.checkpoint.v2.stored_slices import Room, SliceReader, StoredSlice, stream_slice
from tfbundle.errors import FormatError
from tfbundle.tensors.arrays import Array, allocate, split
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.selection import Selection, intersect
from tfbundle.tensors.slices import TensorSlice, find_gap, incomplete
from tfbundle.tensors.store import Facts
from tfbundle.tensors.streaming import in_order, stream_bands


def whole_of(slices: Slices) -> StoredSlice | None:
    """Return the only slice of a tensor that is not partitioned; ``None`` for a partitioned one."""
    return slices[0][1] if slices and slices[0][0] is None else None


def check_complete(facts: Facts, slices: Slices) -> None:
    """Raise ``FormatError`` unless the slices cover the tensor."""
    gap = find_gap([_box(part) for part, _ in slices], facts.shape)
    if gap is not None:
        raise incomplete(gap, len(slices))


def assemble(reader: SliceReader, facts: Facts, slices: Slices) -> Array:
    """Return a partitioned tensor as a new array."""
    check_complete(facts, slices)
    _check_room(reader, [stored for _, stored in slices])
    array = allocate(facts.data_type, facts.shape)
    for part, stored in slices:
        array[_box(part).index] = reader.read(stored)
    return array


def assemble_part(reader: SliceReader, facts: Facts, slices: Slices, selection: Selection) -> Array:
    """Return the selected elements of a partitioned tensor as a new array."""
    found = []
    for part, stored in slices:
        box = intersect(selection, _box(part).starts, _box(part).lengths)
        if box is not None:
            found.append((stored, *box))
    if sum(prod(inner.counts) for _, inner, _ in found) != prod(selection.counts):
        check_complete(facts, slices)
    _check_room(reader, [stored for stored, _, _ in found])
    array = allocate(facts.data_type, selection.counts)
    for stored, inner, target in found:
        # The checksum covers a stored slice as a whole, so that one that is read whole is verified.
        array[target] = reader.read(stored) if inner.counts == stored.shape else reader.read_part(stored, inner)
    return array


def stream(reader: SliceReader, facts: Facts, slices: Slices) -> Iterator[Array]:
    """Yield the elements of a partitioned tensor in C order, as flat arrays of bounded size."""
    check_complete(facts, slices)
    _check_room(reader, [stored for _, stored in slices])
    order = in_order([_box(part) for part, _ in slices], facts.shape)
    if order is not None:
        for number in order:
            yield from stream_slice(reader, slices[number][1])
    elif slices[0][1].is_objects:
        yield from split(assemble(reader, facts, slices))
    else:
        for _, stored in slices:
            if reader.verify:
                reader.check(stored)
        itemsize = numpy_dtype(facts.data_type).itemsize
        yield from stream_bands(facts.shape, itemsize, partial(assemble_part, reader, facts, slices))


def _check_room(reader: SliceReader, slices: Iterable[StoredSlice]) -> None:
    room = Room(reader)
    for stored in slices:
        room.take(stored)
        if stored.is_objects and prod(stored.shape) > stored.location.size:
            raise FormatError(f"{prod(stored.shape)} elements cannot be stored in {stored.location.size} bytes")


def _box(part: TensorSlice | None) -> TensorSlice:
    assert part is not None  # Only the slice of an unpartitioned tensor has none.
    return part
