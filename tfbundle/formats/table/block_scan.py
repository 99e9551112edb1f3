"""Find the intact blocks of a table without its footer and its index block.

Blocks follow one another, and the end of each can be determined from its contents::

    raw     entries are followed until one would have an empty key again, which ascending keys do not allow: there the
            restart offsets begin, with 0; the first number that equals its own position is their count
    Snappy  the data begins with its size, and its elements are followed until they have produced so many bytes

A block that is found in this way counts only if its checksum is correct. After a damaged block, the start of the next
one is searched for among the positions that look like the end of a block and the start of another. The effort is
bounded, so that the search in a file crafted to be searched forever ends; the blocks found until then are valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.coding import decode_varint
from tfbundle.formats.table.block import SMALLEST_BLOCK, decode_block, decode_sizes
from tfbundle.formats.table.reader import RAW, SNAPPY, TRAILER_SIZE, BlockHandle, read_block
from tfbundle.limits import LARGEST_SNAPPY_GROWTH, SEARCH_EFFORT
from tfbundle.storage.base import Source

# Checking this many bytes costs as much as decoding one entry.
_BYTES_PER_EFFORT = 4096
# Each kilobyte of a key, longer than any name that TensorFlow writes, costs as much as another entry.
_KEY_BYTES_PER_EFFORT = 1024

_CHUNK = 1 << 18
# The three sizes at the start of an entry, each at most five bytes.
_SIZES = 15
# The pattern of the end of a block and the start of the next: a type and a checksum, then an entry that shares nothing
# with the key before it, or the size of Snappy data and a literal element that begins with such an entry.
_LITERAL = b"[" + b"".join(re.escape(bytes([tag])) for tag in range(0, 0xF0, 4)) + rb"]|\xf0.|\xf4.."
_START = re.compile(rb"(?=[\0\x01].{4}(?:\0(?!\0\0\0)|[\x80-\xff]{0,4}[\0-\x7f](?:" + _LITERAL + rb")\0))", re.DOTALL)
_LONGEST_START = 5 + 5 + 3 + 4


class FoundBlock(NamedTuple):
    """A block with a correct checksum: its first and last key (``None`` if it has no entries), the number of entries,
    and the size of its largest value.
    """

    handle: BlockHandle
    keys: tuple[bytes, bytes] | None
    entry_count: int
    largest_value: int

    @property
    def end(self) -> int:
        """The offset at which the next block begins."""
        return self.handle.offset + self.handle.size + TRAILER_SIZE


def scan_blocks(source: Source, likely: int = 0) -> Iterator[FoundBlock]:
    """Return the intact blocks of a file in order: data blocks, and at its end the metaindex and index blocks.

    If no block begins at the start of the file, ``likely`` is tried first, which requires no search. Ends early if a
    file takes too long to search.
    """
    return _Scanner(source).blocks(likely)


class _Walk:
    """The result of following entries: the start of the restart offsets, unless the entries are not valid."""

    def __init__(self) -> None:
        self.restarts: int | None = None
        self.last_key = b""
        self.entries = 0
        self.largest = 0

    def finish(self, restarts: int | None, last_key: bytes, entries: int, largest: int) -> None:
        self.restarts, self.last_key, self.entries, self.largest = restarts, last_key, entries, largest

    def join(self, passed: _Passed, entries: int, largest: int) -> None:
        """Continue like an earlier walk that reached the same position through other entries."""
        other = passed.walk
        entries += other.entries - passed.entries
        self.finish(other.restarts, other.last_key, entries, max(largest, other.largest))


class _Passed(NamedTuple):
    """The hash of the key and the number of entries with which a walk reached a position."""

    key_hash: int
    entries: int
    walk: _Walk


class _Scanner:
    """Scans a file once, with a window of bytes around the current position."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._window_offset = 0
        self._window = b""
        self._effort = SEARCH_EFFORT
        self._passed: dict[int, _Passed] = {}

    def blocks(self, likely: int) -> Iterator[FoundBlock]:
        offset = 0
        while offset < self._source.size and self._effort > 0:
            block = self._block_at(offset)
            if block is None and offset < likely:
                block = self._block_at(likely)
            if block is None:
                block = next(filter(None, map(self._block_at, self._candidates(offset + 1))), None)
            if block is None:
                return
            yield block
            offset = block.end

    def _candidates(self, offset: int) -> Iterator[int]:
        """Yield the offsets at which a block may begin, from ``offset`` on."""
        size = self._source.size
        offset = max(offset - TRAILER_SIZE, 0)
        while offset < size and self._effort > 0:
            data = self._source.read_at(offset, min(_CHUNK, size - offset))
            for match in _START.finditer(data):
                self._effort -= 1
                if self._effort <= 0:
                    return
                yield offset + match.start() + TRAILER_SIZE
            if offset + len(data) == size:
                return
            offset += len(data) - _LONGEST_START

    def _bytes_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``, or fewer at the end of the file."""
        pos = offset - self._window_offset
        if 0 <= pos <= len(self._window) - size:  # As for nearly all.
            return self._window[pos : pos + size]
        size = max(0, min(size, self._source.size - offset))
        if not 0 <= pos <= len(self._window) - size:
            if size > _CHUNK:
                return self._source.read_at(offset, size)
            self._window_offset, pos = offset, 0
            self._window = self._source.read_at(offset, min(_CHUNK, self._source.size - offset))
        return self._window[pos : pos + size]

    def _block_at(self, offset: int) -> FoundBlock | None:
        before = self._effort
        for attempt in (self._raw_block, self._snappy_block):
            try:
                found = attempt(offset)
            except FormatError:
                continue
            if found is not None:
                self._effort = before  # Successful work is free, because it is done only once.
                self._passed.clear()
                return found
        return None

    def _raw_block(self, offset: int) -> FoundBlock | None:
        found = self._walk_raw(offset)
        return found if found is not None and self._is_sealed(found.handle, RAW) else None

    def _snappy_block(self, offset: int) -> FoundBlock | None:
        handle = self._walk_snappy(offset)
        if handle is None or not self._is_sealed(handle, SNAPPY):
            return None
        keys, values = decode_block(read_block(self._source, handle))
        return FoundBlock(handle, (keys[0], keys[-1]) if keys else None, len(keys), max(map(len, values), default=0))

    def _is_sealed(self, handle: BlockHandle, kind: int) -> bool:
        trailer = self._bytes_at(handle.offset + handle.size, TRAILER_SIZE)
        if len(trailer) < TRAILER_SIZE or trailer[0] != kind:
            return False
        size = handle.size + 1
        self._effort -= size // _BYTES_PER_EFFORT
        crc = 0
        for start in range(0, size, _CHUNK):
            crc = crc32c(self._bytes_at(handle.offset + start, min(_CHUNK, size - start)), crc)
        return crc == unmask(int.from_bytes(trailer[1:], "little"))

    def _walk_raw(self, offset: int) -> FoundBlock | None:
        """Return the raw block at ``offset``, whose end follows from its entries; its checksum is not checked."""
        first = key = b""
        count = largest = 0
        walk = _Walk()
        entry = offset
        while True:
            head = self._bytes_at(entry, _SIZES)
            if head[:4] == b"\0\0\0\0" and (count or head[4:8] == b"\1\0\0\0"):
                walk.finish(entry, key, count, largest)
                break
            shared, unshared, value_size, pos = decode_sizes(head, 0, len(head))
            start = entry + pos
            entry = start + unshared + value_size
            self._effort -= 1
            if shared > len(key) or entry > self._source.size:
                return None
            self._effort -= (shared + unshared) // _KEY_BYTES_PER_EFFORT
            if self._effort <= 0:
                return None
            before, key = key, key[:shared] + self._bytes_at(start, unshared)
            if count and key <= before:
                return None
            if not count:
                first = key
            count += 1
            largest = max(largest, value_size)
            # The entries after a position depend only on the position and the key. If an earlier walk passed here with
            # the same key, as happens from every restart point of a damaged block, its result is used.
            passed = self._passed.get(entry)
            if passed is not None and passed.key_hash == hash(key):
                walk.join(passed, count, largest)
                break
            self._passed[entry] = _Passed(hash(key), count, walk)
        end = None if walk.restarts is None else self._end_of_restarts(walk.restarts, walk.entries)
        if end is None:
            return None
        keys = (first, walk.last_key) if count else None
        return FoundBlock(BlockHandle(offset, end - offset), keys, walk.entries, walk.largest)

    def _end_of_restarts(self, offset: int, entries: int) -> int | None:
        """Return the end of a block of so many entries whose restart offsets begin at ``offset``, or ``None``."""
        data = self._bytes_at(offset, 4 * (max(entries, 1) + 1))
        if data[4:8] == b"\0\0\0\0":
            return None  # The offsets ascend, so that these are other zeros.
        numbers = np.frombuffer(data, "<u4", len(data) // 4)
        places = np.flatnonzero(numbers[1:] == np.arange(1, len(numbers)))
        return offset + 4 * (int(places[0]) + 2) if len(places) else None

    def _walk_snappy(self, offset: int) -> BlockHandle | None:
        """Return the handle of the Snappy block at ``offset``, by its elements (Snappy, ``format_description.txt``)."""
        end = self._source.size
        head = self._bytes_at(offset, 5)
        wanted, pos = decode_varint(head, 0, len(head), 32)
        element = offset + pos
        if wanted < SMALLEST_BLOCK or wanted > LARGEST_SNAPPY_GROWTH * (end - element):
            return None
        while wanted > 0:
            self._effort -= 1
            if element >= end or self._effort <= 0:
                return None
            head = self._bytes_at(element, 5)
            kind, upper = head[0] & 3, head[0] >> 2
            if kind:
                wanted -= upper % 8 + 4 if kind == 1 else upper + 1
                element += (2, 3, 5)[kind - 1]
            else:
                extra = max(0, upper - 59)
                length = 1 + (int.from_bytes(head[1 : 1 + extra], "little") if extra else upper)
                wanted -= length
                element += 1 + extra + length
        if wanted or element > end:
            return None
        return BlockHandle(offset, element - offset)
