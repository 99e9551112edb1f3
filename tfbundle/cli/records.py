"""``tfbundle records``: count, check and dump the records of a TFRecord file."""

from __future__ import annotations

import base64
import shlex

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_json, print_line, progress_bar
from tfbundle.formats.records.compression import COMPRESSIONS
from tfbundle.printable import count_of, format_size


@click.command(short_help="Count the records of a TFRecord file; verify checksums.")
@click.argument("file", type=PATH)
@click.option("--compression", type=click.Choice(COMPRESSIONS), help="The compression.  [default: detected]")
@click.option("--salvage", is_flag=True, help="Skip damaged records and continue after them.")
@click.option("--dump", is_flag=True, help="Print one JSON line per record: number, offset, size and data (Base64).")
@json_option
def command(file: str, compression: str | None, salvage: bool, dump: bool, as_json: bool) -> None:
    """Count the records of a TFRecord file, and verify their checksums.

    The exit status is 1 if the last record is truncated or --salvage skipped any data, and 2 if a record is damaged.
    """
    from tfbundle.formats.records.tfrecord import read_records
    from tfbundle.storage.locations import locate

    _check_kind(file, compression)
    count = size = largest = done = 0
    stat = locate(file).stat()
    whole = None if stat is None else stat.size
    with progress_bar("reading") as progress, read_records(file, compression=compression, salvage=salvage) as records:
        for payload in records:
            if dump:
                data = base64.b64encode(payload).decode()
                print_json(
                    {"record": records.number, "offset": records.offset, "size": len(payload), "data": data},
                    document="records-record",
                )
            count += 1
            size += len(payload)
            largest = max(largest, len(payload))
            if progress is not None and whole is not None and records.done > done:
                done = records.done
                progress(done, whole)
    truncation, losses = records.truncation, records.losses
    if as_json:
        print_json(
            {
                "path": file,
                "compression": records.compression,
                "records": count,
                "payload_bytes": size,
                "largest": largest,
                "truncation": truncation and truncation._asdict(),
                "losses": [{**loss._asdict(), "error": str(loss.error)} for loss in losses],
            }
        )
    elif not dump:
        wrapped = "" if records.compression == "NONE" else f", {records.compression}"
        print_line(f"{count_of(count, 'record')}, {format_size(size)}, the largest {format_size(largest)}{wrapped}")
        if truncation is not None:
            if truncation.size:
                left = count_of(truncation.size, "byte")
                print_line(f"the last record, at offset {truncation.offset}, is truncated ({left} left)")
            else:
                print_line("the compressed stream is truncated, and records may be lost")
        for loss in losses:
            print_line(f"left out {count_of(loss.size, 'byte')} at offset {loss.offset}, record {loss.number}")
    if truncation is not None or losses:
        raise click.exceptions.Exit(1)


def _check_kind(file: str, compression: str | None) -> None:
    """Raise ``UnsupportedError`` if a file is known to be of another kind; its records would all look damaged."""
    from tfbundle.checkpoint.find.names import prefix_of_member
    from tfbundle.cli.next_commands import next_step
    from tfbundle.errors import MissingFileError, UnsupportedError
    from tfbundle.identification.files import kind_of
    from tfbundle.identification.kinds import PACKED, FileKind
    from tfbundle.storage.locations import locate

    location = locate(file)
    if not location.path:
        raise MissingFileError("the path is empty; pass a file of records", path=location.path)
    if location.is_folder():
        raise UnsupportedError(
            f"{location} is a folder, not a file of records; 'tfbundle info {shlex.quote(file)}' lists its contents",
            path=location.path,
        )
    if compression is not None:
        return
    kind = kind_of(location)
    # The data file of a checkpoint may contain any bytes, so only its name identifies it.
    if kind is FileKind.UNKNOWN and (prefix := prefix_of_member(location.path)) is not None:
        command = f"'tfbundle ls {shlex.quote(prefix)}'"
        raise UnsupportedError(
            f"{location} is a data file of a checkpoint, not a file of records; use {command}", path=location.path
        )
    # A file whose first record is damaged cannot be identified.
    if kind not in (FileKind.TFRECORD, FileKind.EVENTS, FileKind.UNKNOWN, FileKind.EMPTY, *PACKED):
        raise UnsupportedError(
            f"{location} is {kind.value}, not a file of records; {next_step(kind, file)}", path=location.path
        )
