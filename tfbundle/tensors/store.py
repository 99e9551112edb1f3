"""What a format does for its tensors: the one interface that V2, V1 and the constants of a graph implement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    from tfbundle.storage.copying import Sink
    from tfbundle.tensors.parts import VariablePart
    from tfbundle.tensors.selection import Selection
    from tfbundle.tensors.slices import TensorSlice


class Facts(NamedTuple):
    """What is known of a tensor without reading it: its ``DataType`` number, shape, and slices if it has any."""

    data_type: int
    shape: tuple[int, ...]
    slices: tuple[TensorSlice, ...]


class Range(NamedTuple):
    """A stored slice of a tensor: ``size`` bytes at ``offset`` of the file ``path``.

    ``crc`` is the CRC-32C that the checkpoint states for the slice (for strings, by their own rule), or ``None``
    where the format has none for it alone.
    """

    path: str
    offset: int
    size: int
    crc: int | None


class Copyable(NamedTuple):
    """A stored array that can be copied as it is, because another checkpoint would have the same bytes for it.

    ``box`` is the slice that it is of a tensor of ``whole_shape``, or ``None`` where it is a whole tensor. It takes
    ``size`` bytes at ``offset`` of the data file with the number ``shard``. ``copy`` appends these to a ``Sink``, and
    returns their CRC-32C; for damage it raises what reading raises, after the last of them.
    """

    box: TensorSlice | None
    whole_shape: tuple[int, ...]
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    copy: Callable[[Sink], int]


class TensorStore(Protocol):
    """What a format does for the tensors of one file, checkpoint or graph that is open.

    A record is whatever the format keeps of one tensor. Two records, with their fingerprints, are equal if and only if
    the files say the same of both, checksums included. After ``close`` every read is a ``ValueError``.
    """

    path: str
    """The name by which messages call it."""

    def records(self) -> Mapping[str, Any]:
        """Return the record of every tensor by name, in the order of the file."""

    def find(self, name: str) -> Any:
        """Return the record of a tensor, or ``None``."""

    def facts(self, name: str, record: Any) -> Facts:
        """Return type, shape and slices."""

    def all_facts(self) -> Iterable[Facts | None]:
        """Return what ``facts`` says of every tensor, in the order of the file; ``None`` where it has to be asked."""

    def part(self, name: str, record: Any) -> VariablePart | None:
        """Return where the tensor belongs that is a part of another, or ``None``."""

    def read(self, name: str, record: Any) -> Array:
        """Return the whole tensor, verified, as an array of its own."""

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many tensors by name, each of which must be there; with ``mmap`` read-only, and views of the file
        where the stored bytes are the array.
        """

    def read_selection(self, name: str, record: Any, selection: Selection) -> Array:
        """Return the selected elements in ascending order, as an array of shape ``selection.counts``."""

    def chunks(self, name: str, record: Any) -> Iterator[Array]:
        """Yield the elements in C order, as flat arrays of bounded size where the format allows it."""

    def ranges(self, name: str, record: Any) -> tuple[Range, ...]:
        """Return where the tensor's bytes lie."""

    def string_size(self, name: str, record: Any) -> int | None:
        """Return the bytes of all strings of a tensor without ranges, or ``None`` where it has to be read for that."""

    def copyable(self, name: str, record: Any) -> Sequence[Copyable]:
        """Return what the tensor consists of, if all of that can be copied as it is, or nothing."""

    def fingerprint(self, name: str, record: Any) -> Any:
        """Return what distinguishes a tensor from another with the same record, or ``None`` where the record says it
        all.
        """

    def reopening(self) -> Reopening:
        """Return a picklable function with its arguments that opens the same store again."""

    def close(self) -> None:
        """Close the files."""


def read_each(store: TensorStore, names: list[str], *, mmap: bool) -> dict[str, Array]:
    """Return what ``read_many`` of a store does that gains nothing by reading many, and has no views."""
    arrays = {}
    for name in names:
        arrays[name] = array = store.read(name, store.find(name))
        array.flags.writeable = not mmap
    return arrays


Reopening = tuple[Callable[..., TensorStore], tuple[Any, ...]]
