"""``tfbundle verify``: every checksum, and whatever else can be told from a checkpoint's files."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import format_option, json_option, path_argument
from tfbundle.cli.findings import brief, common_folder, print_findings
from tfbundle.cli.output import count_of, format_size, one_line, print_json, print_line, print_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfbundle.checkpoint.find.names import Format
    from tfbundle.findings import CheckedFile, Report

# Beyond this many files only those with findings are listed.
_MOST_FILES = 20
_MOST_NAMED = 3

_CONTENT = {"index": "block", "data": "stored tensor", "v1": "stored tensor", "graph": "node", "events": "event"}
_RECORDS = ("events", "records")
# What a fresh copy of the file mends, and says no advice of its own.
_RENEWED = ("index", "checksum", "truncated", "record", "graph")
# What keeps a checkpoint from being read, in part or at all.
_SALVAGED = ("index", "entry", "checksum", "truncated", "missing", "unreadable", "wrong-file")


@click.command()
@path_argument
@json_option
@format_option
def command(path: str, as_json: bool, format: Format | None) -> None:
    """Check every checksum, and list the damage and what probably caused it.

    PATH may be a checkpoint, a SavedModel, a graph, an event file or another file of records. A folder means its
    checkpoint, the latest one where there are several, its graph.pbtxt, and the event files in it and below. A graph
    has no checksums; its constants are decoded.

    The exit status is 0 if nothing is wrong and 1 if something is.
    """
    import tfbundle

    with progress_bar("verifying") as progress:
        report = tfbundle.verify(path, format=format, progress=progress)
    if as_json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        _print(path, report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _print(path: str, report: Report) -> None:
    folder = common_folder(file.path for file in report.files)
    _print_files(report, folder)
    if report.findings:
        if report.files:
            print_line()
        print_findings(report.findings, folder)
        print_line()
    for story in report.stories:
        print_line(f"probably: {brief(story, folder)}")
    for step in _next_steps(path, report, folder):
        print_line(f"next: {step}")
    state = count_of(len(report.findings), "finding") if report.findings else "ok"
    print_line(f"{one_line(path)}: {state}; {_describe(report)}")


def _print_files(report: Report, folder: str) -> None:
    counts = Counter(finding.path for finding in report.findings)
    listed = report.files
    if len(listed) > _MOST_FILES:
        listed = tuple(file for file in listed if counts[file.path])[:_MOST_FILES]
    if not listed:
        return
    rows = [
        [
            brief(file.path, folder),
            "-" if file.size is None else format_size(file.size),
            _content_of(file),
            _state_of(file, counts[file.path]),
        ]
        for file in listed
    ]
    print_table(["file", "size", "whole", "state"], rows, ["size"])
    if len(listed) < len(report.files):
        print_line(f"and {count_of(len(report.files) - len(listed), 'other file')}")


def _state_of(file: CheckedFile, findings: int) -> str:
    if file.size is None:
        return "missing"
    if findings:
        return count_of(findings, "finding")
    # Where the index is lost, nothing tells what should be in a data file.
    return "unchecked" if file.kind == "data" and file.size and not file.whole else "ok"


def _content_of(file: CheckedFile) -> str:
    if file.size is None:
        return "-"
    content = count_of(file.whole, _CONTENT.get(file.kind, "record"))
    return f"{content}, {format_size(file.padding)} of padding" if file.padding else content


def _next_steps(path: str, report: Report, folder: str) -> Iterator[str]:
    again = dict.fromkeys(finding.path for finding in report.findings if finding.path and finding.kind in _RENEWED)
    if again:
        names = [brief(name, folder) for name in again][:_MOST_NAMED]
        if len(again) > len(names):
            names.append(f"{len(again) - len(names):,} others")
        yield f"copy or download {' and '.join(names)} again from where it was written"
    is_checkpoint = report.format in ("v1", "v2")
    if is_checkpoint and report.recoverable and any(finding.kind in _SALVAGED for finding in report.findings):
        which = f"{report.recoverable:,} of {count_of(report.tensors, 'known tensor')}"
        yield f"save what is whole, {which}: tfbundle convert {one_line(path)} OUT.npz --salvage"


def _describe(report: Report) -> str:
    """What was checked, in numbers."""
    records: Counter[str] = Counter()
    for file in report.files:
        if file.kind in _RECORDS:
            records[file.kind] += file.whole
    counts = [count_of(count, _CONTENT.get(kind, "record")) for kind, count in records.items()]
    if report.format == "graph":
        decoded = f"{report.recoverable:,} of {count_of(report.tensors, 'constant')} decoded"
        if not counts:
            return f"{decoded}; a graph has no checksums"
        counts.insert(0, decoded)
    elif report.format not in _RECORDS:
        counts.insert(0, count_of(report.tensors, "tensor"))
    return f"{', '.join(counts)}, {format_size(report.nbytes)} verified"
