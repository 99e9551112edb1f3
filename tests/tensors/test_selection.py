"""Index expressions against numpy, and the bytes that a selection reads."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import indexes
from tfbundle.tensors import selection as module
from tfbundle.tensors.selection import Selection, Span, intersect, parse_index, plan_reads

Array = np.ndarray[Any, np.dtype[Any]]

ENDS = (None, *range(-4, 5))
STEPS = (None, 1, 2, 3, -1, -2, -3, 100, -100)
EVERY_SLICE = [slice(*parts) for parts in itertools.product(ENDS, ENDS, STEPS)]
SOME_SLICES = [slice(None), slice(1, None), slice(None, None, -1), slice(-2, None), slice(1, 1), slice(0, 9, 2)]
SOME_ITEMS = [0, 1, -1, *SOME_SLICES]


@contextmanager
def limits(gap: int, window: int) -> Iterator[None]:
    """Other limits than those made for disks, so that a few bytes are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GAP", gap)
        patch.setattr(module, "WINDOW", window)
        yield


def numbered(shape: tuple[int, ...], dtype: str = "<i2") -> Array:
    """An array whose elements are all different."""
    return np.arange(prod(shape), dtype=dtype).reshape(shape)


def select(array: Array, index: Any) -> tuple[Any, list[Span]]:
    """What reading ``index`` gives when the array's bytes are the file, and the spans that were read."""
    data = array.tobytes()
    selection = parse_index(index, array.shape)
    spans = list(plan_reads(selection, array.shape, array.itemsize))
    block = np.full(selection.counts, 99, array.dtype)
    for span in spans:
        assert span.offset >= 0
        assert span.offset + span.size <= len(data)
        piece = data[span.offset : span.offset + span.size]
        block[span.target] = np.ndarray(span.counts, array.dtype, piece, strides=span.strides)
    return selection.finish(block), spans


def check_like_numpy(array: Array, index: Any) -> None:
    """The same values, shape and kind as ``array[index]``, from spans in the order of the file."""
    wanted = array[index]
    found, spans = select(array, index)
    assert type(found) is type(wanted)
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_array_equal(found, wanted)
    assert all(before.offset + before.size <= after.offset for before, after in pairwise(spans))
    assert bool(spans) == bool(np.size(wanted))
    check_economy(array, index, spans)


def check_economy(array: Array, index: Any, spans: list[Span]) -> None:
    """A span reads what is wanted and short gaps, begins and ends with a wanted byte, and keeps to the window."""
    marks = np.zeros(array.shape, bool)
    marks[index] = True
    wanted = np.flatnonzero(np.repeat(marks, array.itemsize))
    covered = 0
    for span in spans:
        assert span.size <= max(module.WINDOW, array.itemsize)
        here = wanted[(wanted >= span.offset) & (wanted < span.offset + span.size)]
        covered += len(here)
        assert here[0] == span.offset
        assert here[-1] == span.offset + span.size - 1
        assert np.diff(here).max(initial=1) - 1 <= module.GAP
    assert covered == len(wanted)


@pytest.mark.parametrize("length", [0, 1, 3, 4])
def test_every_slice_of_a_vector(length: int) -> None:
    array = numbered((length,))
    for index in EVERY_SLICE:
        check_like_numpy(array, index)


@pytest.mark.parametrize(("gap", "window"), [(4096, 4 << 20), (0, 1), (0, 8), (3, 12), (2, 100), (100, 5)])
@pytest.mark.parametrize("shape", [(3, 4), (1, 5), (4, 1), (0, 3), (3, 0)])
def test_products_of_slices_of_a_matrix(shape: tuple[int, ...], gap: int, window: int) -> None:
    array = numbered(shape)
    with limits(gap, window):
        for index in itertools.product(SOME_SLICES, EVERY_SLICE[::7]):
            check_like_numpy(array, index)
        for index in itertools.product(EVERY_SLICE[::11], SOME_SLICES):
            check_like_numpy(array, index)


@pytest.mark.parametrize(("gap", "window"), [(4096, 4 << 20), (0, 4), (4, 20), (9, 40)])
def test_products_of_items_of_three_dimensions(gap: int, window: int) -> None:
    array = numbered((3, 2, 4))
    with limits(gap, window):
        for index in itertools.product(SOME_ITEMS, repeat=3):
            check_like_numpy(array, index)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 2)])
def test_ellipsis_and_newaxis_everywhere(shape: tuple[int, ...]) -> None:
    array = numbered(shape)
    items = [0, -1, slice(None, None, -1), Ellipsis, np.newaxis]
    for count in range(len(shape) + 3):
        for index in itertools.product(items, repeat=count):
            try:
                array[index]
            except IndexError:
                with pytest.raises(IndexError):
                    parse_index(index, shape)
                continue
            check_like_numpy(array, index)
    for index in [(), Ellipsis, np.newaxis]:
        check_like_numpy(array, index)


def test_scalars_and_arrays_without_dimensions() -> None:
    """numpy gives a scalar where all dimensions are integers, and an array where an ellipsis stands."""
    array = numbered((2, 3))
    assert isinstance(select(array, (0, 0))[0], np.int16)
    assert isinstance(select(array, (0, 0, Ellipsis))[0], np.ndarray)
    assert isinstance(select(numbered(()), ())[0], np.int16)
    assert isinstance(select(numbered(()), Ellipsis)[0], np.ndarray)


@pytest.mark.parametrize("integer", [np.int8(1), np.uint64(1), np.int64(-1), 2])
def test_anything_with_an_index_is_an_integer(integer: Any) -> None:
    check_like_numpy(numbered((3, 2)), integer)
    check_like_numpy(numbered((3, 2)), (slice(integer), 1))


class Item:
    """An integer by ``__index__`` alone."""

    def __index__(self) -> int:
        return 1


def test_own_class_as_integer() -> None:
    check_like_numpy(numbered((3, 2)), Item())
    check_like_numpy(numbered((3, 2)), (slice(Item()), Item()))


@pytest.mark.parametrize("index", [3, -4, (0, 2), (0, -3), (0, 0, 0), (..., ...), (0, 0, ..., 0), 2**70, -(2**70)])
def test_index_error(index: Any) -> None:
    with pytest.raises(IndexError):
        numbered((3, 2))[index]
    with pytest.raises(IndexError):
        parse_index(index, (3, 2))


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_integers_of_empty_dimensions(shape: tuple[int, ...]) -> None:
    for index in [(0,) * max(len(shape), 1), (-1,) * max(len(shape), 1)]:
        with pytest.raises(IndexError):
            numbered(shape)[index]
        with pytest.raises(IndexError):
            parse_index(index, shape)


@pytest.mark.parametrize(
    "index",
    [
        [0, 1],
        [],
        np.array([0, 1]),
        np.array([True, False, True]),
        True,
        np.True_,
        1.0,
        "0",
        b"0",
        (0, [1]),
        (True, 0),
        slice("a"),
        slice(1.5),
        (slice(None), slice(None, None, 0.5)),
        {0},
        {},
        object(),
    ],
)
def test_advanced_indexing_is_a_type_error(index: Any) -> None:
    with pytest.raises(TypeError):
        parse_index(index, (3, 2))


def test_step_zero() -> None:
    with pytest.raises(ValueError, match="step"):
        parse_index(slice(None, None, 0), (3,))


SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@given(st.data(), SHAPES, st.sampled_from(["u1", "<i2", "<i8", "<c16"]), st.integers(0, 40), st.integers(1, 300))
def test_any_index_of_any_shape(data: st.DataObject, shape: tuple[int, ...], dtype: str, gap: int, window: int) -> None:
    array = numbered(shape, dtype)
    with limits(gap, window):
        check_like_numpy(array, data.draw(indexes(shape)))


# Economy.


def spans_of(index: Any, shape: tuple[int, ...], itemsize: int = 4) -> list[Span]:
    return list(plan_reads(parse_index(index, shape), shape, itemsize))


def test_neighbouring_rows_are_one_read() -> None:
    (span,) = spans_of(slice(10, 20), (1000, 256))
    assert (span.offset, span.size) == (10 * 1024, 10 * 1024)


def test_short_gaps_are_read_along() -> None:
    assert len(spans_of((slice(None), slice(0, 100)), (1000, 256))) == 1
    assert len(spans_of((slice(None), 0), (100, 1024))) == 1


def test_long_gaps_are_not() -> None:
    spans = spans_of((slice(None), slice(0, 10)), (1000, 4096))
    assert len(spans) == 1000
    assert sum(span.size for span in spans) == 1000 * 40


def test_windows_are_bounded() -> None:
    """All of an array of 4 TiB, as far as it has been planned."""
    whole = plan_reads(parse_index(..., (1 << 20, 1 << 20)), (1 << 20, 1 << 20), 4)
    for span in itertools.islice(whole, 100):
        assert span.size == module.WINDOW
    # Rows that are longer than a window are cut within the row.
    row = list(plan_reads(parse_index(3, (4, 5 << 20)), (4, 5 << 20), 4))
    assert sum(span.size for span in row) == 20 << 20
    assert max(span.size for span in row) <= module.WINDOW


def test_numbers_beyond_64_bits() -> None:
    shape = (1 << 40, 1 << 40)
    (span,) = spans_of((-1, -1), shape, 8)
    assert (span.offset, span.size) == ((1 << 83) - 8, 8)


def test_one_element_of_a_huge_tensor() -> None:
    (span,) = spans_of((123_456, 7, ..., 5), (1 << 20, 10, 1, 10))
    assert (span.offset, span.size) == ((123_456 * 100 + 75) * 4, 4)


def test_a_step_over_many_pages_reads_single_elements() -> None:
    spans = spans_of(slice(None, None, 10_000), (100_000,))
    assert [(span.offset, span.size) for span in spans] == [(40_000 * number, 4) for number in range(10)]


# Selections within boxes.


def elements(selection: Selection) -> list[list[int]]:
    """The positions that a selection takes along each dimension."""
    return [
        [start + step * number for number in range(count)]
        for start, count, step in zip(selection.starts, selection.counts, selection.steps, strict=True)
    ]


@given(st.data(), st.lists(st.integers(1, 8), min_size=1, max_size=3).map(tuple))
def test_intersection_with_a_box(data: st.DataObject, shape: tuple[int, ...]) -> None:
    selection = parse_index(data.draw(indexes(shape)), shape)
    starts = tuple(data.draw(st.integers(0, length)) for length in shape)
    lengths = tuple(data.draw(st.integers(0, whole - start)) for start, whole in zip(starts, shape, strict=True))
    taken = elements(selection)
    wanted = [
        [position for position in positions if start <= position < start + length]
        for positions, start, length in zip(taken, starts, lengths, strict=True)
    ]
    found = intersect(selection, starts, lengths)
    if found is None:
        assert not all(wanted)
        return
    inner, target = found
    shifted = [
        [position + start for position in positions] for positions, start in zip(elements(inner), starts, strict=True)
    ]
    assert shifted == wanted
    assert [positions[part] for positions, part in zip(taken, target, strict=True)] == wanted
    assert inner.shape == inner.counts


def test_intersection_without_dimensions() -> None:
    selection = parse_index((), ())
    assert intersect(selection, (), ()) == (Selection((), (), (), (), (), False), ())
