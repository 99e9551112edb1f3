"""Data files of a bundle whose names were swapped.

No checksum matches in such a file, so that it looks truncated, or as if it belonged to another checkpoint. But the
checksums of its tensors are known, and they are searched for in the other files without a match: a few tensors suffice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np

from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.checkpoint.v2.stored_slices import StoredSlice
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding
from tfbundle.storage.base import Location
from tfbundle.verification.entries import Entries
from tfbundle.verification.layout import Claims

# Comparing more damaged data files than this with each other takes too long.
_MOST_FILES = 10
# How many tensors of a file are searched for, the largest size of each, and the smallest total size, in bytes.
_MOST_SAMPLES = 3
_LARGEST_SAMPLE = 1 << 20
_FEWEST_BYTES = 32


def find_swapped(
    store: BundleStore,
    entries: Entries,
    claims: Claims,
    present: Mapping[int, Location],
    findings: Collection[Finding],
) -> dict[str, str]:
    """Return the data files without a matching checksum, each with the file that has its contents."""
    wrong: dict[int, list[int]] = {}
    for finding in findings:
        if finding.kind in ("checksum", "truncated") and finding.shard is not None and finding.offset is not None:
            wrong.setdefault(finding.shard, []).append(finding.offset)
    damaged: dict[int, Claims] = {}
    for shard in present.keys() & wrong.keys():
        stored = claims.of(shard)
        stored = stored.rows(stored.size > 0)
        if len(stored.offset) and np.isin(stored.offset, wrong[shard]).all():
            damaged[shard] = stored
    if len(damaged) > _MOST_FILES:
        return {}
    samples = {shard: _choose(store, entries, stored, shard) for shard, stored in sorted(damaged.items())}
    return {
        present[shard].path: present[other].path
        for shard, slices in samples.items()
        for other in samples
        if other != shard and _are_in(store, slices, other)
    }


def _choose(store: BundleStore, entries: Entries, claims: Claims, shard: int) -> list[StoredSlice]:
    """Return some stored slices of a data file, or none if they are too small to be evidence."""
    small = claims.rows(claims.size <= _LARGEST_SAMPLE)
    chosen = small.rows(np.argsort(small.size, kind="stable")[-_MOST_SAMPLES:])
    if int(chosen.size.sum()) < _FEWEST_BYTES:
        return []
    places = set(chosen.offset.tolist())
    slices: list[StoredSlice] = []
    with suppress(TfBundleError, OSError):
        for _, name, record in entries.at(np.unique(chosen.number).tolist()):
            slices += (
                stored
                for _, stored in store.stored_slices(name, record)
                if stored.location.shard == shard and stored.location.offset in places
            )
    return slices


def _are_in(store: BundleStore, slices: list[StoredSlice], shard: int) -> bool:
    """Return whether a data file contains the given slices at their offsets."""
    try:
        for stored in slices:
            store.reader.check(stored._replace(location=stored.location._replace(shard=shard)))
    except (TfBundleError, OSError):
        return False
    return bool(slices)
