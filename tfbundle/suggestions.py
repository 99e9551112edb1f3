"""Suggestions for a name that does not exist."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Collection
from itertools import islice

# Most names are ruled out by their letters in 10 microseconds; a graph has a hundred thousand names.
_MOST_COMPARED = 2000
_LONGEST_NAME = 500
# A comparison costs the product of both lengths: so many pairs of characters take 0.1 s.
_MOST_PAIRS = 1_000_000


def suggest_names(name: object, names: Collection[str], *, also: Collection[str] = ()) -> str:
    """Return the end of an error's message: the closest of ``names``, or how many there are.

    ``also`` are further names that are accepted, and are not counted.
    """
    known = [*names, *also]
    close = closest_names(str(name), known, count=3)
    if not close:  # The scope may be missing, or the case differ.
        end = f"/{name}".casefold()
        close = list(islice((other for other in known if f"/{other}".casefold().endswith(end)), 3))
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return "; there is 1 other" if len(names) == 1 else f"; there are {len(names)} others"


def closest_names(
    name: str, names: Collection[str], *, count: int, likeness: float = 0.6, most: int = _MOST_COMPARED
) -> list[str]:
    """Return up to ``count`` of ``names`` that are like ``name``, the closest first; ``likeness`` goes from 0 to 1.

    No more than ``most`` are compared: those that share their scope or their last part with it, and are about as long.
    Fewer are compared where long names share all letters.
    """
    scope, _, last = name.rpartition("/")

    def distance(other: str) -> tuple[int, int]:
        other_scope, _, other_last = other.rpartition("/")
        return (other_scope != scope) + (other_last != last), abs(len(other) - len(name))

    name = name[:_LONGEST_NAME]
    matcher = difflib.SequenceMatcher(b=name)
    pairs = 0
    found = []
    for other in heapq.nsmallest(most, names, distance):
        if len(other) > _LONGEST_NAME:
            continue
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() < likeness or matcher.quick_ratio() < likeness:
            continue
        pairs += len(other) * len(name)
        if pairs > _MOST_PAIRS:
            break
        score = matcher.ratio()
        if score >= likeness:
            found.append((score, other))
    return [other for _, other in heapq.nlargest(count, found)]
