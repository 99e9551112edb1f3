"""Stored arrays of a bundle: bytes of a shard as numpy values, and whether they are the bytes that were written.

A stored slice is one of a partitioned tensor, or an unpartitioned one, which is a single slice. Its bytes pass in
chunks through the checksum while they are still in the processor's cache. Values that were not verified (a part, or
with ``verify=False``) are handed out only while no other checkpoint has taken the place of this one.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.v2.entry import Location
from tfbundle.checkpoint.v2.payload import ByteOrder, decode_strings, decode_variants
from tfbundle.checkpoint.v2.shards import Shards
from tfbundle.errors import ChecksumError, FormatError, TruncatedError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.limits import FREE_SIZE, MOST_PASSES
from tfbundle.plurals import plural
from tfbundle.storage.base import Source
from tfbundle.storage.copying import Sink
from tfbundle.tensors.arrays import CHUNK, Array, allocate, shaped, split, swap_bytes
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, numpy_dtype
from tfbundle.tensors.reading import read_selected
from tfbundle.tensors.selection import Selection, plan_reads

# Bytes that are copied at a time: one buffer, which stays in the processor's cache.
COPIED = 64 << 10
# Bytes that the system copies in one call, before they are read back. Slices from this size on are copied so.
_COPIED_BY_SYSTEM = 1 << 20


class StoredSlice(NamedTuple):
    """An array as it is stored: its ``DataType`` number, shape and place."""

    data_type: int
    shape: tuple[int, ...]
    location: Location

    @property
    def is_objects(self) -> bool:
        """Whether the elements vary in size, so that no element can be found without those before it."""
        return self.data_type in (DT_STRING, DT_VARIANT)


class SliceReader:
    """Reads the slices in a bundle's shards; safe for any number of threads."""

    def __init__(self, shards: Shards, byteorder: ByteOrder, *, verify: bool) -> None:
        """``byteorder`` is the one that the bundle's header states."""
        self.shards = shards
        self.byteorder = byteorder
        self.verify = verify
        self.swapped = byteorder != sys.byteorder
        self._full_paths: dict[int, tuple[str, int]] = {}

    def read(self, stored: StoredSlice) -> Array:
        """Return the whole slice as a new array, verified."""
        source = self.source(stored)
        if stored.is_objects:
            return self._read_objects(stored, source, verify=self.verify)
        place = stored.location
        array, buffer = _allocated(stored)
        if self.verify:
            crc = 0
            source.expect([(place.offset, place.size)])
            for start in range(0, place.size, CHUNK):
                chunk = buffer[start : start + CHUNK]
                source.read_into(place.offset + start, chunk)
                crc = crc32c(chunk, crc)
            check_crc(self.shards, source, place, crc)
        else:
            source.read_into(place.offset, buffer)
            self.shards.check_unverified(source)
        return self._native(array)

    def begin(self, some: Sequence[StoredSlice]) -> tuple[list[Callable[[], Array]], Callable[[], None]]:
        """Begin to read slices of numbers in one remote shard.

        Return for each a function that returns its array, and raises as ``read`` does, and one that cancels the rest.
        Without verification the caller must call ``Shards.check_in_place`` in the end, once for all of them.
        """
        source = self.shards.source(some[0].location.shard)
        arrays = [_allocated(stored) for stored in some]
        waits, cancel = source.fill(
            [(stored.location.offset, buffer) for stored, (_, buffer) in zip(some, arrays, strict=True)]
        )

        def finish(stored: StoredSlice, array: Array, buffer: memoryview, wait: Callable[[], object]) -> Array:
            wait()
            if self.verify:
                check_crc(self.shards, source, stored.location, crc32c(buffer))
            return self._native(array)

        jobs = [partial(finish, stored, *pair, wait) for stored, pair, wait in zip(some, arrays, waits, strict=True)]
        return list(jobs), cancel

    def read_part(self, stored: StoredSlice, selection: Selection) -> Array:
        """Return the selected elements in ascending order; unverified, but for strings and variants, which are read
        whole.
        """
        if stored.is_objects:
            chosen: Array = self.read(stored)[selection.grid]
            return chosen
        first = next(plan_reads(selection, stored.shape, numpy_dtype(stored.data_type).itemsize), None)
        source = self.source(stored, first and (first.offset, first.size))
        array = read_selected(source, stored.location.offset, stored.data_type, stored.shape, selection)
        self.shards.check_unverified(source)
        return self._native(array)

    def view(self, stored: StoredSlice) -> Array | None:
        """Return a read-only view of the mapped file, verified, or ``None`` where the stored bytes are not the
        array.
        """
        dtype = numpy_dtype(stored.data_type)
        place = stored.location
        if stored.is_objects or not place.size or (self.swapped and dtype.itemsize > 1):
            return None
        source = self.source(stored)
        data = source.view(place.offset, place.size)
        if self.verify:
            check_crc(self.shards, source, place, crc32c(data))
        else:
            self.shards.check_unverified(source)
        return shaped(np.frombuffer(data, dtype), stored.shape)

    def check(self, stored: StoredSlice) -> None:
        """Raise what ``read`` raises for damaged bytes, without making an array of them."""
        source = self.source(stored)
        if stored.is_objects:
            self._read_objects(stored, source, verify=True)
            return
        place = stored.location
        crc = 0
        source.expect([(place.offset, place.size)])
        for start in range(0, place.size, CHUNK):
            crc = crc32c(source.read_at(place.offset + start, min(CHUNK, place.size - start)), crc)
        check_crc(self.shards, source, place, crc)

    def copy(self, stored: StoredSlice, sink: Sink) -> int:
        """Append the bytes of a slice to ``sink`` as they are stored, and return the CRC-32C that its entry states.

        Raises what ``read`` raises, for damage after the last byte. Large slices are copied by the system where it can,
        and the checksum is that of what has arrived. Without verification the copy has the stated CRC too, so that
        damage does not come to look intact.
        """
        source = self.source(stored)
        place = stored.location
        if stored.is_objects:
            data = source.read_at(place.offset, place.size)
            self._decode_objects(stored, source, data, verify=self.verify)
            sink.write(data)
            return unmask(place.crc)
        if place.size <= COPIED:
            data = source.read_at(place.offset, place.size)
            sink.write(data)
            return self._checked(source, place, crc32c(data) if self.verify else 0)
        crc = done = 0
        step = _COPIED_BY_SYSTEM if place.size >= _COPIED_BY_SYSTEM else COPIED
        buffer = memoryview(bytearray(min(place.size, step)))
        while done < place.size:
            chunk = buffer[: min(step, place.size - done)]
            if step == COPIED or not sink.copy_range(source, place.offset + done, chunk):
                step = COPIED
                chunk = chunk[:step]
                source.read_into(place.offset + done, chunk)
                sink.write(chunk)
            if self.verify:
                crc = crc32c(chunk, crc)
            done += len(chunk)
        return self._checked(source, place, crc)

    def _checked(self, source: Source, place: Location, crc: int) -> int:
        """Compare the CRC-32C of copied bytes with the one that is stored, which is returned."""
        expected = unmask(place.crc)
        if not self.verify:
            self.shards.check_unverified(source)
        elif crc != expected:
            check_crc(self.shards, source, place, crc)
        return expected

    def source(self, stored: StoredSlice, first: tuple[int, int] | None = None) -> Source:
        """Return the slice's shard, which has proved long enough for it, so that what follows may allocate its size.

        ``first`` is the offset in the slice, and the size, of what is read first, unless that is its start.
        """
        place = stored.location
        start, size = first or (0, place.size)
        source = self.shards.source(place.shard, (place.offset + start, size))
        try:
            source.require(place.offset, place.size)
        except TruncatedError as error:
            raise self.shards.explain(error.locate(shard=place.shard), source) from None
        return source

    def full_path(self, stored: StoredSlice) -> str:
        """Return the absolute path or URL of the slice's shard, which is long enough for it."""
        number, end = stored.location.shard, stored.location.offset + stored.location.size
        known = self._full_paths.get(number)
        if known is None or end > known[1]:
            # Opening it for each slice would be slow if there are more shards than descriptors.
            size = self.source(stored).size
            known = self._full_paths[number] = self.shards.location(number).absolute().path, size
        return known[0]

    def _read_objects(self, stored: StoredSlice, source: Source, *, verify: bool) -> Array:
        data = source.read_at(stored.location.offset, stored.location.size)
        elements = self._decode_objects(stored, source, data, verify=verify)
        array = np.empty(len(elements), object)
        array[:] = elements
        return shaped(array, stored.shape)

    def _decode_objects(self, stored: StoredSlice, source: Source, data: bytes, *, verify: bool) -> list[Any]:
        place = stored.location
        decode: Callable[[bytes, int, int | None, ByteOrder], list[Any]]
        decode = decode_strings if stored.data_type == DT_STRING else decode_variants
        try:
            elements = decode(data, prod(stored.shape), unmask(place.crc) if verify else None, self.byteorder)
        except FormatError as error:
            source.check_unchanged()
            located = error.locate(path=source.path, offset=place.offset, shard=place.shard)
            raise self.shards.explain(located, source) from None
        if not verify:
            self.shards.check_unverified(source)
        return elements

    def _native(self, array: Array) -> Array:
        return swap_bytes(array) if self.swapped else array


class Room:
    """Room in the shards for what is to be in memory at once: a tensor's slices, or all tensors of a load.

    Stored slices do not overlap. But a file may state that a thousand of them are the same million bytes, and would
    have a reader take a thousand times the file's size.
    """

    def __init__(self, reader: SliceReader) -> None:
        """For the shards that ``reader`` reads, and nothing taken yet."""
        self._reader = reader
        self._taken: defaultdict[int, int] = defaultdict(int)

    def take(self, stored: StoredSlice) -> None:
        """Count a slice; raises ``FormatError`` where its shard has no such bytes, or no more room."""
        place = stored.location
        self.take_bytes(self._reader.source(stored), place.shard, place.size)

    def take_bytes(self, source: Source, shard: int, size: int) -> None:
        """Count bytes of an open shard."""
        self._taken[shard] += size
        if self._taken[shard] > FREE_SIZE + MOST_PASSES * source.size:
            raise FormatError(
                f"what is stored in {source.path} takes more than {MOST_PASSES} times its {source.size} bytes, so "
                "that much of it overlaps; read less at a time",
                path=source.path,
                shard=shard,
            )


def check_crc(shards: Shards, source: Source, place: Location, actual: int) -> None:
    """Compare the CRC-32C of the bytes that were read with the stored one."""
    expected = unmask(place.crc)
    if actual == expected:
        return
    source.check_unchanged()
    error = ChecksumError(
        f"its {plural(place.size, 'byte')} at offset {place.offset} of {source.path} have CRC-32C {actual:#010x}, and "
        f"{expected:#010x} is stored; the data is damaged, or belongs to another checkpoint",
        expected=expected,
        actual=actual,
        path=source.path,
        offset=place.offset,
        shard=place.shard,
    )
    raise shards.explain(error, source)


def _allocated(stored: StoredSlice) -> tuple[Array, memoryview]:
    """Return a new array for a slice of numbers, and its bytes."""
    array = allocate(stored.data_type, stored.shape)
    return array, array.reshape(-1).view(np.uint8).data if stored.location.size else memoryview(b"")


def stream_slice(reader: SliceReader, stored: StoredSlice) -> Iterator[Array]:
    """Yield the elements of one stored slice; what ``SliceReader.read`` raises for damage, this raises after the
    last.
    """
    if stored.is_objects:
        yield from split(reader.read(stored))
        return
    source = reader.source(stored)
    dtype = numpy_dtype(stored.data_type)
    place = stored.location
    crc = 0
    for start in range(0, place.size, CHUNK):
        size = min(CHUNK, place.size - start)
        array = np.empty(size // dtype.itemsize, dtype)
        buffer = array.view(np.uint8).data
        source.read_into(place.offset + start, buffer)
        if reader.verify:
            crc = crc32c(buffer, crc)
        yield swap_bytes(array) if reader.swapped else array
        # Memory that the caller has released too is used again while it is in the processor's cache.
        del array, buffer
    if reader.verify:
        check_crc(reader.shards, source, place, crc)
    else:
        reader.shards.check_unverified(source)
