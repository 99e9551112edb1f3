"""V2 checkpoints: an index with the place of each tensor (``index``), and data files that hold the bytes.

::

    PREFIX.data-00003-of-00008     shard 3: the bytes of tensors, one after the other, C order

The index is the authority; a shard is nothing but bytes. Bytes become arrays in ``stored_slices``, and slices become
tensors in ``assembly``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import repeat

import numpy as np

from tfbundle.checkpoint.v2.assembly import assemble, assemble_part, check_complete, stream, whole_of
from tfbundle.checkpoint.v2.bulk import find_places, read_small
from tfbundle.checkpoint.v2.entry import Location as StoredPlace
from tfbundle.checkpoint.v2.index import BundleIndex, Slices
from tfbundle.checkpoint.v2.segments import Segments
from tfbundle.checkpoint.v2.shards import Shards
from tfbundle.checkpoint.v2.stored_slices import Room, SliceReader, StoredSlice, stream_slice
from tfbundle.errors import TfBundleError
from tfbundle.findings import Check, Place
from tfbundle.formats.checksum import unmask
from tfbundle.storage.base import Location
from tfbundle.storage.copying import Sink
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.parts import VariablePart
from tfbundle.tensors.selection import Selection
from tfbundle.tensors.shared_stores import SharedStores
from tfbundle.tensors.slices import TensorSlice
from tfbundle.tensors.store import Copyable, Facts, Range, Reopening, StoredArray
from tfbundle.tensors.threads import run_together


def open_bundle(prefix: Location, verify: bool) -> BundleStore:
    """Return the store of a V2 checkpoint, shared by all unpickled tensors from it."""
    return _shared.get((prefix, verify), lambda: BundleStore.open(prefix, verify=verify))


_shared: SharedStores[BundleStore] = SharedStores()


class BundleStore:
    """An open V2 checkpoint: its index, its shards, and what reads the arrays in them."""

    def __init__(self, index: BundleIndex, reader: SliceReader, reopening: Reopening) -> None:
        """``reopening`` is a picklable function with its arguments that opens the same store in another process."""
        self.index = index
        self.reader = reader
        self.shards = reader.shards
        self.prefix = self.shards.prefix
        self.path = self.prefix.path
        self.verify = reader.verify
        self._reopening = reopening

    @classmethod
    def open(cls, prefix: Location, *, verify: bool) -> BundleStore:
        """Open the checkpoint.

        Raises ``FormatError`` if its index is not valid, and ``UnsupportedError`` for a newer format.
        """
        prefix = prefix.anchored()
        index = BundleIndex.open(prefix, verify=verify)
        shards = Shards(prefix, index.header.num_shards, index.table.source)
        reader = SliceReader(shards, index.header.byteorder, verify=verify)
        return cls(index, reader, (open_bundle, (prefix, verify)))

    def close(self) -> None:
        """Close the index and the shards; a later read is a ``ValueError``."""
        self.index.close()
        self.shards.close()

    def is_current(self) -> bool:
        """Return whether the index at this path is still the one that was opened."""
        return self.index.is_current()

    def version(self) -> Hashable:
        """Return the version of the index, which is written again with every checkpoint."""
        return self.index.table.source.version

    def reopening(self) -> Reopening:
        """Return how another process opens this store."""
        return self._reopening

    def records(self) -> dict[str, bytes]:
        """Return every tensor's entry by name, in the order of the table, which is validated as a whole."""
        return self.index.records()

    def find(self, name: str) -> bytes | None:
        """Return a tensor's entry, or ``None`` once the whole table has proved to be in order."""
        return self.index.find(name)

    def facts(self, name: str, record: bytes) -> Facts:
        """Return type, shape and slices of a tensor; of the slot of a part of a variable, those of the part."""
        return self.index.facts(name, record)

    def all_facts(self) -> Iterable[Facts | None]:
        """Return the facts of every tensor, in the order of ``records``; ``None`` where ``facts`` has to be asked."""
        return self.index.all_facts()

    def part(self, name: str, record: bytes) -> VariablePart | None:
        """Return where a tensor belongs that is a slot of a part of a variable; ``None`` for any other."""
        return self.index.part(name, record)

    def fingerprint(self, name: str, record: bytes) -> tuple[bytes | None, ...]:
        """Return the entries of a partitioned tensor's slices, for its own record holds no checksum."""
        return self.index.fingerprint(name, record)

    def stored_slices(self, name: str, record: bytes) -> Slices:
        """Return the stored slices of a tensor: itself, or those of its slices that have entries and are intact."""
        return self.index.stored_slices(name, record)

    def ranges(self, name: str, record: bytes) -> tuple[Range, ...]:
        """Return the place of a tensor."""
        return tuple(
            Range(self.shards.path(place.shard), place.offset, place.size, unmask(place.crc))
            for _, (_, _, place) in self.stored_slices(name, record)
        )

    def all_ranges(self) -> list[tuple[Range, ...] | None]:
        """Return the ranges of every tensor, in the order of ``records``; ``None`` where ``ranges`` must be called."""
        records = self.records()
        found: list[tuple[Range, ...] | None] = [None] * len(records)
        number, shard, offset, size, crc = find_places(records.values())
        paths = {one: self.shards.path(one) for one in set(shard.tolist())}
        columns = number.tolist(), map(paths.__getitem__, shard.tolist()), offset.tolist(), size.tolist()
        for row, *place in zip(*columns, unmask(crc).tolist(), strict=True):
            found[row] = (Range(*place),)
        return found

    def ends(self) -> dict[int, tuple[int, str]]:
        """Return where the last slice in each shard ends, and the name of its tensor."""
        records = self.records()
        names = list(records)
        places = find_places(records.values())
        stops = places.offset + places.size
        order = np.lexsort((places.number, stops, places.shard))
        last = order[np.flatnonzero(np.diff(places.shard[order], append=-1))]
        columns = (column[last].tolist() for column in (places.shard, stops, places.number))
        found = {shard: (stop, names[number]) for shard, stop, number in zip(*columns, strict=True)}
        is_left = np.ones(len(names), np.bool_)
        is_left[places.number] = False
        for number in np.flatnonzero(is_left).tolist():
            name = names[number]
            for _, (_, _, place) in self.stored_slices(name, records[name]):
                found[place.shard] = max(found.get(place.shard, (0, "")), (place.offset + place.size, name))
        return found

    def stored_arrays(self, name: str, record: bytes) -> list[StoredArray]:
        """Return the stored slices of a tensor of numbers, which together must be all of it."""
        slices = self.stored_slices(name, record)
        if any(stored.is_objects for _, stored in slices):
            return []
        try:
            if whole_of(slices) is None:
                check_complete(self.index.facts_of(record), slices)
            return [
                StoredArray(self.reader.full_path(stored), stored.location.offset, box, self.reader.byteorder)
                for box, stored in slices
            ]
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def string_size(self, name: str, record: bytes) -> None:
        """Return ``None``, because the ranges have the checksums."""
        return

    def copyable(self, name: str, record: bytes) -> list[Copyable]:
        """Return the stored slices of a tensor, unless their bytes are in the order of another machine."""
        if self.reader.swapped:
            return []
        slices = self.stored_slices(name, record)
        facts = self.index.facts_of(record)
        # The slot of a part of a variable is the only slice of a tensor.
        only = facts.slices[0] if facts.slices else None
        return [
            self._copyable(name, only if box is None else box, facts.shape, *stored[:2], *stored.location)
            for box, stored in slices
        ]

    def all_copyable(self) -> Iterable[Sequence[Copyable] | None]:
        """Return ``copyable`` of every tensor; the entries of plain ones are decoded together."""
        records = self.records()
        if self.reader.swapped:
            return repeat((), len(records))
        found: list[Sequence[Copyable] | None] = [None] * len(records)
        names, facts = list(records), list(self.all_facts())
        for number, *place in zip(*(column.tolist() for column in find_places(records.values())), strict=True):
            known = facts[number]
            if known is not None:
                found[number] = (
                    self._copyable(names[number], None, known.shape, known.data_type, known.shape, *place),
                )
        return found

    def _copyable(
        self,
        name: str,
        box: TensorSlice | None,
        whole: tuple[int, ...],
        data_type: int,
        shape: tuple[int, ...],
        shard: int,
        offset: int,
        size: int,
        crc: int,
    ) -> Copyable:
        # There may be very many, so that each consists of few objects.
        copy = partial(self._copy, name, data_type, shape, shard, offset, size, crc)
        return Copyable(box, whole, shape, self.shards.path(shard), shard, offset, size, copy)

    def _copy(
        self,
        name: str,
        data_type: int,
        shape: tuple[int, ...],
        shard: int,
        offset: int,
        size: int,
        crc: int,
        sink: Sink,
    ) -> int:
        try:
            return self.reader.copy(StoredSlice(data_type, shape, StoredPlace(shard, offset, size, crc)), sink)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def read(self, name: str, record: bytes) -> Array:
        """Return the whole tensor as a new array."""
        return self._read(name, record, self.stored_slices(name, record))

    def _read(self, name: str, record: bytes, slices: Slices) -> Array:
        try:
            whole = whole_of(slices)
            if whole is None:
                return assemble(self.reader, self.index.facts_of(record), slices)
            return self.reader.read(whole)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def read_selection(self, name: str, record: bytes, selection: Selection) -> Array:
        """Return the selected elements of a tensor in ascending order; unverified, but for strings and variants."""
        slices = self.stored_slices(name, record)
        try:
            whole = whole_of(slices)
            if whole is None:
                return assemble_part(self.reader, self.index.facts_of(record), slices, selection)
            return self.reader.read_part(whole, selection)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def chunks(self, name: str, record: bytes) -> Iterator[Array]:
        """Yield the elements of a tensor in C order, as flat arrays of bounded size (see ``streaming``)."""
        slices = self.stored_slices(name, record)
        try:
            whole = whole_of(slices)
            if whole is not None:
                yield from stream_slice(self.reader, whole)
                return
            yield from stream(self.reader, self.index.facts_of(record), slices)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def segments(self, name: str, record: bytes) -> Segments | None:
        """Return the segments in which threads can read a tensor of numbers; ``None`` for a partitioned one, strings
        and variants.
        """
        whole = whole_of(self.stored_slices(name, record))
        return None if whole is None or whole.is_objects else Segments(self.reader, whole, self.path, name)

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many tensors by name, each of which must be there; with ``mmap`` read-only, and views where there are.

        Raises ``FormatError`` if together they take far more bytes than the shards have.
        """
        room = Room(self.reader)
        wanted = self.index.records_of(names)
        found = [None] * len(wanted) if mmap else read_small(self.reader, wanted, room)
        read = self._view if mmap else self._read
        jobs: list[Callable[[], Array]] = []
        extents: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        # The slices that a remote shard can send straight into their arrays, with names and numbers of jobs.
        plain: defaultdict[int, list[tuple[str, StoredSlice, int]]] = defaultdict(list)
        nbytes = 0
        for name, record, array in zip(names, wanted, found, strict=True):
            if array is None:
                slices = self.stored_slices(name, record)
                try:
                    for _, stored in slices:
                        room.take(stored)
                        nbytes += stored.location.size
                    whole = None if mmap else whole_of(slices)
                    if whole is not None and not whole.is_objects:
                        plain[whole.location.shard].append((name, whole, len(jobs)))
                    else:
                        for _, stored in slices:
                            extents[stored.location.shard].append(stored.location[1:3])
                except TfBundleError as error:
                    raise error.locate(path=self.path, tensor=name) from None
                jobs.append(partial(read, name, record, slices))
        for shard, some in extents.items():
            self.shards.source(shard).expect(some)
        with self._begun(plain, jobs):
            others = iter(run_together(jobs, nbytes))
        arrays = {name: next(others) if array is None else array for name, array in zip(names, found, strict=True)}
        if not self.verify:
            self.shards.check_in_place()
        return arrays

    @contextmanager
    def _begun(
        self, plain: Mapping[int, list[tuple[str, StoredSlice, int]]], jobs: list[Callable[[], Array]]
    ) -> Iterator[None]:
        """Receive slices of remote shards, and put what finishes them in place of their jobs."""

        def finish(name: str, begun: Callable[[], Array]) -> Array:
            try:
                return begun()
            except TfBundleError as error:
                raise error.locate(path=self.path, tensor=name) from None

        with ExitStack() as stack:
            for shard, some in plain.items():
                if self.shards.source(shard).is_remote:
                    reads, cancel = self.reader.begin([stored for _, stored, _ in some])
                    stack.callback(cancel)
                    for (name, _, number), read in zip(some, reads, strict=True):
                        jobs[number] = partial(finish, name, read)
            yield

    def _view(self, name: str, record: bytes, slices: Slices) -> Array:
        whole = whole_of(slices)
        if whole is not None:
            try:
                view = self.reader.view(whole)
            except TfBundleError as error:
                raise error.locate(path=self.path, tensor=name) from None
            if view is not None:
                return view
        array = self._read(name, record, slices)
        array.flags.writeable = False
        return array

    def checks(self, name: str, record: bytes, absent: Collection[int]) -> Iterator[Check]:
        """Yield the checks of a tensor; slices in the shards ``absent`` are left out."""
        slices = self.stored_slices(name, record)
        if whole_of(slices) is None and (facts := self.facts(name, record)).slices:
            yield Check(0, None, partial(check_complete, facts, slices))
        for _, stored in slices:
            shard, offset, size, _ = stored.location
            if shard not in absent:
                place = Place(self.shards.path(shard), shard, offset, size)
                yield Check(size, place, partial(self.reader.check, stored))
