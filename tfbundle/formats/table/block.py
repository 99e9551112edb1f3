"""The contents of one block of a sorted table, as keys and values.

::

    contents  [entry]* [restart offsets: uint32 LE]* [their count: uint32 LE]
    entry     [shared: varint][unshared: varint][value size: varint][key's last bytes][value]

Keys are sorted, and each shares its first bytes with the one before it, except at a restart point, which holds a
whole key; restart points make binary search possible. A run is what lies between two of them, 16 entries as TensorFlow
writes them.

An entry can be found only by way of the one before it, but all runs of a block can be walked at the same time: the
first entry of each, then the second of each, as columns of numpy. That way is taken by large blocks and gives up where
anything is out of the ordinary; then one entry after the other is decoded, which has the one place for every error.
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

# With fewer runs than this, columns are not worth their making.
_FEWEST_RUNS = 200
# A longer run would make for many short columns.
_LONGEST_RUN = 64
# Runs times the entries of the longest one. A block may have one long run among very many short ones.
_MOST_PLACES = 1 << 18
# Keys of more bytes than this cannot come of sizes below 128.
_LONGEST_KEY = 254
# Writers close a block at 256 KiB. In a larger one the first entry out of order has to be the last that is decoded.
_LARGEST_PLAIN = 1 << 20
# What the keys of a block may take as rows of equal width.
_LARGEST_MATRIX = 16 << 20

# Writers put a restart point at every sixteenth entry. Where as many bytes lie between two of them, looking up one name
# after the other would take the square of the time.
_FAR_APART = 16 << 10

_UINT32 = Struct("<I")


def decode_block(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """All keys and all values of a block's contents, in order.

    Keys must ascend strictly, and each restart offset must lead to an entry that holds a whole key.
    """
    limit = _entries_end(data)
    if len(data) - 4 - limit >= 4 * _FEWEST_RUNS and len(data) <= _LARGEST_PLAIN:
        found = _decode_runs(data, limit)
        if found is not None and all(map(operator.lt, found[0], found[0][1:])):
            return found
    return _decode_entries(data, limit)


def _decode_entries(data: bytes, limit: int) -> tuple[list[bytes], list[bytes]]:
    """``decode_block``, one entry after the other."""
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
        # At once and not in the end, for a compressed block may hold millions of entries that say nothing.
        if key <= last and keys:
            raise FormatError(f"keys are not in order: {key!r} follows {last!r}", offset=pos)
        last = key
        keys.append(key)
        values.append(data[middle:end])
        pos = end
    restarts = Struct(f"<{(len(data) - 4 - limit) // 4}I").unpack_from(data, limit)
    # A block without entries still has its one restart offset, 0.
    if not whole.issuperset(restarts) and (keys or any(restarts)):
        raise FormatError("a restart offset does not lead to a whole key", offset=limit)
    # What iteration yields has to be what a search finds.
    if keys and (restarts[:1] != (0,) or any(map(operator.ge, restarts, restarts[1:]))):
        raise FormatError("restart offsets do not ascend from the first entry", offset=limit)
    return keys, values


class _Entries(NamedTuple):
    """The entries of all runs: arrays with a row for each run, and a column for each place in it."""

    there: np.ndarray[Any, np.dtype[np.bool_]]
    shared: Bytes
    unshared: Bytes
    size: Bytes
    start: Column


def _decode_runs(data: bytes, limit: int) -> tuple[list[bytes], list[bytes]] | None:
    """``decode_block`` by columns, but for the order of the keys; ``None`` if a block is not a plain one."""
    import numpy as np

    # However far behind its place something is read for a row, there are bytes.
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
    # numpy's strings lose zeros at their ends.
    for number in np.flatnonzero((rows[np.arange(len(rows)), lengths - 1] == 0) & (lengths > 0)).tolist():
        keys[number] = rows[number, : lengths[number]].tobytes()
    middle = (start + unshared)[there]
    ends = middle + size[there]
    return keys, [data[first:end] for first, end in zip(middle.tolist(), ends.tolist(), strict=True)]


def _walk_runs(padded: Bytes, limit: int, restarts: Column) -> _Entries | None:
    """Where the entries lie, if each run ends where the next one starts, and no entry shares what is not there."""
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
        # Rows whose run is over stay at its end, and what is read there does not count.
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
    """Return the keys, each ``width`` bytes with zeros behind the key."""
    import numpy as np

    # Row i holds the bytes from i - width on, so that a key's own bytes can be had where they belong in it.
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
    """Return the value under ``wanted`` by binary search over the restart points, or ``None``."""
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
    """Whether a search between two restart points of a block may take as long as decoding all of it."""
    return len(data) > _FAR_APART and len(data) // max(1, _UINT32.unpack_from(data, len(data) - 4)[0]) > _FAR_APART


def _entries_end(data: bytes) -> int:
    """Where a block's entries stop and its restart offsets begin."""
    if len(data) < 4:
        raise TruncatedError("a block is too short for its count of restart points", offset=0)
    limit: int = len(data) - 4 - 4 * _UINT32.unpack_from(data, len(data) - 4)[0]
    if limit < 0:
        raise FormatError("a block claims more restart points than it has room for", offset=len(data) - 4)
    return limit


def decode_sizes(data: bytes, pos: int, limit: int) -> tuple[int, int, int, int]:
    """Return the three sizes in front of an entry (shared, unshared, value), and the position behind them."""
    shared, pos = decode_varint(data, pos, limit, 32)
    unshared, pos = decode_varint(data, pos, limit, 32)
    value_size, pos = decode_varint(data, pos, limit, 32)
    return shared, unshared, value_size, pos


def _key_at_restart(data: bytes, restart: int, limit: int) -> bytes:
    pos = _UINT32.unpack_from(data, limit + 4 * restart)[0]
    if pos >= limit:
        raise FormatError("a restart offset lies outside of its block", offset=limit + 4 * restart)
    shared, unshared, _, start = decode_sizes(data, pos, limit)
    if shared or start + unshared > limit:
        raise FormatError("a restart offset does not lead to a whole key", offset=pos)
    return data[start : start + unshared]
