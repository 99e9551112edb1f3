"""``tfbundle inventory``: all checkpoints below a folder, from their indexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.completion import PATH
from tfbundle.cli.engine_options import check_engine, dask_option, workers_option
from tfbundle.cli.output import print_json, print_line, print_table
from tfbundle.cli.table_files import TableFile, format_option, overwrite_option
from tfbundle.cli.wording import for_command
from tfbundle.printable import count_of, escape_name, format_size, one_line

if TYPE_CHECKING:
    from tfbundle.fleet.inventory import InventoryRow

_HEADERS = ("checkpoint", "step", "tensors", "parameters", "size", "dtypes", "complete")


@click.command()
@click.argument("root", type=PATH)
@click.option("-o", "--out", help="Write the table to this file, or to stdout for -.")
@format_option
@overwrite_option
@workers_option
@dask_option
@json_option
def command(
    root: str,
    out: str | None,
    format: str | None,
    overwrite: bool,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """List all checkpoints in ROOT and its subfolders.

    Only indexes and sizes of files are read, not values; 'tfbundle verify' checks every byte. The exit status is 1 if a
    checkpoint is damaged or incomplete.

    \b
    tfbundle inventory runs
    tfbundle inventory gs://bucket/runs -o checkpoints.parquet --workers 4
    """  # noqa: D301 - click does not wrap a paragraph that begins with this character on its own line.
    from tfbundle.fleet.inventory import inventory_rows

    check_engine(workers, scheduler)
    if out is None and format is not None:
        raise click.UsageError("--format needs --out")
    file = TableFile(out, format, as_json=as_json) if out is not None else None
    rows = list(inventory_rows(root, workers=workers, scheduler=scheduler))
    if file is not None:
        _write(file, rows, overwrite=overwrite)
        if as_json:
            print_json({"path": out, "format": file.format, "count": len(rows)})
        elif not file.is_stdout:
            print_line(f"{escape_name(file.out)}: {count_of(len(rows), 'checkpoint')}")
    elif as_json:
        print_json({"path": root, "checkpoints": [{**row._asdict(), "findings": _findings(row)} for row in rows]})
    else:
        if rows:
            print_table(_HEADERS, [_cells(row) for row in rows], numbers=("step", "tensors", "parameters", "size"))
        print_line(f"{count_of(len(rows), 'checkpoint')}, {format_size(sum(row.bytes for row in rows))}")
    if any(row.findings for row in rows):
        raise click.exceptions.Exit(1)


def _write(file: TableFile, rows: Sequence[InventoryRow], *, overwrite: bool) -> None:
    from tfbundle.fleet.inventory import InventoryRow, to_table

    def cells() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            lists: tuple[Any, Any] = row.dtypes, _findings(row)
            if file.format == "csv":  # Which has no lists.
                lists = (
                    None if row.dtypes is None else " ".join(row.dtypes),
                    "; ".join(f"{kind}: {message}" for kind, message in row.findings),
                )
            yield (*row[:5], lists[0], row.complete, lists[1])

    file.write(InventoryRow._fields, cells(), lambda: to_table(rows), sources=(), overwrite=overwrite)


def _findings(row: InventoryRow) -> list[dict[str, str]]:
    return [{"kind": kind, "message": message} for kind, message in row.findings]


def _cells(row: InventoryRow) -> tuple[str, ...]:
    state = "yes" if row.complete else one_line("; ".join(for_command(message) for _, message in row.findings))
    return (
        escape_name(row.path),
        "-" if row.step is None else f"{row.step}",
        "?" if row.tensors is None else f"{row.tensors:,}",
        "?" if row.parameters is None else f"{row.parameters:,}",
        format_size(row.bytes),
        ",".join(row.dtypes or ()) or "-",
        state if row.complete else f"no: {state}",
    )
