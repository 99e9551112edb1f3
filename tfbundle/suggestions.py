"""What a person may have meant by a name that is not there."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Collection
from itertools import islice

# Comparing two names takes a tenth of a millisecond, and graphs have a hundred thousand.
_MOST_COMPARED = 2000
_LONGEST_NAME = 500


def suggest_names(name: object, names: Collection[str], *, also: Collection[str] = ()) -> str:
    """The end of an error's message: the closest of ``names``, or how many there are.

    ``also`` are names that will do as well, and do not count.
    """
    known = [*names, *also]
    close = closest_names(str(name), known, count=3)
    if not close:  # The scope may have been left out, or the case be another.
        end = f"/{name}".casefold()
        close = list(islice((other for other in known if f"/{other}".casefold().endswith(end)), 3))
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; there are {len(names)} others"


def closest_names(
    name: str, names: Collection[str], *, count: int, likeness: float = 0.6, most: int = _MOST_COMPARED
) -> list[str]:
    """Up to ``count`` of ``names`` that are like ``name``, the closest first; ``likeness`` goes from 0 to 1.

    No more than ``most`` are compared: those that share their scope or their last part with it, and are about as long.
    """
    if len(names) > most:
        scope, _, last = name.rpartition("/")

        def distance(other: str) -> tuple[int, int]:
            other_scope, _, other_last = other.rpartition("/")
            return (other_scope != scope) + (other_last != last), abs(len(other) - len(name))

        names = heapq.nsmallest(most, names, distance)
    candidates = [other for other in names if len(other) <= _LONGEST_NAME]
    return difflib.get_close_matches(name[:_LONGEST_NAME], candidates, count, likeness)
