"""What a scan found: findings, each about one thing that a file could do, and whether everything was looked at."""

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

    ``rule`` is a stable word, a key of ``tfbundle.scanning.rules.RULES``, and ``severity`` one of ``SEVERITIES``.
    ``trigger`` is ``"load"`` where loading the file is enough, ``"call"`` where somebody has to call or run it, and
    ``"unreachable"`` where nothing leads there. ``argument`` is what the op acts on, such as a path, where it follows
    from constants; ``"comes from the caller"`` where whoever calls the model chooses it; ``"unknown"`` otherwise; and
    ``None`` where the op takes none. ``path`` is the file, with the member of an archive behind ``!``.

    ``arguments`` are the values behind ``argument`` in full, and none where one of them is open.

    ``op`` and ``node`` are those of the graph, ``function`` the function of the graph that the node is in. ``within``
    are the nodes whose values hold the graph, where it is no graph of a file. What does not apply is ``None``.
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
        """How bad it is, as a number."""
        return SEVERITIES.index(self.severity)


class NotScanned(NamedTuple):
    """Something that was not looked at in full: the file, and why."""

    path: str
    reason: str


@dataclass(frozen=True, repr=False)
class ScanReport:
    """The findings of a scan, the worst first.

    ``complete`` says whether everything was looked at; ``not_scanned`` is what was not, so that nothing is known of it.
    ``files`` are the files that were, ``nodes`` how many nodes these have together, and ``ignored`` counts the files
    that hold no program that this scan knows.
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
        """Whether everything was looked at."""
        return not self.not_scanned

    @property
    def worst(self) -> str | None:
        """The highest severity, or ``None`` without findings."""
        return max(self.findings, key=lambda finding: finding.rank).severity if self.findings else None

    def above(self, severity: str) -> tuple[ScanFinding, ...]:
        """Return the findings that are worse than ``severity``; ``ValueError`` for a word that is none."""
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
