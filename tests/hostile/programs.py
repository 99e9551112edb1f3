"""Graphs and archives that make a scan take long, or much memory, or hide something after a lot."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile.catalogue import Wanted, add
from tests.support.programs import call, constant, function, node, saved_model
from tests.support.repeats import gzip_of, numbered
from tfbundle.proto import GraphDef, MetaGraphDef, NodeDef, SavedMetadata, SavedModel

_PATH = b"/tmp/hidden"


def _add(
    name: str,
    title: str,
    make: Callable[[], bytes | SavedModel | GraphDef],
    *,
    file: str = "graph.pb",
    complete: bool,
    found: str | None = None,
    argument: str | None = None,
) -> None:
    def build(folder: Path) -> Wanted:
        data = make()
        path = folder / ("saved_model.pb" if isinstance(data, SavedModel) else file)
        path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
        return Wanted(path, {"complete": complete, "found": found, "argument": argument})

    add(f"program-{name}", "program", build, title)


def _writes(*extra: NodeDef, of: str = "path") -> GraphDef:
    return GraphDef(node=[*extra, constant("path", _PATH), node("write", "WriteFile", of, "path")])


def _chain(count: int) -> SavedModel:
    nodes = [node(str(number), "NoOp", *([f"^{number - 1}"] if number else [])) for number in range(count)]
    graph = _writes(*nodes)
    graph.node[-1].input.append(f"^{count - 1}")
    return saved_model(graph, {"serve": ["write"]})


def _circle(count: int) -> SavedModel:
    """Functions that all call the next one 200 times, in a circle, and read what they are given."""
    model = saved_model(GraphDef(node=[constant("path", _PATH), node("call", "f0", "path")]), {"serve": ["call"]})
    for number in range(count):
        calls = [call(f"c{n}", f"f{(number + 1) % count}", "x") for n in range(200)]
        model.meta_graphs[0].graph_def.library.function.append(
            function(f"f{number}", ["x"], [*calls, node("read", "ReadFile", "x")])
        )
    return model


def _tree(depth: int) -> SavedModel:
    """Functions that call the next one three times, each with what the call before returned."""
    model = saved_model(GraphDef(node=[constant("path", _PATH), node("call", "f0", "path")]), {"serve": ["call"]})
    functions = model.meta_graphs[0].graph_def.library.function
    for number in range(depth):
        calls = [node(f"c{n}", f"f{number + 1}", f"c{n - 1}:o:0" if n else "x") for n in range(3)]
        functions.append(function(f"f{number}", ["x"], [*calls, node("w", "WriteFile", "c2:o:0", "x")], o="c2:o:0"))
    functions.append(function(f"f{depth}", ["x"], [node("read", "ReadFile", "x")], o="x"))
    return model


def _many_ways(count: int) -> SavedModel:
    """A function that is called with harmless paths, so often that the last one is easily overlooked."""
    nodes = [constant(f"p{number}", b"/tmp/%d" % number) for number in range(count)]
    nodes += [node(f"c{number}", "reads", f"p{number}") for number in range(count)]
    model = saved_model(GraphDef(node=nodes), {"serve": [f"c{number}" for number in range(count)]})
    model.meta_graphs[0].graph_def.library.function.append(function("reads", ["x"], [node("r", "ReadFile", "x")]))
    return model


def _doubling(count: int) -> GraphDef:
    joins = [node(f"s{n + 1}", "StringJoin", f"s{n}", f"s{n}") for n in range(count)]
    return _writes(constant("s0", b"ab" * 100), *joins, of=f"s{count}")


def _joins(count: int) -> GraphDef:
    graph = GraphDef(node=[constant("s", b"x" * 500_000)])
    for number in range(count):
        graph.node.append(node(f"j{number}", "StringJoin", "s", "s"))
        graph.node.append(node(f"w{number}", "WriteFile", f"j{number}", "s"))
    return graph


def _nested(depth: int) -> GraphDef:
    graph = _writes()
    for _ in range(depth):
        data = graph.SerializeToString()
        graph = GraphDef(node=[constant("graph", data), node("inner", "DatasetFromGraph", "graph")])
    return graph


def _numbered(one: NodeDef, count: int) -> bytes:
    return numbered(GraphDef(node=[one]).SerializeToString(), count)


def _constants(count: int) -> bytes:
    """Constants that begin as a graph does, and are none."""
    return _numbered(constant("c#######", b"\n\x05hello world text\n"), count)


def _graphs(count: int) -> bytes:
    """Constants that are graphs, each another one."""
    return _numbered(constant("c#######", GraphDef(node=[node("n#######", "Abort")]).SerializeToString()), count)


def _queues(count: int) -> GraphDef:
    graph = GraphDef()
    for n in range(count):
        graph.node.append(node(f"q{n}", "FIFOQueueV2"))
        graph.node.append(node(f"r{n}", "WholeFileReaderV2"))
        graph.node.append(node(f"d{n}", "ReaderReadV2", f"r{n}", f"q{n}"))
        graph.node.append(node(f"e{n}", "QueueEnqueueManyV2", f"q{n}", "x"))
    return graph


def _merges(count: int) -> GraphDef:
    merges = [node(f"m{n}", "Merge", *(f"m{(n * 7 + k) % count}" for k in range(10))) for n in range(count)]
    return _writes(*merges, of="m0")


def _alike(count: int) -> SavedModel:
    """Functions that all implement one interface, of which the optimizer chooses one."""
    model = saved_model(GraphDef(node=[node("call", "f0")]), {"serve": ["call"]})
    for number in range(count):
        body = [node("w", "WriteFile", "path", "path"), constant("path", _PATH)] if number == count - 1 else []
        found = function(f"f{number}", [], body)
        found.attr["api_implements"].s = b"one"
        model.meta_graphs[0].graph_def.library.function.append(found)
    return model


def _objects(count: int) -> SavedModel:
    model = saved_model(_writes(), {})
    for number in range(count):
        found = model.meta_graphs[0].object_graph_def.nodes.add()
        found.function.concrete_functions.append(f"f{number}")
        found.children.add(node_id=number + 1, local_name="a" * 20)
    return model


def _op_gradients(count: int, gradients: int) -> SavedModel:
    nodes = [call(f"n{number}", "f", op="SymbolicGradient") for number in range(count)]
    model = saved_model(GraphDef(node=nodes), {"serve": [item.name for item in nodes]})
    library = model.meta_graphs[0].graph_def.library
    for number in range(gradients):
        library.gradient.add(function_name=f"op{number}", gradient_func=f"g{number}")
        library.function.append(function(f"g{number}", ["path"], [node("read", "ReadFile", "path")]))
    return model


def _two_of_a_name() -> SavedModel:
    model = saved_model(GraphDef(node=[node("call", "f")]), {"serve": ["call"]})
    functions = model.meta_graphs[0].graph_def.library.function
    functions.append(function("f", [], [node("n", "NoOp")]))
    functions.append(function("f", [], [constant("p", _PATH), node("w", "WriteFile", "p", "p")]))
    return model


_add(
    "a-million-nodes",
    "a graph of 1,000,000 nodes",
    lambda: _numbered(node("#######", "NoOp"), 1_000_000),
    complete=False,
)
_add(
    "chain",
    "100,000 nodes in a row before one that writes",
    lambda: _chain(100_000),
    complete=True,
    found="WriteFile",
    argument="/tmp/hidden",
)
_add("circle", "functions that call each other in a circle", lambda: _circle(40), complete=True, found="ReadFile")
_add("tree", "functions that call each other 3^50 times", lambda: _tree(50), complete=False, found="ReadFile")
_add(
    "many-ways",
    "a function that is called 5,000 times",
    lambda: _many_ways(5000),
    complete=True,
    found="ReadFile",
    argument="unknown",
)
_add("doubling", "a path that doubles 300 times", lambda: _doubling(300), complete=True, found="WriteFile")
_add("joins", "3,000 paths of a megabyte", lambda: _joins(3000), complete=False, found="WriteFile")
_add("nested", "a graph in a graph, 400 times", lambda: _nested(400), complete=False, found="DatasetFromGraph")
_add("texts", "100,000 constants that begin as graphs do", lambda: _constants(100_000), complete=False)
_add("graphs", "20,000 graphs in constants", lambda: _graphs(20_000), complete=False, found="Abort")
_add("queues", "3,000 readers with a queue each", lambda: _queues(3000), complete=False, found="WholeFileReaderV2")
_add("merges", "a path that comes from any of 5,000 others", lambda: _merges(5000), complete=False, found="WriteFile")
_add("alike", "20,000 functions of which one is chosen", lambda: _alike(20_000), complete=True, found="WriteFile")
_add("objects", "an object graph in which 150,000 objects are in a row", lambda: _objects(150_000), complete=False)
_add("two-functions-of-a-name", "two functions with one name", _two_of_a_name, complete=False)
_add(
    "all-read",
    "100,000 nodes that read files",
    lambda: GraphDef(node=[node(f"r{n}", "ReadFile", f"r{(n + 1) % 100_000}") for n in range(100_000)]),
    complete=False,
    found="ReadFile",
)


def _zip(name: str, data: bytes, count: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(count):
            archive.writestr(name if count == 1 else f"{number}-{name}", data)
    return file.getvalue()


def _tar(size: int) -> bytes:
    info = tarfile.TarInfo("saved_model.pb")
    info.size = size
    return gzip_of(info.tobuf() + bytes(1 << 20)) + gzip_of(bytes(1 << 20), 16) * (size >> 24)


def _metadata(text: str) -> bytes:
    found = SavedMetadata()
    found.nodes.add(node_id=1, node_path="root", identifier="_tf_keras_layer", metadata=text)
    return found.SerializeToString()


_H5 = b"\x89HDF\r\n\x1a\n"
_add(
    "zip-bomb",
    "a zip archive of 300 MB of zeros",
    lambda: _zip("saved_model.pb", bytes(300 << 20)),
    file="model.zip",
    complete=False,
)
_add("zip-of-zips", "zip archives in each other, five deep", lambda: _zips(5), file="model.zip", complete=False)
_add(
    "zip-many",
    "a zip archive of 300 files of a megabyte",
    lambda: _zip("x.pb", bytes(1 << 20), 300),
    file="model.zip",
    complete=False,
)
_add(
    "zip-empty-files",
    "a zip archive of 20,000 empty files",
    lambda: _zip("x", b"", 20_000),
    file="model.zip",
    complete=False,
)
_add(
    "gzip-bomb",
    "a compressed file of 300 MB of zeros",
    lambda: gzip_of(bytes(1 << 20), 300),
    file="graph.pb.gz",
    complete=False,
)
_add(
    "tar-bomb",
    "a compressed tar archive of 400 MB of zeros",
    lambda: _tar(400 << 20),
    file="model.tar.gz",
    complete=False,
)
_add(
    "zip-damaged",
    "a zip archive without its end",
    lambda: _zip("x.pb", b"x" * 100)[:-30],
    file="model.zip",
    complete=False,
)
_add(
    "metadata-nested",
    "a Keras configuration nested 200,000 deep",
    lambda: _metadata("[" * 200_000),
    file="keras_metadata.pb",
    complete=False,
)
_add(
    "metadata-cut",
    "a Keras configuration that is cut short",
    lambda: _metadata('{"class_name": "Lam'),
    file="keras_metadata.pb",
    complete=False,
)
_add(
    "hdf5-nested",
    "HDF5 with a configuration nested 400,000 deep",
    lambda: _H5 + b'{"class_name":' * 400_000,
    file="model.h5",
    complete=False,
)
_add(
    "hdf5-unclosed",
    "HDF5 with 200,000 strings that do not end",
    lambda: _H5 + b'{"name":"a' * 200_000,
    file="model.h5",
    complete=False,
)
_add(
    "hdf5-many",
    "HDF5 with a configuration of 1,500,000 objects",
    lambda: _H5 + b'{"config": [' + b"{}," * 1_500_000 + b"1]}",
    file="model.h5",
    complete=False,
)


_SUPERBLOCK = _H5 + bytes(5) + b"\x08\x08" + bytes(100)
_add(
    "hdf5-keys",
    "HDF5 with 3,000,000 objects that end after their key",
    lambda: _SUPERBLOCK + b'{"a":\0' * 3_000_000,
    file="model.h5",
    complete=False,
)
_add(
    "hdf5-links",
    "HDF5 with 5,000,000 beginnings of external links",
    lambda: _SUPERBLOCK + b"\x01\x08\x40" * 5_000_000,
    file="model.h5",
    complete=False,
)
_add(
    "hdf5-lists",
    "HDF5 with 2,000,000 beginnings of lists of external files",
    lambda: _SUPERBLOCK + b"\x01\0\0\0\x01\0\x01\0" * 2_000_000,
    file="model.h5",
    complete=False,
)


def _heap() -> bytes:
    start = len(_SUPERBLOCK)
    objects = (b"\x02" + bytes(15)) * 500_000
    layouts = (b"\x04\x03" + start.to_bytes(8, "little") + (5 + n).to_bytes(4, "little") for n in range(50_000))
    return b"".join([_SUPERBLOCK, b"GCOL\1\0\0\0", (1 << 24).to_bytes(8, "little"), objects, *layouts])


_add(
    "hdf5-heap",
    "HDF5 with 50,000 virtual datasets that are not in a heap of 500,000 objects",
    _heap,
    file="model.h5",
    complete=False,
)
_add(
    "hdf5-ones",
    "HDF5 with 16 MB of ones, which are weights",
    lambda: _SUPERBLOCK + b"\x01\0\0\0" * 4_000_000,
    file="model.h5",
    complete=True,
)
_add(
    "text-nodes",
    "a text of 1,000,000 nodes that is not a graph",
    lambda: b"words\n" + b"node {\n" * 1_000_000,
    file="notes.pbtxt",
    complete=False,
)
_add(
    "text-many",
    "a text graph of 1,200,000 nodes",
    lambda: b'node { name: "a" }\n' * 1_200_000,
    file="graph.pbtxt",
    complete=False,
)
_add(
    "op-gradients",
    "20,000 nodes that may run 300 gradients",
    lambda: _op_gradients(20_000, 300),
    complete=True,
    found="ReadFile",
    argument="unknown",
)
_add(
    "unknown-fields",
    "a graph behind 1,000,000 fields that nobody knows",
    lambda: b"\xa2\x06\0" * 1_000_000 + _writes().SerializeToString(),
    file="model.bin",
    complete=True,
    found="WriteFile",
    argument="/tmp/hidden",
)


def _zips(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _zip("inner.zip", data or _zip("x", b"x"))
    return data


def _disguised(kind: str) -> bytes:
    """A SavedModel that opens with a field of another message, so that it looks like something else."""
    data = saved_model(_writes(), {"serve": ["write"]}).SerializeToString()
    other = {
        "graph": GraphDef(node=[node("n", "NoOp")]),
        "meta": MetaGraphDef(meta_info_def=MetaGraphDef.MetaInfoDef(meta_graph_version="1")),
    }[kind]
    return other.SerializeToString() + data


for _kind in ("graph", "meta"):
    _add(
        f"disguised-{_kind}",
        f"a SavedModel that begins as a {_kind} does",
        lambda kind=_kind: _disguised(kind),  # type: ignore[misc]
        file="saved_model.pb",
        complete=True,
        found="WriteFile",
        argument="/tmp/hidden",
    )
