"""Arguments and options that several commands share: a path, its format, names of tensors, and JSON output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from tfbundle.cli.completion import PATH, complete_tensors
from tfbundle.cli.wording import for_command
from tfbundle.printable import escape_name, unescape_name

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format
    from tfbundle.tensors.mapping import TensorMapping

# A name followed by an index. Names that contain brackets themselves are tried first.
_WITH_INDEX = re.compile(r"(.+)\[([^\[\]]*)\]", re.DOTALL)

path_argument = click.argument("path", type=PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
format_option = click.option(
    "--format",
    type=click.Choice(["v1", "v2"]),
    help="The format to read if a V1 and a V2 checkpoint share a name.  [default: v2]",
)
names_option = click.option(
    "--names",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_tensors,
    help="Include only tensors that match GLOB; may be repeated.",
)
exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_tensors,
    help="Exclude tensors that match GLOB; may be repeated.",
)


def open_tensors(path: str, format: Format | None, *, salvage: bool = False) -> TensorMapping:
    """Return the tensors of ``path`` as a mapping of lazy tensors; with ``salvage``, only those that are intact."""
    from tfbundle import open_tensors as opening

    return opening.open_tensors(path, format=format, salvage=salvage)


def find_name(checkpoint: TensorMapping, text: str) -> str:
    """Return the name of the tensor that ``text`` means: a name as printed, a name as stored, or a variable's name."""
    name = _exact_name(checkpoint, text)
    return _key_of(checkpoint, _spellings(text)[0]) if name is None else name


def find_part(checkpoint: TensorMapping, text: str) -> tuple[str, str | None]:
    """Return the name that ``text`` means, and the index that follows it, as in ``conv1/kernel[0:2,:]``, if any.

    A tensor or variable whose whole name is ``text`` takes precedence.
    """
    match = _WITH_INDEX.fullmatch(text)
    if match is None or _exact_name(checkpoint, text) is not None or text in variable_names(checkpoint).values():
        return find_name(checkpoint, text), None
    return find_name(checkpoint, match[1]), match[2]


def _spellings(text: str) -> tuple[str, str]:
    """Return both readings of ``text``: as an escaped name and as a literal one, the likelier first."""
    meant = unescape_name(text)
    return (meant, text) if escape_name(meant) == text else (text, meant)


def _exact_name(checkpoint: TensorMapping, text: str) -> str | None:
    return next((name for name in _spellings(text) if name in checkpoint), None)


def _key_of(checkpoint: TensorMapping, variable: str) -> str:
    from tfbundle.checkpoint.chosen_names import key_of

    try:
        return key_of(checkpoint, variable)
    except KeyError as error:
        raise click.ClickException(for_command(error.args[0])) from None


def choose_copies(checkpoint: TensorMapping, names: Mapping[str, str]) -> dict[str, str]:
    """Return the result of ``match_names``, with one copy of each variable that is stored several times."""
    return {name if name == called else _key_of(checkpoint, called): called for name, called in names.items()}


def match_names(checkpoint: TensorMapping, globs: Sequence[str]) -> dict[str, str]:
    """Return the tensors that match any of the globs, in stored order, each with the name that matched.

    Raises ``ClickException`` if a glob matches nothing. A glob that equals a name matches only that tensor.
    """
    from tfbundle.checkpoint import chosen_names

    found: dict[str, str] = {}
    for glob in globs:
        name = _exact_name(checkpoint, glob)
        try:
            found.update(chosen_names.match_names(checkpoint, unescape_name(glob) if name is None else name))
        except KeyError as error:
            raise click.ClickException(error.args[0] + hint_of_expansion(glob)) from None
    return {name: found[name] for name in checkpoint if name in found}


def match_in_either(first: TensorMapping, second: TensorMapping, globs: Sequence[str]) -> frozenset[str]:
    """Return the tensors of two checkpoints that match any of the globs; each must match in at least one of them."""
    found: set[str] = set()
    for glob in globs:
        problem = None
        for other, checkpoint in enumerate((first, second)):
            try:
                found.update(match_names(checkpoint, [glob]))
            except click.ClickException as error:
                if other and problem is not None:
                    raise problem from None
                problem = error
    return frozenset(found)


def hint_of_expansion(glob: str) -> str:
    """Return advice for when a shell may have expanded a pattern to file names; else an empty string."""
    from tfbundle.storage.locations import locate

    location = locate(glob)
    is_there = location.is_file() or location.is_folder()
    return "; a file of this name exists: quote patterns, so that the shell does not expand them" if is_there else ""


def variable_names(checkpoint: TensorMapping) -> Mapping[str, str]:
    """Return the names of variables by tensor, if the checkpoint stores objects and its data files exist."""
    from tfbundle.errors import TfBundleError

    try:
        return checkpoint.objects.variable_names if checkpoint.objects is not None else {}
    except TfBundleError:
        return {}
