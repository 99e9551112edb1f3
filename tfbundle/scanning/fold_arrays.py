"""How ops that arrange items change known values: stacks, slices, shapes, ranges.

The functions are as in ``fold_ops``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tfbundle.proto import NodeDef
from tfbundle.scanning.values import MOST_ITEMS, Value, scalar, value_of

Fold = Callable[[NodeDef, Sequence[Value]], "Value | None"]


def attribute(node: NodeDef, name: str, default: Any) -> Any:
    """Return an attribute of a plain type, or ``default`` if the node has none."""
    if name not in node.attr:
        return default
    value = node.attr[name]
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in ("s", "i", "b", "type", "f") else default


def whole_numbers(value: Value) -> list[int] | None:
    """Return the items as integers, or ``None`` if one is something else."""
    items = list(value.flat)
    return [int(item) for item in items] if all(isinstance(item, int) for item in items) else None


def one_number(value: Value) -> int | None:
    """Return the only item as an integer, or ``None``."""
    numbers = whole_numbers(value)
    return numbers[0] if numbers is not None and len(numbers) == 1 else None


def _pack(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axis = attribute(node, "axis", 0)
    stacked: Value = np.stack(list(values), axis=axis)
    return stacked


def _concat(node: NodeDef, values: Sequence[Value]) -> Value | None:
    *parts, axis = values if node.op == "ConcatV2" else (*values[1:], values[0])
    number = one_number(axis)
    return None if number is None else np.concatenate(parts, axis=number)


def _reshape(node: NodeDef, values: Sequence[Value]) -> Value | None:
    shape = whole_numbers(values[1])
    return None if shape is None else values[0].reshape(shape)


def _expand_dims(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axis = one_number(values[1])
    return None if axis is None else np.expand_dims(values[0], axis)


def _squeeze(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axes = tuple(node.attr["squeeze_dims"].list.i) if "squeeze_dims" in node.attr else ()
    return np.squeeze(values[0], axis=axes or None)


def _gather(node: NodeDef, values: Sequence[Value]) -> Value | None:
    numbers = whole_numbers(values[1])
    if numbers is None or (len(values) > 2 and one_number(values[2]) != 0) or not values[0].ndim:
        return None
    if not all(0 <= number < values[0].shape[0] for number in numbers):
        return None
    rows = values[0][np.array(numbers, dtype=np.int64)]
    return rows.reshape((*values[1].shape, *values[0].shape[1:]))


def _slice(node: NodeDef, values: Sequence[Value]) -> Value | None:
    starts, sizes = whole_numbers(values[1]), whole_numbers(values[2])
    if starts is None or sizes is None or len(starts) != values[0].ndim or len(sizes) != len(starts):
        return None
    return values[0][
        tuple(slice(start, None if size < 0 else start + size) for start, size in zip(starts, sizes, strict=True))
    ]


def _strided_slice(node: NodeDef, values: Sequence[Value]) -> Value | None:
    starts, ends, steps = (whole_numbers(value) for value in values[1:4])
    if starts is None or ends is None or steps is None or not len(starts) == len(ends) == len(steps):
        return None
    if attribute(node, "ellipsis_mask", 0) or attribute(node, "new_axis_mask", 0) or len(starts) > values[0].ndim:
        return None
    begins, stops = attribute(node, "begin_mask", 0), attribute(node, "end_mask", 0)
    shrinks = attribute(node, "shrink_axis_mask", 0)
    index: list[int | slice] = []
    for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True)):
        if shrinks >> axis & 1:
            index.append(start)
        elif not step:
            return None
        else:
            index.append(slice(None if begins >> axis & 1 else start, None if stops >> axis & 1 else end, step))
    found = values[0][tuple(index)]
    # An index of numbers alone takes an item out.
    return scalar(found) if all(isinstance(part, int) for part in index) and len(index) == values[0].ndim else found


def _fill(node: NodeDef, values: Sequence[Value]) -> Value | None:
    shape = whole_numbers(values[0])
    if shape is None or values[1].size != 1 or any(size < 0 for size in shape):
        return None
    count = 1
    for size in shape:
        count *= size
    return value_of([values[1].item()] * count, tuple(shape)) if count <= MOST_ITEMS else None


def _range(node: NodeDef, values: Sequence[Value]) -> Value | None:
    start, limit, step = (one_number(value) for value in values[:3])
    if start is None or limit is None or not step or len(range(start, limit, step)) > MOST_ITEMS:
        return None
    return value_of(range(start, limit, step))


def _transpose(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axes = whole_numbers(values[1])
    return None if axes is None else values[0].transpose(axes)


def _tile(node: NodeDef, values: Sequence[Value]) -> Value | None:
    times = whole_numbers(values[1])
    if times is None or len(times) != values[0].ndim or any(not 0 <= number <= MOST_ITEMS for number in times):
        return None
    return np.tile(values[0], times) if values[0].size * prod(times) <= MOST_ITEMS else None


def _broadcast_to(node: NodeDef, values: Sequence[Value]) -> Value | None:
    shape = whole_numbers(values[1])
    if shape is None or any(not 0 <= size <= MOST_ITEMS for size in shape) or prod(shape) > MOST_ITEMS:
        return None
    return np.broadcast_to(values[0], tuple(shape))


def _gather_nd(node: NodeDef, values: Sequence[Value]) -> Value | None:
    numbers = whole_numbers(values[1])
    if numbers is None or not values[1].ndim or not 0 < values[1].shape[-1] <= values[0].ndim:
        return None
    depth = values[1].shape[-1]
    places = np.array(numbers, dtype=np.int64).reshape(-1, depth)
    if (places < 0).any():
        return None
    rows: Value = values[0][tuple(places.T)]
    return rows.reshape((*values[1].shape[:-1], *values[0].shape[depth:]))


def split(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    """Return an output of ``Split`` or ``SplitV``."""
    if node.op == "Split":
        axis, parts = one_number(values[0]), attribute(node, "num_split", 0)
        if axis is None or not 0 < parts <= MOST_ITEMS:
            return None
        return np.split(values[1], parts, axis=axis)[index]
    sizes, axis = whole_numbers(values[1]), one_number(values[2])
    if sizes is None or axis is None or any(size < 0 for size in sizes):
        return None
    return np.split(values[0], np.cumsum(sizes)[:-1], axis=axis)[index]


def _reverse(node: NodeDef, values: Sequence[Value]) -> Value | None:
    axes = whole_numbers(values[1])
    return None if axes is None or node.op != "ReverseV2" else np.flip(values[0], axis=tuple(axes))


def unpack(node: NodeDef, values: Sequence[Value], index: int) -> Value | None:
    """Return an output of ``Unpack``."""
    axis = attribute(node, "axis", 0)
    parts = np.moveaxis(values[0], axis, 0)
    return value_of(parts[index : index + 1].flat, parts.shape[1:])


ARRAY_FOLDS: dict[str, Fold] = {
    "BroadcastTo": _broadcast_to,
    "Concat": _concat,
    "ConcatV2": _concat,
    "ExpandDims": _expand_dims,
    "Fill": _fill,
    "Gather": _gather,
    "GatherNd": _gather_nd,
    "GatherV2": _gather,
    "Pack": _pack,
    "Range": _range,
    "Reshape": _reshape,
    "ReverseV2": _reverse,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Tile": _tile,
    "Transpose": _transpose,
}
"""By op how its output follows from its inputs."""
