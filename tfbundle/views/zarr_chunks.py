"""The chunks of a tensor in Zarr, where all chunks of an array have the same shape.

A chunk must be a run of stored elements, of one slice if the tensor is partitioned, and the chunks must fill the tensor
without a remainder: the last one is stored as large as the others, and here nothing can be added to it::

    slices of (4, 3) and (4, 3)     chunks (4, 3), (2, 3), (1, 3), (1, 1)
    slices of (4, 3) and (2, 3)     chunks (2, 3), (1, 3), (1, 1)
    slices of (4, 2) and (4, 1)     chunks (1, 1)

Of these the largest is used, or the one whose size is nearest to the requested one.

Pure arithmetic; nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import gcd, isqrt, prod
from typing import NamedTuple

import numpy as np

# Divisors are searched for up to here, and with them those that are as many times smaller than the number.
_LARGEST_TRIAL = 1 << 12


class Box(NamedTuple):
    """Where a slice begins in its tensor, and its lengths."""

    starts: tuple[int, ...]
    lengths: tuple[int, ...]


def equal_chunks(shape: Sequence[int], boxes: Sequence[Box], most: float | None) -> tuple[int, ...]:
    """Return the shape of the chunks of a tensor that has elements, and is stored in ``boxes`` which tile it.

    ``most`` is the requested number of elements in a chunk, or ``None`` for the largest chunks.
    """
    units = [
        gcd(length, *(box.starts[axis] for box in boxes), *(box.lengths[axis] for box in boxes))
        for axis, length in enumerate(shape)
    ]
    best: tuple[int, ...] = (1,) * len(shape)
    for axis in range(len(shape) - 1, -1, -1):
        tail = tuple(units[axis + 1 :])
        if any(box.lengths[axis + 1 :] != tail for box in boxes):
            break
        for rows in _divisors(units[axis]) if most is not None else (units[axis],):
            chunk = (*(1,) * axis, rows, *tail)
            if most is None or _distance(prod(chunk), most) < _distance(prod(best), most):
                best = chunk
    return best


def chunk_indices(box: Box, chunk: Sequence[int]) -> Iterator[str]:
    """Yield the indices of the chunks of one slice, as in keys, in the order in which the slice stores them."""
    if not chunk:
        yield "0"
        return
    counts = [length // size for length, size in zip(box.lengths, chunk, strict=True)]
    firsts = [start // size for start, size in zip(box.starts, chunk, strict=True)]
    for index in np.ndindex(*counts):
        yield ".".join(str(first + number) for first, number in zip(firsts, index, strict=True))


def _distance(size: int, wanted: float) -> float:
    """Return how many times one is as large as the other; of two equal distances, the smaller size is nearer."""
    return size / wanted if size > wanted else wanted / size * (1 - 1e-12)


@lru_cache(maxsize=4096)
def _divisors(number: int) -> tuple[int, ...]:
    """Return the divisors of a number; of a very large one, those that are small or large."""
    trials = np.arange(1, min(isqrt(number), _LARGEST_TRIAL) + 1)
    small: list[int] = trials[number % trials == 0].tolist()
    return (*small, *(number // divisor for divisor in small))
