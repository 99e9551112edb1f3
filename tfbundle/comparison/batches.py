"""Small tensors of two checkpoints read many at a time, as a model's thousands of biases and counters allow it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from tfbundle.comparison.pairing import Pair
from tfbundle.errors import TfBundleError
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.mapping import TensorMapping

# Larger tensors are compared chunk by chunk. So many small ones are in memory at once: at most a GiB of both, and
# rarely more than some MiB.
_SMALL = 64 << 10
_BATCH = 8192


def read_batches(
    first: TensorMapping, second: TensorMapping, pairs: Iterable[Pair]
) -> Iterator[tuple[Pair, tuple[Array, Array] | None]]:
    """Return each pair with the values of both, or ``None`` where they are to be read from the tensors themselves."""
    remaining = iter(pairs)
    while batch := list(islice(remaining, _BATCH)):
        small = [pair for pair in batch if 0 < pair.nbytes <= _SMALL]
        ours = _read(first, [pair.first.name for pair in small])
        theirs = _read(second, [pair.second.name for pair in small]) if ours else {}
        for pair in batch:
            a, b = ours.get(pair.first.name), theirs.get(pair.second.name)
            yield pair, None if a is None or b is None else (a, b)


def _read(tensors: TensorMapping, names: list[str]) -> dict[str, Array]:
    """Return many tensors at once; none where one of them is damaged."""
    try:
        return tensors._store.read_many(names, mmap=False) if names else {}
    except (TfBundleError, OSError):
        return {}
