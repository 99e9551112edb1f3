"""Contradictions between the suffix of a file name and the content of the file."""

from __future__ import annotations

import re

from tfbundle.checkpoint.find.names import parse_shard
from tfbundle.checkpoint.find.renamed import index_name_for, original_name
from tfbundle.identification.kinds import PACKED, FileKind
from tfbundle.identification.names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    SAVED_MODEL_CHUNKED_NAME,
    SAVED_MODEL_NAME,
    SAVED_MODEL_NAMES,
    SAVED_MODEL_TEXT_NAME,
    is_event_file_name,
)
from tfbundle.storage.base import Listing

_RECORDS = (FileKind.TFRECORD, FileKind.EVENTS, FileKind.GZIP)
_PROTOBUFS = (
    FileKind.GRAPH,
    FileKind.META_GRAPH,
    FileKind.SAVED_MODEL,
    FileKind.FINGERPRINT,
    FileKind.KERAS_METADATA,
    FileKind.HUB_MODULE,
    FileKind.ONNX,
)
_TEXTS = (
    FileKind.GRAPH_TEXT,
    FileKind.META_GRAPH_TEXT,
    FileKind.SAVED_MODEL_TEXT,
    FileKind.STATE,
    FileKind.CAFFE_TEXT,
)
# The kinds of content that are expected for each suffix.
_EXPECTED = {
    INDEX_SUFFIX: (FileKind.BUNDLE_INDEX, FileKind.TABLE),
    META_SUFFIX: (FileKind.META_GRAPH, FileKind.META_GRAPH_TEXT),
    ".pb": _PROTOBUFS,
    ".pbtxt": _TEXTS,
    ".tfrecord": _RECORDS,
    ".tfrecords": _RECORDS,
    ".h5": (FileKind.HDF5,),
    ".hdf5": (FileKind.HDF5,),
    ".keras": (FileKind.KERAS, FileKind.ZIP, FileKind.HDF5),
    ".npy": (FileKind.NUMPY,),
    ".npz": (FileKind.NUMPY_ARCHIVE, FileKind.ZIP),
    ".safetensors": (FileKind.SAFETENSORS,),
    ".onnx": (FileKind.ONNX,),
    ".tflite": (FileKind.TFLITE,),
    ".gguf": (FileKind.GGUF,),
    ".pt": (FileKind.PYTORCH, FileKind.PICKLE, FileKind.ZIP, FileKind.TAR),
    ".pth": (FileKind.PYTORCH, FileKind.PICKLE, FileKind.ZIP, FileKind.TAR),
    ".zip": (FileKind.ZIP, FileKind.NUMPY_ARCHIVE, FileKind.KERAS, FileKind.PYTORCH),
}
_PAGES = (".html", ".htm", ".xhtml")
# Placeholders for any file. An empty file may be intended, unless its suffix promises content.
_PLACEHOLDERS = (FileKind.GIT_LFS, FileKind.GIT_ANNEX, FileKind.HTML, FileKind.STORE_ERROR, FileKind.ZEROS)
_SAVED_MODEL_NAMES = {
    FileKind.SAVED_MODEL: SAVED_MODEL_NAME,
    FileKind.SAVED_MODEL_TEXT: SAVED_MODEL_TEXT_NAME,
    FileKind.SAVED_MODEL_CHUNKED: SAVED_MODEL_CHUNKED_NAME,
}
# Other programs use these suffixes, too, but not for files with such names.
_AMBIGUOUS = (INDEX_SUFFIX, META_SUFFIX)
_CHECKPOINT_NAME = re.compile(r"ckpt|\Avariables\.", re.IGNORECASE)


def contradiction(name: str, kind: FileKind, listing: Listing | None = None) -> str | None:
    """Return the problem if the content of a file does not match its name or is a placeholder; else ``None``.

    ``listing`` is that of its folder: a compressed file, or a renamed one, is a problem only if the original does not
    exist.
    """
    suffix = "." + name.lower().rpartition(".")[2]
    expected = _EXPECTED.get(suffix, ())
    if kind in _PLACEHOLDERS:
        return None if suffix in _PAGES else f"is {kind.value}"
    if kind is FileKind.EMPTY:
        return "is empty" if expected or is_event_file_name(name) else None
    if is_event_file_name(name):
        is_readable = kind in (FileKind.EVENTS, *PACKED)
        return None if is_readable else "is named like an event file, but is damaged or of another kind"
    if kind is FileKind.EVENTS and not expected:
        return "is an event file, which TensorBoard does not see unless its name contains 'tfevents'"
    original = original_name(name)
    # A copy next to its original, such as a backup, is not to be renamed.
    is_copy = listing is not None and original != name and original in listing
    if kind in PACKED and listing is not None:
        is_part = original.endswith(INDEX_SUFFIX) or parse_shard(original) is not None or original in SAVED_MODEL_NAMES
        if is_part and original != name and not is_copy:
            return f"is {kind.value}: unpack it to {original}"
    if kind in _SAVED_MODEL_NAMES and name != _SAVED_MODEL_NAMES[kind] and not is_copy:
        return f"is a SavedModel, which must be named {_SAVED_MODEL_NAMES[kind]}"
    if kind is FileKind.BUNDLE_INDEX and not name.endswith(INDEX_SUFFIX) and not is_copy:
        return (
            f"is {kind.value}, whose name must end in {INDEX_SUFFIX}: rename it to {index_name_for(name)}, and its "
            "data files accordingly"
        )
    if not expected or kind in expected:
        return None
    is_ambiguous = kind in (FileKind.UNKNOWN, FileKind.TEXT) and suffix in _AMBIGUOUS
    if is_ambiguous and _CHECKPOINT_NAME.search(name) is None:
        return None
    found = "damaged, or belongs to another program" if kind is FileKind.UNKNOWN else kind.value
    return f"has the suffix {suffix}, but is {found}"
