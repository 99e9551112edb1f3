"""The command: its table, JSON and SARIF, exit status, policies and baselines."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import outcome, refusal, run_json
from tests.support.expected import FIXTURES
from tests.support.programs import constant, node
from tfbundle.proto import GraphDef

PROGRAMS = FIXTURES / "programs-tf-2.21.0"
READS = PROGRAMS / "reads-a-file"
WRITES = PROGRAMS / "writes-when-loaded"
ORDINARY = PROGRAMS / "ordinary-models"
IN_PARTS = PROGRAMS / "edited-models" / "chunks"
SCHEMA = Path(__file__).with_name("sarif-schema-2.1.0.json")


def policy(folder: Path, *allow: dict[str, str], **others: Any) -> Path:
    file = folder / "policy.json"
    file.write_text(json.dumps({"allow": list(allow), **others}), encoding="utf-8")
    return file


def test_exit_status_and_last_line() -> None:
    status, printed, _ = outcome("scan", ORDINARY)
    assert (status, printed.splitlines()[-1].split(": ")[1][:11]) == (0, "no findings")
    status, printed, _ = outcome("scan", READS)
    assert status == 1
    assert "1 medium in 1 file" in printed
    status, printed, _ = outcome("scan", IN_PARTS)
    assert status == 2
    assert "NOT COMPLETE" in printed
    assert "not scanned: " in printed


def test_table_says_what_where_when_and_with_what() -> None:
    _, printed, _ = outcome("scan", WRITES)
    row = printed.splitlines()[1].split("  ")
    cells = [cell.strip() for cell in row if cell.strip()]
    assert cells[:4] == ["critical", "writes-files (WriteFile)", "load", "/tmp/tfbundle-scan/loaded"]
    assert cells[4].startswith("saved_model.pb > __inference__initializer_")
    assert "writes-files: An op writes a file" in printed


def test_nothing_at_a_path_is_refused() -> None:
    assert "there is no file" in refusal("scan", "no/such/file")
    assert "contradict each other" in refusal("scan", "--json", "--format", "sarif", READS)


def test_json() -> None:
    document = run_json("scan", READS, status=1)
    (finding,) = document["findings"]
    assert finding["op"] == "ReadFile"
    assert finding["arguments"] == ["/etc/hostname"]
    assert (document["ok"], document["complete"], document["counts"]["medium"]) == (False, True, 1)
    document = run_json("scan", IN_PARTS, status=2)
    assert (document["ok"], document["complete"]) == (False, False)
    assert document["not_scanned"][0]["path"].endswith("saved_model.cpb")


@pytest.mark.parametrize(("threshold", "status"), [("info", 1), ("low", 1), ("medium", 0), ("high", 0)])
def test_threshold(threshold: str, status: int) -> None:
    assert outcome("scan", "--threshold", threshold, READS)[0] == status


def test_threshold_never_hides_what_was_not_scanned() -> None:
    assert outcome("scan", "--threshold", "critical", IN_PARTS)[0] == 2


def test_policy_allows_an_op_with_a_path(tmp_path: Path) -> None:
    allowed = policy(tmp_path, {"op": "ReadFile", "argument": "/etc/host*", "reason": "its name"})
    status, printed, _ = outcome("scan", "--policy", allowed, READS)
    assert status == 0
    assert "1 finding allowed by the policy" in printed
    assert run_json("scan", "--policy", allowed, READS)["findings"][0]["allowed"] == "its name"
    other = policy(tmp_path, {"op": "ReadFile", "argument": "/opt/*"})
    assert outcome("scan", "--policy", other, READS)[0] == 1
    assert outcome("scan", "--policy", policy(tmp_path, {"op": "WriteFile"}), READS)[0] == 1
    assert outcome("scan", "--policy", policy(tmp_path, threshold="medium"), READS)[0] == 0


def test_policy_does_not_take_a_part_for_the_whole(tmp_path: Path) -> None:
    """A glob matches each of several paths, nothing that leads away by dots, and nothing that is open."""
    chosen = PROGRAMS / "hidden-paths"
    allowed = policy(tmp_path, {"argument": "/etc/y*"})
    left = [item["argument"] for item in run_json("scan", "--policy", allowed, chosen, status=1)["findings"]]
    assert "/etc/yes, /etc/no" in left
    document = run_json("scan", "--policy", allowed, chosen, status=1)
    assert all(item["allowed"] is None for item in document["findings"])
    open_paths = run_json(
        "scan", "--policy", policy(tmp_path, {"argument": "/etc/*"}), PROGRAMS / "path-of-the-caller", status=1
    )
    assert [item["allowed"] for item in open_paths["findings"]] == [None, None]
    outside = PROGRAMS / "edited-models" / "asset-outside"
    assert outcome("scan", "--policy", policy(tmp_path, {"argument": "..*"}), outside)[0] == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"allow": {}}', '{"allow": [{}]}', '{"allow": [{"reason": "x"}]}', '{"allow": [{"what": "x"}]}',
     '{"threshold": "worst"}', '{"deny": []}', '{"allow": [{"op": 1}]}', "[" * 100_000],
)  # fmt: skip
def test_bad_policies_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text, encoding="utf-8")
    refusal("scan", "--policy", file, READS)


def test_baseline(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    assert outcome("scan", "--write-baseline", file, READS)[0] == 0
    assert outcome("scan", "--baseline", file, READS)[0] == 0
    moved = tmp_path / "elsewhere"
    shutil.copytree(READS, moved)
    assert outcome("scan", "--baseline", file, moved)[0] == 0
    assert outcome("scan", "--baseline", file, WRITES)[0] == 1
    assert [item["new"] for item in run_json("scan", "--baseline", file, READS)["findings"]] == [False]
    refusal("scan", "--baseline", policy(tmp_path), READS)


def test_baseline_counts_what_is_there_twice(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    outcome("scan", "--write-baseline", file, READS)
    document = json.loads(file.read_text(encoding="utf-8"))
    document["findings"] = []
    file.write_text(json.dumps(document), encoding="utf-8")
    assert outcome("scan", "--baseline", file, READS)[0] == 1


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    """A path in a graph may hold anything; none of it reaches a terminal or a parser as it is."""
    path = constant("path", b"/tmp/\xff\x1b[31m\n\xe2\x80\xae")
    graph = GraphDef(node=[path, node("write\n", "WriteFile", "path", "path")])
    (tmp_path / "graph.pb").write_bytes(graph.SerializeToString())
    _, printed, _ = outcome("scan", tmp_path)
    assert all(line.isprintable() for line in printed.splitlines())
    assert len(run_json("scan", tmp_path, status=1)["findings"]) == 1
    (result,) = sarif(tmp_path)["runs"][0]["results"]
    assert result["properties"]["argument"].startswith("/tmp/")


def sarif(*arguments: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(outcome("scan", "--format", "sarif", *arguments)[1])
    return document


@pytest.mark.parametrize("folder", sorted(PROGRAMS.iterdir()), ids=lambda folder: folder.name)
def test_sarif_follows_its_schema(folder: Path, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="validates SARIF, and is not installed")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft4Validator(schema)
    assert list(validator.iter_errors({"version": "2.1.0"}))
    assert not list(validator.iter_errors(sarif(folder)))
    assert not list(validator.iter_errors(sarif("--policy", policy(tmp_path, {"op": "*"}), folder)))


def test_sarif() -> None:
    run = sarif(WRITES)["runs"][0]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("writes-files", "error")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "writes-files"
    location = result["locations"][0]
    assert location["physicalLocation"]["artifactLocation"]["uri"].endswith("/saved_model.pb")
    assert [item["kind"] for item in location["logicalLocations"]] == ["function", "member"]
    assert run["invocations"][0]["executionSuccessful"] is True
    notification = sarif(IN_PARTS)["runs"][0]["invocations"][0]
    assert notification["executionSuccessful"] is False
    assert "chunks" in notification["toolExecutionNotifications"][0]["message"]["text"]


def test_fingerprints_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    shutil.copytree(WRITES, tmp_path / "copy")
    prints = [sarif(path)["runs"][0]["results"][0]["partialFingerprints"] for path in (WRITES, tmp_path / "copy")]
    assert prints[0] == prints[1]
    assert prints[0] != sarif(READS)["runs"][0]["results"][0]["partialFingerprints"]
