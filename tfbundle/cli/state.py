"""``tfbundle state``: the checkpoints in a folder, and what its state file knows of them."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import count_of, escape_name, format_size, print_json, print_line, print_table

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.state import CheckpointState
    from tfbundle.checkpoint.listing import ListedCheckpoint

_HEADERS = ("", "checkpoint", "format", "step", "time (UTC)", "size", "in state", "complete")


@click.command()
@click.argument("path", metavar="DIR", type=PATH)
@json_option
def command(path: str, as_json: bool) -> None:
    """List the checkpoints in DIR, by step.

    An asterisk marks the one that the state file, DIR/checkpoint, names as the latest. If the state file has another
    name, give its path. The exit status is 1 if a checkpoint is not complete, or is not there though the state file
    lists it.
    """
    from tfbundle.checkpoint.find.names import scan_folder
    from tfbundle.checkpoint.find.state import STATE_NAME, read_checkpoint_state
    from tfbundle.checkpoint.listing import list_checkpoints
    from tfbundle.storage.local import is_file
    from tfbundle.storage.locations import locate

    folder, name = (os.path.dirname(path) or os.curdir, os.path.basename(path)) if is_file(path) else (path, STATE_NAME)
    listed = list_checkpoints(folder, name)
    state_path = os.path.join(folder, name)
    state = read_checkpoint_state(state_path) if is_file(state_path) else None
    missing = [] if state is None else _find_missing(state)
    latest = _find_latest(state, listed)
    half_saved = [location.path for location in scan_folder(locate(folder)).half_saved]
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
        print_json({"path": folder, "checkpoints": checkpoints, "missing": missing, "half_saved": list(half_saved)})
    else:
        rows = [_cells(item, folder, is_latest=item is latest) for item in listed]
        stored = state.model_checkpoint_path if state is not None else None
        rows += [("*" if path == stored else "", escape_name(path), *"----", "yes", "not there") for path in missing]
        if rows:
            print_table(_HEADERS, rows, numbers=("step", "size"))
        begun = ", ".join(escape_name(os.path.basename(path)) for path in half_saved)
        print_line(
            count_of(len(listed), "checkpoint")
            + (f", and half-saved {begun}" if begun else "")
            + ("" if state else f"; there is no {state_path}")
        )
    if missing or not all(item.complete for item in listed):
        raise click.exceptions.Exit(1)


def _find_missing(state: CheckpointState) -> list[str]:
    found = dict(zip(state.all_model_checkpoint_paths, state.all_resolved, strict=True))
    found[state.model_checkpoint_path] = state.resolved
    return [path for path, prefix in found.items() if path and prefix is None]


def _find_latest(state: CheckpointState | None, listed: list[ListedCheckpoint]) -> ListedCheckpoint | None:
    from tfbundle.storage.local import real_path

    resolved = state.resolved if state is not None else None
    if resolved is None:
        return None
    same = [item for item in listed if real_path(item.prefix) == real_path(resolved)]
    return max(same, key=lambda item: item.format, default=None)  # V2 wins where both share a name.


def _cells(item: ListedCheckpoint, folder: str, *, is_latest: bool) -> tuple[str, ...]:
    from tfbundle.storage.local import real_path

    place, name = os.path.split(item.prefix)
    name = name or ".index"  # Files of a prefix that ends in a slash have no name but this.
    return (
        "*" if is_latest else "",
        escape_name(name if real_path(place or os.curdir) == real_path(folder) else os.path.join(place, name)),
        item.format,
        "-" if item.step is None else str(item.step),
        _format_time(item.time),
        format_size(item.size),
        "yes" if item.in_state else "no",
        item.problem or "yes",
    )


def _format_time(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"  # A state file may hold any number.
