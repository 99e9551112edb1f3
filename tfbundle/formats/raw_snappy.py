"""Raw Snappy blocks, as in tables and compressed record files: a varint with the size, then the elements."""

from __future__ import annotations

from tfbundle.errors import FormatError
from tfbundle.formats.coding import decode_varint
from tfbundle.limits import LARGEST_SNAPPY_GROWTH


def decompress_snappy(data: bytes) -> bytes:
    """Return the contents of a block; raises ``FormatError`` if it is malformed or its stated size is impossible."""
    size, _ = decode_varint(data, 0, len(data), 32)
    if size > len(data) * LARGEST_SNAPPY_GROWTH:
        raise FormatError(f"{len(data)} bytes of Snappy data claim to hold {size} bytes, which they cannot", offset=0)
    # Released versions of TensorFlow do not compress the index, so this is rarely needed.
    import snappy

    try:
        contents = bytes(snappy.uncompress(data))
    except Exception as error:  # The class depends on the package's version.
        raise FormatError(f"the Snappy data is malformed: {error}", offset=0) from None
    if len(contents) != size:
        raise FormatError(f"the Snappy data contains {len(contents)} bytes but claims {size}", offset=0)
    return contents


def decompress_start(data: bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of a block's contents; fewer if it has fewer, or ``data`` ends before them.

    Raises ``FormatError`` if the elements that are decoded are malformed.
    """
    stated, pos = decode_varint(data, 0, len(data), 32)
    contents = bytearray()
    while len(contents) < min(size, stated) and pos < len(data):
        kind, length = data[pos] & 3, data[pos] >> 2
        pos += 1
        if kind == 0:  # A literal; lengths of 60 and more are in the next bytes.
            if length >= 60:
                length, pos = _number(data, pos, length - 59)
            contents += data[pos : pos + length + 1]
            pos += length + 1
            continue
        if kind == 1:
            low, pos = _number(data, pos, 1)
            offset, length = (length >> 3) << 8 | low, 3 + (length & 7)
        else:
            offset, pos = _number(data, pos, 2 if kind == 2 else 4)
        if pos > len(data):
            break
        if not 0 < offset <= len(contents):
            raise FormatError(f"the Snappy data refers to {offset} bytes before byte {len(contents)}", offset=pos)
        for _ in range(length + 1):
            contents.append(contents[-offset])
    return bytes(contents[: min(size, stated)])


def _number(data: bytes, pos: int, width: int) -> tuple[int, int]:
    return int.from_bytes(data[pos : pos + width], "little"), pos + width
