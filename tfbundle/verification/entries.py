"""The entries of a V2 index, block by block, so that a million of them are never in memory at once.

Each key of the index has a number, its position in the file. Only the numbers of entries are kept; names and values are
decoded again from their block when a finding or a check needs them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from tfbundle.checkpoint.v2.index import HEADER_KEY, slice_names
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError
from tfbundle.findings import Finding, finding_of
from tfbundle.formats.slice_keys import decode_name, encode_name


class Block(NamedTuple):
    """Consecutive entries: the number of the first, all keys and values, and the positions of those that are tensors.

    The other keys are those of the header and of slices.
    """

    first: int
    keys: list[bytes]
    values: list[bytes]
    tensors: list[int]

    def name(self, place: int) -> str:
        """Return the name that the key at ``place`` encodes."""
        return decode_name(self.keys[place])


class Entry(NamedTuple):
    """The entry of one tensor."""

    number: int
    name: str
    record: bytes


class Entries:
    """The entries of an open index; ``findings`` lists the damaged blocks after an iteration over all blocks."""

    def __init__(self, store: BundleStore, *, is_salvaged: bool) -> None:
        """Nothing is read yet; ``is_salvaged`` is whether the store consists of the remains of a damaged one."""
        self.findings: list[Finding] = []
        self._store = store
        self._table = store.index.table
        self._starts: list[int] = []
        self._blocks: list[int] = []
        # The remains of a damaged index were collected from its blocks when it was opened.
        self._records = list(store.records().items()) if is_salvaged else None

    @property
    def whole_blocks(self) -> int:
        """The number of intact blocks of the index."""
        return len(self._table.handles) if self._records is not None else len(self._blocks)

    def __iter__(self) -> Iterator[Block]:
        if self._records is not None:
            keys, values = [encode_name(name) for name, _ in self._records], [record for _, record in self._records]
            yield Block(0, keys, values, list(range(len(keys))))
            return
        self.findings.clear()
        self._starts.clear()
        self._blocks.clear()
        first = 0
        for number, handle in enumerate(self._table.handles):
            try:
                keys, values = self._table.block(number)
            except (FormatError, OSError) as error:
                found = finding_of(error, "index")
                offset = handle.offset if found.offset is None else found.offset
                self.findings.append(replace(found, offset=offset, size=handle.size))
                continue
            self._starts.append(first)
            self._blocks.append(number)
            yield Block(first, keys, values, self._tensors(keys))
            first += len(keys)

    def at(self, numbers: Iterable[int]) -> Iterator[Entry]:
        """Return the entries of ascending ``numbers``; each block is decoded once."""
        if self._records is not None:
            yield from (Entry(number, *self._records[number]) for number in numbers)
            return
        for place, some in groupby(numbers, lambda number: bisect_right(self._starts, number) - 1):
            keys, values = self._table.block(self._blocks[place])
            first = self._starts[place]
            for number in some:
                yield Entry(number, decode_name(keys[number - first]), values[number - first])

    def _tensors(self, keys: list[bytes]) -> list[int]:
        opening = 0
        while opening < len(keys) and keys[opening][:1] in (b"", b"\0"):
            opening += 1  # Keys are sorted: that of the header is empty, and those of slices begin with NUL.
        names = [decode_name(key) for key in keys[:opening] if key != HEADER_KEY]
        slices = set(slice_names(names, self._find, self._store.index.parents)) if names else set()
        head = [n for n in range(opening) if keys[n] != HEADER_KEY and decode_name(keys[n]) not in slices]
        return [*head, *range(opening, len(keys))]

    def _find(self, name: str) -> bytes | None:
        try:
            return self._table.find(encode_name(name))
        except (FormatError, OSError):  # Its block has a finding already.
            return None

    def __contains__(self, name: object) -> bool:
        if self._records is not None:
            return self._store.records().get(str(name)) is not None
        return self._find(str(name)) is not None
