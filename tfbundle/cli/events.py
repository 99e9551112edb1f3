"""``tfbundle events``: what event files hold, a series as figures and as a plot, and all of it in other formats.

``tfbundle events LOGDIR`` is short for ``tfbundle events list LOGDIR``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.completion import complete_tags
from tfbundle.cli.event_export import audio, export, images
from tfbundle.cli.event_log import (
    choose_runs,
    choose_scalars,
    listed,
    logdir_argument,
    open_log,
    purge_option,
    report_troubles,
    run_option,
    salvage_option,
)
from tfbundle.cli.output import (
    count_of,
    escape_name,
    print_coloured,
    print_json,
    print_line,
    print_lines,
    print_table,
    print_warning,
    use_colour,
)
from tfbundle.errors import TfBundleError
from tfbundle.matching import select

if TYPE_CHECKING:
    from tfbundle.events.log import EventLog
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries, Series

# Seconds between two looks at files that are being written.
_PAUSE = 1.0
# Characters of a text that a table has room for.
_LONGEST_TEXT = 50


class _DefaultGroup(click.Group):
    """A group that takes what is no command of its own for the arguments of ``list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["list", *args]
        return super().parse_args(ctx, args)


_follow_option = click.option("--follow", is_flag=True, help="Go on and print each new point of a live run.")


@click.group(cls=_DefaultGroup)
def command() -> None:
    """Training curves: list, show, export, images, audio.

    'tfbundle events LOGDIR' lists runs and tags. LOGDIR is an event file, the folder of a run, or a tree of runs.
    """


@command.command("list")
@logdir_argument
@run_option
@purge_option
@salvage_option
@_follow_option
@json_option
def list_command(logdir: str, runs: tuple[str, ...], purge: bool, salvage: bool, follow: bool, as_json: bool) -> None:
    """List runs and tags: kind, count, steps, last value. The exit status is 1 if a file is damaged."""
    log, chosen = open_log(logdir, runs, purge=purge, salvage=salvage)
    with log:
        if as_json:
            print_json({"path": logdir, "runs": [_describe(run) for run in chosen]})
        else:
            rows = [
                (escape_name(run.name), escape_name(tag), kind, f"{len(series)}", _steps(series), _last(kind, series))
                for run in chosen
                for kind, tag, series in _all_series(run)
            ]
            print_table(("run", "tag", "kind", "count", "steps", "last"), rows, numbers=("count",))
            print_line(f"{count_of(len(chosen), 'run')}, {count_of(len(rows), 'series')}")
            if not chosen:
                print_warning(f"no event files below {escape_name(logdir)}; 'tfbundle info' says what lies there")
        if follow:
            _follow(log, runs, (), as_json)
        report_troubles(log, chosen, salvage=salvage)


@command.command()
@logdir_argument
@click.argument("tag", shell_complete=complete_tags)
@run_option
@purge_option
@salvage_option
@_follow_option
@json_option
def show(logdir: str, tag: str, runs: tuple[str, ...], purge: bool, salvage: bool, follow: bool, as_json: bool) -> None:
    """Show a scalar: a plot (with 'tfbundle[plot]' installed) and figures; with --json all its points."""
    log, chosen = open_log(logdir, runs, purge=purge, salvage=salvage)
    with log:
        found = [(run, series) for run in chosen for series in choose_scalars(run, (tag,))]
        if not found:
            raise click.ClickException(_no_scalar(log, tag))
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
            print_json({"path": logdir, "series": shown})
        else:
            several = len({series.tag for _, series in found}) > 1
            if not several:
                _plot(found[0][1].tag, found)
            rows = [
                (escape_name(f"{run.name} {series.tag}" if several else run.name), *_figures(series))
                for run, series in found
            ]
            headers = ("run", "count", "first step", "last step", "first", "last", "min", "max", "mean")
            print_table(headers, rows, numbers=headers[1:])
        if follow:
            _follow(log, runs, (tag,), as_json)
        report_troubles(log, chosen, salvage=salvage)


command.add_command(export)
command.add_command(images)
command.add_command(audio)


def _no_scalar(log: EventLog, tag: str) -> str:
    tags = dict.fromkeys(tag for run in log.runs.values() for tag in run.scalars)
    kinds = {kind for run in log.runs.values() for kind, other, _ in _all_series(run) if other == tag}
    what = f"'{escape_name(tag)}' holds {', '.join(sorted(kinds))}" if kinds else f"no scalar '{escape_name(tag)}'"
    return f"{what} in {log.path}; {'scalars are' if kinds else 'there is'} {listed(tags)}"


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
                "last_value": series.values[-1] if kind == "scalars" and len(series) else None,
            }
            for kind, tag, series in _all_series(run)
        ],
        "truncations": {path: found._asdict() for path, found in run.truncations.items()},
        "losses": {
            path: [{**loss._asdict(), "error": str(loss.error)} for loss in losses]
            for path, losses in run.losses.items()
        },
    }


def _steps(series: Series) -> str:
    if not len(series):
        return "-"
    lowest, highest = int(series.steps.min()), int(series.steps.max())  # After a restart the last is not the highest.
    return f"{lowest}" if lowest == highest else f"{lowest}..{highest}"


def _last(kind: str, series: Any) -> str:
    """Return the last point, if it is one number or one string."""
    if not len(series) or kind not in ("scalars", "text", "tensors"):
        return "-"
    if kind == "scalars":
        return _short(series.values[-1])
    try:
        element = series[-1]
    except TfBundleError:
        return "-"  # 'events show' says what is wrong with it.
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
        return "-"  # A message, as plugins keep some.
    return escape_name(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}...")


def _short(number: Any) -> str:
    number = number.item() if hasattr(number, "item") else number
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def _figures(series: ScalarSeries) -> tuple[str, ...]:
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


def _plot(tag: str, found: list[tuple[Run, ScalarSeries]]) -> None:
    try:
        import plotext  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        return
    if not hasattr(plotext, "clear_figure"):  # Since its version 6, it is another library.
        return
    import numpy as np

    from tfbundle.tensors.dtypes import cast

    plotext.clear_figure()
    drawn = False
    for run, series in found:
        values = cast(series.values, np.float64) if series.values.dtype.kind in "fiub" else np.zeros(0)
        finite = np.flatnonzero(np.isfinite(values)) if len(values) else values.astype(int)
        if len(finite):
            drawn = True
            plotext.plot(series.steps[finite].tolist(), values[finite].tolist(), label=escape_name(run.name))
    if drawn:
        plotext.title(escape_name(tag))
        plotext.plotsize(min(plotext.terminal_width() or 80, 120), 20)
        colour = use_colour()
        drawing = plotext.build() if colour else plotext.uncolorize(plotext.build())
        # Escaped, a drawing shows nothing; that happens where Windows writes to a pipe or a file.
        with suppress(UnicodeEncodeError):
            drawing.encode(sys.stdout.encoding)
            (print_coloured if colour else print_lines)(drawing)


def _follow(log: EventLog, runs: tuple[str, ...], tags: tuple[str, ...], as_json: bool) -> None:
    """Print each point that is new, until somebody stops it."""
    seen = {(run.name, series.tag): series for run in choose_runs(log, runs) for series in choose_scalars(run, tags)}
    while True:
        sys.stdout.flush()
        time.sleep(_PAUSE)
        if not log.refresh():
            continue
        watched = [run for run in log.runs.values() if not runs or any(select(name, [run.name]) for name in runs)]
        for run in log.runs.values():
            for series in choose_scalars(run, tags) if run in watched else []:
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
    """How many points at the start of a series were there before: as a rule all, but for a purge or another file."""
    if before is None:
        return 0
    count = min(len(before), len(series))
    walls = before.wall_times[:count].view("i8") == series.wall_times[:count].view("i8")  # NaN is the same as NaN.
    same = walls & (before.steps[:count] == series.steps[:count])
    return count if same.all() else int(same.argmin())
