"""What ``verify`` and ``scan`` found, in the words of a page: the verdict of each, every finding, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from tfbundle.findings import KINDS, RENEWED, Report
from tfbundle.printable import count_of, escape_name, format_size
from tfbundle.reporting.facts import Notice, Verdict
from tfbundle.scanning.report import ScanReport
from tfbundle.scanning.rules import RULES

_MOST_NAMED = 3
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}


def verify_verdict(report: Report) -> Verdict:
    """Return the result of verification in one line."""
    counts = [count_of(report.tensors, "tensor")] if report.tensors else []
    counts += [count_of(len(report.checkpoints), "checkpoint")] if len(report.checkpoints) > 1 else []
    records = sum(file.whole for file in report.files if file.kind in ("events", "records"))
    counts += [count_of(records, "record")] if records else []
    counts.append(f"{format_size(report.nbytes)} verified")
    text = ", ".join(counts) + _left(report)
    if report.findings:
        return Verdict("error", count_of(len(report.findings), "finding"), text)
    if not report.files and not report.tensors:
        return Verdict(
            "note", "Nothing to verify", f"no checkpoint, event file or other file with checksums{_left(report)}"
        )
    if report.format == "graph" and not report.nbytes:
        return Verdict("ok", "No damage", f"{count_of(report.tensors, 'constant')} decoded; a graph has no checksums")
    if report.not_checked:
        return Verdict("note", "Partly checked, no problem found", text)
    return Verdict("ok", "Intact", text)


def _left(report: Report) -> str:
    return f"; not checked: {_named(report.not_checked)}" if report.not_checked else ""


def scan_verdict(report: ScanReport) -> Verdict:
    """Return the result of a scan in one line."""
    scanned = f"{count_of(len(report.files), 'file')} with {count_of(report.nodes, 'node')} scanned"
    if not report.complete:
        scanned += f"; not scanned: {_named(f'{note.path} ({note.reason})' for note in report.not_scanned)}"
    counts = [f"{count:,} {severity}" for severity, count in reversed(report.counts.items()) if count]
    level = _LEVELS[report.worst] if report.worst is not None else "ok" if report.complete else "warning"
    if report.worst is None:
        return Verdict(level, "Scan: no findings" if report.complete else "Scan not complete", scanned)
    return Verdict(level, f"Scan: {', '.join(counts)}", scanned)


def _named(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f" and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more


def verify_notices(report: Report) -> Iterator[Notice]:
    """Yield a notice for each finding of verification."""
    for finding in report.findings:
        place = "" if finding.tensor is None else f"tensor {escape_name(finding.tensor)}"
        if finding.offset is not None:
            place += f"{', ' if place else ''}offset {finding.offset:,}"
            place += f", {finding.size:,} bytes" if finding.size is not None else ""
        level = "note" if finding.kind == "unclaimed" else "warning" if finding.kind == "unsupported" else "error"
        yield Notice(level, finding.kind, finding.message, place, KINDS.get(finding.kind, ""))


def scan_notices(report: ScanReport) -> Iterator[Notice]:
    """Yield a notice for each finding of a scan, the worst first."""
    for finding in report.findings:
        rule = RULES[finding.rule]
        names = [*finding.within, *(name for name in (finding.function, finding.node) if name is not None)]
        place = " > ".join([finding.path, *map(escape_name, names)])
        level, kind = _LEVELS[finding.severity], f"{finding.severity}: {rule.title}"
        yield Notice(level, kind, finding.message, place, rule.advice)


def advice_of(path: str, report: Report) -> Iterator[str]:
    """Yield the probable causes of damage, and the steps that lead out of it."""
    for cause in report.causes:
        yield f"Probably: {cause}"
    again = dict.fromkeys(finding.path for finding in report.findings if finding.path and finding.kind in RENEWED)
    if again:
        yield f"Copy or download {_named(again)} again from the original location."
    missing = dict.fromkeys(finding.path for finding in report.findings if finding.path and finding.kind == "missing")
    if missing:
        yield f"Find {_named(missing)}, and put the files next to the others."
    for item in report.checkpoints[:_MOST_NAMED]:
        if not item.ok and 0 < item.recoverable < item.tensors:
            source = path if len(report.checkpoints) == 1 else item.prefix
            which = f"{item.recoverable:,} of {count_of(item.tensors, 'known tensor')}"
            yield f"Save the intact part, {which}: tfbundle convert {shlex.quote(source)} OUT.npz --salvage"
