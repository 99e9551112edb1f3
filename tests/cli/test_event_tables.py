"""Tables and plots of events: what users see, on terminals and in pipes, and what they are not shown."""

from __future__ import annotations

import bz2
import itertools
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.bundle_writer import write_bundle
from tests.support.command import documents, on_terminal, refusal, run
from tests.support.records import frames
from tfbundle.proto import Event, Summary

BOXES = re.compile("[\N{BOX DRAWINGS LIGHT HORIZONTAL}-\N{BOX DRAWINGS HEAVY LEFT AND LIGHT RIGHT}]")


def write_run(folder: Path, **series: list[tuple[int, float]]) -> None:
    """A run with scalars; two underscores in a name are a slash."""
    events = [
        Event(wall_time=step, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        for tag, points in series.items()
        for step, value in points
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.out.tfevents.1").write_bytes(frames(event.SerializeToString() for event in events))


def columns_of(line: str) -> list[int]:
    """Where the words of a line of a table begin, in columns of a terminal."""
    from rich.cells import cell_len

    return [cell_len(line[: match.start()]) for match in re.finditer(r"(?<!\S)\S", line)]


def test_each_run_is_named_once(tmp_path: Path) -> None:
    tags = {f"layer_{number}": [(1, 0.5)] for number in (10, 2, 1)}
    for name in ("run10", "run9"):
        write_run(tmp_path / name, **tags)
    lines = run("events", tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "run/tag",
        "run9",
        *("layer_1", "layer_2", "layer_10"),
        "run10",
        *("layer_1", "layer_2", "layer_10"),
        "2",
    ]


def test_long_and_wide_names_stay_in_columns_in_a_pipe(tmp_path: Path) -> None:
    tags = ["a" * 100, "short", "損失", "cafe\N{COMBINING ACUTE ACCENT}", "\N{GRINNING FACE}"]
    write_run(tmp_path, **{tag: [(1, 0.5)] for tag in tags})
    rows = run("events", tmp_path).stdout.splitlines()[2:-1]
    assert len(rows) == len(tags)
    # Of columns to the left the beginnings are below each other.
    assert {(columns_of(row)[0], columns_of(row)[1], *columns_of(row)[3:]) for row in rows} == {(2, 104, 120, 127)}


@pytest.mark.parametrize("command", [["events"], ["events", "show"]], ids=["list", "show"])
def test_tables_fit_a_terminal_and_break_no_number(tmp_path: Path, command: list[str]) -> None:
    number = 1.23456e-30
    write_run(tmp_path / ("r" * 60), **{"t" * 60: [(10**12, number), (10**15, -number)]})
    arguments = [*command, tmp_path, *(["t*"] if command[-1] == "show" else [])]
    written, _ = on_terminal(*arguments, stream="stdout", columns=80)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert max(map(len, plain.splitlines())) <= 80
    assert "-1.23456e-30" in plain.split()
    wanted = ["1000000000000..1000000000000000"] if command[-1] == "events" else ["1000000000000", "1000000000000000"]
    assert set(wanted) <= set(plain.split())


@pytest.mark.parametrize("command", ["list", "show", "export", "images", "audio"])
@pytest.mark.parametrize("with_files", [False, True])
def test_a_folder_without_runs_reports_its_contents(tmp_path: Path, command: str, with_files: bool) -> None:
    logs = tmp_path / "logs"
    (logs / "below").mkdir(parents=True)
    if with_files:
        (logs / "below" / "checkpoint").write_text('model_checkpoint_path: "model-1"\n', encoding="utf-8")
    rest = {"show": ["loss"], "export": ["-o", tmp_path / "a.csv"], "images": [tmp_path], "audio": [tmp_path]}
    said = refusal("events", command, logs, *rest.get(command, []))
    assert f"no event files below {logs}" in said
    if with_files:
        assert re.search(r"\(it contains .*state file.*\); try 'tfbundle state ", said)
    else:
        assert "which has no files; pass a folder" in said


@pytest.mark.parametrize("salvage", [[], ["--salvage"]])
def test_what_is_not_a_regular_file_is_named_and_the_others_are_listed(tmp_path: Path, salvage: list[str]) -> None:
    write_run(tmp_path / "good", loss=[(1, 0.5)])
    write_run(tmp_path / "mixed", loss=[(1, 0.25)])
    names = []
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "mixed" / "events.out.tfevents.2")
        names.append(("events.out.tfevents.2", "a named pipe"))
    try:
        (tmp_path / "mixed" / "events.out.tfevents.3").symlink_to(tmp_path / "gone")
        names.append(("events.out.tfevents.3", "does not exist"))
        (tmp_path / "mixed" / "events.out.tfevents.4").symlink_to("events.out.tfevents.4")
        names.append(("events.out.tfevents.4", "leads to no file"))
    except OSError:
        pass
    if os.path.exists("/dev/zero"):
        (tmp_path / "device").mkdir()
        (tmp_path / "device" / "events.out.tfevents.5").symlink_to("/dev/zero")
        names.append(("events.out.tfevents.5", "a device"))
    if not names:
        pytest.skip("this system has neither pipes nor links")
    result = run("events", tmp_path, *salvage)
    assert result.exit_code == 1
    assert result.stdout.count("  loss ") == 2
    for name, words in names:
        (line,) = (line for line in result.stderr.splitlines() if name in line.split(":")[0])
        assert words in line
    assert run("events", tmp_path, *salvage, "--run", "good").exit_code == 0


def test_a_file_that_may_not_be_read_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path / "good", loss=[(1, 0.5)])
    write_run(tmp_path / "closed", loss=[(1, 0.25)])
    path = tmp_path / "closed" / "events.out.tfevents.1"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    result = run("events", tmp_path)
    assert result.exit_code == 1
    assert "good" in result.stdout
    assert f"{path}: cannot be read: Permission denied" in result.stderr


class TestPlots:
    """What plotext draws of us; each test skips without it."""

    @pytest.fixture(autouse=True)
    def _need_plotext(self) -> None:
        pytest.importorskip("plotext", reason="plots are drawn by plotext, which is not installed")

    @staticmethod
    def drawing(text: str) -> list[str]:
        """The lines before the table."""
        return list(itertools.takewhile(lambda line: not line.startswith(("run ", "tag/run ")), text.splitlines()))

    @pytest.mark.parametrize("count", [1, 2, 8, 9])
    def test_runs_have_a_legend_and_a_limit(self, tmp_path: Path, count: int) -> None:
        for number in range(count):
            write_run(tmp_path / f"run{number}", loss=[(0, number), (10, 0)])
        drawn = self.drawing(run("events", "show", tmp_path, "loss").stdout)
        legend = [line for line in drawn if re.fullmatch(r"[a-z]  run\d+", line)]
        wanted = [f"{letter}  run{number}" for number, letter in enumerate("abcdefgh"[:count])] if count > 1 else []
        assert legend == wanted
        text = "\n".join(drawn)
        assert ("1 more run not drawn; --run chooses" in text) == (count == 9)
        if count > 1:
            assert all(letter in "".join(drawn[1:20]) for letter in "abcdefgh"[:count])

    def test_steps_are_whole_and_there_is_no_box(self, tmp_path: Path) -> None:
        write_run(tmp_path, loss=[(step, 1 / (step + 1)) for step in range(3)])
        drawn = self.drawing(run("events", "show", tmp_path, "loss").stdout)
        assert drawn[0] == "loss"
        assert not BOXES.search("\n".join(drawn))
        (ticks,) = (line.split() for line in drawn if re.fullmatch(r"[ \d]+", line) and line.strip())
        assert ticks == ["0", "1", "2"]

    def test_the_largest_numbers_are_drawn(self, tmp_path: Path) -> None:
        largest = float(np.finfo(np.float32).max)
        write_run(tmp_path, loss=[(0, -largest), (2**62, largest)], flat=[(1, 3), (2, 3)], one=[(-5, 0)])
        text = run("events", "show", tmp_path, "*").stdout
        assert "-3.403e+38" in text
        assert str(2**62) in text
        assert "-5" in text

    def test_values_that_are_left_out_are_counted(self, tmp_path: Path) -> None:
        nan, infinite = float("nan"), float("inf")
        write_run(tmp_path, loss=[(0, 1), (1, nan), (2, infinite), (3, -infinite), (4, 0)], gone=[(0, nan)])
        assert "3 values not drawn: 1 NaN, 2 infinite" in run("events", "show", tmp_path, "loss").stdout
        drawn = self.drawing(run("events", "show", tmp_path, "gone").stdout)
        assert drawn == ["gone", "1 value not drawn: 1 NaN", ""]

    @pytest.mark.parametrize("count", [4, 5])
    def test_a_glob_of_tags_draws_each(self, tmp_path: Path, count: int) -> None:
        write_run(tmp_path, **{f"tag{number}": [(0, 1), (1, 2)] for number in range(count)})
        text = run("events", "show", tmp_path, "tag*").stdout
        drawn = self.drawing(text)
        assert [line for line in drawn if line.startswith("tag")] == ["tag0", "tag1", "tag2", "tag3"]
        assert ("1 more tag not drawn" in text) == (count == 5)
        assert text.splitlines()[len(drawn)].split()[0] == "tag/run"

    @pytest.mark.parametrize("settings", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}], ids=str)
    def test_colours_are_optional(self, tmp_path: Path, settings: dict[str, str]) -> None:
        for number in range(2):
            write_run(tmp_path / f"run{number}", loss=[(0, number), (10, 0)])
        written, _ = on_terminal("events", "show", tmp_path, "loss", stream="stdout", **settings)
        assert ("\x1b[38" in written) == (not settings)
        if "TERM" in settings:
            assert "\x1b" not in written

    def test_a_million_points_are_drawn_quickly(self, tmp_path: Path) -> None:
        from tfbundle.cli.event_plot import _Curve, _thinned

        values = np.zeros(1_000_003)
        values[[123_456, 999_999, 1_000_002]] = 5, -3, 9
        steps, kept = _thinned(_Curve("", np.arange(len(values), dtype=float), values), 120)
        assert len(kept) < 5000
        assert {5, -3, 9} <= set(kept.tolist())
        assert (np.diff(steps) > 0).all()
        for size in (480, 481, 700):
            steps, kept = _thinned(_Curve("", np.arange(size, dtype=float), np.arange(size, dtype=float)), 120)
            assert (len(steps) == size) == (size <= 480)
            assert np.array_equal(steps, kept)


def test_several_tags_and_an_expanded_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotext", None)
    write_run(tmp_path / "logs" / "a", loss=[(0, 1)], accuracy=[(0, 2)], **{"w[0]": [(0, 3)]})
    write_run(tmp_path / "logs" / "b", loss=[(0, 1)], w0=[(0, 3)])
    result = run("events", "show", tmp_path / "logs", "loss", "acc*")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["tag/run", "loss", "a", "b", "accuracy", "a"]
    # A tag that exists is that tag before it is a pattern.
    assert run("events", "show", tmp_path / "logs", "w[0]").stdout.split()[-9:-7] == ["a", "1"]
    (tmp_path / "loss.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    said = refusal("events", "show", tmp_path / "logs", "loss.txt")
    assert "did you mean 'loss'?; a file of this name exists: quote patterns" in said


def write_records(path: Path, *records: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(frames(records))


def scalar(step: int) -> bytes:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag="loss", simple_value=step)])).SerializeToString()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def make_bad(path: Path, what: str) -> None:
    """A run of which something cannot be shown."""
    if what == "metadata":  # A value whose metadata are no message.
        value = b"\x0a\x01m\x4a\x02\xff\xff\x15\0\0\0\0"
        summary = b"\x0a" + bytes([len(value)]) + value
        write_records(path, b"\x2a" + bytes([len(summary)]) + summary)
    elif what == "scalar":
        tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [1, 2]}
        value = Summary.Value(tag="z", tensor=tensor, metadata={"plugin_data": {"plugin_name": "scalars"}})
        write_records(path, Event(step=1, summary=Summary(value=[value])).SerializeToString())
    elif what == "no event":
        write_records(path, scalar(1), b"\xff\xff", scalar(2))
    else:
        path.parent.mkdir(parents=True)
        path.write_bytes({"placeholder": POINTER, "garbage": b"no records" * 50}[what])


BAD = {
    "metadata": "run 'bad': the metadata of 'm' is not a SummaryMetadata",
    "scalar": "run 'bad': 'z' is a scalar, but its value at step 1",
    "no event": "left out 18 bytes at offset 33, record 1: the record is not an Event message",
    "placeholder": "is a Git LFS pointer, a placeholder",
    "garbage": "left out 500 bytes at offset 0, record 0, and everything after it; --salvage",
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize(
    "command", [["events"], ["events", "show"], ["events", "--json"], ["events", "show", "--json"]]
)
def test_whatever_is_wrong_with_a_run_the_others_are_shown(tmp_path: Path, what: str, command: list[str]) -> None:
    write_run(tmp_path / "good", loss=[(1, 0.5)])
    make_bad(tmp_path / "bad" / "a.tfevents", what)
    result = run(*command, tmp_path, *(["*"] if "show" in command else []))
    assert result.exit_code == 1
    assert "good" in result.stdout
    assert BAD[what] in result.stderr
    if "--json" in command:
        (document,) = documents(result.stdout)
        assert [item["run"] for item in document["problems"]] == ["bad"] * (what in ("metadata", "scalar"))
    assert len(result.stderr.splitlines()) == 1


def test_records_that_are_not_events_are_passed(tmp_path: Path) -> None:
    make_bad(tmp_path / "a.tfevents", "no event")
    line = run("events", tmp_path).stdout.splitlines()[2]
    assert line.split() == ["loss", "scalars", "2", "1..2", "2"]


@pytest.mark.parametrize("count", [20, 21])
def test_many_losses_are_summed_up(tmp_path: Path, count: int) -> None:
    write_records(tmp_path / "a.tfevents", *[b"\xff\xff"] * count, scalar(1))
    lines = run("events", tmp_path).stderr.splitlines()
    assert len(lines) == count
    assert lines[-1].endswith("left out 1 more, 18 bytes") == (count == 21)


@pytest.mark.parametrize("count", [20, 21])
def test_a_message_lists_so_many_names(tmp_path: Path, count: int) -> None:
    for number in range(count):
        write_run(tmp_path / f"run{number}", loss=[(1, 0.5)])
    said = refusal("events", tmp_path, "--run", "zzz")
    assert said.count("'run") == 20
    assert (", 1 more\n" in said) == (count == 21)
    assert "'run9'" in said


@pytest.mark.parametrize("count", [5, 6])
def test_the_contents_of_a_folder_are_summarized(tmp_path: Path, count: int) -> None:
    contents = [b"\x89HDF\r\n\x1a\n" + bytes(30), POINTER, b"<!doctype html><html></html>", b"PK\x03\x04" + bytes(30)]
    contents += [b"\x1f\x8b\x08" + bytes(30), bz2.compress(b"x")]
    for number, content in enumerate(contents[:count]):
        (tmp_path / f"file{number}").write_bytes(content)
    (tmp_path / "again").write_bytes(contents[0])
    said = refusal("events", tmp_path)
    assert re.search(r"HDF5 file[^;]* and 1 more;", said)
    kinds = said.partition(" (it contains ")[2].partition("); try")[0].split("; ")
    assert len(kinds) == count
    assert (kinds[-1] == "1 more") == (count == 6)
    assert f"try 'tfbundle info {tmp_path}'" in said


@pytest.mark.parametrize("command", ["list", "show", "export", "images", "audio"])
def test_a_file_of_another_kind_is_named_with_its_command(tmp_path: Path, command: str) -> None:
    rest = {"show": ["loss"], "export": ["-o", tmp_path / "a.csv"], "images": [tmp_path], "audio": [tmp_path]}
    write_bundle(tmp_path / "model", {"w": [1.0]})
    (tmp_path / "state").write_text('model_checkpoint_path: "model"\n', encoding="utf-8")
    write_records(tmp_path / "data", b"no event", b"more")
    (tmp_path / "page").write_bytes(b"<!doctype html><html></html>")
    for name, words in (
        ("model.index", "use 'tfbundle ls "),
        ("state", "a checkpoint state file, not an event file; use 'tfbundle state "),
        ("data", "use 'tfbundle records "),
        ("page", "an HTML page"),
    ):
        said = refusal("events", command, tmp_path / name, *rest.get(command, []))
        assert f"{tmp_path / name} is " in said
        assert words in said
