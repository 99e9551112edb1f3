"""Names of variables at the start or at the end of longer names.

In ``training/Adam/dense/w``, scopes precede the variable ``dense/w``; in ``dense/w/part_0`` they follow it. Removing
one scope after the other from each name would take long if there are many. Instead, all names and variables are sorted,
so that those with the same start are next to each other, and one pass compares them. For ends, their characters are
reversed before.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

# Most variables have no more scopes before their names; their names are found without sorting.
_FEW_SCOPES = 2


def find_ends(names: AbstractSet[str], variables: AbstractSet[str]) -> dict[str, str]:
    """Return the names that are those of variables, with or without leading scopes, each with the longest variable.

    No variable has an empty name.
    """
    found: dict[str, str] = {}
    rest: dict[str, str] = {}
    for name in names:
        end = name
        for _ in range(1 + _FEW_SCOPES):
            if end in variables:
                found[name] = end
                break
            end = end.partition("/")[2]
        else:
            rest[name] = name.rpartition("/")[2]
    last_parts = set(rest.values())
    # The variable with each of these last parts, and the last parts of several variables.
    only: dict[str, str] = {}
    ambiguous: set[str] = set()
    for variable in variables:
        last = variable.rpartition("/")[2]
        if last in last_parts:
            if last in only:
                ambiguous.add(last)
            else:
                only[last] = variable
    if ambiguous:
        reversed_names = {f"{name[::-1]}/" for name, last in rest.items() if last in ambiguous}
        reversed_ends = {f"{name[::-1]}/" for name in variables if name.rpartition("/")[2] in ambiguous}
        found.update((name[-2::-1], ends[-1][-2::-1]) for name, ends in starting_with(reversed_names, reversed_ends))
    for name, last in rest.items():
        if last in only and last not in ambiguous and name.endswith(f"/{only[last]}"):
            found[name] = only[last]
    return found


def find_starts(names: AbstractSet[str], variables: AbstractSet[str]) -> dict[str, str]:
    """Return the names that are those of variables, with or without more scopes, each with the longest variable."""
    texts = {f"{name}/" for name in names}
    starts = {f"{variable}/" for variable in variables}
    return {text[:-1]: found[-1][:-1] for text, found in starting_with(texts, starts)} if texts else {}


def starting_with(texts: set[str], starts: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the texts that begin with some of the given starts, with these, the longest last."""
    current: list[str] = []
    for text in sorted(texts | starts):
        while current and not text.startswith(current[-1]):
            current.pop()
        if text in starts:
            current.append(text)
        if current and text in texts:
            yield text, current
