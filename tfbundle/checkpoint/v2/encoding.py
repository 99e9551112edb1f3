"""The bytes of a V2 checkpoint's entries and values: the counterparts of ``entry`` and ``payload``.

Messages are written field by field, as TensorFlow's serializer does: fields in order, zeros left out, but the shape
always there (``entry`` and ``payload`` have the drawings).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import pack

import numpy as np

from tfbundle.formats.checksum import crc32c, mask
from tfbundle.formats.coding import encode_varint
from tfbundle.formats.slice_keys import FULL, Extent


def encode_header(num_shards: int) -> bytes:
    """Return the ``BundleHeaderProto`` of a little-endian bundle of format version 1."""
    return b"\x08" + encode_varint(num_shards) + b"\x1a\x02\x08\x01"


def encode_entry(data_type: int, shape: tuple[int, ...], shard: int, offset: int, size: int, crc: int) -> bytes:
    """Return the ``BundleEntryProto`` of an array as it is stored; ``crc`` is its CRC-32C, which is stored masked."""
    parts = [_head(data_type, shape)]
    for tag, value in ((b"\x18", shard), (b"\x20", offset), (b"\x28", size)):
        if value:
            parts += (tag, encode_varint(value))
    masked = mask(crc)
    if masked:
        parts.append(pack("<BI", 0x35, masked))
    return b"".join(parts)


def encode_partitioned(data_type: int, shape: tuple[int, ...], shard: int, slices: Sequence[Sequence[Extent]]) -> bytes:
    """Return the ``BundleEntryProto`` of a partitioned tensor, which lists its slices in the order of saving.

    It has no bytes; ``shard`` is that of the first slice, which TensorFlow notes when it merges files.
    """
    place = b"\x18" + encode_varint(shard) if shard else b""
    return _head(data_type, shape) + place + b"".join(_field(0x3A, _encode_extents(extents)) for extents in slices)


@lru_cache(maxsize=4096)
def _head(data_type: int, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(0x12, b"\x08" + encode_varint(length) if length else b"") for length in shape)
    return b"\x08" + encode_varint(data_type) + _field(0x12, dims)


def _encode_extents(extents: Sequence[Extent]) -> bytes:
    message = b""
    for start, length in extents:
        extent = b"\x08" + encode_varint(start) if start else b""
        message += _field(0x0A, extent + (b"" if length == FULL else b"\x10" + encode_varint(length)))
    return message


def _field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + encode_varint(len(value)) + value


def encode_strings(elements: Sequence[bytes]) -> tuple[list[bytes], int]:
    """Return the stored bytes of a string tensor, in parts, and the CRC-32C for its entry."""
    lengths = [len(element) for element in elements]
    if max(lengths, default=0) >> 32:
        hashed = b"".join(length.to_bytes(8 if length >> 32 else 4, "little") for length in lengths)
    else:
        hashed = np.array(lengths, "<u4").tobytes()
    crc = crc32c(hashed)
    stored = pack("<I", mask(crc))
    body = b"".join(elements)
    head = bytes(lengths) if max(lengths, default=0) < 0x80 else b"".join(map(encode_varint, lengths))
    return [head + stored, body], crc32c(body, crc32c(stored, crc))


def encode_variants(elements: Sequence[bytes]) -> tuple[list[bytes], int]:
    """Return the same of serialized ``VariantTensorDataProto`` messages."""
    parts: list[bytes] = []
    crc = 0
    for element in elements:
        crc = crc32c(element, crc32c(pack("<Q", len(element)), crc))
        stored = pack("<I", mask(crc))
        crc = crc32c(stored, crc)
        parts += (encode_varint(len(element)), element, stored)
    return parts, crc
