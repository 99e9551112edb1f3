"""Statistics over runs beside those of pandas, and the table of hyperparameters beside what TensorBoard wrote."""

from __future__ import annotations

import json
import math
import os
import random
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.events.test_events_oracle import ask, tensorboard_server
from tests.support.records import frames
from tfbundle.events.over_runs import aggregate_runs
from tfbundle.proto import Event, Summary, TensorProto

NAME = "events.out.tfevents.1"


def write(root: Path, run: str, points: list[tuple[str, int, float]]) -> None:
    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    events = [
        Event(wall_time=1, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        for tag, step, value in points
    ]
    (folder / NAME).write_bytes(frames(event.SerializeToString() for event in events))


@pytest.mark.parametrize("seed", range(6))
def test_statistics_as_pandas_has_them(tmp_path: Path, seed: int) -> None:
    pandas = pytest.importorskip("pandas", reason="compares with pandas")
    draw = random.Random(seed)
    for name in ("wide", "deep", "solo"):
        for number in range({"wide": 5, "deep": 3, "solo": 1}[name]):
            points = []
            for tag in ("loss", "acc/top1"):
                # Steps that not all runs have, some twice as after a restart, and in no order.
                for _ in range(draw.randint(0, 60)):
                    value = draw.choice([draw.gauss(1e6, 1e-3), draw.gauss(0, 1), math.nan, 1e30])
                    points.append((tag, draw.randint(-3, 40), value))
            write(tmp_path, f"run_{name}_seed{number}", points)
    log = tfbundle.open_events(tmp_path)
    found = log.aggregate(r"run_(.*)_seed\d+")
    frame = log.to_pandas()
    frame = frame.drop_duplicates(["run", "tag", "step"], keep="last")
    frame["group"] = frame["run"].astype(str).str.extract(r"run_(.*)_seed\d+", expand=False)
    frame["tag"] = frame["tag"].astype(str)
    wanted = frame.groupby(["group", "tag", "step"])["value"].agg(["count", "mean", "std"]).reset_index()
    ours = found.to_pandas().astype({"group": str, "tag": str}).sort_values(["group", "tag", "step"], ignore_index=True)
    pandas.testing.assert_frame_equal(
        ours[["group", "tag", "step", "count"]], wanted[["group", "tag", "step", "count"]]
    )
    np.testing.assert_allclose(ours["mean"], wanted["mean"], rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(ours["std"], wanted["std"], rtol=1e-9)
    assert found["count"].dtype == np.int64
    assert found["mean"].dtype == found["std"].dtype == np.float64
    assert found["count"].min() == 0 or not np.isnan(found["mean"]).any()


def rows(table: Any) -> list[tuple[Any, ...]]:
    return [tuple("nan" if cell != cell else cell for cell in row) for row in table.rows()]


def test_what_counts_at_each_step(tmp_path: Path) -> None:
    write(tmp_path, "a1", [("x", 0, 1), ("x", 1, 2), ("x", 3, math.nan), ("x", 1, 4)])
    write(tmp_path, "a2", [("x", 0, 3), ("x", 2, 5), ("x", 3, math.nan), ("y", 0, math.inf)])
    write(tmp_path, "b1", [("x", 0, 7)])
    log = tfbundle.open_events(tmp_path)
    table = log.aggregate("(.).*")
    assert list(table) == ["group", "tag", "step", "count", "mean", "std"]
    assert rows(table) == [
        ("a", "x", 0, 2, 2.0, math.sqrt(2)),  # A sample of 1 and 3.
        ("a", "x", 1, 1, 4.0, "nan"),  # The last of a run's points at a step, and one number has no deviation.
        ("a", "x", 2, 1, 5.0, "nan"),
        ("a", "x", 3, 0, "nan", "nan"),
        ("a", "y", 0, 1, math.inf, "nan"),
        ("b", "x", 0, 1, 7.0, "nan"),
    ]
    assert repr(table) == "<ColumnTable, 6 rows: group, tag, step, count, mean, std>"
    assert rows(log.aggregate("(.).*", tags="y")) == [("a", "y", 0, 1, math.inf, "nan")]


def test_deviations_of_large_numbers_do_not_cancel(tmp_path: Path) -> None:
    for number in range(3):
        folder = tmp_path / f"seed{number}"
        folder.mkdir()
        tensor = TensorProto(dtype=2, double_val=[1e15 + number])
        event = Event(step=1, summary=Summary(value=[Summary.Value(tag="x", tensor=tensor)]))
        event.summary.value[0].metadata.plugin_data.plugin_name = "scalars"
        (folder / NAME).write_bytes(frames([event.SerializeToString()]))
    table = tfbundle.open_events(tmp_path).aggregate(r"seed\d")
    assert rows(table) == [(r"seed\d", "x", 1, 3, 1e15 + 1, 1.0)]


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (r"run_(.*)_seed\d+", ["deep", "wide"]),
        (re.compile(r"run_(?P<kind>.*)_seed(\d)"), ["deep/0", "wide/0", "wide/1"]),
        (r"run_.*", ["run_.*"]),
        (r"run_wide_seed\d(/eval)?", ["", "/eval"]),
        (lambda name: name.rpartition("_")[2] if "wide" in name else None, ["seed0", "seed1"]),
    ],
    ids=["one", "two", "none", "optional", "function"],
)
def test_how_runs_are_grouped(tmp_path: Path, group: Any, names: list[str]) -> None:
    runs = ["run_wide_seed0", "run_wide_seed1", "run_deep_seed0"]
    runs += ["run_wide_seed1/eval"] if "eval" in str(group) else []
    for run in runs:
        write(tmp_path, run, [("x", 1, 2)])
    assert list(dict.fromkeys(tfbundle.open_events(tmp_path).aggregate(group)["group"])) == names


def test_what_groups_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "run_wide_seed0", [("loss", 1, 2)])
    log = tfbundle.open_events(tmp_path)
    for group, tags, error, message in (
        ("wide", None, KeyError, "no run's whole name matches 'wide'; there is 'run_wide_seed0'"),
        (lambda name: None, None, KeyError, "no run's whole name"),
        ("(", None, ValueError, "group is not a valid regular expression"),
        (3, None, ValueError, "group is not a valid regular expression"),
        ("*", None, ValueError, "nothing to repeat at position 0; globs are not accepted: pass '(.*)'"),
        (lambda name: 3, None, ValueError, "but returned 3 for the run"),
        (".*", "lost", KeyError, "no tag 'lost'; did you mean 'loss'"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            log.aggregate(group, tags=tags)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="there is no run"):
        aggregate_runs([], ".*")


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    event = Event(
        step=1, summary=Summary(value=[Summary.Value(tag="z", tensor=TensorProto(dtype=8, scomplex_val=[1, 2]))])
    )
    event.summary.value[0].metadata.plugin_data.plugin_name = "scalars"
    (tmp_path / NAME).write_bytes(frames([event.SerializeToString()]))
    with pytest.raises(tfbundle.UnsupportedError, match="'z' has complex numbers"):
        tfbundle.open_events(tmp_path).aggregate(".*")


def test_tables_of_pandas_and_arrow(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="makes tables of Arrow")
    pytest.importorskip("pandas", reason="makes tables of pandas")
    for seed in range(3):
        write(tmp_path, f"seed{seed}", [("loss", step, seed + step) for step in range(4)])
    table = tfbundle.open_events(tmp_path).aggregate(r"seed\d")
    for frame in (table.to_pandas(), table.to_arrow().to_pandas()):
        assert list(frame) == list(table)
        assert frame["mean"].tolist() == [1.0, 2.0, 3.0, 4.0]
        assert frame["std"].tolist() == [1.0] * 4
        assert frame["tag"].astype(str).tolist() == ["loss"] * 4
        assert str(frame["group"].dtype) == "category"


# Hyperparameters.


def write_study(tf: Any, hp: Any, root: Path) -> None:
    """Three trials as Keras writes them: the session's start in its run, metrics in runs below."""
    with tf.summary.create_file_writer(str(root)).as_default():
        hp.hparams_config(
            hparams=[hp.HParam("rate"), hp.HParam("units"), hp.HParam("optimizer")],
            metrics=[hp.Metric("epoch_loss", group="validation"), hp.Metric("score")],
        )
    for number, values in enumerate(
        (
            {"rate": 0.1, "units": 32, "optimizer": "sgd", "flag": True},
            {"rate": 0.01, "units": 64, "optimizer": "adam", "flag": False},
            {"rate": 0.5, "optimizer": 7},
        )
    ):
        trial = root / f"trial{number}"
        with tf.summary.create_file_writer(str(trial)).as_default():
            hp.hparams(values, trial_id=f"id{number}", start_time_secs=100 + number)
            for step in range(3):
                tf.summary.scalar("score", 10 * number + step, step=step)
        for name in ("train", "validation"):
            with tf.summary.create_file_writer(str(trial / name)).as_default():
                tf.summary.scalar("epoch_loss", number + (0.5 if name == "train" else 0.25), step=1)


def test_hparams_as_tensorboards_api_writes_them(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    hp = pytest.importorskip("tensorboard.plugins.hparams.api", reason="compares with TensorBoard")
    write_study(tf, hp, tmp_path)
    log = tfbundle.open_events(tmp_path)
    table = log.hparams_table()
    assert {name: column.tolist() for name, column in table.items() if name != "end_time"} == {
        "run": ["trial0", "trial1", "trial2"],
        "group": [log.runs[f"trial{number}"].hparams.group_name for number in range(3)],
        "status": [None] * 3,
        "start_time": [100.0, 101.0, 102.0],
        "flag": [True, False, None],
        "optimizer": ["sgd", "adam", 7.0],
        "rate": [0.1, 0.01, 0.5],
        "units": pytest.approx([32.0, 64.0, math.nan], nan_ok=True),
        "validation/epoch_loss": [0.25, 1.25, 2.25],
        "score": [2.0, 12.0, 22.0],
    }
    assert len(set(table["group"])) == 3
    assert np.isnan(table["end_time"]).all()
    for tags, names in (
        ("epoch_loss", ["train/epoch_loss", "validation/epoch_loss"]),
        ("train/*", ["train/epoch_loss"]),
        (["score", "validation/epoch_loss"], ["score", "validation/epoch_loss"]),
    ):
        assert list(log.hparams_table(tags))[-len(names) :] == names
    with pytest.raises(KeyError, match="no tag 'epoch_los'; did you mean 'epoch_loss'"):
        log.hparams_table("epoch_los")
    pytest.importorskip("pyarrow", reason="makes tables of Arrow")
    pytest.importorskip("pandas", reason="makes tables of pandas")
    assert table.to_arrow()["optimizer"].to_pylist() == ["sgd", "adam", "7.0"]
    assert table.to_arrow()["flag"].to_pylist() == [True, False, None]
    assert table.to_pandas()["score"].tolist() == [2.0, 12.0, 22.0]


def ask_for_sessions(address: str) -> list[Any]:
    """What TensorBoard's hparams page requests."""
    body = {"startIndex": 0, "sliceSize": 100, "colParams": [], "includeMetrics": True}
    body["allowedStatuses"] = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    request = urllib.request.Request(
        f"{address}/plugin/hparams/session_groups",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "X-TensorBoard-Feature-Flags": "{}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[Any] = json.load(answer).get("sessionGroups", [])
        return found


@pytest.mark.skipif(os.name == "nt", reason="TensorBoard's data server runs on Linux and macOS")
def test_hparams_as_tensorboards_page_shows_them(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    hp = pytest.importorskip("tensorboard.plugins.hparams.api", reason="compares with TensorBoard")
    write_study(tf, hp, tmp_path)
    with tensorboard_server(tmp_path) as address:
        groups: list[Any] = []
        for _ in range(600):  # The data server reads the files in the background.
            if len(ask(f"{address}/plugin/scalars/tags")) == 9:
                groups = ask_for_sessions(address)
            if len(groups) == 3 and all(len(group["sessions"][0].get("metricValues", [])) == 2 for group in groups):
                break
            time.sleep(0.05)
    table = tfbundle.open_events(tmp_path).hparams_table()
    found = {row[0]: dict(zip(table, row, strict=True)) for row in table.rows()}
    assert len(groups) == len(found) == 3
    for group in groups:
        (session,) = group["sessions"]
        ours = found[session["name"]]
        assert (ours["group"], ours["start_time"]) == (group["name"], session["startTimeSecs"])
        assert {name: ours[name] for name in group["hparams"]} == group["hparams"]
        metrics = {(one["name"]["group"], one["name"]["tag"]): one["value"] for one in session["metricValues"]}
        assert metrics == {("validation", "epoch_loss"): ours["validation/epoch_loss"], ("", "score"): ours["score"]}


def test_hparams_of_other_writers(tmp_path: Path) -> None:
    """TensorFlow 1's, whose metadata stand alone, and that of a run that is the folder itself."""
    fixture = Path(__file__).resolve().parents[2] / "fixtures" / "events-tf-1.15.5" / "mesh-and-hparams"
    log = tfbundle.open_events(fixture)
    (run,) = [run for run in log.runs.values() if run.hparams is not None]
    table = log.hparams_table()
    assert table["run"].tolist() == [run.name]
    assert table["status"].tolist() == [run.hparams.status]
    for name, value in run.hparams.values.items():
        assert table[name].tolist() == [value]


def test_names_that_are_taken_and_runs_without_hyperparameters(tmp_path: Path) -> None:
    from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData()
    data.session_start_info.group_name = "g"
    data.session_start_info.hparams["run"].string_value = "fast"
    data.session_start_info.hparams["loss"].number_value = 2
    data.session_start_info.hparams["layers"].list_value.append(3)
    data.session_start_info.hparams["none"].null_value = 0  # type: ignore[assignment]
    value = Summary.Value(tag="_hparams_/session_start_info")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = data.SerializeToString()
    folder = tmp_path / "a"
    folder.mkdir()
    loss = Event(step=1, summary=Summary(value=[Summary.Value(tag="loss", simple_value=0.5)]))
    (folder / NAME).write_bytes(
        frames([Event(summary=Summary(value=[value])).SerializeToString(), loss.SerializeToString()])
    )
    write(tmp_path, "other", [("loss", 1, 9)])
    write(tmp_path, "a/below/deep", [("loss", 1, 4)])
    table = tfbundle.open_events(tmp_path).hparams_table()
    assert {name: column.tolist() for name, column in table.items() if "time" not in name} == {
        "run": ["a"],
        "group": ["g"],
        "status": [None],
        "layers": ["[3.0]"],
        "loss": [2.0],
        "none": pytest.approx([math.nan], nan_ok=True),
        "run (hparam)": ["fast"],
        "loss (metric)": [0.5],
        "below/deep/loss": [4.0],
    }
    empty = tfbundle.open_events(tmp_path / "other").hparams_table()
    assert (empty.row_count, list(empty)) == (0, ["run", "group", "status", "start_time", "end_time"])


def write_session(folder: Path, names: list[str], tags: list[str]) -> None:
    from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    data = HParamsPluginData()
    for name in names:
        data.session_start_info.hparams[name].number_value = 1
    value = Summary.Value(tag="_hparams_/session_start_info")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = data.SerializeToString()
    values = [value, *(Summary.Value(tag=tag, simple_value=1) for tag in tags)]
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(frames([Event(summary=Summary(value=values)).SerializeToString()]))


@pytest.mark.parametrize("absent", [0, 1])
def test_a_table_that_is_full_is_never_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: int) -> None:
    """Names and metrics that all sessions have count as often as they are stated."""
    from tfbundle.events import hparams_table

    monkeypatch.setattr(hparams_table, "MOST_TABLE_CELLS", 10)
    monkeypatch.setattr(hparams_table, "LARGEST_TABLE_GROWTH", 1)
    tags = ["a", "b", "c", "d"]
    for trial in range(4):
        write_session(tmp_path / f"trial{trial}", ["x", "y"], tags[: -absent or None] if trial else tags)
    log = tfbundle.open_events(tmp_path)
    if absent:
        with pytest.raises(tfbundle.UnsupportedError, match="hardly any in common"):
            log.hparams_table()
    else:
        assert log.hparams_table().row_count == 4


@pytest.mark.parametrize(("count", "refused"), [(300, False), (1100, True)])
@pytest.mark.effort
def test_a_table_of_holes_is_refused(tmp_path: Path, count: int, refused: bool) -> None:
    """Sessions that have a name each of their own."""
    for number in range(count):
        write_session(tmp_path / f"{number}", [f"name {number}"], [])
    if refused:
        with pytest.raises(tfbundle.UnsupportedError, match="1100 sessions have 1100 hyperparameters"):
            tfbundle.open_events(tmp_path).hparams_table()
    else:
        assert tfbundle.open_events(tmp_path).hparams_table().row_count == count


@pytest.mark.effort
def test_many_tags_runs_and_steps_take_no_longer_than_sorting(tmp_path: Path) -> None:
    for run in range(40):
        write(tmp_path, f"seed{run}", [(f"tag{tag}", step, run) for tag in range(50) for step in range(20)])
    log = tfbundle.open_events(tmp_path)
    log.load()
    start = time.process_time()
    table = log.aggregate(r"seed\d+")
    assert time.process_time() - start < 2
    assert table.row_count == 1000
    assert set(table["count"].tolist()) == {40}
    assert set(table["mean"].tolist()) == {19.5}
