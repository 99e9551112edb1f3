"""``tfbundle objects``: the object tree of a TensorFlow 2 checkpoint, with the tensor of each variable."""

from __future__ import annotations

import itertools
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.output import cell_width, print_json, print_line, print_lines, render, terminal_width
from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.printable import count_of, escape_name, format_shape

if TYPE_CHECKING:
    from tfbundle.checkpoint.objects import Attribute, Node, ObjectGraph
    from tfbundle.tensors.mapping import TensorMapping

# Lines are not indented beyond this depth, and branches of more lines than this are not drawn.
_DEEPEST = 100
_MOST_DRAWN = 2000
# Between the cells of a line, and the width of what is drawn for each level of the tree.
_GAP = "  "
_GUIDE = 4
# The most tensors that one value may consist of; a table has two.
_MOST_PARTS = 16


class Line(NamedTuple):
    """A line of the tree: its depth, its cells, and whether it shows a value."""

    depth: int
    cells: tuple[str, ...]
    has_value: bool

    @property
    def text(self) -> str:
        return _GAP.join(self.cells)


@click.command(short_help="Show the objects that a checkpoint was saved from.")
@path_argument
@click.option("--all", "show_all", is_flag=True, help="Also show objects without values, and every reference.")
@json_option
def command(path: str, show_all: bool, as_json: bool) -> None:
    """Show the objects that a TensorFlow 2 checkpoint was saved from.

    Each value is shown with the name of its variable, dtype, shape and key; optimizer slots are marked. Each object
    appears once, at the path that its key gives. With --all, an arrow shows its number wherever else it is referenced.
    """
    from tfbundle.checkpoint.checkpoint import open_checkpoint

    # ``open_tensors`` would return the constants of a SavedModel without variables, which has objects too.
    with open_checkpoint(path) as checkpoint:
        graph = checkpoint.objects
        if graph is None:
            raise UnsupportedError(
                f"{checkpoint.prefix} stores no objects; its tensors were saved by name: list them with 'tfbundle ls'"
            )
        if as_json:
            print_json({"path": checkpoint.prefix, "nodes": [_node_facts(checkpoint, node) for node in graph]})
            return
        lines = list(_lines(checkpoint, graph))
        total = f"{count_of(len(graph), 'object')}, {count_of(graph.variable_count, 'variable')}"
    if not show_all:
        lines = _with_values(lines)
    if sys.stdout.isatty() and len(lines) <= _MOST_DRAWN:
        _draw(lines)
    else:
        for line in lines:
            print_line("  " * min(line.depth, _DEEPEST) + line.text)
    print_line(total)


def _lines(checkpoint: TensorMapping, graph: ObjectGraph) -> Iterator[Line]:
    names = sorted(checkpoint)
    for depth, name, number, is_first in graph.walk():
        label = escape_name(name) if depth else "(root)"
        if not is_first:
            yield Line(depth, (f"{label} -> #{number}",), False)
            continue
        node = graph[number]
        yield _value_line(checkpoint, names, depth, label, node)
        for slot in node.slots:
            owners = graph[slot.original].attributes
            of = escape_name(owners[0].full_name or owners[0].key) if owners else f"#{slot.original}"
            yield _value_line(checkpoint, names, depth + 1, f"{escape_name(slot.name)} of {of}", graph[slot.number])


def _value_line(checkpoint: TensorMapping, names: Sequence[str], depth: int, label: str, node: Node) -> Line:
    cells = [f"{label} #{node.number}"]
    for attribute in node.attributes:
        cells += _describe(checkpoint, names, attribute)
    return Line(depth, tuple(cells), bool(node.attributes))


def _describe(checkpoint: TensorMapping, names: Sequence[str], attribute: Attribute) -> list[str]:
    texts = [escape_name(attribute.full_name)]
    keys = _keys(names, attribute.key)
    for key in keys or [attribute.key]:
        facts = _tensor_facts(checkpoint, key)
        kind = f"{facts['dtype']} {format_shape(facts['shape'])}" if facts["dtype"] else "(no such tensor)"
        texts += (kind, "slot" if key in checkpoint.slots else "", escape_name(key))
    return list(filter(None, texts))


def _keys(names: Sequence[str], key: str) -> Sequence[str]:
    """Return the key among the sorted names, or those of a table (``-keys``, ``-values``) or iterator (``_STATE``)."""
    start = bisect_left(names, key)
    if names[start : start + 1] == [key]:
        return [key]
    behind = itertools.takewhile(lambda name: name.startswith(key), itertools.islice(names, start, start + _MOST_PARTS))
    return [name for name in behind if name[len(key)] in "-_"]


def _tensor_facts(checkpoint: TensorMapping, key: str) -> dict[str, Any]:
    from tfbundle.tensors.dtypes import python_name

    try:
        if key in checkpoint:
            tensor = checkpoint[key]
            return {"shape": tensor.shape, "dtype": python_name(tensor.data_type)}
    except TfBundleError:
        pass  # 'tfbundle ls' reports the error.
    return {"shape": None, "dtype": None}


def _node_facts(checkpoint: TensorMapping, node: Node) -> dict[str, Any]:
    return {
        "number": node.number,
        "children": [child._asdict() for child in node.children],
        "attributes": [
            {**value._asdict(), **_tensor_facts(checkpoint, value.key), "slot": value.key in checkpoint.slots}
            for value in node.attributes
        ],
        "slots": [slot._asdict() for slot in node.slots],
    }


def _with_values(lines: list[Line]) -> list[Line]:
    """Return the lines with values, and their ancestors."""
    kept = []
    above = 0  # Earlier lines of smaller depth are ancestors of a kept line.
    for line in reversed(lines):
        if line.has_value or line.depth < above or line.depth == 0:
            kept.append(line)
            above = line.depth
    return kept[::-1]


def _draw(lines: list[Line]) -> None:
    from rich.text import Text
    from rich.tree import Tree

    edge = terminal_width()

    def label(line: Line) -> Text:
        return Text(_fold(line.cells, edge - _GUIDE * line.depth))

    tree = Tree(label(lines[0]))
    branches = [tree]
    for line in lines[1:]:
        del branches[line.depth :]
        branches.append(branches[-1].add(label(line)))
    print_lines(render(tree))


def _fold(cells: Sequence[str], room: int) -> str:
    """Return cells in lines of this width; none is broken, so that each can be copied whole."""
    lines = [cells[0]]
    for cell in cells[1:]:
        longer = f"{lines[-1]}{_GAP}{cell}"
        if cell_width(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(f"{_GAP}{cell}")
    return "\n".join(lines)
