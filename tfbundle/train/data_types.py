"""The type of a tensor as TensorFlow's ``tf.DType`` presents it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tfbundle.errors import FormatError
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
        if isinstance(other, str):
            return self.name == other
        if isinstance(other, type | np.dtype):
            try:
                return bool(np.dtype(self.as_numpy_dtype) == np.dtype(other))
            except (TypeError, FormatError, NotImplementedError):
                return False
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._number)

    def __reduce__(self) -> tuple[Any, ...]:
        return DType, (self._number,)

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __repr__(self) -> str:
        return f"DType({self.name!r})"


def as_dtype(type_value: Any) -> DType:
    """Return the ``DType`` that a number, a name such as ``"float32"``, a numpy type or another ``DType`` represents.

    Raises ``TypeError`` if it represents none.
    """
    if isinstance(type_value, DType):
        return type_value
    number = getattr(type_value, "as_datatype_enum", type_value)
    if isinstance(number, int) and not isinstance(number, bool):
        if data_type_name(number) != f"DT_{number}":
            return DType(number)
    elif isinstance(type_value, str) and (named := _by_name().get(type_value)) is not None:
        return DType(named)
    elif type_value is not None and not isinstance(type_value, str):  # numpy takes None for float64.
        try:
            dtype = np.dtype(type_value)
        except TypeError:
            dtype = np.dtype("V")
        of_numpy = DT_STRING if dtype.hasobject and dtype.names is None else data_type_of(dtype)
        if of_numpy is not None:
            return DType(of_numpy)
    raise TypeError(f"{type_value!r} is not a data type of TensorFlow")


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
