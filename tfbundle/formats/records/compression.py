"""The bytes of a record file in order, decompressed if necessary.

TensorFlow compresses record files as a whole (``core/lib/io/record_reader``, ``TFRecordOptions``)::

    NONE     the records themselves
    GZIP     one or several gzip members
    ZLIB     a zlib stream
    SNAPPY   repeated: [length of the block: uint32, big-endian] [a raw Snappy block]
    DEFLATE  a raw deflate stream, without a header that would identify it

A stream returns bytes in the order of the file and never holds more than a window of them. ``open_stream`` detects the
first four forms from the first bytes: the header of a record has a checksum, which other data does not match by chance.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO, Protocol

from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.raw_snappy import decompress_snappy
from tfbundle.limits import LARGEST_SNAPPY_TRIAL
from tfbundle.storage.base import Location, Source
from tfbundle.storage.locations import StrPath, locate

COMPRESSIONS = ("NONE", "GZIP", "ZLIB", "SNAPPY", "DEFLATE")

HEADER_SIZE = 12

# The ``wbits`` argument of zlib for each of its three forms.
_WINDOW_BITS = {"GZIP": 31, "ZLIB": 15, "DEFLATE": -15}
# Bytes that are read or inflated at a time.
_CHUNK = 1 << 18


class Stream(Protocol):
    """Bytes in order."""

    path: str | None
    compression: str
    # Whether the stream ended in the middle of compressed data, even if every record is complete.
    is_cut: bool

    def read_into(self, buffer: memoryview) -> int:
        """Read one or more of the next bytes into the start of ``buffer``; return their number, 0 at the end."""

    def remaining(self) -> int | None:
        """Return the maximum number of bytes left, or ``None`` if it is not known."""

    def done(self) -> int:
        """Return the number of stored (compressed) bytes read so far."""

    def release(self) -> None:
        """Free the bytes in memory that were not read; the stream is not read again."""


class FileStream:
    """An uncompressed file, from ``offset`` to the size that it had when it was opened."""

    compression = "NONE"
    is_cut = False

    def __init__(self, source: Source, offset: int = 0) -> None:
        self.path: str | None = source.path
        self._source = source
        self._offset = offset

    def read(self, size: int) -> bytes:
        size = min(size, self._source.size - self._offset)
        data = self._source.read_at(self._offset, size)
        self._offset += size
        return data

    def read_into(self, buffer: memoryview) -> int:
        size = min(len(buffer), self._source.size - self._offset)
        got = self._source.read_some(self._offset, buffer[:size]) if size else 0
        self._offset += got
        return got

    def peek(self, size: int) -> bytes:
        return self._source.read_at(self._offset, min(size, self._source.size - self._offset))

    def remaining(self) -> int | None:
        return self._source.size - self._offset

    def done(self) -> int:
        return self._offset

    def release(self) -> None:
        """Do nothing, because no byte is in memory."""


class _Copied:
    """A stream that returns its bytes as new ``bytes`` objects."""

    is_cut = False

    def read(self, size: int) -> bytes:
        """Return between 1 and ``size`` of the next bytes; none at the end."""
        raise NotImplementedError

    def read_into(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def remaining(self) -> int | None:
        return None

    def release(self) -> None:
        """Do nothing, because few bytes are in memory."""


class ObjectStream(_Copied):
    """A binary file object from the caller, read from its current position; there is no seek and no close."""

    compression = "NONE"

    def __init__(self, file: BinaryIO) -> None:
        name = getattr(file, "name", None)
        self.path: str | None = name if isinstance(name, str) else None
        self._file = file
        self._ahead = b""
        self._done = 0

    def read(self, size: int) -> bytes:
        if self._ahead:
            ahead, self._ahead = self._ahead[:size], self._ahead[size:]
            return ahead
        data: object = self._file.read(size)  # A file in text mode, or one that would block, does not return bytes.
        if data is None:
            return b""
        if not isinstance(data, bytes):
            raise TypeError("records are read from binary files; open this one with mode 'rb'")
        self._done += len(data)
        return data

    def peek(self, size: int) -> bytes:
        while len(self._ahead) < size:
            ahead, self._ahead = self._ahead, b""
            more = self.read(size - len(ahead))
            self._ahead = ahead + more
            if not more:
                break
        return self._ahead[:size]

    def done(self) -> int:
        return self._done


class _Inflated(_Copied):
    """The contents of a GZIP, ZLIB or raw deflate stream."""

    def __init__(self, stream: FileStream | ObjectStream, compression: str) -> None:
        self.path = stream.path
        self.compression = compression
        self._stream = stream
        self._window_bits = _WINDOW_BITS[compression]
        self._several = compression == "GZIP"
        self._inflater = zlib.decompressobj(self._window_bits)
        self._input = b""

    def read(self, size: int) -> bytes:
        while True:
            if not self._input:
                self._input = self._stream.read(_CHUNK)
            if self._inflater.eof:
                if not self._input:
                    return b""
                if not self._several:
                    raise FormatError("other bytes follow the compressed stream", path=self.path)
                self._inflater = zlib.decompressobj(self._window_bits)
            try:
                data = self._inflater.decompress(self._input, min(size, _CHUNK))
            except zlib.error as error:
                raise FormatError(f"the compressed stream is damaged: {error}", path=self.path) from None
            ended = not self._input
            self._input = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if data:
                return data
            if ended and not self._inflater.eof:
                self.is_cut = self.done() > 0  # An empty stream is not cut.
                return b""

    def done(self) -> int:
        return self._stream.done()


class _Unsnapped(_Copied):
    """The contents of a sequence of Snappy blocks."""

    compression = "SNAPPY"

    def __init__(self, stream: FileStream | ObjectStream) -> None:
        self.path = stream.path
        self._stream = stream
        self._blocks = b""  # Bytes read from the stream; those from ``_next`` on are still compressed.
        self._next = 0
        self._data = b""
        self._pos = 0

    def read(self, size: int) -> bytes:
        while self._pos == len(self._data):
            if not self._fill(4):
                self.is_cut = self._next < len(self._blocks)
                return b""
            length = int.from_bytes(self._blocks[self._next : self._next + 4], "big")
            left = self._stream.remaining()
            # An incomplete block ends the stream, as an incomplete record does. A block that is longer than the file
            # is not read.
            is_there = left is None or self._next + 4 + length <= len(self._blocks) + left
            if not is_there or not self._fill(4 + length):
                self.is_cut = True
                return b""
            start = self._next + 4
            self._next = start + length
            if length == 1 and not self._blocks[start]:
                continue  # An empty block; a file may have any number of them.
            try:
                self._data, self._pos = decompress_snappy(self._blocks[start : self._next]), 0
            except FormatError as error:
                raise error.locate(path=self.path) from None
        data = self._data[self._pos : self._pos + size]
        self._pos += len(data)
        return data

    def _fill(self, size: int) -> bool:
        """Read until ``size`` bytes are available from ``_next`` on; return whether they are."""
        missing = self._next + size - len(self._blocks)
        if missing <= 0:
            return True
        parts = [self._blocks[self._next :]]
        while missing > 0 and (data := self._stream.read(_CHUNK)):
            parts.append(data)
            missing -= len(data)
        self._blocks, self._next = b"".join(parts), 0
        return missing <= 0

    def done(self) -> int:
        return self._stream.done()

    def release(self) -> None:
        """Free the contents of the last block."""
        self._blocks, self._next = b"", 0
        self._data, self._pos = b"", 0


def open_stream(source: Source | BinaryIO, compression: str | None = None) -> Stream:
    """Return a stream of the bytes of ``source``, which is not closed at the end.

    ``compression`` is one of ``COMPRESSIONS``; by default it is detected from the first bytes.
    """
    if compression is not None and compression not in COMPRESSIONS:
        raise ValueError(f"compression is one of {', '.join(COMPRESSIONS)}, not {compression!r}")
    stream = FileStream(source) if isinstance(source, Source) else ObjectStream(source)
    compression = compression or _sniff(stream)
    if compression == "NONE":
        return stream
    return _Unsnapped(stream) if compression == "SNAPPY" else _Inflated(stream, compression)


def _sniff(stream: FileStream | ObjectStream) -> str:
    """Return the compression of a stream; ``"NONE"`` for anything that is not a compressed record file."""
    head = stream.peek(HEADER_SIZE)
    if is_header(head):
        return "NONE"
    if head.startswith(b"\x1f\x8b\x08"):
        return "GZIP"
    if len(head) >= 2 and head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0:
        try:
            if is_header(zlib.decompressobj().decompress(stream.peek(_CHUNK), HEADER_SIZE)):
                return "ZLIB"
        except zlib.error:
            pass
    length = int.from_bytes(head[:4], "big")
    if len(head) > 4 and length <= LARGEST_SNAPPY_TRIAL:
        block = stream.peek(4 + length)[4:]
        try:
            if len(block) == length and is_header(decompress_snappy(block)):
                return "SNAPPY"
        except FormatError:
            pass
    return "NONE"


def is_header(data: bytes) -> bool:
    """Return whether ``data`` begins with the header of a record: its length and the masked CRC of the length."""
    if len(data) < HEADER_SIZE:
        return False
    return unmask(int.from_bytes(data[8:HEADER_SIZE], "little")) == crc32c(data[:8])


def open_source(source: StrPath | BinaryIO) -> tuple[Source | BinaryIO, Source | None]:
    """Return the object to read a path or file object from, and the source to close, if it was opened here."""
    if isinstance(source, (str, bytes, os.PathLike, Location)):
        opened = locate(source).open()
        return opened, opened
    if not hasattr(source, "read"):
        raise TypeError(f"records are read from a path or a binary file, not from {type(source).__name__}")
    return source, None
