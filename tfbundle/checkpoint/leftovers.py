"""Files that interrupted saves left in a folder, and which of them may be removed.

::

    NAME.tempstate<digits>                a file under its temporary name, of this package or of TensorFlow
    PREFIX_temp_<32 hex digits>, _temp    a folder in which TensorFlow collects a checkpoint
    PREFIX.data-?????-of-00002            next to an index that states another number of files: empty, or a second
                                          name of a file (a step of overwriting, which ``staging`` describes)

A save in progress has the same files. Nothing is removed, therefore, if any file of the same save changed within the
last hour.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from contextlib import suppress
from typing import NamedTuple

from tfbundle.checkpoint.find.names import is_incomplete_folder, parse_shard, temporary_token
from tfbundle.checkpoint.v2.index import BundleIndex
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.natural_order import natural_key
from tfbundle.storage.base import Listing, Location
from tfbundle.storage.changing import change_time, remove_tree
from tfbundle.storage.locations import StorageOptions, StrPath, locate

YOUNGEST_AGE = 3600.0
"""Seconds without a change after which the files of a save may be removed."""


class Leftover(NamedTuple):
    """A file or folder of a save that was interrupted or is in progress.

    ``size`` is in bytes, and ``time`` the last change of any file of the same save, in seconds since 1970.
    """

    path: str
    size: int
    time: float

    def is_young(self, now: float | None = None) -> bool:
        """Return whether it may belong to a save in progress; ``now`` replaces the current time."""
        return (time.time() if now is None else now) - self.time < YOUNGEST_AGE


def list_leftovers(folder: StrPath, *, storage_options: StorageOptions | None = None) -> list[Leftover]:
    """Return what interrupted saves left in a folder, by name; raise ``MissingFileError`` if there is no folder.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    location = locate(folder, storage_options)
    listing = location.list()
    found: dict[str, Hashable] = {}
    for name in listing.names:
        token = temporary_token(name)
        if token is not None and listing.stat(name) is not None:
            found[name] = token
        elif is_incomplete_folder(name) and listing.is_folder(name):
            found[name] = name
    found.update(_unused_shards(location, listing))
    facts = {name: _measure(location.join(name), listing, name) for name in found}
    times: dict[Hashable, float] = {}
    for name, save in found.items():
        times[save] = max(times.get(save, 0.0), facts[name][1])
    return [
        Leftover(location.join(name).path, facts[name][0], times[save])
        for name, save in sorted(found.items(), key=lambda item: natural_key(item[0]))
    ]


def remove_leftovers(folder: StrPath, *, storage_options: StorageOptions | None = None) -> list[Leftover]:
    """Remove what interrupted saves left in a folder, except recent files, and return what was removed.

    ``storage_options`` are those of ``locate``, for URLs. Raises as ``list_leftovers`` does, and ``OSError`` if a file
    cannot be removed.
    """
    removed = []
    for leftover in list_leftovers(folder, storage_options=storage_options):
        if not leftover.is_young():
            with suppress(MissingFileError):  # Another process removed it.
                remove_tree(locate(leftover.path))
                removed.append(leftover)
    return removed


def _unused_shards(folder: Location, listing: Listing) -> dict[str, Hashable]:
    """Return the data files that do not belong to their index and have no data that is not elsewhere."""
    shards = {name: shard for name in listing.names if (shard := parse_shard(name)) is not None}
    totals: dict[str, set[int]] = {}
    for shard in shards.values():
        totals.setdefault(shard.prefix, set()).add(shard.total)
    several = [prefix for prefix, found in totals.items() if len(found) > 1]
    if not several:
        return {}
    counts = {prefix: _stated_count(folder.join(prefix), listing) for prefix in several}
    places: dict[Hashable, int] = {}
    for name in listing.names:
        if name in shards or temporary_token(name) is not None:
            with suppress(OSError):
                place = folder.join(name).place()
                places[place] = places.get(place, 0) + 1
    unused: dict[str, Hashable] = {}
    for name, shard in shards.items():
        stated = counts.get(shard.prefix)
        stat = listing.stat(name)
        if stated is None or shard.total == stated or stat is None:
            continue
        with suppress(OSError):
            if not stat.size or places[folder.join(name).place()] > 1:
                unused[name] = shard.prefix, shard.total
    return unused


def _stated_count(prefix: Location, listing: Listing) -> int | None:
    """Return how many data files the index of a prefix states, or ``None`` if it cannot be read."""
    if not listing.is_file(prefix.name + INDEX_SUFFIX):
        return None
    try:
        index = BundleIndex.open(prefix, verify=True)
    except (TfBundleError, OSError):
        return None
    index.close()
    return index.header.num_shards


def _measure(location: Location, listing: Listing, name: str) -> tuple[int, float]:
    """Return the bytes of a file, or of the files in a folder, and when one of them last changed."""
    stat = listing.stat(name)
    if stat is not None:
        return stat.size, stat.mtime
    size, changed = 0, 0.0
    with suppress(MissingFileError):
        changed = change_time(location)
        below = location.list()
        for inner in below.names:
            found = below.stat(inner)
            if found is not None:
                size, changed = size + found.size, max(changed, found.mtime)
    return size, changed
