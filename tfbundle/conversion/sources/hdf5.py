"""HDF5 files, such as Keras weights (``.h5``, ``.weights.h5``) and the weights in a ``.keras`` archive.

h5py reads them. A tensor is a dataset, named by its path without the first slash, and opened on first access. Links to
other files, or back to a group, are not followed. A dataset may state any shape without storing any bytes, compressed
data may expand without limit, and all strings may share storage. Excessive expansion is therefore refused before or
while the data is read. Keras marks bfloat16, for which HDF5 has no type, by an attribute.

The weights in a ``.keras`` archive are normally not compressed, and are read in place. In an archive that was packed
again they may be compressed, and are first inflated to a temporary file.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import prod
from typing import Any

import numpy as np

from tfbundle.conversion.sources.archives import BROKEN, check_method, open_archive, part_of
from tfbundle.conversion.sources.members import (
    LazyMembers,
    Member,
    MemberStore,
    MemberTensors,
    check_shape,
    unsupported,
)
from tfbundle.conversion.sources.values import native, number_of
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.limits import LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH
from tfbundle.storage.base import Location, Source
from tfbundle.storage.locations import locate
from tfbundle.storage.streams import SourceStream
from tfbundle.tensors.arrays import CHUNK, Array, split
from tfbundle.tensors.dtypes import numpy_dtypes

_WEIGHTS = "model.weights.h5"
_BROKEN = (*BROKEN, KeyError, TypeError, OverflowError, MemoryError)
_MOST_DATASETS = 1 << 17
_DEEPEST = 255
# A chunk is in memory whole, and inflated each time a part of it is read.
_LARGEST_CHUNK = LARGEST_EXPANSION


def open_hdf5(location: Location) -> MemberTensors:
    """Return the datasets of an HDF5 file or ``.keras`` archive.

    Raises ``UnsupportedError`` if h5py is not installed, and ``FormatError`` if the file is damaged.
    """
    return MemberTensors(open_store(location.path), "hdf5")


def open_store(path: str) -> MemberStore:
    """Return the members of the file at ``path``."""
    try:
        import h5py  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise UnsupportedError(
            f'{path} is an HDF5 file, and reading it needs the h5py library: pip install "tfbundle[hdf5]"', path=path
        ) from None
    location = locate(path)
    with ExitStack() as opened:
        source = location.open()
        opened.callback(source.close)
        try:
            file: Any = path
            if source.read_at(0, min(4, source.size)) == b"PK\x03\x04":
                file = _weights_of(source, opened)
            elif source.is_remote:
                file = io.BufferedReader(SourceStream(source))
            h5 = opened.enter_context(h5py.File(file, "r"))
            datasets = _Datasets(h5py, h5, source)
            members = LazyMembers(datasets.names(), datasets.member, source.version)
        except TfBundleError:
            raise
        except _BROKEN as error:
            raise FormatError(f"{path} is not a complete HDF5 file: {error}", path=path) from None
        return MemberStore(path, members, opened.pop_all().close, (open_store, (location.absolute().path,)))


def _weights_of(source: Source, opened: ExitStack) -> Any:
    """Return the weights in a ``.keras`` archive as a file."""
    archive = opened.enter_context(open_archive(source))
    info = archive.getinfo(_WEIGHTS)
    check_method(info)
    check_shape((info.file_size,), np.dtype(np.uint8), info.compress_size, _WEIGHTS, source.path)
    if info.compress_type == zipfile.ZIP_STORED:
        return part_of(archive, info, source)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the archive.
    opened.callback(file.close)
    with archive.open(info) as member:
        shutil.copyfileobj(member, file, CHUNK)
    file.seek(0)
    return file


class _Datasets:
    """The datasets of an open file."""

    def __init__(self, h5py: Any, file: Any, source: Source) -> None:
        self._h5py = h5py
        self._file = file
        self._path = source.path
        self._version = source.version
        # Strings are stored in heaps, and any number of elements may share one.
        self._most_text = max(LARGEST_EXPANSION, LARGEST_EXPANSION_GROWTH * source.size)
        self._text_step = max(1, LARGEST_EXPANSION // max(1, source.size))

    def names(self) -> list[str]:
        """Return the path of every dataset that is stored in the file itself, sorted."""
        h5g, h5o = self._h5py.h5g, self._h5py.h5o
        found: list[bytes] = []
        root = h5g.open(self._file.id, b"/")
        facts = h5o.get_info(root)
        seen = {(facts.fileno, facts.addr)}
        stack = [(b"", 1, root)]
        while stack:
            prefix, depth, group = stack.pop()
            links: list[bytes] = []
            group.links.iterate(lambda name, info, links=links: _keep_hard(self._h5py, name, info, links), info=True)
            for name in links:
                facts = h5o.get_info(group, name)
                if facts.type == h5o.TYPE_DATASET:
                    found.append(prefix + name)
                elif facts.type == h5o.TYPE_GROUP and (place := (facts.fileno, facts.addr)) not in seen:
                    seen.add(place)
                    if depth == _DEEPEST:
                        raise UnsupportedError(f"it has groups in more than {_DEEPEST} levels", path=self._path)
                    stack.append((prefix + name + b"/", depth + 1, h5g.open(group, name)))
                if len(found) + len(stack) > _MOST_DATASETS:
                    raise UnsupportedError(f"it has more than {_MOST_DATASETS} datasets", path=self._path)
        return sorted(name.decode("utf-8", "surrogateescape") for name in found)

    def member(self, name: str) -> Member:
        """Return a dataset as a tensor."""
        try:
            number = self._h5py.h5d.open(self._file.id, name.encode("utf-8", "surrogateescape"))
            return self._member(self._h5py.Dataset(number), name)
        except TfBundleError:
            raise
        except _BROKEN as error:
            raise FormatError(f"its dataset cannot be read: {error}") from None

    def _member(self, dataset: Any, name: str) -> Member:
        if dataset.external or dataset.is_virtual:
            return unsupported("its values are in another file, and such links are not followed", self._version)
        if dataset.shape is None:
            return unsupported("it is an empty dataset without a shape", self._version)
        dtype = dataset.dtype
        marked = dataset.attrs.get("dtype") if dtype.kind == "V" or dtype == np.uint16 else None
        if isinstance(marked, bytes):
            marked = marked.decode("utf-8", "replace")
        target = numpy_dtypes().get(marked) if isinstance(marked, str) else None
        if target is not None and (target.itemsize != dtype.itemsize or target.hasobject):
            target = None
        is_text = self._h5py.check_string_dtype(dtype) is not None
        number = number_of(target or dtype) if is_text or not (target or dtype).hasobject else None
        if number is None or dtype.names is not None or self._h5py.check_enum_dtype(dtype) not in (None, _BOOLEANS):
            return unsupported(f"TensorFlow has no type for HDF5's {dtype}", self._version)
        shape = check_shape(map(int, dataset.shape), dtype, dataset.id.get_storage_size(), name, self._path)
        chunk = prod(dataset.chunks or ()) * dtype.itemsize
        if chunk > _LARGEST_CHUNK:
            return unsupported(f"it is stored in chunks of {chunk} bytes, and none is read above {_LARGEST_CHUNK}")
        is_varied = is_text and dtype.hasobject
        return Member(number, shape, self._text(dataset) if is_varied else _reader(dataset, target), self._version)

    def _text(self, dataset: Any) -> Callable[[], Iterator[Array]]:
        """Return a function that reads variable-length strings, few at a time so that memory use is bounded."""

        def chunks() -> Iterator[Array]:
            size = 0
            try:
                flat = dataset if dataset.shape else np.asarray([dataset[()]], object)
                for index in np.ndindex(*flat.shape[:-1]):
                    for first in range(0, flat.shape[-1], self._text_step):
                        place = (*index, slice(first, first + self._text_step))
                        values = native(np.asarray(flat[place], object))
                        size += sum(map(len, values))
                        if size > self._most_text:
                            raise UnsupportedError(
                                f"its strings take more than {self._most_text} bytes; data that expands more than "
                                f"{LARGEST_EXPANSION_GROWTH} times is not read"
                            )
                        yield values
            except _BROKEN as error:
                if isinstance(error, TfBundleError):
                    raise
                raise FormatError(f"its dataset cannot be read: {error}") from None

        return chunks


def _keep_hard(h5py: Any, name: bytes, info: Any, links: list[bytes]) -> None:
    """Keep the name of a link to an object of the file itself."""
    if info.type == h5py.h5l.TYPE_HARD:
        links.append(name)


_BOOLEANS = {"FALSE": 0, "TRUE": 1}


def _reader(dataset: Any, target: np.dtype[Any] | None) -> Callable[[], Iterator[Array]]:
    def chunks() -> Iterator[Array]:
        try:
            if not dataset.shape or not dataset.size:
                yield from split(_as(np.asarray(dataset[()]).reshape(-1), target))
                return
            row = max(1, dataset.size // dataset.shape[0]) * max(1, dataset.dtype.itemsize)
            step = max(1, CHUNK // row)
            # Rows of one chunk of the file are read together, because it is inflated for each read.
            if dataset.chunks is not None:
                step = max(step, min(dataset.chunks[0], max(1, _LARGEST_CHUNK // row)))
            for first in range(0, dataset.shape[0], step):
                yield from split(_as(np.asarray(dataset[first : first + step]).reshape(-1), target))
        except _BROKEN as error:
            if isinstance(error, TfBundleError):
                raise
            raise FormatError(f"its dataset cannot be read: {error}") from None

    return chunks


def _as(array: Array, target: np.dtype[Any] | None) -> Array:
    return native(np.ascontiguousarray(array)) if target is None else np.ascontiguousarray(array).view(target)
