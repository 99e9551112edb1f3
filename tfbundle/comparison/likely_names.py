"""Which tensor was probably meant by a name that is missing: one with a scope more or less, as a rule.

Each name costs the same, however many there are: those that extend it or are extended by it lie together in sorted
lists, and of those that are merely like it, only a few of about its length are compared.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from tfbundle.suggestions import closest_names

# How alike two names are, from 0 to 1, before one is suggested for the other.
_LIKENESS = 0.8
# Names that extend another, or are extended by it, of which the one with the closest length is suggested.
_MOST_RELATED = 100
# A name of this length is nothing that a person gave.
_LONGEST_NAME = 500
# The end that keys of object-based checkpoints share says nothing.
_KEY_END = "/.ATTRIBUTES/VARIABLE_VALUE"


class LikelyNames:
    """Names among which one may be meant by another."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        for name in names:
            short = name.removesuffix(_KEY_END)
            if len(short) <= _LONGEST_NAME:
                self._names[short] = name
        self._forward = sorted(self._names)
        self._backward = sorted(name[::-1] for name in self._names)
        self._by_length = sorted(self._names, key=len)
        self._by_part: defaultdict[tuple[bool, str], list[str]] = defaultdict(list)
        for name in self._by_length:
            scope, _, last = name.rpartition("/")
            self._by_part[False, scope].append(name)
            self._by_part[True, last].append(name)

    def closest(self, wanted: str, is_possible: Callable[[str], bool], most: int) -> str | None:
        """Return the name that was probably meant, of those that are possible, or ``None``.

        So many others at ``most`` are compared with it letter by letter.
        """
        wanted = wanted.removesuffix(_KEY_END)
        if len(wanted) > _LONGEST_NAME:
            return None
        # A moving average is called after its variable, and saved in its place or beside it.
        for related in (
            [name[::-1] for name in _related(self._backward, wanted[::-1])],
            list(_related(self._forward, wanted)),
        ):
            possible = [name for name in related if is_possible(self._names[name])]
            if possible:
                return self._names[min(possible, key=lambda name: abs(len(name) - len(wanted)))]
        scope, _, last = wanted.rpartition("/")
        groups = (self._by_part.get((True, last), []), self._by_part.get((False, scope), []), self._by_length)
        near = dict.fromkeys(name for group in groups for name in _near(group, len(wanted), most))
        possible = [name for name in near if is_possible(self._names[name])]
        close = closest_names(wanted, possible, count=1, likeness=_LIKENESS, most=most)
        return self._names[close[0]] if close else None


def _related(names: list[str], wanted: str) -> Iterator[str]:
    """Yield some of the sorted names that begin with ``wanted`` and a slash, and those that it begins with so."""
    start = bisect_left(names, f"{wanted}/")
    for name in islice(names, start, start + _MOST_RELATED):
        if not name.startswith(f"{wanted}/"):
            break
        yield name
    end = wanted.rfind("/")
    while end > 0:
        place = bisect_left(names, wanted[:end])
        if place < len(names) and names[place] == wanted[:end]:
            yield wanted[:end]
        end = wanted.rfind("/", 0, end)


def _near(names: list[str], length: int, most: int) -> list[str]:
    """Return some of the names, which are sorted by their length, that are about as long."""
    place = bisect_left(names, length, key=len)
    return names[max(place - most // 2, 0) : place + most // 2]
