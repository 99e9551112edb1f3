"""V1 checkpoints: tables that hold the values themselves, of TensorFlow before 0.12 and ``write_version=V1``.

::

    PREFIX                    one table:   ""         -> the meta: each tensor's type, shape and slices
                                           slice key  -> the elements of one slice, in a TensorProto
    PREFIX-00001-of-00003     or several, each with a meta of its own for what it holds

An unpartitioned tensor is a single slice that covers everything, so that one way of reading serves all.
Slices of one tensor may lie in several files; what their metas say has to agree.

Checksums are those of the table's blocks, and a block is verified whole before anything in it is used, so that
parts of a tensor are verified too. Large floats lie in the file as an array does, and are read from there; all
other values pass through a decoder, whole slices at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from math import prod
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from tfbundle.checkpoint.entry import Facts
from tfbundle.checkpoint.findings import Check, Place
from tfbundle.checkpoint.keys import decode_name, encode_name, encode_slice_key
from tfbundle.checkpoint.pieces import allocate, shaped
from tfbundle.checkpoint.saved_slice import decode_meta, decode_slice, decode_statement, find_slice_array
from tfbundle.checkpoint.selection import Selection, intersect, plan_reads
from tfbundle.checkpoint.slice_table import Block, SliceTable
from tfbundle.checkpoint.slices import TensorSlice, check_disjoint, find_gap, incomplete, locate_slice
from tfbundle.checkpoint.streaming import split
from tfbundle.checkpoint.tensor import Array, Range
from tfbundle.checkpoint.v1_files import V1Files
from tfbundle.checkpoint.versions import check_version
from tfbundle.dtypes import data_type_name, numpy_dtype
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.formats.checksum import unmask
from tfbundle.formats.sstable import Table
from tfbundle.limits import LARGEST_SNAPPY_GROWTH

_META_KEY = b""

# The first bytes of a large value that are looked at: they hold the tensor's name.
_HEAD_SIZE = 16 << 10


class Part(NamedTuple):
    """What one file says of a tensor: the file's number, the meta's statement, and its slices' blocks."""

    file: int
    statement: bytes
    blocks: tuple[Block | None, ...]


# One for each file that knows the tensor. The blocks' checksums tell whether it still holds the same values.
Record = tuple[Part, ...]


class Piece(NamedTuple):
    """One slice of a tensor: its place in the tensor, and where it is stored."""

    box: TensorSlice
    file: int
    block: Block | None


def open_v1(path: str, files: tuple[str, ...], verify: bool) -> V1Store:
    """The store of a V1 checkpoint, shared by all unpickled tensors that lie in it."""
    key = (files, verify)
    store = _shared.get(key)
    if store is None or not store.is_current():
        store = _shared[key] = V1Store(path, files, verify=verify)
    return store


_shared: WeakValueDictionary[tuple[tuple[str, ...], bool], V1Store] = WeakValueDictionary()


class V1Store:
    """An open V1 checkpoint."""

    def __init__(self, path: str, files: Sequence[str], *, verify: bool) -> None:
        """Open ``files`` and read their metas; ``path`` is what the person calls the checkpoint.

        Raises ``MissingFileError`` where one of the set is not there, ``FormatError`` where a file is no V1
        checkpoint, and ``UnsupportedError`` for a newer format.
        """
        self.path = path
        self.verify = verify
        self.files = self._find_files(files)
        parts: dict[bytes, list[Part]] = {}
        for number in range(len(self.files)):
            self._read_parts(number, parts)
        if len(self.files) > 1 and not self.is_current():
            raise FormatError(f"{path} was overwritten while it was being opened; open it again", path=path)
        self._records = {decode_name(name): tuple(parts[name]) for name in sorted(parts)}

    def _find_files(self, files: Sequence[str]) -> V1Files:
        return V1Files(self.path, files, verify=self.verify)

    def _read_parts(self, number: int, parts: dict[bytes, list[Part]]) -> None:
        """Add what a file says to what is known of each tensor."""
        table = self.files.table(number)
        for name, statement in _read_meta(table):
            found = parts.setdefault(name, [])
            found.append(Part(number, statement, _find_blocks(table, name, statement)))

    def close(self) -> None:
        """Close every file; a later read is a ``ValueError``."""
        self.files.close()

    def is_current(self) -> bool:
        """Whether the files at this path are still the ones that were opened."""
        return self.files.are_current()

    def reopening(self) -> tuple[Callable[..., V1Store], tuple[Any, ...]]:
        """How another process opens this store."""
        return open_v1, (self.path, self.files.paths, self.verify)

    @property
    def tables(self) -> Iterator[Table]:
        """The table of each file."""
        return iter(self.files)

    # Names and metas.

    def records(self) -> dict[str, Record]:
        """Every tensor's record by name, in the order of the names' bytes."""
        return self._records

    def find(self, name: str) -> Record | None:
        """A tensor's record, or ``None``."""
        return self._records.get(name)

    def facts(self, name: str, record: Record) -> Facts:
        """Type, shape and, if there are several, slices of a tensor."""
        return self.pieces(name, record)[0]

    def all_facts(self) -> Iterable[Facts | None]:
        """``None`` for each tensor: nothing is gained by asking for all at once."""
        return repeat(None, len(self._records))

    def pieces(self, name: str, record: Record) -> tuple[Facts, list[Piece]]:
        """What is known of a tensor, and its stored slices; ``FormatError`` where its files contradict."""
        pieces: list[Piece] = []
        kinds: list[tuple[int, tuple[int, ...]]] = []
        for part in record:
            path = self.files.paths[part.file]
            try:
                data_type, shape, slices = decode_statement(part.statement)
                boxes = [locate_slice(extents, shape) for extents in slices]
            except TfBundleError as error:
                error.offset = None  # A place in the meta means nothing to anyone.
                raise error.locate(path=path, tensor=name) from None
            kinds.append((data_type, shape))
            if kinds[0] != kinds[-1]:
                raise FormatError(
                    f"{self.files.paths[record[0].file]} has it as {_describe(*kinds[0])}, and {path} as "
                    f"{_describe(*kinds[-1])}",
                    path=path,
                    tensor=name,
                )
            pieces += map(Piece, boxes, [part.file] * len(boxes), part.blocks)
        data_type, shape = kinds[0]
        boxes = [piece.box for piece in pieces]
        is_whole = len(boxes) == 1 and boxes[0].volume == prod(shape)
        return Facts(data_type, shape, () if is_whole else tuple(boxes)), pieces

    def ranges(self, name: str, record: Record) -> tuple[Range, ...]:
        """The blocks that hold a tensor's slices, which they may share with other tensors.

        A range is a block's contents, as compressed as they are, and the byte that tells how; so its checksum
        covers exactly these bytes.
        """
        blocks = {(piece.file, piece.block): None for piece in self.pieces(name, record)[1]}
        return tuple(
            Range(
                self.files.paths[file], block.offset, block.size + 1, None if block.crc is None else unmask(block.crc)
            )
            for file, block in blocks
            if block is not None
        )

    def fingerprint(self, name: str, record: Record) -> None:
        """Nothing beyond the record, which has the checksums of the tensor's blocks."""
        return

    # Values.

    def read(self, name: str, record: Record) -> Array:
        """The whole tensor as an array of its own."""
        facts, pieces = self.pieces(name, record)
        try:
            self._check_complete(facts, pieces)
            if not facts.slices:
                values = self._read_piece(name, facts, pieces[0])
                return shaped(values if values.flags.writeable else values.copy(), facts.shape)
            _check_size(facts, pieces)
            array = allocate(facts.data_type, facts.shape)
            for piece in pieces:
                if piece.box.volume:
                    array[piece.box.index] = self._read_piece(name, facts, piece).reshape(piece.box.lengths)
            return array
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def read_selection(self, name: str, record: Record, selection: Selection) -> Array:
        """The selected elements of a tensor in ascending order, verified; reads the slices that hold some."""
        facts, pieces = self.pieces(name, record)
        try:
            found = []
            for piece in pieces:
                box = intersect(selection, piece.box.starts, piece.box.lengths)
                if box is not None:
                    found.append((piece, *box))
            check_disjoint([piece.box for piece in pieces])
            if sum(prod(inner.counts) for _, inner, _ in found) != prod(selection.counts):
                self._check_complete(facts, pieces)
            _check_size(facts, [piece for piece, _, _ in found])
            array = allocate(facts.data_type, selection.counts)
            for piece, inner, target in found:
                array[target] = self._read_part(name, facts, piece, inner)
            return array
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def chunks(self, name: str, record: Record) -> Iterator[Array]:
        """The elements of a tensor from first to last; it is read whole, for values here pass through a decoder."""
        return split(self.read(name, record))

    def view(self, name: str, record: Record) -> Array:
        """A read-only array; the values of a V1 checkpoint do not lie in the file as an array."""
        array = self.read(name, record)
        array.flags.writeable = False
        return array

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Many tensors by name, as ``view`` or ``read`` gives them; each must be there."""
        read = self.view if mmap else self.read
        # In the order of the file, for neighbours share a block.
        arrays = {name: read(name, self._records[name]) for name in sorted(names, key=encode_name)}
        return {name: arrays[name] for name in names}

    def checks(self, name: str, record: Record, absent: Collection[int]) -> Iterator[Check]:
        """What there is to check of a tensor; files of a V1 checkpoint are never ``absent``."""
        facts, pieces = self.pieces(name, record)
        yield Check(0, None, partial(self._check_complete, facts, pieces))
        itemsize = 0 if numpy_dtype(facts.data_type).hasobject else numpy_dtype(facts.data_type).itemsize
        for piece in pieces:
            place = Place(self.files.paths[piece.file])
            if piece.block is not None:
                place = place._replace(offset=piece.block.offset, size=piece.block.size)
            yield Check(piece.box.volume * itemsize, place, partial(self._check_piece, name, facts, piece))

    def _check_piece(self, name: str, facts: Facts, piece: Piece) -> None:
        self._read_piece(name, facts, piece)

    def _check_complete(self, facts: Facts, pieces: list[Piece]) -> None:
        boxes = [piece.box for piece in pieces]
        check_disjoint(boxes)
        gap = find_gap(boxes, facts.shape)
        if gap is not None or not boxes:
            raise incomplete(gap, len(boxes))

    def _read_piece(self, name: str, facts: Facts, piece: Piece) -> Array:
        """The elements of one slice in a row; perhaps a read-only view of bytes in memory."""
        table = self.files.table(piece.file)
        source = table.source
        key, extents, length = encode_name(name), piece.box.extents, piece.box.volume
        try:
            offset = self._find_array(table, key, facts, piece)
            if offset is not None:
                values = np.empty(length, numpy_dtype(facts.data_type))
                source.read_into(offset, values.view(np.uint8).data)
                source.check_unchanged()
                return values
            value = table.get(encode_slice_key(key, extents))
            if value is None:
                raise FormatError(
                    f"its region {piece.box} is listed, but {source.path} has no values for it; other regions "
                    "can be read by slicing"
                )
            values = decode_slice(value, key, extents, facts.data_type, length)
        except TfBundleError as error:
            source.check_unchanged()
            if error.path is None:
                error.offset = None  # What is known is a place in the value, and its block may be compressed.
            raise error.locate(path=source.path, offset=piece.block.offset if piece.block else None) from None
        if not self.verify:
            source.check_unchanged()
        return values

    def _read_part(self, name: str, facts: Facts, piece: Piece, inner: Selection) -> Array:
        """The selected elements of one slice."""
        lengths = piece.box.lengths
        table = self.files.table(piece.file)
        offset = self._find_array(table, encode_name(name), facts, piece)
        if offset is None:
            part: Array = self._read_piece(name, facts, piece).reshape(lengths)[inner.grid]
            return part
        array = allocate(facts.data_type, inner.counts)
        for span in plan_reads(inner, lengths, array.itemsize):
            data = table.source.read_at(offset + span.offset, span.size)
            array[span.target] = np.ndarray(span.counts, array.dtype, data, strides=span.strides)
        table.source.check_unchanged()
        return array

    def _find_array(self, table: SliceTable, key: bytes, facts: Facts, piece: Piece) -> int | None:
        """Where in the file the elements of a large slice lie as an array, verified, or ``None`` if they do not."""
        extents, dtype = piece.box.extents, numpy_dtype(facts.data_type)
        place = table.place(encode_slice_key(key, extents))
        if place is None:
            return None
        head = table.source.read_at(place.offset, min(place.size, _HEAD_SIZE))
        nbytes = piece.box.volume * dtype.itemsize
        start = find_slice_array(head, place.size, key, extents, facts.data_type, nbytes)
        return None if start is None else place.offset + start


def _read_meta(table: SliceTable) -> list[tuple[bytes, bytes]]:
    """The name of each tensor in a file, with what the file says of it."""
    path = table.source.path
    value = table.find(_META_KEY)
    if value is None:
        raise FormatError(f"{path} has no meta; it is a table of another kind", path=path)
    try:
        meta = decode_meta(value)
    except FormatError as error:
        error.offset = None
        raise error.locate(path=path) from None
    table.source.check_unchanged()
    check_version(meta.versions, path)
    return meta.statements


def _describe(data_type: int, shape: tuple[int, ...]) -> str:
    return f"{data_type_name(data_type)} of shape {list(shape)}"


def _find_blocks(table: SliceTable, name: bytes, statement: bytes) -> tuple[Block | None, ...]:
    try:
        slices = decode_statement(statement).slices
        return tuple(table.locate(encode_slice_key(name, extents)) for extents in slices)
    except TfBundleError:
        return ()  # Whoever asks for the tensor decodes the statement again, and is told what is wrong.


def _check_size(facts: Facts, pieces: list[Piece]) -> None:
    """Raise ``FormatError`` if blocks cannot hold the elements of their slices, before memory is taken for them."""
    numpy_dtype(facts.data_type)  # Raises for a type that cannot be stored.
    blocks = {(piece.file, piece.block): piece.block.size if piece.block else 0 for piece in pieces}
    # An element takes at least a byte of a block, and Snappy makes so many of one byte.
    wanted = sum(piece.box.volume for piece in pieces)
    stored = sum(blocks.values())
    if wanted > stored * LARGEST_SNAPPY_GROWTH:
        raise FormatError(
            f"{wanted} elements of {data_type_name(facts.data_type)} cannot lie in {stored} bytes of blocks"
        )
