"""Quantiles and histograms of many samples at once.

Samples are the rows of a matrix of float64, each sorted::

    sample 0   -1.3  -0.2  0.1  0.9     quantiles: columns at the same places, interpolated
    sample 1    0.0   0.0  2.5  7.1     histogram: where the edges of a row's bins belong in the row

The edges of the bins are not those of the sample, but of the tensor that it was taken from.
"""

from __future__ import annotations

import numpy as np

from tfbundle.tensors.arrays import Array

BINS = 40
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def find_quantiles(samples: Array) -> list[tuple[float, ...]]:
    """Return the quantiles of each sample, interpolated as ``numpy.quantile`` does; none of samples without numbers."""
    length = samples.shape[1]
    if not length:
        return [()] * len(samples)
    places = np.array(QUANTILES) * (length - 1)
    below = places.astype(np.int64)
    part = places - below
    # Neither product overflows, whatever the numbers.
    found = samples[:, below] * (1 - part) + samples[:, np.minimum(below + 1, length - 1)] * part
    return list(map(tuple, found.tolist()))


def find_histograms(samples: Array, lows: Array, highs: Array) -> list[tuple[int, ...]]:
    """Return how many numbers of each sample are in each of ``BINS`` equal bins from its ``low`` to its ``high``.

    A sample without numbers, or with ``low`` and ``high`` equal, has no bins.
    """
    length = samples.shape[1]
    if not length:
        return [()] * len(samples)
    lows, highs = lows[:, None], highs[:, None]
    steps = np.arange(1, BINS)
    spans = highs - lows
    edges = lows + spans * steps / BINS
    if not np.isfinite(spans).all():  # Not the halves of the two.
        edges = np.where(np.isfinite(spans), edges, lows * (1 - steps / BINS) + highs * (steps / BINS))
    places = np.empty((len(samples), BINS + 1), np.int64)
    places[:, 0], places[:, -1] = 0, length
    for place, sample, row in zip(places, samples, edges, strict=True):
        place[1:-1] = sample.searchsorted(row)
    counts = map(tuple, np.diff(places).tolist())
    return [() if span == 0 else count for count, span in zip(counts, spans[:, 0].tolist(), strict=True)]
