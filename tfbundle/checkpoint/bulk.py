"""Many small tensors at once: one read for a stretch of a shard, one decoding for all entries of a kind.

A model's thousands of biases, counters and scalars lie side by side, and their entries differ in offset and checksum
alone. So entries of the same length, whose first bytes (type and shape) have the same length too, become the rows of a
matrix, whose columns are decoded by numpy. That tells types and shapes; to read values, neighbours in a shard are read
together, and the arrays are cut out of that.

Whatever is not simple (large, partitioned, strings, an entry in another form, or found damaged) is left to the ordinary
way, which has one place for every error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.entry import Facts, head_facts
from tfbundle.checkpoint.pieces import swap_bytes
from tfbundle.dtypes import numpy_dtype
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.formats.checksum import crc32c, mask

if TYPE_CHECKING:
    from tfbundle.checkpoint.pieces import PieceReader, Room
    from tfbundle.checkpoint.tensor import Array

# Fewer entries of a kind than this are decoded sooner one by one.
_FEWEST = 16
# So many entries are decoded at once where all are asked for.
_BATCH = 1 << 14
# The usual form has no entry that is longer, not even with the largest numbers.
_LONGEST = 255
# A tensor above this size is worth a read of its own.
_SMALL = 64 << 10
# The most that is read at once.
_WINDOW = 4 << 20
# The rank that every supported numpy has arrays of, with one dimension left for the tensors of a stretch.
_RANK = 31

_SHARD, _OFFSET, _SIZE, _CRC = 0x18, 0x20, 0x28, 0x35
Column = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class _Places(NamedTuple):
    """Where tensors lie, a row each; ``number`` says which tensor it is."""

    number: Column
    shard: Column
    offset: Column
    size: Column
    crc: Column

    def rows(self, which: Any) -> _Places:
        return _Places(*(column[which] for column in self))


def known_facts(records: Iterable[bytes]) -> Iterator[Facts | None]:
    """What ``decode_facts`` says of each entry; ``None`` for those that are left to it."""
    remaining = iter(records)
    while some := list(islice(remaining, _BATCH)):
        found: list[Facts | None] = [None] * len(some)
        for heads, places in _groups(some):
            facts = {head: _facts_of(head) for head in set(heads)}
            for number, head in zip(places.number.tolist(), heads, strict=True):
                found[number] = facts[head]
        yield from found


def read_small(reader: PieceReader, records: list[bytes], room: Room) -> list[Array | None]:
    """The small tensors among ``records``, verified as the reader is; ``None`` in place of others, or of trouble.

    Their bytes are counted in ``room``, which raises ``FormatError`` where it has no more.
    """
    arrays: list[Array | None] = [None] * len(records)
    for heads, places in _groups(records):
        kinds = {head: kind for kind, head in enumerate(dict.fromkeys(heads))}
        kind = np.fromiter(map(kinds.__getitem__, heads), np.int64, len(heads))
        ends = np.cumsum(np.bincount(kind))
        for head, rows in zip(kinds, np.split(kind.argsort(kind="stable"), ends[:-1]), strict=True):
            shape, dtype = _array_type(head) if len(rows) >= _FEWEST else ((), None)
            size = prod(shape) * dtype.itemsize if dtype is not None else 0
            if dtype is None or not 0 < size <= _SMALL:
                continue
            alike = places.rows(rows)
            for stretch in _stretches(alike.rows(alike.size == size), size):
                for number, array in _read_stretch(reader, room, stretch, shape, dtype, size):
                    arrays[number] = array
    return arrays


def _groups(records: list[bytes]) -> Iterator[tuple[list[bytes], _Places]]:
    """The first bytes and the places of entries in the usual form, together as far as these have the same length."""
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    starts = np.cumsum(lengths) - lengths
    data = np.frombuffer(b"".join(records) + bytes(_LONGEST), np.uint8)
    sizes = 4 + data[starts + 3].astype(np.int64)
    usual = (data[starts] == 0x08) & (data[starts + 1] < 0x80) & (data[starts + 2] == 0x12)
    usual &= (sizes < 4 + 0x80) & (sizes < lengths) & (lengths <= _LONGEST)
    numbers = np.flatnonzero(usual)
    forms = (lengths[numbers] << 8 | sizes[numbers]).astype(np.uint16)
    order = forms.argsort(kind="stable")
    for group in np.split(numbers[order], np.flatnonzero(np.diff(forms[order])) + 1):
        if len(group) < _FEWEST:
            continue
        length, size = int(lengths[group[0]]), int(sizes[group[0]])
        rows = np.lib.stride_tricks.sliding_window_view(data, length)[starts[group]]
        fine, places = _decode_tails(group, rows[:, size:])
        heads: list[bytes] = np.ascontiguousarray(rows[fine, :size]).view(f"V{size}")[:, 0].tolist()
        if heads:
            yield heads, places.rows(fine)


def _facts_of(head: bytes) -> Facts | None:
    try:
        return head_facts(head)
    except FormatError:
        return None


def _array_type(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any] | None]:
    """The shape and dtype that the first two fields of an entry state, without a dtype where this is not the way."""
    facts = _facts_of(head)
    if facts is None:
        return (), None
    try:
        dtype = numpy_dtype(facts.data_type)
    except TfBundleError:
        return (), None
    return facts.shape, None if dtype.hasobject or len(facts.shape) > _RANK else dtype


def _decode_tails(numbers: Column, tails: Bytes) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], _Places]:
    """Decode fields 3 to 6 of entries, a row each, and say which rows have them in the usual form."""
    # Behind each row follow bytes that end any varint, so that reading past its end is harmless.
    count, length = tails.shape
    padded = np.zeros((count, length + 11), np.uint8)
    padded[:, :length] = tails

    def read() -> Bytes:
        place = min(int(pos[0]), length)
        # As a rule it is one column, which is read far sooner than a place of each row.
        found: Bytes = padded[:, place] if (pos == place).all() else padded[np.arange(count), np.minimum(pos, length)]
        return found

    pos = np.zeros(count, np.int64)
    fine = np.ones(count, bool)
    values = []
    for tag in (_SHARD, _OFFSET, _SIZE):
        value = np.zeros(count, np.int64)
        more = (read() == tag) & fine
        pos += more
        # Nine groups of seven bits are 63; a longer varint is left to protobuf.
        for shift in range(0, 63, 7):
            if not more.any():
                break
            byte = read().astype(np.int64)
            value |= np.where(more, (byte & 0x7F) << shift, 0)
            pos += more
            more &= byte >= 0x80
        fine &= ~more & (pos <= length)
        values.append(value)
    fine &= (pos == length - 5) & (read() == _CRC)
    crc = padded[:, max(length - 4, 0) :][:, :4].copy().view("<u4")[:, 0].astype(np.int64)
    shard, offset, size = values
    return fine, _Places(numbers, shard, offset, size, crc)


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
            reader.shards.check_unverified(source)
    except TfBundleError:
        return iter(())
    room.take_bytes(source, shard, count * size)
    block = np.frombuffer(data, dtype).reshape(count, *shape)
    if reader.verify:
        parts = np.frombuffer(data, f"V{size}").tolist()
        fine = mask(np.fromiter(map(crc32c, parts), np.int64, count)) == places.crc
        places, block = places.rows(fine), block[fine]
        # Those that are left to the ordinary way are counted there.
        room.take_bytes(source, shard, (len(block) - count) * size)
    if reader.swapped:
        block = swap_bytes(block.copy())
    return zip(places.number.tolist(), map(np.array, block), strict=True)
