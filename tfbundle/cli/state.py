"""``tfbundle state``: the checkpoints in a folder, and the entries of its state file."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_json, print_line, print_table
from tfbundle.cli.wording import for_command
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.printable import count_of, escape_name, format_size, one_line

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.state import CheckpointState
    from tfbundle.checkpoint.listing import ListedCheckpoint
    from tfbundle.overview.items import Item
    from tfbundle.storage.base import Location

_HEADERS = ("", "checkpoint", "format", "step", "time (UTC)", "size", "in state", "complete")
# The largest number of problems, and of other folders, to print.
_MOST_SHOWN = 20


@click.command()
@click.argument("path", metavar="DIR", type=PATH)
@click.option("--clean", is_flag=True, help="Remove leftovers of interrupted saves that are older than an hour.")
@click.option("--repair", is_flag=True, help="Rewrite the state file if it has stale paths or is missing.")
@click.option("--dry-run", is_flag=True, help="With --clean or --repair, only print what would be done.")
@click.option("--yes", is_flag=True, help="With --repair, do not ask before writing.")
@json_option
def command(path: str, clean: bool, repair: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """List the checkpoints in DIR by step.

    An asterisk marks the latest checkpoint according to the state file, DIR/checkpoint. If the state file has another
    name, pass its path instead of DIR. The exit status is 1 if a checkpoint is incomplete, if a file does not match its
    name, if a checkpoint that the state file lists does not exist, or if DIR has no checkpoints.
    """
    from tfbundle.checkpoint.find.names import scan_folder
    from tfbundle.checkpoint.find.state import find_state
    from tfbundle.checkpoint.leftovers import list_leftovers
    from tfbundle.checkpoint.listing import list_checkpoints
    from tfbundle.identification.names import STATE_NAME
    from tfbundle.overview.walk import folder_problems
    from tfbundle.storage.locations import locate

    given = locate(path)
    folder, name = (given.parent, given.name) if given.is_file() else (given, STATE_NAME)
    if clean or repair:
        if as_json:
            raise click.UsageError("--json cannot be combined with --clean or --repair")
        if clean:
            _clean(folder, dry_run=dry_run)
        if repair:
            _repair(folder, name, dry_run=dry_run, yes=yes)
        return
    if dry_run or yes:
        raise click.UsageError("--dry-run and --yes need --clean or --repair")
    listed = list_checkpoints(folder.path, name)
    state_file = folder.join(name)
    state = find_state(folder, name)
    missing = [] if state is None else _find_missing(state)
    latest = _find_latest(state, listed)
    incomplete = [location.path for location in scan_folder(folder).incomplete]
    # A missing checkpoint that the state file names has its own row.
    elsewhere_said = ("checkpoint", "run", "state") if missing else ("checkpoint", "run")
    problems = [item for item in folder_problems(folder) if item.kind not in elsewhere_said]
    leftovers = list_leftovers(folder)
    elsewhere = [] if listed or missing else _find_elsewhere(folder)
    if as_json:
        checkpoints = [
            {
                "prefix": item.prefix,
                "format": item.format,
                "step": item.step,
                "time": item.time,
                "size": item.size,
                "in_state": item.in_state,
                "complete": item.complete,
                "problem": item.problem,
                "latest": item is latest,
            }
            for item in listed
        ]
        print_json(
            {
                "path": folder.path,
                "checkpoints": checkpoints,
                "missing": missing,
                "incomplete": incomplete,
                "leftovers": [item._asdict() for item in leftovers],
                "problems": [{"path": item.path, "kind": item.kind, "problem": item.problem} for item in problems],
                "elsewhere": elsewhere,
            }
        )
    else:
        rows = [_cells(item, folder, is_latest=item is latest) for item in listed]
        stored = state.model_checkpoint_path if state is not None else None
        rows += [("*" if path == stored else "", escape_name(path), *"----", "yes", "missing") for path in missing]
        if rows:
            print_table(_HEADERS, rows, numbers=("step", "size"))
        _print_problems(listed, problems)
        size = sum(item.size for item in leftovers)
        if leftovers:
            count = count_of(len(leftovers), "leftover")
            print_line(f"{count} of interrupted saves, {format_size(size)}; --clean removes those older than an hour")
        begun = ", ".join(escape_name(locate(path).name) for path in incomplete)
        print_line(
            count_of(len(listed), "checkpoint")
            + (f", and incomplete {begun}" if begun else "")
            + ("" if state else f"; there is no {one_line(state_file.path)}")
        )
        _print_elsewhere(elsewhere)
        if not (listed or missing or elsewhere or problems):
            _print_reason(folder)
    if missing or problems or not listed or not all(item.complete for item in listed):
        raise click.exceptions.Exit(1)


def _clean(folder: Location, *, dry_run: bool) -> None:
    """Remove leftovers, and print which were removed and which were kept."""
    from tfbundle.checkpoint.leftovers import list_leftovers, remove_leftovers
    from tfbundle.storage.locations import locate

    before = list_leftovers(folder)
    removed = [item for item in before if not item.is_young()] if dry_run else remove_leftovers(folder)
    gone = {item.path for item in removed}
    for item in before:
        what = ("would remove" if dry_run else "removed") if item.path in gone else "changed within the last hour, kept"
        print_line(f"{what}: {escape_name(locate(item.path).name)} ({format_size(item.size)})")
    if not before:
        print_line("no leftovers of interrupted saves")


def _repair(folder: Location, name: str, *, dry_run: bool, yes: bool) -> None:
    """Write the state file again, after showing its text and asking."""
    from tfbundle.train.repair import plan_repair, repair_state

    target = folder.join(name)
    text = plan_repair(folder, name)
    if text is None:
        print_line(f"{one_line(target.path)} needs no repair")
        return
    print_line(f"{one_line(target.path)} would be:" if dry_run else f"{one_line(target.path)}:")
    for line in text.splitlines():
        print_line("  " + one_line(line))
    if dry_run:
        return
    if not yes:
        click.confirm("Write it?", abort=True)
    repair_state(folder, name)


def _print_problems(listed: list[ListedCheckpoint], problems: list[Item]) -> None:
    """Print problems, one per line, because a message does not fit into a column."""
    from tfbundle.storage.locations import locate

    lines = [f"{locate(item.prefix).name}: {item.problem}" for item in listed if item.problem]
    lines += [f"{locate(item.path).name}: {item.problem}" for item in problems]
    for line in lines[:_MOST_SHOWN]:
        print_line(one_line(line))
    if len(lines) > _MOST_SHOWN:
        print_line(f"and {count_of(len(lines) - _MOST_SHOWN, 'more problem')}; --json lists all")


def _print_reason(folder: Location) -> None:
    """Print what a folder contains instead of checkpoints, as the error of opening it reports."""
    from tfbundle.checkpoint.find.paths import find_checkpoint
    from tfbundle.errors import TfBundleError

    try:
        find_checkpoint(folder)
    except TfBundleError as error:
        reason = error.message.partition("; ")[2]
        if reason:
            print_line(one_line(for_command(reason)))


def _print_elsewhere(elsewhere: list[str]) -> None:
    for path in elsewhere[:_MOST_SHOWN]:
        print_line(f"checkpoints found in {one_line(path)}")
    if len(elsewhere) > _MOST_SHOWN:
        print_line(f"and in {count_of(len(elsewhere) - _MOST_SHOWN, 'more folder')}; 'tfbundle info' lists all")


def _find_elsewhere(folder: Location) -> list[str]:
    """Return the folders below ``folder`` that have checkpoints."""
    from tfbundle.checkpoint.find.saved_models import variables_prefix
    from tfbundle.overview.walk import overview
    from tfbundle.storage.locations import locate

    paths = [
        variables_prefix(item.path).parent.path if item.kind == "saved-model-folder" else locate(item.path).parent.path
        for item in overview(folder.join("")).items
        if item.kind == "checkpoint" or (item.kind == "saved-model-folder" and item.facts["variables"])
    ]
    return list(dict.fromkeys(paths))


def _find_missing(state: CheckpointState) -> list[str]:
    found = dict(zip(state.all_model_checkpoint_paths, state.all_resolved, strict=True))
    found[state.model_checkpoint_path] = state.resolved
    return [path for path, prefix in found.items() if path and prefix is None]


def _find_latest(state: CheckpointState | None, listed: list[ListedCheckpoint]) -> ListedCheckpoint | None:
    from tfbundle.storage.locations import locate

    resolved = state.resolved if state is not None else None
    if resolved is None:
        return None
    same = [item for item in listed if locate(item.prefix).real() == locate(resolved).real()]
    return max(same, key=lambda item: item.format, default=None)  # V2 wins where both share a name.


def _cells(item: ListedCheckpoint, folder: Location, *, is_latest: bool) -> tuple[str, ...]:
    from tfbundle.storage.locations import locate

    prefix = locate(item.prefix)
    is_here = prefix.parent.real() == folder.real()
    return (
        "*" if is_latest else "",
        # Files of a prefix that ends in a slash have no name but their suffix.
        escape_name(prefix.name if is_here and prefix.name else INDEX_SUFFIX if is_here else item.prefix),
        item.format,
        "-" if item.step is None else str(item.step),
        _format_time(item.time),
        format_size(item.size),
        "yes" if item.in_state else "no",
        "yes" if item.complete else "no",
    )


def _format_time(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"  # A state file may hold any number.
