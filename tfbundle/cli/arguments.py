"""What several commands take: a path, its format, names of tensors, and whether a program will read the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from tfbundle.cli.output import escape_name, unescape_name

if TYPE_CHECKING:
    from tfbundle.checkpoint.checkpoint import Checkpoint
    from tfbundle.checkpoint.names import Format

path_argument = click.argument("path")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
format_option = click.option(
    "--format",
    type=click.Choice(["v1", "v2"]),
    help="Which one to take where a V1 and a V2 checkpoint share a name.  [default: v2]",
)


def open_tensors(path: str, format: Format | None, *, salvage: bool = False) -> Checkpoint:
    """What ``path`` means, as a mapping of lazy tensors; with ``salvage`` of those that are intact."""
    from tfbundle.checkpoint.checkpoint import open_checkpoint

    return open_checkpoint(path, format=format, salvage=salvage)


def find_name(checkpoint: Checkpoint, text: str) -> str:
    """The name that a person calls ``text``: as it is printed, or as it is."""
    meant = unescape_name(text)
    for name in (meant, text) if escape_name(meant) == text else (text, meant):
        if name in checkpoint:
            return name
    try:
        checkpoint[text]
    except KeyError as error:
        raise click.ClickException(error.args[0]) from None
    return text


def match_names(
    names: Iterable[str], globs: Sequence[str], where: str, variables: Mapping[str, str] | None = None
) -> list[str]:
    """Those names that one of the globs, or a name among them, means; each glob has to mean some.

    ``variables`` are names of variables by name, for the globs that mean no name itself.
    """
    names = list(names)
    found: set[str] = set()
    for glob in globs:
        means = _matcher(glob)
        matches = [name for name in names if means(name)]
        if not matches and variables:
            matches = [name for name in names if name in variables and means(variables[name])]
        if not matches:
            raise click.ClickException(f"no tensor in {where} matches '{glob}'")
        found.update(matches)
    return [name for name in names if name in found]


def _matcher(glob: str) -> Callable[[str], bool]:
    """Whether a glob means a name: as it is, or as it is printed."""
    import fnmatch
    import re

    pattern = re.compile(fnmatch.translate(glob))
    exact = {glob, unescape_name(glob)}
    return lambda name: name in exact or bool(pattern.match(name) or pattern.match(escape_name(name)))
