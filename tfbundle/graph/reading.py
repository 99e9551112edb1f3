"""Find the graph file for a path, and read its message.

The kind of a file is determined by its content (``identify``), not its name: ``GraphDef``, ``MetaGraphDef`` and
``SavedModel`` can each be parsed as one of the others without an error, and would then be empty. A folder refers to the
SavedModel in it, or to the ``.meta`` file of its latest checkpoint. A member of a checkpoint refers to the checkpoint's
``.meta`` file, or to the SavedModel that the checkpoint belongs to.
"""

from __future__ import annotations

from contextlib import closing
from typing import NoReturn, TypeVar

from google.protobuf.message import DecodeError, Message

from tfbundle.checkpoint.find.names import find_files, prefix_of_member
from tfbundle.checkpoint.find.paths import find_checkpoint
from tfbundle.checkpoint.find.saved_models import is_saved_model, is_saved_model_note, variables_prefix
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError
from tfbundle.formats.message_budget import check_message
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import META_SUFFIX, SAVED_MODEL_CHUNKED_NAME, SAVED_MODEL_NAMES
from tfbundle.limits import LARGEST_MESSAGE, LARGEST_TEXT_GROWTH
from tfbundle.natural_order import natural_key
from tfbundle.proto import GraphDef, MetaGraphDef, SavedModel
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate

M = TypeVar("M", bound=Message)
AnyGraph = GraphDef | MetaGraphDef | SavedModel

# The number of bytes from which the encoding of a text is detected.
_HEAD_SIZE = 64
# TensorFlow writes this file instead of saved_model.pb for a model that exceeds protobuf's size limit.
_EXPECTED = "a graph's file (.meta, .pb, .pbtxt) or a SavedModel's folder"
# Servers keep each version of a model in a separate folder. At most so many are examined, and so many listed.
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
# Advice for files that are often mistaken for graphs.
_READERS = {
    FileKind.BUNDLE_INDEX: "tfbundle.open_checkpoint reads it",
    FileKind.V1_TABLE: "tfbundle.open_checkpoint reads it",
    FileKind.STATE: "tfbundle.read_checkpoint_state reads it",
    FileKind.EVENTS: "tfbundle.open_events(path).runs['.'].graph is the last graph in it",
    FileKind.TFRECORD: "tfbundle.read_records reads it",
    FileKind.TABLE: "it does not contain a graph",
    FileKind.SAFETENSORS: "it contains tensors but no graph",
    FileKind.NUMPY: "it contains an array but no graph",
    FileKind.NUMPY_ARCHIVE: "it contains arrays but no graph",
    FileKind.HDF5: "read it with Keras or h5py",
    FileKind.KERAS: "read it with Keras",
    FileKind.TEXT: "pass a graph's file (.meta, .pb, .pbtxt)",
    FileKind.UNKNOWN: "it may be damaged or from another program; pass a graph's file (.meta, .pb, .pbtxt)",
}


def find_saved_model(path: StrPath) -> Location:
    """Return the file of the SavedModel for a folder or a file.

    Raises ``MissingFileError`` if a folder has none.
    """
    location = _locate(path)
    if is_saved_model_note(location):
        location = location.parent
    if not location.is_folder():
        return location
    for name in SAVED_MODEL_NAMES:
        if location.join(name).is_file():
            return location.join(name)
    chunked = location.join(SAVED_MODEL_CHUNKED_NAME)
    if chunked.is_file():
        _refuse(chunked, FileKind.SAVED_MODEL_CHUNKED)
    below = [location.join(name) for name in location.list().names[:_MOST_LOOKED_INTO]]
    models = [folder.path for folder in below if folder.is_folder() and is_saved_model(folder)]
    hint = f"; there is one in {', '.join(models[:_MOST_LISTED])}" if models else ""
    raise MissingFileError(
        f"the folder {location} has no {' or '.join(SAVED_MODEL_NAMES)}, so it is not a SavedModel{hint}",
        path=location.path,
    )


def find_graph(path: StrPath) -> Location:
    """Return the graph file for a path: the file itself, or that of a SavedModel's folder or of a checkpoint."""
    location = _locate(path)
    if location.is_folder():
        if is_saved_model(location):
            return find_saved_model(location)
        try:
            return _beside(find_checkpoint(location).prefix)
        except MissingFileError as error:
            there = ", ".join(_graphs_in(location)[:_MOST_LISTED])
            hint = f"; the graphs in it are {there}" if there else ""
            raise MissingFileError(error.message + hint, path=error.path) from None
    if is_saved_model_note(location):
        return find_saved_model(location)
    prefix = prefix_of_member(location.path)
    if location.is_file() and (location.path.endswith(META_SUFFIX) or prefix is None):
        beside = location.plus(META_SUFFIX)
        return beside if beside.is_file() and kind_of(location) is FileKind.V1_TABLE else location
    return _beside(location if prefix is None else locate(prefix), location)


def _graphs_in(folder: Location) -> list[str]:
    listing = folder.list()
    names = sorted(listing.names[:_MOST_LOOKED_INTO], key=natural_key)
    files = [folder.join(name) for name in names if not listing.is_folder(name)]
    return [file.path for file in files if holds_graph(file)]


def _locate(path: StrPath) -> Location:
    location = locate(path)
    if not location.path:
        raise MissingFileError(f"the path is empty; pass {_EXPECTED}", path=location.path)
    return location


def _beside(prefix: Location, given: Location | None = None) -> Location:
    """Return the graph of the checkpoint with this prefix, for the path that was ``given``."""
    meta = prefix.plus(META_SUFFIX)
    if meta.is_file():
        return meta
    model = prefix.absolute().parent.parent
    if variables_prefix(model) == prefix.absolute() and is_saved_model(model):
        return find_saved_model(model)
    if find_files(prefix) is not None:
        raise MissingFileError(
            f"the checkpoint {prefix} has no graph: {meta} does not exist, and TensorFlow 2 does not write one; pass "
            f"{_EXPECTED}, or read its tensors with tfbundle.open_checkpoint",
            path=meta.path,
        )
    given = given or prefix
    if given.is_file():  # A data file without its index.
        raise MissingFileError(
            f"there is no graph next to {given}: {meta} does not exist; pass {_EXPECTED}", path=meta.path
        )
    also = "" if given == meta else f", and {meta} does not exist"
    raise MissingFileError(f"there is no file {given}{also}; pass {_EXPECTED}", path=given.path)


def holds_graph(path: StrPath) -> bool:
    """Return whether a path is a file with a graph, a SavedModel's folder, or a note in such a folder."""
    location = locate(path)
    if location.is_folder() or is_saved_model_note(location):
        return is_saved_model(location)
    try:
        return location.is_file() and kind_of(location) in (*_BINARY, *_TEXT)
    except (FormatError, MissingFileError):
        return False  # It is a pipe, or was deleted in the meantime.


def read_graph_message(file: Location) -> AnyGraph:
    """Return the ``GraphDef``, ``MetaGraphDef`` or ``SavedModel`` in a file.

    Raises ``UnsupportedError`` for a file of another kind or larger than protobuf allows, and ``FormatError`` for a
    damaged one.
    """
    kind = kind_of(file)
    if kind not in _BINARY and kind not in _TEXT:
        _refuse(file, kind)
    stat = file.stat()
    largest = LARGEST_MESSAGE if kind in _BINARY else LARGEST_MESSAGE * LARGEST_TEXT_GROWTH
    if stat is not None and stat.size > largest:
        raise UnsupportedError(f"{file} has {stat.size} bytes, but protobuf reads at most {largest}", path=file.path)
    data = file.read(largest)
    if kind in _BINARY:
        return decode_message(data, _BINARY[kind], path=file.path)
    from tfbundle.formats.text.textproto import parse_text

    return parse_text(data, _TEXT[kind], path=file.path)


def decode_message(data: bytes, message_class: type[M], *, path: str | None = None) -> M:
    """Return the message that is serialized in ``data``.

    Raises ``FormatError`` if ``data`` is not such a message or nests too deeply, and ``UnsupportedError`` if the
    message would take far more memory than its bytes.
    """
    check_message(data, message_class, path=path)
    try:
        return message_class.FromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        raise FormatError(
            f"{path or 'this'} is not a valid {message_class.DESCRIPTOR.name}: it is truncated or damaged", path=path
        ) from None


def _refuse(file: Location, kind: FileKind) -> NoReturn:
    if kind in (FileKind.TEXT, FileKind.UNKNOWN):
        from tfbundle.formats.text.textproto import wide_encoding

        with closing(file.open()) as source:
            encoding = wide_encoding(source.read_at(0, min(_HEAD_SIZE, source.size)))
        if encoding is not None:
            raise FormatError(f"{file} is a text file in {encoding}; save it as UTF-8", path=file.path)
    advice = _READERS.get(kind, kind.advice)
    if kind in (FileKind.EMPTY, FileKind.HTML, FileKind.GIT_LFS, FileKind.GIT_ANNEX, FileKind.ZEROS, FileKind.UNKNOWN):
        raise FormatError(f"{file} is {kind.value}; {advice}", path=file.path)
    raise UnsupportedError(f"{file} is {kind.value}, not a graph; {advice}", path=file.path)
