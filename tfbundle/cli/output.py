r"""The output of commands: lines, tables, sizes, names, JSON and progress.

Everything that is printed goes through ``print_line``, ``print_table``, ``print_json`` or ``print_warning``. What comes
from a file or from its name may hold any bytes, and reaches no terminal as it is: names are printed with
``escape_name``, messages with ``one_line``, and whatever else does not show is escaped by these functions.
``tfbundle.printable`` defines these forms.

JSON is one document on a line, an object whose ``schema`` names the command and the version of its fields
(``tfbundle.cli.schemas`` describes them). NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity",
as in protobuf's JSON; a complex number is a pair; a byte of a name that is not UTF-8 is a surrogate, U+DC80 to U+DCFF.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.schemas import schema_of
from tfbundle.printable import escape_code, escape_name, one_line, unescape_name
from tfbundle.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

# A longer cell does not widen its column for the other rows, whose columns would move out of sight.
_WIDEST_COLUMN = 160
# Wider than the names in any drawing, so that none is broken.
_WIDEST_DRAWING = 1 << 20
_GAP = "  "
_INDENT = "    "
_PIPE_SIZE = 1 << 12
_LABEL_WIDTH = 12


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Return what replaces characters that an encoding lacks; Python would write some as if they were bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(escape_code(ord(character)) for character in error.object[error.start : error.end]), error.end


# The name of the error handler, for stdout.
ESCAPE_UNENCODABLE = "tfbundle-escape"
codecs.register_error(ESCAPE_UNENCODABLE, _escape_unencodable)


def meant_name(text: str) -> str:
    """Return the name or pattern that the user typed: the name with this escaped form if there is one, or the text."""
    name = unescape_name(text)
    return name if escape_name(name) == text else text


def print_line(text: str = "") -> None:
    """Print a line on stdout; unprintable characters are escaped."""
    _write(_printable(text) + "\n")


def print_as_is(text: str) -> None:
    """Print text for a program; on a terminal, it must not contain unescaped text from a file."""
    _write(text)


def print_bytes(data: bytes) -> None:
    """Print bytes for a program, in its encoding."""
    flush()
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}") from None


def print_lines(text: str) -> None:
    """Print several lines, such as a drawing; unprintable characters other than line ends are escaped."""
    _write("\n".join(map(_printable, text.split("\n"))) + "\n")


def print_coloured(text: str) -> None:
    """Print a drawing with terminal codes; it must not contain unescaped text from a file."""
    _write(text + "\n")


def print_warning(text: str) -> None:
    """Print a line on stderr, in addition to the output."""
    with suppress(OSError):  # If stderr is closed, the exit status must suffice.
        click.echo(one_line(text), err=True)


def _printable(text: str) -> str:
    return text if text.isprintable() else one_line(text)


class OutputError(click.ClickException):
    """The output could not be written, for example because the disk is full."""


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}") from None


def flush() -> None:
    """Write the buffered output."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}") from None


def print_json(value: Mapping[str, Any], *, document: str | None = None) -> None:
    """Print one JSON document on a line, which begins with its schema.

    ``document`` is its name in ``tfbundle.cli.schemas``, if it is not that of the running command. Numbers may be of
    numpy types; values that JSON lacks are converted by ``json_number``.
    """
    whole = {"schema": schema_of(document or _command_name()), **value}
    try:
        text = json.dumps(whole, allow_nan=False, default=json_number)
    except ValueError:
        text = json.dumps(_finite(whole), allow_nan=False, default=json_number)
    # Without buffering, a write may be incomplete, and only the next one fails if the reader has closed the pipe.
    for start in range(0, len(text), _PIPE_SIZE):
        _write(text[start : start + _PIPE_SIZE])
    _write("\n")


def _command_name() -> str:
    """Return the name of the running command, such as ``ls`` or ``events-show``."""
    context = click.get_current_context()
    names = []
    while context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent
    return "-".join(reversed(names))


def json_number(value: Any) -> Any:
    """Return a number, of numpy or not, for JSON: a complex one as a pair, NaN and infinities as strings."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, complex):
        return [json_number(value.real), json_number(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, float | int | str | list):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _finite(value: Any) -> Any:
    """Return ``value`` with every number in it converted by ``json_number``."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return json_number(value) if isinstance(value, float) else value


def print_fact(label: str, value: str) -> None:
    """Print a line with a label and a fact."""
    print_line(f"{label:<{_LABEL_WIDTH}} {value}")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns named in ``numbers`` are aligned to the right.

    On a terminal that is too narrow, the first column has a separate line, and the others follow below it in as many
    lines as necessary. No cell is broken, so that each can be copied whole; a first column without a header is a mark
    before the name. In a pipe, every row is one line.
    """
    _print_rows(headers, [(None, rows)], numbers)


def print_groups(
    headers: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[str]]]], numbers: Sequence[str] = ()
) -> None:
    """Print a table whose rows are indented below lines with the names of their groups."""
    indented = [(name, [(f"{_GAP}{row[0]}", *row[1:]) for row in rows]) for name, rows in groups]
    _print_rows(headers, indented, numbers)


def _print_rows(
    headers: Sequence[str], groups: Sequence[tuple[str | None, Sequence[Sequence[str]]]], numbers: Sequence[str]
) -> None:
    head = [_printable(cell) for cell in headers]
    shown = [(name, [[_printable(cell) for cell in row] for row in rows]) for name, rows in groups]
    lines = [head, *(line for _, rows in shown for line in rows)]
    widths = [
        max((width for width in map(cell_width, column) if width <= _WIDEST_COLUMN), default=0)
        for column in zip(*lines, strict=True)
    ]
    right = [header in numbers for header in headers]
    bands = [range(len(headers))]
    if sys.stdout.isatty():
        edge = terminal_width()
        if max(_line_width(line, widths) for line in lines) > edge:
            bands = _fold(widths, 1 if headers[0] else 2, edge)
    _print_line_of(head, bands, widths, right, is_header=True)
    for name, rows in shown:
        if name is not None:
            print_line(name)
        for line in rows:
            _print_line_of(line, bands, widths, right, is_header=False)


def _print_line_of(
    line: Sequence[str], bands: Sequence[range], widths: Sequence[int], right: Sequence[bool], *, is_header: bool
) -> None:
    for band in bands:
        cells = [_align(line[place], widths[place], right=right[place]) for place in band]
        text = ((_INDENT if band.start else "") + _GAP.join(cells)).rstrip(" ")
        if text or band.stop == 1:
            _print_row(text, is_header=is_header)


def cell_width(text: str) -> int:
    """Return the width of ``text`` in terminal columns: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _align(text: str, width: int, *, right: bool) -> str:
    padding = " " * (width - cell_width(text))
    return padding + text if right else text + padding


def _line_width(line: Sequence[str], widths: Sequence[int]) -> int:
    return sum(max(cell_width(cell), width) for cell, width in zip(line, widths, strict=True)) + len(_GAP) * (
        len(line) - 1
    )


def _fold(widths: Sequence[int], names: int, edge: int) -> list[range]:
    """Return the columns of each line of a row: first ``names`` columns, then as many as fit."""
    bands, start, used = [range(names)], names, len(_INDENT)
    for place in range(names, len(widths)):
        if place > start and used + widths[place] > edge:
            bands.append(range(start, place))
            start, used = place, len(_INDENT)
        used += widths[place] + len(_GAP)
    return [*bands, range(start, len(widths))]


def _print_row(text: str, *, is_header: bool) -> None:
    if is_header and sys.stdout.isatty():
        from rich.text import Text

        _console(stderr=False).print(Text(text, style="bold"), soft_wrap=True)
    else:
        _write(text + "\n")


def terminal_width() -> int:
    """Return the number of columns of the terminal, or of COLUMNS if this is set."""
    return _console(stderr=False).width


def render(drawing: object) -> str:
    """Return the text of a rich object, such as a tree, without colours, for ``print_lines``; no line is broken."""
    from rich.console import Console

    console = Console(
        file=sys.stdout, width=_WIDEST_DRAWING, highlight=False, markup=False, emoji=False, color_system=None
    )
    with console.capture() as capture:
        console.print(drawing)
    return capture.get().rstrip("\n")


@contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """Yield a function to call with the bytes done and the total bytes; ``None`` if stderr is not a terminal."""
    if sys.stderr is None or not sys.stderr.isatty() or _is_plain_terminal():  # Without, the parent process closed it.
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


def use_colour() -> bool:
    """Return whether stdout is a terminal that shows colours, and they are not disabled (NO_COLOR, TERM=dumb)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not _is_plain_terminal()


def _is_plain_terminal() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(
        file=sys.stderr if stderr else sys.stdout,
        highlight=False,
        markup=False,
        emoji=False,
        color_system="auto" if stderr or use_colour() else None,
    )
