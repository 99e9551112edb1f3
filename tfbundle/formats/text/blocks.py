"""Convert printed text protobuf to wire bytes: the fast half of ``textproto``.

TensorFlow prints one field per line, two spaces per level, and a message's closing brace under its name::

    node {
      name: "weights"
      attr {
        key: "dtype"
        value {
          type: DT_FLOAT
        }
      }
    }

A single regular expression therefore splits a message into its fields, at the lines with exactly its indentation,
however many lines are nested in them. Each field is converted to its bytes in protobuf's wire format, and bytes are
joined instead of building messages. A graph consists of few distinct blocks, so the wire bytes of short fields are kept
by their text, and most fields cost a dictionary lookup. If messages of one field follow each other, as the nodes of a
graph do, the fields of all of them are split together.

Only text whose meaning is certain is accepted. A block with anything else (a string in single quotes, an escape that is
never printed, a repeated singular field, an expanded ``Any``) is passed to ``text_format``: the fields between its
braces, without the surrounding text.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

from tfbundle.formats.text.fallback import Refusal, merge_text
from tfbundle.formats.text.scalars import BYTES, Encoder, Unsure, encoder_of, tag, varint
from tfbundle.limits import DEEPEST_NESTING

# Longer fields are rarely repeated; the table of a message type is cleared when it is full.
_KEPT_SIZE = 512
_KEPT_COUNT = 8192

# So much of the text is split at a time; a longer field is processed in place.
_WINDOW_SIZE = 1 << 16

# At least so many fields of the same name are encoded together.
_SHORTEST_RUN = 16

F = TypeVar("F")

_WHITESPACE = b" \t\n\v\f\r"


class _Scalar(NamedTuple):
    """A field that is not a message.

    ``bit`` is 0 for a repeated field. Other fields may occur once in a message, and have one bit each, or one bit for
    all fields of a oneof.
    """

    bit: int
    encoder: Encoder


class _Submessage(NamedTuple):
    """A field of messages of one type; ``bit`` is as for scalars."""

    bit: int
    tag: bytes
    message_class: type[Message]


class _Type(NamedTuple):
    """A message type: its fields by the first word of their lines. Other fields are left to ``text_format``."""

    message_class: type[Message]
    is_map_entry: bool
    scalars: dict[bytes, _Scalar]
    submessages: dict[bytes, _Submessage]


_types: dict[type[Message], _Type] = {}


def _type_of(message_class: type[Message]) -> _Type:
    """Return the description of a message type, which is created once."""
    kind = _types.get(message_class)
    if kind is None:
        kind = _types[message_class] = _describe(message_class)
    return kind


def _describe(message_class: type[Message]) -> _Type:
    prototype = message_class()
    descriptor = prototype.DESCRIPTOR
    kind = _Type(message_class, descriptor.GetOptions().map_entry, {}, {})
    file = FileDescriptorProto()
    descriptor.file.CopyToProto(file)
    if file.syntax != "proto3":
        # Proto2 has groups, extensions and closed enums, and editions may have anything.
        return kind
    schema = DescriptorProto()
    descriptor.CopyToProto(schema)
    for index, field in enumerate(schema.field):
        name = field.name.encode()
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        # The bits of oneofs are above those of fields.
        place = len(schema.field) + field.oneof_index if field.HasField("oneof_index") else index
        bit = 0 if repeated else 1 << place
        if field.type == FieldDescriptorProto.TYPE_MESSAGE:
            value = getattr(prototype, field.name)
            if repeated:
                value = value.GetEntryClass()() if hasattr(value, "GetEntryClass") else value.add()
            kind.submessages[name] = _Submessage(bit, tag(field.number, BYTES), type(value))
            continue
        enum = descriptor.fields_by_name[field.name].enum_type
        names = {} if enum is None else {value.name: value.number for value in enum.values}
        encoder = encoder_of(field, names)
        if encoder is not None:
            kind.scalars[name + b":"] = _Scalar(bit, encoder)
    return kind


def encode_text(text: bytes, message_class: type[Message]) -> bytes:
    """Return the wire bytes of the message of type ``message_class`` that ``text`` describes; ``FormatError`` if
    none.
    """
    end = len(text)
    while end and text[end - 1] in _WHITESPACE:
        end -= 1
    return _Block(message_class, 0).encode_large(text, 0, end)


def _keep(kept: dict[bytes, F], field: bytes, found: F) -> None:
    if len(field) <= _KEPT_SIZE:
        if len(kept) >= _KEPT_COUNT:
            kept.clear()
        kept[field] = found


class _Block:
    """Encodes the messages of one type at one depth of a text, and keeps the encoded fields."""

    def __init__(self, message_class: type[Message], depth: int) -> None:
        if depth > DEEPEST_NESTING:
            raise Unsure
        kind = _type_of(message_class)
        self._kind = kind
        self._scalars = kind.scalars
        self._submessages = kind.submessages
        self._depth = depth
        indent = b"\n" + b"  " * depth
        self._boundary = re.compile(indent + rb"(?=[^ }\n])")
        # The text around the fields of a submessage, after the field's name.
        self._opener = b"{" + indent + b"  "
        self._closer = indent + b"}"
        self._empty = b"{" + self._closer
        self._inner: dict[type[Message], _Block] = {}
        self._kept: dict[bytes, tuple[bytes, int]] = {}
        # The fields of submessages by their names, with the seams that may follow.
        self._kept_with_seams: dict[bytes, dict[bytes, tuple[bytes, int, bool]]] = {}

    def encode(self, text: bytes) -> bytes:
        """Return the wire bytes of the message whose fields are ``text``, which is no longer than a window."""
        fields = self._boundary.split(text)
        wires: list[bytes] = []
        try:
            self._append(fields, wires, 0)
        except Unsure as doubt:
            if doubt.final and self._depth:
                raise
            return self._hand_over([], text, 0, len(text), large=False)
        return b"".join(wires)

    def encode_large(self, text: bytes, pos: int, end: int) -> bytes:
        """Return the wire bytes of the message whose fields are ``text[pos:end]``, which are read window by window."""
        wires: list[bytes] = []
        seen = 0
        before = here = (pos, 0)
        try:
            while pos < end:
                before, here = here, (pos, len(wires))
                stop = min(pos + _WINDOW_SIZE, end)
                window = text[pos:stop]
                size = self._append_messages(window, wires)
                if size:
                    pos += size
                    continue
                fields = self._boundary.split(window)
                if stop < end:
                    # The last field may continue after the window.
                    stop -= len(fields.pop())
                if fields:
                    seen = self._append(fields, wires, seen)
                    pos = stop
                else:
                    stop, behind = self._end_of_field(text, pos, end)
                    wire, bit = self._encode_large_field(text, pos, stop)
                    if bit & seen:
                        raise Unsure
                    seen |= bit
                    wires.append(wire)
                    pos = behind
        except Unsure as doubt:
            if doubt.final and self._depth:
                raise
            # A string may continue in the line where this window begins, so only the previous window is certain.
            pos, count = before
            return self._hand_over(wires[:count], text, pos, end, large=True)
        return b"".join(wires)

    def _append(self, fields: list[bytes], wires: list[bytes], seen: int) -> int:
        """Append the wire bytes of fields, and add their bits to the ones that were seen."""
        run = b""
        if len(fields) >= _SHORTEST_RUN:
            fields, run = self._cut_run(fields)
        kept = self._kept
        for field in fields:
            found = kept.get(field)
            if found is None:
                found = self._encode_field(field)
                _keep(kept, field, found)
            wire, bit = found
            if bit:
                if bit & seen:
                    raise Unsure
                seen |= bit
            wires.append(wire)
        if run:
            wires.append(run)
        return seen

    def _append_messages(self, text: bytes, wires: list[bytes]) -> int:
        """Append the wire bytes of the messages of one field with which ``text`` begins, and return their size in it.

        Their fields are split together, so the last field of a message is followed by the seam to the next message. If
        one of the messages is not in this form, or none is followed by another, none is read.
        """
        word = text[: max(text.find(b" "), 0)]
        submessage = self._submessages.get(word)
        if submessage is None or submessage.bit or not text.startswith(self._opener, len(word) + 1):
            return 0
        seam = self._closer + self._closer[:-1] + word + b" {"
        start = len(word) + 1 + len(self._opener)
        stop = text.rfind(seam, start)
        if stop < 0:
            return 0
        block = self._block_of(submessage.message_class)
        kept = self._kept_with_seams.setdefault(word, {})
        messages: list[bytes] = []
        fields: list[bytes] = []
        seen = 0
        try:
            for part in block._boundary.split(text[start : stop + len(seam)]):
                found = kept.get(part)
                if found is None:
                    field = part.removesuffix(seam)
                    found = (*block._encode_field(field), len(field) < len(part))
                    _keep(kept, part, found)
                wire, bit, is_last = found
                if bit:
                    if bit & seen:
                        return 0
                    seen |= bit
                fields.append(wire)
                if is_last:
                    message = b"".join(fields)
                    messages += (submessage.tag + varint(len(message)), message)
                    fields.clear()
                    seen = 0
        except Unsure:
            return 0
        wires += messages
        # The last seam includes the beginning of a message that is not read.
        return stop + len(seam) - len(word + b" {")

    def _cut_run(self, fields: list[bytes]) -> tuple[list[bytes], bytes]:
        """Remove the values of one repeated field from the end, and encode them: tensors are printed in this form."""
        start = fields[-1][: fields[-1].find(b" ") + 1]
        scalar = self._scalars.get(start[:-1])
        count = len(fields)
        if scalar is not None and not scalar.bit:
            while count and fields[count - 1].startswith(start):
                count -= 1
        if scalar is None or len(fields) - count < _SHORTEST_RUN:
            return fields, b""
        size = len(start)
        return fields[:count], scalar.encoder.encode_all([field[size:] for field in fields[count:]])

    def _end_of_field(self, text: bytes, pos: int, end: int) -> tuple[int, int]:
        """Return the end of the field at ``pos``, and the start of the field after it."""
        # A search for fixed bytes is much faster than one for the boundary, and finds the same in printed text.
        stop = text.find(b"\n", pos, end)
        if stop > 0 and text[stop - 1] == ord("{"):
            stop = text.find(self._closer, stop, end)
            stop = stop + len(self._closer) if stop > 0 else end
        if stop in (-1, end):
            return end, end
        match = self._boundary.match(text, stop, end)
        match = match or self._boundary.search(text, pos, end)
        return match.span() if match else (end, end)

    def _encode_field(self, field: bytes) -> tuple[bytes, int]:
        """Return the wire bytes of a field, and its bit."""
        word, _, value = field.partition(b" ")
        scalar = self._scalars.get(word)
        if scalar is not None:
            bit, encoder = scalar
            try:
                return encoder.encode(value), bit
            except Unsure:
                return self._encode_unusual(field)
        submessage = self._submessages.get(word)
        if submessage is not None and value.startswith(self._opener) and value.endswith(self._closer):
            bit, tag, message_class = submessage
            wire = self._block_of(message_class).encode(value[len(self._opener) : -len(self._closer)])
            return tag + varint(len(wire)) + wire, bit
        return self._encode_unusual(field)

    def _encode_unusual(self, field: bytes) -> tuple[bytes, int]:
        """Return the same for rarely printed forms: blank lines, comments, empty messages and lists of values."""
        stripped = field.rstrip(_WHITESPACE)
        if len(stripped) < len(field):
            return self._encode_field(stripped)
        if not field or (field.startswith(b"#") and b"\n" not in field):
            return b"", 0
        word, _, value = field.partition(b" ")
        submessage = self._submessages.get(word)
        if submessage is not None and value == self._empty and self._depth < DEEPEST_NESTING:
            return submessage.tag + b"\0", submessage.bit
        scalar = self._scalars.get(word)
        if scalar is not None and not scalar.bit and value.startswith(b"[") and value.endswith(b"]"):
            return scalar.encoder.encode_all(value[1:-1].split(b", ")), 0
        raise Unsure

    def _encode_large_field(self, text: bytes, pos: int, end: int) -> tuple[bytes, int]:
        """Return the same for the field ``text[pos:end]``, which is not copied if it is a message."""
        if text[end - 1 : end] in _WHITESPACE:
            end = pos + len(text[pos:end].rstrip(_WHITESPACE))
        start = text.find(b" ", pos, end) + 1
        submessage = self._submessages.get(text[pos : start - 1]) if start else None
        opener, closer = self._opener, self._closer
        if submessage is None or not (text.startswith(opener, start) and text.endswith(closer, start, end)):
            return self._encode_field(text[pos:end])
        wire = self._block_of(submessage.message_class).encode_large(text, start + len(opener), end - len(closer))
        return submessage.tag + varint(len(wire)) + wire, submessage.bit

    def _block_of(self, message_class: type[Message]) -> _Block:
        block = self._inner.get(message_class)
        if block is None:
            block = self._inner[message_class] = _Block(message_class, self._depth + 1)
        return block

    def _hand_over(self, wires: list[bytes], text: bytes, pos: int, end: int, *, large: bool) -> bytes:
        """Return the wire bytes of a message whose first fields are encoded; ``text_format`` reads the others."""
        if self._kind.is_map_entry:
            # protobuf 4.21 sometimes serializes an entry without its map incorrectly.
            raise Unsure
        message = self._kind.message_class()
        message.MergeFromString(b"".join(wires))
        try:
            merge_text(text, pos, end, message, self._depth)
        except Refusal as refusal:
            # Line numbers are known for the whole text, and for a message that is too large to be copied from it.
            if self._depth and not (large and refusal.certain):
                raise Unsure(final=large) from None
            raise refusal.error() from None
        return message.SerializePartialToString()
