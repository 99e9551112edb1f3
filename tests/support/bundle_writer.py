"""Writes V2 checkpoints from numpy arrays, honest ones and others.

::

    write_bundle(prefix, {"weights": array, "words": np.array([b"a", b"bc"], object)})
    write_bundle(prefix, {"big": Saved(array, slices=[((0, 2), FULL), ((2, 3), FULL)], shards=[0, 1])}, num_shards=2)
    write_bundle(prefix, {"weights": Saved(array, lies={"offset": -1})})

The messages are put together byte by byte: that shares nothing with the reader, and can state what no serializer
would.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from tests.support.table_writer import encode_table, encode_varint, masked_crc

Array = np.ndarray[Any, np.dtype[Any]]
Extents = Sequence[tuple[int, int]]

# A dimension that a slice takes whole.
FULL = (0, -1)

# Numbers of the ``DataType`` enum by the name of the numpy dtype.
DATA_TYPES: dict[str, int] = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "object": 7,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "uint16": 17,
    "complex128": 18,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
    "float8_e5m2": 24,
    "float8_e4m3fn": 25,
    "float8_e4m3fnuz": 26,
    "float8_e4m3b11fnuz": 27,
    "float8_e5m2fnuz": 28,
    "int4": 29,
    "uint4": 30,
    "int2": 31,
    "uint2": 32,
    "float4_e2m1fn": 33,
}
# Types that are stored as plain integers.
QUANTISED: dict[int, str] = {11: "int8", 12: "uint8", 13: "int32", 15: "int16", 16: "uint16"}
STRING, VARIANT = 7, 21


def numpy_type(name: str) -> np.dtype[Any]:
    """The dtype of a name in ``DATA_TYPES``."""
    return np.dtype(getattr(ml_dtypes, name, None) or name)


@dataclass(frozen=True)
class Saved:
    """A tensor to write.

    ``slices`` are the boxes in which it is stored, each with a (start, length) a dimension; ``shards`` is the shard of
    the tensor, or of each slice. ``lies`` replaces what the tensor's entry states: ``dtype``, ``shape``, ``shard``,
    ``offset``, ``size``, ``crc``, ``slices``, ``unknown_rank``, or all of it (``raw``, where ``None`` leaves the entry
    out). ``slice_lies`` does so for the entries of the slices, by their number. An array of variants holds serialized
    messages and needs ``data_type=VARIANT``.
    """

    array: Array
    data_type: int | None = None
    slices: Sequence[Extents] = ()
    shards: Sequence[int] = (0,)
    lies: Mapping[str, Any] = field(default_factory=dict)
    slice_lies: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


class Placed(NamedTuple):
    """Where the bytes of a tensor or a slice were written; ``crc`` is masked."""

    shard: int
    offset: int
    size: int
    crc: int


def write_bundle(
    prefix: str | os.PathLike[str],
    tensors: Mapping[str, Array | Saved],
    *,
    num_shards: int = 1,
    byteorder: str = "little",
    alignment: int = 1,
    header: bytes | None = None,
    extra: Mapping[bytes, bytes] | None = None,
    leave_out: Sequence[int] = (),
    **settings: Any,
) -> dict[str, list[Placed]]:
    """Write ``PREFIX.index`` and the data files; return where each tensor, or each of its slices, lies.

    Each tensor starts on a multiple of ``alignment``. ``header`` replaces the header, ``extra`` adds entries to the
    index, ``leave_out`` names shards whose files are not written, and ``settings`` are those of ``encode_table``.
    """
    shards = [bytearray() for _ in range(num_shards)]
    entries = {b"": encode_header(num_shards, byteorder) if header is None else header, **(extra or {})}
    placed: dict[str, list[Placed]] = {}

    def place(array: Array, data_type: int, shard: int) -> Placed:
        data, crc = encode_values(array, data_type, byteorder)
        shards[shard] += bytes(-len(shards[shard]) % alignment)
        offset = len(shards[shard])
        shards[shard] += data
        return Placed(shard, offset, len(data), crc)

    def add(key: bytes, facts: dict[str, Any], lies: Mapping[str, Any]) -> None:
        value = lies["raw"] if "raw" in lies else encode_entry(**{**facts, **lies})
        if value is not None:
            entries[key] = value

    for name, tensor in tensors.items():
        saved = tensor if isinstance(tensor, Saved) else Saved(np.asarray(tensor))
        array = saved.array
        data_type = saved.data_type or DATA_TYPES[array.dtype.name]
        key = name.encode("utf-8", "surrogateescape")
        placed[name] = []
        for number, extents in enumerate(saved.slices):
            part = array[box_index(extents)]
            shard = saved.shards[number % len(saved.shards)]
            where = place(part, data_type, shard)
            placed[name].append(where)
            facts = {"dtype": data_type, "shape": part.shape, **where._asdict()}
            add(encode_slice_key(key, extents), facts, saved.slice_lies.get(number, {}))
        if saved.slices:
            facts = {"dtype": data_type, "shape": array.shape, "slices": saved.slices}
        else:
            where = place(array, data_type, saved.shards[0])
            placed[name].append(where)
            facts = {"dtype": data_type, "shape": array.shape, **where._asdict()}
        add(key, facts, saved.lies)

    Path(f"{os.fspath(prefix)}.index").write_bytes(encode_table(entries, **settings))
    for number, shard_bytes in enumerate(shards):
        if number not in leave_out:
            data_file(prefix, number, num_shards).write_bytes(shard_bytes)
    return placed


def data_file(prefix: str | os.PathLike[str], shard: int = 0, num_shards: int = 1) -> Path:
    """The path of a shard."""
    return Path(f"{os.fspath(prefix)}.data-{shard:05}-of-{num_shards:05}")


def box_index(extents: Extents) -> tuple[slice, ...]:
    """A box as an index of the whole array."""
    return tuple(slice(None) if (start, n) == FULL else slice(start, start + n) for start, n in extents)


def encode_values(array: Array, data_type: int, byteorder: str = "little") -> tuple[bytes, int]:
    """The stored bytes of an array, and their masked checksum."""
    order = "<" if byteorder == "little" else ">"
    if data_type == STRING:
        elements = [bytes(element) for element in array.ravel()]
        hashed = b"".join(struct.pack(order + "I", len(element)) for element in elements)
        tail = struct.pack(order + "I", masked_crc(hashed)) + b"".join(elements)
        return b"".join(encode_varint(len(element)) for element in elements) + tail, masked_crc(hashed + tail)
    if data_type == VARIANT:
        data = hashed = b""
        for element in map(bytes, array.ravel()):
            hashed += struct.pack("<Q", len(element)) + element
            stored = struct.pack("<I", masked_crc(hashed))
            hashed += stored
            data += encode_varint(len(element)) + element + stored
        return data, masked_crc(hashed)
    plain = np.ascontiguousarray(array)
    data = plain.astype(plain.dtype.newbyteorder(order)).tobytes() if plain.dtype.itemsize > 1 else plain.tobytes()
    if plain.dtype.name == "bfloat16" and order == ">":  # Its dtype has no other byte order.
        data = plain.reshape(-1).view(np.uint16).byteswap().tobytes()
    return data, masked_crc(data)


def encode_field(number: int, value: int | bytes) -> bytes:
    """A field of a message: a varint, or bytes with their length."""
    if isinstance(value, bytes):
        return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value
    return encode_varint(number << 3) + encode_varint(value)


def encode_header(
    num_shards: int = 1,
    byteorder: str = "little",
    *,
    producer: int | None = 1,
    min_consumer: int = 0,
    bad_consumers: Sequence[int] = (),
) -> bytes:
    """A ``BundleHeaderProto``; a producer of ``None`` leaves the version out."""
    message = encode_field(1, num_shards) if num_shards else b""
    if byteorder == "big":
        message += encode_field(2, 1)
    if producer is not None:
        version = encode_field(1, producer) if producer else b""
        version += encode_field(2, min_consumer) if min_consumer else b""
        version += b"".join(encode_field(3, number) for number in bad_consumers)
        message += encode_field(3, version)
    return message


def encode_shape(shape: Sequence[int], *, unknown_rank: bool = False) -> bytes:
    """A ``TensorShapeProto``."""
    dims = b"".join(encode_field(2, encode_field(1, length) if length else b"") for length in shape)
    return dims + (encode_field(3, 1) if unknown_rank else b"")


def encode_extents(extents: Extents) -> bytes:
    """A ``TensorSliceProto``; a full dimension has neither start nor length."""
    message = b""
    for start, length in extents:
        extent = encode_field(1, start) if start else b""
        message += encode_field(1, extent + (b"" if (start, length) == FULL else encode_field(2, length)))
    return message


def encode_entry(
    *,
    dtype: int = 1,
    shape: Sequence[int] = (),
    shard: int = 0,
    offset: int = 0,
    size: int = 0,
    crc: int | None = None,
    slices: Sequence[Extents] = (),
    unknown_rank: bool = False,
) -> bytes:
    """A ``BundleEntryProto``; zeros are left out, as serializers do."""
    message = encode_field(1, dtype) + encode_field(2, encode_shape(shape, unknown_rank=unknown_rank))
    for number, value in ((3, shard), (4, offset), (5, size)):
        message += encode_field(number, value) if value else b""
    if crc:
        message += encode_varint(6 << 3 | 5) + struct.pack("<I", crc)
    return message + b"".join(encode_field(7, encode_extents(extents)) for extents in slices)


def encode_slice_key(name: bytes, extents: Extents) -> bytes:
    """The key of a slice, in ordered code."""
    escaped = b"\0\xff".join(part.replace(b"\xff", b"\xff\0") for part in name.split(b"\0"))
    key = b"\0" + escaped + b"\0\1"
    key += bytes([1, len(extents)]) if extents else b"\0"
    return key + b"".join(ordered_signed(start) + ordered_signed(length) for start, length in extents)


def ordered_signed(number: int) -> bytes:
    """A signed number in ordered code: as many one bits as it takes bytes, a zero, and the number's bits."""
    if number < 0:
        return bytes(255 - byte for byte in ordered_signed(-1 - number))
    size = 1
    while number >= 1 << (7 * size - 1):
        size += 1
    bits = "1" * size + format(number, f"0{7 * size}b")
    return int(bits, 2).to_bytes(size, "big")
