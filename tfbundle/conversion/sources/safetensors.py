"""``.safetensors`` files, one or many with an index.

The safetensors library validates the header: its size, and that offsets leave no gaps and fit shapes and types. The
bytes are then read here, in chunks, and with the types of ``ml_dtypes`` that the library has no numpy arrays for. Two
bytes of JSON may take fifty in memory, so text that cannot be the header or index of so many tensors is refused before
it is parsed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Hashable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from tfbundle.conversion.safetensors_types import DTYPES
from tfbundle.conversion.sources.members import (
    Member,
    MemberStore,
    MemberTensors,
    check_shape,
    failed,
    unsupported,
)
from tfbundle.errors import FormatError, MissingFileError, TfBundleError, UnsupportedError
from tfbundle.storage.base import Location, Source
from tfbundle.storage.descriptors import most_open_files, open_making_room
from tfbundle.storage.locations import locate
from tfbundle.storage.scratch import named_outline
from tfbundle.tensors.arrays import CHUNK, Array
from tfbundle.tensors.dtypes import data_type_of, numpy_dtypes

_LARGEST_INDEX = 16 << 20
# Brackets and braces of an index, which has two.
_MOST_BRACKETS = 100
# Keys of all objects in a header: each tensor has four.
_MOST_KEYS = 500_000
# The least number of bytes per comma of a header, which has about seven commas per tensor.
_FEWEST_BYTES_A_COMMA = 5
_SMALL_HEADER = 1 << 20
_METADATA = "__metadata__"
_INDEX_SUFFIX = ".index.json"


def open_safetensors(location: Location) -> MemberTensors:
    """Return the tensors of a file, or of all files that an index names.

    Raises ``UnsupportedError`` if the safetensors library is not installed, ``FormatError`` for files that it refuses,
    and ``MissingFileError`` for a missing shard.
    """
    return MemberTensors(open_store(location.path), "safetensors")


def open_store(path: str) -> MemberStore:
    """Return the members of the file or index at ``path``."""
    location = locate(path)
    with ExitStack() as stack:
        files = _Files()
        stack.callback(files.close)
        if location.name.endswith(_INDEX_SUFFIX):
            members = _members_of_index(location, files)
        else:
            members = _members(location, files)
        return MemberStore(path, members, stack.pop_all().close, (open_store, (location.absolute().path,)))


class _Files:
    """The shards of one source, of which only some are open at once, for any number of threads."""

    def __init__(self) -> None:
        self._locations: list[Location] = []
        self._versions: dict[int, Hashable] = {}
        self._open: dict[int, Source] = {}
        self._lock = threading.Lock()
        self._closed = False

    def add(self, location: Location) -> int:
        """Return the number of another file, which is not opened yet."""
        self._locations.append(location)
        return len(self._locations) - 1

    def source(self, number: int) -> Source:
        """Return a file, opened again if it was closed to make room; raise ``FormatError`` if it was replaced."""
        with self._lock:
            path = self._locations[number].path
            if self._closed:
                raise ValueError(f"{path} is closed; read before close(), or open it again")
            source = self._open.get(number)
            if source is None:
                source = open_making_room(self._locations[number].open, self._open)
                if self._versions.setdefault(number, source.version) != source.version:
                    raise FormatError(f"{path} was replaced while it was being read; open it again", path=path)
                if len(self._open) >= most_open_files():
                    del self._open[next(iter(self._open))]
                self._open[number] = source
            return source

    def close(self) -> None:
        """Close the open files; later reads raise ``ValueError``."""
        with self._lock:
            self._closed = True
            while self._open:
                self._open.popitem()[1].close()


def _members_of_index(location: Location, files: _Files) -> dict[str, Member]:
    path = location.path
    data = location.read(_LARGEST_INDEX)
    try:
        if data.count(b"[") + data.count(b"{") > _MOST_BRACKETS:
            raise TypeError
        index = json.loads(data)
        weight_map = index["weight_map"]
        if not all(isinstance(file, str) for file in weight_map.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path} is not an index of safetensors files: it has no weight_map of names", path=path
        ) from None
    shards: dict[str, dict[str, Member]] = {}
    for file in dict.fromkeys(weight_map.values()):
        place = location.beside(file)
        # A name with separators or dots would lead out of the folder.
        if place.name != file or file in ("", ".", "..") or "\\" in file:
            raise FormatError(f"{path} names {file!r}, which is not a file of its folder", path=path)
        if not place.is_file():
            raise MissingFileError(f"{path} names the file {file}, which does not exist", path=place.path)
        shards[file] = _members(place, files)
    members = {}
    for name, file in weight_map.items():
        if name not in shards[file]:
            raise FormatError(f"{path} states that {file} has {name!r}, but it does not", path=path, tensor=name)
        members[name] = shards[file][name]
    return members


def _members(location: Location, files: _Files) -> dict[str, Member]:
    path = location.path
    try:
        from safetensors import SafetensorError, safe_open  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UnsupportedError(
            f"{path} is a safetensors file, and reading it needs the safetensors library: pip install "
            '"tfbundle[safetensors]"',
            path=path,
        ) from None
    shard = files.add(location)
    source = files.source(shard)
    size = int.from_bytes(source.read_at(0, min(8, source.size)), "little")
    # The library reports a size that is larger than the file.
    header = source.read_at(8, size) if 8 + size <= source.size else b""
    _check_header(header, path)
    try:
        with named_outline(source, 8 + len(header)) as name, safe_open(name, framework="numpy") as file:
            names = set(file.keys())
    except (SafetensorError, ValueError, OverflowError) as error:
        raise FormatError(f"{path} is not a valid safetensors file: {error}", path=path) from None
    source.check_unchanged()
    entries = json.loads(header)
    known = numpy_dtypes()
    dtypes = {stored: known[name] for name, stored in DTYPES.items()}
    members = {}
    for name, facts in entries.items():
        if name == _METADATA or name not in names:
            continue
        dtype = dtypes.get(facts["dtype"])
        number = None if dtype is None else data_type_of(dtype)
        if dtype is None or number is None:
            members[name] = unsupported(f"TensorFlow has no type for {facts['dtype']}", source.version)
            continue
        first, end = facts["data_offsets"]
        try:
            shape = check_shape(facts["shape"], dtype, end - first, name, path)
        except TfBundleError as error:
            members[name] = failed(error, source.version)  # The other members stay readable.
            continue
        members[name] = _member(files, shard, source.version, number, shape, dtype, 8 + size + first, end - first)
    return members


def _check_header(header: bytes, path: str) -> None:
    """Raise for a header that would take too much to parse."""
    keys, commas = header.count(b":"), header.count(b",")
    if keys > _MOST_KEYS:
        raise UnsupportedError(
            f"the header of {path} has {keys} keys, and more than {_MOST_KEYS} are not parsed", path=path
        )
    if len(header) > _SMALL_HEADER and commas * _FEWEST_BYTES_A_COMMA > len(header):
        raise FormatError(f"{path} is not a valid safetensors file: its header is not a list of tensors", path=path)


def _member(
    files: _Files,
    shard: int,
    version: Hashable,
    number: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    offset: int,
    size: int,
) -> Member:
    def chunks() -> Iterator[Array]:
        source = files.source(shard)
        for pos in range(0, size, CHUNK):
            array = np.frombuffer(bytearray(source.read_at(offset + pos, min(CHUNK, size - pos))), dtype)
            yield array.byteswap() if sys.byteorder == "big" else array
        source.check_unchanged()

    return Member(number, shape, chunks, version)
