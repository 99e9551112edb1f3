"""Find event records that have the same layout among thousands.

Records of one length are the rows of a matrix. The layout of the first row is decoded, or known from another file; all
rows with that layout, which numpy finds with a few comparisons of 8-byte words, form a stack. This is repeated with the
remaining rows, and rows that share their layout with too few others are returned, to be decoded one at a time.

Rows of one stack may belong to different series. A hash of the words that hold tags and metadata distinguishes them;
rows with the same hash are verified to have the same names.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.events.layout import Layout, Unusual, decode_layout, mask_of
from tfbundle.formats.records.frames import FEWEST_ROWS, Group
from tfbundle.tensors.arrays import Array

# A layout is worthwhile if at least one in so many of the remaining rows has it; the search ends after some that are
# not worthwhile.
_WORTHWHILE = 16
_MOST_IN_VAIN = 8

# An odd number with many bits (the golden ratio), as in Fibonacci hashing.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


class Stack(NamedTuple):
    """Rows with one ``layout``, ordered by series; ``rows`` selects them.

    The rows from one of ``bounds`` to the next have the same tags and metadata.
    """

    layout: Layout
    rows: Any
    bounds: list[int]


def find_stacks(group: Group) -> tuple[list[Stack], list[int]]:
    """Return the stacks of summaries in ``group``, and the numbers of the rows that are in none.

    These are not summaries, are not simple, or share their layout with too few others.
    """
    stacks: list[Stack] = []
    words = group.rows.view("<u8")
    left = np.arange(len(words))
    handed_back: list[int] = []
    in_vain = 0
    while len(left) >= FEWEST_ROWS and in_vain < _MOST_IN_VAIN:
        known = _decode_known(group.rows[left[0], : group.size].tobytes())
        if known is None:
            handed_back.append(int(left[0]))
            left = left[1:]
            in_vain += 1
            continue
        layout, shared, names = known.layout, known.shared, known.names
        here = words if len(left) == len(words) else words[left]
        alike = ~_differ(here, shared)
        count = int(np.count_nonzero(alike))
        if count < max(FEWEST_ROWS, len(left) // _WORTHWHILE):
            in_vain += 1
        if count < FEWEST_ROWS:
            handed_back.extend(left[alike].tolist())
        else:
            order, bounds = _sort_by_names(here if count == len(here) else here[alike], names)
            rows: Any = left[alike] if order is None else left[alike][order]
            if order is None and count == len(words):
                rows = slice(None)
            stacks.append(Stack(layout, rows, bounds))
        left = left[~alike]
    handed_back.extend(left.tolist())
    return stacks, handed_back


class _Known(NamedTuple):
    """A layout: a record has it if its ``bits`` (a number of all bytes) have this ``value``.

    ``shared`` has these bits in words, and ``names`` those of tags and metadata.
    """

    layout: Layout
    shared: list[tuple[int, np.uint64]]
    names: list[tuple[int, np.uint64]]
    bits: int
    value: int


# Layouts by the size of the record, the newest first: runs of one program have the same ones.
_known: dict[int, list[_Known]] = {}
_MOST_SIZES, _MOST_KNOWN = 64, 4


def _decode_known(record: bytes) -> _Known | None:
    """Return the layout of a record, or ``None`` if it is not a summary or has no layout."""
    number = int.from_bytes(record, "little")
    found = _known.get(len(record), [])
    for known in found:
        if number & known.bits == known.value:
            return known
    try:
        layout = decode_layout(record)
    except (Unusual, FormatError):
        return None
    if not layout.values:
        return None
    shared, names = mask_of(layout, record)
    bits = int.from_bytes(shared, "little")
    new = _Known(layout, _words_of(shared), _words_of(names), bits, number & bits)
    if len(_known) >= _MOST_SIZES:
        _known.clear()
    _known[len(record)] = [new, *found][:_MOST_KNOWN]
    return new


def _words_of(mask: bytes) -> list[tuple[int, np.uint64]]:
    """Return the nonzero words of a mask, each with its number."""
    padded = mask + bytes(-len(mask) % 8)
    return [(number, word) for number, word in enumerate(np.frombuffer(padded, "<u8")) if word]


def _differ(words: Array, mask: list[tuple[int, np.uint64]]) -> Array:
    """Return which rows differ from the first one in bits of the mask."""
    different = np.zeros(len(words), np.uint64)
    for number, bits in mask:
        column = words[:, number]
        different |= (column ^ column[0]) & bits
    found: Array = different != 0
    return found


def _sort_by_names(words: Array, names: list[tuple[int, np.uint64]]) -> tuple[Array | None, list[int]]:
    """Return an order that groups rows with the same names, and the start of each series in it, followed by the end.

    Rows of one series stay in order. The order is ``None`` if the rows are already grouped.
    """
    count = len(words)
    if not _differ(words, names).any():
        return None, [0, count]
    hashes = np.zeros(count, np.uint64)
    for number, bits in names:
        hashes = (hashes ^ (words[:, number] & bits)) * _FACTOR
        hashes ^= hashes >> _SHIFT
    # numpy sorts 16-bit numbers without comparisons. Usually they distinguish as much as all 64 bits do, and those as
    # much as the names.
    for keys in (hashes.astype(np.uint16), hashes):
        order = np.argsort(keys, kind="stable")
        starts = _changes(words[order], names)
        if len(np.unique(hashes[order[starts]])) == len(starts):
            return order, [*starts.tolist(), count]
    order = np.lexsort([words[:, number] & bits for number, bits in names])
    return order, [*_changes(words[order], names).tolist(), count]


def _changes(words: Array, mask: list[tuple[int, np.uint64]]) -> Array:
    """Return the first row, and the rows that differ from the one before them in bits of the mask."""
    different = np.zeros(len(words), bool)
    different[0] = True
    for number, bits in mask:
        column = words[:, number] & bits
        different[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(different)
