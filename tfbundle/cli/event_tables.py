"""``tfbundle events aggregate`` and ``hparams``: tables over runs, printed or written as CSV, JSON lines or Parquet."""

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
from tfbundle.cli.output import (
    count_of,
    escape_name,
    meant_name,
    print_json,
    print_line,
    print_table,
    print_warning,
)
from tfbundle.cli.table_files import TableFile, format_option, overwrite_option

if TYPE_CHECKING:
    from tfbundle.events.column_table import ColumnTable
    from tfbundle.events.run import Run

# Columns that have seconds since 1970.
_TIMES = ("start_time", "end_time")
_OPTIONS = (
    click.option("-o", "--out", help="Write the table to this file; - is stdout."),
    format_option,
    overwrite_option,
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
    from tfbundle.storage.locations import locate

    if out is None and format is not None:
        raise click.UsageError(f"--format {format} is that of a file; add -o FILE, or -o - for stdout")
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
                print_warning(
                    f"{escape_name(logdir)} has nothing of this kind; 'tfbundle events list' says what it has"
                )
        elif not file.is_stdout:
            print_line(f"{escape_name(file.out)}: {count_of(table.row_count, 'row')}")
        report_troubles(opened, salvage=salvage)


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
