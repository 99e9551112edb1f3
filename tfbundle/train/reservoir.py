"""A sample of what was seen of each tag, of a size that is given, as TensorBoard draws it.

While there is room, all is kept. Then the item number ``n`` (from 0) takes a random place from 0 to ``n``: if the
sample has that place, what is there is dropped and the new item appended; otherwise the new item replaces the last one,
or is dropped. Each tag has a generator of its own with the same seed, so that a sample depends on nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Reservoir(Generic[Item]):
    """Samples by tag; ``size`` 0 keeps everything."""

    def __init__(self, size: int, *, always_keep_last: bool = True) -> None:
        """Keep ``size`` items a tag; raises ``ValueError`` for a negative number."""
        if size < 0:
            raise ValueError(f"the size is a non-negative integer, not {size}")
        self.size = size
        self.always_keep_last = always_keep_last
        self._samples: dict[str, _Sample[Item]] = {}

    def Keys(self) -> list[str]:  # noqa: N802 - as TensorBoard's
        """Return the tags in the order in which they were first seen."""
        return list(self._samples)

    def Items(self, key: str) -> list[Item]:  # noqa: N802
        """Return the items of a tag; raises ``KeyError`` for one that was not seen."""
        if key not in self._samples:
            raise KeyError(f"there are no values of the tag {key!r}")
        return list(self._samples[key].items)

    def add(self, key: str, item: Item) -> None:
        """Add an item that was seen."""
        sample = self._samples.get(key)
        if sample is None:
            sample = self._samples[key] = _Sample(self.size, self.always_keep_last)
        sample.add(item)

    def filter(self, keeps: Callable[[Any], bool], key: str | None = None) -> None:
        """Drop the items, of one tag or of all, that ``keeps`` refuses."""
        chosen = [sample for tag, sample in self._samples.items() if key is None or tag == key]
        for sample in chosen:
            sample.filter(keeps)


class _Sample(Generic[Item]):
    def __init__(self, size: int, always_keep_last: bool) -> None:
        self.items: list[Item] = []
        self._size = size
        self._always_keep_last = always_keep_last
        self._seen = 0
        self._random = random.Random(0)  # noqa: S311 - not for secrets

    def add(self, item: Item) -> None:
        if self._size == 0 or len(self.items) < self._size:
            self.items.append(item)
        else:
            place = self._random.randint(0, self._seen)
            if place < self._size:
                del self.items[place]
                self.items.append(item)
            elif self._always_keep_last:
                self.items[-1] = item
        self._seen += 1

    def filter(self, keeps: Callable[[Any], bool]) -> None:
        before = len(self.items)
        self.items = list(filter(keeps, self.items))
        # How many of those that were seen would have been kept is not known; the sample stands for all.
        self._seen = round(self._seen * (len(self.items) / before)) if before else 0
