"""The effects of a graph: each op that reaches beyond it, when it runs, and its argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

from tfbundle.proto import GraphDef, NodeDef
from tfbundle.scanning.contexts import Ways
from tfbundle.scanning.embedded import EmbeddedGraphs, string_constants
from tfbundle.scanning.entry_points import EntryPoints, no_entry_points
from tfbundle.scanning.folding import Effort, Folder
from tfbundle.scanning.judging import RULE_OF_CLASS, Judgement, judge
from tfbundle.scanning.op_effects import CLASSES, Effect, effects
from tfbundle.scanning.program import OTHERS, Block, Context, Program, data_inputs, is_known
from tfbundle.scanning.reach import Entry, Reach
from tfbundle.scanning.report import ScanFinding
from tfbundle.scanning.savers import undeclared_filename_tensors
from tfbundle.scanning.values import UNKNOWN, Text, texts_of

MOST_FINDINGS = 1000
"""Findings of one graph; if there are more, the scan is not complete."""
_WHEN = {
    "load": "when the model is loaded",
    "call": "when it is called",
    "unreachable": "but nothing leads there",
}


class _Group(NamedTuple):
    """One way in which nodes come to run: when, which functions run, and the tracer of the values that are known then.

    Without a ``reach`` everything does.
    """

    trigger: str
    reach: Reach | None
    folder: Folder


class GraphScan:
    """One graph: its program, how it may come to run, and the findings."""

    def __init__(
        self,
        program: Program,
        find_entries: Callable[[], EntryPoints],
        path: str,
        *,
        is_served: bool,
        embedded: EmbeddedGraphs,
        effort: Effort,
        trigger: str | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """Prepare a scan; ``find_entries`` returns the entry points of the program.

        ``is_served`` means that a loader runs these and no other nodes, as in a SavedModel. ``embedded`` and ``effort``
        are what graphs inside it, and all graphs, may still take.

        ``trigger`` is when all of it runs, of a graph that a node runs, and ``within`` the nodes that hold it.
        """
        self._program = program
        self._find_entries = find_entries
        self._path = path
        self._is_served = is_served
        self._embedded = embedded
        self._effort = effort
        self._trigger = trigger
        self._within = within
        self._ways: dict[int, Ways] = {}
        self.findings: list[ScanFinding] = []
        self.problems: list[str] = list(program.problems)

    def run(self) -> None:
        """Scan every node."""
        known = effects()
        for block in self._program.blocks:
            for node in self._program.notable(block):
                if len(self.findings) >= MOST_FINDINGS:
                    self.problems.append(f"there are more than {MOST_FINDINGS} findings; the others were left out")
                    return
                effect = known.get(node.op)
                if effect is not None:
                    self._effect(block, node, effect)
                elif not is_known(node.op):
                    self._unknown(block, node)
            for node, data in string_constants(block.protos):
                graph = self._embedded.find(data)
                if graph is None:
                    continue
                if isinstance(graph, str):
                    self.problems.append(graph)
                    return
                for group, _ in self._groups_of(block, node):
                    self._scan_inside(data, graph, node, group.trigger)
                    break
        if "_folders" in vars(self) and any(folder.is_exhausted for folder in self._folders):
            self.problems.append("some arguments were not traced to their end, which would take too long")

    def list_ops(self) -> None:
        """Name the ops that reach beyond a graph that is too large to be traced, each once."""
        known = effects()
        listed: dict[str, tuple[Block, NodeDef]] = {}
        for block in self._program.blocks:
            for node in self._program.notable(block):
                if len(listed) < MOST_FINDINGS:
                    listed.setdefault(node.op, (block, node))
        for op, (block, node) in listed.items():
            effect = known.get(op)
            message = f"{op} is in a graph that is too large to determine when it runs, and its argument"
            if effect is None:
                if not is_known(op):
                    self._report("unknown-op", "info", message, block, node, "call")
                continue
            # Where the value decides whether it is harmless, nothing is known of that.
            severity = "info" if effect.judged else effect.called
            self._report(RULE_OF_CLASS[effect.op_class], severity, message, block, node, "call")

    @cached_property
    def _entries(self) -> EntryPoints:
        """What makes the program run; most have nothing that this would matter for."""
        entries = self._find_entries()
        self.problems += entries.problems
        return entries

    @cached_property
    def _folders(self) -> tuple[Folder, Folder, Folder, Folder]:
        """The tracers: while a model is initialised, restored, called and saved."""
        program, entries = self._program, self._entries
        fed = entries._replace(filename_tensors=entries.filename_tensors | undeclared_filename_tensors(program))
        return (
            Folder(program, entries, saves=False, loads=True, effort=self._effort),
            Folder(program, fed, saves=True, loads=True, effort=self._effort),
            Folder(program, entries, saves=False, loads=False, effort=self._effort),
            Folder(program, fed, saves=True, loads=False, effort=self._effort),
        )

    @cached_property
    def _groups(self) -> list[_Group]:
        """The ways in which nodes come to run, the worst first, and last that of everything else."""
        initialising, restoring, calling, saving = self._folders
        if self._trigger is not None:
            return [_Group(self._trigger, None, calling)]
        entries, program = self._entries, self._program
        return [
            _Group("load", Reach(program, entries.load), initialising),
            _Group("load", Reach(program, entries.restore), restoring),
            _Group("call", Reach(program, entries.call), calling),
            _Group("call", Reach(program, entries.save), saving),
            _Group("unreachable" if self._is_served else "call", None, restoring),
        ]

    def _groups_of(self, block: Block, node: NodeDef) -> Iterator[tuple[_Group, Entry | None]]:
        """Yield the ways in which a node comes to run, each with its entry; the last applies if there is no other."""
        is_reached = False
        for group in self._groups:
            if group.reach is None:
                if not is_reached:
                    yield group, None
            else:
                entry = group.reach.entry(block, node.name)
                if entry is not None:
                    is_reached = True
                    yield group, entry

    def _effect(self, block: Block, node: NodeDef, effect: Effect) -> None:
        for group, entry in self._groups_of(block, node):
            found: dict[Judgement, None] = {}
            for context in self._contexts_of(group, block, effect):
                texts = self._argument(block, node, effect, group.folder, context)
                if node.op == "DatasetFromGraph":
                    for data in [text.data for text in texts]:
                        if data is not None:
                            self._scan_inside(data, None, node, group.trigger)
                judgement = judge(effect, texts, is_open=not self._is_served)
                if judgement is not None:
                    found[judgement] = None
            for judgement in found:
                self._add(block, node, effect, group.trigger, entry, judgement)
            if found:
                return

    def _argument(
        self, block: Block, node: NodeDef, effect: Effect, folder: Folder, context: Context | None
    ) -> list[Text]:
        if effect.is_queue:
            names = block.queued.get(node.name, ())
            texts = dict.fromkeys(text for name in names for text in texts_of(folder.fold(block, name, context)))
            return list(texts) or [UNKNOWN]
        if effect.attribute is not None:
            return _attribute_texts(node, effect.attribute)
        inputs = data_inputs(node)
        numbers = [number for number in effect.inputs if number < len(inputs)]
        return [text for number in numbers for text in texts_of(folder.fold(block, inputs[number], context))]

    def _contexts_of(self, group: _Group, block: Block, effect: Effect) -> list[Context | None]:
        """Return the ways in which a block is called within a group, as far as they affect the argument of an op."""
        if block.name is None or not effect.inputs:
            return [None]
        if group.reach is None:
            return [OTHERS]
        ways = self._ways.get(id(group.reach))
        if ways is None:
            ways = self._ways[id(group.reach)] = Ways(self._program, group.reach)
        return ways.to(block.name)

    def _add(
        self, block: Block, node: NodeDef, effect: Effect, trigger: str, entry: Entry | None, judgement: Judgement
    ) -> None:
        severity = judgement.loaded if trigger == "load" else judgement.called
        if trigger == "unreachable" and severity != "info":
            severity = "info" if effect.judged == "checkpoint" and effect.op_class == "reads" else "low"
        message = f"{node.op} {_does(judgement.rule)}, {_when(trigger, entry)}"
        if judgement.argument is not None:
            message += f": {judgement.argument}"
        self._report(judgement.rule, severity, message, block, node, trigger, judgement)

    def _unknown(self, block: Block, node: NodeDef) -> None:
        for group, entry in self._groups_of(block, node):
            # TensorFlow writes the definition of every op into its models. Plain graphs have none.
            is_hidden = self._program.definitions and node.op not in self._program.definitions
            severity = "info" if not is_hidden else "low" if group.trigger == "unreachable" else "medium"
            message = (
                f"{node.op} is not an op of TensorFlow, so it needs native code from another source, "
                f"{_when(group.trigger, entry)}"
            )
            self._report("unknown-op", severity, message, block, node, group.trigger)
            return

    def _report(
        self,
        rule: str,
        severity: str,
        message: str,
        block: Block,
        node: NodeDef,
        trigger: str,
        judgement: Judgement | None = None,
    ) -> None:
        if self._within:
            message += f", in the graph in the value of {self._within[-1]!r}"
        self.findings.append(
            ScanFinding(
                rule,
                severity,
                message,
                self._path,
                op=node.op,
                node=node.name,
                function=block.name,
                trigger=trigger,
                argument=None if judgement is None else judgement.argument,
                within=self._within,
                arguments=() if judgement is None else judgement.arguments,
            )
        )

    def _scan_inside(self, data: bytes, graph: GraphDef | None, node: NodeDef, trigger: str) -> None:
        """Scan the graph that the value of a node is, decoded or not."""
        found = self._embedded.take(data, graph, trigger, len(self._within))
        if not isinstance(found, Program):
            if found is not None:
                self.problems.append(found)
            return
        inner = GraphScan(
            found,
            no_entry_points,
            self._path,
            is_served=True,
            embedded=self._embedded,
            effort=self._effort,
            trigger=trigger,
            within=(*self._within, node.name),
        )
        inner.run()
        self.findings += inner.findings
        self.problems += inner.problems


def _does(rule: str) -> str:
    """Return a phrase that describes the ops of a rule."""
    return next(CLASSES[op_class] for op_class, name in RULE_OF_CLASS.items() if name == rule)


def _when(trigger: str, entry: Entry | None) -> str:
    return _WHEN[trigger] if entry is None else f"{_WHEN[trigger]} ({entry})"


def _attribute_texts(node: NodeDef, name: str) -> list[Text]:
    if name not in node.attr:
        return []
    value = node.attr[name]
    kind = value.WhichOneof("value")
    if kind == "s":
        return [Text(value.s) if value.s else Text()]
    if kind == "list":
        return [Text(data) if data else Text() for data in value.list.s]
    return [UNKNOWN] if kind == "placeholder" else []
