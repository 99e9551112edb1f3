"""What a graph reads from a checkpoint, as the ops say that would read it.

A ``Saver`` is a part of the graph: an op that reads tensors by their stored names, and ops that assign them::

    Const (names) ─┐                               ┌─> Assign(conv1/weights, ·)
    Const (slices) ┴─> RestoreV2 ─> (Identity) ────┼─> Assign(conv1/biases, ·)         TensorFlow 1
                                                   └─> AssignVariableOp(handle, ·)

TensorFlow 2 has the same inside of a function, whose inputs are the handles. The names in these constants are what
"Key ... not found in checkpoint" is about: they need not be those of the variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.graph.attributes import Shape
from tfbundle.graph.body import Body
from tfbundle.graph.constants import decode_constant
from tfbundle.graph.graph import Function, Graph
from tfbundle.graph.node import Node
from tfbundle.limits import MOST_OUTPUTS

VARIABLE_OPS = {"AutoReloadVariable", "VarHandleOp", "Variable", "VariableV2"}
_RESTORE_OPS = {"Restore", "RestoreSlice", "RestoreV2"}
_ASSIGN_OPS = {"Assign", "AssignVariableOp"}
# Between reading and assigning there is little.
_LONGEST_WAY = 8
# "10 4 0,5:-": the whole shape, then for each dimension the part.
_SLICE = re.compile(r"((?:\d{1,18} )*)([-\d,:]*)")


class RestoredTensor(NamedTuple):
    """A tensor that a graph reads from a checkpoint.

    ``name`` is its name there, ``variable`` the node that takes it (``None`` where it is no variable, such as a table),
    ``data_type`` the type as which it is read, such as ``"DT_FLOAT"``. ``shape`` is that of the whole tensor, with
    ``None`` where any will do. ``part`` is the slice of it that is read, as TensorFlow writes one: ``"0,5:-"`` is the
    first five rows, and ``""`` the whole.
    """

    name: str
    variable: str | None
    data_type: str | None
    shape: Shape
    part: str


class _Claims:
    """The outputs that ops of one graph claim by a number alone; a list of their types has a byte for each."""

    def __init__(self) -> None:
        self._left = MOST_OUTPUTS

    def add(self, node: Node, outputs: int) -> None:
        """Count the outputs of a node; ``UnsupportedError`` where they become too many."""
        self._left -= max(0, outputs - node.proto.ByteSize())
        if self._left < 0:
            raise UnsupportedError(
                f"the ops that restore tensors claim more than {MOST_OUTPUTS} outputs by numbers alone"
            )


def find_restored(graph: Graph, restore_op_name: str | None = None) -> list[RestoredTensor]:
    """Return what an op of the graph restores, or all of its ops together where none is named; once for each stored
    name.

    Names that are not constants are not known and are left out. Raises ``FormatError`` where nodes make no sense.
    """
    try:
        found = _find_all(graph) if restore_op_name is None else _find_behind(graph, restore_op_name)
        return list({(tensor.name, tensor.variable): tensor for tensor in found}.values())
    except TfBundleError as error:
        raise error.locate(path=graph.path) from None


def variable_shape(node: Node) -> Shape:
    """Return the shape of the variable that a node holds; ``None`` where the node does not say."""
    shape: Shape = node.attributes.get("shape") if node.op in VARIABLE_OPS else None
    # The oldest op has no other way to say that it does not know.
    return None if node.op == "Variable" and shape == () else shape


def _find_all(graph: Graph) -> Iterator[RestoredTensor]:
    yield from _restored_in(graph, [node for node in graph.nodes.values() if node.op in _RESTORE_OPS], {}, _Claims())


def _find_behind(graph: Graph, name: str) -> Iterator[RestoredTensor]:
    """Yield what the op called ``name`` restores, by everything that runs before it."""
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
        if node.op in _RESTORE_OPS:
            restores.append(node)
        elif (function := _called(graph, node)) is not None and function.name not in called:
            called.add(function.name)
            inside = [inner for inner in function.nodes.values() if inner.op in _RESTORE_OPS]
            handles = dict(zip(function.inputs, node.inputs, strict=False))
            yield from _restored_in(function, inside, handles, claims)
        before = [*node.control_inputs, *(tensor.rpartition(":")[0] for tensor in node.inputs)]
        waiting += (other for other in before if other not in seen)
        seen.update(before)
    yield from _restored_in(graph, restores, {}, claims)


def _called(graph: Graph, node: Node) -> Function | None:
    if node.op in graph.functions:
        return graph.functions[node.op]
    # The attribute may be of any kind and size, and is decoded only where it is a call.
    if "f" not in node.proto.attr or node.proto.attr["f"].WhichOneof("value") != "func":
        return None
    return graph.functions.get(node.proto.attr["f"].func.name)


def _restored_in(
    body: Body, restores: list[Node], handles: Mapping[str, str], claims: _Claims
) -> Iterator[RestoredTensor]:
    """Yield the tensors that ops of a body read; ``handles`` are the graph's tensors behind a function's inputs."""
    if not restores:
        return
    wanted = {node.name for node in restores}
    takers: dict[tuple[str, int], list[tuple[Node, bool]]] = {}
    for node in body.nodes.values():
        if node.op in _ASSIGN_OPS and len(node.inputs) > 1:
            place, reshaped = _source(body, node.inputs[1], wanted)
            if place is not None:
                takers.setdefault(place, []).append((node, reshaped))
    for node in restores:
        outputs = node.outputs or ()
        claims.add(node, len(outputs))
        names, slices = _strings(body, node, 1, len(outputs)), _strings(body, node, 2, len(outputs))
        for index, name in enumerate(names):
            data_type = outputs[index].data_type
            whole, part = _whole_and_part(slices[index]) if slices else (None, "")
            assigned = takers.get((node.name, index), [])
            for assign, reshaped in assigned:
                variable = _variable(body, assign.inputs[0], handles)
                # Of a resource variable TensorFlow does not check the shape, but nobody wants it to change.
                loose = reshaped or (assign.op == "Assign" and assign.attributes.get("validate_shape") is False)
                shape = None if loose or variable is None else whole or variable_shape(variable)
                yield RestoredTensor(name, None if variable is None else variable.name, data_type, shape, part)
            if not assigned:
                yield RestoredTensor(name, None, data_type, whole, part)


def _source(body: Body, tensor: str, wanted: set[str]) -> tuple[tuple[str, int] | None, bool]:
    """Which output of which op a tensor comes from, if it is one of the ``wanted``; and whether it was reshaped."""
    reshaped = False
    for _ in range(_LONGEST_WAY):
        output = body.get(tensor)
        if output is None:  # It is an input of the function.
            break
        if output.node.name in wanted:
            return (output.node.name, output.index), reshaped
        if output.node.op not in ("Identity", "Reshape") or not output.node.inputs:
            break
        reshaped = reshaped or output.node.op == "Reshape"
        tensor = output.node.inputs[0]
    return None, False


def _variable(body: Body, tensor: str, handles: Mapping[str, str]) -> Node | None:
    if isinstance(body, Function):
        tensor = handles.get(tensor, "")
        body = body.graph
    output = body.get(tensor)
    return output.node if output is not None and output.node.op in VARIABLE_OPS else None


def _strings(body: Body, node: Node, index: int, count: int) -> list[str]:
    """Return the strings of a constant among a node's inputs, one for each output; none where it is not constant."""
    if index >= len(node.inputs):
        return []
    source = body.get(node.inputs[index])
    if source is None or source.node.op != "Const":
        return []
    values = decode_constant(source.node.proto)
    if values.dtype != object:
        return []
    if values.size != count:
        raise FormatError(f"the node {node.name!r} restores {count} tensors, and takes {values.size} names or slices")
    return [value.decode("utf-8", "surrogateescape") for value in values.reshape(-1)]


def _whole_and_part(text: str) -> tuple[Shape, str]:
    match = _SLICE.fullmatch(text)
    return (tuple(map(int, match[1].split())), match[2]) if match and match[1] else (None, "")
