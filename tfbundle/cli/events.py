"""``tfbundle events``: list, plot, export and edit the contents of event files.

``tfbundle events LOGDIR`` is short for ``tfbundle events list LOGDIR``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from tfbundle.cli.arguments import hint_of_expansion, json_option
from tfbundle.cli.completion import complete_tags
from tfbundle.cli.event_dataset import dataset
from tfbundle.cli.event_edit import edit
from tfbundle.cli.event_export import audio, export, images
from tfbundle.cli.event_log import (
    choose_runs,
    choose_scalars,
    logdir_argument,
    match_runs,
    open_log,
    purge_option,
    report_troubles,
    run_option,
    salvage_option,
    suggestion,
)
from tfbundle.cli.event_tables import aggregate, hparams
from tfbundle.cli.output import print_groups, print_json, print_line, print_table
from tfbundle.errors import TfBundleError
from tfbundle.matching import select
from tfbundle.natural_order import natural_key
from tfbundle.printable import count_of, escape_name, unescape_name

if TYPE_CHECKING:
    from tfbundle.events.log import EventLog
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries, Series

# Seconds between polls of files that are being written.
_PAUSE = 1.0
# The longest text shown in a table, in characters.
_LONGEST_TEXT = 50


class _DefaultGroup(click.Group):
    """A group that passes its arguments to ``list`` if the first is not a subcommand; without any, it prints help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            if not ctx.resilient_parsing:  # Otherwise a shell completes the first word.
                click.echo(ctx.get_help())
                ctx.exit()
            return super().parse_args(ctx, args)
        first = args[0]
        if first not in self.commands and first not in ctx.help_option_names:
            if not ctx.resilient_parsing and (hint := _missing_command(first, args[1:], self.commands)):
                ctx.fail(hint)
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the subcommands that begin with a word, or leave it to the shell to complete it as a path."""
        return super().shell_complete(ctx, incomplete) or [CompletionItem(incomplete, type="file")]


def _missing_command(word: str, others: Sequence[str], commands: Collection[str]) -> str | None:
    """Return an error message if a word is probably a misspelt command and not a path."""
    from tfbundle.storage.locations import locate
    from tfbundle.suggestions import closest_names

    if word.startswith("-") or "://" in word or locate(word).is_file() or locate(word).is_folder():
        return None
    close = closest_names(word, commands, count=2)
    if close:
        return f"No such command or path '{word}'; did you mean {' or '.join(map(repr, close))}?"
    is_followed = bool(others) and not others[0].startswith("-")
    return f"No such command or path '{word}'; the commands are {', '.join(commands)}" if is_followed else None


_follow_option = click.option("--follow", is_flag=True, help="Keep running, and print each new point of a live run.")


@click.group(cls=_DefaultGroup, short_help="Read and edit event files.")
def command() -> None:
    """Read and edit event files: list, show, export, dataset, images, audio, edit, aggregate, hparams.

    'tfbundle events LOGDIR' lists runs and tags. LOGDIR is an event file, the folder of a run, or a folder of runs.
    """


@command.command("list")
@logdir_argument
@run_option
@purge_option
@salvage_option
@_follow_option
@json_option
def list_command(logdir: str, runs: tuple[str, ...], purge: bool, salvage: bool, follow: bool, as_json: bool) -> None:
    """List runs and tags: kind, count, steps, last value.

    The exit status is 1 if a file is damaged.
    """
    opened = open_log(logdir, runs, purge=purge, salvage=salvage, may_be_empty=follow)
    log, chosen, problems = opened
    with log:
        for run in chosen:
            for series in run.scalars.values():
                _check_values(run, series, problems)
        if as_json:
            runs_shown = [_describe(run) for run in chosen]
            print_json({"path": logdir, "runs": runs_shown, "problems": _describe_problems(problems)})
        else:
            groups = [(escape_name(run.name), [_row(*one) for one in _by_tag(run)]) for run in chosen]
            print_groups(("run/tag", "kind", "count", "steps", "last"), groups, numbers=("count",))
            count = sum(len(rows) for _, rows in groups)
            print_line(f"{count_of(len(chosen), 'run')}, {count_of(count, 'series')}")
        if follow:
            _follow(log, runs, (), as_json)
        report_troubles(opened, salvage=salvage)


@command.command(short_help="Plot scalars; print texts, histograms and others.")
@logdir_argument
@click.argument("tags", metavar="TAG...", nargs=-1, required=True, shell_complete=complete_tags)
@run_option
@purge_option
@salvage_option
@_follow_option
@json_option
def show(
    logdir: str,
    tags: tuple[str, ...],
    runs: tuple[str, ...],
    purge: bool,
    salvage: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Plot scalars and print their statistics; print texts, histograms, PR curves, hyperparameters and others.

    TAG is a tag or a glob. A glob selects scalars, and other kinds only if it matches no scalar. Plots require the
    extra 'tfbundle[plot]'. With --json, all points are printed instead.
    """
    from tfbundle.cli.event_elements import json_elements, print_elements

    opened = open_log(logdir, runs, purge=purge, salvage=salvage)
    log, chosen, problems = opened
    with log:
        others: dict[tuple[str, str], tuple[Run, str, Any]] = {}
        for tag in tags:
            if not choose_scalars(chosen, (tag,)):
                matching = _choose_others(chosen, tag)
                if not matching:
                    raise click.ClickException(_no_series(log, chosen, tag) + hint_of_expansion(tag))
                others.update(matching)
        found = [item for item in choose_scalars(chosen, tags) if _check_values(*item, problems)]
        if as_json:
            shown = [
                {
                    "run": run.name,
                    "tag": series.tag,
                    "steps": series.steps.tolist(),
                    "wall_times": series.wall_times.tolist(),
                    "values": series.values.tolist(),
                }
                for run, series in found
            ]
            elements = list(_read_elements(others.values(), json_elements, problems))
            document = {"path": logdir, "series": shown, "others": elements}
            print_json(document | {"problems": _describe_problems(problems)})
        else:
            if found:
                _print_statistics(found)
            for _ in _read_elements(others.values(), print_elements, problems):
                print_line()
        if follow:
            _follow(log, runs, tags, as_json)
        report_troubles(opened, salvage=salvage)


command.add_command(export)
command.add_command(dataset)
command.add_command(images)
command.add_command(audio)
command.add_command(edit)
command.add_command(aggregate)
command.add_command(hparams)


def _check_values(run: Run, series: ScalarSeries, problems: list[tuple[str, TfBundleError]]) -> bool:
    """Return whether the values of a series can be read; if not, add the reason to ``problems``."""
    try:
        _ = series.values
    except TfBundleError as error:
        problems.append((run.name, error))
        return False
    return True


def _choose_others(runs: list[Run], tag: str) -> dict[tuple[str, str], tuple[Run, str, Any]]:
    """Return the series that are not scalars and match a tag or glob, by run and tag."""
    from tfbundle.cli.event_elements import kind_of_series

    found = {}
    for run in runs:
        series = {name: (kind, other) for kind, name, other in _all_series(run) if kind != "scalars"}
        for name in select(tag, series) or select(unescape_name(tag), series):
            found[run.name, name] = (run, kind_of_series(run, series[name][0], name), series[name][1])
    return found


def _read_elements(
    others: Iterable[tuple[Run, str, Any]],
    use: Callable[[Run, str, Any], Any],
    problems: list[tuple[str, TfBundleError]],
) -> Iterator[Any]:
    """Yield what ``use`` makes of each series; one that cannot be read is added to ``problems``."""
    for run, kind, series in others:
        try:
            yield use(run, kind, series)
        except TfBundleError as error:
            problems.append((run.name, error))


def _no_series(log: EventLog, runs: list[Run], tag: str) -> str:
    tags = dict.fromkeys(name for run in runs for _, name, _ in _all_series(run))
    return f"no series '{escape_name(tag)}' in {log.path}{suggestion('tags', tag, tags)}"


def _print_statistics(found: list[tuple[Run, ScalarSeries]]) -> None:
    from tfbundle.cli.event_plot import print_plots

    print_plots(found)
    headers = ("count", "first step", "last step", "first", "last", "min", "max", "mean")
    by_tag: dict[str, list[tuple[str, ...]]] = {}
    for run, series in found:
        by_tag.setdefault(series.tag, []).append((escape_name(run.name), *_statistics(series)))
    if len(by_tag) == 1:
        print_table(("run", *headers), next(iter(by_tag.values())), numbers=headers)
    else:
        print_groups(("tag/run", *headers), [(escape_name(tag), rows) for tag, rows in by_tag.items()], numbers=headers)


def _by_tag(run: Run) -> list[tuple[str, str, Any]]:
    """Return all series of a run, each with its kind and tag, in natural order of tags."""
    return sorted(_all_series(run), key=lambda item: natural_key(item[1]))


def _row(kind: str, tag: str, series: Any) -> tuple[str, ...]:
    return escape_name(tag), kind, f"{len(series)}", _steps(series), _last(kind, series)


def _all_series(run: Run) -> Iterator[tuple[str, str, Any]]:
    from tfbundle.events.plugins import KINDS

    for kind in KINDS:
        for tag, series in getattr(run, kind).items():
            yield kind, tag, series


def _describe(run: Run) -> dict[str, Any]:
    return {
        "run": run.name,
        "files": run.paths,
        "events": run.event_count,
        "series": [
            {
                "tag": tag,
                "kind": kind,
                "count": len(series),
                "first_step": int(series.steps[0]) if len(series) else None,
                "last_step": int(series.steps[-1]) if len(series) else None,
                "last_value": _last_number(series) if kind == "scalars" else None,
            }
            for kind, tag, series in _all_series(run)
        ],
        "truncations": {path: found._asdict() for path, found in run.truncations.items()},
        "losses": {
            path: [{**loss._asdict(), "error": str(loss.error)} for loss in losses]
            for path, losses in run.losses.items()
        },
    }


def _describe_problems(problems: list[tuple[str, TfBundleError]]) -> list[dict[str, str]]:
    return [{"run": name, "error": str(error)} for name, error in problems]


def _steps(series: Series) -> str:
    if not len(series):
        return "-"
    lowest, highest = int(series.steps.min()), int(series.steps.max())  # Steps go back after a restart.
    return f"{lowest}" if lowest == highest else f"{lowest}..{highest}"


def _last(kind: str, series: Any) -> str:
    """Return the last point as a cell, if it is a single number or string."""
    if not len(series) or kind not in ("scalars", "text", "tensors"):
        return "-"
    if kind == "scalars":
        number = _last_number(series)
        return "-" if number is None else _short(number)
    try:
        element = series[-1]
    except TfBundleError:
        return "-"  # 'events show' reports the error.
    if element.size != 1:
        return "-"
    value = element.reshape(-1)[0]
    if not isinstance(value, str | bytes):
        return _short(value)
    try:
        text = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return "-"
    if not text or not text.replace("\n", " ").isprintable():
        return "-"  # A serialized message of a plugin.
    return escape_name(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}...")


def _last_number(series: ScalarSeries) -> Any:
    """Return the last value, or ``None`` if there is none or it cannot be read."""
    try:
        return series.values[-1] if len(series) else None
    except TfBundleError:
        return None


def _short(number: Any) -> str:
    number = number.item() if hasattr(number, "item") else number
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def _statistics(series: ScalarSeries) -> tuple[str, ...]:
    import numpy as np

    from tfbundle.tensors.dtypes import cast

    count = len(series)
    if not count:
        return ("0", *"-" * 7)
    ends = (f"{series.steps[0]}", f"{series.steps[-1]}", _short(series.values[0]), _short(series.values[-1]))
    if any(isinstance(value, complex) for value in series.values.tolist()):
        return (f"{count}", *ends, "-", "-", "-")
    values = cast(series.values, np.float64)
    finite = values[np.isfinite(values)]
    middle = (finite.min(), finite.max(), finite.mean()) if len(finite) else ()
    return (f"{count}", *ends, *(_short(float(number)) for number in middle), *["-"] * (3 - len(middle)))


def _follow(log: EventLog, runs: tuple[str, ...], tags: tuple[str, ...], as_json: bool) -> None:
    """Print each new point until interrupted."""
    seen = {(run.name, series.tag): series for run, series in choose_scalars(choose_runs(log, runs), tags)}
    while True:
        sys.stdout.flush()
        time.sleep(_PAUSE)
        if not log.refresh():
            continue
        for run, series in choose_scalars(match_runs(log, runs), tags):
            before = seen.get((run.name, series.tag))
            seen[run.name, series.tag] = series
            for place in range(_count_shared(before, series), len(series)):
                step, value = int(series.steps[place]), series.values[place]
                if as_json:
                    point = {"run": run.name, "tag": series.tag, "step": step, "value": value}
                    print_json(point, document="events-point")
                else:
                    print_line(f"{escape_name(run.name)}  {escape_name(series.tag)}  {step}  {_short(value)}")


def _count_shared(before: ScalarSeries | None, series: ScalarSeries) -> int:
    """Return how many leading points of a series are unchanged: all, unless points were purged."""
    if before is None:
        return 0
    count = min(len(before), len(series))
    walls = before.wall_times[:count].view("i8") == series.wall_times[:count].view("i8")  # NaN is the same as NaN.
    same = walls & (before.steps[:count] == series.steps[:count])
    return count if same.all() else int(same.argmin())
