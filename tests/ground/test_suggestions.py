"""Names that a person may have meant, however many and however long the others are."""

import difflib
import random
import time

import pytest

from tfbundle.suggestions import closest_names, suggest_names

NAMES = [
    f"layer{number:02d}/{kind}/{part}"
    for number in range(30)
    for kind in ("dense", "conv")
    for part in ("kernel", "bias")
]


@pytest.mark.parametrize(
    "name", ["layer7/dense/kernel", "layer07/dens/kernel", "kernel", "xyz", "layer29/conv/bais", ""]
)
@pytest.mark.parametrize("likeness", [0.6, 0.9])
def test_as_difflib_finds_them(name: str, likeness: float) -> None:
    assert closest_names(name, NAMES, count=3, likeness=likeness) == difflib.get_close_matches(name, NAMES, 3, likeness)


@pytest.mark.parametrize("length", [30, 199, 200, 500, 100_000])
def test_time(length: int) -> None:
    """Names of two letters are the worst: all have all letters in common."""
    letters = random.Random(1)
    names = {"".join(letters.choices("ab", k=min(length, 600))) for _ in range(5000)}
    start = time.process_time()
    closest_names("".join(letters.choices("ab", k=length)), names, count=3)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(("length", "is_found"), [(500, True), (501, False)])
def test_the_longest_name(length: int, is_found: bool) -> None:
    name = "x" * (length - 3)
    assert bool(closest_names(name, [name + "abc"], count=1)) == is_found


def test_the_closest_is_compared_before_time_runs_out() -> None:
    letters = random.Random(1)
    names = ["a/" + "".join(letters.choices("ab", k=150)) for _ in range(2000)]
    wanted = names[1234][:-1] + "c"
    assert closest_names(wanted, [f"b/{name}" for name in names[:1000]] + names[1234:1235], count=1) == [names[1234]]


def test_scopes_that_were_left_out() -> None:
    assert suggest_names("bias", ["model/a/bias", "model/b/kernel"]) == "; did you mean 'model/a/bias'?"
    assert suggest_names("zzz", ["model/a/bias", "model/b/kernel"]) == "; there are 2 others"


@pytest.mark.parametrize(("others", "is_found"), [(1999, True), (2000, False)])
def test_so_many_names_are_compared(others: int, is_found: bool) -> None:
    names = [f"scope/{number:07}" for number in range(others)]  # As long as the unknown one, and so compared first.
    assert closest_names("scope/kernelx", [*names, "scope/kernelxy"], count=1) == ["scope/kernelxy"] * is_found


@pytest.mark.parametrize(
    ("length", "lengths", "is_found"),
    [(125, [125] * 64, True), (125, [125] * 65, False), (101, [101] * 95 + [102] * 3, False)],
)
@pytest.mark.effort
def test_so_many_pairs_of_characters_are_compared(length: int, lengths: list[int], is_found: bool) -> None:
    """They are a million in the first case, the next of which is too much, and a million and one in the last."""
    name = "ab" * (length // 2) + "a" * (length % 2)
    others = ["b" * (size // 2) + "a" * (size - size // 2) for size in lengths[:-1]]
    close = ("c" + name[1:] + "c")[: lengths[-1]]
    found = closest_names(name, [*others, close], count=1)
    assert (found == [close]) is is_found
