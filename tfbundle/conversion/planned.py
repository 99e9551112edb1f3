"""The lines of a plan: the tensors to write, as they will be written, and what happens to each of the source's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tfbundle.conversion.casting import converted
from tfbundle.conversion.sources.values import NOT_STORABLE, array_of, is_storable, native
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.tensors.arrays import Array, split
from tfbundle.tensors.dtypes import python_name
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.store import Copyable, Range
from tfbundle.tensors.tensor import Tensor

# Called with the new name and the tensor; returns the tensor itself, an array, or ``None`` to leave it out.
Transform: TypeAlias = Callable[[str, Tensor], Any]


class Item(NamedTuple):
    """A line of the plan.

    ``name`` is the stored name and ``new_name`` the one to write, or ``None`` for a tensor that is left out; ``dtype``
    is TensorFlow's name of the type that is written (or was stored), and ``action`` describes the changes.
    """

    name: str
    new_name: str | None
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    action: str


@dataclass(eq=False)
class Planned:
    """A tensor to write, with its ``name``, ``dtype`` and ``shape`` in the output.

    ``text_size`` is the size of strings, such as those that ``transform`` returned, and ``known`` the result of
    ``Tensor.copyable``, if these are known.
    """

    name: str
    tensor: Tensor
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None = None
    transform: Transform | None = None
    text_size: int | None = None
    known: Sequence[Copyable] | None = None

    @property
    def nbytes(self) -> int:
        """The size of its elements in bytes as they will be written; for unchanged strings, as they are stored."""
        if not self.dtype.hasobject:
            return prod(self.shape) * self.dtype.itemsize
        if self.text_size is None:
            places = self.places
            self.text_size = sum(place.size for place in places) if places else self.tensor.nbytes
        return self.text_size

    @property
    def copyable(self) -> Sequence[Copyable]:
        """The stored arrays to copy, if all values are written unchanged and the source is a V2 checkpoint."""
        if self.known is None:
            self.known = self.tensor.copyable() if self.is_copied else ()
        return self.known

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """Where its values are stored; kept, because a plan uses it several times."""
        return self.tensor.ranges

    @property
    def places(self) -> Sequence[Copyable | Range]:
        """The stored arrays to copy, or else where the values are stored."""
        return self.copyable or self.ranges

    @property
    def is_copied(self) -> bool:
        """Whether the values are written unchanged."""
        return self.axes is None and self.transform is None and self.dtype == self.tensor.dtype

    @property
    def type_name(self) -> str:
        """TensorFlow's name of the type to write: the stored type if it does not change, since it may be a string."""
        stays = self.transform is None and self.dtype == self.tensor.dtype
        return python_name(self.tensor.data_type) if stays else _type_name(self.dtype)

    def chunks(self) -> Iterator[Array]:
        """Yield its elements in C order, as flat arrays of bounded size in native byte order.

        Tensors that are transposed or transformed are in memory whole.
        """
        if self.axes is None and self.transform is None:
            for values in self.tensor.chunks():
                yield converted(values, self.dtype, self.tensor.name)
        else:
            yield from split(self.read())

    def read(self) -> Array:
        """Return the whole tensor as it is to be written."""
        array = self.tensor.read()
        if self.transform is not None:
            array = returned_array(self.transform(self.name, self.tensor), self.name)
            if array.shape != self.shape or array.dtype != self.dtype:
                raise ValueError(
                    f"transform returned {array.dtype} of shape {list(array.shape)} for {self.name!r}, after "
                    f"{self.dtype} of shape {list(self.shape)} the first time"
                )
            return np.ascontiguousarray(array).reshape(self.shape)
        array = converted(array, self.dtype, self.tensor.name)
        return array if self.axes is None else np.ascontiguousarray(array.transpose(self.axes)).reshape(self.shape)


@dataclass(frozen=True)
class Plan:
    """The tensors to write, in the source's order, and one item for every tensor of the source."""

    tensors: list[Planned]
    items: tuple[Item, ...]
    source: TensorMapping

    @property
    def nbytes(self) -> int:
        """The size of all values to write, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors)


def item_of(line: Planned, *, by_average: bool) -> Item:
    """Return the item of a tensor that is written; ``by_average`` if a moving average takes the place of a variable."""
    actions = []
    if line.is_copied and line.name == line.tensor.name:
        return Item(line.name, line.name, line.type_name, line.shape, line.nbytes, "copied")
    if by_average:
        actions.append("moving average in place of its variable")
    elif line.name != line.tensor.name:
        actions.append("renamed")
    if line.transform is not None:
        actions.append("transformed")
    elif line.dtype != line.tensor.dtype:
        actions.append(f"cast from {python_name(line.tensor.data_type)}")
    if line.axes is not None:
        actions.append(f"transposed ({','.join(map(str, line.axes))})")
    return Item(line.tensor.name, line.name, line.type_name, line.shape, line.nbytes, ", ".join(actions) or "copied")


def left_out_item(tensor: Tensor, reason: str) -> Item:
    """Return the item of a tensor that is not written."""
    try:
        return Item(tensor.name, None, python_name(tensor.data_type), tensor.shape, tensor.nbytes, reason)
    except TfBundleError:  # It is damaged or not a tensor, but it is left out anyway.
        return Item(tensor.name, None, "unknown", (), 0, reason)


def returned_array(value: Any, name: str) -> Array:
    """Return what ``transform`` returned as an array, with strings as ``bytes``.

    Raises ``ValueError`` for objects that are neither strings nor variants.
    """
    array = array_of(value)
    if not is_storable(array):
        raise ValueError(f"transform returned an array for {name!r} that cannot be stored: {NOT_STORABLE}")
    if not array.dtype.hasobject and array.dtype.kind not in "SU":
        return array
    try:
        return native(array)
    except FormatError as error:
        raise ValueError(f"transform returned an array for {name!r} that cannot be stored: {error.message}") from None


def _type_name(dtype: np.dtype[Any]) -> str:
    return "string" if dtype.hasobject or dtype.kind in "SU" else dtype.name
