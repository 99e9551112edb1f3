"""Exhaustive tests: everything where TensorFlow is installed, and a sample where it is not.

The gate runs the suite twice, with TensorFlow and without. What does not depend on that is exhaustive in the first run
alone. The second, on other versions of everything else, tries the ends of a file and every 67th byte between them, and
about 10, evenly spaced, of the rounds of a long loop and of a test's cases; the rest are deselected, and so are
tests marked ``effort``, which bound the time or memory that something large takes. A single case can always be run by
its name.
"""

from collections import defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeVar

import pytest

T = TypeVar("T")

_AT_ENDS = 8
_STEP = 67
_MOST = 10
IS_EXHAUSTIVE = find_spec("tensorflow") is not None


def places(count: int) -> list[int]:
    """Return the numbers below ``count`` that are to be tried, in order."""
    if IS_EXHAUSTIVE:
        return list(range(count))
    return [place for place in range(count) if place % _STEP == 0 or not _AT_ENDS <= place < count - _AT_ENDS]


def rounds(every: Sequence[T]) -> Sequence[T]:
    """Return those of a loop's rounds that are to be run, in order."""
    return every if IS_EXHAUSTIVE else every[:: -(-len(every) // _MOST) or 1]


def split_cases(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return the tests that are to be run, in order, and those that are left out."""
    if IS_EXHAUSTIVE:
        return items, []
    cases: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("effort") and len(items) > 1:
            continue
        cases[item.nodeid.partition("[")[0]].append(item)
    kept = {id(item) for group in cases.values() for item in rounds(group)}
    return [item for item in items if id(item) in kept], [item for item in items if id(item) not in kept]
