"""Arrays of other programs as tensors: their types in TensorFlow, and their elements in its form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfbundle.conversion.sources.members import Member, MemberStore, MemberTensors, unsupported
from tfbundle.errors import FormatError
from tfbundle.tensors.arrays import Array, split
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, data_type_of, is_variant

NOT_STORABLE = "it contains Python objects that are neither str nor bytes"
_NOT_CHARACTERS = "it has text with numbers that are not Unicode characters"
_PLACE = "the mapping"


def tensors_of(arrays: Mapping[str, Any]) -> MemberTensors:
    """Return a mapping of arrays, or of any values that ``numpy.asarray`` accepts, as a mapping of tensors.

    Raises ``TypeError`` for names that are not ``str``, and ``ValueError`` for arrays of a type that TensorFlow does
    not have.
    """
    members = {}
    for name, value in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"the names of tensors must be str, not {name!r}")
        member = member_of(array_of(value))
        if member.problem is not None:
            raise ValueError(f"{name!r}: {member.problem.message}")
        members[name] = member
    return MemberTensors(MemberStore(_PLACE, members), "arrays", files=())


def array_of(value: Any) -> Array:
    """Return what ``numpy.asarray`` returns, but Python's strings as objects, with the zero bytes at their ends."""
    try:
        array: Array = np.asarray(value)
    except UnicodeDecodeError:  # A list of both str and bytes, which are not ASCII.
        return np.asarray(value, object)
    if array.dtype.kind in "SU" and isinstance(value, str | bytes | list | tuple):
        return np.asarray(value, object)
    return array


def member_of(array: Array) -> Member:
    """Return an array in memory as a member."""
    number = number_of(array.dtype)
    if number is None:
        return unsupported(f"TensorFlow has no type for {array.dtype}")
    if not is_storable(array):
        return unsupported(NOT_STORABLE)
    if array.dtype.hasobject and is_variant(next(array.flat, None)):
        number = DT_VARIANT
    return Member(number, array.shape, lambda: split(native(np.ascontiguousarray(array))))


def is_storable(array: Array) -> bool:
    """Return whether the Python objects of an array are all ``str`` or ``bytes``, or all variants."""
    if not array.dtype.hasobject:
        return True
    return all(isinstance(value, bytes | str) for value in array.flat) or all(map(is_variant, array.flat))


def number_of(dtype: np.dtype[Any]) -> int | None:
    """Return the number of TensorFlow's type for a numpy dtype, or ``None`` if there is none."""
    return DT_STRING if dtype.hasobject or dtype.kind in "SU" else data_type_of(dtype)


def native(array: Array) -> Array:
    """Return an array in native byte order, with strings as an array of ``bytes``.

    Raises ``FormatError`` for text with numbers that are not Unicode characters.
    """
    if array.dtype.kind == "S":
        plain: Array = array.astype(object)
        return plain
    if array.dtype.kind == "U":
        _check_characters(array)
    if array.dtype.kind == "U" or array.dtype.hasobject:
        try:
            flat = [
                value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value for value in array.flat
            ]
        except UnicodeEncodeError:
            raise FormatError(_NOT_CHARACTERS) from None
        strings = np.empty(len(flat), object)
        strings[:] = flat
        shaped: Array = strings.reshape(array.shape)
        return shaped
    swapped: Array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return swapped


def _check_characters(array: Array) -> None:
    """Raise ``FormatError`` for numbers that are not characters, which numpy cannot convert to ``str``."""
    codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    is_escape = (codes >= 0xDC80) & (codes <= 0xDCFF)
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF) & ~is_escape)).any():
        raise FormatError(_NOT_CHARACTERS)
