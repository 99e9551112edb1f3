"""How a bundle's tensors fill its data files: every byte should belong to one tensor.

::

    ==a====|==b==|....|===c===|########       .... padding to a tensor's alignment, which is as it should be
    0                         ^               #### bytes that no tensor claims

TensorFlow writes tensors one behind the other, with zeros between them if it was asked to align them, and nothing
behind the last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import islice
from math import gcd
from typing import NamedTuple

from tfbundle.checkpoint.bundle import BundleStore
from tfbundle.checkpoint.findings import Finding
from tfbundle.checkpoint.names import advise_missing_shard
from tfbundle.errors import TfBundleError
from tfbundle.identify import FileKind, identify
from tfbundle.storage import list_folder, read_range, stat_file

# A checkpoint of thousands of data files that are all absent needs no finding for each.
MOST_NAMED = 100

_SHARD = re.compile(r"\.data-(\d{5,9})-of-\d{5,9}\Z")
# What may stand in the place of a file that was not fetched.
_STAND_INS = (FileKind.GIT_LFS, FileKind.HTML, FileKind.GZIP, FileKind.ZIP)


class Claim(NamedTuple):
    """Bytes of a data file that a tensor claims, from ``offset`` to ``end``."""

    offset: int
    end: int
    name: str


class Layout(NamedTuple):
    """The claims on each data file by its number, in order, and whether the entries of all tensors made sense."""

    claims: dict[int, list[Claim]]
    is_complete: bool


def find_layout(store: BundleStore, records: Mapping[str, bytes]) -> Layout:
    """Who claims what; a tensor without elements claims a place of no bytes."""
    claims: dict[int, list[Claim]] = {}
    is_complete = True
    for name, record in records.items():
        try:
            pieces = store.pieces(name, record)
            expected = len(store.facts(name, record).slices)
        except TfBundleError:
            is_complete = False
            continue
        is_complete = is_complete and len(pieces) >= expected
        for _, (_, _, place) in pieces:
            claims.setdefault(place.shard, []).append(Claim(place.offset, place.offset + place.size, name))
    for found in claims.values():
        found.sort()
    return Layout(claims, is_complete)


def check_files(store: BundleStore, layout: Layout, findings: list[Finding]) -> set[int]:
    """Find data files that are not there, not the checkpoint's, or not data files at all.

    Returns the numbers of those that cannot be read, so that their tensors need not all be named.
    """
    folder, base = os.path.split(store.path)
    names = list_folder(folder or os.curdir)
    present = find_shards(store, names)
    count = store.shards.count
    for shard in islice((shard for shard in range(count) if shard not in present), MOST_NAMED):
        path = store.shards.path(shard)
        advice = advise_missing_shard(store.path, shard, count)
        message = f"the data file {path} is not there (shard {shard} of {count}); {advice}"
        findings.append(Finding("missing", message, path, shard=shard))
    if count - len(present) > MOST_NAMED:
        message = f"{count - len(present) - MOST_NAMED} more of the {count} data files are not there"
        findings.append(Finding("missing", message, store.path))
    own = set(present.values())
    for name in names:
        if name not in own and name.startswith(base) and _SHARD.fullmatch(name, len(base)):
            path = os.path.join(folder, name)
            message = f"{path} is none of the {count} data files of the checkpoint; it is left of another one"
            findings.append(Finding("superfluous", message, path))
    unreadable = set()
    for shard, claims in layout.claims.items():
        path = store.shards.path(shard)
        if shard not in present:
            # A number that the checkpoint does not have is an error of the tensor that states it.
            if 0 <= shard < count:
                unreadable.add(shard)
        elif (facts := stat_file(path)) is not None and facts.size < claims[-1].end:
            kind = identify(path)
            if kind in _STAND_INS:
                findings.append(Finding("wrong-file", f"{path} is {kind.value}; {kind.advice}", path, shard=shard))
                unreadable.add(shard)
    return unreadable


def find_shards(store: BundleStore, names: Iterable[str]) -> dict[int, str]:
    """The data files of a checkpoint among the names in its folder, by number."""
    base = os.path.basename(store.path)
    found = {}
    for name in names:
        match = _SHARD.fullmatch(name, len(base)) if name.startswith(base) else None
        if match and (shard := int(match[1])) < store.shards.count and store.shards.path(shard).endswith(name):
            found[shard] = name
    return found


def check_claims(store: BundleStore, layout: Layout, unreadable: set[int]) -> list[Finding]:
    """Find bytes that two tensors claim, or none.

    Where the entry of a tensor makes no sense, bytes without a claim are taken to be its own.
    """
    findings = []
    names = list_folder(os.path.dirname(store.path) or os.curdir)
    for shard in sorted(find_shards(store, names)):
        path = store.shards.path(shard)
        claims = layout.claims.get(shard, [])
        if shard in unreadable or (facts := stat_file(path)) is None:
            continue
        problems = _overlaps(path, shard, claims)
        if layout.is_complete:
            problems = _chain(problems, _unclaimed(path, shard, claims, facts.size))
        found = list(islice(problems, MOST_NAMED + 1))
        if len(found) > MOST_NAMED:
            found[-1] = Finding(found[-1].kind, f"there is more of this kind in {path}", path, shard=shard)
        findings += found
    return findings


def _chain(*parts: Iterable[Finding]) -> Iterator[Finding]:
    for part in parts:
        yield from part


def _overlaps(path: str, shard: int, claims: list[Claim]) -> Iterator[Finding]:
    before = Claim(0, 0, "")
    for claim in claims:
        if claim.offset < before.end and claim.offset < claim.end:
            size = min(claim.end, before.end) - claim.offset
            message = (
                f"{claim.name!r} and {before.name!r} both claim {size} bytes at offset {claim.offset} of {path}; "
                "the index, or its writer, is not to be trusted"
            )
            yield Finding("overlap", message, path, claim.name, shard, claim.offset, size)
        if claim.end > before.end:
            before = claim


def _unclaimed(path: str, shard: int, claims: list[Claim], file_size: int) -> Iterator[Finding]:
    alignment = reduce(gcd, (claim.offset for claim in claims), 0)
    end = 0
    for offset, stop in [*((claim.offset, claim.end) for claim in claims), (file_size, file_size)]:
        size = min(offset, file_size) - end
        if size > 0 and not (offset < file_size and size < alignment and not any(read_range(path, end, size))):
            message = f"no tensor claims {size} bytes at offset {end} of {path}"
            yield Finding("unclaimed", message, path, None, shard, end, size)
        end = max(end, stop)
