"""Which bytes of a bundle's data files each tensor claims, as numpy columns rather than an object per tensor.

::

    number  shard  offset  end   crc         is_plain
    3       0      0       4096  0x1badcafe  True          one row a stored tensor or slice,
    1       0      4096    4104  0x0badf00d  False         sorted by shard and offset

A tensor is plain if its bytes can be compared with its checksum as they are in the file. Strings, variants, slices and
entries in an unusual form are not plain, and are checked one by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfbundle.checkpoint.v2.bulk import Places, find_places
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.verification.entries import Block, Entries

_LARGEST = (1 << 63) - 1

Column = np.ndarray[Any, np.dtype[Any]]


class Claims(NamedTuple):
    """Claims on bytes of data files, one per row; ``crc`` is masked, and ``number`` is that of the tensor's entry."""

    number: Column
    shard: Column
    offset: Column
    end: Column
    crc: Column
    is_plain: Column

    def rows(self, which: Any) -> Claims:
        """Return some of the rows, selected by a slice, a mask or row numbers."""
        return Claims(*(column[which] for column in self))

    def span(self, shard: int) -> slice:
        """Return the rows of a data file; the claims must be sorted."""
        return slice(*np.searchsorted(self.shard, [shard, shard + 1]).tolist())

    def of(self, shard: int) -> Claims:
        """Return the claims on a data file."""
        return self.rows(self.span(shard))

    @property
    def size(self) -> Column:
        """The number of bytes of each claim."""
        sizes: Column = self.end - self.offset
        return sizes

    @classmethod
    def of_rows(cls, rows: list[tuple[int, int, int, int, int, bool]]) -> Claims:
        """Return claims given as rows."""
        types = (np.int32, np.int32, np.int64, np.int64, np.uint32, np.bool_)
        columns = zip(*rows, strict=True) if rows else [()] * len(types)
        return cls(*(np.array(column, dtype) for column, dtype in zip(columns, types, strict=True)))


class Layout(NamedTuple):
    """The claims of all tensors, sorted; ``tensors`` counts the names.

    ``others`` are the numbers of the tensors that are not plain, in ascending order. ``findings`` lists the problems of
    entries, each with the number of its entry. ``is_complete`` is whether all entries are valid.
    """

    claims: Claims
    tensors: int
    others: list[int]
    findings: list[tuple[int, Finding]]
    is_complete: bool


def find_layout(store: BundleStore, entries: Entries) -> Layout:
    """Return the claims of all tensors; a tensor without elements claims an empty range."""
    found = [Claims.of_rows([])]
    others: list[int] = []
    findings: list[tuple[int, Finding]] = []
    tensors = 0
    is_complete = True
    for block in entries:
        tensors += len(block.tensors)
        plain = _plain_claims(block)
        found.append(plain)
        rest = sorted(set(block.tensors).difference((plain.number - block.first).tolist()))
        rows = []
        for number in rest:
            name, record = block.name(number), block.values[number]
            try:
                slices = store.stored_slices(name, record)
                is_complete &= len(slices) >= len(store.facts(name, record).slices)
            except (TfBundleError, OSError) as error:
                is_complete = False
                findings.append((block.first + number, finding_of(error, "entry", name)))
                continue
            others.append(block.first + number)
            for _, (_, _, place) in slices:
                end = min(place.offset + place.size, _LARGEST)
                rows.append((block.first + number, place.shard, place.offset, end, place.crc, False))
        found.append(Claims.of_rows(rows))
    claims = Claims(*map(np.concatenate, zip(*found, strict=True)))
    del found
    order = np.lexsort((claims.end, claims.offset, claims.shard)).astype(np.int32)
    return Layout(claims.rows(order), tensors, others, findings, is_complete and not entries.findings)


def _plain_claims(block: Block) -> Claims:
    places: Places = find_places(block.values)
    if len(block.tensors) < len(block.keys):
        is_tensor = np.zeros(len(block.keys), np.bool_)
        is_tensor[block.tensors] = True
        places = places.rows(is_tensor[places.number])
    return Claims(
        (places.number + block.first).astype(np.int32),
        places.shard.astype(np.int32),
        places.offset,
        places.offset + places.size,
        places.crc.astype(np.uint32),
        np.ones(len(places.number), np.bool_),
    )
