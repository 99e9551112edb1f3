"""The interface between tensors and formats, which V2, V1 and the constants of a graph implement."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tfbundle.tensors.arrays import Array

if TYPE_CHECKING:
    from tfbundle.storage.copying import Sink
    from tfbundle.tensors.parts import VariablePart
    from tfbundle.tensors.selection import Selection
    from tfbundle.tensors.slices import TensorSlice


class Facts(NamedTuple):
    """The metadata of a tensor, known without reading it: its ``DataType`` number, shape, and slices if it has any."""

    data_type: int
    shape: tuple[int, ...]
    slices: tuple[TensorSlice, ...]


class Range(NamedTuple):
    """A stored slice of a tensor: ``size`` bytes at ``offset`` of the file ``path``.

    ``crc`` is the CRC-32C that the checkpoint states for the slice (for strings, computed by a separate rule), or
    ``None`` if the format has no checksum for the slice alone.
    """

    path: str
    offset: int
    size: int
    crc: int | None


class StoredArray(NamedTuple):
    """Elements of a tensor that a file contains as an array in C order: those of ``box``, or all if it is ``None``.

    They begin at ``offset`` of the file ``path``, an absolute path or a URL, and have the byte order ``byteorder``,
    ``"little"`` or ``"big"``. The file was found to be long enough.
    """

    path: str
    offset: int
    box: TensorSlice | None
    byteorder: str


class Copyable(NamedTuple):
    """A stored array that can be copied unchanged, because another checkpoint would have the same bytes for it.

    ``box`` is its slice of a tensor of ``whole_shape``, or ``None`` for a whole tensor. It has ``size`` bytes at
    ``offset`` of the data file ``path``, which has the number ``shard``. ``copy`` appends these to a ``Sink`` and
    returns their CRC-32C; for damage it raises the errors of reading, after the last byte.
    """

    box: TensorSlice | None
    whole_shape: tuple[int, ...]
    shape: tuple[int, ...]
    path: str
    shard: int
    offset: int
    size: int
    copy: Callable[[Sink], int]


class TensorStore(Protocol):
    """Access to the tensors of one open file, checkpoint or graph.

    A record is the format's data about one tensor. Two records, with their fingerprints, are equal if and only if the
    files state the same for both, including checksums. After ``close`` every read raises ``ValueError``.
    """

    path: str
    """The name to use in messages."""

    def records(self) -> Mapping[str, Any]:
        """Return the record of every tensor by name, in the order of the file."""

    def find(self, name: str) -> Any:
        """Return the record of a tensor, or ``None``."""

    def facts(self, name: str, record: Any) -> Facts:
        """Return type, shape and slices."""

    def all_facts(self) -> Iterable[Facts | None]:
        """Return the facts of every tensor in the order of the file, or ``None`` where ``facts`` must be called."""

    def part(self, name: str, record: Any) -> VariablePart | None:
        """Return where a tensor belongs that is a part of another, or ``None`` for other tensors."""

    def read(self, name: str, record: Any) -> Array:
        """Return the whole tensor, verified, as an array that the caller owns."""

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many tensors by name, each of which must exist.

        With ``mmap`` the arrays are read-only, and views of the file where the stored bytes are the array.
        """

    def read_selection(self, name: str, record: Any, selection: Selection) -> Array:
        """Return the selected elements in ascending order, as an array of shape ``selection.counts``."""

    def chunks(self, name: str, record: Any) -> Iterator[Array]:
        """Yield the elements in C order, as flat arrays of bounded size where the format allows it."""

    def ranges(self, name: str, record: Any) -> tuple[Range, ...]:
        """Return where the tensor's bytes are."""

    def stored_arrays(self, name: str, record: Any) -> Sequence[StoredArray]:
        """Return the arrays in files that together are the tensor, or an empty sequence if it is stored otherwise.

        Raises the errors of ``read`` for a file that is missing or too short, and for missing slices.
        """

    def string_size(self, name: str, record: Any) -> int | None:
        """Return the total size of the strings of a tensor without ranges, or ``None`` if it must be read for that."""

    def copyable(self, name: str, record: Any) -> Sequence[Copyable]:
        """Return the stored arrays of the tensor if all of them can be copied unchanged, or an empty sequence."""

    def all_copyable(self) -> Iterable[Sequence[Copyable] | None]:
        """Return ``copyable`` of every tensor in the order of the file, or ``None`` where it must be called."""

    def fingerprint(self, name: str, record: Any) -> Any:
        """Return a value that distinguishes tensors with equal records, or ``None`` if records suffice."""

    def version(self) -> Hashable:
        """Return what distinguishes the open files from other versions of them, or ``None`` if records do that."""

    def reopening(self) -> Reopening:
        """Return a picklable function and its arguments, which reopen the same store."""

    def close(self) -> None:
        """Close the files."""


def read_each(store: TensorStore, names: list[str], *, mmap: bool) -> dict[str, Array]:
    """Implement ``read_many`` for a store that has no views and no advantage in reading many tensors together."""
    arrays = {}
    for name in names:
        arrays[name] = array = store.read(name, store.find(name))
        array.flags.writeable = not mmap
    return arrays


Reopening = tuple[Callable[..., TensorStore], tuple[Any, ...]]
