"""Tensors from other sources than checkpoints, with the same interface.

A file of another program lists its tensors when it is opened, each as a ``Member`` with type, shape and a function that
reads it. ``Tensor`` needs nothing else, so ``convert`` and everything else that accepts a mapping of tensors works on
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.findings import Finding
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH, LARGEST_RANK
from tfbundle.plurals import plural
from tfbundle.tensors.arrays import Array, allocate, shaped
from tfbundle.tensors.dtypes import DT_STRING, numpy_dtype
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.selection import Selection
from tfbundle.tensors.store import Facts, Range, Reopening, read_each

if TYPE_CHECKING:
    from tfbundle.checkpoint.objects import ObjectGraph
    from tfbundle.tensors.parts import VariablePart
    from tfbundle.tensors.slices import TensorSlice


# The overhead of a short string in memory, in bytes.
_STRING_SIZE = 48
# The variables of an optimizer in .weights.h5 and .keras, and in the older .h5; LossScaleOptimizer wraps another one.
_KERAS_OPTIMIZER = re.compile(r"optimizer/(?:\w+/)*vars/|optimizer_weights/")
# The statistics of metrics, and the states of random generators of layers.
_KERAS_STATE = re.compile(r"metrics/(?:\w+/)*vars/|(?:.*/)?seed_generator(?:_\d+)?/vars/", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """One tensor of a file: TensorFlow's number of its type, its shape, and how to read it.

    ``chunks`` yields flat arrays in native byte order, which are the elements in C order. ``problem`` states why a
    member is not a readable tensor. ``version`` differs between states of a file. ``part`` is where a part of a
    partitioned variable belongs. A partitioned tensor has ``slices``, and ``select`` reads elements inside one of them;
    ``ranges`` are their places, if they are stored in files.
    """

    data_type: int
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[Array]]
    version: Any = None
    problem: TfBundleError | None = None
    part: VariablePart | None = None
    slices: tuple[TensorSlice, ...] = ()
    select: Callable[[Selection], Array] | None = None
    ranges: tuple[Range, ...] = ()


def failed(problem: TfBundleError, version: Any = None) -> Member:
    """Return a member that has a name but no tensor, because it is damaged or of another kind."""
    return Member(DT_STRING, (), lambda: iter(()), version, problem)


def unsupported(problem: str, version: Any = None) -> Member:
    """Return a member that is not a tensor."""
    return failed(UnsupportedError(problem), version)


def check_shape(shape: Iterable[Any], dtype: np.dtype[Any], stored: int, name: str, path: str) -> tuple[int, ...]:
    """Return a shape that a file states, after comparing its size with the ``stored`` bytes.

    Raises ``FormatError`` for an invalid shape, and ``UnsupportedError`` for data that would expand far beyond the
    stored bytes, as only zeros and crafted files do.
    """
    lengths = tuple(shape)
    # Strings become Python objects.
    itemsize = dtype.itemsize + (_STRING_SIZE if dtype.kind in "SUO" else 0)
    if len(lengths) > LARGEST_RANK or not all(type(length) is int and 0 <= length < 1 << 62 for length in lengths):
        raise FormatError(f"it states the shape {str(lengths)[:100]}", path=path, tensor=name)
    nbytes = prod(lengths) * itemsize
    if nbytes > max(LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH * stored):
        raise UnsupportedError(
            f"it takes {nbytes} bytes and is stored in {stored}; data that expands more than "
            f"{LARGEST_EXPANSION_GROWTH} times is not read",
            path=path,
            tensor=name,
        )
    return lengths


class LazyMembers(Mapping[str, Member]):
    """Members whose names are known, and whose metadata is read on first access."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Member], version: Any) -> None:
        """Call ``make`` for each member on first access; it raises ``TfBundleError`` for a damaged one."""
        self._made: dict[str, Member | None] = dict.fromkeys(names)
        self._make = make
        self._version = version

    def __getitem__(self, name: str) -> Member:
        member = self._made[name]
        if member is None:
            try:
                member = self._make(name)
            except TfBundleError as error:
                member = failed(error, self._version)  # The other members stay readable.
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
        """Use ``close`` to close the file; ``reopening`` is a picklable function and its arguments, which reopen it."""
        self.path = path
        self._members = members
        self._close = close
        self._reopening = reopening
        self._closed = False

    def close(self) -> None:
        """Close the file. A later read raises ``ValueError``."""
        self._closed = True
        self._close()

    def version(self) -> None:
        """Return ``None``, because fingerprints include the version of each member."""
        return

    def reopening(self) -> Reopening:
        """Return how another process opens this store; raise ``TypeError`` for arrays in memory."""
        if self._reopening is None:
            raise TypeError(f"the tensors of {self.path} are in memory and cannot be pickled; pickle the arrays")
        return self._reopening

    def records(self) -> dict[str, str]:
        """Return the record of each member, which is its name, in the order of the file."""
        return {name: name for name in self._members}

    def all_facts(self) -> Iterable[Facts | None]:
        """Return ``None`` for each member, because reading all together has no advantage."""
        return repeat(None, len(self._members))

    def find(self, name: str) -> str | None:
        """Return the record of a member, or ``None``."""
        return name if name in self._members else None

    def facts(self, name: str, record: str) -> Facts:
        """Return type and shape; raise ``UnsupportedError`` if it is not a tensor, ``FormatError`` if it is damaged."""
        self._check_open()
        member = self._members[name]
        if member.problem is not None:
            raise type(member.problem)(member.problem.message, path=self.path, tensor=name)
        return Facts(member.data_type, member.shape, member.slices)

    def ranges(self, name: str, record: str) -> tuple[Range, ...]:
        """Return the places of a tensor that is made from those of a checkpoint; libraries do not report them."""
        return self._members[name].ranges

    def stored_arrays(self, name: str, record: str) -> tuple[()]:
        """Return an empty tuple, because libraries do not report where arrays are."""
        return ()

    def string_size(self, name: str, record: str) -> None:
        """Return ``None``, because libraries do not report it without reading the strings."""
        return

    def copyable(self, name: str, record: str) -> tuple[()]:
        """Return an empty tuple, because libraries do not return the stored bytes."""
        return ()

    def all_copyable(self) -> Iterable[tuple[()]]:
        """Return an empty tuple for each member."""
        return repeat((), len(self._members))

    def fingerprint(self, name: str, record: str) -> Any:
        """Return a value that differs between states of the file."""
        member = self._members[name]
        return member.data_type, member.shape, member.version

    def part(self, name: str, record: str) -> VariablePart | None:
        """Return ``None`` except for averages of checkpoints, because the tensors of other programs are whole."""
        return self._members[name].part

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many tensors by name, each of which must exist; with ``mmap`` they are read-only."""
        return read_each(self, names, mmap=mmap)

    def read(self, name: str, record: str) -> Array:
        """Return the whole tensor as an array that the caller owns."""
        facts = self.facts(name, record)
        if numpy_dtype(facts.data_type).hasobject:
            # Only strings that were read are known to exist; a shape may state any number of them.
            return shaped(np.concatenate([np.empty(0, object), *self.chunks(name, record)]), facts.shape)
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
        """Yield the elements from first to last; raise ``FormatError`` if the file has fewer or more."""
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
                f"it has {count} elements{more}, but its shape is {list(facts.shape)}", path=self.path, tensor=name
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
        """Represent the tensors of a store.

        ``model`` has the object graph and slots of tensors that are made from a checkpoint; ``files`` are the paths
        that are read, if they differ from that of the store.
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
        """Always empty, because such files are not salvaged."""
        return ()

    @property
    def objects(self) -> ObjectGraph | None:
        """The object graph of the model, or ``None`` for a file, because only checkpoints store objects."""
        return None if self._model is None else self._model.objects

    @property
    def slots(self) -> frozenset[str]:
        """The names that optimizer slots of TensorFlow 1 have, and the arrays of a Keras optimizer in HDF5."""
        if self._model is not None:
            return self._model.slots
        from tfbundle.checkpoint.slots import find_slots

        # Keras stores a scalar for each counter and setting; the other arrays are slots.
        of_keras = frozenset(name for name in self._of_optimizer() if self[name].shape)
        return of_keras.union(find_slots(self._store.records(), None))

    @property
    def weights(self) -> frozenset[str]:
        """The names of the tensors that are not slots, counters or settings."""
        from tfbundle.checkpoint.weights import find_weights

        if self._model is not None:
            return self._model.weights
        of_keras = frozenset(filter(_KERAS_STATE.match, self)) if self._format == "hdf5" else frozenset()
        return find_weights(self, self.slots, None).difference(self._of_optimizer(), of_keras)

    def _of_optimizer(self) -> frozenset[str]:
        """Return the names of the variables of an optimizer that Keras stored in HDF5."""
        if self._format != "hdf5":
            return frozenset()
        return frozenset(name for name in self if _KERAS_OPTIMIZER.match(name))

    def __repr__(self) -> str:
        return f"<MemberTensors {self.prefix!r}, {self.format}, {plural(len(self), 'tensor')}>"
