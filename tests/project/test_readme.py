"""What the README shows is what happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
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
    (tmp_path / "run").mkdir()
    for suffix in (".index", ".data-00000-of-00001", ".meta"):
        for target in (tmp_path, tmp_path / "run"):
            shutil.copyfile(TRAINING / f"model.ckpt-40{suffix}", target / f"model.ckpt-1000{suffix}")
    shutil.copyfile(TRAINING / "graph.pbtxt", tmp_path / "graph.pbtxt")
    shutil.copytree(ROOT / "fixtures" / "events-tf-2.21.0" / "every-plugin-2", tmp_path / "logs")
    monkeypatch.chdir(tmp_path)


def test_the_python_example_runs_and_is_short() -> None:
    (example,) = blocks("python")
    assert len(example.splitlines()) <= 15
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(64, 12) float32 3072" in done.stdout


@pytest.mark.usefixtures("workplace")
def test_the_example_of_graphs_and_events_runs() -> None:
    names: dict[str, Any] = {"tfbundle": tfbundle}
    exec(block_with("load_graph("), names)
    assert names["graph"]["fc2/BiasAdd:0"].dtype == np.float32
    assert len(names["loss"].values) == len(names["loss"].steps) > 0
    assert set(tfbundle.load("model.ckpt-1000", names=names["meta"].variables(scope="fc", trainable=True))) == {
        "fc1/biases",
        "fc1/weights",
        "fc2/biases",
        "fc2/weights",
    }


@pytest.mark.usefixtures("workplace")
def test_the_example_of_damaged_files_runs(tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    example = block_with("salvage=True")
    names: dict[str, Any] = {"tfbundle": tfbundle}
    exec(example, names)
    assert names["report"].ok
    assert names["checkpoint"].lost == ()
    good = names["weights"]
    path = tmp_path / "run" / "model.ckpt-1000.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:6000])
    exec(example.partition("tfbundle.diff(")[0], names)
    assert len(names["report"].findings) == len(names["checkpoint"].lost) == 9
    assert "is truncated" in names["report"].causes[0]
    assert len(names["weights"]) == len(good) - 9
    for name, array in names["weights"].items():
        assert_same(array, good[name])


@pytest.mark.usefixtures("workplace")
def test_the_example_of_saving_runs(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    exec(block_with("tfbundle.save("), {"tfbundle": tfbundle})
    saved = tfbundle.load("out/")
    assert_same(saved["dense/weights"], tfbundle.load("run/")["fc1/weights"])
    assert any(name.endswith("/Adam") for name in tfbundle.load("run/"))
    assert not any("Adam" in name or "fc1/" in name for name in saved)


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
    assert set(run_converter(block_with("from tfbundle import train"))) == set(tfbundle.load("run/model.ckpt-1000"))


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
