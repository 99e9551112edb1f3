"""``events show`` of what is not a scalar, as TensorFlow 1 and 2 wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.command import documents, outcome, run
from tests.support.expected import FIXTURES
from tests.support.records import frames
from tfbundle.cli.bars import draw_bars
from tfbundle.proto import Event, Summary

LOGS = FIXTURES / "events-tf-2.21.0" / "every-plugin-2"


def series_of(tag: str, *arguments: str, logs: Path = LOGS) -> dict[str, Any]:
    (document,) = documents(run("events", "show", logs, tag, "--json", *arguments).stdout)
    assert document["series"] == []
    (found,) = document["others"]
    return dict(found)


def table(tag: str, logs: Path = LOGS) -> list[str]:
    result = run("events", "show", logs, tag)
    assert result.exit_code == 0, result.stderr
    return [line.rstrip() for line in result.stdout.splitlines() if line.strip()]


@pytest.fixture
def train() -> Any:
    with tfbundle.open_events(LOGS) as log:
        yield log.runs["train"]


def test_text(train: Any) -> None:
    lines = table("notes")
    assert lines[0] == "notes (text) in train, 3 points"
    assert [line.split()[0] for line in lines[1:]] == ["step", "0", "1", "2"]
    found = series_of("notes")
    assert (found["kind"], found["steps"]) == ("text", [0, 1, 2])
    assert found["values"] == [element.tolist() for element in train.text["notes"]]


def test_histograms(train: Any) -> None:
    lines = table("values")
    element = train.histograms["values"][-1]
    cells = lines[-1].split()
    assert cells[:2] == ["2", f"{element.counts.sum():.6g}"]
    assert cells[2:4] == [f"{element.edges[0]:.6g}", f"{element.edges[-1]:.6g}"]
    found = series_of("values")["values"][-1]
    assert (found["edges"], found["counts"]) == (element.edges.tolist(), element.counts.tolist())


def test_pr_curves(train: Any) -> None:
    curve = train.pr_curves["curve/pr_curves"][-1]
    lines = table("curve/*")
    assert lines[1].split() == [
        "threshold",
        "precision",
        "recall",
        "true",
        "+",
        "false",
        "+",
        "true",
        "-",
        "false",
        "-",
    ]
    assert len(lines) == 2 + min(21, len(curve.thresholds)) + 1
    assert lines[2].split()[1:3] == [f"{curve.precision[0]:.6g}", f"{curve.recall[0]:.6g}"]
    assert lines[-1].startswith("step 2")
    assert series_of("curve/*")["values"][-1]["recall"] == pytest.approx(curve.recall.tolist())


def test_hyperparameters(train: Any) -> None:
    tag = "_hparams_/session_start_info"
    values = train.hparams.values
    assert {line.split()[0] for line in table(tag)[2:]} == set(values)
    found = series_of(tag)
    assert (found["kind"], found["values"]) == ("hparams", [values])


def test_images_audio_and_tensors(train: Any) -> None:
    images = train.images["pictures"][0]
    assert table("pictures")[2].split()[:3] == ["0", f"{images.width}x{images.height}", str(len(images.encoded))]
    assert series_of("sounds")["values"][0]["labels"] == list(train.audio["sounds"][0].labels)
    tensor = train.tensors["tensor/int64"][0]
    assert table("tensor/int64")[2].split()[1] == "int64"
    assert series_of("tensor/int64")["values"][0] == tensor.tolist()


def test_scalars_come_first_and_alone() -> None:
    (document,) = documents(run("events", "show", LOGS, "*", "--json").stdout)
    assert {one["tag"] for one in document["series"]} == {"loss"}
    assert document["others"] == []
    (document,) = documents(run("events", "show", LOGS, "loss", "notes", "tensor/*", "--json").stdout)
    assert {one["tag"] for one in document["series"]} == {"loss"}
    assert {one["kind"] for one in document["others"]} == {"text", "tensors"}
    assert outcome("events", "show", LOGS, "note")[2].endswith("did you mean 'notes'?\n")


def test_only_the_last_points_are_in_a_table(tmp_path: Path) -> None:
    for count in (20, 21):
        events = []
        for step in range(count):
            value = Summary.Value(tag="words")
            value.tensor.dtype = 7  # type: ignore[assignment]
            value.tensor.string_val.append(b"\x1b[31m%d" % step)
            value.metadata.plugin_data.plugin_name = "text"
            events.append(Event(step=step, summary=Summary(value=[value])).SerializeToString())
        (tmp_path / "events.out.tfevents.1").write_bytes(frames(events))
        lines = table("words", tmp_path)
        assert "\x1b" not in "".join(lines)
        assert [line for line in lines if "earlier" in line] == (
            ["1 earlier point not shown; --json prints all"] if count == 21 else []
        )
        assert len(lines) == 2 + 20 + (count == 21)


def test_a_damaged_element_does_not_hide_the_others(tmp_path: Path) -> None:
    value = Summary.Value(tag="odd")
    value.histo.bucket.extend([1.0, 2.0])
    value.histo.bucket_limit.append(1.0)
    whole = Summary.Value(tag="whole")
    whole.histo.bucket.append(1.0)
    whole.histo.bucket_limit.append(1.0)
    event = Event(step=1, summary=Summary(value=[value, whole]))
    (tmp_path / "events.out.tfevents.1").write_bytes(frames([event.SerializeToString()]))
    status, printed, error = outcome("events", "show", tmp_path, "odd", "whole")
    assert status == 1
    assert "whole (histograms)" in printed
    assert "bucket limits" in error


def test_bars() -> None:
    flat = draw_bars(np.array([0.0, 24.0]), np.array([5.0]))
    assert len(flat) == 24
    assert len(set(flat)) == 1
    halves = draw_bars(np.array([0.0, 12.0, 24.0]), np.array([1.0, 8.0]))
    assert halves[:12] == halves[0] * 12
    assert halves[12:] == halves[-1] * 12
    assert halves[0] < halves[-1]
    with_gap = draw_bars(np.array([0.0, 8.0, 16.0, 24.0]), np.array([1.0, 0.0, 1.0]))
    assert with_gap[9:15] == " " * 6


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([0, 0], [1]),
        ([0, np.inf], [1]),
        ([np.nan, 1], [1]),
        ([-1.7e308, 1.7e308], [1]),
        ([0, 1], [-1]),
        ([0, 1], [np.nan]),
        ([0, 1], [0]),
        ([2, 1], [1]),
    ],
)
def test_histograms_that_cannot_be_drawn(edges: list[float], counts: list[float]) -> None:
    assert draw_bars(np.array(edges, float), np.array(counts, float)) == ""
