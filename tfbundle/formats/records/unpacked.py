"""The contents of a compressed record file, readable at any offset.

Forward reads decompress the stream without keeping anything. At the first read that goes backwards, the stream starts
again, and from then on its contents are kept in separately compressed blocks::

    offset     0          64 KiB     128 KiB ...            each block's position in the scratch file is in a list
    scratch    [deflate]  [deflate]  [deflate] ...          about as large as the file itself, on disk if it is large

So every byte of the stream is decompressed at most twice, and a read costs only its own blocks, in any order.
"""

from __future__ import annotations

import threading
import weakref
import zlib
from collections import OrderedDict
from typing import IO

from tfbundle.errors import TruncatedError
from tfbundle.formats.records.compression import Stream, open_stream
from tfbundle.storage.base import Location
from tfbundle.storage.scratch import open_scratch

_BLOCK = 1 << 16
# Blocks that are kept decompressed, and bytes of compressed blocks that are kept in memory.
_MOST_BLOCKS = 16
_LARGEST_IN_MEMORY = 4 << 20
_FAST = 1  # zlib's level.


class Unpacked:
    """The decompressed bytes of a file, read at offsets as from a ``Source``, from any thread."""

    def __init__(self, location: Location) -> None:
        self.path = location.path
        self._source = location.open()
        self.version = self._source.version
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._position = 0
        self._blocks: _Blocks | None = None

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``, or raise ``TruncatedError``."""
        with self._lock:
            try:
                return self._read_at(offset, size)
            except BaseException:
                # The position of the stream is no longer certain.
                self._stream = self._blocks = None
                raise

    def _read_at(self, offset: int, size: int) -> bytes:
        if self._blocks is None and self._stream is not None and offset < self._position:
            self._blocks = _Blocks(open_scratch(_LARGEST_IN_MEMORY))
            self._stream = None
        if self._stream is None:
            self._stream, self._position = open_stream(self._source), 0
        if self._blocks is not None:
            return self._read_blocks(self._stream, self._blocks, offset, size)
        between = memoryview(bytearray(_BLOCK))
        while self._position < offset:
            self._advance(self._stream, between[: offset - self._position])
        data = memoryview(bytearray(size))
        while self._position < offset + size:
            self._advance(self._stream, data[self._position - offset :])
        return bytes(data)

    def _read_blocks(self, stream: Stream, blocks: _Blocks, offset: int, size: int) -> bytes:
        end = offset + size
        block = memoryview(bytearray(_BLOCK))
        while self._position < end:
            # Only the last block may be shorter.
            start = self._position
            while self._position < start + _BLOCK and self._fill(stream, block[self._position - start :]):
                pass
            blocks.add(block[: self._position - start])
            if self._position < min(end, start + _BLOCK):
                raise self._shorter()
        first = offset // _BLOCK
        parts = [blocks.get(number) for number in range(first, -(-end // _BLOCK))]
        start = offset - first * _BLOCK
        return b"".join(parts)[start : start + size]

    def _advance(self, stream: Stream, buffer: memoryview) -> None:
        if not self._fill(stream, buffer):
            raise self._shorter()

    def _fill(self, stream: Stream, buffer: memoryview) -> bool:
        got = stream.read_into(buffer)
        self._position += got
        return got > 0

    def _shorter(self) -> TruncatedError:
        return TruncatedError(f"{self.path} became shorter while it was being read; open it again", path=self.path)


class _Blocks:
    """Blocks of bytes in order, each compressed."""

    def __init__(self, scratch: IO[bytes]) -> None:
        self._scratch = scratch
        weakref.finalize(self, scratch.close)  # Closed after its last use, which may be in another thread.
        self._ends = [0]
        self._recent: OrderedDict[int, bytes] = OrderedDict()

    def add(self, block: memoryview) -> None:
        self._scratch.seek(self._ends[-1])
        self._ends.append(self._ends[-1] + self._scratch.write(zlib.compress(block, _FAST)))

    def get(self, number: int) -> bytes:
        block = self._recent.pop(number, None)
        if block is None:
            start, end = self._ends[number : number + 2]
            self._scratch.seek(start)
            block = zlib.decompress(self._scratch.read(end - start))
        self._recent[number] = block
        if len(self._recent) > _MOST_BLOCKS:
            self._recent.popitem(last=False)
        return block
