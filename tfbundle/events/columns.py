"""Thousands of events at once.

Records of one length are the rows of a matrix. The first row is taken apart; all rows that have its layout, which
numpy sees in a few comparisons of 8-byte words, are decoded with it, column by column. What is left goes the same way
with its own first row, and rows that never find company are handed back, to be taken apart one by one.

Rows of one layout may be of different series. A hash of the words that hold tags and metadata tells them apart; that
those with the same hash have the same names is verified.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.events.layout import Layout, NumberLayout, Span, Unusual, mask_of, parse_layout
from tfbundle.events.points import Array, Column, Place, TagPoints, makes_up, numbers_of
from tfbundle.formats.frames import FEWEST_ROWS, Group, crc32c_rows

# A layout that serves fewer rows than one in so many of those left was in vain; after some of these it is enough.
_WORTHWHILE = 16
_MOST_IN_VAIN = 8

# An odd number with many bits (the golden ratio), as in Fibonacci hashing.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


def read_columns(group: Group, offsets: Array, crcs: Array, tags: dict[bytes, TagPoints]) -> list[int]:
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
            layout = parse_layout(record)
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
            for series in _same_names(here, np.flatnonzero(alike), names):
                rows = left[series]
                part = group.rows[:, : group.size], offsets, crcs
                if len(rows) < len(words):
                    part = part[0][rows], part[1][rows], part[2][rows]
                _decode(layout, *part, tags)
        left = left[~alike]
    handed_back.extend(left.tolist())
    return handed_back


def _words_of(mask: bytes) -> list[tuple[int, np.uint64]]:
    """The words of a mask that ask for anything, each with its number."""
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


def _same_names(words: Array, rows: Array, names: list[tuple[int, np.uint64]]) -> Iterator[Array]:
    """Cut ``rows`` into those that have the same names, each in ascending order."""
    here = words if len(rows) == len(words) else words[rows]
    if not _differ(here, names).any():
        yield rows
        return
    hashes = np.zeros(len(rows), np.uint64)
    for number, bits in names:
        hashes = (hashes ^ (here[:, number] & bits)) * _FACTOR
        hashes ^= hashes >> _SHIFT
    # Sorting 16-bit numbers takes numpy no comparisons; mostly they tell as much as all 64.
    order = np.argsort(hashes.astype(np.uint16), kind="stable")
    cuts = np.flatnonzero(np.diff(hashes[order])) + 1
    if len(np.unique(hashes[order[cuts]])) < len(cuts):
        order = np.argsort(hashes, kind="stable")
        cuts = np.flatnonzero(np.diff(hashes[order])) + 1
    for part in np.split(order, cuts):
        alike = ~_differ(here[part], names)
        while not alike.all():
            yield rows[part[alike]]
            part = part[~alike]
            alike = ~_differ(here[part], names)
        yield rows[part]


def _decode(layout: Layout, rows: Array, offsets: Array, crcs: Array, tags: dict[bytes, TagPoints]) -> None:
    """Put the values of rows that have one layout and the same names where they belong."""
    count = len(rows)
    walls = np.zeros(count)
    if layout.wall is not None:
        walls = numbers_of(rows[:, layout.wall : layout.wall + 8], walls.dtype)
    steps = np.zeros(count, np.int64) if layout.step is None else _varints(rows, layout.step).view(np.int64)
    for value in layout.values:
        tag = rows[0, value.tag.start : value.tag.end].tobytes()
        points = tags.get(tag)
        if points is None:
            points = tags[tag] = TagPoints()
        order = offsets + value.span.start
        if value.metadata is not None:
            points.note_metadata(int(order[0]), rows[0, value.metadata.start : value.metadata.end].tobytes())
        head = order, steps, walls
        if value.number is not None:
            points.add((value.form, value.number.dtype), Column(*head, _numbers(value.number, rows)))
        else:
            points.add((value.form, None), Column(*head, None, _places(value.span, rows, offsets, crcs)))


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
