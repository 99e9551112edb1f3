"""Many small tensors at once: one read for a stretch of a shard, and not one for each tensor.

A bundle keeps its tensors side by side, so that the thousands of biases, counters and scalars of a model lie in a few
stretches. This reads each stretch once and cuts the arrays out of it. Whatever is not simple (large, partitioned,
strings, or found damaged) is left to the ordinary way, which has one place for every error.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfbundle.checkpoint.entry import Facts, decode_facts, parse_entry
from tfbundle.dtypes import numpy_dtype
from tfbundle.errors import TfBundleError
from tfbundle.formats.checksum import crc32c, mask

if TYPE_CHECKING:
    from tfbundle.checkpoint.pieces import PieceReader
    from tfbundle.checkpoint.tensor import Array

# A tensor above this size is worth a read of its own.
_SMALL = 64 << 10
# Gaps up to this size are read along; a stretch never exceeds the window.
_GAP = 64 << 10
_WINDOW = 4 << 20


class _Small(NamedTuple):
    shard: int
    offset: int
    size: int
    crc: int
    name: str
    facts: Facts


def read_small(reader: PieceReader, records: dict[str, bytes]) -> dict[str, Array]:
    """The small tensors among ``records``, verified as the store is; tensors with any trouble are left out."""
    arrays: dict[str, Array] = {}
    for stretch in _stretches(sorted(_choose(records))):
        first, last = stretch[0], stretch[-1]
        start = first.offset
        try:
            source = reader.shards.source(first.shard)
            data = source.read_at(start, last.offset + last.size - start)
            if not reader.verify:
                source.check_unchanged()
        except TfBundleError:
            continue
        for _, offset, size, crc, name, facts in stretch:
            pos = offset - start
            if reader.verify and mask(crc32c(data[pos : pos + size])) != crc:
                continue
            array = np.ndarray(facts.shape, numpy_dtype(facts.data_type), data, pos).copy()
            arrays[name] = array.byteswap(inplace=True) if reader.swapped else array
    return arrays


def _choose(records: dict[str, bytes]) -> Iterator[_Small]:
    sizes: dict[Facts, int] = {}
    for name, record in records.items():
        try:
            facts = decode_facts(record)
            size = sizes.get(facts)
            if size is None:
                dtype = numpy_dtype(facts.data_type)
                small = not dtype.hasobject and not facts.slices and len(facts.shape) <= _RANK
                size = sizes[facts] = prod(facts.shape) * dtype.itemsize if small else _SMALL + 1
            if size <= _SMALL:
                entry = parse_entry(record)
                if entry.size == size and entry.offset >= 0:
                    yield _Small(entry.shard_id, entry.offset, size, entry.crc32c, name, facts)
        except TfBundleError:
            continue


# The rank that every supported numpy has arrays of.
_RANK = 32


def _stretches(tensors: list[_Small]) -> Iterator[list[_Small]]:
    """Runs of neighbours in one shard; every tensor of a run starts in order, but may end anywhere in it."""
    run: list[_Small] = []
    start = end = 0
    for tensor in tensors:
        close = tensor.offset - end <= _GAP and tensor.offset + tensor.size - start <= _WINDOW
        if run and not (close and tensor.shard == run[0].shard):
            yield run
            run = []
        if not run:
            start = end = tensor.offset
        run.append(tensor)
        end = max(end, tensor.offset + tensor.size)
    if run:
        yield run
