"""Iterators over the events and records of a file, and arrays of the tensors in messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import Message

from tfbundle.errors import UnsupportedError
from tfbundle.events.messages import read_events
from tfbundle.formats.records.tfrecord import RecordIterator, read_records
from tfbundle.limits import LARGEST_EXPANSION
from tfbundle.proto import Event, TensorProto
from tfbundle.storage.locations import StrPath
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.tensor_proto import decode_tensor

# TFRecordCompressionType of TensorFlow 1.
_COMPRESSIONS = ("NONE", "ZLIB", "GZIP")


def summary_iterator(path: StrPath) -> RecordIterator[Event]:
    """Return an iterator over the ``Event`` messages of a file, which continues when the file has grown.

    Compressed files are read, too. Raises ``MissingFileError`` if the file does not exist, ``ChecksumError`` for a
    damaged record and ``FormatError`` for one that is not an event; an incomplete record at the end is the end.
    """
    return read_events(path)


def tf_record_iterator(path: StrPath, options: Any = None) -> RecordIterator[bytes]:
    """Return an iterator over the records of a file, as ``bytes``, which continues when the file has grown.

    ``options`` are TensorFlow's ``TFRecordOptions``, a number of its ``TFRecordCompressionType``, or ``"GZIP"``,
    ``"ZLIB"``, ``"NONE"`` or ``""``. Without them the compression is determined by the content, while TensorFlow
    assumes none. Raises as ``read_records`` does.
    """
    compression = getattr(options, "compression_type", options)
    if isinstance(compression, int):
        compression = _COMPRESSIONS[compression]
    return read_records(path, compression="NONE" if compression == "" else compression)


def make_ndarray(tensor: Message) -> Array:
    """Return the values of a ``TensorProto`` as a new, writable array.

    The message may be TensorFlow's or TensorBoard's. Strings are ``object`` arrays of ``bytes``. It differs from
    TensorFlow's in this: quantised types are plain integers, every type of ``tfbundle.tensors`` is accepted, and one
    value repeated for more than 64 MiB raises ``UnsupportedError``. Raises the errors of ``decode_tensor`` if type,
    shape and elements do not match.
    """
    proto = tensor if isinstance(tensor, TensorProto) else TensorProto.FromString(tensor.SerializeToString())
    array = decode_tensor(proto)
    if array.nbytes > LARGEST_EXPANSION and 0 in array.strides:
        raise UnsupportedError(
            f"a tensor of shape {list(array.shape)} states one of its elements, and would take {array.nbytes} bytes"
        )
    return np.array(array)
