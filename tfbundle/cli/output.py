r"""How commands speak: tables, sizes, names, JSON and progress.

To a terminal with rich; to a pipe or a file as plain lines, in which nothing is coloured, wrapped or cut. Names in
checkpoints are any bytes. What cannot be printed is escaped in the manner of Python, so that a tensor takes one line,
and no two names are printed the same::

    \\ \t \n \r    these four
    \x00 \x20       other characters of ASCII that do not show, such as a space at an end
    \xe9            a byte that is not UTF-8
    \u200b          any other character that does not show
"""

from __future__ import annotations

import codecs
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tfbundle.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped[1]: character for character, escaped in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\(?:([\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))")

# A longer name would push the other columns out of sight; its own line is pushed, and no other.
_WIDEST_COLUMN = 60
_PIPE_SIZE = 1 << 12
_LABEL_WIDTH = 12
# Wider than any table, to lay one out as if a terminal had no edge.
_NO_EDGE = 1 << 20
# rich lays out a few thousand rows a second, and nobody reads that many on a terminal.
_MOST_RICH_ROWS = 2000


def escape_name(name: str) -> str:
    """A name as it is printed; ``unescape_name`` is the inverse."""
    if name.isprintable() and "\\" not in name and name == name.strip(" "):
        return name
    inner = name.strip(" ")
    start = name.find(inner)
    # A space at an end would not be seen.
    return r"\x20" * start + "".join(map(_escape, inner)) + r"\x20" * (len(name) - start - len(inner))


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # A byte that is not UTF-8, in the guise that surrogateescape gives it.
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else _escape_code(code)


def _escape_code(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Stands in for characters that an encoding lacks; Python's own way would write some as if they were bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_escape_code(ord(character)) for character in error.object[error.start : error.end]), error.end


# The name of the error handler, for stdout.
ESCAPE_UNENCODABLE = "tfbundle-escape"
codecs.register_error(ESCAPE_UNENCODABLE, _escape_unencodable)


def unescape_name(text: str) -> str:
    """The name that is printed as ``text``."""

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
    """A message without what would break or garble its line."""
    return "".join(character if character == "\\" else _escape(character) for character in text)


def format_size(size: int) -> str:
    """A number of bytes for people, such as ``"1.5 MiB"``."""
    if size < 1024:
        return f"{size} B"
    value, units = size / 1024, iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = next(units)
    while value >= 1023.95:  # What would be rounded to 1024.0 is one of the next unit.
        value, unit = value / 1024, next(units)
    return f"{value:.1f} {unit}"


def format_shape(shape: Sequence[int]) -> str:
    """A shape without spaces, so that it stays one column to every tool."""
    return f"[{','.join(map(str, shape))}]"


def count_of(number: int, thing: str) -> str:
    """``"1 tensor"``, ``"2,000 tensors"``, ``"1 series"``."""
    return f"{number:,} {thing}{'' if number == 1 or thing.endswith('s') else 's'}"


def print_line(text: str = "") -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def print_json(value: Any) -> None:
    """One JSON document on a line; a byte of a name that is not UTF-8 appears as a surrogate, U+DC80 to U+DCFF."""
    text = json.dumps(value, allow_nan=False)
    # Where Python does not buffer, a write may be cut short, and only the next one tells that the reader left.
    for start in range(0, len(text), _PIPE_SIZE):
        sys.stdout.write(text[start : start + _PIPE_SIZE])
    print_line()


def json_number(value: Any) -> Any:
    """A number, of numpy or not, for JSON, which lacks some: complex ones are pairs, and NaN and infinities strings, as
    protobuf's JSON has them.
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, complex):
        return [json_number(value.real), json_number(value.imag)]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def print_fact(label: str, value: str) -> None:
    """A line with a fact behind its label."""
    print_line(f"{label:<{_LABEL_WIDTH}} {value}")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> None:
    """A table; the columns called ``numbers`` are aligned to the right."""
    if sys.stdout.isatty() and len(rows) <= _MOST_RICH_ROWS:
        _print_rich(headers, rows, numbers)
    else:
        _print_plain(headers, rows, numbers)


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = _console(stderr=False)

    def tabulate(first: int) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for header in headers[first:]:
            table.add_column(justify="right" if header in numbers else "left", no_wrap=True)
        table.add_row(*headers[first:], style="bold")
        for row in rows:
            table.add_row(*map(Text, row[first:]))  # As text, for a name may look like markup.
        return table

    table = tabulate(0)
    if console.measure(table, options=console.options.update(width=_NO_EDGE)).maximum <= console.width:
        console.print(table)
        return
    # Too wide: the name has a line of its own, and what is known of it stands below. What the terminal breaks by itself
    # can be copied whole, as what is broken here could not. A first column without a header is a mark before the name.
    names = 1 if headers[0] else 2
    width = max((len(row[0]) for row in rows), default=0)
    below = console.render_lines(tabulate(names), console.options.update(width=_NO_EDGE), pad=False)
    for number, (row, line) in enumerate(zip((headers, *rows), below, strict=True)):
        facts = "".join(part.text for part in line).rstrip(" ")
        name = row[0] if names == 1 else f"{row[0]:<{width}}  {row[1]}"
        console.print(Text(f"{name}\n    {facts}"), style="" if number else "bold", soft_wrap=True)


def _print_plain(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    columns = list(zip(headers, *rows, strict=True))
    widths = [
        max((len(cell) for cell in column if len(cell) <= _WIDEST_COLUMN), default=_WIDEST_COLUMN) for column in columns
    ]
    right = [header in numbers for header in headers]
    for row in (headers, *rows):
        cells = [
            cell.rjust(width) if align else cell.ljust(width)
            for cell, width, align in zip(row, widths, right, strict=True)
        ]
        print_line("  ".join(cells).rstrip(" "))


@contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """A function to call with the bytes done and the bytes to do; ``None`` where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, markup=False, emoji=False)
