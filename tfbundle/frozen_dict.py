"""An immutable dict.

``types.MappingProxyType`` cannot be pickled or deeply copied, and interactive shells do not complete its keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(Mapping[K, V]):
    """The items of a dict, in its order."""

    __slots__ = ("_items",)

    def __init__(self, items: dict[K, V]) -> None:
        """Wrap ``items``, which is not copied."""
        self._items = items

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)

    def _ipython_key_completions_(self) -> list[K]:
        return list(self._items)
