"""Record files: right records come out whole and in order, whatever stands between them, and compressed or not.

An input is a run of pieces, each with a byte that says what becomes of it: a record, a record with one wrong checksum,
or bytes as they are. So the reader meets right checksums far more often than by chance.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator

import snappy

from tests.hostile.exercise import demand
from tests.support.expected import FIXTURES
from tests.support.records import frame, header
from tfbundle import read_records
from tfbundle.errors import TfBundleError

_LARGEST_SEED = 4 << 10
_COMPRESSIONS = (None, "NONE", "GZIP", "ZLIB", "SNAPPY")


def seeds() -> Iterator[bytes]:
    """The records of event files, and pieces of every kind."""
    for path in sorted(FIXTURES.rglob("*tfevents*")):
        pieces = [b"\0" + struct.pack("<H", len(payload)) + payload for payload in read_records(path)]
        yield (b"\0" + b"".join(piece for piece in pieces if len(piece) < 1 << 16))[:_LARGEST_SEED]
    record = b"\0\5\0hello"
    for how in range(8):
        for kind in range(6):
            yield bytes([how]) + record * 20 + bytes([kind]) + b"\4\0\1\2\3\4" + record * 20


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    if not data:
        return
    how, stream, whole = data[0], *_assemble(data[1:])
    wrap = (_keep, _keep, gzip.compress, zlib.compress, _snap)[how % 5]
    stored = wrap(stream)
    if how & 0x40:  # Damage of the wrapping itself.
        stored = stored[: len(stored) // 2] + data[-1:] + stored[len(stored) // 2 + 1 :]
    compression = _COMPRESSIONS[how % 5] if how & 0x80 else None
    for salvage in (False, True):
        iterator = read_records(io.BytesIO(stored), compression=compression, salvage=salvage)
        found = []
        try:
            for payload in iterator:
                found.append(payload)
        except TfBundleError:
            demand(not salvage or bool(how & 0x40) or compression is not None, "salvage gives up")
        # A stream that is not told to be compressed has to open with a record to be recognised.
        if not how & 0x40 and (compression or stored is stream or whole):
            demand(found[: len(whole)] == whole, "the records ahead of the damage differ")


def _assemble(data: bytes) -> tuple[bytes, list[bytes]]:
    """A stream from the pieces, and the payloads ahead of the first thing that is wrong."""
    stream = b""
    payloads: list[bytes] = []
    good = True
    pos = 0
    while pos + 3 <= len(data):
        kind, size = data[pos], int.from_bytes(data[pos + 1 : pos + 3], "little")
        piece = data[pos + 3 : pos + 3 + size]
        pos += 3 + size
        if kind & 7 < 4:
            stream += frame(piece)
            if good:
                payloads.append(piece)
            continue
        good = False
        if kind & 7 == 4:
            stream += piece
        elif kind & 7 == 5:
            stream += header(int.from_bytes(piece[:8], "little")) + piece[8:]
        elif kind & 7 == 6:
            framed = frame(piece)
            stream += framed[:-1] + bytes([framed[-1] ^ 1])
        else:
            framed = frame(piece)
            stream += bytes([framed[0] ^ 1]) + framed[1:]
    return stream, payloads


def _keep(stream: bytes) -> bytes:
    return stream


def _snap(stream: bytes) -> bytes:
    step = max(64, len(stream) // 3)  # The first block has to hold a header, by which the reader knows it.
    blocks = [snappy.compress(stream[i : i + step]) for i in range(0, len(stream), step)]
    return b"".join(struct.pack(">I", len(block)) + block for block in blocks)
