"""The order in which people list names with numbers: ``layer_2`` before ``layer_10``."""

from __future__ import annotations

import re

_NUMBER = re.compile(rb"[0-9]+")


def natural_key(name: str) -> bytes:
    """Return what sorts ``layer_2`` before ``layer_10``; names without numbers sort by their bytes."""
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # A surrogate that does not represent a byte, which JSON may contain.
        data = name.encode("utf-8", "surrogatepass")
    # A number sorts by how many digits it has, then by these, and before any text in its place.
    return _NUMBER.sub(_encode_number, data)


def _encode_number(match: re.Match[bytes]) -> bytes:
    digits = match[0].lstrip(b"0")
    return b"\0" + len(digits).to_bytes(4, "big") + digits
