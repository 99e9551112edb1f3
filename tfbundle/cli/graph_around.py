"""The nodes around a node of a graph: as facts for JSON, as a table, and as a drawing for Graphviz."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfbundle.cli.output import print_line, print_table
from tfbundle.printable import escape_name

if TYPE_CHECKING:
    from tfbundle.graph.graph import Graph
    from tfbundle.graph.meta_graph import MetaGraph
    from tfbundle.graph.node import Node

# More nodes could not be told apart in a drawing, and a table of more would not be read.
_MOST_NODES = 500


def find_around(loaded: Graph | MetaGraph, node: Node, depth: int) -> dict[str, Any]:
    """Return the nodes that can be reached in ``depth`` steps up or down, with their distances and edges."""
    from tfbundle.graph.graph import Graph
    from tfbundle.graph.neighbourhood import find_neighbourhood

    graph = loaded if isinstance(loaded, Graph) else loaded.graph
    found = find_neighbourhood(graph, node.name, depth, most=_MOST_NODES)
    return {
        "nodes": [
            {"name": name, "op": graph.nodes[name].op, "distance": distance}
            for name, distance in sorted(found.distances.items(), key=lambda item: item[1])
        ],
        "edges": [edge._asdict() for edge in found.edges],
        "complete": found.complete,
    }


def print_around(around: dict[str, Any]) -> None:
    """Print the nodes with their distances, and through which of the others each is reached."""
    distances = {node["name"]: node["distance"] for node in around["nodes"]}
    towards: dict[str, list[str]] = {}
    for edge in around["edges"]:
        source, target = edge["source"], edge["target"]
        if distances[source] < 0:
            towards.setdefault(source, []).append(target)
        if distances[target] > 0:
            towards.setdefault(target, []).append(source)
    rows = []
    for node in around["nodes"]:
        distance = node["distance"]
        near = [name for name in towards.get(node["name"], ()) if abs(distances[name]) < abs(distance)]
        through = ", ".join(escape_name(name) for name in dict.fromkeys(near)) or "-"
        rows.append((f"{distance:+}" if distance else "0", escape_name(node["name"]), escape_name(node["op"]), through))
    print_line()
    print_table(("steps", "node", "op", "through"), rows, numbers=("steps",))
    if not around["complete"]:
        print_line(f"the nearest {len(rows):,} nodes; there are more to this depth")


def to_dot(around: dict[str, Any]) -> str:
    """Return the nodes and edges in Graphviz's language; control edges are dashed."""
    numbers = {node["name"]: number for number, node in enumerate(around["nodes"])}
    lines = ["digraph {", "  rankdir=LR;", "  node [shape=box, fontname=monospace];"]
    for node in around["nodes"]:
        style = "" if node["distance"] else ", style=bold"
        lines.append(f"  n{numbers[node['name']]} [label={_quote(node['name'], node['op'])}{style}];")
    for edge in around["edges"]:
        index = edge["tensor"].partition(":")[2]
        style = " [style=dashed]" if edge["tensor"].startswith("^") else f" [label={_quote(index)}]" if index else ""
        lines.append(f"  n{numbers[edge['source']]} -> n{numbers[edge['target']]}{style};")
    lines.append("}")
    return "\n".join(lines)


def _quote(*texts: str) -> str:
    """Return lines of text as a quoted string, in which nothing has a meaning of its own."""
    parts = (escape_name(text).replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '"' + "\\n".join(parts) + '"'
