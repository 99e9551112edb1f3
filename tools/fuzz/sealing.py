"""Repairs the checksums of a table that was mutated, so that what lies behind the checks is reached.

A fuzzer that changes a byte of a block is refused by the block's CRC, always. So the blocks that a table names are
sealed again before the library sees them; whatever is not a table is left as it is.
"""

from __future__ import annotations

import struct

from tests.support.table_writer import masked_crc
from tfbundle.errors import FormatError
from tfbundle.formats.raw_snappy import decompress_snappy
from tfbundle.formats.table.block import decode_block
from tfbundle.formats.table.reader import FOOTER_SIZE, SNAPPY, BlockHandle, decode_footer, decode_handle


def seal_table(data: bytes) -> bytes:
    """The same table with right checksums, as far as it can be followed."""
    table = bytearray(data)
    try:
        footer = decode_footer(data[-FOOTER_SIZE:])
        contents = _seal(table, footer.index_handle)
        _seal(table, footer.metaindex_handle)
        for value in decode_block(contents)[1]:
            _seal(table, decode_handle(value, 0, len(value))[0])
    except FormatError:
        pass
    return bytes(table)


def _seal(table: bytearray, handle: BlockHandle) -> bytes:
    """Put a right checksum behind a block, and return the block's contents."""
    end = handle.offset + handle.size + 1
    if end + 4 > len(table):
        return b""
    table[end : end + 4] = struct.pack("<I", masked_crc(bytes(table[handle.offset : end])))
    stored = bytes(table[handle.offset : end - 1])
    return decompress_snappy(stored) if table[end - 1] == SNAPPY else stored
