"""``.safetensors``: a JSON header that says where everything lies, and the elements (huggingface/safetensors).

::

    [size of the header: uint64] [header: JSON in UTF-8, padded with spaces to a multiple of 8] [elements ...]

    header   {NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}

Offsets count from the end of the header; there are no gaps. Tensors with larger elements come first, as the library
writes them, so that each is aligned in a mapped file. The library itself wants all tensors in memory before it writes.

Divided into shards, as Hugging Face's libraries have it::

    model-00001-of-00002.safetensors   model-00002-of-00002.safetensors
    model.safetensors.index.json       {"metadata": {"total_size": BYTES}, "weight_map": {NAME: FILE, ...}}
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Sequence
from typing import BinaryIO

from tfbundle.conversion.plan import Plan, Planned
from tfbundle.conversion.safetensors_types import DTYPES
from tfbundle.conversion.targets.shards import divide
from tfbundle.conversion.targets.target import Count, Layout, raw_chunks
from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.replacing import replacement

# The library refuses to read a longer header.
_LARGEST_HEADER = 100_000_000
# Where a name would stand, this stands for facts about the file.
_RESERVED = "__metadata__"


class Safetensors:
    """``.safetensors`` files, one or several with an index."""

    name: str = "safetensors"
    suffixes: tuple[str, ...] = (".safetensors",)
    is_prefix: bool = False
    is_folder: bool = False
    keeps_objects: bool = False

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return what of a tensor the format has no room for, or ``None``."""
        if tensor.dtype.name not in DTYPES:
            return tensor.type_name
        if tensor.name == _RESERVED:
            return "a name that the format reserves"
        try:
            tensor.name.encode()
        except UnicodeEncodeError:
            return "a name that is not UTF-8"
        return None

    def outputs(self, out: Location, plan: Plan, layout: Layout) -> list[Location]:
        """Return the file, or the index and the shards."""
        shards = divide(plan.tensors, layout)
        return [out] if shards is None else [_index(out), *(location for location, _ in _files(out, shards))]

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write the file, or all shards and then the index."""
        shards = divide(plan.tensors, layout)
        if shards is None:
            with replacement(out) as file:
                _write(file, plan.tensors, count)
            return
        weight_map = {}
        for location, tensors in _files(out, shards):
            with replacement(location) as file:
                _write(file, tensors, count)
            weight_map.update(dict.fromkeys([tensor.name for tensor in tensors], location.name))
        index = {"metadata": {"total_size": plan.nbytes}, "weight_map": dict(sorted(weight_map.items()))}
        with replacement(_index(out)) as file:
            file.write(json.dumps(index, indent=2, ensure_ascii=False).encode() + b"\n")


def _index(out: Location) -> Location:
    return out.beside(f"{_stem(out)}.safetensors.index.json")


def _files(out: Location, shards: list[list[Planned]]) -> list[tuple[Location, list[Planned]]]:
    name = f"{_stem(out)}-{{:05d}}-of-{len(shards):05d}.safetensors"
    return [(out.beside(name.format(number)), tensors) for number, tensors in enumerate(shards, 1)]


def _stem(out: Location) -> str:
    return out.name.removesuffix(".index.json").removesuffix(".safetensors")


def _write(file: BinaryIO, tensors: Sequence[Planned], count: Count) -> None:
    tensors = sorted(tensors, key=lambda tensor: (-tensor.dtype.itemsize, tensor.name))
    entries = {}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.nbytes
        entries[tensor.name] = {
            "dtype": DTYPES[tensor.dtype.name],
            "shape": tensor.shape,
            "data_offsets": [begin, end],
        }
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > _LARGEST_HEADER:
        raise UnsupportedError(
            f"{len(tensors)} tensors make a header of {len(header)} bytes, and readers of .safetensors take no more "
            f"than {_LARGEST_HEADER}; divide them into shards"
        )
    file.write(struct.pack("<Q", len(header)))
    file.write(header)
    for tensor in tensors:
        for chunk in raw_chunks(tensor):
            file.write(chunk)
            count(len(chunk))
