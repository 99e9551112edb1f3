"""What ``google.protobuf.text_format`` makes of a part of a text: the slow and certain half of ``textproto``.

It reads all of the text format, and its answer is the right one by definition. It is given one line at a time, so that
where it stopped is known whatever it raised, and so that no list of all lines is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf import text_format
from google.protobuf.message import Message

from tfbundle.errors import FormatError
from tfbundle.limits import DEEPEST_NESTING

# Of a part up to this size the first fault is named; in a larger one, that its braces do not match is known sooner.
_SMALL_SIZE = 1 << 20

_LONGEST_REASON = 300

# All that decides whether a brace is one, or stands in a string or a comment. A string ends at the end of its line.
_MARK = re.compile(rb"\\.|[\n\"'#{}<>]")


_CODEC = re.compile(r"'([\w-]+)' codec can't")


class Refusal(Exception):
    """A part of a text is not valid, for a reason that lies at a line and a column, both counted from 1.

    ``certain`` is false where what stands around the part might make it valid: where more text was expected, or a brace
    closes what was opened before.
    """

    def __init__(self, line: int, column: int, reason: str, *, certain: bool) -> None:
        super().__init__(line, column, reason)
        self.line = line
        self.column = column
        self.reason = reason
        self.certain = certain

    def error(self) -> FormatError:
        """Return the same for a caller of the library."""
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
        """Whether the last line was asked for, and then another one."""
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
    """Have ``text_format`` read the fields in ``text[pos:end]``, which lie ``depth`` levels deep, into ``message``.

    ``text`` is UTF-8. Raises ``Refusal``, whose line is one of ``text``, and nothing else.
    """
    fault = _nesting_fault(text, pos, end, depth)
    # Old releases of protobuf end the process over a text that nests too deeply, so that they must not see one.
    if fault is not None and (fault.certain or end - pos > _SMALL_SIZE):
        raise fault
    lines = _Lines(text, pos, end)
    try:
        text_format.ParseLines(lines, message)  # type: ignore[attr-defined]  # The stubs lack it.
    # Beside its own ParseError it lets through what the runtime raises: ValueError, UnicodeError, RecursionError...
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
    """Return a refusal for what lies at ``text[pos]``."""
    line = text.count(b"\n", 0, pos) + 1
    column = len(text[_line_start(text, pos) : pos].decode("utf-8", "replace")) + 1
    return Refusal(line, column, reason, certain=certain)


def _line_start(text: bytes, pos: int) -> int:
    return text.rfind(b"\n", 0, pos) + 1


def _nesting_fault(text: bytes, pos: int, end: int, depth: int) -> Refusal | None:
    """Where braces are not balanced or are nested too deeply, which they are in no valid text."""
    opened: list[int] = []
    ending = b""
    for mark in _MARK.finditer(text, pos, end):
        token = mark[0]
        if ending:
            # A string that is not closed is over at the end of its line, as a comment is.
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
                reason = f'this "{token.decode()}" closes nothing'
                return refuse(text, mark.start(), reason, certain=False)
            opened.pop()
    if opened:
        line = text.count(b"\n", 0, opened[-1]) + 1
        closer = "}" if text[opened[-1]] == ord("{") else ">"
        reason = f'the text ends before the "{closer}" that would close the message of line {line}'
        return refuse(text, end, reason, certain=False)
    return None


def _in_words(reason: str) -> str:
    """Return a reason without the names of Python's codecs, by which protobuf explains what is wrong with a string."""
    codec = _CODEC.search(reason)
    if codec is None:
        return reason
    if codec[1] == "utf-8":
        return "a string is not UTF-8"
    if codec[1] == "latin-1":
        return "an octal escape of this string is larger than a byte"
    what = "ends in a single backslash" if "at end of string" in reason else "has an invalid escape sequence"
    return f'this string {what}; a backslash itself is written as "\\\\"'


def _shorten(reason: str) -> str:
    """Cut out the middle of a reason that quotes a line of any length."""
    if len(reason) <= _LONGEST_REASON:
        return reason
    return f"{reason[: _LONGEST_REASON // 3]} ... {reason[-_LONGEST_REASON // 2 :]}"
