"""Selection of names by an exact name, a glob, a compiled pattern or a function.

A name that exists is that name, whatever characters it has (``w[0]/kernel``); only a string that is not a name is a
pattern. In a glob ``*`` crosses ``/``, ``?`` is one character, and ``[ab]`` one of a set; case counts on every system.
A compiled pattern may match anywhere in a name, as ``re.search`` does.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

Pattern: TypeAlias = "str | re.Pattern[str] | Callable[[str], bool]"

_WILDCARDS = frozenset("*?[")


def check_names(names: object) -> None:
    """Raise ``TypeError`` unless ``names`` is a name, a pattern, or a collection."""
    is_iterable = isinstance(names, Iterable) and not isinstance(names, bytes)
    if not is_iterable and not isinstance(names, re.Pattern) and not callable(names):
        raise TypeError(f"expected a name, a glob, a compiled pattern, a function or a list of names, not {names!r}")


def is_glob(text: str) -> bool:
    """Return whether ``text`` contains a wildcard."""
    return not _WILDCARDS.isdisjoint(text)


def matcher(pattern: Pattern) -> Callable[[str], object]:
    """Return a function whose result is true for the names that match ``pattern``."""
    if isinstance(pattern, str):
        return re.compile(fnmatch.translate(pattern)).match
    return pattern.search if isinstance(pattern, re.Pattern) else pattern


def select(pattern: Pattern, names: Collection[str]) -> list[str]:
    """Return the ``names`` that ``pattern`` selects, in their order: the name itself if there is one, else matches."""
    if isinstance(pattern, str) and pattern in names:
        return [pattern]
    return list(filter(matcher(pattern), names))


def describe(pattern: Pattern) -> str:
    """Return a pattern as messages call it."""
    if isinstance(pattern, str):
        return repr(pattern)
    if isinstance(pattern, re.Pattern):
        return f"the pattern {pattern.pattern!r}"
    return f"the function {getattr(pattern, '__qualname__', repr(pattern))}"
