"""Limits that hold for all of a graph together, and not for each of its parts: on either side of each limit."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle.formats.wire import message_fields, walk_fields
from tfbundle.graph.attributes import Expansion
from tfbundle.graph.graph import Graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.required_variables import required_variables
from tfbundle.limits import (
    LARGEST_EXPANSION,
    LARGEST_KEYS,
    MOST_OUTPUT_LISTS,
    MOST_OUTPUTS,
    MOST_RESTORED_DIMENSIONS,
)
from tfbundle.open_tensors import open_tensors
from tfbundle.proto import AttrValue, FunctionDef, GraphDef, MetaGraphDef, NodeDef, OpDef, TensorProto
from tfbundle.storage.local import LocalSource

MB = 1 << 20


def _expanding(megabytes: int) -> TensorProto:
    """A tensor that states two of its floats and leaves out the others."""
    tensor = TensorProto(dtype=1, float_val=[1, 2])
    tensor.tensor_shape.dim.add(size=megabytes * MB // 4)
    return tensor


def test_tensors_that_are_kept_together_share_one_limit() -> None:
    most = LARGEST_EXPANSION // MB
    shared = Expansion()
    assert shared.decode(_expanding(most // 2)).nbytes == LARGEST_EXPANSION // 2
    assert shared.decode(_expanding(most // 2)).nbytes == LARGEST_EXPANSION // 2
    with pytest.raises(tfbundle.UnsupportedError, match="together"):
        shared.decode(_expanding(1))
    single = TensorProto(dtype=1, float_val=[1])
    single.tensor_shape.dim.add(size=1 << 40)
    assert Expansion().decode(single).nbytes == 4 << 40  # One value that repeats takes no memory.


def test_lists_of_tensors_in_an_attribute(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    for count in (2, 3):
        node = GraphDef().node.add(name="n", op="X")
        node.attr["x"].list.tensor.extend([_expanding(LARGEST_EXPANSION // MB // 2)] * count)
        path.write_bytes(GraphDef(node=[node]).SerializeToString())
        attributes = tfbundle.load_graph(path).nodes["n"].attributes
        if count == 2:
            assert len(attributes["x"]) == 2
        else:
            with pytest.raises(tfbundle.UnsupportedError):
                attributes["x"]


def test_defaults_of_all_signatures_together(tmp_path: Path) -> None:
    meta = MetaGraphDef()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.node.add(name="n", op="NoOp")
    for number in range(3):
        meta.signature_def[f"s{number}"].defaults["x"].CopyFrom(_expanding(LARGEST_EXPANSION // MB // 2))
    path = tmp_path / "model.meta"
    path.write_bytes(meta.SerializeToString())
    with pytest.raises(tfbundle.UnsupportedError):
        tfbundle.load_meta_graph(path).signatures  # noqa: B018
    del meta.signature_def["s0"]
    path.write_bytes(meta.SerializeToString())
    assert set(tfbundle.load_meta_graph(path).signatures) == {"s1", "s2"}


def test_constants_of_a_frozen_graph_together(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    for megabytes, whole in ((LARGEST_EXPANSION // MB // 4, True), (LARGEST_EXPANSION // MB // 3 + 1, False)):
        graph = GraphDef()
        for number in range(3):
            node = graph.node.add(name=f"c{number}", op="Const")
            node.attr["value"].tensor.CopyFrom(_expanding(megabytes))
        graph.node.add(name="small", op="Const").attr["value"].tensor.CopyFrom(TensorProto(dtype=1, float_val=[3]))
        path.write_bytes(graph.SerializeToString())
        with open_tensors(path) as weights:
            assert weights["small"].read() == 3
            if whole:
                assert weights["c1"].read().nbytes == megabytes * MB
            else:
                with pytest.raises(tfbundle.UnsupportedError, match="several constants"):
                    weights["c1"].read()


@pytest.mark.parametrize(("ops", "refused"), [(2, False), (3, True)])
def test_outputs_that_restores_claim_together(ops: int, refused: bool, tmp_path: Path) -> None:
    meta = MetaGraphDef()
    definition = meta.meta_info_def.stripped_op_list.op.add(name="RestoreV2")
    definition.output_arg.add(name="t", type=1, number_attr="n")
    graph = meta.graph_def
    tensor = TensorProto(dtype=7, string_val=[b"w"])
    tensor.tensor_shape.dim.add(size=MOST_OUTPUTS // 2)
    graph.node.add(name="names", op="Const").attr["value"].tensor.CopyFrom(tensor)
    for number in range(ops):
        node = graph.node.add(name=f"r{number}", op="RestoreV2", input=["names", "names", "names"])
        node.attr["n"].CopyFrom(AttrValue(i=MOST_OUTPUTS // 2))
    graph.node.add(name="all", op="NoOp", input=[f"^r{number}" for number in range(ops)])
    meta.saver_def.restore_op_name = "all"
    path = tmp_path / "model.meta"
    path.write_bytes(meta.SerializeToString())
    saver = tfbundle.load_meta_graph(path).saver
    assert saver is not None
    if refused:
        with pytest.raises(tfbundle.UnsupportedError, match="outputs"):
            saver.tensors  # noqa: B018
    else:
        assert [tensor.name for tensor in saver.tensors] == ["w"]


@pytest.mark.parametrize(("variables", "refused"), [(3, False), (5, True)])
def test_keys_of_variables_after_long_names(variables: int, refused: bool, tmp_path: Path) -> None:
    meta = MetaGraphDef()
    meta.graph_def.node.add(name="n", op="NoOp")
    nodes = meta.object_graph_def.nodes
    nodes.add().children.add(node_id=1, local_name="a" * (LARGEST_KEYS // 4))
    owner = nodes.add()
    for number in range(variables):
        owner.children.add(node_id=2 + number, local_name=f"v.{number}")
        nodes.add().variable.dtype = 1
    path = tmp_path / "model.meta"
    path.write_bytes(meta.SerializeToString())
    loaded = tfbundle.load_meta_graph(path)
    if refused:
        with pytest.raises(tfbundle.UnsupportedError, match="keys"):
            loaded.all_variables  # noqa: B018
    else:
        assert loaded.all_variables[2].stored_name.endswith("a/v..2/.ATTRIBUTES/VARIABLE_VALUE")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads of local files."""
    found: list[int] = []
    read_at = LocalSource.read_at

    def count(self: LocalSource, offset: int, size: int) -> bytes:
        found.append(size)
        return read_at(self, offset, size)

    monkeypatch.setattr(LocalSource, "read_at", count)
    return found


def test_fields_are_read_in_blocks(reads: list[int]) -> None:
    source = LocalSource(str(FIXTURES / "tf-1.15.5" / "training" / "graph.pb"))
    fields = list(walk_fields(source, 0, source.size))
    assert len(reads) <= 9  # Each has twice the bytes of the one before.
    data = source.read_at(0, source.size)
    source.close()
    assert fields == list(message_fields(data, 0, len(data)))
    assert len(fields) > 100


@pytest.mark.parametrize("size", [9, 200, 5000, 100_000])
def test_fields_apart_from_each_other(size: int, reads: list[int], tmp_path: Path) -> None:
    """Where a value is long, the block after it begins at the next field, whatever its size is."""
    data = GraphDef(node=[NodeDef(name="a" * size), NodeDef(name="b"), NodeDef(name="c" * size)]).SerializeToString()
    (tmp_path / "graph.pb").write_bytes(data)
    source = LocalSource(str(tmp_path / "graph.pb"))
    assert list(walk_fields(source, 0, len(data))) == list(message_fields(data, 0, len(data)))
    source.close()
    assert sum(reads) < 10_000


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("tf-1.15.5/training", 9),  # The state file too.
        ("tf-1.15.5/training/model.ckpt-40.meta", 8),
        ("tf-2.21.0/keras-saved-model/model", 5),
        ("tf-1.15.5/frozen/frozen.pb", 4),
        ("tf-1.15.5/training/graph.pbtxt", 3),
        ("tf-1.15.5/saved-model-as-text/model", 3),
    ],
)
def test_a_graph_is_loaded_by_few_reads(path: str, most: int, reads: list[int]) -> None:
    """Each would be a request where the storage is not local."""
    tfbundle.load_graph(FIXTURES / path)
    assert 0 < len(reads) <= most


def test_attributes_of_another_kind_than_their_op_requires_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may be a tensor that is far larger than the file, in any number of nodes."""
    meta = MetaGraphDef()
    graph = meta.graph_def
    names = TensorProto(dtype=7, string_val=[b"w"])
    names.tensor_shape.dim.add(size=1)
    graph.node.add(name="names", op="Const").attr["value"].tensor.CopyFrom(names)
    graph.node.add(name="r", op="RestoreV2", input=["p", "names", "names"]).attr["dtypes"].list.type.append(1)
    variable = graph.node.add(name="v", op="VariableV2")
    assign = graph.node.add(name="a", op="Assign", input=["v", "r"])
    for node, names_of_attributes in ((variable, ("shape",)), (assign, ("validate_shape",))):
        for name in names_of_attributes:
            node.attr[name].tensor.CopyFrom(_expanding(1))
    meta.saver_def.restore_op_name = "a"
    path = tmp_path / "model.meta"
    path.write_bytes(meta.SerializeToString())

    def decode(proto: TensorProto) -> None:
        raise AssertionError("it is decoded")

    monkeypatch.setattr("tfbundle.graph.attributes.decode_tensor", decode)
    loaded = tfbundle.load_meta_graph(path)
    assert loaded.saver is not None
    (restored,) = loaded.saver.tensors
    assert (restored.name, restored.variable, restored.shape) == ("w", "v", None)
    assert [item.data_type for item in required_variables(loaded.graph)] == ["DT_FLOAT"]


@pytest.mark.parametrize(("lists", "refused"), [(MOST_OUTPUT_LISTS, False), (MOST_OUTPUT_LISTS + 1, True)])
def test_outputs_that_are_lists(lists: int, refused: bool) -> None:
    """They have to be counted for each tensor that is looked up; any other output is found at once."""
    definition = OpDef(name="X")
    for number in range(lists):
        definition.output_arg.add(name=f"list{number}", type=1, number_attr="N")
        definition.output_arg.add(name=f"one{number}", type=3)
    function = FunctionDef(signature=OpDef(name="f"))
    node = function.node_def.add(name="x", op="X")
    node.attr["N"].i = 10
    graph = Graph(GraphDef(node=[node]), op_definitions=[definition])
    graph.proto.library.function.add().CopyFrom(function)
    if refused:
        with pytest.raises(tfbundle.FormatError, match="outputs that are lists"):
            graph.get("x:0")
        return
    body = Graph(graph.proto, op_definitions=[definition]).functions["f"]
    outputs = graph.nodes["x"].outputs
    assert outputs is not None
    assert len(outputs) == 11 * lists
    for index, output in enumerate(outputs):
        place, number = divmod(index, 11)
        name = f"x:list{place}:{number}" if number < 10 else f"x:one{place}:0"
        assert body[name].index == index
        assert body[name].data_type == output.data_type == ("DT_FLOAT" if number < 10 else "DT_INT32")
        assert graph[f"x:{index}"] == output
    for absent in ("x:list0:10", "x:one0:1", "x:other:0", f"x:list{lists}:0"):
        assert body.get(absent) is None
    assert graph.get(f"x:{11 * lists}") is None


def test_outputs_of_one_node_together() -> None:
    definition = OpDef(name="X")
    for name in ("a", "b"):
        definition.output_arg.add(name=name, type=1, number_attr="N")
    for count in (MOST_OUTPUTS // 2, MOST_OUTPUTS // 2 + 1):
        node = GraphDef().node.add(name="x", op="X")
        node.attr["N"].i = count
        loaded = Graph(GraphDef(node=[node]), op_definitions=[definition])
        if count * 2 <= MOST_OUTPUTS:
            assert len(loaded.nodes["x"].outputs or ()) == MOST_OUTPUTS
        else:
            with pytest.raises(tfbundle.FormatError, match="outputs"):
                loaded.nodes["x"].outputs  # noqa: B018


@pytest.mark.parametrize(("count", "refused"), [(2, False), (3, True)])
def test_dimensions_of_restored_tensors_together(count: int, refused: bool, tmp_path: Path) -> None:
    """One slice may be that of many tensors, and costs each of them a shape."""
    dimensions = MOST_RESTORED_DIMENSIONS // 2
    meta = MetaGraphDef()
    for name, values in (("names", [b"w%d" % number for number in range(count)]), ("slices", [b"1 " * dimensions])):
        tensor = TensorProto(dtype=7, string_val=values)
        tensor.tensor_shape.dim.add(size=count)
        meta.graph_def.node.add(name=name, op="Const").attr["value"].tensor.CopyFrom(tensor)
    restore = meta.graph_def.node.add(name="r", op="RestoreV2", input=["p", "names", "slices"])
    restore.attr["dtypes"].list.type.extend([1] * count)
    meta.saver_def.restore_op_name = "r"
    saver = MetaGraph(meta).saver
    assert saver is not None
    if refused:
        with pytest.raises(tfbundle.UnsupportedError, match="dimensions"):
            saver.tensors  # noqa: B018
    else:
        assert [len(tensor.shape or ()) for tensor in saver.tensors] == [dimensions] * count
