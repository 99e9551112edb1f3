"""Limits that hold for all of a graph together, and not for each of its parts: on either side of each limit."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle.formats.wire import walk_fields
from tfbundle.graph.attributes import Expansion
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_KEYS, MOST_OUTPUTS
from tfbundle.open_tensors import open_tensors
from tfbundle.proto import AttrValue, GraphDef, MetaGraphDef, TensorProto
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
def test_keys_of_variables_behind_long_names(variables: int, refused: bool, tmp_path: Path) -> None:
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


def test_fields_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    source = LocalSource(str(FIXTURES / "tf-1.15.5" / "frozen" / "frozen.pb"))
    reads: list[int] = []
    read_at = LocalSource.read_at

    def count(self: LocalSource, offset: int, size: int) -> bytes:
        reads.append(size)
        return read_at(self, offset, size)

    monkeypatch.setattr(LocalSource, "read_at", count)
    fields = list(walk_fields(source, 0, source.size))
    data = read_at(source, 0, source.size)
    source.close()
    assert GraphDef.FromString(b"".join(data[a.offset - 2 : a.offset + a.size] for a in fields[:1])).node
    assert len(fields) > 5
    assert len(fields) > 15
    assert len(reads) <= 6  # Each has twice the bytes of the one before.
