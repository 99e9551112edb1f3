"""One tensor of a checkpoint, whose values are read on request.

The contract, whatever the file's format:

1. Creating a ``Tensor`` and accessing its name, shape or dtype reads no tensor data.
2. ``read()`` returns an array that the caller owns, in native byte order, after its checksum has been verified.
3. ``tensor[index]`` equals ``tensor.read()[index]`` for every basic index, and reads only the bytes that it needs.
4. There is no cursor: any number of threads may read one tensor.
5. A tensor pickles as a reference to its file. The copy reopens the file when it is first read, and raises
   ``FormatError`` if the checkpoint has been replaced since.

A ``TensorStore`` turns bytes into arrays; each format implements one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.notebook import render, safe_view, view_of
from tfbundle.plurals import plural
from tfbundle.printable import escape_name
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import DT_STRING, data_type_name, is_variant, numpy_dtype
from tfbundle.tensors.selection import parse_index
from tfbundle.tensors.store import Copyable, Range, TensorStore

if TYPE_CHECKING:
    import dask.array
    import matplotlib.axes

    from tfbundle.tensors.parts import VariablePart
    from tfbundle.tensors.selection import Selection
    from tfbundle.tensors.slices import TensorSlice
    from tfbundle.tensors.store import Facts, StoredArray


class Origin(NamedTuple):
    """Where a pickled tensor comes from: how to reopen its store, and the fingerprint that it must have there."""

    reopen: Callable[..., TensorStore]
    arguments: tuple[Any, ...]
    fingerprint: Any


class Tensor:
    """A tensor in a checkpoint: its metadata is in memory, its values are in the file.

    ``tensor.read()`` or ``np.asarray(tensor)`` returns the whole array; ``tensor[10:20, :]`` reads a part of it.
    Indices may be integers, slices with any step, ``...`` and ``np.newaxis``. In a V2 checkpoint the checksum covers
    the whole tensor, so a part **cannot be verified** (except of strings, which are always read whole); call
    ``read()`` where that matters more than speed. Parts of V1 tensors are verified.

    Attributes that describe the tensor raise ``FormatError`` if its metadata in the file is invalid; the other tensors
    of the checkpoint stay readable.
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
        """Refer to a tensor in ``store``; an unpickled one has an origin, and opens its store when it is first read."""
        self.name = name
        self._store = store
        self._record = record
        self._facts = facts
        self._origin = origin

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each dimension; ``()`` for a scalar."""
        # Listings access the shapes of a hundred thousand tensors, so this avoids a call where it can.
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
        """The numpy dtype of the array that ``read()`` returns.

        bfloat16, float8, float4, int4 and int2 are those of ``ml_dtypes``; quantised types are plain integers;
        strings and variants are ``object``. Raises ``UnsupportedError`` for a type that no array can hold.
        """
        return numpy_dtype(self._known().data_type)

    @property
    def data_type(self) -> str:
        """TensorFlow's name of the type, such as ``"DT_QINT8"``."""
        return data_type_name(self._known().data_type)

    @property
    def nbytes(self) -> int:
        """The size of the values in bytes: in the array, or for strings and variants in the file."""
        if self.dtype.hasobject:
            ranges = self.ranges
            if ranges:
                return sum(place.size for place in ranges)
            size = self._open().string_size(self.name, self._record)
            return sum(map(_size_of, self.read().flat)) if size is None else size
        return self.size * self.dtype.itemsize

    @property
    def slices(self) -> tuple[TensorSlice, ...]:
        """The boxes in which a partitioned tensor is stored, or ``()``."""
        return self._known().slices

    @property
    def region(self) -> TensorSlice | None:
        """Where in a larger tensor these values belong, or ``None`` for a separate tensor.

        TensorFlow 1 stores the slots of each part of a partitioned variable as one slice of a tensor of the variable's
        shape, ``whole_shape``. ``shape`` and values are those of the part: ``whole[tensor.region.index] = tensor``.
        """
        part = self._open().part(self.name, self._record)
        return None if part is None else part.region

    @property
    def whole_shape(self) -> tuple[int, ...]:
        """The shape of the tensor that this one is a part of (``region``), or else its own shape."""
        part = self._open().part(self.name, self._record)
        return self.shape if part is None else part.shape

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Where the tensor is stored: file, offset, size and checksum of each slice; ``()`` in a graph."""
        return self._open().ranges(self.name, self._record)

    def copyable(self) -> Sequence[Copyable]:
        """Return the stored arrays that the tensor consists of, to be copied unchanged.

        The sequence is empty if the file stores the values in another form than the checkpoints written by tfbundle.
        """
        return self._open().copyable(self.name, self._record)

    def stored_arrays(self) -> Sequence[StoredArray]:
        """Return the arrays in files that together are the tensor.

        The sequence is empty if the values are stored in another form, such as strings, and in a graph. Raises the
        errors of ``read`` for a file that is missing or too short, and for missing slices.
        """
        return self._open().stored_arrays(self.name, self._record)

    def read(self) -> Array:
        """Return the tensor as an array that the caller owns, with shape ``()`` for a scalar.

        Its checksum is verified unless the checkpoint was opened with ``verify=False``. Raises ``ChecksumError``
        if it does not match, ``TruncatedError`` or ``MissingFileError`` if bytes or a file are missing, and
        ``FormatError`` if slices are missing, or the file was replaced while it was read.
        """
        return self._open().read(self.name, self._record)

    def __getitem__(self, index: Any) -> Any:
        """Return the part that a basic index selects, as an array that the caller owns.

        If the index consists of integers alone, the result is a numpy scalar. The bytes of numbers in a V2 checkpoint
        are not verified, because one checksum covers the whole tensor. Raises ``FormatError`` once the checkpoint has
        been replaced, ``TypeError`` for an index that is not a basic one, ``IndexError`` as numpy does, and otherwise
        the errors of ``read``.
        """
        selection = parse_index(index, self.shape)
        return selection.finish(self._open().read_selection(self.name, self._record, selection))

    def chunks(self) -> Iterator[Array]:
        """Return an iterator over all elements in C order, as flat arrays of about a megabyte.

        For tensors that should not be in memory whole; strings and tensors of V1 checkpoints are nevertheless. The
        errors that ``read()`` raises for damage may be raised as late as by the last step, so the arrays must not be
        trusted until the iterator is exhausted.
        """
        return self._open().chunks(self.name, self._record)

    def to_dask(self, chunk_bytes: int | None = None) -> dask.array.Array:
        """Return the tensor as a dask array, whose chunks are read when they are computed.

        A chunk is a run of rows of at most ``chunk_bytes`` (128 MiB by default) and is read by one request; rows that
        are larger are divided along the second dimension, and so on. The slices of a partitioned tensor are divided
        separately. Strings and variants are one chunk. The tensors of V1 checkpoints and graphs may have to be decoded
        whole for each chunk, so few large chunks suit them.

        The array refers to the files, and not to the open checkpoint: it may be computed after ``close()``, in other
        processes, and on other machines that have the files under the same path or URL. Its name depends on the
        version of the file.

        In a V2 checkpoint one checksum covers the whole tensor, or a whole slice of a partitioned one. Chunks that are
        that, like every tensor up to ``chunk_bytes``, are verified; **others cannot be**.

        Raises ``UnsupportedError`` if dask is not installed or there would be too many chunks. Computing raises
        ``FormatError`` if the checkpoint was replaced, and the errors of ``read``.
        """
        from tfbundle.tensors.dask_arrays import CHUNK_BYTES, dask_array

        return dask_array(self, CHUNK_BYTES if chunk_bytes is None else chunk_bytes)

    def hist(self, bins: int = 64, *, axes: matplotlib.axes.Axes | None = None, **options: Any) -> matplotlib.axes.Axes:
        """Plot a histogram of the finite values with matplotlib, and return the axes.

        The tensor is read twice, in chunks, and verified. ``axes`` are those to draw on, by default those of the
        current figure; ``options`` are those of ``Axes.stairs``. Raises ``UnsupportedError`` if matplotlib is not
        installed or the values are not real numbers, and the errors of ``read``.
        """
        from tfbundle.plots import axes_or_new
        from tfbundle.tensors.histogram import count_values

        counts, edges = count_values(self, bins)
        drawn = axes_or_new(axes, "hist")
        drawn.stairs(counts, edges, **{"fill": True, **options})
        drawn.set_title(escape_name(self.name), parse_math=False)
        return drawn

    def __dask_tokenize__(self) -> str:
        store = self._open()
        fingerprint = store.fingerprint(self.name, self._record)
        state = repr((store.path, store.version(), self.name, self._record, fingerprint))
        return sha256(state.encode("utf-8", "surrogateescape")).hexdigest()

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
        # A tensor object always exists. Its truth value as an array would require reading the file.
        return True

    def __repr__(self) -> str:
        try:
            facts = self._known()
            slices = f", {plural(len(facts.slices), 'slice')}" if facts.slices else ""
            size = "" if facts.data_type == DT_STRING else f", {plural(self.nbytes, 'byte')}"
            dtype = f"{self.dtype} ({self.data_type})"
            return f"<Tensor {self.name!r} shape={facts.shape} dtype={dtype}{size}{slices}>"
        except (TfBundleError, ValueError) as error:
            return f"<Tensor {self.name!r}, unreadable: {error}>"

    @safe_view
    def _repr_html_(self) -> str:
        facts = self._known()
        is_text = self.dtype.hasobject
        return render(
            f"Tensor {self.name}",
            {
                "dtype": f"{self.dtype} ({self.data_type})",
                "shape": view_of(facts.shape),
                "elements": self.size,
                "bytes": None if is_text else self.nbytes,
                "slices": len(facts.slices) or None,
            },
        )

    def __reduce__(self) -> tuple[Any, ...]:
        origin = self._origin
        if origin is None:
            store = self._open()
            origin = Origin(*store.reopening(), store.fingerprint(self.name, self._record))
        return Tensor, (None, self.name, self._record, self._known(), origin)

    def _read_scalar(self) -> Array:
        if self.shape:
            raise TypeError(f"{self.name!r} has shape {list(self.shape)}; only a scalar converts to a Python number")
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
            assert self._origin is not None  # A tensor has a store or an origin.
            function, arguments, fingerprint = self._origin
            store = function(*arguments)
            found = store.find(self.name)
            if found is None:
                raise FormatError(
                    f"{store.path} no longer contains {self.name!r}, as it did when the tensor was pickled; "
                    "a file of the checkpoint was deleted or replaced since",
                    path=store.path,
                    tensor=self.name,
                )
            if found != self._record or store.fingerprint(self.name, self._record) != fingerprint:
                raise FormatError(
                    f"{store.path} contains a different {self.name!r} than when the tensor was pickled; "
                    "the checkpoint was replaced since",
                    path=store.path,
                    tensor=self.name,
                )
            self._store = store
        return store


def facts_of(tensor: Tensor) -> Facts:
    """Return the data type, shape and slices that the index states."""
    return tensor._known()


def part_of(tensor: Tensor) -> VariablePart | None:
    """Return where a tensor belongs that is a slot of a part of a variable; ``None`` for any other."""
    return tensor._open().part(tensor.name, tensor._record)


def read_selection(tensor: Tensor, selection: Selection) -> Array:
    """Return the selected elements of a tensor, as ``TensorStore.read_selection`` does."""
    return tensor._open().read_selection(tensor.name, tensor._record, selection)


def _size_of(element: Any) -> int:
    """Return the size in bytes of a string, or of the message of a variant."""
    size: int = element.ByteSize() if is_variant(element) else len(element)
    return size
