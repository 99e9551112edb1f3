"""Runs the command; tests that call it are skipped where click is not installed."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import start

if TYPE_CHECKING:
    from click.testing import Result


def run(*arguments: Any, answer: str = "") -> Result:
    """The result of the command in this process: ``exit_code``, ``stdout`` and ``stderr``; ``answer`` is its stdin."""
    pytest.importorskip("click", reason="the command needs click, which is not installed")
    from click.testing import CliRunner

    from tfbundle.cli.main import cli

    try:
        runner = CliRunner(mix_stderr=False)  # type: ignore[call-arg]
    except TypeError:  # Since click 8.2 they are always apart.
        runner = CliRunner()
    return runner.invoke(cli, [str(argument) for argument in arguments], input=answer, catch_exceptions=False)


def outcome(*arguments: Any, answer: str = "") -> tuple[int, str, str]:
    """The exit status, and what stood on stdout and stderr."""
    result = run(*arguments, answer=answer)
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: Any, status: int = 0) -> Any:
    """The one document that the command prints, without the schema, which it has to follow."""
    result = run(arguments[0], "--json", *arguments[1:])
    assert (result.exit_code, result.stderr) == (status, "")
    (document,) = documents(result.stdout)
    return document


def documents(text: str) -> list[Any]:
    """The documents that a command printed, a line each, without their schemas, which they have to follow."""
    from tfbundle.cli.schemas import DOCUMENTS

    assert text.endswith("\n")
    found = []
    for line in text.splitlines():
        document = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        program, name, version = document.pop("schema").split("/")
        assert (program, int(version)) == ("tfbundle", DOCUMENTS[name].version)
        assert document.keys() <= DOCUMENTS[name].fields.keys(), f"describe the new fields in cli/schemas.py ({name})"
        found.append(document)
    return found


def refusal(*arguments: Any) -> str:
    """The one line with which the command refuses."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"tfbundle: [^\n]+\n", result.stderr)
    return result.stderr


def on_terminal(*arguments: Any, stream: str, columns: int = 80, status: int = 0, **settings: str) -> tuple[str, str]:
    """What the command writes to a terminal, one of its two outputs, and what to the other, a pipe."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "PYTHONUTF8": "1"}
    for name in ("NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    environment |= settings
    other, pipe = os.pipe()
    streams = {"stdout": pipe, "stderr": pipe, stream: slave}
    wait = start(*arguments, env=environment, **streams)
    os.close(slave)
    os.close(pipe)
    written = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # Linux says so when the other side is closed.
            break
        if not data:
            break
        written += data
    os.close(master)
    with open(other, "rb") as file:
        rest = file.read()
    assert wait() == status
    return written.decode(), rest.decode()
