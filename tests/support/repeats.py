"""Large inputs that repeat themselves, put together from parts that are encoded or compressed once."""

from __future__ import annotations

import struct
import zlib

_DIGITS = b"#######"


def numbered(data: bytes, count: int) -> bytes:
    """Return ``count`` copies of ``data``, in which each ``#######`` is the number of the copy in as many digits."""
    parts = data.split(_DIGITS)
    return b"".join([(b"%07d" % number).join(parts) for number in range(count)])


def gzip_of(data: bytes, count: int = 1, *, start: bytes = b"", end: bytes = b"") -> bytes:
    """Return a GZIP file of ``start``, ``count`` times ``data``, and ``end``."""
    crc = zlib.crc32(start)
    for _ in range(count):
        crc = zlib.crc32(data, crc)
    crc = zlib.crc32(end, crc)
    size = len(start) + count * len(data) + len(end)
    deflated = _deflate(start) + _deflate(data) * count + _deflate(end, zlib.Z_FINISH)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflated + struct.pack("<II", crc, size % (1 << 32))


def _deflate(data: bytes, mode: int = zlib.Z_FULL_FLUSH) -> bytes:
    """Return blocks that refer to nothing before them and, but for ``Z_FINISH``, end at a byte."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeezer.compress(data) + squeezer.flush(mode)
