"""How a bundle's tensors fill its data files: every byte should belong to one tensor.

::

    ==a====|==b==|....|===c===|########       .... padding that aligns the next tensor, as intended
    0                         ^               #### bytes that no tensor claims

TensorFlow writes tensors one after another, with zeros between them if alignment is requested, and nothing after the
last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.plurals import plural
from tfbundle.storage.base import Source
from tfbundle.verification.data_files import DataFiles
from tfbundle.verification.layout import Claims, Column

# The most findings of this kind for one data file.
_MOST_NAMED = 100
# The largest alignment, which is that of memory pages and disk blocks. A larger gap is not padding, and is not read.
_LARGEST_ALIGNMENT = 1 << 16
# Padding between small tensors is close together, and is read in one go.
_WINDOW = 1 << 12


class Space(NamedTuple):
    """The parts of data files that are not tensors: findings, and bytes of padding by number of the file."""

    findings: list[Finding]
    padding: dict[int, int]


def check_space(claims: Claims, files: DataFiles, name_of: Callable[[int], str], *, is_complete: bool) -> Space:
    """Find bytes that are claimed by two tensors, or by none.

    If an entry is invalid (``is_complete`` is false), unclaimed bytes may belong to it, and are not reported.
    ``name_of`` returns the name of a tensor by the number of its entry.
    """
    space = Space([], {})
    for shard in sorted(files.present.keys() - files.unreadable):
        try:
            source = files.present[shard].open()
        except (TfBundleError, OSError):
            continue  # It was just removed; its tensors have findings.
        own = claims.of(shard)
        # The end of all claims up to each one, which exceeds its own end if it is contained in another claim.
        ends = np.maximum.accumulate(own.end) if len(own.end) else own.end
        problems: Iterable[Finding] = _overlaps(source.path, shard, own, ends, name_of)
        try:
            if is_complete:
                space.padding[shard], gaps = _find_gaps(source, own, ends)
                problems = chain(problems, _unclaimed(source.path, shard, gaps))
        except FormatError:
            pass  # It was just truncated.
        except OSError as error:
            space.findings.append(finding_of(error, "unclaimed"))
        finally:
            source.close()
        found = list(islice(problems, _MOST_NAMED + 1))
        if len(found) > _MOST_NAMED:
            found[-1] = Finding(
                found[-1].kind, f"{source.path} has more findings of this kind", source.path, shard=shard
            )
        space.findings.extend(found)
    return space


def _overlaps(path: str, shard: int, claims: Claims, ends: Column, name_of: Callable[[int], str]) -> Iterator[Finding]:
    before = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    for row in np.flatnonzero((claims.offset < before) & (claims.offset < claims.end)).tolist():
        offset = int(claims.offset[row])
        size = min(int(claims.end[row]), int(before[row])) - offset
        other = int(np.searchsorted(ends, before[row]))  # The first claim that reaches as far.
        name, other_name = name_of(int(claims.number[row])), name_of(int(claims.number[other]))
        message = (
            f"{name!r} and {other_name!r} both claim {plural(size, 'byte')} at offset {offset} of {path}; the index, "
            "or the program that wrote it, is wrong"
        )
        yield Finding("overlap", message, path, name, shard, offset, size)


def _find_gaps(source: Source, claims: Claims, ends: Column) -> tuple[int, list[tuple[int, int]]]:
    """Return the number of padding bytes between claims, and the offsets and sizes of all other gaps."""
    alignment = min(int(np.gcd.reduce(claims.offset)) if len(ends) else 0, _LARGEST_ALIGNMENT)
    before = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    sizes = np.minimum(claims.offset, source.size) - before
    rows = np.flatnonzero(sizes > 0)
    is_followed = claims.offset[rows] < source.size
    padding = 0
    gaps = []
    window = _Window(source)
    for start, size, is_inside in zip(before[rows].tolist(), sizes[rows].tolist(), is_followed.tolist(), strict=True):
        if size < alignment and is_inside and not any(window.read(start, size)):
            padding += size
        else:
            gaps.append((start, size))
    end = int(ends[-1]) if len(ends) else 0
    if end < source.size:
        gaps.append((end, source.size - end))
    return padding, gaps


class _Window:
    """Reads parts of a file in ascending order, with neighbouring parts in one read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._start = 0
        self._data = b""

    def read(self, offset: int, size: int) -> bytes:
        if offset + size > self._start + len(self._data):
            self._start = offset
            self._data = self._source.read_at(offset, min(max(size, _WINDOW), self._source.size - offset))
        return self._data[offset - self._start : offset - self._start + size]


def _unclaimed(path: str, shard: int, gaps: list[tuple[int, int]]) -> Iterator[Finding]:
    for offset, size in gaps:
        message = f"no tensor claims {plural(size, 'byte')} at offset {offset} of {path}"
        yield Finding("unclaimed", message, path, None, shard, offset, size)
