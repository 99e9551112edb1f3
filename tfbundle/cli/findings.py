"""Printing of findings: those about tensors in a table, others one per line, and only the first of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfbundle.cli.output import print_line, print_table
from tfbundle.cli.wording import for_command
from tfbundle.printable import escape_name, one_line

if TYPE_CHECKING:
    from tfbundle.findings import Finding

# Kinds that a tensor's location describes fully; for other kinds, the message has more details.
_SAID_BY_PLACE = {
    "checksum": "checksum",
    "truncated": "truncated",
    "missing": "missing",
    "index": "in a damaged block",
}
# The first findings are enough to see the problem, and --json prints all of them.
_MOST_SHOWN = 20


def common_folder(paths: Iterable[str]) -> str:
    """Return the folder that the paths of all files begin with, so that it need not be printed each time."""
    from tfbundle.storage.folders import common_folder

    return common_folder(paths)


def brief(text: str, folder: str) -> str:
    """Return a message as one line, without the folder that all paths share."""
    return one_line(text.replace(folder, "") if folder else text)


def print_findings(findings: Sequence[Finding], folder: str) -> None:
    """Print findings: a table of locations for tensors, and the message for everything else."""
    tensors: list[Finding] = []
    others: list[Finding] = []
    for finding in findings:
        is_placed = finding.tensor is not None and finding.kind in _SAID_BY_PLACE
        (tensors if is_placed else others).append(finding)
    for finding in others[:_MOST_SHOWN]:
        print_line(f"{finding.kind}: {brief(for_command(finding.message), folder)}")
    if tensors:
        rows = [
            [
                _SAID_BY_PLACE[finding.kind],
                escape_name(finding.tensor or ""),
                "-" if finding.size is None else f"{finding.size:,}",
                "-" if finding.offset is None else f"{finding.offset:,}",
                brief(finding.path or "-", folder),
            ]
            for finding in tensors[:_MOST_SHOWN]
        ]
        print_table(["finding", "tensor", "bytes", "offset", "file"], rows, ["bytes", "offset"])
    left_out = max(0, len(others) - _MOST_SHOWN) + max(0, len(tensors) - _MOST_SHOWN)
    if left_out:
        print_line(f"and {left_out:,} more; --json lists all of them")
