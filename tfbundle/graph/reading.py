"""From a path to the message of a graph that it means.

A file is what its content says (``identify``), not what it is called; ``GraphDef``, ``MetaGraphDef`` and ``SavedModel``
can each be read as one of the others without an error, and would be empty. A folder means the SavedModel in it, or the
``.meta`` of its latest checkpoint, and so does every member of a checkpoint, that of a SavedModel included.
"""

from __future__ import annotations

import os
from typing import NoReturn, TypeVar

from google.protobuf.message import DecodeError, Message

from tfbundle.checkpoint.find.names import META_SUFFIX, prefix_of_member
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.find.saved_models import (
    SAVED_MODEL_NAMES,
    is_saved_model,
    is_saved_model_note,
    variables_prefix,
)
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError
from tfbundle.formats.message_budget import check_message
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.limits import LARGEST_MESSAGE, LARGEST_TEXT_GROWTH
from tfbundle.proto import GraphDef, MetaGraphDef, SavedModel
from tfbundle.storage.local import file_size, is_file, is_folder, list_folder, read_file

M = TypeVar("M", bound=Message)
AnyGraph = GraphDef | MetaGraphDef | SavedModel

# What TensorFlow writes in place of saved_model.pb for a model beyond the size that protobuf allows.
_CHUNKED_NAME = "saved_model.cpb"
# Servers keep each version of a model in a folder of its own. So many are looked into, and so many named.
_MOST_LOOKED_INTO = 100
_MOST_LISTED = 10

_BINARY: dict[FileKind, type[AnyGraph]] = {
    FileKind.GRAPH: GraphDef,
    FileKind.META_GRAPH: MetaGraphDef,
    FileKind.SAVED_MODEL: SavedModel,
}
_TEXT: dict[FileKind, type[AnyGraph]] = {
    FileKind.GRAPH_TEXT: GraphDef,
    FileKind.META_GRAPH_TEXT: MetaGraphDef,
    FileKind.SAVED_MODEL_TEXT: SavedModel,
}
# What is worth saying of the files that people take for graphs.
_READERS = {
    FileKind.BUNDLE_INDEX: "tfbundle.open_checkpoint reads it",
    FileKind.V1_TABLE: "tfbundle.open_checkpoint reads it",
    FileKind.STATE: "tfbundle.read_checkpoint_state reads it",
    FileKind.EVENTS: "tfbundle.read_events reads it",
    FileKind.TFRECORD: "tfbundle.read_records reads it",
    FileKind.TABLE: "it holds no graph",
    FileKind.SAFETENSORS: "it holds tensors and no graph",
    FileKind.NUMPY: "it holds arrays and no graph",
    FileKind.NUMPY_ARCHIVE: "it holds arrays and no graph",
    FileKind.HDF5: "read it with Keras or h5py",
    FileKind.KERAS: "read it with Keras",
    FileKind.UNKNOWN: "it may be damaged, or of another program",
}


def find_saved_model(path: str) -> str:
    """The file of the SavedModel that a folder or a file means; ``MissingFileError`` where a folder has none."""
    if is_saved_model_note(path):
        path = os.path.dirname(path) or os.curdir
    if not is_folder(path):
        return path
    for name in SAVED_MODEL_NAMES:
        if is_file(os.path.join(path, name)):
            return os.path.join(path, name)
    chunked = os.path.join(path, _CHUNKED_NAME)
    if is_file(chunked):
        _refuse(chunked, FileKind.SAVED_MODEL_CHUNKED)
    below = [os.path.join(path, name) for name in list_folder(path)[:_MOST_LOOKED_INTO]]
    below = [folder for folder in below if is_folder(folder) and is_saved_model(folder)]
    hint = f"; there is one in {', '.join(below[:_MOST_LISTED])}" if below else ""
    raise MissingFileError(
        f"the folder {path} has no {' or '.join(SAVED_MODEL_NAMES)}, so it is not a SavedModel{hint}", path=path
    )


def find_graph(path: str) -> str:
    """The file with the graph that a path means: itself, or that of a SavedModel's folder or of a checkpoint."""
    if is_folder(path):
        if is_saved_model(path):
            return find_saved_model(path)
        try:
            return _beside(find_checkpoint(path).prefix.path)
        except MissingFileError as error:
            there = ", ".join(_graphs_in(path)[:_MOST_LISTED])
            hint = f"; the graphs in it are {there}" if there else ""
            raise MissingFileError(error.message + hint, path=error.path) from None
    if is_saved_model_note(path):
        return find_saved_model(path)
    prefix = prefix_of_member(path)
    if is_file(path) and (path.endswith(META_SUFFIX) or prefix is None):
        beside = path + META_SUFFIX
        if is_file(beside) and kind_of(path) is FileKind.V1_TABLE:
            return beside
        return path
    return _beside(path if prefix is None else prefix)


def _graphs_in(folder: str) -> list[str]:
    paths = [os.path.join(folder, name) for name in list_folder(folder)[:_MOST_LOOKED_INTO]]
    return [path for path in paths if not is_folder(path) and holds_graph(path)]


def _beside(prefix: str) -> str:
    if is_file(prefix + META_SUFFIX):
        return prefix + META_SUFFIX
    model = os.path.dirname(os.path.dirname(os.path.abspath(prefix)))
    if variables_prefix(model).path == os.path.abspath(prefix) and is_saved_model(model):
        return find_saved_model(model)
    raise MissingFileError(
        f"there is no graph {prefix}: {prefix}{META_SUFFIX} is not there; "
        "pass a graph's file (.meta, .pb, .pbtxt) or a SavedModel's folder",
        path=prefix + META_SUFFIX,
    )


def holds_graph(path: str) -> bool:
    """Whether a path is a file with a graph, or a SavedModel's folder, or a note in that."""
    if is_folder(path) or is_saved_model_note(path):
        return is_saved_model(path)
    try:
        return is_file(path) and kind_of(path) in (*_BINARY, *_TEXT)
    except (FormatError, MissingFileError):
        return False  # It is a pipe, or went away.


def read_graph_message(path: str) -> AnyGraph:
    """The message in a file, whichever of the three it is.

    Raises ``UnsupportedError`` for a file of another kind and for one that is larger than protobuf allows, and
    ``FormatError`` for a damaged one.
    """
    kind = kind_of(path)
    if kind not in _BINARY and kind not in _TEXT:
        _refuse(path, kind)
    size = file_size(path)
    largest = LARGEST_MESSAGE if kind in _BINARY else LARGEST_MESSAGE * LARGEST_TEXT_GROWTH
    if size is not None and size > largest:
        raise UnsupportedError(f"{path} has {size} bytes, and protobuf reads no more than {largest}", path=path)
    data = read_file(path, largest)
    if kind in _BINARY:
        return decode_message(data, _BINARY[kind], path=path)
    from tfbundle.formats.text.textproto import parse_text

    return parse_text(data, _TEXT[kind], path=path)


def decode_message(data: bytes, message_class: type[M], *, path: str | None = None) -> M:
    """Return the message that ``data`` is.

    Raises ``FormatError`` where it is none or nests too deeply, and ``UnsupportedError`` where it would take far more
    memory than its bytes.
    """
    check_message(data, message_class, path=path)
    try:
        return message_class.FromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        raise FormatError(
            f"{path or 'this'} is not a whole {message_class.DESCRIPTOR.name}: it was cut short or damaged", path=path
        ) from None


def _refuse(path: str, kind: FileKind) -> NoReturn:
    advice = _READERS.get(kind, kind.advice)
    if kind in (FileKind.EMPTY, FileKind.HTML, FileKind.GIT_LFS, FileKind.ZEROS, FileKind.UNKNOWN):
        raise FormatError(f"{path} is {kind.value}; {advice}", path=path)
    raise UnsupportedError(f"{path} is {kind.value}, not a graph; {advice}", path=path)
