"""Opening of any source of tensors: a checkpoint, a graph, a file of another program, or arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tfbundle.checkpoint.find.names import Format
from tfbundle.errors import FormatError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.open_tensors import open_tensors
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.tensors.mapping import TensorMapping


def opened(source: StrPath | TensorMapping | Mapping[str, Any]) -> AbstractContextManager[TensorMapping]:
    """Return the tensors of ``source`` as a context manager, which closes what was opened here."""
    if isinstance(source, TensorMapping):
        return nullcontext(source)
    if isinstance(source, Mapping):
        from tfbundle.conversion.sources.values import tensors_of

        return tensors_of(source)
    return open_source(source)


def open_source(path: StrPath, *, format: Format | None = None, salvage: bool = False) -> TensorMapping:
    """Return the tensors at ``path``: those of ``open_tensors``, or of a file of another program.

    The latter is a ``.npz``, ``.safetensors`` or HDF5 file, a ``.keras`` archive, or the index of safetensors files,
    recognised by content. Raises the errors of ``open_tensors``, ``FormatError`` if such a file is damaged, and
    ``UnsupportedError`` if the library that reads it is not installed. ``format`` and ``salvage`` are for checkpoints.
    """
    location = locate(path)
    if format is None and location.is_file() and not location.plus(INDEX_SUFFIX).is_file():
        found = _open_other(location)
        if found is not None:
            return found
    return open_tensors(location.path, format=format, salvage=salvage)


def _open_other(location: Location) -> TensorMapping | None:
    try:
        kind = kind_of(location)
    except FormatError:
        return None  # Not a regular file; opening it will raise the error.
    if kind is FileKind.NUMPY_ARCHIVE:
        from tfbundle.conversion.sources.npz import open_npz

        return open_npz(location)
    if kind in (FileKind.SAFETENSORS, FileKind.SAFETENSORS_INDEX):
        from tfbundle.conversion.sources.safetensors import open_safetensors

        return open_safetensors(location)
    if kind in (FileKind.HDF5, FileKind.KERAS):
        from tfbundle.conversion.sources.hdf5 import open_hdf5

        return open_hdf5(location)
    return None
