"""``tfbundle events``: what event files hold, a series as figures and as a plot, and all of it in other formats.

``tfbundle events LOGDIR`` is short for ``tfbundle events list LOGDIR``.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.output import count_of, escape_name, print_json, print_line, print_table, progress_bar
from tfbundle.errors import TfBundleError

if TYPE_CHECKING:
    from tfbundle.events.log import EventLog
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries, Series

# Seconds between two looks at files that are being written.
_PAUSE = 1.0
# Characters of a text that a table has room for.
_LONGEST_TEXT = 50
_SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "wav"))


class _DefaultGroup(click.Group):
    """A group that takes what is no command of its own for the arguments of ``list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["list", *args]
        return super().parse_args(ctx, args)


logdir_argument = click.argument("logdir")
run_option = click.option("--run", "runs", multiple=True, metavar="RUN", help="Only this run; may be repeated.")
tag_option = click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only this tag; may be repeated.")
purge_option = click.option("--purge", is_flag=True, help="Drop what TensorBoard drops after a restart.")
salvage_option = click.option("--salvage", is_flag=True, help="Leave out damaged records and go on behind them.")
follow_option = click.option("--follow", is_flag=True, help="Go on and print each new point of a live run.")


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
@follow_option
@json_option
def list_command(logdir: str, runs: tuple[str, ...], purge: bool, salvage: bool, follow: bool, as_json: bool) -> None:
    """List runs and tags: kind, count, steps, last value. The exit status is 1 if salvaging left anything out."""
    with _open(logdir, purge=purge, salvage=salvage) as log:
        chosen = _choose(log, runs)
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
            for run in chosen:
                _print_troubles(run)
        if follow:
            _follow(log, runs, (), as_json)
        if any(run.losses for run in chosen):
            raise click.exceptions.Exit(1)


@command.command()
@logdir_argument
@click.argument("tag")
@run_option
@purge_option
@salvage_option
@follow_option
@json_option
def show(logdir: str, tag: str, runs: tuple[str, ...], purge: bool, salvage: bool, follow: bool, as_json: bool) -> None:
    """Show a scalar: a plot (with plotext installed) and figures; with --json all its points."""
    with _open(logdir, purge=purge, salvage=salvage) as log:
        found = [(run, run.scalars[tag]) for run in _choose(log, runs) if tag in run.scalars]
        if not found:
            raise click.ClickException(_no_scalar(log, tag))
        if as_json:
            print_json(
                [
                    {
                        "run": run.name,
                        "tag": tag,
                        "steps": series.steps.tolist(),
                        "wall_times": list(map(_plain, series.wall_times.tolist())),
                        "values": list(map(_plain, series.values.tolist())),
                    }
                    for run, series in found
                ]
            )
        else:
            _plot(tag, found)
            rows = [(escape_name(run.name), *_figures(series)) for run, series in found]
            headers = ("run", "count", "first step", "last step", "first", "last", "min", "max", "mean")
            print_table(headers, rows, numbers=headers[1:])
        if follow:
            _follow(log, runs, (tag,), as_json)


@command.command()
@logdir_argument
@click.option("-o", "--out", required=True, help="The file to write; - is stdout.")
@click.option("--format", type=click.Choice(["csv", "jsonl", "parquet"]), help="By default what the suffix says.")
@run_option
@tag_option
@purge_option
@salvage_option
def export(
    logdir: str,
    out: str,
    format: str | None,
    runs: tuple[str, ...],
    tags: tuple[str, ...],
    purge: bool,
    salvage: bool,
) -> None:
    """Write scalars to a table of run, tag, step, wall_time and value: CSV, JSON lines or Parquet."""
    format = format or os.path.splitext(out)[1][1:].lower()
    if format not in ("csv", "jsonl", "parquet"):
        raise click.UsageError(f"'{out}' does not tell the format; add --format csv, jsonl or parquet")
    if format == "parquet" and out == "-":
        raise click.UsageError("Parquet goes into a file, not to stdout")
    with _open(logdir, purge=purge, salvage=salvage) as log:
        chosen = [(run, series) for run in _choose(log, runs) for series in _chosen_scalars(run, tags)]
        if format == "parquet":
            from tfbundle.events.tables import to_arrow

            table = to_arrow([(run.name, series) for run, series in chosen])
            import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]

            pyarrow.parquet.write_table(table, out)
        elif out == "-":
            _write_rows(sys.stdout, format, chosen)
        else:
            with open(out, "w", encoding="utf-8", newline="") as file:
                _write_rows(file, format, chosen)
    if out != "-":
        points = sum(len(series) for _, series in chosen)
        print_line(f"{out}: {count_of(points, 'point')} of {count_of(len(chosen), 'series')}")


@command.command()
@logdir_argument
@click.argument("folder")
@run_option
@tag_option
@salvage_option
def images(logdir: str, folder: str, runs: tuple[str, ...], tags: tuple[str, ...], salvage: bool) -> None:
    """Write images, as they are stored, to FOLDER/RUN/TAG/STEP-N.png."""
    _write_media("images", logdir, folder, runs, tags, salvage)


@command.command()
@logdir_argument
@click.argument("folder")
@run_option
@tag_option
@salvage_option
def audio(logdir: str, folder: str, runs: tuple[str, ...], tags: tuple[str, ...], salvage: bool) -> None:
    """Write audio, as it is stored, to FOLDER/RUN/TAG/STEP-N.wav."""
    _write_media("audio", logdir, folder, runs, tags, salvage)


def _open(logdir: str, *, purge: bool = False, salvage: bool = False) -> EventLog:
    from tfbundle.events.log import open_events

    log = open_events(logdir, purge=purge, salvage=salvage)
    with progress_bar("reading") as progress:
        log.load(progress)
    return log


def _choose(log: EventLog, names: tuple[str, ...]) -> list[Run]:
    for name in names:
        if name not in log.runs:
            raise click.ClickException(f"no run '{escape_name(name)}' in {log.path}; there is {_listed(log.runs)}")
    return [run for name, run in log.runs.items() if not names or name in names]


def _listed(names: Any) -> str:
    return ", ".join(map(escape_name, names)) or "none"


def _no_scalar(log: EventLog, tag: str) -> str:
    tags = dict.fromkeys(tag for run in log.runs.values() for tag in run.scalars)
    kinds = {kind for run in log.runs.values() for kind, other, _ in _all_series(run) if other == tag}
    what = f"'{escape_name(tag)}' holds {', '.join(sorted(kinds))}" if kinds else f"no scalar '{escape_name(tag)}'"
    return f"{what} in {log.path}; {'scalars are' if kinds else 'there is'} {_listed(tags)}"


def _chosen_scalars(run: Run, tags: tuple[str, ...]) -> list[ScalarSeries]:
    return [series for tag, series in run.scalars.items() if not tags or tag in tags]


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
                "last_value": _plain(series.values[-1].item()) if kind == "scalars" and len(series) else None,
            }
            for kind, tag, series in _all_series(run)
        ],
        "truncations": {path: found._asdict() for path, found in run.truncations.items()},
        "losses": {
            path: [(loss.offset, loss.size, str(loss.error)) for loss in found] for path, found in run.losses.items()
        },
    }


def _plain(value: Any) -> Any:
    """A number as JSON has it; NaN and infinities, which JSON has not, as words."""
    if isinstance(value, complex):
        return str(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _steps(series: Series) -> str:
    if not len(series):
        return "-"
    first, last = int(series.steps[0]), int(series.steps[-1])
    return f"{first}" if len(series) == 1 else f"{first}..{last}"


def _last(kind: str, series: Any) -> str:
    """The last point, if it is one number or one string."""
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

    count = len(series)
    if not count:
        return ("0", *"-" * 7)
    ends = (f"{series.steps[0]}", f"{series.steps[-1]}", _short(series.values[0]), _short(series.values[-1]))
    try:
        values = series.values.astype(np.float64)
    except (TypeError, ValueError):
        return (f"{count}", *ends, "-", "-", "-")
    finite = values[np.isfinite(values)]
    middle = (finite.min(), finite.max(), finite.mean()) if len(finite) else ()
    return (f"{count}", *ends, *(_short(float(number)) for number in middle), *["-"] * (3 - len(middle)))


def _plot(tag: str, found: list[tuple[Run, ScalarSeries]]) -> None:
    try:
        import plotext  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        return
    import numpy as np

    plotext.clear_figure()
    drawn = False
    for run, series in found:
        values = series.values.astype(np.float64) if series.values.dtype.kind in "fiub" else np.zeros(0)
        finite = np.flatnonzero(np.isfinite(values)) if len(values) else values.astype(int)
        if len(finite):
            drawn = True
            plotext.plot(series.steps[finite].tolist(), values[finite].tolist(), label=escape_name(run.name))
    if drawn:
        plotext.title(escape_name(tag))
        plotext.plotsize(min(plotext.terminal_width() or 80, 120), 20)
        drawing = plotext.build()
        print_line(drawing if sys.stdout.isatty() else plotext.uncolorize(drawing))


def _print_troubles(run: Run) -> None:
    for path, found in run.truncations.items():
        click.echo(
            f"{escape_name(path)}: a half-written record of {found.size} bytes at offset {found.offset}", err=True
        )
    for path, losses in run.losses.items():
        for loss in losses:
            click.echo(f"{escape_name(path)}: left out {loss.size} bytes at offset {loss.offset}", err=True)


def _follow(log: EventLog, runs: tuple[str, ...], tags: tuple[str, ...], as_json: bool) -> None:
    """Print each point that is new, until somebody stops it."""
    seen = {(run.name, series.tag): len(series) for run in log.runs.values() for series in run.scalars.values()}
    while True:
        sys.stdout.flush()
        time.sleep(_PAUSE)
        if not log.refresh():
            continue
        for run in log.runs.values():
            for series in _chosen_scalars(run, tags) if not runs or run.name in runs else []:
                before = seen.get((run.name, series.tag), 0)
                seen[run.name, series.tag] = len(series)
                # A file that was replaced by a shorter one is shown from its start.
                for place in range(before if before <= len(series) else 0, len(series)):
                    step, value = int(series.steps[place]), series.values[place]
                    if as_json:
                        plain = _plain(value.item() if hasattr(value, "item") else value)
                        print_json({"run": run.name, "tag": series.tag, "step": step, "value": plain})
                    else:
                        print_line(f"{escape_name(run.name)}  {escape_name(series.tag)}  {step}  {_short(value)}")


def _write_rows(file: Any, format: str, chosen: list[tuple[Run, ScalarSeries]]) -> None:
    import csv
    import json

    writer = csv.writer(file, lineterminator="\n")
    if format == "csv":
        writer.writerow(("run", "tag", "step", "wall_time", "value"))
    for run, series in chosen:
        rows = zip(series.steps.tolist(), series.wall_times.tolist(), series.values.tolist(), strict=True)
        if format == "csv":
            writer.writerows((run.name, series.tag, step, wall, value) for step, wall, value in rows)
            continue
        for step, wall, value in rows:
            row = {"run": run.name, "tag": series.tag, "step": step, "wall_time": _plain(wall), "value": _plain(value)}
            file.write(json.dumps(row, allow_nan=False) + "\n")


def _write_media(
    kind: str, logdir: str, folder: str, runs: tuple[str, ...], tags: tuple[str, ...], salvage: bool
) -> None:
    count = 0
    with _open(logdir, salvage=salvage) as log:
        for run in _choose(log, runs):
            for tag, series in getattr(run, kind).items():
                if tags and tag not in tags:
                    continue
                place = os.path.join(folder, *map(_safe, [*run.name.split("/"), *tag.split("/")]))
                seen: dict[int, int] = {}
                for step, element in zip(series.steps.tolist(), series, strict=True):
                    for data in element.encoded:
                        number = seen[step] = seen.get(step, -1) + 1
                        os.makedirs(place, exist_ok=True)
                        name = f"{step}-{number}.{_suffix(data)}"
                        with open(os.path.join(place, name), "wb") as file:
                            file.write(data)
                        count += 1
    print_line(f"{folder}: {count_of(count, 'file')}")


def _safe(part: str) -> str:
    """A part of a name as the name of a folder, which never leads elsewhere."""
    part = re.sub(r"[^\w .=,()+-]", "_", part)
    return part if part.strip(". ") else "_" * max(len(part), 1)


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "bin")
