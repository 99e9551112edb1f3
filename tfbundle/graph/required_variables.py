"""Find the variables that a graph requires of a checkpoint, in this order of preference:

* the tensors restored by the op that its ``SaverDef`` names, which is the op that a program would run;
* the variables in its collections or its saved objects;
* the tensors restored by any of its ops, as in a ``graph.pbtxt``, which does not name one. If several ops restore a
  variable under different names, only one of the names is required;
* its variable nodes, including local ones, because these cannot be distinguished.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tfbundle.errors import TfBundleError
from tfbundle.graph.attributes import Shape
from tfbundle.graph.graph import Graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.restoring import VARIABLE_OPS, RestoredTensor, find_restored, variable_shape, variable_type

_PART = re.compile(r"/part_\d+(?=/|\Z)")


class RequiredVariable(NamedTuple):
    """A variable, the names under which it may be stored, and the parts of the tensor that are required.

    ``own_name`` is the variable's name in a TensorFlow 2 program, such as ``dense/kernel``, if it is stored under its
    path from the saved object. ``whole`` is the name of a variable that it may be a part of, if only its name suggests
    this.
    """

    names: tuple[str, ...]
    variable: str | None
    data_type: str | None
    shape: Shape
    parts: tuple[str, ...] = ("",)
    own_name: str | None = None
    whole: str | None = None


def required_variables(graph: Graph | MetaGraph) -> Iterable[RequiredVariable]:
    """Return the variables that a graph requires, each stored name once."""
    if isinstance(graph, MetaGraph):
        if graph.saver is not None and graph.saver.tensors:
            wanted = _merged(_as_wanted(tensor, (tensor.name,)) for tensor in graph.saver.tensors)
            own_names = _own_names(graph)
            return [item._replace(own_name=own_names.get(item.names[0])) for item in wanted]
        if graph.all_variables:
            variables = {variable.stored_name: variable for variable in graph.all_variables}
            own_names = _own_names(graph)
            return [
                RequiredVariable((name,), item.name, item.data_type, item.shape, own_name=own_names.get(name))
                for name, item in variables.items()
            ]
        graph = graph.graph
    restored = find_restored(graph)
    return _by_variable(restored) if restored else _variable_nodes(graph)


def _own_names(meta: MetaGraph) -> dict[str, str]:
    """Return the names of TensorFlow 2 variables by their keys; empty if they are not known."""
    try:
        variables = meta.all_variables if meta.object_graph is not None else ()
    except TfBundleError:
        return {}  # The tensors that the saver restores are known nevertheless.
    return {item.stored_name: item.own_name for item in variables if item.own_name not in ("", item.stored_name)}


def _as_wanted(tensor: RestoredTensor, names: tuple[str, ...]) -> RequiredVariable:
    return RequiredVariable(names, tensor.variable, tensor.data_type, tensor.shape, (tensor.part,))


def _merged(items: Iterable[RequiredVariable]) -> Iterable[RequiredVariable]:
    """Return each stored name once: the parts of a partitioned variable are parts of one tensor."""
    parts: dict[tuple[str, ...], dict[str, None]] = {}
    merged = {}
    for item in items:
        parts.setdefault(item.names, {}).update(dict.fromkeys(item.parts))
        merged[item.names] = item
    return [item._replace(parts=tuple(parts[names])) for names, item in merged.items()]


def _by_variable(tensors: list[RestoredTensor]) -> Iterable[RequiredVariable]:
    groups: dict[tuple[bool, str], list[RestoredTensor]] = {}
    for tensor in tensors:
        key = (False, tensor.name) if tensor.variable is None else (True, tensor.variable)
        groups.setdefault(key, []).append(tensor)
    return _merged(
        _as_wanted(group[0], tuple(dict.fromkeys(tensor.name for tensor in group))) for group in groups.values()
    )


def _variable_nodes(graph: Graph) -> Iterator[RequiredVariable]:
    for name, node in graph.nodes.items():
        if node.op in VARIABLE_OPS:
            whole = _PART.sub("", name)
            data_type, shape = variable_type(node), variable_shape(node)
            yield RequiredVariable((name,), name, data_type, shape, whole=whole if whole != name else None)
