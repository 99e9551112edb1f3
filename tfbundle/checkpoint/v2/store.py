"""V2 checkpoints: an index that says where each tensor lies (``bundle_index``), and data files that hold the bytes.

::

    PREFIX.data-00003-of-00008     shard 3: the bytes of tensors, one behind the other, C order

The index is the authority; a shard is nothing but bytes. Bytes become arrays in ``pieces``; here the pieces of a tensor
are put together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from math import prod
from typing import Any
from weakref import WeakValueDictionary

from tfbundle.checkpoint.v2.bulk import read_small
from tfbundle.checkpoint.v2.entry import decode_facts
from tfbundle.checkpoint.v2.index import BundleIndex, Pieces
from tfbundle.checkpoint.v2.payload import ByteOrder
from tfbundle.checkpoint.v2.pieces import Piece, PieceReader, Room, stream_piece
from tfbundle.checkpoint.v2.shards import Shards
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.findings import Check, Place
from tfbundle.formats.checksum import unmask
from tfbundle.proto import BundleHeaderProto
from tfbundle.tensors.arrays import Array, allocate, split
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.selection import Selection, intersect
from tfbundle.tensors.slices import TensorSlice, find_gap, incomplete
from tfbundle.tensors.store import Facts, Range
from tfbundle.tensors.streaming import in_order, stream_bands
from tfbundle.tensors.threads import run_together


def open_bundle(prefix: str, verify: bool) -> BundleStore:
    """The store of a V2 checkpoint, shared by all unpickled tensors that lie in it."""
    key = (prefix, verify)
    store = _shared.get(key)
    if store is None or not store.is_current():
        store = _shared[key] = BundleStore(prefix, verify=verify)
    return store


_shared: WeakValueDictionary[tuple[str, bool], BundleStore] = WeakValueDictionary()


class BundleStore(BundleIndex):
    """An open V2 checkpoint."""

    def __init__(self, prefix: str, *, verify: bool) -> None:
        """Open the index; raises ``FormatError`` where it is none, and ``UnsupportedError`` for a newer format."""
        super().__init__(prefix, verify=verify)
        self.shards = Shards(prefix, self.header.num_shards, self._index)
        byteorder: ByteOrder = "big" if self.header.endianness == BundleHeaderProto.BIG else "little"
        self.reader = PieceReader(self.shards, byteorder, verify=verify)

    def close(self) -> None:
        """Close the index and the shards."""
        super().close()
        self.shards.close()

    def reopening(self) -> tuple[Callable[..., BundleStore], tuple[Any, ...]]:
        """How another process opens this store."""
        # Joined and not normalised: a prefix may end in a slash, where the files have no base name.
        return open_bundle, (os.path.join(os.getcwd(), self.path), self.verify)

    def ranges(self, name: str, record: bytes) -> tuple[Range, ...]:
        """Where a tensor lies."""
        return tuple(
            Range(self.shards.path(place.shard), place.offset, place.size, unmask(place.crc))
            for _, (_, _, place) in self.pieces(name, record)
        )

    def read(self, name: str, record: bytes) -> Array:
        """The whole tensor as an array of its own."""
        return self._read(name, record, self.pieces(name, record))

    def _read(self, name: str, record: bytes, pieces: Pieces) -> Array:
        try:
            whole = _whole(pieces)
            return self._assemble(decode_facts(record), pieces) if whole is None else self.reader.read(whole)
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
            whole = _whole(pieces)
            if whole is None:
                return self._assemble_part(decode_facts(record), pieces, selection)
            return self.reader.read_part(whole, selection)
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
            whole = _whole(pieces)
            if whole is not None:
                yield from stream_piece(self.reader, whole)
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
        read = self._view if mmap else self._read
        jobs: list[Callable[[], Array]] = []
        nbytes = 0
        for name, record, array in zip(names, wanted, found, strict=True):
            if array is None:
                pieces = self.pieces(name, record)
                try:
                    for _, piece in pieces:
                        room.take(piece)
                        nbytes += piece.location.size
                except TfBundleError as error:
                    raise error.locate(path=self.path, tensor=name) from None
                jobs.append(partial(read, name, record, pieces))
        others = iter(run_together(jobs, nbytes))
        arrays = {name: next(others) if array is None else array for name, array in zip(names, found, strict=True)}
        if not self.verify:
            self.shards.check_in_place()
        return arrays

    def view(self, name: str, record: bytes) -> Array:
        """A read-only array: a view of the mapped file where the stored bytes are the array, else one of its own."""
        return self._view(name, record, self.pieces(name, record))

    def _view(self, name: str, record: bytes, pieces: Pieces) -> Array:
        whole = _whole(pieces)
        if whole is not None:
            try:
                view = self.reader.view(whole)
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
        facts = self.facts(name, record)
        if facts.slices:
            yield Check(0, None, partial(self._check_complete, facts, pieces))
        for _, piece in pieces:
            shard, offset, size, _ = piece.location
            if shard not in absent:
                place = Place(self.shards.path(shard), shard, offset, size)
                yield Check(size, place, partial(self.reader.check, piece))


def _whole(pieces: Pieces) -> Piece | None:
    """The one piece of a tensor that is not partitioned; ``None`` for slices, of which there may be none."""
    return pieces[0][1] if pieces and pieces[0][0] is None else None


def _box(part: TensorSlice | None) -> TensorSlice:
    assert part is not None  # Only an unpartitioned tensor's piece has none, and that has no need of one.
    return part
