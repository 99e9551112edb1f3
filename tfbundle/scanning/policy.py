"""Findings that are accepted: those that a policy allows, and those of a baseline, which were there before.

A policy is a JSON file. Of a finding that an entry of ``allow`` allows, each field of the entry has to match; values
are globs, in which ``*`` crosses ``/``::

    {"threshold": "low",
     "allow": [{"op": "ReadFile", "argument": "/opt/vocabularies/*", "reason": "our tokenizer"},
               {"rule": "unknown-op", "op": "Sentencepiece*"}]}

A glob for the argument allows a finding only where every value is known and matches, and leads nowhere else by ``..``.

A baseline is a JSON file with the fingerprints of findings. A fingerprint identifies the subject of a finding and not
its wording; neither the folder that was scanned nor the numbers that TensorFlow gives to functions are part of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfbundle.errors import FormatError
from tfbundle.matching import is_glob, matcher
from tfbundle.scanning.report import SEVERITIES, ScanFinding, ScanReport
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate, within
from tfbundle.storage.stated_paths import split_path

_LARGEST = 16 << 20
_BASELINE = "tfbundle/scan-baseline/1"
_FIELDS = ("rule", "op", "node", "function", "trigger", "argument", "path", "severity")
_REASON = "reason"
_GENERATED_NUMBER = re.compile(r"_\d+$")


class Allowance(NamedTuple):
    """An entry of a policy: globs by the field of a finding, and why they are allowed."""

    patterns: Mapping[str, str]
    reason: str

    def allows(self, finding: ScanFinding) -> bool:
        """Return whether every field matches."""
        return all(
            _argument_matches(pattern, finding) if name == "argument" else _matches(pattern, getattr(finding, name))
            for name, pattern in self.patterns.items()
        )


class Policy(NamedTuple):
    """What is allowed, and the severity up to which findings are accepted."""

    allowances: tuple[Allowance, ...] = ()
    threshold: str | None = None

    def reason(self, finding: ScanFinding) -> str | None:
        """Return why a finding is allowed, or ``None`` if it is not."""
        return next((entry.reason for entry in self.allowances if entry.allows(finding)), None)


def _matches(pattern: str, value: str | None) -> bool:
    return value is not None and bool(matcher(pattern)(value))


def _argument_matches(pattern: str, finding: ScanFinding) -> bool:
    if finding.argument == pattern:
        return True
    if not is_glob(pattern) or not finding.arguments:
        return finding.arguments == (pattern,)
    return all(".." not in split_path(value) and _matches(pattern, value) for value in finding.arguments)


def load_policy(path: StrPath) -> Policy:
    """Read a policy; raises ``FormatError`` if it is not valid, or has an unknown field."""
    document = _read(path)
    if not isinstance(document, dict) or not document.keys() <= {"threshold", "allow"}:
        raise FormatError(
            f'{locate(path)} is not a policy: a policy is an object with "allow" and "threshold"', path=str(path)
        )
    threshold = document.get("threshold")
    if threshold is not None and threshold not in SEVERITIES:
        raise FormatError(f"{locate(path)}: the threshold is one of {', '.join(SEVERITIES)}", path=str(path))
    entries = document.get("allow", [])
    if not isinstance(entries, list):
        raise FormatError(f'{locate(path)}: "allow" is a list of objects', path=str(path))
    return Policy(tuple(_allowance(entry, path) for entry in entries), threshold)


def _allowance(entry: Any, path: StrPath) -> Allowance:
    fields = {*_FIELDS, _REASON}
    is_one = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
    if not is_one or not entry.keys() <= fields or not entry.keys() - {_REASON}:
        raise FormatError(
            f'{locate(path)}: an entry of "allow" is an object with strings, called {", ".join(sorted(fields))}; '
            f"not {json.dumps(entry)[:100]}",
            path=str(path),
        )
    return Allowance({name: value for name, value in entry.items() if name != _REASON}, entry.get(_REASON, ""))


def fingerprints(report: ScanReport) -> list[str]:
    """Return the fingerprint of each finding of a report, in their order, independent of the files' folder."""
    root = locate(report.path)
    folder = root if root.is_folder() else root.parent
    return [_fingerprint(finding, folder) for finding in report.findings]


def _fingerprint(finding: ScanFinding, folder: Location) -> str:
    facts = (
        finding.rule,
        finding.op,
        finding.node,
        _GENERATED_NUMBER.sub("", finding.function or ""),
        finding.trigger,
        finding.argument,
        within(finding.path, folder),
        *finding.within,
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def baseline_text(report: ScanReport) -> str:
    """Return a baseline with everything that a report found."""
    entries = [
        {"fingerprint": fingerprint, "message": finding.message}
        for fingerprint, finding in zip(fingerprints(report), report.findings, strict=True)
    ]
    return json.dumps({"schema": _BASELINE, "findings": entries}, indent=1) + "\n"


def load_baseline(path: StrPath) -> Counter[str]:
    """Read a baseline: how often each fingerprint was found; raise ``FormatError`` for any other file."""
    document = _read(path)
    try:
        if document["schema"] != _BASELINE:
            raise KeyError
        found = [entry["fingerprint"] for entry in document["findings"]]
        if not all(isinstance(fingerprint, str) for fingerprint in found):
            raise TypeError
    except (KeyError, TypeError):
        raise FormatError(f"{locate(path)} is not a baseline; --write-baseline writes one", path=str(path)) from None
    return Counter(found)


def not_in_baseline(report: ScanReport, baseline: Mapping[str, int]) -> list[bool]:
    """Return of each finding of a report whether it is new."""
    left = Counter(baseline)
    new = []
    for fingerprint in fingerprints(report):
        new.append(left[fingerprint] <= 0)
        left[fingerprint] -= 1
    return new


def _read(path: StrPath) -> Any:
    location = locate(path)
    try:
        return json.loads(location.read(_LARGEST))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{location} is not JSON: {error}", path=location.path) from None
