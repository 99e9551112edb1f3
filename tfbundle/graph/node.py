"""A node of a graph, and the tensors that it puts out.

Both are views of a ``NodeDef``: making one costs nothing, and each property is worked out when it is asked for.

Of which type a tensor is, the definition of its op says (``op_outputs``). Its shape no file says for certain: programs
may have left what they worked out in the attribute ``_output_shapes``, and a few ops have it as an attribute of their
own. Everything else would need the shape functions of TensorFlow, and stays unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.graph.attributes import Attributes, Shape, decode_partial_shape
from tfbundle.graph.op_outputs import OpOutputs
from tfbundle.proto import NodeDef
from tfbundle.tensors.dtypes import data_type_name, numpy_dtype

# Ops whose attribute "shape" is that of their output.
_SHAPED_OPS = {
    "ImmutableConst",
    "Placeholder",
    "PlaceholderV2",
    "PlaceholderWithDefault",
    "TemporaryVariable",
    "Variable",
    "VariableV2",
}
# Up to this version of the graph format a placeholder of unknown shape said that it was a scalar.
_LAST_VAGUE_PLACEHOLDER = 23


class Surroundings(Protocol):
    """What a node has to know of the graph, or the function, that it stands in."""

    path: str | None
    """The file that it came from, or ``None``."""
    op_outputs: OpOutputs
    """What is known of the outputs of ops."""
    graph_version: int
    """The producer's version in the ``GraphDef``."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All its nodes by name."""

    def full_name(self, name: str) -> str:
        """Return the name of a tensor as inputs have it, in the form that names it alone."""


class Node:
    """One node: an op with a name, inputs and attributes."""

    __slots__ = ("_body", "proto")

    proto: NodeDef
    """The message as the file has it."""

    def __init__(self, proto: NodeDef, body: Surroundings) -> None:
        """``Graph.nodes`` makes these."""
        self.proto = proto
        self._body = body

    @property
    def name(self) -> str:
        """The node's name, unique in its graph or function."""
        return self.proto.name

    @property
    def op(self) -> str:
        """The kind of op, such as ``"MatMul"``, or the name of a function."""
        return self.proto.op

    @property
    def device(self) -> str:
        """Where it is to run, such as ``"/device:GPU:0"``; often empty."""
        return self.proto.device

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the tensors that it takes, in the form in which ``graph[name]`` knows them.

        In a function's body some are the function's own inputs.
        """
        return tuple(self._body.full_name(name) for name in self.proto.input if not name.startswith("^"))

    @property
    def control_inputs(self) -> tuple[str, ...]:
        """The names of the nodes that run before it, though it takes nothing from them."""
        return tuple(name[1:] for name in self.proto.input if name.startswith("^"))

    @property
    def attributes(self) -> Attributes:
        """The attributes by name, decoded when they are asked for; ``tfbundle.graph.attributes`` says to what."""
        return Attributes(self.proto.attr, self._body.path)

    @property
    def outputs(self) -> tuple[Output, ...] | None:
        """The tensors that it puts out, or ``None`` where nothing says how many these are.

        Raises ``FormatError`` where the attributes do not fit the op.
        """
        try:
            types = self._body.op_outputs.types(self.proto)
        except TfBundleError as error:
            raise error.locate(path=self._body.path) from None
        return None if types is None else tuple(Output(self, index, number) for index, number in enumerate(types))

    def output(self, index: int) -> Output | None:
        """Return the output of this index, or ``None`` where it has fewer; raises as ``outputs`` does."""
        try:
            exists, number = self._body.op_outputs.find(self.proto, index)
        except TfBundleError as error:
            raise error.locate(path=self._body.path) from None
        return Output(self, index, number) if exists else None

    def _shape(self, index: int) -> Shape:
        """Return the shape of an output, or ``None``."""
        proto = self.proto
        try:
            if "_output_shapes" in proto.attr:
                shapes = proto.attr["_output_shapes"].list.shape
                if index < len(shapes):
                    return decode_partial_shape(shapes[index])
            if index == 0:
                return self._stated_shape()
        except TfBundleError as error:
            raise error.locate(path=self._body.path) from None
        return None

    def _stated_shape(self) -> Shape:
        proto = self.proto
        if proto.op == "Const" and "value" in proto.attr:
            return decode_partial_shape(proto.attr["value"].tensor.tensor_shape)
        if proto.op == "VarHandleOp":
            return ()  # One handle; the attribute "shape" is that of the variable behind it.
        if proto.op not in _SHAPED_OPS or proto.attr.get("shape") is None:
            return None
        value = proto.attr["shape"]
        if value.WhichOneof("value") != "shape":
            return None  # It is for the caller of a function to say.
        shape = decode_partial_shape(value.shape)
        if shape == () and (
            proto.op == "Variable"
            or (proto.op == "Placeholder" and self._body.graph_version <= _LAST_VAGUE_PLACEHOLDER)
        ):
            return None  # These mean a scalar, or anything.
        return shape

    def __repr__(self) -> str:
        return f"<Node {self.name!r}, {self.op}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        return self._body is other._body and self.name == other.name

    def __hash__(self) -> int:
        return hash((id(self._body), self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        return operator.getitem, (self._body.nodes, self.name)


class Output:
    """A tensor of a graph, such as ``"fc2/add:0"``: what one output of a node will hold when the graph runs."""

    __slots__ = ("_number", "index", "node")

    node: Node
    """The node that puts it out."""
    index: int
    """Which of the node's outputs it is."""

    def __init__(self, node: Node, index: int, number: int | None) -> None:
        """``graph["NODE:INDEX"]`` makes these; ``number`` is that of the ``DataType``."""
        self.node = node
        self.index = index
        self._number = number

    @property
    def name(self) -> str:
        """``"NODE:INDEX"``."""
        return f"{self.node.name}:{self.index}"

    @property
    def data_type(self) -> str | None:
        """TensorFlow's name of the type, such as ``"DT_FLOAT"``, or ``None`` where nothing says.

        A reference to a variable's buffer, ``float32_ref`` in TensorFlow 1, is of the type of the variable.
        """
        return None if self._number is None else data_type_name(self._number)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The numpy dtype; ``None`` where the type is not known, or is one of which there are no arrays."""
        try:
            return None if self._number is None else numpy_dtype(self._number)
        except UnsupportedError:
            return None
        except TfBundleError as error:
            raise error.locate(path=self.node._body.path) from None

    @property
    def shape(self) -> Shape:
        """The lengths of the dimensions, with ``None`` for one that is not known; ``None`` where no rank is known."""
        return self.node._shape(self.index)

    def __repr__(self) -> str:
        return f"<Output {self.name!r}, {self.data_type or 'unknown type'}, shape {format_partial_shape(self.shape)}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Output):
            return NotImplemented
        return self.node == other.node and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.node, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return Output, (self.node, self.index, self._number)


def format_partial_shape(shape: Shape) -> str:
    """Return a shape for people: ``"[?,784]"``, or ``"?"`` where not even the rank is known."""
    return "?" if shape is None else f"[{','.join('?' if size is None else str(size) for size in shape)}]"
