"""What a file is, by its content.

Names are habits: a V1 checkpoint has no suffix, a ``.pb`` is a frozen graph or a SavedModel, and a ``.ckpt`` that was
downloaded may be an HTML page. So the bytes decide. Magic numbers come first. Binary protobufs have none, and most
parse as several messages (a GraphDef is also an *empty* SavedModel), so these are told apart by the numbers and wire
types of their fields. Text protobufs show themselves by the first field's name.

A kind knows how to be spoken of, and what a person who passed such a file as a checkpoint probably wants.
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import islice

from tfbundle.errors import FormatError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.sstable import FOOTER_SIZE, MAGIC, Table
from tfbundle.formats.wire import BYTES, FIXED64, VARINT, Field, walk_fields
from tfbundle.limits import MOST_FIELDS
from tfbundle.storage import ByteSource

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
    GIT_LFS = "a Git LFS pointer, which stands in for the real file"
    HTML = "an HTML page, probably of a failed download"
    EMPTY = "an empty file"
    ZEROS = "a file of zero bytes, probably of an interrupted transfer"
    UNKNOWN = "no file of a kind that is known here"

    @property
    def advice(self) -> str:
        """What to do when a checkpoint was wanted."""
        return _ADVICE.get(self, "pass a checkpoint's prefix, its .index file, or its folder")


_GRAPH_ADVICE = (
    "pass the checkpoint that was saved with it; if it is frozen, tfbundle.load_graph(path).constants has its weights, "
    "and the commands ls, show, export and verify take it"
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

_FIRST_FIELD = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|\#[^\n]*(?:\n|\Z))*([A-Za-z_]\w*)\s*[:{<\s]")
_TEXT_FIELDS = {
    b"model_checkpoint_path": FileKind.STATE,
    b"all_model_checkpoint_paths": FileKind.STATE,
    b"all_model_checkpoint_timestamps": FileKind.STATE,
    b"last_preserved_timestamp": FileKind.STATE,
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
    b"saved_model_schema_version": FileKind.SAVED_MODEL_TEXT,
    b"meta_graphs": FileKind.SAVED_MODEL_TEXT,
}

# Field numbers and wire types of the messages (TensorFlow's and ONNX's schemas).
_GRAPH_FIELDS = {(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)}
_META_GRAPH_FIELDS = {(number, BYTES) for number in range(1, 8)}
_SAVED_MODEL_FIELDS = {(1, VARINT), (2, BYTES)}
_FINGERPRINT_FIELDS = {*((number, VARINT) for number in range(1, 6)), (6, BYTES), (7, BYTES)}
_KERAS_OBJECT_FIELDS = {(2, VARINT), *((number, BYTES) for number in range(3, 7))}
_ONNX_FIELDS = {(1, VARINT), (5, VARINT), *((number, BYTES) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}
_EVENT_FIELDS = {(1, FIXED64), (2, VARINT), *((number, BYTES) for number in range(3, 11))}


def identify(path: str) -> FileKind:
    """What the file at ``path`` is.

    Never raises for what a file holds; ``MissingFileError`` where there is none, and ``FormatError`` where it is not a
    regular file.
    """
    source = ByteSource(path)
    try:
        return identify_source(source)
    finally:
        source.close()


def identify_source(source: ByteSource) -> FileKind:
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


def _identify_zip(source: ByteSource, head: bytes) -> FileKind:
    # Names stand uncompressed in each member's header and again in the directory at the end.
    tail_size = min(source.size, 16 * _HEAD_SIZE)
    names = head + source.read_at(source.size - tail_size, tail_size)
    if b"model.weights.h5" in names:
        return FileKind.KERAS
    if b"/data.pkl" in names:
        return FileKind.PYTORCH
    return FileKind.NUMPY_ARCHIVE if b".npy" in names else FileKind.ZIP


def _identify_table(source: ByteSource, head: bytes) -> FileKind | None:
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


def _identify_records(source: ByteSource, head: bytes) -> FileKind | None:
    # A record opens with its length and the masked CRC of these eight bytes, which no other file has by chance.
    if len(head) < 12 or unmask(int.from_bytes(head[8:12], "little")) != crc32c(head[:8]):
        return None
    size = int.from_bytes(head[:8], "little")
    if 12 + size <= source.size:
        found = _fields(source, 12, 12 + size)
        # Every event has a time, and few records of other kinds open with a double.
        if found and found[0][:2] == (1, FIXED64) and {field[:2] for field in found} <= _EVENT_FIELDS:
            return FileKind.EVENTS
    return FileKind.EVENTS if b"tfevents" in source.path.encode(errors="surrogateescape") else FileKind.TFRECORD


def _identify_text(source: ByteSource, head: bytes) -> FileKind | None:
    match = _FIRST_FIELD.match(head)
    return _TEXT_FIELDS.get(match[1]) if match else None


def _identify_message(source: ByteSource, head: bytes) -> FileKind | None:
    found = _fields(source, 0, source.size)
    kinds = {field[:2] for field in found}
    if not kinds:
        return None
    if (1, VARINT) in kinds:
        if kinds <= _SAVED_MODEL_FIELDS:
            return FileKind.SAVED_MODEL
        if kinds <= _FINGERPRINT_FIELDS and (2, VARINT) in kinds:
            return FileKind.FINGERPRINT
        return FileKind.ONNX if kinds <= _ONNX_FIELDS else None
    if kinds == {(1, BYTES)} and _inner(source, found) <= _KERAS_OBJECT_FIELDS:
        return FileKind.KERAS_METADATA
    graph, meta_graph = kinds <= _GRAPH_FIELDS, kinds <= _META_GRAPH_FIELDS
    if graph and meta_graph:
        graph = _is_graph(source, found)
    if graph:
        return FileKind.GRAPH
    # Files of the profiler have these fields too, but for the graph. The names of files that a GraphDebugInfo has
    # instead of what describes a meta graph are no messages.
    about = [field for field in found if field[0] == 1]
    meta_graph = meta_graph and (2, BYTES) in kinds and all(not field[3] or _inner(source, [field]) for field in about)
    return FileKind.META_GRAPH if meta_graph else None


def _is_graph(source: ByteSource, found: list[Field]) -> bool:
    """Whether fields that a GraphDef and a MetaGraphDef both have are a GraphDef's."""
    for number, _, offset, size in found:
        inner = {field[:2] for field in _fields(source, offset, offset + size)}
        if number == 1:
            # A node has a name and an op. What describes a meta graph has operators and versions, and rarely a name.
            return (1, BYTES) in inner and (2, BYTES) in inner and not inner & {(6, BYTES), (7, VARINT)}
        if number == 4:
            # Versions are numbers; collections are named.
            return inner <= {(1, VARINT), (2, VARINT), (3, VARINT), (3, BYTES)}
    return False


def _inner(source: ByteSource, found: list[Field]) -> set[tuple[int, int]]:
    """The fields of the messages in fields."""
    return {field[:2] for _, _, offset, size in found for field in _fields(source, offset, offset + size)}


def _fields(source: ByteSource, start: int, end: int) -> list[Field]:
    """The first fields of what may be a message, or none where it is not one."""
    try:
        return list(islice(walk_fields(source, start, end), MOST_FIELDS))
    except FormatError:
        return []
