"""Tables that a command writes to a file or to stdout: CSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.output import ESCAPE_UNENCODABLE, json_number, print_as_is
from tfbundle.cli.wording import for_command
from tfbundle.errors import TfBundleError
from tfbundle.printable import escape_name

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from tfbundle.storage.base import Location

FORMATS = ("csv", "jsonl", "parquet")

format_option = click.option("--format", type=click.Choice(FORMATS), help="The format.  [default: by the suffix]")
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace the file even if it belongs to a checkpoint, a graph or a run."
)


class TableFile:
    """The destination of a table: the file ``out``, or stdout for ``-``, in a ``format``."""

    def __init__(self, out: str, format: str | None, *, as_json: bool) -> None:
        """Note the destination; raises a usage error if the format is not known, or cannot be written there."""
        from tfbundle.storage.replacing import is_stdout, is_terminal

        if not out:
            raise click.UsageError("--out is empty; name a file to write to, or - for stdout")
        self.out = out
        self.format = format or out.rpartition(".")[2].lower()
        if self.format not in FORMATS:
            raise click.UsageError(f"the suffix of '{out}' is not a table format; add --format csv, jsonl or parquet")
        self.is_stdout = out == "-" or is_stdout(out)
        if self.is_stdout and as_json:
            raise click.UsageError("--json needs a file to write to, not stdout")
        self._is_shown = sys.stdout.isatty() if out == "-" else is_terminal(out)
        if self.format == "parquet" and (out == "-" or self._is_shown):
            raise click.UsageError("Parquet needs a file to write to, not stdout or a terminal")

    def write(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        to_arrow: Callable[[], pyarrow.Table],
        *,
        sources: Iterable[Location],
        overwrite: bool,
    ) -> None:
        """Write the rows, or for Parquet the result of ``to_arrow``; ``sources`` are the files that were read."""
        from tfbundle.checkpoint.find.owned import check_output
        from tfbundle.storage.locations import locate
        from tfbundle.storage.replacing import replacement

        if self.out == "-":
            self._write_text(_Stdout(), columns, rows)
            return
        try:
            check_output(locate(self.out), overwrite=overwrite, sources=sources)
            with replacement(self.out) as file:
                if self.format == "parquet":
                    table = to_arrow()
                    import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]

                    pyarrow.parquet.write_table(table, file)
                else:
                    text = io.TextIOWrapper(file, encoding="utf-8", errors=ESCAPE_UNENCODABLE, newline="")
                    self._write_text(text, columns, rows)
                    text.detach()
        except BrokenPipeError:
            if self.is_stdout:
                raise
            raise click.ClickException(f"{self.out}: the reader closed it before everything was written") from None
        except ValueError as error:
            if isinstance(error, TfBundleError):
                raise
            raise click.ClickException(for_command(str(error))) from None

    def _write_text(self, file: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        if self.format == "csv":
            writer = csv.writer(file, lineterminator="\n")
            table = chain([columns], rows)
            # Text is never written to a terminal unescaped.
            writer.writerows(map(_escaped, table) if self._is_shown else table)
            return
        for row in rows:
            cells = {name: _json_cell(value) for name, value in zip(columns, row, strict=True)}
            file.write(json.dumps(cells, allow_nan=False) + "\n")


def _escaped(row: Sequence[Any]) -> list[Any]:
    return [escape_name(cell) if isinstance(cell, str) else cell for cell in row]


class _Stdout:
    """Stdout as a file, with the same errors as everything else that is printed."""

    def write(self, text: str) -> None:
        print_as_is(text)


def _json_cell(value: Any) -> Any:
    return json_number(value) if isinstance(value, float | complex) else value
