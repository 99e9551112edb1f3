"""Many small tensors at once: one read for a stretch of a shard, one decoding for all entries of a kind.

A model's thousands of biases, counters and scalars are stored side by side, and their entries differ in offset and
checksum alone. So entries of the same length, whose first bytes (type and shape) have the same length too, become the
rows of a matrix, whose columns are decoded by numpy. This gives types and shapes; to read values, neighbours in a shard
are read together, of whatever kinds, and the arrays of each kind are cut out of that.

Whatever is not simple (large, partitioned, strings, an entry in another form, or found damaged) is left to the ordinary
way, which has one place for every error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import count, islice, pairwise
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.v2.entry import head_facts
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.formats.checksum import crc32c, mask
from tfbundle.tensors.arrays import swap_bytes
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.store import Facts

if TYPE_CHECKING:
    from tfbundle.checkpoint.v2.stored_slices import Room, SliceReader
    from tfbundle.tensors.arrays import Array

# Fewer entries of a kind than this are decoded, and fewer neighbours of a kind read, sooner one by one.
_FEWEST = 16
# So are fewer entries of all kinds together.
_FEWEST_IN_ALL = 64
# The number of entries that are decoded together, so that they stay in the processor's cache.
_BATCH = 1 << 14
# The usual form has no entry that is longer, not even with the largest numbers.
_LONGEST = 255
# A tensor above this size is worth a separate read.
_SMALL = 64 << 10
# A stretch ends with the last tensor that begins before a multiple of this.
_WINDOW = 2 << 20
# The rank that every supported numpy has arrays of, with one dimension left for the tensors of a stretch.
_RANK = 31

_SHARD, _OFFSET, _SIZE, _CRC = 0x18, 0x20, 0x28, 0x35
Column = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Places(NamedTuple):
    """The places of tensors, one row each, with the ``number`` of the tensor; ``crc`` is masked."""

    number: Column
    shard: Column
    offset: Column
    size: Column
    crc: Column

    def rows(self, which: Any) -> Places:
        """Return some of the rows."""
        return Places(*(column[which] for column in self))


class _Kind(NamedTuple):
    """A type and a shape, with the size of such a tensor: 0 where it is left to the ordinary way."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int


_LEFT = _Kind((), np.dtype(object), 0)


def known_facts(records: Collection[bytes]) -> list[Facts | None]:
    """Return the result of ``decode_facts`` for each entry; ``None`` for those that are left to it."""
    found: list[Facts | None] = [None] * len(records)
    for heads, places in _groups(records):
        facts = {head: _facts_of(head) for head in set(heads)}
        for number, head in zip(places.number.tolist(), heads, strict=True):
            found[number] = facts[head]
    return found


def find_places(records: Collection[bytes]) -> Places:
    """Return the places of the plain tensors in ``records``: numbers, in the usual form, with the stated size."""
    found = [Places(*np.zeros((5, 0), np.int64))]
    for heads, places in _groups(records):
        sizes = {head: _size_of(head) for head in set(heads)}
        stated = np.fromiter(map(sizes.__getitem__, heads), np.int64, len(heads))
        # Offsets and sizes of damaged entries may be so large that their sum, or a shard's number, overflows.
        sane = (places.size == stated) & (places.shard < 1 << 31) & (places.offset < 1 << 62) & (places.size < 1 << 62)
        found.append(places.rows(sane))
    return Places(*map(np.concatenate, zip(*found, strict=True)))


def _size_of(head: bytes) -> int:
    """Return the size in bytes of a tensor that begins so, or -1 where each element has its own, or none is valid."""
    facts = _facts_of(head)
    if facts is not None and not facts.slices:
        with suppress(TfBundleError):
            dtype = numpy_dtype(facts.data_type)
            return -1 if dtype.hasobject else prod(facts.shape) * dtype.itemsize
    return -1


def read_small(reader: SliceReader, records: Collection[bytes], room: Room) -> list[Array | None]:
    """Return the small tensors among ``records``, verified as the reader is; ``None`` in place of others, or of
    trouble.

    Their bytes are counted in ``room``, which raises ``FormatError`` where it has no more.
    """
    arrays: list[Array | None] = [None] * len(records)
    numbers: defaultdict[bytes, int] = defaultdict(count().__next__)
    kind_of = np.zeros(len(records), np.int64)
    found = [Places(*np.zeros((5, 0), np.int64))]
    for heads, places in _groups(records):
        kind_of[places.number] = np.fromiter(map(numbers.__getitem__, heads), np.int64, len(heads))
        found.append(places)
    if not numbers:
        return arrays
    places = Places(*map(np.concatenate, zip(*found, strict=True)))
    kinds = list(map(_kind, numbers))
    wanted = np.array([kind.size for kind in kinds])[kind_of[places.number]]
    for stretch in _stretches(places.rows((wanted > 0) & (places.size == wanted))):
        for number, array in _read_stretch(reader, room, stretch, kind_of, kinds):
            arrays[number] = array
    return arrays


def _groups(records: Collection[bytes]) -> Iterator[tuple[list[bytes], Places]]:
    """Yield the first bytes and the places of entries in the usual form, together as far as these have the same
    length.
    """
    if len(records) < _FEWEST_IN_ALL:
        return
    remaining, done = iter(records), 0
    while some := list(islice(remaining, _BATCH)):
        for heads, places in _groups_of_batch(some):
            yield heads, places._replace(number=places.number + done)
        done += len(some)


def _groups_of_batch(records: list[bytes]) -> Iterator[tuple[list[bytes], Places]]:
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    starts = np.cumsum(lengths) - lengths
    data = np.frombuffer(b"".join(records) + bytes(_LONGEST), np.uint8)
    sizes = 4 + data[starts + 3].astype(np.int64)
    usual = (data[starts] == 0x08) & (data[starts + 1] < 0x80) & (data[starts + 2] == 0x12)
    usual &= (sizes < 4 + 0x80) & (sizes < lengths) & (lengths <= _LONGEST)
    numbers = np.flatnonzero(usual)
    forms = (lengths[numbers] << 8 | sizes[numbers]).astype(np.uint16)
    for group in map(numbers.__getitem__, _alike(forms)):
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


def _kind(head: bytes) -> _Kind:
    """Return the type and shape that the first two fields of an entry state."""
    facts = _facts_of(head)
    if facts is not None:
        with suppress(TfBundleError):
            dtype = numpy_dtype(facts.data_type)
            size = prod(facts.shape) * dtype.itemsize
            if not dtype.hasobject and len(facts.shape) <= _RANK and size <= _SMALL:
                return _Kind(facts.shape, dtype, size)
    return _LEFT


def _decode_tails(numbers: Column, tails: Bytes) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], Places]:
    """Decode fields 3 to 6 of entries, a row each, and return which rows have them in the usual form."""
    # After each row follow bytes that end any varint, so that reading past its end is harmless.
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
    return fine, Places(numbers, shard, offset, size, crc)


def _alike(column: Column) -> list[Column]:
    """Return the rows that have the same number in a column, together."""
    order = column.argsort(kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(column[order])) + 1).tolist(), len(order)]
    return [order[start:end] for start, end in pairwise(bounds)]


def _stretches(places: Places) -> Iterator[Places]:
    """Long runs of tensors that follow each other in one shard without a gap, each to be read at once."""
    places = places.rows(np.lexsort((places.offset, places.shard)))
    apart = np.diff(places.offset) != places.size[:-1]
    apart |= (np.diff(places.shard) != 0) | (np.diff(places.offset // _WINDOW) != 0)
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(places.number)]
    return (places.rows(slice(*pair)) for pair in pairwise(bounds) if pair[1] - pair[0] >= _FEWEST)


def _read_stretch(
    reader: SliceReader, room: Room, places: Places, kind_of: Column, kinds: list[_Kind]
) -> Iterator[tuple[int, Array]]:
    """Yield the tensors of a stretch, each by its number, as arrays of their own."""
    shard, start = int(places.shard[0]), int(places.offset[0])
    try:
        size = int(places.size.sum())
        source = reader.shards.source(shard, (start, size))
        data = source.read_at(start, size)
        if not reader.verify:
            reader.shards.check_unverified(source)
    except TfBundleError:
        return
    for rows in _alike(kind_of[places.number]):
        if len(rows) < _FEWEST:
            continue
        alike = places.rows(rows)
        shape, dtype, size = kinds[kind_of[alike.number[0]]]
        block = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), size)[alike.offset - start]
        if reader.verify:
            crcs = map(crc32c, block.view(f"V{size}")[:, 0].tolist())
            fine = mask(np.fromiter(crcs, np.int64, len(block))) == alike.crc
            alike, block = alike.rows(fine), block[fine]
        # Those that are left to the ordinary way are counted there.
        room.take_bytes(source, shard, block.size)
        array = block.view(dtype).reshape(-1, *shape)
        if reader.swapped:
            swap_bytes(array)
        yield from zip(alike.number.tolist(), map(np.array, array), strict=True)
