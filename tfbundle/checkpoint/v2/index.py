"""The index of a V2 checkpoint: the name of each tensor with its entry, and where its slices are stored.

::

    PREFIX.index     sorted table:  ""         -> BundleHeaderProto (number of shards, byte order, version)
                                    name       -> BundleEntryProto (type, shape, shard, offset, size, CRC)
                                    slice key  -> BundleEntryProto of one slice of a partitioned tensor

A partitioned tensor's own entry lists its slices, and states no place. Slice keys (``keys``) look like names that open
with NUL, of which there may be some, too; only the entry of the whole tensor identifies them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from tfbundle.checkpoint.v2.bulk import known_facts
from tfbundle.checkpoint.v2.entry import decode_facts, decode_location
from tfbundle.checkpoint.v2.payload import ByteOrder
from tfbundle.checkpoint.v2.stored_slices import StoredSlice
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.formats.slice_keys import (
    decode_name,
    decode_names,
    decode_slice_key,
    decode_slice_owner,
    encode_name,
    encode_slice_keys,
)
from tfbundle.formats.table.reader import Table
from tfbundle.formats.versions import check_version
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.limits import FREE_SLICE_LISTS, MOST_BYTES_A_KEY_BYTE, MOST_SHARDS, MOST_SLICES
from tfbundle.proto import BundleHeaderProto
from tfbundle.storage.base import Location
from tfbundle.tensors.overlaps import Effort
from tfbundle.tensors.parts import Tiling, VariablePart, find_part, tiling
from tfbundle.tensors.slices import TensorSlice, check_disjoint
from tfbundle.tensors.store import Facts

HEADER_KEY = b""
_BYTE_ORDERS: dict[int, ByteOrder] = {BundleHeaderProto.LITTLE: "little", BundleHeaderProto.BIG: "big"}

# The stored slices of a tensor, each with its box; an unpartitioned tensor is a single slice, and needs no box.
Slices = list[tuple[TensorSlice | None, StoredSlice]]
# An entry shorter than this lists a few slices at most.
_SHORT_LIST = 64
# What is known of so many slices is kept: a few megabytes.
_MOST_SLICES_KEPT = MOST_SLICES
# So many names are looked up one by one: 64 of 100,000 take 3 ms, and a scan of the table 45 ms.
_FEW_NAMES = 64


class Header(NamedTuple):
    """What the header states: how many shards there are, and the byte order of their numbers."""

    num_shards: int
    byteorder: ByteOrder


class Parents:
    """What the entries of partitioned tensors state, of which the last ones are kept.

    An entry lists any number of slices in a few bytes each, which take a hundred times as many to compare and to keep.
    TensorFlow stores each slice under a key, which repeats what the entry lists. So the entries take three times as
    many bytes as the keys at most, which only has to be asked where they take many.
    """

    def __init__(self, table: Table) -> None:
        """``table`` is the index, whose keys are read once they matter."""
        self._table = table
        self._kept: dict[bytes, Facts] = {}
        self._seen: set[int] = set()
        self._size = 0
        self._allowed = FREE_SLICE_LISTS
        self._keys: tuple[tuple[bytes, bytes] | None, frozenset[bytes]] = None, frozenset()

    def facts(self, record: bytes) -> Facts:
        """Return what ``decode_facts`` does; ``UnsupportedError`` where too many slices are listed."""
        if len(record) < _SHORT_LIST:
            return decode_facts(record)
        facts = self._kept.get(record)
        if facts is None:
            self._count(record)
            facts = decode_facts(record)
            if len(facts.slices) <= _MOST_SLICES_KEPT:
                while len(self._kept) and sum(len(kept.slices) for kept in self._kept.values()) > _MOST_SLICES_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[record] = facts
        return facts

    def slice_keys(self, name: bytes, record: bytes) -> Collection[bytes]:
        """Return the keys of the slices that the entry of a tensor lists; raises as ``facts`` does."""
        # Keys are sorted, so that those of one tensor's slices are asked about together.
        known, keys = self._keys
        if known != (name, record):
            slices = self.facts(record).slices
            keys = frozenset(encode_slice_keys(name, [box.extents for box in slices]))
            self._keys = (name, record), keys
        return keys

    def _count(self, record: bytes) -> None:
        number = hash(record)
        if number in self._seen:
            return
        size = self._size + len(record)
        if size > self._allowed == FREE_SLICE_LISTS:
            self._allowed += MOST_BYTES_A_KEY_BYTE * _size_of_slice_keys(self._table)
        if size > self._allowed:
            raise UnsupportedError("it and others list far more slices than the index has entries for")
        self._seen.add(number)
        self._size = size


def _size_of_slice_keys(table: Table) -> int:
    size = 0
    for keys, _ in table.blocks():
        # Such keys open with NUL, and stand in front of all others but the header's.
        size += sum(len(key) for key in keys if key.startswith(b"\0"))
        if keys and keys[-1] > b"\1":
            break
    return size


class BundleIndex:
    """The names and entries of an open V2 checkpoint; a record is the entry's bytes."""

    def __init__(
        self,
        table: Table,
        header: Header,
        records: dict[str, bytes] | None = None,
        damaged: Mapping[str, frozenset[int]] | None = None,
    ) -> None:
        """``open`` makes these, and ``salvage`` makes them from the remains of one.

        ``records`` are all tensors' entries, where they are known already. ``damaged`` has the numbers of slices that
        are left out of what their tensors have.
        """
        self.table = table
        self.header = header
        self._source = table.source
        self._records = records
        self._damaged = damaged or {}
        self._owners: dict[str, Tiling | None] = {}
        self.parents = Parents(table)
        # Tensors whose slices have proved not to overlap, and what may be spent on proving it of others.
        self._disjoint: set[str] = set()
        self._effort = Effort()

    @classmethod
    def open(cls, prefix: Location, *, verify: bool) -> BundleIndex:
        """Open the index; raises ``FormatError`` if it is not valid, and ``UnsupportedError`` for a newer format."""
        table = Table(prefix.plus(INDEX_SUFFIX).open(), verify=verify)
        return cls(table, read_header(table))

    def restrict(self, names: Iterable[str], damaged: Mapping[str, frozenset[int]]) -> BundleIndex:
        """Return the index of some of the tensors, without the ``damaged`` slices of others."""
        records = self.records()
        index = BundleIndex(self.table, self.header, {name: records[name] for name in names}, damaged)
        # Where a slot of a part belongs does not depend on whether its variable is intact.
        index._owners = self._owners
        index.parents, index._disjoint, index._effort = self.parents, self._disjoint, self._effort
        return index

    def close(self) -> None:
        """Close the index."""
        self._source.close()

    def is_current(self) -> bool:
        """Return whether the file at this path is still the one that was opened."""
        return self._source.same_file()

    def records(self) -> dict[str, bytes]:
        """Return every tensor's entry by name, in the order of the table, which is validated as a whole."""
        records = self._records
        if records is None:
            records = decode_tensors(self.table.blocks(), self.parents)
            self._source.check_unchanged()
            self._records = records
        return records

    def find(self, name: str) -> bytes | None:
        """Return a tensor's entry, or ``None`` once the whole table has proved to be in order."""
        if self._records is None:
            try:
                key = encode_name(name)
            except UnicodeEncodeError:
                return None
            # A key that opens with NUL may be a slice's; only a scan determines this.
            if key and key[0] != 0:
                value = self.table.find(key)
                if value is not None:
                    self._source.check_unchanged()
                    return value
        return self.records().get(name)

    def records_of(self, names: Sequence[str]) -> list[bytes]:
        """Return the entries of tensors that are stored; a few are looked up, without a scan of the table."""
        if self._records is None and len(names) <= _FEW_NAMES:
            found = [entry for entry in map(self.find, names) if entry is not None]
            if len(found) == len(names):
                return found
        records = self.records()
        return [records[name] for name in names]

    def facts(self, name: str, record: bytes) -> Facts:
        """Return type, shape and slices of a tensor; of the slot of a part of a variable, those of the part."""
        facts = self._stated(name, record)
        part = self._part(name, facts)
        if part is not None:
            return Facts(facts.data_type, part.region.lengths, ())
        if name in self._damaged:
            return facts._replace(slices=tuple(box for box, _ in self.stored_slices(name, record) if box is not None))
        return facts

    def facts_of(self, record: bytes) -> Facts:
        """Return what an entry states; ``UnsupportedError`` where entries list far more slices than are stored."""
        return self.parents.facts(record)

    def part(self, name: str, record: bytes) -> VariablePart | None:
        """Return where a tensor belongs that is a slot of a part of a variable; ``None`` for any other."""
        return self._part(name, self._stated(name, record))

    def _part(self, name: str, facts: Facts) -> VariablePart | None:
        return find_part(name, facts, self._tiling_of) if len(facts.slices) == 1 else None

    def _tiling_of(self, name: str) -> Tiling | None:
        """Return how another tensor is partitioned, which each slot of its parts requires."""
        if name not in self._owners:
            record = self.find(name)
            try:
                self._owners[name] = tiling(None if record is None else self.facts_of(record))
            except TfBundleError:
                self._owners[name] = None
        return self._owners[name]

    def _stated(self, name: str, record: bytes) -> Facts:
        try:
            return self.facts_of(record)
        except TfBundleError as error:
            raise error.locate(path=self._source.path, tensor=name) from None

    def all_facts(self) -> Iterable[Facts | None]:
        """Return the facts of every tensor, in the order of ``records``; ``None`` where ``facts`` has to be asked."""
        return known_facts(self.records().values())

    def stored_slices(self, name: str, record: bytes) -> Slices:
        """Return the stored slices of a tensor: itself, or those of its slices that have entries and are intact."""
        try:
            facts = self.facts_of(record)
            part = self._part(name, facts)
            if part is not None:
                return [(None, _stored_slice(self._part_entry(name, facts), facts, part.region))]
            if not facts.slices:
                return [(None, StoredSlice(facts.data_type, facts.shape, decode_location(record, facts)))]
            slices: Slices = [
                (part, _stored_slice(value, facts, part))
                for part, value in zip(facts.slices, self._slice_entries(name, facts), strict=True)
                if value is not None
            ]
            if name not in self._disjoint:
                # Keys that are listed but do not exist cannot contradict the others.
                check_disjoint([part for part, _ in slices if part is not None], self._effort)
                self._disjoint.add(name)
            damaged = self._damaged.get(name, ())
            return [stored for number, stored in enumerate(slices) if number not in damaged]
        except TfBundleError as error:
            raise error.locate(path=self._source.path, tensor=name) from None

    def _part_entry(self, name: str, facts: Facts) -> bytes:
        (value,) = self._slice_entries(name, facts)
        if value is None:
            raise FormatError(f"its only slice {facts.slices[0]} has no entry")
        return value

    def _slice_entries(self, name: str, facts: Facts) -> list[bytes | None]:
        # A slice that is the whole tensor would be stored under the tensor's own name, and that is its parent.
        keys = encode_slice_keys(encode_name(name), [part.extents for part in facts.slices])
        found = self.table.find_all(keys)
        return [found.get(key) for key in keys]

    def fingerprint(self, name: str, record: bytes) -> tuple[bytes | None, ...]:
        """Return the entries of a partitioned tensor's slices, for its own record holds no checksum."""
        return tuple(self._slice_entries(name, self._stated(name, record)))


def _stored_slice(value: bytes, facts: Facts, part: TensorSlice) -> StoredSlice:
    own = decode_facts(value)
    if own.slices or own.data_type != facts.data_type or own.shape != part.lengths:
        raise FormatError(f"the entry of its slice {part} has another type or shape than the slice")
    return StoredSlice(own.data_type, own.shape, decode_location(value, own))


def read_header(table: Table) -> Header:
    """Return what the header of an index states.

    Raises ``FormatError`` if there is none, and ``UnsupportedError`` for a newer format.
    """
    path = table.source.path
    value = table.find(HEADER_KEY)
    if value is None:
        raise FormatError(f"{path} has no bundle header; it is a table of another kind", path=path)
    try:
        header = BundleHeaderProto.FromString(value)
    except DecodeError:
        raise FormatError(f"the header of {path} is not a BundleHeaderProto", path=path) from None
    order = _BYTE_ORDERS.get(header.endianness)
    is_filled_in = 0 <= header.num_shards <= MOST_SHARDS and order is not None
    if not is_filled_in and _has_tensors(table):
        raise FormatError(
            f"the header of {path} states {header.num_shards} shards and byte order {header.endianness}",
            path=path,
        )
    check_version(header.version, path)
    # Old writers left the header of a checkpoint without tensors as they found it in memory.
    return Header(header.num_shards, order) if is_filled_in and order is not None else Header(0, "little")


def _has_tensors(table: Table) -> bool:
    return any(key != HEADER_KEY for keys, _ in table.blocks() for key in keys)


def decode_tensors(blocks: Iterable[tuple[list[bytes], list[bytes]]], parents: Parents) -> dict[str, bytes]:
    """Return the entry of every tensor by name: all but the header and what belongs to slices."""
    records: dict[str, bytes] = {}
    for keys, values in blocks:
        records.update(zip(decode_names(keys), values, strict=True))
    records.pop(decode_name(HEADER_KEY), None)
    for name in slice_names(records, records.get, parents):
        del records[name]
    return records


def slice_names(names: Iterable[str], find: Callable[[str], bytes | None], parents: Parents) -> list[str]:
    """Return those of the sorted ``names`` that are keys of slices; ``find`` gives the entry of a tensor.

    A tensor's own name may open with NUL too, so that its parent has to vouch for a slice.
    """
    found = []
    # The entry of each parent; ``None`` if there is none.
    records: dict[bytes, bytes | None] = {}
    for name in names:
        if not name.startswith("\0"):
            break  # Keys are sorted, and all slice keys open with NUL.
        key = encode_name(name)
        try:
            parent = decode_slice_owner(key)
        except FormatError:
            continue
        if parent not in records:
            records[parent] = find(decode_name(parent))
        record = records[parent]
        try:
            is_slice = record is not None and key in parents.slice_keys(parent, record)
        except TfBundleError:
            # Reading a damaged parent raises the error; its slices are not tensors in any case.
            is_slice = _is_slice_key(key)
        if is_slice:
            found.append(name)
    return found


def _is_slice_key(key: bytes) -> bool:
    try:
        decode_slice_key(key)
    except FormatError:
        return False
    return True
