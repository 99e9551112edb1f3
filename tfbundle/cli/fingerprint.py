"""``tfbundle fingerprint``: the SHA-256 of each tensor and of all together, independent of how they are stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import (
    exclude_option,
    format_option,
    json_option,
    match_names,
    names_option,
    open_tensors,
    path_argument,
)
from tfbundle.cli.output import print_json, print_line, progress_bar
from tfbundle.cli.wording import for_command
from tfbundle.natural_order import natural_key
from tfbundle.printable import escape_name, one_line

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format


@click.command(short_help="Print a SHA-256 of each tensor, and of the checkpoint.")
@path_argument
@json_option
@format_option
@names_option
@exclude_option
def command(path: str, as_json: bool, format: Format | None, names: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    """Print a SHA-256 for each tensor, then one for the whole checkpoint.

    The hashes depend only on names, dtypes, shapes and values. A copy with different sharding has the same hashes.
    """
    import tfbundle

    with open_tensors(path, format) as opened, progress_bar("hashing") as progress:
        found = tfbundle.fingerprint(
            opened,
            names=list(match_names(opened, names)) if names else None,
            exclude=list(match_names(opened, exclude)) if exclude else None,
            progress=progress,
        )
    if as_json:
        print_json(asdict(found))
    else:
        for name in sorted(found.tensors, key=natural_key):
            print_line(f"{found.tensors[name]}  {escape_name(name)}")
        for finding in found.unreadable:
            print_line(
                f"! {escape_name(finding.tensor or '')}  {finding.kind}: {one_line(for_command(finding.message))}"
            )
        print_line(str(found))
    if found.unreadable:
        raise click.exceptions.Exit(1)
