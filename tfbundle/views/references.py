"""Kerchunk references: a checkpoint as a Zarr hierarchy whose chunks are bytes of the checkpoint's own files.

::

    {"version": 1, "refs": {
        ".zgroup":                 '{"zarr_format": 2}',
        "dense/.zgroup":           '{"zarr_format": 2}',
        "dense/kernel/.zarray":    '{"shape": [6, 4], "chunks": [3, 4], "dtype": "<f4", ...}',
        "dense/kernel/.zattrs":    '{"_ARRAY_DIMENSIONS": ["kernel:0", "kernel:1"]}',
        "dense/kernel/0.0":        ["/run/model.ckpt-5.data-00000-of-00001", 1024, 48],
        "dense/kernel/1.0":        ["/run/model.ckpt-5.data-00000-of-00001", 1072, 48],
        "words/0":                 "base64:..."}}

Zarr's format 2 has big-endian types, which checkpoints of such machines need. Types that it lacks are unsigned integers
of the same bits, and the attribute ``data_type`` has TensorFlow's name of the type. Values that no file contains as an
array are included in the references: strings, and the numbers of small V1 tensors and of graphs.

Names come from the file and become paths of a store, sizes become requests. So names that would lead elsewhere are
refused, and every range was found to be inside its file.
"""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tfbundle.checkpoint.chosen_names import Names, select_names
from tfbundle.errors import UnsupportedError
from tfbundle.limits import LARGEST_INLINED, LARGEST_REFERENCE_KEYS, MOST_REFERENCES
from tfbundle.open_tensors import open_tensors
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.arrays import Array, swap_bytes
from tfbundle.tensors.dtypes import clear_unused_bits, data_type_name, data_type_of
from tfbundle.tensors.store import StoredArray
from tfbundle.tensors.tensor import Tensor
from tfbundle.views.zarr_chunks import Box, chunk_indices, equal_chunks
from tfbundle.views.zarr_names import check_path

_GROUP = '{"zarr_format": 2}'
_MOST_DIMENSIONS = 32
# The index of a tensor's first chunk, by the number of its dimensions.
_FIRST = ("0", *(".".join("0" * rank) for rank in range(1, _MOST_DIMENSIONS + 1)))
_LONGEST_NAME = 4096
# At most so many tensors are listed in a message.
_MOST_LISTED = 10
_LONGEST_LISTED = 100


def zarr_references(
    path: StrPath,
    *,
    chunk_bytes: int | None = None,
    names: Names = None,
    storage_options: StorageOptions | None = None,
) -> dict[str, Any]:
    """Return kerchunk references (version 1) to the tensors of a checkpoint, which Zarr then reads without a copy.

    ``path`` may be any path that ``open_checkpoint`` accepts, or a frozen graph; ``names`` selects tensors as in
    ``load``. The result can be written as JSON. Read it with ``fsspec.filesystem("reference", fo=references)`` and
    zarr, with VirtualiZarr, or with icechunk: each tensor is an array under its name. ``storage_options`` are those of
    ``locate``, for URLs; the references do not contain them.

    Each tensor, or each slice of a partitioned one, is one chunk. ``chunk_bytes`` requests smaller ones: Zarr's chunks
    have equal shapes, so a chunk is the run of rows (or, of large rows, of a part of one) that divides the tensor
    without a remainder and is nearest in size. Slices of different lengths are divided into chunks of a common divisor.

    Big-endian numbers have big-endian types. bfloat16, float8, int4 and similar types are unsigned integers with the
    stored bits, and quantised ones plain integers; the attribute ``data_type`` has the type. Strings, and numbers that
    are not stored as an array (compressed or small V1 tensors, constants of graphs), are included in the references.

    References contain neither checksums nor the version of a file: unlike ``load``, their readers notice neither damage
    nor a checkpoint that was replaced.

    Raises ``UnsupportedError`` that names the tensors which references cannot contain: variants, names that are not
    paths in Zarr, more than 32 dimensions, or more than 64 MB of included values; select others by ``names`` then. The
    other errors are those of ``open_checkpoint`` and ``load``; ``TruncatedError`` and ``MissingFileError`` if a data
    file is too short or missing.
    """
    if chunk_bytes is not None and chunk_bytes < 1:
        raise ValueError(f"chunk_bytes must be at least 1, not {chunk_bytes}")
    with open_tensors(with_options(path, storage_options)) as tensors:
        selected = select_names(tensors, names)
        chosen = {called: tensors[name] for name, called in selected.items()}
        _check(tensors.prefix, chosen)
        references = _References(tensors.prefix, len(chosen), chunk_bytes)
        references.add_groups(chosen)
        for called, tensor in chosen.items():
            references.add(called, tensor)
        return {"version": 1, "refs": references.refs}


class _References:
    """The references so far, of which there may be only so many."""

    def __init__(self, path: str, tensors: int, chunk_bytes: int | None) -> None:
        """Start with an empty hierarchy for ``tensors`` tensors of the checkpoint ``path``."""
        self.refs: dict[str, str | list[str | int]] = {".zgroup": _GROUP}
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._left = MOST_REFERENCES + 4 * tensors
        self._key_size = 0
        self._inlined = 0

    def add_groups(self, names: Iterable[str]) -> None:
        """Add the groups above the arrays of these names; an array is not a group, though it may have others below."""
        arrays = set(names)
        seen = set()
        for name in arrays:
            end = name.rfind("/")
            while end >= 0 and name[:end] not in seen:
                seen.add(name[:end])
                self._count(name[:end])
                end = name.rfind("/", 0, end)
        self.refs.update((f"{group}/.zgroup", _GROUP) for group in sorted(seen - arrays))

    def add(self, name: str, tensor: Tensor) -> None:
        """Add one array: what it is, and where each of its chunks is."""
        shape, dtype = tensor.shape, tensor.dtype
        stored = [one for one in tensor.stored_arrays() if one.box is None or one.box.volume]
        order = "little" if not stored else stored[0].byteorder
        chunk = shape
        if 0 in shape:
            chunk = tuple(max(1, length) for length in shape)
        elif not stored:
            self.refs[f"{name}/{_FIRST[len(shape)]}"] = self._inline(tensor)
        elif len(stored) == 1 and self._chunk_bytes is None:
            self.refs[f"{name}/{_FIRST[len(shape)]}"] = [stored[0].path, stored[0].offset, prod(shape) * dtype.itemsize]
        else:
            chunk = self._add_chunks(name, shape, dtype.itemsize, stored)
        self._count(name, 2)
        self.refs[f"{name}/.zarray"] = _array_facts(shape, dtype, chunk, order)
        self.refs[f"{name}/.zattrs"] = _attributes(name, tensor)

    def _add_chunks(
        self, name: str, shape: tuple[int, ...], itemsize: int, stored: Sequence[StoredArray]
    ) -> tuple[int, ...]:
        """Add the chunks of several slices, or of requested size, and return their shape."""
        boxes = [Box(one.box.starts, one.box.lengths) if one.box else Box((0,) * len(shape), shape) for one in stored]
        chunk = equal_chunks(shape, boxes, None if self._chunk_bytes is None else self._chunk_bytes / itemsize)
        self._count(name, prod(shape) // prod(chunk))
        size = prod(chunk) * itemsize
        for one, box in zip(stored, boxes, strict=True):
            for number, index in enumerate(chunk_indices(box, chunk)):
                self.refs[f"{name}/{index}"] = [one.path, one.offset + number * size, size]
        return chunk

    def _count(self, name: str, keys: int = 1) -> None:
        self._left -= keys
        self._key_size += keys * len(name)
        if self._left < 0 or self._key_size > LARGEST_REFERENCE_KEYS:
            raise UnsupportedError(
                f"{self._path} would need more than {MOST_REFERENCES} references, or very long ones; pass a larger "
                "chunk_bytes, or fewer names",
                path=self._path,
                tensor=name,
            )

    def _inline(self, tensor: Tensor) -> str:
        size = tensor.nbytes
        self._inlined += size
        if self._inlined > LARGEST_INLINED:
            raise UnsupportedError(
                f"its {size} bytes are not stored as an array, and together with others they are more than the "
                f"{LARGEST_INLINED} bytes that references include; convert it to a V2 checkpoint first, or select "
                "other tensors by names",
                path=self._path,
                tensor=tensor.name,
            )
        return "base64:" + b64encode(_encode(tensor.read())).decode()


def _encode(values: Array) -> bytes:
    """Return the bytes of a chunk with all values of a tensor: little-endian, or for strings with their lengths."""
    if values.dtype.hasobject:
        strings: list[bytes] = values.reshape(-1).tolist()
        parts = [len(strings).to_bytes(4, "little")]
        for string in strings:
            parts += (len(string).to_bytes(4, "little"), string)
        return b"".join(parts)
    bits = clear_unused_bits(values).reshape(-1)
    return (swap_bytes(bits.copy()) if sys.byteorder == "big" else bits).tobytes()


@lru_cache(maxsize=4096)
def _array_facts(shape: tuple[int, ...], dtype: np.dtype[Any], chunk: tuple[int, ...], byteorder: str) -> str:
    """Return the contents of ``.zarray``."""
    fill: Any = 0
    filters = None
    if dtype.hasobject:
        name, fill, filters = "|O", "", [{"id": "vlen-bytes"}]
    else:
        plain = _plain(dtype)
        name = plain.newbyteorder("<" if byteorder == "little" else ">").str
        if plain.kind in "bc":
            fill = False if plain.kind == "b" else None
    facts = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunk,
        "dtype": name,
        "compressor": None,
        "fill_value": fill,
        "order": "C",
        "filters": filters,
    }
    return json.dumps(facts)


def _attributes(name: str, tensor: Tensor) -> str:
    """Return the contents of ``.zattrs``: names of dimensions, which no two arrays share, and the type if needed."""
    last = name.rpartition("/")[2]
    attributes: dict[str, Any] = {"_ARRAY_DIMENSIONS": [f"{last}:{axis}" for axis in range(tensor.ndim)]}
    dtype, data_type = tensor.dtype, tensor.data_type
    if not dtype.hasobject and (_plain(dtype) != dtype or data_type != data_type_name(data_type_of(dtype) or 0)):
        attributes["data_type"] = data_type
    return json.dumps(attributes)


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype itself if Zarr has it, or else the unsigned integers of its size."""
    # numpy counts its own types from 0, and those of other packages from 256.
    return dtype if dtype.num < 256 else np.dtype(f"u{dtype.itemsize}")


def _check(path: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise an ``UnsupportedError`` with the names of all tensors that references cannot contain."""
    refused: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        reason = _refuse(tensor, name)
        if reason is not None:
            refused.setdefault(reason, []).append(name)
    if refused:
        groups = []
        for reason, group in refused.items():
            listed = ", ".join(repr(name[:_LONGEST_LISTED]) for name in group[:_MOST_LISTED])
            more = f" and {len(group) - _MOST_LISTED} more" if len(group) > _MOST_LISTED else ""
            groups.append(f"{reason}: {listed}{more}")
        raise UnsupportedError(
            f"Zarr references cannot contain {sum(map(len, refused.values()))} of {len(tensors)} tensors "
            f"({'; '.join(groups)}); select others by names, or pass other names for them",
            path=path,
        )


def _refuse(tensor: Tensor, called: str) -> str | None:
    if tensor.dtype.hasobject and tensor.data_type != "DT_STRING":
        return "variants"
    if tensor.ndim > _MOST_DIMENSIONS:
        return f"more than {_MOST_DIMENSIONS} dimensions"
    if len(called) > _LONGEST_NAME:
        return f"a name of more than {_LONGEST_NAME} characters"
    return check_path(called)
