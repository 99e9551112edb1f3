"""``tfbundle events export``, ``images`` and ``audio``: what event files hold, in other formats."""

from __future__ import annotations

import hashlib
import io
import re
import sys
import unicodedata
from collections import Counter
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
from tfbundle.cli.output import (
    ESCAPE_UNENCODABLE,
    count_of,
    escape_name,
    json_number,
    print_as_is,
    print_json,
    print_line,
)
from tfbundle.cli.wording import for_command
from tfbundle.errors import TfBundleError

if TYPE_CHECKING:
    from tfbundle.events.run import Run
    from tfbundle.events.series import ScalarSeries
    from tfbundle.storage.base import Location

# Bytes of a name; most file systems allow 255.
_LONGEST_PART = 200
_SUFFIXES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "wav"))
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d) *(?:\.|\Z)", re.IGNORECASE)


@click.command()
@logdir_argument
@click.option("-o", "--out", required=True, help="The file to write; - is stdout.")
@click.option("--format", type=click.Choice(["csv", "jsonl", "parquet"]), help="By default what the suffix says.")
@run_option
@tag_option
@purge_option
@click.option("--overwrite", is_flag=True, help="Replace the file even if a checkpoint, a graph or a run owns it.")
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
    """Write scalars to a table of run, tag, step, wall_time and value: CSV, JSON lines or Parquet."""
    from tfbundle.storage.replacing import is_stdout, is_terminal

    if not out:
        raise click.UsageError("--out is empty; name a file to write to, or - for stdout")
    format = format or out.rpartition(".")[2].lower()
    if format not in ("csv", "jsonl", "parquet"):
        raise click.UsageError(f"'{out}' does not say which format; add --format csv, jsonl or parquet")
    goes_to_stdout = out == "-" or is_stdout(out)
    if goes_to_stdout and as_json:
        raise click.UsageError("--json needs a file to write to, not stdout")
    is_shown = sys.stdout.isatty() if out == "-" else is_terminal(out)
    if format == "parquet" and (out == "-" or is_shown):
        raise click.UsageError("Parquet needs a file to write to, not stdout or a terminal")
    opened = open_log(logdir, runs, purge=purge, salvage=salvage)
    log, found, _ = opened
    with log:
        demand_tags(log, found, "scalars", tags)
        chosen = choose_scalars(found, tags)
        for _, series in chosen:
            _ = series.values  # Whatever is wrong with one shows before anything is written.
        if out == "-":
            _write_rows(_Stdout(), format, chosen, is_shown=is_shown)
        else:
            _write_file(out, format, chosen, overwrite=overwrite, is_shown=is_shown)
        points = sum(len(series) for _, series in chosen)
        if as_json:
            print_json({"path": out, "format": format, "series": len(chosen), "points": points})
        elif not goes_to_stdout:
            print_line(f"{out}: {count_of(points, 'point')} of {count_of(len(chosen), 'series')}")
        report_troubles(opened, salvage=salvage)


class _Stdout:
    """Stdout as a file, whose troubles are named as those of everything that is printed."""

    def write(self, text: str) -> None:
        print_as_is(text)


def _write_file(
    out: str, format: str, chosen: list[tuple[Run, ScalarSeries]], *, overwrite: bool, is_shown: bool
) -> None:
    from tfbundle.checkpoint.find.owned import check_replaceable
    from tfbundle.storage.locations import locate
    from tfbundle.storage.replacing import replacement

    paths = {path: None for run, _ in chosen for path in run.paths}
    try:
        check_replaceable(locate(out), overwrite=overwrite, sources=map(locate, paths))
        with replacement(out) as file:
            if format == "parquet":
                from tfbundle.events.tables import to_arrow

                table = to_arrow([(run.name, series) for run, series in chosen])
                import pyarrow.parquet  # type: ignore[import-untyped, import-not-found, unused-ignore]

                pyarrow.parquet.write_table(table, file)
            else:
                text = io.TextIOWrapper(file, encoding="utf-8", errors=ESCAPE_UNENCODABLE, newline="")
                _write_rows(text, format, chosen, is_shown=is_shown)
                text.detach()
    except ValueError as error:
        if isinstance(error, TfBundleError):
            raise
        raise click.ClickException(for_command(str(error))) from None


def _media_command(kind: str, about: str) -> click.Command:
    """Return a command that writes the values of a kind to files, as they are stored."""

    @click.command(kind, help=about)
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


images = _media_command("images", "Write images, as they are stored, to FOLDER/RUN/TAG/STEP-N.png.")
audio = _media_command("audio", "Write audio, as it is stored, to FOLDER/RUN/TAG/STEP-N.wav.")


def _write_rows(file: Any, format: str, chosen: list[tuple[Run, ScalarSeries]], *, is_shown: bool) -> None:
    """Write a row for each point; ``is_shown`` says whether a terminal shows it, to which no name goes as it is."""
    import csv
    import json

    writer = csv.writer(file, lineterminator="\n")
    if format == "csv":
        writer.writerow(("run", "tag", "step", "wall_time", "value"))
    for run, series in chosen:
        rows = zip(series.steps.tolist(), series.wall_times.tolist(), series.values.tolist(), strict=True)
        if format == "csv":
            names = (escape_name(run.name), escape_name(series.tag)) if is_shown else (run.name, series.tag)
            writer.writerows((*names, step, wall, value) for step, wall, value in rows)
            continue
        for step, wall, value in rows:
            numbers = {"step": step, "wall_time": json_number(wall), "value": json_number(value)}
            row = {"run": run.name, "tag": series.tag, **numbers}
            file.write(json.dumps(row, allow_nan=False) + "\n")


def _write_media(
    kind: str, logdir: str, folder: str, names: tuple[str, ...], tags: tuple[str, ...], salvage: bool, as_json: bool
) -> None:
    from tfbundle.storage.changing import write_in_place_of
    from tfbundle.storage.locations import locate

    opened = open_log(logdir, names, salvage=salvage)
    log, runs, _ = opened
    written: list[str] = []
    made: set[Location] = set()
    # Tags that differ only in what a file system does not allow, or does not say apart, share a folder, where their
    # files are counted on.
    counts: Counter[tuple[str, int]] = Counter()
    with log:
        chosen = set(demand_tags(log, runs, kind, tags))
        for run in runs:
            for tag, series in getattr(run, kind).items():
                if tags and tag not in chosen:
                    continue
                parts = [_safe(part) for part in (*run.name.split("/"), *tag.split("/"))]
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
        raise click.ClickException(f"{error.filename}: {error.strerror}; remove it, or use another folder") from None


def _fit(part: str, encoding: str) -> str:
    """Return a name that file systems can encode, and that is not too long for them; two long ones stay apart."""
    data = part.encode(encoding, "replace")
    if len(data) <= _LONGEST_PART:
        return data.decode(encoding)
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{data[: _LONGEST_PART - 13].decode(encoding, 'ignore')}-{digest}"


def _safe(part: str) -> str:
    """Return a part of a name as the name of a folder, on any system, which never leads elsewhere."""
    encoding = sys.getfilesystemencoding()
    part = re.sub(r"[^\w .=,()+-]", "_", _fit(part, encoding))
    # Windows drops dots and spaces at the end, and opens its devices by their names in any folder.
    kept = part.rstrip(". ")
    return ("_" if _DEVICE.match(kept) else "") + kept + "_" * (len(part) - len(kept)) or "_"


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES if data.startswith(magic)), "bin")
