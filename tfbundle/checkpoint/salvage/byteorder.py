"""The byte order of a bundle whose header is lost, as the data files show it.

Strings show it for certain, for the numbers that their checksums run over have that order too. Numbers show it as a
rule, for few are as large or small as weights and steps are with their bytes swapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

import numpy as np

from tfbundle.checkpoint.v2.payload import ByteOrder
from tfbundle.checkpoint.v2.stored_slices import SliceReader, StoredSlice
from tfbundle.errors import TfBundleError
from tfbundle.tensors.arrays import Array, swap_bytes
from tfbundle.tensors.dtypes import DT_STRING, DT_VARIANT, numpy_dtype

# So many slices are tried, and none that is larger.
_MOST_TRIED = 100
_LARGEST_TRIED = 1 << 20
# What a weight is held to be. One float in six is as large if its bits are random, so that many have to agree, and ten
# for each that does not; an integer of eight bytes, of which four are zeros, is worth as many.
_LARGEST_WEIGHT = 1e6
_FEWEST_VOTES = 24
_VOTES_OF_INTEGER_BYTE = 3
_MAJORITY = 10


def has_byteorder(data_type: int) -> bool:
    """Whether numbers of a type are others with their bytes swapped; raises as ``numpy_dtype`` does."""
    return data_type not in (DT_STRING, DT_VARIANT) and numpy_dtype(data_type).itemsize > 1


def ask_strings(slices: Iterable[StoredSlice], readers: Mapping[ByteOrder, SliceReader]) -> ByteOrder | None:
    """Return the byte order of the reader that finds the checksum of some strings right."""
    for stored in _some(slices):
        for order, reader in readers.items():
            with suppress(TfBundleError, OSError):
                reader.check(stored)
                return order
    return None


def ask_numbers(slices: Iterable[StoredSlice], reader: SliceReader) -> ByteOrder | None:
    """Return the byte order in which alone numbers are of a usual size; ``None`` unless many agree, and nearly all.

    ``reader`` takes them for little-endian.
    """
    little = big = 0
    for stored in _some(slices):
        with suppress(TfBundleError, OSError):
            values = reader.read(stored)
            if values.dtype.kind == "c":
                continue
            as_little, as_big = _are_usual(values), _are_usual(swap_bytes(values.copy()))
            votes = _VOTES_OF_INTEGER_BYTE * values.itemsize if "int" in values.dtype.name else 1
            little += votes * int(np.count_nonzero(as_little & ~as_big))
            big += votes * int(np.count_nonzero(as_big & ~as_little))
    if max(little, big) < _FEWEST_VOTES or max(little, big) <= _MAJORITY * min(little, big):
        return None
    return "little" if little > big else "big"


def _some(slices: Iterable[StoredSlice]) -> Iterator[StoredSlice]:
    return islice((stored for stored in slices if 0 < stored.location.size <= _LARGEST_TRIED), _MOST_TRIED)


def _are_usual(values: Array) -> Array:
    """Which numbers are of a usual size, as nearly all weights and steps are, and few with their bytes swapped."""
    with np.errstate(all="ignore"):
        sizes = np.abs(values.astype(np.float64))
    largest = 2.0 ** (4 * values.itemsize) if "int" in values.dtype.name else _LARGEST_WEIGHT
    usual: Array = (sizes == 0) | ((sizes > 1 / largest) & (sizes < largest))
    return usual
