"""TensorFlow's data types and the numpy dtypes that hold them.

The numbers and names are those of the ``DataType`` enum (TensorFlow, ``core/framework/types.proto``). numpy has no
bfloat16, float8, int4 or int2; for these ``ml_dtypes`` is imported on first use. Quantised types become
the plain integers that they are stored as, and strings ``object`` arrays of ``bytes``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tfbundle.errors import FormatError, UnsupportedError

DT_STRING = 7
DT_RESOURCE = 20
DT_VARIANT = 21

# The offset of a reference type's number from the number of the type it refers to.
_REFERENCE = 100

_NAMES = {
    1: ("DT_FLOAT", "float32"),
    2: ("DT_DOUBLE", "float64"),
    3: ("DT_INT32", "int32"),
    4: ("DT_UINT8", "uint8"),
    5: ("DT_INT16", "int16"),
    6: ("DT_INT8", "int8"),
    DT_STRING: ("DT_STRING", "object"),
    8: ("DT_COMPLEX64", "complex64"),
    9: ("DT_INT64", "int64"),
    10: ("DT_BOOL", "bool"),
    11: ("DT_QINT8", "int8"),
    12: ("DT_QUINT8", "uint8"),
    13: ("DT_QINT32", "int32"),
    14: ("DT_BFLOAT16", "bfloat16"),
    15: ("DT_QINT16", "int16"),
    16: ("DT_QUINT16", "uint16"),
    17: ("DT_UINT16", "uint16"),
    18: ("DT_COMPLEX128", "complex128"),
    19: ("DT_HALF", "float16"),
    DT_RESOURCE: ("DT_RESOURCE", ""),
    DT_VARIANT: ("DT_VARIANT", "object"),
    22: ("DT_UINT32", "uint32"),
    23: ("DT_UINT64", "uint64"),
    24: ("DT_FLOAT8_E5M2", "float8_e5m2"),
    25: ("DT_FLOAT8_E4M3FN", "float8_e4m3fn"),
    26: ("DT_FLOAT8_E4M3FNUZ", "float8_e4m3fnuz"),
    27: ("DT_FLOAT8_E4M3B11FNUZ", "float8_e4m3b11fnuz"),
    28: ("DT_FLOAT8_E5M2FNUZ", "float8_e5m2fnuz"),
    29: ("DT_INT4", "int4"),
    30: ("DT_UINT4", "uint4"),
    31: ("DT_INT2", "int2"),
    32: ("DT_UINT2", "uint2"),
    33: ("DT_FLOAT4_E2M1FN", "float4_e2m1fn"),
}

# How many bits of its byte an element of a small type uses.
SHORT_TYPES = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}

# TensorFlow's Python names that are not the enum's names in lower case.
_PYTHON_NAMES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}


def data_type_name(number: int) -> str:
    """Return TensorFlow's name of a data type, such as ``"DT_FLOAT"``; ``"DT_57"`` for an unknown number."""
    if number in _NAMES:
        return _NAMES[number][0]
    if number - _REFERENCE in _NAMES:
        return _NAMES[number - _REFERENCE][0] + "_REF"
    return f"DT_{number}"


def data_type_number(name: str) -> int:
    """Return the number of a type by TensorFlow's name (``"DT_QINT8"``), its Python name, or that of a numpy dtype.

    Raises ``ValueError`` for a name that no stored type has.
    """
    number = _numbers().get(name)
    if number is None:
        raise ValueError(f"{name!r} is not the name of a type that a checkpoint can store")
    return number


@cache
def _numbers() -> dict[str, int]:
    stored = {number: names for number, names in _NAMES.items() if names[1]}
    # Several types are plain integers to numpy; the last one wins, and that is the type with the same name.
    numbers = {python_name(name): number for number, (name, _) in stored.items()}
    return numbers | {name: number for number, (name, _) in stored.items()}


def without_reference(number: int) -> int:
    """Return the number of a data type, or for a reference that of the type it refers to."""
    return number - _REFERENCE if number > _REFERENCE else number


def python_name(data_type: str) -> str:
    """Return TensorFlow's Python name of a type: ``"float32"`` for ``"DT_FLOAT"``, ``"qint8"`` for ``"DT_QINT8"``."""
    return _PYTHON_NAMES.get(data_type) or data_type.removeprefix("DT_").lower()


def numpy_dtypes() -> dict[str, np.dtype[Any]]:
    """Return the numpy dtype of every type that an array can hold, by its Python name."""
    return {python_name(name): numpy_dtype(number) for number, (name, numpy_name) in _NAMES.items() if numpy_name}


@cache
def data_type_of(dtype: np.dtype[Any]) -> int | None:
    """Return the number of the type for the values of a numpy dtype in any byte order, or ``None``.

    It is ``None`` for objects, because only their values show whether they are strings.
    """
    for number, (_, name) in _NAMES.items():
        if name == dtype.name and not dtype.hasobject and not _NAMES[number][0].startswith(("DT_Q",)):
            return number
    return None


@cache
def numpy_dtype(number: int) -> np.dtype[Any]:
    """Return the numpy dtype of a stored tensor, in native byte order.

    Raises ``UnsupportedError`` for resources, which exist only in a running program, and ``FormatError`` for a number
    that is not a type, or is a reference, which cannot be stored.
    """
    if number not in _NAMES:
        raise FormatError(f"{number} is not the number of a data type that can be stored")
    name, numpy_name = _NAMES[number]
    if not numpy_name:
        raise UnsupportedError(f"{name} refers to an object in a running program; files do not contain its value")
    try:
        return np.dtype(numpy_name)
    except TypeError:
        import ml_dtypes

        extended: np.dtype[Any] = np.dtype(getattr(ml_dtypes, numpy_name))
        return extended


def cast(array: np.ndarray[Any, np.dtype[Any]], dtype: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array in another dtype, without numpy's warnings about signalling NaNs in the file."""
    with np.errstate(invalid="ignore"):
        return array.astype(dtype)


def is_variant(element: Any) -> bool:
    """Return whether an object is a variant: the message ``VariantTensorDataProto``, TensorFlow's own included."""
    return getattr(getattr(element, "DESCRIPTOR", None), "name", None) == "VariantTensorDataProto"


def clear_unused_bits(array: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array with the bits cleared that a type of less than a byte leaves unused."""
    bits = SHORT_TYPES.get(array.dtype.name)
    return array if bits is None else (array.view(np.uint8) & np.uint8((1 << bits) - 1)).view(array.dtype)
