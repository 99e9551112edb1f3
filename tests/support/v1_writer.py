"""Writes V1 checkpoints from numpy arrays, honest ones and others, in the manner of ``bundle_writer``.

::

    write_v1(path, {"weights": array, "parts": V1Saved(array, slices=[((0, 2), FULL), ((2, 3), FULL)])})
    write_v1(path, {"weights": V1Saved(array, lies={"shape": (-1,)})})
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.bundle_writer import (
    DATA_TYPES,
    FULL,
    STRING,
    Array,
    Extents,
    box_index,
    encode_extents,
    encode_field,
    encode_shape,
    encode_slice_key,
)
from tests.support.table_writer import encode_table, encode_varint

# The fields of TensorProto for the types that are not in int_val, which is 7.
FLOATS = {1: 5, 2: 6, 8: 9, 18: 12}
VARINTS = {9: 10, 10: 11, 14: 13, 19: 13, 22: 16, 23: 17}


@dataclass(frozen=True)
class V1Saved:
    """A tensor to write.

    ``slices`` are the boxes in which it is stored; ``None`` stands for one that covers everything. ``lies`` replaces
    what the meta states: ``dtype``, ``shape``, ``slices``, ``unknown_rank``, or all of it (``raw``). ``values``
    replaces what stands under the keys of some slices, by their number, where ``None`` leaves a key out.
    """

    array: Array
    data_type: int | None = None
    slices: Sequence[Extents] | None = None
    lies: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[int, bytes | None] = field(default_factory=dict)


def write_v1(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array | V1Saved],
    *,
    versions: bytes | None = None,
    meta: bytes | None = None,
    extra: Mapping[bytes, bytes] | None = None,
    **settings: Any,
) -> None:
    """Write one file; ``meta`` replaces the value of the empty key, ``settings`` are those of ``encode_table``."""
    statements = b""
    entries = {}
    for name, tensor in tensors.items():
        saved = tensor if isinstance(tensor, V1Saved) else V1Saved(np.asarray(tensor))
        array = saved.array
        data_type = saved.data_type or DATA_TYPES[array.dtype.name]
        key = name.encode("utf-8", "surrogateescape")
        slices = [[FULL] * array.ndim] if saved.slices is None else saved.slices
        facts = {"name": key, "dtype": data_type, "shape": array.shape, "slices": slices}
        statements += encode_field(1, encode_statement(**{**facts, **saved.lies}))
        for number, extents in enumerate(slices):
            part = array[box_index(extents)]
            if number in saved.values:
                value = saved.values[number]
            else:
                value = encode_slice(key, extents, encode_values(part, data_type))
            if value is not None:
                entries[encode_slice_key(key, extents)] = value
    if meta is None:
        meta = encode_field(1, statements + encode_field(2, encode_field(1, 1) if versions is None else versions))
    Path(path).write_bytes(encode_table({b"": meta, **entries, **(extra or {})}, **settings))


def encode_statement(
    *,
    name: bytes,
    dtype: int,
    shape: Sequence[int],
    slices: Sequence[Extents],
    unknown_rank: bool = False,
    raw: bytes | None = None,
) -> bytes:
    """A ``SavedSliceMeta``; ``raw`` is what follows the name."""
    if raw is None:
        raw = encode_field(2, encode_shape(shape, unknown_rank=unknown_rank)) + encode_field(3, dtype)
        raw += b"".join(encode_field(4, encode_extents(extents)) for extents in slices)
    return encode_field(1, name) + raw


def encode_slice(name: bytes, extents: Extents, tensor: bytes) -> bytes:
    """The value of a slice's key; ``tensor`` is a serialized ``TensorProto``."""
    place = encode_extents(extents)
    return encode_field(2, encode_field(1, name) + encode_field(2, place) + encode_field(3, tensor))


def encode_values(array: Array, data_type: int) -> bytes:
    """A ``TensorProto`` with nothing but an array's elements, in their typed field."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if data_type == STRING:
        return b"".join(encode_field(8, element) for element in flat)
    if data_type in FLOATS:
        return encode_field(FLOATS[data_type], flat.tobytes()) if len(flat) else b""
    if 24 <= data_type <= 28 or data_type == 33:
        return encode_field(18, flat.tobytes()) if len(flat) else b""
    if data_type in (14, 19):
        flat = flat.view(np.uint16)
    packed = b"".join(encode_varint(int(number)) for number in flat.tolist())
    return encode_field(VARINTS.get(data_type, 7), packed) if packed else b""
