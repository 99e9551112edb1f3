"""Conversion of text and bytes: ``tf.compat.as_bytes``, ``as_text``, ``as_str`` and ``as_str_any``.

Code for Python 2 and 3 calls them on names of tensors and on values of string tensors.
"""

from __future__ import annotations

from typing import Any

__all__ = ["as_bytes", "as_str", "as_str_any", "as_text"]


def as_bytes(bytes_or_text: str | bytes | bytearray, encoding: str = "utf-8") -> bytes:
    """Return bytes unchanged, and text encoded; raise ``TypeError`` for anything else."""
    _check_encoding(encoding)
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes | bytearray):
        return bytes(bytes_or_text)
    raise TypeError(f"expected bytes or text, and not {bytes_or_text!r}")


def as_text(bytes_or_text: str | bytes, encoding: str = "utf-8") -> str:
    """Return text unchanged, and bytes decoded; raise ``TypeError`` for anything else."""
    _check_encoding(encoding)
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise TypeError(f"expected bytes or text, and not {bytes_or_text!r}")


as_str = as_text


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Return ``as_str`` of bytes, and ``str`` of anything else."""
    return as_text(value, encoding) if isinstance(value, bytes) else str(value)


def _check_encoding(encoding: str) -> None:
    """Raise ``LookupError`` for an encoding that Python lacks, even if nothing is encoded."""
    "".encode(encoding)
