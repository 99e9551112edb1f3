"""V2 checkpoints with a hostile table: footer, index block, blocks and their restart points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.bundles import ENDLESS, MODEL, B, Pairs, honest
from tests.hostile.catalogue import Wanted, add, case
from tests.support.bundle_writer import data_file, encode_entry, encode_values
from tests.support.table_writer import (
    SNAPPY,
    encode_block,
    encode_footer,
    encode_handle,
    encode_pairs,
    encode_table,
    encode_varint,
    finish_table,
    join_blocks,
    seal_block,
)
from tests.support.table_writer import encode_entry as table_entry


def _plain(pairs: Pairs) -> bytes:
    return encode_pairs(pairs.items())


def _with_block(contents: Callable[[Pairs], bytes]) -> Callable[[Pairs], bytes]:
    """A table with one data block, which a function makes of the honest pairs."""
    return lambda pairs: join_blocks([(b"c", seal_block(contents(pairs)))])


def _with_handle(handle: bytes) -> Callable[[Pairs], bytes]:
    return lambda pairs: join_blocks([(b"c", seal_block(_plain(pairs)))], {0: handle})


def _with_index(index: Callable[[bytes, int], bytes]) -> Callable[[Pairs], bytes]:
    """A table whose index block a function makes of the handle and the size of its one data block."""

    def build(pairs: Pairs) -> bytes:
        sealed = seal_block(_plain(pairs))
        return finish_table(sealed, index(encode_handle(0, len(sealed) - 5), len(sealed)))

    return build


def _with_footer(footer: Callable[[int, bytes], bytes]) -> Callable[[Pairs], bytes]:
    """A table whose footer a function makes of the data's size and the honest footer."""

    def build(pairs: Pairs) -> bytes:
        table = encode_table(pairs)
        return table[:-48] + footer(len(table) - 48, table[-48:])

    return build


def _entries(pairs: Pairs, **first: Any) -> bytes:
    """The entries of a block, the second of which (``a``) is put together otherwise."""
    header, a, b = pairs[b""], pairs[b"a"], pairs[b"b"]
    return table_entry(b"", header) + table_entry(b"a", a, **first) + table_entry(b"b", b)


def _sealed_snappy(stored: bytes) -> Callable[[Pairs], bytes]:
    return lambda pairs: join_blocks([(b"c", seal_block(stored, kind=SNAPPY))])


def _blocks(pairs: Sequence[Sequence[tuple[bytes, bytes]]], separators: Sequence[bytes]) -> bytes:
    return join_blocks([(key, seal_block(encode_pairs(group))) for key, group in zip(separators, pairs, strict=True)])


def _broken_in_the_middle(pairs: Pairs) -> bytes:
    """Three blocks, the second of which shares more with the key before it than that key has."""
    middle = encode_block(table_entry(b"a", pairs[b"a"]) + table_entry(b"b", pairs[b"b"], 9))
    groups = [(b"", encode_pairs([(b"", pairs[b""])])), (b"b", middle), (b"c", encode_pairs([(b"c", pairs[b"b"])]))]
    return join_blocks([(key, seal_block(contents)) for key, contents in groups])


def _snappy_bomb(pairs: Pairs) -> bytes:
    # A literal byte, then copies of 64 bytes from one byte before: the densest that Snappy has.
    size = 1 + 64 * 600_000
    return _sealed_snappy(encode_varint(size) + b"\x00\0" + b"\xfe\1\0" * 600_000)(pairs)


_TABLES: dict[str, tuple[str, Callable[[Pairs], bytes]]] = {
    "handle-outside": ("a block handle that leads outside of the file", _with_handle(encode_handle(1 << 20, 10))),
    "handle-huge-size": ("a block handle with a size of 2^63", _with_handle(encode_handle(0, 1 << 63))),
    "handle-huge-offset": ("a block handle with an offset of 2^64 - 1", _with_handle(encode_handle((1 << 64) - 1, 10))),
    "handle-into-footer": ("a block handle that reaches into the footer", _with_handle(encode_handle(0, 300))),
    "handle-endless": ("a block handle that does not end", _with_handle(ENDLESS)),
    "handle-oversized": ("a block handle beyond 64 bits", _with_handle(b"\xff" * 9 + b"\x7f" + b"\1")),
    "handle-missing": ("an index block with empty handles", _with_handle(b"")),
    "handles-repeated": (
        "20,000 handles of one block",
        _with_index(lambda handle, size: encode_pairs([(b"c%06d" % n, handle) for n in range(20_000)])),
    ),
    "handles-overlapping": (
        "blocks that overlap",
        _with_index(lambda handle, size: encode_pairs([(b"c", handle), (b"d", encode_handle(1, size - 6))], 1)),
    ),
    "index-is-a-data-block": (
        "an index block that names itself",
        _with_index(lambda handle, size: encode_pairs([(b"c", encode_handle(size + 13, 20))], 1)),
    ),
    "footer-names-itself": (
        "an index block inside of the footer",
        _with_footer(lambda size, footer: encode_footer(encode_handle(0, 0), encode_handle(size, 20))),
    ),
    "footer-endless": (
        "a footer whose handles do not end",
        _with_footer(lambda size, footer: b"\xff" * 40 + footer[40:]),
    ),
    "footer-alone": ("nothing but a footer", lambda pairs: encode_table(pairs)[-48:]),
    "footer-cut": ("47 bytes of a footer", lambda pairs: encode_table(pairs)[-47:]),
    "zeros-and-magic": ("zeros and a magic number", lambda pairs: bytes(100) + encode_table(pairs)[-8:]),
    "empty-file": ("an empty index", lambda pairs: b""),
    "restarts-too-many": (
        "a block with 2^32 - 1 restart points",
        _with_block(lambda pairs: encode_block(_entries(pairs), count=0xFFFFFFFF)),
    ),
    "restarts-none": ("a block without restart points", _with_block(lambda pairs: encode_block(_entries(pairs), ()))),
    "restart-outside": (
        "a restart point outside of its block",
        _with_block(lambda pairs: encode_block(_entries(pairs), (0, 1 << 30))),
    ),
    "restart-inside-an-entry": (
        "a restart point in the middle of an entry",
        _with_block(lambda pairs: encode_block(_entries(pairs), (0, 5))),
    ),
    "restarts-descending": (
        "restart points that descend",
        _with_block(lambda pairs: encode_block(_entries(pairs), (len(table_entry(b"", pairs[b""])), 0))),
    ),
    "restart-not-first": (
        "a first restart point that hides the first key",
        _with_block(lambda pairs: encode_block(_entries(pairs), (len(table_entry(b"", pairs[b""])),))),
    ),
    "shared-at-the-start": (
        "a first key that shares bytes with none before it",
        _with_block(lambda pairs: encode_block(table_entry(b"", pairs[b""], 3))),
    ),
    "shared-too-long": (
        "a key that shares more than the one before it has",
        _with_block(lambda pairs: encode_block(_entries(pairs, shared=200))),
    ),
    "broken-in-the-middle": ("a broken block in the middle of the index", _broken_in_the_middle),
    "keys-unsorted": (
        "keys that are not sorted",
        _with_block(lambda pairs: encode_pairs([*pairs.items(), (b"aa", pairs[b"a"])])),
    ),
    "keys-twice": ("a key that stands twice", _with_block(lambda pairs: encode_pairs([*pairs.items(), (b"b", b"")]))),
    "header-twice": ("two headers", _with_block(lambda pairs: encode_pairs([(b"", pairs[b""]), *pairs.items()]))),
    "blocks-unsorted": (
        "blocks that are not sorted",
        lambda pairs: _blocks([[(b"", pairs[b""]), (b"b", pairs[b"b"])], [(b"a", pairs[b"a"])]], [b"b", b"c"]),
    ),
    "separators-unsorted": (
        "an index block that is not sorted",
        lambda pairs: _blocks([[(b"", pairs[b""]), (b"a", pairs[b"a"])], [(b"b", pairs[b"b"])]], [b"c", b"b"]),
    ),
    "block-behind-its-separator": (
        "a block whose keys lie behind the index block's",
        lambda pairs: _blocks([[(b"", pairs[b""]), (b"a", pairs[b"a"])], [(b"b", pairs[b"b"])]], [b"a", b"aa"]),
    ),
    "varint-endless": (
        "an entry with a length that does not end",
        _with_block(lambda pairs: encode_block(table_entry(b"", pairs[b""]) + ENDLESS)),
    ),
    "varint-oversized": (
        "an entry with a length of 2^40",
        _with_block(lambda pairs: encode_block(table_entry(b"", pairs[b""]) + b"\0" + encode_varint(1 << 40) + b"\0")),
    ),
    "value-too-long": (
        "a value that runs past its block",
        _with_block(lambda pairs: encode_block(table_entry(b"", pairs[b""]) + b"\0\1" + encode_varint(1 << 31) + b"a")),
    ),
    "compression-unknown": (
        "an unknown compression",
        lambda pairs: join_blocks([(b"c", seal_block(_plain(pairs), kind=9))]),
    ),
    "snappy-claims-4-gib": ("Snappy data that claims 4 GiB", _sealed_snappy(encode_varint((1 << 32) - 1) + b"\0a")),
    "snappy-bomb": ("1.8 MB of Snappy data that hold 38 MB", _snappy_bomb),
    "snappy-copy-before-start": ("a Snappy copy from before the start", _sealed_snappy(b"\x08\x00a\x0d\x7f\x00")),
    "snappy-copy-offset-0": ("a Snappy copy from offset 0", _sealed_snappy(b"\x08\x00a\x0d\x00\x00")),
    "snappy-cut": ("Snappy data that is cut short", _sealed_snappy(b"\x40\xf0\x3fabc")),
    "header-missing": (
        "an index without a header",
        _with_block(lambda pairs: encode_pairs([(k, v) for k, v in pairs.items() if k])),
    ),
}
for _name, (_title, _make) in _TABLES.items():

    def _build_table(folder: Path, make: Callable[[Pairs], bytes] = _make) -> Wanted:
        (folder / f"{MODEL}.index").write_bytes(make(honest(folder)))
        return Wanted(folder / MODEL, opens=False)

    add(f"table-{_name}", "checkpoint", _build_table, _title)


@case("checkpoint", "10,000 names in a block with one restart point")
def table_one_restart(folder: Path) -> Wanted:
    pairs = honest(folder)
    names = [b"n%06d" % number for number in range(10_000)]
    data, crc = encode_values(B, 1)
    entries = [
        encode_entry(dtype=1, shape=B.shape, offset=n * len(data), size=len(data), crc=crc) for n in range(len(names))
    ]
    block = encode_pairs([(b"", pairs[b""]), *zip(names, entries, strict=True)], 1 << 30)
    (folder / f"{MODEL}.index").write_bytes(join_blocks([(b"o", seal_block(block))]))
    data_file(folder / MODEL).write_bytes(data * len(names))
    return Wanted(folder / MODEL, {name.decode(): B for name in names})
