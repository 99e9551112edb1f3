"""Collect the points of a file by tag: single points, or thousands in columns.

A point is a step, a wall time and a value. Numbers are kept; for anything larger, such as an image, only its place in
the file is kept, and the value is read on access. It is then verified against a checksum: that of its record if the
value makes up most of the record, or else one computed for the value when the file was read. ``order`` is the offset of
the value in the file; sorting by it restores the order of the file for points that were found in any order.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tfbundle.formats.checksum import crc32c
from tfbundle.tensors.arrays import Array


class Place(NamedTuple):
    """A value of ``size`` bytes at ``order``, among ``length`` bytes at ``start`` that have the CRC-32C ``crc``.

    A negative size is the index of the value among those that the file's reader keeps.
    """

    size: int
    start: int
    length: int
    crc: int


class Column(NamedTuple):
    """Points: ``order`` and ``steps`` int64, ``walls`` float64.

    ``numbers`` are the values if these are numbers. Otherwise ``places`` (int64) has a row like ``Place`` for each.
    """

    order: Array
    steps: Array
    walls: Array
    numbers: Array | None
    places: Array | None = None


def find_places(
    data: memoryview, offset: int, starts: Array, ends: Array, record_starts: Array, record_ends: Array, crcs: Array
) -> Array:
    """Return the ``places`` of the values ``data[starts:ends]``, each in a record with the CRC-32C in ``crcs``.

    ``data[0]`` is the byte ``offset`` of the file.
    """
    sizes = ends - starts
    is_most = makes_up(sizes, record_ends - record_starts)
    places = np.empty((len(sizes), len(Place._fields)), np.int64)
    places[:, 0] = sizes
    places[:, 1] = np.where(is_most, record_starts, starts) + offset
    places[:, 2] = np.where(is_most, record_ends - record_starts, sizes)
    places[:, 3] = crcs
    own = np.flatnonzero(~is_most)
    spans = zip(starts[own].tolist(), ends[own].tolist(), strict=True)
    places[own, 3] = [crc32c(data[start:end]) for start, end in spans]
    return places


def makes_up(size: Any, whole: Any) -> Any:
    """Return whether a value makes up so much of its record that it is read with the whole record."""
    return size * 2 >= whole


def join(columns: list[Column]) -> Column:
    """Return the points of one kind, in the order of the file."""
    order = columns[0].order if len(columns) == 1 else np.concatenate([column.order for column in columns])
    sorting = None
    if len(order) > 1 and (order[1:] < order[:-1]).any():
        sorting = np.argsort(order, kind="stable")
    elif len(columns) == 1:
        return columns[0]
    parts: list[Any] = []
    for part in zip(*columns, strict=True):
        joined = None if part[0] is None else np.concatenate(part)
        parts.append(joined if joined is None or sorting is None else joined[sorting])
    return Column(*parts)


class Single(NamedTuple):
    """One point; ``number`` is the value's bytes, if it is a number."""

    order: int
    step: int
    wall: float
    number: bytes | None
    place: Place | None = None


# The field number of a summary value's content, and the dtype of its number.
Kind = tuple[int, "np.dtype[Any] | None"]
Item = TypeVar("Item", Column, Single)


class TagPoints:
    """The points of one tag.

    ``metadata`` is the first serialized ``SummaryMetadata`` in the file and its order, or ``None``.
    """

    __slots__ = ("_columns", "_singles", "metadata")  # A file may have a million tags.

    def __init__(self) -> None:
        self.metadata: tuple[int, bytes] | None = None
        self._columns: list[tuple[Kind, Column]] = []
        self._singles: list[tuple[Kind, Single]] | None = None

    def note_metadata(self, order: int, metadata: bytes) -> None:
        """Keep the metadata that comes first in the file."""
        if self.metadata is None or order < self.metadata[0]:
            self.metadata = order, metadata

    def add(self, kind: Kind, column: Column) -> None:
        self._columns.append((kind, column))

    def add_single(self, kind: Kind, single: Single) -> None:
        if self._singles is None:
            self._singles = []
        self._singles.append((kind, single))

    def columns(self) -> dict[Kind, Column]:
        """Return all points, in the order of the file for each kind of value."""
        if self._singles is not None:
            singles = _by_kind(self._singles)
            self._columns += [(kind, _column_of(some, kind[1])) for kind, some in singles.items()]
            self._singles = None
        if len(self._columns) == 1:
            kind, column = self._columns[0]
            return {kind: join([column])}
        found = {kind: join(parts) for kind, parts in _by_kind(self._columns).items()}
        self._columns = list(found.items())
        return found


def _by_kind(items: Iterable[tuple[Kind, Item]]) -> dict[Kind, list[Item]]:
    found: defaultdict[Kind, list[Item]] = defaultdict(list)
    for kind, item in items:
        found[kind].append(item)
    return found


def _column_of(singles: list[Single], dtype: np.dtype[Any] | None) -> Column:
    orders, steps, walls, numbers, places = zip(*singles, strict=True)
    head = np.array(orders, np.int64), np.array(steps, np.int64), np.array(walls, np.float64)
    if dtype is None:
        return Column(*head, None, np.array(places, np.int64))
    raw = np.frombuffer(b"".join(numbers), np.uint8).reshape(len(singles), dtype.itemsize)
    return Column(*head, numbers_of(raw, dtype))


def numbers_of(raw: Array, dtype: np.dtype[Any]) -> Array:
    """Return numbers from their little-endian bytes, one row each."""
    raw = np.ascontiguousarray(raw)
    if sys.byteorder == "big" and dtype.itemsize > 1:
        part = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
        raw = np.ascontiguousarray(raw.reshape(-1, part)[:, ::-1])
    # A byte other than 0 and 1 is not a valid numpy bool.
    numbers: Array = raw.reshape(-1) != 0 if dtype == np.bool_ else raw.reshape(-1).view(dtype)
    return numbers
