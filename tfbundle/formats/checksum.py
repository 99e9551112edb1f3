"""Masked CRC-32C, the checksum of tables, bundles and records.

A CRC of data that itself contains CRCs is weak, so LevelDB's formats store a *masked* one: rotated right by 15
bits, plus a constant (LevelDB, ``util/crc32c.h``). The CRC itself comes from the ``crc32c`` package, which uses
the processor's instruction.
"""

from __future__ import annotations

from crc32c import crc32c

__all__ = ["crc32c", "mask", "unmask"]

_MASK_DELTA = 0xA282EAD8


def mask(crc: int) -> int:
    """The form in which a CRC-32C is stored."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: int) -> int:
    """The CRC-32C that a stored, masked one stands for."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF
