"""What the README shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_example_runs_and_is_short():
    (example,) = blocks("python")
    assert len(example.splitlines()) <= 15
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(64, 12) float32 3072" in done.stdout


def test_the_first_two_commands_set_everything_up():
    first, second = blocks("sh")[:2]
    for command in (first, second):
        assert len(command.splitlines()) == 1
        assert "venv" in command
        assert "pip install" in command
    assert (ROOT / first.split()[-1]).exists()
    assert second.endswith("pytest -q\n")
