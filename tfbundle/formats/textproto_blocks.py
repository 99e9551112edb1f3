"""Printed text protobuf to wire bytes: the fast half of ``textproto``.

What TensorFlow prints has one field a line, two spaces a level, and a message's closing brace under its name::

    node {
      name: "weights"
      attr {
        key: "dtype"
        value {
          type: DT_FLOAT
        }
      }
    }

So the fields of a message are what one regular expression splits at the lines with exactly its indentation, however
much lies below them. Each field becomes the bytes that protobuf's wire format has for it, and bytes are joined rather
than messages built. A graph is made of few distinct blocks, so that the wire bytes of short fields are kept by their
text, and most fields cost a look-up in a dictionary.

Only text whose meaning is beyond doubt is taken. A block that holds anything else (a string in single quotes, an
escape that is never printed, a field that is given twice, an expanded ``Any``) is handed to ``text_format``: the fields
between its braces, and nothing around them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

from tfbundle.formats.textproto_fallback import Refusal, merge_text
from tfbundle.formats.textproto_scalars import BYTES, Encoder, Unsure, encoder_of, tag, varint
from tfbundle.limits import DEEPEST_NESTING

# Longer fields are seldom repeated, and the table of a message type is emptied when it is full.
_KEPT_SIZE = 512
_KEPT_COUNT = 8192

# So much of the text is cut up at a time; a field that is longer is worked on where it lies.
_WINDOW_SIZE = 1 << 16

# As many fields of the same name are encoded together.
_SHORTEST_RUN = 16

_WHITESPACE = b" \t\n\v\f\r"


class _Scalar(NamedTuple):
    """A field that is not a message.

    ``bit`` is 0 for a repeated field. The others may stand once in a message, and have a bit each, or one for all
    fields of a oneof.
    """

    bit: int
    encoder: Encoder


class _Submessage(NamedTuple):
    """A field that holds messages of one type; ``bit`` is as for scalars."""

    bit: int
    tag: bytes
    message_class: type[Message]


class _Type(NamedTuple):
    """A message type: its fields by the word that a line begins with. Those left out are left to ``text_format``."""

    message_class: type[Message]
    is_map_entry: bool
    scalars: dict[bytes, _Scalar]
    submessages: dict[bytes, _Submessage]


_types: dict[type[Message], _Type] = {}


def _type_of(message_class: type[Message]) -> _Type:
    """The description of a message type, which is made once."""
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
        # The bits of oneofs lie above those of fields.
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
    """The wire bytes of the message of type ``message_class`` that ``text`` describes; ``FormatError`` if none."""
    end = len(text)
    while end and text[end - 1] in _WHITESPACE:
        end -= 1
    return _Block(message_class, 0).encode(text, 0, end)


class _Block:
    """Encodes the messages of one type that lie at one depth of a text, and keeps the fields that it has seen."""

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
        # What stands around the fields of a message in a field.
        self._opener = b" {" + indent + b"  "
        self._closer = indent + b"}"
        self._empty = b" {" + self._closer
        self._inner: dict[type[Message], _Block] = {}
        self._kept: dict[bytes, tuple[bytes, int]] = {}

    def encode(self, text: bytes, pos: int, end: int) -> bytes:
        """The wire bytes of the message whose fields are ``text[pos:end]``."""
        wires: list[bytes] = []
        seen = 0
        before = here = (pos, 0)
        large = end - pos > _WINDOW_SIZE
        try:
            while pos < end:
                before, here = here, (pos, len(wires))
                stop = min(pos + _WINDOW_SIZE, end)
                fields = self._boundary.split(text[pos:stop])
                if stop < end:
                    # The last field may go on behind the window.
                    stop -= len(fields.pop())
                if fields:
                    seen = self._append(fields, wires, seen)
                    pos = stop
                else:
                    stop, behind = self._end_of_field(text, pos, end)
                    wire, bit = self._encode_field(text, pos, stop)
                    if bit & seen:
                        raise Unsure
                    seen |= bit
                    wires.append(wire)
                    pos = behind
        except Unsure as doubt:
            if doubt.final and self._depth:
                raise
            # A string may go on in the line where this window began, so that only the one before is certain.
            pos, count = before
            return self._hand_over(wires[:count], text, pos, end, large=large)
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
                found = self._encode_field(field, 0, len(field))
                if len(field) <= _KEPT_SIZE:
                    if len(kept) >= _KEPT_COUNT:
                        kept.clear()
                    kept[field] = found
            wire, bit = found
            if bit & seen:
                raise Unsure
            seen |= bit
            wires.append(wire)
        if run:
            wires.append(run)
        return seen

    def _cut_run(self, fields: list[bytes]) -> tuple[list[bytes], bytes]:
        """Take the values of one repeated field off the end, and encode them: a tensor may be printed so."""
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
        """Where the field at ``pos`` ends, and where the one behind it begins."""
        # A search for fixed bytes is much faster than one for the boundary, and finds the same in what is printed.
        stop = text.find(b"\n", pos, end)
        if stop > 0 and text[stop - 1] == ord("{"):
            stop = text.find(self._closer, stop, end)
            stop = stop + len(self._closer) if stop > 0 else end
        if stop in (-1, end):
            return end, end
        match = self._boundary.match(text, stop, end)
        match = match or self._boundary.search(text, pos, end)
        return match.span() if match else (end, end)

    def _encode_field(self, text: bytes, pos: int, end: int) -> tuple[bytes, int]:
        """The wire bytes of the field that is ``text[pos:end]``, and its bit."""
        if text[end - 1 : end] in _WHITESPACE:
            end = pos + len(text[pos:end].rstrip(_WHITESPACE))
        space = text.find(b" ", pos, end)
        word = text[pos:space]
        scalar = self._scalars.get(word)
        if scalar is not None and space > 0:
            bit, encoder = scalar
            value = text[space + 1 : end]
            if bit or not value.startswith(b"["):
                return encoder.encode(value), bit
            if not value.endswith(b"]"):
                raise Unsure
            return encoder.encode_all(value[1:-1].split(b", ")), bit
        submessage = self._submessages.get(word)
        if submessage is not None and space > 0:
            bit, tag, message_class = submessage
            if text.startswith(self._opener, space) and text.endswith(self._closer, space, end):
                inner = self._inner.get(message_class)
                if inner is None:
                    inner = self._inner[message_class] = _Block(message_class, self._depth + 1)
                wire = inner.encode(text, space + len(self._opener), end - len(self._closer))
                return tag + varint(len(wire)) + wire, bit
            if text[space:end] == self._empty and self._depth < DEEPEST_NESTING:
                return tag + b"\0", bit
        elif pos == end or (text.startswith(b"#", pos) and text.find(b"\n", pos, end) < 0):
            return b"", 0
        raise Unsure

    def _hand_over(self, wires: list[bytes], text: bytes, pos: int, end: int, *, large: bool) -> bytes:
        """The wire bytes of a message whose first fields are encoded, and the others ``text_format``'s to read."""
        if self._kind.is_map_entry:
            # Of an entry without its map protobuf 4.21 writes the wrong bytes now and then.
            raise Unsure
        message = self._kind.message_class()
        message.MergeFromString(b"".join(wires))
        try:
            merge_text(text, pos, end, message, self._depth)
        except Refusal as refusal:
            # Lines can be counted in the whole text, and for a message too large to be copied from it.
            if self._depth and not (large and refusal.certain):
                raise Unsure(final=large) from None
            raise refusal.error() from None
        return message.SerializePartialToString()
