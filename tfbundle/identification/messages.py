"""Identification of a binary protobuf by the numbers and wire types of its fields and nested fields.

Protobufs have no magic number, and most parse as several messages: a GraphDef is also an *empty* SavedModel, and a
MindSpore checkpoint has the first two fields of a GraphDef's nodes. Messages of other programs must not be mistaken for
those of TensorFlow.
"""

from __future__ import annotations

from itertools import islice

from tfbundle.errors import FormatError
from tfbundle.formats.wire import BYTES, VARINT, Field, walk_fields
from tfbundle.identification.kinds import FileKind
from tfbundle.limits import MOST_FIELDS
from tfbundle.storage.base import Source

# Field numbers and wire types of the messages (TensorFlow's and ONNX's schemas).
_GRAPH_FIELDS = {(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)}
_NODE_FIELDS = {(number, BYTES) for number in range(1, 8)}
_LIBRARY_FIELDS = {(number, BYTES) for number in range(1, 4)}
_VERSION_FIELDS = {(1, VARINT), (2, VARINT), (3, VARINT), (3, BYTES)}
_META_GRAPH_FIELDS = {(number, BYTES) for number in range(1, 8)}
_META_INFO_FIELDS = {*((number, BYTES) for number in (1, 2, 3, 4, 5, 6, 8)), (7, VARINT)}
_HUB_VERSION = b"\x03"
_SAVED_MODEL_FIELDS = {(1, VARINT), (2, BYTES)}
_HASH_FIELDS = {(number, VARINT) for number in range(1, 5)}  # That of the variables is absent if there are none.
_FINGERPRINT_FIELDS = {*_HASH_FIELDS, (5, VARINT), (6, BYTES), (7, BYTES)}
_KERAS_OBJECT_FIELDS = {(2, VARINT), *((number, BYTES) for number in range(3, 7))}
_ONNX_FIELDS = {(1, VARINT), (5, VARINT), *((number, BYTES) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}
# MindSpore: a tag beside a tensor of dims, type and content, or a table of keys.
_MINDSPORE_VALUE = {(1, BYTES), (2, BYTES), (3, BYTES)}
_MINDSPORE_TENSOR = {(1, VARINT), (1, BYTES), (2, BYTES), (3, BYTES)}
# PaddlePaddle: blocks of an index, a parent, variables, ops and a number.
_PADDLE_FIELDS = {(1, BYTES), (4, BYTES), (5, BYTES)}
_PADDLE_BLOCK = {(1, VARINT), (2, VARINT), (3, BYTES), (4, BYTES), (5, VARINT)}
# Caffe: a name, inputs, and layers by one of two numbers.
_CAFFE_LAYER = 100
_CAFFE_OLD_LAYER = {(4, BYTES), (5, VARINT)}
# Core ML: a version, a description, and one of the kinds of models.
_COREML_DESCRIPTION, _COREML_FIRST_MODEL = (2, BYTES), 200

_KEPT_SIZE = 1 << 16


class Content:
    """The bytes of an open file; the first ones are cached, because most examined fields are there."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source = source
        self._head = head
        self.size = source.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``; raises as ``Source.read_at`` does."""
        if len(self._head) < offset + size <= _KEPT_SIZE:
            self._head = self._source.read_at(0, min(self.size, _KEPT_SIZE))
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        return self._source.read_at(offset, size)


def identify_message(source: Content) -> FileKind | None:
    """Return the kind of message that a file contains, or ``None``."""
    found = first_fields(source, 0, source.size)
    kinds = {field[:2] for field in found}
    if not kinds:
        return None
    if (1, VARINT) in kinds:
        # Both may consist of a version alone, but that of a SavedModel has always been 1.
        if kinds == {(1, VARINT)} and source.read_at(found[0].offset, found[0].size) == _HUB_VERSION:
            return FileKind.HUB_MODULE
        if kinds <= _SAVED_MODEL_FIELDS and _hold(source, found, 2, _META_GRAPH_FIELDS):
            return FileKind.SAVED_MODEL
        if _HASH_FIELDS <= kinds <= _FINGERPRINT_FIELDS:
            return FileKind.FINGERPRINT
        if kinds <= _ONNX_FIELDS and (7, BYTES) in kinds:
            return FileKind.ONNX
        is_model = any(field.number >= _COREML_FIRST_MODEL and field.wire_type == BYTES for field in found)
        return FileKind.COREML if is_model and _COREML_DESCRIPTION in kinds else None
    if kinds == {(1, BYTES)} and _hold(source, found, 1, _KERAS_OBJECT_FIELDS):
        return FileKind.KERAS_METADATA
    # TensorFlow reads a SavedModel without a version; in a GraphDef, this field is the function library.
    if kinds == {(2, BYTES)} and _hold(source, found, 2, _META_GRAPH_FIELDS) and _is_graph_inside(source, found[0]):
        return FileKind.SAVED_MODEL
    if kinds <= _GRAPH_FIELDS and _is_graph(source, found):
        return FileKind.GRAPH
    # Others have these fields too, such as the files of the profiler, a GraphDebugInfo and a SentencePiece model.
    meta_graph = kinds <= _META_GRAPH_FIELDS and (2, BYTES) in kinds
    meta_graph = meta_graph and _hold(source, found, 1, _META_INFO_FIELDS) and _hold(source, found, 2, _GRAPH_FIELDS)
    return FileKind.META_GRAPH if meta_graph else _identify_of_others(source, found, kinds)


def _is_graph_inside(source: Content, meta_graph: Field) -> bool:
    """Return whether a possible meta graph contains a graph with nodes, which a function library does not."""
    for number, wire_type, offset, size in first_fields(source, meta_graph.offset, meta_graph.offset + meta_graph.size):
        if (number, wire_type) == (2, BYTES):
            graph = first_fields(source, offset, offset + size)
            kinds = {field[:2] for field in graph}
            return (1, BYTES) in kinds and kinds <= _GRAPH_FIELDS and _is_graph(source, graph)
    return False


def _identify_of_others(source: Content, found: list[Field], kinds: set[tuple[int, int]]) -> FileKind | None:
    if kinds == {(1, BYTES)} and all(_is_mindspore_value(source, value) for value in found):
        return FileKind.MINDSPORE
    if (1, BYTES) in kinds <= _PADDLE_FIELDS and _hold(source, found, 1, _PADDLE_BLOCK):
        return FileKind.PADDLE
    if (1, BYTES) in kinds and (_CAFFE_LAYER, BYTES) in kinds:
        return FileKind.CAFFE
    for field in found:
        if field[:2] == (2, BYTES):
            layer = {part[:2] for part in first_fields(source, field.offset, field.offset + field.size)}
            return FileKind.CAFFE if layer >= _CAFFE_OLD_LAYER and found[0][:2] == (1, BYTES) else None
    return None


def _is_mindspore_value(source: Content, value: Field) -> bool:
    parts = first_fields(source, value.offset, value.offset + value.size)
    kinds = {part[:2] for part in parts}
    has_tensor = (2, BYTES) in kinds and _hold(source, parts, 2, _MINDSPORE_TENSOR)
    return (1, BYTES) in kinds <= _MINDSPORE_VALUE and (has_tensor or (3, BYTES) in kinds)


def _is_graph(source: Content, found: list[Field]) -> bool:
    """Return whether fields that could be those of a GraphDef are."""
    for number, _, offset, size in found:
        if number == 1:
            # A node has a name and an op. The description of a meta graph begins with neither, or has a list of
            # operators in place of the op, and a MindSpore tensor has its dimensions there. A set of protobuf schemas
            # consists of files with names and packages.
            node = {field.number: field for field in reversed(first_fields(source, offset, offset + size))}
            if not {1, 2} <= node.keys() or not {field[:2] for field in node.values()} <= _NODE_FIELDS:
                return False
            name, op = node[1], node[2]
            suffix = source.read_at(name.offset + max(name.size - 6, 0), min(name.size, 6))
            return suffix != b".proto" and (not op.size or source.read_at(op.offset, 1) >= b" ")
    return _hold(source, found, 2, _LIBRARY_FIELDS) and _hold(source, found, 4, _VERSION_FIELDS)


def _hold(source: Content, found: list[Field], number: int, allowed: set[tuple[int, int]]) -> bool:
    """Return whether all fields of this number are messages that have only the allowed fields."""
    for field in found:
        if field.number == number and field.size:
            inner = {part[:2] for part in first_fields(source, field.offset, field.offset + field.size)}
            if not inner or not inner <= allowed:
                return False
    return True


def first_fields(source: Content, start: int, end: int) -> list[Field]:
    """Return the first fields of a possible message; none if it is not a message."""
    try:
        return list(islice(walk_fields(source, start, end), MOST_FIELDS))
    except FormatError:
        return []
