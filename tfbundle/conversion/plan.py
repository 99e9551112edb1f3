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
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import index
from typing import Any, TypeAlias

import numpy as np

from tfbundle.checkpoint.chosen_names import Names, match_names, select_names
from tfbundle.checkpoint.objects import ATTRIBUTES, OBJECT_GRAPH_KEY
from tfbundle.conversion.averages import Averages, averages_of
from tfbundle.conversion.casting import Cast, Casts, check_values, may_lose
from tfbundle.conversion.object_graph import rewrite_objects
from tfbundle.conversion.planned import Item, Plan, Planned, Transform, item_of, left_out_item, returned_array
from tfbundle.conversion.renaming import Rename, rename_all
from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import python_name
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.shared_bytes import check_shared_bytes
from tfbundle.tensors.tensor import Tensor

# From patterns to the axes of the result, as ``numpy.transpose`` accepts them.
Transpose: TypeAlias = "Mapping[Any, Sequence[int]]"

_EXCLUDED = "left out: excluded"
_MOST_LISTED = 3


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
    casts = Casts(choices.cast, lambda pattern: _find(source, pattern, "cast"), lambda: _types(source))
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
                items.append(item_of(line, by_average=name in averages.variables))
                continue
            left_out[name] = "left out by transform"
        first = averages.firsts.get(name)
        if first in new_names and first not in left_out:
            items.append(left_out_item(tensor, f"joined with {first}")._replace(new_name=new_names[first]))
            continue
        items.append(left_out_item(tensor, left_out.get(name, "left out: not chosen")))
    if problems:
        raise UnsupportedError(_describe(problems), path=source.prefix)
    # A format that has no object graphs refuses one that was chosen.
    values = [line for line in planned if not keeps_objects or line.tensor.name != OBJECT_GRAPH_KEY]
    if not values and any(name != OBJECT_GRAPH_KEY for name in source):
        raise ValueError(f"no tensor of {source.prefix} is left to write; leave out fewer of them")
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
    refused = [new for old, new in names.items() if old in keys and ATTRIBUTES in old and ATTRIBUTES not in new]
    if refused:
        raise ValueError(
            f"TensorFlow restores objects only by names that contain {ATTRIBUTES}, unlike "
            f"{', '.join(map(repr, refused[:_MOST_LISTED]))}{' ...' if len(refused) > _MOST_LISTED else ''}; end new "
            f"names with {ATTRIBUTES}VARIABLE_VALUE, or exclude {OBJECT_GRAPH_KEY} to write a name-based checkpoint"
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
            return _transformed(name, tensor, returned_array(value, name), transform)
    dtype = casts.dtype_of(tensor)
    if dtype is not tensor.dtype and may_lose(tensor.dtype, dtype):
        for values in tensor.chunks():
            check_values(values, dtype, tensor.name)
    if axes is None:
        return Planned(name, tensor, dtype, tensor.shape)
    if len(axes) != len(tensor.shape):
        raise ValueError(f"{tensor.name!r} has shape {list(tensor.shape)}; transpose has the wrong axes {list(axes)}")
    return Planned(name, tensor, dtype, tuple(tensor.shape[axis] for axis in axes), axes)


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
    if not isinstance(pattern, str | re.Pattern) and not callable(pattern):
        raise ValueError(f"{purpose} expects a name, a glob, a compiled pattern or a function, not {pattern!r}")
    return match_names(source, pattern)


def _types(source: TensorMapping) -> set[str]:
    """Return TensorFlow's names of the types of all tensors whose types are known."""
    found = set()
    for tensor in source.values():
        with suppress(TfBundleError):  # It is damaged or not a tensor, and may be left out.
            found.add(python_name(tensor.data_type))
    return found


def _variable_keys(source: TensorMapping, name: str) -> list[str]:
    """Return the stored names of the variables that are named ``name``."""
    try:
        return source.objects.keys_of(name) if source.objects is not None else []
    except TfBundleError:
        return []  # The object graph is damaged; stored names still work.


def _describe(problems: Mapping[str, Sequence[str]]) -> str:
    groups = [f"{', '.join(map(repr, names))}: {reason}" for reason, names in problems.items()]
    return f"there are tensors that cannot be converted ({'; '.join(groups)}); leave them out (--exclude)"
