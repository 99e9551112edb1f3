"""What the page about lazy arrays shows is what happens."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.command import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "lazy_arrays.md").read_text(encoding="utf-8")
TRAINING = ROOT / "fixtures" / "tf-1.15.5" / "training"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copyfile(TRAINING / f"model.ckpt-40{suffix}", tmp_path / "run" / f"model.ckpt-1000{suffix}")
    monkeypatch.chdir(tmp_path)


def test_the_example_of_dask() -> None:
    pytest.importorskip("dask.array", reason="dask is not installed")
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    weights = tfbundle.load("run/model.ckpt-1000", names="fc*/weights")
    assert set(names["norms"]) == set(weights)
    for name, norm in names["norms"].items():
        assert float(norm.compute(scheduler="sync")) == pytest.approx(float((weights[name] ** 2).sum()))


def test_the_example_of_zarr() -> None:
    zarr = pytest.importorskip("zarr", "3", reason="zarr is not installed")
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    assert zarr
    names: dict[str, Any] = {"tfbundle": tfbundle}
    exec(blocks("python")[1], names)
    assert np.array_equal(names["rows"], tfbundle.load("run/model.ckpt-1000")["fc1/weights"][:10])


def test_the_command(tmp_path: Path) -> None:
    (command,) = (block for block in blocks("sh") if block.startswith("tfbundle"))
    assert run(*shlex.split(command)[1:]).exit_code == 0
    assert json.loads((tmp_path / "refs.json").read_text()) == tfbundle.zarr_references("run/model.ckpt-1000")
