"""V2 checkpoints: an index that says where each tensor lies, and data files that hold the bytes.

::

    PREFIX.index                   sorted table:  ""    -> BundleHeaderProto
                                                  name  -> BundleEntryProto (type, shape, shard, offset, size, CRC)
    PREFIX.data-00003-of-00008     shard 3: the bytes of tensors, one behind the other, C order

The index is the authority; a shard is nothing but bytes. A partitioned tensor's entry lists its slices, and each
slice has an entry of its own under a key from ``keys``.

Bytes become arrays in ``pieces``; this file knows which pieces a tensor has, and puts them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from math import prod
from typing import Any
from weakref import WeakValueDictionary

from google.protobuf.message import DecodeError

from tfbundle.checkpoint.bulk import known_facts, read_small
from tfbundle.checkpoint.entry import Facts, decode_facts, decode_location
from tfbundle.checkpoint.findings import Check, Place
from tfbundle.checkpoint.keys import (
    Extent,
    decode_name,
    decode_names,
    decode_slice_key,
    encode_name,
    encode_slice_key,
)
from tfbundle.checkpoint.names import index_path
from tfbundle.checkpoint.payload import ByteOrder
from tfbundle.checkpoint.pieces import Piece, PieceReader, Room, allocate
from tfbundle.checkpoint.selection import Selection, intersect
from tfbundle.checkpoint.shards import Shards
from tfbundle.checkpoint.slices import TensorSlice, check_disjoint, find_gap, incomplete
from tfbundle.checkpoint.streaming import in_order, split, stream_bands, stream_piece
from tfbundle.checkpoint.tensor import Array, Range
from tfbundle.checkpoint.versions import check_version
from tfbundle.dtypes import numpy_dtype
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.formats.checksum import unmask
from tfbundle.formats.sstable import Table
from tfbundle.limits import MOST_SHARDS
from tfbundle.proto import BundleHeaderProto
from tfbundle.storage import ByteSource

HEADER_KEY = b""

# The stored pieces of a tensor, each with its box; an unpartitioned tensor is one piece, and needs none.
Pieces = list[tuple[TensorSlice | None, Piece]]


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
        self.table = self._open_table()
        header = self._read_header()
        self.shards = Shards(prefix, header.num_shards, self._index)
        byteorder: ByteOrder = "big" if header.endianness == BundleHeaderProto.BIG else "little"
        self.reader = PieceReader(self.shards, byteorder, verify=verify)
        self._records: dict[str, bytes] | None = None

    def _open_table(self) -> Table:
        return Table(self._index, verify=self.verify)

    def _read_header(self) -> BundleHeaderProto:
        path = self._index.path
        value = self.table.find(HEADER_KEY)
        if value is None:
            raise FormatError(f"{path} has no bundle header; it is a table of another kind", path=path)
        try:
            header = BundleHeaderProto.FromString(value)
        except DecodeError:
            raise FormatError(f"the header of {path} is not a BundleHeaderProto", path=path) from None
        if not 0 <= header.num_shards <= MOST_SHARDS or header.endianness not in (
            BundleHeaderProto.LITTLE,
            BundleHeaderProto.BIG,
        ):
            raise FormatError(
                f"the header of {path} states {header.num_shards} shards and byte order {header.endianness}",
                path=path,
            )
        check_version(header.version, path)
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
        # Joined and not normalised: a prefix may end in a slash, where the files have no base name.
        return open_bundle, (os.path.join(os.getcwd(), self.path), self.verify)

    @property
    def tables(self) -> list[Table]:
        """The index, which is the one table that a V2 checkpoint has."""
        return [self.table]

    # Names and entries.

    def records(self) -> dict[str, bytes]:
        """Every tensor's entry by name, in the order of the table, which is validated as a whole."""
        records = self._records
        if records is None:
            records = self._records = self._tensors(self.table.blocks())
        return records

    def surviving_records(self) -> dict[str, bytes]:
        """The same from those blocks of the index that are whole."""

        def whole_blocks() -> Iterator[tuple[list[bytes], list[bytes]]]:
            for number in range(len(self.table.handles)):
                with suppress(FormatError, OSError):
                    yield self.table.block(number)

        return self._tensors(whole_blocks())

    def _tensors(self, blocks: Iterable[tuple[list[bytes], list[bytes]]]) -> dict[str, bytes]:
        records: dict[str, bytes] = {}
        for keys, values in blocks:
            records.update(zip(decode_names(keys), values, strict=True))
        self._index.check_unchanged()
        records.pop(decode_name(HEADER_KEY), None)
        for name in self._slice_names(records):
            del records[name]
        return records

    def _slice_names(self, records: dict[str, bytes]) -> list[str]:
        """The keys that hold slices. A tensor's own name may open with NUL too, so its parent has to vouch for it."""
        found = []
        # What each parent vouches for; ``None`` if its entry makes no sense.
        vouched: dict[bytes, set[tuple[Extent, ...]] | None] = {}
        for name in records:
            if not name.startswith("\0"):
                break  # Keys are sorted, and all slice keys open with NUL.
            try:
                parent, extents = decode_slice_key(encode_name(name))
            except FormatError:
                continue
            if (record := records.get(decode_name(parent))) is None:
                continue
            if parent not in vouched:
                try:
                    vouched[parent] = {piece.extents for piece in decode_facts(record).slices}
                except FormatError:
                    vouched[parent] = None
            stated = vouched[parent]
            # Reading a broken parent says what is wrong; its slices are no tensors for all that.
            if stated is None or extents in stated:
                found.append(name)
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

    def all_facts(self) -> Iterable[Facts | None]:
        """The same of every tensor, in the order of ``records``; ``None`` where ``facts`` has to be asked."""
        return known_facts(self.records().values())

    def pieces(self, name: str, record: bytes) -> Pieces:
        """The stored pieces of a tensor: itself, or those of its slices that have entries."""
        try:
            facts = decode_facts(record)
            if not facts.slices:
                return [(None, Piece(facts.data_type, facts.shape, decode_location(record, facts)))]
            check_disjoint(facts.slices)
            return [
                (part, _slice_piece(value, facts, part))
                for part, value in zip(facts.slices, self._slice_entries(name, facts), strict=True)
                if value is not None
            ]
        except TfBundleError as error:
            raise error.locate(path=self._index.path, tensor=name) from None

    def _slice_entries(self, name: str, facts: Facts) -> list[bytes | None]:
        # A slice that is the whole tensor would be stored under the tensor's own name, and that is its parent.
        key = encode_name(name)
        keys = [encode_slice_key(key, part.extents) for part in facts.slices]
        found = self.table.find_all(keys)
        return [found.get(key) for key in keys]

    def ranges(self, name: str, record: bytes) -> tuple[Range, ...]:
        """Where a tensor lies."""
        return tuple(
            Range(self.shards.path(place.shard), place.offset, place.size, unmask(place.crc))
            for _, (_, _, place) in self.pieces(name, record)
        )

    def fingerprint(self, name: str, record: bytes) -> tuple[bytes | None, ...]:
        """The entries of a partitioned tensor's slices, for its own record holds no checksum."""
        return tuple(self._slice_entries(name, self.facts(name, record)))

    # Values.

    def read(self, name: str, record: bytes) -> Array:
        """The whole tensor as an array of its own."""
        return self._read(name, record, self.pieces(name, record))

    def _read(self, name: str, record: bytes, pieces: Pieces) -> Array:
        try:
            if not pieces or pieces[0][0] is not None:
                return self._assemble(decode_facts(record), pieces)
            return self.reader.read(pieces[0][1])
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def _assemble(self, facts: Facts, pieces: Pieces) -> Array:
        self._check_complete(facts, pieces)
        self._check_room([piece for _, piece in pieces])
        array = allocate(facts.data_type, facts.shape)
        for part, piece in pieces:
            array[_box(part).index] = self.reader.read(piece)
        return array

    def read_selection(self, name: str, record: bytes, selection: Selection) -> Array:
        """The selected elements of a tensor in ascending order; unverified, but for strings and variants."""
        pieces = self.pieces(name, record)
        try:
            if not pieces or pieces[0][0] is not None:
                return self._assemble_part(decode_facts(record), pieces, selection)
            return self.reader.read_part(pieces[0][1], selection)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def _assemble_part(self, facts: Facts, pieces: Pieces, selection: Selection) -> Array:
        found = []
        for part, piece in pieces:
            box = intersect(selection, _box(part).starts, _box(part).lengths)
            if box is not None:
                found.append((piece, *box))
        if sum(prod(inner.counts) for _, inner, _ in found) != prod(selection.counts):
            self._check_complete(facts, pieces)
        self._check_room([piece for piece, _, _ in found])
        array = allocate(facts.data_type, selection.counts)
        for piece, inner, target in found:
            array[target] = self.reader.read_part(piece, inner)
        return array

    def chunks(self, name: str, record: bytes) -> Iterator[Array]:
        """The elements of a tensor from first to last, as flat arrays of bounded size (``streaming`` says how)."""
        pieces = self.pieces(name, record)
        try:
            if pieces and pieces[0][0] is None:
                yield from stream_piece(self.reader, pieces[0][1])
                return
            facts = decode_facts(record)
            self._check_complete(facts, pieces)
            self._check_room([piece for _, piece in pieces])
            order = in_order([_box(part) for part, _ in pieces], facts.shape)
            if order is not None:
                for number in order:
                    yield from stream_piece(self.reader, pieces[number][1])
            elif pieces[0][1].is_objects:
                yield from split(self._assemble(facts, pieces))
            else:
                for _, piece in pieces:
                    if self.verify:
                        self.reader.check(piece)
                itemsize = numpy_dtype(facts.data_type).itemsize
                yield from stream_bands(facts.shape, itemsize, partial(self._assemble_part, facts, pieces))
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def _check_complete(self, facts: Facts, pieces: Pieces) -> None:
        gap = find_gap([_box(part) for part, _ in pieces], facts.shape)
        if gap is not None:
            raise incomplete(gap, len(pieces))

    def _check_room(self, pieces: Iterable[Piece]) -> None:
        room = Room(self.reader)
        for piece in pieces:
            room.take(piece)
            if piece.is_objects and prod(piece.shape) > piece.location.size:
                raise FormatError(f"{prod(piece.shape)} elements cannot lie in {piece.location.size} bytes")

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Many tensors by name, as ``view`` or ``read`` gives them; each must be there.

        Raises ``FormatError`` if together they take far more bytes than the shards have.
        """
        records = self.records()
        room = Room(self.reader)
        wanted = [records[name] for name in names]
        found = [None] * len(wanted) if mmap else read_small(self.reader, wanted, room)
        arrays = {}
        for name, record, array in zip(names, wanted, found, strict=True):
            if array is None:
                pieces = self.pieces(name, record)
                try:
                    for _, piece in pieces:
                        room.take(piece)
                except TfBundleError as error:
                    raise error.locate(path=self.path, tensor=name) from None
                array = (self._view if mmap else self._read)(name, record, pieces)
            arrays[name] = array
        if not self.verify:
            self.shards.check_in_place()
        return arrays

    def view(self, name: str, record: bytes) -> Array:
        """A read-only array: a view of the mapped file where the stored bytes are the array, else one of its own."""
        return self._view(name, record, self.pieces(name, record))

    def _view(self, name: str, record: bytes, pieces: Pieces) -> Array:
        if pieces and pieces[0][0] is None:
            try:
                view = self.reader.view(pieces[0][1])
            except TfBundleError as error:
                raise error.locate(path=self.path, tensor=name) from None
            if view is not None:
                return view
        array = self._read(name, record, pieces)
        array.flags.writeable = False
        return array

    def checks(self, name: str, record: bytes, absent: Collection[int]) -> Iterator[Check]:
        """What there is to check of a tensor; pieces in the shards ``absent`` are left out."""
        pieces = self.pieces(name, record)
        facts = decode_facts(record)
        if facts.slices:
            yield Check(0, None, partial(self._check_complete, facts, pieces))
        for _, piece in pieces:
            shard, offset, size, _ = piece.location
            if shard not in absent:
                place = Place(self.shards.path(shard), shard, offset, size)
                yield Check(size, place, partial(self.reader.check, piece))


def _slice_piece(value: bytes, facts: Facts, part: TensorSlice) -> Piece:
    own = decode_facts(value)
    if own.slices or own.data_type != facts.data_type or own.shape != part.lengths:
        raise FormatError(f"the entry of its slice {part} has another type or shape than the slice")
    return Piece(own.data_type, own.shape, decode_location(value, own))


def _box(part: TensorSlice | None) -> TensorSlice:
    assert part is not None  # Only an unpartitioned tensor's piece has none, and that has no need of one.
    return part
