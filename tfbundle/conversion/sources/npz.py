"""``.npz`` archives of numpy: a ZIP archive with one ``.npy`` member per tensor.

numpy's own functions parse each header on first access; the elements are read in chunks. Objects are pickles, which run
code when they are loaded, and are refused. The ZIP format states sizes twice and lets members overlap, so a small
archive may claim to be a huge one. Excessive expansion is refused before anything is read.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tfbundle.conversion.sources.archives import BROKEN, check_method, open_archive
from tfbundle.conversion.sources.members import (
    LazyMembers,
    Member,
    MemberStore,
    MemberTensors,
    check_shape,
    unsupported,
)
from tfbundle.conversion.sources.values import native, number_of
from tfbundle.errors import FormatError, TfBundleError, TruncatedError, UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate
from tfbundle.tensors.arrays import CHUNK, Array

_SUFFIX = ".npy"
# numpy's own bound, because it uses Python's parser.
_LONGEST_HEADER = 10_000
_UNPARSED = (
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    AttributeError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)


def open_npz(location: Location) -> MemberTensors:
    """Return the tensors of an archive.

    Raises ``FormatError`` if it is damaged or its members overlap.
    """
    return MemberTensors(open_store(location.path), "npz")


def open_store(path: str) -> MemberStore:
    """Return the members of the archive at ``path``."""
    location = locate(path)
    with ExitStack() as opened:
        source = location.open()
        opened.callback(source.close)
        archive = opened.enter_context(open_archive(source))
        infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = info.filename.removesuffix(_SUFFIX)
            if name in infos:
                raise FormatError(f"{path} has two members that are called {name!r}", path=path)
            infos[name] = info

        def member(name: str) -> Member:
            return _member(archive, infos[name], name, path, source.version)

        members = LazyMembers(infos, member, source.version)
        return MemberStore(path, members, opened.pop_all().close, (open_store, (location.absolute().path,)))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: str, version: Any) -> Member:
    if not info.filename.endswith(_SUFFIX):
        return unsupported("it is not a numpy array", version)
    check_method(info)
    try:
        with archive.open(info) as file:
            shape, fortran_order, dtype = _read_header(file)
            start = file.tell()
    except TfBundleError:
        raise
    except BROKEN as error:
        raise FormatError(f"its member of the archive cannot be read: {error}", path=path, tensor=name) from None
    number = number_of(dtype)
    if dtype.hasobject:
        return unsupported("it is an array of pickled Python objects, which run code when they are loaded", version)
    if number is None or dtype.names is not None:
        return unsupported(f"TensorFlow has no type for numpy's {dtype}", version)
    lengths = check_shape(shape, dtype, info.compress_size, name, path)
    size = info.file_size - start
    if _count(lengths) * dtype.itemsize != size:
        raise FormatError(f"its shape {list(lengths)} of {dtype} does not take {size} bytes", path=path, tensor=name)

    def chunks() -> Iterator[Array]:
        return _chunks(archive, info, start, dtype, lengths, fortran=bool(fortran_order) and len(lengths) > 1)

    return Member(number, lengths, chunks, version)


def _read_header(file: IO[bytes]) -> tuple[Any, Any, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise UnsupportedError(f"its .npy header has the version {version[0]}.{version[1]}")
    width = 2 if version == (1, 0) else 4
    stated = file.read(width)
    size = int.from_bytes(stated, "little")
    if size > _LONGEST_HEADER:
        raise FormatError(f"its .npy header claims {size} bytes, and more than {_LONGEST_HEADER} are not parsed")
    return _parse_header(version, stated + file.read(size))


@lru_cache(maxsize=1024)  # The many members of an archive have few distinct shapes.
def _parse_header(version: tuple[int, int], header: bytes) -> tuple[Any, Any, np.dtype[Any]]:
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read(io.BytesIO(header))
    except _UNPARSED as error:
        raise FormatError(f"its .npy header is invalid: {str(error)[:200]}") from None
    return shape, fortran_order, dtype


def _chunks(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    start: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    *,
    fortran: bool,
) -> Iterator[Array]:
    try:
        with archive.open(info) as file:
            _skip(file, start)
            count = _count(shape)
            if fortran:
                data = _exactly(file, count * dtype.itemsize)
                array = np.frombuffer(data, dtype, count).reshape(shape, order="F")
                yield native(np.ascontiguousarray(array).reshape(-1))
            elif not dtype.itemsize:
                yield native(np.empty(count, dtype))
            else:
                step = max(1, CHUNK // dtype.itemsize)
                for first in range(0, count, step):
                    number = min(step, count - first)
                    yield native(np.frombuffer(_exactly(file, number * dtype.itemsize), dtype, number))
            file.read(1)  # The end of the member, where its checksum is compared.
    except BROKEN as error:
        if isinstance(error, TfBundleError):
            raise
        raise FormatError(f"its member of the archive cannot be read: {error}") from None


def _skip(file: IO[bytes], size: int) -> None:
    _exactly(file, size)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise TruncatedError(f"its member of the archive is truncated ({size - len(data)} bytes are missing)")
    return data


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
