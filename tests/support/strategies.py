"""Hypothesis strategies that several test files share."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

Extents = tuple[tuple[int, int], ...]


@st.composite
def indexes(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """A valid basic index of an array of ``shape``."""
    ends = st.none() | st.integers(-9, 9)
    slices = st.builds(slice, ends, ends, st.none() | st.integers(-4, 4).filter(bool))
    items: list[Any] = [
        draw(slices | st.integers(-length, length - 1) if length else slices)
        for length in shape[: draw(st.integers(0, len(shape)))]
    ]
    if draw(st.booleans()):
        # What is left out in the middle keeps its place if the items after it belong to the last dimensions.
        kept = draw(st.integers(0, len(items)))
        behind = [draw(slices) for _ in shape[len(shape) - draw(st.integers(0, len(shape) - kept)) :]]
        items = [*items[:kept], Ellipsis, *behind]
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), np.newaxis)
    return tuple(items) if len(items) != 1 or draw(st.booleans()) else items[0]


@st.composite
def tilings(draw: st.DrawFn, most_cuts: int = 12) -> tuple[tuple[int, ...], list[Extents]]:
    """A shape, and boxes that tile it in any way, in any order; some may have no elements."""
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple))
    tiles: list[Extents] = [tuple((0, length) for length in shape)]
    for _ in range(draw(st.integers(0, most_cuts))):
        tile = tiles.pop(draw(st.integers(0, len(tiles) - 1)))
        axis = draw(st.integers(0, len(shape) - 1))
        start, length = tile[axis]
        cut = draw(st.integers(0, length))  # A cut at an end leaves a box without elements.
        for part in ((start, cut), (start + cut, length - cut)):
            tiles.append((*tile[:axis], part, *tile[axis + 1 :]))
    return shape, draw(st.permutations(tiles))
