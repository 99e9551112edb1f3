"""The order in which people list names with numbers: ``layer_2`` before ``layer_10``."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(rb"([0-9]+)")


def natural_key(name: str) -> tuple[Any, ...]:
    """Return what sorts ``layer_2`` before ``layer_10``; names without numbers sort by their bytes."""
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # A surrogate that stands for no byte, as JSON may have one.
        data = name.encode("utf-8", "surrogatepass")
    # Text and digits alternate; digits compare by how many they are, then as text, so that no number is too long.
    parts = _NUMBER.split(data)
    parts = [part.lstrip(b"0") if place % 2 else part for place, part in enumerate(parts)]
    return tuple((len(part), part) if place % 2 else part for place, part in enumerate(parts))
