"""Where an output may go: it replaces nothing that a checkpoint or run owns, and pipes are handled as files are."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import write_bundle
from tests.support.command import refusal, run
from tests.support.expected import FIXTURES
from tests.support.processes import read_output, run_process
from tests.support.records import frame
from tfbundle.conversion.convert import convert

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and devices are those of POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a checkpoint to convert, and everything that others may have put beside it."""
    write_bundle(tmp_path / "model.ckpt-1", {"a": MATRIX})
    write_bundle(tmp_path / "model.ckpt-2", {"a": MATRIX})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n')
    (tmp_path / "latest").write_text('model_checkpoint_path: "model.ckpt-2"\n')
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"damaged")
    (tmp_path / "old").write_bytes((FIXTURES / "tf-1.15.5" / "v1-training" / "model.ckpt-20").read_bytes())
    (tmp_path / "graph.pbtxt").write_bytes((FIXTURES / "tf-1.2.1" / "frozen" / "frozen.pbtxt").read_bytes())
    (tmp_path / "frozen.npz").write_bytes((FIXTURES / "tf-1.15.5" / "frozen" / "frozen.pb").read_bytes())
    (tmp_path / "model.ckpt-2.meta").write_bytes(b"damaged")
    return tmp_path


OWNED = [
    "model.ckpt-1.index",
    "model.ckpt-2.index",
    "model.ckpt-2.data-00000-of-00001",
    "model.ckpt-2.meta",
    "checkpoint",
    "latest",
    "events.out.tfevents.1.host",
    "old",
    "graph.pbtxt",
    "frozen.npz",
]


@pytest.mark.parametrize("name", OWNED)
def test_nothing_that_is_owned_is_replaced_unasked(folder: Path, name: str) -> None:
    out = folder / name
    before = out.read_bytes()
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="overwrite=True"):
            convert(folder / "model.ckpt-1", out, to="npz", dry_run=dry_run)
    assert "--overwrite" in refusal("convert", folder / "model.ckpt-1", out, "--to", "npz")
    assert out.read_bytes() == before
    assert run("convert", folder / "model.ckpt-1", out, "--to", "npz", "--overwrite").exit_code == 0
    with np.load(out) as found:
        assert found["a"].shape == (6, 4)


NAMES = [
    *("events.out.tfevents.2.host", "curves.tfevents.html", "m.index", "m.meta", "m.data-00000-of-00002", "checkpoint"),
    "part-00000-of-00002",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_output_becomes_part_of_a_checkpoint_or_run_by_its_name(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "a", {"a": MATRIX})
    out = tmp_path / "sub" / name
    out.parent.mkdir()
    if name == NAMES[-1]:  # TFRecord files are numbered in the same way.
        convert(tmp_path / "a", out, to="npz")
        return
    for check in (lambda: convert(tmp_path / "a", out, to="npz"), lambda: tfbundle.report(tmp_path / "a", out)):
        with pytest.raises(ValueError, match=r"would be taken for (a|an event|the state) file .*; choose another name"):
            check()
    for command in (["references", tmp_path / "a", "-o"], ["scan", tmp_path / "a", "--write-baseline"]):
        assert "would be taken for" in refusal(*command, out)
    assert list(out.parent.iterdir()) == []


def test_a_baseline_replaces_no_model(folder: Path) -> None:
    for name in OWNED:
        said = refusal("scan", folder / "graph.pbtxt", "--write-baseline", folder / name)
        assert said.endswith("; name another file to write to\n")


@pytest.mark.parametrize("name", OWNED)
@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_nor_by_another_name(folder: Path, name: str, link: str) -> None:
    out = folder / "sub" / "out.npz"
    out.parent.mkdir()
    if link == "symbolic":
        out.symlink_to(folder / name)
    else:
        out.hardlink_to(folder / name)
    before = out.read_bytes()
    with pytest.raises(ValueError, match="overwrite=True"):
        convert(folder / "model.ckpt-1", out)
    assert out.read_bytes() == before


def test_what_nobody_owns_is_replaced(folder: Path) -> None:
    for content in (b"", b"text", b"PK\x03\x04 an archive"):
        (folder / "out.npz").write_bytes(content)
        convert(folder / "model.ckpt-1", folder / "out.npz")
        with np.load(folder / "out.npz") as found:
            assert list(found) == ["a"]


def test_exported_events_do_not_replace_event_files(tmp_path: Path) -> None:
    log = tmp_path / "events.out.tfevents.1.host"
    log.write_bytes(frame(b""))
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "x"\n')
    for out in (log, tmp_path / "checkpoint"):
        before = out.read_bytes()
        assert "--overwrite" in refusal("events", "export", tmp_path, "-o", out, "--format", "csv")
        assert out.read_bytes() == before
    assert (
        run("events", "export", tmp_path, "-o", tmp_path / "checkpoint", "--format", "csv", "--overwrite").exit_code
        == 0
    )
    assert (tmp_path / "checkpoint").read_text().startswith("run,tag,step")


# Pipes, devices and full disks.


@posix
@pytest.mark.parametrize("format", ["npz", "safetensors"])
def test_a_pipe_gets_what_a_file_would(folder: Path, format: str) -> None:
    convert(folder / "model.ckpt-1", folder / f"out.{format}")
    wanted = (folder / f"out.{format}").read_bytes()
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    convert(folder / "model.ckpt-1", fifo, to=format)
    reader.join(20)
    assert received == [wanted]
    assert fifo.is_fifo()


@posix
def test_stdout_gets_the_output_alone(folder: Path) -> None:
    command = ["convert", folder / "model.ckpt-1", "/dev/stdout", "--to", "npz"]
    status, written, said = read_output(*command)
    assert status == 0
    (folder / "copy.npz").write_bytes(written)
    with np.load(folder / "copy.npz") as found:
        assert found["a"].tolist() == MATRIX.tolist()
    assert "1 tensor, 96 B" in said
    # A file that the shell opened for appending keeps what it had.
    (folder / "kept").write_bytes(b"kept")
    with (folder / "kept").open("ab") as file:
        assert run_process(*command, stdout=file.fileno()).returncode == 0
    assert (folder / "kept").read_bytes() == b"kept" + written
    assert zipfile.is_zipfile(folder / "kept")


@posix
def test_a_reader_that_leaves(folder: Path) -> None:
    write_bundle(folder / "big", {"a": np.zeros(1 << 20, np.float32)})
    status, _, said = read_output("convert", folder / "big", "/dev/stdout", "--to", "npz", size=10)
    assert "Traceback" not in said
    assert status == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_is_named(folder: Path) -> None:
    message = refusal("convert", folder / "model.ckpt-1", "/dev/full", "--to", "npz")
    assert message == "tfbundle: /dev/full: No space left on device\n"


def test_a_source_that_vanishes(folder: Path) -> None:
    from tfbundle.open_tensors import open_tensors

    (folder / "model.ckpt-1.data-00000-of-00001").unlink()
    with open_tensors(folder / "model.ckpt-1") as source, pytest.raises(FileNotFoundError, match="data-00000-of-00001"):
        convert(source, folder / "out.npz")
    assert not (folder / "out.npz").exists()
