"""``.safetensors`` files, one or many with an index.

The safetensors library validates the header: its size, that offsets leave no gaps and fit shapes and types. After that
the bytes are read here, in pieces, and with the types of ``ml_dtypes`` that the library has no numpy arrays for.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from tfbundle.conversion.safetensors_types import DTYPES
from tfbundle.conversion.sources.members import Member, MemberStore, MemberTensors, unsupported
from tfbundle.errors import FormatError, MissingFileError, UnsupportedError
from tfbundle.storage.base import Location, Source
from tfbundle.storage.locations import locate
from tfbundle.tensors.arrays import CHUNK, Array
from tfbundle.tensors.dtypes import data_type_of, numpy_dtypes

_LARGEST_INDEX = 64 << 20
_METADATA = "__metadata__"
_INDEX_SUFFIX = ".index.json"


def open_safetensors(location: Location) -> MemberTensors:
    """Return the tensors of a file, or of all files that an index names.

    Raises ``UnsupportedError`` without the safetensors library, ``FormatError`` for what it refuses, and
    ``MissingFileError`` for a shard that is not there.
    """
    return MemberTensors(open_store(location.path), "safetensors")


def open_store(path: str) -> MemberStore:
    """Return the members of the file or index at ``path``."""
    location = locate(path)
    with ExitStack() as sources:
        if location.name.endswith(_INDEX_SUFFIX):
            members = _members_of_index(location, sources)
        else:
            members = _members(location, sources)
        return MemberStore(path, members, sources.pop_all().close, (open_store, (location.absolute().path,)))


def _members_of_index(location: Location, sources: ExitStack) -> dict[str, Member]:
    path = location.path
    try:
        index = json.loads(location.read(_LARGEST_INDEX))
        weight_map = index["weight_map"]
        if not all(isinstance(file, str) for file in weight_map.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path} is no index of safetensors files: it has no weight_map of names", path=path
        ) from None
    shards: dict[str, dict[str, Member]] = {}
    for file in dict.fromkeys(weight_map.values()):
        place = location.beside(file)
        # A name with separators or dots would lead out of the folder.
        if place.name != file or file in ("", ".", "..") or "\\" in file:
            raise FormatError(f"{path} names {file!r}, which is no file of its folder", path=path)
        if not place.is_file():
            raise MissingFileError(f"{path} names the file {file}, which is not there", path=place.path)
        shards[file] = _members(place, sources)
    members = {}
    for name, file in weight_map.items():
        if name not in shards[file]:
            raise FormatError(f"{path} says that {file} has {name!r}, which it has not", path=path, tensor=name)
        members[name] = shards[file][name]
    return members


def _members(location: Location, sources: ExitStack) -> dict[str, Member]:
    path = location.path
    try:
        from safetensors import SafetensorError, safe_open  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UnsupportedError(
            f"{path} is a safetensors file, and reading it needs the safetensors library: pip install "
            '"tfbundle[safetensors]"',
            path=path,
        ) from None
    source = location.open()
    sources.callback(source.close)
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
    except (SafetensorError, ValueError, OverflowError) as error:
        raise FormatError(f"{path} is no valid safetensors file: {error}", path=path) from None
    (size,) = struct.unpack("<Q", source.read_at(0, 8))
    header = json.loads(source.read_at(8, size))
    source.check_unchanged()
    known = numpy_dtypes()
    dtypes = {stored: known[name] for name, stored in DTYPES.items()}
    members = {}
    for name, facts in header.items():
        if name == _METADATA or name not in names:
            continue
        dtype = dtypes.get(facts["dtype"])
        number = None if dtype is None else data_type_of(dtype)
        if dtype is None or number is None:
            members[name] = unsupported(f"TensorFlow has no type for {facts['dtype']}", source.version)
            continue
        first, end = facts["data_offsets"]
        members[name] = _member(source, number, tuple(facts["shape"]), dtype, 8 + size + first, end - first)
    return members


def _member(
    source: Source, number: int, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int, size: int
) -> Member:
    def chunks() -> Iterator[Array]:
        for pos in range(0, size, CHUNK):
            array = np.frombuffer(bytearray(source.read_at(offset + pos, min(CHUNK, size - pos))), dtype)
            yield array.byteswap() if sys.byteorder == "big" else array
        source.check_unchanged()

    return Member(number, shape, chunks, source.version)
