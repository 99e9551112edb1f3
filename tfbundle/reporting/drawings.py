"""The nodes of graphs and functions as columns, from which the page's script draws the neighbourhood of any node.

A node is its number in the columns, and an input is the number of the node that it comes from::

    names     x    w    y          ops      Placeholder  Const  MatMul
    counts    0    0    3          inputs of each node
    sources             0, 1, ~1   of all nodes; a control input is the complement of a number
    outputs             "", 1, ""  which output of the source, unless it is the first

Inputs and outputs of a function are nodes too, with the ops ``(input)`` and ``(output)``. A page has space for a
limited number of nodes, inputs and characters. Graphs and functions that do not fit are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from tfbundle.graph.graph import Function, Graph
from tfbundle.graph.signatures import Signature
from tfbundle.natural_order import natural_key
from tfbundle.proto import NodeDef
from tfbundle.reporting.facts import Drawing, Nodes
from tfbundle.reporting.payload import LONGEST, name_text
from tfbundle.scanning.calls import called_functions

MOST_NODES = 30_000
"""The nodes of one page."""
_MOST_INPUTS = 4 * MOST_NODES
_MOST_CHARACTERS = 4 << 20
# Functions of one graph, and those that one node calls, such as the branches of a case.
_MOST_FUNCTIONS = 1000
_MOST_CALLS = 8
_SERVED = "serving_default"

# A node: its name, its op, and its inputs as stated.
_Row = tuple[str, str, Sequence[str]]


class Space:
    """What is left of a page for the nodes of graphs."""

    def __init__(self) -> None:
        """Start with an empty page."""
        self.nodes = MOST_NODES
        self.inputs = _MOST_INPUTS
        self.characters = _MOST_CHARACTERS

    def take(self, rows: Sequence[_Row]) -> bool:
        """Return whether there is space for these nodes, which is then taken."""
        inputs = sum(len(inputs) for _, _, inputs in rows)
        characters = sum(min(len(name), LONGEST) for name, _, _ in rows)
        characters += sum(min(len(op), LONGEST) for op in {op for _, op, _ in rows})
        if len(rows) > self.nodes or inputs > self.inputs or characters > self.characters:
            return False
        self.nodes -= len(rows)
        self.inputs -= inputs
        self.characters -= characters
        return True


def draw_graph(graph: Graph, title: str, path: str, signatures: Mapping[str, Signature], space: Space) -> Drawing:
    """Return the columns of a graph and of its functions, as far as they fit into ``space``.

    ``path`` is the argument of the command that shows the others. Raises ``FormatError`` if two functions, or two nodes
    of a graph or function, have the same name.
    """
    drawn = []
    own = _draw(graph, "", graph.proto.node, [], [], space)
    if own is not None:
        drawn.append(own._replace(start=_start(own, signatures)))
    functions = graph.functions
    chosen = sorted(islice(functions, _MOST_FUNCTIONS), key=lambda name: (natural_key(name_text(name)), name))
    for name in chosen:
        function = functions[name]
        arguments: list[_Row] = [(arg.name, "(input)", ()) for arg in function.proto.signature.input_arg]
        returns: list[_Row] = [(name, "(output)", (tensor,)) for name, tensor in function.outputs.items()]
        nodes = _draw(function, name, function.proto.node_def, arguments, returns, space)
        if nodes is not None:
            drawn.append(nodes)
    left_out = len(functions) - len(drawn) + (own is not None)
    return Drawing(title, path, tuple(drawn), 0 if own is not None else len(graph.proto.node), left_out)


def _draw(
    body: Graph | Function,
    function: str,
    protos: Sequence[NodeDef],
    arguments: list[_Row],
    returns: list[_Row],
    space: Space,
) -> Nodes | None:
    """Return the columns of the nodes of a graph or function, or ``None`` if there is no space for them."""
    if len(protos) + len(arguments) + len(returns) > space.nodes:
        return None
    rows = arguments + [(proto.name, proto.op, proto.input) for proto in protos] + returns
    if not space.take(rows):
        return None
    _ = body.nodes  # Their names differ.
    numbers: dict[str, int] = {}
    for number, (name, _, _) in enumerate(rows[: len(rows) - len(returns)]):
        numbers.setdefault(name, number)
    counts: list[int] = []
    sources: list[int] = []
    outputs: list[str] = []
    for _, _, inputs in rows:
        before = len(sources)
        for text in inputs:
            name, _, output = text.removeprefix("^").partition(":")
            source = numbers.get(name)  # Other inputs are those of a damaged graph.
            if source is not None:
                sources.append(~source if text.startswith("^") else source)
                outputs.append("" if output == "0" else name_text(output))
        counts.append(len(sources) - before)
    start = len(rows) - len(returns) if returns else _last(counts)
    return Nodes(
        name_text(function),
        [name_text(name) for name, _, _ in rows],
        [name_text(op) for _, op, _ in rows],
        counts,
        sources,
        outputs,
        _calls(body, protos, len(arguments)),
        start,
    )


def _last(counts: list[int]) -> int:
    """Return the last node with inputs, or the first node."""
    return next((number for number in reversed(range(len(counts))) if counts[number]), 0)


def _calls(body: Graph | Function, protos: Sequence[NodeDef], first: int) -> dict[int, tuple[str, ...]]:
    """Return the functions that nodes call, by the number of the node; ``first`` is that of the first node."""
    functions = (body if isinstance(body, Graph) else body.graph).functions
    found: dict[int, tuple[str, ...]] = {}
    if functions:
        for number, proto in enumerate(protos, first):
            names = dict.fromkeys(name for name in (proto.op, *called_functions(proto)) if name in functions)
            if names:
                found[number] = tuple(map(name_text, islice(names, _MOST_CALLS)))
    return found


def _start(nodes: Nodes, signatures: Mapping[str, Signature]) -> int:
    """Return the node of the first output of a signature, preferably the default one; else the usual start."""
    numbers = {name: number for number, name in enumerate(nodes.names)}
    for signature in sorted(signatures.values(), key=lambda signature: signature.name != _SERVED):
        for output in signature.outputs.values():
            for tensor in output.names:
                number = numbers.get(name_text(tensor.partition(":")[0]))
                if number is not None:
                    return number
    return nodes.start
