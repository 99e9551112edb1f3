"""What objects show in a notebook: a heading, facts and a table, as HTML without scripts.

A class returns ``render(...)`` from ``_repr_html_``. Names and messages come from files, so every text is escaped, cut
at some length, and shown in one direction of writing; the whole is at most ``LARGEST`` bytes. Colours are those of the
page around it, so that light and dark themes both suit.

Views are made of what is known without reading data. Where a file is damaged or closed, the text form is shown instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from html import escape
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from tfbundle.errors import TfBundleError
from tfbundle.printable import one_line

LARGEST = 30_000
# So many rows of a table are shown, each with cells of so many characters.
MOST_ROWS = 20
_LONGEST = 120
_LONGEST_TEXT = 2000

T = TypeVar("T")

_TABLE = 'style="border-collapse:collapse;margin:.4em 0;font-size:90%"'
_CELL = "padding:.15em .7em;text-align:{};border-bottom:1px solid rgba(128,128,128,.35);font-family:monospace"


class Table(NamedTuple):
    """Columns and rows, of which the first are shown; ``total`` is the number of all rows, and ``what`` is a row."""

    columns: Sequence[str]
    rows: Iterable[Sequence[object]]
    total: int
    what: str


def render(title: str, facts: Mapping[str, object], *tables: Table) -> str:
    """Return a view: a title, facts by name (those that are ``None`` or empty are left out), and tables."""
    head = f"<strong>{_text(title)}</strong>"
    shown = {name: value for name, value in facts.items() if value not in (None, "", ())}
    lines = "".join(
        f'<span style="opacity:.75">{_text(name)}</span> {_text(value)}&emsp;' for name, value in shown.items()
    )
    parts = [f"<div>{head}<div>{lines}</div>"]
    left = LARGEST - len(parts[0]) - len("</div>")
    for table in tables:
        part = _render_table(table, left)
        parts.append(part)
        left -= len(part)
    return "".join([*parts, "</div>"])


def safe_view(method: Callable[[T], str]) -> Callable[[T], str]:
    """Return ``method`` with the text form of the object where its file is damaged, missing or closed."""

    @wraps(method)
    def view(self: T) -> str:
        try:
            return method(self)
        except (TfBundleError, OSError, ValueError):
            return f"<pre>{_text(repr(self), _LONGEST_TEXT)}</pre>"

    return view


def _render_table(table: Table, room: int) -> str:
    if not table.total:
        return ""
    rows = [list(row) for row in islice(table.rows, MOST_ROWS)]
    sides = [_side([row[place] for row in rows]) for place in range(len(table.columns))]
    head = "".join(
        f'<th style="{_CELL.format(side)}">{_text(name)}</th>' for name, side in zip(table.columns, sides, strict=True)
    )
    text = f"<table {_TABLE}><thead><tr>{head}</tr></thead><tbody>"
    end = f"</tbody></table><div>and {{:,}} more {_text(table.what)}{{}}</div>"
    if len(text) + len(end) + 40 > room:
        return ""
    shown = 0
    for row in rows:
        cells = "".join(
            f'<td style="{_CELL.format(side)}">{_text(value)}</td>' for value, side in zip(row, sides, strict=True)
        )
        if len(text) + len(cells) + len(end) + 40 > room:
            break
        text += f"<tr>{cells}</tr>"
        shown += 1
    rest = table.total - shown
    return text + (end.format(rest, "" if rest == 1 else "s") if rest else "</tbody></table>")


def _side(cells: Sequence[object]) -> str:
    """Return where the cells of a column are aligned: numbers, of which some may be missing, at the right."""
    stated = [cell for cell in cells if cell not in ("", None)]
    return "right" if stated and all(isinstance(cell, int | float) for cell in stated) else "left"


def _text(value: object, longest: int = _LONGEST) -> str:
    """Return a value as text in HTML, in ASCII, so that its characters are its bytes."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return escape(one_line(text)).encode("ascii", "xmlcharrefreplace").decode()


def view_of(shape: Sequence[Any] | None) -> str:
    """Return a shape, or ``?`` if its rank is not known."""
    return "?" if shape is None else f"[{', '.join('?' if length is None else str(length) for length in shape)}]"
