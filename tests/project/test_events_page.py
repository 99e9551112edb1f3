"""What the page about event files shows is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.command import run
from tests.support.records import frames
from tfbundle.proto import Event, Summary
from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
TAGS = ("model/accuracy", "layer_1/w", "debug/x", "loss")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def events(steps: range, *tags: str, session: bool = False) -> bytes:
    found = [
        Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=step)]))
        for step in steps
        for tag in tags
    ]
    if session:
        data = HParamsPluginData()
        data.session_start_info.hparams["rate"].number_value = 0.1
        value = Summary.Value(tag="_hparams_/session_start_info")
        value.metadata.plugin_data.plugin_name = "hparams"
        value.metadata.plugin_data.content = data.SerializeToString()
        found.append(Event(summary=Summary(value=[value])))
    return frames(event.SerializeToString() for event in found)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs that the examples name."""
    runs = {"logs/run": events(range(40), *TAGS) + events(range(30, 50), *TAGS)}
    runs |= {f"seeds/run_wide_seed{seed}": events(range(3), "loss") for seed in range(3)}
    runs |= {f"study/trial{trial}": events(range(3), "loss", session=True) for trial in range(2)}
    for run_name, data in runs.items():
        (tmp_path / run_name).mkdir(parents=True)
        (tmp_path / run_name / "events.out.tfevents.1").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_in_python_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas", reason="the examples make tables of pandas")
    examples = blocks("py")
    assert len(examples) == 3
    names: dict[str, Any] = {}
    for example in examples:
        exec(example, names)
    assert "run model/accuracy accuracy 60 50 renamed, 10 points obsolete" in capsys.readouterr().out
    assert names["table"]["count"].tolist() == [3, 3, 3]
    assert names["frame"]["rate"].tolist() == [0.1, 0.1]
    assert list(names["losses"])[-1] == "loss"


def test_the_commands_run(workplace: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "tfbundle"
        assert run(*arguments).exit_code == 0, command
    assert {path.name for path in workplace.iterdir()} == {"logs", "seeds", "study", "means.csv", "study.csv"}


def test_both_columns_of_the_table_do_the_same(workplace: Path) -> None:
    rows = [line.split("|")[2:4] for line in PAGE.splitlines() if line.startswith("|") and "`--" in line]
    assert len(rows) == 10
    for number, cells in enumerate(rows):
        python, command = (re.findall(r"`([^`]+)`", cell)[-1] for cell in cells)
        if command in ("--overwrite", "--salvage"):
            continue  # They change nothing here.
        settings = eval(f"dict({python})", {"re": re})
        if "tmp$" in python:
            settings["exclude"] = settings["exclude"][:1]  # The command takes no regular expression there.
        done = tfbundle.edit_events("logs", f"python{number}", **settings)
        assert run("events", "edit", "logs", f"command{number}", *shlex.split(command)).exit_code == 0
        assert len(done.files) == 1
        for file in done.files:
            assert Path(file.replace("python", "command")).read_bytes() == Path(file).read_bytes()
