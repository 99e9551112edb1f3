"""The plan of a conversion: the tensors to write, with their names, types and shapes.

The plan is complete before anything is written, so that a refusal is cheap and can name all problems together. The
steps, in this order::

    names, exclude, slots, weights, averages    which tensors, by their stored names
    rename                                      their new names
    cast, transpose                             type and axes, by stored names
    transform                                   any other change, by a function of the new name and the tensor

Only casts that might lose integers, and tensors that ``transform`` changes, are read for the plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import index
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tfbundle.checkpoint.chosen_names import Names, match_names, select_names
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.conversion.averages import Averages, averages_of
from tfbundle.conversion.casting import Cast, Casts, check_values, converted, may_lose
from tfbundle.conversion.object_graph import rewrite_objects
from tfbundle.conversion.renaming import Rename, rename_all
from tfbundle.conversion.sources.values import NOT_STORABLE, array_of, is_storable, native
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.tensors.arrays import Array, split
from tfbundle.tensors.dtypes import python_name
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.shared_bytes import check_shared_bytes
from tfbundle.tensors.store import Copyable, Range
from tfbundle.tensors.tensor import Tensor

# From patterns to the axes of the result, as ``numpy.transpose`` accepts them.
Transpose: TypeAlias = "Mapping[Any, Sequence[int]]"
# Called with the new name and the tensor; returns the tensor itself, an array, or ``None`` to leave it out.
Transform: TypeAlias = Callable[[str, Tensor], Any]

_EXCLUDED = "left out: excluded"
# The part that all keys have in common that TensorFlow restores by the object graph.
_ATTRIBUTES = "/.ATTRIBUTES/"
_MOST_LISTED = 3


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
            array = _returned(self.transform(self.name, self.tensor), self.name)
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


@dataclass(frozen=True)
class Choices:
    """The choices of the caller, as documented in ``convert``."""

    names: Names = None
    rename: Rename | None = None
    exclude: Names = None
    cast: Cast | None = None
    transpose: Transpose | None = None
    transform: Transform | None = None
    slots: bool = True
    weights: bool = False
    averages: bool = False


def make_plan(source: TensorMapping, choices: Choices, *, keeps_objects: bool = False) -> Plan:
    """Return the plan for the tensors of ``source``.

    The object graph of a TensorFlow 2 checkpoint is planned only if ``names`` selects it, or for a target that
    ``keeps_objects``, where it is updated for the changes to the tensors.

    Raises ``ValueError`` for collisions and invalid choices, ``KeyError`` for names that match nothing,
    ``UnsupportedError`` for casts that would change integers, and the errors of reading.
    """
    if choices.transform is not None and not callable(choices.transform):
        raise ValueError(f"transform must be a function of the name and the tensor, not {choices.transform!r}")
    excluded = match_names(source, choices.exclude) if choices.exclude is not None else ()
    averages = averages_of(source, excluded) if choices.averages else Averages({}, {}, {})
    chosen, left_out = _choose(source, choices, averages.variables, excluded)
    keeps_objects = keeps_objects and OBJECT_GRAPH_KEY in source and left_out.get(OBJECT_GRAPH_KEY) != _EXCLUDED
    if keeps_objects:
        chosen.pop(OBJECT_GRAPH_KEY, None)
    called = _with_averages(source, chosen, left_out, averages)
    new_names = rename_all(called, choices.rename, lambda name: _variable_keys(source, name))
    if keeps_objects and OBJECT_GRAPH_KEY in new_names.values():
        (taker,) = (name for name, new in new_names.items() if new == OBJECT_GRAPH_KEY)
        raise ValueError(f"{taker!r} would be called {OBJECT_GRAPH_KEY!r}, as the object graph is; choose another name")
    casts = Casts(choices.cast, lambda pattern: _find(source, pattern, "cast"))
    axes = _axes(source, choices.transpose)
    planned: list[Planned] = []
    items: list[Item] = []
    problems: dict[str, list[str]] = {}
    for (name, tensor), copyable in zip(source.items(), source.all_copyable(), strict=True):
        if keeps_objects and name == OBJECT_GRAPH_KEY:
            graph = _plan_graph(source, tensor, new_names, averages.variables)
            planned.append(graph)
            changes = "copied" if graph.is_copied else "object graph, rewritten for the other changes"
            items.append(Item(name, name, "string", (), graph.nbytes, changes))
            continue
        if name in new_names:
            try:
                tensor.dtype  # noqa: B018 - the access raises for a value that is not a tensor.
            except UnsupportedError as error:
                problems.setdefault(error.message, []).append(name)
                continue
            whole = averages.joined.get(name, tensor)
            line = _plan_one(whole, new_names[name], casts, axes.get(name), choices.transform)
            if line is not None:
                if whole is tensor and line.is_copied:
                    line.known = copyable
                planned.append(line)
                items.append(_item(line, by_average=name in averages.variables))
                continue
            left_out[name] = "left out by transform"
        first = averages.firsts.get(name)
        if first in new_names and first not in left_out:
            items.append(_left_out(tensor, f"joined with {first}")._replace(new_name=new_names[first]))
            continue
        items.append(_left_out(tensor, left_out.get(name, "left out: not chosen")))
    if problems:
        raise UnsupportedError(_describe(problems), path=source.prefix)
    if source.format == "v2":
        check_shared_bytes(place for line in planned for place in line.places)
    return Plan(planned, tuple(items), source)


def _plan_graph(
    source: TensorMapping, tensor: Tensor, new_names: Mapping[str, str], averages: Mapping[str, str]
) -> Planned:
    """Return the object graph to write, unchanged if all tensors keep their names."""
    names = dict(new_names)
    for average, variable in averages.items():
        if average in names:  # TensorFlow restores the average into the variable from now on.
            names[variable] = names.pop(average)
    if all(names.get(name) == name for name in source if name != OBJECT_GRAPH_KEY):
        return Planned(tensor.name, tensor, tensor.dtype, tensor.shape)
    assert source.objects is not None  # The tensor that contains it exists.
    keys = {value.key for node in source.objects for value in node.attributes}
    refused = [new for old, new in names.items() if old in keys and _ATTRIBUTES in old and _ATTRIBUTES not in new]
    if refused:
        raise ValueError(
            f"TensorFlow restores objects only by names that contain {_ATTRIBUTES}, unlike "
            f"{', '.join(map(repr, refused[:_MOST_LISTED]))}{' ...' if len(refused) > _MOST_LISTED else ''}; end new "
            f"names with {_ATTRIBUTES}VARIABLE_VALUE, or exclude {OBJECT_GRAPH_KEY} to write a name-based checkpoint"
        )
    array = np.empty((), object)
    array[()] = rewrite_objects(source.objects, names)
    return _transformed(tensor.name, tensor, array, lambda name, tensor: array)


def _transformed(name: str, tensor: Tensor, array: Array, transform: Transform) -> Planned:
    """Return the line of a tensor for which ``transform`` returned ``array``."""
    text_size = sum(map(len, array.flat)) if array.dtype.hasobject else None
    return Planned(name, tensor, array.dtype, array.shape, transform=transform, text_size=text_size)


def _choose(
    source: TensorMapping, choices: Choices, averages: Mapping[str, str], excluded: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the chosen tensors with their names so far, and the tensors left out with the reasons."""
    chosen = select_names(source, choices.names)
    left_out: dict[str, str] = {}
    if choices.names is None and OBJECT_GRAPH_KEY in chosen:
        left_out[OBJECT_GRAPH_KEY] = "left out: the object graph"
    if choices.weights:
        kept = source.weights.union(averages)
        others = [name for name in source if name not in kept and name not in left_out]
        left_out.update(dict.fromkeys(others, "left out: a counter or setting, not a weight"))
    if choices.weights or not choices.slots:
        left_out.update(dict.fromkeys(source.slots, "left out: optimizer slot"))
    left_out.update(dict.fromkeys(excluded, _EXCLUDED))
    return {name: called for name, called in chosen.items() if name not in left_out}, left_out


def _with_averages(
    source: TensorMapping, chosen: Mapping[str, str], left_out: dict[str, str], averages: Averages
) -> dict[str, str]:
    """Return the chosen names with moving averages in the place of their variables.

    Of averages that are joined, only the first has a name. Raises ``ValueError`` if not all of them are chosen.
    """
    called = dict(chosen)
    for average, first in averages.firsts.items():
        if (average in chosen) != (first in chosen):
            raise ValueError(
                f"{first!r} and {average!r} are moving averages of parts of {averages.variables[first]!r}; choose both"
            )
        called.pop(average, None)
    for average, variable in averages.variables.items():
        if average in called:
            # A variable that was chosen under another name passes this name on, unless the average has one itself.
            new_name = called.pop(variable, variable)
            called[average] = new_name if called[average] == average else called[average]
            if variable in source:
                left_out[variable] = "left out: its moving average takes its place"
    return called


def _plan_one(
    tensor: Tensor, name: str, casts: Casts, axes: tuple[int, ...] | None, transform: Transform | None
) -> Planned | None:
    if transform is not None:
        value = transform(name, tensor)
        if value is None:
            return None
        if value is not tensor:
            return _transformed(name, tensor, _returned(value, name), transform)
    dtype = casts.dtype_of(tensor)
    if dtype is not tensor.dtype and may_lose(tensor.dtype, dtype):
        for values in tensor.chunks():
            check_values(values, dtype, tensor.name)
    if axes is None:
        return Planned(name, tensor, dtype, tensor.shape)
    if len(axes) != len(tensor.shape):
        raise ValueError(f"{tensor.name!r} has shape {list(tensor.shape)}; transpose has the wrong axes {list(axes)}")
    return Planned(name, tensor, dtype, tuple(tensor.shape[axis] for axis in axes), axes)


def _returned(value: Any, name: str) -> Array:
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


def _axes(source: TensorMapping, transpose: Transpose | None) -> dict[str, tuple[int, ...]]:
    if transpose is not None and not isinstance(transpose, Mapping):
        raise ValueError(f"transpose must be a dict from names or globs to axes, not {transpose!r}")
    found: dict[str, tuple[int, ...]] = {}
    for pattern, given in (transpose or {}).items():
        try:
            axes = tuple(map(index, given))
        except TypeError:  # They are not integers, or not a sequence.
            axes = None
        if axes is None or sorted(axes) != list(range(len(axes))):
            raise ValueError(f"transpose expects each axis from 0 once, such as (1, 0), not {given!r}")
        found.update(dict.fromkeys(_find(source, pattern, "transpose"), axes))
    return found


def _find(source: TensorMapping, pattern: Any, purpose: str) -> Collection[str]:
    """Return the stored names that a pattern matches; raise ``KeyError`` if there are none."""
    if not (isinstance(pattern, str | re.Pattern) or callable(pattern)):
        raise ValueError(f"{purpose} expects a name, a glob, a compiled pattern or a function, not {pattern!r}")
    return match_names(source, pattern)


def _variable_keys(source: TensorMapping, name: str) -> list[str]:
    """Return the stored names of the variables that are named ``name``."""
    try:
        return source.objects.keys_of(name) if source.objects is not None else []
    except TfBundleError:
        return []  # The object graph is damaged; stored names still work.


def _item(line: Planned, *, by_average: bool) -> Item:
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


def _describe(problems: Mapping[str, Sequence[str]]) -> str:
    groups = [f"{', '.join(map(repr, names))}: {reason}" for reason, names in problems.items()]
    return f"there are tensors that cannot be converted ({'; '.join(groups)}); leave them out (--exclude)"


def _left_out(tensor: Tensor, reason: str) -> Item:
    try:
        return Item(tensor.name, None, python_name(tensor.data_type), tensor.shape, tensor.nbytes, reason)
    except TfBundleError:  # It is damaged or not a tensor, but it is left out anyway.
        return Item(tensor.name, None, "unknown", (), 0, reason)


def _type_name(dtype: np.dtype[Any]) -> str:
    return "string" if dtype.hasobject or dtype.kind in "SU" else dtype.name
