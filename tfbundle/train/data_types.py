"""The type of a tensor as TensorFlow's ``tf.DType`` presents it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tfbundle.proto import DataType
from tfbundle.tensors.dtypes import (
    DT_RESOURCE,
    DT_STRING,
    DT_VARIANT,
    data_type_name,
    data_type_of,
    numpy_dtype,
    python_name,
    without_reference,
)

_QUANTISED = ("DT_QINT8", "DT_QUINT8", "DT_QINT16", "DT_QUINT16", "DT_QINT32")
_FLOATING = ("DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16")
_SMALL_FLOATING = ("DT_FLOAT8_", "DT_FLOAT4_")
_REAL_PARTS = {"DT_COMPLEX64": 1, "DT_COMPLEX128": 2}
_WITHOUT_SIZE = (DT_STRING, DT_RESOURCE, DT_VARIANT)
# TensorFlow does not count the types that it added later: float8, and those of fewer than 8 bits.
_NUMERIC = frozenset(
    (*_QUANTISED, *_FLOATING, *_REAL_PARTS, *(f"DT_{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)))
)
_OF_PYTHON = {float: np.float32, bool: np.bool_, object: np.object_}


class DType:
    """The type of a tensor, with the attributes of ``tf.DType``.

    It is equal to another one of the same number, including TensorFlow's, and has the same hash. As in TensorFlow, it
    is also equal to its number, its name, and the numpy type of its values. References (``DT_FLOAT_REF``) are separate
    types.

    It differs from TensorFlow's in this: a number without a type is accepted, because a file may contain one, and
    ``FormatError`` is raised when its numpy type is requested; ``resource`` and ``variant`` have ``as_numpy_dtype`` and
    ``size`` as far as numpy supports them, and unpickling gives a ``DType`` of this module.
    """

    __slots__ = ("_number",)

    def __init__(self, type_enum: int) -> None:
        """Accept a number of the ``DataType`` enum."""
        self._number = int(type_enum)

    @property
    def as_datatype_enum(self) -> int:
        """The number, such as 1 for ``DT_FLOAT``."""
        return self._number

    @property
    def name(self) -> str:
        """The name in Python, such as ``"float32"``, or ``"float32_ref"`` of a reference."""
        if self.base_dtype is not self:
            return self.base_dtype.name + "_ref"
        return python_name(data_type_name(self._number))

    @property
    def as_numpy_dtype(self) -> Any:
        """The scalar type of numpy or ml_dtypes, such as ``numpy.float32``; ``object`` for strings.

        For quantised types, it is a dtype of one field with their name; ``get_tensor`` returns plain integers.
        Raises ``FormatError`` for an unknown number, and ``UnsupportedError`` for resources.
        """
        dtype = self._numpy
        if self.is_quantized:
            return np.dtype([(self.base_dtype.name, dtype)])
        return object if dtype.hasobject else dtype.type

    @property
    def base_dtype(self) -> DType:
        """The type itself, or for a reference the type that it refers to."""
        number = without_reference(self._number)
        return self if number == self._number else DType(number)

    @property
    def real_dtype(self) -> DType:
        """The type of the real part of a complex type; the type itself for any other."""
        number = _REAL_PARTS.get(self._enum_name)
        return self if number is None else DType(number)

    @property
    def size(self) -> int:
        """The bytes of an element in memory, 1 for types of a few bits; 0 for strings, resources and variants."""
        return 0 if without_reference(self._number) in _WITHOUT_SIZE else self._numpy.itemsize

    @property
    def is_bool(self) -> bool:
        """Whether it is ``bool``."""
        return self._enum_name == "DT_BOOL"

    @property
    def is_floating(self) -> bool:
        """Whether it is a real floating-point type, of any width."""
        return self._enum_name in _FLOATING or self._enum_name.startswith(_SMALL_FLOATING)

    @property
    def is_integer(self) -> bool:
        """Whether it is an integer type that is not quantised."""
        return self._enum_name.startswith(("DT_INT", "DT_UINT"))

    @property
    def is_unsigned(self) -> bool:
        """Whether it is an unsigned integer type that is not quantised."""
        return self._enum_name.startswith("DT_UINT")

    @property
    def is_complex(self) -> bool:
        """Whether it is a complex type."""
        return self._enum_name in _REAL_PARTS

    @property
    def is_quantized(self) -> bool:
        """Whether it is a quantised integer type."""
        return self._enum_name in _QUANTISED

    @property
    def is_numeric(self) -> bool:
        """Whether it is a type of numbers, quantised ones included, of at least 8 bits that is not ``float8``."""
        return self._enum_name in _NUMERIC

    @property
    def is_numpy_compatible(self) -> bool:
        """Whether numpy has arrays of it."""
        return without_reference(self._number) not in (DT_RESOURCE, DT_VARIANT)

    @property
    def min(self) -> Any:
        """The least finite value; ``TypeError`` for bool, complex, quantised types and types that are not numbers."""
        return self._limits().min

    @property
    def max(self) -> Any:
        """The greatest finite value; raises as ``min`` does."""
        return self._limits().max

    @property
    def limits(self) -> tuple[Any, Any]:
        """The range of intensities of images of this type, from 0 to ``max``, or to 1 for ``float32`` and ``float64``.

        Raises ``ValueError`` for types that images do not have.
        """
        name = self._enum_name
        if name in ("DT_FLOAT", "DT_DOUBLE"):
            return 0, 1
        if name == "DT_BOOL":
            return 0, True
        if self.is_integer and name in _NUMERIC:
            return 0, int(self.max)
        raise ValueError(f"{self.name} has no range of intensities")

    def is_compatible_with(self, other: Any) -> bool:
        """Return whether a tensor of the type ``other``, or of the type it refers to, is also of this type."""
        other = as_dtype(other)
        return self._number in (other._number, other.base_dtype._number)

    @property
    def _enum_name(self) -> str:
        return data_type_name(without_reference(self._number))

    @property
    def _numpy(self) -> np.dtype[Any]:
        return numpy_dtype(without_reference(self._number))

    def _limits(self) -> Any:
        import ml_dtypes

        finfo: Any = ml_dtypes.finfo
        iinfo: Any = ml_dtypes.iinfo
        if self.is_floating:
            return finfo(self._numpy)
        if self.is_integer:
            return iinfo(self._numpy)
        raise TypeError(f"{self.name} has no least and no greatest value")

    def __eq__(self, other: object) -> bool:
        number = getattr(other, "as_datatype_enum", other)
        if isinstance(number, int):
            return self._number == number
        try:
            return self._number == as_dtype(other)._number
        except TypeError:
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self._number)

    def __int__(self) -> int:
        return self._number

    def __reduce__(self) -> tuple[Any, ...]:
        return DType, (self._number,)

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __repr__(self) -> str:
        return f"DType({self.name!r})"


def as_dtype(type_value: Any) -> DType:
    """Return the ``DType`` that a number, a name such as ``"float32"``, a numpy type or another ``DType`` represents.

    As in TensorFlow, Python's ``float`` is ``float32``, ``bool`` is ``bool`` and ``object`` is ``string``, and an array
    represents the type of its elements. Raises ``TypeError`` if the value represents no type.
    """
    if isinstance(type_value, DType):
        return type_value
    number = getattr(type_value, "as_datatype_enum", type_value)
    found: int | None = None
    if isinstance(number, int | np.integer):
        if not isinstance(number, bool) and data_type_name(int(number)) != f"DT_{number}":
            found = int(number)
    elif isinstance(type_value, str):
        found = _by_name().get(type_value)
    elif isinstance(type_value, type):
        # numpy also accepts int and complex, and any other class for objects.
        if type_value in _OF_PYTHON or issubclass(type_value, np.generic):
            found = _of_numpy(np.dtype(_OF_PYTHON.get(type_value, type_value)))
    else:
        try:
            found = _of_numpy(np.dtype(getattr(type_value, "dtype", type_value)) if type_value is not None else None)
        except TypeError:
            found = None
    if found is None:
        raise TypeError(f"{type_value!r} is not a data type of TensorFlow")
    return DType(found)


def _of_numpy(dtype: np.dtype[Any] | None) -> int | None:
    """Return the number of the type for the values of a numpy dtype, or ``None``."""
    if dtype is None:
        return None
    if dtype.names is not None:
        return _quantised().get(dtype)
    return DT_STRING if dtype.kind in "OSUT" else data_type_of(dtype)


@cache
def _quantised() -> dict[np.dtype[Any], int]:
    """Return the numbers of the quantised types by the numpy dtypes that represent them."""
    return {np.dtype(dtype.as_numpy_dtype): int(dtype) for dtype in map(as_dtype, map(number_of, _QUANTISED))}


def number_of(data_type: str) -> int:
    """Return the number of a name such as ``"DT_FLOAT"``, or ``"DT_57"`` for an unknown type."""
    number = DataType.DESCRIPTOR.values_by_name.get(data_type)
    return int(data_type.removeprefix("DT_")) if number is None else number.number


def names_of_types() -> list[str]:
    """Return the names that types have as attributes of the module ``tensorflow``."""
    return [name for name in _by_name() if name != "float" and not name.endswith("_ref")]


@cache
def _by_name() -> dict[str, int]:
    """Return the number of each type, references included, by its names and the other forms that TensorFlow accepts."""
    numbers = [number for number in DataType.values() if number]
    names = {DType(number).name: number for number in numbers}
    for alias, name in (("half", "float16"), ("float", "float32"), ("double", "float64")):
        names[alias] = names[name]
        names[alias + "_ref"] = names[name + "_ref"]
    return names
