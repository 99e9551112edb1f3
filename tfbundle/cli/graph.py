"""``tfbundle graph``: what a graph holds, and one node of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.output import count_of, escape_name, one_line, print_json, print_line, print_table, unescape_name

if TYPE_CHECKING:
    from tfbundle.graph.graph import Function, Graph
    from tfbundle.graph.loading import Loaded
    from tfbundle.graph.meta_graph import MetaGraph, Saver
    from tfbundle.graph.node import Node
    from tfbundle.graph.signatures import Signature, SignatureTensor

Facts = dict[str, Any]

_LABEL_WIDTH = 12
_KINDS = {"graph": "GraphDef", "meta_graph": "MetaGraphDef", "saved_model": "SavedModel"}


@click.command()
@path_argument
@click.argument("node", required=False)
@json_option
def command(path: str, node: str | None, as_json: bool) -> None:
    """Show what a graph holds: ops, variables, collections, signatures, functions.

    PATH is a GraphDef, a MetaGraphDef (.meta) or a SavedModel, as text or binary. With NODE, show that node: op,
    inputs, attributes and outputs. NODE may also be one of its tensors, such as fc2/add:0, or the name of a function.
    """
    from tfbundle.graph.graph import Function
    from tfbundle.graph.loading import load_any, load_graph

    if node is None:
        facts = _describe(load_any(path))
        if as_json:
            print_json(facts)
        else:
            _print_summary(facts)
        return
    found = _find(load_graph(path), node)
    if isinstance(found, Function):
        facts, show = _function_facts(found), _print_function
    else:
        facts, show = _node_facts(found), _print_node
    if as_json:
        print_json(facts)
    else:
        show(facts)


def _find(graph: Graph, text: str) -> Node | Function:
    """The node, or the function, that a person calls ``text``: as it is printed, or as it is."""
    for name in dict.fromkeys((unescape_name(text), text)):
        if name in graph.nodes:
            return graph.nodes[name]
        if name in graph.functions:
            return graph.functions[name]
    try:
        return graph[text].node
    except KeyError as error:
        raise click.ClickException(error.args[0]) from None


# What is known of a whole file.


def _describe(loaded: Loaded) -> Facts:
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
    from tfbundle.graph.restoring import VARIABLE_OPS, variable_shape

    variables = [
        {"name": name, "variable": name, "trainable": None, "shape": variable_shape(node)}
        | _type_facts(node.attributes.get("dtype"))
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
        "functions": {
            name: {"nodes": len(function.nodes), "inputs": len(function.inputs), "outputs": len(function.outputs)}
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
    from tfbundle.dtypes import python_name

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
        "keep_checkpoint_every_n_hours": saver.keep_checkpoint_every_n_hours,
        "filename_tensor_name": saver.filename_tensor_name,
        "save_tensor_name": saver.save_tensor_name,
        "restore_op_name": saver.restore_op_name,
        "tensors": [tensor.name for tensor in saver.tensors],
    }


def _print_summary(facts: Facts) -> None:
    _print_fact("path", one_line(facts["path"]))
    _print_fact("kind", _KINDS[facts["kind"]])
    for graph in facts["graphs"]:
        if facts["kind"] == "saved_model":
            print_line()
        _print_graph(graph)
    if facts["assets"]:
        print_line()
        rows = [(escape_name(asset["name"]), "yes" if asset["exists"] else "no") for asset in facts["assets"]]
        print_table(("asset", "there"), rows)


def _print_graph(graph: Facts) -> None:
    if graph["tags"]:
        _print_fact("tags", ", ".join(map(escape_name, graph["tags"])))
    _print_fact("version", f"graph version {graph['producer']}" + _writer(graph["tensorflow_version"]))
    _print_fact("nodes", f"{graph['nodes']:,}")
    if graph["saver"] is not None:
        saver = graph["saver"]
        sharded = ", sharded" if saver["sharded"] else ""
        _print_fact("saver", f"{saver['version']}, {count_of(len(saver['tensors']), 'tensor')}{sharded}")
    _print_part(("op", "nodes"), [(escape_name(op), str(count)) for op, count in graph["ops"].items()])
    _print_part(
        ("function", "inputs", "outputs", "nodes"),
        [
            (escape_name(name), *(str(function[key]) for key in ("inputs", "outputs", "nodes")))
            for name, function in graph["functions"].items()
        ],
    )
    _print_part(
        ("variable", "shape", "dtype", "trainable"),
        [
            (
                escape_name(variable["name"]),
                _shape(variable["shape"]),
                variable["dtype"] or "?",
                {True: "yes", False: "no", None: "?"}[variable["trainable"]],
            )
            for variable in graph["variables"]
        ],
    )
    _print_part(
        ("collection", "items", "kind"),
        [
            (escape_name(name), str(collection["length"]), collection["kind"] or "-")
            for name, collection in graph["collections"].items()
        ],
    )
    _print_part(("signature", "", "key", "shape", "dtype", "tensor"), list(_signature_rows(graph["signatures"])))


def _writer(version: str) -> str:
    return f", written by TensorFlow {one_line(version)}" if version else ""


def _signature_rows(signatures: Facts) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, signature in signatures.items():
        for role in ("input", "output"):
            for key, tensor in signature[f"{role}s"].items():
                names = ", ".join(map(escape_name, tensor["names"])) or "-"
                rows.append(
                    (escape_name(name), role, escape_name(key), _shape(tensor["shape"]), tensor["dtype"] or "-", names)
                )
        if not signature["inputs"] and not signature["outputs"]:
            rows.append((escape_name(name), "-", "-", "-", "-", "-"))
    return rows


def _print_part(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        print_line()
        print_table(headers, rows, numbers=("nodes", "inputs", "outputs", "items"))


def _print_fact(label: str, value: str) -> None:
    print_line(f"{label:<{_LABEL_WIDTH}} {value}")


def _shape(shape: tuple[int | None, ...] | None) -> str:
    from tfbundle.graph.node import format_partial_shape

    return format_partial_shape(shape)


# One node, or one function.


def _node_facts(node: Node) -> Facts:
    from tfbundle.cli.attributes import json_attribute

    outputs = node.outputs
    return {
        "name": node.name,
        "op": node.op,
        "device": node.device,
        "inputs": node.inputs,
        "control_inputs": node.control_inputs,
        "attributes": {name: json_attribute(node.attributes, name) for name in node.attributes},
        "outputs": None
        if outputs is None
        else [{"name": output.name, "shape": output.shape} | _type_facts(output.data_type) for output in outputs],
    }


def _print_node(facts: Facts) -> None:
    from tfbundle.cli.attributes import format_attribute

    for label in ("name", "op", "device"):
        if facts[label]:
            _print_fact(label, escape_name(facts[label]))
    for label, names in (("input", facts["inputs"]), ("after", facts["control_inputs"])):
        for name in names:
            _print_fact(label, escape_name(name))
    for name, value in facts["attributes"].items():
        _print_fact("attribute", f"{escape_name(name)} = {format_attribute(value)}")
    if facts["outputs"] is None:
        _print_fact("output", "not known: nothing defines this op")
    for output in facts["outputs"] or ():
        _print_fact("output", f"{escape_name(output['name'])} {output['dtype'] or '?'} {_shape(output['shape'])}")


def _function_facts(function: Function) -> Facts:
    return {
        "function": function.name,
        "inputs": [
            {"name": argument.name, "shape": argument.shape} | _type_facts(argument.data_type)
            for argument in function.inputs.values()
        ],
        "outputs": dict(function.outputs),
        "nodes": len(function.nodes),
        "ops": dict(function.op_counts.most_common()),
    }


def _print_function(facts: Facts) -> None:
    _print_fact("function", escape_name(facts["function"]))
    for argument in facts["inputs"]:
        _print_fact("input", f"{escape_name(argument['name'])} {argument['dtype'] or '?'} {_shape(argument['shape'])}")
    for name, tensor in facts["outputs"].items():
        _print_fact("output", f"{escape_name(name)} = {escape_name(tensor)}")
    _print_fact("nodes", f"{facts['nodes']:,}")
    _print_part(("op", "nodes"), [(escape_name(op), str(count)) for op, count in facts["ops"].items()])
