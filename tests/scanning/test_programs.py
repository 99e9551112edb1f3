"""Models of TensorFlow: each attack is found where it is, and ordinary models are silent."""

import json
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.expected import FIXTURES

CASES = [
    pytest.param(file.parent, program, id=f"{file.parent.name}/{program['path']}")
    for file in sorted(FIXTURES.glob("programs-*/*/EXPECTED.json"))
    for program in json.loads(file.read_text(encoding="utf-8"))["programs"]
]
ORDINARY = [folder for folder in sorted(FIXTURES.iterdir()) if not folder.name.startswith("programs-")]


def found(path: Path) -> list[tuple[Any, ...]]:
    return [(item.op, item.trigger, item.argument) for item in tfbundle.scan(path).findings if item.severity != "info"]


@pytest.mark.parametrize(("folder", "program"), CASES)
def test_findings_are_those_that_were_built(folder: Path, program: dict[str, Any]) -> None:
    left = found(folder / program["path"])
    for wanted in program["findings"]:
        match = next(
            (
                item
                for item in left
                if item[:2] == (wanted["op"], wanted["trigger"]) and wanted["argument"] in (None, item[2])
            ),
            None,
        )
        assert match is not None, (wanted, left)
        left.remove(match)
    assert left == []


@pytest.mark.parametrize(("folder", "program"), CASES)
def test_completeness(folder: Path, program: dict[str, Any]) -> None:
    assert tfbundle.scan(folder / program["path"]).complete is program["complete"]


@pytest.mark.parametrize("folder", ORDINARY, ids=lambda folder: folder.name)
def test_nothing_above_info_in_ordinary_files(folder: Path) -> None:
    report = tfbundle.scan(folder)
    assert report.above("info") == ()
    assert report.not_scanned == ()


def test_ordinary_graphs_were_looked_at() -> None:
    report = tfbundle.scan(FIXTURES / "tf-1.15.5")
    assert len(report.files) > 15
    assert report.nodes > 5000
