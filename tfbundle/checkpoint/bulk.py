"""Many small tensors at once: one read for a stretch of a shard, one decoding for all entries of a kind.

A model's thousands of biases, counters and scalars lie side by side, and their entries differ in offset and checksum
alone. So entries with the same first bytes (type and shape) and the same length become the rows of a matrix, whose
columns are decoded by numpy; neighbours in a shard are read together; and the arrays are cut out of that.

Whatever is not simple (large, partitioned, strings, an entry in another form, or found damaged) is left to the ordinary
way, which has one place for every error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.entry import decode_facts
from tfbundle.checkpoint.pieces import swap_bytes
from tfbundle.dtypes import numpy_dtype
from tfbundle.errors import TfBundleError
from tfbundle.formats.checksum import crc32c, mask

if TYPE_CHECKING:
    from tfbundle.checkpoint.pieces import PieceReader, Room
    from tfbundle.checkpoint.tensor import Array

# A tensor above this size is worth a read of its own.
_SMALL = 64 << 10
# The most that is read at once.
_WINDOW = 4 << 20
# The rank that every supported numpy has arrays of, with one dimension left for the tensors of a stretch.
_RANK = 31

_SHARD, _OFFSET, _SIZE, _CRC = 0x18, 0x20, 0x28, 0x35
Column = np.ndarray[Any, np.dtype[np.int64]]


class _Places(NamedTuple):
    """Where tensors of one type and shape lie: a row each, with the tensor's number in its group."""

    number: Column
    shard: Column
    offset: Column
    crc: Column

    def rows(self, which: Any) -> _Places:
        return _Places(*(column[which] for column in self))


def read_small(reader: PieceReader, records: dict[str, bytes], room: Room) -> dict[str, Array]:
    """The small tensors among ``records``, verified as the reader is; tensors with any trouble are left out.

    Their bytes are counted in ``room``, which raises ``FormatError`` where it has no more.
    """
    groups: defaultdict[tuple[bytes, int], list[str]] = defaultdict(list)
    for name, record in records.items():
        if len(record) > 4:
            groups[record[: 4 + record[3]], len(record)].append(name)
    arrays: dict[str, Array] = {}
    for (head, length), names in groups.items():
        shape, dtype = _array_type(head) if length > len(head) else ((), None)
        size = prod(shape) * dtype.itemsize if dtype is not None else 0
        if dtype is None or not 0 < size <= _SMALL:
            continue
        tails = b"".join([records[name] for name in names])
        places = _decode_tails(np.frombuffer(tails, np.uint8).reshape(len(names), length)[:, len(head) :], size)
        for stretch in _stretches(places, size):
            for number, array in _read_stretch(reader, room, stretch, shape, dtype, size):
                arrays[names[number]] = array
    return arrays


def _array_type(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any] | None]:
    """The shape and dtype that the first two fields of an entry state, without a dtype where this is not the way."""
    if not (head[0] == 0x08 and head[1] < 0x80 and head[2] == 0x12 and head[3] < 0x80):
        return (), None
    try:
        facts = decode_facts(head)
        dtype = numpy_dtype(facts.data_type)
    except TfBundleError:
        return (), None
    return facts.shape, None if dtype.hasobject or len(facts.shape) > _RANK else dtype


def _decode_tails(tails: np.ndarray[Any, np.dtype[np.uint8]], wanted: int) -> _Places:
    """Decode fields 3 to 6 of entries, a row each; rows in another form or with another size are left out."""
    # Behind each row follow bytes that end any varint, so that reading past its end is harmless.
    count, length = tails.shape
    padded = np.zeros((count, length + 11), np.uint8)
    padded[:, :length] = tails
    rows = np.arange(count)
    pos = np.zeros(count, np.int64)
    fine = np.ones(count, bool)
    values = {}
    for tag in (_SHARD, _OFFSET, _SIZE):
        value = np.zeros(count, np.int64)
        more = (padded[rows, np.minimum(pos, length)] == tag) & fine
        pos += more
        # Nine groups of seven bits are 63; a longer varint is left to protobuf.
        for shift in range(0, 63, 7):
            if not more.any():
                break
            byte = padded[rows, np.minimum(pos, length)].astype(np.int64)
            value |= np.where(more, (byte & 0x7F) << shift, 0)
            pos += more
            more &= byte >= 0x80
        fine &= ~more & (pos <= length)
        values[tag] = value
    fine &= (pos == length - 5) & (padded[rows, np.minimum(pos, length)] == _CRC) & (values[_SIZE] == wanted)
    crc = tails[:, -4:].copy().view("<u4")[:, 0].astype(np.int64) if length >= 4 else np.zeros(count, np.int64)
    return _Places(rows, values[_SHARD], values[_OFFSET], crc).rows(fine)


def _stretches(places: _Places, size: int) -> Iterator[_Places]:
    """Runs of tensors that follow each other in one shard without a gap, each to be read at once."""
    places = places.rows(np.lexsort((places.offset, places.shard)))
    together = (np.diff(places.offset) == size) & (np.diff(places.shard) == 0)
    for run in np.split(np.arange(len(places.number)), np.flatnonzero(~together) + 1):
        for first in range(0, len(run), _WINDOW // size):
            yield places.rows(run[first : first + _WINDOW // size])


def _read_stretch(
    reader: PieceReader, room: Room, places: _Places, shape: tuple[int, ...], dtype: np.dtype[Any], size: int
) -> Iterator[tuple[int, Array]]:
    """The tensors of a stretch, each by its number, as arrays of their own."""
    count = len(places.number)
    shard = int(places.shard[0])
    try:
        source = reader.shards.source(shard)
        data = source.read_at(int(places.offset[0]), count * size)
        if not reader.verify:
            source.check_unchanged()
    except TfBundleError:
        return iter(())
    room.take_bytes(source, shard, count * size)
    block = np.frombuffer(data, dtype).reshape(count, *shape)
    if reader.verify:
        crcs = np.array([crc32c(data[pos : pos + size]) for pos in range(0, count * size, size)], np.int64)
        fine = mask(crcs) == places.crc
        places, block = places.rows(fine), block[fine]
        # Those that are left to the ordinary way are counted there.
        room.take_bytes(source, shard, (len(block) - count) * size)
    if reader.swapped:
        block = swap_bytes(block.copy())
    return zip(places.number.tolist(), map(np.array, block), strict=True)
