"""Graphs that the installed TensorFlow builds: the same answers from the file as from TensorFlow itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle.graph.collections import MESSAGE_NAMES
from tfbundle.graph.node import Output
from tfbundle.graph.op_outputs import _decode_definition, _known_ops
from tfbundle.proto import GraphDef, OpDef
from tfbundle.tensors.dtypes import data_type_name


def build(tf: Any) -> Any:
    """A graph with ops whose outputs are of many kinds."""
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        images = v1.placeholder(tf.float32, [None, 8, 8, 3], name="images")
        anything = v1.placeholder(tf.float32, name="anything")
        labels = v1.placeholder(tf.int64, [None], name="labels")
        kernel = v1.get_variable("conv/kernel", [3, 3, 3, 4], use_resource=False)
        bias = v1.get_variable("conv/bias", [4], use_resource=True)
        hidden = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME") + bias)
        flat = tf.reshape(hidden, [-1, 256])
        logits = tf.matmul(flat, tf.ones([256, 10]), name="logits")
        tf.argmax(logits, 1, name="best")
        tf.argmax(logits, 1, tf.int32, name="best32")
        tf.nn.top_k(logits, 3, name="top")
        tf.split(logits, 5, 1, name="parts")
        tf.split(logits, [3, 7], 1, name="uneven")
        tf.unstack(tf.ones([3, 2]), name="rows")
        tf.unique(labels, name="unique")
        tf.shape(images, name="shape")
        tf.shape(images, tf.int64, name="shape64")
        tf.cast(labels, tf.bfloat16, name="cast")
        tf.equal(labels, 3, name="equal")
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits, name="loss")
        tf.identity(anything, name="whatever")
        tf.strings.as_string(labels, name="strings")
        tf.complex(1.0, 2.0, name="complex")
        v1.py_func(lambda x: (x, x), [labels], [tf.int64, tf.float64], name="python")
        tf.while_loop(lambda i: i < 3, lambda i: i + 1, [tf.constant(0)], name="loop")
        tf.cond(labels[0] > 1, lambda: tf.constant(1.0), lambda: tf.constant(2.0), name="branch")
        tf.linalg.svd(tf.ones([2, 2]), name="svd")
        tf.quantization.quantize(logits, 0.0, 1.0, tf.quint8, name="quantize")
        tf.raw_ops.FIFOQueueV2(component_types=[tf.float32])
        tf.raw_ops.DecodeCSV(records=["1,a"], record_defaults=[[0], [""]], name="csv")
        v1.placeholder_with_default(tf.zeros([2, 2]), [None, 2], name="default")
        v1.global_variables_initializer()
    return graph


def check_outputs(tf: Any, graph: tfbundle.Graph, imported: Any, *, with_shapes: bool) -> int:
    """Hold every tensor of a graph against TensorFlow's, and count them."""
    count = 0
    for operation in imported.get_operations():
        node = graph.nodes[operation.name]
        assert node.op == operation.type
        assert node.inputs == tuple(tensor.name for tensor in operation.inputs)
        assert sorted(node.control_inputs) == sorted(before.name for before in operation.control_inputs)
        assert node.outputs is not None, operation
        assert len(node.outputs) == len(operation.outputs)
        for output, tensor in zip(node.outputs, operation.outputs, strict=True):
            count += 1
            assert output == graph[tensor.name]
            assert tf.as_dtype(tensor.dtype.base_dtype.as_datatype_enum).name == tf_name(output), tensor
            if with_shapes:
                assert output.shape == tf_shape(tensor.shape), tensor
            elif output.shape is not None:
                assert tensor.shape.is_compatible_with(output.shape), tensor
    return count


def tf_name(output: Output) -> str:
    from tfbundle.tensors.dtypes import python_name

    assert output.data_type is not None
    return python_name(output.data_type)


def tf_shape(shape: Any) -> Any:
    return None if shape.rank is None else tuple(shape.as_list())


@pytest.mark.parametrize("with_shapes", [False, True])
def test_every_tensor(tf: Any, tmp_path: Path, with_shapes: bool) -> None:
    built = build(tf)
    proto = built.as_graph_def(add_shapes=with_shapes)
    (tmp_path / "graph.pb").write_bytes(proto.SerializeToString())
    graph = tfbundle.load_graph(tmp_path / "graph.pb")
    assert check_outputs(tf, graph, built, with_shapes=with_shapes) > 100


def test_every_tensor_of_functions(tf: Any, tmp_path: Path) -> None:
    @tf.function
    def run(x: Any, n: Any) -> Any:
        top = tf.math.top_k(x, 2)
        parts = tf.split(x, 2)
        for _ in tf.range(n):
            x = tf.where(tf.reduce_any(x > 0), x * 2.0, tf.exp(x))
        return x, top.indices, parts[1]

    function = run.get_concrete_function(tf.TensorSpec([4], tf.float32), tf.TensorSpec([], tf.int32))
    proto = tf.Graph().as_graph_def()
    proto = function.graph.as_graph_def(add_shapes=True)
    proto.library.function.append(function.function_def)
    (tmp_path / "graph.pb").write_bytes(proto.SerializeToString())
    graph = tfbundle.load_graph(tmp_path / "graph.pb")
    check_outputs(tf, graph, function.graph, with_shapes=True)
    body = graph.functions[function.function_def.signature.name]
    assert [argument.name for argument in body.inputs.values()] == [
        arg.name for arg in function.function_def.signature.input_arg
    ]
    for output, tensor in zip(body.outputs.values(), function.outputs, strict=True):
        assert tf_name(body[output]) == tensor.dtype.name
    for name, node in body.nodes.items():
        if name in [operation.name for operation in function.graph.get_operations()]:
            tensors = function.graph.get_operation_by_name(name).outputs
            assert [tf_name(output) for output in node.outputs or ()] == [tensor.dtype.name for tensor in tensors]


@pytest.mark.parametrize("model", ["saved-model-with-asset", "keras-saved-model"])
def test_signatures_of_functions(tf: Any, model: str) -> None:
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

    path = FIXTURES / "tf-2.21.0" / model / "model"
    graph = tfbundle.load_graph(path)
    library = tf.compat.v1.GraphDef.FromString(graph.proto.SerializeToString()).library
    assert len(library.function) > 4
    with tf.Graph().as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef(library=library), name="")
        for proto in library.function:
            expected = function_def_to_graph(proto)
            signature = graph.functions[proto.signature.name].signature
            for ours, theirs in ((signature.inputs, expected.inputs), (signature.outputs, expected.outputs)):
                for argument, tensor in zip(ours.values(), theirs, strict=True):
                    dtype = tf.as_dtype(tensor.dtype)
                    assert argument.data_type == data_type_name(dtype.as_datatype_enum)
                    if argument.shape is not None:
                        assert tensor.shape.is_compatible_with(argument.shape)


def test_the_table_of_ops_is_that_of_tensorflow(tf: Any) -> None:
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    registered = op_def_pb2.OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList())).op
    known = _known_ops()
    compared = 0
    for definition in registered:
        lists = _decode_definition(OpDef.FromString(definition.SerializeToString()))
        if definition.name not in known:
            continue  # TensorFlow is newer than the table.
        compared += 1
        wanted = known[definition.name]
        if len(lists) == 1:
            lists = (lists[0]._replace(name=""),)
        if any(output.type_list for output in lists):
            lists = tuple(output._replace(type="") if output.type_list else output for output in lists)
        assert lists == wanted, definition.name
    assert compared > 1500


def test_messages_in_collections_are_those_that_tensorflow_registers(tf: Any) -> None:
    from tensorflow.python.framework import ops

    registry = ops._proto_function_registry
    names = {name: ops.get_collection_proto_type(name).DESCRIPTOR.name for name in registry.list()}
    assert names == MESSAGE_NAMES


# MetaGraphs.


@pytest.fixture
def exported(tf: Any, tmp_path: Path) -> tuple[Any, Path]:
    """A graph with collections of every kind, and its MetaGraph."""
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        with v1.variable_scope("a"):
            v1.get_variable("w", [2, 3])
            v1.get_variable("frozen", [2], trainable=False)
            v1.get_variable("handle", [3], use_resource=True)
        with v1.variable_scope("a_2", partitioner=v1.fixed_size_partitioner(3)):
            v1.get_variable("split", [7, 2])
        v1.get_variable("local", [], collections=[v1.GraphKeys.LOCAL_VARIABLES], trainable=False)
        v1.train.get_or_create_global_step()
        queue = tf.queue.FIFOQueue(3, [tf.float32], name="queue")
        v1.train.add_queue_runner(v1.train.QueueRunner(queue, [queue.enqueue(1.0)]))
        tf.compat.v1.disable_control_flow_v2()
        v1.while_loop(lambda i: i < 3, lambda i: i + 1, [tf.constant(0)])
        v1.cond(tf.constant(True), lambda: tf.constant(1), lambda: tf.constant(2))
        tf.compat.v1.enable_control_flow_v2()
        v1.add_to_collection("names", tf.constant(1.0, name="listed"))
        v1.add_to_collection("integers", 7)
        v1.add_to_collection("integers", -1)
        v1.add_to_collection("numbers", 0.5)
        v1.add_to_collection("bytes", b"\xff\x00")
        saver = v1.train.Saver(max_to_keep=7, keep_checkpoint_every_n_hours=2.5, sharded=True)
        v1.add_to_collection("savers", saver)
        path = tmp_path / "exported.meta"
        saver.export_meta_graph(str(path))
        with v1.Session() as running:
            running.run(v1.global_variables_initializer())
            saver.save(running, str(tmp_path / "model"), global_step=12, write_meta_graph=True)
    return graph, path


SCOPES = [None, "a", "a/", "a_2", "a_2/split", "a_2/split/part_1", ".*w", "w", "^global", "a/w$", "a/w:0$", ""]


def test_variables_are_what_get_collection_gives(tf: Any, exported: tuple[Any, Path]) -> None:
    graph, path = exported
    meta = tfbundle.load_meta_graph(path)
    v1 = tf.compat.v1
    for scope in SCOPES:
        for key, trainable in ((v1.GraphKeys.GLOBAL_VARIABLES, None), (v1.GraphKeys.TRAINABLE_VARIABLES, True)):
            wanted = {}
            for variable in graph.get_collection(key, scope):
                part = variable._get_save_slice_info()
                wanted[part.full_name if part else variable.op.name] = None
            assert meta.variables(scope, trainable) == list(wanted), (scope, key)
        assert set(meta.variables(scope, False)) == set(meta.variables(scope)) - set(meta.variables(scope, True))
    with tfbundle.open_checkpoint(path.with_name("model-12")) as checkpoint:
        assert set(meta.variables()) == set(checkpoint)


def test_collections_are_what_tensorflow_decodes(tf: Any, exported: tuple[Any, Path]) -> None:
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow.python.framework import ops

    _, path = exported
    theirs = meta_graph_pb2.MetaGraphDef.FromString(path.read_bytes()).collection_def
    ours = tfbundle.load_meta_graph(path).collections
    assert set(ours) == set(theirs)
    assert {"queue_runners", "while_context", "cond_context", "savers", "integers", "numbers"} <= set(ours)
    for name, collection in theirs.items():
        kind = collection.WhichOneof("kind")
        values = list(getattr(collection, kind).value)
        message_class = ops.get_collection_proto_type(name)
        if kind == "bytes_list" and message_class:
            decoded = [message_class.FromString(value) for value in values]
            assert [item.SerializeToString(deterministic=True) for item in ours[name]] == [
                item.SerializeToString(deterministic=True) for item in decoded
            ]
            assert {type(item).DESCRIPTOR.name for item in ours[name]} == {message_class.DESCRIPTOR.name}
        else:
            assert ours[name] == values
    assert ours["integers"] == [7, -1]
    assert ours["names"] == ["listed:0"]
    assert ours["bytes"] == [b"\xff\x00"]


def test_the_saver_is_what_was_asked_for(exported: tuple[Any, Path]) -> None:
    _, path = exported
    meta = tfbundle.load_meta_graph(path.with_name("model-12"))
    assert meta.step == 12
    saver = meta.saver
    assert saver is not None
    assert (saver.version, saver.max_to_keep, saver.keep_checkpoint_every_n_hours, saver.sharded) == (
        "V2",
        7,
        2.5,
        True,
    )
    with tfbundle.open_checkpoint(path.with_name("model-12")) as checkpoint:
        for tensor in saver.tensors:
            assert tensor.shape == checkpoint[tensor.name].shape
            assert tensor.data_type == checkpoint[tensor.name].data_type
            assert tensor.variable in meta.graph.nodes
        assert {tensor.name for tensor in saver.tensors} == set(checkpoint)
    assert tfbundle.compare_graph(meta, path.with_name("model-12")).ok


# Constants.


def test_frozen_constants_are_what_make_ndarray_gives(tf: Any) -> None:
    generator = np.random.default_rng(1)
    proto = tf.compat.v1.GraphDef()
    arrays = {}
    for number in [*range(1, 20), 22, 23, 24, 25, 29, 30]:
        dtype = tf.as_dtype(number)
        for shape in ((), (3,), (2, 0), (2, 3)):
            if dtype == tf.string:
                array = np.array([generator.bytes(3) for _ in range(int(np.prod(shape)))], object).reshape(shape)
            else:
                array = generator.integers(0, 3, shape).astype(dtype.as_numpy_dtype)
            name = f"{dtype.name}/{len(arrays)}"
            node = proto.node.add(name=name, op="Const")
            node.attr["dtype"].type = number
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array, dtype))
            arrays[name] = tf.make_ndarray(node.attr["value"].tensor)
    graph = tfbundle.Graph(GraphDef.FromString(proto.SerializeToString()))
    assert set(graph.constants) == set(arrays)
    for name, wanted in arrays.items():
        array = graph.constants[name]
        assert graph[name].shape == wanted.shape == array.shape
        assert graph[name].dtype == array.dtype
        if wanted.dtype.names:  # TensorFlow gives quantised integers a dtype of their own.
            wanted = wanted[wanted.dtype.names[0]]
        assert array.tolist() == wanted.tolist()


def test_a_frozen_model(tf: Any, tmp_path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    weights = tf.Variable(np.arange(12, dtype="f4").reshape(3, 4), name="weights")

    @tf.function
    def run(x: Any) -> Any:
        return tf.nn.relu(x @ weights)

    frozen = convert_variables_to_constants_v2(run.get_concrete_function(tf.TensorSpec([None, 3], tf.float32)))
    tf.io.write_graph(frozen.graph, str(tmp_path), "frozen.pb", as_text=False)
    tf.io.write_graph(frozen.graph, str(tmp_path), "frozen.pbtxt", as_text=True)
    for name in ("frozen.pb", "frozen.pbtxt"):
        graph = tfbundle.load_graph(tmp_path / name)
        check_outputs(tf, graph, frozen.graph, with_shapes=False)
        (array,) = (array for array in graph.constants.values() if array.ndim == 2)
        assert np.array_equal(array, weights.numpy())


# What the comparison promises is what restoring does.


def test_comparison_predicts_whether_restoring_works(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    generator = random.Random(5)
    outcomes = set()
    for number in range(24):
        # The graph that was saved, and one that has changed since.
        saved = {f"scope/v{index}": ([2, 3], tf.float32) for index in range(3)}
        wanted = dict(saved)
        change = generator.choice(["none", "name", "shape", "dtype", "more", "fewer"])
        name = generator.choice(list(wanted))
        if change == "name":
            wanted["other/" + name] = wanted.pop(name)
        elif change == "shape":
            wanted[name] = ([3, 2], tf.float32)
        elif change == "dtype":
            wanted[name] = ([2, 3], tf.int32)
        elif change == "more":
            wanted["added"] = ([], tf.float32)
        elif change == "fewer":
            del wanted[name]
        use_resource = generator.random() < 0.5
        prefix = str(tmp_path / f"model-{number}")
        for variables, path in ((saved, prefix), (wanted, prefix + "-changed")):
            with tf.Graph().as_default():
                for key, (shape, dtype) in variables.items():
                    v1.get_variable(key, shape, dtype, v1.zeros_initializer(), use_resource=use_resource)
                saver = v1.train.Saver()
                saver.export_meta_graph(path + ".meta")
                with v1.Session() as running:
                    if path == prefix:
                        running.run(v1.global_variables_initializer())
                        saver.save(running, path, write_meta_graph=False)
                        continue
                    try:
                        saver.restore(running, prefix)
                        error = None
                    except (tf.errors.OpError, ValueError) as caught:
                        error = str(caught)
        result = tfbundle.compare_graph(prefix + "-changed.meta", prefix)
        # TensorFlow gives a resource variable another shape without a word.
        assert result.ok == (error is None and change != "shape"), (change, error, result)
        assert use_resource or result.ok == (error is None)
        assert bool(result.missing) == (change in ("name", "more"))
        assert bool(result.mismatched) == (change in ("shape", "dtype"))
        assert bool(result.unexpected) == (change in ("name", "fewer"))
        if result.missing:
            assert f"Key {result.missing[0].name} not found in checkpoint" in (error or "")
        if change == "name":
            assert result.missing[0].suggestion == name
        outcomes.add(change)
    assert len(outcomes) == 6
