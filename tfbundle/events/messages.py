"""Read event files as ``Event`` messages, one per record."""

from __future__ import annotations

from typing import BinaryIO

from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError
from tfbundle.formats.message_budget import check_message
from tfbundle.formats.records.tfrecord import RecordIterator
from tfbundle.limits import LARGEST_MESSAGE
from tfbundle.proto import Event
from tfbundle.storage.locations import StrPath


def decode_event(payload: bytes) -> Event:
    """Return the message of one record.

    Raises ``FormatError`` if it is not one, and ``UnsupportedError`` if it would take far more memory than its size.
    """
    check_message(payload, Event)
    try:
        return Event.FromString(payload)
    except DecodeError:
        raise FormatError("the record is not an Event message, although its checksum is correct") from None


def read_events(
    source: StrPath | BinaryIO, *, compression: str | None = None, verify: bool = True, salvage: bool = False
) -> RecordIterator[Event]:
    """Return an iterator over the ``Event`` messages of a file.

    Arguments, memory use, ``.truncation``, ``.losses`` and errors are as for ``read_records``; in addition, a record
    that is not an ``Event`` raises ``FormatError``.
    """
    return RecordIterator(
        source, decode_event, compression=compression, verify=verify, salvage=salvage, largest=LARGEST_MESSAGE
    )
