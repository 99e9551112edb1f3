"""What to look at in a file: by its name where a loader goes by that, and by its content.

A file that a loader would open is read as that loader reads it, whatever else it may look like: ``saved_model.pb`` is a
SavedModel, and ``.meta`` a MetaGraphDef. Everything else is what its bytes say. What is called as a graph is and cannot
be read as one is left out, and the scan is not complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from google.protobuf.message import DecodeError, Message

from tfbundle.errors import TfBundleError
from tfbundle.events.messages import read_events
from tfbundle.formats.text.textproto import parse_text
from tfbundle.graph.reading import decode_message
from tfbundle.identification.files import identify_source, is_event_file_name
from tfbundle.identification.kinds import PACKED, FileKind
from tfbundle.proto import Event, GraphDef, MetaGraphDef, RunMetadata, SavedMetadata, SavedModel
from tfbundle.scanning.archives import is_compressed_tar, tar_contents, unpacked, zip_contents
from tfbundle.scanning.assets import code_findings
from tfbundle.scanning.collecting import Collection
from tfbundle.scanning.contents import Content
from tfbundle.scanning.keras_code import bytes_findings, text_findings

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
_SAVED_MODELS = {"saved_model.pb": FileKind.SAVED_MODEL, "saved_model.pbtxt": FileKind.SAVED_MODEL_TEXT}
_CHUNKED = "saved_model.cpb"
# Archives in archives in archives.
_DEEPEST = 4
_ZIPS = (FileKind.ZIP, FileKind.KERAS, FileKind.NUMPY_ARCHIVE)
_KERAS_CONFIGURATION = "config.json"
_LARGEST_CONFIGURATION = 64 << 20


def scan_file(content: Content, found: Collection, depth: int = 0) -> None:
    """Look at one file, and add to ``found``."""
    try:
        _scan(content, found, depth)
    except TfBundleError as error:
        found.leave_out(content.path, error.message)
    except OSError as error:
        found.leave_out(content.path, f"it cannot be read: {error.strerror or error}")


def _scan(content: Content, found: Collection, depth: int) -> None:
    name = content.name
    kind = identify_source(content.source)
    found.findings += code_findings(content, is_pickle=kind in _PICKLES)
    if name == _CHUNKED or kind is FileKind.SAVED_MODEL_CHUNKED:
        found.leave_out(content.path, "it is a SavedModel in chunks, which only TensorFlow reads")
    elif name in _SAVED_MODELS:
        _graph(content, _SAVED_MODELS[name], found)
        if kind in (*_BINARY, *_TEXT) and kind is not _SAVED_MODELS[name]:
            _graph(content, kind, found)
    elif kind in _BINARY or kind in _TEXT:
        _graph(content, kind, found)
        if name.endswith(".meta") and kind in (FileKind.GRAPH, FileKind.SAVED_MODEL):
            _graph(content, FileKind.META_GRAPH, found)
    elif name == "keras_metadata.pb" or kind is FileKind.KERAS_METADATA:
        _keras_metadata(content, found)
    elif kind is FileKind.EVENTS or is_event_file_name(name):
        _events(content, found)
    elif kind in _ZIPS:
        _archive(content, found, depth, is_zip=True)
    elif kind in (FileKind.TAR, FileKind.GZIP, FileKind.BZIP2, FileKind.XZ):
        _compressed(content, kind, found, depth)
    elif kind in PACKED:
        found.leave_out(content.path, f"it is {kind.value}, which is not unpacked here")
    elif kind is FileKind.HDF5:
        _hdf5(content, found)
    elif kind is FileKind.KERAS_JSON or name == _KERAS_CONFIGURATION:
        _configuration(content, found)
    elif name.endswith((".pb", ".meta")) and kind not in _NOTES:
        _guess(content, kind, found)
    else:
        found.ignored += 1


def _graph(content: Content, kind: FileKind, found: Collection) -> None:
    data = content.read()
    if kind in _BINARY:
        message: Message = decode_message(data, _BINARY[kind], path=content.path)
    else:
        message = parse_text(data, _TEXT[kind], path=content.path)
    assert isinstance(message, GraphDef | MetaGraphDef | SavedModel)
    if isinstance(message, SavedModel) and not message.meta_graphs:
        found.leave_out(content.path, "it has no graphs; it may be damaged, or something else")
    found.files.append(content.path)
    found.message(message, content.path)


def _guess(content: Content, kind: FileKind, found: Collection) -> None:
    """Look at a file that is called as a graph is, and looks like none, as each of the three."""
    data = content.read()
    is_one = False
    readers: tuple[_Graph, ...] = (SavedModel, MetaGraphDef, GraphDef)
    for reader in readers:
        try:
            message = decode_message(data, reader)
        except TfBundleError:
            continue
        assert isinstance(message, GraphDef | MetaGraphDef | SavedModel)
        if any(_has_nodes(graph) for graph in _graphs_in(message)):
            is_one = True
            found.message(message, content.path)
    if is_one:
        found.files.append(content.path)
    else:
        found.leave_out(content.path, f"it is called as a graph is, and is {kind.value}")


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
        findings, problem = bytes_findings(content.source.view(0, content.source.size), content.path)
    except ValueError as error:
        findings, problem = [], f"a configuration in it cannot be read: {error}"
    found.files.append(content.path)
    found.findings += findings
    if problem is not None:
        found.leave_out(content.path, problem)


def _archive(content: Content, found: Collection, depth: int, *, is_zip: bool) -> None:
    if depth >= _DEEPEST:
        found.leave_out(content.path, "archives in it are too deep to be looked at")
        return
    found.files.append(content.path)
    members = zip_contents if is_zip else tar_contents
    for member in members(content, found.archives, found.leave_out, found.findings.append):
        scan_file(member, found, depth + 1)


def _compressed(content: Content, kind: FileKind, found: Collection, depth: int) -> None:
    """Look at a tar archive, or at what is in a compressed file."""
    if kind is FileKind.GZIP and is_event_file_name(content.name):
        _events(content, found)
    elif kind is FileKind.TAR or is_compressed_tar(content):
        _archive(content, found, depth, is_zip=False)
    elif depth >= _DEEPEST:
        found.leave_out(content.path, "compressed files in it are too deep to be looked at")
    else:
        inner = unpacked(content, found.archives, found.leave_out)
        if inner is not None:
            scan_file(inner, found, depth + 1)


def _events(content: Content, found: Collection) -> None:
    """Look at the graphs that a program logged."""
    found.files.append(content.path)
    with read_events(content.stream(), salvage=True) as events:
        for event in events:
            for message in _graphs_of(event, content.path, found):
                found.message(message, content.path)
        for loss in events.losses:
            found.leave_out(content.path, f"a record at offset {loss.offset} is damaged")
            break


def _graphs_of(event: Event, path: str, found: Collection) -> Iterable[GraphDef | MetaGraphDef]:
    what = event.WhichOneof("what")
    try:
        if what == "graph_def":
            return [decode_message(event.graph_def, GraphDef)]
        if what == "meta_graph_def":
            return [decode_message(event.meta_graph_def, MetaGraphDef)]
        if what == "tagged_run_metadata":
            run = decode_message(event.tagged_run_metadata.run_metadata, RunMetadata)
            return [*run.partition_graphs, *(graph.pre_optimization_graph for graph in run.function_graphs)]
    except (TfBundleError, DecodeError) as error:
        found.leave_out(path, f"a graph in it cannot be read: {error}")
    return []
