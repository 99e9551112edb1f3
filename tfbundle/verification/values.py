"""The comparison of every stored value with its checksum; no values are kept.

Stores yield checks (``Store.checks``) one at a time, and each is run before the next one is created. The plain tensors
of a V2 checkpoint, of which there may be a million, do not become checks: neighbours in a data file are read together,
and their checksums are compared row by row. Rows that fail are checked again individually, which is the only place
where errors are described.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.salvage.salvage import Budget
from tfbundle.checkpoint.v2.entry import Location
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.checkpoint.v2.stored_slices import StoredSlice
from tfbundle.errors import TfBundleError
from tfbundle.findings import Check, Finding, Place, finding_of
from tfbundle.formats.checksum import crc32c, mask
from tfbundle.progress import Progress
from tfbundle.verification.entries import Entries, Entry
from tfbundle.verification.layout import Claims, Column, Layout

if TYPE_CHECKING:
    from tfbundle.checkpoint.v1.store import V1Store

# A range of bytes in a data file: the file's path, offset and size.
Bytes = tuple[str, int, int]

# A tensor above this size is read separately.
_SMALL = 64 << 10
# Tensors that begin within this many bytes of a data file are read together.
_WINDOW = 2 << 20
# The bytes of a plain tensor are checked as they are in the file, whatever its type.
_DT_UINT8 = 4


class ValueCheck:
    """Runs the checks of a checkpoint; counts intact bytes (``nbytes``) and intact stored values by file (``whole``).

    ``findings`` are pairs of the number of the tensor and its finding.
    """

    def __init__(
        self,
        store: BundleStore | V1Store,
        total: int,
        progress: Progress | None,
        listings: Listings,
        verified: Container[Bytes] = frozenset(),
    ) -> None:
        """``total`` is the number of bytes to check; ``listings`` caches the folders that were listed before.

        ``verified`` are bytes that the caller has already found to be intact, which are counted and not read.
        """
        self._verified = verified
        self.nbytes = 0
        self.whole: Counter[str | None] = Counter()
        self.findings: list[tuple[int, Finding]] = []
        self._checks: Any = store.checks  # Records are passed back to the store that returned them.
        self._path = store.path
        self._budget = Budget(store, listings)
        self._progress = progress
        self._total = total
        self._done = 0

    def run_all(self, entries: Iterable[Entry | tuple[int, str, Any]], absent: Collection[int]) -> None:
        """Run the checks of some tensors, each given by its number, name and record; skip the files ``absent``."""
        for number, name, record in entries:
            try:
                for check in self._checks(name, record, absent):
                    self._run(number, name, check)
            except (TfBundleError, OSError) as error:
                self.findings.append((number, finding_of(error, "entry", name)))

    def run_plain(self, store: BundleStore, layout: Layout, entries: Entries, absent: Collection[int]) -> None:
        """Check the plain tensors of a V2 checkpoint."""
        claims = layout.claims
        failed: list[Column] = []
        for shard in np.unique(claims.shard).tolist():
            span = claims.span(shard)
            rows = span.start + np.flatnonzero(claims.is_plain[span])
            if shard not in absent:
                is_there = 0 <= shard < store.shards.count
                failed += self._check_rows(store, claims, rows, entries) if is_there else [rows]
        if not failed:
            return
        again = np.concatenate(failed)
        again = again[np.argsort(claims.number[again], kind="stable")]
        columns = claims.rows(again)
        places = zip(
            columns.shard.tolist(), columns.offset.tolist(), columns.size.tolist(), columns.crc.tolist(), strict=True
        )
        for (number, name, _), place in zip(entries.at(columns.number.tolist()), places, strict=True):
            self._run(number, name, _check_of(store, Location(*place)))

    def _check_rows(self, store: BundleStore, claims: Claims, rows: Column, entries: Entries) -> Iterator[Column]:
        """Check rows of one data file, and yield the small ones that fail."""
        rows = self._left(store, claims, rows)
        sizes = claims.size[rows]
        large = rows[sizes > _SMALL]
        small = rows[sizes <= _SMALL]
        offsets = claims.offset[small]
        start = 0
        while start < len(small):
            stop = int(np.searchsorted(offsets, offsets[start] + _WINDOW, "left"))
            window = small[start:stop]
            is_fine = self._check_window(store, claims.rows(window))
            nbytes = int(claims.size[window[is_fine]].sum())
            self.whole[store.shards.path(int(claims.shard[window[0]]))] += int(is_fine.sum())
            self.nbytes += nbytes
            self._advance(nbytes)
            yield window[~is_fine]
            start = stop
        if len(large):
            with suppress(TfBundleError, OSError):  # Each check describes what is wrong with its tensor.
                source = store.shards.source(int(claims.shard[large[0]]))
                source.expect(zip(claims.offset[large].tolist(), claims.size[large].tolist(), strict=True))
        for row in large.tolist():
            place = Location(*(int(column[row]) for column in (claims.shard, claims.offset, claims.size, claims.crc)))
            self._run(int(claims.number[row]), None, _check_of(store, place), entries)

    def _left(self, store: BundleStore, claims: Claims, rows: Column) -> Column:
        """Count the rows that have already been verified, and return the others."""
        if not len(rows):
            return rows
        path = store.shards.path(int(claims.shard[rows[0]]))
        places = zip(claims.offset[rows].tolist(), claims.size[rows].tolist(), strict=True)
        is_left = np.array([(path, *place) not in self._verified for place in places], np.bool_)
        nbytes = int(claims.size[rows[~is_left]].sum())
        self.whole[path] += int(np.count_nonzero(~is_left))
        self.nbytes += nbytes
        self._advance(nbytes)
        left: Column = rows[is_left]
        return left

    def _check_window(self, store: BundleStore, claims: Claims) -> Column:
        """Return which rows match their checksums; none if they cannot be read together."""
        start = int(claims.offset[0])
        try:
            self._budget.spend(int(claims.size.sum()))
            source = store.shards.source(int(claims.shard[0]))
            view = memoryview(source.read_at(start, int(claims.end.max()) - start))
            source.check_unchanged()
        except (TfBundleError, OSError):
            return np.zeros(len(claims.number), np.bool_)
        places = zip((claims.offset - start).tolist(), (claims.end - start).tolist(), strict=True)
        crcs = [crc32c(view[first:last]) for first, last in places]
        is_right: Column = mask(np.array(crcs, np.int64)) == claims.crc
        return is_right

    def _run(self, number: int, name: str | None, check: Check, entries: Entries | None = None) -> None:
        """Run one check; if it fails and ``name`` is ``None``, the name is looked up in ``entries``."""
        try:
            place = check.place
            if place is None or (place.path, place.offset, place.size) not in self._verified:
                self._budget.spend(check.nbytes)
                check.run()
            self._count(check)
        except (TfBundleError, OSError) as error:
            if name is None and entries is not None:
                name = next(entries.at([number])).name
            self.findings.append((number, check.finding(error, name or "", self._path)))
        self._advance(check.nbytes)

    def _count(self, check: Check) -> None:
        self.nbytes += check.nbytes
        self.whole[check.place and check.place.path] += 1

    def _advance(self, nbytes: int) -> None:
        self._done += nbytes
        if self._progress is not None and nbytes:
            self._progress(self._done, self._total)


def _check_of(store: BundleStore, place: Location) -> Check:
    stored = StoredSlice(_DT_UINT8, (place.size,), place)
    where = Place(store.shards.path(place.shard), place.shard, place.offset, place.size)
    return Check(place.size, where, partial(store.reader.check, stored))
