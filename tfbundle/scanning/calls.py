"""The ops that call functions of the graph, and the arguments that they pass.

A function's arguments are inputs of the op that calls it, at positions that depend on the op::

    PartitionedCall, While                 the inputs
    If, Case, RemoteCall                   the inputs after the first
    MapDataset and its kin                 the components of an element, then the captured inputs
    ScanDataset, ReduceDataset             the state, the components, then the captured inputs

The arguments that other ops pass are not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from tfbundle.proto import AttrValue, NodeDef

# Ops whose functions are computations of XLA's or of a TPU: they hold arithmetic, but nothing makes sure of it.
_COMPUTATIONS_NAMES = """
FuncAttr FuncListAttr RiscCondition RiscWhile RpcServerRegister TPUCompile XlaCallModule XlaHostCompute XlaReduce
XlaReduceWindow XlaScatter XlaSelectAndScatter XlaSparseDenseMatmulCustomCombinerOnTcGradWithAdagradAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithAdagradMomentumAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithAdamAndCsrInput XlaSparseDenseMatmulCustomCombinerOnTcGradWithCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithFtrlAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithSgdAndCsrInput XlaSparseDenseMatmulCustomCombinerOnTcWithCsrInput
XlaSparseDenseMatmulGradWithCsrInput XlaVariadicReduce XlaVariadicReduceV2 XlaVariadicSort _TPUReplicate
"""
_COMPUTATIONS = _COMPUTATIONS_NAMES.split()
_PLAIN_NAMES = """
BatchFunction MapDefun PartitionedCall StatefulPartitionedCall SymbolicGradient TPUPartitionedCall XlaLaunch
XlaLaunchV2 _XlaCompile
"""
_PLAIN = _PLAIN_NAMES.split()
LOOPS = frozenset(["For", "StatelessWhile", "While", "XlaWhile", "_While"])
"""Ops that call a function with its previous results."""
BRANCHES = frozenset(["Case", "If", "StatelessCase", "StatelessIf", "XlaIf", "_If"])
"""Ops that call one of their functions."""
_MAPS_NAMES = """
ChooseFastestBranchDataset ExperimentalMapAndBatchDataset ExperimentalMapDataset ExperimentalParallelInterleaveDataset
ExperimentalTakeWhileDataset FilterDataset FlatMapDataset IndexFlatMapDataset InterleaveDataset
LegacyParallelInterleaveDatasetV2 MapAndBatchDataset MapDataset ParallelFilterDataset ParallelInterleaveDataset
ParallelInterleaveDatasetV2 ParallelInterleaveDatasetV3 ParallelInterleaveDatasetV4 ParallelMapDataset
ParallelMapDatasetV2 TakeWhileDataset
"""
_MAPS = _MAPS_NAMES.split()
_FOLDS = ["ExperimentalScanDataset", "ReduceDataset", "ScanDataset"]
_OTHER_DATASETS_NAMES = """
DataServiceDatasetV3 DataServiceDatasetV4 ExperimentalGroupByReducerDataset ExperimentalGroupByWindowDataset
GeneratorDataset GroupByReducerDataset GroupByWindowDataset LoadDataset OneShotIterator SaveDataset SaveDatasetV2
SnapshotDatasetV2
"""
_OTHER_DATASETS = _OTHER_DATASETS_NAMES.split()

CALLERS = frozenset((*_COMPUTATIONS, *_PLAIN, *LOOPS, *BRANCHES, *_MAPS, *_FOLDS, *_OTHER_DATASETS, "RemoteCall"))
"""Every op of TensorFlow's that has functions among its attributes."""

_FIRST_INPUT = dict.fromkeys((*_PLAIN, *LOOPS), 0) | dict.fromkeys((*BRANCHES, "RemoteCall"), 1)
# The attribute with the types of what a dataset's function captured.
_CAPTURED = "Targuments"
# Functions in attributes of functions in attributes: TensorFlow writes one level.
_DEEPEST = 8


class ElementOf:
    """An argument that is a component of an element of a dataset: of input ``dataset`` of the caller."""

    __slots__ = ("component",)

    dataset = 0

    def __init__(self, component: int) -> None:
        self.component = component


def argument_source(node: NodeDef, arguments: int, index: int) -> int | ElementOf | None:
    """Return what a caller passes as argument ``index`` of ``arguments``: the number of one of its inputs, or a
    component of a dataset; ``None`` if it is not known.
    """
    op = node.op
    if op in _MAPS or op in _FOLDS:
        captured = len(node.attr[_CAPTURED].list.type) if _CAPTURED in node.attr else 0
        state = len(node.attr["Tstate"].list.type) if op in _FOLDS and "Tstate" in node.attr else 0
        components = arguments - captured - state
        if components < 0 or index < state:
            return None
        if index < state + components:
            return ElementOf(index - state)
        return 1 + index - components
    first = _FIRST_INPUT.get(op)
    if first is None:
        # An op that has the function's name has the inputs of the function.
        return None if op in CALLERS else index
    return first + index


def called_functions(node: NodeDef) -> Iterator[str]:
    """Yield the names of the functions in a node's attributes, those in attributes of functions included."""
    for value in node.attr.values():
        yield from _functions_in(value, _DEEPEST)


def _functions_in(value: AttrValue, depth: int) -> Iterator[str]:
    kind = value.WhichOneof("value")
    if kind == "func":
        calls = [value.func]
    elif kind == "list":
        calls = list(value.list.func)
    else:
        return
    for call in calls:
        yield call.name
        if depth:
            for inner in call.attr.values():
                yield from _functions_in(inner, depth - 1)
