"""The commands that edit event files and put runs together: events edit, aggregate and hparams."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

import tfbundle
from tests.support.command import outcome, refusal, run
from tests.support.records import frame, frames
from tfbundle.proto import Event, Summary
from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tfbundle.reporting.curves import read_runs
from tfbundle.storage.locations import locate

NAME = "events.out.tfevents.1"


def scalar(tag: str, step: int, value: float) -> bytes:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
    return Event(wall_time=step + 0.5, step=step, summary=summary).SerializeToString()


def session(**values: Any) -> bytes:
    data = HParamsPluginData()
    data.session_start_info.start_time_secs = 1e9
    for name, value in values.items():
        kind = "string_value" if isinstance(value, str) else "number_value"
        setattr(data.session_start_info.hparams[name], kind, value)
    value = Summary.Value(tag="_hparams_/session_start_info")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = data.SerializeToString()
    return Event(summary=Summary(value=[value])).SerializeToString()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two seeds of one model and one of another, each with its hyperparameters."""
    for name, seed in (("wide", 0), ("wide", 1), ("deep", 0)):
        records = [session(model=name, seed=seed)]
        records += [scalar("loss", step, step + seed) for step in range(3)] + [scalar("debug\tx", 0, math.nan)]
        folder = tmp_path / "logs" / f"run_{name}_seed{seed}"
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(frames(records))
    return tmp_path / "logs"


# events edit


def test_edit_shows_its_plan_and_then_does_it(logs: Path, tmp_path: Path) -> None:
    arguments = ["events", "edit", logs / "run_wide_seed0", tmp_path / "out"]
    arguments += ["--exclude", r"debug\tx", "--rename", "l(.*)=train/L\\1", "--first-step", 1, "--shift-steps", -1]
    status, output, errors = outcome(*arguments, "--dry-run")
    assert (status, errors) == (0, "")
    assert [line.split() for line in output.splitlines()] == [
        ["run", "tag", "new", "tag", "kind", "points", "kept", "action"],
        [".", "_hparams_/session_start_info", "_hparams_/session_start_info", "other", "1", "1", "copied"],
        [".", "loss", "train/Loss", "scalars", "3", "2", "renamed,", "1", "point", "cut,", "shifted"],
        [".", r"debug\tx", "-", "scalars", "1", "0", "left", "out:", "excluded"],
        [f"{tmp_path}/out:", "would", "be", "written:", "1", "file,", "3", "points;", "2", "points", "left", "out"],
    ]
    assert not (tmp_path / "out").exists()
    assert outcome(*arguments) == (0, f"{tmp_path}/out: 1 file, 3 points; 2 points left out\n", "")
    with tfbundle.open_events(tmp_path / "out") as log:
        assert {tag: series.steps.tolist() for tag, series in log.runs["."].scalars.items()} == {"train/Loss": [0, 1]}


def test_edit_as_json(logs: Path, tmp_path: Path) -> None:
    result = run("events", "edit", "--json", logs, tmp_path / "out", "--tag", "loss", "--dry-run")
    data = json.loads(result.stdout)
    assert data["schema"] == "tfbundle/events-edit/1"
    assert (data["points"], data["left_out"], len(data["files"])) == (9, 6, 3)
    assert data["plan"][1] == {
        "run": "run_deep_seed0",
        "tag": "loss",
        "new_tag": "loss",
        "kind": "scalars",
        "points": 3,
        "kept": 3,
        "action": "copied",
    }
    assert "plan" not in json.loads(run("events", "edit", "--json", logs, tmp_path / "out").stdout)


def test_edit_of_damaged_files(logs: Path, tmp_path: Path) -> None:
    path = logs / "run_wide_seed0" / NAME
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"?" + frame(b"")[:5])
    assert "is damaged: the CRC-32C" in refusal("events", "edit", logs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    status, output, errors = outcome("events", "edit", logs, tmp_path / "out", "--salvage")
    assert (status, len(output.splitlines())) == (1, 1)
    assert f"{path}: left out" in errors
    assert f"{path}: an incomplete record of 5 bytes at offset {len(data)}" in errors


def test_edit_in_its_place_and_what_it_refuses(logs: Path, tmp_path: Path) -> None:
    folder = logs / "run_wide_seed0"
    (folder / "events.out.tfevents.2").write_bytes(frame(scalar("loss", 3, 3)))
    assert "replace it with --overwrite" in refusal("events", "edit", folder, folder)
    assert "2 files, which --merge writes as one" in refusal("events", "edit", folder, tmp_path / "one.tfevents")
    assert "no tag 'lost'; did you mean 'loss'" in refusal("events", "edit", logs, folder, "--exclude", "lost")
    assert "is not of the form --rename OLD=NEW" in refusal("events", "edit", logs, folder, "--rename", "lost")
    result = run("events", "edit", folder, folder, "--merge", "--overwrite")
    assert result.stdout.splitlines() == [
        f"{folder}: 1 file, 6 points; 0 points left out",
        "1 file removed, whose events are in the merged ones",
    ]
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_edit_renames_as_a_file_says(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text('{"loss": "cost"}', encoding="utf-8")
    arguments = ["--rename-file", tmp_path / "names.json", "--rename", "cost=price"]
    assert run("events", "edit", logs, tmp_path / "out", *arguments).exit_code == 0
    with tfbundle.open_events(tmp_path / "out") as log:
        assert all("price" in run.scalars for run in log.runs.values())


# events aggregate


def test_aggregate(logs: Path) -> None:
    status, output, errors = outcome("events", "aggregate", logs, "--group", r"run_(.*)_seed\d+", "--tag", "loss")
    assert (status, errors) == (0, "")
    assert [line.split() for line in output.splitlines()] == [
        ["group", "tag", "step", "count", "mean", "std"],
        *[["deep", "loss", f"{step}", "1", f"{step}", "-"] for step in range(3)],
        *[["wide", "loss", f"{step}", "2", f"{step + 0.5}", "0.707107"] for step in range(3)],
    ]


def test_aggregate_as_json_and_files(logs: Path, tmp_path: Path) -> None:
    arguments = ["events", "aggregate", logs, "--group", r"run_(.*)_seed\d+"]
    data = json.loads(run(*arguments, "--json").stdout)
    assert data["columns"] == ["group", "tag", "step", "count", "mean", "std"]
    assert data["rows"][-1] == ["wide", "debug\tx", 0, 0, "NaN", "NaN"]
    assert data["rows"][-2] == ["wide", "loss", 2, 2, 2.5, math.sqrt(0.5)]
    for format in ("csv", "jsonl", "parquet"):
        if format == "parquet":
            pytest.importorskip("pyarrow", reason="writes Parquet")
        out = tmp_path / f"means.{format}"
        assert outcome(*arguments, "-o", out) == (0, f"{out}: 8 rows\n", "")
    assert json.loads(run(*arguments, "--json", "-o", out).stdout) == {
        "schema": "tfbundle/events-aggregate/1",
        "path": str(out),
        "format": "parquet",
        "count": 8,
    }
    rows = list(csv.DictReader(io.StringIO((tmp_path / "means.csv").read_text(encoding="utf-8"))))
    lines = [json.loads(line) for line in (tmp_path / "means.jsonl").read_text(encoding="utf-8").splitlines()]
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(tmp_path / "means.parquet").to_pylist()
    for row, line, wanted in zip(rows, lines, table, strict=True):
        assert row["group"] == line["group"] == wanted["group"]
        assert float(row["mean"]) == pytest.approx(wanted["mean"], rel=0, abs=0, nan_ok=True)
        assert float(line["mean"]) == pytest.approx(wanted["mean"], rel=0, abs=0, nan_ok=True)
        assert int(row["count"]) == line["count"] == wanted["count"]
    assert run(*arguments, "-o", "-", "--format", "csv").stdout == (tmp_path / "means.csv").read_text(encoding="utf-8")


def test_what_aggregate_refuses(logs: Path) -> None:
    assert "no run's whole name matches 'wide'" in refusal("events", "aggregate", logs, "--group", "wide")
    assert "group is not a valid regular expression" in refusal("events", "aggregate", logs, "--group", "(")
    assert "no tag 'lost'; did you mean 'loss'" in refusal(
        "events", "aggregate", logs, "--group", ".*", "--tag", "lost"
    )
    assert "add -o FILE" in refusal("events", "aggregate", logs, "--group", ".*", "--format", "csv")
    assert "is not a table format" in refusal("events", "aggregate", logs, "--group", ".*", "-o", "x.txt")
    assert "Parquet needs a file" in refusal(
        "events", "aggregate", logs, "--group", ".*", "-o", "-", "--format", "parquet"
    )
    out = logs / "run_wide_seed0" / NAME
    message = refusal("events", "aggregate", logs, "--group", ".*", "-o", out, "--format", "csv")
    assert "is a source of the output" in message
    assert "--overwrite" in message


# events hparams


def test_digests_as_groups_are_shortened(tmp_path: Path) -> None:
    groups = {"a": "0123456789ab" * 5 + "cdef", "b": "0123456789ab" * 5 + "cde", "c": "first"}
    for name, group in groups.items():
        data = HParamsPluginData()
        data.session_start_info.group_name = group
        value = Summary.Value(tag="_hparams_/session_start_info")
        value.metadata.plugin_data.plugin_name = "hparams"
        value.metadata.plugin_data.content = data.SerializeToString()
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_bytes(frames([Event(summary=Summary(value=[value])).SerializeToString()]))
    shown = run("events", "hparams", tmp_path).stdout.splitlines()[1:]
    assert [line.split()[1] for line in shown] == ["0123456789ab...", groups["b"], "first"]
    rows = json.loads(run("events", "hparams", tmp_path, "--json").stdout)["rows"]
    assert [row[1] for row in rows] == list(groups.values())
    described = read_runs(locate(tmp_path)).hparams
    assert described is not None
    assert [row[described.headings.index("group")] for row in described.rows] == [line.split()[1] for line in shown]


def test_hparams(logs: Path, tmp_path: Path) -> None:
    status, output, errors = outcome("events", "hparams", logs, "--tag", "loss")
    assert (status, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == ["run", "group", "status", "start_time", "end_time", "model", "seed", "loss"]
    time = ["2001-09-09", "01:46:40"]
    assert lines[1:] == [
        ["run_deep_seed0", "-", *time, "-", "deep", "0", "2"],
        ["run_wide_seed0", "-", *time, "-", "wide", "0", "2"],
        ["run_wide_seed1", "-", *time, "-", "wide", "1", "3"],
    ]
    data = json.loads(run("events", "hparams", logs, "--json", "--run", "*wide*").stdout)
    assert data["columns"] == [
        *["run", "group", "status", "start_time", "end_time", "model", "seed", "loss", "debug\tx"]
    ]
    assert data["rows"][1] == ["run_wide_seed1", "", None, 1e9, "NaN", "wide", 1.0, 3.0, "NaN"]
    out = tmp_path / "table.csv"
    assert run("events", "hparams", logs, "-o", out, "--tag", "loss").stdout == f"{out}: 3 rows\n"
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert [(row["model"], row["loss"], row["status"]) for row in rows] == [
        ("deep", "2.0", ""),
        ("wide", "2.0", ""),
        ("wide", "3.0", ""),
    ]
    assert "no tag 'lost'; did you mean 'loss'" in refusal("events", "hparams", logs, "--tag", "lost")


def test_hparams_of_runs_that_have_none(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(frame(scalar("loss", 1, 1)))
    status, output, errors = outcome("events", "hparams", tmp_path)
    assert (status, output.split()) == (0, ["run", "group", "status", "start_time", "end_time"])
    assert "has no such data; 'tfbundle events list'" in errors


@pytest.mark.parametrize("arguments", [["aggregate", "--group", ".*"], ["hparams"]], ids=lambda one: one[0])
def test_damaged_files_are_named_and_the_rest_is_shown(logs: Path, arguments: list[str]) -> None:
    path = logs / "run_wide_seed0" / NAME
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    status, output, errors = outcome("events", arguments[0], logs, *arguments[1:])
    assert status == 1
    assert "left out" in errors
    assert "loss" in output
