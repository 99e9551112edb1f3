"""How much a log keeps of events that no known program writes.

An event whose fields are repeated or out of order is decoded by protobuf and kept as protobuf writes it again, because
its values do not lie in the file as bytes of their own. A small compressed file can hold gigabytes of such events, so
that the files of a log share a budget.
"""

from __future__ import annotations

from tfbundle.errors import UnsupportedError
from tfbundle.limits import LARGEST_UNUSUAL_EVENTS

# Memory that an event takes beside its bytes.
_EVENT_SIZE = 500


class UnusualBudget:
    """How many bytes of events in unusual form the files of one log keep in memory, file by file."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._sizes: dict[str, int] = {}
        self._total = 0

    def start(self, path: str) -> None:
        """Note that a file is read from its start, with nothing kept of it."""
        self._total -= self._sizes.pop(path, 0)

    def take(self, path: str, size: int) -> None:
        """Note that an event of ``size`` bytes is kept; raises ``UnsupportedError`` where it is too much."""
        self._sizes[path] = self._sizes.get(path, 0) + size + _EVENT_SIZE
        self._total += size + _EVENT_SIZE
        if self._total > LARGEST_UNUSUAL_EVENTS:
            raise UnsupportedError(
                f"{path} has events whose fields are repeated or out of order, and all of them take more than "
                f"{LARGEST_UNUSUAL_EVENTS} bytes of memory; read_events reads them one at a time",
                path=path,
            )
