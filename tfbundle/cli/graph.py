"""``tfbundle graph``: what a graph holds, and one node of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.completion import complete_nodes
from tfbundle.cli.graph_facts import Facts, file_facts, function_facts, node_facts
from tfbundle.cli.output import (
    count_of,
    escape_name,
    one_line,
    print_fact,
    print_json,
    print_line,
    print_table,
    unescape_name,
)

if TYPE_CHECKING:
    from tfbundle.graph.graph import Function, Graph
    from tfbundle.graph.node import Node

# Inputs or outputs of a function beyond this are not listed in a table; with its name, or --json, all are.
_WIDEST_ARGUMENTS = 64
_KINDS = {"graph": "GraphDef", "meta_graph": "MetaGraphDef", "saved_model": "SavedModel"}


@click.command()
@path_argument
@click.argument("node", required=False, shell_complete=complete_nodes)
@json_option
def command(path: str, node: str | None, as_json: bool) -> None:
    """Show what a graph holds: ops, variables, collections, signatures, functions.

    PATH is a GraphDef, a MetaGraphDef (.meta) or a SavedModel, as text or binary, a checkpoint that has one of them, or
    an event file or a run's folder, of which it is the last graph. With NODE, show that node: op, inputs, attributes
    and outputs. NODE may also be one of its tensors, such as fc2/add:0, or the name of a function.
    """
    from tfbundle.graph.graph import Function
    from tfbundle.graph.loading import graph_of
    from tfbundle.graph_sources import load_any_graph

    loaded = load_any_graph(path)
    if node is None:
        facts = file_facts(loaded)
        if as_json:
            print_json(facts)
        else:
            _print_summary(facts)
        return
    found = _find(graph_of(loaded), node)
    if isinstance(found, Function):
        facts, show, document = function_facts(found), _print_function, "graph-function"
    else:
        facts, show, document = node_facts(found), _print_node, "graph-node"
    if as_json:
        print_json(facts, document=document)
    else:
        show(facts)


def _find(graph: Graph, text: str) -> Node | Function:
    """Return the node, or the function, that a person calls ``text``: as it is printed, or as it is."""
    for name in dict.fromkeys((unescape_name(text), text)):
        if name in graph.nodes:
            return graph.nodes[name]
        if name in graph.functions:
            return graph.functions[name]
    try:
        return graph[text].node
    except KeyError as error:
        raise click.ClickException(error.args[0]) from None


def _print_summary(facts: Facts) -> None:
    print_fact("path", one_line(facts["path"]))
    print_fact("kind", _KINDS[facts["kind"]])
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
        print_fact("tags", ", ".join(map(escape_name, graph["tags"])))
    print_fact("version", f"graph version {graph['producer']}" + _writer(graph["tensorflow_version"]))
    print_fact("nodes", f"{graph['nodes']:,}")
    if graph["saver"] is not None:
        saver = graph["saver"]
        sharded = ", sharded" if saver["sharded"] else ""
        print_fact("saver", f"{saver['version']}, {count_of(len(saver['tensors']), 'tensor')}{sharded}")
    if graph["functions"]:
        inside = sum(function["nodes"] for function in graph["functions"].values())
        print_fact("functions", f"{len(graph['functions']):,}, with {count_of(inside, 'node')}")
    _print_ops(graph["ops"], graph["function_ops"])
    _print_part(
        ("function", "nodes", "inputs", "outputs"),
        [
            (escape_name(name), str(function["nodes"]), *map(_arguments, (function["inputs"], function["outputs"])))
            for name, function in graph["functions"].items()
        ],
    )
    variables = [
        (
            escape_name(variable["name"]),
            _shape(variable["shape"]),
            variable["dtype"] or "?",
            {True: "yes", False: "no", None: "?"}[variable["trainable"]],
        )
        for variable in graph["variables"]
    ]
    # The parts of a partitioned variable have the name and shape of the whole.
    _print_part(("variable", "shape", "dtype", "trainable"), list(dict.fromkeys(variables)))
    _print_part(
        ("collection", "items", "kind"),
        [
            (escape_name(name), str(collection["length"]), collection["kind"] or "-")
            for name, collection in graph["collections"].items()
        ],
    )
    _print_part(("signature", "", "key", "shape", "dtype", "tensor"), list(_signature_rows(graph["signatures"])))


def _print_ops(ops: dict[str, int], function_ops: dict[str, int]) -> None:
    if not function_ops:
        _print_part(("op", "nodes"), [(escape_name(op), str(count)) for op, count in ops.items()])
        return
    known = dict.fromkeys((*ops, *function_ops))
    counts = sorted(((op, ops.get(op, 0), function_ops.get(op, 0)) for op in known), key=lambda row: -row[1] - row[2])
    rows = [(escape_name(op), str(count), str(inside)) for op, count, inside in counts]
    _print_part(("op", "nodes", "in functions"), rows)


def _arguments(arguments: list[Facts]) -> str:
    """Return the inputs or outputs of a function as a cell, as many as fit."""
    parts: list[str] = []
    width = 0
    for argument in arguments:
        shape = "" if argument["shape"] is None else _shape(argument["shape"])
        parts.append(f"{escape_name(argument['name'])}: {argument['dtype'] or '?'}{shape}")
        width += len(parts[-1]) + 2
        if width > _WIDEST_ARGUMENTS and len(parts) > 1:
            parts[-1:] = [f"and {len(arguments) - len(parts) + 1} more"]
            break
    return ", ".join(parts) or "-"


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


def _print_part(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    if rows:
        print_line()
        print_table(headers, rows, numbers=("nodes", "in functions", "items"))


def _shape(shape: tuple[int | None, ...] | None) -> str:
    from tfbundle.graph.node import format_partial_shape

    return format_partial_shape(shape)


def _print_node(facts: Facts) -> None:
    from tfbundle.cli.attributes import format_attribute

    for label in ("name", "op", "device"):
        if facts[label]:
            print_fact(label, escape_name(facts[label]))
    for label, names in (("input", facts["inputs"]), ("after", facts["control_inputs"])):
        for name in names:
            print_fact(label, escape_name(name))
    for name, value in facts["attributes"].items():
        print_fact("attribute", f"{escape_name(name)} = {format_attribute(value)}")
    if facts["outputs"] is None:
        print_fact("output", "not known: nothing defines this op")
    for output in facts["outputs"] or ():
        print_fact("output", f"{escape_name(output['name'])} {output['dtype'] or '?'} {_shape(output['shape'])}")


def _print_function(facts: Facts) -> None:
    print_fact("function", escape_name(facts["function"]))
    for role, arguments in (("input", facts["inputs"]), ("output", facts["outputs"])):
        for argument in arguments:
            tensor = f" = {escape_name(argument['tensor'])}" if role == "output" else ""
            kind = f"{argument['dtype'] or '?'} {_shape(argument['shape'])}"
            print_fact(role, f"{escape_name(argument['name'])} {kind}{tensor}")
    print_fact("nodes", f"{facts['nodes']:,}")
    _print_part(("op", "nodes"), [(escape_name(op), str(count)) for op, count in facts["ops"].items()])
