"""HDF5 files as h5py writes them: where their configurations are, and what their datasets and links lead to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle

h5py = pytest.importorskip("h5py")

LAMBDA = {"config": {"name": "é", "function": ["4wAAAAAAAAAAAAAAAA==", None, None]}, "class_name": "Lambda"}
MODEL = {"x": 1, "class_name": "Sequential", "config": {"name": "é", "layers": [LAMBDA]}}


def external_link(file: Any) -> None:
    file["layer"] = h5py.ExternalLink("/etc/secret.h5", "/weights")


def links_in_order(file: Any) -> None:
    group = file.create_group("group", track_order=True)
    for number in range(30):
        group[f"link{number}"] = h5py.ExternalLink("/etc/secret.h5", "/é")


def external_dataset(file: Any) -> None:
    file.create_dataset("weights", (100,), "f4", external=[("/etc/secret.h5", 0, h5py.h5f.UNLIMITED)])


def virtual_dataset(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(100,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "d", shape=(100,))
    file.create_virtual_dataset("weights", layout)


LEADING = [external_link, links_in_order, external_dataset, virtual_dataset]


@pytest.mark.parametrize("user_block", [0, 512, 4096])
@pytest.mark.parametrize("version", ["earliest", "latest"])
@pytest.mark.parametrize("write", LEADING)
def test_what_is_in_other_files(tmp_path: Path, write: Any, version: str, user_block: int) -> None:
    with h5py.File(tmp_path / "model.h5", "w", libver=version, userblock_size=user_block) as file:
        file["other"] = np.zeros(10)
        write(file)
    report = tfbundle.scan(tmp_path / "model.h5")
    assert [(item.rule, item.severity, item.trigger, item.argument) for item in report.findings] == [
        ("reads-files", "high", "load", "/etc/secret.h5")
    ]
    assert report.complete


@pytest.mark.parametrize("user_block", [0, 4096])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("padding", [0, 200_000])
def test_configurations_are_found_wherever_they_are(
    tmp_path: Path, user_block: int, ascii_only: bool, padding: int
) -> None:
    text = json.dumps({**MODEL, "padding": "y" * padding}, ensure_ascii=ascii_only)
    with h5py.File(tmp_path / "model.hdf5", "w", libver="latest", userblock_size=user_block) as file:
        file.attrs["model_config"] = text
        file["weights"] = np.random.default_rng(1).random(1000)
    report = tfbundle.scan(tmp_path / "model.hdf5")
    assert [(item.severity, item.node) for item in report.findings] == [("high", "é")]
    assert report.complete


def test_ordinary_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
        file["weights"] = np.random.default_rng(1).integers(0, 256, 1 << 20).astype(np.uint8)
        file["soft"] = h5py.SoftLink("/weights")
    report = tfbundle.scan(tmp_path / "model.h5")
    assert (report.findings, report.complete) == ((), True)


@pytest.mark.parametrize(("other", "found"), [(".", []), ("/etc/b.h5", ["/etc/a.h5, /etc/b.h5"])])
def test_virtual_datasets_of_several_parts(tmp_path: Path, other: str, found: list[str]) -> None:
    with h5py.File(tmp_path / "model.h5", "w", libver="latest") as file:
        file["d"] = np.zeros(4)
        layout = h5py.VirtualLayout(shape=(8,), dtype="f8")
        if found:
            layout[:4] = h5py.VirtualSource("/etc/a.h5", "d", shape=(4,))
        layout[4:] = h5py.VirtualSource(other, "d", shape=(4,))
        file.create_virtual_dataset("weights", layout)
    assert [item.argument for item in tfbundle.scan(tmp_path / "model.h5").findings] == found


def test_a_model_whose_configuration_is_not_found(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = "packed"
    assert not tfbundle.scan(tmp_path / "model.h5").complete


def test_damaged_files(tmp_path: Path) -> None:
    """Each beginning of a file is read without an error of another kind."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        for write in (external_link, external_dataset):
            write(file)
    data = (tmp_path / "model.h5").read_bytes()
    for size in range(8, len(data), 41):
        (tmp_path / "model.h5").write_bytes(data[:size])
        assert tfbundle.scan(tmp_path / "model.h5").files
