"""The options that choose where work on many files runs."""

from __future__ import annotations

import click

workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="The number of processes.  [default: this one alone]"
)
dask_option = click.option(
    "--dask", "scheduler", metavar="ADDRESS", help="Run on an existing dask cluster, such as tcp://host:8786."
)


def check_engine(workers: int | None, scheduler: str | None) -> None:
    """Raise a usage error if both options are given."""
    if workers is not None and scheduler is not None:
        raise click.UsageError("--workers cannot be combined with --dask, whose cluster has its own workers")
