"""How a bundle's tensors fill its data files: every byte should belong to one tensor.

::

    ==a====|==b==|....|===c===|########       .... padding to a tensor's alignment, which is as it should be
    0                         ^               #### bytes that no tensor claims

TensorFlow writes tensors one behind the other, with zeros between them if it was asked to align them, and nothing
behind the last.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from itertools import chain, islice
from math import gcd
from typing import NamedTuple

from tfbundle.checkpoint.find.names import parse_shard
from tfbundle.checkpoint.find.renamed import advise_missing_shard
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.base import Source
from tfbundle.storage.local import LocalSource, file_size, list_folder
from tfbundle.storage.locations import locate

# A checkpoint of thousands of data files that are all absent needs no finding for each.
_MOST_NAMED = 100

# Pages of memory and blocks of disks, to which tensors are aligned, are no larger. A larger gap is not looked through.
_LARGEST_ALIGNMENT = 1 << 16

# What may stand in the place of a file that was not fetched.
_STAND_INS = (FileKind.GIT_LFS, FileKind.HTML, FileKind.GZIP, FileKind.ZIP)


class Claim(NamedTuple):
    """Bytes of a data file that a tensor claims, from ``offset`` to ``end``, and their masked CRC-32C."""

    offset: int
    end: int
    name: str
    crc: int


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
        except (TfBundleError, OSError):
            is_complete = False
            continue
        is_complete = is_complete and len(pieces) >= expected
        for _, (_, _, place) in pieces:
            claims.setdefault(place.shard, []).append(Claim(place.offset, place.offset + place.size, name, place.crc))
    for found in claims.values():
        found.sort()
    return Layout(claims, is_complete)


class DataFiles(NamedTuple):
    """The data files that are there, by number, and the numbers of those that cannot be read."""

    present: dict[int, str]
    unreadable: set[int]


def check_files(store: BundleStore, layout: Layout, findings: list[Finding]) -> DataFiles:
    """Find data files that are not there, not the checkpoint's, or not data files at all.

    The tensors in files that cannot be read need not all be named.
    """
    folder, base = os.path.split(store.path)
    count = store.shards.count
    present = {}
    for name in list_folder(folder or os.curdir):
        parsed = parse_shard(name)
        if parsed is None or parsed.prefix != base:
            continue
        path = os.path.join(folder, name)
        if (shard := parsed.number) < count and store.shards.path(shard) == path:
            present[shard] = path
        else:
            message = f"{path} is none of the {count} data files of the checkpoint; it is left of another one"
            findings.append(Finding("superfluous", message, path))
    for shard in islice((shard for shard in range(count) if shard not in present), _MOST_NAMED):
        path = store.shards.path(shard)
        needed = max((claim.end for claim in layout.claims.get(shard, ())), default=None)
        advice = advise_missing_shard(locate(store.path), shard, count, needed)
        message = f"the data file {path} is not there (shard {shard} of {count}); {advice}"
        findings.append(Finding("missing", message, path, shard=shard))
    if count - len(present) > _MOST_NAMED:
        message = f"{count - len(present) - _MOST_NAMED} more of the {count} data files are not there"
        findings.append(Finding("missing", message, store.path))
    unreadable = set()
    for shard, path in present.items():
        try:
            LocalSource(path).close()
        except (TfBundleError, OSError) as error:  # A folder, a pipe, a link that leads nowhere, or forbidden.
            findings.append(replace(finding_of(error, "wrong-file"), shard=shard))
            unreadable.add(shard)
    for shard, claims in layout.claims.items():
        path = store.shards.path(shard)
        if shard not in present:
            # A number that the checkpoint does not have is an error of the tensor that states it.
            if 0 <= shard < count:
                unreadable.add(shard)
        elif shard not in unreadable and (size := file_size(path)) is not None and size < claims[-1].end:
            with suppress(TfBundleError, OSError):
                kind = kind_of(path)
                if kind in _STAND_INS:
                    findings.append(Finding("wrong-file", f"{path} is {kind.value}; {kind.advice}", path, shard=shard))
                    unreadable.add(shard)
    return DataFiles(present, unreadable)


class Space(NamedTuple):
    """What is not a tensor in the data files: trouble, and bytes of padding by the number of the file."""

    findings: list[Finding]
    padding: dict[int, int]


def check_claims(layout: Layout, files: DataFiles) -> Space:
    """Find bytes that two tensors claim, or none.

    Where the entry of a tensor makes no sense, bytes without a claim are taken to be its own.
    """
    space = Space([], {})
    for shard in sorted(files.present.keys() - files.unreadable):
        claims = layout.claims.get(shard, [])
        try:
            source = LocalSource(files.present[shard])
        except TfBundleError:
            continue
        problems: Iterable[Finding] = _overlaps(source.path, shard, claims)
        try:
            if layout.is_complete:
                space.padding[shard], gaps = _find_gaps(source, claims)
                problems = chain(problems, _unclaimed(source.path, shard, gaps))
        except FormatError:
            pass  # It was cut short just now.
        except OSError as error:
            space.findings.append(finding_of(error, "unclaimed"))
        finally:
            source.close()
        found = list(islice(problems, _MOST_NAMED + 1))
        if len(found) > _MOST_NAMED:
            found[-1] = Finding(
                found[-1].kind, f"there is more of this kind in {source.path}", source.path, shard=shard
            )
        space.findings.extend(found)
    return space


def _overlaps(path: str, shard: int, claims: list[Claim]) -> Iterator[Finding]:
    before = Claim(0, 0, "", 0)
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


def _find_gaps(source: Source, claims: list[Claim]) -> tuple[int, list[tuple[int, int]]]:
    """How many bytes between claims are padding, and the offsets and sizes of the gaps that are not."""
    alignment = min(reduce(gcd, (claim.offset for claim in claims), 0), _LARGEST_ALIGNMENT)
    padding = end = 0
    gaps = []
    for claim in claims:
        size = min(claim.offset, source.size) - end
        if size > 0:
            if size < alignment and claim.offset < source.size and not any(source.read_at(end, size)):
                padding += size
            else:
                gaps.append((end, size))
        end = max(end, claim.end)
    if end < source.size:
        gaps.append((end, source.size - end))
    return padding, gaps


def _unclaimed(path: str, shard: int, gaps: list[tuple[int, int]]) -> Iterator[Finding]:
    for offset, size in gaps:
        message = f"no tensor claims {size} bytes at offset {offset} of {path}"
        yield Finding("unclaimed", message, path, None, shard, offset, size)
