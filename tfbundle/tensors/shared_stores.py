"""Stores that the unpickled tensors of one process share, so that a thousand of them open their checkpoint once.

A store stays open as long as one of its tensors is in use. Several threads may open the same files at the same time;
no lock is held while they do, and the first store that is complete is the one that all of them use.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary


class _Current(Protocol):
    def is_current(self) -> bool:
        """Return whether the files at the store's path are still the ones that were opened."""


S = TypeVar("S", bound=_Current)


class SharedStores(Generic[S]):
    """The open stores of one kind, by a key that determines their files and how these are opened."""

    def __init__(self) -> None:
        """Start without any store."""
        self._stores: WeakValueDictionary[Hashable, S] = WeakValueDictionary()

    def get(self, key: Hashable, open_store: Callable[[], S]) -> S:
        """Return the store of a key; open it if there is none, or if its files were replaced since."""
        store = self._stores.get(key)
        if store is not None and store.is_current():
            return store
        opened = open_store()
        first = self._stores.setdefault(key, opened)
        if first is store:  # The one whose files were replaced.
            self._stores[key] = first = opened
        return first
