"""Moving averages of every kind that TensorFlow and Keras save, put in the place of their variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import write_bundle
from tests.support.command import refusal, run
from tests.support.expected import FIXTURES
from tests.support.object_graphs import graph_of
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.conversion.averages import averages_of
from tfbundle.conversion.averaging import average
from tfbundle.conversion.convert import convert
from tfbundle.errors import UnsupportedError

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
W = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="writes with TensorFlow, which is not installed")


# TensorFlow 1.


def test_averages_of_a_fixture_are_found(tmp_path: Path) -> None:
    with tfbundle.open_checkpoint(FIXTURES / "tf-1.15.5" / "optimizers" / "averages.ckpt") as checkpoint:
        averages = averages_of(checkpoint)
        assert averages
        assert {name.removesuffix("/ExponentialMovingAverage") for name in averages} == set(averages.values())
        convert(checkpoint, tmp_path / "out", averages=True)
        found = tfbundle.load(tmp_path / "out")
        for name, variable in averages.items():
            assert_same(found[variable], checkpoint[name].read())


def test_a_scope_in_front_of_an_average(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"net/w": W, "train/net/w/ExponentialMovingAverage": W + 1, "train/v": W})
    found = tfbundle.load(convert(tmp_path / "m", tmp_path / "out", averages=True).path)
    assert set(found) == {"net/w", "train/v"}
    assert_same(found["net/w"], W + 1)
    # Of a variable that was not saved, the name is all there is.
    write_bundle(tmp_path / "m", {"train/net/w/ExponentialMovingAverage": W + 1, "v": W})
    assert set(tfbundle.load(convert(tmp_path / "m", tmp_path / "out", averages=True, overwrite=True).path)) == {
        "train/net/w",
        "v",
    }


def test_two_averages_of_one_variable_collide(tmp_path: Path) -> None:
    write_bundle(
        tmp_path / "m",
        {"w": W, "w/ExponentialMovingAverage": W, "a/w/ExponentialMovingAverage": W},
    )
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="would all be called 'w'"):
            convert(tmp_path / "m", tmp_path / "out", averages=True, dry_run=dry_run)
    assert "would all be called 'w'" in refusal("convert", tmp_path / "m", tmp_path / "out", "--averages")
    assert not list(tmp_path.glob("out*"))
    convert(tmp_path / "m", tmp_path / "out", averages=True, exclude="a/*")
    assert set(tfbundle.load(tmp_path / "out")) == {"w"}


def train(tf: Any, prefix: str, value: float) -> dict[str, Any]:
    """Train a partitioned variable with Adam and moving averages, and save all; return the values."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        pieces = model(tf, value)
        averages = v1.train.ExponentialMovingAverage(0.5)
        optimizer = v1.train.AdamOptimizer(0.1)
        loss = sum(tf.reduce_sum(piece * piece) for piece in pieces)
        with tf.control_dependencies([optimizer.minimize(loss)]):
            step = averages.apply(v1.trainable_variables())
        session.run(v1.global_variables_initializer())
        for _ in range(2):
            session.run(step)
        v1.train.Saver().save(session, prefix, write_meta_graph=False)
        return {
            "w": np.concatenate(session.run(pieces)),
            "average": np.concatenate(session.run([averages.average(piece) for piece in pieces])),
            "m": np.concatenate(session.run([optimizer.get_slot(piece, "m") for piece in pieces])),
        }


def model(tf: Any, value: float) -> list[Any]:
    v1 = tf.compat.v1
    with v1.variable_scope("net"):
        variable = v1.get_variable(
            "w", (5, 2), tf.float32, v1.constant_initializer(value), partitioner=v1.fixed_size_partitioner(2)
        )
    return list(variable)


@pytest.mark.filterwarnings("ignore")
def test_partitioned_variables_of_tensorflow_1(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    values = train(tf, str(tmp_path / "m"), 1.0)
    assert not np.array_equal(values["w"], values["average"])
    convert(tmp_path / "m", tmp_path / "out", averages=True, slots=False)
    with tf.Graph().as_default(), v1.Session() as session:
        pieces = model(tf, 9.0)
        v1.train.Saver().restore(session, str(tmp_path / "out"))
        np.testing.assert_array_equal(np.concatenate(session.run(pieces)), values["average"])
    with tfbundle.open_checkpoint(tmp_path / "out") as found:
        assert len(found["net/w"].slices) == 2


@pytest.mark.filterwarnings("ignore")
def test_an_average_of_partitioned_checkpoints_is_restored_with_its_slots(tf: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    found = [train(tf, str(tmp_path / f"m-{number}"), float(number)) for number in (1, 2)]
    average(tmp_path, tmp_path / "mean", last=2)
    with tf.Graph().as_default(), v1.Session() as session:
        pieces = model(tf, 9.0)
        optimizer = v1.train.AdamOptimizer(0.1)
        optimizer.minimize(sum(tf.reduce_sum(piece * piece) for piece in pieces))
        v1.train.Saver().restore(session, str(tmp_path / "mean"))
        for name, tensors in (("w", pieces), ("m", [optimizer.get_slot(piece, "m") for piece in pieces])):
            wanted = np.mean([values[name].astype(np.float64) for values in found], axis=0).astype(np.float32)
            np.testing.assert_array_equal(np.concatenate(session.run(tensors)), wanted)


# Keras.


def network(keras: Any, optimizer: Any = None) -> Any:
    layers = [keras.layers.Input((3,)), keras.layers.Dense(4, name="one"), keras.layers.Dense(2, name="two")]
    built = keras.Sequential(layers)
    if optimizer is not None:
        built.compile(optimizer=optimizer, loss="mse")
        built.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0)
    return built


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_averages_of_keras(tf: Any, library: str, tmp_path: Path) -> None:
    keras = pytest.importorskip(library)
    optimizer = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5)
    built = network(keras, optimizer)
    wanted = [np.asarray(value) for value in optimizer._model_variables_moving_average]
    # Keras puts them in place when training ends; what is saved before has both.
    built.set_weights([value + 1 for value in wanted])
    saved = tf.train.Checkpoint(model=built).save(str(tmp_path / "saved"))
    done = convert(saved, tmp_path / "out", averages=True)
    assert [item.action for item in done.items].count("moving average in place of its variable") == 4
    other = network(keras)
    status = tf.train.Checkpoint(model=other).restore(str(tmp_path / "out"))
    status.assert_existing_objects_matched()
    for found, value in zip(other.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(found, value)
    # The weights alone, for a program that only runs the model.
    convert(saved, tmp_path / "out.npz", averages=True, weights=True)
    with np.load(tmp_path / "out.npz") as weights:
        assert sorted(array.tobytes() for array in weights.values()) == sorted(array.tobytes() for array in wanted)
    if library == "tf_keras":
        third = network(keras)
        convert(saved, tmp_path / "weights", averages=True, rename={"^model/": ""}, weights=True)
        third.load_weights(str(tmp_path / "weights")).assert_existing_objects_matched()
        for value, average_ in zip(third.get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(value, average_)


def objects_with_averages(names: list[str], average_names: list[str]) -> dict[str, Any]:
    """A checkpoint as Keras 2 writes it: variables, and an optimizer with their averages."""
    count = len(names)
    first = 4
    keys = [f"v{number}{SUFFIX}" for number in range(count)]
    averages = [f"optimizer/_variables/{number}{SUFFIX}" for number in range(count)]
    nodes: list[dict[str, Any]] = [
        {"children": [("optimizer", 1), *((f"v{number}", first + number) for number in range(count))]},
        {"children": [("_model_variables_moving_average", 2), ("_variables", 3)]},
        {"children": [(str(number), first + count + number) for number in range(count)]},
        {"children": [(str(number), first + count + number) for number in range(count)]},
        *({"key": key, "full_name": name} for key, name in zip(keys, names, strict=True)),
        *({"key": key, "full_name": name} for key, name in zip(averages, average_names, strict=True)),
    ]
    arrays: dict[str, Any] = {key: W + number for number, key in enumerate([*keys, *averages])}
    graph = np.empty((), object)
    graph[()] = graph_of(*nodes).SerializeToString()
    return {**arrays, OBJECT_GRAPH_KEY: graph}


@pytest.mark.parametrize(
    ("names", "averages", "match"),
    [
        (["a/w", "b/w"], ["Adam/average/a/w", "Adam/average/b/w"], None),
        (["a/w", "b/w"], ["average/a/w", "average/b/w"], None),
        (["w", "w"], ["Adam/average/w", "Adam/average/w"], "there are 2 of its name"),
        (["a/w", "b/w"], ["Adam/average/a/w", "Adam/average/c/w"], "there is none of its name"),
        (["a/w", "b/w"], ["Adam/average/a/w", "mean"], "there is none of its name"),
    ],
)
def test_whose_an_average_is(tmp_path: Path, names: list[str], averages: list[str], match: str | None) -> None:
    tensors = objects_with_averages(names, averages)
    write_bundle(tmp_path / "m", tensors)
    if match is not None:
        with pytest.raises(UnsupportedError, match=match):
            convert(tmp_path / "m", tmp_path / "out", averages=True)
        assert not list(tmp_path.glob("out*"))
        # The others are whole.
        last = f"optimizer/_variables/1{SUFFIX}"
        if names[0] != names[1]:
            convert(tmp_path / "m", tmp_path / "out", averages=True, exclude=last)
            assert_same(tfbundle.load(tmp_path / "out")[f"v0{SUFFIX}"], W + 2)
            assert_same(tfbundle.load(tmp_path / "out")[f"v1{SUFFIX}"], W + 1)
        return
    convert(tmp_path / "m", tmp_path / "out", averages=True)
    found = tfbundle.load(tmp_path / "out")
    assert set(found) == {f"v0{SUFFIX}", f"v1{SUFFIX}", OBJECT_GRAPH_KEY}
    assert_same(found[f"v0{SUFFIX}"], W + 2)
    assert_same(found[f"v1{SUFFIX}"], W + 3)


@pytest.mark.filterwarnings("ignore")
def test_slots_called_average_in_an_object_graph(tf: Any, tmp_path: Path) -> None:
    """As those of the optimizers of TensorFlow Addons."""
    v1 = tf.compat.v1

    class Averaging(v1.train.GradientDescentOptimizer):  # type: ignore[misc]
        def _create_slots(self, variables: Any) -> None:
            for variable in variables:
                self._get_or_make_slot(variable, tf.fill(variable.shape, 7.0), "average", self._name)

    kernel, bias = tf.Variable(W, name="kernel"), tf.Variable(np.ones(3, np.float32), name="bias")
    optimizer = Averaging(0.1)
    optimizer.minimize(lambda: tf.reduce_sum(kernel * bias), var_list=[kernel, bias])
    root = tf.train.Checkpoint(kernel=kernel, bias=bias, optimizer=optimizer)
    saved = root.save(str(tmp_path / "saved"))
    convert(saved, tmp_path / "out", averages=True)
    other = tf.Variable(np.zeros_like(W)), tf.Variable(np.zeros(3, np.float32))
    status = tf.train.Checkpoint(kernel=other[0], bias=other[1]).restore(str(tmp_path / "out"))
    status.assert_existing_objects_matched().assert_consumed()
    assert {float(value) for variable in other for value in variable.numpy().flat} == {7.0}


def test_where_there_are_none(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"w": W})
    for dry_run in (True, False):
        with pytest.raises(KeyError, match="no moving averages"):
            convert(tmp_path / "m", tmp_path / "out", averages=True, dry_run=dry_run)
    result = run("convert", tmp_path / "m", tmp_path / "out", "--averages")
    assert (result.exit_code, "no moving averages" in result.stderr) == (2, True)
    assert not list(tmp_path.glob("out*"))
