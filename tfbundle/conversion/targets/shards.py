"""The division of tensors among files: a number of files of about equal size, or files of a largest size.

Tensors stay whole and in order, so that a shard is a run of neighbours. A tensor that is larger than the largest size
has a separate file.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from tfbundle.conversion.planned import Planned
from tfbundle.conversion.targets.target import Layout


def divide(tensors: Sequence[Planned], layout: Layout) -> list[list[Planned]] | None:
    """Return the tensors of each shard, or ``None`` if they are not divided.

    Raises ``ValueError`` for an invalid layout, such as more shards than tensors.
    """
    if layout.shards is not None and layout.shard_size is not None:
        raise ValueError("shards and shard_size both set how to divide the output; pass only one of them")
    for name, number in (("shards", layout.shards), ("shard_size", layout.shard_size)):
        if number is not None:
            check_integer(number, name)
    if layout.shard_size is not None:
        if layout.shard_size < 1:
            raise ValueError(f"shard_size must be a number of bytes of at least 1, not {layout.shard_size}")
        return _by_size(tensors, layout.shard_size)
    if layout.shards is None:
        return None
    if not 1 <= layout.shards <= max(1, len(tensors)):
        raise ValueError(f"shards must be from 1 to the number of tensors, {len(tensors)}, not {layout.shards}")
    return _by_count(tensors, layout.shards)


def check_integer(value: Any, name: str) -> None:
    """Raise ``ValueError`` for a value of the argument ``name`` that is not an integer."""
    try:
        index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, not {value!r}") from None


def _by_size(tensors: Sequence[Planned], most: int) -> list[list[Planned]]:
    shards: list[list[Planned]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.nbytes > most:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.nbytes
    return shards


def _by_count(tensors: Sequence[Planned], count: int) -> list[list[Planned]]:
    shards: list[list[Planned]] = [[] for _ in range(count)]
    total = sum(tensor.nbytes for tensor in tensors)
    number = done = 0
    for place, tensor in enumerate(tensors):
        rest, left = len(tensors) - place, count - number - 1
        # The next shard begins where its share of the bytes does, but early enough that every shard gets a tensor.
        is_due = bool(shards[number]) and done + tensor.nbytes / 2 > total * (number + 1) / count
        if left and shards[number] and (is_due or rest <= left):
            number += 1
        shards[number].append(tensor)
        done += tensor.nbytes
    return shards
