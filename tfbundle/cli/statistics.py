"""Statistics of a tensor of any size, computed while it is read in chunks.

Means and squared distances of parts are joined by the formula of Chan, Golub and LeVeque, which does not cancel as
sums of squares do. All is computed in double precision.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite, sqrt
from typing import Any

import numpy as np

from tfbundle.tensors.arrays import Array


class NumberStatistics:
    """Of numbers: ``min``, ``max``, ``mean`` and ``std`` of the finite ones, and how many are zero, NaN and infinite.

    The first four are ``None`` if there is no finite number. Complex numbers are only counted.
    """

    def __init__(self) -> None:
        self.min: int | float | None = None
        self.max: int | float | None = None
        self.zeros = self.nan = self.infinite = 0
        self._count = 0
        self._mean = self._distances = 0.0

    @property
    def mean(self) -> float | None:
        """The mean."""
        return self._mean if self._count and isfinite(self._mean) else None

    @property
    def std(self) -> float | None:
        """The standard deviation of these numbers (not an estimate for others)."""
        return sqrt(self._distances / self._count) if self._count and isfinite(self._distances) else None

    def add(self, values: Array) -> None:
        """Add some elements."""
        # NaNs are compared, and numbers near the largest overflow, so that the mean is not finite.
        with np.errstate(all="ignore"):
            self._add(values)

    def _add(self, values: Array) -> None:
        if values.dtype.isbuiltin != 1:
            values = values.astype(np.int64 if "int" in values.dtype.name else np.float64)
        elif values.dtype.kind == "b":
            values = values.view(np.uint8)
        self.zeros += len(values) - int(np.count_nonzero(values))
        if values.dtype.kind in "fc":
            finite = np.isfinite(values)
            number = int(np.count_nonzero(finite))
            if number != len(values):
                nan = int(np.count_nonzero(np.isnan(values)))
                self.nan += nan
                self.infinite += len(values) - number - nan
                values = values[finite]
        if len(values) and values.dtype.kind != "c":
            self._join(values)

    def _join(self, values: Array) -> None:
        low, high = values.min().item(), values.max().item()
        self.min = low if self.min is None else min(self.min, low)
        self.max = high if self.max is None else max(self.max, high)
        numbers = values.astype(np.float64)
        mean = float(numbers.mean())
        numbers -= mean
        distances = float(np.dot(numbers, numbers))
        before, self._count = self._count, self._count + len(values)
        gap = mean - self._mean
        self._mean += gap * (len(values) / self._count)
        self._distances += distances + gap * gap * (before * len(values) / self._count)

    def facts(self) -> dict[str, int | float | None]:
        """All of them, by name."""
        return {
            "min": self.min,
            "max": self.max,
            "mean": self.mean,
            "std": self.std,
            "zeros": self.zeros,
            "nan": self.nan,
            "infinite": self.infinite,
        }


class StringStatistics:
    """Of strings: the shortest and longest length, and all lengths together, in bytes."""

    def __init__(self) -> None:
        self._min: int | None = None
        self._max: int | None = None
        self._total = 0

    def add(self, values: Array) -> None:
        """Take in some elements."""
        lengths = [len(element) for element in values]
        if lengths:
            self._min = min(lengths) if self._min is None else min(self._min, *lengths)
            self._max = max(lengths) if self._max is None else max(self._max, *lengths)
            self._total += sum(lengths)

    def facts(self) -> dict[str, int | None]:
        """All of them, by name."""
        return {"min_length": self._min, "max_length": self._max, "total_length": self._total}


def gather(chunks: Iterable[Array], data_type: str) -> dict[str, Any]:
    """Return the statistics of a tensor by name; none of a variant's, whose elements are values of other kinds."""
    statistics = StringStatistics() if data_type == "DT_STRING" else NumberStatistics()
    for chunk in chunks:
        if data_type != "DT_VARIANT":
            statistics.add(chunk)
    return {} if data_type == "DT_VARIANT" else statistics.facts()
