"""V1 checkpoints: tables that hold the values themselves, of TensorFlow before 0.12 and ``write_version=V1``.

::

    PREFIX                    one table:   ""         -> the meta: each tensor's type, shape and slices
                                           slice key  -> the elements of one slice, in a TensorProto
    PREFIX-00001-of-00003     or several, each with a meta for its contents

An unpartitioned tensor is a single slice that covers everything, so that one way of reading serves all. ``index``
has the contents of the metas; here the slices of a tensor are read and put together.

Checksums are those of the table's blocks, and a block is verified whole before anything in it is used, so that
parts of a tensor are verified too. Large floats are stored in the file as in an array, and are read from there; all
other values pass through a decoder, whole slices at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from math import prod

import numpy as np

from tfbundle.checkpoint.v1.index import Record, StoredSlice, V1Index
from tfbundle.checkpoint.v1.saved_slice import decode_slice, find_slice_array
from tfbundle.checkpoint.v1.slice_table import SliceTable
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.findings import Check, Place
from tfbundle.formats.checksum import unmask
from tfbundle.formats.slice_keys import encode_name, encode_slice_key
from tfbundle.limits import LARGEST_SNAPPY_GROWTH
from tfbundle.storage.base import Location
from tfbundle.tensors.arrays import Array, allocate, shaped, split
from tfbundle.tensors.dtypes import data_type_name, numpy_dtype
from tfbundle.tensors.parts import VariablePart
from tfbundle.tensors.reading import read_selected
from tfbundle.tensors.selection import Selection, intersect
from tfbundle.tensors.shared_stores import SharedStores
from tfbundle.tensors.slices import find_gap, incomplete
from tfbundle.tensors.store import Facts, Range, Reopening, StoredArray, read_each

# The first bytes of a large value that are examined: they contain the tensor's name.
_HEAD_SIZE = 16 << 10


def open_v1(prefix: Location, files: tuple[Location, ...], verify: bool) -> V1Store:
    """Return the store of a V1 checkpoint, shared by all of its unpickled tensors."""
    return _shared.get((files, verify), lambda: V1Store.open(prefix, files, verify=verify))


_shared: SharedStores[V1Store] = SharedStores()


class V1Store:
    """An open V1 checkpoint."""

    def __init__(self, index: V1Index, reopening: Reopening, *, verify: bool) -> None:
        """``reopening`` is a picklable function with its arguments that opens the same store in another process."""
        self.index = index
        self.files = index.files
        self.prefix = index.files.prefix
        self.path = self.prefix.path
        self.verify = verify
        self._reopening = reopening

    @classmethod
    def open(cls, prefix: Location, files: Sequence[Location], *, verify: bool) -> V1Store:
        """Open the files of a checkpoint and read their metas; raises as ``V1Index.open`` does."""
        index = V1Index.open(prefix, files, verify=verify)
        return cls(index, (open_v1, (index.files.prefix, index.files.locations, verify)), verify=verify)

    def close(self) -> None:
        """Close every file; a later read is a ``ValueError``."""
        self.files.close()

    def is_current(self) -> bool:
        """Return whether the files at this path are still the ones that were opened."""
        return self.files.are_current()

    def version(self) -> Hashable:
        """Return the versions of the files, as they were when each was first opened."""
        return self.files.versions()

    def reopening(self) -> Reopening:
        """Return how another process opens this store."""
        return self._reopening

    def records(self) -> dict[str, Record]:
        """Return every tensor's record by name, in the order of the names' bytes."""
        return self.index.records()

    def find(self, name: str) -> Record | None:
        """Return a tensor's record, or ``None``."""
        return self.index.find(name)

    def facts(self, name: str, record: Record) -> Facts:
        """Return type, shape and, if there are several, slices of a tensor."""
        return self.index.facts(name, record)

    def all_facts(self) -> Iterable[Facts | None]:
        """Return ``None`` for each tensor: reading all of them together is not faster."""
        return self.index.all_facts()

    def part(self, name: str, record: Record) -> VariablePart | None:
        """Return where a tensor belongs that is a slot of a part of a variable; ``None`` for any other."""
        return self.index.part(name, record)

    def stored_arrays(self, name: str, record: Record) -> list[StoredArray]:
        """Return the slices of a tensor if each of them is in the file as an array: large and not compressed."""
        facts, slices = self.stored_slices(name, record)
        found = []
        try:
            self._check_complete(name, facts, slices)
            if numpy_dtype(facts.data_type).hasobject:
                return []
            for stored in slices:
                table = self.files.table(stored.file)
                offset = self._find_array(table, encode_name(name), facts, stored)
                if offset is None:
                    return []
                path = self.files.locations[stored.file].absolute().path
                found.append(StoredArray(path, offset, stored.box if facts.slices else None, "little"))
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None
        return found

    def string_size(self, name: str, record: Record) -> None:
        """Return ``None``, because the ranges have the checksums."""
        return

    def copyable(self, name: str, record: Record) -> tuple[()]:
        """Return nothing: V1 has values in messages."""
        return ()

    def all_copyable(self) -> Iterable[tuple[()]]:
        """Return an empty tuple for each tensor."""
        return repeat((), len(self.records()))

    def fingerprint(self, name: str, record: Record) -> None:
        """Return nothing beyond the record, which has the checksums of the tensor's blocks."""
        return

    def stored_slices(self, name: str, record: Record) -> tuple[Facts, list[StoredSlice]]:
        """Return the facts of a tensor, and its stored slices; ``FormatError`` if its files contradict each other."""
        return self.index.stored_slices(name, record)

    def ranges(self, name: str, record: Record) -> tuple[Range, ...]:
        """Return the blocks that hold a tensor's slices, which they may share with other tensors.

        A range is a block's contents, as stored, and the byte for their compression; so its checksum
        covers exactly these bytes.
        """
        blocks = {(stored.file, stored.block): None for stored in self.stored_slices(name, record)[1]}
        return tuple(
            Range(
                self.files.paths[file], block.offset, block.size + 1, None if block.crc is None else unmask(block.crc)
            )
            for file, block in blocks
            if block is not None
        )

    def read(self, name: str, record: Record) -> Array:
        """Return the whole tensor as a new array."""
        facts, slices = self.stored_slices(name, record)
        try:
            self._check_complete(name, facts, slices)
            if not facts.slices:
                values = self._read_slice(name, facts, slices[0])
                return shaped(values if values.flags.writeable else values.copy(), facts.shape)
            _check_size(facts, slices)
            array = allocate(facts.data_type, facts.shape)
            for stored in slices:
                if stored.box.volume:
                    array[stored.box.index] = self._read_slice(name, facts, stored).reshape(stored.box.lengths)
            return array
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def read_selection(self, name: str, record: Record, selection: Selection) -> Array:
        """Return the selected elements of a tensor in ascending order, verified; reads the slices that hold some."""
        facts, slices = self.stored_slices(name, record)
        try:
            found = []
            for stored in slices:
                box = intersect(selection, stored.box.starts, stored.box.lengths)
                if box is not None:
                    found.append((stored, *box))
            self.index.check_disjoint(name, slices)
            if sum(prod(inner.counts) for _, inner, _ in found) != prod(selection.counts):
                self._check_complete(name, facts, slices)
            _check_size(facts, [stored for stored, _, _ in found])
            array = allocate(facts.data_type, selection.counts)
            for stored, inner, target in found:
                array[target] = self._read_part(name, facts, stored, inner)
            return array
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def chunks(self, name: str, record: Record) -> Iterator[Array]:
        """Yield the elements of a tensor in C order; it is read whole, for values here pass through a decoder."""
        return split(self.read(name, record))

    def view(self, name: str, record: Record) -> Array:
        """Return a read-only array; the values of a V1 checkpoint are not stored as an array."""
        array = self.read(name, record)
        array.flags.writeable = False
        return array

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many tensors by name, each of which must be there; with ``mmap`` they are read-only."""
        # In the order of the file, for neighbours share a block.
        arrays = read_each(self, sorted(names, key=encode_name), mmap=mmap)
        return {name: arrays[name] for name in names}

    def checks(self, name: str, record: Record, absent: Collection[int]) -> Iterator[Check]:
        """Yield the checks of a tensor; files of a V1 checkpoint are never ``absent``."""
        facts, slices = self.stored_slices(name, record)
        yield Check(0, None, partial(self._check_complete, name, facts, slices))
        itemsize = 0 if numpy_dtype(facts.data_type).hasobject else numpy_dtype(facts.data_type).itemsize
        for stored in slices:
            place = Place(self.files.paths[stored.file])
            if stored.block is not None:
                place = place._replace(offset=stored.block.offset, size=stored.block.size)
            yield Check(stored.box.volume * itemsize, place, partial(self._check_slice, name, facts, stored))

    def _check_slice(self, name: str, facts: Facts, stored: StoredSlice) -> None:
        self._read_slice(name, facts, stored)

    def _check_complete(self, name: str, facts: Facts, slices: list[StoredSlice]) -> None:
        self.index.check_disjoint(name, slices)
        boxes = [stored.box for stored in slices]
        gap = find_gap(boxes, facts.shape)
        if gap is not None or not boxes:
            raise incomplete(gap, len(boxes))

    def _read_slice(self, name: str, facts: Facts, stored: StoredSlice) -> Array:
        """Return the elements of one slice in a row; perhaps a read-only view of bytes in memory."""
        table = self.files.table(stored.file)
        source = table.source
        key, extents, length = encode_name(name), stored.box.extents, stored.box.volume
        try:
            offset = self._find_array(table, key, facts, stored)
            if offset is not None:
                values = np.empty(length, numpy_dtype(facts.data_type))
                source.read_into(offset, values.view(np.uint8).data)
                source.check_unchanged()
                return values
            value = table.get(encode_slice_key(key, extents))
            if value is None:
                raise FormatError(
                    f"its region {stored.box} is listed, but {source.path} has no values for it; other regions "
                    "can be read by slicing"
                )
            values = decode_slice(value, key, extents, facts.data_type, length)
        except TfBundleError as error:
            source.check_unchanged()
            if error.path is None:
                error.offset = None  # What is known is a place in the value, and its block may be compressed.
            raise error.locate(path=source.path, offset=stored.block.offset if stored.block else None) from None
        if not self.verify:
            source.check_unchanged()
        return values

    def _read_part(self, name: str, facts: Facts, stored: StoredSlice, inner: Selection) -> Array:
        """Return the selected elements of one slice."""
        lengths = stored.box.lengths
        table = self.files.table(stored.file)
        offset = self._find_array(table, encode_name(name), facts, stored)
        if offset is None:
            part: Array = self._read_slice(name, facts, stored).reshape(lengths)[inner.grid]
            return part
        array = read_selected(table.source, offset, facts.data_type, lengths, inner)
        table.source.check_unchanged()
        return array

    def _find_array(self, table: SliceTable, key: bytes, facts: Facts, stored: StoredSlice) -> int | None:
        """Return where in the file the elements of a large slice are as an array, verified, or ``None``."""
        extents, dtype = stored.box.extents, numpy_dtype(facts.data_type)
        place = table.place(encode_slice_key(key, extents))
        if place is None:
            return None
        head = table.source.read_at(place.offset, min(place.size, _HEAD_SIZE))
        nbytes = stored.box.volume * dtype.itemsize
        start = find_slice_array(head, place.size, key, extents, facts.data_type, nbytes)
        return None if start is None else place.offset + start


def _check_size(facts: Facts, slices: list[StoredSlice]) -> None:
    """Raise ``FormatError`` if blocks cannot hold the elements of their slices, before memory is taken for them."""
    numpy_dtype(facts.data_type)  # Raises for a type that cannot be stored.
    blocks = {(stored.file, stored.block): stored.block.size if stored.block else 0 for stored in slices}
    # An element takes at least a byte of a block, and Snappy makes so many of one byte.
    wanted = sum(stored.box.volume for stored in slices)
    stored = sum(blocks.values())
    if wanted > stored * LARGEST_SNAPPY_GROWTH:
        raise FormatError(
            f"{wanted} elements of {data_type_name(facts.data_type)} cannot be stored in {stored} bytes of blocks"
        )
