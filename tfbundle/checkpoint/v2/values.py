"""Conversion of a value that the caller passes as a tensor to TensorFlow's type and the stored values.

Numbers keep the type that numpy gives them. Text becomes UTF-8; a list of ``str`` or ``bytes`` never passes through
numpy's own strings, which lose zeros at their ends.
"""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import (
    DT_STRING,
    DT_VARIANT,
    SHORT_TYPES,
    clear_unused_bits,
    data_type_number,
    is_variant,
    numpy_dtype,
)

# So many bytes are copied in less time than a view of them takes to make.
_SMALL = 1 << 12
_QUANTISED = ("qint8", "quint8", "qint16", "quint16", "qint32")


def to_array(name: str, value: Any, data_type: str | None = None) -> tuple[int, Array]:
    """Return the ``DataType`` number and the array, whose elements are ``bytes`` for strings and variants.

    Raises ``TypeError`` for what no tensor holds, ``ValueError`` for values that do not fit ``data_type``.
    """
    array = _as_array(name, value)
    number = None if data_type is None else data_type_number(data_type)
    dtype = array.dtype
    if dtype.names is not None and len(dtype.names) == 1 and dtype.names[0] in _QUANTISED:
        number = data_type_number(dtype.names[0]) if number is None else number
        array = array[dtype.names[0]]
    if array.dtype.kind in "OSUT":
        return _to_objects(name, array, number)
    if number is None:
        try:
            number = data_type_number(array.dtype.name)
        except ValueError:
            raise TypeError(f"{name!r} has the dtype {array.dtype}, which TensorFlow has no type for") from None
    if numpy_dtype(number).name != array.dtype.name:
        raise ValueError(
            f"{name!r} has the dtype {array.dtype}, and {data_type} holds {numpy_dtype(number)}; convert it first"
        )
    return number, array


@lru_cache(maxsize=256)
def plain_number(dtype: np.dtype[Any]) -> int | None:
    """Return the ``DataType`` number of a dtype whose arrays are stored as they are in memory, or ``None``."""
    is_swapped = dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")
    if dtype.names is not None or dtype.kind in "OSUT" or (is_swapped and dtype.itemsize > 1):
        return None
    if dtype.name in SHORT_TYPES:
        return None
    try:
        return data_type_number(dtype.name)
    except ValueError:
        return None


def plain_bytes(array: Array) -> bytes | memoryview:
    """Return the bytes of an array for whose dtype there is a ``plain_number``, in C order."""
    if array.nbytes <= _SMALL:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def stored_bytes(array: Array) -> memoryview:
    """Return the bytes of numbers in C order, little-endian, with unused bits zero."""
    order = array.dtype.byteorder
    if array.dtype.itemsize > 1 and (order == ">" or (order == "=" and sys.byteorder == "big")):
        array = array.astype(array.dtype.newbyteorder("<"))
    flat = np.ascontiguousarray(array).reshape(-1)
    return clear_unused_bits(flat).view(np.uint8).data if flat.size else memoryview(b"")


def _as_array(name: str, value: Any) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name!r} is a masked array, and a tensor has no mask; fill it first")
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if hasattr(value, "SerializeToString"):
        message = np.empty((), object)
        message[()] = value
        return message
    try:
        with warnings.catch_warnings():
            # Before numpy 1.24 lists of different lengths became an array of lists, with a warning.
            warnings.filterwarnings("error", message="Creating an ndarray from ragged")
            array = np.asarray(value)
        if array.dtype.kind in "SU":
            array = np.asarray(value, object)
    except (ValueError, Warning) as error:
        raise ValueError(f"{name!r} is not an array: {error}") from None
    return array


def _to_objects(name: str, array: Array, number: int | None) -> tuple[int, Array]:
    elements = array.reshape(-1).tolist()
    is_message = [hasattr(element, "SerializeToString") for element in elements]
    found = DT_VARIANT if any(is_message) else DT_STRING
    if number is None:
        number = found
    if number not in (DT_STRING, DT_VARIANT) or (elements and number != found):
        raise ValueError(f"{name!r} holds objects, which are not of the type that was given")
    result = np.empty(len(elements), object)
    result[:] = [_to_bytes(name, element, number) for element in elements]
    return number, result.reshape(array.shape)


def _to_bytes(name: str, element: Any, number: int) -> bytes:
    if number == DT_VARIANT:
        if is_variant(element):
            data: bytes = element.SerializeToString()
            return data
    elif isinstance(element, str):
        try:
            return element.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise ValueError(f"{name!r} has a string that is not Unicode: {error.reason}") from None
    elif isinstance(element, bytes | bytearray):
        return bytes(element)
    raise TypeError(f"{name!r} has an element of type {type(element).__name__}, which no tensor holds")
