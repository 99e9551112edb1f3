"""Hostile state files, graphs and SavedModels."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.catalogue import Wanted, add, case
from tests.support.bundle_writer import encode_field, encode_shape, write_bundle
from tests.support.repeats import numbered
from tests.support.table_writer import encode_varint
from tfbundle.proto import AttrValue, GraphDef, MetaGraphDef, NodeDef, OpDef, SavedModel

A = np.arange(3, dtype=np.float32)

# State files.


def _add_state(
    name: str, title: str, content: bytes | Callable[[Path], object], *, latest: str | None = None, opens: bool = False
) -> None:
    """A folder with a checkpoint ``model`` and a state file.

    ``latest`` is the name of what it has to lead to. Without it nothing opens, unless ``opens`` says that the folder
    does nevertheless.
    """

    def build(folder: Path) -> Wanted:
        inside = folder / "run"
        (folder / "elsewhere").mkdir()
        inside.mkdir()
        write_bundle(inside / "model", {"a": A})
        write_bundle(folder / "elsewhere" / "model-2", {"a": A})
        state = inside / "checkpoint"
        if callable(content):
            content(state)
        else:
            state.write_bytes(content)
        return Wanted(inside, {"latest": latest and str(inside / latest)}, opens=opens or latest is not None)

    add(f"state-{name}", "state", build, title)


def _state(*paths: str) -> bytes:
    return b"".join(
        b'%s: "%s"\n' % (b"all_model_checkpoint_paths" if number else b"model_checkpoint_path", path.encode())
        for number, path in enumerate(paths)
    )


_add_state("outside", "a state file that points out of its folder", _state("../../../../../../etc/passwd"))
_add_state("absolute", "a state file that points to a file of the system", _state("/etc/passwd"))
_add_state("moved", "a state file whose path is stale", _state("/no/such/folder/model"), latest="model")
_add_state("itself", "a state file that names itself", _state("checkpoint"))
_add_state("folder", "a state file that names its folder", _state("."))
_add_state("shards-outside", "a state file with a pattern of shards outside", _state("../../x-?????-of-99999"))
_add_state("long", "a state file with a path of a megabyte", _state("/x" * (1 << 19)))
_add_state("long-paths", "a state file with 60 paths of 64 KB", _state(*["/x" * ((1 << 15) - n) for n in range(60)]))
_add_state("largest", "a state file of 16 MB", _state("/x" * ((1 << 23) - 40)))
_add_state("longest", "a state file of 4 MB with one path", _state("/x" * ((1 << 21) - 40)))
_add_state("backslashes", "a state file of 4 MB of backslashes", rb'model_checkpoint_path: "%s"' % (rb"\z" * 2_000_000))
_add_state("long-name", "a state file with a name of 100,000 bytes", _state("x" * 100_000))
_add_state(
    "many",
    "a state file with 2,000 paths",
    _state("model", *[f"/a/b/c/model-{n}" for n in range(2000)]),
    latest="model",
)
_add_state("nul", "a state file with a NUL in its path", _state(r"mo\000del"))
_add_state("surrogates", "a state file with a path that is not UTF-8", b'model_checkpoint_path: "mo\\377del"')
_add_state("not-utf-8", "a state file that is not UTF-8", b'model_checkpoint_path: "mo\xffdel"')
_add_state("mark", "a state file with a byte-order mark", b"\xef\xbb\xbf" + _state("model"))
_add_state("utf-16", "a state file in UTF-16", _state("model").decode().encode("utf-16"))
_add_state("cut", "a state file that is cut in a string", _state("model")[:-3])
_add_state("empty", "an empty state file", b"")
_add_state("zeros", "a state file of zeros", bytes(1000))
_add_state("nested", "a state file nested 100,000 deep", b"a {" * 100_000)
_add_state("number", "a state file with a number of 100,000 digits", b"last_preserved_timestamp: " + b"9" * 100_000)
_add_state("html", "an HTML page in place of a state file", b"<!DOCTYPE html><html>" + b"<p>" * 1000)
_add_state("is-a-folder", "a folder in place of a state file", Path.mkdir, opens=True)
if os.name == "posix":
    _add_state("fifo", "a FIFO in place of a state file", os.mkfifo)
    _add_state("loop", "a state file that is a link to itself", lambda path: path.symlink_to(path.name))
    _add_state("device", "an endless device in place of a state file", lambda path: path.symlink_to("/dev/zero"))


# Graphs in binary.


def _add_graph(name: str, title: str, make: Callable[[], bytes], *, opens: bool = True, suffix: str = "pb") -> None:
    def build(folder: Path) -> Wanted:
        path = folder / f"graph.{suffix}"
        path.write_bytes(make())
        return Wanted(path, opens=opens)

    add(f"graph-{name}", "graph", build, title)


def _node(name: str, op: str = "Const", **attributes: AttrValue) -> NodeDef:
    return NodeDef(name=name, op=op, attr=attributes)


def _constant(tensor: bytes) -> bytes:
    """A frozen graph with one constant, of whose tensor the bytes are given."""
    attribute = encode_field(1, b"value") + encode_field(2, encode_field(8, tensor))
    kind = encode_field(1, b"dtype") + encode_field(2, encode_field(6, 1))
    node = encode_field(1, b"c") + encode_field(2, b"Const") + encode_field(5, attribute) + encode_field(5, kind)
    return encode_field(1, node) + encode_field(1, encode_field(1, b"other") + encode_field(2, b"NoOp"))


def _tensor(*dims: int, dtype: int = 1, rest: bytes = b"") -> bytes:
    return encode_field(1, dtype) + encode_field(2, encode_shape(dims)) + rest


_TWO_FLOATS = encode_field(5, np.float32([1, 2]).tobytes())
_CONSTANTS: dict[str, tuple[str, bytes]] = {
    "product-overflows": ("a constant whose shape overflows", _tensor(1 << 32, 1 << 32, 1 << 32, rest=_TWO_FLOATS)),
    "negative": ("a constant with a negative dimension", _tensor(-2, rest=_TWO_FLOATS)),
    "rank-300": ("a constant with 300 dimensions", _tensor(*[1] * 300, rest=_TWO_FLOATS)),
    "repeated": ("one value for 2^40 elements", _tensor(1 << 40, rest=encode_field(5, bytes(4)))),
    "expanded": ("two values for 2^28 elements", _tensor(1 << 28, rest=_TWO_FLOATS)),
    "strings-expanded": (
        "two strings for 2^30 elements",
        _tensor(1 << 30, dtype=7, rest=encode_field(8, b"a") + encode_field(8, b"b")),
    ),
    "content-too-short": ("a constant with 3 bytes for 2^40", _tensor(1 << 40, rest=encode_field(4, b"abc"))),
    "content-too-long": ("a constant with more bytes than elements", _tensor(1, rest=encode_field(4, bytes(99)))),
    "dtype-unknown": ("a constant of unknown type", _tensor(1, dtype=99, rest=encode_field(4, bytes(4)))),
    "dtype-other": ("a constant whose values are of another type", _tensor(2, dtype=9, rest=_TWO_FLOATS)),
    "strings-2-60": (
        "a constant with 2^60 strings in its content",
        _tensor(1 << 59, dtype=7, rest=encode_field(4, b"\xff" * 9 + b"\1" + bytes(6))),
    ),
}
for _name, (_title, _tensor_bytes) in _CONSTANTS.items():
    _add_graph(f"constant-{_name}", _title, lambda tensor=_tensor_bytes: _constant(tensor))  # type: ignore[misc]


def _nested(depth: int) -> bytes:
    # AttrValue.func is field 10, NameAttrList.attr 2, whose entries are a key and a value.
    value = b""
    for _ in range(depth):
        value = encode_field(10, encode_field(2, encode_field(1, b"a") + encode_field(2, value)))
    node = (
        encode_field(1, b"n")
        + encode_field(2, b"NoOp")
        + encode_field(5, encode_field(1, b"f") + encode_field(2, value))
    )
    return encode_field(1, node)


def _graph(*nodes: NodeDef) -> bytes:
    return GraphDef(node=nodes).SerializeToString()


def _integer(value: int) -> AttrValue:
    return AttrValue(i=value)


def _many_nodes(count: int) -> bytes:
    nodes = [NodeDef(name=f"n{n}", op="AddN", input=[f"n{n - 1}", f"^n{n // 2}"]) for n in range(count)]
    return GraphDef(node=nodes).SerializeToString()


def _wide(count: int) -> bytes:
    split = _node("s", "Split", num_split=_integer(count), T=AttrValue(type=1))
    return _graph(split, NodeDef(name="i", op="Identity", input=[f"s:{count - 1}"]))


_add_graph("nested-150-deep", "a graph with messages nested 150 deep", lambda: _nested(50), opens=False)
_add_graph("outputs-2-62", "a node with 2^62 outputs", lambda: _wide(1 << 62))
_add_graph("outputs-a-million", "a node with 1,000,000 outputs", lambda: _wide(1_000_000))
_add_graph("outputs-negative", "a node with -1 outputs", lambda: _wide(-1))
_add_graph("5,000-nodes".replace(",", "-"), "a chain of 5,000 nodes", lambda: _many_nodes(5000))
_add_graph(
    "cycle",
    "nodes that are each other's input",
    lambda: _graph(NodeDef(name="a", op="Identity", input=["b"]), NodeDef(name="b", op="Identity", input=["a"])),
)
_add_graph("names-twice", "two nodes of one name", lambda: _graph(_node("a"), _node("a", "NoOp")))
_add_graph("names-empty", "nodes without names", lambda: _graph(_node(""), _node("", "")), opens=False)
_add_graph(
    "inputs-odd",
    "inputs that are not names",
    lambda: _graph(
        NodeDef(
            name="a", op="Identity", input=["", "^", ":", "a:-1", "a:" + "9" * 5000, "^^a", "a:b:c:d", "b" * 100_000]
        )
    ),
)
_add_graph("empty-nodes", "a graph of 20,000 empty nodes", lambda: b"\x0a\0" * 20_000, opens=False)
_add_graph("length-2-60", "a graph with a field of 2^60 bytes", lambda: b"\x0a" + encode_varint(1 << 60), opens=False)
_add_graph("cut", "a graph that is cut", lambda: _graph(_node("abc"), _node("def"))[:-3], opens=False)
_add_graph("not-utf-8", "a graph with names that are not UTF-8", lambda: b"\x0a\x05\x0a\x03a\xff\xfe" * 2, opens=False)
_add_graph("empty", "an empty file in place of a graph", lambda: b"", opens=False)
_add_graph("zeros", "a graph of zeros", lambda: bytes(5000), opens=False)


@case("graph", "a file of 4 GiB that holds no graph")
def graph_of_4_gib(folder: Path) -> Wanted:
    path = folder / "graph.pb"
    path.write_bytes(_graph(_node("a")) + b"\x0a" + encode_varint((4 << 30) - 1000))
    os.truncate(path, 4 << 30)  # A hole, which takes no room on most file systems.
    return Wanted(path, opens=False)


@case("graph", "a text graph of 100 GiB")
def text_of_100_gib(folder: Path) -> Wanted:
    path = folder / "graph.pbtxt"
    path.write_bytes(b"node {")
    os.truncate(path, 100 << 30)
    return Wanted(path, opens=False)


@case("state", "a state file of 100 GiB")
def state_of_100_gib(folder: Path) -> Wanted:
    path = folder / "checkpoint"
    path.write_bytes(_state("model"))
    os.truncate(path, 100 << 30)
    return Wanted(folder, {"latest": None}, opens=False)


_add_graph(
    "constant-varint-endless",
    "a constant whose last varint does not end",
    lambda: _constant(_tensor(2, dtype=9, rest=encode_field(10, b"\1\xff"))),
    opens=False,
)


def _together(count: int, size: int, stated: bytes) -> bytes:
    """Constants that leave out most of their elements."""
    tensor = _tensor(size, rest=stated)
    return b"".join(
        encode_field(
            1,
            encode_field(1, b"c%d" % n)
            + encode_field(2, b"Const")
            + encode_field(5, encode_field(1, b"value") + encode_field(2, encode_field(8, tensor))),
        )
        for n in range(count)
    )


_add_graph(
    "constants-expand-together",
    "10 constants that expand to 60 MiB each",
    lambda: _together(10, 15 << 20, encode_field(5, bytes(8))),
)
_add_graph(
    "constants-repeat-together",
    "10 constants that repeat one value to 1 GiB each",
    lambda: _together(10, 1 << 28, encode_field(5, bytes(4))),
)
_add_graph(
    "constants-in-a-list",
    "an attribute with 100 tensors that expand to 60 MiB each",
    lambda: encode_field(
        1,
        encode_field(1, b"n")
        + encode_field(2, b"X")
        + encode_field(
            5,
            encode_field(1, b"x")
            + encode_field(
                2, encode_field(1, encode_field(8, _tensor(15 << 20, rest=encode_field(5, bytes(8)))) * 100)
            ),
        ),
    ),
)


def _functions(count: int, *, named: bool) -> bytes:
    """A node and many functions without bodies."""
    graph = GraphDef(node=[_node("a")])
    function = encode_field(1, encode_field(1, encode_field(1, b"f#######")))
    return graph.SerializeToString() + encode_field(2, numbered(function, count) if named else b"\x0a\0" * count)


_add_graph("functions-600-000", "600,000 empty functions", lambda: _functions(600_000, named=False), opens=False)
_add_graph(
    "functions-named", "300,000 functions that have only names", lambda: _functions(300_000, named=True), opens=False
)
_add_graph("functions-10-000", "10,000 functions that have only names", lambda: _functions(10_000, named=True))


def _among_honest(dense: bytes) -> Callable[[], bytes]:
    """100,000 nodes as TensorFlow writes them, and dense fields after them."""

    def make() -> bytes:
        node = _node("model/layer_#######/MatMul", "MatMul", T=AttrValue(type=1), transpose_a=AttrValue(b=False))
        return numbered(_graph(node), 100_000) + dense

    return make


for _name, _title, _dense in (
    ("nodes", "2,000,000 empty nodes after", b"\x0a\0" * 2_000_000),
    ("attributes", "2,000,000 nodes with an empty attribute after", b"\x0a\2\x2a\0" * 2_000_000),
    ("node", "one node of 2,000,000 empty attributes after", encode_field(1, b"\x2a\0" * 2_000_000)),
    ("some", "200 nodes of 10,000 empty attributes after", encode_field(1, b"\x2a\0" * 10_000) * 200),
    ("functions", "300,000 empty functions after", encode_field(2, b"\x0a\0" * 300_000)),
):
    _add_graph(f"dense-{_name}-after-honest", f"{_title} 100,000 honest nodes", _among_honest(_dense), opens=False)
_add_graph("nodes-2-million", "4 MB of empty nodes", lambda: b"\x0a\0" * (2 << 20), opens=False)
_add_graph(
    "attributes-a-million",
    "4 MB of nodes with an empty attribute",
    lambda: encode_field(1, encode_field(1, b"a") + encode_field(2, b"b")) + b"\x0a\2\x2a\0" * (1 << 20),
    opens=False,
)

# Metas.


def _meta(change: Callable[[MetaGraphDef], object]) -> bytes:
    meta = MetaGraphDef()
    meta.meta_info_def.tensorflow_version = "1.15.5"
    meta.graph_def.node.append(_node("a", "VariableV2", dtype=AttrValue(type=1)))
    change(meta)
    return meta.SerializeToString()


def _collection(meta: MetaGraphDef, *values: bytes) -> None:
    meta.collection_def["variables"].bytes_list.value.extend(values)
    meta.collection_def["trainable_variables"].bytes_list.value.extend(values)


_METAS: dict[str, tuple[str, Callable[[MetaGraphDef], object]]] = {
    "collection-garbage": (
        "a collection of variables that are not messages",
        lambda meta: _collection(meta, b"\xff", b""),
    ),
    "variables-are-names": (
        "a collection of variables that are names",
        lambda meta: meta.collection_def["variables"].node_list.value.append("a:0"),
    ),
    "variables-are-numbers": (
        "a collection of variables that are numbers",
        lambda meta: meta.collection_def["trainable_variables"].int64_list.value.append(7),
    ),
    "variables-many": (
        "20,000 variables that no node makes",
        lambda meta: _collection(meta, *[encode_field(1, b"v%d:0" % n) for n in range(20_000)]),
    ),
    "definitions-100-000": (
        "100,000 definitions of ops that have only names",
        lambda meta: meta.meta_info_def.stripped_op_list.op.extend(OpDef(name=f"op{n}") for n in range(100_000)),
    ),
    "saver-odd": (
        "a saver whose tensors do not exist",
        lambda meta: setattr(meta.saver_def, "save_tensor_name", "x:9"),
    ),
    "slice-info": (
        "a variable with a slice of 300 dimensions",
        lambda meta: _collection(
            meta,
            encode_field(1, b"a:0")
            + encode_field(4, encode_field(1, b"a") + b"".join([encode_field(2, 1 << 62)] * 300)),
        ),
    ),
}
for _name, (_title, _change) in _METAS.items():
    _add_graph(f"meta-{_name}", _title, lambda change=_change: _meta(change), suffix="meta")  # type: ignore[misc]


# Text.


def _add_text(name: str, title: str, text: bytes, wanted: GraphDef | None = None) -> None:
    def build(folder: Path) -> Wanted:
        path = folder / "graph.pbtxt"
        path.write_bytes(text)
        if wanted is None:
            return Wanted(path, opens=False)
        return Wanted(path, {"message": wanted.SerializeToString(deterministic=True)})

    add(f"text-{name}", "graph", build, title)


_TEXT = b'node {\n  name: "a"\n  op: "NoOp"\n}\n'
_NODE = GraphDef(node=[_node("a", "NoOp")])
_DEEP = b"node { attr { value { " + b"func { attr { value { " * 50
_add_text("mark", "a text graph with a byte-order mark", b"\xef\xbb\xbf" + _TEXT)
_add_text("not-utf-8", "a text graph that is not UTF-8", _TEXT.replace(b"a", b"\xff"))
_add_text("crlf", "a text graph with CRLF", _TEXT.replace(b"\n", b"\r\n"), _NODE)
_add_text("cut-in-a-string", "a text graph that is cut in a string", _TEXT[:-15])
_add_text("cut-in-a-message", "a text graph that is cut in a message", _TEXT[:-2])
_add_text("nested-150-deep", "a text graph nested 150 deep", _DEEP + b"} " * 153)
_add_text("nested-100-000-deep", "a text graph nested 100,000 deep", b"node {" * 100_000)
_add_text("brackets", "a text graph of 100,000 brackets", b"node " + b"<" * 100_000)
_add_text("string-endless", "a string of a megabyte that does not end", b'node { name: "' + b"a" * (1 << 20))
_add_text(
    "strings-joined",
    "20,000 strings in a row",
    b"node { name: " + (b'"' + b"a" * 50 + b'" ') * 20_000 + b"}",
    GraphDef(node=[NodeDef(name="a" * 1_000_000)]),
)
_add_text("number-long", "a number of 100,000 digits", b"versions { producer: " + b"9" * 100_000 + b" }")
_add_text("number-2-63", "a number beyond its type", b"versions { producer: 9223372036854775808 }")
_add_text(
    "float-long",
    "a float of 100,000 digits",
    b'node { attr { key: "f" value { f: 1.' + b"3" * 100_000 + b" } } }",
    GraphDef(node=[NodeDef(attr={"f": AttrValue(f=4 / 3)})]),
)
_add_text("lists-of-lists", "a list of 100,000 openings", b"node: " + b"[" * 100_000)
_add_text("comment-endless", "nothing but a comment", b"# node {\n" + b"#" * (1 << 20))
_add_text("escapes-wrong", "escapes that are none", rb'node { name: "\x \9 \u12 \U00110000 \q" }')
_add_text("colon-missing", "a text graph without colons", b'node { name "a" }')
_add_text("any", "an expanded Any of an unknown type", b"node { [type.googleapis.com/x.Y] { a: 1 } }")
_add_text("empty-nodes", "20,000 empty messages", b"node {}\n" * 20_000, GraphDef(node=[NodeDef()] * 20_000))


# SavedModels.


def _add_model(name: str, title: str, change: Callable[[Path], object], *, opens: bool = True) -> None:
    def build(folder: Path) -> Wanted:
        model = folder / "model"
        (model / "variables").mkdir(parents=True)
        write_bundle(model / "variables" / "variables", {"a": A})
        message = SavedModel(saved_model_schema_version=1)
        message.meta_graphs.add().meta_info_def.tags.append("serve")
        (model / "saved_model.pb").write_bytes(message.SerializeToString())
        change(model)
        return Wanted(model, opens=opens)

    add(f"model-{name}", "graph", build, title)


def _with_asset(name: str) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        message = SavedModel(saved_model_schema_version=1)
        message.meta_graphs.add().asset_file_def.add(filename=name)
        (model / "saved_model.pb").write_bytes(message.SerializeToString())

    return change


def _put(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


_add_model("asset-outside", "a SavedModel with an asset outside", _with_asset("../../../etc/passwd"))
_add_model("asset-absolute", "a SavedModel with an asset of the system", _with_asset("/etc/passwd"))
_add_model(
    "fingerprint-garbage",
    "a SavedModel whose fingerprint is not a message",
    lambda model: (model / "fingerprint.pb").write_bytes(b"\xff" * 9),
)
_add_model(
    "graphs-many",
    "a SavedModel with 5,000 empty graphs",
    lambda model: (model / "saved_model.pb").write_bytes(b"\x08\1" + b"\x12\0" * 5000),
)
_add_model(
    "graphs-300-000",
    "300,000 graphs that have only tags",
    lambda model: (model / "saved_model.pb").write_bytes(
        b"\x08\1" + numbered(encode_field(2, encode_field(1, encode_field(4, b"t#######"))), 300_000)
    ),
    opens=False,
)
_add_model(
    "garbage",
    "a SavedModel of random bytes",
    lambda model: (model / "saved_model.pb").write_bytes(np.random.default_rng(0).bytes(1000)),
    opens=False,
)
_add_model(
    "folder",
    "a folder in place of saved_model.pb",
    lambda model: _put(model / "saved_model.pb", Path.mkdir),
    opens=False,
)
if os.name == "posix":
    _add_model(
        "fifo",
        "a FIFO in place of saved_model.pb",
        lambda model: _put(model / "saved_model.pb", os.mkfifo),
        opens=False,
    )
    _add_model(
        "loop",
        "a saved_model.pb that is a link to itself",
        lambda model: _put(model / "saved_model.pb", lambda path: path.symlink_to(path.name)),
        opens=False,
    )
    _add_model(
        "fingerprint-fifo", "a FIFO in place of a fingerprint", lambda model: os.mkfifo(model / "fingerprint.pb")
    )
