"""Read the small values of a compressed event file together.

A compressed file can only be read from its start, so reading the values of thousands of tags one tag at a time would
decompress it thousands of times. The first request for a small value therefore reads all of them in one pass, in the
order of their offsets, as far as ``LARGEST_SMALL_VALUES`` allows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tfbundle.events.points import TagPoints
from tfbundle.formats.records.unpacked import Unpacked
from tfbundle.limits import LARGEST_SMALL_VALUE, LARGEST_SMALL_VALUES

# Memory that an entry takes in addition to its bytes.
_ENTRY_SIZE = 200


def read_small_values(unpacked: Unpacked, tags: Iterable[TagPoints]) -> dict[tuple[int, int], bytes]:
    """Return the bytes at the places of small values, by start and length; their checksums are not verified."""
    places = [
        column.places[:, 1:3][(column.places[:, 0] >= 0) & (column.places[:, 2] <= LARGEST_SMALL_VALUE)]
        for points in tags
        for column in points.columns().values()
        if column.places is not None
    ]
    if not places:
        return {}
    spans = np.unique(np.concatenate(places), axis=0)
    spans = spans[np.cumsum(spans[:, 1] + _ENTRY_SIZE) <= LARGEST_SMALL_VALUES]
    found: dict[tuple[int, int], bytes] = {}
    # Values of one record may overlap with the record itself, so the bytes that were read last are kept.
    start, data = 0, b""
    for offset, size in spans.tolist():
        behind = start + len(data)
        if offset >= behind:
            start, data = offset, unpacked.read_at(offset, size)
        elif offset + size > behind:
            start, data = offset, data[offset - start :] + unpacked.read_at(behind, offset + size - behind)
        found[offset, size] = data[offset - start : offset - start + size]
    return found
