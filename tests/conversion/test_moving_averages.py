"""Moving averages of every kind that TensorFlow and Keras save, put in the place of their variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import Saved, write_bundle
from tests.support.command import refusal, run
from tests.support.expected import FIXTURES
from tests.support.object_graphs import graph_of
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.conversion.averages import averages_of
from tfbundle.conversion.averaging import average
from tfbundle.conversion.convert import convert
from tfbundle.errors import ChecksumError, UnsupportedError

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
W = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="writes with TensorFlow, which is not installed")


# TensorFlow 1.


def test_averages_of_a_fixture_are_found(tmp_path: Path) -> None:
    with tfbundle.open_checkpoint(FIXTURES / "tf-1.15.5" / "optimizers" / "averages.ckpt") as checkpoint:
        averages = averages_of(checkpoint).variables
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


# Averages of partitioned variables that are stored by part.


def train_in_scope(tf: Any, folder: Path, scope: str, parts: int, axis: int = 0) -> Any:
    """Save a partitioned variable and its averages, which ``apply`` makes in a scope, in three ways.

    Each is named after what it saves. Returns the average.
    """
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        pieces = partitioned(tf, parts, axis)
        averages = v1.train.ExponentialMovingAverage(0.5)
        with v1.variable_scope(scope or v1.get_variable_scope()):
            step = averages.apply(pieces)
        shadows = [averages.average(piece) for piece in pieces]
        session.run(v1.global_variables_initializer())
        session.run([piece.assign(piece + 1) for piece in pieces])
        session.run(step)
        by_name = {"net/w": pieces, **dict(zip(map(averages.average_name, pieces), shadows, strict=True))}
        for name, saved in (("all", None), ("averages", shadows), ("by-name", by_name)):
            v1.train.Saver(saved).save(session, str(folder / name), write_meta_graph=False)
        return np.concatenate(session.run(shadows), axis)


def partitioned(tf: Any, parts: int, axis: int = 0, *, is_zero: bool = False) -> list[Any]:
    v1 = tf.compat.v1
    whole = np.zeros((24, 12), np.float32) if is_zero else np.arange(288, dtype=np.float32).reshape(24, 12)

    def initial(shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        first = partition_info.var_offset if partition_info is not None else (0, 0)
        return tf.constant(whole[first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]])

    with v1.variable_scope("net"):
        return list(
            v1.get_variable("w", (24, 12), partitioner=v1.fixed_size_partitioner(parts, axis), initializer=initial)
        )


SCOPES = [
    ("", 2, 0),
    ("a", 2, 0),
    ("train", 3, 0),
    ("averag", 2, 1),
    ("averagi", 2, 1),
    ("a_scope_of_a_long_name", 2, 0),
    ("a", 12, 0),
    ("", 1, 0),
    ("a", 1, 0),
    ("train", 1, 0),
    ("a_scope_of_a_long_name", 1, 0),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("scope", "parts", "axis"), SCOPES)
def test_averages_by_part(tf: Any, tmp_path: Path, scope: str, parts: int, axis: int) -> None:
    """The names of the averages are truncated by the length of the scope, as slots are."""
    v1 = tf.compat.v1
    wanted = train_in_scope(tf, tmp_path, scope, parts, axis)
    # A tensor that is whole, and whose variable was not saved, has nothing but its name.
    ways = ["all", "averages", "by-name"] if parts > 1 or not scope else ["all", "by-name"]
    for saved in ways:
        # If the variable was not saved, the name is all there is.
        name = "net/w/long_name/net/w" if saved == "averages" and scope.startswith("a_scope") else "net/w"
        done = convert(tmp_path / saved, tmp_path / f"{saved} out", averages=True, rename={name: "net/w"})
        assert done.tensors == 1
        assert {item.new_name for item in done.items} <= {"net/w", None}
        assert list(done.left_out) == ([] if saved == "averages" else ["left out: its moving average takes its place"])
        out = tmp_path / f"{saved}.npz"
        convert(tmp_path / saved, out, averages=True, transpose={"*Average": (1, 0)}, cast="float64")
        with np.load(out) as arrays:
            np.testing.assert_array_equal(arrays[name], wanted.T.astype(np.float64))
    # A graph with the same parts, with others, and with one.
    for count, other in ((parts, axis), (4, 0), (1, 0)):
        with tf.Graph().as_default(), v1.Session() as session:
            pieces = partitioned(tf, count, other, is_zero=True)
            saver = v1.train.Saver()
            for saved in ways:
                session.run(v1.global_variables_initializer())
                saver.restore(session, str(tmp_path / f"{saved} out"))
                np.testing.assert_array_equal(np.concatenate(session.run(pieces), other), wanted)


WHOLE = np.arange(10, dtype=np.float32).reshape(5, 2)
HALVES = [((0, 3), (0, 2)), ((3, 2), (0, 2))]
COLUMNS = [((0, 5), (0, 1)), ((0, 5), (1, 1))]
PARTS = ["w/part_0/ExponentialMovingAverage", "w/part_1/ExponentialMovingAverage"]


def by_part(boxes: Any = HALVES, **changed: Any) -> dict[str, Any]:
    """Return ``w`` in two slices, and its averages by part, each of which may be replaced."""
    slots = {name: Saved(WHOLE * 10, slices=[box]) for name, box in zip(PARTS, boxes, strict=True)}
    return {"w": Saved(WHOLE, slices=boxes), **slots, **changed}


@pytest.mark.parametrize("boxes", [HALVES, COLUMNS])
@pytest.mark.parametrize("format", ["v1", "v2"])
def test_parts_of_both_formats(tmp_path: Path, format: str, boxes: Any) -> None:
    if format == "v2":
        write_bundle(tmp_path / "m", by_part(boxes))
    else:
        tensors = {name: V1Saved(saved.array, slices=saved.slices) for name, saved in by_part(boxes).items()}
        write_v1(tmp_path / "m", tensors)
    done = convert(tmp_path / "m", tmp_path / "out", averages=True)
    with tfbundle.open_checkpoint(tmp_path / "out") as found:
        assert list(found) == ["w"]
        assert_same(found["w"].read(), WHOLE * 10)
        assert [box.extents for box in found["w"].slices] == [tuple(box) for box in boxes]
    items = {item.name: item for item in done.items}
    assert [items[name].new_name for name in PARTS] == ["w", "w"]
    assert [items[name].action for name in PARTS] == [
        "moving average in place of its variable",
        f"joined with {PARTS[0]}",
    ]
    assert items["w"].new_name is None
    # The parts of an average of two checkpoints.
    average([str(tmp_path / "m"), str(tmp_path / "m")], tmp_path / "mean", averages=True)
    assert_same(tfbundle.load(tmp_path / "mean")["w"], WHOLE * 10)
    # A function may read any part of what is joined.
    convert(tmp_path / "m", tmp_path / "x.npz", averages=True, transform=lambda name, tensor: tensor[4:0:-2, ::-1])
    assert_same(np.load(tmp_path / "x.npz")["w"], (WHOLE * 10)[4:0:-2, ::-1])


def test_parts_are_renamed_by_their_variable(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", by_part())
    for choices in (
        {"rename": {"w": "v"}},
        {"rename": {r"^(.)$": r"v"}},
        {"names": {"w": "v", PARTS[0]: PARTS[0], PARTS[1]: PARTS[1]}},
        {"names": {PARTS[0]: "v", PARTS[1]: PARTS[1]}},
    ):
        done = convert(tmp_path / "m", tmp_path / "out", averages=True, overwrite=True, **choices)
        assert list(tfbundle.load(tmp_path / "out")) == ["v"]
        assert {item.new_name for item in done.items} == {"v", None}


def test_the_name_chosen_for_an_average_is_kept(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"w": W, "w/ExponentialMovingAverage": W + 1})
    for names, wanted in (
        ({"w/ExponentialMovingAverage": "mine"}, "mine"),
        ({"w": "a", "w/ExponentialMovingAverage": "mine"}, "mine"),
        ({"w": "a", "w/ExponentialMovingAverage": "w/ExponentialMovingAverage"}, "a"),
        (["w/ExponentialMovingAverage"], "w"),
    ):
        convert(tmp_path / "m", tmp_path / "out", averages=True, names=names, overwrite=True)
        found = tfbundle.load(tmp_path / "out")
        assert list(found) == [wanted]
        assert_same(found[wanted], W + 1)


@pytest.mark.parametrize(
    ("changed", "choices", "match"),
    [
        ({}, {"exclude": PARTS[1]}, r"the region \[3:5, 0:2\] is in none of them"),
        ({PARTS[1]: Saved((WHOLE * 10).astype(np.float64), slices=[HALVES[1]])}, {}, "differ in type"),
        ({f"a/{PARTS[1]}": Saved(WHOLE, slices=[HALVES[1]])}, {}, "several moving averages"),
        ({PARTS[0]: WHOLE[:2], PARTS[1]: WHOLE[3:]}, {}, r"has shape \[2, 2\], unlike that part"),
        ({"w/part_2/ExponentialMovingAverage": WHOLE[3:]}, {}, r"has shape \[2, 2\], unlike that part"),
    ],
)
def test_parts_that_are_not_a_variable(tmp_path: Path, changed: Any, choices: Any, match: str) -> None:
    write_bundle(tmp_path / "m", by_part(**changed))
    for dry_run in (True, False):
        with pytest.raises(UnsupportedError, match=match):
            convert(tmp_path / "m", tmp_path / "out", averages=True, dry_run=dry_run, **choices)
    assert not list(tmp_path.glob("out*"))
    # The variable stays where all of its averages are left out.
    write_bundle(tmp_path / "m", by_part(**changed) | {"b": W, "b/ExponentialMovingAverage": W + 1})
    convert(tmp_path / "m", tmp_path / "out", averages=True, exclude="*w/part_*")
    assert_same(tfbundle.load(tmp_path / "out")["w"], WHOLE)
    assert_same(tfbundle.load(tmp_path / "out")["b"], W + 1)


def test_some_parts_cannot_be_chosen(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", by_part())
    with pytest.raises(ValueError, match="moving averages of parts of 'w'; choose both"):
        convert(tmp_path / "m", tmp_path / "out", averages=True, names=["w", PARTS[1]])
    write_bundle(tmp_path / "m", by_part() | {"w/ExponentialMovingAverage": Saved(WHOLE, slices=HALVES)})
    with pytest.raises(ValueError, match="would all be called 'w'"):
        convert(tmp_path / "m", tmp_path / "out", averages=True)


def test_damage_in_a_part_is_found(tmp_path: Path) -> None:
    for boxes in (HALVES, COLUMNS):
        write_bundle(
            tmp_path / "m", by_part(boxes, **{PARTS[1]: Saved(WHOLE, slices=[boxes[1]], slice_lies={0: {"crc": 1}})})
        )
        for out in ("out", "out.npz"):
            with pytest.raises(ChecksumError, match="part_1"):
                convert(tmp_path / "m", tmp_path / out, averages=True)
        assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("tensors", "wanted"),
    [
        # The tensors of another network have the same end of a name, and other shapes or types.
        ({"w": W, "net/w/ExponentialMovingAverage": W[:1]}, {"w", "net/w"}),
        ({"w": W, "net/w/ExponentialMovingAverage": W.astype(np.float64)}, {"w", "net/w"}),
        ({"w": W, "net/w/ExponentialMovingAverage": W}, {"w"}),
        # The only part of a variable; and numbers in other names.
        ({"w": W, "w/part_0/ExponentialMovingAverage": W}, {"w"}),
        ({"w": W, "w/part_1/ExponentialMovingAverage": W}, {"w", "w/part_1"}),
        ({"w": W, "w/port_0/ExponentialMovingAverage": W}, {"w", "w/port_0"}),
        ({"w": W, "w/part_0/ExponentialMovingAverage": W[:1]}, {"w", "w/part_0"}),
        ({"w": W, "w/0": W, "w/0/ExponentialMovingAverage": W}, {"w", "w/0"}),
    ],
)
def test_variables_by_name_and_shape(tmp_path: Path, tensors: Any, wanted: set[str]) -> None:
    write_bundle(tmp_path / "m", tensors)
    assert set(tfbundle.load(convert(tmp_path / "m", tmp_path / "out", averages=True).path)) == wanted


# Keras.


def network(keras: Any, optimizer: Any = None) -> Any:
    layers = [keras.layers.Input((3,)), keras.layers.Dense(4, name="one"), keras.layers.Dense(2, name="two")]
    built = keras.Sequential(layers)
    if optimizer is not None:
        built.compile(optimizer=optimizer, loss="mse", run_eagerly=True)
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
