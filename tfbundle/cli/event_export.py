"""``tfbundle events export``, ``images`` and ``audio``: the contents of event files, in other formats."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.event_log import (
    choose_scalars,
    demand_tags,
    logdir_argument,
    open_log,
    purge_option,
    report_troubles,
    run_option,
    salvage_option,
    tag_option,
)
from tfbundle.cli.output import print_json, print_line
from tfbundle.cli.table_files import TableFile, format_option, overwrite_option
from tfbundle.printable import count_of

if TYPE_CHECKING:
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries
    from tfbundle.storage.base import Location

# The longest name, in bytes; most file systems allow 255.
_LONGEST_PART = 200
_SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "wav"))
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d) *(?:\.|\Z)", re.IGNORECASE)


@click.command()
@logdir_argument
@click.option("-o", "--out", required=True, help="The file to write, or - for stdout.")
@format_option
@run_option
@tag_option
@purge_option
@overwrite_option
@salvage_option
@json_option
def export(
    logdir: str,
    out: str,
    format: str | None,
    runs: tuple[str, ...],
    tags: tuple[str, ...],
    purge: bool,
    overwrite: bool,
    salvage: bool,
    as_json: bool,
) -> None:
    """Write scalars to a CSV, JSON Lines or Parquet table.

    The columns are run, tag, step, wall_time and value. All points are in memory at once; for thousands of runs, or a
    table that grows with them, use 'tfbundle events dataset'.
    """
    file = TableFile(out, format, as_json=as_json)
    opened = open_log(logdir, runs, purge=purge, salvage=salvage)
    log, found, _ = opened
    with log:
        demand_tags(log, found, "scalars", tags)
        chosen = choose_scalars(found, tags)
        for _, series in chosen:
            _ = series.values  # Errors are raised before anything is written.
        _write_scalars(file, chosen, overwrite=overwrite)
        points = sum(len(series) for _, series in chosen)
        if as_json:
            print_json({"path": out, "format": file.format, "series": len(chosen), "points": points})
        elif not file.is_stdout:
            print_line(f"{out}: {count_of(points, 'point')} of {count_of(len(chosen), 'series')}")
        report_troubles(opened, salvage=salvage)


def _write_scalars(file: TableFile, chosen: list[tuple[Run, ScalarSeries]], *, overwrite: bool) -> None:
    from tfbundle.events.tables import to_arrow
    from tfbundle.storage.locations import locate

    paths = {path: None for run, _ in chosen for path in run.paths}
    file.write(
        ("run", "tag", "step", "wall_time", "value"),
        _rows(chosen),
        lambda: to_arrow([(run.name, series) for run, series in chosen]),
        sources=map(locate, paths),
        overwrite=overwrite,
    )


def _rows(chosen: list[tuple[Run, ScalarSeries]]) -> Iterator[tuple[Any, ...]]:
    for run, series in chosen:
        columns = series.steps.tolist(), series.wall_times.tolist(), series.values.tolist()
        yield from zip(repeat(run.name), repeat(series.tag), *columns, strict=False)  # The names repeat forever.


def _media_command(kind: str, about: str) -> click.Command:
    """Return a command that writes the values of a kind to files, exactly as they are stored."""

    @click.command(kind, help=about, short_help=about.replace(", exactly as stored,", ""))
    @logdir_argument
    @click.argument("folder")
    @run_option
    @tag_option
    @salvage_option
    @json_option
    def command(
        logdir: str, folder: str, runs: tuple[str, ...], tags: tuple[str, ...], salvage: bool, as_json: bool
    ) -> None:
        _write_media(kind, logdir, folder, runs, tags, salvage, as_json)

    return command


images = _media_command("images", "Write images, exactly as stored, to FOLDER/RUN/TAG/STEP-N.png.")
audio = _media_command("audio", "Write audio clips, exactly as stored, to FOLDER/RUN/TAG/STEP-N.wav.")


def _write_media(
    kind: str, logdir: str, folder: str, names: tuple[str, ...], tags: tuple[str, ...], salvage: bool, as_json: bool
) -> None:
    from tfbundle.events.files import ROOT, parts_of_run
    from tfbundle.storage.changing import write_in_place_of
    from tfbundle.storage.locations import locate

    opened = open_log(logdir, names, salvage=salvage)
    log, runs, _ = opened
    written: list[str] = []
    made: set[Location] = set()
    # Tags that differ only in characters that a file system forbids or does not distinguish share a folder, where the
    # numbers of their files continue.
    counts: Counter[tuple[str, int]] = Counter()
    with log:
        chosen = set(demand_tags(log, runs, kind, tags))
        for run in runs:
            for tag, series in getattr(run, kind).items():
                if tags and tag not in chosen:
                    continue
                parts = [_safe(part) for part in (*(parts_of_run(run.name) or [ROOT]), *tag.split("/"))]
                place = locate(folder).join(*parts)
                shared = unicodedata.normalize("NFC", place.path).casefold()
                for step, element in zip(series.steps.tolist(), series, strict=True):
                    for data in element.encoded:
                        name = f"{step}-{counts[shared, step]}.{_suffix(data)}"
                        counts[shared, step] += 1
                        if place not in made:
                            _make_folder(locate(folder), parts)
                            made.add(place)
                        write_in_place_of(place.join(name), data)
                        written.append(place.join(name).path)
        if as_json:
            print_json({"path": folder, "files": written})
        else:
            print_line(f"{folder}: {count_of(len(written), 'file')}")
        report_troubles(opened, salvage=salvage)


def _make_folder(top: Location, parts: list[str]) -> None:
    from tfbundle.storage.changing import make_folders_below

    try:
        make_folders_below(top, parts)
    except FileExistsError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}; remove it, or choose another folder") from None


def _fit(part: str, encoding: str) -> str:
    """Return a name that file systems can encode and that is not too long; long names remain distinct."""
    data = part.encode(encoding, "replace")
    if len(data) <= _LONGEST_PART:
        return data.decode(encoding)
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{data[: _LONGEST_PART - 13].decode(encoding, 'ignore')}-{digest}"


def _safe(part: str) -> str:
    """Return part of a name as a folder name that is valid on any system, and never leads elsewhere."""
    encoding = sys.getfilesystemencoding()
    part = re.sub(r"[^\w .=,()+-]", "_", _fit(part, encoding))
    # Windows drops trailing dots and spaces, and reserves the names of devices in every folder.
    kept = part.rstrip(". ")
    return ("_" if _DEVICE.match(kept) else "") + kept + "_" * (len(part) - len(kept)) or "_"


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "bin")
