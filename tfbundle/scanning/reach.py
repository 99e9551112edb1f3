"""What runs when a node is requested: nodes of the graph, whole bodies of functions, and their callers.

In the graph a node runs when something that needs it is fetched: what takes its outputs, or waits for it. Of a
function everything is taken to run. TensorFlow leaves out what neither changes a state nor leads to a result, but that
is for its optimizer to decide, and not for a scanner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tfbundle.scanning.program import Block, Program, Site


class Entry(NamedTuple):
    """Something that makes a part of the program run.

    ``label`` describes it for people, such as ``"the signature serving_default"``; ``of`` completes it where that takes
    longer than most need it. ``nodes`` are those of the graph that are fetched, ``functions`` those that are called.
    """

    label: str
    nodes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    of: Callable[[], str] | None = None

    def __str__(self) -> str:
        return self.label if self.of is None else f"{self.label}{self.of()}"


class Reach:
    """What a list of entries makes run, each thing with the first entry that does."""

    def __init__(self, program: Program, entries: Iterable[Entry]) -> None:
        self._program = program
        self.nodes: dict[str, Entry] = {}
        """Nodes of the graph."""
        self.functions: dict[str, Entry] = {}
        self.called: set[str] = set()
        """Functions that an entry calls itself, so that their arguments come from outside."""
        self.sites: dict[str, list[Site]] = {}
        """Where each function is called."""
        for entry in entries:
            self.called.update(name for name in entry.functions if name in program.functions)
            self._run_functions(entry.functions, entry)
            self._run_nodes(entry.nodes, entry)

    def entry(self, block: Block, node_name: str) -> Entry | None:
        """Return the entry that makes a node run, or ``None`` if there is none."""
        return self.nodes.get(node_name) if block.name is None else self.functions.get(block.name)

    def _run_nodes(self, names: Iterable[str], entry: Entry) -> None:
        nodes = self._program.main.nodes
        has_functions = bool(self._program.functions)
        waiting = [name for name in names if name in nodes]
        while waiting:
            name = waiting.pop()
            if name in self.nodes:
                continue
            self.nodes[name] = entry
            node = nodes[name]
            for reference in node.input:
                before = reference if reference in nodes else reference.lstrip("^").partition(":")[0]
                if before not in self.nodes and before in nodes:
                    waiting.append(before)
            if has_functions:
                called = self._program.called_by(node)
                for function in called:
                    self.sites.setdefault(function, []).append(Site(self._program.main, node))
                self._run_functions(called, entry)

    def _run_functions(self, names: Iterable[str], entry: Entry) -> None:
        functions = self._program.functions
        waiting = [name for name in names if name in functions]
        while waiting:
            name = waiting.pop()
            if name in self.functions:
                continue
            self.functions[name] = entry
            block = functions[name]
            for node, called in self._program.calls(block):
                for function in called:
                    self.sites.setdefault(function, []).append(Site(block, node))
                waiting += called
            waiting += self._program.relatives.get(name, ())
