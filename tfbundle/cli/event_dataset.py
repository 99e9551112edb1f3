"""``tfbundle events dataset``: the scalars of many runs as a Parquet data set that grows with them."""

from __future__ import annotations

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.choices import refusals
from tfbundle.cli.engine_options import check_engine, dask_option, workers_option
from tfbundle.cli.event_log import logdir_argument, run_option, tag_option
from tfbundle.cli.output import meant_name, print_json, print_line, print_warning, progress_bar
from tfbundle.cli.wording import for_command
from tfbundle.printable import count_of, escape_name

_MOST_TROUBLES = 20


@click.command()
@logdir_argument
@click.option(
    "-o", "--out", metavar="DIR", required=True, help="The folder of the data set, or its URL in an object store."
)
@click.option(
    "--partition",
    type=click.Choice(["run", "sweep"]),
    default="run",
    show_default=True,
    help="Make one partition for each run, or for each folder of LOGDIR.",
)
@run_option
@tag_option
@workers_option
@dask_option
@json_option
def dataset(
    logdir: str,
    out: str,
    partition: str,
    runs: tuple[str, ...],
    tags: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
) -> None:
    """Write the scalars of any number of runs to a Parquet data set.

    The columns are run, tag, step, wall_time and value. If DIR is such a data set already, only new data is read, and
    runs that no longer exist are removed. The exit status is 1 if a file is damaged; the records before the damage are
    written.

    \b
    tfbundle events dataset logs -o scalars --workers 4
    tfbundle events dataset s3://bucket/logs -o scalars --partition sweep --dask tcp://host:8786
    """  # noqa: D301 - click does not wrap a paragraph that begins with this character on its own line.
    from tfbundle.fleet.dataset import export_events

    check_engine(workers, scheduler)
    with refusals(), progress_bar("reading") as progress:
        done = export_events(
            logdir,
            out,
            tags=list(map(meant_name, tags)) or None,
            runs=list(map(meant_name, runs)) or None,
            partition=partition,
            workers=workers,
            scheduler=scheduler,
            progress=progress,
        )
    if as_json:
        rows = [row._asdict() for row in done.troubles]
        print_json({**done._asdict(), "troubles": rows})
    else:
        news = [count_of(done.runs_read, "run") + " read"]
        news += [count_of(done.runs_removed, "run") + " removed"] if done.runs_removed else []
        print_line(
            f"{escape_name(out)}: {count_of(done.points, 'point')} of {count_of(done.runs, 'run')} ({', '.join(news)})"
        )
        for row in done.troubles[:_MOST_TROUBLES]:
            run = "" if row.run is None else f"run '{escape_name(row.run)}': "
            print_warning(run + for_command(row.message))
        if len(done.troubles) > _MOST_TROUBLES:
            print_warning(f"{len(done.troubles) - _MOST_TROUBLES:,} more; --json lists all of them")
    if done.troubles:
        raise click.exceptions.Exit(1)
