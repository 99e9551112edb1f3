"""The commands events and records, and scalars as tables."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

import tfbundle
from tests.support.command import documents, on_terminal, run
from tests.support.processes import read_output
from tests.support.records import frame, frames
from tfbundle.proto import Event, SessionLog, Summary, TensorProto


def scalar(tag: str, step: int, value: float) -> bytes:
    value = Summary.Value(tag=tag, simple_value=value)
    return Event(wall_time=step + 0.5, step=step, summary=Summary(value=[value])).SerializeToString()


def blob(tag: str, **fields: Any) -> bytes:
    return Event(step=7, summary=Summary(value=[Summary.Value(tag=tag, **fields)])).SerializeToString()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    train = [scalar("loss", step, 1 / (step + 1)) for step in range(5)] + [scalar("odd", 1, float("nan"))]
    image = Summary.Image(width=1, height=1, encoded_image_string=b"\x89PNG...")
    audio = Summary.Audio(encoded_audio_string=b"RIFF...")
    train += [blob("../up/picture", image=image), blob("../up/picture", image=image), blob("sound", audio=audio)]
    for name, records in (("train", train), ("eval", [scalar("loss", 2, 0.25)])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.out.tfevents.1").write_bytes(frames(records))
    return tmp_path


def test_list(logs: Path) -> None:
    result = run("events", logs)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[:3] == [
        ["run/tag", "kind", "count", "steps", "last"],
        ["eval"],
        ["loss", "scalars", "1", "2", "0.25"],
    ]
    assert lines[3] == ["train"]
    assert ["loss", "scalars", "5", "0..4", "0.2"] in lines[4:]
    assert ["../up/picture", "images", "2", "7", "-"] in lines[4:]
    assert run("events", "list", logs).stdout == result.stdout
    assert "eval" not in run("events", logs, "--run", "train").stdout


def test_steps_after_a_restart(tmp_path: Path) -> None:
    events = [Event(step=step) for step in (3, 10, 4, 6)]
    for event in events:
        event.summary.value.add(tag="loss", simple_value=1)
    (tmp_path / "events.out.tfevents.1").write_bytes(frames(event.SerializeToString() for event in events))
    assert run("events", tmp_path).stdout.splitlines()[2].split() == ["loss", "scalars", "4", "3..10", "1"]


def test_last_of_strings_and_of_one_series(tmp_path: Path) -> None:
    texts = {"path": b"./model.ckpt-5", "long": b"a" * 200, "lines": b"a\nb", "none": b"", "message": b"\n\x01"}
    texts["bytes"] = b"\xff"
    for number, (tag, text) in enumerate(texts.items()):
        record = blob(tag, tensor=TensorProto(dtype=7, string_val=[text]))
        (tmp_path / f"events.out.tfevents.{number}").write_bytes(frame(record))
    lines = run("events", tmp_path).stdout.splitlines()
    found = {line.split()[0]: line.split()[-1] for line in lines[2:-1]}
    shown = {"path": "./model.ckpt-5", "long": "a" * 50 + "...", "lines": r"a\nb"}
    assert found == shown | {"none": "-", "message": "-", "bytes": "-"}
    assert run("events", tmp_path / "events.out.tfevents.0").stdout.endswith("\n1 run, 1 series\n")
    assert lines[-1] == "1 run, 6 series"


def test_list_as_json(logs: Path) -> None:
    data = documents(run("events", "--json", logs).stdout)[0]
    train = next(one for one in data["runs"] if one["run"] == "train")
    assert train["events"] == 9
    assert train["series"][0] == {
        "tag": "loss",
        "kind": "scalars",
        "count": 5,
        "first_step": 0,
        "last_step": 4,
        "last_value": float(np.float32(0.2)),
    }
    assert train["series"][1]["last_value"] == "NaN"


def test_list_of_a_truncated_and_of_a_damaged_file(logs: Path) -> None:
    path = logs / "eval" / "events.out.tfevents.1"
    data = path.read_bytes()
    path.write_bytes(data + data[:20])
    result = run("events", logs)
    assert result.exit_code == 0
    assert f"an incomplete record of 20 bytes at offset {len(data)}" in result.stderr
    path.write_bytes(data[:-1] + b"?")
    result = run("events", logs)
    assert result.exit_code == 1
    assert f"left out {len(data)} bytes at offset 0, record 0, and everything after it; --salvage" in result.stderr
    assert "train" in result.stdout
    result = run("events", logs, "--salvage")
    assert result.exit_code == 1
    assert f"left out {len(data)} bytes at offset 0, record 0" in result.stderr
    losses = documents(run("events", logs, "--salvage", "--json").stdout)[0]["runs"][0]["losses"][str(path)]
    assert [(loss["offset"], loss["size"], loss["number"]) for loss in losses] == [(0, len(data), 0)]
    assert "CRC-32C" in losses[0]["error"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "LOGS", "loss"],
        ["export", "LOGS", "-o", "OUT.csv"],
        ["images", "LOGS", "OUT"],
        ["audio", "LOGS", "OUT"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_subcommand_names_damage_and_goes_on(logs: Path, tmp_path: Path, arguments: list[str]) -> None:
    path = logs / "train" / "events.out.tfevents.1"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    arguments = [{"LOGS": str(logs)}.get(one, one.replace("OUT", str(tmp_path / "out"))) for one in arguments]
    result = run("events", *arguments)
    assert result.exit_code == 1
    assert "record 8, and everything after it; --salvage" in result.stderr
    result = run("events", *arguments, "--salvage")
    assert result.exit_code == 1
    assert "record 8" in result.stderr
    # What is in other runs alone does not need the damaged one.
    assert run("events", *arguments, "--run", "eval").exit_code == 0


def test_show(logs: Path) -> None:
    result = run("events", "show", logs, "loss")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["train", "5", "0", "4", "1", "0.2", "0.2", "1", "0.456667"] in lines
    assert documents(run("events", "show", logs, "odd", "--json").stdout)[0]["series"] == [
        {"run": "train", "tag": "odd", "steps": [1], "wall_times": [1.5], "values": ["NaN"]}
    ]
    result = run("events", "show", logs, "los")
    assert (result.exit_code, result.stderr) == (2, f"tfbundle: no series 'los' in {logs}; did you mean 'loss'?\n")
    assert "no run 'x' in" in (said := run("events", "show", logs, "loss", "--run", "x").stderr)
    assert "; its runs: 'eval', 'train'" in said
    assert "did you mean 'train'?" in run("events", "show", logs, "loss", "--run", "trian").stderr


def test_export(logs: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("events", "export", logs, "-o", "-", "--format", "csv").stdout)))
    assert len(rows) == 7
    assert rows[1] == {"run": "train", "tag": "loss", "step": "0", "wall_time": "0.5", "value": "1.0"}
    assert run("events", "export", logs, "-o", logs / "out.jsonl", "--tag", "odd").exit_code == 0
    assert [json.loads(line) for line in (logs / "out.jsonl").read_text().splitlines()] == [
        {"run": "train", "tag": "odd", "step": 1, "wall_time": 1.5, "value": "NaN"}
    ]
    assert "add --format" in run("events", "export", logs, "-o", "out.txt").stderr


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow.parquet", reason="Parquet is written by pyarrow, which is not installed")
    event = Event(step=1)
    event.summary.value.add(tag="a", simple_value=1)
    value = event.summary.value.add(tag="b", tensor={"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}})
    value.tensor.float_val.extend([1, 2])
    value.metadata.plugin_data.plugin_name = "scalars"
    (tmp_path / "events.out.tfevents.1").write_bytes(frames([event.SerializeToString()]))
    out = tmp_path / f"out.{suffix}"
    out.write_bytes(b"old")
    result = run("events", "export", tmp_path, "-o", out)
    assert result.exit_code == 2
    assert "'b' is a scalar, but its value" in result.stderr
    assert out.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    result = run("events", "export", tmp_path, "-o", tmp_path, "--format", suffix, "--tag", "a")
    assert result.exit_code == 2
    assert "is a folder; name a file to write to" in result.stderr


def test_export_to_parquet(logs: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is written by pyarrow, which is not installed")
    assert run("events", "export", logs, "-o", logs / "out.parquet").exit_code == 0
    table = parquet.read_table(logs / "out.parquet").to_pydict()
    assert table["run"] == ["eval"] + ["train"] * 6
    assert table["step"] == [2, 0, 1, 2, 3, 4, 1]


def test_statistics_without_a_plot(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without plotext, or with one that has other functions, there is no plot."""
    monkeypatch.setitem(sys.modules, "plotext", None)
    statistics = run("events", "show", logs, "loss").stdout
    assert statistics.splitlines()[0].split()[0] == "run"
    monkeypatch.setitem(sys.modules, "plotext", ModuleType("plotext"))
    assert run("events", "show", logs, "loss").stdout == statistics
    monkeypatch.undo()
    pytest.importorskip("plotext", reason="plots are drawn by plotext, which is not installed")
    assert run("events", "show", logs, "loss").stdout.endswith(f"\n{statistics}")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_plot_has_only_what_the_encoding_has(logs: Path, encoding: str) -> None:
    pytest.importorskip("plotext", reason="plots are drawn by plotext, which is not installed")
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    status, written, _ = read_output("events", "show", logs, "loss", "--run", "train", env=environment)
    assert status == 0
    text = written.decode(encoding)
    assert ("*" in text) == text.isascii() == (encoding != "utf-8")
    assert "\\u" not in text


@pytest.mark.parametrize("command", ["export", "images", "audio"])
def test_a_tag_that_is_nowhere(logs: Path, tmp_path: Path, command: str) -> None:
    out = ["-o", "-", "--format", "csv"] if command == "export" else [tmp_path / "out"]
    result = run("events", command, logs, *out, "--tag", "lozz")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no tag 'lozz' in the" in result.stderr


def test_numbers_that_are_not_float64(tmp_path: Path) -> None:
    metadata = {"plugin_data": {"plugin_name": "scalars"}}
    records = [
        scalar("mixed", 1, 1.5),
        blob("mixed", tensor={"dtype": 9, "int64_val": [2**60 + 1]}, metadata=metadata),
        blob("wave", tensor={"dtype": 8, "scomplex_val": [1, 2]}, metadata=metadata),
    ]
    (tmp_path / "events.out.tfevents.1").write_bytes(frames(records))
    listed = documents(run("events", tmp_path, "--json").stdout)[0]["runs"][0]["series"]
    assert [one["last_value"] for one in listed] == [2**60 + 1, [1, 2]]
    statistics = run("events", "show", tmp_path, "wave").stdout.splitlines()[-1].split()
    assert statistics == [".", "1", "7", "7", "(1+2j)", "(1+2j)", "-", "-", "-"]


def test_a_run_whose_name_is_not_unicode(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/logs/\xff")
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this file system takes no names that are not Unicode")
    Path(folder, "events.out.tfevents.1").write_bytes(frames([scalar("loss", 1, 2)]))
    assert run("events", "export", tmp_path / "logs", "-o", tmp_path / "a.csv").exit_code == 0
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1] == r"\udcff,loss,1,1.5,2.0"
    pytest.importorskip("pandas", reason="makes a table of pandas, which is not installed")
    log = tfbundle.open_events(tmp_path / "logs")
    assert log.to_pandas().run.tolist() == log.to_pandas(wide=True).run.tolist() == [r"\udcff"]


def test_what_was_written_as_json(logs: Path) -> None:
    out = logs / "out"
    assert documents(run("events", "images", logs, out, "--json").stdout)[0] == {
        "path": str(out),
        "files": [str(out / "train" / "__" / "up" / "picture" / f"7-{number}.png") for number in (0, 1)],
    }
    written = documents(run("events", "export", logs, "-o", logs / "out.csv", "--json").stdout)[0]
    assert written == {"path": str(logs / "out.csv"), "format": "csv", "series": 3, "points": 7}
    assert run("events", "export", logs, "-o", "-", "--format", "csv", "--json").exit_code == 2


def test_tags_that_share_a_folder_overwrite_nothing(logs: Path) -> None:
    tags = ("a:b", "a?b", "a*b")
    images = [Summary.Image(encoded_image_string=b"GIF8" + tag.encode()) for tag in tags]
    records = [blob(tag, image=image) for tag, image in zip(tags, images, strict=True)]
    (logs / "eval" / "events.out.tfevents.2").write_bytes(frames(records))
    run("events", "images", logs, logs / "out", "--run", "eval")
    found = sorted((logs / "out" / "eval" / "a_b").iterdir())
    assert [path.name for path in found] == ["7-0.gif", "7-1.gif", "7-2.gif"]
    assert {path.read_bytes() for path in found} == {image.encoded_image_string for image in images}


def test_names_that_a_system_takes_for_one_overwrite_nothing(logs: Path) -> None:
    """macOS and Windows ignore case, Windows a dot at the end, and macOS forms of Unicode."""
    tags = ("Loss", "loss", "loss.", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}")
    records = [blob(tag, image=Summary.Image(encoded_image_string=b"GIF8")) for tag in tags]
    (logs / "eval" / "events.out.tfevents.2").write_bytes(frames(records))
    run("events", "images", logs, logs / "out", "--run", "eval")
    found = [path.relative_to(logs / "out" / "eval").as_posix() for path in (logs / "out").rglob("*.gif")]
    alike = {unicodedata.normalize("NFC", path).casefold().replace("./", "/") for path in found}
    assert len(alike) == len(found) == len(tags)


def test_no_folder_is_called_like_a_device(logs: Path) -> None:
    tags = ("aux/NUL", "con.1", "com1 .x", "auxiliary", "a. .", " ")
    records = [blob(tag, image=Summary.Image(encoded_image_string=b"GIF8")) for tag in tags]
    (logs / "eval" / "events.out.tfevents.2").write_bytes(frames(records))
    run("events", "images", logs, logs / "out", "--run", "eval")
    found = {path.parent.relative_to(logs / "out" / "eval").as_posix() for path in (logs / "out").rglob("*.gif")}
    assert found == {"_aux/_NUL", "_con.1", "_com1 .x", "auxiliary", "a___", "_"}


def test_what_the_names_of_files_cannot_say(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [blob(tag, image=Summary.Image(encoded_image_string=b"GIF8")) for tag in ("caf\xe9", "caf\xe8")]
    (logs / "eval" / "events.out.tfevents.2").write_bytes(frames(records))
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    run("events", "images", logs, logs / "out", "--run", "eval")
    assert sorted(path.name for path in (logs / "out" / "eval" / "caf_").iterdir()) == ["7-0.gif", "7-1.gif"]


def test_media_stay_below_the_folder(logs: Path) -> None:
    assert run("events", "images", logs, logs / "out").stdout == f"{logs / 'out'}: 2 files\n"
    run("events", "audio", logs, logs / "out")
    found = sorted(path.relative_to(logs / "out").as_posix() for path in (logs / "out").rglob("*") if path.is_file())
    assert found == ["train/__/up/picture/7-0.png", "train/__/up/picture/7-1.png", "train/sound/7-0.wav"]


def append_at_each_pause(monkeypatch: pytest.MonkeyPatch, path: Path, rounds: Iterator[list[bytes]]) -> None:
    """Let a file grow while it is followed, and end that after the last round."""

    def sleep(_: float) -> None:
        try:
            records = next(rounds)
        except StopIteration:
            raise KeyboardInterrupt from None
        with open(path, "ab") as file:
            file.write(frames(records))

    monkeypatch.setattr("tfbundle.cli.events.time.sleep", sleep)


def test_follow_prints_what_is_new(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = logs / "train" / "events.out.tfevents.1"
    rounds = iter([[scalar("loss", 5, 0.125)], [], [scalar("new", 1, 2.0), scalar("loss", 6, 0.0625)]])

    append_at_each_pause(monkeypatch, path, rounds)
    result = run("events", logs, "--follow")
    assert result.exit_code == 130
    assert result.stdout.splitlines()[-3:] == ["train  loss  5  0.125", "train  loss  6  0.0625", "train  new  1  2"]


def test_follow_shows_after_a_purge_only_what_is_new(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = logs / "train" / "events.out.tfevents.1"
    version = Event(file_version="brain.Event:2").SerializeToString()
    path.write_bytes(frames([version, *(scalar("loss", step, step) for step in range(5))]))
    start = Event(step=3, session_log=SessionLog(status=SessionLog.START)).SerializeToString()
    again = Event(wall_time=100, step=3, summary=Summary(value=[Summary.Value(tag="loss", simple_value=30)]))
    rounds = iter([[start, again.SerializeToString()]])

    append_at_each_pause(monkeypatch, path, rounds)
    # Damage of another run does not matter.
    (logs / "eval" / "events.out.tfevents.1").write_bytes(b"no records at all")
    lines = run("events", logs, "--follow", "--purge", "--run", "train").stdout.splitlines()
    assert lines[lines.index("1 run, 1 series") + 1 :] == ["train  loss  3  30"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(30), "HDF5"),
        (b'model_checkpoint_path: "model-1"', "a checkpoint state file, not a file of records"),
        (b"<!doctype html><html></html>", "an HTML page"),
        (b"a text of any kind", "is a text file, not a file of records"),
        (b"\xfe no file of any kind that is known", "record 0 at offset 0"),
    ],
)
def test_records_of_another_kind(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(data)
    result = run("records", tmp_path / "file")
    assert result.exit_code == 2
    assert words in result.stderr


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(frames([b"one", b"three"]))
    assert run("records", path).stdout == "2 records, 8 B, the largest 5 B\n"
    data = documents(run("records", "--json", path).stdout)[0]
    assert (data["records"], data["compression"], data["truncation"], data["losses"]) == (2, "NONE", None, [])
    assert documents(run("records", path, "--dump").stdout) == [
        {"record": 0, "offset": 12, "size": 3, "data": "b25l"},
        {"record": 1, "offset": 31, "size": 5, "data": "dGhyZWU="},
    ]
    path.write_bytes(frames([b"one"]) + frame(b"three")[:-2])
    result = run("records", path)
    assert (result.exit_code, result.stdout.splitlines()[1]) == (
        1,
        "the last record, at offset 19, is truncated (19 bytes left)",
    )
    path.write_bytes(frames([b"one", b"two"]).replace(b"one", b"0ne"))
    assert "record 0 at offset 0" in run("records", path).stderr
    assert [json.loads(line)["record"] for line in run("records", path, "--salvage", "--dump").stdout.splitlines()] == [
        1
    ]
    result = run("records", path, "--salvage")
    assert (result.exit_code, result.stdout.splitlines()[1]) == (1, "left out 19 bytes at offset 0, record 0")


def test_progress_is_for_terminals(logs: Path) -> None:
    for arguments in (
        ["events", logs],
        ["events", "export", logs, "-o", logs / "out.csv"],
        ["records", logs / "train" / "events.out.tfevents.1"],
    ):
        written, other = on_terminal(*arguments, stream="stderr")
        assert "reading" in written
        assert "\x1b" not in other
        assert run(*arguments).stderr == ""


def test_tables_of_pandas(logs: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="compares with pandas, which is not installed")
    log = tfbundle.open_events(logs)
    table = log.to_pandas()
    assert list(table.columns) == ["run", "tag", "step", "wall_time", "value"]
    assert table[(table.run == "train") & (table.tag == "loss")].step.tolist() == [0, 1, 2, 3, 4]
    wide = log.to_pandas(wide=True)
    assert list(wide.columns) == ["run", "step", "wall_time", "loss", "odd"]
    assert wide[wide.run == "eval"].loss.tolist() == [0.25]
    assert pandas.isna(wide.odd).all()
    assert wide[wide.run == "train"].wall_time.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_tags_that_are_called_as_columns_are(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="makes a table of pandas, which is not installed")
    records = [scalar(tag, 1, number) for number, tag in enumerate(("step", "step (tag)", "run", "value"))]
    (tmp_path / "events.out.tfevents.1").write_bytes(frames(records))
    row = tfbundle.open_events(tmp_path).to_pandas(wide=True).iloc[0]
    assert row["step"] == 1
    assert [row[name] for name in ("step (tag) (tag)", "step (tag)", "run (tag)", "value")] == [0, 1, 2, 3]


def test_complex_numbers_are_not_a_column(tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="makes a table of pandas, which is not installed")
    metadata = {"plugin_data": {"plugin_name": "scalars"}}
    record = blob("wave", tensor={"dtype": 8, "scomplex_val": [1, 2]}, metadata=metadata)
    (tmp_path / "events.out.tfevents.1").write_bytes(frames([record]))
    log = tfbundle.open_events(tmp_path)
    assert log.runs["."].scalars["wave"].values.tolist() == [1 + 2j]
    with pytest.raises(tfbundle.UnsupportedError, match="'wave' has complex numbers"):
        log.to_pandas()


def test_tables_of_arrow(logs: Path) -> None:
    pytest.importorskip("pyarrow", reason="compares with pyarrow, which is not installed")
    log = tfbundle.open_events(logs)
    assert log.to_arrow().to_pydict()["tag"] == ["loss"] * 6 + ["odd"]
    assert log.to_arrow(wide=True).column_names == ["run", "step", "wall_time", "loss", "odd"]


def test_runs_and_tags_are_chosen_by_globs(logs: Path) -> None:
    chosen = documents(run("events", logs, "--run", "tr*", "--json").stdout)[0]["runs"]
    assert [one["run"] for one in chosen] == ["train"]
    shown = documents(run("events", "show", logs, "lo*", "--json").stdout)[0]["series"]
    assert {one["tag"] for one in shown} == {"loss"}
    assert run("events", logs, "--run", "x*").exit_code == 2


def test_media_follow_no_link_and_cut_long_names(logs: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    try:
        (out / "train").symlink_to(elsewhere, target_is_directory=True)
    except OSError:
        pytest.skip("the system does not allow links")
    result = run("events", "images", logs, out)
    assert result.exit_code == 2
    assert "is a link" in result.stderr
    assert list(elsewhere.iterdir()) == []
    from tfbundle.cli.event_export import _safe

    one, other = _safe("\u00e9" * 200 + "a"), _safe("\u00e9" * 200 + "b")
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= 200
    assert _safe("a" * 200) == "a" * 200
    assert len(_safe("a" * 201)) == 200
