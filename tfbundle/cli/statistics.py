"""The statistics of a tensor that ``show`` prints: of numbers, or of the lengths of strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.cli.bars import draw_bars
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.statistics import Part, join, make_plan, summarize

if TYPE_CHECKING:
    from tfbundle.tensors.tensor import Tensor


def gather(tensor: Tensor, chunks: Iterable[Array]) -> dict[str, Any]:
    """Return the statistics of a tensor by name; none of a variant's, whose elements are values of other kinds."""
    if tensor.data_type == "DT_STRING":
        return _lengths(chunks)
    if tensor.data_type == "DT_VARIANT":
        for _ in chunks:  # They are verified.
            pass
        return {}
    plan = make_plan(tensor.shape)

    def parts() -> Iterator[Part]:
        start = 0
        for chunk in chunks:
            yield summarize(chunk, start, plan)
            start += len(chunk)

    found = join(plan, parts())
    return {
        "min": found.min,
        "max": found.max,
        "mean": found.mean,
        "std": found.std,
        "zeros": found.zeros,
        "nan": found.nan,
        "infinite": found.infinite,
        "histogram": found.counts or None,
    }


def draw_histogram(statistics: dict[str, Any]) -> str:
    """Return the histogram of a tensor as one line of bars from its minimum to its maximum; empty if it has none."""
    counts = statistics.get("histogram")
    if not counts:
        return ""
    return draw_bars(np.linspace(0.0, 1.0, len(counts) + 1), np.array(counts, np.float64))


def _lengths(chunks: Iterable[Array]) -> dict[str, Any]:
    """Return the shortest and longest length of strings, and all lengths together, in bytes."""
    shortest: int | None = None
    longest: int | None = None
    total = 0
    for chunk in chunks:
        lengths = [len(element) for element in chunk]
        if lengths:
            shortest = min(lengths) if shortest is None else min(shortest, *lengths)
            longest = max(lengths) if longest is None else max(longest, *lengths)
            total += sum(lengths)
    return {"min_length": shortest, "max_length": longest, "total_length": total}
