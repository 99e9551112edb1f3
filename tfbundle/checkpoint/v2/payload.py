"""The bytes of a stored slice as values: strings and variants, whose checksums have rules of their own.

A string tensor of n elements (TensorFlow, ``util/tensor_bundle``)::

    [length: varint64] * n  [masked CRC-32C of the lengths]  [bytes of all elements]

Both its CRCs, the inner one and the entry's, run over each length as uint32 (uint64 where 32 bits do not hold it) and
not over the varints; that of the entry continues over the inner checksum as stored and the bytes. These numbers have
the byte order of the bundle.

A variant tensor repeats for each element::

    [length: varint64]  [VariantTensorDataProto]  [masked CRC-32C so far]

where the CRC runs over the length as uint64 LE, the message, and each checksum as stored.
"""

from __future__ import annotations

from struct import Struct
from typing import Literal

import numpy as np
from google.protobuf.message import DecodeError

from tfbundle.errors import ChecksumError, FormatError, TruncatedError, UnsupportedError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.coding import decode_varint
from tfbundle.proto import VariantTensorDataProto

ByteOrder = Literal["little", "big"]

_UINT32 = Struct("<I")
_UINT64 = Struct("<Q")


def decode_strings(data: bytes, count: int, expected: int | None, byteorder: ByteOrder) -> list[bytes]:
    """Return the ``count`` elements of a string tensor.

    ``expected`` is the CRC-32C that the entry states, or ``None`` to leave checksums unread.
    """
    if count > len(data) - 4:
        raise TruncatedError(f"{count} strings need more than the {len(data)} bytes that are stored", offset=0)
    lengths = []
    pos = 0
    end = len(data)
    for _ in range(count):
        # Most strings are shorter than 128 bytes.
        if pos < end and data[pos] < 0x80:
            length = data[pos]
            pos += 1
        else:
            length, pos = decode_varint(data, pos, end)
        lengths.append(length)
    start = pos + 4
    if start + sum(lengths) != end:
        raise FormatError(
            f"{count} strings with {sum(lengths)} bytes do not fit the {end} bytes that are stored",
            offset=pos,
        )
    if expected is not None:
        if max(lengths, default=0) >> 32:
            hashed = b"".join(length.to_bytes(8 if length >> 32 else 4, byteorder) for length in lengths)
        else:
            hashed = np.array(lengths, "<u4" if byteorder == "little" else ">u4").tobytes()
        crc = crc32c(hashed)
        _compare(unmask(int.from_bytes(data[pos:start], byteorder)), crc, pos, "the run of its strings' lengths")
        _compare(expected, crc32c(memoryview(data)[pos:], crc), 0, "it")
    strings = []
    for length in lengths:
        strings.append(data[start : start + length])
        start += length
    return strings


def decode_variants(
    data: bytes, count: int, expected: int | None, byteorder: ByteOrder
) -> list[VariantTensorDataProto]:
    """Return the ``count`` elements of a variant tensor, as messages; ``expected`` as for strings.

    Raises ``UnsupportedError`` for a big-endian bundle, which TensorFlow does not read either.
    """
    if byteorder == "big":
        raise UnsupportedError("variants in a big-endian bundle have no known form")
    if count > len(data) // 5:
        raise TruncatedError(f"{count} variants need more than the {len(data)} bytes that are stored", offset=0)
    messages = []
    pos = crc = 0
    end = len(data)
    for _ in range(count):
        length, start = decode_varint(data, pos, end)
        stop = start + length
        if stop + 4 > end:
            raise TruncatedError("a variant runs past the end of its tensor", offset=pos)
        if expected is not None:
            crc = crc32c(data[start:stop], crc32c(_UINT64.pack(length), crc))
            _compare(unmask(_UINT32.unpack_from(data, stop)[0]), crc, stop, "a variant in it")
            crc = crc32c(data[stop : stop + 4], crc)
        try:
            messages.append(VariantTensorDataProto.FromString(data[start:stop]))
        except DecodeError:
            raise FormatError("a variant in it is not a VariantTensorDataProto", offset=start) from None
        pos = stop + 4
    if pos != end:
        raise FormatError(f"{count} variants take {pos} bytes, and {end} are stored", offset=pos)
    if expected is not None:
        _compare(expected, crc, 0, "it")
    return messages


def _compare(expected: int, actual: int, offset: int, what: str) -> None:
    if expected != actual:
        raise ChecksumError(
            f"{what} has CRC-32C {actual:#010x}, and {expected:#010x} is stored",
            expected=expected,
            actual=actual,
            offset=offset,
        )
