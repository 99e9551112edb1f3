"""``tfbundle average``: the average of several checkpoints, or of the last of a folder."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.choices import (
    check_format,
    choose_names,
    conversion_options,
    facts_of,
    print_plan,
    print_result,
    read_choices,
    refusals,
)
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_json, print_line, print_table, progress_bar
from tfbundle.printable import escape_name, format_size

if TYPE_CHECKING:
    from tfbundle.conversion.averaging import Input


@click.command(short_help="Average checkpoints, or the last of a folder.")
@click.argument("sources", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.argument("out", type=PATH)
@click.option("--last", type=int, help="Of a folder, average this many checkpoints of the highest steps.")
@click.option("--weight", "shares", multiple=True, type=float, help="The weight of each PATH, in order; repeated.")
@click.option("--decay", type=float, help="Weigh each checkpoint this many times as much as the next newer one.")
@conversion_options
@json_option
def command(
    sources: tuple[str, ...],
    out: str,
    last: int | None,
    shares: tuple[float, ...],
    decay: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Average checkpoints, or the last of a folder, and write the average to OUT.

    Floating-point tensors are averaged; all others, such as steps, are those of the newest checkpoint. Memory stays
    small, however large the checkpoints are.

    \b
    tfbundle average run/ --last 10 averaged.safetensors
    tfbundle average model.ckpt-1 model.ckpt-2 out.npz --weight 1 --weight 3
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.conversion.averaging import open_average
    from tfbundle.conversion.convert import convert
    from tfbundle.storage.locations import locate
    from tfbundle.storage.replacing import is_stdout

    no_slots = options["no_slots"]
    check_format(out, options["to"])
    choices = read_choices(options)
    folder = sources[0] if len(sources) == 1 and locate(sources[0]).is_folder() else None
    given: Any = folder if folder is not None else list(sources)
    how: dict[str, Any] = {"last": last, "weights": shares or None, "decay": decay}
    with refusals(), open_average(given, **how) as (source, inputs):
        if not as_json and not is_stdout(out):
            _print_inputs(inputs)
        with progress_bar("averaging") as progress:
            done = convert(source, out, progress=progress, **choose_names(source, choices))
    if as_json:
        print_json({"inputs": [item._asdict() for item in inputs], **facts_of(done, no_slots=no_slots)})
        return
    if done.dry_run:
        print_plan(done)
    if not is_stdout(out) or done.dry_run:
        print_result(done, print_line, no_slots=no_slots)


def _print_inputs(inputs: list[Input]) -> None:
    total = sum(item.weight for item in inputs)
    rows = [
        [
            escape_name(item.path),
            "-" if item.step is None else f"{item.step:,}",
            "-" if item.time is None else datetime.fromtimestamp(item.time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S"),
            "-" if item.size is None else format_size(item.size),
            f"{item.weight / total:.1%}",
        ]
        for item in inputs
    ]
    print_table(("source", "step", "time (UTC)", "size", "share"), rows, ["step", "size", "share"])
