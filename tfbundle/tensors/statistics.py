"""Statistics of a tensor of any size, computed from chunks in one pass, on any number of threads.

::

    chunk 0 ──summarize──> Part ─┐
    chunk 1 ──summarize──> Part ─┼─ join, in order ──> Statistics
    chunk 2 ──summarize──> Part ─┘

Minimum, maximum, mean, standard deviation, and the counts of zeros, NaNs and infinities cover every element. Means and
squared distances of chunks are joined by the formula of Chan, Golub and LeVeque, which does not cancel as sums of
squares do; within a chunk, values far from zero are shifted first. float32 and smaller types are summed as float32 in
rows of 4096 elements, so mean and standard deviation have about six correct digits.

Every pass over a chunk of a megabyte takes as long as half of its checksum, so there are five: zeros, minimum, maximum,
sum, and sum of squares. The last two are calls of einsum and BLAS, whose rows are too short for BLAS to start threads.
Small tensors are summarized many at a time (``row_statistics``).

The histogram and the quantiles of a tensor of more than ``EXACT`` elements are those of a sample: one in ``stride``
elements, in even distances. The stride is a prime number that divides no dimension, so that it meets every column. A
matrix or kernel also becomes a picture: its elements at evenly spaced rows and columns, without a sample in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite, prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from tfbundle.tensors.arrays import Array
from tfbundle.tensors.distributions import find_histograms, find_quantiles

EXACT = 1 << 12
"""Up to this many elements, histogram and quantiles are exact."""
PICTURE = 48
"""A picture has at most this many rows and columns."""

_ROW = 4096
# Numbers are shifted before they are squared if the square of their mean is this many times their variance.
_FAR = 4.0
# Squares of smaller numbers lose digits in float32.
_LEAST = 1e-30


class Picture(NamedTuple):
    """Elements of a matrix at evenly spaced rows and columns; ``values`` are in rows, NaN and infinities included."""

    rows: int
    columns: int
    values: Array


class Statistics(NamedTuple):
    """The statistics of a tensor of numbers.

    ``min``, ``max``, ``mean``, ``std`` and ``quantiles`` (at ``QUANTILES``) are those of the finite elements, and
    ``None`` or empty if there are none. ``counts`` is a histogram of ``BINS`` equal bins from ``min`` to ``max``.
    ``stride`` is 1 if histogram and quantiles are exact; otherwise they are those of one in ``stride`` elements.
    Complex numbers are only counted.
    """

    zeros: int = 0
    nan: int = 0
    infinite: int = 0
    min: int | float | None = None
    max: int | float | None = None
    mean: float | None = None
    std: float | None = None
    quantiles: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    stride: int = 1
    picture: Picture | None = None


class Plan(NamedTuple):
    """Which elements of a tensor, by flat index, are sampled, and which are in its picture (``None`` without one)."""

    stride: int
    pixels: Array | None
    rows: int
    columns: int


class Part(NamedTuple):
    """The statistics of one chunk; ``finite`` counts its finite elements, and ``mean`` and
    ``distances`` are theirs.
    """

    zeros: int
    nan: int
    infinite: int
    finite: int
    min: int | float | None
    max: int | float | None
    mean: float
    distances: float
    sample: Array
    pixels: Array | None


@lru_cache(1024)
def make_plan(shape: tuple[int, ...]) -> Plan:
    """Return the plan for a tensor of this shape."""
    size = prod(shape)
    stride = 1 if size <= EXACT else _prime_beside(-(-size // EXACT), shape)
    rows, columns = _matrix(shape)
    if min(rows, columns) < 2:
        return Plan(stride, None, 0, 0)
    across = _spaced(rows)[:, None] * columns + _spaced(columns)[None, :]
    return Plan(stride, across.reshape(-1), *across.shape)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns of the matrix that a tensor is drawn as; the last dimension is that of columns."""
    shape = tuple(length for length in shape if length != 1)
    return (prod(shape[:-1]), shape[-1]) if len(shape) >= 2 else (0, 0)


def _spaced(length: int) -> Array:
    """Return up to ``PICTURE`` evenly spaced numbers below ``length``."""
    count = min(length, PICTURE)
    return (np.arange(count, dtype=np.int64) * length + length // 2) // count if count < length else np.arange(length)


def _prime_beside(number: int, shape: tuple[int, ...]) -> int:
    """Return the first prime number from ``number`` on that divides no dimension."""
    while (
        number < 2 or any(number % factor == 0 for factor in range(2, int(sqrt(number)) + 1)) or _divides(number, shape)
    ):
        number += 1
    return number


def _divides(number: int, shape: tuple[int, ...]) -> bool:
    return any(length and length % number == 0 for length in shape)


def summarize(values: Array, start: int, plan: Plan) -> Part:
    """Return the statistics of a flat array of numbers; ``start`` is the index of its first element in the tensor."""
    with np.errstate(all="ignore"):  # NaNs are compared, and numbers near the largest overflow.
        return _summarize(values, start, plan)


def _summarize(values: Array, start: int, plan: Plan) -> Part:
    values = as_numbers(values)
    sample = values[-start % plan.stride :: plan.stride].copy()
    pixels = None
    if plan.pixels is not None:
        first, last = np.searchsorted(plan.pixels, [start, start + len(values)])
        pixels = values[plan.pixels[first:last] - start]
    is_zero = values == 0
    zeros = int(np.count_nonzero(is_zero)) if is_zero.any() else 0  # As a rule there are none, which is quicker to see.
    if values.dtype.kind == "c":
        nan = int(np.count_nonzero(np.isnan(values)))
        infinite = len(values) - int(np.count_nonzero(np.isfinite(values))) - nan
        return Part(zeros, nan, infinite, 0, None, None, 0.0, 0.0, sample[:0].real, None)
    nan = infinite = 0
    low, high = _extremes(values)
    if values.dtype.kind == "f" and not (isfinite(low) and isfinite(high)):
        # NaN is the minimum of what contains one.
        nan = int(np.count_nonzero(np.isnan(values)))
        finite = values[np.isfinite(values)]
        infinite = len(values) - len(finite) - nan
        values, sample = finite, sample[np.isfinite(sample)]
        low, high = _extremes(values)
    if not len(values):
        return Part(zeros, nan, infinite, 0, None, None, 0.0, 0.0, sample, pixels)
    mean, distances = _moments(values)
    return Part(zeros, nan, infinite, len(values), low, high, mean, distances, sample, pixels)


def as_numbers(values: Array) -> Array:
    """Return the elements in a type of the same numbers that numpy calculates with: float32 or int32 for small types
    that only ``ml_dtypes`` has and for float16, ``uint8`` for ``bool``.
    """
    dtype = values.dtype
    if dtype.kind == "b":
        return values.view(np.uint8)
    if dtype.isbuiltin == 1 and dtype != np.float16:
        return values
    if dtype.name == "bfloat16":  # Its conversion is quick.
        return values.astype(np.float32)
    found: Array = _numbers_of(dtype).take(values.view(f"u{dtype.itemsize}"))
    return found


@lru_cache(None)
def _numbers_of(dtype: np.dtype[Any]) -> Array:
    """Return the numbers of all codes of a type, which are found far sooner in this table than by conversion."""
    bits = 8 * dtype.itemsize
    codes = np.arange(1 << bits).astype(f"u{dtype.itemsize}").view(dtype)
    return codes.astype(np.int32 if "int" in dtype.name else np.float32)


def _extremes(values: Array) -> tuple[Any, Any]:
    return (values.min().item(), values.max().item()) if len(values) else (0, 0)


def _moments(values: Array) -> tuple[float, float]:
    """Return the mean, and the sum of squared distances from it."""
    if values.dtype.itemsize <= 2:
        values = values.astype(np.float32)
    elif values.dtype != np.float32:
        return _exact_moments(values)
    total, squares = _sums(values)
    shift = 0.0
    if total * total > _FAR * (squares * len(values) - total * total):
        # Most digits of the squares are those of the mean, so distances from a number near it are squared instead.
        shift = float(np.float32(total / len(values)))
        total, squares = _sums(values - np.float32(shift))
    distances = squares - total * total / len(values)
    if not isfinite(distances) or squares < _LEAST:
        return _exact_moments(values)
    return shift + total / len(values), max(0.0, distances)


def _exact_moments(values: Array) -> tuple[float, float]:
    numbers = values.astype(np.float64)
    mean = float(numbers.mean())
    numbers -= mean
    return mean, _sums(numbers)[1]


def _sums(values: Array) -> tuple[float, float]:
    """Return the sum of floats and of their squares; rows of them are summed in their own type."""
    whole = len(values) // _ROW * _ROW
    rows, rest = values[:whole].reshape(-1, _ROW), values[whole:].astype(np.float64)
    total, squares = float(rest.sum()), float((rest * rest).sum())
    if len(rows):
        total += float(np.einsum("ij->i", rows).sum(dtype=np.float64))
        squares += float(np.matmul(rows[:, None, :], rows[:, :, None]).sum(dtype=np.float64))
    return total, squares


def join(plan: Plan, parts: Iterable[Part]) -> Statistics:
    """Return the statistics of a whole tensor from those of its chunks, in order."""
    gathering = _Gathering(plan)
    for part in parts:
        gathering.add(part)
    return gathering.finish()


@dataclass
class _Gathering:
    """The statistics of a tensor's chunks so far."""

    plan: Plan
    zeros: int = 0
    nan: int = 0
    infinite: int = 0
    _count: int = 0
    _min: Any = None
    _max: Any = None
    _mean: float = 0.0
    _distances: float = 0.0
    _samples: list[Array] = field(default_factory=list)
    _pixels: list[Array] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Add the statistics of the next chunk."""
        self.zeros += part.zeros
        self.nan += part.nan
        self.infinite += part.infinite
        if part.pixels is not None:
            self._pixels.append(part.pixels)
        if not part.finite:
            return
        self._samples.append(part.sample)
        self._min = part.min if self._min is None else min(self._min, part.min)
        self._max = part.max if self._max is None else max(self._max, part.max)
        before, self._count = self._count, self._count + part.finite
        gap = part.mean - self._mean
        self._mean += gap * (part.finite / self._count)
        self._distances += part.distances
        if before:  # The square of the first gap may overflow.
            self._distances += gap * gap * (before * part.finite / self._count)

    def finish(self) -> Statistics:
        """Return the statistics of the whole tensor."""
        picture = None
        if self._pixels and self.plan.pixels is not None:
            pixels = np.concatenate(self._pixels)
            if len(pixels) == self.plan.rows * self.plan.columns:
                picture = Picture(self.plan.rows, self.plan.columns, pixels)
        if not self._count:
            return Statistics(self.zeros, self.nan, self.infinite, picture=picture)
        with np.errstate(all="ignore"):
            sample = np.sort(np.concatenate(self._samples)).astype(np.float64)[None]
            extremes = np.array([[self._min], [self._max]], np.float64)
            quantiles, counts = find_quantiles(sample), find_histograms(sample, *extremes)
        mean, variance = self._mean, self._distances / self._count
        return Statistics(
            self.zeros,
            self.nan,
            self.infinite,
            self._min,
            self._max,
            mean if isfinite(mean) else None,
            sqrt(variance) if isfinite(variance) else None,
            quantiles[0],
            counts[0],
            self.plan.stride,
            picture,
        )
