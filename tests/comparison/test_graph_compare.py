"""What a graph requires and what a checkpoint has."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import FULL, Saved, write_bundle
from tests.support.expected import FIXTURES
from tfbundle.comparison.graph_check import GraphComparison, MismatchedVariable, MissingVariable
from tfbundle.proto import AttrValue, GraphDef, MetaGraphDef, NodeDef, TensorProto, VariableDef

TRAINING = FIXTURES / "tf-1.15.5" / "training"
PARTIAL = FIXTURES / "tf-1.15.5" / "partial-savers"


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("tf-*/*/*.meta")), ids=lambda path: "/".join(path.parts[-3:]))
def test_a_graph_fits_the_checkpoint_beside_it(path: Path) -> None:
    if path.name == "exported.meta":  # It belongs to none.
        path = path.with_name("list.ckpt.meta")
    result = tfbundle.compare_graph(path, path)
    assert result.ok
    assert (result.missing, result.mismatched, result.unexpected) == ((), (), ())
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert set(result.matched) == set(checkpoint)


@pytest.mark.parametrize("name", ["graph.pb", "graph.pbtxt"])
def test_a_graph_without_its_saver(name: str) -> None:
    for folder in sorted(FIXTURES.glob("tf-*/training")):
        if (folder / name).exists():
            result = tfbundle.compare_graph(folder / name, folder)
            assert result.ok
            assert result.unexpected == ()


def test_paths_or_what_was_opened() -> None:
    wanted = tfbundle.compare_graph(TRAINING / "model.ckpt-40.meta", TRAINING)
    meta = tfbundle.load_meta_graph(TRAINING)
    with tfbundle.open_checkpoint(TRAINING) as checkpoint:
        for graph in (meta, str(TRAINING), TRAINING / "model.ckpt-40"):
            assert tfbundle.compare_graph(graph, checkpoint) == wanted
        assert set(tfbundle.compare_graph(meta.graph, checkpoint).matched) == set(wanted.matched)
        assert checkpoint["fc1/weights"].read().shape == (64, 12)  # It is still open.


def test_savers_of_a_part() -> None:
    result = tfbundle.compare_graph(PARTIAL / "list.ckpt.meta", PARTIAL / "renamed.ckpt")
    assert not result.ok
    assert {item.name for item in result.missing} == {"vgg_feat_fc/weights", "global_step"}
    assert result.unexpected == ("old/b", "old/w")
    by_name = {item.name: item for item in result.missing}
    assert by_name["vgg_feat_fc/weights"].shape == (6, 4)
    assert by_name["global_step"].data_type == "DT_INT32"
    assert "missing: 'vgg_feat_fc/weights' DT_FLOAT [6,4]" in str(result)
    assert repr(result) == f"<GraphComparison {result.summary}>"


def test_a_graph_that_names_no_saver_is_content_with_any_of_its_names() -> None:
    graph = tfbundle.load_graph(PARTIAL / "exported.meta")
    result = tfbundle.compare_graph(graph, PARTIAL / "renamed.ckpt")
    assert set(result.matched) == {"old/b", "old/w"}
    # One saver takes these under their own names, and the checkpoint has them under no name.
    assert "vgg_feat_fc/weights" in {item.name for item in result.missing}
    assert not {"head/fc/weights", "head/fc/biases"} & {item.name for item in result.missing}


def test_shapes_and_types_that_differ() -> None:
    result = tfbundle.compare_graph(FIXTURES / "tf-1.15.5" / "saved-model-of-two" / "model", TRAINING)
    (item,) = result.mismatched
    assert (item.name, item.data_type, item.found_data_type) == ("global_step", "DT_INT32", "DT_INT64")
    assert "'global_step' is DT_INT64 [], but the graph requires DT_INT32 []" in str(result)


def test_a_frozen_graph_requires_nothing() -> None:
    result = tfbundle.compare_graph(FIXTURES / "tf-1.15.5" / "frozen" / "frozen.pb", TRAINING)
    assert result.ok
    assert result.matched == ()
    assert len(result.unexpected) == 19
    assert result.summary.endswith("frozen.pb requires no variables, as if it were frozen")


# Graphs made for the purpose.


def variable(name: str, *shape: int, op: str = "VarHandleOp", data_type: int = 1) -> NodeDef:
    dims = [{"size": size} for size in shape]
    attributes = {"shape": AttrValue(shape={"dim": dims}), "dtype": AttrValue(type=data_type)}  # type: ignore[arg-type]
    return NodeDef(name=name, op=op, attr=attributes)


def graph_of(*nodes: NodeDef) -> tfbundle.Graph:
    return tfbundle.Graph(GraphDef(node=nodes))


def save(folder: Path, arrays: dict[str, tuple[int, ...]]) -> Path:
    write_bundle(folder / "model", {name: np.zeros(shape, "f4") for name, shape in arrays.items()})
    return folder / "model"


@pytest.mark.parametrize("op", ["VarHandleOp", "VariableV2", "Variable", "AutoReloadVariable"])
def test_every_op_that_holds_a_variable(op: str, tmp_path: Path) -> None:
    graph = graph_of(variable("a", 2, op=op), variable("b", 3, op=op), NodeDef(name="init", op="VarIsInitializedOp"))
    result = tfbundle.compare_graph(graph, save(tmp_path, {"a": (2,), "c": (3,)}))
    assert (result.matched, result.unexpected) == (("a",), ("c",))
    assert [item.name for item in result.missing] == ["b"]


def test_unknown_dimensions_fit_any(tmp_path: Path) -> None:
    prefix = save(tmp_path, {"a": (2, 3)})
    assert tfbundle.compare_graph(graph_of(variable("a", -1, 3)), prefix).ok
    assert not tfbundle.compare_graph(graph_of(variable("a", -1, 4)), prefix).ok
    assert not tfbundle.compare_graph(graph_of(variable("a", -1)), prefix).ok
    node = NodeDef(name="a", op="VarHandleOp", attr={"dtype": AttrValue(type=1)})
    assert tfbundle.compare_graph(graph_of(node), prefix).ok


@pytest.mark.parametrize(
    ("wanted", "stored", "suggestion"),
    [
        ("w", {"model/w": (2,)}, "model/w"),
        ("model/w", {"w": (2,)}, "w"),
        ("model/w", {"w": (3,)}, None),
        ("resnet_v1_50/conv1/weights", {"resnet_v1_101/conv1/weights": (2,)}, "resnet_v1_101/conv1/weights"),
        ("model/w", {"a/b/c/d/model/w": (2,), "x/model/w": (2,)}, "x/model/w"),
        ("dense/kernel", {"entirely/other": (2,)}, None),
        ("w/Adam", {"v": (2,), "v/Adam": (2,)}, None),
        ("net/w/ExponentialMovingAverage", {"net/w": (2,), "net/v": (2,)}, "net/w"),
        ("net/w", {"net/w/ExponentialMovingAverage": (2,), "net/v": (2,)}, "net/w/ExponentialMovingAverage"),
        ("net/w", {"net": (2,), "net/v": (2,), "x/net/w": (2,)}, "x/net/w"),
    ],
)
def test_suggestions(wanted: str, stored: dict[str, tuple[int, ...]], suggestion: str | None, tmp_path: Path) -> None:
    result = tfbundle.compare_graph(graph_of(variable(wanted, 2)), save(tmp_path, stored))
    (item,) = result.missing
    assert item.suggestion == suggestion
    assert (f"is it {suggestion!r}?" in str(result)) == (suggestion is not None)


def test_a_partitioned_variable_is_one(tmp_path: Path) -> None:
    definitions = []
    for part in range(2):
        definition = VariableDef(variable_name=f"w/part_{part}:0")
        definition.save_slice_info_def.full_name = "w"
        definition.save_slice_info_def.full_shape.extend([4, 3])
        definition.save_slice_info_def.var_offset.extend([2 * part, 0])
        definition.save_slice_info_def.var_shape.extend([2, 3])
        definitions.append(definition.SerializeToString())
    proto = MetaGraphDef(
        graph_def=GraphDef(node=[variable(f"w/part_{part}", 2, 3) for part in range(2)]),
    )
    proto.collection_def["variables"].bytes_list.value.extend(definitions)
    meta = tfbundle.MetaGraph(proto)
    whole = Saved(np.zeros((4, 3), "f4"), slices=[((0, 2), FULL), ((2, 2), FULL)])
    write_bundle(tmp_path / "model", {"w": whole})
    assert meta.variables() == ["w"]
    assert tfbundle.compare_graph(meta, tmp_path / "model").matched == ("w",)
    (item,) = tfbundle.compare_graph(meta, save(tmp_path, {"w": (2, 3)})).mismatched
    assert (item.shape, item.found_shape) == ((4, 3), (2, 3))


def test_parts_that_only_their_names_identify(tmp_path: Path) -> None:
    """As in a ``graph.pbtxt`` that was written before there was a saver."""
    parts = [("w/part_0", 2, 3), ("w/part_1", 1, 3), ("w/part_0/Adam", 2, 3), ("w/part_1/Adam", 1, 3)]
    graph = graph_of(*(variable(name, *shape) for name, *shape in parts), variable("b/part_0", 2))
    whole = Saved(np.zeros((3, 3), "f4"), slices=[((0, 2), FULL), ((2, 1), FULL)])
    write_bundle(tmp_path / "model", {"w": whole, "w/Adam": whole, "b": np.zeros(2, "f4")})
    result = tfbundle.compare_graph(graph, tmp_path / "model")
    assert result.ok
    assert (result.matched, result.unexpected) == (("w", "w/Adam", "b"), ())
    write_bundle(tmp_path / "model", {"w": Saved(np.zeros((3, 3), "f8"), slices=whole.slices), "w/Adam": whole})
    result = tfbundle.compare_graph(graph, tmp_path / "model")
    assert [item.name for item in result.missing] == ["w/part_0", "w/part_1", "b/part_0"]


def test_a_partitioned_variable_without_its_saver(tf: Any, tmp_path: Path) -> None:
    tf1 = tf.compat.v1
    with tf1.Graph().as_default() as graph, tf1.Session() as session:
        with tf1.variable_scope("net", partitioner=tf1.fixed_size_partitioner(3)):
            weights = tf1.convert_to_tensor(tf1.get_variable("w", [10, 4]))
        tf1.train.AdamOptimizer().minimize(tf1.reduce_sum(weights))
        tf1.train.write_graph(graph, str(tmp_path), "graph.pbtxt")
        session.run(tf1.global_variables_initializer())
        prefix = tf1.train.Saver().save(session, str(tmp_path / "model"))
    result = tfbundle.compare_graph(tmp_path / "graph.pbtxt", prefix)
    assert result.ok
    assert {"net/w", "net/w/Adam", "net/w/Adam_1"} < set(result.matched)
    assert result.unexpected == ()


@pytest.mark.effort
def test_a_great_many_names_take_no_time(tmp_path: Path) -> None:
    """Each of them is like each other, and may be as long as the file."""
    stored = {f"encoder/layer_{number}/attention/query/kernel": (2,) for number in range(5000)}
    prefix = save(tmp_path, {**stored, "a" * 50_000: (2,)})
    wanted = [variable(name.replace("encoder", "model/decoder").replace("_", ""), 2) for name in stored]
    start = time.perf_counter()
    result = tfbundle.compare_graph(graph_of(*wanted, variable("a" * 49_999, 2)), prefix)
    assert len(result.missing) == 5001
    assert result.missing[0].suggestion in stored
    assert result.missing[100].suggestion is None
    assert time.perf_counter() - start < 30


def test_names_of_variables_in_an_object_based_checkpoint(tmp_path: Path) -> None:
    folder = FIXTURES / "tf-2.15.1" / "keras-saved-model" / "model"
    with tfbundle.open_checkpoint(folder) as checkpoint:
        assert "conv/kernel" not in checkpoint
        result = tfbundle.compare_graph(graph_of(variable("conv/kernel", 3, 3, 1, 4)), checkpoint)
        assert result.matched == ("layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE",)
        assert not tfbundle.compare_graph(graph_of(variable("conv/kernel", 3)), checkpoint).ok


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.compare_graph(TRAINING, tmp_path / "absent")
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.compare_graph(tmp_path / "absent", TRAINING)
    shutil.copy(TRAINING / "graph.pb", tmp_path / "graph.pb")
    with pytest.raises(tfbundle.UnsupportedError, match="is a GraphDef"):
        tfbundle.compare_graph(TRAINING, tmp_path / "graph.pb")


# Partitioned variables, as TensorFlow cuts them, and which of the parts are saved.
PARTS = {
    "rows": ([3, 1], [0, 1, 2]),
    "one of the rows": ([3, 1], [1]),
    "halves": ([2, 1], [0, 1]),
    "columns": ([1, 2], [0, 1]),
    "all but a column": ([1, 3], [0, 2]),
}


def test_parts_as_tensorflow_restores_them(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    for name, (cuts, saved) in PARTS.items():
        with tf.Graph().as_default(), v1.Session() as session:
            parts = v1.create_partitioned_variables([10, 6], cuts, v1.ones_initializer(), name="emb")
            session.run(v1.global_variables_initializer())
            v1.train.Saver([parts[number] for number in saved]).save(session, str(tmp_path / name))
    for graph in PARTS:
        with tf.Graph().as_default(), v1.Session() as session:
            saver = v1.train.import_meta_graph(str(tmp_path / f"{graph}.meta"))
            for checkpoint in PARTS:
                try:
                    saver.restore(session, str(tmp_path / checkpoint))
                    restored = True
                except (tf.errors.OpError, ValueError):
                    restored = False
                result = tfbundle.compare_graph(tmp_path / f"{graph}.meta", tmp_path / checkpoint)
                assert result.ok == restored, (graph, checkpoint)
                assert len(result.matched) + len(result.mismatched) == 1
    (item,) = tfbundle.compare_graph(tmp_path / "halves.meta", tmp_path / "one of the rows").mismatched
    assert item.absent == "[0:5, 0:6]"
    assert str(item) == "'emb' was saved in part, without all of [0:5, 0:6], which the graph requires"


@pytest.mark.parametrize(
    ("part", "absent"),
    [
        ("0,2:-", None),
        ("0,3:-", "[0:3, 0:3]"),
        ("", "[0:4, 0:3]"),
        ("3,2:-", "3,2:-"),
        ("0,1", "0,1"),
        ("1,1:1,1", None),
    ],
)
def test_parts_of_a_graph(tmp_path: Path, part: str, absent: str | None) -> None:
    write_bundle(tmp_path / "model", {"w": Saved(np.zeros((4, 3)), slices=[((0, 2), FULL)])})
    graph = GraphDef()
    for name, text in (("names", "w"), ("slices", f"4 3 {part}" if part else "")):
        tensor = TensorProto(dtype=7, string_val=[text.encode()])
        tensor.tensor_shape.dim.add(size=1)
        graph.node.add(name=name, op="Const").attr["value"].tensor.CopyFrom(tensor)
    restore = graph.node.add(name="restore", op="RestoreV2", input=["prefix", "names", "slices"])
    restore.attr["dtypes"].list.type.append(2)
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    result = tfbundle.compare_graph(tmp_path / "graph.pb", tmp_path / "model")
    assert result.ok == (absent is None)
    assert [item.absent for item in result.mismatched] == ([] if absent is None else [absent])


# Variables of TensorFlow 2, whose keys say how the saved object leads to them.


@pytest.fixture(scope="module")
def models(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as a SavedModel and as checkpoints of two objects, and another whose variables share a name."""

    class Layer(tf.Module):  # type: ignore[misc]
        def __init__(self, name: str, inputs: int, outputs: int) -> None:
            super().__init__(name=name)
            with self.name_scope:
                self.kernel = tf.Variable(tf.ones([inputs, outputs]), name="kernel")
                self.bias = tf.Variable(tf.zeros([outputs]), name="bias")

    class Model(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Layer("dense", 4, 3), Layer("dense_1", 3, 2)

    class Nameless(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.x, self.y, self.z = tf.Variable([1.0]), tf.Variable([1.0, 2.0]), tf.Variable([3.0])

    folder = tmp_path_factory.mktemp("models")
    for name, model in (("named", Model()), ("nameless", Nameless())):
        tf.saved_model.save(model, str(folder / name))
        tf.train.Checkpoint(model=model).write(str(folder / f"{name}.ckpt"))
        tf.train.Checkpoint(model).write(str(folder / f"{name}-itself.ckpt"))
    tf.train.Checkpoint(x=tf.Variable([1.0]), y=tf.Variable([1.0])).write(str(folder / "fewer.ckpt"))
    return folder


@pytest.mark.parametrize("checkpoint", ["named.ckpt", "named-itself.ckpt", "named"])
def test_a_saved_model_and_a_checkpoint_of_one_model(models: Path, checkpoint: str) -> None:
    result = tfbundle.compare_graph(models / "named", models / checkpoint)
    assert (result.ok, result.missing, result.mismatched, result.unexpected) == (True, (), (), ())
    way = "model/" if checkpoint == "named.ckpt" else ""
    assert set(result.matched) == {
        f"{way}{layer}/{variable}/.ATTRIBUTES/VARIABLE_VALUE"
        for layer in ("first", "second")
        for variable in ("kernel", "bias")
    }
    assert result.summary == "ok: 4 of 4 variables match"
    difference = tfbundle.diff(models / "named", models / checkpoint)
    assert (difference.added, difference.removed) == ((), ())
    assert {change.name for change in difference.changed} <= {"_CHECKPOINTABLE_OBJECT_GRAPH"}


def test_variables_that_share_a_name(models: Path) -> None:
    """Each tensor stands for one of them, and one of another type or shape is a mismatch."""
    result = tfbundle.compare_graph(models / "nameless", models / "nameless.ckpt")
    assert result.ok
    assert len(result.matched) == 3
    assert result.unexpected == ()
    result = tfbundle.compare_graph(models / "nameless", models / "fewer.ckpt")
    assert len(result.matched) == 1
    assert [item.found_shape for item in result.mismatched] == [(1,)]
    assert [item.name for item in result.missing] == ["z/.ATTRIBUTES/VARIABLE_VALUE"]


def test_names_of_variables_in_a_checkpoint_without_objects(models: Path, tmp_path: Path) -> None:
    """What ``tf.compat.v1.train.Saver`` writes goes by the variables' own names."""
    shapes = {"dense/kernel": (4, 3), "dense/bias": (3,), "dense_1/kernel": (3, 2), "dense_1/bias": (7,)}
    write_bundle(tmp_path / "model", {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    result = tfbundle.compare_graph(models / "named", tmp_path / "model")
    assert result.matched == ("dense/kernel", "dense/bias", "dense_1/kernel")
    (item,) = result.mismatched
    assert (item.name, item.shape, item.found_shape) == ("dense_1/bias", (2,), (7,))
    assert result.summary == "not ok: 3 of 4 variables match, 1 has another dtype or shape"


@pytest.mark.parametrize("version", ["2.15.1", "2.21.0"])
def test_a_model_that_keras_stores_twice(tf: Any, version: str, tmp_path: Path) -> None:
    """Each variable and its copy in the graph stand for the one that the checkpoint has, and the other way."""
    model = FIXTURES / f"tf-{version}" / "keras-saved-model" / "model"
    with tfbundle.open_checkpoint(model) as checkpoint:
        assert checkpoint.objects is not None
        variables = [
            tf.Variable(checkpoint[key].read(), name=name)
            for key, name in checkpoint.objects.variable_names.items()
            if not key.startswith("_all_variables/")
        ]
    tf.train.Checkpoint(v=variables).write(str(tmp_path / "model"))
    result = tfbundle.compare_graph(model, tmp_path / "model")
    assert (result.ok, result.unexpected) == (True, ())
    assert len(result.matched) == len(variables)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1, 0, 0, 0), "ok: 1 of 1 variable matches"),
        ((2, 0, 0, 1), "ok: 2 of 2 variables match, the graph does not use 1 tensor of the checkpoint"),
        ((1, 1, 1, 2), "not ok: 1 of 3 variables match, 1 is missing, 1 has another dtype or shape, "
         "the graph does not use 2 tensors of the checkpoint"),
        ((0, 2, 2, 0), "not ok: 0 of 4 variables match, 2 are missing, 2 have another dtype or shape"),
    ],
)  # fmt: skip
def test_the_summary_is_a_sentence(counts: tuple[int, int, int, int], words: str) -> None:
    matched, missing, mismatched, unexpected = counts
    names = ("a", "b")
    result = GraphComparison(
        "graph.pb",
        "model",
        names[:matched],
        tuple(MissingVariable(name, None, None, None, None) for name in names[:missing]),
        tuple(MismatchedVariable(name, None, None, None, "DT_FLOAT", ()) for name in names[:mismatched]),
        names[:unexpected],
    )
    assert result.summary == words
