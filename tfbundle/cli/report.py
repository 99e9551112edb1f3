"""``tfbundle report``: one self-contained HTML page about a checkpoint, a model, a run, or a folder of these."""

from __future__ import annotations

from typing import Any

import click

from tfbundle.cli.arguments import path_argument
from tfbundle.cli.choices import refusals
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_bytes, print_line, print_warning, progress_bar


@click.command(short_help="Write one HTML page about PATH.")
@path_argument
@click.option("-o", "--out", type=PATH, required=True, help="The HTML file to write, or - for stdout.")
@click.option(
    "--diff", "other", type=PATH, metavar="PATH", help="Also show what changes from the first PATH to this one."
)
@click.option("--no-statistics", is_flag=True, help="Do not summarize the values; they are verified nevertheless.")
@click.option("--overwrite", is_flag=True, help="Replace the output even if it is a file of a checkpoint or run.")
def command(path: str, out: str, other: str | None, no_statistics: bool, overwrite: bool) -> None:
    """Write one HTML page about PATH: findings, tensors with statistics, curves, graphs.

    PATH may be a checkpoint, a SavedModel, a graph, an event file, or a folder of these. The page needs no server and
    loads nothing from a network. Damage that is found is shown in the page; the exit status is then 0 nevertheless.

    \b
    tfbundle report run/model.ckpt-1000 -o report.html
    tfbundle report run/ -o report.html --no-statistics
    tfbundle report run/model.ckpt-1000 -o report.html --diff run/model.ckpt-2000
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.reporting.report import render_report, report
    from tfbundle.storage.replacing import is_stdout

    choices: Any = {"other": other, "statistics": not no_statistics}
    with refusals(), progress_bar("reading") as progress:
        if out == "-":
            print_bytes(render_report(path, progress=progress, **choices))
            return
        written = report(path, out, overwrite=overwrite, progress=progress, **choices)
    (print_warning if is_stdout(out) else print_line)(f"written: {written}")
