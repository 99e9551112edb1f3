"""``tfbundle events aggregate`` and ``hparams``: tables over runs, printed or written as CSV, JSON Lines or Parquet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

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
from tfbundle.cli.output import meant_name, print_json, print_line, print_table, print_warning
from tfbundle.cli.table_files import TableFile, format_option, overwrite_option
from tfbundle.printable import count_of, escape_name

if TYPE_CHECKING:
    from tfbundle.events.column_table import ColumnTable
    from tfbundle.events.run import Run

# Columns of times, in seconds since 1970.
_TIMES = ("start_time", "end_time")
_OPTIONS = (
    click.option("-o", "--out", help="Write the table to this file, or to stdout for -."),
    format_option,
    overwrite_option,
)


def _table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(short_help="Average scalars over groups of runs.")
@logdir_argument
@click.option(
    "--group",
    required=True,
    metavar="REGEX",
    help="A pattern that the whole name of a run must match; its parenthesized part is the name of the group.",
)
@run_option
@tag_option
@purge_option
@_table_options
@salvage_option
@json_option
def aggregate(logdir: str, group: str, **options: Any) -> None:
    """Average scalars over groups of runs, such as runs with several seeds.

    The table has one row for each group, tag and step, with the mean, standard deviation and count of the values. count
    is the number of runs with a value at the step, and std is the sample standard deviation (n - 1). NaN values are
    ignored.

    \b
    tfbundle events aggregate logs --group 'run_(.*)_seed\\d+' --tag loss
    tfbundle events aggregate logs --group '(.*)/seed\\d+' -o means.parquet
    """  # noqa: D301 - click does not wrap a paragraph that begins with this character on its own line.
    from tfbundle.events.over_runs import aggregate_runs

    _answer(logdir, lambda runs, tags: aggregate_runs(runs, group, tags), **options)


@click.command(short_help="List hyperparameters and last metrics, one row for each run.")
@logdir_argument
@run_option
@tag_option
@purge_option
@_table_options
@salvage_option
@json_option
def hparams(logdir: str, **options: Any) -> None:
    """List hyperparameters and the last values of metrics, one row for each run.

    The metrics are those that the experiment lists, or all scalars if it lists none; use --tag to choose others. A
    metric of a nested run is named after the run and the tag, such as validation/epoch_loss.
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
    from tfbundle.storage.locations import locate

    if out is None and format is not None:
        raise click.UsageError(f"--format {format} needs an output file; add -o FILE, or -o - for stdout")
    file = None if out is None else TableFile(out, format, as_json=as_json)
    opened = open_log(logdir, runs, purge=purge, salvage=salvage)
    with opened.log:
        with refusals():
            table = make(opened.runs, [meant_name(tag) for tag in tags] or None)
        if file is not None:
            sources = [locate(path) for run in opened.runs for path in run.paths]
            file.write(list(table), table.rows(), table.to_arrow, sources=sources, overwrite=overwrite)
        if file is not None and as_json:
            print_json({"path": file.out, "format": file.format, "count": table.row_count})
        elif as_json:
            print_json({"path": logdir, "columns": list(table), "rows": [list(row) for row in table.rows()]})
        elif file is None:
            _print(table)
            if not table.row_count:
                print_warning(f"{escape_name(logdir)} has no such data; 'tfbundle events list' lists its contents")
        elif not file.is_stdout:
            print_line(f"{escape_name(file.out)}: {count_of(table.row_count, 'row')}")
        report_troubles(opened, salvage=salvage)


def _print(table: ColumnTable) -> None:
    numbers = [escape_name(name) for name in table if not table[name].dtype.hasobject and name not in _TIMES]
    rows = [[_cell(name, value) for name, value in zip(table, row, strict=True)] for row in table.rows()]
    print_table([escape_name(name) for name in table], rows, numbers)


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:  # NaN is not equal to itself.
        return "-"
    if name in _TIMES:
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    if name == "group" and isinstance(value, str):
        from tfbundle.events.hparams_table import shorten_group

        return escape_name(shorten_group(value))
    return f"{value:.6g}" if isinstance(value, float) else escape_name(str(value))
