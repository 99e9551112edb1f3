"""How the command prints: escapes, widths, order and JSON, apart from what it prints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

import click
from click.testing import CliRunner

from tests.support.bundle_writer import write_bundle
from tests.support.command import run
from tfbundle.cli import output
from tfbundle.cli.main import COMMANDS, cli
from tfbundle.cli.schemas import DOCUMENTS
from tfbundle.natural_order import natural_key

HOSTILE = "a\x1b[31mred\r\u202e\u2066x\x07\x9b\u200b\n"


def printed(function: Any) -> str:
    @click.command()
    def command() -> None:
        function()

    return CliRunner().invoke(command, catch_exceptions=False).stdout


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["layer_10", "layer_2", "layer_1"], ["layer_1", "layer_2", "layer_10"]),
        (["a10b2", "a10b10", "a9b3", "a"], ["a", "a9b3", "a10b2", "a10b10"]),
        (["2", "10", "a", "01"], ["01", "2", "10", "a"]),
        (["w/9" + "0" * 5000, "w/1" + "0" * 5000, "w/2"], ["w/2", "w/1" + "0" * 5000, "w/9" + "0" * 5000]),
        (["b", "B", "a/b", "a"], ["B", "a", "a/b", "b"]),
        (["\udcff", "z", "\u0664", "3"], ["3", "z", "\u0664", "\udcff"]),
    ],
)
def test_names_with_numbers_sort_by_them(names: list[str], ordered: list[str]) -> None:
    assert sorted(names, key=natural_key) == ordered


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("", 0)])
def test_width(text: str, width: int) -> None:
    assert output.cell_width(text) == width


def test_columns_stay_columns() -> None:
    rows = [("漢字", "1"), ("e\u0301", "22"), ("plain", "333")]
    lines = printed(lambda: output.print_table(("name", "n"), rows, ("n",))).splitlines()
    assert [output.cell_width(line) for line in lines] == [10, 10, 10, 10]


@pytest.mark.parametrize(("length", "aligned"), [(100, True), (160, True), (161, False)])
def test_long_names_in_a_pipe(length: int, aligned: bool) -> None:
    rows = [("x" * length, "1"), ("y", "2")]
    lines = printed(lambda: output.print_table(("name", "n"), rows)).splitlines()
    assert lines[1] == "x" * length + "  1"
    assert lines[2] == "y".ljust(length if aligned else 4) + "  2"


@pytest.mark.parametrize("columns", [80, 100])
def test_two_columns_of_long_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    """In a pipe each tensor is one line for other programs; a terminal shows it in several, with no name broken."""
    key = "model/_functional/_operations/2/moving_variance/.ATTRIBUTES/VARIABLE_VALUE"
    rows = [(key, "[8]", "float32", "32 B", "0", "sequential/batch_normalization/moving_variance")] * 3
    headers = ("name", "shape", "dtype", "size", "shard", "variable")
    monkeypatch.setenv("COLUMNS", str(columns))
    output.print_table(headers, rows, ("size",))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["name", "shape"], *[[key, "[8]"]] * 3]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.print_table(headers, rows, ("size",))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(key in line for line in lines) == sum(rows[0][-1] in line for line in lines) == 3


@pytest.mark.parametrize(
    "function", [output.print_line, output.print_warning, lambda text: output.print_fact("f", text)]
)
def test_what_does_not_show_is_escaped(capfd: pytest.CaptureFixture[str], function: Any) -> None:
    function(HOSTILE)
    written = "".join(capfd.readouterr())
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert r"\x1b[31mred\r\u202e\u2066x\x07\u009b\u200b\n" in written


def test_cells_and_drawings_are_escaped() -> None:
    table = printed(lambda: output.print_table(("name", HOSTILE), [(HOSTILE, "1")]))
    assert all(line.isprintable() for line in table.splitlines())
    assert len(table.splitlines()) == 2
    drawing = printed(lambda: output.print_lines("a\n\x1b[2J b\r"))
    assert drawing == "a\n\\x1b[2J b\\r\n"


def test_numbers_that_json_lacks() -> None:
    value = {
        "nan": math.nan,
        "list": [math.inf, (-math.inf, 1.5)],
        "numpy": np.float32(2.5),
        "infinite": np.float64("inf"),
        "complex": 1 + math.inf * 1j,
        "integer": np.int64(7),
    }

    @click.group()
    def group() -> None:
        pass

    @group.command()
    def ls() -> None:
        output.print_json(value)

    text = CliRunner().invoke(group, ["ls"], catch_exceptions=False).stdout
    assert json.loads(text, parse_constant=pytest.fail) == {
        "schema": "tfbundle/ls/1",
        "nan": "NaN",
        "list": ["Infinity", ["-Infinity", 1.5]],
        "numpy": 2.5,
        "infinite": "Infinity",
        "complex": ["NaN", "Infinity"],
        "integer": 7,
    }


def test_every_command_with_json_has_its_fields_described() -> None:
    names = []
    with click.Context(cli, info_name="tfbundle") as context:
        for name in COMMANDS:
            command = cli.get_command(context, name)
            parts = {"": command} if not isinstance(command, click.Group) else command.commands
            for part, inner in parts.items():
                if any(parameter.name == "as_json" for parameter in inner.params):
                    names.append(f"{name}-{part}".rstrip("-"))
    assert set(names) <= DOCUMENTS.keys()
    # What is not the answer of a command is a part of one's.
    assert all(
        any(name.startswith(f"{other.split('-')[0]}-") for other in names) for name in DOCUMENTS.keys() - set(names)
    )
    for document in DOCUMENTS.values():
        assert document.version >= 1
        assert document.fields
        assert "schema" not in document.fields


def test_no_progress_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no stderr if the parent process closed it."""
    monkeypatch.setattr("sys.stderr", None)
    with output.progress_bar("reading") as progress:
        assert progress is None


def test_names_with_numbers_are_in_natural_order(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        write_bundle(tmp_path / name, {f"v/{number}": np.float32(value) for number in (1, 2, 10)})
    write_bundle(tmp_path / "c", {})
    natural = ["v/1", "v/2", "v/10"]
    for command, column in (
        (["diff", tmp_path / "a", tmp_path / "b"], 1),
        (["diff", tmp_path / "c", tmp_path / "b"], 1),
        (["diff", tmp_path / "b", tmp_path / "c"], 1),
        (["fingerprint", tmp_path / "a"], 1),
        (["convert", tmp_path / "a", tmp_path / "out.npz", "--dry-run"], 0),
        (["ls", tmp_path / "a"], 0),
    ):
        lines = [line.split() for line in run(*command).stdout.splitlines()]
        assert [words[column] for words in lines if words[column : column + 1] and words[column] in natural] == natural
