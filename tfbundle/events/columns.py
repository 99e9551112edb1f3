"""Thousands of events at once.

Records of one length are the rows of a matrix. The first row is taken apart; all rows that have its layout, which
numpy sees in a few comparisons of 8-byte words, are decoded with it, column by column. What is left goes the same way
with its own first row, and rows that never find company are handed back, to be taken apart one by one.

Rows of one layout may be of different series. A hash of the words that hold tags and metadata distinguishes them; that
those with the same hash have the same names is verified.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.events.layout import Layout, NumberLayout, Span, Unusual, decode_layout, mask_of
from tfbundle.events.points import Column, Place, TagPoints, makes_up, numbers_of
from tfbundle.formats.records.frames import FEWEST_ROWS, Group, crc32c_rows
from tfbundle.tensors.arrays import Array

# A layout that serves fewer rows than one in so many of those left was in vain; after some of these it is enough.
_WORTHWHILE = 16
_MOST_IN_VAIN = 8

# An odd number with many bits (the golden ratio), as in Fibonacci hashing.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


def decode_columns(group: Group, offsets: Array, crcs: Array, tags: dict[bytes, TagPoints]) -> list[int]:
    """Decode the summaries in ``group``, whose rows lie at ``offsets`` in the file and have ``crcs``, into ``tags``.

    Returns the numbers of the rows that are no summaries, or not simple, or too few of a kind.
    """
    words = group.rows.view("<u8")
    left = np.arange(len(words))
    handed_back: list[int] = []
    in_vain = 0
    while len(left) >= FEWEST_ROWS and in_vain < _MOST_IN_VAIN:
        record = group.rows[left[0], : group.size].tobytes()
        try:
            layout = decode_layout(record)
        except (Unusual, FormatError):
            layout = None
        if layout is None or not layout.values:
            handed_back.append(int(left[0]))
            left = left[1:]
            in_vain += 1
            continue
        shared, names = (_words_of(mask) for mask in mask_of(layout, record))
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
            _decode(layout, group.rows[rows, : group.size], offsets[rows], crcs[rows], bounds, tags)
        left = left[~alike]
    handed_back.extend(left.tolist())
    return handed_back


def _words_of(mask: bytes) -> list[tuple[int, np.uint64]]:
    """Return the words of a mask that ask for anything, each with its number."""
    padded = mask + bytes(-len(mask) % 8)
    return [(number, word) for number, word in enumerate(np.frombuffer(padded, "<u8")) if word]


def _differ(words: Array, mask: list[tuple[int, np.uint64]]) -> Array:
    """Which rows differ from the first one in bits of the mask."""
    different = np.zeros(len(words), np.uint64)
    for number, bits in mask:
        column = words[:, number]
        different |= (column ^ column[0]) & bits
    found: Array = different != 0
    return found


def _sort_by_names(words: Array, names: list[tuple[int, np.uint64]]) -> tuple[Array | None, list[int]]:
    """Return an order that brings rows with the same names together, and where in it each series begins; at last its
    end.

    Rows of one series stay in order. ``None`` is the order that they have.
    """
    count = len(words)
    if not _differ(words, names).any():
        return None, [0, count]
    hashes = np.zeros(count, np.uint64)
    for number, bits in names:
        hashes = (hashes ^ (words[:, number] & bits)) * _FACTOR
        hashes ^= hashes >> _SHIFT
    # Sorting 16-bit numbers takes numpy no comparisons; mostly they tell as much as all 64, and those as all names.
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


def _decode(
    layout: Layout, rows: Array, offsets: Array, crcs: Array, bounds: list[int], tags: dict[bytes, TagPoints]
) -> None:
    """Put the values of rows that have one layout, and the same names between two ``bounds``, where they belong."""
    count = len(rows)
    walls = np.zeros(count)
    if layout.wall is not None:
        walls = numbers_of(rows[:, layout.wall : layout.wall + 8], walls.dtype)
    steps = np.zeros(count, np.int64) if layout.step is None else _varints(rows, layout.step).view(np.int64)
    for value in layout.values:
        order = offsets + value.span.start
        numbers = places = None
        if value.number is not None:
            numbers = _numbers(value.number, rows)
        else:
            places = _places(value.span, rows, offsets, crcs)
        kind = value.form, None if value.number is None else value.number.dtype
        for start, end in pairwise(bounds):
            tag = rows[start, value.tag.start : value.tag.end].tobytes()
            points = tags.get(tag)
            if points is None:
                points = tags[tag] = TagPoints()
            if value.metadata is not None:
                metadata = rows[start, value.metadata.start : value.metadata.end].tobytes()
                points.note_metadata(int(order[start]), metadata)
            part = slice(start, end)
            head = order[part], steps[part], walls[part]
            if numbers is not None:
                points.add(kind, Column(*head, numbers[part]))
            else:
                points.add(kind, Column(*head, None, None if places is None else places[part]))


def _places(span: Span, rows: Array, offsets: Array, crcs: Array) -> Array:
    size = span.end - span.start
    places = np.empty((len(rows), len(Place._fields)), np.int64)
    places[:, 0] = size
    if makes_up(size, rows.shape[1]):
        places[:, 1], places[:, 2], places[:, 3] = offsets, rows.shape[1], crcs
    else:
        places[:, 1], places[:, 2] = offsets + span.start, size
        part = np.zeros((len(rows), -(-size // 8) * 8), np.uint8)
        part[:, :size] = rows[:, span.start : span.end]
        places[:, 3] = crc32c_rows(part, size)
    return places


def _numbers(number: NumberLayout, rows: Array) -> Array:
    start, end = number.span
    if number.is_varint:
        numbers = _varints(rows, number.span)
        if number.dtype == np.bool_:
            numbers = (numbers != 0).astype(np.uint64)
        raw = numbers.astype("<u8").view(np.uint8).reshape(len(rows), 8)
        return numbers_of(raw[:, : number.dtype.itemsize], number.dtype)
    if start == end:
        return np.zeros(len(rows), number.dtype)
    return numbers_of(rows[:, start:end], number.dtype)


def _varints(rows: Array, span: Span) -> Array:
    """Varints that take the same columns in all rows, as uint64."""
    values = np.zeros(len(rows), np.uint64)
    for shift, column in enumerate(range(span.start, span.end)):
        values |= (rows[:, column] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * shift)
    return values
