"""The table of a V1 checkpoint, whose values are as large as tensors.

The writer ends a block once it has 256 KB, so a large value is the last of its block, after small ones::

    block   [entry]* [key of the large value][value, up to 2 GB][restart offsets][their count]

Such a block is not read into memory, unless it is compressed, which releases of TensorFlow do not do. Its checksum is
computed once, and its values are then read from their places in the file (``place``): numbers are read directly into
their array, a part of them can be read alone, and the small values before a large one cost no more than elsewhere. Data
from a verified block is valid as long as the file does not change.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from typing import NamedTuple

from tfbundle.errors import ChecksumError, FormatError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.table.block import decode_sizes
from tfbundle.formats.table.reader import RAW, TRAILER_SIZE, Directory, Table
from tfbundle.storage.base import Source

# The largest total size of the blocks cached for the next lookup; a single block may be larger.
_KEPT_SIZE = 16 << 20
# Blocks of this size and more are not read whole. A block that does not end in a large value is smaller.
_LARGE_BLOCK = 1 << 20
# All keys of a block are in its first bytes, of this number, unless the writer ends blocks at another size.
_HEAD_SIZE = 512 << 10
# Small enough for the cache of the processor, so that the checksum reads the bytes from there.
_CHUNK = 1 << 20


class Block(NamedTuple):
    """The table block that holds a slice: its offset, the size of its contents, and its masked CRC-32C.

    The checksum covers the contents and the byte for their compression. It is ``None`` if the file has no such place,
    or it cannot be read.
    """

    offset: int
    size: int
    crc: int | None


class Place(NamedTuple):
    """The place of a value in the file: offset and size in bytes."""

    offset: int
    size: int


class SliceTable(Table):
    """A table with large values; raises as ``Table`` does."""

    def __init__(self, source: Source, *, verify: bool = True, directory: Directory | None = None) -> None:
        super().__init__(source, verify=verify, directory=directory)
        self._blocks: dict[int, Block] = {}
        self._verified: set[int] = set()
        # The number of the large block that was last searched, and the places of its values.
        self._places: tuple[int, dict[bytes, Place]] = (-1, {})

    def locate(self, key: bytes) -> Block | None:
        """Return the block that contains ``key``, if the table contains it."""
        number = bisect_left(self.separators, key)
        if number == len(self.handles):
            return None
        block = self._blocks.get(number)
        if block is None:
            offset, size = self.handles[number]
            try:
                crc = int.from_bytes(self.source.read_at(offset + size + 1, 4), "little")
            except (FormatError, OSError):
                crc = None
            block = self._blocks[number] = Block(offset, size, crc)
        return block

    def place(self, key: bytes) -> Place | None:
        """Return the place of the value of ``key`` if its block is large and not compressed, or else ``None``.

        For an invalid block, return ``None``; ``find`` then raises the error. Raises ``ChecksumError`` if the block is
        damaged. After reading from the place, the caller must call ``check_unchanged`` of the source.
        """
        number = bisect_left(self.separators, key)
        if number == len(self.handles):
            return None
        offset, size = self.handles[number]
        if size < _LARGE_BLOCK or offset + size + TRAILER_SIZE > self.source.size:
            return None
        trailer = self.source.read_at(offset + size, TRAILER_SIZE)
        if trailer[0] != RAW:
            return None
        if self._verify and number not in self._verified:
            self._check(offset, size, unmask(int.from_bytes(trailer[1:], "little")))
            self._verified.add(number)
        restarts = int.from_bytes(self.source.read_at(offset + size - 4, 4), "little")
        with self._lock:
            known, places = self._places
        if known != number:
            places = self._list_places(offset, size - 4 - 4 * restarts)
            with self._lock:
                self._places = number, places
        return places.get(key)

    def find(self, key: bytes) -> bytes | None:
        """Return the value of ``key`` by binary search, or ``None``, which in a damaged table is not conclusive."""
        place = self.place(key)
        if place is None:
            return super().find(key)
        value = self.source.read_at(*place)
        self.source.check_unchanged()
        return value

    def _list_places(self, offset: int, size: int) -> dict[bytes, Place]:
        """Return the places of the values of a block whose entries have ``size`` bytes at ``offset`` of the file.

        The list ends before the first invalid entry.
        """
        head = self.source.read_at(offset, max(0, min(size, _HEAD_SIZE)))
        places: dict[bytes, Place] = {}
        key = last = b""
        pos = 0
        with suppress(FormatError):
            while pos < len(head):
                shared, unshared, value_size, pos = decode_sizes(head, pos, len(head))
                start = pos + unshared
                if shared > len(key) or start > len(head) or start + value_size > size:
                    break
                key = key[:shared] + head[pos:start]
                if key <= last and places:
                    break
                places[key] = Place(offset + start, value_size)
                last = key
                pos = start + value_size
        return places

    def _check(self, offset: int, size: int, expected: int) -> None:
        buffer = memoryview(bytearray(min(_CHUNK, size + 1)))
        actual = 0
        for start in range(0, size + 1, _CHUNK):
            chunk = buffer[: min(_CHUNK, size + 1 - start)]
            self.source.read_into(offset + start, chunk)
            actual = crc32c(chunk, actual)
        if actual != expected:
            self.source.check_unchanged()
            raise ChecksumError(
                f"the block at offset {offset} of {self.source.path} is damaged: its CRC-32C is {actual:#010x}, "
                f"and {expected:#010x} is stored with it",
                expected=expected,
                actual=actual,
                path=self.source.path,
                offset=offset,
            )

    def _block(self, number: int) -> bytes:
        data = super()._block(number)
        with self._lock:
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT_SIZE:
                del self._kept[next(iter(self._kept))]
        return data
