"""Object graphs: names of variables, walks, and graphs that no program would save."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.internal import api_implementation
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import Saved, write_bundle
from tests.support.expected import FIXTURES, Expected
from tests.support.object_graphs import CHECKPOINTS, SUFFIX, TRAINED, WEIGHTS, graph_of, with_objects, write_objects
from tests.support.table_writer import encode_varint
from tfbundle.checkpoint.chosen_names import match_names, select_names
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY, ObjectGraph, decode_object_graph
from tfbundle.checkpoint.slots import find_slots
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.limits import MOST_OBJECTS, MOST_OBJECTS_A_TENSOR


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
        keys = tfbundle.load(path, names="*kernel" + SUFFIX)  # Keys match, so that names are not examined.
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

    def test_names_with_wildcards(self, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("a", 1), ("b", 2), ("c", 3)]},
            {"key": "a", "full_name": "w[0]"},
            {"key": "b", "full_name": "w0"},
            {"key": "w0*", "full_name": "other"},
        )
        path = write_objects(tmp_path / "model", graph, **{"a": np.arange(1), "b": np.arange(2), "w0*": np.arange(3)})
        for names, shape in (("w[0]", (1,)), (["w[0]"], (1,)), ({"w[0]": "w[0]"}, (1,)), ("w[0-9]", (2,))):
            (found,) = tfbundle.load(path, names=names).items()
            assert found[0] == ("w0" if names == "w[0-9]" else "w[0]")
            assert found[1].shape == shape
        assert list(tfbundle.load(path, names="w0*")) == ["w0*"]
        assert sorted(tfbundle.load(path, names=re.compile(r"^w.?\d"))) == ["w0*"]
        assert sorted(tfbundle.load(path, names=lambda name: name in ("w0", "w[0]"))) == ["w0", "w[0]"]

    def test_all_that_share_a_name(self, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("a", 1), ("b", 2), ("c", 3)]},
            *({"key": key, "full_name": name} for key, name in (("a", "v"), ("b", "v"), ("c", "w"))),
        )
        path = write_objects(tmp_path / "model", graph, a=np.arange(1), b=np.arange(2), c=np.arange(3))
        with tfbundle.open_checkpoint(path) as checkpoint:
            for names in ("v", "v*", ["v"], {"v": 1}, re.compile("^v$"), lambda name: name == "v"):
                assert match_names(checkpoint, names) == {"a": "v", "b": "v"}
                with pytest.raises(KeyError, match="2 variables"):
                    select_names(checkpoint, names)
            assert match_names(checkpoint, None) == {name: name for name in checkpoint}

    def test_names_beside_an_unreadable_graph(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "m", {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"\xff", object), "a": np.arange(2)})
        assert list(tfbundle.load(tmp_path / "m", names="a*")) == ["a"]
        assert list(tfbundle.load(tmp_path / "m", names=["a"])) == ["a"]
        for names in ("b", "b*", ["b"], re.compile("b$")):
            with pytest.raises(KeyError, match=r"names of its variables cannot be read: .*not a TrackableObjectGraph"):
                tfbundle.load(tmp_path / "m", names=names)

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

    def test_what_is_not_a_copy(self, tmp_path: Path) -> None:
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
            with pytest.raises(KeyError, match=f"a variable has this name, and is stored as {key!r}"):
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

    @pytest.mark.effort
    def test_deep_and_wide(self) -> None:
        count = 10_000
        start = time.process_time()
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
        assert time.process_time() - start < 2

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
            with pytest.raises(FormatError, match=f"node 0 of the object graph refers to node {number} of only 2"):
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
    @pytest.mark.effort
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


def test_a_graph_that_is_stored_in_no_slice(tmp_path: Path) -> None:
    """A partitioned tensor without the entries of its slices has no place; what reads the graph says so."""
    lost = Saved(
        object_array([b"x", b"y"]),
        slices=[((0, 1),), ((1, 1),)],
        slice_lies={0: {"raw": None}, 1: {"raw": None}},
    )
    write_bundle(tmp_path / "m", {OBJECT_GRAPH_KEY: lost, "w": np.arange(3)})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        for ask in (lambda: checkpoint.objects, lambda: checkpoint.slots, lambda: checkpoint.weights):
            with pytest.raises(FormatError, match=r"not a string|slices"):
                ask()
        with pytest.raises(KeyError, match="nope"):
            checkpoint["nope"]
        assert checkpoint["w"].read().tolist() == [0, 1, 2]
