"""Event files as the messages that they are made of, one a record."""

from __future__ import annotations

import os
from typing import BinaryIO

from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError
from tfbundle.formats.message_budget import check_message
from tfbundle.formats.records.tfrecord import RecordIterator
from tfbundle.limits import LARGEST_MESSAGE
from tfbundle.proto import Event


def decode_event(payload: bytes) -> Event:
    """The message of one record; ``FormatError`` where it is none."""
    check_message(payload, Event)
    try:
        return Event.FromString(payload)
    except DecodeError:
        raise FormatError("the record is no Event message, though its checksum is right") from None


def read_events(
    source: str | os.PathLike[str] | BinaryIO, *, compression: str | None = None, salvage: bool = False
) -> RecordIterator[Event]:
    """The ``Event`` messages of a file, one after the other.

    Arguments, memory, ``.truncation`` and ``.losses`` are those of ``read_records``, and so are the errors; besides, a
    record that is no ``Event`` is a ``FormatError``.
    """
    return RecordIterator(source, decode_event, compression=compression, salvage=salvage, largest=LARGEST_MESSAGE)
