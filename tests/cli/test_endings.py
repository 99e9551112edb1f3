"""How the command ends where its output cannot be written, and in what words it says what went wrong."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.bundle_writer import write_bundle
from tests.support.command import on_terminal, refusal
from tests.support.expected import FIXTURES
from tests.support.processes import ROOT, run_process
from tfbundle import UnsupportedError
from tfbundle.cli.wording import describe_system_error, for_command

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
@pytest.mark.parametrize("extra", [[], ["--json"]])
@pytest.mark.parametrize("count", [1, 5000])
def test_a_full_disk(tmp_path: Path, extra: list[str], count: int) -> None:
    write_bundle(tmp_path / "b", {f"tensor{number:05}": MATRIX[0, 0] for number in range(count)})
    with open("/dev/full", "wb") as full:
        done = run_process("ls", tmp_path / "b", *extra, stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr == f"tfbundle: cannot write to stdout: {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ls", "--help"], ["ls", "a-path", "--help"]])
def test_help_on_a_full_disk(arguments: list[str]) -> None:
    """The path is not to blame."""
    with open("/dev/full", "wb") as full:
        done = run_process(*arguments, stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr == f"tfbundle: cannot write to stdout: {os.strerror(errno.ENOSPC)}\n"


@pytest.mark.skipif(os.name != "posix", reason="only a POSIX shell closes it so")
def test_closed_stderr(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tfbundle", "ls", str(tmp_path / "gone")],
        stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2), cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(
    ("error", "path", "text"),
    [
        (OSError(5, "Input/output error"), "run/model", "run/model: Input/output error"),
        (OSError(5, "Input/output error"), None, "Input/output error"),
        (PermissionError(13, "Permission denied", "a.index"), "run/model", "a.index: Permission denied"),
        (PermissionError(13, "Permission denied", b"a\xff"), None, "a\udcff: Permission denied"),
        (OSError("something"), "m", "m: something"),
        (OSError(), "m", "m: OSError"),
    ],
)
def test_the_system_s_errors_have_no_number_and_have_a_file(error: OSError, path: str | None, text: str) -> None:
    assert describe_system_error(error, path) == text


def test_an_error_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tfbundle.cli.ls.open_tensors", refuse)
    assert refusal("ls", "--json", "run/model") == "tfbundle: run/model: Input/output error\n"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("x is damaged; salvage=True reads what is whole", "--salvage reads"),
        ("(slots=False or --no-slots if it is an optimizer's)", "(--no-slots if"),
        ('pass format="v1"', "pass --format v1"),
        ("first_step is 5, which is after last_step, 3", "--first-step is 5, which is after --last-step, 3"),
        ("last is 9, but run has 3 complete checkpoints", "--last is 9, but"),
        ("group is not a valid regular expression", "--group is not"),
        ("group by the last step", "group by the last step"),
        ("output in the format npz is not divided into shards; leave out shards", "leave out --shards"),
        ("to_pandas requires pandas: pip install pandas", 'pip install "tfbundle[tables]"'),
        ("to_arrow requires pyarrow: pip install pyarrow", 'pip install "tfbundle[tables]"'),
        ("tfbundle.read_records reads it", "'tfbundle records' reads it"),
        ("tfbundle.read_events reads it", "'tfbundle events' reads it"),
        ("tfbundle.open_checkpoint reads it", "'tfbundle ls' reads it"),
        ("tfbundle.read_checkpoint_state reads it", "'tfbundle state' reads it"),
        ("it is 9 MB; tfbundle.load_graph(path).constants decodes each one separately (g.pb)", "it is 9 MB (g.pb)"),
        ("it would take 9 bytes; tfbundle.load_graph(path).constants has it as a view", "9 bytes"),
        ("so pass os.path.expanduser(path)", "not within quotes"),
        ("model.ckpt-1 is truncated (12 bytes left)", "model.ckpt-1 is truncated (12 bytes left)"),
        ("pip install pandasx", "pip install pandasx"),
    ],
)
def test_messages_in_the_words_of_the_command(message: str, words: str) -> None:
    said = for_command(message)
    assert words in said
    assert not re.search(r"\b\w+=(?:True|False|None)\b|\.constants", said)


def test_damage_names_the_way_to_what_is_intact(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"a": np.ones(4), "b": np.ones(4)})
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    assert refusal("convert", tmp_path / "m", tmp_path / "out.npz").endswith(
        "; add --salvage to write what is intact\n"
    )


def test_a_message_at_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise UnsupportedError("to_pandas requires pandas: pip install pandas")

    monkeypatch.setattr("tfbundle.cli.ls.open_tensors", refuse)
    assert refusal("ls", "m") == 'tfbundle: to_pandas requires pandas: pip install "tfbundle[tables]"\n'
    frozen = refusal("objects", FIXTURES / "tf-1.15.5" / "frozen" / "frozen.pb")
    assert "tfbundle.load_graph" not in frozen
    assert "the commands ls" in frozen


@pytest.mark.parametrize("name", ["w*", "w[0:2", "it's*"])
def test_a_pattern_where_one_name_is_meant(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})
    said = refusal("show", tmp_path / "b", name)
    assert "so pass a name; 'tfbundle ls'" in said
    assert "names=" not in said


def test_relative_paths_stay_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    write_bundle(tmp_path / "run" / "b", {"m": MATRIX}, leave_out=[0])
    monkeypatch.chdir(tmp_path)
    for arguments in (["show", "run/b", "w"], ["ls", "run/c"], ["ls", "./gone"], ["state", "gone"], ["info", "gone"]):
        assert str(tmp_path) not in refusal(*arguments)


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminals_without_colours(tmp_path: Path, setting: dict[str, str]) -> None:
    write_bundle(tmp_path / "b", {"m": np.zeros(1 << 21, np.uint8)})
    for command in ("ls", "verify"):
        written, _ = on_terminal(command, tmp_path / "b", stream="stdout", **setting)
        assert "\x1b" not in written
    written, _ = on_terminal("ls", tmp_path / "b", stream="stdout")
    assert "\x1b[" in written
    if "TERM" in setting:  # A bar that moves needs a cursor.
        written, _ = on_terminal("verify", tmp_path / "b", stream="stderr", **setting)
        assert written == ""


@pytest.mark.parametrize("command", ["state", "info", "ls"])
def test_tables_fit_80_columns(tmp_path: Path, command: str) -> None:
    for step in (1000, 2000):
        name = f"a_model_with_a_rather_long_name_that_somebody_chose.ckpt-{step}"
        write_bundle(tmp_path / name, {"scope/" * 8 + "kernel": MATRIX})
    paths = [tmp_path] if command != "ls" else [tmp_path / name]
    written, _ = on_terminal(command, *paths, stream="stdout")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written).splitlines()
    table = [line for line in lines if str(tmp_path) not in line]
    assert max(map(len, table)) <= 80
    sizes = [word for line in lines for word in re.findall(r"\d+ B\b", line)]
    assert sizes
