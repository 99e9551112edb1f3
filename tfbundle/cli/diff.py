"""``tfbundle diff``: the differences between two checkpoints, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import (
    exclude_option,
    format_option,
    json_option,
    match_in_either,
    names_option,
    open_tensors,
)
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_json, print_line, progress_bar
from tfbundle.cli.wording import for_command
from tfbundle.natural_order import natural_key
from tfbundle.printable import count_of, escape_name, format_shape, one_line

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format
    from tfbundle.comparison.diff import Change


@click.command()
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@json_option
@format_option
@names_option
@exclude_option
def command(
    a: str, b: str, as_json: bool, format: Format | None, names: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    """Compare the tensors of two checkpoints by value.

    The format, sharding and compression of the files do not matter. For a frozen graph, its constants are compared. A
    model saved both as a SavedModel and as a checkpoint is compared by the names of its variables. NaN equals NaN.

    Each line begins with a mark: - for a tensor that only A has, + for one that only B has, ~ for one that differs, and
    ! for one that cannot be read.

    The exit status is 0 if the tensors are equal, and 1 if any differ or cannot be read.
    """
    import tfbundle

    with open_tensors(a, format) as first, open_tensors(b, format) as second, progress_bar("comparing") as progress:
        found = tfbundle.diff(
            first,
            second,
            names=match_in_either(first, second, names).__contains__ if names else None,
            exclude=match_in_either(first, second, exclude).__contains__ if exclude else None,
            progress=progress,
        )
    if as_json:
        print_json(asdict(found))
    else:
        for name in sorted(found.removed, key=natural_key):
            print_line(f"- {escape_name(name)}")
        for name in sorted(found.added, key=natural_key):
            print_line(f"+ {escape_name(name)}")
        for change in sorted(found.changed, key=lambda change: natural_key(change.name)):
            print_line(f"~ {escape_name(change.name)}  {_describe(change)}")
        for finding in found.unreadable:
            print_line(
                f"! {escape_name(finding.tensor or '')}  {finding.kind}: {one_line(for_command(finding.message))}"
            )
        print_line(
            f"{count_of(len(found.removed), 'tensor')} removed, {len(found.added):,} added, "
            f"{len(found.changed):,} changed, "
            f"{f'{len(found.unreadable):,} unreadable, ' if found.unreadable else ''}{found.same:,} the same"
        )
    if found:
        raise click.exceptions.Exit(1)


def _describe(change: Change) -> str:
    from tfbundle.tensors.dtypes import python_name

    if change.differing is None:
        before, after = (
            f"{python_name(data_type)} {format_shape(shape)}"
            for data_type, shape in zip(change.data_types, change.shapes, strict=True)
        )
        return f"{before} became {after}"
    text = f"{change.differing:,} of {count_of(math.prod(change.shapes[0]), 'element')}"
    if change.largest_absolute is not None:
        text += f", by at most {change.largest_absolute:.6g}"
        text += f" (relative {change.largest_relative:.6g})"
    return f"{text}, {change.nans:,} NaN in only one" if change.nans else text
