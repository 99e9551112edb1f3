"""Decode events of any length in parallel.

Records that share no layout (``columns``), such as images and histograms of many sizes, still have the same fields in
the same order. Here numpy decodes one field of all of them at a time: the wall time, the step and the summary, then in
all values the tag, the content and the metadata. Only field tags and lengths are read, so the cost does not depend on
the size of the values.

Records that are not in the form that protobuf writes, or that have a tensor so small that it may be a number, are
returned, to be decoded one at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.events.layout import AUDIO, HISTO, IMAGE, LONGEST_SCALAR, SIMPLE_VALUE, TENSOR
from tfbundle.events.points import Column, TagPoints, find_places, numbers_of
from tfbundle.formats.coding import decode_varint
from tfbundle.formats.records.frames import cut_rows
from tfbundle.limits import LONGEST_VARINT, MOST_VALUES
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import numpy_dtype

# Tags of fields as they are stored: the number times eight, plus the wire type.
_WALL, _STEP, _SUMMARY = 1 << 3 | 1, 2 << 3, 5 << 3 | 2
_VALUE = _TAG = 1 << 3 | 2
_METADATA = 9 << 3 | 2
_NUMBER = SIMPLE_VALUE << 3 | 5
_IS_CONTENT = np.zeros(256, bool)
_IS_CONTENT[[form << 3 | 2 for form in (IMAGE, HISTO, AUDIO, TENSOR)]] = True

_FLOAT = numpy_dtype(1)
# A tag and a content take at least two bytes each. Millions of values without either fit into a window.
_SHORTEST_VALUE = 4
# No message has 2^35 bytes.
_LONGEST_LENGTH = 5


class Records(NamedTuple):
    """Records of a window: their starts and ends in its ``data``, and their checksums.

    ``data[0]`` is the byte ``offset`` of the file; at least 16 bytes follow the last record.
    """

    data: memoryview
    offset: int
    starts: Array
    ends: Array
    crcs: Array


def decode_lockstep(records: Records, tags: dict[bytes, TagPoints]) -> Array:
    """Decode the summaries among ``records`` into ``tags``.

    Returns the numbers of the records that are not summaries or not in the usual form.
    """
    walls, steps, summaries, good = _heads(records)
    rows, starts, ends = _split(records, summaries, good)
    named, forms, contents, described, usual = _parts(records, starts, ends)
    good[rows[~usual]] = False
    names: dict[bytes, int] = {}
    cuts = zip(named[0].tolist(), named[1].tolist(), strict=True)
    series = np.array([names.setdefault(bytes(records.data[a:b]), len(names)) for a, b in cuts], np.int64)
    # Values of one tag and form are a column.
    kinds = series << 8 | forms
    order = np.argsort(kinds, kind="stable")
    order = order[good[rows[order]]]
    for which in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
        if not len(which):
            continue
        here = rows[which]
        points = tags[bytes(records.data[named[0][which[0]] : named[1][which[0]]])]
        places = starts[which] + records.offset
        head = places, steps[here], walls[here]
        for one in which[described[0][which] >= 0][:1].tolist():
            points.note_metadata(
                int(starts[one]) + records.offset, bytes(records.data[described[0][one] : described[1][one]])
            )
        form = int(forms[which[0]])
        if form == SIMPLE_VALUE:
            numbers = numbers_of(cut_rows(records.data, contents[which], _FLOAT.itemsize), _FLOAT)
            points.add((form, _FLOAT), Column(*head, numbers))
            continue
        spans = starts[which], ends[which], records.starts[here], records.ends[here], records.crcs[here]
        points.add((form, None), Column(*head, None, find_places(records.data, records.offset, *spans)))
    return np.flatnonzero(~good)


def _heads(records: Records) -> tuple[Array, Array, Array, Array]:
    """Return wall time, step and start of the summary of each record, and which records are in the usual form."""
    octets = np.frombuffer(records.data, np.uint8)
    places = records.starts.copy()
    has_wall = octets[places] == _WALL
    walls = np.where(has_wall, numbers_of(cut_rows(records.data, places + 1, 8), np.dtype(np.float64)), 0.0)
    places = np.minimum(places + 9 * has_wall, records.ends)
    has_step = octets[places] == _STEP
    steps, behind, good = _varints(octets, places + 1, LONGEST_VARINT)
    good |= ~has_step
    steps = np.where(has_step, steps, np.uint64(0)).view(np.int64)
    places = np.minimum(np.where(has_step, behind, places), records.ends)
    good &= octets[places] == _SUMMARY
    sizes, places, fine = _varints(octets, places + 1, _LONGEST_LENGTH)
    good &= fine & (places + sizes.view(np.int64) == records.ends)
    return walls, steps, places, good


def _split(records: Records, summaries: Array, good: Array) -> tuple[Array, Array, Array]:
    """Return the values in the summaries: the record, start and end of each. Removes bad records from ``good``.

    Usually there is one. Several follow each other, so they are located one at a time.
    """
    data, octets = records.data, np.frombuffer(records.data, np.uint8)
    starts, ends, fine = _field(octets, summaries, records.ends)
    is_only = good & fine & (ends == records.ends) & (octets[summaries] == _VALUE)
    only = np.flatnonzero(is_only)
    spans: list[int] = []
    others = np.flatnonzero(good & ~is_only)
    for row, pos, end in zip(others.tolist(), summaries[others].tolist(), records.ends[others].tolist(), strict=True):
        first = len(spans)
        while pos < end:
            try:
                size, start = decode_varint(data, pos + 1, end)
            except FormatError:
                size, start = end, end
            is_value = data[pos] == _VALUE and size >= _SHORTEST_VALUE and start + size <= end
            if not is_value or len(spans) - first >= 3 * MOST_VALUES:
                good[row] = False
                break
            pos = start + size
            spans += (row, start, pos)
    found = np.concatenate(
        [np.stack([only, starts[only], ends[only]], axis=1), np.array(spans, np.int64).reshape(-1, 3)]
    )
    found = found[np.argsort(found[:, 1])]
    return found[:, 0], found[:, 1], found[:, 2]


def _parts(
    records: Records, starts: Array, ends: Array
) -> tuple[tuple[Array, Array], Array, Array, tuple[Array, Array], Array]:
    """Return tag, form, content and metadata (-1 for none) of each value, and whether it is in the usual form.

    A position never passes the end of its value, so nothing is read beyond the records.
    """
    octets = np.frombuffer(records.data, np.uint8)
    usual = octets[starts] == _TAG
    tags, places, fine = _field(octets, starts, ends)
    usual &= fine
    heads = octets[places]
    is_number = heads == _NUMBER
    usual &= is_number | _IS_CONTENT[heads]
    contents, behind, fine = _field(octets, places, ends)
    contents = np.where(is_number, places + 1, contents)
    behind = np.where(is_number, np.minimum(places + 5, ends), behind)
    forms = (heads >> 3).astype(np.int64)
    usual &= (fine | is_number) & ((forms != TENSOR) | (behind - contents > LONGEST_SCALAR))
    is_described = (behind < ends) & (octets[behind] == _METADATA)
    metadata, last, fine = _field(octets, behind, ends)
    usual &= np.where(is_described, fine, True) & (np.where(is_described, last, behind) == ends)
    return (tags, places), forms, contents, (np.where(is_described, metadata, -1), last), usual


def _field(octets: Array, places: Array, limits: Array) -> tuple[Array, Array, Array]:
    """Return the start and end of the contents of the fields at ``places``, and which are within ``limits``."""
    sizes, starts, good = _varints(octets, places + 1, _LONGEST_LENGTH)
    ends = starts + sizes.view(np.int64)
    good &= ends <= limits
    return starts, np.minimum(ends, limits), good


def _varints(octets: Array, places: Array, longest: int) -> tuple[Array, Array, Array]:
    """Return varints of at most ``longest`` bytes as uint64, the positions after them, and which are valid."""
    values = np.zeros(len(places), np.uint64)
    places = places.copy()
    goes_on = np.ones(len(places), bool)
    good = np.ones(len(places), bool)
    for number in range(longest):
        read = octets[places]
        values |= np.where(goes_on, (read & 0x7F).astype(np.uint64) << np.uint64(7 * number), np.uint64(0))
        if number == LONGEST_VARINT - 1:
            good = ~goes_on | (read <= 1)  # Only one bit of the tenth byte fits into 64 bits.
        places += goes_on
        goes_on &= read >= 0x80
        if not goes_on.any():
            break
    return values, places, good & ~goes_on
