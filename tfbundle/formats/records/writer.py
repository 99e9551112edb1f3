"""Encode records: one, or thousands of one length at a time.

::

    [length: uint64] [masked CRC-32C of these 8 bytes] [payload: length bytes] [masked CRC-32C of the payload]

This is the inverse of ``frames`` and works in the same way: payloads of one length are the rows of a matrix, whose
checksums are computed together. ``RecordRun`` puts records of different lengths, encoded in any order, into the order
in which they are to be written.
"""

from __future__ import annotations

import struct

import numpy as np

from tfbundle.formats.checksum import crc32c, mask
from tfbundle.formats.records.frames import FRAME_SIZE, HEADER_SIZE, LONGEST_ROW, Bytes, Numbers, crc32c_rows

_LENGTH, _CRC = struct.Struct("<Q"), struct.Struct("<I")


def encode_record(payload: bytes) -> bytes:
    """Return one record."""
    return _header(len(payload)) + payload + _CRC.pack(mask(crc32c(payload)))


def encode_records(payloads: Bytes) -> Bytes:
    """Return the record of each row of ``payloads`` as a row that is ``FRAME_SIZE`` bytes longer."""
    count, size = payloads.shape
    records = np.empty((count, size + FRAME_SIZE), np.uint8)
    records[:, :HEADER_SIZE] = np.frombuffer(_header(size), np.uint8)
    records[:, HEADER_SIZE : HEADER_SIZE + size] = payloads
    records[:, HEADER_SIZE + size :] = mask(_crcs(payloads)).astype("<u4").view(np.uint8).reshape(count, 4)
    return records


def _header(size: int) -> bytes:
    length = _LENGTH.pack(size)
    return length + _CRC.pack(mask(crc32c(length)))


def _crcs(payloads: Bytes) -> Numbers:
    count, size = payloads.shape
    if not count or not size or size > LONGEST_ROW:
        return np.array([crc32c(row.tobytes()) for row in payloads], np.int64)
    words = np.zeros((count, -(-size // 8) * 8), np.uint8)
    words[:, :size] = payloads
    return crc32c_rows(words, size).astype(np.int64)


class RecordRun:
    """Consecutive records, whose sizes are given first and whose bytes are set in any order."""

    def __init__(self, sizes: Numbers) -> None:
        """Allocate room for records of ``sizes``, frames included; a record of size 0 is left out."""
        ends = np.cumsum(sizes)
        self._starts = ends - sizes
        self.data = memoryview(bytearray(int(ends[-1]) if len(ends) else 0))

    def put(self, number: int, record: bytes | memoryview) -> None:
        """Set the record ``number``."""
        start = int(self._starts[number])
        self.data[start : start + len(record)] = record

    def put_rows(self, numbers: Numbers, records: Bytes) -> None:
        """Set the records ``numbers`` to the rows of a matrix."""
        size = records.shape[1]
        if len(numbers):
            places = np.ndarray(len(self.data) - size + 1, f"V{size}", self.data, strides=(1,))
            places[self._starts[numbers]] = np.ascontiguousarray(records).view(f"V{size}").reshape(-1)
