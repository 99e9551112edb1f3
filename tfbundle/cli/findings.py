"""How findings are printed: those of tensors in a table, others one a line, and of many only the first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfbundle.cli.output import escape_name, one_line, print_line, print_table
from tfbundle.cli.wording import for_command

if TYPE_CHECKING:
    from tfbundle.findings import Finding

# What is said of a tensor by where it lies; for the other kinds the message says more.
_SAID_BY_PLACE = {
    "checksum": "checksum",
    "truncated": "truncated",
    "missing": "missing",
    "index": "in a damaged block",
}
# Of more findings than these the first are enough to see what is wrong, and --json has them all.
_MOST_SHOWN = 20


def common_folder(paths: Iterable[str]) -> str:
    """Return the folder in which all files lie, as their paths begin with it, so that it is not printed each time."""
    from tfbundle.storage.folders import common_folder

    return common_folder(paths)


def brief(text: str, folder: str) -> str:
    """Return a message on one line, without the folder that all paths have in common."""
    return one_line(text.replace(folder, "") if folder else text)


def print_findings(findings: Sequence[Finding], folder: str) -> None:
    """Print what is wrong; of tensors where it is, and of everything else the message."""
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
        print_line(f"and {left_out:,} more, which --json lists in full")
