"""Overlaps of boxes that no single dimension tells apart: found, disproved or refused, and soon."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import Extents, tilings
from tfbundle.errors import UnsupportedError
from tfbundle.limits import MOST_EXTENTS, MOST_SLICES
from tfbundle.tensors import overlaps
from tfbundle.tensors.overlaps import Column, Effort, find_overlap
from tfbundle.tensors.slices import check_count


def edges(boxes: list[Extents]) -> tuple[Column, Column]:
    starts = np.array([[start for start, _ in box] for box in boxes], np.int64)
    return starts, starts + np.array([[length for _, length in box] for box in boxes], np.int64)


def find(boxes: list[Extents]) -> tuple[int, int] | None:
    return find_overlap(*edges(boxes))


def overlap(one: Extents, two: Extents) -> bool:
    return all(a < b + m and b < a + n for (a, n), (b, m) in zip(one, two, strict=True))


def strips(count: int, length: int = 1_000_000) -> list[Extents]:
    """Long strips along either dimension, half of them each, so that sorting along one leaves half of all pairs."""
    lying: list[Extents] = [((number, length), (2 * number, 1)) for number in range(count // 2)]
    return lying + [((2 * length + 2 * number, 1), (number, length)) for number in range(count // 2)]


def woven(count: int) -> list[Extents]:
    """Bars along each of three dimensions that pass each other: every plane cuts many."""
    side = int((count / 3) ** 0.5)
    length = 3 * side
    bars: list[Extents] = []
    for i in range(side):
        for j in range(side):
            bars.append(((0, length), (3 * i, 1), (3 * j + 1, 1)))
            bars.append(((3 * i + 1, 1), (0, length), (3 * j + 2, 1)))
            bars.append(((3 * i, 1), (3 * j + 2, 1), (0, length)))
    return bars


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes are cut as long as a plane separates any."""
    monkeypatch.setattr(overlaps, "_FEW_PAIRS", 0)


@given(tilings(), st.data(), st.sampled_from([0, 1, 64]), st.sampled_from([1, 3, 1 << 16]))
def test_every_way_finds_what_comparing_each_with_each_finds(
    tiling: tuple[tuple[int, ...], list[Extents]], data: st.DataObject, few: int, batch: int
) -> None:
    shape, boxes = tiling
    if not shape or 0 in shape:
        return
    extents = [st.integers(0, whole - 1).flatmap(lambda a, w=whole: st.tuples(st.just(a), st.integers(1, w - a)))
               for whole in shape]  # fmt: skip
    boxes = [box for box in boxes if all(length for _, length in box)] + data.draw(
        st.lists(st.tuples(*extents), max_size=2)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "_FEW_PAIRS", few)
        patch.setattr(overlaps, "_BATCH", batch)
        found = find(boxes)
    pairs = [(one, two) for two in range(len(boxes)) for one in range(two) if overlap(boxes[one], boxes[two])]
    assert (found is None) == (not pairs)
    assert found is None or tuple(sorted(found)) in pairs


@pytest.mark.parametrize("boxes", [strips(400), woven(300)], ids=["strips", "woven"])
@pytest.mark.usefixtures("cutting")
def test_one_overlap_among_many_that_cross(boxes: list[Extents]) -> None:
    assert find(boxes) is None
    for number in (0, len(boxes) // 2, len(boxes) - 2):
        assert sorted(find([*boxes, boxes[number]]) or ()) == [number, len(boxes)]


def test_the_most_slices_take_no_second() -> None:
    grid: list[Extents] = [((i, 1), (j, 1), (k, 1)) for i in range(16) for j in range(32) for k in range(32)]
    for boxes in (grid, strips(MOST_SLICES)):
        assert len(boxes) == MOST_SLICES
        start = time.process_time()
        assert find(boxes) is None
        assert time.process_time() - start < 1


def test_what_no_plane_separates_is_refused() -> None:
    """Few woven bars are compared each with each; the most that a tensor may have would take minutes."""
    assert find(woven(2000)) is None
    start = time.process_time()
    with pytest.raises(UnsupportedError, match="cross each other"):
        find(woven(MOST_SLICES))
    assert time.process_time() - start < 1


def test_extents_are_limited_together() -> None:
    check_count(range(MOST_SLICES), 8)
    check_count(range(MOST_EXTENTS // 254), 254)
    for count, rank in [(MOST_SLICES + 1, 1), (MOST_SLICES, 9), (MOST_EXTENTS // 254 + 1, 254)]:
        with pytest.raises(UnsupportedError, match="are not read"):
            check_count(range(count), rank)


@given(tilings(), st.data())
def test_corners_prove_tilings_and_nothing_else(
    tiling: tuple[tuple[int, ...], list[Extents]], data: st.DataObject
) -> None:
    """Boxes of a tiling of which some are left out, doubled or changed; they tile a box only as counting says."""
    shape, boxes = tiling
    boxes = [box for box in boxes if all(length for _, length in box)]
    if not shape or not boxes:
        return
    for change in data.draw(st.lists(st.sampled_from(["drop", "double", "stretch"]), max_size=2)):
        number = data.draw(st.integers(0, len(boxes) - 1))
        if change == "double":
            boxes.append(boxes[number])
        elif change == "stretch":
            boxes[number] = tuple((start, length + data.draw(st.integers(0, 1))) for start, length in boxes[number])
        elif len(boxes) > 1:
            del boxes[number]
    starts, ends = edges(boxes)
    counts = np.zeros(ends.max(axis=0), int)
    for one, other in zip(starts, ends, strict=True):
        counts[tuple(slice(a, b) for a, b in zip(one, other, strict=True))] += 1
    around = counts[tuple(slice(a, b) for a, b in zip(starts.min(axis=0), ends.max(axis=0), strict=True))]
    varies = bool((starts != starts[0]).any() or (ends != ends[0]).any())
    assert overlaps._is_tiling(starts, ends) == (varies and bool((around == 1).all()))


def test_boxes_at_the_ends_of_64_bits_are_not_confused() -> None:
    """Nine dimensions with 512 boxes have more corners' places than 64 bits have numbers."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 1 << 40, (512, 9)) * 2
    assert find_overlap(starts, starts + 1) is None
    ends = starts + 1
    starts[100], ends[100] = starts[300], ends[300]
    assert sorted(find_overlap(starts, ends) or ()) == [100, 300]
    far = np.array([[0], [1 << 58]], np.int64)
    assert find_overlap(far, far + (1 << 58)) is None
    assert find_overlap(far, far + ((1 << 58) + 1)) == (0, 1)


def test_a_tiling_takes_no_effort_and_what_has_holes_takes_it_from_all() -> None:
    grid: list[Extents] = [((i, 1), (j, 1)) for i in range(64) for j in range(64)]
    holes = grid[1:]
    effort = Effort()
    whole = effort.left
    for boxes in (grid, holes[:64]):
        assert find_overlap(*edges(boxes), effort) is None
        assert effort.left == whole  # A few boxes take none either.
    assert find_overlap(*edges(holes[:65]), effort) is None
    assert effort.left < whole
    times = whole // (whole - effort.left) + 1
    more = edges(holes[:1000])  # Each takes more than those, and all together are compared sooner.
    with pytest.raises(UnsupportedError, match="cross each other"):
        _ = [find_overlap(*more, effort) for _ in range(times)]
    assert find_overlap(*edges(grid), effort) is None
    assert find_overlap(*edges(holes)) is None
