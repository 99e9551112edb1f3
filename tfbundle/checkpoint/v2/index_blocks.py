"""The blocks of an index that is being written, and of its twin that states another number of data files.

Two files cannot be replaced in one step. Where data files replace some of the same names, an index takes its place for
a while that counts on more data files, whose names are free (``storage.staging`` has the steps). Only the header, which
is the first entry of the first block, is not the same in both::

    blocks[0]:  "" -> header(num_shards)   key -> entry   ...   trailer
    blocks[1:]: key -> entry ...                                          the same bytes in both, if headers are as long
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count as count_from

from tfbundle.checkpoint.find.names import parse_shard
from tfbundle.checkpoint.v2.encoding import encode_header
from tfbundle.formats.table.builder import TableBuilder, seal_block
from tfbundle.formats.table.reader import TRAILER_SIZE
from tfbundle.limits import MOST_SHARDS
from tfbundle.storage.base import Location


def build_index(keys: Iterable[bytes], entries: Mapping[bytes, bytes], count: int) -> list[bytes]:
    """Return the blocks of an index that counts on ``count`` data files; ``keys`` are in order."""
    blocks: list[bytes] = []
    table = TableBuilder(blocks.append)
    table.add(b"", encode_header(count))
    for key in keys:
        table.add(key, entries[key])
    table.finish()
    return blocks


def recount_index(
    blocks: Sequence[bytes], keys: Iterable[bytes], entries: Mapping[bytes, bytes], count: int, other: int
) -> list[bytes]:
    """Return the blocks of the index that ``build_index`` made for ``count`` data files, for ``other`` instead."""
    old, new = encode_header(count), encode_header(other)
    if len(old) != len(new):
        return build_index(keys, entries, other)
    first = blocks[0][:-TRAILER_SIZE]
    return [seal_block(first.replace(old, new, 1)), *blocks[1:]]


def detour_count(prefix: Location, count: int) -> int | None:
    """Return a number of data files of which none exists, or ``None`` where none exists of ``count`` either.

    Raises ``ValueError`` if there is none that TensorFlow would read.
    """
    folder = prefix.parent.current()
    names = folder.list().names if folder.is_folder() else ()
    shards = (parse_shard(name) for name in names if name.startswith(prefix.name))
    used = {shard.total for shard in shards if shard is not None and shard.prefix == prefix.name}
    if count not in used:
        return None
    other = next(number for number in count_from(count + 1) if number not in used)
    if other > MOST_SHARDS:
        raise ValueError(f"{prefix} has files of {MOST_SHARDS} shards, and cannot be overwritten with as many")
    return other
