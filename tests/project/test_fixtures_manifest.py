"""What every fixture promises about itself: files that are there, and expectations of a known form.

That the expectations are true is for `tools/fixtures/check_expectations.py`, which needs TensorFlow.
"""

import json
import re
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures"
REPOSITORY = FIXTURES.parent
CASES = sorted(path.parent for path in FIXTURES.glob("*/*/EXPECTED.json"))
SOURCES = {"read by TensorFlow", "values written", "nobody"}
READ_BY_THE_NEWEST = {"handmade", "events-tensorboardx"}
HASH = re.compile("[0-9a-f]{64}")


def expectation(case: Path) -> dict:
    return json.loads((case / "EXPECTED.json").read_text(encoding="utf-8"))


def checkpoints(expected: dict) -> list[dict]:
    return expected.get("checkpoints", [expected] if "format" in expected else [])


def test_there_are_fixtures_of_every_generation() -> None:
    generations = {case.parent.name for case in CASES}
    assert {
        "handmade",
        "tf-0.12.1",
        "tf-1.2.1",
        "tf-1.4.1",
        "tf-1.15.5",
        "tf-2.4.4",
        "tf-2.15.1",
        "tf-2.21.0",
    } <= generations


def test_every_folder_has_an_expectation() -> None:
    folders = {path for path in FIXTURES.glob("*/*") if path.is_dir()}
    assert folders == set(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_expectation_is_well_formed(case: Path) -> None:
    expected = expectation(case)
    script, name = re.fullmatch(r"python (tools/fixtures/\w+\.py) (\w+)", expected["written_by"]).groups()
    assert name.replace("_", "-") == case.name
    assert f"def {name}(" in (REPOSITORY / script).read_text(encoding="utf-8")
    assert expected["about"]
    # Handmade files and those of other writers say which TensorFlow read them.
    assert case.parent.name.endswith(f"tf-{expected['tensorflow']}") or case.parent.name in READ_BY_THE_NEWEST
    assert checkpoints(expected) or expected.get("graphs") or "events" in expected or expected.get("programs")
    for checkpoint in checkpoints(expected):
        assert checkpoint["format"] in ("v1", "v2")
        pattern = checkpoint["path"] + (".index" if checkpoint["format"] == "v2" else "")
        assert list(case.glob(pattern)), pattern
        assert ("error" in checkpoint) != ("tensors" in checkpoint)
        for tensor in checkpoint.get("tensors", {}).values():
            assert tensor["source"] in SOURCES
            assert all(length >= 0 for length in tensor["shape"])
            if tensor["dtype"] == "variant":
                assert "variants" in tensor
            elif "error" not in tensor or tensor["source"] == "values written":
                assert HASH.fullmatch(tensor["sha256"])
    for program in expected.get("programs", []):
        assert (case / program["path"]).exists()
        assert program["findings"] or program["complete"] is False or case.name in ("ordinary-models", "warm-started")
    for graph in expected.get("graphs", []):
        assert (case / graph["path"]).is_file()
        assert HASH.fullmatch(graph["sha256"])


def test_files_are_small() -> None:
    sizes = {path: path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 20_000_000
    assert [path for path, size in sizes.items() if size > 1_000_000 and path.name != "EXPECTED.json"] == []
