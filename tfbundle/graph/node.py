"""A node of a graph, and the tensors that it outputs.

Both are views of a ``NodeDef``: creating one costs nothing, and each property is computed on access.

The dtype of a tensor follows from the definition of its op (``op_outputs``). Its shape is not always in the file:
programs may store the inferred shapes in the attribute ``_output_shapes``, and a few ops have the shape as an attribute
of another name. Any other shape would require TensorFlow's shape functions and remains unknown.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.graph.attributes import Attributes, Shape, decode_partial_shape
from tfbundle.graph.op_outputs import OpOutputs
from tfbundle.notebook import Table, render, safe_view, view_of
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
# Up to this version of the graph format, a placeholder of unknown shape was stored as a scalar.
_LAST_VAGUE_PLACEHOLDER = 23


class Surroundings(Protocol):
    """The parts of a graph or function that its nodes use."""

    path: str | None
    """The file that the graph was read from, or ``None``."""
    op_outputs: OpOutputs
    """The known outputs of ops."""
    graph_version: int
    """The producer's version in the ``GraphDef``."""

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by name."""

    def full_name(self, name: str) -> str:
        """Return the unambiguous form of a tensor name that appears among a node's inputs."""


class Node:
    """One node: an op with a name, inputs and attributes."""

    __slots__ = ("_body", "proto")

    proto: NodeDef
    """The message as stored in the file."""

    def __init__(self, proto: NodeDef, body: Surroundings) -> None:
        """Create a node, as ``Graph.nodes`` does."""
        self.proto = proto
        self._body = body

    @property
    def name(self) -> str:
        """The node's name, unique in its graph or function."""
        return self.proto.name

    @property
    def op(self) -> str:
        """The op, such as ``"MatMul"``, or the name of a function."""
        return self.proto.op

    @property
    def device(self) -> str:
        """The device that the node is assigned to, such as ``"/device:GPU:0"``; often empty."""
        return self.proto.device

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input tensors, in the form that ``graph[name]`` accepts.

        In the body of a function, some of them are inputs of the function.
        """
        return tuple(self._body.full_name(name) for name in self.proto.input if not name.startswith("^"))

    @property
    def control_inputs(self) -> tuple[str, ...]:
        """The names of nodes that must run first, although none of their outputs is an input."""
        return tuple(name[1:] for name in self.proto.input if name.startswith("^"))

    @property
    def attributes(self) -> Attributes:
        """The attributes by name, decoded on access."""
        return Attributes(self.proto.attr, self._body.path)

    @property
    def outputs(self) -> tuple[Output, ...] | None:
        """The output tensors, or ``None`` if their number is not known.

        Raises ``FormatError`` if the attributes do not fit the op.
        """
        try:
            types = self._body.op_outputs.types(self.proto)
        except TfBundleError as error:
            raise error.locate(path=self._body.path) from None
        return None if types is None else tuple(Output(self, index, number) for index, number in enumerate(types))

    def output(self, index: int) -> Output | None:
        """Return the output with this index, or ``None`` if there are fewer; raises the errors of ``outputs``."""
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
            return ()  # The output is one handle; the attribute "shape" is that of the variable it refers to.
        if proto.op not in _SHAPED_OPS or proto.attr.get("shape") is None:
            return None
        value = proto.attr["shape"]
        if value.WhichOneof("value") != "shape":
            return None  # The caller of the function determines it.
        shape = decode_partial_shape(value.shape)
        if shape == () and (
            proto.op == "Variable"
            or (proto.op == "Placeholder" and self._body.graph_version <= _LAST_VAGUE_PLACEHOLDER)
        ):
            return None  # Here an empty shape means either a scalar or an unknown shape.
        return shape

    @safe_view
    def _repr_html_(self) -> str:
        outputs = self.outputs or ()
        rows = ((output.name, output.data_type or "", view_of(output.shape)) for output in outputs)
        return render(
            f"Node {self.name}",
            {"op": self.op, "device": self.device},
            Table(("input",), ((name,) for name in self.inputs), len(self.inputs), "input"),
            Table(("output", "dtype", "shape"), rows, len(outputs), "output"),
        )

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
    """A symbolic tensor of a graph, such as ``"fc2/add:0"``: one output of a node."""

    __slots__ = ("_number", "index", "node")

    node: Node
    """The node that outputs the tensor."""
    index: int
    """The index of the output."""

    def __init__(self, node: Node, index: int, number: int | None) -> None:
        """Create an output, as ``graph["NODE:INDEX"]`` does; ``number`` is the value of its ``DataType``."""
        self.node = node
        self.index = index
        self._number = number

    @property
    def name(self) -> str:
        """The name, ``"NODE:INDEX"``."""
        return f"{self.node.name}:{self.index}"

    @property
    def data_type(self) -> str | None:
        """TensorFlow's name of the dtype, such as ``"DT_FLOAT"``, or ``None`` if it is not known.

        A reference to a variable's buffer, ``float32_ref`` in TensorFlow 1, has the dtype of the variable.
        """
        return None if self._number is None else data_type_name(self._number)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The numpy dtype, or ``None`` if the dtype is not known or has no numpy equivalent."""
        try:
            return None if self._number is None else numpy_dtype(self._number)
        except UnsupportedError:
            return None
        except TfBundleError as error:
            raise error.locate(path=self.node._body.path) from None

    @property
    def shape(self) -> Shape:
        """The sizes of the dimensions, with ``None`` for each unknown size; ``None`` if the rank is not known."""
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
    """Return a shape as readable text: ``"[?,784]"``, or ``"?"`` if the rank is not known."""
    return "?" if shape is None else f"[{','.join('?' if size is None else str(size) for size in shape)}]"
