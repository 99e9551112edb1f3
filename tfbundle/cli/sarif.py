"""Findings as SARIF 2.1.0, the format in which code hosts and editors accept the results of analyzers.

Rule ids are stable words. A result has the level of its severity (critical and high are errors, medium is a warning,
low a note, and info none), the function and node as logical locations, and a fingerprint that does not
change when files are moved. Files that were not examined are notifications of an unsuccessful invocation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tfbundle._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfbundle.scanning.report import ScanFinding, ScanReport

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "none"}
# Numbers from 0 to 10, which code hosts sort findings of security by.
_SECURITY = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0", "info": "0.0"}
FINGERPRINT = "tfbundleScan/v1"


def sarif_document(
    report: ScanReport, suppressions: Sequence[str | None], new: Sequence[bool] | None
) -> dict[str, Any]:
    """Return the document for a report.

    ``suppressions`` has for each finding why it is allowed, or ``None``; ``new`` whether it is none of the baseline's.
    """
    from tfbundle.scanning.policy import fingerprints
    from tfbundle.scanning.rules import RULES

    numbers = {rule: number for number, rule in enumerate(RULES)}
    results = []
    for number, (finding, fingerprint) in enumerate(zip(report.findings, fingerprints(report), strict=True)):
        result: dict[str, Any] = {
            "ruleId": finding.rule,
            "ruleIndex": numbers[finding.rule],
            "level": _LEVELS[finding.severity],
            "message": {"text": _text(finding.message)},
            "locations": [_location(finding)],
            "partialFingerprints": {FINGERPRINT: fingerprint},
            "properties": _properties(finding),
        }
        reason = suppressions[number]
        if reason is not None:
            result["suppressions"] = [{"kind": "external", "justification": reason or "allowed by the policy"}]
        if new is not None:
            result["baselineState"] = "new" if new[number] else "unchanged"
        results.append(result)
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "tfbundle scan",
                        "version": __version__,
                        "rules": [
                            {
                                "id": name,
                                "name": "".join(word.capitalize() for word in name.split("-")),
                                "shortDescription": {"text": rule.title},
                                "fullDescription": {"text": rule.description},
                                "help": {"text": rule.advice},
                            }
                            for name, rule in RULES.items()
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": report.complete,
                        "toolExecutionNotifications": [
                            {
                                "level": "error",
                                "message": {"text": _text(f"not scanned: {note.reason}")},
                                "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(note.path)}}}],
                            }
                            for note in report.not_scanned
                        ],
                    }
                ],
                "results": results,
            }
        ],
    }


def _location(finding: ScanFinding) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(finding.path)}}}
    logical = []
    if finding.function is not None:
        logical.append({"name": _text(finding.function), "kind": "function"})
    if finding.node is not None:
        parts = (*finding.within, *(part for part in (finding.function, finding.node) if part is not None))
        logical.append({"name": _text(finding.node), "fullyQualifiedName": _text("/".join(parts)), "kind": "member"})
    if logical:
        location["logicalLocations"] = logical
    return location


def _properties(finding: ScanFinding) -> dict[str, Any]:
    properties = {
        "severity": finding.severity,
        "security-severity": _SECURITY[finding.severity],
        "trigger": finding.trigger,
    }
    if finding.op is not None:
        properties["op"] = _text(finding.op)
    if finding.argument is not None:
        properties["argument"] = _text(finding.argument)
    return properties


def _uri(path: str) -> str:
    """Return a path as a URI reference."""
    text = quote(path.replace("\\", "/"), safe="/!", errors="surrogateescape")
    return f"file://{text}" if text.startswith("/") else text


def _text(text: str) -> str:
    """Return text that any JSON reader accepts: bytes that are not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
