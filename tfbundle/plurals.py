"""Numbers with a noun in the right form, for messages."""

from __future__ import annotations


def plural(number: int, noun: str) -> str:
    """Return ``"1 byte"`` or ``"2 bytes"``; the plural of ``noun`` ends in ``s``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
