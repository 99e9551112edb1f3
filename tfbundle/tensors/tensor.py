"""One tensor of a checkpoint: known at once, read when asked for.

The contract, whatever the file's format:

1. Making a ``Tensor`` and asking for its name, shape or dtype reads no tensor data.
2. ``read()`` returns an array that the caller owns, in native byte order, after its checksum has been verified.
3. ``tensor[index]`` equals ``tensor.read()[index]`` for every basic index, and reads only the bytes that it needs.
4. There is no cursor: any number of threads may read one tensor.
5. A tensor pickles as the place where it lies. The copy reopens the file when it is first read, and raises
   ``FormatError`` if another checkpoint has taken that place since.

How bytes become arrays is the business of a ``TensorStore``; each format implements one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import DT_STRING, data_type_name, numpy_dtype
from tfbundle.tensors.selection import parse_index
from tfbundle.tensors.store import Copyable, Range, TensorStore

if TYPE_CHECKING:
    from tfbundle.tensors.slices import TensorSlice
    from tfbundle.tensors.store import Facts


class Origin(NamedTuple):
    """Where a pickled tensor comes from: how to open its store again, and what it has to be recognised by there."""

    reopen: Callable[..., TensorStore]
    arguments: tuple[Any, ...]
    fingerprint: Any


class Tensor:
    """A tensor in a checkpoint: its facts at hand, its values in the file.

    ``tensor.read()`` or ``np.asarray(tensor)`` gives the whole array; ``tensor[10:20, :]`` reads a part, for which
    integers, slices with any step, ``...`` and ``np.newaxis`` will do. In a V2 checkpoint the checksum covers a tensor
    as a whole, so that a part **cannot be verified** (except of strings, which are always read whole); call ``read()``
    where that matters more than speed. Parts of V1 tensors are verified.

    Attributes that describe the tensor raise ``FormatError`` if what the file says of it makes no sense; the
    other tensors of the checkpoint stay readable.
    """

    __slots__ = ("_facts", "_origin", "_record", "_store", "name")

    name: str
    """The tensor's name; bytes in it that are not UTF-8 are escaped by ``surrogateescape``."""

    def __init__(
        self,
        store: TensorStore | None,
        name: str,
        record: Any,
        facts: Facts | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Checkpoints make these; an unpickled one has an origin, and opens its store when it is first read."""
        self.name = name
        self._store = store
        self._record = record
        self._facts = facts
        self._origin = origin

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension; ``()`` for a scalar."""
        # Listings ask for the shapes of a hundred thousand tensors, so this does without a call where it can.
        facts = self._facts
        return (self._known() if facts is None else facts).shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._known().shape)

    @property
    def size(self) -> int:
        """The number of elements, as in numpy."""
        return prod(self._known().shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of what ``read()`` returns.

        bfloat16, float8, float4, int4 and int2 are those of ``ml_dtypes``; quantised types are plain integers;
        strings and variants are ``object``. Raises ``UnsupportedError`` for a type that no array holds.
        """
        return numpy_dtype(self._known().data_type)

    @property
    def data_type(self) -> str:
        """TensorFlow's name of the type, such as ``"DT_QINT8"``."""
        return data_type_name(self._known().data_type)

    @property
    def nbytes(self) -> int:
        """The bytes that the values take: of the array, or for strings and variants of what the file stores."""
        if self.dtype.hasobject:
            ranges = self.ranges
            if ranges:
                return sum(place.size for place in ranges)
            size = self._open().string_size(self.name, self._record)
            return sum(map(len, self.read().flat)) if size is None else size
        return self.size * self.dtype.itemsize

    @property
    def slices(self) -> tuple[TensorSlice, ...]:
        """The boxes in which a partitioned tensor is stored, or ``()``."""
        return self._known().slices

    @property
    def region(self) -> TensorSlice | None:
        """Where in a larger tensor these values belong, or ``None`` for a tensor of its own.

        TensorFlow 1 stores the slots of each part of a partitioned variable as one slice of a tensor of the variable's
        shape, ``whole_shape``. ``shape`` and values are those of the part: ``whole[tensor.region.index] = tensor``.
        """
        part = self._open().part(self.name, self._record)
        return None if part is None else part.region

    @property
    def whole_shape(self) -> tuple[int, ...]:
        """The shape of the tensor of which this one is a part (``region``), and otherwise its own."""
        part = self._open().part(self.name, self._record)
        return self.shape if part is None else part.shape

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Where the tensor lies: file, offset, size and checksum of each stored slice; ``()`` in a graph."""
        return self._open().ranges(self.name, self._record)

    def copyable(self) -> Sequence[Copyable]:
        """Return the stored arrays that the tensor consists of, to be copied as they are.

        There are none where the file has the values in another form than the checkpoints that are written here.
        """
        return self._open().copyable(self.name, self._record)

    def read(self) -> Array:
        """Return the tensor as an array that the caller owns, without dimensions for a scalar.

        Its checksum is verified unless the checkpoint was opened with ``verify=False``. Raises ``ChecksumError``
        where it does not match, ``TruncatedError`` and ``MissingFileError`` where bytes or a file are not there,
        and ``FormatError`` where slices are missing, or the file was replaced while it was read.
        """
        return self._open().read(self.name, self._record)

    def __getitem__(self, index: Any) -> Any:
        """Return the part that a basic index selects, as an array that the caller owns (a numpy scalar if all
        integers).

        The bytes of numbers in a V2 checkpoint are not verified: the checksum is one over the whole tensor. Raises
        ``FormatError`` once another checkpoint has taken the place of this one, and otherwise as ``read`` does;
        ``TypeError`` for an index that is not a basic one, and ``IndexError`` as numpy does.
        """
        selection = parse_index(index, self.shape)
        return selection.finish(self._open().read_selection(self.name, self._record, selection))

    def chunks(self) -> Iterator[Array]:
        """All elements in C order, as flat arrays of about a megabyte, one after the other.

        For tensors that should not lie in memory whole; strings, and what a V1 checkpoint holds, do all the same. What
        ``read()`` raises for damage is raised here by the last step, so that the arrays count only once the iterator
        is at its end.
        """
        return self._open().chunks(self.name, self._record)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a tensor in a file becomes an array by reading, which is a copy; leave out copy=False")
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        # Reading once is far cheaper than the item by item access that Python would fall back to.
        return iter(self.read())

    def __int__(self) -> int:
        return int(self._read_scalar())

    def __float__(self) -> float:
        return float(self._read_scalar())

    def __complex__(self) -> complex:
        return complex(self._read_scalar())

    def __bool__(self) -> bool:
        # A tensor is a thing that is there. Its truth as an array would need the file.
        return True

    def __repr__(self) -> str:
        try:
            facts = self._known()
            slices = f", {len(facts.slices)} slices" if facts.slices else ""
            size = "" if facts.data_type == DT_STRING else f", {self.nbytes} bytes"
            dtype = f"{self.dtype} ({self.data_type})"
            return f"<Tensor {self.name!r} shape={facts.shape} dtype={dtype}{size}{slices}>"
        except (TfBundleError, ValueError) as error:
            return f"<Tensor {self.name!r}, unreadable: {error}>"

    def __reduce__(self) -> tuple[Any, ...]:
        origin = self._origin
        if origin is None:
            store = self._open()
            origin = Origin(*store.reopening(), store.fingerprint(self.name, self._record))
        return Tensor, (None, self.name, self._record, self._known(), origin)

    def _read_scalar(self) -> Array:
        if self.shape:
            raise TypeError(f"{self.name!r} has the shape {list(self.shape)}, so that it is no single number")
        return self.read()

    def _known(self) -> Facts:
        facts = self._facts
        if facts is None:
            store = self._store or self._open()
            facts = self._facts = store.facts(self.name, self._record)
        return facts

    def _open(self) -> TensorStore:
        store = self._store
        if store is None:
            assert self._origin is not None  # A tensor has the one or the other.
            function, arguments, fingerprint = self._origin
            store = function(*arguments)
            found = store.find(self.name)
            if found is None:
                raise FormatError(
                    f"{store.path} no longer holds {self.name!r}, which it did when the tensor was pickled; "
                    "a file of the checkpoint was deleted or replaced since",
                    path=store.path,
                    tensor=self.name,
                )
            if found != self._record or store.fingerprint(self.name, self._record) != fingerprint:
                raise FormatError(
                    f"{store.path} holds another {self.name!r} than when the tensor was pickled; "
                    "the checkpoint was replaced since",
                    path=store.path,
                    tensor=self.name,
                )
            self._store = store
        return store
