"""Parse a part of a text with ``google.protobuf.text_format``: the slow, authoritative half of ``textproto``.

It reads the whole text format, and its result is correct by definition. It is passed one line at a time, so that the
position of any error is known and no list of all lines is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf import text_format
from google.protobuf.message import Message

from tfbundle.errors import FormatError
from tfbundle.limits import DEEPEST_NESTING

# In a part up to this size, the first error is reported; in a larger one, unbalanced braces are reported immediately.
_SMALL_SIZE = 1 << 20

_LONGEST_REASON = 300

# The tokens that determine whether a brace is in a string or a comment. A string ends at the end of its line.
_MARK = re.compile(rb"\\.|[\n\"'#{}<>]")


_CODEC = re.compile(r"'([\w-]+)' codec can't")


class Refusal(Exception):
    """A part of a text is not valid, for a reason at a line and a column, both counted from 1.

    ``certain`` is false if the surrounding text might make it valid: if more text was expected, or if a brace closes a
    message that was opened before the part.
    """

    def __init__(self, line: int, column: int, reason: str, *, certain: bool) -> None:
        super().__init__(line, column, reason)
        self.line = line
        self.column = column
        self.reason = reason
        self.certain = certain

    def error(self) -> FormatError:
        """Return the error to raise to callers of the library."""
        return FormatError(f"line {self.line}, column {self.column}: {_shorten(self.reason)}")


class _Lines(Iterator[bytes]):
    """The lines of ``text[pos:end]``, without their line feeds."""

    def __init__(self, text: bytes, pos: int, end: int) -> None:
        self._text = text
        self._pos = pos
        self._end = end
        self.count = 0

    @property
    def exhausted(self) -> bool:
        """Whether another line was requested after the last one."""
        return self._pos > self._end + 1

    def __next__(self) -> bytes:
        if self._pos > self._end:
            self._pos = self._end + 2
            raise StopIteration
        stop = self._text.find(b"\n", self._pos, self._end)
        if stop < 0:
            stop = self._end
        line = self._text[self._pos : stop]
        self._pos = stop + 1
        self.count += 1
        return line


def merge_text(text: bytes, pos: int, end: int, message: Message, depth: int) -> None:
    """Parse the fields in ``text[pos:end]``, which are ``depth`` levels deep, into ``message`` with ``text_format``.

    ``text`` is UTF-8. Raises only ``Refusal``, whose line is counted in ``text``.
    """
    fault = _nesting_fault(text, pos, end, depth)
    # Old releases of protobuf crash the process on a text that nests too deeply, so it must not reach them.
    if fault is not None and (fault.certain or end - pos > _SMALL_SIZE):
        raise fault
    lines = _Lines(text, pos, end)
    try:
        text_format.ParseLines(lines, message)  # type: ignore[attr-defined]  # The stubs lack it.
    # In addition to ParseError, it raises errors of the runtime: ValueError, UnicodeError, RecursionError...
    except Exception as error:
        line, column = lines.count, 1
        if isinstance(error, text_format.ParseError):
            line, column = error.GetLine() or line, error.GetColumn() or column
        reason = _in_words(str(error).removeprefix(f"{line}:{column} : ")) or type(error).__name__
        if line == 1:
            column += pos - _line_start(text, pos)
        line += text.count(b"\n", 0, pos)
        if fault is None or line < fault.line:
            certain = fault is None and not lines.exhausted
            raise Refusal(line, column, reason, certain=certain) from error
    if fault is not None:
        raise fault


def refuse(text: bytes, pos: int, reason: str, *, certain: bool = True) -> Refusal:
    """Return a refusal at ``text[pos]``."""
    line = text.count(b"\n", 0, pos) + 1
    column = len(text[_line_start(text, pos) : pos].decode("utf-8", "replace")) + 1
    return Refusal(line, column, reason, certain=certain)


def _line_start(text: bytes, pos: int) -> int:
    return text.rfind(b"\n", 0, pos) + 1


def _nesting_fault(text: bytes, pos: int, end: int, depth: int) -> Refusal | None:
    """Return the refusal for braces that are not balanced or nested too deeply, or ``None``."""
    opened: list[int] = []
    ending = b""
    for mark in _MARK.finditer(text, pos, end):
        token = mark[0]
        if ending:
            # A string that is not closed ends at the end of its line, as a comment does.
            if token in (ending, b"\n"):
                ending = b""
        elif token in (b'"', b"'"):
            ending = token
        elif token == b"#":
            ending = b"\n"
        elif token in (b"{", b"<"):
            opened.append(mark.start())
            if depth + len(opened) > DEEPEST_NESTING:
                return refuse(text, mark.start(), f"messages are nested more than {DEEPEST_NESTING} levels deep")
        elif token in (b"}", b">"):
            if not opened:
                reason = f'this "{token.decode()}" does not close anything'
                return refuse(text, mark.start(), reason, certain=False)
            opened.pop()
    if opened:
        line = text.count(b"\n", 0, opened[-1]) + 1
        closer = "}" if text[opened[-1]] == ord("{") else ">"
        reason = f'the text ends before the "{closer}" that closes the message of line {line}'
        return refuse(text, end, reason, certain=False)
    return None


def _in_words(reason: str) -> str:
    """Return a reason without the names of Python codecs, with which protobuf describes errors in strings."""
    codec = _CODEC.search(reason)
    if codec is None:
        return reason
    if codec[1] == "utf-8":
        return "a string is not UTF-8"
    if codec[1] == "latin-1":
        return "an octal escape of this string is larger than a byte"
    what = "ends with a single backslash" if "at end of string" in reason else "has an invalid escape sequence"
    return f'this string {what}; a literal backslash is written as "\\\\"'


def _shorten(reason: str) -> str:
    """Cut out the middle of a reason that quotes a line of any length."""
    if len(reason) <= _LONGEST_REASON:
        return reason
    return f"{reason[: _LONGEST_REASON // 3]} ... {reason[-_LONGEST_REASON // 2 :]}"
