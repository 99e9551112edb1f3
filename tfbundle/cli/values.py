"""How values are shown: to people as numpy prints arrays, to programs as JSON.

A large tensor is shown by its corners. Only these are read, and put together in an array that numpy shortens at the
same places where it would shorten the whole.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast
from tfbundle.tensors.tensor import Tensor

# Up to this many elements are shown, as numpy does.
FEW = 1000
_EDGE = 3
# Of a tensor with more dimensions the first elements along the others are shown, for the corners would be too many.
_MOST_DIMENSIONS = 4
_LONGEST_STRING = 200


def read_part(tensor: Tensor, index: tuple[Any, ...]) -> Array:
    """Return the part of a tensor that ``index`` selects, as an array even if it is one element."""
    part = tensor[index]
    if not isinstance(part, np.ndarray):
        array = np.empty((), tensor.dtype)
        array[()] = part
        return array
    return part


def read_sample(tensor: Tensor) -> tuple[Array, tuple[int, ...]]:
    """Return the corners of a tensor, and the index of the part that they are corners of (``()`` for the whole)."""
    if tensor.size <= FEW or tensor.dtype.hasobject:
        return read_part(tensor, (...,)), ()
    lead = (0,) * max(0, tensor.ndim - _MOST_DIMENSIONS)
    # One element more than numpy shows represents all others.
    kept = 2 * _EDGE + 1
    ends = [
        [(slice(0, _EDGE + 1), slice(0, _EDGE + 1)), (slice(_EDGE + 1, kept), slice(length - _EDGE, length))]
        if length > kept
        else [(slice(None), slice(None))]
        for length in tensor.shape[len(lead) :]
    ]
    sample = np.empty([min(length, kept) for length in tensor.shape[len(lead) :]], tensor.dtype)
    for corner in itertools.product(*ends):
        target, source = zip(*corner, strict=True)
        sample[target] = tensor[lead + source]
    return sample, lead


def format_values(array: Array, *, threshold: int, width: int) -> str:
    """Return an array as numpy prints it, shortened above ``threshold`` elements, in lines of ``width`` characters."""
    return np.array2string(
        array,
        max_line_width=width,
        threshold=threshold,
        edgeitems=_EDGE,
        separator=", " if array.dtype.hasobject else " ",
        formatter={"object": _format_object} if array.dtype.hasobject else None,
    )


def _format_object(value: Any) -> str:
    if not isinstance(value, bytes):
        return f"<variant {value.type_name!r}>"
    if len(value) > _LONGEST_STRING:
        return f"{value[:_LONGEST_STRING]!r}... ({len(value)} bytes)"
    return repr(value)


def json_values(array: Array) -> Any:
    """Return an array as nested lists for ``print_json``.

    Strings that are not UTF-8 have their bytes escaped as in names, and variants are their types' names.
    """
    if array.dtype.hasobject:
        flat = [
            value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value.type_name
            for value in array.ravel()
        ]
        return _nested(flat, array.shape)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], -1)
    elif array.dtype.isbuiltin != 1:
        array = cast(array, np.int64 if "int" in array.dtype.name else np.float64)
    return array.tolist()


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    for axis in range(len(shape) - 1, 0, -1):
        length = shape[axis]
        flat = [flat[pos * length : (pos + 1) * length] for pos in range(math.prod(shape[:axis]))]
    return flat if shape else flat[0]
