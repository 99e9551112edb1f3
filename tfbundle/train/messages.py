"""Events and records of a file one after the other, and tensors in messages as arrays."""

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
    """Return an iterator over the ``Event`` messages of a file, which goes on when the file has grown.

    A file that is compressed is read, too. Raises ``MissingFileError`` where there is none, ``ChecksumError`` for a
    damaged record and ``FormatError`` for one that is no event; an incomplete record at the end is the end.
    """
    return read_events(path)


def tf_record_iterator(path: StrPath, options: Any = None) -> RecordIterator[bytes]:
    """Return an iterator over the records of a file, as ``bytes``, which goes on when the file has grown.

    ``options`` are TensorFlow's ``TFRecordOptions``, a number of its ``TFRecordCompressionType``, or ``"GZIP"``,
    ``"ZLIB"``, ``"NONE"`` or ``""``. Without them the content says how the file is compressed, where TensorFlow takes
    it for one that is not. Raises as ``read_records`` does.
    """
    compression = getattr(options, "compression_type", options)
    if isinstance(compression, int):
        compression = _COMPRESSIONS[compression]
    return read_records(path, compression="NONE" if compression == "" else compression)


def make_ndarray(tensor: Message) -> Array:
    """Return the array that a ``TensorProto`` holds, as one of the caller's own, which may be written to.

    The message may be TensorFlow's or TensorBoard's. Strings are ``object`` arrays of ``bytes``. It differs from
    TensorFlow's in this: quantised types are plain integers, every type of ``tfbundle.tensors`` will do, and what
    repeats one value for more than 64 MiB is an ``UnsupportedError``. Raises as ``decode_tensor`` does where type,
    shape and elements do not fit together.
    """
    proto = tensor if isinstance(tensor, TensorProto) else TensorProto.FromString(tensor.SerializeToString())
    array = decode_tensor(proto)
    if array.nbytes > LARGEST_EXPANSION and 0 in array.strides:
        raise UnsupportedError(
            f"a tensor of shape {list(array.shape)} states one of its elements, and would take {array.nbytes} bytes"
        )
    return np.array(array)
