"""Read sorted string tables, the LevelDB format of ``.index`` files and V1 checkpoints (``doc/table_format.md``).

::

    file    [data block]* [metaindex block] [index block] [footer]
    block   [contents][type: 0 raw, 1 Snappy][masked CRC-32C of contents and type, 4 bytes LE]
    footer  [metaindex handle][index handle][zeros to 40 bytes][magic, 8 bytes LE]
    handle  [offset: varint64][size: varint64]

Keys are sorted; ``block`` describes the contents of a block. The index block has one entry for each data block: a
separator key, which is not less than the block's last key, and the block's handle.

A lookup searches the index block, then one data block. A key that is found is trusted. Before a key is reported as
missing, the whole table is scanned, because a failed search in a table that is not sorted proves nothing.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import NamedTuple

from tfbundle.errors import ChecksumError, FormatError, TruncatedError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.coding import decode_varint
from tfbundle.formats.raw_snappy import decompress_snappy, decompress_start
from tfbundle.formats.table.block import decode_block, find_in_block, is_sparse
from tfbundle.plurals import plural
from tfbundle.storage.base import Source

FOOTER_SIZE = 48
MAGIC = 0xDB4775248B80FB57
TRAILER_SIZE = 5

RAW, SNAPPY = 0, 1

# A lookup reads one block; keeping a few makes lookups of neighbouring keys cheap without holding a large table.
_BLOCKS_KEPT = 8
# If a block has so many bytes for each wanted key, searching takes less time than decoding all of it.
_FAR_APART = 2 << 10

_UINT32 = Struct("<I")
_UINT64 = Struct("<Q")


class BlockHandle(NamedTuple):
    """The position of a block: its offset in the file, and the size of its contents without the trailer."""

    offset: int
    size: int


class Directory(NamedTuple):
    """The contents of the index block: the separator key and the handle of each data block; both ascend."""

    separators: list[bytes]
    handles: list[BlockHandle]


class Footer(NamedTuple):
    """The last 48 bytes of a table."""

    metaindex_handle: BlockHandle
    index_handle: BlockHandle


def decode_handle(data: bytes, pos: int, end: int) -> tuple[BlockHandle, int]:
    """Return a block handle and the position after it."""
    offset, pos = decode_varint(data, pos, end)
    size, pos = decode_varint(data, pos, end)
    return BlockHandle(offset, size), pos


def decode_footer(data: bytes) -> Footer:
    """Return the footer of a table from the file's last 48 bytes."""
    if len(data) != FOOTER_SIZE:
        raise TruncatedError(
            f"a table ends with a footer of {FOOTER_SIZE} bytes, but the file has only {plural(len(data), 'byte')}; "
            "it is truncated or is not a checkpoint table"
        )
    if _UINT64.unpack_from(data, FOOTER_SIZE - 8)[0] != MAGIC:
        raise FormatError(
            "the file does not end with the magic number of a table; it is truncated or is not a checkpoint table",
            offset=FOOTER_SIZE - 8,
        )
    metaindex, pos = decode_handle(data, 0, FOOTER_SIZE - 8)
    index, _ = decode_handle(data, pos, FOOTER_SIZE - 8)
    return Footer(metaindex, index)


def read_block(source: Source, handle: BlockHandle, *, verify: bool = True) -> bytes:
    """Return the contents of a block, decompressed. With ``verify=False`` its checksum is not checked."""
    offset, size = handle
    if offset + size + TRAILER_SIZE > source.size:
        raise FormatError(
            f"{source.path} refers to a block at offset {offset} with {size} bytes, "
            f"which is outside of the file's {source.size} bytes",
            path=source.path,
            offset=offset,
        )
    data = source.read_at(offset, size + TRAILER_SIZE)
    kind = data[size]
    if verify:
        expected = unmask(_UINT32.unpack_from(data, size + 1)[0])
        actual = crc32c(memoryview(data)[: size + 1])
        if actual != expected:
            raise ChecksumError(
                f"the block at offset {offset} of {source.path} is damaged: its CRC-32C is {actual:#010x}, "
                f"but {expected:#010x} is stored with it",
                expected=expected,
                actual=actual,
                path=source.path,
                offset=offset,
            )
    if kind == RAW:
        return data[:size]
    if kind == SNAPPY:
        try:
            return decompress_snappy(data[:size])
        except FormatError as error:
            raise _located(error, source, handle) from None
    raise FormatError(
        f"the block at offset {offset} of {source.path} has the unknown compression type {kind}",
        path=source.path,
        offset=offset,
    )


def read_block_start(source: Source, handle: BlockHandle, size: int) -> bytes:
    """Return up to ``size`` of the first bytes of a block's contents, unverified.

    Only as much of a compressed block is decompressed. Raises ``FormatError`` as ``read_block`` does.
    """
    if handle.offset + handle.size + TRAILER_SIZE > source.size:
        return read_block(source, handle, verify=False)  # Raises the error.
    (kind,) = source.read_at(handle.offset + handle.size, 1)
    # An element takes at most five bytes more than it yields.
    data = source.read_at(handle.offset, min(handle.size, size if kind == RAW else 6 * size))
    if kind == RAW:
        return data
    return decompress_start(data, size) if kind == SNAPPY else read_block(source, handle, verify=False)


def _located(error: FormatError, source: Source, handle: BlockHandle) -> FormatError:
    """Return an error at an offset in a block's contents as one at an offset in the file."""
    return type(error)(
        f"{source.path} is damaged: {error.message} (in the block at offset {handle.offset}, at {error.offset})",
        path=source.path,
        offset=handle.offset,
    )


def read_footer(source: Source) -> Footer:
    """Return the footer of a table; raises ``FormatError`` if the file does not end with one."""
    tail = min(source.size, FOOTER_SIZE)
    try:
        return decode_footer(source.read_at(source.size - tail, tail))
    except FormatError as error:
        place = None if error.offset is None else source.size - tail + error.offset
        raise type(error)(f"{source.path}: {error.message}", path=source.path, offset=place) from None


def read_directory(source: Source, *, verify: bool = True) -> Directory:
    """Return the positions of the data blocks of a table, from its index block."""
    index = read_footer(source).index_handle
    try:
        separators, values = decode_block(read_block(source, index, verify=verify))
        handles = [decode_handle(value, 0, len(value))[0] for value in values]
    except ChecksumError:
        raise
    except FormatError as error:
        raise error if error.path else _located(error, source, index) from None
    end = 0
    for handle in handles:
        # Blocks are written one after the other. An index with overlapping blocks could list one a million times.
        if handle.offset < end:
            raise FormatError(
                f"{source.path} is damaged: its index block lists overlapping data blocks",
                path=source.path,
                offset=handle.offset,
            )
        end = handle.offset + handle.size + TRAILER_SIZE
    return Directory(separators, handles)


class Table(Mapping[bytes, bytes]):
    """A sorted string table in an open file; tables never change once they are written.

    A lookup reads one block. Iteration reads all blocks in order, and raises ``FormatError`` if the keys do not ascend
    from the first to the last. Values are returned as they are read and not kept.
    """

    def __init__(self, source: Source, *, verify: bool = True, directory: Directory | None = None) -> None:
        """Read the footer and the index block, unless ``directory`` is known from elsewhere.

        Raises ``FormatError`` if the file is not a table.
        """
        self.source = source
        self._verify = verify
        self.separators, self.handles = directory or read_directory(source, verify=verify)
        self._length: int | None = None
        self._kept: dict[int, bytes] = {}
        # The last block that was worth decoding for a search, and its number.
        self._decoded: tuple[int, dict[bytes, bytes]] = (-1, {})
        self._lock = threading.Lock()

    @property
    def footer(self) -> Footer:
        """The positions of the index block and the metaindex block, read again on each access."""
        return read_footer(self.source)

    def __repr__(self) -> str:
        return f"<Table {self.source.path!r}, {len(self.handles)} blocks>"

    def __getitem__(self, key: bytes) -> bytes:
        """Return the value of ``key``; ``KeyError`` only after the whole table was verified to be in order."""
        value = self.find(key)
        if value is None:
            len(self)  # Scans the table once.
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[bytes]:
        for keys, _ in self.blocks():
            yield from keys

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(len(keys) for keys, _ in self.blocks())
        return self._length

    def find(self, key: bytes) -> bytes | None:
        """Return the value of ``key`` by binary search, or ``None``, which in a damaged table proves nothing."""
        number = bisect_left(self.separators, key)
        if number == len(self.separators):
            return None
        try:
            data = self._block(number)
            if is_sparse(data):
                return self._decoded_block(number, data).get(key)
            return find_in_block(data, key)
        except FormatError as error:
            raise error if error.path else _located(error, self.source, self.handles[number]) from None

    def blocks(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Return the keys and values of each data block, in the order of the table."""
        self._expect_all()
        return map(self.block, range(len(self.handles)))

    def _expect_all(self) -> None:
        if self.handles:
            begin, last = self.handles[0].offset, self.handles[-1]
            size = last.offset + last.size + TRAILER_SIZE - begin
            if begin + size <= self.source.size:
                self.source.expect([(begin, size)])

    def find_all(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the values of those of ``keys`` that the table has, with each block read once.

        A key is left out only after the whole table was verified to be in order.
        """
        wanted: defaultdict[int, list[bytes]] = defaultdict(list)
        for key in keys:
            wanted[bisect_left(self.separators, key)].append(key)
        found: dict[bytes, bytes] = {}
        missing = bool(wanted.pop(len(self.separators), ()))
        for number, some in wanted.items():
            if len(some) > 1 and self.handles[number].size < _FAR_APART * len(some):
                block = dict(zip(*self.block(number), strict=True))
                values = {key: block.get(key) for key in some}
            else:
                values = {key: self.find(key) for key in some}
            found.update((key, value) for key, value in values.items() if value is not None)
            missing |= None in values.values()
        if missing:
            len(self)  # Scans the table once.
        return found

    def block(self, number: int) -> tuple[list[bytes], list[bytes]]:
        """Return the keys and values of one data block.

        Its keys must be between the separators of the preceding block and of this one; since separators ascend, the
        blocks are then in order.
        """
        try:
            keys, values = decode_block(self._block(number))
            if keys and keys[-1] > self.separators[number]:
                raise FormatError(f"key {keys[-1]!r} is after the index block's key for its block", offset=0)
            if keys and number and keys[0] <= self.separators[number - 1]:
                raise FormatError(f"key {keys[0]!r} is before the index block's key for its block", offset=0)
        except FormatError as error:
            raise error if error.path else _located(error, self.source, self.handles[number]) from None
        return keys, values

    def _decoded_block(self, number: int, data: bytes) -> dict[bytes, bytes]:
        with self._lock:
            known, pairs = self._decoded
        if known != number:
            pairs = dict(zip(*decode_block(data), strict=True))
            with self._lock:
                self._decoded = number, pairs
        return pairs

    def _block(self, number: int) -> bytes:
        self.source.check_open()  # Otherwise lookups in kept blocks would still succeed.
        with self._lock:
            data = self._kept.get(number)
        if data is None:
            data = read_block(self.source, self.handles[number], verify=self._verify)
            with self._lock:
                if len(self._kept) >= _BLOCKS_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[number] = data
        return data
