"""Writes sorted tables (LevelDB's format), well-formed ones and all kinds of others.

``encode_table`` writes what a correct writer writes. What it is made of (entries, blocks, handles, the footer) is
there to be put together wrongly::

    contents = encode_block(encode_entry(b"a", b"1"), restarts=[7])
    data = join_blocks([(b"a", seal_block(contents))])
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import crc32c
import snappy

MAGIC = 0xDB4775248B80FB57
RAW, SNAPPY = 0, 1

Pair = tuple[bytes, bytes]


_SINGLE_BYTES = [bytes([number]) for number in range(0x80)]


def encode_varint(number: int) -> bytes:
    """A number, negative ones as 64-bit two's complement, in groups of seven bits."""
    number &= (1 << 64) - 1
    if number < 0x80:
        return _SINGLE_BYTES[number]
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def masked_crc(data: bytes) -> int:
    """The CRC-32C of some bytes in the form in which it is stored."""
    crc = crc32c.crc32c(data)
    rotated = (crc >> 15) + ((crc & 0x7FFF) << 17)
    return (rotated + 0xA282EAD8) % (1 << 32)


def encode_entry(key_end: bytes, value: bytes, shared: int = 0) -> bytes:
    """An entry that takes its first ``shared`` bytes from the key before it."""
    sizes = encode_varint(shared) + encode_varint(len(key_end)) + encode_varint(len(value))
    return sizes + key_end + value


def encode_block(entries: bytes, restarts: Sequence[int] = (0,), count: int | None = None) -> bytes:
    """A block's contents; ``count`` states another number of restart points than there are."""
    return (
        entries
        + struct.pack(f"<{len(restarts)}I", *restarts)
        + struct.pack("<I", len(restarts) if count is None else count)
    )


def shared_length(before: bytes, key: bytes) -> int:
    """How many bytes two keys have in common at their beginnings."""
    shortest = min(len(before), len(key))
    return next((pos for pos in range(shortest) if before[pos] != key[pos]), shortest)


def encode_pairs(pairs: Iterable[Pair], restart_interval: int = 16) -> bytes:
    """A block's contents with ``pairs`` in the order given."""
    entries = bytearray()
    restarts = [0]
    before = b""
    for number, (key, value) in enumerate(pairs):
        shared = 0
        if number % restart_interval:
            shared = shared_length(before, key)
        elif number:
            restarts.append(len(entries))
        entries += encode_entry(key[shared:], value, shared)
        before = key
    return encode_block(bytes(entries), restarts)


def seal_block(contents: bytes, *, compress: bool = False, kind: int | None = None, crc: int | None = None) -> bytes:
    """A block with its trailer; ``kind`` and ``crc`` state another type, another (masked) checksum."""
    stored = snappy.compress(contents) if compress else contents
    if kind is None:
        kind = SNAPPY if compress else RAW
    typed = stored + bytes([kind])
    return typed + struct.pack("<I", masked_crc(typed) if crc is None else crc)


def encode_handle(offset: int, size: int) -> bytes:
    """Where a block lies."""
    return encode_varint(offset) + encode_varint(size)


def encode_footer(metaindex: bytes, index: bytes, magic: int = MAGIC) -> bytes:
    """The last 48 bytes, from two handles."""
    return (metaindex + index).ljust(40, b"\0") + struct.pack("<Q", magic)


def join_blocks(blocks: Sequence[tuple[bytes, bytes]], handles: Mapping[int, bytes] | None = None) -> bytes:
    """A table of sealed blocks, each with its key in the index block; ``handles`` replaces some of theirs."""
    data = b""
    index = []
    for number, (separator, sealed) in enumerate(blocks):
        handle = encode_handle(len(data), len(sealed) - 5)
        index.append((separator, (handles or {}).get(number, handle)))
        data += sealed
    return finish_table(data, encode_pairs(index, 1))


def finish_table(data: bytes, index: bytes) -> bytes:
    """A table of data blocks that were joined, and an index block's contents."""
    metaindex = seal_block(encode_block(b""))
    sealed = seal_block(index)
    footer = encode_footer(
        encode_handle(len(data), len(metaindex) - 5), encode_handle(len(data) + len(metaindex), len(sealed) - 5)
    )
    return data + metaindex + sealed + footer


def encode_table(
    pairs: Mapping[bytes, bytes] | Sequence[Pair],
    *,
    block_size: int = 4096,
    restart_interval: int = 16,
    compress: bool = False,
    short_separators: bool = True,
) -> bytes:
    """A table of ``pairs``: a mapping is sorted, a sequence keeps its order, right or wrong.

    A block closes when its entries reach ``block_size`` bytes. As in LevelDB's writer, the index block's keys are as
    short as they may be; ``short_separators=False`` makes them the last key of each block.
    """
    if isinstance(pairs, Mapping):
        pairs = sorted(pairs.items())
    groups: list[list[Pair]] = []
    size = block_size
    for key, value in pairs:
        if size >= block_size:
            groups.append([])
            size = 0
        groups[-1].append((key, value))
        size += len(key) + len(value) + 3
    blocks = []
    for number, group in enumerate(groups):
        separator = group[-1][0]
        if short_separators:
            after = groups[number + 1][0][0] if number + 1 < len(groups) else None
            separator = shortest_separator(separator, after)
        blocks.append((separator, seal_block(encode_pairs(group, restart_interval), compress=compress)))
    return join_blocks(blocks)


def shortest_separator(last: bytes, after: bytes | None) -> bytes:
    """A short key that is at or after ``last`` and before ``after`` (``None`` if nothing follows)."""
    shared = 0 if after is None else shared_length(last, after)
    for pos in range(shared, len(last)):
        if last[pos] == 0xFF:
            continue
        raised = last[:pos] + bytes([last[pos] + 1])
        if after is None or raised < after:
            return raised
        break
    return last


def write_table(
    path: str | os.PathLike[str], pairs: Mapping[bytes, bytes] | Sequence[Pair], **settings: object
) -> None:
    """Write ``encode_table`` to a file."""
    Path(path).write_bytes(encode_table(pairs, **settings))  # type: ignore[arg-type]
