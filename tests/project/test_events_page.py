"""The table of the page about event files is right; ``test_pages`` runs the examples."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import tfbundle
from tests.support.command import run
from tests.support.records import frames
from tfbundle.proto import Event, Summary

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
TAGS = ("model/accuracy", "layer_1/w", "debug/x", "loss")


def events(steps: range, *tags: str) -> bytes:
    found = [
        Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=step)]))
        for step in steps
        for tag in tags
    ]
    return frames(event.SerializeToString() for event in found)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a run in which a restart made points obsolete."""
    run_folder = tmp_path / "logs" / "run"
    run_folder.mkdir(parents=True)
    data = events(range(40), *TAGS) + events(range(30, 50), *TAGS)
    (run_folder / "events.out.tfevents.1").write_bytes(data)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("workplace")
def test_both_columns_of_the_table_do_the_same() -> None:
    rows = [line.split("|")[2:4] for line in PAGE.splitlines() if line.startswith("|") and "`--" in line]
    assert len(rows) == 10
    for number, cells in enumerate(rows):
        python, command = (re.findall(r"`([^`]+)`", cell)[-1] for cell in cells)
        if command in ("--overwrite", "--salvage"):
            continue  # They change nothing here.
        settings = eval(f"dict({python})", {"re": re})
        if "tmp$" in python:
            settings["exclude"] = settings["exclude"][:1]  # The command accepts no regular expression there.
        done = tfbundle.edit_events("logs", f"python{number}", **settings)
        assert run("events", "edit", "logs", f"command{number}", *shlex.split(command)).exit_code == 0
        assert len(done.files) == 1
        for file in done.files:
            assert Path(file.replace("python", "command")).read_bytes() == Path(file).read_bytes()
