"""The byte order of a bundle whose header is lost, inferred from the data files.

Strings determine it with certainty, because their checksums cover numbers in that byte order. Numbers usually indicate
it, because swapped bytes rarely produce values in the usual range of weights and steps.
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

# At most this many slices are tried, and none that is larger.
_MOST_TRIED = 100
_LARGEST_TRIED = 1 << 20
# The largest plausible weight. One random float in six is in this range, so many votes must agree, and ten for each
# that does not. An integer of eight bytes, of which four are zeros, counts as many votes.
_LARGEST_WEIGHT = 1e6
_FEWEST_VOTES = 24
_VOTES_OF_INTEGER_BYTE = 3
_MAJORITY = 10


def has_byteorder(data_type: int) -> bool:
    """Return whether swapping bytes changes the values of a type; raise the errors of ``numpy_dtype``."""
    return data_type not in (DT_STRING, DT_VARIANT) and numpy_dtype(data_type).itemsize > 1


def ask_strings(slices: Iterable[StoredSlice], readers: Mapping[ByteOrder, SliceReader]) -> ByteOrder | None:
    """Return the byte order of the reader for which the checksum of some strings matches, or ``None``."""
    for stored in _some(slices):
        for order, reader in readers.items():
            with suppress(TfBundleError, OSError):
                reader.check(stored)
                return order
    return None


def ask_numbers(slices: Iterable[StoredSlice], reader: SliceReader) -> ByteOrder | None:
    """Return the only byte order in which numbers are in the usual range; ``None`` unless nearly all of many agree.

    ``reader`` reads them as little-endian.
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
    """Return which numbers are in the usual range of weights and steps, as few are with their bytes swapped."""
    with np.errstate(all="ignore"):
        sizes = np.abs(values.astype(np.float64))
    largest = 2.0 ** (4 * values.itemsize) if "int" in values.dtype.name else _LARGEST_WEIGHT
    usual: Array = (sizes == 0) | ((sizes > 1 / largest) & (sizes < largest))
    return usual
