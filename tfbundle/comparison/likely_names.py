"""Find the tensor that was probably meant by a missing name: usually one with a scope more or less.

The cost of a name does not depend on the number of tensors: names that extend it, or that it extends, are adjacent in
sorted lists, and of names that are merely similar, only a few of about the same length are compared.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from tfbundle.checkpoint.objects import VALUE_SUFFIX
from tfbundle.suggestions import closest_names

# The smallest similarity, from 0 to 1, for which one name is suggested for another.
_LIKENESS = 0.8
# The largest number of names related by extension from which the one with the closest length is suggested.
_MOST_RELATED = 100
# Longer names are not chosen by users.
_LONGEST_NAME = 500


class LikelyNames:
    """An index of names for finding the one that was probably meant by another name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        for name in names:
            short = name.removesuffix(VALUE_SUFFIX)
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
        """Return the possible name that was probably meant, or ``None``.

        At ``most`` so many others are compared with it letter by letter.
        """
        wanted = wanted.removesuffix(VALUE_SUFFIX)
        if len(wanted) > _LONGEST_NAME:
            return None
        # A moving average is named after its variable, and saved instead of it or in addition to it.
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
    """Yield some of the sorted names that begin with ``wanted`` and a slash, and those that are a prefix of it."""
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
    """Return some of the names, which are sorted by length, that are about ``length`` long."""
    place = bisect_left(names, length, key=len)
    return names[max(place - most // 2, 0) : place + most // 2]
