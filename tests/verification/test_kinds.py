"""The words for findings: those in the code are the ones that are documented."""

import ast
import re
from pathlib import Path

import tfbundle
from tfbundle.findings import KINDS, Finding, Report
from tfbundle.verification import saved_models

ROOT = Path(__file__).resolve().parents[2]


def kinds_in_code() -> set[str]:
    """Return the kinds that the package makes, where they stand as literals in calls."""
    found: set[str] = set()
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tfbundle").rglob("*.py"))
    for text in (text for text in texts if "Finding(" in text or "finding_of(" in text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Finding": 0, "finding_of": 1}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    kind = node.args[place]
                    found |= {kind.value} if isinstance(kind, ast.Constant) and isinstance(kind.value, str) else set()
    return found


def test_the_code_has_no_other_kinds() -> None:
    found = kinds_in_code()
    assert len(found) > 8
    assert found <= KINDS.keys()


def test_the_table_in_the_documentation() -> None:
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \| ([^|]*) \|", text, re.MULTILINE) == list(KINDS.items())
    assert f"larger than {saved_models._LARGEST_HASHED >> 20} MiB" in text


def test_the_docstring_has_them_all() -> None:
    assert re.findall(r'``"([\w-]+)"``', Finding.__doc__ or "") == list(KINDS)


def test_reprs_are_short_and_count_well() -> None:
    one = Report("m", tensors=1, nbytes=4, findings=(Finding("checksum", "x"),) * 2, not_checked=("n",))
    assert repr(one) == "<Report 'm': 2 checksum; 1 tensor, 4 bytes verified, 1 not checked>"
    part = Report("m", tensors=2, not_checked=("n",))
    assert repr(part) == "<Report 'm': partly checked, no problem found; 2 tensors, 0 bytes verified, 1 not checked>"
    assert repr(Report("m", tensors=2)) == "<Report 'm': ok; 2 tensors, 0 bytes verified>"
    assert repr(tfbundle.Fingerprint("ab", {"v": "cd"})) == "<Fingerprint ab, 1 tensor>"
    assert repr(tfbundle.Fingerprint(None, {}, one.findings)) == "<Fingerprint incomplete, 0 tensors, 2 unreadable>"
