"""Text protobuf: what ``text_format`` accepts is accepted with the same message, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import text_format
from google.protobuf.message import Message

from tests.hostile.exercise import demand
from tests.support.expected import FIXTURES
from tfbundle.errors import FormatError
from tfbundle.formats.text.textproto import parse_text
from tfbundle.proto import CheckpointState, GraphDef, MetaGraphDef, SavedModel

_LARGEST_SEED = 3 << 10
_CLASSES: tuple[type[Message], ...] = (GraphDef, CheckpointState, MetaGraphDef, SavedModel)
# The first byte of an input says which message it is to be.
_FIRST = {"checkpoint": 1, "saved_model.pbtxt": 3}


def seeds() -> Iterator[bytes]:
    """State files, and graphs as far as they are not large."""
    for path in sorted([*FIXTURES.rglob("*.pbtxt"), *FIXTURES.rglob("checkpoint")]):
        if path.is_file():
            first = 2 if "meta" in path.name else _FIRST.get(path.name, 0)
            text = path.read_bytes()
            # Whole fields of the outermost message, as many as fit.
            end = len(text) if len(text) <= _LARGEST_SEED else text.rfind(b"\n}\n", 0, _LARGEST_SEED) + 3
            yield bytes([first]) + text[:end]


def check(data: bytes) -> None:
    """Raise if the promise is broken."""
    if not data:
        return
    message_class, text = _CLASSES[data[0] % len(_CLASSES)], data[1:]
    try:
        found = parse_text(text, message_class)
    except FormatError as error:
        refusal = str(error)
    else:
        refusal = ""
    wanted, reason = _reference(text, message_class)
    if refusal:
        # The one promise of its own is to stop at a depth, and at a mark, that text_format may let through.
        own = "levels deep" in refusal or "byte order mark" in refusal or "too large" in refusal
        demand(own or wanted is None, f"text_format reads what is refused: {refusal}")
    else:
        demand(wanted is not None, f"text_format refuses what is read: {reason}")
        demand(found.SerializeToString(deterministic=True) == wanted, "text_format reads another message")


def _reference(text: bytes, message_class: type[Message]) -> tuple[bytes | None, str]:
    try:
        message = text_format.Parse(text.decode(), message_class())
        return message.SerializeToString(deterministic=True), ""
    except Exception as error:
        return None, repr(error)
