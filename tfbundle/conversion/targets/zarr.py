"""Zarr folders by the zarr library: one array per tensor, in the groups of its name, in Zarr's format 2.

::

    out.zarr/.zgroup
    out.zarr/dense/.zgroup
    out.zarr/dense/kernel/.zarray     shape, type and chunks as JSON
    out.zarr/dense/kernel/0.0         a chunk: its elements in C order, not compressed

Chunks have a few megabytes and are runs of rows, so that a tensor is written from first to last, one chunk at a time.
Format 2 is read by every version of the library, and unlike format 3 it has a stable form for strings. Neither has
types for bfloat16 and similar types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import prod
from typing import Any

import numpy as np

from tfbundle.conversion.planned import Plan, Planned
from tfbundle.conversion.targets.target import Count, Layout, goes_on, one_file
from tfbundle.errors import UnsupportedError
from tfbundle.storage.base import Location
from tfbundle.storage.replacing_folders import folder_replacement
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.chunk_grid import chunk_shape
from tfbundle.views.zarr_names import check_path

_CHUNK_BYTES = 8 << 20
# The number of elements in a chunk of strings.
_CHUNK_STRINGS = 1 << 16
_MOST_DIMENSIONS = 32
# File systems do not allow longer names, and the parts of a tensor's name are folders.
_LONGEST_PART = 255


class Zarr:
    """``.zarr`` folders."""

    name: str = "zarr"
    suffixes: tuple[str, ...] = (".zarr",)
    is_prefix: bool = False
    is_folder: bool = True
    keeps_objects: bool = False

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return the property of a tensor that Zarr cannot store, or ``None``."""
        # numpy counts its own types from 0, and those of other packages from 256.
        if tensor.dtype.num >= 256 or (tensor.dtype.hasobject and tensor.type_name != "string"):
            return tensor.type_name
        reason = check_path(tensor.name, _LONGEST_PART)
        if reason is not None:
            return reason
        if goes_on(tensor.name, names):
            return "a name below another tensor's name, which cannot be a Zarr group too"
        return f"{len(tensor.shape)} dimensions" if len(tensor.shape) > _MOST_DIMENSIONS else None

    def outputs(self, out: Location, plan: Plan, layout: Layout) -> list[Location]:
        """Return the folder; raise ``UnsupportedError`` if the zarr library is not installed."""
        _library(out)
        return one_file(out.bare(), layout, self.name)

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write the folder."""
        zarr = _library(out)
        with folder_replacement(out) as folder:
            group = zarr.open_group(folder.path, mode="w", zarr_format=2)
            for tensor in plan.tensors:
                _write(zarr, group, tensor, count)


def _write(zarr: Any, group: Any, tensor: Planned, count: Count) -> None:
    is_text = _is_text(tensor.dtype)
    chunk = chunk_shape(tensor.shape, _CHUNK_STRINGS if is_text else _CHUNK_BYTES // tensor.dtype.itemsize)
    array = group.create_array(
        tensor.name,
        shape=tensor.shape,
        dtype=zarr.dtype.VariableLengthBytes() if is_text else tensor.dtype.newbyteorder("<"),
        chunks=tuple(max(1, length) for length in chunk),
        compressors=None,
        # Otherwise chunks of zeros are omitted, including those of negative zeros.
        config={"write_empty_chunks": True},
    )
    values = iter([tensor.read().reshape(-1)]) if is_text else tensor.chunks()
    for region, block in _blocks(values, tensor.shape, chunk):
        if is_text and not region:
            array.set_basic_selection(region, block, prototype=_scalar_objects())
        else:
            array[region] = block
        if not is_text:
            count(block.nbytes)
    if is_text:
        count(tensor.nbytes)


def _scalar_objects() -> Any:
    """Return buffers for zarr that assign a scalar object.

    Those of zarr 3.4 assign it at the index ``()``, where numpy stores the array as an object, and not what is in it.
    """
    from zarr.abc.buffer import BufferPrototype  # type: ignore[import-not-found, unused-ignore]
    from zarr.buffer import cpu  # type: ignore[import-not-found, unused-ignore]

    class Scalars(cpu.NDBuffer):  # type: ignore[misc, unused-ignore]
        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key or ..., value)

    return BufferPrototype(cpu.Buffer, Scalars)


def _is_text(dtype: np.dtype[Any]) -> bool:
    return dtype.hasobject or dtype.kind in "SU"


def _blocks(
    values: Iterator[Array], shape: tuple[int, ...], chunk: tuple[int, ...]
) -> Iterator[tuple[tuple[int | slice, ...], Array]]:
    """Yield each chunk of a tensor with its place in it, from flat arrays that are the elements in C order."""
    rest: list[Array] = []

    def take(count: int) -> Array:
        found = []
        while count:
            part = rest.pop() if rest else next(values)
            found.append(part[:count])
            if len(part) > count:
                rest.append(part[count:])
            count -= len(found[-1])
        return np.concatenate(found)

    if prod(shape):
        axis = next((axis for axis, length in enumerate(chunk) if length > 1), 0)
        for index in np.ndindex(*shape[:axis]):
            if not shape:
                yield (), take(1).reshape(())
                break
            for first in range(0, shape[axis], chunk[axis]):
                rows = min(chunk[axis], shape[axis] - first)
                block = take(rows * prod(shape[axis + 1 :])).reshape(rows, *shape[axis + 1 :])
                yield (*index, slice(first, first + rows)), block
    # A source verifies its checksum after the last element, so the iterator must be exhausted.
    for _ in values:
        pass


def _library(out: Location) -> Any:
    try:
        import zarr  # type: ignore[import-not-found, unused-ignore]

        zarr.dtype.VariableLengthBytes  # noqa: B018 - older versions lack this type and write another format.
    except (ImportError, AttributeError):
        raise UnsupportedError(
            f"writing Zarr folders such as {out} needs the zarr library, version 3.1 or newer: pip install "
            '"tfbundle[zarr]"',
            path=out.path,
        ) from None
    return zarr
