"""A histogram as one line of bars."""

from __future__ import annotations

import sys

import numpy as np

from tfbundle.tensors.arrays import Array

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"
_COLUMNS = 24


def draw_bars(edges: Array, counts: Array) -> str:
    """Return a histogram as one line of bars, of equal width from the first edge to the last."""
    with np.errstate(all="ignore"):
        grid = np.linspace(edges[0], edges[-1], _COLUMNS + 1)
        if not (np.isfinite(grid).all() and grid[0] < grid[-1] and (counts >= 0).all() and np.isfinite(counts).all()):
            return ""
        below = np.concatenate(([0.0], np.cumsum(counts)))
        heights = np.diff(np.interp(grid, edges, below))
        highest = heights.max()
        if not (np.isfinite(heights).all() and highest > 0):
            return ""
        levels = np.ceil(heights / highest * len(_BARS)).astype(int)
    bars = _BARS if (sys.stdout.encoding or "").lower().startswith("utf") else _ASCII_BARS
    return "".join(bars[level - 1] if level else " " for level in levels)
