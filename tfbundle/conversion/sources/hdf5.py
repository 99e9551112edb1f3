"""HDF5 files, such as Keras weights (``.h5``, ``.weights.h5``) and the weights in a ``.keras`` archive.

h5py reads them. A tensor is a dataset, called by its path without the first slash. What leads elsewhere, to other files
or back to a group, is not followed. A dataset may state any shape without storing a byte of it, and compressed ones may
grow without end: what grows too far is refused before it is read. Keras marks bfloat16, which HDF5 has no type for, by
an attribute.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from tfbundle.conversion.sources.members import Member, MemberStore, MemberTensors, check_shape, failed, unsupported
from tfbundle.conversion.sources.values import native, number_of
from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate
from tfbundle.tensors.arrays import CHUNK, Array, split
from tfbundle.tensors.dtypes import numpy_dtypes

_WEIGHTS = "model.weights.h5"
_BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)
_MOST_DATASETS = 1 << 20


def open_hdf5(location: Location) -> MemberTensors:
    """Return the datasets of an HDF5 file or ``.keras`` archive.

    Raises ``UnsupportedError`` without h5py, and ``FormatError`` where the file is damaged.
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
    source = location.open()
    version, size = source.version, source.size
    is_archive = source.read_at(0, min(4, size)) == b"PK\x03\x04"
    source.close()
    with ExitStack() as opened:
        try:
            file: Any = path
            if is_archive:
                file = opened.enter_context(tempfile.TemporaryFile())
                _extract(path, file)
            h5 = opened.enter_context(h5py.File(file, "r"))
            members = _Walk(h5py, path, version).members(h5)
        except TfBundleError:
            raise
        except (*_BROKEN, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise FormatError(f"{path} is no complete HDF5 file: {error}", path=path) from None
        return MemberStore(path, members, opened.pop_all().close, (open_store, (location.absolute().path,)))


def _extract(path: str, file: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(_WEIGHTS)
        check_shape((info.file_size,), np.dtype(np.uint8), info.compress_size, _WEIGHTS, path)
        with archive.open(info) as member:
            shutil.copyfileobj(member, file, CHUNK)
    file.seek(0)


class _Walk:
    """Goes through the groups of a file."""

    def __init__(self, h5py: Any, path: str, version: Any) -> None:
        self._h5py = h5py
        self._path = path
        self._version = version

    def members(self, file: Any) -> dict[str, Member]:
        """Return every dataset that is stored in the file itself, by its path."""
        found: dict[str, Member] = {}
        seen = {file.id.__hash__()}
        stack = [("", file)]
        while stack:
            prefix, group = stack.pop()
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, self._h5py.HardLink):
                    continue
                item = group[name]
                path = f"{prefix}{name}"
                if isinstance(item, self._h5py.Group):
                    number = item.id.__hash__()
                    if number not in seen:
                        seen.add(number)
                        stack.append((path + "/", item))
                elif isinstance(item, self._h5py.Dataset):
                    try:
                        found[path] = self._member(item, path)
                    except TfBundleError as error:
                        found[path] = failed(error, self._version)  # The others are none the worse for it.
                if len(found) + len(stack) > _MOST_DATASETS:
                    raise UnsupportedError(f"it has more than {_MOST_DATASETS} datasets", path=self._path)
        return dict(sorted(found.items()))

    def _member(self, dataset: Any, name: str) -> Member:
        if dataset.external or dataset.is_virtual:
            return unsupported("its values lie in another file, which is not followed", self._version)
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
        return Member(number, shape, _reader(dataset, target), self._version)


_BOOLEANS = {"FALSE": 0, "TRUE": 1}


def _reader(dataset: Any, target: np.dtype[Any] | None) -> Callable[[], Iterator[Array]]:
    def chunks() -> Iterator[Array]:
        try:
            if not dataset.shape or not dataset.size:
                yield from split(_as(np.asarray(dataset[()]).reshape(-1), target))
                return
            row = max(1, dataset.size // dataset.shape[0]) * max(1, dataset.dtype.itemsize)
            step = max(1, CHUNK // row)
            # Rows of one chunk of the file are read together, for it is inflated each time.
            if dataset.chunks is not None:
                step = max(step, min(dataset.chunks[0], max(1, 16 * CHUNK // row)))
            for first in range(0, dataset.shape[0], step):
                yield from split(_as(np.asarray(dataset[first : first + step]).reshape(-1), target))
        except _BROKEN as error:
            if isinstance(error, TfBundleError):
                raise
            raise FormatError(f"its dataset cannot be read: {error}") from None

    return chunks


def _as(array: Array, target: np.dtype[Any] | None) -> Array:
    return native(np.ascontiguousarray(array)) if target is None else np.ascontiguousarray(array).view(target)
