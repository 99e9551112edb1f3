"""``tfbundle convert``: tensors written to another format, renamed, cast and thinned out on the way."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import format_option, json_option, path_argument
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
from tfbundle.cli.findings import common_folder, print_findings
from tfbundle.cli.output import print_json, print_line, print_warning, progress_bar
from tfbundle.cli.wording import for_command
from tfbundle.errors import ChecksumError, TruncatedError

if TYPE_CHECKING:
    from tfbundle.checkpoint.find.names import Format


@click.command(short_help="Write tensors to another format, selected and renamed.")
@path_argument
@click.argument("out", type=PATH)
@conversion_options
@click.option("--salvage", is_flag=True, help="Write what is intact of a damaged checkpoint, and list what is lost.")
@json_option
@format_option
def command(path: str, out: str, salvage: bool, as_json: bool, format: Format | None, **options: Any) -> None:
    """Write the tensors to OUT, the prefix of a checkpoint, a .npz, .safetensors or .h5 file, or a .zarr folder.

    PATH may also be a .npz, .safetensors, .h5 or .keras file.

    Memory stays small, however large the checkpoint is. A file that is already at OUT is replaced once the new one is
    complete; whatever goes wrong before leaves it as it is. With --salvage the exit status is 1 if something is lost.

    A GLOB that matches no stored name is compared with the names of variables of TensorFlow 2, such as dense/kernel,
    and a tensor that --names selects by such a name is written under it.

    \b
    tfbundle convert run/model.ckpt-1000 model.safetensors
    tfbundle convert run/ stripped.ckpt --no-slots
    tfbundle convert run/ weights.npz --cast bfloat16=float32
    tfbundle convert run/ out.npz --rename 'layer_(\\d+)=h\\1' --dry-run
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.conversion.convert import convert
    from tfbundle.conversion.sources.opening import open_source
    from tfbundle.storage.replacing import is_stdout

    no_slots = options["no_slots"]
    check_format(out, options["to"])
    choices = read_choices(options)
    with (
        open_source(path, format=format, salvage=salvage) as source,
        progress_bar("converting") as progress,
        refusals(),
    ):
        try:
            done = convert(source, out, progress=progress, **choose_names(source, choices))
        except (ChecksumError, TruncatedError) as error:
            hint = "" if salvage else "; add --salvage to write what is intact"
            raise click.ClickException(for_command(str(error)) + hint) from None
    lost = source.lost
    if as_json:
        facts = facts_of(done, no_slots=no_slots)
        print_json({**facts, "lost": [asdict(finding) for finding in lost]} if salvage else facts)
    else:
        # The output itself may go to stdout.
        beside = is_stdout(out) and not done.dry_run
        if done.dry_run:
            print_plan(done)
        if lost and not beside:
            print_line("lost:")
            print_findings(lost, common_folder(finding.path for finding in lost if finding.path is not None))
        print_result(done, print_warning if beside else print_line, no_slots=no_slots)
    if lost:
        raise click.exceptions.Exit(1)
