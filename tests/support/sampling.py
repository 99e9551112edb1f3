"""Exhaustive tests: everything where TensorFlow is installed, and a sample where it is not.

The gate runs the suite twice, with TensorFlow and without. What does not depend on that is exhaustive in the first run
alone; the second, on other versions of everything else, tries the ends of a file and every fifth byte between them, and
every third hostile file.
"""

from collections.abc import Iterable
from importlib.util import find_spec

_AT_ENDS = 64
_STEP = 5
_IS_EXHAUSTIVE = find_spec("tensorflow") is not None


def places(count: int) -> list[int]:
    """Return the numbers below ``count`` that are to be tried, in order."""
    if _IS_EXHAUSTIVE:
        return list(range(count))
    return [place for place in range(count) if place % _STEP == 0 or not _AT_ENDS <= place < count - _AT_ENDS]


def sample(names: Iterable[str]) -> list[str]:
    """Return the names that are to be tried, in order."""
    return list(names)[:: 1 if _IS_EXHAUSTIVE else 3]
