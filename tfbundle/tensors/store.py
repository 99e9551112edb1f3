"""What a format does for its tensors: the one interface that V2, V1 and the constants of a graph implement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    from tfbundle.tensors.parts import VariablePart
    from tfbundle.tensors.selection import Selection
    from tfbundle.tensors.slices import TensorSlice


class Facts(NamedTuple):
    """What is known of a tensor without reading it: its ``DataType`` number, shape, and slices if it has any."""

    data_type: int
    shape: tuple[int, ...]
    slices: tuple[TensorSlice, ...]


class Range(NamedTuple):
    """A stored piece of a tensor: ``size`` bytes at ``offset`` of the file ``path``.

    ``crc`` is the CRC-32C that the checkpoint states for the piece (for strings, by their own rule), or ``None``
    where the format has none for it alone.
    """

    path: str
    offset: int
    size: int
    crc: int | None


class Store(Protocol):
    """What a checkpoint format does for its tensors.

    A record is whatever the format keeps of one tensor. Two records, with their fingerprints, are equal if and only if
    the files say the same of both, checksums included.
    """

    path: str

    def find(self, name: str) -> Any:
        """The record of a tensor, or ``None``."""

    def facts(self, name: str, record: Any) -> Facts:
        """Type, shape and slices."""

    def part(self, name: str, record: Any) -> VariablePart | None:
        """Return where the tensor belongs that is a part of another, or ``None``."""

    def read(self, name: str, record: Any) -> Array:
        """The whole tensor, verified, as an array of its own."""

    def read_selection(self, name: str, record: Any, selection: Selection) -> Array:
        """The selected elements in ascending order, as an array of shape ``selection.counts``."""

    def chunks(self, name: str, record: Any) -> Iterator[Array]:
        """The elements in C order, as flat arrays of bounded size where the format allows it."""

    def ranges(self, name: str, record: Any) -> tuple[Range, ...]:
        """Where the tensor's bytes lie."""

    def fingerprint(self, name: str, record: Any) -> Any:
        """What tells a tensor from another with the same record, or ``None`` where the record says it all."""

    def reopening(self) -> tuple[Callable[..., Store], tuple[Any, ...]]:
        """A picklable function with its arguments that opens the same store again."""


class OpenStore(Store, Protocol):
    """A store that can tell all that it has."""

    def records(self) -> Mapping[str, Any]:
        """The record of every tensor by name, in the order of the file."""

    def all_facts(self) -> Iterable[Facts | None]:
        """What ``facts`` says of every tensor, in the same order, or ``None`` where it has to be asked."""

    def close(self) -> None:
        """Let go of the files."""
