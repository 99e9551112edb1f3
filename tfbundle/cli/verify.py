"""``tfbundle verify``: every checksum, and whatever else can be told from a checkpoint's files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import format_option, json_option, path_argument
from tfbundle.cli.output import count_of, format_size, one_line, print_json, print_line, progress_bar

if TYPE_CHECKING:
    from tfbundle.checkpoint.names import Format


@click.command()
@path_argument
@json_option
@format_option
def command(path: str, as_json: bool, format: Format | None) -> None:
    """Check every checksum, and list the damage and what probably caused it.

    A frozen graph has no checksums; its constants are decoded.

    The exit status is 0 if nothing is wrong and 1 if something is.
    """
    import tfbundle

    with progress_bar("verifying") as progress:
        report = tfbundle.verify(path, format=format, progress=progress)
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        for finding in report.findings:
            print_line(f"{finding.kind}: {one_line(finding.message)}")
        for story in report.stories:
            print_line(f"probably: {one_line(story)}")
        if report.format == "graph":
            constants = count_of(report.tensors, "constant")
            checked = f"{report.recoverable:,} of {constants} decoded; a graph has no checksums"
        else:
            checked = f"{count_of(report.tensors, 'tensor')}, {format_size(report.nbytes)} verified"
            if not report.ok and report.tensors:
                checked += f"; {report.recoverable:,} can be read with --salvage"
        print_line(
            f"{one_line(path)}: {count_of(len(report.findings), 'finding') if report.findings else 'ok'}; {checked}"
        )
    if not report.ok:
        raise click.exceptions.Exit(1)
