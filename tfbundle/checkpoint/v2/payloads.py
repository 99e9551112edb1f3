"""From an array to the bytes that a data file takes: what ``CheckpointWriter`` hands on, whatever the array comes from.

A payload appends its bytes to a ``Sink`` and returns their CRC-32C, so that neither has to be in memory at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tfbundle.checkpoint.v2.stored_slices import COPIED
from tfbundle.checkpoint.v2.values import plain_bytes, plain_number, stored_bytes
from tfbundle.formats.checksum import crc32c
from tfbundle.storage.copying import Sink
from tfbundle.tensors.arrays import Array

# Appends the stored bytes of an array to a file, and returns the CRC-32C for its entry.
Payload: TypeAlias = "Callable[[Sink], int]"


def payload_of_array(array: Array) -> Payload:
    """Return the payload of numbers in memory, which pass the checksum while they are in the processor's cache."""

    def write_all(sink: Sink) -> int:
        if plain_number(array.dtype) is None:
            data: bytes | memoryview = stored_bytes(array)
        else:
            data = plain_bytes(array)
        if len(data) <= COPIED:
            sink.write(data)
            return crc32c(data)
        crc = 0
        for start in range(0, len(data), COPIED):
            chunk = data[start : start + COPIED]
            crc = crc32c(chunk, crc)
            sink.write(chunk)
        return crc

    return write_all


def payload_of_parts(parts: Sequence[bytes], crc: int) -> Payload:
    """Return the payload of strings or variants, which are encoded, and whose CRC-32C follows a special rule."""

    def write_all(sink: Sink) -> int:
        for part in parts:
            sink.write(part)
        return crc

    return write_all


def payload_of_chunks(chunks: Iterable[memoryview]) -> Payload:
    """Return the payload of numbers that come chunk by chunk; it raises what ``chunks`` raise."""

    def write_all(sink: Sink) -> int:
        crc = 0
        for chunk in chunks:
            crc = crc32c(chunk, crc)
            sink.write(chunk)
        return crc

    return write_all
