"""Chunks of equal shape that fill a tensor, each of which is a run of one slice's elements."""

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tensors.test_chunk_grid import boxes
from tfbundle.views.zarr_chunks import Box, chunk_indices, equal_chunks

AXIS = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@given(st.lists(AXIS, max_size=3), st.one_of(st.none(), st.integers(1, 30)))
def test_chunks_hold_what_their_slices_store(axes: list[tuple[int, ...]], most: int | None) -> None:
    shape = tuple(map(sum, axes))
    array = np.arange(prod(shape)).reshape(shape)
    slices = [(box, Box(box.starts, box.lengths)) for box in boxes(*axes)]
    chunk = equal_chunks(shape, [box for _, box in slices], most)
    found = np.full(shape, -1)
    for one, box in slices:
        stored = array[one.index].reshape(-1)
        for number, index in enumerate(chunk_indices(box, chunk)):
            place = [int(part) for part in index.split(".")] if shape else []
            values = stored[number * prod(chunk) : (number + 1) * prod(chunk)].reshape(chunk)
            found[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, chunk, strict=True))] = values
    assert (found == array).all()


@pytest.mark.parametrize(
    ("axes", "most", "expected"),
    [
        ([(6,), (4,)], None, (6, 4)),
        ([(6,), (4,)], 24, (6, 4)),
        ([(6,), (4,)], 16, (3, 4)),  # 16 / 12 is less than 24 / 16.
        ([(6,), (4,)], 18, (6, 4)),  # 24 / 18 is less than 18 / 12.
        ([(6,), (4,)], 4, (1, 4)),
        ([(6,), (4,)], 2, (1, 2)),
        ([(6,), (4,)], 1, (1, 1)),
        ([(7,), (4,)], 10, (1, 4)),  # A prime number of rows: 10 / 4 is less than 28 / 10.
        ([(7,), (4,)], 12, (7, 4)),
        ([(3, 3), (4,)], None, (3, 4)),
        ([(4, 2), (4,)], None, (2, 4)),
        ([(4, 3), (4,)], None, (1, 4)),
        ([(6,), (2, 2)], None, (6, 2)),
        ([(6,), (4, 2)], None, (1, 2)),
        ([(4, 2), (4,), (2, 2)], None, (2, 4, 2)),
        ([(1 << 20,), (1 << 20,)], 1 << 22, (4, 1 << 20)),
        ([((1 << 31) - 1,)], 1000, (1,)),
        ([], None, ()),
    ],
)
def test_equal_chunks(axes: list[tuple[int, ...]], most: int | None, expected: tuple[int, ...]) -> None:
    shape = tuple(map(sum, axes))
    parts = [Box(box.starts, box.lengths) for box in boxes(*axes)]
    assert equal_chunks(shape, parts, most) == expected
    assert len(list(product(*map(range, shape)))) % prod(expected) == 0 if prod(shape) < 1000 else True
