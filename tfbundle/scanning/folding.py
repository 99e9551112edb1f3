"""The values of tensors, as far as they follow from constants: the paths, addresses and commands of findings.

A tensor is traced back through the ops that put strings together, through calls of functions (from an argument to what
the caller passes, from a result to what the function returns), branches, loops that leave a value unchanged, and
datasets. Where a trace ends, the value is open: the caller of the model chooses it, or it is unknown.

How much is traced is bounded for all tensors of a program together, and each tensor of a context once.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tfbundle.errors import TfBundleError
from tfbundle.proto import NodeDef, TensorProto
from tfbundle.scanning.calls import BRANCHES, LOOPS, ElementOf, argument_source
from tfbundle.scanning.entry_points import EntryPoints
from tfbundle.scanning.fold_ops import FOLDS, OUTPUT_FOLDS, fold_op
from tfbundle.scanning.program import Block, Context, Program, Site, Tensor, data_inputs
from tfbundle.scanning.values import (
    CALLER,
    MOST_ITEMS,
    Hole,
    Text,
    Value,
    alternatives,
    join_texts,
    scalar,
    texts_of,
    unknown,
    value_of,
)
from tfbundle.tensors.tensor_proto import decode_tensor

_DEEPEST = 60
_MOST_STEPS = 20_000
# Steps in all graphs of a scan together: so many take half a second, and so many more for each node. Models that
# TensorFlow writes take about one for each.
_FREE_STEPS = 50_000
_STEPS_A_NODE = 4
# Bytes of all strings that are made.
_MOST_BYTES = 16 << 20

# Ops whose output is their first input.
_PASSED_NAMES = """
CheckNumerics Copy CopyHost DebugGradientIdentity DeepCopy EnsureShape Enter Exit GuaranteeConst HostConst Identity
IdentityN LoopCond PreventGradient RefEnter RefExit RefIdentity RefSwitch Snapshot StopGradient Switch
"""
_PASSED = frozenset(_PASSED_NAMES.split())
_PLACEHOLDERS = frozenset(("Placeholder", "PlaceholderV2", "_Arg", "_DeviceArg", "FakeParam"))
_MERGES = frozenset(("Merge", "RefMerge"))
_READS = frozenset(("ReadVariableOp",))
_VARIABLES = frozenset(("Variable", "VariableV2"))
_ASSIGNS = frozenset(("Assign", "AssignVariableOp"))
# DT_STRING, and a reference to such.
_STRINGS = (7, 107)
_SELECTS = frozenset(("Select", "SelectV2"))
# Datasets whose elements are those of their first input.
_SAME_ELEMENTS_NAMES = """
AssertCardinalityDataset AutoShardDataset CacheDataset CacheDatasetV2 FilterDataset FinalizeDataset ModelDataset
OptimizeDataset OptimizeDatasetV2 OptionsDataset ParallelFilterDataset PrefetchDataset PrivateThreadPoolDataset
RepeatDataset ShardDataset ShuffleAndRepeatDataset ShuffleAndRepeatDatasetV2 ShuffleDataset ShuffleDatasetV2
ShuffleDatasetV3 SkipDataset TakeDataset BatchDataset BatchDatasetV2 ParallelBatchDataset
"""
_SAME_ELEMENTS = frozenset(_SAME_ELEMENTS_NAMES.split())
_MAPS = frozenset(("MapDataset", "ParallelMapDataset", "ParallelMapDatasetV2", "ExperimentalMapDataset"))


class Effort:
    """The steps that are left for all graphs of a scan together; each graph adds some for its nodes."""

    def __init__(self) -> None:
        """Start with the steps that are free."""
        self.left = _FREE_STEPS

    def add(self, nodes: int) -> None:
        """Add what a graph with so many nodes may take."""
        self.left = max(self.left, 0) + nodes * _STEPS_A_NODE


class Folder:
    """Traces tensors of a program."""

    def __init__(
        self, program: Program, entries: EntryPoints, *, saves: bool, loads: bool, effort: Effort | None = None
    ) -> None:
        """Prepare a tracer for the nodes that run together.

        ``saves`` states that savers are given their path, and ``loads`` that assets are given theirs, which loaders do
        while they initialise a model; otherwise these tensors are what the graph has. ``effort`` is that of the scan.
        """
        self._effort = effort or Effort()
        self._is_cut = False
        self._program = program
        self._entries = entries
        self._saves = saves
        self._loads = loads
        self._steps = _MOST_STEPS
        self._bytes = _MOST_BYTES
        self._known: dict[tuple[object, ...], Value] = {}

    @property
    def is_exhausted(self) -> bool:
        """Whether something was left unknown because tracing it would have taken too long."""
        return self._is_cut or self._bytes <= 0

    def _take_step(self) -> bool:
        """Count a step, and return whether it may be taken."""
        self._steps -= 1
        self._effort.left -= 1
        if self._steps <= 0 or self._effort.left <= 0:
            self._is_cut = True
        return not self._is_cut

    def fold(self, block: Block, reference: str, context: Context | None, depth: int = 0) -> Value:
        """Return the value of the tensor that ``reference`` names in a block."""
        while True:
            if not self._take_step() or depth > _DEEPEST:
                return unknown()
            found = block.find(reference)
            if found is None:
                return unknown()
            if isinstance(found, int):
                return self._argument(block, found, context, depth)
            node = found.node
            special = None if block.function is not None else self._special(found)
            if special is not None:
                return scalar(special)
            inputs = data_inputs(node)
            # A long chain of these takes no depth.
            if node.op in _PASSED and inputs and node.op not in self._program.functions:
                reference = inputs[found.number] if node.op == "IdentityN" and found.number < len(inputs) else inputs[0]
                continue
            key = (block.name, None if context is None else context.number, node.name, found.number)
            known = self._known.get(key)
            if known is None:
                self._known[key] = unknown()  # For a circle.
                known = self._known[key] = self._output(block, found, inputs, context, depth)
            return known

    def _special(self, tensor: Tensor) -> Text | None:
        """Return the value that a tensor of the graph is fed with, or ``None`` if it is not fed."""
        name = f"{tensor.node.name}:{tensor.number}"
        if self._saves and name in self._entries.filename_tensors:
            return Text(Hole("saver"))
        # A placeholder without a value can only run where it is fed.
        if name in self._entries.assets and (self._loads or tensor.node.op in _PLACEHOLDERS):
            return Text(Hole("asset", self._entries.assets[name]))
        return None

    def _argument(self, block: Block, index: int, context: Context | None, depth: int) -> Value:
        function = block.function
        assert function is not None
        count = len(function.signature.input_arg)
        if context is None:
            captured = self._entries.captured.get(function.signature.name, [])
            place = index - (count - len(captured))
            if place < 0:
                return scalar(CALLER)
            given = captured[place]
            if given.asset is not None:
                return scalar(Text(Hole("asset", given.asset)))
            return unknown() if given.node is None else self.fold(self._program.main, given.node, None, depth + 1)
        site, parent = context.site, context.parent
        if site is None:
            return unknown()
        source = argument_source(site.node, count, index)
        inputs = data_inputs(site.node)
        if isinstance(source, ElementOf):
            return self._element(site.block, inputs[0], source.component, parent, depth + 1) if inputs else unknown()
        if source is None or not 0 <= source < len(inputs):
            return unknown()
        if site.node.op in LOOPS and not self._is_kept(site.node, source):
            return alternatives([self.fold(site.block, inputs[source], parent, depth + 1), unknown()])
        return self.fold(site.block, inputs[source], parent, depth + 1)

    def _is_kept(self, node: NodeDef, index: int) -> bool:
        """Return whether the body of a loop returns a value as it was."""
        body = self._program.functions.get(node.attr["body"].func.name if "body" in node.attr else "")
        if body is None or body.function is None or index >= len(body.function.signature.output_arg):
            return False
        reference = body.function.ret.get(body.function.signature.output_arg[index].name, "")
        for _ in range(_DEEPEST):
            found = body.find(reference)
            if not isinstance(found, Tensor):
                return found == index
            inputs = data_inputs(found.node)
            if found.node.op not in _PASSED or len(inputs) != 1:
                return False
            reference = inputs[0]
        return False

    def _output(self, block: Block, tensor: Tensor, inputs: list[str], context: Context | None, depth: int) -> Value:
        node, op = tensor.node, tensor.node.op
        depth += 1
        if op in self._program.functions:
            return self._result(op, tensor.number, self._program.context(Site(block, node), context), depth)
        if op == "Const":
            return _constant(node)
        if op in _PLACEHOLDERS:
            return scalar(CALLER)
        if op == "PlaceholderWithDefault" and inputs:
            return self.fold(block, inputs[0], context, depth)
        if op in _MERGES:
            found = [self.fold(block, name, context, depth) for name in inputs[:MOST_ITEMS]]
            return alternatives(found if len(inputs) <= MOST_ITEMS else [*found, unknown()])
        if op == "NextIteration":
            return unknown()
        if op in _READS and inputs:
            return self._variable(self._origin(block, inputs[0], context), depth)
        if op in _VARIABLES and block.function is None:
            return self._variable(node, depth)
        if op in _SELECTS and len(inputs) == 3:
            return self._select([self.fold(block, name, context, depth) for name in inputs])
        if op == "DatasetToSingleElement" and inputs:
            return self._element(block, inputs[0], tensor.number, context, depth)
        if op in LOOPS:
            kept = tensor.number < len(inputs) and self._is_kept(node, tensor.number)
            return self.fold(block, inputs[tensor.number], context, depth) if kept else unknown()
        called = self._program.called_by(node) if op not in FOLDS else []
        if called:
            chosen = called if op in BRANCHES else called[:1]
            return alternatives(
                self._result(name, tensor.number, self._program.context(Site(block, node), context), depth)
                for name in chosen
            )
        if op == "ShardedFilename" and inputs:
            return self._sharded([self.fold(block, name, context, depth) for name in inputs])
        if op not in FOLDS and op not in OUTPUT_FOLDS:
            return unknown()
        # A string of many parts is not a path.
        if len(inputs) > MOST_ITEMS:
            return unknown()
        values = [self.fold(block, name, context, depth) for name in inputs]
        result = fold_op(node, values, tensor.number) if values or op == "StringFormat" else None
        if result is None or self._bytes <= 0:
            return unknown()
        self._bytes -= sum(item.size for item in result.flat if isinstance(item, Text))
        return result

    def _result(self, name: str, index: int, context: Context, depth: int) -> Value:
        block = self._program.functions[name]
        assert block.function is not None
        outputs = block.function.signature.output_arg
        if index >= len(outputs) or outputs[index].name not in block.function.ret:
            return unknown()
        return self.fold(block, block.function.ret[outputs[index].name], context, depth)

    def _select(self, values: list[Value]) -> Value:
        condition, yes, no = values
        if condition.size == 1 and isinstance(condition.item(), bool):
            return yes if condition.item() else no
        return alternatives([yes, no])

    def _origin(self, block: Block, reference: str, context: Context | None) -> NodeDef | None:
        """Return the node of the graph that a handle comes from, or ``None`` if it is not known."""
        for _ in range(_DEEPEST):
            found = block.find(reference)
            if isinstance(found, Tensor):
                inputs = data_inputs(found.node)
                if found.node.op not in _PASSED or not inputs:
                    return found.node if block.function is None else None
                reference = inputs[0]
            elif found is None or context is None or context.site is None or block.function is None:
                return None
            else:
                site = context.site
                source = argument_source(site.node, len(block.function.signature.input_arg), found)
                inputs = data_inputs(site.node)
                if not isinstance(source, int) or not 0 <= source < len(inputs):
                    return None
                block, reference, context = site.block, inputs[source], context.parent
        return None

    def _variable(self, variable: NodeDef | None, depth: int) -> Value:
        """Return what the graph assigns to a variable of strings; checkpoints are not read."""
        if variable is None or "dtype" not in variable.attr or variable.attr["dtype"].type not in _STRINGS:
            return unknown()
        assigned = [self.fold(self._program.main, name, None, depth) for name in self._assigned.get(variable.name, ())]
        if self._are_strings_assigned_elsewhere:
            assigned.append(unknown())
        return alternatives(assigned)

    @cached_property
    def _assigned(self) -> dict[str, list[str]]:
        """What the graph itself assigns to its variables."""
        found: dict[str, list[str]] = {}
        for node in self._program.main.protos:
            if node.op in _ASSIGNS:
                inputs = data_inputs(node)
                variable = self._origin(self._program.main, inputs[0], None) if len(inputs) > 1 else None
                if variable is not None:
                    found.setdefault(variable.name, []).append(inputs[1])
        return found

    @cached_property
    def _are_strings_assigned_elsewhere(self) -> bool:
        return any(
            node.op in _ASSIGNS and _type_of(node) in _STRINGS
            for block in self._program.functions.values()
            for node in block.protos
        )

    def _sharded(self, values: list[Value]) -> Value:
        """Return the result of ``ShardedFilename`` for a prefix, a number and a count."""
        numbers = [int(value.item()) for value in values[1:3] if value.size == 1 and isinstance(value.item(), int)]
        suffix = Text(b"-%05d-of-%05d" % tuple(numbers)) if len(numbers) == 2 else Text(Hole("shard"))
        return alternatives(scalar(join_texts((prefix, suffix))) for prefix in texts_of(values[0]))

    def _element(self, block: Block, reference: str, component: int, context: Context | None, depth: int) -> Value:
        """Return a component of the elements of a dataset, of all of them at once."""
        while True:
            found = block.find(reference)
            if not self._take_step() or depth > _DEEPEST or not isinstance(found, Tensor):
                return unknown()
            node = found.node
            inputs = data_inputs(node)
            if (node.op in _SAME_ELEMENTS or node.op in _PASSED) and inputs:
                reference = inputs[0]
            elif node.op in ("TensorSliceDataset", "TensorDataset") and component < len(inputs):
                value = self.fold(block, inputs[component], context, depth + 1)
                return value.reshape(-1) if node.op == "TensorSliceDataset" else value
            elif node.op in _MAPS:
                called = self._program.called_by(node)
                if not called:
                    return unknown()
                return self._result(called[0], component, self._program.context(Site(block, node), context), depth + 1)
            elif node.op == "ConcatenateDataset":
                return alternatives(self._element(block, name, component, context, depth + 1) for name in inputs[:2])
            else:
                return unknown()


def _constant(node: NodeDef) -> Value:
    if "value" not in node.attr:
        return unknown()
    proto = node.attr["value"].tensor
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = 1
    for size in shape:
        count *= max(size, 0)
    if count > MOST_ITEMS or proto.tensor_shape.unknown_rank:
        return unknown()
    return _decoded(proto, shape)


def _decoded(proto: TensorProto, shape: tuple[int, ...]) -> Value:
    try:
        array = decode_tensor(proto)
    except TfBundleError:
        return unknown()  # TensorFlow does not load such a graph.
    if proto.dtype in _STRINGS:
        return value_of((Text(data) if data else Text() for data in array.flat), shape)
    if array.dtype.kind not in "biuf":
        return unknown()
    items = np.empty(array.shape, dtype=object)
    items[...] = array
    return value_of((item.item() if isinstance(item, np.generic) else item for item in items.flat), shape)


def _type_of(node: NodeDef) -> int | None:
    name = "dtype" if "dtype" in node.attr else "T"
    return node.attr[name].type if name in node.attr else None
