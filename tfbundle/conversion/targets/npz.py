"""``.npz`` archives of numpy: an uncompressed ZIP archive with one ``.npy`` member per tensor.

::

    [local header: NAME.npy, sizes as ZIP64] [npy: magic, version, dtype and shape as text, padding] [elements, C order]
    ...
    [central directory]

Members are written as ``numpy.savez`` writes them, but in chunks, and dated 1980, so that equal tensors produce equal
files. ``numpy.load`` reads them without pickle; strings and types that numpy itself lacks are therefore refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection

import numpy as np
from numpy.lib import format as npy

from tfbundle.conversion.planned import Plan, Planned
from tfbundle.conversion.targets.target import Count, Layout, one_file, raw_chunks
from tfbundle.storage.base import Location
from tfbundle.storage.replacing import replacement

# The ZIP format stores the length of a name in 16 bits.
_LONGEST_NAME = 0xFFFF
_SUFFIX = ".npy"


class Npz:
    """``.npz`` archives."""

    name: str = "npz"
    suffixes: tuple[str, ...] = (".npz",)
    is_prefix: bool = False
    is_folder: bool = False
    keeps_objects: bool = False

    def refuse(self, tensor: Planned, names: Collection[str]) -> str | None:
        """Return the property of a tensor that ``numpy.load`` would not read, or ``None``."""
        # numpy counts its own types from 0, and those of other packages from 256.
        if tensor.dtype.num >= 256 or tensor.dtype.hasobject:
            return tensor.type_name
        try:
            stored = tensor.name.encode()
        except UnicodeEncodeError:
            return "a name that is not UTF-8"
        if "\0" in tensor.name:
            return "a name with a NUL"
        if len(stored) + len(_SUFFIX) > _LONGEST_NAME:
            return f"a name of {len(stored)} bytes"
        # numpy.load takes the key "a.npy" for the member of that name, which is the tensor "a".
        if tensor.name.endswith(_SUFFIX) and tensor.name.removesuffix(_SUFFIX) in names:
            return "a name that numpy takes for another tensor's"
        try:
            np.empty((0,) * len(tensor.shape))
        except ValueError:
            return f"{len(tensor.shape)} dimensions"
        return None

    def outputs(self, out: Location, plan: Plan, layout: Layout) -> list[Location]:
        """Return the archive."""
        return one_file(out, layout, self.name)

    def write(self, out: Location, plan: Plan, layout: Layout, count: Count) -> None:
        """Write the archive."""
        with replacement(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for tensor in plan.tensors:
                info = zipfile.ZipInfo("tensor")
                info.filename = tensor.name + _SUFFIX  # The constructor would turn the system's separators into "/".
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as member:
                    header = {
                        "descr": tensor.dtype.newbyteorder("<").str,
                        "fortran_order": False,
                        "shape": tensor.shape,
                    }
                    npy.write_array_header_1_0(member, header)
                    for chunk in raw_chunks(tensor):
                        member.write(chunk)
                        count(len(chunk))
