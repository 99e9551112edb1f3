"""The facts that ``tfbundle graph`` prints, as in JSON: of a whole file, of one node, or of one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfbundle.cli.output import json_number

if TYPE_CHECKING:
    from tfbundle.graph.graph import Argument, Function, Graph
    from tfbundle.graph.loading import Loaded
    from tfbundle.graph.meta_graph import MetaGraph, Saver
    from tfbundle.graph.node import Node
    from tfbundle.graph.signatures import Signature, SignatureTensor
    from tfbundle.graph.variables import Variable

Facts = dict[str, Any]


def file_facts(loaded: Loaded) -> Facts:
    """Return the graphs of a file, and the assets of a SavedModel."""
    from tfbundle.graph.graph import Graph
    from tfbundle.graph.saved_model import SavedModel

    assets: list[Facts] = []
    if isinstance(loaded, Graph):
        kind, graphs = "graph", [_graph_facts(loaded)]
    elif isinstance(loaded, SavedModel):
        kind, graphs = "saved_model", [_meta_graph_facts(meta) for meta in loaded.meta_graphs]
        assets = [{**asset._asdict(), "exists": asset.exists} for asset in loaded.assets]
    else:
        kind, graphs = "meta_graph", [_meta_graph_facts(loaded)]
    return {"path": loaded.path, "kind": kind, "graphs": graphs, "assets": assets}


def _graph_facts(graph: Graph) -> Facts:
    from tfbundle.graph.restoring import VARIABLE_OPS, variable_shape, variable_type

    variables = [
        {"name": name, "variable": name, "trainable": None, "shape": variable_shape(node)}
        | _type_facts(variable_type(node))
        for name, node in graph.nodes.items()
        if node.op in VARIABLE_OPS
    ]
    return {
        "tags": [],
        "tensorflow_version": "",
        "producer": graph.graph_version,
        "min_consumer": graph.proto.versions.min_consumer,
        "nodes": len(graph.nodes),
        "ops": dict(graph.op_counts.most_common()),
        "function_ops": dict(graph.function_op_counts.most_common()),
        "functions": {
            name: {"nodes": len(function.nodes), **_function_signature_facts(function)}
            for name, function in graph.functions.items()
        },
        "variables": variables,
        "collections": {},
        "signatures": {},
        "saver": None,
    }


def _meta_graph_facts(meta: MetaGraph) -> Facts:
    facts = _graph_facts(meta.graph)
    if meta.all_variables:
        facts["variables"] = [
            {
                "name": variable.stored_name,
                "variable": variable.name,
                "trainable": variable.trainable,
                "shape": variable.shape,
            }
            | _type_facts(variable.data_type)
            for variable in meta.all_variables
        ]
    collections = meta.proto.collection_def
    kinds = {name: collections[name].WhichOneof("kind") for name in sorted(collections)}
    return facts | {
        "tags": meta.tags,
        "tensorflow_version": meta.tensorflow_version,
        "collections": {
            name: {"kind": kind, "length": len(getattr(collections[name], kind).value) if kind else 0}
            for name, kind in kinds.items()
        },
        "signatures": {name: _signature_facts(signature) for name, signature in meta.signatures.items()},
        "saver": None if meta.saver is None else _saver_facts(meta.saver),
    }


def _type_facts(data_type: str | None) -> Facts:
    from tfbundle.tensors.dtypes import python_name

    return {"dtype": python_name(data_type) if data_type else None, "data_type": data_type}


def _signature_facts(signature: Signature) -> Facts:
    def tensors(group: Any) -> Facts:
        return {key: _signature_tensor_facts(tensor) for key, tensor in group.items()}

    return {
        "method_name": signature.method_name,
        "inputs": tensors(signature.inputs),
        "outputs": tensors(signature.outputs),
    }


def _signature_tensor_facts(tensor: SignatureTensor) -> Facts:
    return {"names": tensor.names, "shape": tensor.shape} | _type_facts(tensor.data_type)


def _saver_facts(saver: Saver) -> Facts:
    return {
        "version": saver.version,
        "sharded": saver.sharded,
        "max_to_keep": saver.max_to_keep,
        "keep_checkpoint_every_n_hours": json_number(saver.keep_checkpoint_every_n_hours),
        "filename_tensor_name": saver.filename_tensor_name,
        "save_tensor_name": saver.save_tensor_name,
        "restore_op_name": saver.restore_op_name,
        "tensors": [tensor.name for tensor in saver.tensors],
    }


def node_facts(node: Node, loaded: Graph | MetaGraph) -> Facts:
    """Return a node with its attributes and outputs, and the name in the checkpoint if it is a variable."""
    from tfbundle.cli.attributes import json_attributes

    outputs = node.outputs
    return {
        "name": node.name,
        "op": node.op,
        "device": node.device,
        "stored_as": {variable: key for key, variable in _nodes_by_key(loaded).items()}.get(node.name),
        "inputs": node.inputs,
        "control_inputs": node.control_inputs,
        "attributes": json_attributes(node.attributes),
        "outputs": None
        if outputs is None
        else [{"name": output.name, "shape": output.shape} | _type_facts(output.data_type) for output in outputs],
    }


def find_variables(meta: MetaGraph, name: str) -> list[Variable]:
    """Return the variables with this name: the key in the checkpoint, or the variable's own name.

    A variable that Keras stores twice is returned once.
    """
    from tfbundle.checkpoint.chosen_names import KERAS_COPIES

    found = [variable for variable in meta.all_variables if variable.stored_name == name]
    # The parts of a partitioned variable have the key of the whole.
    found = found[:1] or [variable for variable in meta.all_variables if name in (variable.name, variable.own_name)]
    own = [variable for variable in found if not variable.stored_name.startswith(KERAS_COPIES)]
    return own or found


def variable_facts(variable: Variable, loaded: Graph | MetaGraph) -> Facts:
    """Return the facts about a variable, and the node that holds it."""
    return {
        "name": variable.stored_name,
        "variable": variable.own_name,
        "trainable": variable.trainable,
        "shape": variable.shape,
        "node": _nodes_by_key(loaded).get(variable.stored_name),
    } | _type_facts(variable.data_type)


def _nodes_by_key(loaded: Graph | MetaGraph) -> dict[str, str]:
    """Return the nodes of variables by the names under which the saver stores them."""
    from tfbundle.errors import TfBundleError
    from tfbundle.graph.graph import Graph

    if isinstance(loaded, Graph) or loaded.saver is None:
        return {}
    try:
        return {tensor.name: tensor.variable for tensor in loaded.saver.tensors if tensor.variable is not None}
    except TfBundleError:
        return {}  # Errors of the saver are not reported here.


def function_facts(function: Function) -> Facts:
    """Return the inputs, outputs and nodes of a function."""
    return {
        "function": function.name,
        **_function_signature_facts(function),
        "nodes": len(function.nodes),
        "ops": dict(function.op_counts.most_common()),
    }


def _function_signature_facts(function: Function) -> Facts:
    signature = function.signature
    return {
        "inputs": [_argument_facts(argument) for argument in signature.inputs.values()],
        "outputs": [
            _argument_facts(argument) | {"tensor": function.outputs[argument.name]}
            for argument in signature.outputs.values()
        ],
    }


def _argument_facts(argument: Argument) -> Facts:
    return {"name": argument.name, "shape": argument.shape} | _type_facts(argument.data_type)
