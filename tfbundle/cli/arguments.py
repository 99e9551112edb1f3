"""What several commands take: a path, its format, names of tensors, and whether a program will read the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from tfbundle.cli.completion import PATH
from tfbundle.cli.output import escape_name, unescape_name

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format
    from tfbundle.tensors.mapping import TensorMapping

path_argument = click.argument("path", type=PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
format_option = click.option(
    "--format",
    type=click.Choice(["v1", "v2"]),
    help="Which one to take where a V1 and a V2 checkpoint share a name.  [default: v2]",
)


def open_tensors(path: str, format: Format | None, *, salvage: bool = False) -> TensorMapping:
    """What ``path`` means, as a mapping of lazy tensors; with ``salvage`` of those that are intact."""
    from tfbundle import open_tensors as opening

    return opening.open_tensors(path, format=format, salvage=salvage)


def find_name(checkpoint: TensorMapping, text: str) -> str:
    """The name of the tensor that a person calls ``text``: as it is printed, or as it is, or by its variable."""
    meant = unescape_name(text)
    spellings = (meant, text) if escape_name(meant) == text else (text, meant)
    for name in spellings:
        if name in checkpoint:
            return name
    return _key_of(checkpoint, spellings[0])


def _key_of(checkpoint: TensorMapping, variable: str) -> str:
    from tfbundle.checkpoint.chosen_names import key_of

    try:
        return key_of(checkpoint, variable)
    except KeyError as error:
        raise click.ClickException(error.args[0]) from None


def choose_copies(checkpoint: TensorMapping, names: Mapping[str, str]) -> dict[str, str]:
    """What ``match_names`` found, with one of the copies in which a variable may be stored."""
    return {name if name == called else _key_of(checkpoint, called): called for name, called in names.items()}


def match_names(checkpoint: TensorMapping, globs: Sequence[str]) -> dict[str, str]:
    """Return the tensors that one of the globs means, in their order, each with the name by which it was meant.

    Each glob has to mean some; a glob that is a name means the tensor of that name.
    """
    from tfbundle.checkpoint import chosen_names

    found: dict[str, str] = {}
    for glob in globs:
        try:
            found.update(chosen_names.match_names(checkpoint, glob if glob in checkpoint else unescape_name(glob)))
        except KeyError as error:
            raise click.ClickException(error.args[0]) from None
    return {name: found[name] for name in checkpoint if name in found}


def variable_names(checkpoint: TensorMapping) -> Mapping[str, str]:
    """The names of the variables by tensor, if it is a checkpoint of objects and its data are there."""
    from tfbundle.errors import TfBundleError

    try:
        return checkpoint.objects.variable_names if checkpoint.objects is not None else {}
    except TfBundleError:
        return {}
