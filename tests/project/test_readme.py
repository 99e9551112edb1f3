"""What the README shows is what happens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = ROOT / "fixtures" / "tf-1.15.5" / "training"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block_with(words: str) -> str:
    (block,) = (block for block in blocks("py") if words in block)
    return block


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the examples name."""
    shutil.copytree(TRAINING, tmp_path / "run")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "path", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / path).parent.joinpath(link).exists(), link


def run_converter(example: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(example, {"convert": found.__setitem__})
    return found


@pytest.mark.usefixtures("workplace")
def test_the_converter_runs_after_one_other_import() -> None:
    assert set(run_converter(block_with("from tfbundle import train"))) == set(tfbundle.load("run/model.ckpt-40"))


@pytest.mark.usefixtures("tf", "workplace")
def test_the_converter_does_what_it_did_before() -> None:
    example = block_with("from tfbundle import train")
    (line,) = (line for line in example.splitlines() if "import" in line)
    before = line.partition("# was: ")[2].replace("tf.train", "tf.compat.v1.train")
    original, ported = run_converter(example.replace(line, before)), run_converter(example)
    assert set(original) == set(ported)
    for name, values in original.items():
        assert_same(np.asarray(ported[name]), np.asarray(values))


def test_the_first_two_commands_set_everything_up() -> None:
    first, second = blocks("sh")[:2]
    for command in (first, second):
        assert len(command.splitlines()) == 1
        assert "venv" in command
        assert "pip install" in command
    assert (ROOT / first.split()[-1]).exists()
    assert second.endswith("pytest -q -n auto\n")
