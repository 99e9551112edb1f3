"""``tfbundle info``: identify a path or the contents of a folder, and name the next command to run."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option, path_argument
from tfbundle.cli.next_commands import COMMANDS, commands_for
from tfbundle.cli.output import print_fact, print_json, print_line, print_table
from tfbundle.cli.wording import for_command
from tfbundle.natural_order import natural_key
from tfbundle.printable import count_of, escape_name, format_size, one_line
from tfbundle.storage.locations import locate, within

if TYPE_CHECKING:
    from tfbundle.overview.items import Item, Overview
    from tfbundle.storage.base import Location

# Models that may come from an untrusted source, and are worth scanning before they are loaded.
_SCANNED = ("saved-model-folder", "saved-model", "saved-model-text", "keras", "keras-metadata")
# Kinds that the command verify reads.
_VERIFIED = ("checkpoint", "run", "saved-model-folder", "tfrecord")
# Shorter labels for some kinds in the table.
_LABELS = {"saved-model-folder": "saved-model", "incomplete-checkpoint": "incomplete"}
# Labels that are nouns with a regular plural; the others are those of files.
_NOUNS = ("checkpoint", "graph", "meta-graph", "numpy-archive", "run", "saved-model", "table", "v1-table")
_PLURALS = {
    "bundle-index": ("bundle-index", "bundle-indexes"),
    "incomplete": ("incomplete checkpoint", "incomplete checkpoints"),
}
# Each problem is printed on its own line, up to this many.
_MOST_PROBLEMS = 50
_MOST_ROWS = 1000


@click.command(short_help="Identify PATH or its contents; name the next command.")
@path_argument
@json_option
def command(path: str, as_json: bool) -> None:
    """Identify PATH or its contents, and name the next command to run.

    PATH may be a file, the prefix of a checkpoint, or a folder. A folder is searched recursively, and files are
    identified by content: checkpoints, SavedModels, graphs, runs, TFRecord files, files of other programs, and files
    that are damaged or misnamed. The exit status is 1 if a problem is found.
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
    if item.advice is not None and not _commands_of(item):
        print_fact("advice", for_command(item.advice))


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else escape_name(str(value))


def _print_tree(found: Overview) -> None:
    root = locate(found.path)
    items = sorted(found.items, key=lambda item: natural_key(item.path))
    rows = [_cells(item, root) for item in items[:_MOST_ROWS]]
    if rows:
        print_table(("kind", "path", "step", "size", "state"), rows, numbers=("step", "size"))
    if len(items) > len(rows):
        print_line(f"and {len(items) - len(rows):,} more; --json lists all of them")
    wrong = [item for item in items if item.problem]
    for item in wrong[:_MOST_PROBLEMS]:
        print_line(f"{one_line(within(item.path, root))}: {one_line(item.problem or '')}")
    if len(wrong) > _MOST_PROBLEMS:
        print_line(f"and {len(wrong) - _MOST_PROBLEMS:,} more with problems; --json lists all of them")
    counts = Counter(_LABELS.get(item.kind, item.kind) for item in items)
    parts = [count_of(number, *_noun(kind)) for kind, number in counts.items()]
    parts.append(f"{count_of(found.others, 'other file')} ({format_size(found.others_size)})")
    folders = count_of(found.folders, "folder")
    print_line(f"{one_line(found.path)}: {found.description}; {', '.join(parts)} in {folders}")
    if not found.complete:
        print_line("the folder is too large, so not everything was read; pass a subfolder, or one of the files")


def _noun(kind: str) -> tuple[str, ...]:
    """Return what items of a kind are called, and the plural if it is irregular."""
    is_noun = kind in _NOUNS or kind.endswith("-folder")
    return _PLURALS.get(kind, (kind if is_noun else f"{kind} file",))


def _cells(item: Item, root: Location) -> tuple[str, ...]:
    return (
        _LABELS.get(item.kind, item.kind),
        escape_name(within(item.path, root)),
        "-" if item.step is None else str(item.step),
        "-" if item.size is None else format_size(item.size),
        "problem" if item.problem else "ok",
    )


def _commands_of(item: Item) -> dict[str, str]:
    """Return the commands for an item by name; a damaged file is verified, if the command can read it."""
    if not item.problem:
        return commands_for(item.kind, item.path, item.facts)
    if item.kind in _VERIFIED:
        return {"verify": f"tfbundle verify {shlex.quote(item.path)}"}
    return {} if COMMANDS.get(item.kind) == "convert" else commands_for(item.kind, item.path, item.facts)


def next_commands(found: Overview) -> list[str]:
    """Return one command for each kind of item found, with one of its paths."""
    best: dict[str, str] = {}
    # Of several checkpoints, the latest is probably the one of interest.
    for item in sorted(found.items, key=lambda item: -(item.step or 0)):
        for name, command in _commands_of(item).items():
            best.setdefault(name, command)
    model = next((item.path for item in found.items if item.kind in _SCANNED), None)
    if model is not None:
        best["scan"] = f"tfbundle scan {shlex.quote(model)}"
    if sum(item.kind == "run" for item in found.items) > 1:
        best["events"] = f"tfbundle events {shlex.quote(found.path)}"
    return list(best.values())
