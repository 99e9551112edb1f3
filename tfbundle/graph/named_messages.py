"""Messages of a list by name, without a Python object for each.

Protobuf creates a Python object of some hundred bytes for each message that is touched, and an empty message takes two
bytes in the file. The index therefore holds positions in the list; the object of a message lives as long as its user
needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


class NamedMessages(Generic[M]):
    """An index of messages by name. Of several with one name the first is found, and ``repeated`` is the name."""

    def __init__(
        self, protos: Sequence[M], name_of: Callable[[M], str], chosen: Callable[[M], bool] | None = None
    ) -> None:
        """Index the messages, or the ``chosen`` ones only."""
        self._protos = protos
        self._positions: dict[str, int] = {}
        self.repeated: str | None = None
        """A name that several messages have, or ``None``."""
        for position, proto in enumerate(protos):
            if chosen is not None and not chosen(proto):
                continue
            name = name_of(proto)
            if self._positions.setdefault(name, position) != position:
                self.repeated = name

    def get(self, name: str) -> M | None:
        """Return the message with this name, or ``None``."""
        position = self._positions.get(name)
        return None if position is None else self._protos[position]

    def __getitem__(self, name: str) -> M:
        return self._protos[self._positions[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._positions

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)
