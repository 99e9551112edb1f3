"""Record files put together by hand, so that every part of them can be wrong."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tfbundle.formats.checksum import crc32c, mask


def frame(payload: bytes) -> bytes:
    """One record."""
    return header(len(payload)) + payload + struct.pack("<I", mask(crc32c(payload)))


def header(length: int) -> bytes:
    """The first 12 bytes of a record, right for any length."""
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", mask(crc32c(packed)))


def frames(payloads: Iterable[bytes]) -> bytes:
    """A record file."""
    return b"".join(map(frame, payloads))
