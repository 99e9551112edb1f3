"""What a file is, by its content.

Names are habits: a V1 checkpoint has no suffix, a ``.pb`` is a frozen graph or a SavedModel, and a ``.ckpt`` that was
downloaded may be an HTML page. So the bytes decide. Magic numbers come first. Binary protobufs have none, and most
parse as several messages (a GraphDef is also an *empty* SavedModel), so these are told apart by the numbers and wire
types of their fields and of those inside of them; what other programs write in protobuf is none of them. Text
protobufs show themselves by the first field: its name, and that it opens a message where it is one.

A kind knows how to be spoken of, and what a person who passed such a file as a checkpoint probably wants.
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import islice

from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.table.reader import FOOTER_SIZE, MAGIC, Table
from tfbundle.formats.wire import BYTES, FIXED64, VARINT, Field, walk_fields
from tfbundle.limits import MOST_FIELDS
from tfbundle.storage.base import Source
from tfbundle.storage.folders import LocalLocation
from tfbundle.storage.local import LocalSource

_HEAD_SIZE = 4096


class FileKind(Enum):
    """What a file is; the value is how to speak of it."""

    BUNDLE_INDEX = "the index of a V2 checkpoint"
    V1_TABLE = "a V1 checkpoint"
    TABLE = "a sorted table, but not of a checkpoint"
    STATE = "a checkpoint state file"
    GRAPH = "a GraphDef"
    GRAPH_TEXT = "a GraphDef in text form"
    META_GRAPH = "a MetaGraphDef"
    META_GRAPH_TEXT = "a MetaGraphDef in text form"
    SAVED_MODEL = "a SavedModel"
    SAVED_MODEL_TEXT = "a SavedModel in text form"
    FINGERPRINT = "the fingerprint of a SavedModel (fingerprint.pb)"
    KERAS_METADATA = "the notes of Keras beside a SavedModel (keras_metadata.pb)"
    HUB_MODULE = "the mark of a TensorFlow Hub module beside its SavedModel (tfhub_module.pb)"
    EVENTS = "an event file"
    TFRECORD = "a TFRecord file"
    HDF5 = "an HDF5 file (such as Keras weights in .h5)"
    KERAS = "a Keras 3 archive (.keras)"
    TFLITE = "a TensorFlow Lite model"
    PYTORCH = "a PyTorch file"
    ONNX = "an ONNX model"
    SAFETENSORS = "a safetensors file"
    NUMPY = "a numpy file (.npy)"
    NUMPY_ARCHIVE = "a numpy archive (.npz)"
    PICKLE = "a Python pickle"
    ZIP = "a ZIP archive"
    GZIP = "a gzip file"
    TAR = "a tar archive"
    GIT_LFS = "a Git LFS pointer, which is a placeholder for the real file"
    HTML = "an HTML page, probably of a failed download"
    EMPTY = "an empty file"
    ZEROS = "a file of zero bytes, probably of an interrupted transfer"
    UNKNOWN = "no file of a kind that is known here"

    @property
    def advice(self) -> str:
        """What to do when a checkpoint was wanted."""
        return _ADVICE.get(self, "pass a checkpoint's prefix, its .index file, or its folder")


# What may lie in place of any file, whatever it is called.
PLACEHOLDERS = (FileKind.GIT_LFS, FileKind.HTML, FileKind.ZEROS, FileKind.ZIP, FileKind.TAR)

_GRAPH_ADVICE = (
    "pass the checkpoint that was saved with it; if it is frozen, tfbundle.load_graph(path).constants has its weights, "
    "and the commands ls, show, verify, diff, fingerprint and export take it"
)
_ADVICE = {
    FileKind.GIT_LFS: "fetch the file itself with 'git lfs pull'",
    FileKind.HTML: "download the file again, and look at the page for the reason",
    FileKind.EMPTY: "copy or download it again",
    FileKind.ZEROS: "copy or download it again",
    FileKind.ZIP: "unpack it first",
    FileKind.GZIP: "unpack it first",
    FileKind.TAR: "unpack it first",
    FileKind.HDF5: "read it with h5py; tfbundle reads TensorFlow's own checkpoints (.index and .data-*)",
    FileKind.KERAS: "read it with Keras, or unpack it as a ZIP and its model.weights.h5 with h5py",
    FileKind.PYTORCH: "read it with torch.load",
    FileKind.SAFETENSORS: "read it with the safetensors package",
    FileKind.NUMPY: "read it with numpy.load",
    FileKind.NUMPY_ARCHIVE: "read it with numpy.load",
    FileKind.ONNX: "read it with the onnx package",
    FileKind.TFLITE: "read it with a TensorFlow Lite interpreter",
    FileKind.GRAPH: _GRAPH_ADVICE,
    FileKind.GRAPH_TEXT: _GRAPH_ADVICE,
    FileKind.META_GRAPH: _GRAPH_ADVICE,
    FileKind.META_GRAPH_TEXT: _GRAPH_ADVICE,
    FileKind.FINGERPRINT: "pass the folder of the SavedModel",
    FileKind.KERAS_METADATA: "pass the folder of the SavedModel",
    FileKind.HUB_MODULE: "pass the folder of the SavedModel",
    FileKind.EVENTS: "it holds training curves; pass the checkpoint beside it",
}

_MAGIC = (
    (0, b"\x89HDF\r\n\x1a\n", FileKind.HDF5),
    (4, b"TFL3", FileKind.TFLITE),
    (0, b"\x93NUMPY", FileKind.NUMPY),
    (0, b"\x1f\x8b", FileKind.GZIP),
    (257, b"ustar", FileKind.TAR),
    (0, b"version https://git-lfs", FileKind.GIT_LFS),
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", FileKind.PYTORCH),  # The pickled magic of old torch.save.
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x00-\xff]")
# A comment ends at the first "-->" alone: with more ways to match, many comments take for ever.
_HTML = re.compile(rb"\s*(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_SAFETENSORS = re.compile(rb'.{6}\0\0\{\s*"', re.DOTALL)

_GAP = rb"(?:\s|\#[^\n]*(?:\n|\Z))*"
_FIRST_NAME = re.compile(rb"(?:\xef\xbb\xbf)?" + _GAP + rb"([A-Za-z_]\w*)" + _GAP)
_OPENING = re.compile(rb":?" + _GAP + rb"(?:\[\s*)?[{<]")
# What begins with one of these words and opens no message is a script, or the notes of another program ("node: 12ab").
_TEXT_MESSAGES = {
    b"node": FileKind.GRAPH_TEXT,
    b"versions": FileKind.GRAPH_TEXT,
    b"library": FileKind.GRAPH_TEXT,
    b"meta_info_def": FileKind.META_GRAPH_TEXT,
    b"graph_def": FileKind.META_GRAPH_TEXT,
    b"saver_def": FileKind.META_GRAPH_TEXT,
    b"collection_def": FileKind.META_GRAPH_TEXT,
    b"signature_def": FileKind.META_GRAPH_TEXT,
    b"asset_file_def": FileKind.META_GRAPH_TEXT,
    b"object_graph_def": FileKind.META_GRAPH_TEXT,
    b"meta_graphs": FileKind.SAVED_MODEL_TEXT,
}
_TEXT_VALUES = {
    b"saved_model_schema_version": FileKind.SAVED_MODEL_TEXT,
    b"model_checkpoint_path": FileKind.STATE,
    b"all_model_checkpoint_paths": FileKind.STATE,
    b"all_model_checkpoint_timestamps": FileKind.STATE,
    b"last_preserved_timestamp": FileKind.STATE,
}

# Field numbers and wire types of the messages (TensorFlow's and ONNX's schemas).
_GRAPH_FIELDS = {(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)}
_NODE_FIELDS = {(number, BYTES) for number in range(1, 8)}
_LIBRARY_FIELDS = {(number, BYTES) for number in range(1, 4)}
_VERSION_FIELDS = {(1, VARINT), (2, VARINT), (3, VARINT), (3, BYTES)}
_META_GRAPH_FIELDS = {(number, BYTES) for number in range(1, 8)}
_META_INFO_FIELDS = {*((number, BYTES) for number in (1, 2, 3, 4, 5, 6, 8)), (7, VARINT)}
_HUB_VERSION = b"\x03"
_SAVED_MODEL_FIELDS = {(1, VARINT), (2, BYTES)}
_HASH_FIELDS = {(number, VARINT) for number in range(1, 5)}  # That of the variables is left out where there are none.
_FINGERPRINT_FIELDS = {*_HASH_FIELDS, (5, VARINT), (6, BYTES), (7, BYTES)}
_KERAS_OBJECT_FIELDS = {(2, VARINT), *((number, BYTES) for number in range(3, 7))}
_ONNX_FIELDS = {(1, VARINT), (5, VARINT), *((number, BYTES) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}
_EVENT_FIELDS = {(1, FIXED64), (2, VARINT), *((number, BYTES) for number in range(3, 11))}


def is_event_file_name(name: str) -> bool:
    """Return whether a file of this base name is an event file, by TensorBoard's rule.

    That takes in ``.v2`` and ``.profile-empty`` files (TensorBoard, ``backend/event_processing/io_wrapper``).
    """
    return "tfevents" in name


def identify(path: str) -> FileKind:
    """What the file at ``path`` is.

    Never raises for what a file holds; ``MissingFileError`` where there is none, and ``FormatError`` where it is not a
    regular file.
    """
    source = LocalSource(path)
    try:
        return identify_source(source)
    finally:
        source.close()


def identify_source(source: Source) -> FileKind:
    """What an open file is."""
    head = source.read_at(0, min(_HEAD_SIZE, source.size))
    if not head:
        return FileKind.EMPTY
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _identify_zip(source, head)
    if _HTML.match(head):
        return FileKind.HTML
    if _SAFETENSORS.match(head):
        return FileKind.SAFETENSORS
    for recognise in (_identify_table, _identify_records, _identify_text, _identify_message):
        found = recognise(source, head)
        if found is not None:
            return found
    if _PICKLE.match(head):
        return FileKind.PICKLE
    return FileKind.UNKNOWN if head.strip(b"\0") else FileKind.ZEROS


def _identify_zip(source: Source, head: bytes) -> FileKind:
    # Names stand uncompressed in each member's header and again in the directory at the end.
    tail_size = min(source.size, 16 * _HEAD_SIZE)
    names = head + source.read_at(source.size - tail_size, tail_size)
    if b"model.weights.h5" in names:
        return FileKind.KERAS
    if b"/data.pkl" in names:
        return FileKind.PYTORCH
    # Archives of anything may hold a .npy somewhere; numpy's hold nothing else.
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return FileKind.NUMPY_ARCHIVE if first.endswith(b".npy") else FileKind.ZIP


def _identify_table(source: Source, head: bytes) -> FileKind | None:
    if source.size < FOOTER_SIZE or source.read_at(source.size - 8, 8) != MAGIC.to_bytes(8, "little"):
        return None
    try:
        value = Table(source, verify=False).find(b"")
    except FormatError:
        # It ends as a table does, so it is one, though damaged. Only the name can tell which.
        return FileKind.BUNDLE_INDEX if source.path.endswith(".index") else FileKind.V1_TABLE
    if value is None:
        return FileKind.TABLE
    # SavedTensorSlices holds one message, the header of a bundle numbers first.
    return FileKind.V1_TABLE if value[:1] == b"\x0a" else FileKind.BUNDLE_INDEX


def _identify_records(source: Source, head: bytes) -> FileKind | None:
    # A record opens with its length and the masked CRC of these eight bytes, which no other file has by chance.
    if len(head) < 12 or unmask(int.from_bytes(head[8:12], "little")) != crc32c(head[:8]):
        return None
    size = int.from_bytes(head[:8], "little")
    if 12 + size <= source.size:
        found = _fields(source, 12, 12 + size)
        # Every event has a time, and few records of other kinds open with a double.
        if found and found[0][:2] == (1, FIXED64) and {field[:2] for field in found} <= _EVENT_FIELDS:
            return FileKind.EVENTS
    return FileKind.EVENTS if is_event_file_name(LocalLocation(source.path).name) else FileKind.TFRECORD


def _identify_text(source: Source, head: bytes) -> FileKind | None:
    match = _FIRST_NAME.match(head)
    if match is None:
        return None
    if _OPENING.match(head, match.end()):
        return _TEXT_MESSAGES.get(match[1])
    return _TEXT_VALUES.get(match[1]) if head.startswith(b":", match.end()) else None


def _identify_message(source: Source, head: bytes) -> FileKind | None:
    found = _fields(source, 0, source.size)
    kinds = {field[:2] for field in found}
    if not kinds:
        return None
    if (1, VARINT) in kinds:
        # Both would state a version alone, but a SavedModel has had only the first.
        if kinds == {(1, VARINT)} and source.read_at(found[0].offset, found[0].size) == _HUB_VERSION:
            return FileKind.HUB_MODULE
        if kinds <= _SAVED_MODEL_FIELDS and _hold(source, found, 2, _META_GRAPH_FIELDS):
            return FileKind.SAVED_MODEL
        if _HASH_FIELDS <= kinds <= _FINGERPRINT_FIELDS:
            return FileKind.FINGERPRINT
        return FileKind.ONNX if kinds <= _ONNX_FIELDS and (7, BYTES) in kinds else None
    if kinds == {(1, BYTES)} and _hold(source, found, 1, _KERAS_OBJECT_FIELDS):
        return FileKind.KERAS_METADATA
    if kinds <= _GRAPH_FIELDS and _is_graph(source, found):
        return FileKind.GRAPH
    # Others have these fields too, such as the files of the profiler, a GraphDebugInfo and a SentencePiece model.
    meta_graph = kinds <= _META_GRAPH_FIELDS and (2, BYTES) in kinds
    meta_graph = meta_graph and _hold(source, found, 1, _META_INFO_FIELDS) and _hold(source, found, 2, _GRAPH_FIELDS)
    return FileKind.META_GRAPH if meta_graph else None


def _is_graph(source: Source, found: list[Field]) -> bool:
    """Whether fields that a GraphDef has are a GraphDef's."""
    for number, _, offset, size in found:
        if number == 1:
            # A node has a name and an op. What describes a meta graph begins with neither, or has a list of operators
            # where a node has its own; and a set of protobuf schemas has files, with names and packages.
            node = {field.number: field for field in reversed(_fields(source, offset, offset + size))}
            if not {1, 2} <= node.keys() or not {field[:2] for field in node.values()} <= _NODE_FIELDS:
                return False
            name, op = node[1], node[2]
            suffix = source.read_at(name.offset + max(name.size - 6, 0), min(name.size, 6))
            return suffix != b".proto" and source.read_at(op.offset, min(op.size, 1)) != b"\x0a"
    return _hold(source, found, 2, _LIBRARY_FIELDS) and _hold(source, found, 4, _VERSION_FIELDS)


def _hold(source: Source, found: list[Field], number: int, allowed: set[tuple[int, int]]) -> bool:
    """Whether the fields of this number are messages with no other fields than those allowed."""
    for field in found:
        if field.number == number and field.size:
            inner = {part[:2] for part in _fields(source, field.offset, field.offset + field.size)}
            if not inner or not inner <= allowed:
                return False
    return True


def _fields(source: Source, start: int, end: int) -> list[Field]:
    """The first fields of what may be a message, or none where it is not one."""
    try:
        return list(islice(walk_fields(source, start, end), MOST_FIELDS))
    except FormatError:
        return []
