"""A large tensor in segments, which several threads read and verify at once.

The checkpoint has one CRC-32C for the whole tensor. Each segment has its own, and these are joined in the end::

    segment 0    segment 1    segment 2
    crc          crc          crc        ──join_crcs──>  compared with the stored one

A thread that reads a segment also computes its checksum, so that the bytes stay in the cache of its processor.
"""

from __future__ import annotations

import numpy as np

from tfbundle.checkpoint.v2.stored_slices import SliceReader, StoredSlice, check_crc
from tfbundle.errors import TfBundleError
from tfbundle.formats.checksum import crc32c, join_crcs
from tfbundle.tensors.arrays import Array, swap_bytes
from tfbundle.tensors.dtypes import numpy_dtype

# Long enough that threads, which run Python one at a time, rarely wait for each other; a multiple of every element's
# size.
SEGMENT = 4 << 20


class Segments:
    """The segments of an unpartitioned tensor of numbers; each must be read once, in any order, before ``check``."""

    def __init__(self, reader: SliceReader, stored: StoredSlice, path: str, name: str) -> None:
        """``path`` and ``name`` are those of the checkpoint and the tensor, for errors."""
        self._reader = reader
        self._stored = stored
        self._path = path
        self._name = name
        self._dtype = numpy_dtype(stored.data_type)
        self._crcs = [0] * -(-stored.location.size // SEGMENT)

    def __len__(self) -> int:
        return len(self._crcs)

    def start(self, number: int) -> int:
        """Return the index of the first element of a segment."""
        return number * SEGMENT // self._dtype.itemsize

    def read(self, number: int) -> Array:
        """Return the elements of a segment as a flat array, which is not verified before ``check``."""
        try:
            source = self._reader.source(self._stored)
            offset = number * SEGMENT
            size = min(SEGMENT, self._stored.location.size - offset)
            array = np.empty(size // self._dtype.itemsize, self._dtype)
            buffer = array.view(np.uint8).data
            source.read_into(self._stored.location.offset + offset, buffer)
        except TfBundleError as error:
            raise error.locate(path=self._path, tensor=self._name) from None
        if self._reader.verify:
            self._crcs[number] = crc32c(buffer)
        return swap_bytes(array) if self._reader.swapped else array

    def check(self) -> None:
        """Raise what ``SliceReader.read`` raises for damage."""
        try:
            source, place = self._reader.source(self._stored), self._stored.location
            if not self._reader.verify:
                self._reader.shards.check_unverified(source)
                return
            crc = 0
            for number, other in enumerate(self._crcs):
                crc = join_crcs(crc, other, min(SEGMENT, place.size - number * SEGMENT))
            check_crc(self._reader.shards, source, place, crc)
        except TfBundleError as error:
            raise error.locate(path=self._path, tensor=self._name) from None
