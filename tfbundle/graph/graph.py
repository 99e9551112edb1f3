"""A ``GraphDef``: nodes, functions, and the dtypes and shapes of their tensors as far as they are known.

A tensor is named after the node that produces it and the index of the output, ``fc2/add:0``, as in TensorFlow's
``get_tensor_by_name``. In the body of a function, the name of the output in the op's definition comes in between, and
the number is an index within that output: ``add:z:0``, ``Split:output:2``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.frozen_dict import FrozenDict
from tfbundle.graph.attributes import Attributes, Shape, decode_partial_shape
from tfbundle.graph.body import Body
from tfbundle.graph.node import Output, format_partial_shape
from tfbundle.graph.op_outputs import OpOutputs
from tfbundle.notebook import MOST_ROWS, Table, render, safe_view
from tfbundle.plurals import plural
from tfbundle.proto import FunctionDef, GraphDef, OpDef
from tfbundle.tensors.dtypes import data_type_name, python_name

_NUMBERED = re.compile(r"(.+):(\d{1,9})", re.DOTALL)
_NAMED = re.compile(r"([^:]+):([^:]+):(\d{1,9})")


class Graph(Body):
    """A graph of nodes.

    ``graph["fc2/add:0"]`` corresponds to ``get_tensor_by_name`` and has the tensor's node, dtype and shape. ``:0`` may
    be omitted, as in the inputs of nodes. ``graph.nodes["fc2/add"]`` corresponds to ``get_operation_by_name``.
    """

    proto: GraphDef
    """The message as stored in the file."""

    def __init__(self, proto: GraphDef, *, op_definitions: Sequence[OpDef] = (), path: str | None = None) -> None:
        """Wrap a message; ``op_definitions`` come from its ``MetaGraphDef``, and ``path`` is used in errors."""
        self.proto = proto
        self._op_definitions = op_definitions
        outputs = OpOutputs(op_definitions, proto.library.function)
        super().__init__(proto.node, outputs, proto.versions.producer or proto.version, path)

    @cached_property
    def functions(self) -> Mapping[str, Function]:
        """The functions of the graph by name; ``FormatError`` if two have the same name."""
        found = self.op_outputs.functions
        if found.repeated is not None:
            raise FormatError(f"two functions of {self} have the name {found.repeated!r}", path=self.path)
        return FrozenDict(
            {name: Function(proto, self) for name, proto in zip(found, self.proto.library.function, strict=True)}
        )

    @cached_property
    def function_op_counts(self) -> Counter[str]:
        """The number of nodes of each op in all functions, with each function counted once."""
        return Counter(node.op for function in self.proto.library.function for node in function.node_def)

    def full_name(self, name: str) -> str:
        """Return ``NODE:0`` for ``NODE``."""
        return name if _NUMBERED.fullmatch(name) else f"{name}:0"

    def _place(self, name: str) -> tuple[str, int] | None:
        match = _NUMBERED.fullmatch(name)
        return (match[1], int(match[2])) if match else (name, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.proto, tuple(self._op_definitions), self.path)

    @safe_view
    def _repr_html_(self) -> str:
        facts = {"nodes": len(self._protos), "functions": len(self.proto.library.function) or None}
        counts = self.op_counts
        table = Table(("op", "nodes"), counts.most_common(MOST_ROWS), len(counts), "op")
        return render(f"Graph {self.path or ''}", facts, table)

    def __repr__(self) -> str:
        functions = len(self.proto.library.function)
        more = f", {plural(functions, 'function')}" if functions else ""
        return f"<Graph {self.path!r}, {plural(len(self._protos), 'node')}{more}>"

    def __str__(self) -> str:
        return self.path or "the graph"


def _restore(proto: GraphDef, op_definitions: tuple[OpDef, ...], path: str | None) -> Graph:
    """Return the graph that was pickled."""
    return Graph(proto, op_definitions=op_definitions, path=path)


class Argument(NamedTuple):
    """An input or an output of a function.

    ``data_type`` is ``None`` if the caller chooses it; ``shape`` is ``None`` if it is not stated.
    """

    name: str
    data_type: str | None
    shape: Shape

    def __str__(self) -> str:
        dtype = "?" if self.data_type is None else python_name(self.data_type)
        return f"{self.name}: {dtype}{'' if self.shape is None else format_partial_shape(self.shape)}"


class FunctionSignature(NamedTuple):
    """The inputs and outputs of a function, by name and in order; as text ``f(x: float32[?,2]) -> (y: float32)``."""

    name: str
    inputs: Mapping[str, Argument]
    outputs: Mapping[str, Argument]

    def __str__(self) -> str:
        inputs, outputs = (", ".join(map(str, group.values())) for group in (self.inputs, self.outputs))
        return f"{self.name}({inputs}) -> ({outputs})"


class Function(Body):
    """A function of a graph: the body of a ``tf.function``, or of a branch or a loop in one.

    ``function["add:z:0"]`` is a tensor of the body, named as in the inputs of its nodes; ``function["add:0"]`` is
    accepted too. The inputs of the function itself are in ``inputs`` and are not nodes.
    """

    proto: FunctionDef
    """The message as stored in the file."""
    graph: Graph
    """The graph that the function belongs to."""

    def __init__(self, proto: FunctionDef, graph: Graph) -> None:
        """Create a function, as ``graph.functions`` does."""
        self.proto = proto
        self.graph = graph
        super().__init__(proto.node_def, graph.op_outputs, graph.graph_version, graph.path)

    @property
    def name(self) -> str:
        """The function's name, which nodes that call it have as their op or in an attribute."""
        return self.proto.signature.name

    @cached_property
    def inputs(self) -> Mapping[str, Argument]:
        """The inputs, by name and in order."""
        arguments = {}
        for index, arg in enumerate(self.proto.signature.input_arg):
            shape = None
            if index in self.proto.arg_attr and "_output_shapes" in self.proto.arg_attr[index].attr:
                shapes = self.proto.arg_attr[index].attr["_output_shapes"].list.shape
                try:
                    shape = decode_partial_shape(shapes[0]) if len(shapes) == 1 else None
                except TfBundleError as error:
                    raise error.locate(path=self.path) from None
            arguments[arg.name] = Argument(arg.name, data_type_name(arg.type) if arg.type else None, shape)
        return FrozenDict(arguments)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The outputs, by name and in order; each value names a tensor of the body or one of the inputs."""
        returns = self.proto.ret
        return FrozenDict({arg.name: returns.get(arg.name, "") for arg in self.proto.signature.output_arg})

    @cached_property
    def signature(self) -> FunctionSignature:
        """The inputs and outputs, with dtypes and shapes as far as they are stated; raises the errors of ``inputs``."""
        outputs = {}
        shapes: dict[Output | None, Shape] = {None: None}  # Several outputs may return the same tensor.
        for arg in self.proto.signature.output_arg:
            returned = self.outputs[arg.name]
            if returned in self.inputs:
                shape = self.inputs[returned].shape
            else:
                output = self.get(returned)
                if output is not None and output not in shapes:
                    shapes[output] = output.shape
                shape = shapes[output]
            outputs[arg.name] = Argument(arg.name, data_type_name(arg.type) if arg.type else None, shape)
        return FunctionSignature(self.name, self.inputs, FrozenDict(outputs))

    @property
    def attributes(self) -> Attributes:
        """The attributes of the function itself."""
        return Attributes(self.proto.attr, self.path)

    def full_name(self, name: str) -> str:
        """Return the name itself."""
        return name

    def _place(self, name: str) -> tuple[str, int] | None:
        match = _NAMED.fullmatch(name)
        if match is None:
            match = _NUMBERED.fullmatch(name)
            return (match[1], int(match[2])) if match else (name, 0)
        node_name, output_name, number = match[1], match[2], int(match[3])
        if node_name not in self.nodes:
            return None
        try:
            index = self.op_outputs.index_of(self.nodes[node_name].proto, output_name, number)
        except TfBundleError as error:
            raise error.locate(path=self.path) from None
        return None if index is None else (node_name, index)

    def _unknown(self, name: str) -> str:
        if name in self.inputs:
            return f"{name!r} is an input of {self}, not a tensor of its body; see .inputs"
        return super()._unknown(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.proto, self.graph)

    def __repr__(self) -> str:
        return f"<Function {self.name!r}, {plural(len(self._protos), 'node')}>"

    def __str__(self) -> str:
        return f"function {self.name!r}"
