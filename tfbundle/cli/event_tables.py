"""``tfbundle events aggregate`` and ``hparams``: tables over runs, printed or written as CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.choices import refusals
from tfbundle.cli.event_log import (
    logdir_argument,
    open_log,
    purge_option,
    report_troubles,
    run_option,
    salvage_option,
    tag_option,
)
from tfbundle.cli.output import (
    ESCAPE_UNENCODABLE,
    count_of,
    escape_name,
    json_number,
    meant_name,
    print_json,
    print_line,
    print_table,
    print_warning,
)

if TYPE_CHECKING:
    from tfbundle.events.column_table import ColumnTable
    from tfbundle.events.run import Run

# Columns that have seconds since 1970.
_TIMES = ("start_time", "end_time")
_FORMATS = ("csv", "jsonl", "parquet")
_OPTIONS = (
    click.option("-o", "--out", help="Write the table to this file; - is stdout."),
    click.option("--format", type=click.Choice(_FORMATS), help="By default what the suffix of the file says."),
    click.option("--overwrite", is_flag=True, help="Replace the file even if a checkpoint, a graph or a run owns it."),
)


def _table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@logdir_argument
@click.option(
    "--group",
    required=True,
    metavar="REGEX",
    help="What the whole name of a run has to match; parentheses in it are the name of the run's group.",
)
@run_option
@tag_option
@purge_option
@_table_options
@salvage_option
@json_option
def aggregate(logdir: str, group: str, **options: Any) -> None:
    """Mean, standard deviation and count by step over runs, such as those of several seeds.

    Of each group of runs, tag and step there is a row. count says how many runs have a number at the step, and std is
    that of a sample (of n - 1); NaN counts as no number.

    \b
    tfbundle events aggregate logs --group 'run_(.*)_seed\\d+' --tag loss
    tfbundle events aggregate logs --group '(.*)/seed\\d+' -o means.parquet
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.events.over_runs import aggregate_runs

    _answer(logdir, lambda runs, tags: aggregate_runs(runs, group, tags), **options)


@click.command()
@logdir_argument
@run_option
@tag_option
@purge_option
@_table_options
@salvage_option
@json_option
def hparams(logdir: str, **options: Any) -> None:
    """Hyperparameters and the last values of metrics, a row for each run that has some.

    Metrics are those that the experiment lists, or else all scalars; --tag chooses others. A metric of a run below is
    called as that run and its tag, such as validation/epoch_loss.
    """
    from tfbundle.events.hparams_table import hparams_table

    _answer(logdir, hparams_table, **options)


def _answer(
    logdir: str,
    make: Callable[[list[Run], list[str] | None], ColumnTable],
    *,
    runs: tuple[str, ...],
    tags: tuple[str, ...],
    purge: bool,
    out: str | None,
    format: str | None,
    overwrite: bool,
    salvage: bool,
    as_json: bool,
) -> None:
    format = _format_of(out, format, as_json=as_json)
    log, found = open_log(logdir, runs, purge=purge, salvage=salvage)
    with log:
        with refusals():
            table = make(found, [meant_name(tag) for tag in tags] or None)
            if out is not None and format is not None:
                _write(out, format, table, overwrite=overwrite)
        if as_json and out is not None:
            print_json({"path": out, "format": format, "count": table.row_count})
        elif as_json:
            print_json({"path": logdir, "columns": list(table), "rows": [list(row) for row in table.rows()]})
        elif out is None:
            _print(table)
            if not table.row_count:
                print_warning(
                    f"{escape_name(logdir)} has nothing of this kind; 'tfbundle events list' says what it has"
                )
        elif out != "-":
            print_line(f"{escape_name(out)}: {count_of(table.row_count, 'row')}")
        report_troubles(log, found, salvage=salvage)


def _format_of(out: str | None, format: str | None, *, as_json: bool) -> str | None:
    """Return in which format the table is to be written, or ``None`` where it is to be printed."""
    if out is None:
        if format is not None:
            raise click.UsageError(f"--format {format} is that of a file; add -o FILE, or -o - for stdout")
        return None
    format = format or out.rpartition(".")[2].lower()
    if format not in _FORMATS:
        raise click.UsageError(f"'{out}' does not say which format; add --format csv, jsonl or parquet")
    if out == "-" and (format == "parquet" or as_json):
        raise click.UsageError(f"{'--json' if as_json else 'Parquet'} needs a file to write to, not stdout")
    return format


def _print(table: ColumnTable) -> None:
    numbers = [escape_name(name) for name in table if not table[name].dtype.hasobject and name not in _TIMES]
    rows = [[_cell(name, value) for name, value in zip(table, row, strict=True)] for row in table.rows()]
    print_table([escape_name(name) for name in table], rows, numbers)


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:  # NaN is not what it is.
        return "-"
    if name in _TIMES:
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    return f"{value:.6g}" if isinstance(value, float) else escape_name(str(value))


def _write(out: str, format: str, table: ColumnTable, *, overwrite: bool) -> None:
    from tfbundle.checkpoint.find.owned import check_replaceable
    from tfbundle.storage.locations import locate
    from tfbundle.storage.replacing import replacement

    if out == "-":
        _write_text(sys.stdout, format, table)
        return
    check_replaceable(locate(out), overwrite=overwrite)
    with replacement(out) as file:
        if format == "parquet":
            arrow = table.to_arrow()
            import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]

            pyarrow.parquet.write_table(arrow, file)
            return
        text = io.TextIOWrapper(file, encoding="utf-8", errors=ESCAPE_UNENCODABLE, newline="")
        _write_text(text, format, table)
        text.detach()


def _write_text(file: TextIO, format: str, table: ColumnTable) -> None:
    if format == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(table.rows())
        return
    names = list(table)
    for row in table.rows():
        cells = {
            name: json_number(value) if isinstance(value, float) else value
            for name, value in zip(names, row, strict=True)
        }
        file.write(json.dumps(cells, allow_nan=False) + "\n")
