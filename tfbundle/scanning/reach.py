"""What runs when something is asked for: nodes of the graph, whole bodies of functions, and who called these.

In the graph a node runs when something that needs it is fetched: what takes its outputs, or waits for it. Of a
function everything is taken to run. TensorFlow leaves out what neither changes a state nor leads to a result, but that
is for its optimizer to decide, and not for a scanner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tfbundle.scanning.program import Block, Program, Site


class Entry(NamedTuple):
    """Something that makes a part of the program run.

    ``label`` describes it for people, such as ``"the signature serving_default"``. ``nodes`` are those of the graph
    that are fetched, and ``functions`` those that are called.
    """

    label: str
    nodes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


class Reach:
    """What a list of entries makes run, each thing with the label of the first entry that does."""

    def __init__(self, program: Program, entries: Iterable[Entry]) -> None:
        self._program = program
        self.nodes: dict[str, str] = {}
        """Nodes of the graph."""
        self.functions: dict[str, str] = {}
        self.called: set[str] = set()
        """Functions that an entry calls itself, so that their arguments come from outside."""
        self.sites: dict[str, list[Site]] = {}
        """Where each function is called."""
        for entry in entries:
            self.called.update(name for name in entry.functions if name in program.functions)
            self._run_functions(entry.functions, entry.label)
            self._run_nodes(entry.nodes, entry.label)

    def label(self, block: Block, node_name: str) -> str | None:
        """Return the label of what makes a node run, or ``None`` where nothing does."""
        return self.nodes.get(node_name) if block.name is None else self.functions.get(block.name)

    def _run_nodes(self, names: Iterable[str], label: str) -> None:
        nodes = self._program.main.nodes
        has_functions = bool(self._program.functions)
        waiting = [name for name in names if name in nodes]
        while waiting:
            name = waiting.pop()
            if name in self.nodes:
                continue
            self.nodes[name] = label
            node = nodes[name]
            for reference in node.input:
                before = reference.lstrip("^").partition(":")[0]
                if before in nodes and before not in self.nodes:
                    waiting.append(before)
            if has_functions:
                called = self._program.called_by(node)
                for function in called:
                    self.sites.setdefault(function, []).append(Site(self._program.main, node))
                self._run_functions(called, label)

    def _run_functions(self, names: Iterable[str], label: str) -> None:
        functions = self._program.functions
        waiting = [name for name in names if name in functions]
        while waiting:
            name = waiting.pop()
            if name in self.functions:
                continue
            self.functions[name] = label
            block = functions[name]
            for node, called in self._program.calls(block):
                for function in called:
                    self.sites.setdefault(function, []).append(Site(block, node))
                waiting += called
            waiting += self._program.relatives.get(name, ())
