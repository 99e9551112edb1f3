"""The constants of a frozen graph as tensors, with the same interface as those of a checkpoint.

A graph is frozen by replacing its variables with constants, so that it needs no checkpoint. The type and shape of a
``Const`` node are known immediately; its value stays encoded in the message until it is read, and is decoded each time.
There are no checksums, so a value counts as intact if it can be decoded.

A constant may state one element for all of its shape, which costs no bytes in the file. Reading it costs its full size,
so values that are far larger than the file are returned in chunks, or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Iterator, Sized
from functools import cached_property
from itertools import repeat
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.findings import Check, Finding
from tfbundle.graph.constants import constant_facts, decode_constant, string_size
from tfbundle.graph.graph import Graph
from tfbundle.graph.loading import load_graph
from tfbundle.graph.restoring import VARIABLE_OPS
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH, LARGEST_MESSAGE, LARGEST_REPETITION
from tfbundle.plurals import plural
from tfbundle.progress import Progress
from tfbundle.proto import NodeDef
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.arrays import CHUNK, Array, split
from tfbundle.tensors.dtypes import numpy_dtype
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.selection import Selection
from tfbundle.tensors.shared_stores import SharedStores
from tfbundle.tensors.store import Facts, Range, Reopening, read_each

if TYPE_CHECKING:
    import dask.array

    from tfbundle.checkpoint.chosen_names import Names

_FORMAT = "graph"


class ConstantStore:
    """Reads the constants of one graph; the record of each is the number of its node."""

    def __init__(self, graph: Graph, path: str) -> None:
        """Index the constants of a graph; ``open_weights`` creates stores."""
        self.path = path
        self._graph: Graph | None = graph
        self._version = _version_of(path)
        self._shares: dict[tuple[int, int], int] = {}
        constants = graph.constants
        self._records = {name: number for number, name in enumerate(graph.nodes) if name in constants}

    def close(self) -> None:
        """Release the graph; a later read raises ``ValueError``."""
        self._graph = None

    def is_current(self) -> bool:
        """Return whether the path still leads to the version of the file that was read."""
        return self._version is not None and _version_of(self.path) == self._version

    def version(self) -> Hashable:
        """Return the version of the file, or ``None`` if it is gone."""
        return self._version

    def reopening(self) -> Reopening:
        """Return the function and arguments with which another process opens this store."""
        return open_store, (locate(self.path).absolute(),)

    def checks(self, name: str, record: int, absent: Collection[int] = ()) -> Iterator[Check]:
        """Yield the only check of a constant: that it can be decoded; graphs have no checksums."""
        yield Check(0, None, lambda: self._decode(name, record))

    def leave_out(self, names: Collection[str]) -> None:
        """Leave out some of the constants."""
        self._records = {name: record for name, record in self._records.items() if name not in names}

    def records(self) -> dict[str, int]:
        """Return the number of each constant's node by name, in the order of the file."""
        return self._records

    def find(self, name: str) -> int | None:
        """Return the number of a constant's node, or ``None``."""
        return self._records.get(name)

    def facts(self, name: str, record: int) -> Facts:
        """Return type and shape, from the node's attributes."""
        try:
            return Facts(*constant_facts(self._node(record)), ())
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def all_facts(self) -> Iterable[Facts | None]:
        """Return ``None`` for each constant: there is no faster way to get the facts of all."""
        return repeat(None, len(self._records))

    def ranges(self, name: str, record: int) -> tuple[Range, ...]:
        """Return nothing: the position of a value in the file is not known, and a text file has no bytes of it."""
        return ()

    def stored_arrays(self, name: str, record: int) -> tuple[()]:
        """Return an empty tuple, because constants are stored in messages."""
        return ()

    def string_size(self, name: str, record: int) -> int:
        """Return the total size of all strings; raises the errors of ``read``."""
        try:
            return string_size(self._node(record))
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    def copyable(self, name: str, record: int) -> tuple[()]:
        """Return nothing: constants are stored in messages."""
        return ()

    def all_copyable(self) -> Iterable[tuple[()]]:
        """Return an empty tuple for each constant."""
        return repeat((), len(self._records))

    def fingerprint(self, name: str, record: int) -> bytes:
        """Return a hash of the node."""
        return hashlib.sha256(self._node(record).SerializeToString(deterministic=True)).digest()

    def part(self, name: str, record: int) -> None:
        """Return ``None``: constants are whole."""
        return

    def read(self, name: str, record: int) -> Array:
        """Return the whole constant as a new array."""
        values = self._decode(name, record)
        self._check_growth(name, values, values.nbytes, _limit(values))
        array: Array = np.zeros(values.shape, values.dtype) if _repeats_zero(values) else values.copy()
        return array

    def read_many(self, names: list[str], *, mmap: bool) -> dict[str, Array]:
        """Return many constants by name, each of which must exist; with ``mmap`` they are read-only."""
        return read_each(self, names, mmap=mmap)

    def read_selection(self, name: str, record: int, selection: Selection) -> Array:
        """Return the selected elements in ascending order; the whole value is decoded for it."""
        values = self._decode(name, record)
        self._check_growth(name, values, prod(selection.counts) * values.itemsize, _limit(values))
        if _repeats_zero(values):
            return np.zeros(selection.counts, values.dtype)
        part: Array = values[selection.grid].copy()
        return part

    def chunks(self, name: str, record: int) -> Iterator[Array]:
        """Return the elements in order; a single repeated element is expanded in chunks."""
        values = self._decode(name, record)
        self._check_growth(name, values, values.nbytes, LARGEST_MESSAGE)
        return _repeat(values) if _repeats_one(values) else split(values)

    def _decode(self, name: str, record: int) -> Array:
        size, limit = self._made_up.get(name, (0, 0))
        if limit == LARGEST_EXPANSION and size > self._share(limit, limit):
            raise self._too_many(name, LARGEST_EXPANSION)
        try:
            return decode_constant(self._node(record))
        except TfBundleError as error:
            raise error.locate(path=self.path, tensor=name) from None

    @cached_property
    def _made_up(self) -> dict[str, tuple[int, int]]:
        """The number of bytes by which each constant exceeds the file, and the limit for all constants of its kind."""
        made_up = {}
        for name, record in self._records.items():
            node = self._node(record)
            try:
                data_type, shape = constant_facts(node)
                size = prod(shape) * numpy_dtype(data_type).itemsize - LARGEST_EXPANSION_GROWTH * node.ByteSize()
                if size > 0:
                    made_up[name] = size, _limit(decode_constant(node)) if _states_one(node) else LARGEST_EXPANSION
            except TfBundleError:
                continue  # Decoding reports the error.
        return made_up

    def _share(self, limit: int, most: int) -> int:
        """Return how many expanded bytes each constant with this limit may have, so that the total is at most ``most``.

        Constants that exceed the limit by themselves do not count.
        """
        key = limit, most
        if key not in self._shares:
            sizes = [size for size, kind in self._made_up.values() if kind == limit and size <= most]
            self._shares[key] = most if sum(sizes) <= most else most // len(sizes)
        return self._shares[key]

    def _check_growth(self, name: str, values: Array, nbytes: int, most: int) -> None:
        if nbytes > most and _repeats_one(values):
            raise UnsupportedError(
                f"it repeats one value of {values.itemsize} bytes and would take {nbytes} bytes, more than the limit "
                f"of {most}; tfbundle.load_graph(path).constants has it as a view that takes no memory",
                path=self.path,
                tensor=name,
            )
        if _repeats_one(values) and nbytes > self._share(_limit(values), most):
            raise self._too_many(name, most)

    def _too_many(self, name: str, most: int) -> UnsupportedError:
        """Return the error for a constant that takes more than its share.

        A caller that reads one of them may read all, which would multiply the limit of one.
        """
        return UnsupportedError(
            f"several constants state only some of their elements and would take more than {most} bytes together; "
            "tfbundle.load_graph(path).constants decodes each one separately",
            path=self.path,
            tensor=name,
        )

    def _node(self, record: int) -> NodeDef:
        if self._graph is None:
            raise ValueError(f"the graph {self.path} is closed; read before close(), or open it again")
        return self._graph.proto.node[record]


def _repeats_zero(values: Array) -> bool:
    """Return whether an array repeats a number whose bytes are zeros, which takes memory only when written to."""
    return _repeats_one(values) and not values.dtype.hasobject and not any(values[(0,) * values.ndim].tobytes())


def _limit(values: Array) -> int:
    """Return the largest size in bytes to which an array may be expanded in memory."""
    return LARGEST_MESSAGE if _repeats_zero(values) else LARGEST_REPETITION


def _repeats_one(values: Array) -> bool:
    """Return whether an array has a single element in memory that is repeated."""
    return values.size > 1 and not any(
        stride for stride, length in zip(values.strides, values.shape, strict=True) if length > 1
    )


def _repeat(values: Array) -> Iterator[Array]:
    """Yield the elements of an array that repeats one element, as flat arrays of bounded size."""
    chunk = np.full(min(values.size, CHUNK // values.itemsize), values[(0,) * values.ndim], values.dtype)
    for start in range(0, values.size, len(chunk)):
        yield chunk[: values.size - start]


def _states_one(node: NodeDef) -> bool:
    """Return whether the value of a constant states a single element or none."""
    lists = (values for _, values in node.attr["value"].tensor.ListFields() if isinstance(values, Sized))
    return sum(map(len, lists)) <= 1


class GraphWeights(TensorMapping):
    """The constants of a graph by node name: the weights of a frozen model and its other constants.

    Its tensors are lazy, as in a checkpoint. A part of one can be read too, but the whole tensor is decoded for it.
    """

    def __init__(self, store: ConstantStore, lost: tuple[Finding, ...] | None = None) -> None:
        """Wrap a store; ``lost`` is ``None`` if ``open_weights`` was called without ``salvage``."""
        self._store: ConstantStore = store
        self._lost = lost

    @property
    def prefix(self) -> str:
        """The graph's file."""
        return self._store.path

    @property
    def format(self) -> str:
        """``"graph"``."""
        return _FORMAT

    @property
    def lost(self) -> tuple[Finding, ...]:
        """With ``salvage=True``, the constants that cannot be decoded and the reasons."""
        return self._lost or ()

    @property
    def objects(self) -> None:
        """Always ``None``: only checkpoints store objects."""
        return

    @property
    def slots(self) -> frozenset[str]:
        """Always empty: a frozen graph has no optimizer."""
        return frozenset()

    @property
    def weights(self) -> frozenset[str]:
        """The names of all constants."""
        return frozenset(self)

    def to_dask(self, names: Names = None, chunk_bytes: int | None = None) -> dict[str, dask.array.Array]:
        """Return the tensors that ``names`` selects, as in ``load``, as dask arrays; see ``Tensor.to_dask``."""
        from tfbundle.checkpoint.chosen_names import select_names
        from tfbundle.tensors.dask_arrays import CHUNK_BYTES, dask_arrays

        return dask_arrays(self, select_names(self, names), CHUNK_BYTES if chunk_bytes is None else chunk_bytes)

    def __repr__(self) -> str:
        return f"<GraphWeights {self.prefix!r}, {plural(len(self), 'constant')}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return open_weights, (locate(self.prefix).absolute(), self._lost is not None)


def open_weights(path: StrPath, salvage: bool = False) -> GraphWeights:
    """Return the constants of the frozen graph at ``path``, which may be any path that ``load_graph`` accepts.

    ``salvage=True`` leaves out constants that cannot be decoded. Raises the errors of ``load_graph``, and
    ``UnsupportedError`` if the graph is not frozen, that is, if it has variables or no constants.
    """
    graph = load_graph(path)
    variables = sum(graph.op_counts[op] for op in VARIABLE_OPS)
    if variables:
        wanted = f"{variables} variable{'' if variables == 1 else 's'}"
        raise UnsupportedError(
            f"{graph} is a graph that requires {wanted}, whose values it does not contain; pass the checkpoint that "
            "was saved with it",
            path=graph.path,
        )
    if not graph.op_counts["Const"]:
        raise UnsupportedError(f"{graph} is a graph without constants, so it contains no tensors", path=graph.path)
    store = ConstantStore(graph, graph.path or locate(path).path)
    if not salvage:
        return GraphWeights(store)
    lost = check_constants(store)
    store.leave_out({finding.tensor for finding in lost if finding.tensor is not None})
    return GraphWeights(store, lost)


def check_constants(store: ConstantStore, progress: Progress | None = None) -> tuple[Finding, ...]:
    """Return a finding for each constant that cannot be decoded; ``progress`` counts constants."""
    findings = []
    records = store.records()
    for done, (name, record) in enumerate(records.items(), 1):
        for check in store.checks(name, record):
            try:
                check.run()
            except TfBundleError as error:
                findings.append(check.finding(error, name, store.path))
        if progress is not None:
            progress(done, len(records))
    return tuple(findings)


def open_store(path: StrPath) -> ConstantStore:
    """Return the store of a frozen graph, shared by all of its unpickled tensors."""
    return _shared.get(locate(path), lambda: open_weights(path)._store)


_shared: SharedStores[ConstantStore] = SharedStores()


def _version_of(path: str) -> Hashable:
    """Return the version of the file at a path, or ``None`` if there is none."""
    try:
        source = locate(path).open()
    except (TfBundleError, OSError):
        return None
    source.close()
    return source.version
