"""Recover the contents of a damaged table: the intact blocks, and keys from the others where possible.

If the footer or the index block is lost, the data blocks are found without them (``block_scan``). Keys ascend from
block to block, and the index block, if it is found too, has the position of each data block, including damaged ones.
"""

from __future__ import annotations

from typing import NamedTuple

from tfbundle.errors import FormatError
from tfbundle.formats.table.block import SMALLEST_BLOCK, decode_block, decode_sizes
from tfbundle.formats.table.block_scan import FoundBlock, scan_blocks
from tfbundle.formats.table.reader import (
    FOOTER_SIZE,
    TRAILER_SIZE,
    BlockHandle,
    Directory,
    decode_handle,
    read_block,
    read_footer,
)
from tfbundle.storage.base import Source

# Two numbers of 64 bits.
_LARGEST_HANDLE = 20
# Keys are guessed only in damaged blocks up to this size, and only up to this length.
_LARGEST_GUESS = 1 << 20
_LONGEST_GUESS = 1 << 12


class Gap(NamedTuple):
    """Bytes in which no intact block was found."""

    offset: int
    size: int


class Scan(NamedTuple):
    """The blocks of a damaged table, and the gaps in which data blocks may have been lost."""

    directory: Directory
    gaps: list[Gap]


def scan_table(source: Source) -> Scan:
    """Return the intact data blocks in a file, found without its footer.

    If the index block is intact and nothing was moved, its directory is returned, whose blocks may be damaged, without
    gaps. Otherwise keys must ascend from block to block, and a block that breaks the order is left out and becomes part
    of a gap.
    """
    directory = Directory([], [])
    gaps = []
    end = 0
    is_complete = False
    for block in scan_blocks(source, _shift(source)):
        # An index block has an entry for each data block, including those that were not found.
        written = _as_directory(source, block) if block.entry_count >= len(directory.handles) else None
        if written is not None and set(written.handles).issuperset(directory.handles):
            return Scan(written, [])
        if is_complete or (block.keys and directory.separators and block.keys[0] <= directory.separators[-1]):
            continue
        if block.handle.offset > end:
            gaps.append(Gap(end, block.handle.offset - end))
        end = block.end
        if block.keys is None:
            is_complete = True  # The metaindex block comes after all data blocks, and the index block after it.
        else:
            directory.separators.append(block.keys[1])
            directory.handles.append(block.handle)
    if not is_complete:
        stop = _data_end(source)
        if stop is None or stop > end:
            gaps.append(Gap(end, max(0, (source.size if stop is None else stop) - end)))
    return Scan(directory, gaps)


def _shift(source: Source) -> int:
    """Return by how many bytes the file exceeds the size stated by the footer; they may precede the blocks."""
    try:
        offset, size = read_footer(source).index_handle
    except FormatError:
        return 0
    return max(0, source.size - FOOTER_SIZE - (offset + size + TRAILER_SIZE))


def _data_end(source: Source) -> int | None:
    """Return the end of the data blocks according to the footer, or ``None`` if there is no valid footer."""
    try:
        offset = read_footer(source).metaindex_handle.offset
    except FormatError:
        return None
    return offset if offset <= source.size else None


def _as_directory(source: Source, block: FoundBlock) -> Directory | None:
    """Return the directory in a block, or ``None`` unless its values are handles of consecutive blocks before it."""
    if block.keys is None or block.largest_value > _LARGEST_HANDLE:
        return None
    separators, values = decode_block(read_block(source, block.handle))
    handles = []
    end = 0
    for value in values:
        try:
            handle, pos = decode_handle(value, 0, len(value))
        except FormatError:
            return None
        if pos != len(value) or handle.offset != end or handle.size < SMALLEST_BLOCK:
            return None
        end = handle.offset + handle.size + TRAILER_SIZE
        handles.append(handle)
    return Directory(separators, handles) if end <= block.handle.offset else None


def list_keys(source: Source, handle: BlockHandle) -> list[bytes]:
    """Return the keys that can be decoded in a block whose checksum is wrong; any of them may be wrong too.

    Stops at the first invalid entry. Returns no keys for a large or compressed block, in which damage spreads, and for
    a block that is outside of the file or that the disk cannot read.
    """
    offset, size = handle
    size = min(size, source.size - offset)
    if not 0 <= size <= _LARGEST_GUESS:
        return []
    try:
        data = source.read_at(offset, size)
    except OSError:
        return []
    keys: list[bytes] = []
    key = b""
    pos = 0
    try:
        while pos < size:
            shared, unshared, value_size, pos = decode_sizes(data, pos, size)
            if shared > len(key) or pos + unshared + value_size > size or unshared + shared > _LONGEST_GUESS:
                break
            key = key[:shared] + data[pos : pos + unshared]
            if keys and key <= keys[-1]:
                break
            keys.append(key)
            pos += unshared + value_size
    except FormatError:
        pass
    return keys
