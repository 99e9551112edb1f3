"""The examples of the README and of the pages run in order, and print what the page shows.

A block of ``console`` has commands after ``$``, each followed by its output, in which ``...`` represents any lines. A
block of ``python`` is run; one of ``py`` is not, because it needs a program that the tests do not install.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.command import run

pytest.importorskip("click", reason="the pages show the command, which needs click; it is not installed")

from tfbundle.cli.main import COMMANDS

pytest.importorskip("safetensors", reason="the pages convert to safetensors, which is not installed")

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "docs/tutorial.md",
    "docs/pytorch.md",
    "docs/large_checkpoints.md",
    "docs/damaged_files.md",
    "docs/graphs.md",
    "docs/events.md",
    "docs/scanning.md",
    "docs/writing.md",
]
# The folders that the examples use, each a copy of one that TensorFlow wrote.
FOLDERS = [
    ("tf-1.15.5/training", "run"),
    ("events-tf-2.21.0/keras-2", "logs"),
    ("events-tf-2.21.0/keras-2/train", "seeds/run_a_seed1"),
    ("events-tf-2.21.0/keras-2/validation", "seeds/run_a_seed2"),
    ("events-tf-2.21.0/mesh-and-hparams", "study"),
    ("programs-tf-2.21.0/reads-a-file/model", "model"),
]


def console(block: str) -> list[tuple[str, str]]:
    """Return the commands of a block, each with the output that follows it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def matches(shown: str, printed: str) -> bool:
    """Return whether ``printed`` is ``shown``, where a line of three dots represents any lines."""
    lines = [".*" if line == "..." else re.escape(line.rstrip()) + r" *\n" for line in shown.splitlines()]
    return re.fullmatch("".join(lines), printed, re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fixture, name in FOLDERS:
        shutil.copytree(ROOT / "fixtures" / fixture, tmp_path / name, ignore=shutil.ignore_patterns("EXPECTED.json"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    text = (ROOT / page).read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(python|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, names)
            continue
        for command, shown in console(block):
            program, *arguments = shlex.split(command)
            if program == "tfbundle":
                result = run(*arguments)
                assert result.exit_code in (0, 1), result.output
                assert matches(shown, result.output), result.output


def test_each_page_has_an_example_that_runs() -> None:
    for page in PAGES:
        assert re.search(r"^```(python|console)\n", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE), page


@pytest.mark.parametrize(
    ("shown", "printed", "right"),
    [
        ("a\n...\n", "a\nb\nc\n", True),
        ("a\n...\n", "b\nc\n", False),
        ("a\n", "a  \n", True),
        ("a\n", "a\nb\n", False),
        ("a.\n", "ab\n", False),
    ],
)
def test_output_is_compared(shown: str, printed: str, right: bool) -> None:
    assert matches(shown, printed) == right


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: tfbundle\.(\w+)$", text, re.MULTILINE))
    assert listed == set(tfbundle.__all__) - {"__version__"}


def test_the_reference_has_every_command() -> None:
    text = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^ +:prog: tfbundle (\w+)$", text, re.MULTILINE)) == COMMANDS


def test_the_site_has_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or f"\n{page.stem}\n" in index, page.name
