"""Read event files as ``Event`` messages, one per record."""

from __future__ import annotations

from typing import BinaryIO, TypeVar

from google.protobuf.message import DecodeError, Message

from tfbundle.errors import FormatError
from tfbundle.formats.message_budget import check_message
from tfbundle.formats.records.tfrecord import RecordIterator
from tfbundle.limits import LARGEST_MESSAGE
from tfbundle.proto import Event
from tfbundle.storage.locations import StorageOptions, StrPath, with_options

AnyMessage = TypeVar("AnyMessage", bound=Message)


def decode_event(payload: bytes) -> Event:
    """Return the message of one record.

    Raises ``FormatError`` if it is not one, and ``UnsupportedError`` if it would take far more memory than its size.
    """
    check_message(payload, Event)
    try:
        return Event.FromString(payload)
    except DecodeError:
        raise FormatError("the record is not an Event message, although its checksum is correct") from None


def decode_message(message: type[AnyMessage], data: bytes) -> AnyMessage:
    """Return the message that an event holds as bytes, with the errors of ``decode_event``."""
    try:
        check_message(data, message)
        return message.FromString(data)
    except DecodeError:
        raise FormatError(f"the bytes are not a {message.DESCRIPTOR.name} message") from None


def read_events(
    source: StrPath | BinaryIO,
    *,
    compression: str | None = None,
    verify: bool = True,
    salvage: bool = False,
    storage_options: StorageOptions | None = None,
) -> RecordIterator[Event]:
    """Return an iterator over the ``Event`` messages of a file.

    Arguments, memory use, ``.truncation``, ``.losses`` and errors are as for ``read_records``; in addition, a record
    that is not an ``Event`` raises ``FormatError``.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    source = with_options(source, storage_options)
    return RecordIterator(
        source, decode_event, compression=compression, verify=verify, salvage=salvage, largest=LARGEST_MESSAGE
    )
