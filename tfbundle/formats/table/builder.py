"""Build sorted tables, byte for byte as TensorFlow's ``TableBuilder`` does (``reader`` has the drawing of the file).

A block ends with the entry that brings it to the block size, and before an entry that is as large as two blocks.
Between two blocks, the index block has the shortest key that separates them::

    last key of a block    model/layer_1/kernel
    first key of the next  model/layer_4/bias          separator: model/layer_2

The handle of a block is therefore written only when the first key after it is known. For the last block, the index
block has the shortest key that follows it. Blocks are not compressed, as in every released TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from tfbundle.formats.checksum import crc32c, mask
from tfbundle.formats.coding import encode_varint
from tfbundle.formats.table.reader import FOOTER_SIZE, MAGIC, RAW, TRAILER_SIZE, BlockHandle

BLOCK_SIZE = 262_144
RESTART_INTERVAL = 16

_RAW = bytes((RAW,))


class BlockBuilder:
    """The contents of one block (``block`` has the drawing), to which entries are added in the order of their keys."""

    def __init__(self, restart_interval: int) -> None:
        """Start an empty block, in which every ``restart_interval``-th entry has its whole key."""
        self._interval = restart_interval
        self._parts: list[bytes] = []
        self._nbytes = 0
        self._restarts = [0]
        self._behind_restart = 0
        self._last_key = b""

    @property
    def is_empty(self) -> bool:
        """Whether there are no entries."""
        return not self._parts

    @property
    def size(self) -> int:
        """The bytes that the contents would have if the block were finished now."""
        return self._nbytes + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        """Append an entry; its key must follow the one before it."""
        if self._behind_restart == self._interval:
            self._restarts.append(self._nbytes)
            self._behind_restart = shared = 0
        else:
            shared = shared_size(self._last_key, key)
        unshared, size = len(key) - shared, len(value)
        if shared | unshared | size < 0x80:
            sizes = bytes((shared, unshared, size))
        else:
            sizes = encode_varint(shared) + encode_varint(unshared) + encode_varint(size)
        self._parts += (sizes, key[shared:], value)
        self._nbytes += len(sizes) + unshared + size
        self._behind_restart += 1
        self._last_key = key

    def finish(self) -> bytes:
        """Return the contents."""
        restarts = self._restarts
        return b"".join((*self._parts, pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))))


class TableBuilder:
    """A table that is written from the first to the last byte, with no more than a block of it in memory."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        block_size: int = BLOCK_SIZE,
        restart_interval: int = RESTART_INTERVAL,
    ) -> None:
        """Pass the table's bytes to ``write`` in order."""
        self._write = write
        self._block_size = block_size
        self._interval = restart_interval
        self._offset = 0
        self._block = BlockBuilder(restart_interval)
        self._index = BlockBuilder(1)
        self._last_key: bytes | None = None
        # The block that has been written and whose separator is not known yet.
        self._pending: BlockHandle | None = None

    def add(self, key: bytes, value: bytes) -> None:
        """Append an entry. Raises ``ValueError`` unless ``key`` follows all keys before it."""
        last = self._last_key
        if last is not None and key <= last:
            raise ValueError(f"the keys of a table must ascend, but {key!r} does not follow {last!r}")
        if len(key) + len(value) >= 2 * self._block_size:
            self._end_block()
        if self._pending is not None:
            assert last is not None  # A block that was written has a key.
            self._index.add(shortest_separator(last, key), encode_handle(self._pending))
            self._pending = None
        self._block.add(key, value)
        self._last_key = key
        if self._block.size >= self._block_size:
            self._end_block()

    def finish(self) -> None:
        """Write the last block, the empty metaindex block, the index block and the footer."""
        self._end_block()
        metaindex = self._write_block(BlockBuilder(self._interval).finish())
        if self._pending is not None:
            assert self._last_key is not None
            self._index.add(shortest_successor(self._last_key), encode_handle(self._pending))
        index = self._write_block(self._index.finish())
        handles = encode_handle(metaindex) + encode_handle(index)
        self._write(handles.ljust(FOOTER_SIZE - 8, b"\0") + pack("<Q", MAGIC))

    def _end_block(self) -> None:
        if not self._block.is_empty:
            self._pending = self._write_block(self._block.finish())
            self._block = BlockBuilder(self._interval)

    def _write_block(self, contents: bytes) -> BlockHandle:
        self._write(seal_block(contents))
        handle = BlockHandle(self._offset, len(contents))
        self._offset += len(contents) + TRAILER_SIZE
        return handle


def seal_block(contents: bytes) -> bytes:
    """Return a block as stored in the file: its contents, its type and the checksum of both."""
    crc = crc32c(_RAW, crc32c(contents))
    return contents + _RAW + pack("<I", mask(crc))


def encode_handle(handle: BlockHandle) -> bytes:
    """Return a block handle as stored in the index block and the footer."""
    return encode_varint(handle.offset) + encode_varint(handle.size)


def shared_size(before: bytes, key: bytes) -> int:
    """Return the length of the common prefix of two keys."""
    size = min(len(before), len(key))
    # As numbers, the first byte in which they differ is found without a loop.
    differing = int.from_bytes(before[:size], "big") ^ int.from_bytes(key[:size], "big")
    return size - (differing.bit_length() + 7) // 8


def shortest_separator(before: bytes, key: bytes) -> bytes:
    """Return LevelDB's separator of two keys: a short key that is at least ``before`` and less than ``key``."""
    shared = shared_size(before, key)
    if shared < min(len(before), len(key)):
        byte = before[shared]
        if byte < 0xFF and byte + 1 < key[shared]:
            return before[:shared] + bytes((byte + 1,))
    return before


def shortest_successor(key: bytes) -> bytes:
    """Return a short key that is at least ``key``: its bytes up to the first below 0xff, which is incremented."""
    head = key[: len(key) - len(key.lstrip(b"\xff"))]
    rest = key[len(head) :]
    return head + bytes((rest[0] + 1,)) if rest else key
