"""Object graphs: names of variables, optimizer slots, walks, and graphs that no program would save."""

import json
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.internal import api_implementation
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import write_bundle
from tests.support.command import outcome
from tests.support.expected import FIXTURES, Expected, expected_checkpoints
from tests.support.table_writer import encode_varint
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY, ObjectGraph, decode_object_graph
from tfbundle.checkpoint.slots import find_slots
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.limits import MOST_OBJECTS, MOST_OBJECTS_A_TENSOR
from tfbundle.proto import SavedModel, TensorProto, TrackableObjectGraph

CHECKPOINTS = [one for format in ("v2", "v1") for one in expected_checkpoints(format) if one.error is None]
WITH_OBJECTS = [one for one in CHECKPOINTS if OBJECT_GRAPH_KEY in one.tensors]
OPTIMIZERS = json.loads((FIXTURES / "tf-1.15.5" / "optimizers" / "EXPECTED.json").read_text(encoding="utf-8"))
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

with_objects = pytest.mark.parametrize("expected", WITH_OBJECTS, ids=str)
TRAINED = [
    FIXTURES / "tf-2.4.4" / "keras-weights" / "weights",
    FIXTURES / "tf-2.15.1" / "keras-weights" / "weights",
    FIXTURES / "tf-2.4.4" / "checkpoint-manager" / "ckpt-3",
    FIXTURES / "tf-2.15.1" / "checkpoint-manager" / "ckpt-3",
    FIXTURES / "tf-2.21.0" / "checkpoint-manager" / "ckpt-3",
    FIXTURES / "tf-2.4.4" / "keras-saved-model" / "model",
    FIXTURES / "tf-2.15.1" / "keras-saved-model" / "model",
]
trained = pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.relative_to(FIXTURES).as_posix())

# The variables of the classifier that is in these fixtures.
WEIGHTS = ("conv/kernel", "conv/bias", "norm/gamma", "norm/beta", "hidden/kernel", "hidden/bias", "logits/kernel")


def graph_of(*nodes: dict[str, Any]) -> TrackableObjectGraph:
    """A graph; each node has ``children`` as (name, number) and perhaps ``key``, ``full_name`` and ``slots``."""
    graph = TrackableObjectGraph()
    for facts in nodes:
        node = graph.nodes.add()
        for name, number in facts.get("children", ()):
            node.children.add(local_name=name, node_id=number)
        for original, name, number in facts.get("slots", ()):
            node.slot_variables.add(original_variable_node_id=original, slot_name=name, slot_variable_node_id=number)
        if "key" in facts:
            node.attributes.add(
                name="VARIABLE_VALUE", full_name=facts.get("full_name", ""), checkpoint_key=facts["key"]
            )
    return graph


def write_objects(prefix: Path, graph: TrackableObjectGraph | bytes, **tensors: Any) -> Path:
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    write_bundle(prefix, {OBJECT_GRAPH_KEY: object_array([data], ()), **tensors})
    return prefix


class TestFixtures:
    @pytest.mark.parametrize("expected", CHECKPOINTS, ids=str)
    def test_who_has_one(self, expected: Expected) -> None:
        with tfbundle.open_checkpoint(expected.path, format=expected.format) as checkpoint:
            assert (checkpoint.objects is None) == (OBJECT_GRAPH_KEY not in expected.tensors)
            assert checkpoint.objects is checkpoint.objects

    @with_objects
    def test_every_tensor_has_a_name(self, expected: Expected) -> None:
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            assert checkpoint.objects is not None
            names = checkpoint.objects.variable_names
            assert set(names) == set(checkpoint) - {OBJECT_GRAPH_KEY}
            for key, name in names.items():
                assert key in checkpoint.objects.keys_of(name)

    @with_objects
    def test_against_tensorflow(self, tf: Any, expected: Expected) -> None:
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph as Theirs

        theirs = Theirs.FromString(tf.train.load_variable(str(expected.path), OBJECT_GRAPH_KEY))
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            graph = checkpoint.objects
        assert graph is not None
        assert graph.proto.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
        assert len(graph) == len(theirs.nodes)
        for ours, node in zip(graph, theirs.nodes, strict=True):
            assert list(ours.children) == [(child.local_name, child.node_id) for child in node.children]
            assert [tuple(value) for value in ours.attributes] == [
                (value.name, value.full_name, value.checkpoint_key) for value in node.attributes
            ]
            assert [tuple(slot) for slot in ours.slots] == [
                (slot.slot_name, slot.original_variable_node_id, slot.slot_variable_node_id)
                for slot in node.slot_variables
            ]

    @with_objects
    def test_places_are_those_of_the_keys(self, expected: Expected) -> None:
        """TensorFlow makes keys of the shortest way to an object, and so does the walk."""
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            graph = checkpoint.objects
        assert graph is not None
        path: list[str] = []
        visited = []
        for depth, name, number, is_first in graph.walk():
            del path[max(depth - 1, 0) :]
            if depth:
                path.append(name.replace(".", "..").replace("/", ".S"))
            if is_first:
                visited.append(number)
                for attribute in graph[number].attributes:
                    assert attribute.key == "/".join(path) + SUFFIX
        slots = {slot.number for node in graph for slot in node.slots}
        assert len(visited) == len(set(visited))
        assert set(visited) | slots == set(range(len(graph)))


class TestNames:
    def test_names_instead_of_keys(self) -> None:
        path = TRAINED[0]
        everything = tfbundle.load(path)
        found = tfbundle.load(path, names=["conv/kernel", "layer_with_weights-0/bias" + SUFFIX])
        assert list(found) == ["conv/kernel", "layer_with_weights-0/bias" + SUFFIX]
        assert_same(found["conv/kernel"], everything["layer_with_weights-0/kernel" + SUFFIX])
        renamed = tfbundle.load(path, names={"conv/kernel": "w", "optimizer/iter" + SUFFIX: "step"})
        assert list(renamed) == ["w", "step"]
        assert_same(renamed["w"], found["conv/kernel"])

    def test_globs(self) -> None:
        path = TRAINED[0]
        assert set(tfbundle.load(path, names="conv/*")) == {"conv/kernel", "conv/bias"}
        assert set(tfbundle.load(path, names="logits/kernel")) == {"logits/kernel"}
        keys = tfbundle.load(path, names="*kernel" + SUFFIX)  # Keys match, so that names are not looked at.
        assert all(key.endswith(SUFFIX) for key in keys)
        with pytest.raises(KeyError, match="matches 'conv2/"):
            tfbundle.load(path, names="conv2/*")

    def test_generators(self) -> None:
        assert set(tfbundle.load(TRAINED[0], names=(name for name in WEIGHTS))) == set(WEIGHTS)

    def test_two_variables_of_one_name(self, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("a", 1), ("b", 2), ("c", 3), ("d", 4)]},
            {"key": "a", "full_name": "Variable"},
            {"key": "b", "full_name": "Variable"},
            {"key": "c", "full_name": "single"},
            {"key": "absent", "full_name": "single"},
        )
        path = write_objects(tmp_path / "model", graph, a=np.arange(1), b=np.arange(2), c=np.arange(3))
        for names in (["Variable"], {"Variable": "x"}, "V*", "Variable"):
            with pytest.raises(KeyError, match=r"2 variables in .* are called 'Variable'; pass a key of 'a', 'b'"):
                tfbundle.load(path, names=names)
        # What is not in the checkpoint is no candidate.
        assert tfbundle.load(path, names=["single"])["single"].tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match="'single' and 'c' would be the same tensor, 'c'"):
            tfbundle.load(path, names=["single", "c"])
        with pytest.raises(ValueError, match="2 tensors would all be called 'x'"):
            tfbundle.load(path, names={"single": "x", "a": "x"})

    def test_keys_come_first(self, tmp_path: Path) -> None:
        graph = graph_of({"children": [("a", 1), ("b", 2)]}, {"key": "a", "full_name": "b"}, {"key": "b"})
        path = write_objects(tmp_path / "model", graph, a=np.arange(1), b=np.arange(2))
        assert tfbundle.load(path, names=["b"])["b"].tolist() == [0, 1]

    def test_absent_names(self) -> None:
        for path in (TRAINED[0], FIXTURES / "tf-1.15.5" / "training"):
            with pytest.raises(KeyError, match="there is no tensor 'conv/kernels'"):
                tfbundle.load(path, names=["conv/kernels"])

    def test_copies_that_keras_exports(self, tmp_path: Path) -> None:
        path = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model"
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert checkpoint.objects is not None
            keys = checkpoint.objects.keys_of("classifier/conv/kernel")
            assert sorted(key.split("/")[0] for key in keys) == ["_all_variables", "variables"]
            weights = {key: checkpoint[key].read() for key in keys}
        (own,) = (array for key, array in weights.items() if key.startswith("variables/"))
        for names in ("*conv/kernel", ["classifier/conv/kernel"], "classifier/conv/kernel"):
            found = tfbundle.load(path, names=names)
            assert list(found) == ["classifier/conv/kernel"]
            assert_same(found["classifier/conv/kernel"], own)

    def test_what_is_no_copy(self, tmp_path: Path) -> None:
        names = {"variables/0": "v", "_all_variables/0": "v"}
        graph = graph_of(
            {"children": [("variables", 1), ("_all_variables", 2)]},
            *({"key": key, "full_name": name} for key, name in names.items()),
        )
        arrays = dict(zip(names, (np.arange(2), np.arange(1, 3)), strict=True))
        with pytest.raises(KeyError, match=r"2 variables .* are called 'v'"):
            tfbundle.load(write_objects(tmp_path / "other", graph, **arrays), names="v")
        alike = dict.fromkeys(names, np.arange(2))
        path = write_objects(tmp_path / "alike", graph, **alike)
        assert tfbundle.load(path, names="v")["v"].tolist() == [0, 1]

    def test_suggestions(self) -> None:
        path = TRAINED[0]
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert checkpoint.objects is not None
            (key,) = checkpoint.objects.keys_of("conv/kernel")
            with pytest.raises(KeyError, match=f"a variable is called so, and stored as {key!r}"):
                checkpoint["conv/kernel"]
            with pytest.raises(KeyError, match="did you mean 'conv/kernel'"):
                checkpoint["conv/kernal"]
        for names in (["conv/kernal"], "conv/kernal", {"conv/kernal": "x"}):
            with pytest.raises(KeyError, match="did you mean 'conv/kernel'"):
                tfbundle.load(path, names=names)

    def test_suggestions_without_data_files(self, tmp_path: Path) -> None:
        (tmp_path / "m.index").write_bytes(TRAINED[0].with_name("weights.index").read_bytes())
        with (
            tfbundle.open_checkpoint(tmp_path / "m") as checkpoint,
            pytest.raises(KeyError, match="there is no tensor"),
        ):
            checkpoint["conv/kernel"]

    def test_many_of_one_name(self, tmp_path: Path) -> None:
        count = 30
        nodes = [{"key": f"k{number:02}", "full_name": "v"} for number in range(count)]
        graph = graph_of({"children": [(str(number), number + 1) for number in range(count)]}, *nodes)
        path = write_objects(tmp_path / "model", graph, **{f"k{number:02}": np.arange(1) for number in range(count)})
        with pytest.raises(KeyError, match=r"30 variables .*'k09' and 20 more"):
            tfbundle.load(path, names=["v"])


class TestSlots:
    @trained
    def test_fixtures(self, path: Path) -> None:
        """Adam keeps two for each of eight weights; all else stays, counters and rates included."""
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert checkpoint.objects is not None
            names = checkpoint.objects.variable_names
            slots = {names[key] for key in checkpoint.slots}
            left = {names[key].removeprefix("classifier/") for key in names if key not in checkpoint.slots}
            shapes = sorted(checkpoint[key].shape for key in checkpoint.slots)
            weights = sorted(checkpoint[key].shape for key, name in names.items() if is_weight(key, name, checkpoint))
        assert len(slots) == 16
        assert shapes == sorted(weights * 2)
        assert left.issuperset(WEIGHTS)
        assert left.issuperset({"norm/moving_mean", "norm/moving_variance"})
        rest = {name for name in left if not name.startswith(("conv/", "norm/", "hidden/", "logits/"))}
        assert all(re.search(r"iter|rate|decay|beta_|count|total|Variable", name) for name in rest), rest
        found = tfbundle.load(path, slots=False)
        assert set(found) == set(tfbundle.load(path)) - checkpoint.slots

    def test_slot_variables_are_what_tensorflow_marks(self) -> None:
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.slots == {key for key in checkpoint if "/.OPTIMIZER_SLOT/" in key}

    def test_averages_of_weights_stay(self, tmp_path: Path) -> None:
        """As Keras saves ``Adam(use_ema=True)``."""
        graph = graph_of(
            {"children": [("optimizer", 1)]},
            {
                "children": [
                    ("_variables", 2),
                    ("_iterations", 3),
                    ("_model_variables_moving_average", 4),
                    ("_momentums", 5),
                    ("_u_product", 8),
                ]
            },
            {"children": [("0", 3), ("1", 6), ("2", 7), ("3", 8)]},
            {"key": "iterations"},
            {"children": [("0", 6)]},
            {"children": [("0", 7)]},
            {"key": "average"},
            {"key": "momentum"},
            {"key": "product"},
        )
        tensors = dict.fromkeys(("iterations", "average", "momentum", "product"), np.arange(2))
        path = write_objects(tmp_path / "model", graph, **tensors)
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert checkpoint.slots == {"momentum"}

    def test_lists_beside_that_of_all_variables(self) -> None:
        """As the experimental optimizers of TensorFlow 2.9 keep theirs, and Adafactor of 2.11 to 2.15 some of them."""
        iterations, weight = {"key": "iterations"}, {"key": "w"}
        lists = {"children": [("0", 5)]}, {"children": [("0", 6), ("1", 3)]}
        slots = {"key": "m"}, {"key": "v"}
        names = ["iterations", "w", "m", "v"]
        for more in (("_index_dict", 7), ("_variables", 7)):
            optimizer = {
                "children": [("_iterations", 3), more, ("_momentums", 1), ("_v", 2), ("_trainable_variables", 8)]
            }
            trained = {"children": [("0", 4)]}
            graph = graph_of(optimizer, *lists, iterations, weight, *slots, {}, trained)
            assert find_slots(names, ObjectGraph(graph)) == {"m", "v"}
        module = graph_of({"children": [("_iterations", 3), ("_weights", 1)]}, *lists, iterations, weight, *slots)
        assert find_slots(names, ObjectGraph(module)) == frozenset()

    def test_powers_of_an_optimizer_of_tensorflow_1(self) -> None:
        graph = graph_of(
            {"children": [("optimizer", 1), ("beta1_power", 4)]},
            {"children": [("beta1_power", 2)], "slots": [(4, "m", 3)]},
            {"key": "power"},
            {"key": "m"},
            {"key": "w"},
        )
        assert find_slots(["power", "m", "w"], ObjectGraph(graph)) == {"power", "m"}

    @pytest.mark.parametrize("expected", [one for one in CHECKPOINTS if "training" in str(one)], ids=str)
    def test_saver(self, expected: Expected) -> None:
        with tfbundle.open_checkpoint(expected.path, format=expected.format) as checkpoint:
            slots = checkpoint.slots
        assert slots == {name for name in expected.tensors if re.search(r"/Adam(_1)?$|/Momentum$|beta._power$", name)}
        assert len(slots) == 8
        left = tfbundle.load(expected.path, slots=False)
        assert set(left) == set(expected.tensors) - slots
        assert "fc1/weights/ExponentialMovingAverage" in left
        assert "global_step" in left

    @pytest.mark.parametrize("checkpoint", OPTIMIZERS["checkpoints"], ids=lambda checkpoint: checkpoint["path"])
    def test_every_optimizer(self, checkpoint: dict[str, Any]) -> None:
        with tfbundle.open_checkpoint(FIXTURES / "tf-1.15.5" / "optimizers" / checkpoint["path"]) as opened:
            assert opened.slots == set(checkpoint["slots"])

    def test_slots_that_cannot_be_read_are_left_out(self) -> None:
        path = FIXTURES / "tf-1.15.5" / "optimizers" / "all.ckpt"
        with pytest.raises(FormatError, match=r"none of the 1 slices that are there"):
            tfbundle.load(path)
        assert tfbundle.load(path, names="linear/*", slots=False).keys() == {
            "linear/layer/kernel",
            "linear/layer/weights",
        }

    @pytest.mark.parametrize(
        "slot",
        [
            "w/Adam",
            "w/Adam_1",
            "w/Adam_13",
            "w/Momentum",
            "w/RMSProp_1",
            "w/Ftrl",
            "w/Adagrad",
            "w/adam_m",
            "w/adam_v",
            "OptimizeLoss/a/w/Adam",
            "train/w/Adam_1",
            "a/b/w/Adadelta",
            "w_slot_v",
            "a/b_slot_vc",
            "Adam/w/m",
            "training/Ftrl/a/w/accumulator",
            "training/SGD_1/w/momentum",
            "beta1_power",
            "x/beta2_power",
            "beta2_power_1",
            "w/part_0/Adam",
            "a/w/t_12/Ftrl_1",
            "a/w/0/Adam",
            "a/w/w/part_1/Adagrad",
            "a/w//part_1/Adagrad",
        ],
    )
    def test_names_of_slots(self, slot: str) -> None:
        assert find_slots(["w", "a/w", "a/b", slot], None) == {slot}

    @pytest.mark.parametrize(
        "name",
        [
            "Adam",
            "Adam/w",
            "v/Adam",
            "w/Adam/b",
            "w/Adamant",
            "w/Adam_x",
            "w/ExponentialMovingAverage",
            "w/m",
            "layer/w/momentum",
            "Adam/v/m",
            "Adam/w/x",
            "v_slot_v",
            "w_slot_x",
            "my_beta1_power",
            "w/adam",
            "w/moving_mean",
            "w/part_x/Adam",
            "w/u_0/Adam",
            "w/v/part_0/Adam",
            "v/part_0/Adam",
            "",
            "/",
            "/Adam",
        ],
    )
    def test_names_of_others(self, name: str) -> None:
        assert find_slots(["w", "a/w", name], None) == frozenset()

    def test_names_of_many_parts_take_no_time(self) -> None:
        names = [
            "/" * 1_000_000 + "Adam",
            "Adam/" * 200_000 + "m",
            "a/" * 500_000 + "w_slot_v",
            "0/" * 500_000 + "Adam",
        ]
        start = time.monotonic()
        assert find_slots(names, None) == frozenset()
        assert time.monotonic() - start < 5

    def test_choice_and_slots(self) -> None:
        folder = FIXTURES / "tf-1.15.5" / "training"
        assert set(tfbundle.load(folder, names="fc1/biases*", slots=False)) == {
            "fc1/biases",
            "fc1/biases/ExponentialMovingAverage",
        }
        assert tfbundle.load(folder, names=["fc1/biases/Momentum"], slots=False) == {}


def is_weight(key: str, name: str, checkpoint: tfbundle.Checkpoint) -> bool:
    weights = (*WEIGHTS, "logits/bias")
    return key not in checkpoint.slots and name.removeprefix("classifier/") in weights


def visits(graph: ObjectGraph) -> list[tuple[int, str, int, bool]]:
    return [tuple(visit) for visit in graph.walk()]


class TestWalk:
    def test_circles(self) -> None:
        graph = ObjectGraph(
            graph_of(
                {"children": [("layer", 1), ("self", 0)]},
                {"children": [("model", 0), ("self", 1), ("kernel", 2)]},
                {"children": [("owner", 1)]},
            )
        )
        assert visits(graph) == [
            (0, "", 0, True),
            (1, "layer", 1, True),
            (2, "model", 0, False),
            (2, "self", 1, False),
            (2, "kernel", 2, True),
            (3, "owner", 1, False),
            (1, "self", 0, False),
        ]

    def test_shortest_way_wins(self) -> None:
        graph = ObjectGraph(graph_of({"children": [("a", 1), ("b", 2)]}, {"children": [("deep", 2)]}, {}))
        assert visits(graph) == [(0, "", 0, True), (1, "a", 1, True), (2, "deep", 2, False), (1, "b", 2, True)]

    def test_one_object_by_two_names(self) -> None:
        graph = ObjectGraph(graph_of({"children": [("a", 1), ("b", 1), ("a", 1)]}, {}))
        assert visits(graph) == [(0, "", 0, True), (1, "a", 1, True), (1, "b", 1, False), (1, "a", 1, False)]

    def test_what_nobody_refers_to(self) -> None:
        graph = ObjectGraph(graph_of({}, {"children": [("back", 2)]}, {"children": [("back", 1)]}))
        assert visits(graph) == [(0, "", 0, True)]

    def test_deep_and_wide(self) -> None:
        count = 50_000
        chain = graph_of(*({"children": [("next", number + 1)]} for number in range(count)), {"key": "end"})
        assert sum(1 for _ in ObjectGraph(chain).walk()) == count + 1
        star = graph_of({"children": [(str(number), number + 1) for number in range(count)]}, *[{}] * count)
        assert sum(1 for _ in ObjectGraph(star).walk()) == count + 1
        mirror = graph_of({"children": [("self", 0)] * count, "slots": [(0, "m", 0)] * count, "key": "w"})
        assert sum(1 for _ in ObjectGraph(mirror).walk()) == count + 1
        assert find_slots(["w"], ObjectGraph(mirror)) == {"w"}
        claimed = graph_of(
            *[{"children": [("_variables", count), ("_iterations", count + 1)]}] * count,
            {"children": [("0", count + 1)] * count + [("1", count + 2)]},
            {},
            {"key": "w"},
        )
        assert find_slots(["w"], ObjectGraph(claimed)) == {"w"}

    @given(st.lists(st.lists(st.integers(0, 7), max_size=5), min_size=8, max_size=8))
    def test_any_graph(self, children: list[list[int]]) -> None:
        graph = ObjectGraph(graph_of(*({"children": [("x", number) for number in one]} for one in children)))
        reached = {0}
        for _ in children:
            reached |= {number for one in reached for number in children[one]}
        steps = visits(graph)
        first = [number for _, _, number, is_first in steps if is_first]
        assert sorted(first) == sorted(reached)
        assert len(steps) == 1 + sum(len(children[number]) for number in reached)
        distance = {0: 0}
        for step in range(1, 9):
            for one in [number for number, depth in distance.items() if depth == step - 1]:
                for number in children[one]:
                    distance.setdefault(number, step)
        assert {number: depth for depth, _, number, is_first in steps if is_first} == distance


class TestSequence:
    def test_items(self) -> None:
        graph = ObjectGraph(graph_of({"children": [("a", 1)]}, {"key": "k", "full_name": "n"}))
        assert graph[-1] == graph[1]
        assert graph[0].children == (("a", 1),)
        assert graph[0:5] == [graph[0], graph[1]]
        assert [node.number for node in graph] == [0, 1]
        with pytest.raises(IndexError):
            graph[2]
        assert graph.keys_of("n") == ["k"]
        assert graph.keys_of("m") == []
        assert repr(graph) == "<ObjectGraph of 2 objects, 1 variables>"


# Prints by how many bytes decoding the largest graph of a kind lets the memory grow.
_LARGEST = """
from tests.support.table_writer import encode_varint
from tfbundle.checkpoint.objects import decode_object_graph
from tfbundle.checkpoint.slots import find_slots

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

def field(tag, data):
    return tag + encode_varint(len(data)) + data

def node(full_name, key):
    return field(b"\\x0a", field(b"\\x12", field(b"\\x12", full_name) + field(b"\\x1a", key)))

if kind == "nodes":
    data = bytes((10, 0)) * most
elif kind == "children":
    data = field(b"\\x0a", bytes((10, 0)) * (most - 1))
elif kind == "attributes":
    data = b"".join(node(b"w", b"%d" % number) for number in range(most // 5))
else:
    data = b"".join(node(b"w" * 32000, b"%032000d" % number) for number in range(1000))
before = peak()
graph = decode_object_graph(data)
find_slots(("a",), graph)
for _ in graph.walk():
    pass
for number in range(len(graph)):
    graph[number]
print(peak() - before)
"""


class TestDamage:
    @pytest.mark.parametrize("number", [2, -1, 1 << 30, -(1 << 31)])
    def test_references_to_nothing(self, number: int) -> None:
        for graph in (
            graph_of({"children": [("a", number)]}, {}),
            graph_of({"slots": [(number, "m", 1)]}, {}),
            graph_of({"slots": [(1, "m", number)]}, {}),
        ):
            with pytest.raises(FormatError, match=f"node 0 of the object graph refers to node {number}, and it has 2"):
                decode_object_graph(graph.SerializeToString())

    def test_no_nodes(self) -> None:
        with pytest.raises(FormatError, match="has no nodes"):
            decode_object_graph(b"")

    @given(st.binary(max_size=60))
    def test_any_bytes(self, data: bytes) -> None:
        try:
            graph = decode_object_graph(data)
        except FormatError:
            return
        assert len(visits(graph)) >= 1

    def test_too_large(self) -> None:
        with pytest.raises(UnsupportedError, match="are not decoded"):
            decode_object_graph(bytes((64 << 20) + 1))

    @pytest.mark.parametrize("tensors", [0, 1000])
    def test_too_many(self, tensors: int) -> None:
        """They are counted before they are decoded, in whatever way their tags are written."""
        most = MOST_OBJECTS + MOST_OBJECTS_A_TENSOR * tensors
        nodes = b"\x0a\0" * (most + 1)
        long_tags = b"\x8a\x80\0\0" * (most + 1)
        children = b"\x0a" + encode_varint(len(nodes)) + nodes
        both = b"\x0a\x04\x0a\x02\x08\x01" * (most // 2 + 1)
        for data in (nodes, long_tags, children, both):
            with pytest.raises(UnsupportedError, match=f"more than {most} nodes and references"):
                decode_object_graph(data, tensors)
        assert len(decode_object_graph(nodes[: 2 * most], tensors)) == most
        if api_implementation.Type() == "upb":  # The others do not know tags in a longer form.
            assert len(decode_object_graph(long_tags[: 4 * most], tensors)) == most

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux's /proc")
    @pytest.mark.skipif(api_implementation.Type() == "python", reason="messages are larger when Python holds them")
    @pytest.mark.parametrize("kind", ["nodes", "children", "attributes", "long names"])
    def test_the_largest_costs_little(self, kind: str) -> None:
        """As much as is decoded at all takes a bounded amount of memory."""
        code = f"kind, most = {kind!r}, {MOST_OBJECTS}\n" + _LARGEST
        root = Path(tfbundle.__file__).parents[1]
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=root)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 256 << 20

    @pytest.mark.parametrize("graph", [b"\xff", b"", b"\x0a\x05\x0a"])
    def test_the_rest_stays_readable(self, tmp_path: Path, graph: bytes) -> None:
        path = write_objects(tmp_path / "model", graph, a=np.arange(3))
        with tfbundle.open_checkpoint(path) as checkpoint:
            with pytest.raises(FormatError) as caught:
                _ = checkpoint.objects
            assert caught.value.tensor == OBJECT_GRAPH_KEY
            assert caught.value.path is not None
            assert caught.value.path.endswith("model.data-00000-of-00001")
            assert checkpoint["a"].read().tolist() == [0, 1, 2]
        assert tfbundle.load(path, names=["a"])["a"].tolist() == [0, 1, 2]
        with pytest.raises(FormatError):
            tfbundle.load(path, slots=False)

    @pytest.mark.parametrize("value", [np.arange(3), object_array([b"", b""]), np.float32(1)])
    def test_another_tensor_of_that_name(self, tmp_path: Path, value: Any) -> None:
        write_bundle(tmp_path / "model", {OBJECT_GRAPH_KEY: value})
        with (
            tfbundle.open_checkpoint(tmp_path / "model") as checkpoint,
            pytest.raises(FormatError, match="not a string"),
        ):
            _ = checkpoint.objects

    def test_keys_that_are_not_there(self) -> None:
        graph = ObjectGraph(graph_of({"slots": [(1, "m", 2)]}, {"key": "w"}, {"key": "m"}))
        assert find_slots(["w"], graph) == frozenset()


class TestOtherCommands:
    def test_ls_has_names_of_variables(self) -> None:
        code, out, _ = outcome("ls", TRAINED[0], "--json")
        assert code == 0
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.objects is not None
            names = checkpoint.objects.variable_names
        for row in json.loads(out)["tensors"]:
            assert row["variable"] == names.get(row["name"])
        lines = outcome("ls", TRAINED[0], "conv/*")[1].splitlines()
        assert [line.split()[-1] for line in lines[:-1]] == ["variable", "conv/bias", "conv/kernel"]
        # Keys come first: no name of a variable is looked at where one of them matches.
        assert len(outcome("ls", TRAINED[0], "*kernel*")[1].splitlines()) == 2 + 9
        assert outcome("ls", TRAINED[0], "conv/kernels")[0] == 2

    def test_ls_without_names(self, tmp_path: Path) -> None:
        _, out, _ = outcome("ls", FIXTURES / "tf-1.15.5" / "training")
        assert "variable" not in out
        for name in ("weights.index", "weights.data-00000-of-00001"):
            (tmp_path / name).write_bytes((TRAINED[0].parent / name).read_bytes())
        assert "conv/kernel" in outcome("ls", tmp_path)[1]
        (tmp_path / "weights.data-00000-of-00001").unlink()
        code, out, _ = outcome("ls", tmp_path)
        assert code == 0
        assert "conv/kernel" not in out
        assert "layer_with_weights-0/kernel" in out

    def test_show_takes_names_of_variables(self) -> None:
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.objects is not None
            (key,) = checkpoint.objects.keys_of("conv/kernel")
        code, out, _ = outcome("show", TRAINED[0], "conv/kernel", "--json")
        assert (code, json.loads(out)["name"]) == (0, key)
        assert json.loads(out) == json.loads(outcome("show", TRAINED[0], key, "--json")[1])
        assert "conv/kernel" not in outcome("show", TRAINED[0], "conv/kernel", "0,0")[1].splitlines()[0]
        code, _, error = outcome("show", TRAINED[0], "conv/kernels")
        assert (code, "there is no tensor 'conv/kernels'" in error) == (2, True)

    def test_show_of_a_name_that_several_variables_have(self, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("a", 1), ("b", 2)]}, {"key": "v", "full_name": "same"}, {"key": "w", "full_name": "same"}
        )
        path = write_objects(tmp_path / "model", graph, v=np.arange(1), w=np.arange(2))
        code, _, error = outcome("show", path, "same")
        assert (code, error.endswith("are called 'same'; pass a key of 'v', 'w'\n")) == (2, True)
        code, _, error = outcome("export", path, tmp_path / "out.npz", "--names", "s*")
        assert (code, error.endswith("are called 'same'; pass a key of 'v', 'w'\n")) == (2, True)

    def test_export_takes_names_of_variables(self, tmp_path: Path) -> None:
        """As in load, what was chosen by a variable's name is called so, and what was chosen by its key by that."""
        out = tmp_path / "out.npz"
        wanted = tfbundle.load(TRAINED[0], names="conv/*")
        assert set(wanted) == {"conv/bias", "conv/kernel"}
        assert outcome("export", TRAINED[0], out, "--names", "conv/*")[0] == 0
        with np.load(out) as found:
            assert set(found) == set(wanted)
            for name, array in wanted.items():
                assert_same(found[name], array)
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.objects is not None
            (bias,) = checkpoint.objects.keys_of("conv/bias")
        options = ("--names", "conv/*", "--names", bias)
        assert outcome("export", TRAINED[0], out, *options)[0] == 0
        with np.load(out) as found:
            assert set(found) == {"conv/kernel", bias}
        assert outcome("export", TRAINED[0], out, "--names", "conv/*", "--exclude", "conv/bias")[0] == 0
        with np.load(out) as found:
            assert set(found) == {"conv/kernel"}
        code, _, error = outcome("export", TRAINED[0], out, "--exclude", "conv/kernels")
        assert (code, "did you mean 'conv/kernel'" in error) == (2, True)

    @trained
    def test_export_of_objects_without_slots(self, tmp_path: Path, path: Path) -> None:
        out = tmp_path / "out.npz"
        with tfbundle.open_checkpoint(path) as checkpoint:
            strings = [name for name, tensor in checkpoint.items() if tensor.dtype.hasobject]
            wanted = set(checkpoint) - checkpoint.slots - set(strings)
            assert checkpoint.slots
        options = [option for name in strings for option in ("--exclude", name)]
        assert outcome("export", path, out, "--no-slots", *options)[0] == 0
        with np.load(out) as found:
            assert set(found) == wanted

    def test_export_without_slots(self, tmp_path: Path) -> None:
        from tfbundle.export import export

        folder = FIXTURES / "tf-1.15.5" / "training"
        out = tmp_path / "out.npz"
        assert outcome("export", folder, out, "--no-slots")[0] == 0
        wanted = tfbundle.load(folder, slots=False)
        for _ in range(2):
            with np.load(out) as found:
                assert set(found) == set(wanted)
                for name, array in wanted.items():
                    assert_same(found[name], array)
            export(folder, out, slots=False)


class TestCommand:
    @pytest.fixture
    def run(self) -> Any:
        return partial(outcome, "objects")

    def test_tree(self, run: Any) -> None:
        code, out, _ = run(FIXTURES / "tf-2.4.4" / "plain-objects" / "objects")
        assert code == 0
        assert out.splitlines() == [
            "(root) #0",
            "  escaped #1",
            "    a/b.c #3  Variable  int32 []  escaped/a.Sb..c/.ATTRIBUTES/VARIABLE_VALUE",
            "    ü #4  Variable  int32 []  escaped/ü/.ATTRIBUTES/VARIABLE_VALUE",
            "  module #2",
            "    kernel #5  kernel  float32 [2,3]  module/kernel/.ATTRIBUTES/VARIABLE_VALUE",
            "    half #6  Variable  float16 [2]  module/half/.ATTRIBUTES/VARIABLE_VALUE",
            "    flags #7  Variable  bool [2]  module/flags/.ATTRIBUTES/VARIABLE_VALUE",
            "8 objects, 5 variables",
        ]
        assert "    shared -> #5" in run("--all", FIXTURES / "tf-2.4.4" / "plain-objects" / "objects")[1].splitlines()

    @trained
    def test_slots_are_called_so(self, run: Any, path: Path) -> None:
        code, out, _ = run(path)
        assert code == 0
        assert sum("  slot  " in line for line in out.splitlines()) == 16
        with tfbundle.open_checkpoint(path) as checkpoint:
            for key in checkpoint:
                assert sum(line.endswith("  " + key) for line in out.splitlines()) == (key != OBJECT_GRAPH_KEY), key

    @with_objects
    def test_json(self, run: Any, expected: Expected) -> None:
        code, out, _ = run(expected.path, "--json")
        assert code == 0
        nodes = json.loads(out)["nodes"]
        values = {value["key"]: value for node in nodes for value in node["attributes"]}
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            assert {key for key, value in values.items() if value["slot"]} == checkpoint.slots
        for key, value in values.items():
            assert value["shape"] == expected.tensors[key]["shape"]

    def test_circles_and_absent_tensors(self, run: Any, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("layer", 1)]},
            {"children": [("model", 0), ("kernel\n", 2)], "slots": [(1, "m", 2)]},
            {"key": "w", "full_name": "dense/\x1b[31m"},
        )
        code, out, _ = run(write_objects(tmp_path / "model", graph), "--all")
        assert code == 0
        assert out.splitlines() == [
            "(root) #0",
            "  layer #1",
            r"    m of #1 #2  dense/\x1b[31m  (no such tensor)  w",
            "    model -> #0",
            r"    kernel\n #2  dense/\x1b[31m  (no such tensor)  w",
            "3 objects, 1 variable",
        ]

    def test_tables_and_iterators(self, run: Any, tmp_path: Path) -> None:
        """What they save has keys that go on behind that of the attribute, as TensorFlow makes them."""
        graph = graph_of({"children": [("t", 1), ("it", 2)]}, {"key": "t/table"}, {"key": "it/ITERATOR"})
        tensors = {"t/table-keys": np.arange(2), "t/table-values": np.zeros(2, "f4"), "t/tablet": np.arange(3)}
        path = write_objects(tmp_path / "model", graph, **tensors, **{"it/ITERATOR_STATE": np.arange(4)})
        assert run(path)[1].splitlines()[1:3] == [
            "  t #1  int64 [2]  t/table-keys  float32 [2]  t/table-values",
            "  it #2  int64 [4]  it/ITERATOR_STATE",
        ]

    def test_variables_without_a_name_count(self, run: Any, tmp_path: Path) -> None:
        graph = graph_of({"children": [("v", 1), ("w", 2)]}, {"key": "v"}, {"key": "w", "full_name": "w"})
        code, out, _ = run(write_objects(tmp_path / "model", graph))
        assert code == 0
        assert out.splitlines()[-1] == "3 objects, 2 variables"

    def test_without_objects(self, run: Any) -> None:
        code, out, error = run(FIXTURES / "tf-1.15.5" / "training")
        assert (code, out) == (2, "")
        assert "stores no objects" in error
        assert len(error.splitlines()) == 1

    def test_a_saved_model_without_variables(self, run: Any, tmp_path: Path) -> None:
        """Its tensors are the constants of its graph, but objects it has all the same."""
        model = SavedModel(saved_model_schema_version=1)
        constant = model.meta_graphs.add().graph_def.node.add(name="c", op="Const")
        constant.attr["value"].tensor.CopyFrom(TensorProto(dtype=1, float_val=[1.0]))
        (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
        (tmp_path / "variables").mkdir()
        write_objects(tmp_path / "variables" / "variables", graph_of({"children": [("f", 1)]}, {}))
        code, out, _ = run(tmp_path)
        assert (code, out.splitlines()[-1]) == (0, "2 objects, 0 variables")

    def test_deep_chain(self, run: Any, tmp_path: Path) -> None:
        count = 3000
        chain = graph_of(*({"children": [("next", number + 1)]} for number in range(count)), {"key": "w"})
        code, out, _ = run(write_objects(tmp_path / "model", chain, w=np.arange(1)))
        assert code == 0
        assert len(out.splitlines()) == count + 2
        assert len(out) < 1_000_000
