"""Decode the contents of one block of a sorted table into keys and values.

::

    contents  [entry]* [restart offsets: uint32 LE]* [their count: uint32 LE]
    entry     [shared: varint][unshared: varint][value size: varint][key's last bytes][value]

Keys are sorted, and each shares its first bytes with the one before it, except at a restart point, which has a whole
key; restart points make binary search possible. A run is the entries from one restart point to the next, 16 as
TensorFlow writes them.

An entry can be located only through the one before it, but all runs of a block can be decoded at the same time: the
first entry of each, then the second of each, as numpy columns. Large blocks are decoded this way, unless they have
anything unusual; all others are decoded one entry at a time, and only that code raises errors.
"""

from __future__ import annotations

import operator
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.formats.coding import decode_varint

if TYPE_CHECKING:
    import numpy as np

    Column = np.ndarray[Any, np.dtype[np.int64]]
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

# One restart offset and the count of them.
SMALLEST_BLOCK = 8

# With fewer runs than this, columns are not worth their cost.
_FEWEST_RUNS = 200
# A longer run would result in many short columns.
_LONGEST_RUN = 64
# Runs times the entries of the longest one. A block may have one long run among very many short ones.
_MOST_PLACES = 1 << 18
# Keys of more bytes than this cannot result from sizes below 128.
_LONGEST_KEY = 254
# Writers end a block at 256 KiB. In a larger one, decoding must stop at the first entry that is out of order.
_LARGEST_PLAIN = 1 << 20
# The largest size in bytes of a block's keys as rows of equal width.
_LARGEST_MATRIX = 16 << 20

# Writers put a restart point at every sixteenth entry. With so many bytes between two of them, looking up every name
# would take quadratic time.
_FAR_APART = 16 << 10

_UINT32 = Struct("<I")


def decode_block(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return all keys and all values of a block's contents, in order.

    Keys must ascend strictly, and each restart offset must point to an entry with a whole key.
    """
    limit = _entries_end(data)
    if len(data) - 4 - limit >= 4 * _FEWEST_RUNS and len(data) <= _LARGEST_PLAIN:
        found = _decode_runs(data, limit)
        if found is not None and all(map(operator.lt, found[0], found[0][1:])):
            return found
    return _decode_entries(data, limit)


def _decode_entries(data: bytes, limit: int) -> tuple[list[bytes], list[bytes]]:
    """Decode a block one entry at a time."""
    keys: list[bytes] = []
    values: list[bytes] = []
    whole = set()
    key = last = b""
    pos = 0
    while pos < limit:
        # Nearly every entry has three one-byte varints. Four bytes follow the entries, so these reads are inside.
        shared, unshared, value_size = data[pos], data[pos + 1], data[pos + 2]
        if shared | unshared | value_size < 0x80:
            start = pos + 3
        else:
            shared, unshared, value_size, start = decode_sizes(data, pos, limit)
        middle = start + unshared
        end = middle + value_size
        if end > limit:
            raise FormatError("an entry runs past the end of its block", offset=pos)
        if shared:
            if shared > len(key):
                raise FormatError("an entry shares more bytes than the key before it has", offset=pos)
            key = key[:shared] + data[start:middle]
        else:
            whole.add(pos)
            key = data[start:middle]
        # Checked here and not at the end, because a compressed block may hold millions of empty entries.
        if key <= last and keys:
            raise FormatError(f"keys are not in order: {key!r} follows {last!r}", offset=pos)
        last = key
        keys.append(key)
        values.append(data[middle:end])
        pos = end
    restarts = Struct(f"<{(len(data) - 4 - limit) // 4}I").unpack_from(data, limit)
    # A block without entries still has its one restart offset, 0.
    if not whole.issuperset(restarts) and (keys or any(restarts)):
        raise FormatError("a restart offset does not point to a whole key", offset=limit)
    # Iteration and search must find the same entries.
    if keys and (restarts[:1] != (0,) or any(map(operator.ge, restarts, restarts[1:]))):
        raise FormatError("restart offsets do not ascend from the first entry", offset=limit)
    return keys, values


class _Entries(NamedTuple):
    """The entries of all runs: arrays with a row for each run and a column for each position in it."""

    there: np.ndarray[Any, np.dtype[np.bool_]]
    shared: Bytes
    unshared: Bytes
    size: Bytes
    start: Column


def _decode_runs(data: bytes, limit: int) -> tuple[list[bytes], list[bytes]] | None:
    """Decode a block by columns without checking the order of the keys; ``None`` if the block is unusual."""
    import numpy as np

    # Reads for a row may extend past its end, and need bytes there.
    padded = np.frombuffer(data + bytes(_LONGEST_KEY), np.uint8)
    entries = _walk_runs(padded, limit, np.frombuffer(data, "<u4", offset=limit)[:-1].astype(np.int64))
    if entries is None:
        return None
    there, shared, unshared, size, start = entries
    lengths = shared + unshared
    width = max(1, int(lengths.max()))
    if lengths.size * width > _LARGEST_MATRIX:
        return None
    rows = _expand_keys(padded, entries, width)[there]
    lengths = lengths[there].astype(np.int64)
    keys: list[bytes] = rows.view(f"S{width}")[:, 0].tolist()
    # numpy strings lose trailing zeros.
    for number in np.flatnonzero((rows[np.arange(len(rows)), lengths - 1] == 0) & (lengths > 0)).tolist():
        keys[number] = rows[number, : lengths[number]].tobytes()
    middle = (start + unshared)[there]
    ends = middle + size[there]
    return keys, [data[first:end] for first, end in zip(middle.tolist(), ends.tolist(), strict=True)]


def _walk_runs(padded: Bytes, limit: int, restarts: Column) -> _Entries | None:
    """Return the entries, or ``None`` unless each run ends where the next starts and all shared sizes are valid."""
    import numpy as np

    stops = np.append(restarts[1:], limit)
    if restarts[0] != 0 or (restarts >= stops).any():
        return None
    triples = np.lib.stride_tricks.sliding_window_view(padded, 3)
    columns: list[tuple[np.ndarray[Any, Any], ...]] = []
    pos = restarts
    length = np.zeros(len(restarts), np.uint8)
    while (there := pos < stops).any():
        if len(columns) == _LONGEST_RUN or (len(columns) + 1) * len(restarts) > _MOST_PLACES:
            return None
        sizes = triples[pos]
        # Rows whose run has ended stay at its end, and the bytes read there are ignored.
        sizes[~there] = 0
        shared, unshared, size = sizes.T
        if (sizes >= 0x80).any() or (shared > length).any():
            return None
        length = shared + unshared
        columns.append((there, shared, unshared, size, pos + 3))
        pos = np.where(there, pos + 3 + unshared + size, pos)
        if (pos > stops).any():
            return None
    return _Entries(*(np.stack(column, axis=1) for column in zip(*columns, strict=True)))


def _expand_keys(padded: Bytes, entries: _Entries, width: int) -> Bytes:
    """Return the keys, each padded to ``width`` bytes with zeros."""
    import numpy as np

    # Row i has the bytes from i - width on, so that a key's unshared bytes are available at their positions in the key.
    windows = np.lib.stride_tricks.sliding_window_view(np.append(np.zeros(width, np.uint8), padded), width)
    columns = np.arange(width, dtype=np.uint8)
    keys = np.empty((*entries.there.shape, width), np.uint8)
    key = np.zeros((len(keys), width), np.uint8)
    for place, (shared, start) in enumerate(zip(entries.shared.T, entries.start.T, strict=True)):
        np.copyto(key, windows[start - shared + width], where=columns >= shared[:, None])
        keys[:, place] = key
    keys *= columns < (entries.shared + entries.unshared)[..., None]
    return keys


def find_in_block(data: bytes, wanted: bytes) -> bytes | None:
    """Return the value of the key ``wanted`` by binary search over the restart points, or ``None``."""
    limit = _entries_end(data)
    low, high = 0, (len(data) - 4 - limit) // 4 - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _key_at_restart(data, middle, limit) <= wanted:
            low = middle
        else:
            high = middle - 1
    pos = _UINT32.unpack_from(data, limit + 4 * low)[0] if high >= 0 else limit
    key = b""
    while pos < limit:
        shared, unshared, value_size, start = decode_sizes(data, pos, limit)
        middle = start + unshared
        end = middle + value_size
        if end > limit:
            raise FormatError("an entry runs past the end of its block", offset=pos)
        if shared > len(key):
            raise FormatError("an entry shares more bytes than the key before it has", offset=pos)
        key = key[:shared] + data[start:middle]
        if key >= wanted:
            return data[middle:end] if key == wanted else None
        pos = end
    return None


def is_sparse(data: bytes) -> bool:
    """Return whether a search between two restart points of a block may take as long as decoding all of it."""
    return len(data) > _FAR_APART and len(data) // max(1, _UINT32.unpack_from(data, len(data) - 4)[0]) > _FAR_APART


def _entries_end(data: bytes) -> int:
    """Return the offset at which a block's entries end and its restart offsets begin."""
    if len(data) < 4:
        raise TruncatedError("a block is too short for its count of restart points", offset=0)
    limit: int = len(data) - 4 - 4 * _UINT32.unpack_from(data, len(data) - 4)[0]
    if limit < 0:
        raise FormatError("a block claims more restart points than it has room for", offset=len(data) - 4)
    return limit


def decode_sizes(data: bytes, pos: int, limit: int) -> tuple[int, int, int, int]:
    """Return the three sizes at the start of an entry (shared, unshared, value) and the position after them."""
    shared, pos = decode_varint(data, pos, limit, 32)
    unshared, pos = decode_varint(data, pos, limit, 32)
    value_size, pos = decode_varint(data, pos, limit, 32)
    return shared, unshared, value_size, pos


def _key_at_restart(data: bytes, restart: int, limit: int) -> bytes:
    pos = _UINT32.unpack_from(data, limit + 4 * restart)[0]
    if pos >= limit:
        raise FormatError("a restart offset is outside of its block", offset=limit + 4 * restart)
    shared, unshared, _, start = decode_sizes(data, pos, limit)
    if shared or start + unshared > limit:
        raise FormatError("a restart offset does not point to a whole key", offset=pos)
    return data[start : start + unshared]
