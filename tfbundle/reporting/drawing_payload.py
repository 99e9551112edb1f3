"""The data of a page for the drawing of graphs: the columns of their nodes as compact JSON.

Names are stored as those of tensors are (``payload``). Ops, outputs and functions are numbers into lists. What does not
fit into a page is counted: the nodes of a graph in ``nodesLeftOut``, functions in ``functionsLeftOut``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from tfbundle.reporting.facts import Drawing, Nodes
from tfbundle.reporting.payload import dumps, front_coded, shown

# Of all graphs of a page, in bytes.
_MOST_BYTES = 3 << 20


def encode_drawings(drawings: Iterable[Drawing]) -> str:
    """Return the JSON of the graphs of a page."""
    left = _MOST_BYTES
    graphs = []
    for drawing in drawings:
        graph: dict[str, Any] = {
            "title": shown(drawing.title),
            "command": shown(f"tfbundle graph {shlex.quote(drawing.path)} NODE --depth 2"),
            "bodies": [],
            "nodesLeftOut": drawing.nodes_left_out,
            "functionsLeftOut": drawing.functions_left_out,
        }
        for nodes in drawing.bodies:
            body = _columns(nodes)
            size = len(dumps(body))
            if size <= left:
                left -= size
                graph["bodies"].append(body)
            elif nodes.function:
                graph["functionsLeftOut"] += 1
            else:
                graph["nodesLeftOut"] = len(nodes.names)
        graphs.append(graph)
    return dumps(graphs)


def _columns(nodes: Nodes) -> dict[str, Any]:
    shared, rest = front_coded(nodes.names)
    ops, op = _numbered(nodes.ops)
    outputs, output = _numbered(nodes.outputs)
    return {
        "function": nodes.function,
        "shared": shared,
        "rest": rest,
        "ops": ops,
        "op": op,
        "counts": nodes.counts,
        "sources": nodes.sources,
        "outputs": outputs,
        "output": output,
        "calls": nodes.calls,
        "start": nodes.start,
    }


def _numbered(texts: list[str]) -> tuple[list[str], list[int]]:
    """Return the different texts, and the number of each text in that list."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return list(numbers), [numbers[text] for text in texts]
