"""Writes graphs that call, read and write, as messages, in a line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tfbundle.proto import FunctionDef, GraphDef, NodeDef, SavedModel

STRING = 7


def node(name: str, op: str, *inputs: str) -> NodeDef:
    """A node without attributes."""
    return NodeDef(name=name, op=op, input=inputs)


def constant(name: str, *values: bytes) -> NodeDef:
    """A constant of strings: of one a scalar, of several a vector."""
    found = NodeDef(name=name, op="Const")
    found.attr["dtype"].type = STRING
    tensor = found.attr["value"].tensor
    tensor.dtype = STRING
    tensor.string_val.extend(values)
    tensor.tensor_shape.SetInParent()
    if len(values) != 1:
        tensor.tensor_shape.dim.add(size=len(values))
    return found


def integers(name: str, *values: int, scalar: bool = False) -> NodeDef:
    """A constant of 32-bit integers."""
    found = NodeDef(name=name, op="Const")
    found.attr["dtype"].type = 3
    tensor = found.attr["value"].tensor
    tensor.dtype = 3
    tensor.int_val.extend(values)
    tensor.tensor_shape.SetInParent()
    if not scalar:
        tensor.tensor_shape.dim.add(size=len(values))
    return found


def call(name: str, function_name: str, *inputs: str, op: str = "PartitionedCall", attribute: str = "f") -> NodeDef:
    """A node that calls a function by an attribute."""
    found = node(name, op, *inputs)
    found.attr[attribute].func.name = function_name
    return found


def function(name: str, arguments: Sequence[str], nodes: Iterable[NodeDef], **returns: str) -> FunctionDef:
    """A function of strings."""
    found = FunctionDef(node_def=nodes)
    found.signature.name = name
    for argument in arguments:
        found.signature.input_arg.add(name=argument, type=STRING)
    for output, tensor in returns.items():
        found.signature.output_arg.add(name=output, type=STRING)
        found.ret[output] = tensor
    return found


def saved_model(graph: GraphDef, signatures: Mapping[str, Sequence[str]]) -> SavedModel:
    """A SavedModel of one graph; each signature has the nodes that it fetches."""
    model = SavedModel(saved_model_schema_version=1)
    meta = model.meta_graphs.add(graph_def=graph)
    meta.meta_info_def.tags.append("serve")
    for name, fetched in signatures.items():
        for number, tensor in enumerate(fetched):
            meta.signature_def[name].outputs[str(number)].name = f"{tensor}:0"
    return model
