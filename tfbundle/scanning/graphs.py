"""What a graph could do: each op that reaches beyond it, when it runs, and what it acts on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from tfbundle.proto import NodeDef
from tfbundle.scanning.embedded import EmbeddedGraphs, string_constants
from tfbundle.scanning.entry_points import EntryPoints
from tfbundle.scanning.folding import Context, Folder
from tfbundle.scanning.judging import RULE_OF_CLASS, Judgement, judge
from tfbundle.scanning.op_effects import CLASSES, Effect, effects
from tfbundle.scanning.program import Block, Program, data_inputs, is_known
from tfbundle.scanning.queues import queued_values
from tfbundle.scanning.reach import Reach
from tfbundle.scanning.report import ScanFinding
from tfbundle.scanning.savers import undeclared_filename_tensors
from tfbundle.scanning.values import UNKNOWN, Text, texts_of

MOST_FINDINGS = 1000
"""Findings of one graph; beyond that nobody reads them, and the scan is not complete."""
_MOST_CONTEXTS = 8
_DEEPEST_CONTEXT = 20
_WHEN = {
    "load": "when the model is loaded",
    "call": "when it is called",
    "unreachable": "but nothing leads there",
}


class _Group(NamedTuple):
    """One way in which nodes come to run: when, what runs then, and the tracer of what is known of values then.

    Without a ``reach`` everything does.
    """

    trigger: str
    reach: Reach | None
    folder: Folder


class GraphScan:
    """One graph: its program, how it may come to run, and what was found."""

    def __init__(
        self,
        program: Program,
        entries: EntryPoints,
        path: str,
        *,
        is_served: bool,
        embedded: EmbeddedGraphs,
        trigger: str | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        """``is_served`` says that a loader runs what the entries say and no more, as of a SavedModel.

        ``trigger`` is when all of it runs, of a graph that a node runs, and ``within`` the nodes that hold it.
        """
        self._program = program
        self._entries = entries
        self._path = path
        self._is_served = is_served
        self._embedded = embedded
        self._trigger = trigger
        self._within = within
        self._contexts: dict[tuple[int, str], list[Context | None]] = {}
        self.findings: list[ScanFinding] = []
        self.problems: list[str] = [*program.problems, *entries.problems]

    def run(self) -> None:
        """Look at every node."""
        known = effects()
        for block in self._program.blocks:
            for node in self._program.notable(block):
                if len(self.findings) >= MOST_FINDINGS:
                    self.problems.append(f"there are more than {MOST_FINDINGS} findings, and the rest was left out")
                    return
                effect = known.get(node.op)
                if effect is not None:
                    self._effect(block, node, effect)
                elif not is_known(node.op):
                    self._unknown(block, node)
            for node, data in string_constants(block.protos):
                for group, _ in self._groups_of(block, node):
                    self._scan_inside(data, node, group.trigger, is_certain=False)
                    break
        if "_folders" in vars(self) and any(folder.is_exhausted for folder in self._folders):
            self.problems.append("some arguments were not traced to their end, which would take too long")

    @cached_property
    def _folders(self) -> tuple[Folder, Folder]:
        """The tracers: with what the graph itself has, and while a saver runs."""
        program, entries = self._program, self._entries
        fed = entries._replace(filename_tensors=entries.filename_tensors | undeclared_filename_tensors(program))
        return Folder(program, entries, fed=False), Folder(program, fed, fed=True)

    @cached_property
    def _groups(self) -> list[_Group]:
        """The ways in which nodes come to run, the worst first, and last that of everything else."""
        plain, fed = self._folders
        if self._trigger is not None:
            return [_Group(self._trigger, None, plain)]
        entries, program = self._entries, self._program
        return [
            _Group("load", Reach(program, entries.load), plain),
            _Group("load", Reach(program, entries.restore), fed),
            _Group("call", Reach(program, entries.call), plain),
            _Group("call", Reach(program, entries.save), fed),
            _Group("unreachable" if self._is_served else "call", None, fed),
        ]

    def _groups_of(self, block: Block, node: NodeDef) -> Iterator[tuple[_Group, str]]:
        """Yield the ways in which a node comes to run, each with a label; the last only where there is no other."""
        is_reached = False
        for group in self._groups:
            if group.reach is None:
                if not is_reached:
                    yield group, ""
            else:
                label = group.reach.label(block, node.name)
                if label is not None:
                    is_reached = True
                    yield group, label

    def _effect(self, block: Block, node: NodeDef, effect: Effect) -> None:
        for group, label in self._groups_of(block, node):
            found: dict[Judgement, None] = {}
            for context in self._contexts_of(group, block):
                texts = self._argument(block, node, effect, group.folder, context)
                if node.op == "DatasetFromGraph":
                    for data in [text.data for text in texts]:
                        if data is not None:
                            self._scan_inside(data, node, group.trigger, is_certain=True)
                judgement = judge(effect, texts, is_open=not self._is_served)
                if judgement is not None:
                    found[judgement] = None
            for judgement in found:
                self._add(block, node, effect, group.trigger, label, judgement)
            if found:
                return

    def _argument(
        self, block: Block, node: NodeDef, effect: Effect, folder: Folder, context: Context | None
    ) -> list[Text]:
        if effect.is_queue:
            return queued_values(block, node, lambda name: folder.fold(block, name, context))
        if effect.attribute is not None:
            return _attribute_texts(node, effect.attribute)
        inputs = data_inputs(node)
        numbers = [number for number in effect.inputs if number < len(inputs)]
        return [text for number in numbers for text in texts_of(folder.fold(block, inputs[number], context))]

    def _contexts_of(self, group: _Group, block: Block) -> list[Context | None]:
        """Return the ways in which a block is called within a group, as far as they are worth telling apart."""
        if block.name is None or group.reach is None:
            return [None]
        key = (id(group.reach), block.name)
        if key not in self._contexts:
            found = list(_ways_to(group.reach, block.name, frozenset()))
            self._contexts[key] = found[:_MOST_CONTEXTS] or [None]
        return self._contexts[key]

    def _add(self, block: Block, node: NodeDef, effect: Effect, trigger: str, label: str, judgement: Judgement) -> None:
        severity = judgement.loaded if trigger == "load" else judgement.called
        if trigger == "unreachable" and severity != "info":
            severity = "info" if effect.judged == "checkpoint" and effect.op_class == "reads" else "low"
        message = f"{node.op} {_does(judgement.rule)}, {_when(trigger, label)}"
        if judgement.argument is not None:
            message += f": {judgement.argument}"
        self._report(judgement.rule, severity, message, block, node, trigger, judgement)

    def _unknown(self, block: Block, node: NodeDef) -> None:
        for group, label in self._groups_of(block, node):
            # TensorFlow writes the definition of every op into its models. Plain graphs have none.
            is_hidden = self._program.definitions and node.op not in self._program.definitions
            severity = "info" if not is_hidden else "low" if group.trigger == "unreachable" else "medium"
            message = (
                f"{node.op} is no op of TensorFlow's, so it needs native code that somebody else wrote, "
                f"{_when(group.trigger, label)}"
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

    def _scan_inside(self, data: bytes, node: NodeDef, trigger: str, *, is_certain: bool) -> None:
        """Look at a graph that the value of a node is, if it is one."""
        found = self._embedded.take(data, trigger, len(self._within), is_certain=is_certain)
        if not isinstance(found, Program):
            if found is not None:
                self.problems.append(found)
            return
        inner = GraphScan(
            found,
            self._embedded.no_entries,
            self._path,
            is_served=True,
            embedded=self._embedded,
            trigger=trigger,
            within=(*self._within, node.name),
        )
        inner.run()
        self.findings += inner.findings
        self.problems += inner.problems


def _does(rule: str) -> str:
    """Return what the ops of a rule do, in words."""
    return next(CLASSES[op_class] for op_class, name in RULE_OF_CLASS.items() if name == rule)


def _when(trigger: str, label: str) -> str:
    return f"{_WHEN[trigger]} ({label})" if label else _WHEN[trigger]


def _ways_to(reach: Reach, function: str, passed: frozenset[str]) -> Iterator[Context | None]:
    """Yield the ways in which a function is called, up to a number of them."""
    if function in reach.called:
        yield None
    if len(passed) >= _DEEPEST_CONTEXT:
        return
    count = 0
    for site in reach.sites.get(function, ()):
        name = site.block.name
        if name is None:
            yield Context(site, None)
            count += 1
        elif name not in passed and name != function:
            for parent in _ways_to(reach, name, passed | {function}):
                yield Context(site, parent)
                count += 1
                if count >= _MOST_CONTEXTS:
                    return
        if count >= _MOST_CONTEXTS:
            return


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
