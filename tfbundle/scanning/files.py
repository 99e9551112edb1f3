"""The scan of a file: by its name if loaders rely on that, and otherwise by its content.

A file that a loader would open is read as that loader reads it, whatever else it may look like: ``saved_model.pb`` is a
SavedModel, and ``.meta`` a MetaGraphDef. The kind of any other file is determined by its bytes. A file that is
named like a graph but cannot be read as one is left out, and the scan is not complete.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from google.protobuf.message import DecodeError, Message

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.events.messages import read_events
from tfbundle.formats.text.textproto import parse_text
from tfbundle.graph.reading import decode_message
from tfbundle.identification.files import identify_source
from tfbundle.identification.kinds import PACKED, FileKind
from tfbundle.identification.names import (
    KERAS_METADATA_NAME,
    META_SUFFIX,
    SAVED_MODEL_CHUNKED_NAME,
    SAVED_MODEL_NAME,
    SAVED_MODEL_TEXT_NAME,
    is_event_file_name,
)
from tfbundle.proto import Event, GraphDef, MetaGraphDef, RunMetadata, SavedMetadata, SavedModel
from tfbundle.scanning.archives import is_compressed_tar, is_zip, tar_contents, unpacked, zip_contents
from tfbundle.scanning.assets import code_findings
from tfbundle.scanning.collecting import MOST_NODES, Collection
from tfbundle.scanning.contents import Content
from tfbundle.scanning.disguises import may_be_message
from tfbundle.scanning.hdf5_files import has_hdf5_signature, hdf5_findings
from tfbundle.scanning.keras_code import text_findings

_Graph: TypeAlias = "type[GraphDef] | type[MetaGraphDef] | type[SavedModel]"

_BINARY: dict[FileKind, _Graph] = {
    FileKind.GRAPH: GraphDef,
    FileKind.META_GRAPH: MetaGraphDef,
    FileKind.SAVED_MODEL: SavedModel,
}
_TEXT: dict[FileKind, _Graph] = {
    FileKind.GRAPH_TEXT: GraphDef,
    FileKind.META_GRAPH_TEXT: MetaGraphDef,
    FileKind.SAVED_MODEL_TEXT: SavedModel,
}
_PICKLES = (FileKind.PICKLE, FileKind.JAX_PICKLE, FileKind.PYTORCH)
# Other messages that are called .pb.
_NOTES = (FileKind.FINGERPRINT, FileKind.HUB_MODULE, FileKind.KERAS_METADATA)
_SAVED_MODELS = {SAVED_MODEL_NAME: FileKind.SAVED_MODEL, SAVED_MODEL_TEXT_NAME: FileKind.SAVED_MODEL_TEXT}
# Archives in archives in archives.
_DEEPEST = 4
_ZIPS = (FileKind.ZIP, FileKind.KERAS, FileKind.NUMPY_ARCHIVE)
# Text has no zero bytes, not even in its comments.
_TEXT_HEAD = 4096
_GRAPH_PLUGIN = "graph_"
_LOGGED_KERAS_MODEL = "graph_keras_model"
_ZIP_NAMES = (".keras", ".zip")
_HDF5_NAMES = (".h5", ".hdf5", ".keras")
_KERAS_CONFIGURATION = "config.json"
# The key of each object of a configuration, each character of which may be escaped.
_ESCAPE = re.compile(rb"\\u00")
_PLAIN_KEY = re.compile(rb"class_name")
_CLASS_KEY = re.compile(b"".join(b"(?:%c|\\\\u00%02x)" % (letter, letter) for letter in b"class_name"), re.IGNORECASE)
_TEXT_NODE = re.compile(rb"node(?:_def)?\s*:?\s*[\[<{]")
_LARGEST_CONFIGURATION = 64 << 20


def scan_file(content: Content, found: Collection, depth: int = 0) -> None:
    """Scan one file, and add to ``found``."""
    try:
        _scan(content, found, depth)
    except TfBundleError as error:
        found.leave_out(content.path, error.message)
    except OSError as error:
        found.leave_out(content.path, f"it cannot be read: {error.strerror or error}")


def _scan(content: Content, found: Collection, depth: int) -> None:
    name = content.name
    kind = identify_source(content.source)
    if kind is FileKind.APPLE_DOUBLE:
        found.ignored += 1
        return
    found.findings += code_findings(content, is_pickle=kind in _PICKLES)
    if name == SAVED_MODEL_CHUNKED_NAME or kind is FileKind.SAVED_MODEL_CHUNKED:
        found.leave_out(content.path, "it is a SavedModel in chunks, which only TensorFlow reads")
    elif name in _SAVED_MODELS:
        _graph(content, _SAVED_MODELS[name], found)
        if kind in (*_BINARY, *_TEXT) and kind is not _SAVED_MODELS[name]:
            _graph(content, kind, found)
    elif kind in _BINARY or kind in _TEXT:
        _graph(content, kind, found)
        if name.endswith(META_SUFFIX) and kind in (FileKind.GRAPH, FileKind.SAVED_MODEL):
            _graph(content, FileKind.META_GRAPH, found)
    elif name == KERAS_METADATA_NAME or kind is FileKind.KERAS_METADATA:
        _keras_metadata(content, found)
    elif kind is FileKind.EVENTS or is_event_file_name(name):
        _events(content, found)
    elif kind in _ZIPS:
        _archive(content, found, depth, is_zip=True)
    elif kind in (FileKind.TAR, FileKind.GZIP, FileKind.BZIP2, FileKind.XZ):
        _compressed(content, kind, found, depth)
    elif kind in PACKED:
        found.leave_out(content.path, f"it is {kind.value}, which the scan does not unpack")
    elif kind is FileKind.HDF5 or (name.endswith(_HDF5_NAMES) and has_hdf5_signature(content.source)):
        _hdf5(content, found)
        # Keras opens by the name, and a zip archive is found by its end.
        if name.endswith(_ZIP_NAMES) and is_zip(content):
            _archive(content, found, depth, is_zip=True)
        elif not name.endswith(_HDF5_NAMES):
            _is_disguised(content, kind, found, depth)
    elif kind is FileKind.KERAS_JSON or name == _KERAS_CONFIGURATION:
        _configuration(content, found)
    elif name.endswith((".pb", META_SUFFIX)) and kind not in _NOTES:
        _guess(content, kind, found)
    elif not _is_disguised(content, kind, found, depth):
        found.ignored += 1


def _is_disguised(content: Content, kind: FileKind, found: Collection, depth: int) -> bool:
    """Scan a file whose first bytes hide its kind, and return whether it contains programs.

    Messages and texts may begin with fields and comments that are not known, and archives with anything.
    """
    if is_zip(content) and (kind is FileKind.UNKNOWN or content.name.endswith(_ZIP_NAMES)):
        _archive(content, found, depth, is_zip=True)
        return True
    if may_be_message(content.source) and _read_as_any(content, found, text=False):
        return True
    if kind not in (FileKind.TEXT, FileKind.UNKNOWN) or b"\0" in content.head(_TEXT_HEAD):
        return False
    text = content.source.view(0, content.source.size)
    if content.name.endswith(".json") and _has_class(text):
        _configuration(content, found)
        return True
    if _TEXT_NODE.search(text) is None:
        return False
    is_one = _read_as_any(content, found, text=True)
    if not is_one and content.name.endswith(".pbtxt"):
        found.leave_out(content.path, f"its name is that of a graph, but it is {kind.value}")
    return is_one


def _has_class(text: memoryview) -> bool:
    """Return whether a JSON document has an object with a class; plain searches are much faster than the last."""
    if _PLAIN_KEY.search(text) is not None:
        return True
    return _ESCAPE.search(text) is not None and _CLASS_KEY.search(text) is not None


def _read_as_any(content: Content, found: Collection, *, text: bool) -> bool:
    """Scan a file as each of the three messages, and return whether it is one with nodes."""
    data = content.read()
    if text:
        # Comments may be any bytes.
        data = data.decode("utf-8", "replace").encode()
        _check_text_size(data, content.path)
    is_one = False
    readers: tuple[_Graph, ...] = (SavedModel, MetaGraphDef, GraphDef)
    for reader in readers:
        try:
            message: Message = parse_text(data, reader) if text else decode_message(data, reader)
        except TfBundleError:
            continue
        assert isinstance(message, GraphDef | MetaGraphDef | SavedModel)
        if any(_has_nodes(graph) for graph in _graphs_in(message)):
            is_one = True
            found.message(message, content.path)
    if is_one:
        found.files.append(content.path)
    return is_one


def _graph(content: Content, kind: FileKind, found: Collection) -> None:
    data = content.read()
    if kind in _BINARY:
        message: Message = decode_message(data, _BINARY[kind], path=content.path)
    else:
        _check_text_size(data, content.path)
        message = parse_text(data, _TEXT[kind], path=content.path)
    assert isinstance(message, GraphDef | MetaGraphDef | SavedModel)
    if isinstance(message, SavedModel) and not message.meta_graphs:
        found.leave_out(content.path, "it has no graphs; it may be damaged, or a file of another kind")
    found.files.append(content.path)
    found.message(message, content.path)


def _check_text_size(data: bytes, path: str) -> None:
    """Raise ``FormatError`` for a text of more nodes than are traced, because parsing text is slow."""
    count = sum(1 for _ in itertools.islice(_TEXT_NODE.finditer(data), MOST_NODES + 1))
    if count > MOST_NODES:
        raise FormatError(f"it is a text of more than {MOST_NODES} nodes, the most that a scan reads", path=path)


def _guess(content: Content, kind: FileKind, found: Collection) -> None:
    """Scan a file that is named like a graph but does not look like one, as each of the three."""
    if not _read_as_any(content, found, text=False):
        found.leave_out(content.path, f"its name is that of a graph, but it is {kind.value}")


def _graphs_in(message: GraphDef | MetaGraphDef | SavedModel) -> list[GraphDef]:
    if isinstance(message, SavedModel):
        return [meta.graph_def for meta in message.meta_graphs]
    return [message.graph_def if isinstance(message, MetaGraphDef) else message]


def _has_nodes(graph: GraphDef) -> bool:
    return any(node.op for node in graph.node[:8]) or bool(graph.library.function)


def _keras_metadata(content: Content, found: Collection) -> None:
    message = decode_message(content.read(), SavedMetadata, path=content.path)
    found.files.append(content.path)
    for node in message.nodes:
        if node.metadata:
            _json(node.metadata, content.path, node.node_path, found)


def _configuration(content: Content, found: Collection) -> None:
    found.files.append(content.path)
    _json(content.read(_LARGEST_CONFIGURATION), content.path, "", found)


def _json(text: str | bytes, path: str, where: str, found: Collection) -> None:
    try:
        found.findings += text_findings(text, path, where)
    except ValueError as error:
        found.leave_out(path, f"the configuration of {where or 'the model'} cannot be read: {error}")


def _hdf5(content: Content, found: Collection) -> None:
    try:
        findings, problem = hdf5_findings(content.source.view(0, content.source.size), content.path)
    except ValueError as error:
        findings, problem = [], f"a configuration in it cannot be read: {error}"
    found.files.append(content.path)
    found.findings += findings
    if problem is not None:
        found.leave_out(content.path, problem)


def _archive(content: Content, found: Collection, depth: int, *, is_zip: bool) -> None:
    if depth >= _DEEPEST:
        found.leave_out(content.path, "archives in it are nested too deeply to be scanned")
        return
    found.files.append(content.path)
    members = zip_contents if is_zip else tar_contents
    for member in members(content, found.archives, found.leave_out, found.findings.append):
        scan_file(member, found, depth + 1)


def _compressed(content: Content, kind: FileKind, found: Collection, depth: int) -> None:
    """Scan a tar archive, or the contents of a compressed file."""
    if kind is FileKind.GZIP and is_event_file_name(content.name):
        _events(content, found)
    elif kind is FileKind.TAR or is_compressed_tar(content):
        _archive(content, found, depth, is_zip=False)
    elif depth >= _DEEPEST:
        found.leave_out(content.path, "compressed files in it are nested too deeply to be scanned")
    else:
        inner = unpacked(content, found.archives, found.leave_out)
        if inner is not None:
            scan_file(inner, found, depth + 1)


def _events(content: Content, found: Collection) -> None:
    """Scan the graphs and models that a program logged."""
    found.files.append(content.path)
    plugins: dict[str, str] = {}
    with read_events(content.stream(), salvage=True) as events:
        for event in events:
            for message in _graphs_of(event, content.path, found):
                found.message(message, content.path)
            for plugin, data in _logged_graphs(event, plugins):
                if plugin == _LOGGED_KERAS_MODEL:
                    _json(data, content.path, "", found)
                else:
                    for message in _run_graphs(data, content.path, found):
                        found.message(message, content.path)
        for loss in events.losses:
            found.leave_out(content.path, f"a record at offset {loss.offset} is damaged")
            break


def _logged_graphs(event: Event, plugins: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield the values of TensorBoard's plugin of graphs; the first of a tag states that it belongs to it."""
    for value in event.summary.value:
        if value.HasField("metadata"):  # Millions of empty values fit into a compressed file.
            plugin = value.metadata.plugin_data.plugin_name
            if plugin.startswith(_GRAPH_PLUGIN):
                plugins[value.tag] = plugin
        if plugins and value.tag in plugins:
            for data in value.tensor.string_val:
                yield plugins[value.tag], data


def _graphs_of(event: Event, path: str, found: Collection) -> Iterable[GraphDef | MetaGraphDef]:
    what = event.WhichOneof("what")
    try:
        if what == "graph_def":
            return [decode_message(event.graph_def, GraphDef)]
        if what == "meta_graph_def":
            return [decode_message(event.meta_graph_def, MetaGraphDef)]
        if what == "tagged_run_metadata":
            return _run_graphs(event.tagged_run_metadata.run_metadata, path, found)
    except (TfBundleError, DecodeError) as error:
        found.leave_out(path, f"a graph in it cannot be read: {error}")
    return []


def _run_graphs(data: bytes, path: str, found: Collection) -> list[GraphDef]:
    try:
        run = decode_message(data, RunMetadata)
    except TfBundleError as error:
        found.leave_out(path, f"a graph in it cannot be read: {error}")
        return []
    return [
        *run.partition_graphs,
        *(graph for run_graph in run.function_graphs for graph in run_graph.partition_graphs),
        *(run_graph.pre_optimization_graph for run_graph in run.function_graphs),
        *(run_graph.post_optimization_graph for run_graph in run.function_graphs),
    ]
