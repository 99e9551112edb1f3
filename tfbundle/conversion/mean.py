"""The weighted mean of several streams of arrays, a chunk at a time.

::

    stream 1   |-----------|-----------|------|      chunks end where each source's slices end,
    stream 2   |-------|-------|-------|------|      and are cut to the shortest of them
    sum        |-------|---|---|-------|------|      float64; float32 for 16 bits and less

While a chunk is summed, threads read the next one of each stream. Reading and checksums release the interpreter's lock.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    from concurrent.futures import Executor

# With more threads than this, the memory or the disk is the limit.
_MOST_THREADS = 4
# With more streams, reading ahead takes more memory than the saved time is worth.
_MOST_STREAMS = 32


def mean_of(
    streams: Sequence[Iterator[Array]], weights: Sequence[float], dtype: np.dtype[Any], *, ahead: bool = False
) -> Iterator[Array]:
    """Yield the weighted mean of flat arrays of ``dtype``, in chunks; with ``ahead``, threads read the next ones."""
    if not ahead or len(streams) > _MOST_STREAMS:
        yield from _means(streams, weights, dtype)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        yield from _means([_read_ahead(stream, threads) for stream in streams], weights, dtype)


def _read_ahead(stream: Iterator[Array], threads: Executor) -> Iterator[Array]:
    coming = threads.submit(next, stream, None)
    while (values := coming.result()) is not None:
        coming = threads.submit(next, stream, None)
        yield values


def _means(streams: Sequence[Iterator[Array]], weights: Sequence[float], dtype: np.dtype[Any]) -> Iterator[Array]:
    wide = np.dtype(np.complex128 if dtype.kind == "c" else np.float32 if dtype.itemsize <= 2 else np.float64)
    is_mean = len(set(weights)) == 1
    # A power of two changes no digit of the weights, and keeps their sum and products from overflowing.
    scale = -math.frexp(max(weights))[1]
    weights = [math.ldexp(weight, scale) for weight in weights]
    total = wide.type(len(weights) if is_mean else sum(weights))
    # numpy casts while it adds, which saves an array, but not from the types of ml_dtypes.
    is_builtin = dtype.isbuiltin == 1
    room = np.empty(0, wide)
    for parts in aligned(streams):
        if len(room) < len(parts[0]):
            room = np.empty(len(parts[0]), wide)
        result = room[: len(parts[0])]
        with np.errstate(all="ignore"):
            result[:] = parts[0]
            if not is_mean:
                result *= wide.type(weights[0])
            for part, weight in zip(parts[1:], weights[1:], strict=True):
                if not is_mean:
                    np.add(result, part.astype(wide) * wide.type(weight), out=result)
                else:
                    np.add(result, part if is_builtin else part.astype(wide), out=result)
            result /= total
            yield result.astype(dtype)


def aligned(streams: Sequence[Iterator[Array]]) -> Iterator[list[Array]]:
    """Yield arrays of equal length from several streams of flat arrays, whose total lengths are equal.

    Ends with the first stream that ends; all others are then advanced past their last array too, where sources verify
    their checksums.
    """
    rests: list[Array | None] = [None] * len(streams)
    while True:
        for number, stream in enumerate(streams):
            rest = rests[number]
            while rest is None or not len(rest):
                try:
                    rest = next(stream)
                except StopIteration:
                    for other in streams:
                        next(other, None)
                    return
            rests[number] = rest
        known = [rest for rest in rests if rest is not None]
        length = min(map(len, known))
        yield [rest[:length] for rest in known]
        rests = [rest[length:] for rest in known]
