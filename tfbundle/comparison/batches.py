"""Read the small tensors of two checkpoints, such as thousands of biases and counters, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from tfbundle.comparison.pairing import Pair
from tfbundle.errors import TfBundleError
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.mapping import TensorMapping, store_of

# Larger tensors are compared chunk by chunk. At most so many small ones are in memory at a time: up to 1 GiB for both
# checkpoints, but rarely more than a few MiB.
_SMALL = 64 << 10
_BATCH = 8192


def read_batches(
    first: TensorMapping, second: TensorMapping, pairs: Iterable[Pair]
) -> Iterator[tuple[Pair, tuple[Array, Array] | None]]:
    """Yield each pair with the values of both, or with ``None`` if they are to be read from the tensors themselves."""
    remaining = iter(pairs)
    while batch := list(islice(remaining, _BATCH)):
        small = [pair for pair in batch if 0 < pair.nbytes <= _SMALL]
        ours = _read(first, [pair.first.name for pair in small])
        theirs = _read(second, [pair.second.name for pair in small]) if ours else {}
        for pair in batch:
            a, b = ours.get(pair.first.name), theirs.get(pair.second.name)
            yield pair, None if a is None or b is None else (a, b)


def _read(tensors: TensorMapping, names: list[str]) -> dict[str, Array]:
    """Return the values of many tensors; empty if one of them is damaged."""
    try:
        return store_of(tensors).read_many(names, mmap=False) if names else {}
    except (TfBundleError, OSError):
        return {}
