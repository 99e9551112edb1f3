"""Boxes of partitioned tensors: where they lie, whether they overlap, and what they leave out."""

import itertools
import re
import time
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import Extents, tilings
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.tensors.slices import TensorSlice, check_disjoint, find_gap, find_uncovered, locate_slice


def box(*extents: tuple[int, int]) -> TensorSlice:
    """A slice with explicit extents, in a tensor that is as large as need be."""
    return locate_slice(extents, tuple(start + length for start, length in extents))


def counts_of(slices: list[TensorSlice], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """How many slices hold each element."""
    counts = np.zeros(shape, int)
    for box in slices:
        counts[box.index] += 1
    return counts


def region_of(text: str) -> tuple[slice, ...]:
    """A box in numpy's notation as an index."""
    assert re.fullmatch(r"\[(\d+:\d+(, \d+:\d+)*)?\]", text)
    return tuple(slice(*map(int, part.split(":"))) for part in re.findall(r"\d+:\d+", text))


def test_a_slice_knows_its_box() -> None:
    box = locate_slice([(2, 3), (0, -1), (0, 4)], (6, 7, 4))
    assert box.starts == (2, 0, 0)
    assert box.lengths == (3, 7, 4)
    assert box.extents == ((2, 3), (0, -1), (0, 4))
    assert box.volume == 84
    assert box.index == (slice(2, 5), slice(0, 7), slice(0, 4))
    assert str(box) == "[2:5, 0:7, 0:4]"
    assert locate_slice([], ()).volume == 1
    assert str(locate_slice([], ())) == "[]"


@pytest.mark.parametrize(
    ("extents", "shape"),
    [
        ([(0, 1)], ()),
        ([], (1,)),
        ([(0, 1)], (2, 2)),
        ([(0, 3)], (2,)),
        ([(1, 2)], (2,)),
        ([(-1, 2)], (2,)),
        ([(3, 0)], (2,)),
        ([(0, -2)], (2,)),
        ([(1, -1)], (2,)),
        ([(2**63 - 1, 2**63 - 1)], (2,)),
        ([(-(2**63), -(2**63))], (2,)),
    ],
)
def test_a_box_outside_of_its_tensor(extents: list[tuple[int, int]], shape: tuple[int, ...]) -> None:
    with pytest.raises(FormatError):
        locate_slice(extents, shape)


def test_empty_boxes_at_the_edge_are_inside() -> None:
    assert locate_slice([(2, 0), (0, 3)], (2, 3)).volume == 0
    assert locate_slice([(0, -1)], (0,)).volume == 0


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ([box((0, 2)), box((1, 2))], r"[0:2] and [1:3]"),
        ([box((0, 2)), box((0, 2))], r"[0:2] and [0:2]"),
        ([box((0, 9), (0, 9)), box((4, 1), (4, 1))], r"[0:9, 0:9] and [4:5, 4:5]"),
        ([box((0, 1), (0, 9)), box((2, 1), (0, 9)), box((0, 9), (4, 1))], "overlap"),
    ],
)
def test_overlap_names_both_slices(slices: list[TensorSlice], message: str) -> None:
    with pytest.raises(FormatError, match=re.escape(message)):
        check_disjoint(slices)


def test_several_slices_without_dimensions() -> None:
    check_disjoint([box()])
    with pytest.raises(FormatError):
        check_disjoint([box(), box()])


def test_slices_without_elements_overlap_nothing() -> None:
    check_disjoint([box((0, 4)), box((2, 0)), box((2, 0))])
    check_disjoint([])


@pytest.mark.parametrize(
    ("slices", "shape", "gap"),
    [
        ([], (3,), "[0:3]"),
        ([], (2, 3), "[0:2, 0:3]"),
        ([], (), "[]"),
        ([box()], (), None),
        ([], (0, 4), None),
        ([box((0, 3))], (3,), None),
        ([box((1, 2))], (3,), "[0:1]"),
        ([box((0, 1)), box((2, 1))], (3,), "[1:2]"),
        ([box((0, 2), (0, 4)), box((2, 1), (0, 3))], (4, 4), "[2:3, 3:4]"),
        ([box((0, 2), (0, 2)), box((2, 2), (2, 2))], (4, 4), "[0:2, 2:4]"),
    ],
)
def test_known_gaps(slices: list[TensorSlice], shape: tuple[int, ...], gap: str | None) -> None:
    assert find_gap(slices, shape) == gap


@given(tilings())
def test_tilings_are_complete_and_disjoint(tiling: tuple[tuple[int, ...], list[Extents]]) -> None:
    shape, tiles = tiling
    slices = [locate_slice(tile, shape) for tile in tiles]
    check_disjoint(slices)
    assert find_gap(slices, shape) is None


@given(tilings(), st.data())
def test_gaps_of_tilings_with_holes(tiling: tuple[tuple[int, ...], list[Extents]], data: st.DataObject) -> None:
    shape, tiles = tiling
    kept = [tile for tile in tiles if data.draw(st.booleans())]
    slices = [locate_slice(tile, shape) for tile in kept]
    check_disjoint(slices)
    counts = counts_of(slices, shape)
    gap = find_gap(slices, shape)
    if gap is None:
        assert counts.all()
        return
    region = counts[region_of(gap)]
    assert region.size
    assert not region.any()
    first = np.argwhere(counts == 0)[0]
    assert all(part.start <= position < part.stop for part, position in zip(region_of(gap), first, strict=True))


@given(tilings(), st.data())
def test_overlaps_by_counting(tiling: tuple[tuple[int, ...], list[Extents]], data: st.DataObject) -> None:
    """Boxes of a tiling, some of them moved or stretched: they overlap where counting says so."""
    shape, tiles = tiling
    moved = []
    for tile in tiles:
        if data.draw(st.booleans()):
            tile = tuple(
                (start := data.draw(st.integers(0, whole)), data.draw(st.integers(0, whole - start))) for whole in shape
            )
        moved.append(tile)
    slices = [locate_slice(tile, shape) for tile in moved]
    if (counts_of(slices, shape) > 1).any():
        with pytest.raises(FormatError, match="overlap"):
            check_disjoint(slices)
    else:
        check_disjoint(slices)


def test_every_pair_of_boxes() -> None:
    shape = (3, 2)
    ranges = [[(a, n) for a in range(length + 1) for n in range(length + 1 - a)] for length in shape]
    boxes = [locate_slice(extents, shape) for extents in itertools.product(*ranges)]
    for pair in itertools.product(boxes, repeat=2):
        counts = counts_of(list(pair), shape)
        try:
            check_disjoint(pair)
        except FormatError:
            assert counts.max() == 2
            continue
        assert counts.max() < 2
        gap = find_gap(pair, shape)
        assert (gap is None) == bool(counts.all())
        if gap is not None:
            assert not counts[region_of(gap)].any()


def test_many_slices_are_quick() -> None:
    """Ten thousand slices of either direction; comparing each with each would take minutes."""
    for axis in (0, 1):
        extents = [[(0, 100), (0, 100)] for _ in range(10_000)]
        for number, extent in enumerate(extents):
            extent[axis] = (number * 3, 3)
        shape = tuple(30_000 if dimension == axis else 100 for dimension in (0, 1))
        slices = [locate_slice(extent, shape) for extent in extents]
        check_disjoint(slices)
        assert find_gap(slices, shape) is None
        del slices[5000]
        assert region_of(str(find_gap(slices, shape)))[axis] == slice(15_000, 15_003)


@given(st.lists(st.tuples(st.integers(), st.integers()), max_size=3), st.lists(st.integers(0, 9), max_size=3))
def test_any_extents_are_a_box_inside_or_an_error(extents: list[tuple[int, int]], shape: list[int]) -> None:
    try:
        box = locate_slice(extents, tuple(shape))
    except FormatError:
        return
    assert np.zeros(shape)[box.index].size == box.volume == prod(box.lengths)


@given(tilings(), st.data())
def test_uncovered_boxes_by_counting(tiling: tuple[tuple[int, ...], list[Extents]], data: st.DataObject) -> None:
    shape, tiles = tiling
    kept = [locate_slice(tile, shape) for tile in tiles if data.draw(st.booleans())]
    if not kept:
        return
    counts = counts_of(kept, shape)
    boxes = [locate_slice(tile, shape) for tile in tiles]
    for _ in range(data.draw(st.integers(0, 3))):
        extents = [(start := data.draw(st.integers(0, n)), data.draw(st.integers(0, n - start))) for n in shape]
        boxes.append(locate_slice(extents, shape))
    absent = next((box for box in boxes if not counts[box.index].all()), None)
    found = find_uncovered(boxes, kept)
    # Those that are a slice are known first.
    assert (found is None) == (absent is None)
    assert found is None or not counts[found.index].all()


def test_many_regions_of_many_slices() -> None:
    """Regions that are slices, or lie beside few, are soon compared; each with each is refused."""
    shape = (40_000, 4)
    rows = [locate_slice([(2 * number, 2), (0, -1)], shape) for number in range(10_000)]
    shifted = [locate_slice([(2 * number + 1, 2), (0, -1)], shape) for number in range(9_999)]
    assert find_uncovered(rows, rows) is None
    start = time.process_time()
    assert find_uncovered(shifted, rows) is None
    assert time.process_time() - start < 1
    behind = locate_slice([(19_999, 2), (0, -1)], shape)
    assert find_uncovered([*shifted, behind], rows) is behind
    everything = [locate_slice([(0, 20_000 - number), (0, -1)], shape) for number in range(1, 1000)]
    with pytest.raises(UnsupportedError, match="meet too often"):
        find_uncovered(everything, rows)
