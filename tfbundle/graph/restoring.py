"""Find the tensors that a graph reads from a checkpoint, by its restore ops.

A ``Saver`` is part of the graph: an op that reads tensors by their stored names, and ops that assign them::

    Const (names) ─┐                               ┌─> Assign(conv1/weights, ·)
    Const (slices) ┴─> RestoreV2 ─> (Identity) ────┼─> Assign(conv1/biases, ·)         TensorFlow 1
                                                   └─> AssignVariableOp(handle, ·)

TensorFlow 2 has the same in a function, whose inputs are the handles. The names in these constants are the keys in
"Key ... not found in checkpoint"; they need not be the names of the variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.graph.attributes import Shape, stated
from tfbundle.graph.body import Body
from tfbundle.graph.constants import constant_facts, decode_constant
from tfbundle.graph.graph import Function, Graph
from tfbundle.graph.node import Node
from tfbundle.limits import MOST_OUTPUTS, MOST_RESTORED_DIMENSIONS
from tfbundle.plurals import plural
from tfbundle.tensors.dtypes import DT_STRING

VARIABLE_OPS = {"AutoReloadVariable", "VarHandleOp", "Variable", "VariableV2"}
_RESTORE_OPS = {"Restore", "RestoreSlice", "RestoreV2"}
_ASSIGN_OPS = {"Assign", "AssignVariableOp"}
# The largest number of nodes between reading and assigning.
_LONGEST_WAY = 8
# "10 4 0,5:-": the whole shape, then for each dimension the part.
_SLICE = re.compile(r"((?:\d{1,18} )*)([-\d,:]*)")


class RestoredTensor(NamedTuple):
    """A tensor that a graph reads from a checkpoint.

    ``name`` is its name there, ``variable`` the node that it is assigned to (``None`` if that is not a variable but,
    for example, a table), ``data_type`` the type as which it is read, such as ``"DT_FLOAT"``. ``shape`` is that of the
    whole tensor, or ``None`` if any shape is accepted. ``part`` is the slice that is read, in TensorFlow's notation:
    ``"0,5:-"`` is the first five rows, and ``""`` the whole tensor.
    """

    name: str
    variable: str | None
    data_type: str | None
    shape: Shape
    part: str


class _Claims:
    """Limits on what the ops of one graph claim at no cost: outputs by number alone, and one shape for many tensors."""

    def __init__(self) -> None:
        self._outputs = MOST_OUTPUTS
        self._dimensions = MOST_RESTORED_DIMENSIONS

    def add(self, node: Node, outputs: int) -> None:
        """Count the outputs of a node; raises ``UnsupportedError`` if there are too many in total."""
        # A list of their types has a byte for each.
        self._outputs -= max(0, outputs - node.proto.ByteSize())
        if self._outputs < 0:
            raise UnsupportedError(
                f"the ops that restore tensors claim more than {MOST_OUTPUTS} outputs by numbers alone"
            )

    def add_shape(self, shape: Shape) -> None:
        """Count the dimensions of a tensor; raises the errors of ``add``."""
        self._dimensions -= len(shape or ())
        if self._dimensions < 0:
            raise UnsupportedError(
                f"the tensors to be restored have more than {MOST_RESTORED_DIMENSIONS} dimensions together"
            )


def find_restored(graph: Graph, restore_op_name: str | None = None) -> list[RestoredTensor]:
    """Return the tensors that an op of the graph restores, or by default those of all ops, without repetition.

    Names that are not constants are unknown and left out. Raises ``FormatError`` if nodes are not valid.
    """
    try:
        found = _find_all(graph) if restore_op_name is None else _find_behind(graph, restore_op_name)
        return list({(tensor.name, tensor.variable): tensor for tensor in found}.values())
    except TfBundleError as error:
        raise error.locate(path=graph.path) from None


def variable_shape(node: Node) -> Shape:
    """Return the shape of the variable in a node, or ``None`` if it is not stated.

    Raises ``FormatError`` if the shape is not valid.
    """
    shape: Shape = stated(node.proto.attr, "shape", "shape") if node.op in VARIABLE_OPS else None
    # The oldest op has no other form for an unknown shape.
    return None if node.op == "Variable" and shape == () else shape


def variable_type(node: Node) -> str | None:
    """Return TensorFlow's name of the dtype of the variable in a node, or ``None`` if it is not stated."""
    data_type: str | None = stated(node.proto.attr, "dtype", "type")
    return data_type


def _find_all(graph: Graph) -> Iterator[RestoredTensor]:
    restores = [node for node in graph.nodes.values() if node.op in _RESTORE_OPS]
    yield from _Restores(graph, graph, {}, _Claims()).restored(restores)


def _find_behind(graph: Graph, name: str) -> Iterator[RestoredTensor]:
    """Yield the tensors that the op ``name`` restores, through all ops that run before it."""
    restores = []
    claims = _Claims()
    called: set[str] = set()
    name = name.rpartition(":")[0] or name
    waiting, seen = [name], {name}
    while waiting:
        current = waiting.pop()
        if current not in graph.nodes:
            continue
        node = graph.nodes[current]
        if node.op in VARIABLE_OPS:
            continue
        inputs = node.inputs
        if node.op in _RESTORE_OPS:
            restores.append(node)
        elif (function := _called(graph, node)) is not None and function.name not in called:
            called.add(function.name)
            handles = dict(zip(function.inputs, inputs, strict=False))
            inside = [inner for inner in function.nodes.values() if inner.op in _RESTORE_OPS]
            yield from _Restores(function, graph, handles, claims).restored(inside)
        for other in (*node.control_inputs, *(tensor.rpartition(":")[0] for tensor in inputs)):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    yield from _Restores(graph, graph, {}, claims).restored(restores)


def _called(graph: Graph, node: Node) -> Function | None:
    if node.op in graph.functions:
        return graph.functions[node.op]
    # The attribute may be of any kind and size, and is decoded only if it is a function.
    if "f" not in node.proto.attr or node.proto.attr["f"].WhichOneof("value") != "func":
        return None
    return graph.functions.get(node.proto.attr["f"].func.name)


class _Restores:
    """The tensors read by ops in the graph or in one of its functions.

    Many ops may have the same constant or a node with many inputs as an input, and a string may be repeated for many
    elements, so each of these is decoded once. ``handles`` maps a function's inputs to tensors of the graph.
    """

    def __init__(self, body: Body, graph: Graph, handles: Mapping[str, str], claims: _Claims) -> None:
        self._body = body
        self._graph = graph
        self._handles = handles
        self._claims = claims
        self._inputs: dict[str, tuple[str, ...]] = {}
        self._constants: dict[str, list[str]] = {}
        self._shapes: dict[str, Shape] = {}

    def restored(self, restores: list[Node]) -> Iterator[RestoredTensor]:
        """Yield the tensors that these ops read."""
        if not restores:
            return
        takers = self._takers({node.name for node in restores})
        parts: dict[str, tuple[Shape, str]] = {}
        for node in restores:
            outputs = node.outputs or ()
            self._claims.add(node, len(outputs))
            names, slices = self._strings(node, 1, len(outputs)), self._strings(node, 2, len(outputs))
            for index, name in enumerate(names):
                text = slices[index] if slices else ""
                if text not in parts:
                    parts[text] = _whole_and_part(text)
                whole, part = parts[text]
                self._claims.add_shape(whole)
                data_type = outputs[index].data_type
                assigned = takers.get((node.name, index), [])
                for assign, is_reshaped in assigned:
                    variable = self._variable(self._inputs_of(assign)[0])
                    shape = self._shape(assign, is_reshaped, whole, variable)
                    self._claims.add_shape(shape)
                    yield RestoredTensor(name, None if variable is None else variable.name, data_type, shape, part)
                if not assigned:
                    yield RestoredTensor(name, None, data_type, whole, part)

    def _takers(self, wanted: set[str]) -> dict[tuple[str, int], list[tuple[Node, bool]]]:
        """Return the ops that assign each output of the ``wanted`` ops, and whether it is reshaped before that."""
        takers: dict[tuple[str, int], list[tuple[Node, bool]]] = {}
        for node in self._body.nodes.values():
            if node.op in _ASSIGN_OPS and len(self._inputs_of(node)) > 1:
                place, is_reshaped = self._source(self._inputs_of(node)[1], wanted)
                if place is not None:
                    takers.setdefault(place, []).append((node, is_reshaped))
        return takers

    def _inputs_of(self, node: Node) -> tuple[str, ...]:
        if node.name not in self._inputs:
            self._inputs[node.name] = node.inputs
        return self._inputs[node.name]

    def _source(self, tensor: str, wanted: set[str]) -> tuple[tuple[str, int] | None, bool]:
        """Return the op and output that a tensor comes from, if the op is ``wanted``, and whether it is reshaped."""
        is_reshaped = False
        for _ in range(_LONGEST_WAY):
            output = self._body.get(tensor)
            if output is None:  # The tensor is an input of the function.
                break
            node = output.node
            if node.name in wanted:
                return (node.name, output.index), is_reshaped
            if node.op not in ("Identity", "Reshape") or not self._inputs_of(node):
                break
            is_reshaped = is_reshaped or node.op == "Reshape"
            tensor = self._inputs_of(node)[0]
        return None, False

    def _variable(self, tensor: str) -> Node | None:
        if self._body is not self._graph:
            tensor = self._handles.get(tensor, "")
        output = self._graph.get(tensor)
        return output.node if output is not None and output.node.op in VARIABLE_OPS else None

    def _shape(self, assign: Node, is_reshaped: bool, whole: Shape, variable: Node | None) -> Shape:
        # TensorFlow does not check the shape of a resource variable, but programs rely on it.
        is_loose = assign.op == "Assign" and stated(assign.proto.attr, "validate_shape", "b") is False
        if is_reshaped or is_loose or variable is None:
            return None
        if whole:
            return whole
        if variable.name not in self._shapes:
            self._shapes[variable.name] = variable_shape(variable)
        return self._shapes[variable.name]

    def _strings(self, node: Node, index: int, count: int) -> list[str]:
        """Return the strings of a constant input, one for each output; empty if the input is not a constant."""
        inputs = self._inputs_of(node)
        source = self._body.get(inputs[index]) if index < len(inputs) else None
        if source is None or source.node.op != "Const":
            return []
        name = source.node.name
        if name not in self._constants:
            number, shape = constant_facts(source.node.proto)
            if number != DT_STRING:
                return []
            _check_size(node, count, prod(shape))  # Checked before so many are created.
            values = decode_constant(source.node.proto).reshape(-1).tolist()
            texts = {value: value.decode("utf-8", "surrogateescape") for value in dict.fromkeys(values)}
            self._constants[name] = [texts[value] for value in values]
        _check_size(node, count, len(self._constants[name]))
        return self._constants[name]


def _check_size(node: Node, count: int, size: int) -> None:
    if size != count:
        raise FormatError(f"the node {node.name!r} restores {plural(count, 'tensor')}, but has {size} names or slices")


def _whole_and_part(text: str) -> tuple[Shape, str]:
    match = _SLICE.fullmatch(text)
    return (tuple(map(int, match[1].split())), match[2]) if match and match[1] else (None, "")
