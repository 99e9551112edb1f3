"""FarmHash's ``Fingerprint64``, the hash of a SavedModel's index that TensorFlow stores in ``fingerprint.pb``.

Defined by Google's FarmHash (``farmhashna::Hash64``), whose fingerprints never change: data of up to 16, 32 and 64
bytes have separate functions, and longer data are mixed in blocks of 64 bytes into a state of seven words::

    x  y  z        running words
    v  w           two pairs, each mixed with one half of a block

Words are 64 bits, little-endian, and every sum and product is taken modulo 2**64.
"""

from __future__ import annotations

from struct import Struct, unpack_from

_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F
_MASK = (1 << 64) - 1
_SEED = 81
_BLOCK = 64
_EIGHT_WORDS = Struct("<8Q")


def fingerprint64(data: bytes) -> int:
    """Return the hash of ``data``, a number of 64 bits."""
    size = len(data)
    if size <= 16:
        return _hash_up_to_16(data)
    if size <= 32:
        return _hash_17_to_32(data)
    if size <= _BLOCK:
        return _hash_33_to_64(data)
    x = _SEED
    y = (_SEED * _K1 + 113) & _MASK
    z = (_shift_mix((y * _K2 + 113) & _MASK) * _K2) & _MASK
    v0 = v1 = w0 = w1 = 0
    x = (x * _K2 + _word(data, 0)) & _MASK
    last = (size - 1) // _BLOCK * _BLOCK
    for a, b, c, d, e, f, g, h in _EIGHT_WORDS.iter_unpack(memoryview(data)[:last]):
        x = (_rotate((x + y + v0 + b) & _MASK, 37) * _K1) & _MASK
        y = (_rotate((y + v1 + g) & _MASK, 42) * _K1) & _MASK
        x ^= w1
        y = (y + v0 + f) & _MASK
        z = (_rotate((z + w0) & _MASK, 33) * _K1) & _MASK
        v0, v1 = _mix_32(a, b, c, d, (v1 * _K1) & _MASK, (x + w0) & _MASK)
        w0, w1 = _mix_32(e, f, g, h, (z + w1) & _MASK, (y + c) & _MASK)
        z, x = x, z
    multiplier = (_K1 + ((z & 0xFF) << 1)) & _MASK
    # The last 64 bytes, which may overlap the block before them.
    a, b, c, d, e, f, g, h = unpack_from("<8Q", data, size - _BLOCK)
    w0 = (w0 + ((size - 1) & 63)) & _MASK
    v0 = (v0 + w0) & _MASK
    w0 = (w0 + v0) & _MASK
    x = (_rotate((x + y + v0 + b) & _MASK, 37) * multiplier) & _MASK
    y = (_rotate((y + v1 + g) & _MASK, 42) * multiplier) & _MASK
    x ^= (w1 * 9) & _MASK
    y = (y + v0 * 9 + f) & _MASK
    z = (_rotate((z + w0) & _MASK, 33) * multiplier) & _MASK
    v0, v1 = _mix_32(a, b, c, d, (v1 * multiplier) & _MASK, (x + w0) & _MASK)
    w0, w1 = _mix_32(e, f, g, h, (z + w1) & _MASK, (y + c) & _MASK)
    z, x = x, z
    first = (_hash_16(v0, w0, multiplier) + _shift_mix(y) * _K0 + z) & _MASK
    second = (_hash_16(v1, w1, multiplier) + x) & _MASK
    return _hash_16(first, second, multiplier)


def _word(data: bytes, pos: int) -> int:
    return int.from_bytes(data[pos : pos + 8], "little")


def _rotate(value: int, shift: int) -> int:
    return ((value >> shift) | (value << (64 - shift))) & _MASK


def _shift_mix(value: int) -> int:
    return value ^ (value >> 47)


def _hash_16(a: int, b: int, multiplier: int) -> int:
    """Mix two words into one."""
    first = _shift_mix(((a ^ b) * multiplier) & _MASK)
    return (_shift_mix(((b ^ first) * multiplier) & _MASK) * multiplier) & _MASK


def _mix_32(w: int, x: int, y: int, z: int, a: int, b: int) -> tuple[int, int]:
    """Mix four words into a pair."""
    a = (a + w) & _MASK
    b = _rotate((b + a + z) & _MASK, 21)
    c = a
    a = (a + x + y) & _MASK
    b = (b + _rotate(a, 44)) & _MASK
    return (a + z) & _MASK, (b + c) & _MASK


def _hash_up_to_16(data: bytes) -> int:
    size = len(data)
    if size >= 8:
        multiplier = _K2 + 2 * size
        a = (_word(data, 0) + _K2) & _MASK
        b = _word(data, size - 8)
        c = (_rotate(b, 37) * multiplier + a) & _MASK
        d = ((_rotate(a, 25) + b) * multiplier) & _MASK
        return _hash_16(c, d, multiplier & _MASK)
    if size >= 4:
        multiplier = _K2 + 2 * size
        a, b = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        return _hash_16(size + (a << 3), b, multiplier)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return (_shift_mix((y * _K2 ^ z * _K0) & _MASK) * _K2) & _MASK
    return _K2


def _hash_17_to_32(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + 2 * size
    a = (_word(data, 0) * _K1) & _MASK
    b = _word(data, 8)
    c = (_word(data, size - 8) * multiplier) & _MASK
    d = (_word(data, size - 16) * _K2) & _MASK
    first = (_rotate((a + b) & _MASK, 43) + _rotate(c, 30) + d) & _MASK
    second = (a + _rotate((b + _K2) & _MASK, 18) + c) & _MASK
    return _hash_16(first, second, multiplier)


def _hash_33_to_64(data: bytes) -> int:
    size = len(data)
    multiplier = _K2 + 2 * size
    a = (_word(data, 0) * _K2) & _MASK
    b = _word(data, 8)
    c = (_word(data, size - 8) * multiplier) & _MASK
    d = (_word(data, size - 16) * _K2) & _MASK
    y = (_rotate((a + b) & _MASK, 43) + _rotate(c, 30) + d) & _MASK
    z = _hash_16(y, (a + _rotate((b + _K2) & _MASK, 18) + c) & _MASK, multiplier)
    e = (_word(data, 16) * multiplier) & _MASK
    f = _word(data, 24)
    g = ((y + _word(data, size - 32)) * multiplier) & _MASK
    h = ((z + _word(data, size - 24)) * multiplier) & _MASK
    first = (_rotate((e + f) & _MASK, 43) + _rotate(g, 30) + h) & _MASK
    second = (e + _rotate((f + a) & _MASK, 18) + g) & _MASK
    return _hash_16(first, second, multiplier)
