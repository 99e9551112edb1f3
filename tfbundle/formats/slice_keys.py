"""Encode and decode the keys of tables: tensor names, and keys of slices of partitioned tensors.

A tensor's name may be any bytes, usually UTF-8; in a ``str``, bytes that are not UTF-8 are escaped
(``surrogateescape``). A slice's key is a sequence of ordered codes (TensorFlow, ``util/saved_tensor_slice_util``),
which sorts slices by name, then by position::

    [number 0][string: tensor's name][number: rank]  then for each dimension  [signed: start][signed: length]

A dimension that is included in full has start 0 and length -1. Since every such key begins with a NUL byte, and the
table is sorted, slices precede all tensors with ordinary names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tfbundle.errors import FormatError
from tfbundle.formats import coding
from tfbundle.limits import LARGEST_RANK

# The length that means the whole dimension.
FULL = -1

# A start and a length, of one dimension of a slice.
Extent = tuple[int, int]


def encode_name(name: str) -> bytes:
    """Return a tensor's name as the table's key."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(key: bytes) -> str:
    """Return a table's key as a tensor's name; bytes that are not UTF-8 are escaped, as ``encode_name`` expects."""
    return key.decode("utf-8", "surrogateescape")


def decode_names(keys: list[bytes]) -> list[str]:
    """Return ``decode_name`` of each key; keys without a NUL are decoded together, separated by NULs."""
    names = decode_name(b"\0".join(keys)).split("\0")
    return names if len(names) == len(keys) else list(map(decode_name, keys))


def encode_slice_key(name: bytes, extents: Sequence[Extent]) -> bytes:
    """Return the key of the slice of tensor ``name`` with the given (start, length) of each dimension."""
    (key,) = encode_slice_keys(name, (extents,))
    return key


def encode_slice_keys(name: bytes, slices: Iterable[Sequence[Extent]]) -> list[bytes]:
    """Return ``encode_slice_key`` of each of a tensor's slices."""
    encode = coding.encode_ordered_signed
    head = b"\0" + coding.encode_ordered_string(name)
    keys = []
    for extents in slices:
        parts = [head, coding.encode_ordered_number(len(extents))]
        for start, length in extents:
            parts += (encode(start), encode(length))
        keys.append(b"".join(parts))
    return keys


def decode_slice_owner(key: bytes) -> bytes:
    """Return the tensor's name in a slice's key; ``FormatError`` if there is none. The rest of the key is not read."""
    return _decode_owner(key)[0]


def _decode_owner(key: bytes) -> tuple[bytes, int]:
    zero, pos = coding.decode_ordered_number(key, 0, len(key))
    if zero:
        raise FormatError("a slice key must begin with the number 0", offset=0)
    return coding.decode_ordered_string(key, pos, len(key))


def decode_slice_key(key: bytes) -> tuple[bytes, tuple[Extent, ...]]:
    """Decode the result of ``encode_slice_key``; raises ``FormatError`` for any other key."""
    end = len(key)
    name, pos = _decode_owner(key)
    rank, pos = coding.decode_ordered_number(key, pos, end)
    if rank > LARGEST_RANK:
        raise FormatError(f"a slice key has rank {rank}, more than TensorFlow's {LARGEST_RANK}", offset=pos)
    extents = []
    for _ in range(rank):
        start, pos = coding.decode_ordered_signed(key, pos, end)
        length, pos = coding.decode_ordered_signed(key, pos, end)
        extents.append((start, length))
    if pos != end:
        raise FormatError("a slice key continues after its last dimension", offset=pos)
    return name, tuple(extents)
