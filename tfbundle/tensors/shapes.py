"""The shape that a file states for a tensor, as a tuple of lengths that an array can have."""

from __future__ import annotations

from math import prod

from tfbundle.errors import FormatError
from tfbundle.limits import LARGEST_COUNT, LARGEST_RANK
from tfbundle.proto import TensorShapeProto


def decode_shape(shape: TensorShapeProto) -> tuple[int, ...]:
    """Return the dimensions of a stored tensor; raise ``FormatError`` for an invalid shape."""
    dims = tuple(dim.size for dim in shape.dim)
    if shape.unknown_rank or any(size < 0 for size in dims):
        raise FormatError(f"its shape is not known in full: {'unknown rank' if shape.unknown_rank else list(dims)}")
    if len(dims) > LARGEST_RANK:
        raise FormatError(f"it has {len(dims)} dimensions, more than TensorFlow's {LARGEST_RANK}")
    # Zeros are left out: numpy computes strides from the other dimensions even if there are no elements.
    if prod(size for size in dims if size) > LARGEST_COUNT:
        raise FormatError(f"its shape {list(dims)} has more elements than can be addressed")
    return dims
