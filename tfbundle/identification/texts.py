"""Identification of a text: a text protobuf, a web page, JSON, XML, or the configuration of another program.

A text protobuf is recognized by its first field: its name, and the bracket that opens a message.
"""

from __future__ import annotations

import re

from tfbundle.identification.kinds import FileKind

# A comment must end at the first "-->". With more ways to match, many comments would take exponential time.
_HTML = re.compile(rb"\s*(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_XML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(Error|net)\b([^>]*)>", re.DOTALL
)
# A link that git-annex made, where the file system, or the program that unpacked it, has no links; and what servers
# answer instead of a file.
_ANNEX = re.compile(rb"(?:\.\./)*\.git/annex/objects/")
_ANSWER = re.compile(
    rb"(?:(?:404: )?not found|(?:entry|repository) not found|invalid username or password\.|access ?denied)\s*\Z", re.I
)
_JSON_KEY = re.compile(rb'\s*\{\s*"(\w+)"\s*:')
# The first key in the files of a program, and another key near the start if the first is common.
_JSON_KINDS = {
    b"modelTopology": (FileKind.TFJS, b""),
    b"weightsManifest": (FileKind.TFJS, b""),
    b"format": (FileKind.TFJS, b'"modelTopology"'),
    b"module": (FileKind.KERAS_JSON, b'"class_name"'),
    b"class_name": (FileKind.KERAS_JSON, b'"config"'),
    b"weight_map": (FileKind.SAFETENSORS_INDEX, b".safetensors"),
    b"metadata": (FileKind.SAFETENSORS_INDEX, b'"weight_map"'),
    b"error": (FileKind.STORE_ERROR, b'"message"'),
    b"zarr_format": (FileKind.ZARR, b""),
    b"chunks": (FileKind.ZARR, b'"zarr_format"'),
}
_DARKNET = re.compile(rb"(?:\s|#[^\n]*\n)*\[(?:net|network)\]\s*\n")

_GAP = rb"(?:\s|\#[^\n]*(?:\n|\Z))*"
_FIRST_NAME = re.compile(rb"(?:\xef\xbb\xbf)?" + _GAP + rb"([A-Za-z_]\w*)" + _GAP)
_OPENING = re.compile(rb":?" + _GAP + rb"(?:\[\s*)?[{<]")
# A text that begins with one of these words but opens no message is something else, such as "node: 12ab" in notes.
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
_CAFFE_LAYER = re.compile(rb"^\s*layers?\s*\{", re.MULTILINE)

# Suffixes of text files and web pages.
_TEXT_NAME = re.compile(
    r"\.(?:md|rst|txt|log|py|ipynb|sh|bat|c|cc|cpp|h|js|ts|java|go|rs|json|yaml|yml|toml|ini|cfg|conf|csv|tsv|xml|svg"
    r"|html?|xhtml|css|tex|bib|prototxt|proto)\Z",
    re.IGNORECASE,
)


def is_text_name(name: str) -> bool:
    """Return whether a file of this base name is expected to be text, other than a text protobuf of TensorFlow."""
    return _TEXT_NAME.search(name) is not None or name.upper() in ("README", "LICENSE", "NOTICE", "MAKEFILE")


def identify_text(head: bytes) -> FileKind | None:
    """Return the kind of a file that begins with ``head``, if it is a text of a known kind."""
    if _HTML.match(head):
        return FileKind.HTML
    xml = _XML.match(head)
    if xml:
        if xml[1] == b"Error":
            return FileKind.STORE_ERROR
        return FileKind.OPENVINO if b"version=" in xml[2] else None
    if _ANNEX.match(head):
        return FileKind.GIT_ANNEX
    if _ANSWER.match(head):
        return FileKind.STORE_ERROR
    key = _JSON_KEY.match(head)
    if key:
        kind, other = _JSON_KINDS.get(key[1], (None, b""))
        return kind if other in head else None
    if _DARKNET.match(head):
        return FileKind.DARKNET_CONFIG
    return _identify_protobuf(head)


def _identify_protobuf(head: bytes) -> FileKind | None:
    match = _FIRST_NAME.match(head)
    if match is None:
        return None
    if _OPENING.match(head, match.end()):
        return FileKind.CAFFE_TEXT if match[1] in (b"layer", b"layers") else _TEXT_MESSAGES.get(match[1])
    if not head.startswith(b":", match.end()):
        return None
    if match[1] in (b"name", b"input") and _CAFFE_LAYER.search(head):
        return FileKind.CAFFE_TEXT
    return _TEXT_VALUES.get(match[1])
