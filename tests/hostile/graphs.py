"""Graphs that restore, call and name more than they state: what took the product of two numbers takes their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.hostile.catalogue import Wanted, add
from tests.support.bundle_writer import Saved, write_bundle
from tfbundle.proto import AttrValue, MetaGraphDef, NodeDef, TensorProto, TensorShapeProto

Tensors = dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]] | Saved"]


def _add(name: str, title: str, make: Callable[[], MetaGraphDef], tensors: Callable[[], Tensors] = dict) -> None:
    """A meta graph beside a checkpoint, which is what ``compare_graph`` is asked about."""

    def build(folder: Path) -> Wanted:
        write_bundle(folder / "model", {"a": np.arange(3, dtype=np.float32), **tensors()})
        (folder / "model.meta").write_bytes(make().SerializeToString())
        return Wanted(folder / "model.meta")

    add(f"graph-{name}", "graph", build, title)


def _strings(values: Sequence[bytes], count: int | None = None) -> AttrValue:
    tensor = TensorProto(dtype=7, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values) if count is None else count)
    return AttrValue(tensor=tensor)


def _restoring(
    names: AttrValue, slices: AttrValue | None = None, nodes: Sequence[NodeDef] = (), start: str = "r"
) -> MetaGraphDef:
    """A graph whose saver runs the op ``start``; ``r`` restores the ``names``."""
    meta = MetaGraphDef()
    count = names.tensor.tensor_shape.dim[0].size
    graph = meta.graph_def
    graph.node.add(name="names", op="Const").attr["value"].CopyFrom(names)
    graph.node.add(name="slices", op="Const").attr["value"].CopyFrom(slices or _strings([b""], count))
    restore = graph.node.add(name="r", op="RestoreV2", input=["prefix", "names", "slices"])
    restore.attr["dtypes"].list.type.extend([1] * count)
    graph.node.extend(nodes)
    meta.saver_def.restore_op_name = start
    return meta


def _variable(name: str, *shape: int) -> NodeDef:
    node = NodeDef(name=name, op="VariableV2")
    node.attr["dtype"].type = 1
    node.attr["shape"].shape.dim.extend(TensorShapeProto.Dim(size=size) for size in shape)
    return node


def _assign(name: str, variable: str, value: str) -> NodeDef:
    return NodeDef(name=name, op="Assign", input=[variable, value])


_ONE = [b"w"]

_add(
    "restores-cycle",
    "three ops in a circle, each 20,000 times an input of the next",
    lambda: _restoring(
        _strings(_ONE),
        nodes=[NodeDef(name=a, op="NoOp", input=[b] * 20_000) for a, b in ("xy", "yz", "zx")],
        start="x",
    ),
)
_add(
    "restores-long-name",
    "one name of 500,000 bytes for 50,000 tensors",
    lambda: _restoring(_strings([b"w" * 500_000], 50_000)),
)
_add(
    "restores-long-slice",
    "one slice of 100,000 dimensions for 20,000 tensors",
    lambda: _restoring(_strings([b"w%d" % n for n in range(20_000)]), _strings([b"1 " * 100_000 + b"-"], 20_000)),
)
_add(
    "restores-wide-input",
    "10,000 ops that assign from an op with 50,000 inputs",
    lambda: _restoring(
        _strings(_ONE),
        nodes=[
            _variable("v", *[1] * 200),
            NodeDef(name="wide", op="Identity", input=["r", *["^x"] * 50_000]),
            *(_assign(f"a{n}", "v", "wide") for n in range(10_000)),
        ],
    ),
)
_add(
    "restores-a-graph-of-graphs",
    "40 ops that restore by one constant of 1,000 names",
    lambda: _restoring(
        _strings([b"w%d" % n for n in range(1000)]),
        nodes=[
            *(
                NodeDef(
                    name=f"r{n}",
                    op="RestoreV2",
                    input=["prefix", "names", "slices"],
                    attr={"dtypes": AttrValue(list=AttrValue.ListValue(type=[1] * 1000))},
                )
                for n in range(40)
            ),
            NodeDef(name="all", op="NoOp", input=[f"^r{n}" for n in range(40)]),
        ],
        start="all",
    ),
)


def _calls() -> MetaGraphDef:
    meta = MetaGraphDef()
    functions = meta.graph_def.library.function
    for number in range(3000):
        function = functions.add()
        function.signature.name = f"f{number}"
        function.signature.input_arg.add(name="x", type=1)
        function.signature.output_arg.add(name="y", type=1)
        function.node_def.add(name="c", op=f"f{(number + 1) % 3000}", input=["x"])
        function.ret["y"] = "c:y:0"
    meta.graph_def.node.add(name="call", op="f0", input=["p"])
    meta.saver_def.restore_op_name = "call"
    return meta


_add("functions-in-a-circle", "3,000 functions that call each other in a circle", _calls)


def _outputs_by_name() -> MetaGraphDef:
    """A function that returns the outputs of a call to itself, and a graph that takes each of them."""
    meta = MetaGraphDef()
    function = meta.graph_def.library.function.add()
    function.signature.name = "f"
    for number in range(6000):
        function.signature.output_arg.add(name=f"o{number}", type=1)
        function.ret[f"o{number}"] = f"n:o{5999 - number}:0"
    function.node_def.add(name="n", op="f")
    meta.graph_def.node.add(name="call", op="f")
    meta.graph_def.node.extend(_assign(f"a{n}", "v", f"call:{5999 - n}") for n in range(6000))
    meta.graph_def.node.add(name="r", op="RestoreV2", input=["prefix", "call", "call"]).attr["dtypes"].list.type[:] = [
        1
    ]
    meta.saver_def.restore_op_name = "r"
    return meta


_add("outputs-6-000-by-name", "a function of 6,000 outputs, each of which is looked up", _outputs_by_name)


def _outputs_that_are_lists() -> MetaGraphDef:
    meta = MetaGraphDef()
    definition = meta.meta_info_def.stripped_op_list.op.add(name="X")
    for number in range(5000):
        definition.output_arg.add(name=f"o{number}", type=1, number_attr="N")
    meta.graph_def.node.add(name="x", op="X").attr["N"].i = 100_000
    meta.graph_def.node.extend(_assign(f"a{n}", "v", f"x:{400_000_000 + n}") for n in range(5000))
    return meta


_add("outputs-5-000-lists", "an op with 5,000 outputs that are lists of 100,000 tensors", _outputs_that_are_lists)


def _chain() -> MetaGraphDef:
    meta = MetaGraphDef()
    meta.graph_def.node.add(name="n", op="NoOp")
    nodes = meta.object_graph_def.nodes
    for number in range(20_000):
        nodes.add().children.add(node_id=number + 1, local_name="")
    end = nodes.add()
    for number in range(2000):
        end.children.add(node_id=len(nodes) + number, local_name=f"v{number}")
    for _ in range(2000):
        nodes.add().variable.dtype = 1
    return meta


_add("keys-behind-empty-names", "2,000 variables behind 20,000 objects without names", _chain)
_add(
    "names-missing",
    "5,000 names that are missing, and 5,000 tensors like them",
    lambda: _restoring(
        _strings([b"model/layer_%d/kernel_of_the_first_layer" % n for n in range(5000)]),
    ),
    lambda: {f"model/layer_{n}/kernel_of_the_other_layer": np.zeros(1, np.float32) for n in range(5000)},
)
_add(
    "names-missing-and-long",
    "200 long names that are missing, and 5,000 tensors",
    lambda: _restoring(_strings([b"a/" * 20_000 + b"%d" % n for n in range(200)])),
    lambda: {f"a/{n}": np.zeros(1, np.float32) for n in range(5000)},
)


def _parts(count: int) -> MetaGraphDef:
    """Each part is two rows of a tensor whose slices are single rows, so that none is a slice."""
    slices = [b"100000 %d,2:" % (n % 99_000) for n in range(count)]
    return _restoring(_strings([b"w"] * count), _strings([text[:-1] for text in slices]))


def _rows(count: int) -> Tensors:
    """A tensor of 100,000 rows, of which the first ones are there."""
    return {"w": Saved(np.zeros(100_000, np.float32), slices=[((n, 1),) for n in range(count)])}


_add("parts-not-stored", "20,000 parts of a tensor with 1,000 slices", lambda: _parts(20_000), lambda: _rows(1000))


def _shared() -> MetaGraphDef:
    """Variables that are restored under a name of their own and one that all share."""
    meta = _restoring(
        _strings([b"w", *[b"v%d" % n for n in range(1500)]]),
        nodes=[
            node
            for n in range(1500)
            for node in (_variable(f"v{n}", 3), _assign(f"a{n}", f"v{n}", "r"), _assign(f"b{n}", f"v{n}", f"r:{n + 1}"))
        ],
    )
    meta.ClearField("saver_def")  # Then all ops count.
    meta.meta_info_def.tensorflow_version = "1.15.5"
    return meta


_add("names-shared", "1,500 variables that are all restored by one name too", _shared, lambda: _rows(2000))
