"""Tensors that no checkpoint holds, with the face that those of a checkpoint have.

A file of another program lists its tensors when it is opened: a ``Member`` each, with type, shape and a function that
reads it. That is all that ``Tensor`` needs, so that ``convert`` and everything else that takes a mapping of tensors
works on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.findings import Finding
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH, LARGEST_RANK
from tfbundle.tensors.arrays import Array, allocate, shaped
from tfbundle.tensors.dtypes import DT_STRING, numpy_dtype
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.selection import Selection
from tfbundle.tensors.store import Facts, Range, Reopening, read_each

if TYPE_CHECKING:
    from tfbundle.checkpoint.objects import ObjectGraph
    from tfbundle.tensors.parts import VariablePart
    from tfbundle.tensors.slices import TensorSlice


# What a short string takes in memory beside its bytes.
_STRING_SIZE = 48


@dataclass(frozen=True)
class Member:
    """One tensor of a file: TensorFlow's number of its type, its shape, and how to read it.

    ``chunks`` yields flat arrays in native byte order that are the elements in C order. ``problem`` says why there is
    no tensor, for what is damaged or cannot be one. ``version`` differs between states of a file. ``part`` says where a
    part of a partitioned variable belongs. A partitioned one has ``slices``, and ``select`` then reads what lies in one
    of them.
    """

    data_type: int
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[Array]]
    version: Any = None
    problem: TfBundleError | None = None
    part: VariablePart | None = None
    slices: tuple[TensorSlice, ...] = ()
    select: Callable[[Selection], Array] | None = None


def failed(problem: TfBundleError, version: Any = None) -> Member:
    """Return a member that has a name and no tensor, because it is damaged or of another kind."""
    return Member(DT_STRING, (), lambda: iter(()), version, problem)


def unsupported(problem: str, version: Any = None) -> Member:
    """Return a member that is something else than a tensor."""
    return failed(UnsupportedError(problem), version)


def check_shape(shape: Iterable[Any], dtype: np.dtype[Any], stored: int, name: str, path: str) -> tuple[int, ...]:
    """Return a shape that a file states, after comparing its bytes with the ``stored`` ones.

    Raises ``FormatError`` for what is no shape, and ``UnsupportedError`` for what grows far beyond the bytes that are
    stored, as only zeros and attacks do.
    """
    lengths = tuple(shape)
    # Strings become objects of Python.
    itemsize = dtype.itemsize + (_STRING_SIZE if dtype.kind in "SUO" else 0)
    if len(lengths) > LARGEST_RANK or not all(type(length) is int and 0 <= length < 1 << 62 for length in lengths):
        raise FormatError(f"it states the shape {str(lengths)[:100]}", path=path, tensor=name)
    nbytes = prod(lengths) * itemsize
    if nbytes > max(LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH * stored):
        raise UnsupportedError(
            f"it takes {nbytes} bytes and is stored in {stored}; what grows more than {LARGEST_EXPANSION_GROWTH} times "
            "is not read",
            path=path,
            tensor=name,
        )
    return lengths


class LazyMembers(Mapping[str, Member]):
    """Members of which the names are known, and the rest when it is asked for."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Member], version: Any) -> None:
        """``make`` returns a member, or raises ``TfBundleError`` for one that is damaged."""
        self._made: dict[str, Member | None] = dict.fromkeys(names)
        self._make = make
        self._version = version

    def __getitem__(self, name: str) -> Member:
        member = self._made[name]
        if member is None:
            try:
                member = self._make(name)
            except TfBundleError as error:
                member = failed(error, self._version)  # The others are none the worse for it.
            self._made[name] = member
        return member

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class MemberStore:
    """The members of one source."""

    def __init__(
        self,
        path: str,
        members: Mapping[str, Member],
        close: Callable[[], object] = lambda: None,
        reopening: Reopening | None = None,
    ) -> None:
        """``close`` closes the file; ``reopening`` is a picklable function with arguments that opens it again."""
        self.path = path
        self._members = members
        self._close = close
        self._reopening = reopening
        self._closed = False

    def close(self) -> None:
        """Close the file. A later read is a ``ValueError``."""
        self._closed = True
        self._close()

    def reopening(self) -> Reopening:
        """Return how another process opens this store; raises ``TypeError`` for arrays in memory."""
        if self._reopening is None:
            raise TypeError(f"the tensors of {self.path} are in memory, and do not pickle; pickle the arrays")
        return self._reopening

    def records(self) -> dict[str, str]:
        """Return the record of each member, in the order of the file; its name is all that has to be kept of it."""
        return {name: name for name in self._members}

    def all_facts(self) -> Iterable[Facts | None]:
        """Return ``None`` for each member: nothing is gained by asking for all at once."""
        return repeat(None, len(self._members))

    def find(self, name: str) -> str | None:
        """Return the record of a member, or ``None``."""
        return name if name in self._members else None

    def facts(self, name: str, record: str) -> Facts:
        """Return type and shape; raises ``UnsupportedError`` for what is no tensor, ``FormatError`` for damage."""
        self._check_open()
        member = self._members[name]
        if member.problem is not None:
            raise type(member.problem)(member.problem.message, path=self.path, tensor=name)
        return Facts(member.data_type, member.shape, member.slices)

    def ranges(self, name: str, record: str) -> tuple[Range, ...]:
        """Return nothing: where a library finds the bytes is its own business."""
        return ()

    def string_size(self, name: str, record: str) -> None:
        """Return ``None``: no library says it without reading them."""
        return

    def copyable(self, name: str, record: str) -> tuple[()]:
        """Return nothing: no library hands out the bytes as they lie in its file."""
        return ()

    def fingerprint(self, name: str, record: str) -> Any:
        """Return what differs between states of the file."""
        member = self._members[name]
        return member.data_type, member.shape, member.version

    def part(self, name: str, record: str) -> VariablePart | None:
        """Return ``None`` but for averages of checkpoints: the tensors of other programs are whole."""
        return self._members[name].part

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many tensors by name, each of which must be there; with ``mmap`` they are read-only."""
        return read_each(self, names, mmap=mmap)

    def read(self, name: str, record: str) -> Array:
        """Return the whole tensor as an array of its own."""
        facts = self.facts(name, record)
        array = shaped(allocate(facts.data_type, (prod(facts.shape),)), facts.shape)
        flat = array.reshape(-1)
        pos = 0
        for values in self.chunks(name, record):
            flat[pos : pos + len(values)] = values
            pos += len(values)
        return array

    def read_selection(self, name: str, record: str, selection: Selection) -> Array:
        """Return the selected elements in ascending order; the tensor is read whole unless it is partitioned."""
        select = self._members[name].select
        if select is not None:
            self._check_open()
            return select(selection)
        part: Array = self.read(name, record)[selection.grid].copy()
        return part

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.path} is closed; read before close(), or open it again")

    def chunks(self, name: str, record: str) -> Iterator[Array]:
        """Yield the elements from first to last; raises ``FormatError`` where the file has fewer or more."""
        facts, member = self.facts(name, record), self._members[name]
        self._check_open()
        dtype, count, wanted = numpy_dtype(facts.data_type), 0, prod(facts.shape)
        try:
            for values in member.chunks():
                count += len(values)
                if count > wanted:
                    break
                yield values.astype(dtype, copy=False)
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None
        if count != wanted:
            more = " or more" if count > wanted else ""
            raise FormatError(
                f"it has {count} elements{more}, and its shape {list(facts.shape)}", path=self.path, tensor=name
            )


class MemberTensors(TensorMapping):
    """Tensors of a file that another program wrote, or of arrays in memory."""

    def __init__(
        self,
        store: MemberStore,
        format: str,
        *,
        model: TensorMapping | None = None,
        files: tuple[str, ...] | None = None,
    ) -> None:
        """``open_source`` makes these.

        ``model`` has the object graph and slots of what is made from a checkpoint; ``files`` are the paths that are
        read, where they are not that of the store.
        """
        self.files = (store.path,) if files is None else files
        self._store: MemberStore = store
        self._format = format
        self._model = model

    @property
    def prefix(self) -> str:
        """The file."""
        return self._store.path

    @property
    def format(self) -> str:
        """``"npz"``, ``"safetensors"``, ``"hdf5"``, ``"arrays"`` or ``"average"``."""
        return self._format

    @property
    def lost(self) -> tuple[Finding, ...]:
        """Nothing: such files are not salvaged."""
        return ()

    @property
    def objects(self) -> ObjectGraph | None:
        """Nothing for a file: objects are stored in checkpoints."""
        return None if self._model is None else self._model.objects

    @property
    def slots(self) -> frozenset[str]:
        """The names that are those of optimizer slots of TensorFlow 1."""
        if self._model is not None:
            return self._model.slots
        from tfbundle.checkpoint.slots import find_slots

        return frozenset(find_slots(self._store.records(), None))

    @property
    def weights(self) -> frozenset[str]:
        """The names of the tensors that are no slots, counters or settings."""
        from tfbundle.checkpoint.weights import find_weights

        return self._model.weights if self._model is not None else find_weights(self, self.slots, None)

    def __repr__(self) -> str:
        return f"<MemberTensors {self.prefix!r}, {self.format}, {len(self)} tensors>"
