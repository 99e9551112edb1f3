"""Lazy tensors by name: the interface of a checkpoint, and of the constants of a graph.

``ls``, ``show``, ``diff``, ``fingerprint`` and ``convert`` accept either, and therefore use only this interface.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import repeat
from typing import TYPE_CHECKING, Any

from tfbundle.errors import TfBundleError
from tfbundle.notebook import Table, render, safe_view, view_of
from tfbundle.tensors.dtypes import python_name
from tfbundle.tensors.store import Copyable, TensorStore
from tfbundle.tensors.tensor import Tensor

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from tfbundle.checkpoint.objects import ObjectGraph
    from tfbundle.findings import Finding


class TensorMapping(Mapping[str, Tensor]):
    """A mapping from names to lazy ``Tensor`` objects.

    Names are in the order of the file. The mapping is a context manager; arrays that were read stay valid after it is
    closed, and reading from it then raises ``ValueError``. Any number of threads may use it.
    """

    _store: TensorStore
    _closed = False

    @property
    @abstractmethod
    def prefix(self) -> str:
        """The path that its files have in common, or the path of its only file."""

    @property
    @abstractmethod
    def format(self) -> str:
        """How the tensors are stored, in one word."""

    @property
    @abstractmethod
    def lost(self) -> tuple[Finding, ...]:
        """What ``salvage=True`` could not recover, and why; ``()`` if nothing is missing."""

    @property
    @abstractmethod
    def objects(self) -> ObjectGraph | None:
        """The graph of the saved objects, or ``None`` if none is stored."""

    @property
    @abstractmethod
    def slots(self) -> frozenset[str]:
        """The names of the tensors that are optimizer slots."""

    @property
    @abstractmethod
    def weights(self) -> frozenset[str]:
        """The names of the tensors that are weights of the model."""

    def __getitem__(self, name: str) -> Tensor:
        """Return the tensor of this name; raise a ``KeyError`` that suggests the closest names if there is none."""
        record = self._find(name)
        if record is None:
            raise KeyError(self.describe_unknown(name))
        return Tensor(self._store, name, record)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the tensor of this name, or ``default`` without searching for close names."""
        record = self._find(name)
        return default if record is None else Tensor(self._store, name, record)

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.records())

    def __len__(self) -> int:
        return len(self._store.records())

    def items(self) -> ItemsView[str, Tensor]:
        """Return the names with their tensors, in the order of the file."""
        return _Items(self)

    def values(self) -> ValuesView[Tensor]:
        """Return the tensors, in the order of the file."""
        return _Values(self)

    def all_copyable(self) -> Iterable[Sequence[Copyable] | None]:
        """Return the result of ``Tensor.copyable`` for each tensor in order, or ``None`` where it must be called."""
        return self._store.all_copyable()

    def __bool__(self) -> bool:
        # A checkpoint without tensors is still a checkpoint.
        return True

    def __eq__(self, other: object) -> bool:
        # Each look-up creates a new tensor, so mappings would never be equal by their items.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Looking up or reading a tensor raises ``ValueError`` afterwards."""
        self._closed = True
        self._store.close()

    @safe_view
    def _repr_html_(self) -> str:
        rows = (_row(name, tensor) for name, tensor in self.items())
        table = Table(("name", "dtype", "shape", "bytes"), rows, len(self), "tensor")
        return render(f"{type(self).__name__} {self.prefix}", {"format": self.format, "tensors": len(self)}, table)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def _find(self, name: object) -> Any:
        if self._closed:
            raise ValueError(f"{self.prefix} is closed; look up tensors before close(), or open it again")
        return self._store.find(name) if isinstance(name, str) else None

    def describe_unknown(self, name: object) -> str:
        """Return the message that there is no tensor of this name, with suggestions."""
        from tfbundle.suggestions import suggest_names  # Most names exist.

        try:
            variables = self.objects.variable_names if self.objects is not None else {}
        except (TfBundleError, OSError):
            variables = {}
        keys = [key for key, variable in variables.items() if variable == name and key in self]
        if keys:
            hint = f"; a variable has this name, and is stored as {' or as '.join(map(repr, keys[:3]))}"
        else:
            hint = suggest_names(name, self._store.records(), also=dict.fromkeys(variables.values()))
        return f"there is no tensor {name!r} in {self.prefix}{hint}"


def _row(name: str, tensor: Tensor) -> tuple[object, ...]:
    try:
        # The size of strings may have to be read.
        size = "" if tensor.dtype.hasobject else tensor.nbytes
        return name, python_name(tensor.data_type), view_of(tensor.shape), size
    except TfBundleError:
        return name, "unreadable", "", ""


class _Items(ItemsView[str, Tensor]):
    # Iterates over the entries once instead of looking up each name, and passes on the facts that the store has of all.
    _mapping: TensorMapping

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        store = self._mapping._store
        records = store.records()
        tensors = map(Tensor, repeat(store), records, records.values(), store.all_facts())
        return zip(records, tensors, strict=True)


class _Values(ValuesView[Tensor]):
    _mapping: TensorMapping

    def __iter__(self) -> Iterator[Tensor]:
        for _, tensor in self._mapping.items():
            yield tensor


def store_of(tensors: TensorMapping) -> TensorStore:
    """Return the store of an open mapping, for reading many of its tensors together."""
    return tensors._store
