"""``tfbundle events edit``: rewrite event files with different tags and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.choices import read_renames, refusals
from tfbundle.cli.completion import PATH, complete_tags
from tfbundle.cli.event_log import logdir_argument, report_damage, report_folders, salvage_option, tag_option
from tfbundle.cli.output import meant_name, print_json, print_line, print_table, progress_bar
from tfbundle.printable import count_of, escape_name

if TYPE_CHECKING:
    from tfbundle.conversion.event_files.edit import EditedEvents


@click.command()
@logdir_argument
@click.argument("out", type=PATH)
@tag_option
@click.option(
    "--exclude",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tags,
    help="Drop tags that match this name or glob; may be repeated.",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    help="Rename the tag OLD, or replace matches of the regular expression OLD in tags with NEW (\\1 is its first "
    "group); may be repeated, applied in order.",
)
@click.option(
    "--rename-file", metavar="FILE", help='Apply the renames in a JSON file, {"OLD": "NEW", ...}, before any --rename.'
)
@click.option("--first-step", type=int, metavar="STEP", help="Drop points before this step.")
@click.option("--last-step", type=int, metavar="STEP", help="Drop points after this step.")
@click.option("--shift-steps", type=int, default=0, metavar="N", help="Add N to all remaining steps.")
@click.option("--shift-time", type=float, default=0.0, metavar="SECONDS", help="Add SECONDS to all wall times.")
@click.option("--purge", is_flag=True, help="Drop the points that TensorBoard drops after a restart.")
@click.option("--merge", is_flag=True, help="Merge the files of each run into one.")
@click.option("--overwrite", is_flag=True, help="Replace existing event files; required to edit a run in place.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the plan, and write nothing.")
@salvage_option
@json_option
def edit(
    logdir: str,
    out: str,
    tags: tuple[str, ...],
    exclude: tuple[str, ...],
    rename: tuple[str, ...],
    rename_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Edit event files: rename, drop, cut, shift and merge.

    OUT is a folder, in which runs and files keep their names from LOGDIR. For a single event file, OUT may also be a
    file name that contains tfevents. Unchanged records are copied byte for byte.

    \b
    tfbundle events edit logs clean --exclude 'debug/*' --purge --dry-run
    tfbundle events edit logs clean --rename '^model/=' --rename 'layer_(\\d+)=layer/\\1'
    tfbundle events edit logs/run merged --merge --first-step 1000 --shift-steps -1000
    """  # noqa: D301 - click does not wrap a paragraph that begins with this character on its own line.
    from tfbundle.conversion.event_files.edit import edit_events

    rules = read_renames(rename_file, rename)
    with progress_bar("editing") as progress, refusals():
        done = edit_events(
            logdir,
            out,
            tags=[*map(meant_name, tags)] or None,
            exclude=[*map(meant_name, exclude)] or None,
            rename=rules or None,
            progress=progress,
            **options,
        )
    if as_json:
        print_json(_facts(done))
    else:
        if done.dry_run:
            _print_plan(done)
        _print_result(done)
    report_damage(done.truncations, done.losses, salvage=True)
    report_folders(done.unreadable)
    if done.losses or done.unreadable:
        raise click.exceptions.Exit(1)


def _facts(done: EditedEvents) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "path": done.path,
        "files": list(done.files),
        "removed": list(done.removed),
        "points": done.points,
        "left_out": done.left_out,
        "truncations": {path: found._asdict() for path, found in done.truncations.items()},
        "losses": {
            path: [{**loss._asdict(), "error": str(loss.error)} for loss in losses]
            for path, losses in done.losses.items()
        },
    }
    if done.dry_run:
        facts["plan"] = [item._asdict() for item in done.items]
    return facts


def _print_plan(done: EditedEvents) -> None:
    rows = [
        [
            escape_name(item.run),
            escape_name(item.tag),
            "-" if item.new_tag is None else escape_name(item.new_tag),
            item.kind,
            f"{item.points:,}",
            f"{item.kept:,}",
            item.action,
        ]
        for item in done.items
    ]
    print_table(("run", "tag", "new tag", "kind", "points", "kept", "action"), rows, ("points", "kept"))


def _print_result(done: EditedEvents) -> None:
    verb = "would be written: " if done.dry_run else ""
    print_line(
        f"{escape_name(done.path)}: {verb}{count_of(len(done.files), 'file')}, {count_of(done.points, 'point')}; "
        f"{count_of(done.left_out, 'point')} left out"
    )
    if done.removed:
        verb = "would be removed" if done.dry_run else "removed"
        print_line(f"{count_of(len(done.removed), 'file')} {verb}, whose events are in the merged ones")
