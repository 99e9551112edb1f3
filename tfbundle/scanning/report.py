"""The result of a scan: findings, each about one thing that a file could do, and whether the scan is complete."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tfbundle.notebook import Table, render

SEVERITIES = ("info", "low", "medium", "high", "critical")
"""From harmless to the worst."""


@dataclass(frozen=True)
class ScanFinding:
    """One thing that a file could do, or that is suspicious about it.

    ``rule`` is a stable word, a key of ``tfbundle.scanning.rules.RULES``. ``severity`` is ``"info"``, ``"low"``,
    ``"medium"``, ``"high"`` or ``"critical"``. ``path`` is the file; the member of an archive follows after ``!``.

    ``trigger`` is ``"load"`` if loading the file is enough, ``"call"`` if the model has to be called or run, and
    ``"unreachable"`` if nothing in the file leads to the op.

    ``argument`` is the path, address or other value that the op acts on, if it follows from constants. It is
    ``"comes from the caller"`` if the caller of the model chooses it, ``None`` if the op has no such argument, and
    otherwise ``"unknown"``. ``arguments`` are all its possible values, unabridged; empty if any of them is not known.

    ``op`` and ``node`` are those of the graph, and ``function`` is the function of the graph that contains the node.
    If the graph is itself a value in another graph, ``within`` are the nodes that hold it. Fields that do not apply
    are ``None``.
    """

    rule: str
    severity: str
    message: str
    path: str
    op: str | None = None
    node: str | None = None
    function: str | None = None
    trigger: str = "load"
    argument: str | None = None
    within: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """The severity as a number, from 0 for ``"info"`` to 4 for ``"critical"``."""
        return SEVERITIES.index(self.severity)


class NotScanned(NamedTuple):
    """A file that was not scanned in full, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, repr=False)
class ScanReport:
    """The findings of a scan, the worst first.

    ``files`` are the files that were scanned, and ``nodes`` is their total number of nodes. ``not_scanned`` are the
    files that were not scanned in full; nothing is known of the rest of them. ``ignored`` is the number of files that
    contain no program of a kind that the scan knows. ``counts`` is the number of findings of each severity.
    """

    path: str
    findings: tuple[ScanFinding, ...] = ()
    not_scanned: tuple[NotScanned, ...] = ()
    files: tuple[str, ...] = ()
    nodes: int = 0
    ignored: int = 0
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        counts = Counter(finding.severity for finding in self.findings)
        object.__setattr__(self, "counts", {severity: counts[severity] for severity in SEVERITIES})

    @property
    def complete(self) -> bool:
        """Whether everything was scanned."""
        return not self.not_scanned

    @property
    def worst(self) -> str | None:
        """The highest severity, or ``None`` without findings."""
        return max(self.findings, key=lambda finding: finding.rank).severity if self.findings else None

    def above(self, severity: str) -> tuple[ScanFinding, ...]:
        """Return the findings that are worse than ``severity``; raise ``ValueError`` if it is not a severity."""
        rank = SEVERITIES.index(severity)
        return tuple(finding for finding in self.findings if finding.rank > rank)

    def _repr_html_(self) -> str:
        rows = ((one.severity, one.rule, one.op or "", one.node or "", one.message) for one in self.findings)
        counts = {severity: count for severity, count in self.counts.items() if count}
        state = "everything was scanned" if self.complete else "not everything was scanned"
        return render(
            f"ScanReport {self.path}",
            {**(counts or {"findings": "none"}), "nodes": self.nodes, "state": state},
            Table(("severity", "rule", "op", "node", "finding"), rows, len(self.findings), "finding"),
            Table(("not scanned", "reason"), self.not_scanned, len(self.not_scanned), "file"),
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {severity}" for severity, count in self.counts.items() if count) or "no findings"
        return f"<ScanReport {self.path!r}: {counts}{'' if self.complete else '; not complete'}>"
