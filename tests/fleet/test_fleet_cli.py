"""The commands ``events dataset`` and ``inventory``."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("pyarrow", reason="tables of many runs are those of pyarrow")

import tfbundle
from tests.support.command import documents, outcome, run
from tests.support.runs import append, points, records, write_run


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for number in range(3):
        write_run(tmp_path / f"logs/a/run{number}", records(points(["loss", "lr"], range(20))))
    return tmp_path / "logs"


def test_dataset(logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert outcome("events", "dataset", logs, "-o", out) == (0, f"{out}: 120 points of 3 runs (3 runs read)\n", "")
    assert outcome("events", "dataset", logs, "-o", out) == (0, f"{out}: 120 points of 3 runs (0 runs read)\n", "")
    append(logs / "a/run1/events.out.tfevents.1", records(points(["loss"], range(20, 21))))
    assert run("events", "dataset", logs, "-o", out).stdout == f"{out}: 121 points of 3 runs (1 run read)\n"
    status, output, _ = outcome("events", "dataset", logs, "-o", out, "--run", "a/run1", "--tag", "loss")
    assert (status, output) == (0, f"{out}: 21 points of 1 run (1 run read, 2 runs removed)\n")
    answer = run("events", "dataset", logs, "-o", out, "--partition", "sweep", "--workers", "2", "--json")
    facts = {"path": str(out), "runs": 3, "points": 121, "runs_read": 3, "runs_removed": 0, "troubles": []}
    assert documents(answer.stdout) == [facts]


def test_dataset_of_damaged_files(logs: Path, tmp_path: Path) -> None:
    path = logs / "a/run1/events.out.tfevents.1"
    path.write_bytes(b"damaged" * 9)
    for _ in range(2):
        status, _, errors = outcome("events", "dataset", logs, "-o", tmp_path / "out")
        assert status == 1
        assert errors.startswith("run 'a/run1': record 0 at offset 0")
        assert errors.count("\n") == 1
    result = run("events", "dataset", logs, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert '"kind": "checksum"' in result.stdout
    for number in range(30):
        write_run(logs / f"b{number}", []).write_bytes(b"damaged" * 9)
    _, _, errors = outcome("events", "dataset", logs, "-o", tmp_path / "out")
    assert errors.splitlines()[-1] == "11 more; --json lists all of them"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "absent"], "tfbundle: no run 'absent'; there are 3 others"),
        (["--workers", "2", "--dask", "tcp://x:1"], "tfbundle: --workers cannot be combined with --dask"),
        (["--workers", "0"], "Invalid value for '--workers'"),
        (["--partition", "tag"], "Invalid value for '--partition'"),
    ],
)
def test_refusals(logs: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    status, _, errors = outcome("events", "dataset", logs, "-o", tmp_path / "out", *arguments)
    assert status == 2
    assert message in errors
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_data_set(logs: Path) -> None:
    status, _, errors = outcome("events", "dataset", logs, "-o", logs)
    assert (status, errors.count("\n")) == (2, 1)
    assert "is not empty, and not a data set of this kind" in errors
    assert tfbundle.open_events(logs).runs
