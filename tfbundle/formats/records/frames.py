"""Find and verify the records in a range of bytes, thousands at a time.

A record (TensorFlow, ``core/lib/io/record_writer``; all little-endian)::

    [length: uint64] [masked CRC-32C of these 8 bytes] [payload: length bytes] [masked CRC-32C of the payload]

Event files hold hundreds of thousands of records of about forty bytes, for which a Python step per record is too slow.

- Boundaries: usually the lengths of records repeat in turn, and then so do their headers, at places that are known
  without a search. Otherwise, a record below 64 KiB has six zero bytes in its header, which numpy finds quickly.
  Candidates without a valid checksum are dropped, and usually each of the others begins where the one before it ends.
  Where this chain breaks (a large record, a record inside a record, damage), the search continues one record at a time.
- Checksums: a CRC is linear. For two records of one length, the CRCs differ by the XOR of one table entry for each byte
  that differs. So records of one length become the rows of a matrix, and tables are applied to the columns that are not
  the same in all rows.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tfbundle.formats.checksum import crc32c, mask, unmask
from tfbundle.formats.records.compression import is_header
from tfbundle.limits import LARGEST_RECORD

HEADER_SIZE = 12
FRAME_SIZE = 16
# The number of bytes, of any value, that must follow the last record in a range: rows consist of whole words, and a
# varint may be read at the end of a record.
PADDING = 16
# Padding after a message of the old Julia writer is at most this long.
LONGEST_PADDING = 1 << 12
# The size of a record whose message and padding take eight bytes.
WORD_END = HEADER_SIZE + 8 + 4

# A matrix has rows of at most this length, and at least so many of them.
LONGEST_ROW = 512
FEWEST_ROWS = 16

_HEADER = struct.Struct("<QI")

# After so many steps over records of at most so many bytes, candidates are searched for, in spans that grow as long as
# this is worthwhile. Stepping over larger records is cheaper than examining all their bytes.
_STEPS = 16
_LARGEST_CHAINED = 1 << 10
_SHORTEST_SPAN, _LONGEST_SPAN = 1 << 12, 1 << 20
# The lengths of records may repeat after half as many.
_MOST_RECENT = 64

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Group(NamedTuple):
    """Records of one length: their numbers in the range, and their payloads as the rows of a matrix.

    Rows consist of whole 8-byte words; bytes after the first ``size`` have no meaning.
    """

    size: int
    numbers: Numbers
    rows: Bytes


class Frames(NamedTuple):
    """Records in ``data``: the start and size of each payload, its stored CRC-32C, and whether that is correct.

    Small records are also in ``groups``; ``singles`` are the numbers of all others. ``end`` is the position after the
    last record, and ``needed`` the size of the next one as far as it is known, or 0 if its header is wrong.
    """

    starts: Numbers
    sizes: Numbers
    crcs: Numbers
    fine: np.ndarray[Any, np.dtype[np.bool_]]
    groups: list[Group]
    singles: Numbers
    end: int
    needed: int

    def keep(self, which: np.ndarray[Any, np.dtype[np.bool_]]) -> Frames:
        """Return the same, with only the records in ``which`` still ``fine``, and no others in ``groups``."""
        fine = self.fine & which
        groups = [
            Group(group.size, group.numbers[fine[group.numbers]], group.rows[fine[group.numbers]])
            for group in self.groups
        ]
        return self._replace(
            fine=fine, groups=[g for g in groups if len(g.numbers)], singles=self.singles[fine[self.singles]]
        )

    def first(self, count: int) -> Frames:
        """Return the records before the record with number ``count``."""
        if not count:
            nothing = np.zeros(0, np.int64)
            end = int(self.starts[0]) - HEADER_SIZE
            return Frames(nothing, nothing, nothing, np.zeros(0, bool), [], nothing, end, 0)
        starts, sizes, crcs, fine, groups, singles, *_ = self.keep(np.arange(len(self.fine)) < count)
        end = int(starts[count]) - HEADER_SIZE
        return Frames(starts[:count], sizes[:count], crcs[:count], fine[:count], groups, singles, end, 0)


def find_frames(data: memoryview, pos: int, end: int, *, verify: bool = True) -> Frames:
    """Return the complete records in ``data[pos:end]``, the first of which begins at ``pos``; ``PADDING`` bytes follow.

    Without ``verify`` no checksum is checked, and all records are ``fine``.
    """
    parts: list[Numbers] = []
    steps: list[int] = []
    before: list[int] = []  # The starts of the last records before these steps.
    span = _SHORTEST_SPAN
    due = _STEPS
    while True:
        needed = _needed(data, pos, end, verify)
        if not needed or pos + needed > end:
            break
        steps.append(pos)
        pos += needed
        if len(steps) < due or not verify:
            continue
        recent = [*before, *steps[-_MOST_RECENT:]][-_MOST_RECENT:]
        due = len(steps) + _STEPS
        if pos - recent[-_STEPS] <= _STEPS * _LARGEST_CHAINED:
            limit = min(pos + span, end)
            chain = _find_repeated(data, [*recent, pos], limit)
            if not len(chain):
                chain = _find_chain(data, pos, limit)
            if len(chain):
                parts.extend((np.array(steps, np.int64), chain))
                before = [*recent, *chain[-_MOST_RECENT:].tolist()]
                steps = []
                pos = int(chain[-1])
                pos += _needed(data, pos, end, verify)
                # Where only the span ended, the chain continues after one step.
                due = 1 if pos + _LARGEST_CHAINED > limit else _STEPS
                span = min(span * 4, _LONGEST_SPAN)
        else:
            span = _SHORTEST_SPAN
    starts = np.concatenate([*parts, np.array(steps, np.int64)])
    sizes = np.append(starts[1:], pos) - starts - FRAME_SIZE
    starts += HEADER_SIZE
    crcs = unmask(_at(data, "<u4", starts + sizes))
    fine, groups, singles = _verify(data, starts, sizes, crcs if verify else None)
    return Frames(starts, sizes, crcs, fine, groups, singles, pos, needed)


def _needed(data: memoryview, pos: int, end: int, verify: bool) -> int:
    """Return the size of the record at ``pos``, of its header if that is incomplete, or 0 if the header is wrong."""
    if end - pos < HEADER_SIZE:
        return HEADER_SIZE
    length: int
    length, crc = _HEADER.unpack_from(data, pos)
    if verify and crc != _known_headers.get(length) and crc != _header_crc(length):
        return 0
    return length + FRAME_SIZE if length < LARGEST_RECORD else 0


_known_headers: dict[int, int] = {}


def _header_crc(length: int) -> int:
    """Return the masked CRC of a length; few lengths make up most of a file."""
    if len(_known_headers) >= 1 << 16:
        _known_headers.clear()
    found = _known_headers[length] = mask(crc32c(length.to_bytes(8, "little")))
    return found


def _find_repeated(data: memoryview, starts: list[int], end: int) -> Numbers:
    """Return the starts of complete records that follow the last of ``starts`` and repeat the lengths before it.

    A program that logs the same values at each step writes records of the same lengths in turn.
    """
    lengths = np.diff(starts).tolist()
    for period in range(1, len(lengths) // 2 + 1):
        last = max(period, _STEPS - period)
        if lengths[-last:] == lengths[-last - period : -period]:
            break
    else:
        return np.zeros(0, np.int64)
    known = np.array(starts[-1 - period : -1])
    distance = starts[-1] - starts[-1 - period]
    turns = np.arange(1, max(0, end - starts[-1]) // distance + 1)
    places: Numbers = (known + turns[:, np.newaxis] * distance).reshape(-1)
    expected = cut_rows(data, known, HEADER_SIZE).view("<u4").reshape(-1)
    wrong = cut_rows(data, places, HEADER_SIZE).view("<u4").reshape(-1, len(expected)) != expected
    return places[: int(wrong.argmax()) * 4 // HEADER_SIZE] if wrong.any() else places


def _find_chain(data: memoryview, pos: int, end: int) -> Numbers:
    """Return the starts of the complete records in ``data[pos:end]`` that follow each other from ``pos`` on."""
    zero = np.frombuffer(data, np.uint8, end - pos, pos) == 0
    # Bytes 2 to 7 of a header are zero.
    pairs = zero[:-1] & zero[1:]
    six = pairs[2:-4] & pairs[4:-2] & pairs[6:] if len(pairs) > 6 else pairs[:0]
    found = np.flatnonzero(six) + pos
    found = found[found <= end - FRAME_SIZE]
    lengths = _at(data, "<u2", found)
    right = _short_header_crcs().take(lengths, mode="clip") == _at(data, "<u4", found + 8)
    found, behind = found[right], (found + lengths)[right] + FRAME_SIZE
    if not len(found) or found[0] != pos:
        return np.zeros(0, np.int64)
    linked = found[1:] == behind[:-1]
    count = len(found) if linked.all() else int(linked.argmin()) + 1
    # Only the last record of a chain can extend past the end.
    chain: Numbers = found[: count - 1] if behind[count - 1] > end else found[:count]
    return chain


@cache
def _short_header_crcs() -> Numbers:
    """Return the masked CRC of each length below 64 KiB."""
    lengths = np.arange(1 << 16)
    tables = _tables()
    crcs = tables[7][lengths & 0xFF] ^ tables[6][lengths >> 8] ^ np.uint32(crc32c(bytes(8)))
    return mask(crcs.astype(np.int64))


def find_header(data: memoryview, within: int, budget: int, *, is_end: bool = False) -> tuple[int | None, int]:
    """Return the first position in ``data[:within]`` of a record that is complete or may continue after ``data``.

    If ``is_end``, nothing follows ``data``. A record also counts as complete if its checksum covers padding up to the
    next header or the end. Records are checked until more than ``budget`` bytes were; their number is returned too.
    """
    within = max(0, within - HEADER_SIZE + 1)
    # The header after the padding of the last record may be beyond ``within``.
    places = np.arange(max(0, min(within + FRAME_SIZE + LONGEST_PADDING, len(data) - HEADER_SIZE + 1)))
    if not within or not len(places):
        return None, 0
    lengths = np.ndarray(len(places), "<u8", data, strides=(1,))
    stored = np.ndarray(len(places), "<u4", data[8:], strides=(1,))
    # Damage often consists of zeros, which could be lengths of empty records; but these all have the same checksum.
    places = np.flatnonzero((lengths < LARGEST_RECORD) & ((lengths != 0) | (stored == mask(crc32c(bytes(8))))))
    if not len(places):
        return None, 0
    right = mask(crc32c_rows(cut_rows(data, places, 8), 8).astype(np.int64)) == _at(data, "<u4", places + 8)
    headers: list[int] = places[right].tolist()
    seen = len(lengths)
    spent = 0
    for place in headers:
        if place >= within:
            break
        end = place + HEADER_SIZE + int.from_bytes(data[place : place + 8], "little")
        if end + 4 > len(data):
            return place, spent
        if spent > budget:
            break
        spent += end - place
        if _is_followed_by_crc(data, place, end):
            return place, spent
        padded = _end_of_padding(data, headers, place, end, is_end=is_end)
        if padded is None:
            # Padding may end after the bytes that were searched for headers.
            if not is_end and end + 4 + LONGEST_PADDING > seen and not _is_header_next(headers, place):
                return place, spent
        else:
            spent += padded - place
            if _is_followed_by_crc(data, place, padded):
                return place, spent
    return None, spent


def _is_followed_by_crc(data: memoryview, place: int, end: int) -> bool:
    """Return whether the record at ``place`` has the right checksum at ``end``."""
    return unmask(int.from_bytes(data[end : end + 4], "little")) == crc32c(data[place + HEADER_SIZE : end])


def _end_of_padding(data: memoryview, headers: list[int], place: int, end: int, *, is_end: bool) -> int | None:
    """Return where padding after ``end`` may end, given the positions of ``headers``, or ``None``."""
    if _is_header_next(headers, place):
        return place + WORD_END - 4 if is_padded_word(data[place : place + WORD_END + HEADER_SIZE]) else None
    number = bisect_right(headers, end + 4)
    behind = headers[number] if number < len(headers) else len(data) if is_end else None
    return behind - 4 if behind is not None and end + 4 < behind <= end + 4 + LONGEST_PADDING else None


def _is_header_next(headers: list[int], place: int) -> bool:
    """Return whether another header follows directly; its checksum would pass for that of padding."""
    number = bisect_right(headers, place)
    return number < len(headers) and headers[number] == place + HEADER_SIZE


def is_padded_word(data: memoryview) -> bool:
    """Return whether a header at the start of ``data`` is followed by a message padded to eight bytes.

    These eight bytes and their checksum also have the form of a header. They are a message if its padding consists of
    zeros and another header, or the end of ``data``, follows.
    """
    length = int.from_bytes(data[:8], "little")
    after = data[WORD_END : WORD_END + HEADER_SIZE]
    return (
        length < 8
        and not any(data[HEADER_SIZE + length : HEADER_SIZE + 8])
        and (not len(after) or is_header(bytes(after)))
    )


def next_header(data: memoryview) -> int | None:
    """Return the first position in ``data`` of the 12-byte header of a record, whatever follows it."""
    places = np.arange(max(0, len(data) - HEADER_SIZE + 1))
    if not len(places):
        return None
    lengths = np.ndarray(len(places), "<u8", data, strides=(1,))
    places = places[lengths < LARGEST_RECORD]
    if not len(places):
        return None
    right = mask(crc32c_rows(cut_rows(data, places, 8), 8).astype(np.int64)) == _at(data, "<u4", places + 8)
    found = places[right]
    return int(found[0]) if len(found) else None


def _at(data: memoryview, dtype: str, places: Numbers) -> Any:
    """Return the numbers of type ``dtype`` at the positions ``places``, at any alignment."""
    size = np.dtype(dtype).itemsize
    return np.ndarray(len(data) - size + 1, dtype, data, strides=(1,))[places].astype(np.int64)


def cut_rows(data: memoryview, places: Numbers, size: int) -> Bytes:
    """Return ``size`` bytes from each of ``places`` as the rows of a matrix."""
    items = np.ndarray(len(data) - size + 1, f"V{size}", data, strides=(1,))[places]
    rows: Bytes = items.view(np.uint8).reshape(len(places), size)
    return rows


def _verify(
    data: memoryview, starts: Numbers, sizes: Numbers, crcs: Numbers | None
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[Group], Numbers]:
    if len(starts) < FEWEST_ROWS:  # They make no group; among damaged records, most windows have a single one.
        every = np.arange(len(starts))
        if crcs is None:
            return every >= 0, [], every
        few = zip(starts.tolist(), sizes.tolist(), crcs.tolist(), strict=True)
        return np.array([crc32c(data[start : start + size]) == crc for start, size, crc in few], bool), [], every
    fine = np.full(len(starts), crcs is None)
    groups = []
    singles = []
    # numpy sorts 16-bit numbers without comparisons.
    order = np.argsort(np.minimum(sizes, LONGEST_ROW + 1).astype(np.uint16), kind="stable")
    cuts = np.flatnonzero(np.diff(np.minimum(sizes[order], LONGEST_ROW + 1))) + 1
    for numbers in np.split(order, cuts):
        size = int(sizes[numbers[0]]) if len(numbers) else 0
        if not size or len(numbers) < FEWEST_ROWS or size > LONGEST_ROW:
            if crcs is not None and not size:
                fine[numbers] = crcs[numbers] == 0  # The CRC of no bytes.
            singles.append(numbers)
            continue
        rows = cut_rows(data, starts[numbers], -(-size // 8) * 8)
        if crcs is not None:
            fine[numbers] = crc32c_rows(rows, size) == crcs[numbers]
        groups.append(Group(size, numbers, rows))
    rest = np.sort(np.concatenate(singles)) if singles else np.zeros(0, np.int64)
    if crcs is not None:
        full = rest[sizes[rest] > 0]
        places = zip(starts[full].tolist(), (starts + sizes)[full].tolist(), crcs[full].tolist(), strict=True)
        fine[full] = [crc32c(data[start:end]) == crc for start, end, crc in places]
    return fine, groups, rest


def crc32c_rows(rows: Bytes, size: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the CRC-32C of the first ``size`` bytes of each row of a non-empty matrix of whole 8-byte words."""
    crcs = np.full(len(rows), crc32c(rows[0, :size].tobytes()), np.uint32)
    tables = _tables()
    for start, column in zip(range(0, size, 8), rows.view("<u8").T, strict=False):
        others = column ^ column[0]
        differing = int(np.bitwise_or.reduce(others)).to_bytes(8, "little")
        octets = others.astype("<u8", copy=False).view(np.uint8)
        for place in range(start, min(start + 8, size)):
            if differing[place - start]:
                # Every byte is a valid index; with mode 'clip', numpy does not check it.
                crcs ^= tables[size - 1 - place].take(octets[place - start :: 8], mode="clip")
    return crcs


@cache
def _tables() -> list[np.ndarray[Any, np.dtype[np.uint32]]]:
    """Return what a byte contributes to a CRC, in a table for each possible number of bytes after it in a row."""
    nothing = crc32c(b"\0")
    first = np.array([crc32c(bytes((byte,))) ^ nothing for byte in range(256)], np.uint32)
    tables = [first]
    while len(tables) < LONGEST_ROW:
        tables.append((tables[-1] >> np.uint32(8)) ^ first[tables[-1] & np.uint32(0xFF)])
    return tables
