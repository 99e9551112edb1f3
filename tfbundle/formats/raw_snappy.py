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
