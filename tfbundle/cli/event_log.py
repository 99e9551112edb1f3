"""What the subcommands of ``tfbundle events`` share: options, opening a log, and reporting its problems."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import click

from tfbundle.cli.arguments import hint_of_expansion
from tfbundle.cli.completion import PATH, complete_runs, complete_tags
from tfbundle.cli.output import print_warning, progress_bar
from tfbundle.cli.wording import for_command
from tfbundle.errors import ChecksumError, TfBundleError
from tfbundle.matching import select
from tfbundle.printable import count_of, escape_name, unescape_name
from tfbundle.suggestions import closest_names

if TYPE_CHECKING:
    from tfbundle.events.log import EventLog
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries
    from tfbundle.formats.records.reader import Loss, Truncation

_MOST_LISTED = 20
_MOST_KINDS = 5
_MOST_LOSSES = 20

logdir_argument = click.argument("logdir", type=PATH)
run_option = click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    shell_complete=complete_runs,
    help="Include only runs that match this name or glob; may be repeated.",
)
tag_option = click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=complete_tags,
    help="Include only tags that match this name or glob; may be repeated.",
)
purge_option = click.option("--purge", is_flag=True, help="Drop the points that TensorBoard drops after a restart.")
salvage_option = click.option("--salvage", is_flag=True, help="Skip damaged records and continue after them.")


class OpenedLog(NamedTuple):
    """A log, its chosen runs that can be read, and the name and error of each run that cannot."""

    log: EventLog
    runs: list[Run]
    problems: list[tuple[str, TfBundleError]]


def open_log(
    logdir: str, names: tuple[str, ...], *, purge: bool = False, salvage: bool = False, may_be_empty: bool = False
) -> OpenedLog:
    """Return a log and the runs that match these names, or all of them, with their files read.

    Raises ``ClickException`` if there is no run, unless one may still appear.
    """
    from tfbundle.events.file import Options
    from tfbundle.events.log import EventLog

    _check_kind(logdir)
    # A damaged file does not hide the others: it is read up to the damage, which is reported.
    log = EventLog(logdir, Options(purge=purge, salvage=salvage, partial=True))
    if not log.runs:
        report_folders(log.unreadable)
        if not may_be_empty:
            raise click.ClickException(_what_lies_at(logdir))
        print_warning(f"no event files below {logdir} yet")
    opened = OpenedLog(log, [], [])
    chosen = choose_runs(log, names)
    with progress_bar("reading") as progress:
        log.load(progress, runs=[run.name for run in chosen])
    for run in chosen:
        try:
            _ = run.scalars
        except TfBundleError as error:
            opened.problems.append((run.name, error))
        else:
            opened.runs.append(run)
    return opened


def _check_kind(path: str) -> None:
    """Raise ``ClickException`` for a file of another kind, naming the command that reads it."""
    from tfbundle.cli.next_commands import next_step
    from tfbundle.events.files import READABLE
    from tfbundle.identification.files import kind_of
    from tfbundle.identification.names import is_event_file_name
    from tfbundle.storage.locations import locate

    location = locate(path)
    if location.is_file() and not is_event_file_name(location.name) and (kind := kind_of(location)) not in READABLE:
        raise click.ClickException(f"{path} is {kind.value}, not an event file; {next_step(kind, path)}")


def _what_lies_at(logdir: str) -> str:
    """Return an error message: there are no event files, what there is instead, and the command that shows it."""
    from collections import Counter

    from tfbundle.cli.info import next_commands
    from tfbundle.overview.walk import overview

    found = overview(logdir)
    if not found.items and not found.others:
        return f"no event files below {logdir}, which has no files; pass a folder with files named *tfevents*"
    kinds = Counter(item.description for item in found.items)
    parts = [
        f"{kind} and {number - 1:,} more" if number > 1 else kind for kind, number in islice(kinds.items(), _MOST_KINDS)
    ]
    if len(kinds) > len(parts):
        parts.append(f"{len(kinds) - len(parts):,} more")
    if found.others:
        parts.append(count_of(found.others, "file of an unknown kind", "files of an unknown kind"))
    # To convert one of several files would not help to find out what they are.
    commands = [command for command in next_commands(found) if not command.startswith("tfbundle convert ")]
    command = commands[0] if commands else f"tfbundle info {shlex.quote(logdir)}"
    return f"no event files below {logdir} (it contains {'; '.join(parts)}); try '{command}'"


def choose_runs(log: EventLog, names: tuple[str, ...]) -> list[Run]:
    """Return the runs that match these names, or all of them; raises ``ClickException`` if a name matches none."""
    choose_names(names, log.runs, "run", log.path)
    return match_runs(log, names)


def match_runs(log: EventLog, names: tuple[str, ...]) -> list[Run]:
    """Return the runs that match these names, or all of them; in a live log, a name may not match any run yet."""
    chosen = {name for pattern in names for name in _match(pattern, log.runs)}
    return [run for name, run in log.runs.items() if not names or name in chosen]


def _match(pattern: str, names: Collection[str]) -> list[str]:
    """Return the names that a pattern matches, taken literally or as an escaped name."""
    return select(pattern, names) or select(unescape_name(pattern), names)


def choose_names(patterns: tuple[str, ...], names: Collection[str], what: str, where: str) -> list[str]:
    """Return the names that match any of the patterns (names or globs); ``what`` is their kind, such as ``run``.

    Raises ``ClickException`` if a pattern matches nothing.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = _match(pattern, names)
        if not found:
            close = suggestion(f"{what}s", pattern, names)
            raise click.ClickException(
                f"no {what} '{escape_name(pattern)}' in {where}{close}{hint_of_expansion(pattern)}"
            )
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def demand_tags(log: EventLog, runs: list[Run], kind: str, tags: tuple[str, ...]) -> list[str]:
    """Return the matching tags of a kind; raises ``ClickException`` for one that none of the runs has."""
    there = dict.fromkeys(tag for run in runs for tag in getattr(run, kind))
    return choose_names(tags, there, "tag", f"the {kind} of {log.path}")


def choose_scalars(runs: Iterable[Run], tags: tuple[str, ...]) -> list[tuple[Run, ScalarSeries]]:
    """Return the scalars with these tags, or all, run by run.

    A name that is a tag in any of the runs is never treated as a pattern.
    """
    runs = list(runs)
    there = dict.fromkeys(tag for run in runs for tag in run.scalars)
    chosen = {name for tag in tags for name in _match(tag, there)}
    return [(run, run.scalars[tag]) for run in runs for tag in run.scalars if not tags or tag in chosen]


def suggestion(things: str, name: str, names: Collection[str]) -> str:
    """Return the end of a message about a name that was not found: the closest names, or else all known ones."""
    close = closest_names(name, names, count=3)
    if close:
        return f"; did you mean {' or '.join(_quoted(other) for other in close)}?"
    return known(things, names)


def known(things: str, names: Collection[str]) -> str:
    """Return the end of a message that lists the first few names."""
    shown = [_quoted(name) for name in islice(names, _MOST_LISTED)]
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown):,} more")
    if not shown:
        return f"; it has no {things}"
    return f"; its {things}: {', '.join(shown)}"


def _quoted(name: str) -> str:
    return f"'{escape_name(name)}'"


def report_troubles(opened: OpenedLog, *, salvage: bool) -> None:
    """Print truncated files, skipped data and unreadable runs on stderr; raises ``Exit(1)`` if any data is damaged."""
    for run in opened.runs:
        report_damage(run.truncations, run.losses, salvage=salvage)
    for name, error in opened.problems:
        print_warning(f"run '{escape_name(name)}': {for_command(str(error))}")
    report_folders(opened.log.unreadable)
    if opened.log.unreadable or opened.problems or any(run.losses for run in opened.runs):
        raise click.exceptions.Exit(1)


def report_damage(
    truncations: Mapping[str, Truncation], losses: Mapping[str, Sequence[Loss]], *, salvage: bool
) -> None:
    """Print the truncated files and the data left out of files, by path, on stderr."""
    for path, found in truncations.items():
        what = f"an incomplete record of {count_of(found.size, 'byte')} at offset {found.offset}"
        if not found.size:
            what = "the compressed stream is truncated, and records may be lost"
        print_warning(f"{escape_name(path)}: {what}")
    for path, left_out in losses.items():
        for loss in left_out[:_MOST_LOSSES]:
            print_warning(f"{escape_name(path)}: {_describe_loss(loss, path, salvage=salvage)}")
        if len(left_out) > _MOST_LOSSES:
            size = count_of(sum(loss.size for loss in left_out[_MOST_LOSSES:]), "byte")
            print_warning(f"{escape_name(path)}: left out {len(left_out) - _MOST_LOSSES:,} more, {size}")


def _describe_loss(loss: Loss, path: str, *, salvage: bool) -> str:
    if not isinstance(loss.error, ChecksumError) and not loss.offset:
        return _reason(loss.error, path)  # The file could not be read at all.
    what = f"left out {count_of(loss.size, 'byte')} at offset {loss.offset}, record {loss.number}"
    if not isinstance(loss.error, ChecksumError):
        return f"{what}: {_reason(loss.error, path)}"
    return what if salvage else f"{what}, and everything after it; --salvage reads the intact records there"


def report_folders(unreadable: Mapping[str, OSError]) -> None:
    """Print the folders that cannot be listed on stderr."""
    for folder, error in unreadable.items():
        print_warning(f"{escape_name(folder)}: cannot be listed: {error.strerror}")


def _reason(error: Exception, path: str) -> str:
    """Return why something cannot be read, without the name of the file, which the caller prints."""
    if isinstance(error, OSError) and not isinstance(error, TfBundleError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    reason = str(error.args[0] if error.args else error)  # Without the path and offset that follow in parentheses.
    return for_command(reason).removeprefix(f"{path} ")
