"""``tfbundle convert``: tensors written to another format, renamed, cast and thinned out on the way."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import (
    choose_copies,
    format_option,
    json_option,
    match_names,
    path_argument,
)
from tfbundle.cli.findings import common_folder, print_findings
from tfbundle.cli.output import (
    count_of,
    escape_name,
    format_shape,
    format_size,
    one_line,
    print_json,
    print_line,
    print_table,
    print_warning,
    progress_bar,
)
from tfbundle.cli.wording import for_command
from tfbundle.errors import TfBundleError

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format
    from tfbundle.conversion.convert import Converted
    from tfbundle.findings import Finding

_HEADERS = ("name", "new name", "type", "shape", "bytes", "action")
_LARGEST_MAPPING = 1 << 26
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A number of bytes, with a unit or without."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes of ``500M``, ``2GiB`` or ``1000000``."""
        if isinstance(value, int):
            return value
        text = value.strip().upper().removesuffix("IB").removesuffix("B")
        number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS and text[-1:] else (text, "")
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            self.fail(f"'{value}' is no size such as 500M or 2G.", param, ctx)
        return int(number) * _UNITS[unit]


@click.command()
@path_argument
@click.argument("out")
@click.option(
    "--to", type=click.Choice(["npz", "safetensors", "hdf5"]), help="The format, if the suffix of OUT does not tell."
)
@click.option("--names", multiple=True, metavar="GLOB", help="Write only these; may be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these out; may be repeated.")
@click.option(
    "--no-slots",
    is_flag=True,
    help="Leave out optimizer slots: those that TensorFlow 2 stores as such, and of TensorFlow 1 what is called like "
    "one, such as w/Adam and w/Momentum.",
)
@click.option("--averages", is_flag=True, help="Write moving averages under the names of their variables.")
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    help="Rename the tensor OLD, or replace what the regular expression OLD finds in names by NEW (\\1 is its first "
    "group); may be repeated, in order.",
)
@click.option(
    "--rename-file", metavar="FILE", help='Rename as a JSON file says, {"OLD": "NEW", ...}, before any --rename.'
)
@click.option(
    "--cast",
    multiple=True,
    metavar="TYPE|FROM=TO",
    help="Convert all floating-point tensors to TYPE (or all integers, if it is one), or those of the type, name or "
    "glob FROM; may be repeated.",
)
@click.option(
    "--transpose", multiple=True, metavar="GLOB=AXES", help="Reorder axes, as in '*/kernel=1,0'; may be repeated."
)
@click.option("--shards", type=click.IntRange(min=1), help="Divide the output into so many files.")
@click.option("--shard-size", type=Size(), help="Divide the output into files of at most this size, such as 2G.")
@click.option("--overwrite", is_flag=True, help="Replace files, even those of a checkpoint, a graph or a run.")
@click.option("--dry-run", is_flag=True, help="Check everything, print the plan, and write nothing.")
@click.option("--salvage", is_flag=True, help="Write what is intact of a damaged checkpoint, and list what is lost.")
@json_option
@format_option
def command(
    path: str,
    out: str,
    to: str | None,
    names: tuple[str, ...],
    exclude: tuple[str, ...],
    no_slots: bool,
    averages: bool,
    rename: tuple[str, ...],
    rename_file: str | None,
    cast: tuple[str, ...],
    transpose: tuple[str, ...],
    shards: int | None,
    shard_size: int | None,
    overwrite: bool,
    dry_run: bool,
    salvage: bool,
    as_json: bool,
    format: Format | None,
) -> None:
    """Write the tensors to OUT, a .npz, .safetensors or .h5 file.

    PATH may also be a .npz, .safetensors, .h5 or .keras file.

    Memory stays small, however large the checkpoint is. A file that is already at OUT is replaced once the new one is
    complete; whatever goes wrong before leaves it as it is. With --salvage the exit status is 1 if something is lost.

    A GLOB that matches no stored name is compared with the names of variables of TensorFlow 2, such as dense/kernel,
    and what --names chooses by such a name is called so.

    \b
    tfbundle convert run/model.ckpt-1000 model.safetensors
    tfbundle convert run/ weights.npz --no-slots --cast bfloat16=float32
    tfbundle convert run/ out.npz --rename '^bert/=' --rename 'layer_(\\d+)=h\\1' --dry-run
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.conversion.convert import convert
    from tfbundle.conversion.sources.opening import open_source
    from tfbundle.conversion.targets.choosing import target_of
    from tfbundle.storage.locations import locate
    from tfbundle.storage.replacing import is_stdout

    try:
        target_of(locate(out), to)
    except ValueError:
        raise click.UsageError(
            f"'{out}' does not tell its format; end it with .npz, .safetensors or .h5, or pass --to."
        ) from None
    rules = [*_read_renames(rename_file), *(_pair(text, "--rename OLD=NEW") for text in rename)]
    axes = {pattern: _parse_axes(text) for pattern, text in (_pair(one, "--transpose GLOB=AXES") for one in transpose)}
    with open_source(path, format=format, salvage=salvage) as checkpoint:
        chosen = choose_copies(checkpoint, match_names(checkpoint, names)) if names else None
        left_out = list(match_names(checkpoint, exclude)) if exclude else None
        with progress_bar("converting") as progress:
            try:
                done = convert(
                    checkpoint,
                    out,
                    to=to,
                    names=chosen,
                    rename=rules,
                    exclude=left_out,
                    cast=cast,
                    transpose=axes,
                    slots=not no_slots,
                    averages=averages,
                    shards=shards,
                    shard_size=shard_size,
                    overwrite=overwrite,
                    progress=progress,
                    dry_run=dry_run,
                )
            except (ValueError, KeyError) as error:
                if isinstance(error, TfBundleError):
                    raise
                raise click.ClickException(for_command(str(error.args[0]))) from None
    lost = checkpoint.lost
    if as_json:
        facts = _facts(done, no_slots=no_slots)
        print_json({**facts, "lost": [asdict(finding) for finding in lost]} if salvage else facts)
    else:
        _print(done, lost, no_slots=no_slots, beside=is_stdout(out))
    if lost:
        raise click.exceptions.Exit(1)


def _facts(done: Converted, *, no_slots: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "path": done.path,
        "format": done.format,
        "tensors": done.tensors,
        "nbytes": done.nbytes,
        "files": list(done.files),
        "left_out": _left_out(done, no_slots=no_slots),
    }
    if done.dry_run:
        facts["plan"] = [item._asdict() for item in done.items]
    return facts


def _left_out(done: Converted, *, no_slots: bool) -> dict[str, int]:
    """Return how many tensors were left out by the reason; without slots a zero shows that none was recognised."""
    return {**({"left out: optimizer slot": 0} if no_slots else {}), **done.left_out}


def _print(done: Converted, lost: tuple[Finding, ...], *, no_slots: bool, beside: bool) -> None:
    """Print what was done; on stderr where the output itself went to stdout."""
    say = print_warning if beside and not done.dry_run else print_line
    if done.dry_run:
        rows = [
            [
                escape_name(item.name),
                "-" if item.new_name is None else escape_name(item.new_name),
                item.dtype,
                format_shape(item.shape),
                f"{item.nbytes:,}",
                item.action,
            ]
            for item in done.items
        ]
        print_table(_HEADERS, rows, ["bytes"])
    if lost:
        print_line("lost:")
        print_findings(lost, common_folder(finding.path for finding in lost if finding.path is not None))
    for reason, count in _left_out(done, no_slots=no_slots).items():
        say(f"{count_of(count, 'tensor')} {reason}")
    verb = "would be written: " if done.dry_run else ""
    say(f"{one_line(done.path)}: {verb}{count_of(done.tensors, 'tensor')}, {format_size(done.nbytes)}")


def _pair(text: str, usage: str) -> tuple[str, str]:
    old, sign, new = text.rpartition("=") if usage.startswith("--transpose") else text.partition("=")
    if not sign or not old:
        raise click.UsageError(f"'{text}' is not of the form {usage}.")
    return old, new


def _parse_axes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and len(part) < 9 for part in parts):
        raise click.UsageError(f"'{text}' are no axes such as 1,0 or 3,2,0,1.")
    return tuple(int(part) for part in parts)


def _read_renames(path: str | None) -> list[dict[str, str]]:
    if path is None:
        return []
    import json

    from tfbundle.storage.locations import locate

    try:
        rules = json.loads(locate(path).read(_LARGEST_MAPPING))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.ClickException(f"{path} is not JSON: {error}") from None
    if not isinstance(rules, dict) or not all(isinstance(new, str) for new in rules.values()):
        raise click.ClickException(f'{path} is expected to hold one object of names, {{"OLD": "NEW", ...}}')
    return [rules]
