"""Object graphs after renames and drops: TensorFlow restores by them, and says what it has not found."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import object_array
from tests.support.bundle_writer import write_bundle
from tests.support.object_graphs import graph_of, trained
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY, ObjectGraph, decode_object_graph
from tfbundle.conversion.convert import convert
from tfbundle.conversion.object_graph import rewrite_objects

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def rewritten(source: Path, out: Path, rename: Any = lambda name: name, drop: Any = lambda name: False) -> Path:
    """Write a checkpoint again with other names, by the tests' own writer."""
    with tfbundle.open_checkpoint(source) as checkpoint:
        assert checkpoint.objects is not None
        names = {name: rename(name) for name in checkpoint if name != OBJECT_GRAPH_KEY and not drop(name)}
        graph = rewrite_objects(checkpoint.objects, names)
        tensors = {new: checkpoint[old].read() for old, new in names.items()}
        write_bundle(out, {**tensors, OBJECT_GRAPH_KEY: object_array([graph], ())})
    return out


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="restores with TensorFlow, which is not installed")


@pytest.fixture
def saved(tf: Any, tmp_path: Path) -> Path:
    root = make(tf, 1.0)
    return Path(tf.train.Checkpoint(model=root).save(str(tmp_path / "saved")))


def make(tf: Any, value: float) -> Any:
    root = tf.Module()
    root.dense = tf.Module()
    root.dense.kernel = tf.Variable(np.full((2, 3), value, np.float32), name="dense/kernel")
    root.dense.bias = tf.Variable(np.full(3, value + 1, np.float32), name="dense/bias")
    root.step = tf.Variable(np.int64(value), name="step")
    return root


def test_what_is_renamed_is_restored_under_its_new_name(tf: Any, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "net", lambda name: name.replace("model/", "net/"))
    root = make(tf, 5.0)
    status = tf.train.Checkpoint(net=root).restore(str(path))
    status.assert_existing_objects_matched()
    status.assert_consumed()
    assert root.dense.kernel.numpy().tolist() == [[1.0] * 3] * 2
    assert root.dense.bias.numpy().tolist() == [2.0] * 3
    assert root.step.numpy() == 1
    with pytest.raises(AssertionError):
        tf.train.Checkpoint(model=make(tf, 5.0)).restore(str(path)).assert_existing_objects_matched()


def test_the_size_of_a_changed_graph_is_that_of_the_new_one(saved: Path, tmp_path: Path) -> None:
    done = convert(saved, tmp_path / "out", rename={"^model/": "a_model_of_another_name/"})
    (size,) = (item.nbytes for item in done.items if item.name == OBJECT_GRAPH_KEY)
    assert size == len(tfbundle.load(tmp_path / "out", names=[OBJECT_GRAPH_KEY])[OBJECT_GRAPH_KEY][()])


def test_keys_that_are_not_paths_are_found_by_the_graph(tf: Any, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "flat", lambda name: name.removesuffix(SUFFIX).replace("/", "_") + SUFFIX)
    root = make(tf, 5.0)
    tf.train.Checkpoint(model=root).restore(str(path)).assert_consumed()
    assert root.dense.bias.numpy().tolist() == [2.0] * 3


def test_what_is_dropped_is_not_taken_for_restored(tf: Any, saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path / "dropped", drop=lambda name: "bias" in name)
    root = make(tf, 5.0)
    status = tf.train.Checkpoint(model=root).restore(str(path))
    with pytest.raises(AssertionError, match="bias"):
        status.assert_existing_objects_matched()
    del root.dense.bias
    tf.train.Checkpoint(model=root).restore(str(path)).assert_existing_objects_matched().assert_consumed()
    assert root.dense.kernel.numpy().tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize(
    ("rename", "restore"),
    [
        ({"^model/": ""}, lambda tf, root: tf.train.Checkpoint(dense=root.dense, step=root.step)),
        ({"^model/": "a/b/"}, lambda tf, root: tf.train.Checkpoint(a=tf.train.Checkpoint(b=root))),
        ({"^model/": "model/inner/"}, lambda tf, root: tf.train.Checkpoint(model=tf.train.Checkpoint(inner=root))),
        (
            {"^model/dense/": "dense/"},
            lambda tf, root: tf.train.Checkpoint(dense=root.dense, model=tf.train.Checkpoint(step=root.step)),
        ),
        ({"^model/dense/": "model/"}, lambda tf, root: tf.train.Checkpoint(model=flat(tf, root))),
        ({"^(?!save_counter)": "net/"}, lambda tf, root: tf.train.Checkpoint(net=tf.train.Checkpoint(model=root))),
        ({"^model/dense/": "model/a/b/c/"}, None),
    ],
    ids=["up", "two down", "inside", "part", "merged", "root down", "part down"],
)
def test_objects_move_with_their_keys(tf: Any, saved: Path, tmp_path: Path, rename: Any, restore: Any) -> None:
    done = convert(saved, tmp_path / "out", rename=rename)
    root = make(tf, 5.0)
    if restore is None:
        inner = tf.train.Checkpoint(c=root.dense)
        other = tf.train.Checkpoint(model=tf.train.Checkpoint(a=tf.train.Checkpoint(b=inner), step=root.step))
    else:
        other = restore(tf, root)
    other.restore(done.path).assert_existing_objects_matched().assert_consumed()
    assert root.dense.kernel.numpy().tolist() == [[1.0] * 3] * 2
    assert root.dense.bias.numpy().tolist() == [2.0] * 3
    assert root.step.numpy() == 1


def flat(tf: Any, root: Any) -> Any:
    return tf.train.Checkpoint(step=root.step, kernel=root.dense.kernel, bias=root.dense.bias)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rename", [None, {"^model/": "net/"}, {"^model/": ""}, {"^": "all/"}], ids=str)
def test_slots_of_an_optimizer_follow(tf: Any, rename: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1

    def trained_by_adam(value: float) -> tuple[Any, Any]:
        root = make(tf, value)
        optimizer = v1.train.AdamOptimizer(0.1)
        variables = [root.dense.kernel, root.dense.bias]
        optimizer.minimize(lambda: tf.reduce_sum(root.dense.kernel * root.dense.bias), var_list=variables)
        return root, optimizer

    root, optimizer = trained_by_adam(1.0)
    saved = tf.train.Checkpoint(model=tf.train.Checkpoint(net=root, optimizer=optimizer)).write(str(tmp_path / "saved"))
    done = convert(saved, tmp_path / "out", rename=rename, shards=2)
    other, its_optimizer = trained_by_adam(7.0)
    inner = tf.train.Checkpoint(net=other, optimizer=its_optimizer)
    outer = {
        None: lambda: tf.train.Checkpoint(model=inner),
        "^model/": lambda: tf.train.Checkpoint(net=inner) if rename["^model/"] else inner,
        "^": lambda: tf.train.Checkpoint(all=tf.train.Checkpoint(model=inner)),
    }[next(iter(rename)) if rename else None]()
    outer.read(done.path).assert_existing_objects_matched().assert_consumed()
    for name in ("kernel", "bias"):
        for slot in ("m", "v"):
            wanted = optimizer.get_slot(getattr(root.dense, name), slot)
            found = its_optimizer.get_slot(getattr(other.dense, name), slot)
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    # Without slots, the optimizer is a new one's.
    done = convert(saved, tmp_path / "stripped", rename=rename, slots=False)
    assert done.left_out["left out: optimizer slot"] == 6
    plain = make(tf, 9.0)
    status = {
        None: lambda: tf.train.Checkpoint(model=tf.train.Checkpoint(net=plain)),
        "^model/": lambda: (
            tf.train.Checkpoint(net=tf.train.Checkpoint(net=plain))
            if rename["^model/"]
            else tf.train.Checkpoint(net=plain)
        ),
        "^": lambda: tf.train.Checkpoint(all=tf.train.Checkpoint(model=tf.train.Checkpoint(net=plain))),
    }[next(iter(rename)) if rename else None]().read(done.path)
    status.assert_existing_objects_matched().assert_consumed()
    np.testing.assert_array_equal(plain.dense.kernel.numpy(), root.dense.kernel.numpy())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_what_is_cast_is_restored_into_variables_of_that_type(tf: Any, saved: Path, dtype: str, tmp_path: Path) -> None:
    done = convert(saved, tmp_path / "out", cast=f"float32={dtype}", rename={"^model/": "net/"})
    root = tf.Module()
    root.dense = tf.Module()
    root.dense.kernel = tf.Variable(tf.zeros((2, 3), dtype))
    root.dense.bias = tf.Variable(tf.zeros(3, dtype))
    root.step = tf.Variable(np.int64(0))
    tf.train.Checkpoint(net=root).restore(done.path).assert_existing_objects_matched().assert_consumed()
    assert root.dense.kernel.numpy().astype(float).tolist() == [[1.0] * 3] * 2


@pytest.mark.filterwarnings("ignore")
def test_keras_2_loads_weights(tf: Any, tmp_path: Path) -> None:
    keras = pytest.importorskip("tf_keras", reason="Keras 2 reads the weights, and tf_keras is not installed")

    def layers() -> Any:
        return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])

    model = layers()
    model.compile(optimizer="adam", loss="mse", run_eagerly=True)
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save_weights(str(tmp_path / "weights"))
    saved = tf.train.Checkpoint(model=model).save(str(tmp_path / "saved"))
    sources = ((tmp_path / "weights", None), (saved, {"^model/": ""}))
    all_choices: tuple[dict[str, Any], ...] = ({}, {"slots": False}, {"weights": True}, {"shards": 3})
    for (source, rename), choices in itertools.product(sources, all_choices):
        done = convert(source, tmp_path / "out", rename=rename, overwrite=True, **choices)
        other = layers()
        if "slots" not in choices and "weights" not in choices:
            other.compile(optimizer="adam", loss="mse", run_eagerly=True)
        other.load_weights(done.path).assert_existing_objects_matched()
        for found, wanted in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.filterwarnings("ignore")
def test_a_keras_model_without_its_optimizer(tf: Any, tmp_path: Path) -> None:
    keras = tf.keras

    def compiled() -> Any:
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
        model.compile(optimizer="adam", loss="mse", run_eagerly=True)
        return model

    model = compiled()
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    saved = Path(tf.train.Checkpoint(model=model).save(str(tmp_path / "saved")))
    with tfbundle.open_checkpoint(saved) as checkpoint:
        kept = {name for name in checkpoint if name in checkpoint.weights or "save_counter" in name}
        assert len(kept) == 5
        assert len(checkpoint) > 12
    path = rewritten(saved, tmp_path / "stripped", drop=lambda name: name not in kept)
    other = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    tf.train.Checkpoint(model=other).restore(str(path)).assert_existing_objects_matched()
    for found, wanted in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


@trained
def test_nothing_renamed_gives_an_equal_graph(path: Path) -> None:
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert checkpoint.objects is not None
        names = {name: name for name in checkpoint if name != OBJECT_GRAPH_KEY}
        found = decode_object_graph(rewrite_objects(checkpoint.objects, names))
        assert found.proto == checkpoint.objects.proto


@trained
def test_slots_that_are_dropped_leave_no_references(path: Path) -> None:
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert checkpoint.objects is not None
        kept = {name: name for name in checkpoint if name != OBJECT_GRAPH_KEY and name not in checkpoint.slots}
        found = decode_object_graph(rewrite_objects(checkpoint.objects, kept), len(checkpoint))
        assert len(found) == len(checkpoint.objects)
        keys = {attribute.key for node in found for attribute in node.attributes}
        assert keys == {
            attribute.key for node in checkpoint.objects for attribute in node.attributes if attribute.key in kept
        }
        lost = {node.number for node in checkpoint.objects if node.attributes and not found[node.number].attributes}
        assert lost
        for node in found:
            assert not lost.intersection(child.number for child in node.children)
            assert not lost.intersection(slot.number for slot in node.slots)


def objects(*nodes: dict[str, Any]) -> ObjectGraph:
    return ObjectGraph(graph_of(*nodes))


def test_children_are_renamed_only_where_all_agree() -> None:
    graph = objects(
        {"children": [("m", 1), ("n", 4)]},
        {"children": [("a", 2), ("b", 3)]},
        {"key": "m/a" + SUFFIX},
        {"key": "m/b" + SUFFIX},
        {"key": "n" + SUFFIX},
    )

    def names_after(**names: str) -> list[list[str]]:
        whole = {f"{old.replace('_', '/')}{SUFFIX}": new + SUFFIX for old, new in names.items()}
        return [[child.name for child in node.children] for node in decode_object_graph(rewrite_objects(graph, whole))]

    assert names_after(m_a="x/a", m_b="x/b", n="n")[:2] == [["x", "n"], ["a", "b"]]
    assert names_after(m_a="x/a", m_b="m/b", n="n")[:2] == [["m", "n"], ["a", "b"]]
    assert names_after(m_a="m/c", m_b="m/b", n="n")[:2] == [["m", "n"], ["c", "b"]]
    assert names_after(m_a="m/b", m_b="m/a", n="n")[:2] == [["m", "n"], ["b", "a"]]
    assert names_after(m_a="n/a", m_b="n/b", n="n")[:2] == [["m", "n"], ["a", "b"]]


@pytest.mark.effort
def test_many_objects_that_move_take_no_more_than_their_number() -> None:
    count = 10_000
    nodes: list[dict[str, Any]] = [{"children": [(f"layer_{number}", 1 + number) for number in range(count)]}]
    nodes += [{"children": [("kernel", 1 + count + number)]} for number in range(count)]
    nodes += [{"key": f"layer_{number}/kernel{SUFFIX}"} for number in range(count)]
    graph = objects(*nodes)
    names = {f"layer_{number}/kernel{SUFFIX}": f"layers/{number}/kernel{SUFFIX}" for number in range(count)}
    start = time.process_time()
    found = decode_object_graph(rewrite_objects(graph, names), count)
    assert time.process_time() - start < 2.5  # It would be minutes if each examined all.
    assert [child.name for child in found[0].children] == ["layers"]
    (layers,) = (child.number for child in found[0].children)
    assert [(child.name, child.number) for child in found[layers].children] == [
        (str(number), 1 + number) for number in range(count)
    ]
