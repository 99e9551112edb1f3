"""Limit the amount of unusual data, which no known program writes, that a log keeps or skips.

An event whose fields are repeated or out of order is parsed by protobuf and kept in reserialized form, because its
values are not contiguous bytes in the file. A value without content is skipped, and with ``salvage``, so is a record
that is not an event. A small compressed file can hold gigabytes of these, or hundreds of thousands of equal records,
so the files of a log share a budget.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from tfbundle.errors import UnsupportedError
from tfbundle.limits import (
    LARGEST_UNUSUAL_EVENTS,
    MOST_EMPTY_VALUES,
    MOST_INFLATED_RECORDS,
    MOST_UNUSUAL_EVENTS,
)

# Memory that an event takes in addition to its bytes.
_EVENT_SIZE = 500


class _Amount(NamedTuple):
    """Unusual events, the bytes of memory that they take, values without content, and records that are not events.

    ``inflated`` counts records and values of compressed files beyond one for each byte.
    """

    events: int = 0
    size: int = 0
    empty: int = 0
    others: int = 0
    inflated: int = 0

    def plus(self, other: _Amount) -> _Amount:
        return _Amount(*(one + another for one, another in zip(self, other, strict=True)))

    def minus(self, other: _Amount) -> _Amount:
        return _Amount(*(one - another for one, another in zip(self, other, strict=True)))


class UnusualBudget:
    """The amounts of unusual data in the files of one log, by file."""

    def __init__(self) -> None:
        """Start with an empty budget."""
        self._amounts: dict[str, _Amount] = {}
        self._total = _Amount()
        self._lock = threading.Lock()  # Runs may be read at the same time.

    def start(self, path: str) -> None:
        """Reset the amount of a file that is read from its start."""
        with self._lock:
            self._total = self._total.minus(self._amounts.pop(path, _Amount()))

    def take_event(self, path: str, size: int) -> None:
        """Count a kept unusual event of ``size`` bytes; raises ``UnsupportedError`` if the total is too large."""
        total = self._take(path, _Amount(events=1, size=size + _EVENT_SIZE))
        if total.events > MOST_UNUSUAL_EVENTS or total.size > LARGEST_UNUSUAL_EVENTS:
            raise UnsupportedError(
                f"{path} has events whose fields are repeated or out of order, of which at most "
                f"{MOST_UNUSUAL_EVENTS} events and {LARGEST_UNUSUAL_EVENTS} bytes are kept in memory; read_events "
                "reads them one at a time",
                path=path,
            )

    def take_empty(self, path: str, count: int) -> None:
        """Count values without content; raises ``UnsupportedError`` if there are too many."""
        if self._take(path, _Amount(empty=count)).empty > MOST_EMPTY_VALUES:
            raise UnsupportedError(
                f"{path} has more than {MOST_EMPTY_VALUES} values without content; read_events reads them one event "
                "at a time",
                path=path,
            )

    def take_other(self, path: str) -> None:
        """Count a record that is not an event; raises ``UnsupportedError`` if there are too many."""
        if self._take(path, _Amount(others=1)).others > MOST_UNUSUAL_EVENTS:
            raise UnsupportedError(
                f"{path} has more than {MOST_UNUSUAL_EVENTS} records that are not events; tfbundle.read_records reads "
                "a file of other records",
                path=path,
            )

    def take_inflated(self, path: str, count: int) -> None:
        """Count records and values beyond one for each compressed byte; raises ``UnsupportedError`` for too many."""
        if self._take(path, _Amount(inflated=count)).inflated > MOST_INFLATED_RECORDS:
            raise UnsupportedError(
                f"{path} has far more records than its compressed bytes can hold if they differ, or other files "
                "of the log have; unpack the file to read them anyway",
                path=path,
            )

    def _take(self, path: str, amount: _Amount) -> _Amount:
        with self._lock:
            self._amounts[path] = self._amounts.get(path, _Amount()).plus(amount)
            self._total = self._total.plus(amount)
            return self._total
