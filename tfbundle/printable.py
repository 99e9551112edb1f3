r"""Names, messages and numbers as they are shown: without control characters, and in one direction of writing.

What comes from a file or from its name may hold any bytes. ``escape_name`` has an inverse, and gives no two names the
same form::

    \\ \t \n \r    these four
    \x00 \x20       other characters of ASCII that do not show, such as a space at an end
    \xe9            a byte that is not UTF-8
    \u200b          any other character that does not show, such as one that turns the direction of writing
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped[1]: character for character, escaped in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\(?:([\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))")

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def escape_name(name: str) -> str:
    """Return a name as it is printed; ``unescape_name`` is the inverse."""
    if name.isprintable() and "\\" not in name and name == name.strip(" "):
        return name
    inner = name.strip(" ")
    start = name.find(inner)
    # A space at an end would not be seen.
    return r"\x20" * start + "".join(map(_escape, inner)) + r"\x20" * (len(name) - start - len(inner))


@lru_cache(1 << 12)  # A text has few different characters, and may have millions of them.
def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # A byte that is not UTF-8, in the guise that surrogateescape gives it.
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else escape_code(code)


def escape_code(code: int) -> str:
    """Return how a character is written by its number, which must not be that of ASCII."""
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unescape_name(text: str) -> str:
    """Return the name that is printed as ``text``."""

    def replace(match: re.Match[str]) -> str:
        plain, byte, *others = match.groups()
        if plain:
            return _UNESCAPES[plain]
        if byte:
            code = int(byte, 16)
            return chr(code if code < 0x80 else 0xDC00 + code)
        return chr(int("".join(filter(None, others)), 16))

    return _ESCAPED.sub(replace, text)


def one_line(text: str) -> str:
    """Return a message without what would break or garble its line; backslashes stay as they are."""
    if text.isprintable():
        return text
    return "".join(character if character == "\\" else _escape(character) for character in text)


def format_size(size: int) -> str:
    """Return a number of bytes for people, such as ``"1.5 MiB"``."""
    if size < 1024:
        return f"{size} B"
    value, place = size / 1024, 0
    while value >= 1023.95 and place + 1 < len(_UNITS):  # What would be rounded to 1024.0 is one of the next unit.
        value, place = value / 1024, place + 1
    return f"{value:.1f} {_UNITS[place]}"


def format_shape(shape: Sequence[int]) -> str:
    """Return a shape without spaces, so that it stays one column to every tool."""
    return f"[{','.join(map(str, shape))}]"


def count_of(number: int, thing: str, things: str | None = None) -> str:
    """Return ``"1 tensor"``, ``"2,000 tensors"``, ``"1 series"``; ``things`` is a plural of another form."""
    if things is None:
        things = thing if thing.endswith("s") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else things}"
