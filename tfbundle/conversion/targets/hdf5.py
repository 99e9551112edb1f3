"""HDF5 files by h5py: one dataset per tensor, contiguous and little-endian, in the groups of its name.

h5py allocates the datasets and reports their offsets; the elements are then written there in chunks, so that no dataset
is in memory whole. HDF5 has no bfloat16: it is stored as two opaque bytes with the attribute ``dtype``, as Keras writes
and reads it. Strings are variable-length bytes, which h5py writes; HDF5 ends them at the first zero byte, so that those
that contain one are refused. No times are stored, so that equal tensors produce equal files.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from tfbundle.conversion.planned import Plan, Planned
from tfbundle.conversion.sources.values import native
from tfbundle.conversion.targets.target import Count, Layout, goes_on, one_file, write_raw
from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.copying import CountingSink, FileSink
from tfbundle.storage.replacing import replacement

_MARKED = "bfloat16"
_MOST_DIMENSIONS = 32
# Each level of a name is a separate group.
_DEEPEST = 255


class Hdf5:
    """``.h5`` and ``.hdf5`` files."""

    name: str = "hdf5"
    suffixes: tuple[str, ...] = (".h5", ".hdf5")
    is_prefix: bool = False
    is_folder: bool = False
    keeps_objects: bool = False

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return the property of a tensor that HDF5 cannot store, or ``None``."""
        is_extension = tensor.dtype.num >= 256 and tensor.dtype.name != _MARKED
        if is_extension or (tensor.dtype.hasobject and not _is_text(tensor)):
            return tensor.type_name
        try:
            tensor.name.encode()
        except UnicodeEncodeError:
            return "a name that is not UTF-8"
        parts = tensor.name.split("/")
        if len(parts) > _DEEPEST:
            return f"a name of {len(parts)} levels"
        if "\0" in tensor.name or not all(part not in ("", ".") for part in parts):
            return "a name that is not a valid HDF5 path"
        if goes_on(tensor.name, names):
            return "a name below another tensor's name, which cannot be an HDF5 group too"
        return f"{len(tensor.shape)} dimensions" if len(tensor.shape) > _MOST_DIMENSIONS else None

    def outputs(self, out: Location, plan: Plan, layout: Layout) -> list[Location]:
        """Return the file; raise ``UnsupportedError`` if h5py is not installed."""
        _library(out)
        return one_file(out, layout, self.name)

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write the file."""
        h5py = _library(out)
        with replacement(out) as file:
            with h5py.File(file, "w", libver=("earliest", "v108"), track_order=False) as h5:
                offsets = [_lay_out(h5py, h5, tensor) for tensor in plan.tensors]
                for tensor in filter(_is_text, plan.tensors):
                    _write_text(h5[tensor.name], tensor, plan.source.prefix)
                    count(tensor.nbytes)
            sink = CountingSink(FileSink(file, out.path), count)
            for tensor, offset in zip(plan.tensors, offsets, strict=True):
                if offset is not None:
                    file.seek(offset)
                    write_raw(tensor, sink)


def _lay_out(h5py: Any, file: Any, tensor: Planned) -> int | None:
    """Add a dataset, and return the offset of its elements in the file, or ``None`` for strings and no elements."""
    is_marked, is_text = tensor.dtype.name == _MARKED, _is_text(tensor)
    if is_text:
        dtype = h5py.special_dtype(vlen=bytes)
    else:
        dtype = np.dtype("V2") if is_marked else tensor.dtype.newbyteorder("<")
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if not is_text:  # HDF5 fills variable-length elements before they are written.
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5py.h5t.CSET_UTF8)
    kind = h5py.h5t.py_create(dtype, logical=True)
    space = h5py.h5s.create_simple(tensor.shape) if tensor.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    number = h5py.h5d.create(file.id, tensor.name.encode(), kind, space, dcpl=properties, lcpl=links)
    if is_marked:
        h5py.Dataset(number).attrs["dtype"] = _MARKED
    offset: int | None = number.get_offset() if not is_text and tensor.nbytes else None
    return offset


def _is_text(tensor: Planned) -> bool:
    return tensor.dtype.kind in "OSU" and tensor.type_name == "string"


def _write_text(dataset: Any, tensor: Planned, source: str) -> None:
    """Write the elements of a string tensor; raise ``UnsupportedError`` for a string with a zero byte."""
    values = tensor.read()
    elements = native(values).reshape(-1)
    if any(b"\0" in value for value in elements):
        raise UnsupportedError(
            "it has strings with zero bytes, which HDF5 cannot store; leave it out (--exclude) or write another format",
            path=source,
            tensor=tensor.tensor.name,
        )
    if values.size:
        dataset[...] = elements.reshape(values.shape) if values.shape else elements[0]


def _library(out: Location) -> Any:
    try:
        import h5py  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise UnsupportedError(
            f'writing HDF5 files such as {out} needs the h5py library: pip install "tfbundle[hdf5]"', path=out.path
        ) from None
    return h5py
