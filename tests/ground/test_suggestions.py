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
