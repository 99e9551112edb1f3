"""``tfbundle verify``: check every checksum, and everything else that a checkpoint's files reveal."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tfbundle.cli.arguments import format_option, json_option, path_argument
from tfbundle.cli.findings import brief, common_folder, print_findings
from tfbundle.cli.output import print_json, print_line, print_table, progress_bar
from tfbundle.findings import RENEWED, verdict
from tfbundle.identification.names import FINGERPRINT_NAME
from tfbundle.printable import count_of, format_size, one_line
from tfbundle.storage.locations import locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tfbundle.checkpoint.find.names import Format
    from tfbundle.findings import CheckedFile, Report

# Of more files than this, only those with findings are listed.
_MOST_FILES = 20
_MOST_NAMED = 3

_CONTENT = {"index": "block", "data": "stored tensor", "v1": "stored tensor", "graph": "node", "events": "event"}
_RECORDS = ("events", "records")
_WORDS = {True: "ok", False: "damaged"}
# Kinds of findings that make tensors of a checkpoint unreadable, and the kinds of files to which this applies.
_SALVAGED = ("index", "entry", "checksum", "truncated", "missing", "unreadable", "wrong-file")
_OF_CHECKPOINT = ("index", "data", "v1")


@click.command(short_help="Verify every checksum; report damage with its cause.")
@path_argument
@json_option
@format_option
@click.option("--all", "every", is_flag=True, help="Check every checkpoint in the folder and its subfolders.")
def command(path: str, as_json: bool, format: Format | None, every: bool) -> None:
    """Verify every checksum, and report damage with its probable cause.

    PATH may be a checkpoint, a SavedModel, a graph, an event file or a TFRecord file. For a folder, the checkpoint that
    its state file names is checked, or every checkpoint in it if there is no state file, together with graph.pbtxt and
    all event files in the folder and its subfolders. Other checkpoints are listed as not checked; use --all to check
    them too. Graphs have no checksums; their constants are decoded instead.

    The exit status is 0 if no problem is found, 1 if any is, and 2 if PATH does not exist or is not a file or folder.
    """
    import tfbundle

    with progress_bar("verifying") as progress:
        report = tfbundle.verify(path, format=format, all=every, progress=progress)
    if _is_nothing(path, report):
        raise click.ClickException(report.findings[0].message)
    if as_json:
        checkpoints = [item._asdict() for item in report.checkpoints]
        print_json({"ok": report.ok, **asdict(report), "checkpoints": checkpoints})
    else:
        _print(path, report, every)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _is_nothing(path: str, report: Report) -> bool:
    """Return whether nothing at the path can be checked: it does not exist, or it is a pipe or a device."""
    location = locate(path)
    if location.is_folder() or report.files:
        return False
    if location.is_file():
        return location.stat() is None
    return [finding.path for finding in report.findings if finding.kind == "missing"] == [location.path]


def _print(path: str, report: Report, every: bool) -> None:
    folder = common_folder(file.path for file in report.files)
    _print_files(report, folder)
    if report.findings:
        if report.files:
            print_line()
        print_findings(report.findings, folder)
        print_line()
    for cause in report.causes:
        print_line(f"probably: {brief(cause, folder)}")
    for step in _next_steps(path, report, folder):
        print_line(f"next: {step}")
    if len(report.checkpoints) > 1:
        _print_checkpoints(report, folder)
    _print_not_checked(report.not_checked, folder, every)
    print_line(f"{one_line(path)}: {verdict(report)}; {_describe(report)}")


def _print_not_checked(paths: Sequence[str], folder: str, every: bool) -> None:
    hashes = [path for path in paths if locate(path).name == FINGERPRINT_NAME]
    others = [path for path in paths if path not in hashes]
    for path in hashes:
        print_line(f"not checked: the hash in {brief(path, folder)}, because the index is too large to hash")
    if others:
        names = ", ".join(brief(name, folder) for name in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED:,} more" if len(others) > _MOST_NAMED else ""
        # With --all, only folders that cannot be listed remain.
        what = count_of(len(others), "unreadable folder" if every else "model")
        hint = "" if every else f" (--all checks {'it' if len(others) == 1 else 'them'})"
        print_line(f"not checked: {what}: {names}{more}{hint}")


def _print_checkpoints(report: Report, folder: str) -> None:
    rows = [
        [brief(item.prefix, folder), item.format, f"{item.recoverable:,} of {item.tensors:,}", _WORDS[item.ok]]
        for item in report.checkpoints
    ]
    print_table(["checkpoint", "format", "intact tensors", "state"], rows)


def _print_files(report: Report, folder: str) -> None:
    counts = Counter(finding.path for finding in report.findings)
    missing = {finding.path for finding in report.findings if finding.kind == "missing"}
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
            _state_of(file, counts[file.path], is_missing=file.path in missing),
        ]
        for file in listed
    ]
    print_table(["file", "size", "intact", "state"], rows, ["size"])
    if len(listed) < len(report.files):
        print_line(f"and {count_of(len(report.files) - len(listed), 'other file')}")


def _state_of(file: CheckedFile, findings: int, *, is_missing: bool) -> str:
    if file.size is None and is_missing:
        return "missing"
    if findings:
        return count_of(findings, "finding")
    # Without the index, the expected contents of a data file are unknown.
    return "unchecked" if file.kind == "data" and file.size and not file.whole else "ok"


def _content_of(file: CheckedFile) -> str:
    if file.size is None:
        return "-"
    content = count_of(file.whole, _CONTENT.get(file.kind, "record"))
    return f"{content}, {format_size(file.padding)} of padding" if file.padding else content


def _next_steps(path: str, report: Report, folder: str) -> Iterator[str]:
    again = dict.fromkeys(finding.path for finding in report.findings if finding.path and finding.kind in RENEWED)
    if again:
        names = [brief(name, folder) for name in again][:_MOST_NAMED]
        if len(again) > len(names):
            names.append(f"{len(again) - len(names):,} others")
        yield f"copy or download {' and '.join(names)} again from the original location"
    for item in report.checkpoints[:_MOST_NAMED] if _loses_tensors(report) else ():
        if item.recoverable and not item.ok:
            source = path if len(report.checkpoints) == 1 else item.prefix
            which = f"{item.recoverable:,} of {count_of(item.tensors, 'known tensor')}"
            yield f"save the intact part, {which}: tfbundle convert {one_line(shlex.quote(source))} OUT.npz --salvage"


def _loses_tensors(report: Report) -> bool:
    """Return whether any finding is about the files of a checkpoint, rather than graphs or event files alone."""
    kinds = {file.path: file.kind for file in report.files}
    return any(
        finding.kind in _SALVAGED
        and (finding.tensor is not None or finding.shard is not None or kinds.get(finding.path or "") in _OF_CHECKPOINT)
        for finding in report.findings
    )


def _describe(report: Report) -> str:
    """Return what was checked, in numbers."""
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
    elif report.checkpoints or report.format not in _RECORDS:
        checkpoints = [count_of(len(report.checkpoints), "checkpoint")] if len(report.checkpoints) > 1 else []
        counts[:0] = [*checkpoints, count_of(report.tensors, "tensor")]
    return f"{', '.join(counts)}, {format_size(report.nbytes)} verified"
