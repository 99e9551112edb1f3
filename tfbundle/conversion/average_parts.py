"""Moving averages of partitioned variables that TensorFlow 1 saved by part, joined into tensors of the whole variables.

``Saver`` writes the averages of a partitioned variable ``w`` as one tensor ``w/ExponentialMovingAverage`` with the
slices of ``w``, unless ``apply`` was called in a variable scope. The scope's length then truncates the names, and the
averages are separate tensors. They are too if they are passed to ``Saver`` by their own names, those of
``variables_to_restore``::

    w                                    shape [5, 2]   slices [0:3, 0:2] and [3:5, 0:2]
    w/part_0/ExponentialMovingAverage    shape [5, 2]   slice  [0:3, 0:2]        in a scope of 6 characters
    w/art_0/ExponentialMovingAverage     shape [5, 2]   slice  [0:3, 0:2]        in a scope of 5
    w/0/ExponentialMovingAverage         shape [5, 2]   slices 0, 10, 20 ...     in a scope of 1
    w/part_0/ExponentialMovingAverage    shape [3, 2]                            by its own name
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from tfbundle.conversion.sources.members import Member, MemberStore
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.tensors.arrays import Array, allocate, split
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.parts import possible_variables
from tfbundle.tensors.selection import Selection, intersect
from tfbundle.tensors.slices import TensorSlice, check_count, check_disjoint, find_gap
from tfbundle.tensors.store import Range
from tfbundle.tensors.streaming import in_order, stream_bands
from tfbundle.tensors.tensor import Tensor, facts_of, part_of

# The name of a part, of which a scope may leave the end: "part_0", "art_0", ..., "_0", "0".
_PART = re.compile(r"(?:(?:(?:(?:p?a)?r)?t)?_)?(?P<number>\d{1,9})")
_WHOLE_NAME = re.compile(r"part_\d+")


class Part(NamedTuple):
    """A stored slice of a moving average: its ``box`` in the variable of ``shape``, and the tensor that contains it.

    ``is_apart`` is whether the tensor has only these elements; otherwise it has other parts of the variable too.
    """

    tensor: Tensor
    variable: str
    shape: tuple[int, ...]
    box: TensorSlice
    is_apart: bool

    def read(self, inner: Selection | None = None) -> Array:
        """Return the elements of the part that ``inner`` selects, or all of them, which are then verified."""
        if inner is None or inner.counts == self.box.lengths:
            return self.tensor.read() if self.is_apart else self._select(self.box.index)
        starts = (0,) * len(self.shape) if self.is_apart else self.box.starts
        axes = zip(inner.starts, inner.counts, inner.steps, starts, strict=True)
        return self._select(
            tuple(slice(start + first, start + first + count * step, step) for first, count, step, start in axes)
        )

    def _select(self, index: tuple[slice, ...]) -> Array:
        selected: Array = self.tensor[index]
        return selected


def parts_of(tensor: Tensor, scopes: str, source: TensorMapping) -> list[Part]:
    """Return the parts of a variable that a moving average consists of; an empty list for that of a whole variable.

    ``scopes`` is its name without the suffix of moving averages. Raises ``UnsupportedError`` if its name is that of a
    part of a variable, but its shape is not.
    """
    name = tensor.name
    place = part_of(tensor)
    if place is not None:
        return [Part(tensor, place.variable, place.shape, place.region, is_apart=True)]
    if tensor.slices:
        if find_gap(tensor.slices, tensor.shape) is None:
            return []
        known = (one for one in possible_variables(name) if one in source and source[one].shape == tensor.shape)
        # Of a variable that was not saved, the name is all there is.
        variable = next(known, _without_part(scopes))
        return [Part(tensor, variable, tensor.shape, box, is_apart=False) for box in tensor.slices]
    match = _PART.fullmatch(scopes.rpartition("/")[2])
    if match is None or scopes in source:
        return []
    partitioned = [one for one in possible_variables(name) if one in source and source[one].slices]
    for variable in partitioned:
        boxes = sorted(source[variable].slices, key=lambda box: box.starts)
        number = int(match["number"])
        if number < len(boxes) and boxes[number].lengths == tensor.shape:
            return [Part(tensor, variable, source[variable].shape, boxes[number], is_apart=True)]
    if partitioned and _WHOLE_NAME.fullmatch(match[0]):
        raise UnsupportedError(
            f"it is the moving average of a part of {partitioned[0]!r}, but has shape {list(tensor.shape)}, unlike "
            "that part; leave it out (--exclude)",
            path=source.prefix,
            tensor=name,
        )
    return []


def variable_of_only_part(tensor: Tensor, scopes: str, source: TensorMapping) -> str | None:
    """Return the variable that a moving average belongs to by its name as part 0, and that has no other parts."""
    match = _PART.fullmatch(scopes.rpartition("/")[2])
    if match is None or int(match["number"]):
        return None
    possible = (one for one in possible_variables(tensor.name) if one != scopes and one in source)
    return next((one for one in possible if is_alike(source[one], tensor)), None)


def is_alike(variable: Tensor, average: Tensor) -> bool:
    """Return whether a variable has the shape and type of its moving average."""
    return (variable.shape, variable.data_type) == (average.shape, average.data_type)


def _without_part(scopes: str) -> str:
    variable, _, last = scopes.rpartition("/")
    return variable.rstrip("/") if variable and _PART.fullmatch(last) else scopes


def join_parts(parts: Sequence[Part], path: str) -> Tensor:
    """Return the tensor that consists of the parts of a variable, with the name of the first one.

    Raises ``UnsupportedError`` if they overlap, differ in type or shape, or are not the whole variable.
    """
    first = parts[0]
    ordered = sorted(parts, key=lambda part: part.box.starts)
    boxes = tuple(part.box for part in ordered)
    problem = _find_problem(ordered, boxes)
    if problem is not None:
        raise UnsupportedError(
            f"it is the moving average of a part of {first.variable!r}, and the parts cannot be joined: {problem}; "
            "leave them out (--exclude)",
            path=path,
            tensor=first.tensor.name,
        )
    whole = _Whole({(part.box.starts, part.box.lengths): part for part in ordered}, first)
    member = Member(
        facts_of(first.tensor).data_type,
        first.shape,
        partial(whole.chunks, boxes),
        slices=boxes,
        select=whole.select,
        ranges=_ranges(ordered),
    )
    return Tensor(MemberStore(path, {first.tensor.name: member}), first.tensor.name, first.tensor.name)


def _find_problem(parts: Sequence[Part], boxes: tuple[TensorSlice, ...]) -> str | None:
    if len({(part.tensor.data_type, part.shape) for part in parts}) > 1:
        return "they differ in type, or in the shape of the variable"
    shape = parts[0].shape
    check_count(boxes, len(shape))
    try:
        check_disjoint(boxes)
    except FormatError as error:
        return f"{error.message}, so that there are several moving averages"
    gap = find_gap(boxes, shape)
    return None if gap is None else f"the region {gap} is in none of them"


def _ranges(parts: Sequence[Part]) -> tuple[Range, ...]:
    """Return where each part is stored, or an empty tuple if that is not known for each."""
    found = []
    for part in parts:
        places, slices = part.tensor.ranges, part.tensor.slices
        if len(places) != (1 if part.is_apart else len(slices)):
            return ()
        found.append(places[0] if part.is_apart else places[slices.index(part.box)])
    return tuple(found)


class _Whole:
    """The elements of a variable, which are read from its parts."""

    def __init__(self, parts: dict[tuple[tuple[int, ...], tuple[int, ...]], Part], first: Part) -> None:
        self._parts = parts
        self._first = first

    def select(self, selection: Selection) -> Array:
        if all(step == 1 for step in selection.steps):
            part = self._parts.get((selection.starts, selection.counts))
            if part is not None:
                return part.read()
        array = allocate(facts_of(self._first.tensor).data_type, selection.counts)
        for part in self._parts.values():
            found = intersect(selection, part.box.starts, part.box.lengths)
            if found is not None:
                array[found[1]] = part.read(found[0])
        return array

    def chunks(self, boxes: Sequence[TensorSlice]) -> Iterator[Array]:
        shape, parts = self._first.shape, list(self._parts.values())
        order = in_order(boxes, shape)
        if order is not None:
            for number in order:
                yield from _chunks_of(parts[number])
            return
        # Bands of rows contain elements of several parts, and are not verified.
        for part in parts:
            for _ in _chunks_of(part):
                pass
        yield from stream_bands(shape, self._first.tensor.dtype.itemsize, self.select)


def _chunks_of(part: Part) -> Iterator[Array]:
    return part.tensor.chunks() if part.is_apart else split(part.read())
