"""The byte order of a bundle whose header is lost, and each number on which the answer depends."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfbundle.checkpoint.salvage.byteorder import ask_numbers
from tfbundle.errors import ChecksumError
from tfbundle.tensors.arrays import swap_bytes


class Reader:
    """Returns arrays as a reader of slices does, and counts them; ``None`` is damaged."""

    def __init__(self) -> None:
        self.count = 0

    def read(self, stored: Any) -> Any:
        self.count += 1
        if stored.array is None:
            raise ChecksumError("damaged")
        return stored.array


def ask(*arrays: Any, reader: Any = None, size: int | None = None) -> str | None:
    slices: Any = [
        SimpleNamespace(location=SimpleNamespace(size=size or (8 if array is None else array.nbytes)), array=array)
        for array in arrays
    ]
    return ask_numbers(slices, reader or Reader())


def floats(count: int) -> Any:
    """Floats that are of a usual size in this byte order alone."""
    values = np.full(count, 1.1, np.float32)
    assert not 1e-6 < abs(swap_bytes(values.copy())[0]) < 1e6
    return values


@pytest.mark.parametrize(("count", "answer"), [(23, None), (24, "little")])
def test_floats_that_have_to_agree(count: int, answer: str | None) -> None:
    assert ask(floats(count)) == answer
    assert ask(swap_bytes(floats(count))) == (answer and "big")


@pytest.mark.parametrize(("dtype", "count"), [(np.int64, 1), (np.int32, 2), (np.int16, 4), (np.uint64, 1)])
def test_integers_are_worth_three_votes_a_byte(dtype: Any, count: int) -> None:
    assert ask(np.full(count, 7, dtype)) == "little"
    assert ask(swap_bytes(np.full(count, 7, dtype))) == "big"
    assert ask(np.full(count - 1, 7, dtype)) is None


@pytest.mark.parametrize(("agreeing", "answer"), [(30, None), (31, "little")])
def test_more_than_ten_agree_for_each_that_does_not(agreeing: int, answer: str | None) -> None:
    assert ask(floats(agreeing), swap_bytes(floats(3))) == answer
    assert ask(swap_bytes(floats(agreeing)), floats(3)) == (answer and "big")


@pytest.mark.parametrize(("value", "answer"), [(9.9e5, "little"), (1.1e6, None), (1.1e-6, "little"), (0.9e-6, None)])
def test_usual_sizes_of_floats(value: float, answer: str | None) -> None:
    values = np.full(24, value, np.float64)
    assert not 1e-6 < abs(swap_bytes(values.copy())[0]) < 1e6
    assert ask(values) == answer


@pytest.mark.parametrize(("value", "answer"), [(65535, "little"), (65537, None)])
def test_usual_sizes_of_integers(value: int, answer: str | None) -> None:
    """Up to half of their bits; 0x00010001 is neither usual in this order nor in the other."""
    assert ask(np.full(24, value, np.int32)) == answer


@pytest.mark.parametrize(("size", "answer"), [(0, None), (1 << 20, "little"), ((1 << 20) + 1, None)])
def test_slices_that_are_read(size: int, answer: str | None) -> None:
    slices: Any = [SimpleNamespace(location=SimpleNamespace(size=size), array=floats(24))]
    assert ask_numbers(slices, Reader()) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize(("damaged", "answer"), [(99, "little"), (100, None)])
def test_a_hundred_slices_are_tried(damaged: int, answer: str | None) -> None:
    reader = Reader()
    assert ask(*[None] * damaged, floats(24), floats(24), reader=reader) == answer
    assert reader.count == 100


@pytest.mark.parametrize("values", [np.zeros(100, np.float32), np.ones(100, np.complex64), np.full(100, 7, np.int8)])
def test_numbers_that_say_nothing(values: Any) -> None:
    """Zeros, bytes, and complex numbers, which are left aside."""
    assert ask(values) is None
