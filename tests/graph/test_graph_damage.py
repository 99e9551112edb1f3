"""Files that are no graphs, or broken ones: our errors, that say what to do, and nothing else."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.hostile.exercise_others import look_everywhere
from tests.support.expected import FIXTURES
from tests.support.overwriting import overwrite
from tests.support.sampling import places, rounds
from tfbundle.graph.reading import decode_message
from tfbundle.limits import MOST_OUTPUTS
from tfbundle.proto import AttrValue, FunctionDef, GraphDef, MetaGraphDef, NodeDef, SaverDef
from tfbundle.proto import SavedModel as SavedModelProto

LOADERS = (tfbundle.load_graph, tfbundle.load_meta_graph, tfbundle.load_saved_model)
TRAINING = FIXTURES / "tf-1.15.5" / "training"
FROZEN = FIXTURES / "tf-1.15.5" / "frozen"
SAVED_MODEL = FIXTURES / "tf-1.15.5" / "saved-model-of-two" / "model"

every_loader = pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)


# Files of other kinds.


@every_loader
def test_nothing_there(load: Any, tmp_path: Path) -> None:
    with pytest.raises(tfbundle.MissingFileError):
        load(tmp_path / "absent")
    with pytest.raises(tfbundle.MissingFileError):
        load(tmp_path)
    with pytest.raises(tfbundle.MissingFileError):
        load("a\0b")


@every_loader
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is an empty file"),
        (b"\0" * 100, "zero bytes"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "h5py"),
        (b"PK\x03\x04 model.weights.h5", "read it with Keras"),
        (b"hello", "a text file, not a graph"),
        (b"\xfe" * 20, "a file of an unknown format"),
        (b"item { name: 'a' id: 1 }", "a text file, not a graph"),
        ("node {\n}\n".encode("utf-16"), "is a text file in UTF-16; save it as UTF-8"),
        ("node {\n}\n".encode("utf-16-be"), "is a text file in UTF-16; save it as UTF-8"),
        (b'model_checkpoint_path: "model.ckpt-1"\n', "tfbundle.read_checkpoint_state reads it"),
    ],
)
def test_other_files(load: Any, data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(data)
    with pytest.raises((tfbundle.FormatError, tfbundle.UnsupportedError), match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_each_kind_given_to_the_wrong_loader() -> None:
    graph, meta = FROZEN / "frozen.pb", TRAINING / "model.ckpt-40.meta"
    for text in (graph, FROZEN / "frozen.pbtxt"):
        with pytest.raises(tfbundle.UnsupportedError, match=r"is a GraphDef.* tfbundle.load_graph reads it"):
            tfbundle.load_meta_graph(text)
        with pytest.raises(tfbundle.UnsupportedError, match=r"is a GraphDef; tfbundle.load_graph reads it"):
            tfbundle.load_saved_model(text)
    with pytest.raises(tfbundle.UnsupportedError, match=r"is a MetaGraphDef; tfbundle.load_meta_graph reads it"):
        tfbundle.load_saved_model(meta)
    with pytest.raises(tfbundle.UnsupportedError, match=r"tfbundle\.open_checkpoint reads it"):
        tfbundle.load_saved_model(TRAINING / "model.ckpt-40.index")
    with pytest.raises(tfbundle.MissingFileError, match="is not a SavedModel"):
        tfbundle.load_saved_model(TRAINING)


def test_members_of_a_checkpoint_mean_its_graph() -> None:
    wanted = tfbundle.load_meta_graph(TRAINING / "model.ckpt-40.meta").proto
    for name in ("", "model.ckpt-40", "model.ckpt-40.index", "model.ckpt-40.data-00000-of-00001"):
        assert tfbundle.load_meta_graph(TRAINING / name).proto == wanted
        assert tfbundle.load_graph(TRAINING / name).proto == wanted.graph_def
    v1 = FIXTURES / "tf-1.15.5" / "v1-training" / "model.ckpt-30"
    assert tfbundle.load_meta_graph(v1).proto == tfbundle.load_meta_graph(f"{v1}.meta").proto


def test_members_of_a_saved_model_mean_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model"
    wanted = tfbundle.load_graph(model).proto
    for name in ("variables", "variables/variables", "variables/variables.index"):
        assert tfbundle.load_graph(model / name).proto == wanted
    monkeypatch.chdir(model / "variables")
    assert tfbundle.load_graph("variables").proto == wanted
    shutil.copytree(model / "variables", tmp_path / "variables")
    with pytest.raises(tfbundle.MissingFileError, match=r"variables\.meta does not exist"):
        tfbundle.load_graph(tmp_path / "variables")


def test_a_checkpoint_without_a_graph(tmp_path: Path) -> None:
    (tmp_path / "model.index").write_bytes((TRAINING / "model.ckpt-40.index").read_bytes())
    for name in ("model", "model.index", ""):
        with pytest.raises(tfbundle.MissingFileError, match=r"model\.meta does not exist"):
            tfbundle.load_graph(tmp_path / name)


def test_a_folder_of_graphs_alone(tmp_path: Path) -> None:
    """None of them is guessed."""
    for name in ("a.pb", "b.bin"):
        shutil.copy(FROZEN / "frozen.pb", tmp_path / name)
    (tmp_path / "notes.pb").write_bytes(b"notes")
    with pytest.raises(tfbundle.MissingFileError) as caught:
        tfbundle.load_graph(tmp_path)
    assert str(caught.value).endswith(f"; the graphs in it are {tmp_path / 'a.pb'}, {tmp_path / 'b.bin'}")


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    for number, (load, source) in enumerate(
        [
            (tfbundle.load_graph, FROZEN / "frozen.pb"),
            (tfbundle.load_graph, FROZEN / "frozen.pbtxt"),
            (tfbundle.load_meta_graph, TRAINING / "model.ckpt-40.meta"),
            (tfbundle.load_saved_model, SAVED_MODEL / "saved_model.pb"),
        ]
    ):
        path = tmp_path / f"download ({number})"
        path.write_bytes(source.read_bytes())
        assert load(path).proto.SerializeToString() == load(source).proto.SerializeToString()


# Damage.


@pytest.mark.parametrize(
    "path",
    [FROZEN / "frozen.pb", TRAINING / "model.ckpt-40.meta", SAVED_MODEL / "saved_model.pb"],
    ids=lambda p: p.name,
)
def test_damage_gives_our_errors(path: Path, tmp_path: Path) -> None:
    generator = random.Random(3)
    data = path.read_bytes()
    target = tmp_path / "saved_model.pb"
    refused = []
    for _ in rounds(range(150)):
        damaged = bytearray(data)
        if generator.random() < 0.2:
            damaged = damaged[: generator.randrange(len(data))]
        for _ in range(generator.choice([1, 1, 3, 20])):
            if damaged:
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        overwrite(target, damaged)
        for load in LOADERS:
            try:
                loaded: Any = load(target)
            except tfbundle.TfBundleError as error:
                refused.append(str(error))
                continue
            if load is LOADERS[-1] or not path.name.startswith("saved"):
                look_everywhere(loaded)
    assert refused
    assert all(str(target) in message for message in refused)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for message_class in (GraphDef, MetaGraphDef, SavedModelProto):
        with contextlib.suppress(tfbundle.FormatError):
            assert isinstance(decode_message(data, message_class), message_class)


def nested(depth: int) -> bytes:
    """A graph whose attribute is a function, with an attribute that is a function, and so on."""
    value = b""
    for _ in range(depth):
        # AttrValue.func (10) of NameAttrList.attr (2): an entry of a map, whose value (2) is the next.
        entry = b"\x12" + _length(value) + value
        function = b"\x12" + _length(entry) + entry
        value = b"\x52" + _length(function) + function
    entry = b"\x0a\x01a\x12" + _length(value) + value
    node = b"\x0a\x01n\x12\x02Op\x2a" + _length(entry) + entry
    return b"\x0a" + _length(node) + node


def _length(data: bytes) -> bytes:
    size = len(data)
    encoded = b""
    while size >= 0x80:
        encoded += bytes([size & 0x7F | 0x80])
        size >>= 7
    return encoded + bytes([size])


def test_deep_nesting(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(nested(10))
    value = tfbundle.load_graph(path).nodes["n"].attributes["a"]
    for _ in range(9):
        value = value.attributes[""]
    assert value.attributes[""] is None
    # The Python implementation of protobuf goes as deep as Python does.
    for depth in (100, 1000, 10000) if api_implementation.Type() == "upb" else (10000,):
        path.write_bytes(nested(depth))
        with pytest.raises(tfbundle.FormatError, match="not a valid GraphDef"):
            tfbundle.load_graph(path)


def test_a_message_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes((FROZEN / "frozen.pb").read_bytes())
    head = path.read_bytes()
    with path.open("r+b") as file:
        # An unknown field of 2 GiB after the nodes, in a file that takes no room.
        file.write(head + b"\x0a\x80\x80\x80\x80\x08")
        file.truncate(len(head) + 6 + (1 << 31))
    with pytest.raises((tfbundle.UnsupportedError, tfbundle.FormatError), match=str(path)):
        tfbundle.load_graph(path)


# What is valid as a message, and makes no sense as a graph.


def graph_of(*nodes: NodeDef, **fields: Any) -> tfbundle.Graph:
    return tfbundle.Graph(GraphDef(node=nodes, **fields), path="a.pb")


def test_two_nodes_of_one_name() -> None:
    graph = graph_of(NodeDef(name="n", op="A"), NodeDef(name="n", op="B"))
    assert graph.op_counts == {"A": 1, "B": 1}
    with pytest.raises(tfbundle.FormatError, match=r"two nodes of a\.pb have the name 'n'"):
        _ = graph.nodes
    with pytest.raises(tfbundle.FormatError, match="have the name 'n'"):
        graph["n:0"]


def test_two_functions_of_one_name() -> None:
    function = FunctionDef(signature={"name": "f"})
    with pytest.raises(tfbundle.FormatError, match=r"two functions of a\.pb have the name .f"):
        _ = graph_of(library={"function": [function, function]}).functions


@pytest.mark.parametrize("count", [-1, 1 << 21, (1 << 63) - 1])
def test_a_claim_of_many_outputs(count: int) -> None:
    node = NodeDef(name="n", op="Split", attr={"num_split": AttrValue(i=count), "T": AttrValue(type=1)})
    with pytest.raises(tfbundle.FormatError, match=rf"'n' claims to have {count} outputs \(a\.pb\)"):
        _ = graph_of(node).nodes["n"].outputs


def test_attributes_of_the_wrong_kind() -> None:
    graph = graph_of(NodeDef(name="n", op="MatMul", attr={"T": AttrValue(s=b"DT_FLOAT")}))
    with pytest.raises(tfbundle.FormatError, match=r"attribute 'T' of the node 'n' .* \(a\.pb\)"):
        _ = graph["n:0"]


def test_a_type_that_is_none() -> None:
    graph = graph_of(NodeDef(name="n", op="MatMul", attr={"T": AttrValue(type=77)}))  # type: ignore[arg-type]
    assert graph["n:0"].data_type == "DT_77"
    with pytest.raises(tfbundle.FormatError, match=r"77 .*\(a\.pb\)"):
        _ = graph["n:0"].dtype


def test_a_constant_of_hostile_shape() -> None:
    shape = {"dim": [{"size": 1 << 40}]}
    tensor: Any = {"dtype": 1, "tensor_shape": shape, "float_val": [1.0, 2.0]}
    graph = graph_of(NodeDef(name="n", op="Const", attr={"value": AttrValue(tensor=tensor)}))
    assert graph["n:0"].shape == (1 << 40,)
    with pytest.raises(tfbundle.UnsupportedError, match=r"tensor 'n': .*a\.pb"):
        graph.constants["n"]
    tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": 4}]}, "tensor_content": b"123"}
    with pytest.raises(tfbundle.FormatError, match=r"tensor 'n': .*a\.pb"):
        graph_of(NodeDef(name="n", op="Const", attr={"value": AttrValue(tensor=tensor)})).constants["n"]


def test_restoring_in_circles() -> None:
    strings: Any = {"dtype": 7, "tensor_shape": {"dim": [{"size": 1}]}, "string_val": [b"w"]}
    one_type = AttrValue(list={"type": [1]})
    function = FunctionDef(signature={"name": "f"}, node_def=[NodeDef(name="inner", op="f")])
    graph = GraphDef(
        node=[
            NodeDef(name="a", op="NoOp", input=["^b", "^call", "absent", "r"]),
            NodeDef(name="b", op="NoOp", input=["^a", "^b"]),
            NodeDef(name="call", op="f", input=["a"]),
            NodeDef(name="names", op="Const", attr={"value": AttrValue(tensor=strings)}),
            NodeDef(name="r", op="RestoreV2", input=["a", "names", "nothing"], attr={"dtypes": one_type}),
            NodeDef(name="i", op="Identity", input=["i"], attr={"T": AttrValue(type=1)}),
            NodeDef(name="set", op="Assign", input=["i", "i"], attr={"T": AttrValue(type=1)}),
        ],
        library={"function": [function]},
    )
    meta = tfbundle.MetaGraph(MetaGraphDef(graph_def=graph, saver_def=SaverDef(restore_op_name="a")))
    assert meta.saver is not None
    assert [(tensor.name, tensor.variable) for tensor in meta.saver.tensors] == [("w", None)]


def test_more_names_than_tensors_to_restore() -> None:
    """A constant may repeat one name forever."""
    names: Any = {"dtype": 7, "tensor_shape": {"dim": [{"size": 1 << 40}]}, "string_val": [b"w"]}
    nodes = [NodeDef(name="names", op="Const", attr={"value": AttrValue(tensor=names), "dtype": AttrValue(type=7)})]
    nodes += [NodeDef(name=f"r{number}", op="RestoreV2", input=["a", "names", "names"]) for number in range(1000)]
    meta = tfbundle.MetaGraph(MetaGraphDef(graph_def={"node": nodes}, saver_def=SaverDef(restore_op_name="r7")))
    assert meta.saver is not None
    with pytest.raises(tfbundle.FormatError, match=r"'r7' restores 0 tensors, but has 1099511627776 names"):
        _ = meta.saver.tensors


def test_one_of_a_great_many_outputs() -> None:
    count = MOST_OUTPUTS
    attributes = {"num_split": AttrValue(i=count), "T": AttrValue(type=1)}
    graph = graph_of(*(NodeDef(name=f"n{number}", op="Split", attr=attributes) for number in range(2000)))
    start = time.perf_counter()
    for number in range(2000):
        assert graph[f"n{number}:{count - 1}"].data_type == "DT_FLOAT"
        assert f"n{number}:{count}" not in graph
    assert time.perf_counter() - start < 10


@pytest.mark.effort
def test_a_saver_of_a_great_many_variables() -> None:
    count = 5_000
    names: Any = {"dtype": 7, "string_val": [b"v%d" % number for number in range(count)]}
    names["tensor_shape"] = {"dim": [{"size": count}]}
    nodes = [
        NodeDef(name="names", op="Const", attr={"value": AttrValue(tensor=names)}),
        NodeDef(name="r", op="RestoreV2", input=["a", "names"], attr={"dtypes": AttrValue(list={"type": [1] * count})}),
        NodeDef(name="all", op="NoOp", input=[f"^set{number}" for number in range(count)]),
    ]
    for number in range(count):
        nodes.append(NodeDef(name=f"v{number}", op="VariableV2"))
        nodes.append(NodeDef(name=f"set{number}", op="Assign", input=[f"v{number}", f"r:{number}"]))
    meta = tfbundle.MetaGraph(MetaGraphDef(graph_def={"node": nodes}, saver_def=SaverDef(restore_op_name="all")))
    assert meta.saver is not None
    start = time.process_time()
    assert [tensor.variable for tensor in meta.saver.tensors] == [f"v{number}" for number in range(count)]
    assert time.process_time() - start < 7.5


def test_objects_in_a_chain() -> None:
    """Each has a key as long as the way to it, and all together would take gigabytes."""
    proto = MetaGraphDef()
    count = 25_000
    for number in range(count):
        node = proto.object_graph_def.nodes.add()
        if number + 1 < count:
            node.children.add(node_id=number + 1, local_name="next")
    node.variable.name = "v"
    (key,) = tfbundle.MetaGraph(proto).variables()
    assert key == "/".join(["next"] * (count - 1)) + "/.ATTRIBUTES/VARIABLE_VALUE"
    for node in proto.object_graph_def.nodes:
        node.variable.name = "v"
    with pytest.raises(tfbundle.UnsupportedError, match=r"the keys of the variables .*a\.meta"):
        tfbundle.MetaGraph(proto, path="a.meta").variables()


def test_collections_that_are_not_messages() -> None:
    proto = MetaGraphDef()
    proto.collection_def["variables"].bytes_list.value.append(b"\xff")
    proto.collection_def["empty"].SetInParent()
    meta = tfbundle.MetaGraph(proto, path="a.meta")
    assert meta.collections["empty"] == []
    with pytest.raises(
        tfbundle.FormatError, match=r"an item of the collection 'variables' is not a VariableDef .*a\.meta"
    ):
        meta.collections["variables"]
    with pytest.raises(tfbundle.FormatError, match=r"a\.meta"):
        meta.variables()


def test_messages_of_unknown_types_stay_as_they_are() -> None:
    proto = MetaGraphDef()
    proto.collection_def["own"].any_list.value.add(type_url="type.googleapis.com/own.Message", value=b"\xff")
    collections = tfbundle.MetaGraph(proto).collections
    assert collections["own"][0].value == b"\xff"


def small_meta() -> MetaGraphDef:
    """A meta that TensorFlow wrote, with two nodes, one variable a collection, and none of the definitions of ops."""
    meta = MetaGraphDef.FromString((TRAINING / "model.ckpt-20.meta").read_bytes())
    meta.meta_info_def.ClearField("stripped_op_list")
    del meta.graph_def.node[2:]
    for key in list(meta.collection_def):
        if key in ("variables", "moving_average_variables"):
            del meta.collection_def[key].bytes_list.value[1:]
        else:
            del meta.collection_def[key]
    return meta


def changed_bytes(data: bytes) -> Iterator[bytes]:
    """Flips of a byte's lowest and highest bit, and truncations, at every place that is tried."""
    for place in places(len(data)):
        for bits in (0x01, 0x80):
            yield data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]
        yield data[:place]


def hold_against_protobuf(
    path: Path, data: bytes, load: Callable[[Path], Any], parse: Callable[[bytes], Message]
) -> tuple[int, int]:
    """Whatever byte changes, a file is read as protobuf itself reads it, or refused; how many are read, of how many."""
    read = tried = 0
    for bad in changed_bytes(data):
        tried += 1
        overwrite(path, bad)
        try:
            graph = load(path)
        except tfbundle.TfBundleError:
            continue
        read += 1
        look_everywhere(graph)
        assert graph.proto.SerializeToString(deterministic=True) == parse(bad).SerializeToString(deterministic=True)
    return read, tried


def test_every_changed_byte_of_a_meta(tmp_path: Path) -> None:
    data = small_meta().SerializeToString(deterministic=True)
    path = tmp_path / "model.meta"
    read, tried = hold_against_protobuf(path, data, tfbundle.load_meta_graph, MetaGraphDef.FromString)
    assert tried // 3 < read < tried


def test_every_changed_byte_of_a_text_graph(tmp_path: Path) -> None:
    text = text_format.MessageToString(small_meta().graph_def).encode()

    def parse(bad: bytes) -> GraphDef:
        return text_format.Parse(bad.decode(), GraphDef())

    read, tried = hold_against_protobuf(tmp_path / "graph.pbtxt", text, tfbundle.load_graph, parse)
    assert tried // 15 < read < tried
