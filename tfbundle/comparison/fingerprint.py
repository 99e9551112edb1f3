"""Fingerprints, which are equal if two checkpoints have the same tensors, however they are stored.

Each tensor and the whole checkpoint have a SHA-256 over names, dtypes, shapes and values only. Sharding, slices, order,
padding, compression, format and byte order are not included, so a copy that is stored in a different way has the same
fingerprint.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

import numpy as np

from tfbundle.checkpoint.chosen_names import Names, match_names
from tfbundle.checkpoint.find.names import Format
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.formats.slice_keys import encode_name
from tfbundle.open_tensors import open_tensors
from tfbundle.progress import Progress
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.arrays import Array, swap_bytes
from tfbundle.tensors.dtypes import clear_unused_bits
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor

_UINT64 = Struct("<Q")

_TENSOR_DOMAIN = b"tfbundle tensor 1\0"
_CHECKPOINT_DOMAIN = b"tfbundle checkpoint 1\0"


@dataclass(frozen=True, repr=False)
class Fingerprint:
    """The fingerprint of a checkpoint: ``sha256`` of the whole, and of each tensor by name in ``tensors``.

    All are 64 hexadecimal digits. ``unreadable`` has a finding for each tensor that could not be read and therefore has
    no fingerprint; ``sha256`` is then ``None``.
    """

    sha256: str | None
    tensors: dict[str, str]
    unreadable: tuple[Finding, ...] = field(default=())

    def __str__(self) -> str:
        return self.sha256 or "incomplete"

    def __repr__(self) -> str:
        lost = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        count = len(self.tensors)
        return f"<Fingerprint {self}, {count} tensor{'' if count == 1 else 's'}{lost}>"


def fingerprint(
    source: StrPath | TensorMapping,
    *,
    names: Names = None,
    exclude: Names = None,
    format: Format | None = None,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> Fingerprint:
    """Return the SHA-256 of every tensor and of the whole checkpoint, independent of how it is stored.

    ``source`` is an open checkpoint, or a path: a checkpoint's prefix, one of its files, its folder, or a SavedModel.
    It may also be a frozen graph or a frozen SavedModel, whose tensors are its constants. ``format`` is ``"v1"`` or
    ``"v2"``, for checkpoints that share a prefix; the default is V2. ``progress`` is called with the number of bytes of
    values hashed so far and the total.

    ``names`` are the tensors to hash, and ``exclude`` those to leave out: a str is a name, or else a glob (``*`` also
    matches ``/``); a compiled pattern or a function selects from all names; a list has exact names. The fingerprint of
    the whole then covers only the selected tensors. Every value that has a checksum is verified; tensors that cannot be
    read are in ``Fingerprint.unreadable``. Raises the errors of opening, and ``KeyError`` for names that match nothing.

    A tensor's fingerprint is the SHA-256 of these bytes, in which each number is 8 bytes, little-endian, unsigned::

        "tfbundle tensor 1", NUL
        length of the name in bytes, the name as it is stored
        length of the dtype's name, the dtype's name in ASCII, such as "DT_FLOAT"
        number of dimensions, and the size of each
        the elements in C order

    Numbers are hashed as they are in memory on a little-endian machine: complex numbers with the real part first,
    booleans as one byte, and types of less than a byte as one byte whose other bits are zero. Strings are hashed as
    their length and their bytes; variants as the length and the bytes of their message, ``VariantTensorDataProto``,
    with fields in the order of their numbers. NaNs with different bits are different values here, and so are positive
    and negative zero.

    The checkpoint's fingerprint is the SHA-256 of::

        "tfbundle checkpoint 1", NUL
        number of tensors
        each tensor's fingerprint, as 32 bytes, in byte order of the names

    ``storage_options`` are those of ``locate``, for URLs.
    """
    source = with_options(source, storage_options)
    with nullcontext(source) if isinstance(source, TensorMapping) else open_tensors(source, format=format) as opened:
        chosen = match_names(opened, names).keys()
        left_out = () if exclude is None else match_names(opened, exclude).keys()
        tensors = sorted(
            (tensor for name, tensor in opened.items() if name in chosen and name not in left_out),
            key=lambda tensor: encode_name(tensor.name),
        )
        sizes = [_size_of(tensor) for tensor in tensors]
        total = sum(sizes)
        done = 0
        found = {}
        unreadable = []
        whole = hashlib.sha256(_CHECKPOINT_DOMAIN + _UINT64.pack(len(tensors)))
        for tensor, size in zip(tensors, sizes, strict=True):
            try:
                digest = _hash_tensor(tensor)
                whole.update(digest)
                found[tensor.name] = digest.hex()
            except (TfBundleError, OSError) as error:
                unreadable.append(finding_of(error, "entry", tensor.name))
            done += size
            if progress is not None:
                progress(done, total)
        return Fingerprint(None if unreadable else whole.hexdigest(), found, tuple(unreadable))


def _size_of(tensor: Tensor) -> int:
    """Return the size of a tensor in bytes, or 0 if its entry is not valid."""
    try:
        return tensor.nbytes
    except (TfBundleError, OSError):
        return 0


def _hash_tensor(tensor: Tensor) -> bytes:
    digest = hashlib.sha256(_TENSOR_DOMAIN)
    for text in (encode_name(tensor.name), tensor.data_type.encode("ascii")):
        digest.update(_UINT64.pack(len(text)) + text)
    digest.update(b"".join(map(_UINT64.pack, (tensor.ndim, *tensor.shape))))
    for values in tensor.chunks():
        if values.dtype.hasobject:
            for element in values.tolist():
                data = _encode_object(element)
                digest.update(_UINT64.pack(len(data)) + data)
        else:
            digest.update(_little_endian(values))
    return digest.digest()


def _encode_object(element: Any) -> bytes:
    if isinstance(element, bytes):
        return element
    data: bytes = element.SerializeToString(deterministic=True)
    return data


def _little_endian(values: Array) -> memoryview:
    if sys.byteorder == "big":
        values = swap_bytes(values.copy())
    return clear_unused_bits(values).view(np.uint8).data
