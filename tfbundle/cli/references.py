"""``tfbundle references``: kerchunk references, with which Zarr reads the tensors from the checkpoint's own files."""

from __future__ import annotations

import json

import click

from tfbundle.cli.arguments import exclude_option, match_names, names_option, open_tensors, path_argument
from tfbundle.cli.choices import Size, refusals
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_line
from tfbundle.printable import escape_name


@click.command(short_help="Write kerchunk references, with which Zarr reads tensors.")
@path_argument
@click.option("-o", "--output", "out", type=PATH, default="-", help="The file to write.  [default: stdout]")
@click.option("--chunk-bytes", type=Size(), help="Divide tensors into chunks of about this size, such as 64M.")
@names_option
@exclude_option
def command(path: str, out: str, chunk_bytes: int | None, names: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    """Write kerchunk references to the tensors, which fsspec, Zarr, VirtualiZarr and icechunk read.

    References are a JSON file that describes the tensors as Zarr arrays, whose chunks are byte ranges of the
    checkpoint's own files. They contain neither checksums nor the version of a file: write them again when the
    checkpoint changes.

    \b
    tfbundle references run/model.ckpt-1000 -o refs.json
    tfbundle references s3://bucket/run/ --chunk-bytes 64M -o refs.json
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    from tfbundle.checkpoint.find.owned import check_output
    from tfbundle.storage.locations import locate
    from tfbundle.storage.replacing import replacement
    from tfbundle.views.references import zarr_references

    with refusals():
        text = json.dumps(zarr_references(path, chunk_bytes=chunk_bytes, names=_choose(path, names, exclude)))
        if out == "-":
            print_line(text)
            return
        check_output(locate(out), overwrite=None, sources=[locate(path)])
        with replacement(out) as file:
            file.write(text.encode() + b"\n")
    print_line(f"written: {escape_name(out)}")


def _choose(path: str, names: tuple[str, ...], exclude: tuple[str, ...]) -> list[str] | None:
    if not names and not exclude:
        return None
    with open_tensors(path, None) as tensors:
        left_out = match_names(tensors, exclude) if exclude else ()
        return [name for name in (match_names(tensors, names) if names else tensors) if name not in left_out]
