r"""Whether a file is a tree of arrays in msgpack, as Flax and T5X write one.

::

    82                         a map of 2
      a4 's' 't' 'e' 'p'  07   a string of 4 bytes, as every key is one, and a number
      a6 'params'              another
        81 ...                 a map, and so on, or
        c8 size 01 ...         an extension of type 1: an array

msgpack has no magic number. Therefore the first entries are parsed: keys must be printable strings, and values plain
ones, until one is a map or an array.
"""

from __future__ import annotations

# Entries with plain values before the first map or array; a training state has a step and a version.
_MOST_PLAIN = 16
_ARRAY = 1
# The sizes of the data after a token, for types of a fixed size: nil and booleans, floats, integers.
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8} | {0xCC + place: 1 << place % 4 for place in range(8)}
# Extensions: the number of bytes of their size field. For the five short ones, the token implies the size.
_EXTENSIONS = dict.fromkeys(range(0xD4, 0xD9), 0) | {0xC7: 1, 0xC8: 2, 0xC9: 4}
_MAP_16, _MAP_32, _STRING_8 = 0xDE, 0xDF, 0xD9


def is_state_tree(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is such a tree."""
    pos = _skip_map(head, 0)
    if pos is None or head[0] == 0x80:
        return False
    for _ in range(_MOST_PLAIN):
        start, end = _string(head, pos)
        key = head[start:end]
        if not key or end >= len(head) or not _shows(key):
            return False
        token = head[end]
        if _skip_map(head, end) is not None:
            return True
        if token in _EXTENSIONS:
            place = end + 1 + _EXTENSIONS[token]
            return head[place : place + 1] == bytes([_ARRAY])
        if token < 0x80 or token >= 0xE0:
            pos = end + 1
        elif token in _FIXED:
            pos = end + 1 + _FIXED[token]
        else:
            _, pos = _string(head, end)
            if pos <= end:
                return False
    return False


def _skip_map(head: bytes, pos: int) -> int | None:
    """Return where the first entry of the map at ``pos`` begins, or ``None`` if there is no map."""
    token = head[pos] if pos < len(head) else 0
    if 0x80 <= token <= 0x8F:
        return pos + 1
    return pos + 3 if token == _MAP_16 else pos + 5 if token == _MAP_32 else None


def _string(head: bytes, pos: int) -> tuple[int, int]:
    """Return where the bytes of the string at ``pos`` begin and end; both are ``pos`` if there is none."""
    token = head[pos] if pos < len(head) else 0
    if 0xA0 <= token <= 0xBF:
        return pos + 1, pos + 1 + (token & 0x1F)
    if token == _STRING_8 and pos + 1 < len(head):
        return pos + 2, pos + 2 + head[pos + 1]
    return pos, pos


def _shows(key: bytes) -> bool:
    try:
        return key.decode().isprintable()
    except UnicodeDecodeError:
        return False
