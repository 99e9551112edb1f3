"""The table of a V1 checkpoint: as any other, but with values as large as tensors.

A block closes once it has 256 KB, so that a large value stands last in its block, behind small ones::

    block   [entry]* [key of the large value][value, up to 2 GB][restart offsets][their count]

Such a block is not taken into memory, unless it is compressed, and released TensorFlow compresses none. Its checksum
is computed in passing, and its values are then looked for where they lie in the file (``place``): numbers can go
straight into their array, a part of them can be read alone, and the small values in front cost no more than
elsewhere. What is read from a verified block is right for as long as the file is the same.
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

# Blocks that are kept for the next lookup take no more than this, unless a single one does.
_KEPT_SIZE = 16 << 20
# From this size on a block is not read whole. It is more than one has that does not end in a large value.
_LARGE_BLOCK = 1 << 20
# Within this many bytes of a block all its keys stand, unless the writer closes blocks at another size.
_HEAD_SIZE = 512 << 10
# Small enough for the processor's cache, so that the checksum finds the bytes there.
_CHUNK = 1 << 20


class Block(NamedTuple):
    """The table block that holds a slice: its offset, the size of its contents, and its masked CRC-32C.

    The checksum runs over the contents and the byte with their compression. It is ``None`` where the file has no such
    place, or it cannot be read.
    """

    offset: int
    size: int
    crc: int | None


class Place(NamedTuple):
    """Where a value lies in the file as it is: offset and size in bytes."""

    offset: int
    size: int


class SliceTable(Table):
    """A table with large values; raises as ``Table`` does."""

    def __init__(self, source: Source, *, verify: bool = True, directory: Directory | None = None) -> None:
        super().__init__(source, verify=verify, directory=directory)
        self._blocks: dict[int, Block] = {}
        self._verified: set[int] = set()
        # What stands in the large block that was last searched, and the block's number.
        self._places: tuple[int, dict[bytes, Place]] = (-1, {})

    def locate(self, key: bytes) -> Block | None:
        """Return the block in which ``key`` stands if it stands anywhere."""
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
        """Where the value under ``key`` lies in its block, if that is large and not compressed.

        ``None`` also where the block is not as it should be: ``find`` then says what is wrong. Raises ``ChecksumError``
        if the block is damaged. After reading there, ``check_unchanged`` of the source has to be called.
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
        """Return the value under ``key`` by binary search, or ``None``, which in a damaged table proves nothing."""
        place = self.place(key)
        if place is None:
            return super().find(key)
        value = self.source.read_at(*place)
        self.source.check_unchanged()
        return value

    def _list_places(self, offset: int, size: int) -> dict[bytes, Place]:
        """Where the values lie among the entries of a block, ``size`` bytes at ``offset`` of the file.

        The list ends with the first entry that is not as it should be.
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
