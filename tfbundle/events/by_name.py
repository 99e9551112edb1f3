"""Runs and series by name, and their selection by names and patterns.

A string that is an existing name selects that name. Anything else is a pattern: a glob, a compiled pattern or a
function (``matching``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from tfbundle.matching import Pattern, check_names, describe, is_glob, select
from tfbundle.suggestions import suggest_names

Item = TypeVar("Item")

# The ways to select runs or tags: one or more patterns, or ``None`` for all.
Names: TypeAlias = "Pattern | Iterable[Pattern] | None"


class ByName(Mapping[str, Item], Generic[Item]):
    """Runs or series by name, in order; each is created on first access. ``what`` is "run" or "tag", for messages."""

    def __init__(self, what: str, names: Iterable[str], make: Callable[[str], Item]) -> None:
        self._what = what
        self._names = dict.fromkeys(names)
        self._make = make
        self._made: dict[str, Item] = {}

    def __getitem__(self, name: str) -> Item:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(_refusal(self._what, name, self._names))
            self._made[name] = self._make(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{len(self)} {self._what}{'' if len(self) == 1 else 's'}: {', '.join(self._names)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._what, list(self._names), dict(self).__getitem__)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._names)

    def select(self, names: Names) -> ByName[Item]:
        """Return the items that ``names`` match, in the order of this mapping.

        ``names`` is a name, a glob (``*`` also matches ``/``), a compiled pattern, a predicate on names, or several of
        these; ``None`` selects all. Raises ``KeyError`` if one of them matches nothing.
        """
        return ByName(self._what, choose(self._what, self._names, names), self.__getitem__)


def choose(what: str, known: Collection[str], names: Names) -> list[str]:
    """Return the ``known`` names that ``names`` match, in their order; ``what`` is "run" or "tag", for messages.

    Raises ``KeyError`` if one of the patterns matches nothing.
    """
    if names is None:
        return list(known)
    check_names(names)
    found: set[str] = set()
    for pattern in [names] if isinstance(names, str | re.Pattern) or callable(names) else names:
        matches = select(pattern, known)
        if not matches:
            if isinstance(pattern, str) and not is_glob(pattern):
                raise KeyError(_refusal(what, pattern, known))
            raise KeyError(f"no {what} matches {describe(pattern)}; there are {len(known)}")
        found.update(matches)
    return [name for name in known if name in found]


def _refusal(what: str, name: object, known: Collection[str]) -> str:
    """Return the error message for an unknown name, with suggestions."""
    if isinstance(name, str) and not is_glob(name):
        end = suggest_names(name, known) if known else "; there are none"
    else:
        end = f"; select({name!r}) accepts patterns"
    return f"no {what} {name!r}{end}"
