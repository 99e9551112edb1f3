"""What the page about many runs and checkpoints shows is what happens."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.command import run
from tests.support.dask_cluster import Cluster
from tests.support.runs import points, records, write_run

pytest.importorskip("click", reason="the page shows the command, which needs click; it is not installed")
pytest.importorskip("pandas", reason="the examples make tables of pandas")
pytest.importorskip("pyarrow", reason="tables of many runs are those of pyarrow")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the runs and checkpoints that the examples name."""
    for name in ("sweep1/trial1", "sweep1/trial2", "sweep2/trial1", "baseline"):
        write_run(tmp_path / "logs" / name, records(points(["loss", "val/loss", "rate"], range(10))))
    (tmp_path / "logs/sweep1/trial2/events.out.tfevents.1").write_bytes(b"damaged" * 9)
    (tmp_path / "checkpoints").mkdir()
    for step in (1, 2):
        tfbundle.save(tmp_path / f"checkpoints/model.ckpt-{step}", {"w": np.zeros((2, 3), np.float32)})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    commands = 0
    for language, block in re.findall(r"^```(python|sh)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "tfbundle" and "--dask" not in arguments:
                commands += 1
                result = run(*arguments)
                assert result.exit_code == (1 if "dataset" in arguments else 0), result.output
    assert commands == 3
    printed = capsys.readouterr().out
    assert "40 ['run', 'tag', 'step', 'wall_time', 'value']\n1 files are damaged\n" in printed
    assert "[{'step': 1, 'parameters': 6, 'complete': True}, {'step': 2, 'parameters': 6, 'complete': True}]" in printed
    assert len(names["frame"]) == 90
    assert names["losses"].num_rows == 30
    assert (workplace / "checkpoints.parquet").exists()


def test_the_command_on_a_cluster(workplace: Path, cluster: Cluster) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("tfbundle") and "--dask" in line]
    arguments = line.replace("tcp://scheduler:8786", cluster.address).replace(" logs ", f" {workplace / 'logs'} ")
    result = run(*shlex.split(arguments)[1:])
    assert result.exit_code == 1
    assert result.stdout == "scalars: 90 points of 4 runs (4 runs read)\n"


def test_each_example_that_does_not_run_is_tested_elsewhere() -> None:
    """Their modules and functions exist."""
    blocks = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    folder = Path(tfbundle.__file__).parent / "fleet"
    for name, class_name in ("spark_source", "EventDataSource"), ("ray_source", "EventDatasource"):
        assert any(f"from tfbundle.fleet.{name} import {class_name}" in block for block in blocks)
        assert f"class {class_name}(" in (folder / f"{name}.py").read_text(encoding="utf-8")
