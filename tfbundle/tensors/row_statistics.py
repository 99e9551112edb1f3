"""Statistics of many small tensors of one type and shape at once: each is a row of a matrix.

A call of numpy takes longer than the work on a small tensor, so each call works on many rows. Rows with numbers that
are not finite, and complex ones, are rare, and are summarized one by one.
"""

from __future__ import annotations

from itertools import chain, repeat

import numpy as np

from tfbundle.tensors.arrays import Array
from tfbundle.tensors.distributions import find_histograms, find_quantiles
from tfbundle.tensors.statistics import Picture, Plan, Statistics, as_numbers, join, make_plan, summarize

# Elements that are summarized together; their float64 stay in the processor's cache.
_TOGETHER = 1 << 16


def summarize_rows(rows: Array, shape: tuple[int, ...]) -> list[Statistics]:
    """Return the statistics of each row of numbers, which are the elements of a tensor of this shape."""
    size = rows.shape[1]
    if not size:
        return [Statistics()] * len(rows)
    plan = make_plan(shape)
    step = max(1, _TOGETHER // size)
    with np.errstate(all="ignore"):  # NaNs are compared, and numbers near the largest overflow.
        return list(chain.from_iterable(_some(rows[i : i + step], plan) for i in range(0, len(rows), step)))


def _some(rows: Array, plan: Plan) -> list[Statistics]:
    numbers = as_numbers(rows)
    if numbers.dtype.kind == "c":
        return [join(plan, [summarize(row, 0, plan)]) for row in rows]
    lows, highs = numbers.min(axis=1), numbers.max(axis=1)
    is_finite = np.isfinite(lows) & np.isfinite(highs)
    if is_finite.all():
        return _of_finite(numbers, lows, highs, plan)
    found = iter(_of_finite(numbers[is_finite], lows[is_finite], highs[is_finite], plan))
    return [
        next(found) if finite else join(plan, [summarize(row, 0, plan)])
        for row, finite in zip(rows, is_finite.tolist(), strict=True)
    ]


def _of_finite(numbers: Array, lows: Array, highs: Array, plan: Plan) -> list[Statistics]:
    gaps = numbers.astype(np.float64)
    means = gaps.mean(axis=1)
    samples = np.sort(numbers[:, :: plan.stride], axis=1).astype(np.float64)
    gaps -= means[:, None]
    stds = np.sqrt(np.einsum("ij,ij->i", gaps, gaps) / numbers.shape[1])
    pictures: list[Picture | None] = [None] * len(numbers)
    if plan.pixels is not None:
        pictures = [Picture(plan.rows, plan.columns, row) for row in numbers[:, plan.pixels]]
    return list(
        map(
            Statistics,
            np.count_nonzero(numbers == 0, axis=1).tolist(),
            repeat(0),
            repeat(0),
            lows.tolist(),
            highs.tolist(),
            _finite_or_none(means),
            _finite_or_none(stds),
            find_quantiles(samples),
            find_histograms(samples, lows.astype(np.float64), highs.astype(np.float64)),
            repeat(plan.stride),
            pictures,
        )
    )


def _finite_or_none(column: Array) -> list[float | None]:
    found: list[float | None] = column.tolist()
    return found if np.isfinite(column).all() else [x if np.isfinite(x) else None for x in column.tolist()]
