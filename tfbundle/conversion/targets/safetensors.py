"""``.safetensors``: a JSON header with types, shapes and offsets, and the elements (huggingface/safetensors).

::

    [size of the header: uint64] [header: JSON in UTF-8, padded with spaces to a multiple of 8] [elements ...]

    header   {NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}

Offsets count from the end of the header; there are no gaps. Tensors with larger elements come first, as the library
writes them, so that each is aligned in a mapped file. The library itself requires all tensors in memory before it
writes.

Divided into shards, in the layout of Hugging Face's libraries::

    model-00001-of-00002.safetensors   model-00002-of-00002.safetensors
    model.safetensors.index.json       {"metadata": {"total_size": BYTES}, "weight_map": {NAME: FILE, ...}}

Shards and index replace existing ones together (``storage.staging``): readers find either the old files or the new.
Shards that only the old index named are then removed.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Sequence
from functools import partial

from tfbundle.conversion.planned import Plan, Planned
from tfbundle.conversion.safetensors_types import DTYPES
from tfbundle.conversion.targets.shards import divide
from tfbundle.conversion.targets.target import Count, Layout, write_raw
from tfbundle.errors import TfBundleError, UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.changing import remove_file
from tfbundle.storage.copying import CountingSink, FileSink, Sink
from tfbundle.storage.early_sync import EarlySync
from tfbundle.storage.placing import Detour, put_in_place
from tfbundle.storage.replacing import replacement
from tfbundle.storage.staging import OpenFiles, StagedFile

# The library refuses to read a longer header.
_LARGEST_HEADER = 100_000_000
# The largest index to replace that is parsed; no valid index is larger.
_LARGEST_INDEX = 16 << 20
# The key in the header for metadata of the file.
_RESERVED = "__metadata__"


class Safetensors:
    """``.safetensors`` files, one or several with an index."""

    name: str = "safetensors"
    suffixes: tuple[str, ...] = (".safetensors",)
    is_prefix: bool = False
    is_folder: bool = False
    keeps_objects: bool = False

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return the property of a tensor that the format cannot store, or ``None``."""
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
        """Return the file, or the index and the shards; raise ``UnsupportedError`` for too many tensors per file."""
        shards = divide(plan.tensors, layout)
        for tensors in [plan.tensors] if shards is None else shards:
            _header(_in_order(tensors))
        return [out] if shards is None else [_index(out), *(location for location, _ in _files(out, shards))]

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write the file, or all shards and the index, which then replace the existing ones together."""
        shards = divide(plan.tensors, layout)
        if shards is None:
            with replacement(out) as file:
                early = EarlySync()
                sink = CountingSink(FileSink(file, out.path), partial(early.written, file.fileno()))
                _write(sink, plan.tensors, count)
                early.finish(out.path)
            return
        files = _files(out, shards)
        opened = OpenFiles(len(files) + 2, sync=True)
        staged: list[StagedFile] = []
        try:
            for location, tensors in files:
                staged.append(StagedFile(location, opened))
                _write(staged[-1], tensors, count)
                staged[-1].finish()
            old = _shards_of(_index(out))
            names = [location for location, _ in files]
            data = staged.copy()
            index = _stage_index(out, files, names, plan, opened, staged)
            detour = None
            if any(name.is_file() for name in names):
                others = [location.beside(opened.temporary(location.name)) for location in names]
                detour = Detour(_stage_index(out, files, others, plan, opened, staged), others, ())
            put_in_place(data, index, detour, sync=True)
        finally:
            for one in staged:
                one.discard()
        for name in old.difference(location.name for location in names):
            remove_file(out.beside(name))


def _stage_index(
    out: Location,
    files: Sequence[tuple[Location, list[Planned]]],
    names: Sequence[Location],
    plan: Plan,
    opened: OpenFiles,
    staged: list[StagedFile],
) -> StagedFile:
    """Write an index in which the tensors of each of ``files`` are in the corresponding one of ``names``."""
    weight_map = {tensor.name: name.name for (_, tensors), name in zip(files, names, strict=True) for tensor in tensors}
    index = {"metadata": {"total_size": plan.nbytes}, "weight_map": dict(sorted(weight_map.items()))}
    staged.append(StagedFile(_index(out), opened))
    staged[-1].write(json.dumps(index, indent=2, ensure_ascii=False).encode() + b"\n")
    staged[-1].finish()
    return staged[-1]


def _shards_of(index: Location) -> set[str]:
    """Return the shards next to an index that it lists."""
    pattern = re.compile(re.escape(_stem(index)) + r"-\d{5}-of-\d{5}\.safetensors")
    try:
        named = set(json.loads(index.read(_LARGEST_INDEX))["weight_map"].values())
        return {name for name in index.parent.list().names if name in named and pattern.fullmatch(name)}
    except (TfBundleError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return set()  # There is no index, or it cannot be read.


def _index(out: Location) -> Location:
    return out.beside(f"{_stem(out)}.safetensors.index.json")


def _files(out: Location, shards: list[list[Planned]]) -> list[tuple[Location, list[Planned]]]:
    name = f"{_stem(out)}-{{:05d}}-of-{len(shards):05d}.safetensors"
    return [(out.beside(name.format(number)), tensors) for number, tensors in enumerate(shards, 1)]


def _stem(out: Location) -> str:
    return out.name.removesuffix(".index.json").removesuffix(".safetensors")


def _write(sink: Sink, tensors: Sequence[Planned], count: Count) -> None:
    ordered = _in_order(tensors)
    sink.write(_header(ordered))
    counting = CountingSink(sink, count)
    for tensor in ordered:
        write_raw(tensor, counting)


def _in_order(tensors: Sequence[Planned]) -> list[Planned]:
    return sorted(tensors, key=lambda tensor: (-tensor.dtype.itemsize, tensor.name))


def _header(tensors: Sequence[Planned]) -> bytes:
    """Return the bytes before the elements; raise ``UnsupportedError`` for more tensors than readers accept."""
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
            f"{len(tensors)} tensors have a header of {len(header)} bytes, and readers of .safetensors accept no more "
            f"than {_LARGEST_HEADER}; divide them into shards"
        )
    return struct.pack("<Q", len(header)) + header
