"""The checkpoints of a folder over time, and everything else in it, as tables."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timezone

from tfbundle.checkpoint.listing import ListedCheckpoint
from tfbundle.natural_order import natural_key
from tfbundle.overview.items import Item, Overview
from tfbundle.printable import format_size
from tfbundle.reporting.facts import Table
from tfbundle.storage.base import Location
from tfbundle.storage.locations import locate, within

GRAPHS = (
    "graph",
    "graph-text",
    "meta-graph",
    "meta-graph-text",
    "saved-model",
    "saved-model-text",
    "saved-model-folder",
)
"""The kinds of items that hold graphs."""


def checkpoint_table(location: Location, found: Overview, listed: Iterable[ListedCheckpoint]) -> Table | None:
    """Return the checkpoints of a folder and its subfolders, or those in the folder of a checkpoint (``listed``), by
    step.
    """
    rows: list[tuple[str, int | None, float | None, int | None, str, str]] = []
    if found.folders:
        for item in found.items:
            if item.kind == "checkpoint":
                time = item.facts.get("time")
                state = _state(item.problem, bool(item.facts.get("in_state")))
                name = within(item.path, location)
                rows.append((name, item.step, time, item.size, str(item.facts.get("format", "")), state))
    elif any(item.kind == "checkpoint" for item in found.items):
        for one in listed:
            state = _state(one.problem, one.in_state)
            rows.append((within(one.prefix, location.parent), one.step, one.time, one.size, one.format, state))
    if (len(rows) < 2 and not found.folders) or not rows:
        return None
    rows.sort(key=lambda row: (natural_key(locate(row[0]).parent.path), row[1] is not None, row[1] or 0, row[2] or 0.0))
    cells = [
        (name, "–" if step is None else f"{step:,}", format_time(time), _size(size), format.upper(), state)
        for name, step, time, size, format, state in rows
    ]
    columns = {"Checkpoint": False, "Step": True, "Saved (UTC)": False, "Size": True, "Format": False, "State": False}
    return Table.of(columns, cells)


def _state(problem: str | None, in_state: bool) -> str:
    return problem or ("complete, in the state file" if in_state else "complete")


def contents_table(location: Location, found: Overview) -> Table | None:
    """Return what a folder contains besides checkpoints, or ``None`` if there is nothing else."""
    if not found.folders:
        return None
    items = sorted(_others(found.items), key=lambda item: natural_key(item.path))
    rows = [
        (
            within(item.path, location),
            item.description,
            "–" if item.step is None else f"{item.step:,}",
            _size(item.size),
            item.problem or (item.advice if item.kind not in GRAPHS else None) or "",
        )
        for item in items
    ]
    columns = {"Path": False, "What it is": False, "Step": True, "Size": True, "Remarks": False}
    return Table.of(columns, rows) if rows else None


def _others(items: Iterable[Item]) -> Iterable[Item]:
    # The state file is in the table of checkpoints, and a page in the folder must not change the next one.
    return (item for item in items if item.kind not in ("checkpoint", "state", "html") or item.problem)


def _size(size: int | None) -> str:
    return "–" if size is None else format_size(size)


def format_time(seconds: float | None) -> str:
    """Return a time since 1970 in UTC, or a dash if there is none or no calendar has it."""
    if seconds is not None:
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    return "–"
