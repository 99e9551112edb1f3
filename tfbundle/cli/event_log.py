"""What the subcommands of ``tfbundle events`` share: options, opening a log, and what to say of its troubles."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

import click

from tfbundle.cli.completion import PATH, complete_runs, complete_tags
from tfbundle.cli.output import escape_name, print_warning, progress_bar, unescape_name
from tfbundle.cli.wording import for_command
from tfbundle.errors import UnsupportedError
from tfbundle.matching import select

if TYPE_CHECKING:
    from tfbundle.events.log import EventLog
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries

_MOST_LISTED = 20

logdir_argument = click.argument("logdir", type=PATH)
run_option = click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    shell_complete=complete_runs,
    help="Only this run, or a glob of runs; may be repeated.",
)
tag_option = click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tags,
    help="Only this tag, or a glob of tags; may be repeated.",
)
purge_option = click.option("--purge", is_flag=True, help="Drop what TensorBoard drops after a restart.")
salvage_option = click.option("--salvage", is_flag=True, help="Leave out damaged records and go on behind them.")


def open_log(
    logdir: str, names: tuple[str, ...], *, purge: bool = False, salvage: bool = False
) -> tuple[EventLog, list[Run]]:
    """Return a log, and those of its runs that have these names, or all; their files have been read."""
    from tfbundle.events.file import Options
    from tfbundle.events.log import EventLog

    # One damaged file does not keep the others from being shown: it counts up to its damage, which is named.
    log = EventLog(logdir, Options(purge=purge, salvage=salvage, partial=True))
    runs = choose_runs(log, names)
    with progress_bar("reading") as progress:
        log.load(progress, runs=[run.name for run in runs])
    return log, runs


def choose_runs(log: EventLog, names: tuple[str, ...]) -> list[Run]:
    """Return the runs that have these names, or all."""
    chosen = set(names and choose_names(names, log.runs, f"no run '%s' in {log.path}; there is {listed(log.runs)}"))
    return [run for name, run in log.runs.items() if not names or name in chosen]


def choose_names(patterns: tuple[str, ...], names: Collection[str], refusal: str) -> list[str]:
    """Return the names that the patterns mean, names or globs; ``refusal``, with %s, says that one means none."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = select(pattern, names) or select(unescape_name(pattern), names)
        if not found:
            raise click.ClickException(refusal.replace("%s", escape_name(pattern), 1))
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def demand_tags(runs: list[Run], kind: str, tags: tuple[str, ...]) -> None:
    """Refuse a tag of which none of the runs has anything of this kind."""
    there = dict.fromkeys(tag for run in runs for tag in getattr(run, kind))
    choose_names(tags, there, f"no tag '%s' among the {kind}; there is {listed(there)}")


def choose_scalars(run: Run, tags: tuple[str, ...]) -> list[ScalarSeries]:
    """Return the scalars with these tags, or all."""
    chosen = {name for tag in tags for name in select(tag, run.scalars) or select(unescape_name(tag), run.scalars)}
    return [series for tag, series in run.scalars.items() if not tags or tag in chosen]


def listed(names: Collection[str]) -> str:
    """Names, for a message: not more of them than anyone reads."""
    shown = [escape_name(name) for name in islice(names, _MOST_LISTED)]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    return ", ".join(shown) or "none"


def report_troubles(log: EventLog, runs: list[Run], *, salvage: bool) -> None:
    """Say on stderr where files end in the middle of a record, and what salvaging left out; then the status is 1."""
    for run in runs:
        for path, found in run.truncations.items():
            what = f"an incomplete record of {found.size} bytes at offset {found.offset}"
            if not found.size:
                what = "the compressed stream ends too early, and records may be lost"
            print_warning(f"{escape_name(path)}: {what}")
        for path, losses in run.losses.items():
            for loss in losses:
                what = f"left out {loss.size} bytes at offset {loss.offset}, record {loss.number}"
                if isinstance(loss.error, UnsupportedError):
                    what += f": {for_command(str(loss.error))}"
                elif not salvage and loss.size:
                    what += ", and all behind it; --salvage reads what is whole there"
                print_warning(f"{escape_name(path)}: {what}")
    for folder, error in log.unreadable.items():
        print_warning(f"{escape_name(folder)}: cannot be listed: {error.strerror}")
    if log.unreadable or any(run.losses for run in runs):
        raise click.exceptions.Exit(1)
