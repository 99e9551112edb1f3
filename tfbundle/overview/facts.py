"""Facts about the contents of a single file: how many nodes, tensors or records it has.

Graphs are parsed and files of records are read, up to a limit. Facts that need more than that, or a library that is not
installed, are absent.
"""

from __future__ import annotations

from typing import Any

from tfbundle.conversion.sources.opening import open_source
from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.formats.records.compression import open_stream
from tfbundle.formats.records.reader import RecordReader
from tfbundle.graph.loading import load_any
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.saved_model import SavedModel
from tfbundle.graph.weights import open_weights
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.base import Location

# The largest size, in bytes, of a graph that is read, and how many bytes of records are, uncompressed.
_MOST_GRAPH = 64 << 20
_MOST_RECORDS = 16 << 20

_GRAPHS = (
    FileKind.GRAPH,
    FileKind.GRAPH_TEXT,
    FileKind.META_GRAPH,
    FileKind.META_GRAPH_TEXT,
    FileKind.SAVED_MODEL,
    FileKind.SAVED_MODEL_TEXT,
)
_ARRAYS = (
    FileKind.NUMPY_ARCHIVE,
    FileKind.SAFETENSORS,
    FileKind.SAFETENSORS_INDEX,
    FileKind.HDF5,
    FileKind.KERAS,
)
# The kinds of which a file of compressed records may be. Nothing identifies a raw deflate stream but its records.
_MAY_BE_RECORDS = (FileKind.GZIP, FileKind.UNKNOWN)
_COMPRESSIONS = (None, "DEFLATE")


def find_facts(location: Location, kind: FileKind, size: int) -> tuple[dict[str, Any], str | None]:
    """Return facts about a file by name, and its problem if it is damaged."""
    if kind in _MAY_BE_RECORDS:
        return _find_records(location), None
    try:
        if kind in _GRAPHS and size <= _MOST_GRAPH:
            return _of_graph(location), None
        if kind in _ARRAYS:
            with open_source(location.path) as tensors:
                return {"tensors": len(tensors)}, None
        if kind is FileKind.TFRECORD:
            return _of_records(location, None, salvage=True)
    except UnsupportedError:
        return {}, None
    except (TfBundleError, OSError) as error:
        return {}, str(error)
    return {}, None


def _of_graph(location: Location) -> dict[str, Any]:
    loaded = load_any(location.path)
    if isinstance(loaded, SavedModel):
        facts: dict[str, Any] = {"graphs": len(loaded.meta_graphs)}
        nodes = sum(len(meta.graph.proto.node) for meta in loaded.meta_graphs)
        signatures = [name for meta in loaded.meta_graphs for name in meta.signatures]
    elif isinstance(loaded, MetaGraph):
        facts, nodes, signatures = {}, len(loaded.graph.proto.node), list(loaded.signatures)
    else:
        facts, nodes, signatures = {}, len(loaded.proto.node), []
    facts["nodes"] = nodes
    if signatures:
        facts["signatures"] = len(signatures)
    del loaded  # Two large graphs do not have to be in memory together.
    try:
        with open_weights(location) as weights:
            facts["constants"] = len(weights)
    except TfBundleError:
        pass  # It is not frozen, and its values are in a checkpoint.
    return facts


def _find_records(location: Location) -> dict[str, Any]:
    """Return the facts about a file of compressed records; none for other files."""
    for compression in _COMPRESSIONS:
        try:
            facts, _ = _of_records(location, compression, salvage=False)
        except (TfBundleError, OSError):
            continue
        if facts["records"]:
            return facts
    return {}


def _of_records(location: Location, compression: str | None, *, salvage: bool) -> tuple[dict[str, Any], str | None]:
    source = location.open()
    try:
        stream = open_stream(source, compression)
        reader = RecordReader(stream, salvage=salvage)
        count = 0
        for window in reader.windows():
            count += len(window.frames.starts)
            if window.offset + window.frames.end > _MOST_RECORDS:
                return {"records": f"more than {count}", "compression": stream.compression}, None
    finally:
        source.close()
    problem = None
    if reader.losses:
        lost = len(reader.losses)
        problem = f"{lost} damaged or unreadable record{'' if lost == 1 else 's'}"
    elif reader.truncation is not None:
        problem = "the last record is incomplete: it is still being written, or was interrupted"
    return {"records": count, "compression": stream.compression}, problem
