"""``tfbundle graph``: the contents of a graph, or one of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.completion import complete_nodes
from tfbundle.cli.graph_around import find_around, print_around, to_dot
from tfbundle.cli.graph_facts import (
    Facts,
    file_facts,
    find_variables,
    function_facts,
    node_facts,
    variable_facts,
)
from tfbundle.cli.output import print_fact, print_json, print_line, print_lines, print_table
from tfbundle.printable import count_of, escape_name, one_line, unescape_name

if TYPE_CHECKING:
    from tfbundle.graph.graph import Function, Graph
    from tfbundle.graph.meta_graph import MetaGraph
    from tfbundle.graph.node import Node
    from tfbundle.graph.variables import Variable

# The widest list of a function's inputs or outputs in a table; its name as NODE, or --json, shows all of them.
_WIDEST_ARGUMENTS = 64
# A longer list of keys would not help.
_MOST_LISTED = 10
# How far the nodes around a node can be shown, and how far a drawing shows them.
_DEEPEST = 10
_DOT_DEPTH = 2
_TRAINABLE = {True: "yes", False: "no", None: "?"}
_KINDS = {"graph": "GraphDef", "meta_graph": "MetaGraphDef", "saved_model": "SavedModel"}


@click.command(short_help="Show a graph: ops, variables, signatures, functions.")
@path_argument
@click.argument("node", required=False, shell_complete=complete_nodes)
@click.option(
    "--depth", type=click.IntRange(1, _DEEPEST), metavar="N", help="Show the nodes around NODE, N steps up and down."
)
@click.option("--dot", is_flag=True, help="Print the nodes around NODE as a graph for Graphviz.")
@json_option
def command(path: str, node: str | None, depth: int | None, dot: bool, as_json: bool) -> None:
    """Show the contents of a graph: ops, variables, collections, signatures, functions.

    PATH is a GraphDef, a MetaGraphDef (.meta) or a SavedModel, in text or binary form, or a checkpoint with one of
    them. It may also be an event file or the folder of a run, whose last graph is shown.

    With NODE, only that node is shown: op, inputs, attributes and outputs. NODE may also be the name of a tensor, such
    as fc2/add:0, of a function, or of a variable, such as dense/kernel or its key in the checkpoint.

    --depth also lists the nodes that NODE depends on, and those that depend on it. --dot prints them for Graphviz
    ("tfbundle graph PATH NODE --dot | dot -Tsvg -o around.svg"), by default to a depth of 2.
    """
    if node is None and (dot or depth is not None):
        raise click.UsageError("--depth and --dot show the nodes around one node; pass its name as NODE")
    if dot and as_json:
        raise click.UsageError("pass --dot or --json, not both")
    from tfbundle.graph.graph import Function
    from tfbundle.graph.loading import one_graph
    from tfbundle.graph.variables import Variable
    from tfbundle.graph_sources import load_any_graph

    loaded = load_any_graph(path)
    if node is None:
        facts = file_facts(loaded)
        if as_json:
            print_json(facts)
        else:
            _print_summary(facts)
        return
    graph = one_graph(loaded)
    found = _find(graph, node)
    if isinstance(found, Function):
        facts, show, document = function_facts(found), _print_function, "graph-function"
    elif isinstance(found, Variable):
        facts, show, document = variable_facts(found, graph), _print_variable, "graph-variable"
    else:
        facts, show, document = node_facts(found, graph), _print_node, "graph-node"
        around = find_around(graph, found, depth or (_DOT_DEPTH if dot else 0))
        if dot:
            print_lines(to_dot(around))
            return
        facts["around"] = around if depth else None
    if (dot or depth) and document != "graph-node":
        raise click.UsageError(f"{node} is not a node; --depth and --dot show the nodes around a node")
    if as_json:
        print_json(facts, document=document)
    else:
        show(facts)


def _find(loaded: Graph | MetaGraph, text: str) -> Node | Function | Variable:
    """Return the node, function or variable that ``text`` names, escaped or literally."""
    from tfbundle.graph.graph import Graph

    graph = loaded if isinstance(loaded, Graph) else loaded.graph
    names = list(dict.fromkeys((unescape_name(text), text)))
    for name in names:
        if name in graph.nodes:
            return graph.nodes[name]
        if name in graph.functions:
            return graph.functions[name]
        output = graph.get(name)
        if output is not None:
            return output.node
    for name in names:
        found = [] if isinstance(loaded, Graph) else find_variables(loaded, name)
        if len(found) > 1:
            keys = ", ".join(escape_name(variable.stored_name) for variable in found[:_MOST_LISTED])
            raise click.ClickException(f"{len(found)} variables are named {text}; pass one of {keys}")
        if found:
            return found[0]
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
        print_table(("asset", "exists"), rows)


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
    _print_variables(graph["variables"])
    _print_part(
        ("collection", "items", "kind"),
        [
            (escape_name(name), str(collection["length"]), collection["kind"] or "-")
            for name, collection in graph["collections"].items()
        ],
    )
    _print_part(("signature", "", "key", "shape", "dtype", "tensor"), list(_signature_rows(graph["signatures"])))


def _print_variables(variables: list[Facts]) -> None:
    # TensorFlow 2 stores a variable under a key that is not its name.
    from tfbundle.checkpoint.objects import VALUE_SUFFIX

    with_keys = any(variable["name"].endswith(VALUE_SUFFIX) for variable in variables)
    headers = ("variable", "shape", "dtype", "trainable")
    rows = []
    for variable in variables:
        kind = _shape(variable["shape"]), variable["dtype"] or "?", _TRAINABLE[variable["trainable"]]
        key = escape_name(variable["name"])
        own = escape_name(variable["variable"].removesuffix(":0")) or "-"
        rows.append((own, *kind, key) if with_keys else (key, *kind))
    # The parts of a partitioned variable have the name and shape of the whole.
    _print_part((*headers, "key") if with_keys else headers, list(dict.fromkeys(rows)))


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
    if facts["stored_as"] is not None:
        print_fact("stored as", escape_name(facts["stored_as"]))
    for label, names in (("input", facts["inputs"]), ("after", facts["control_inputs"])):
        for name in names:
            print_fact(label, escape_name(name))
    for name, value in facts["attributes"].items():
        print_fact("attribute", f"{escape_name(name)} = {format_attribute(value)}")
    if facts["outputs"] is None:
        print_fact("output", "not known: the op has no known definition")
    for output in facts["outputs"] or ():
        print_fact("output", f"{escape_name(output['name'])} {output['dtype'] or '?'} {_shape(output['shape'])}")
    if facts["around"] is not None:
        print_around(facts["around"])


def _print_variable(facts: Facts) -> None:
    print_fact("variable", escape_name(facts["variable"]))
    print_fact("key", escape_name(facts["name"]))
    print_fact("shape", _shape(facts["shape"]))
    print_fact("dtype", facts["dtype"] or "?")
    print_fact("trainable", _TRAINABLE[facts["trainable"]])
    if facts["node"] is not None:
        print_fact("node", escape_name(facts["node"]))


def _print_function(facts: Facts) -> None:
    print_fact("function", escape_name(facts["function"]))
    for role, arguments in (("input", facts["inputs"]), ("output", facts["outputs"])):
        for argument in arguments:
            tensor = f" = {escape_name(argument['tensor'])}" if role == "output" else ""
            kind = f"{argument['dtype'] or '?'} {_shape(argument['shape'])}"
            print_fact(role, f"{escape_name(argument['name'])} {kind}{tensor}")
    print_fact("nodes", f"{facts['nodes']:,}")
    _print_part(("op", "nodes"), [(escape_name(op), str(count)) for op, count in facts["ops"].items()])
