"""Which data files of a bundle exist, and which of them can be read at all."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.find.names import data_files_in, parse_shard, shard_path
from tfbundle.checkpoint.find.renamed import advise_missing_shard
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import PACKED, FileKind
from tfbundle.storage.base import Location
from tfbundle.verification.layout import Claims

# If thousands of data files are missing, not every one needs a finding.
_MOST_NAMED = 100
# Kinds of files that may replace a data file that was not fetched.
_PLACEHOLDERS = (FileKind.GIT_LFS, FileKind.GIT_ANNEX, FileKind.HTML, FileKind.STORE_ERROR, *PACKED)


class DataFiles(NamedTuple):
    """The data files that exist, by number, and the numbers of those that cannot be read."""

    present: dict[int, Location]
    unreadable: set[int]


def check_files(store: BundleStore, claims: Claims, findings: list[Finding], listings: Listings) -> DataFiles:
    """Find data files that are missing, belong to another checkpoint, or are not data files at all.

    ``listings`` caches the folders that were listed before. Tensors in unreadable files get no separate findings.
    """
    prefix = store.prefix
    count = store.shards.count
    present = {}
    listing = listings.of(prefix.parent)
    for name in data_files_in(listing, prefix.name):
        parsed = parse_shard(name)
        if parsed is None or parsed.prefix != prefix.name:
            continue
        location = prefix.beside(name)
        if (shard := parsed.number) < count and store.shards.path(shard) == location.path:
            present[shard] = location
        else:
            message = f"{location} is not one of the {count} data files of the index; it belongs to another checkpoint"
            findings.append(Finding("superfluous", message, location.path))
    for shard in np.unique(claims.shard).tolist():  # They are unknown if the folder may not be listed.
        if 0 <= shard < count and shard not in present:
            location = prefix.plus(shard_path("", shard, count))
            if listing.is_file(location.name):
                present[shard] = location
    for shard in islice((shard for shard in range(count) if shard not in present), _MOST_NAMED):
        path = store.shards.path(shard)
        message = f"the data file {path} does not exist (shard {shard} of {count})"
        if listings.take_look():
            ends = claims.of(shard).end
            message += f"; {advise_missing_shard(prefix, shard, count, int(ends.max()) if len(ends) else None)}"
        findings.append(Finding("missing", message, path, shard=shard))
    if count - len(present) > _MOST_NAMED:
        message = f"{count - len(present) - _MOST_NAMED} more of the {count} data files do not exist"
        findings.append(Finding("missing", message, store.path))
    unreadable = set()
    for shard, location in present.items():
        try:
            location.open().close()
        except (TfBundleError, OSError) as error:  # A folder, a pipe, a dangling link, or no permission.
            findings.append(replace(finding_of(error, "wrong-file"), shard=shard))
            unreadable.add(shard)
    for shard in np.unique(claims.shard).tolist():
        if shard not in present:
            # A number out of range is an error of the tensor that states it.
            if 0 <= shard < count:
                unreadable.add(shard)
        elif shard not in unreadable:
            placeholder = _find_placeholder(present[shard], shard, int(claims.of(shard).end.max()))
            if placeholder is not None:
                findings.append(placeholder)
                unreadable.add(shard)
    return DataFiles(present, unreadable)


def _find_placeholder(location: Location, shard: int, end: int) -> Finding | None:
    """Return a finding if a file is of another kind, and too short to be the data file."""
    facts = location.stat()
    if facts is None or facts.size >= end:
        return None
    with suppress(TfBundleError, OSError):
        kind = kind_of(location)
        if kind in _PLACEHOLDERS:
            return Finding("wrong-file", f"{location} is {kind.value}; {kind.advice}", location.path, shard=shard)
    return None
