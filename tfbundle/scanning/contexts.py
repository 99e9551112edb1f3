"""The ways in which functions come to be called: chains of calls from an entry or from the graph down.

An argument may differ in each of them. They are found from the top, the short ones first, a limited number for each
function. A function with more, or one that comes to call itself, is marked, and its arguments may be anything else
besides.
"""

from __future__ import annotations

from collections import deque

from tfbundle.scanning.program import OTHERS, Context, Program, Site
from tfbundle.scanning.reach import Reach

_MOST = 32
_DEEPEST = 20


class Ways:
    """The ways to each function within what a list of entries makes run."""

    def __init__(self, program: Program, reach: Reach) -> None:
        self._found: dict[str, list[Context | None]] = {}
        self._is_cut: set[str] = set()
        callers: dict[str | None, dict[str, list[Site]]] = {}
        for function, sites in reach.sites.items():
            for site in sites:
                callers.setdefault(site.block.name, {}).setdefault(function, []).append(site)
        waiting: deque[tuple[str | None, Context | None]] = deque([(None, None)])
        for name in program.functions:
            if name in reach.called:
                self._found[name] = [None]
                waiting.append((name, None))
        while waiting:
            caller, context = waiting.popleft()
            for function, sites in callers.get(caller, {}).items():
                found = self._found.setdefault(function, [])
                if caller in self._is_cut:
                    self._is_cut.add(function)
                for site in sites:
                    if len(found) >= _MOST or _depth(context, function) >= _DEEPEST:
                        self._is_cut.add(function)
                        break
                    found.append(program.context(site, context))
                    waiting.append((function, found[-1]))

    def to(self, function: str) -> list[Context | None]:
        """Return the ways to a function."""
        found = self._found.get(function)
        # A function that is not called by name may be run in place of one that is.
        if not found:
            return [OTHERS]
        return [*found, OTHERS] if function in self._is_cut else found


def _depth(context: Context | None, function: str) -> int:
    """Return the length of a chain of calls; the largest possible one if the function is in it already."""
    depth = 0
    while context is not None and depth < _DEEPEST:
        if context.site is not None and context.site.block.name == function:
            return _DEEPEST
        context = context.parent
        depth += 1
    return depth
