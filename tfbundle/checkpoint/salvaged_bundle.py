"""What is left of a V2 checkpoint's index, as a store that reads the tensors that it still knows.

Blocks of the index that are whole are used, and found even where the footer is lost (``formats/damaged_table``).
Nothing is taken from a damaged block, but for names to report: a name or a type there may be wrong, though the bytes
that they belong to are right.

The header is one entry among others. Without it the names of the data files tell how many there are, and the strings
in them their byte order, for its checksums have that too; or else the numbers, which are seldom as large or small with
their bytes swapped.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tfbundle.checkpoint.bundle import BundleStore
from tfbundle.checkpoint.entry import decode_facts
from tfbundle.checkpoint.findings import Finding, finding_of
from tfbundle.checkpoint.keys import decode_name, decode_slice_key, encode_name
from tfbundle.checkpoint.payload import ByteOrder
from tfbundle.checkpoint.pieces import Piece, PieceReader, swap_bytes
from tfbundle.checkpoint.tensor import Array
from tfbundle.dtypes import DT_STRING, DT_VARIANT, numpy_dtype
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.formats.damaged_table import list_keys, scan_table
from tfbundle.formats.sstable import BlockHandle, Directory, Table
from tfbundle.proto import BundleHeaderProto
from tfbundle.storage import list_folder

_SHARD = re.compile(r"\.data-\d{5,7}-of-(\d{5,7})\Z")
# So many tensors are tried for the byte order, and none that is larger.
_MOST_TRIED = 100
_LARGEST_TRIED = 1 << 20
# What a weight is held to be. One float in six is as large if its bits are random, so that many have to agree, and ten
# for each that does not; an integer of eight bytes, of which four are zeros, is worth as many.
_LARGEST_WEIGHT = 1e6
_FEWEST_VOTES = 24
_VOTES_OF_INTEGER_BYTE = 3
_MAJORITY = 10


def open_salvaged_bundle(prefix: str) -> SalvagedBundle:
    """The store of a damaged V2 checkpoint, shared by all unpickled tensors that lie in it."""
    store = _shared.get(prefix)
    if store is None or not store.is_current():
        store = _shared[prefix] = SalvagedBundle(prefix)
    return store


_shared: WeakValueDictionary[str, SalvagedBundle] = WeakValueDictionary()


class SalvagedBundle(BundleStore):
    """A V2 checkpoint with an index of which parts may be lost; ``findings`` says which."""

    def __init__(self, prefix: str) -> None:
        """Read what is left of the index.

        Raises ``MissingFileError`` where there is no index, and ``UnsupportedError`` where the header asks for a newer
        reader.
        """
        self.findings: list[Finding] = []
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
        return open_salvaged_bundle, (os.path.join(os.getcwd(), self.path),)

    def keep(self, names: list[str]) -> None:
        """Forget all tensors but these."""
        records = self.records()
        self._records = {name: records[name] for name in names}

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
            int(match[1]) for name in names if name.startswith(base) and (match := _SHARD.fullmatch(name, len(base)))
        )
        # The fullest set, where there are several.
        return max(counts, key=lambda count: (counts[count] / count if count else 0, count), default=0)

    def _infer_byteorder(self, records: dict[str, bytes]) -> None:
        readers: dict[ByteOrder, PieceReader] = {
            order: PieceReader(self.shards, order, verify=True) for order in ("little", "big")
        }
        found = self._ask_strings(records, readers)
        told = "its strings tell"
        if found is None:
            found = self._ask_numbers(records, readers["little"])
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
                if _has_byteorder(decode_facts(record).data_type):
                    del records[name]
                    message = f"the byte order of {name!r} stood in the header, and nothing that is left tells it"
                    self.findings.append(Finding("index", message, self._index.path, name))

    def _pieces_to_ask(self, records: dict[str, bytes], want: Callable[[int], bool]) -> Iterator[Piece]:
        """Some stored pieces whose data types are wanted, none of them large."""
        found = (piece for name, record in records.items() for piece in self._pieces_of(name, record, want))
        return islice((piece for piece in found if 0 < piece.location.size <= _LARGEST_TRIED), _MOST_TRIED)

    def _pieces_of(self, name: str, record: bytes, want: Callable[[int], bool]) -> list[Piece]:
        try:
            return [piece for _, piece in self.pieces(name, record)] if want(decode_facts(record).data_type) else []
        except TfBundleError:
            return []

    def _ask_strings(self, records: dict[str, bytes], readers: dict[ByteOrder, PieceReader]) -> ByteOrder | None:
        """The byte order in which the checksum of some strings is right."""
        for piece in self._pieces_to_ask(records, lambda data_type: data_type == DT_STRING):
            for order, reader in readers.items():
                with suppress(TfBundleError, OSError):
                    reader.check(piece)
                    return order
        return None

    def _ask_numbers(self, records: dict[str, bytes], reader: PieceReader) -> ByteOrder | None:
        """The byte order in which alone numbers are of a usual size; ``None`` unless many agree, and nearly all."""
        little = big = 0
        for piece in self._pieces_to_ask(records, _has_byteorder):
            with suppress(TfBundleError, OSError):
                values = reader.read(piece)
                if values.dtype.kind == "c":
                    continue
                as_little, as_big = _are_usual(values), _are_usual(swap_bytes(values.copy()))
                votes = _VOTES_OF_INTEGER_BYTE * values.itemsize if "int" in values.dtype.name else 1
                little += votes * int(np.count_nonzero(as_little & ~as_big))
                big += votes * int(np.count_nonzero(as_big & ~as_little))
        if max(little, big) < _FEWEST_VOTES or max(little, big) <= _MAJORITY * min(little, big):
            return None
        return "little" if little > big else "big"

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


def _has_byteorder(data_type: int) -> bool:
    if data_type in (DT_STRING, DT_VARIANT):
        return False
    return numpy_dtype(data_type).itemsize > 1


def _are_usual(values: Array) -> Array:
    """Which numbers are of a usual size, as nearly all weights and steps are, and few with their bytes swapped."""
    with np.errstate(all="ignore"):
        sizes = np.abs(values.astype(np.float64))
    largest = 2.0 ** (4 * values.itemsize) if "int" in values.dtype.name else _LARGEST_WEIGHT
    usual: Array = (sizes == 0) | ((sizes > 1 / largest) & (sizes < largest))
    return usual


def _owner(key: bytes) -> str:
    """The name of the tensor to which a key belongs, be it its own or a slice's."""
    if key.startswith(b"\0"):
        try:
            return decode_name(decode_slice_key(key)[0])
        except FormatError:
            pass
    return decode_name(key)
