"""A graph as a program: blocks of nodes that refer to each other, and functions that call each other.

``tfbundle.graph`` gives views of single nodes, and refuses a graph that contradicts itself. Here all nodes are passed
once, and what is contradictory is noted while everything else is still judged. A block is the graph itself or the body
of one function. A name among a node's inputs means, in the graph, ``NODE`` or ``NODE:INDEX``, and in a function an
argument or ``NODE:OUTPUT:INDEX``; a name after ``^`` is a node that has to run before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from tfbundle.errors import TfBundleError
from tfbundle.graph.op_outputs import OpOutputs
from tfbundle.proto import FunctionDef, GraphDef, NodeDef, OpDef
from tfbundle.scanning.calls import CALLERS, called_functions
from tfbundle.scanning.harmless_ops import PURE, STATE
from tfbundle.scanning.op_effects import effects

_HARMLESS = PURE | STATE
# The name of a registered gradient: as a rule of an IdentityN, around what has a custom gradient.
_GRADIENT_TYPE = "_gradient_op_type"
_GRADIENT_OP = "SymbolicGradient"
_NEVER_CALLS = _HARMLESS - CALLERS
# Attributes of a function with the names of others, and with the name of what several functions implement alike, one
# of which TensorFlow's optimizer chooses by the device.
_DERIVED = ("forward_function_name", "backward_function_name")
_IMPLEMENTS = "api_implements"


class Tensor(NamedTuple):
    """An output of a node in a block: the node, and which of its outputs."""

    node: NodeDef
    number: int


class Block:
    """The nodes of the graph or of a function."""

    def __init__(self, protos: Sequence[NodeDef], outputs: OpOutputs, function: FunctionDef | None = None) -> None:
        """Take the nodes; ``function`` is ``None`` for the graph itself."""
        self.protos = protos
        self.function = function
        self._outputs = outputs

    @property
    def name(self) -> str | None:
        """The name of the function, or ``None`` of the graph."""
        return None if self.function is None else self.function.signature.name

    @cached_property
    def nodes(self) -> dict[str, NodeDef]:
        """The nodes by name; of two with one name the first."""
        found: dict[str, NodeDef] = {}
        for proto in self.protos:
            found.setdefault(proto.name, proto)
        return found

    @cached_property
    def queued(self) -> dict[str, list[str]]:
        """What is put into the queue of each reader of files, by the reader's name (``queues``)."""
        return queued_names(self)

    @cached_property
    def arguments(self) -> dict[str, int]:
        """The numbers of the function's arguments by name."""
        if self.function is None:
            return {}
        return {argument.name: number for number, argument in enumerate(self.function.signature.input_arg)}

    def find(self, reference: str) -> Tensor | int | None:
        """Return the tensor that an input names, or the number of an argument; ``None`` if there is no such node."""
        name, _, rest = reference.partition(":")
        if self.function is not None and name in self.arguments and name not in self.nodes:
            return self.arguments[name]
        node = self.nodes.get(name)
        if node is None:
            return None
        output, _, number = rest.rpartition(":")
        index = int(number) if number.isdecimal() and len(number) < 10 else 0
        return Tensor(node, self._flat_index(node, output, index) if output else index)

    def _flat_index(self, node: NodeDef, output: str, number: int) -> int:
        try:
            index = self._outputs.index_of(node, output, number)
        except TfBundleError:
            index = None  # Its attributes do not fit the op, and TensorFlow would not run it.
        return number if index is None else index


def data_inputs(node: NodeDef) -> list[str]:
    """Return the input tensors of a node, without its control inputs."""
    return [name for name in node.input if not name.startswith("^")]


# Readers take the names of files from queues: reader -> (ReaderRead) <- queue <- (QueueEnqueueMany) names.
_READS = ("ReaderRead", "ReaderReadV2", "ReaderReadUpTo", "ReaderReadUpToV2")
_ENQUEUES = ("QueueEnqueue", "QueueEnqueueV2", "QueueEnqueueMany", "QueueEnqueueManyV2")
_BETWEEN = ("Identity", "Enter", "RefEnter", "Switch")
_MOST_BETWEEN = 20


def queued_names(block: Block) -> dict[str, list[str]]:
    """Return by reader the tensors with names of files that are put into its queue."""
    queues: dict[str, list[str]] = {}
    readers: list[tuple[str, str]] = []
    for node in block.protos:
        if node.op in _READS or node.op in _ENQUEUES:
            inputs = data_inputs(node)
            first = _origin(block, inputs[0]) if len(inputs) > 1 else None
            if first is None:
                continue
            if node.op in _ENQUEUES:
                queues.setdefault(first, []).append(inputs[1])
            else:
                readers.append((first, _origin(block, inputs[1]) or ""))
    found: dict[str, list[str]] = {}
    for reader, queue in readers:
        found.setdefault(reader, queues.get(queue, []))
    return found


def _origin(block: Block, reference: str) -> str | None:
    for _ in range(_MOST_BETWEEN):
        found = block.find(reference)
        if not isinstance(found, Tensor):
            return None
        inputs = data_inputs(found.node)
        if found.node.op not in _BETWEEN or not inputs:
            return found.node.name
        reference = inputs[0]
    return None


class Site(NamedTuple):
    """Where a function is called."""

    block: Block
    node: NodeDef


class Context:
    """How a function was called: from where, and how its caller was called.

    ``None`` in place of one is a call from outside, and ``OTHERS`` represents all calls of which nothing is known.
    ``number`` distinguishes the contexts of a program.
    """

    __slots__ = ("number", "parent", "site")

    def __init__(self, site: Site | None, parent: Context | None, number: int) -> None:
        self.site = site
        self.parent = parent
        self.number = number


OTHERS = Context(None, None, 0)


class Program:
    """A graph with its functions."""

    def __init__(self, graph: GraphDef, definitions: Sequence[OpDef] = ()) -> None:
        """``definitions`` are those of the ops that the file brings along."""
        self.definitions = {definition.name for definition in definitions}
        functions = graph.library.function
        outputs = OpOutputs(definitions, functions)
        self.main = Block(graph.node, outputs)
        self.functions: dict[str, Block] = {}
        self.problems: list[str] = []
        """What is contradictory, in words."""
        for function in functions:
            block = Block(function.node_def, outputs, function)
            name = function.signature.name
            if name in self.functions:
                self.problems.append(f"two functions are named {name!r}, and one of them was not scanned")
            else:
                self.functions[name] = block
        self._library = graph.library
        self._contexts: dict[tuple[int | None, str | None, str], Context] = {}

    def context(self, site: Site, parent: Context | None) -> Context:
        """Return the context of a call at ``site``; the same one each time."""
        key = (None if parent is None else parent.number, site.block.name, site.node.name)
        found = self._contexts.get(key)
        if found is None:
            found = self._contexts[key] = Context(site, parent, len(self._contexts) + 1)
        return found

    @property
    def blocks(self) -> Iterator[Block]:
        """The graph, then each function."""
        yield self.main
        yield from self.functions.values()

    def notable(self, block: Block) -> list[NodeDef]:
        """Return the nodes whose ops are not known to be harmless, in the order of the file.

        A function with the name of an op does not hide the op; which of them runs depends on the release of TensorFlow.
        """
        harmless = self._harmless
        return [proto for proto in block.protos if proto.op not in harmless]

    @cached_property
    def _harmless(self) -> frozenset[str]:
        return _HARMLESS | (self.functions.keys() - effects().keys())

    def called_by(self, node: NodeDef) -> list[str]:
        """Return the functions of this graph that a node calls, and the gradients that it computes."""
        op = node.op
        found: list[str] = []
        if op in self.functions:
            found.append(op)
        if op in CALLERS or op not in _HARMLESS:
            found += called_functions(node)
        if op == _GRADIENT_OP:
            # One of them represents all, as in ``relatives``.
            found += self._op_gradients[:1]
        if self._gradients and _GRADIENT_TYPE in node.attr:
            found += self._gradients.get(node.attr[_GRADIENT_TYPE].s.decode("utf-8", "replace"), ())
        return [name for name in dict.fromkeys(found) if name in self.functions]

    def calls(self, block: Block) -> list[tuple[NodeDef, list[str]]]:
        """Return the nodes of a block that call functions, with these."""
        if not self.functions:
            return []
        names = self.functions
        # A gradient may be registered for any op.
        skipped = frozenset() if self._gradients else _NEVER_CALLS
        found = []
        for proto in block.protos:
            op = proto.op
            if op in skipped and op not in names:
                continue
            called = self.called_by(proto)
            if called:
                found.append((proto, called))
        return found

    @cached_property
    def _gradients(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for registered in self._library.registered_gradients:
            found.setdefault(registered.registered_op_type, []).append(registered.gradient_func)
        return found

    @cached_property
    def _op_gradients(self) -> list[str]:
        """The gradients of ops, which run where gradients of functions do."""
        names = (pair.gradient_func for pair in self._library.gradient if pair.function_name not in self.functions)
        return [name for name in dict.fromkeys(names) if name in self.functions]

    @cached_property
    def relatives(self) -> dict[str, list[str]]:
        """By function those that may run in its place, or beside it when it is trained."""
        found: dict[str, list[str]] = {}
        alike: dict[bytes, list[str]] = {}
        for name, block in self.functions.items():
            assert block.function is not None
            attributes = block.function.attr
            for key in _DERIVED:
                if key in attributes:
                    found.setdefault(name, []).append(attributes[key].s.decode("utf-8", "replace"))
            if _IMPLEMENTS in attributes:
                alike.setdefault(attributes[_IMPLEMENTS].s, []).append(name)
        for gradient in self._library.gradient:
            found.setdefault(gradient.function_name, []).append(gradient.gradient_func)
        for group in (*alike.values(), self._op_gradients):
            if not group:
                continue
            # One of them represents all, so that a large group does not take its square.
            found.setdefault(group[0], []).extend(group[1:])
            for name in group[1:]:
                found.setdefault(name, []).append(group[0])
        return {name: [other for other in others if other in self.functions] for name, others in found.items()}


def is_known(op: str) -> bool:
    """Return whether TensorFlow has an op of this name."""
    return op in _HARMLESS or op in effects()
