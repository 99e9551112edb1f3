"""A sample of the values of each tag, of a given size, as TensorBoard draws it.

While there is room, every value is kept. Then the value number ``n`` (from 0) draws a random place from 0 to ``n``: if
the sample has that place, its value there is dropped and the new one appended; otherwise the new value replaces the
last one, or is dropped. Each tag has a separate generator with the same seed, so that its sample depends on nothing
else.

A purge drops every value of the sample whose step is not below that of the purge. How many of the values that the
sample represents would have been dropped is unknown, so that ``n`` shrinks in the same proportion as the sample.

Only indexes are sampled; a value is read when it is requested.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from tfbundle.events.assembly import Stored
from tfbundle.tensors.arrays import Array

Item = TypeVar("Item")


class Purge(NamedTuple):
    """Of the first ``before`` values of a tag, those at ``step`` and later are obsolete."""

    before: int
    step: int


class Reservoir(Generic[Item]):
    """Samples by tag; ``size`` 0 keeps everything."""

    def __init__(
        self, size: int, make: Callable[[str, Stored, list[int]], list[Item]], *, always_keep_last: bool = True
    ) -> None:
        """Keep ``size`` values a tag; ``make`` returns those at some indexes.

        Raises ``ValueError`` for a negative size.
        """
        if size < 0:
            raise ValueError(f"the size is a non-negative integer, not {size}")
        self.size = size
        self.always_keep_last = always_keep_last
        self._make = make
        self._stored: Mapping[str, Stored] = {}
        self._purges: Callable[[str, Array], list[Purge]] = lambda tag, positions: []
        self._kept: dict[str, list[int]] = {}

    def fill(self, stored: Mapping[str, Stored], purges: Callable[[str, Array], list[Purge]]) -> None:
        """Take the values to sample, and what returns the purges of a tag, given the positions of its values."""
        self._stored, self._purges, self._kept = stored, purges, {}

    def Keys(self) -> list[str]:  # noqa: N802 - as TensorBoard's
        """Return the tags in the order in which they first appear."""
        return list(self._stored)

    def Items(self, key: str) -> list[Item]:  # noqa: N802
        """Return the sample of a tag; raises ``KeyError`` for a tag that does not exist."""
        stored, kept = self.sample(key)
        return self._make(key, stored, kept)

    def sample(self, key: str) -> tuple[Stored, list[int]]:
        """Return the values of a tag, and the indexes of its sample."""
        if key not in self._stored:
            raise KeyError(f"there are no values of the tag {key!r}")
        stored = self._stored[key]
        kept = self._kept.get(key)
        if kept is None:
            purges = self._purges(key, stored.positions)
            kept = draw_sample(stored.points.steps, self.size, purges, always_keep_last=self.always_keep_last)
            self._kept[key] = kept
        return stored, kept


def draw_sample(steps: Array, size: int, purges: Sequence[Purge] = (), *, always_keep_last: bool = True) -> list[int]:
    """Return the indexes of the values that a sample of ``size`` keeps, given their ``steps`` (int64)."""
    if size == 0 or len(steps) <= size:
        return list(map(int, np.flatnonzero(_survives(steps, purges))))
    sample = np.empty(size, np.int64)
    filled = seen = done = 0
    highest: int | None = None  # No value of the sample has a higher step.
    generator = random.Random(0)  # noqa: S311 - not for secrets
    for count, step in [*purges, (len(steps), None)]:
        added = min(count - done, size - filled)
        sample[filled : filled + added] = range(done, done + added)
        filled += added
        seen += added
        for index in range(done + added, count):
            place = generator.randint(0, seen)
            if place < size:
                sample[place:-1] = sample[place + 1 :]
                sample[-1] = index
            elif always_keep_last:
                sample[-1] = index
            seen += 1
        if step is None:
            break
        if count > done:
            new = int(steps[done:count].max())
            highest = new if highest is None else max(highest, new)
            done = count
        if highest is not None and highest >= step:
            left = sample[:filled][steps[sample[:filled]] < step]
            seen = round(seen * (len(left) / filled)) if filled else 0
            filled = len(left)
            sample[:filled] = left
            highest = int(steps[left].max()) if filled else None
    return list(map(int, sample[:filled]))


def _survives(steps: Array, purges: Sequence[Purge]) -> Array:
    """Return which values no purge drops, where none is sampled out."""
    if not purges:
        return np.ones(len(steps), bool)
    counts = np.array([purge.before for purge in purges], np.int64)
    lowest = np.minimum.accumulate(np.array([purge.step for purge in purges], np.int64)[::-1])[::-1]
    # The first purge after each value, if any; of it and those that follow, the one with the lowest step counts.
    following = np.searchsorted(counts, np.arange(len(steps)), side="right")
    survives: Array = (following == len(purges)) | (steps < np.append(lowest, 0)[following])
    return survives
