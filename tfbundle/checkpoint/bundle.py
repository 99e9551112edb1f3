"""V2 checkpoints: an index that says where each tensor lies, and data files that hold the bytes.

::

    PREFIX.index                   sorted table:  ""    -> BundleHeaderProto
                                                  name  -> BundleEntryProto (type, shape, shard, offset, size, CRC)
    PREFIX.data-00003-of-00008     shard 3: the bytes of tensors, one behind the other, C order

The index is the authority; a shard is nothing but bytes. A partitioned tensor's entry lists its slices, and each
slice has an entry of its own under a key from ``slice_keys``.

A tensor is read piece by piece, a piece being a whole unpartitioned tensor or one slice. Bytes pass in chunks
through the checksum while they are still in the processor's cache. Values that were not verified (a part, or with
``verify=False``) are returned only if the file is still the one that was opened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from google.protobuf.message import DecodeError

from tfbundle.checkpoint.bulk import read_small
from tfbundle.checkpoint.entry import Facts, Location, decode_facts, decode_location
from tfbundle.checkpoint.names import index_path
from tfbundle.checkpoint.payload import ByteOrder, decode_strings, decode_variants
from tfbundle.checkpoint.selection import Selection, intersect, parse_index, plan_reads
from tfbundle.checkpoint.shards import Shards
from tfbundle.checkpoint.slice_keys import decode_slice_key, encode_slice_key
from tfbundle.checkpoint.slices import TensorSlice, check_disjoint, find_gap
from tfbundle.checkpoint.tensor import Array, Range
from tfbundle.dtypes import DT_STRING, DT_VARIANT, numpy_dtype
from tfbundle.errors import ChecksumError, FormatError, TfBundleError, UnsupportedError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.sstable import Table
from tfbundle.proto import BundleHeaderProto
from tfbundle.storage import ByteSource

HEADER_KEY = b""

# The version of the format that is read here; a header may ask for a newer reader.
_VERSION = 1
# Small enough for the processor's cache, so that the checksum finds the bytes there; large enough to call rarely.
_CHUNK = 1 << 20


class Piece(NamedTuple):
    """An array as it is stored: its type, shape and place."""

    data_type: int
    shape: tuple[int, ...]
    location: Location


def encode_name(name: str) -> bytes:
    """A tensor's name as the table's key."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(key: bytes) -> str:
    """A table's key as a tensor's name; bytes that are not UTF-8 are escaped, and come back by ``encode_name``."""
    return key.decode("utf-8", "surrogateescape")


def open_bundle(prefix: str, verify: bool) -> BundleStore:
    """The store of a V2 checkpoint, shared by all unpickled tensors that lie in it."""
    key = (prefix, verify)
    store = _shared.get(key)
    if store is None or not store.is_current():
        store = _shared[key] = BundleStore(prefix, verify=verify)
    return store


_shared: WeakValueDictionary[tuple[str, bool], BundleStore] = WeakValueDictionary()


class BundleStore:
    """An open V2 checkpoint; a record is the entry's bytes."""

    def __init__(self, prefix: str, *, verify: bool) -> None:
        """Open the index; raises ``FormatError`` where it is none, and ``UnsupportedError`` for a newer format."""
        self.path = prefix
        self.verify = verify
        self._index = ByteSource(index_path(prefix))
        self.table = Table(self._index, verify=verify)
        header = self._read_header()
        self.shards = Shards(prefix, header.num_shards, self._index)
        self._byteorder: ByteOrder = "big" if header.endianness == BundleHeaderProto.BIG else "little"
        self.swapped = self._byteorder != sys.byteorder
        self._records: dict[str, bytes] | None = None

    def _read_header(self) -> BundleHeaderProto:
        path = self._index.path
        value = self.table.find(HEADER_KEY)
        if value is None:
            raise FormatError(f"{path} has no bundle header; it is a table of another kind", path=path)
        try:
            header = BundleHeaderProto.FromString(value)
        except DecodeError:
            raise FormatError(f"the header of {path} is not a BundleHeaderProto", path=path) from None
        if header.num_shards < 0 or header.endianness not in (BundleHeaderProto.LITTLE, BundleHeaderProto.BIG):
            raise FormatError(
                f"the header of {path} states {header.num_shards} shards and byte order {header.endianness}", path=path
            )
        if header.version.min_consumer > _VERSION or _VERSION in header.version.bad_consumers:
            raise UnsupportedError(
                f"{path} asks for a reader of format version {header.version.min_consumer}, and this one reads "
                f"version {_VERSION}; look for a newer tfbundle",
                path=path,
            )
        return header

    def close(self) -> None:
        """Close the index and the shards."""
        self._index.close()
        self.shards.close()

    def is_current(self) -> bool:
        """Whether the files at this path are still the ones that were opened."""
        return self._index.same_file()

    def reopening(self) -> tuple[Callable[..., BundleStore], tuple[Any, ...]]:
        """How another process opens this store."""
        return open_bundle, (self.path, self.verify)

    # Names and entries.

    def records(self) -> dict[str, bytes]:
        """Every tensor's entry by name, in the order of the table, which is validated as a whole."""
        records = self._records
        if records is None:
            entries: dict[bytes, bytes] = {}
            for keys, values in self.table.blocks():
                entries.update(zip(keys, values, strict=True))
            self._index.check_unchanged()
            entries.pop(HEADER_KEY, None)
            for key in self._slice_keys(entries):
                del entries[key]
            records = self._records = dict(zip(map(decode_name, entries), entries.values(), strict=True))
        return records

    def _slice_keys(self, entries: dict[bytes, bytes]) -> list[bytes]:
        """The keys that hold slices. A tensor's own name may open with NUL too, so its parent has to vouch for it."""
        found = []
        for key in entries:
            if key[0] != 0:
                break  # Keys are sorted, and all slice keys open with NUL.
            try:
                name, extents = decode_slice_key(key)
                if name in entries and any(
                    piece.extents == extents for piece in decode_facts(entries[name]).slices
                ):
                    found.append(key)
            except TfBundleError:
                continue
        return found

    def find(self, name: str) -> bytes | None:
        """A tensor's entry, or ``None`` once the whole table has proved to be in order."""
        if self._records is None:
            try:
                key = encode_name(name)
            except UnicodeEncodeError:
                return None
            # A key that opens with NUL may be a slice's; only a scan tells.
            if key and key[0] != 0:
                value = self.table.find(key)
                if value is not None:
                    self._index.check_unchanged()
                    return value
        return self.records().get(name)

    def facts(self, name: str, record: bytes) -> Facts:
        """Type, shape and slices of a tensor."""
        try:
            return decode_facts(record)
        except FormatError as error:
            raise error.locate(path=self._index.path, tensor=name) from None

    def pieces(self, name: str, record: bytes) -> list[tuple[TensorSlice | None, Piece]]:
        """The stored pieces of a tensor: itself, or those of its slices that have entries."""
        try:
            facts = decode_facts(record)
            if not facts.slices:
                return [(None, Piece(facts.data_type, facts.shape, decode_location(record, facts)))]
            check_disjoint(facts.slices)
            return [
                (part, piece) for part in facts.slices if (piece := self._find_slice(name, facts, part)) is not None
            ]
        except TfBundleError as error:
            raise error.locate(path=self._index.path, tensor=name) from None

    def _find_slice(self, name: str, facts: Facts, part: TensorSlice) -> Piece | None:
        key = encode_slice_key(encode_name(name), part.extents)
        # A slice that is the whole tensor would be stored under the tensor's own name, and that is its parent.
        value = self.table.get(key)
        if value is None:
            return None
        own = decode_facts(value)
        if own.slices or own.data_type != facts.data_type or own.shape != part.lengths:
            raise FormatError(f"the entry of its slice {part} has another type or shape than the slice")
        return Piece(own.data_type, own.shape, decode_location(value, own))

    def ranges(self, name: str, record: bytes) -> tuple[Range, ...]:
        """Where a tensor lies."""
        return tuple(
            Range(self.shards.path(place.shard), place.offset, place.size, unmask(place.crc))
            for _, (_, _, place) in self.pieces(name, record)
        )

    # Values.

    def read(self, name: str, record: bytes) -> Array:
        """The whole tensor as an array of its own."""
        pieces = self.pieces(name, record)
        try:
            if len(pieces) == 1 and pieces[0][0] is None:
                return self._read_piece(pieces[0][1])
            facts = decode_facts(record)
            self._check_complete(facts, pieces)
            array = _allocate(facts.data_type, facts.shape)
            for part, piece in pieces:
                assert part is not None
                array[part.index] = self._read_piece(piece)
            return array
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def read_selection(self, name: str, record: bytes, selection: Selection) -> Array:
        """The selected elements of a tensor in ascending order; unverified, but for strings and variants."""
        pieces = self.pieces(name, record)
        facts = self.facts(name, record)
        try:
            if len(pieces) == 1 and pieces[0][0] is None:
                return self._read_part(pieces[0][1], selection)
            boxes = [(piece, intersect(selection, part.starts, part.lengths)) for part, piece in pieces if part]
            wanted = prod(selection.counts)
            if sum(prod(box[0].counts) for _, box in boxes if box) != wanted:
                self._check_complete(facts, pieces)
            array = _allocate(facts.data_type, selection.counts)
            for piece, box in boxes:
                if box is not None:
                    inner, target = box
                    array[target] = self._read_part(piece, inner)
            return array
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Many tensors by name, as ``view`` or ``read`` gives them; each must be there."""
        records = self.records()
        if mmap:
            return {name: self.view(name, records[name]) for name in names}
        found = read_small(self, {name: records[name] for name in names})
        return {name: found[name] if name in found else self.read(name, records[name]) for name in names}

    def view(self, name: str, record: bytes) -> Array:
        """A read-only array: a view of the mapped file where the stored bytes are the array, else one of its own."""
        pieces = self.pieces(name, record)
        part, piece = pieces[0] if len(pieces) == 1 else (None, None)
        try:
            if part is None and piece is not None and self._is_plain(piece):
                place = piece.location
                source = self.shards.source(place.shard)
                data = source.view(place.offset, place.size)
                if self.verify:
                    self._compare(source, place, crc32c(data))
                return _shaped(np.frombuffer(data, numpy_dtype(piece.data_type)), piece.shape)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None
        array = self.read(name, record)
        array.flags.writeable = False
        return array

    def _is_plain(self, piece: Piece) -> bool:
        """Whether the stored bytes are the array's."""
        dtype = numpy_dtype(piece.data_type)
        return not dtype.hasobject and not (self.swapped and dtype.itemsize > 1) and piece.location.size > 0

    def _check_complete(self, facts: Facts, pieces: list[tuple[TensorSlice | None, Piece]]) -> None:
        gap = find_gap([part for part, _ in pieces if part is not None], facts.shape)
        if gap is not None:
            raise FormatError(
                f"its region {gap} is in none of the {len(pieces)} slices that were saved; other regions can be "
                "read by slicing"
            )

    def _read_piece(self, piece: Piece) -> Array:
        """One stored array, whole and verified."""
        place = piece.location
        source = self.shards.source(place.shard)
        if piece.data_type in (DT_STRING, DT_VARIANT):
            return self._read_objects(piece, source)
        # Allocating waits until the file has proved long enough.
        source.read_at(place.offset + place.size, 0)
        array = _allocate(piece.data_type, piece.shape)
        if place.size:
            buffer = memoryview(array.reshape(-1).view(np.uint8))
            if self.verify:
                crc = 0
                for start in range(0, place.size, _CHUNK):
                    chunk = buffer[start : start + _CHUNK]
                    source.read_into(place.offset + start, chunk)
                    crc = crc32c(chunk, crc)
                self._compare(source, place, crc)
            else:
                source.read_into(place.offset, buffer)
                source.check_unchanged()
        elif self.verify:
            self._compare(source, place, 0)
        if self.swapped:
            array.byteswap(inplace=True)
        return array

    def _read_objects(self, piece: Piece, source: ByteSource) -> Array:
        place = piece.location
        count = prod(piece.shape)
        data = source.read_at(place.offset, place.size)
        expected = unmask(place.crc) if self.verify else None
        decode: Callable[[bytes, int, int | None, ByteOrder], list[Any]]
        decode = decode_strings if piece.data_type == DT_STRING else decode_variants
        try:
            elements = decode(data, count, expected, self._byteorder)
        except FormatError as error:
            source.check_unchanged()
            raise error.locate(path=source.path, offset=place.offset, shard=place.shard) from None
        if not self.verify:
            source.check_unchanged()
        array = np.empty(count, object)
        array[:] = elements
        return _shaped(array, piece.shape)

    def _read_part(self, piece: Piece, selection: Selection) -> Array:
        """The selected elements of one stored array."""
        if piece.data_type in (DT_STRING, DT_VARIANT):
            # Where an element lies is known only after all lengths, so these are read whole.
            index = tuple(
                slice(start, start + (count - 1) * step + 1 if count else start, step)
                for start, count, step in zip(selection.starts, selection.counts, selection.steps, strict=True)
            )
            return self._read_piece(piece)[index]
        place = piece.location
        source = self.shards.source(place.shard)
        source.read_at(place.offset + place.size, 0)
        array = _allocate(piece.data_type, selection.counts)
        for span in plan_reads(selection, piece.shape, array.itemsize):
            data = source.read_at(place.offset + span.offset, span.size)
            array[span.target] = np.ndarray(span.counts, array.dtype, data, strides=span.strides)
        source.check_unchanged()
        if self.swapped:
            array.byteswap(inplace=True)
        return array

    def _compare(self, source: ByteSource, place: Location, actual: int) -> None:
        expected = unmask(place.crc)
        if actual == expected:
            return
        source.check_unchanged()
        raise ChecksumError(
            f"its {place.size} bytes at offset {place.offset} of {source.path} have CRC-32C {actual:#010x}, and "
            f"{expected:#010x} is stored; the data is damaged, or belongs to another checkpoint",
            expected=expected,
            actual=actual,
            path=source.path,
            offset=place.offset,
            shard=place.shard,
        )


def _allocate(data_type: int, shape: tuple[int, ...]) -> Array:
    try:
        return np.empty(shape, numpy_dtype(data_type))
    except ValueError:
        raise UnsupportedError(f"numpy has no arrays of shape {list(shape)}") from None


def _shaped(array: Array, shape: tuple[int, ...]) -> Array:
    try:
        return array.reshape(shape)
    except ValueError:
        raise UnsupportedError(f"numpy has no arrays of shape {list(shape)}") from None
