"""What is left of a V2 checkpoint's index, as a store that reads the tensors that it still knows.

Blocks of the index that are whole are used, and found even where the footer is lost (``formats/damaged_table``).
Nothing is taken from a damaged block, but for names to report: a name or a type there may be wrong, though the bytes
that they belong to are right.

The header is one entry among others. Without it the names of the data files tell how many there are, and what is in
them their byte order (``byteorder``).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from tfbundle.checkpoint.find.names import parse_shard
from tfbundle.checkpoint.salvage.byteorder import ask_numbers, ask_strings, has_byteorder
from tfbundle.checkpoint.v2.entry import decode_facts
from tfbundle.checkpoint.v2.index import Pieces
from tfbundle.checkpoint.v2.payload import ByteOrder
from tfbundle.checkpoint.v2.pieces import Piece, PieceReader
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.findings import Finding, finding_of
from tfbundle.formats.slice_keys import decode_name, decode_slice_key, encode_name
from tfbundle.formats.table.damaged import list_keys, scan_table
from tfbundle.formats.table.reader import BlockHandle, Directory, Table
from tfbundle.limits import MOST_SHARDS
from tfbundle.proto import BundleHeaderProto
from tfbundle.storage.local import list_folder
from tfbundle.tensors.dtypes import DT_STRING
from tfbundle.tensors.slices import DamagedSlices
from tfbundle.tensors.store import Facts


def open_salvaged_bundle(prefix: str, damaged: DamagedSlices) -> SalvagedBundle:
    """The store of a damaged V2 checkpoint, shared by all unpickled tensors that lie in it."""
    key = (prefix, damaged)
    store = _shared.get(key)
    if store is None or not store.is_current():
        store = _shared[key] = SalvagedBundle(prefix, damaged)
    return store


_shared: WeakValueDictionary[tuple[str, DamagedSlices], SalvagedBundle] = WeakValueDictionary()


class SalvagedBundle(BundleStore):
    """A V2 checkpoint with an index of which parts may be lost; ``findings`` says which."""

    def __init__(self, prefix: str, damaged: DamagedSlices = ()) -> None:
        """Read what is left of the index; ``damaged`` is what ``keep`` was told when the files were checked.

        Raises ``MissingFileError`` where there is no index, and ``UnsupportedError`` where the header asks for a newer
        reader.
        """
        self.findings: list[Finding] = []
        self._damaged = dict(damaged)
        self._has_header = True
        self._blocks: list[tuple[list[bytes], list[bytes]]] = []
        super().__init__(prefix, verify=True)
        self._records = self._tensors(self._blocks)
        self._blocks = []
        if not self._has_header:
            self._infer_byteorder(self._records)
        self._drop_orphans(self._records)

    def reopening(self) -> tuple[Callable[..., BundleStore], tuple[Any, ...]]:
        """How another process opens this store."""
        return open_salvaged_bundle, (os.path.join(os.getcwd(), self.path), tuple(self._damaged.items()))

    def keep(self, names: list[str], damaged: DamagedSlices) -> None:
        """Forget all tensors but these, and those slices of others that are ``damaged``."""
        records = self.records()
        self._records = {name: records[name] for name in names}
        self._damaged = dict(damaged)

    def pieces(self, name: str, record: bytes) -> Pieces:
        """The stored pieces of a tensor, without damaged slices."""
        pieces = super().pieces(name, record)
        damaged = self._damaged.get(name, frozenset())
        return [piece for number, piece in enumerate(pieces) if number not in damaged] if damaged else pieces

    def facts(self, name: str, record: bytes) -> Facts:
        """Type, shape and slices of a tensor; if some are damaged or lost, the others."""
        facts = super().facts(name, record)
        if name not in self._damaged:
            return facts
        return facts._replace(slices=tuple(part for part, _ in self.pieces(name, record) if part is not None))

    def _open_table(self) -> Table:
        try:
            table = Table(self._index)
        except FormatError as error:
            self.findings.append(finding_of(error, "index"))
            directory, gaps = scan_table(self._index)
            for gap in gaps:
                self.findings.append(
                    Finding(
                        "index",
                        f"no block of {self._index.path} is whole in {gap.size} bytes from offset {gap.offset}; the "
                        "tensors that they listed are lost",
                        self._index.path,
                        offset=gap.offset,
                        size=gap.size,
                    )
                )
                self._name_lost(BlockHandle(*gap))
            table = Table(self._index, directory=directory)
        kept = Directory([], [])
        for number, handle in enumerate(table.handles):
            try:
                self._blocks.append(table.block(number))
            except (FormatError, OSError) as error:
                self.findings.append(finding_of(error, "index"))
                self._name_lost(handle)
            else:
                kept.separators.append(table.separators[number])
                kept.handles.append(handle)
        return Table(self._index, directory=kept)

    def _name_lost(self, handle: BlockHandle) -> None:
        """Add a finding for each name that can be made out in a damaged block."""
        for name in dict.fromkeys(map(_owner, list_keys(self._index, handle))):
            if name:
                message = f"{name!r} stands in a damaged block of the index, so that nothing certain is known of it"
                self.findings.append(Finding("index", message, self._index.path, name, offset=handle.offset))

    def _read_header(self) -> BundleHeaderProto:
        try:
            return super()._read_header()
        except UnsupportedError:
            raise
        except FormatError:
            self._has_header = False
            return BundleHeaderProto(num_shards=self._count_shards())

    def _count_shards(self) -> int:
        """How many data files the checkpoint has, by the names of those that are there."""
        folder, base = os.path.split(self.path)
        try:
            names = list_folder(folder or os.curdir)
        except MissingFileError:
            return 0
        counts = Counter(
            shard.total
            for shard in map(parse_shard, names)
            if shard is not None and shard.prefix == base and shard.total <= MOST_SHARDS
        )
        # The fullest set, where there are several.
        return max(counts, key=lambda count: (counts[count] / count if count else 0, count), default=0)

    def _infer_byteorder(self, records: dict[str, bytes]) -> None:
        readers: dict[ByteOrder, PieceReader] = {
            order: PieceReader(self.shards, order, verify=True) for order in ("little", "big")
        }
        found = ask_strings(self._pieces_of(records, lambda data_type: data_type == DT_STRING), readers)
        told = "its strings tell"
        if found is None:
            found = ask_numbers(self._pieces_of(records, has_byteorder), readers["little"])
            told = "its numbers tell, which make less sense in the other"
        if found is None:
            told = "is not known, so that nothing but strings and single bytes can be read"
        message = (
            f"the header of {self._index.path} is lost; the names of the data files tell that there are "
            f"{self.shards.count}, and the byte order {told}"
        )
        self.findings.append(Finding("index", message, self._index.path))
        self.reader = readers[found or "little"]
        if found is None:
            self._drop_numbers(records)

    def _drop_numbers(self, records: dict[str, bytes]) -> None:
        """Take out what one byte order or the other would make a wrong value of."""
        for name, record in list(records.items()):
            with suppress(TfBundleError):
                if has_byteorder(decode_facts(record).data_type):
                    del records[name]
                    message = f"the byte order of {name!r} stood in the header, and nothing that is left tells it"
                    self.findings.append(Finding("index", message, self._index.path, name))

    def _pieces_of(self, records: dict[str, bytes], want: Callable[[int], bool]) -> Iterator[Piece]:
        """The stored pieces of the tensors whose data types are wanted."""
        for name, record in records.items():
            with suppress(TfBundleError):
                if want(decode_facts(record).data_type):
                    yield from (piece for _, piece in self.pieces(name, record))

    def _drop_orphans(self, records: dict[str, bytes]) -> None:
        """Take out slices whose tensors' own entries are lost: without these nothing tells the whole shape."""
        if not self.findings:
            return  # All entries are there, so that these are tensors with strange names.
        orphans: Counter[str] = Counter()
        for name in [name for name in records if name.startswith("\0")]:
            owner = _owner(encode_name(name))
            if owner != name:
                del records[name]
                orphans[owner] += 1
        for owner, count in orphans.items():
            message = f"the entry of {owner!r} is lost; {count} of its slices are there, and tell too little"
            self.findings.append(Finding("index", message, self._index.path, owner))


def _owner(key: bytes) -> str:
    """The name of the tensor to which a key belongs, be it its own or a slice's."""
    if key.startswith(b"\0"):
        try:
            return decode_name(decode_slice_key(key)[0])
        except FormatError:
            pass
    return decode_name(key)
