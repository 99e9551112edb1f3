"""The chunks of a tensor are runs of its stored elements, and tile it."""

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfbundle.tensors.chunk_grid import chunk_shape, divide, find_grid
from tfbundle.tensors.selection import find_run, parse_index
from tfbundle.tensors.slices import TensorSlice

SHAPES = st.lists(st.integers(0, 7), max_size=4).map(tuple)


def boxes(*axes: tuple[int, ...]) -> list[TensorSlice]:
    """The slices of a grid whose dimensions are divided into intervals of these lengths."""
    starts = [[sum(axis[:n]) for n in range(len(axis))] for axis in axes]
    return [
        TensorSlice(start, lengths, tuple(zip(start, lengths, strict=True)))
        for start, lengths in zip(product(*starts), product(*axes), strict=True)
    ]


@given(SHAPES, st.integers(1, 60))
def test_chunks_are_runs_and_tile_the_array(shape: tuple[int, ...], most: int) -> None:
    array = np.arange(prod(shape)).reshape(shape)
    division = divide(shape, (), most)
    assert tuple(map(sum, division.lengths)) == shape
    assert division.total == prod(map(len, division.lengths))
    found = []
    for lengths, starts in zip(
        product(*division.lengths),
        product(*[[sum(axis[:n]) for n in range(len(axis))] for axis in division.lengths]),
        strict=True,
    ):
        part = array[tuple(slice(a, a + n) for a, n in zip(starts, lengths, strict=True))].reshape(-1)
        assert part.size <= max(1, most)
        assert not part.size or (part == np.arange(part[0], part[0] + part.size)).all()
        found.append(part)
    assert sorted(np.concatenate(found).tolist()) == list(range(array.size))


@pytest.mark.parametrize(
    ("shape", "most", "expected"),
    [
        ((6, 4), 24, (6, 4)),
        ((6, 4), 23, (5, 4)),
        ((6, 4), 4, (1, 4)),
        ((6, 4), 3, (1, 3)),
        ((2, 6, 4), 8, (1, 2, 4)),
        ((), 1, ()),
        ((0, 3), 1, (0, 1)),
        ((3, 0), 1, (1, 0)),
        ((1 << 40,), 1 << 20, (1 << 20,)),
    ],
)
def test_chunk_shape(shape: tuple[int, ...], most: int, expected: tuple[int, ...]) -> None:
    assert chunk_shape(shape, most) == expected


@given(st.data(), SHAPES)
def test_a_run_is_found_if_and_only_if_the_elements_follow_each_other(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    index = tuple(
        data.draw(st.one_of(st.slices(length), st.just(slice(None)))) if length else slice(None) for length in shape
    )
    selection = parse_index((*index, ...), shape)
    chosen = np.arange(prod(shape)).reshape(shape)[selection.grid].reshape(-1)
    is_run = chosen.size > 0 and (chosen == np.arange(chosen[0], chosen[0] + chosen.size)).all()
    assert find_run(selection, shape) == (int(chosen[0]) if is_run else None)


def test_slices_of_a_grid_are_divided_separately() -> None:
    slices = boxes((3, 2), (4, 1))
    assert find_grid(slices, (5, 5)) == ((3, 2), (4, 1))
    assert divide((5, 5), slices, 100).lengths == ((3, 2), (4, 1))
    assert divide((5, 5), slices, 8).lengths == ((2, 1, 2), (4, 1))
    assert divide((5, 5), slices, 3).lengths == ((1,) * 5, (3, 1, 1))


@pytest.mark.parametrize(
    "slices",
    [
        boxes((3, 2), (4, 1))[:-1],
        boxes((3, 2), (4, 1)) + boxes((3, 2), (4, 1))[:1],
        boxes((3, 3), (4, 1)),
        boxes((3,), (4, 1)),
        boxes((3, 2), (5,))[:1] + boxes((3, 2), (2, 3))[2:],
        [],
    ],
    ids=["missing", "twice", "too long", "too short", "not a grid", "none"],
)
def test_other_slices_are_not_a_grid(slices: list[TensorSlice]) -> None:
    assert find_grid(slices, (5, 5)) is None
    assert divide((5, 5), slices, 10).lengths == ((2, 2, 1), (5,))
