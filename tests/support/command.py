"""Runs the command in this process; tests that call it are skipped where click is not installed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from click.testing import Result


def run(*arguments: Any) -> Result:
    """The result: ``exit_code``, ``stdout`` and ``stderr``."""
    pytest.importorskip("click", reason="the command needs click, which is not installed")
    from click.testing import CliRunner

    from tfbundle.cli.main import cli

    try:
        runner = CliRunner(mix_stderr=False)  # type: ignore[call-arg]
    except TypeError:  # Since click 8.2 they are always apart.
        runner = CliRunner()
    return runner.invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def run_json(*arguments: Any, status: int = 0) -> Any:
    """The one document that the command prints."""
    result = run(arguments[0], "--json", *arguments[1:])
    assert (result.exit_code, result.stderr) == (status, "")
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def refusal(*arguments: Any) -> str:
    """The one line with which the command refuses."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"tfbundle: [^\n]+\n", result.stderr)
    return result.stderr
