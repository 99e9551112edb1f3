"""``tfbundle info``: what a path is, what lies below a folder, and which command comes next."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.next_commands import COMMANDS
from tfbundle.cli.output import (
    count_of,
    escape_name,
    format_size,
    one_line,
    print_fact,
    print_json,
    print_line,
    print_table,
)
from tfbundle.natural_order import natural_key

if TYPE_CHECKING:
    from tfbundle.overview.items import Item, Overview

# Models that come from elsewhere, which somebody may want to judge before they are loaded.
_SCANNED = ("saved-model-folder", "saved-model", "saved-model-text", "keras", "keras-metadata")
# How a kind is called in the table, where its word is longer than it need be.
_LABELS = {"saved-model-folder": "saved-model", "incomplete-checkpoint": "incomplete"}
_PLURALS = {"bundle-index": ("bundle-index", "bundle-indexes"), "unreadable": ("unreadable file", "unreadable files")}
# What is wrong has a line of its own; of more of them nobody reads all.
_MOST_PROBLEMS = 50
_MOST_ROWS = 1000


@click.command()
@path_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Say what PATH is, or what lies below it, and which command comes next.

    PATH may be anything: a file, a checkpoint's prefix, or a folder, of which everything below is found by its content:
    checkpoints, SavedModels, graphs, runs, files of records and of other programs, and what is damaged or has a wrong
    name. The exit status is 1 if something is wrong.
    """
    from tfbundle.overview.walk import overview

    found = overview(path)
    if as_json:
        print_json({"ok": found.ok, **asdict(found), "next": next_commands(found)})
    elif not found.folders:
        _print_one(found.path, found.items[0])
    else:
        _print_tree(found)
    if not as_json:
        for line in next_commands(found):
            print_line(f"next: {line}")
    if not found.ok:
        raise click.exceptions.Exit(1)


def _print_one(path: str, item: Item) -> None:
    print_fact("path", one_line(path))
    print_fact("kind", item.description)
    if item.step is not None:
        print_fact("step", str(item.step))
    if item.size is not None:
        print_fact("size", format_size(item.size))
    for label, value in item.facts.items():
        if label != "time" and value is not None:
            print_fact(label.replace("_", " "), _fact(value))
    if item.problem is not None:
        print_fact("problem", one_line(item.problem))
    if item.advice is not None and item.kind not in COMMANDS:
        print_fact("advice", item.advice)


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else escape_name(str(value))


def _print_tree(found: Overview) -> None:
    from tfbundle.storage.locations import locate

    root = locate(found.path).join("").path
    items = sorted(found.items, key=lambda item: natural_key(item.path))
    rows = [_cells(item, root) for item in items[:_MOST_ROWS]]
    if rows:
        print_table(("kind", "path", "step", "size", "state"), rows, numbers=("step", "size"))
    if len(items) > len(rows):
        print_line(f"and {len(items) - len(rows):,} more, which --json lists")
    wrong = [item for item in items if item.problem]
    for item in wrong[:_MOST_PROBLEMS]:
        print_line(f"{one_line(_short(item.path, root))}: {one_line(item.problem or '')}")
    if len(wrong) > _MOST_PROBLEMS:
        print_line(f"and {len(wrong) - _MOST_PROBLEMS:,} more with problems, which --json lists")
    counts = Counter(_LABELS.get(item.kind, item.kind) for item in items)
    parts = [count_of(number, *_PLURALS.get(kind, (kind,))) for kind, number in counts.items()]
    parts.append(f"{count_of(found.others, 'other file')} ({format_size(found.others_size)})")
    folders = count_of(found.folders, "folder")
    print_line(f"{one_line(found.path)}: {found.description}; {', '.join(parts)} in {folders}")
    if not found.complete:
        print_line("there is more than what was read; pass a folder below, or one of the files")


def _cells(item: Item, root: str) -> tuple[str, ...]:
    return (
        _LABELS.get(item.kind, item.kind),
        escape_name(_short(item.path, root)),
        "-" if item.step is None else str(item.step),
        "-" if item.size is None else format_size(item.size),
        "problem" if item.problem else "ok",
    )


def _short(path: str, root: str) -> str:
    """Return a path as it is called below the root, whose own name is a dot."""
    return path[len(root) :] if path.startswith(root) and path != root else "." if path + "/" == root else path


def next_commands(found: Overview) -> list[str]:
    """Return a command for each kind that was found, with one of its paths."""
    best: dict[str, str] = {}
    # Of several checkpoints the latest is the one that is probably meant.
    for item in sorted(found.items, key=lambda item: -(item.step or 0)):
        name = COMMANDS.get(item.kind)
        if item.kind in ("checkpoint", "run", "saved-model-folder") and item.problem:
            name = "verify"
        if name is not None:
            best.setdefault(name, item.path)
    model = next((item.path for item in found.items if item.kind in _SCANNED), None)
    if model is not None:
        best["scan"] = model
    if sum(item.kind == "run" for item in found.items) > 1:
        best["events"] = found.path
    return [f"tfbundle {name} {shlex.quote(path)}" for name, path in best.items()]
