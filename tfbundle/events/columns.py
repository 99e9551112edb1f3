"""Decode thousands of events together: rows of one layout (``stacks``), column by column."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from tfbundle.events.layout import Layout, NumberLayout, Span
from tfbundle.events.points import Column, Place, TagPoints, makes_up, numbers_of
from tfbundle.events.stacks import find_stacks
from tfbundle.formats.records.frames import Group, crc32c_rows
from tfbundle.tensors.arrays import Array


def decode_columns(group: Group, offsets: Array, crcs: Array, tags: dict[bytes, TagPoints]) -> list[int]:
    """Decode the summaries in ``group``, whose rows are at ``offsets`` in the file and have ``crcs``, into ``tags``.

    Returns the numbers of the rows that are not summaries, are not simple, or share their layout with too few others.
    """
    stacks, others = find_stacks(group)
    for layout, rows, bounds in stacks:
        _decode(layout, group.rows[rows, : group.size], offsets[rows], crcs[rows], bounds, tags)
    return others


def _decode(
    layout: Layout, rows: Array, offsets: Array, crcs: Array, bounds: list[int], tags: dict[bytes, TagPoints]
) -> None:
    """Add the values of rows with one layout to ``tags``; rows between two ``bounds`` have the same names."""
    count = len(rows)
    walls = np.zeros(count)
    if layout.wall is not None:
        walls = numbers_of(rows[:, layout.wall : layout.wall + 8], walls.dtype)
    steps = np.zeros(count, np.int64) if layout.step is None else decode_varints(rows, layout.step).view(np.int64)
    for value in layout.values:
        if not value.form and value.metadata is None:
            continue  # It is empty.
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
        numbers = decode_varints(rows, number.span)
        if number.dtype == np.bool_:
            numbers = (numbers != 0).astype(np.uint64)
        raw = numbers.astype("<u8").view(np.uint8).reshape(len(rows), 8)
        return numbers_of(raw[:, : number.dtype.itemsize], number.dtype)
    if start == end:
        return np.zeros(len(rows), number.dtype)
    return numbers_of(rows[:, start:end], number.dtype)


def decode_varints(rows: Array, span: Span) -> Array:
    """Return varints that take the same columns in all rows, as uint64."""
    values = np.zeros(len(rows), np.uint64)
    for shift, column in enumerate(range(span.start, span.end)):
        values |= (rows[:, column] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * shift)
    return values
