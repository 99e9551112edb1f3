"""``tfbundle export``: the tensors as ``.npz`` or ``.safetensors``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import (
    choose_copies,
    format_option,
    json_option,
    match_names,
    open_tensors,
    path_argument,
)
from tfbundle.cli.findings import common_folder, print_findings
from tfbundle.cli.output import count_of, format_size, one_line, print_json, print_line, progress_bar
from tfbundle.errors import TfBundleError

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format


@click.command()
@path_argument
@click.argument("out")
@click.option("--to", type=click.Choice(["npz", "safetensors"]), help="The format, if the suffix of OUT does not tell.")
@click.option("--names", multiple=True, metavar="GLOB", help="Write only these; may be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these out; may be repeated.")
@click.option(
    "--no-slots",
    is_flag=True,
    help="Leave out optimizer slots: those that TensorFlow 2 stores as such, and of TensorFlow 1 what is called like "
    "one, such as w/Adam and w/Momentum.",
)
@click.option(
    "--cast",
    multiple=True,
    metavar="TYPE|FROM=TO",
    help="Convert all floating-point tensors to TYPE (or all integers, if it is one), or those of type FROM; may be "
    "repeated.",
)
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
    cast: tuple[str, ...],
    salvage: bool,
    as_json: bool,
    format: Format | None,
) -> None:
    """Write the tensors to OUT, a .npz or .safetensors file.

    Memory stays small, however large the checkpoint is. A file that is already at OUT is replaced once the new one is
    complete; whatever goes wrong before leaves it as it is. With --salvage the exit status is 1 if something is lost.

    A GLOB that matches no stored name is held against the names of variables of TensorFlow 2, such as dense/kernel, and
    what --names chooses so is called so.

    \b
    tfbundle export run/model.ckpt-1000 model.safetensors
    tfbundle export run/ weights.npz --no-slots --cast bfloat16=float32
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.conversion.export import export, output_format

    try:
        output_format(out, to)
    except ValueError:
        raise click.UsageError(
            f"'{out}' does not tell its format; end it with .npz or .safetensors, or pass --to."
        ) from None
    with open_tensors(path, format, salvage=salvage) as checkpoint:
        chosen = choose_copies(checkpoint, match_names(checkpoint, names)) if names else None
        left_out = list(match_names(checkpoint, exclude)) if exclude else None
        with progress_bar("exporting") as progress:
            try:
                written = export(
                    checkpoint,
                    out,
                    to=to,
                    names=chosen,
                    exclude=left_out,
                    cast=cast,
                    slots=not no_slots,
                    progress=progress,
                )
            except ValueError as error:
                if isinstance(error, TfBundleError):
                    raise
                raise click.ClickException(str(error)) from None
    lost = checkpoint.lost
    if as_json:
        facts = {"path": written.path, "format": written.format, "tensors": written.tensors, "nbytes": written.nbytes}
        print_json({**facts, "lost": [asdict(finding) for finding in lost]} if salvage else facts)
    else:
        if lost:
            print_line("lost:")
            print_findings(lost, common_folder(finding.path for finding in lost if finding.path is not None))
        print_line(f"{one_line(out)}: {count_of(written.tensors, 'tensor')}, {format_size(written.nbytes)}")
    if lost:
        raise click.exceptions.Exit(1)
