"""Where ``tfbundle events export`` may write to: files, pipes, devices, and nothing that another program needs."""

from __future__ import annotations

import errno
import gzip
import os
import threading
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.bundle_writer import write_bundle
from tests.support.command import on_terminal, refusal, run
from tests.support.processes import read_output, run_process
from tests.support.records import frames
from tfbundle.proto import Event, Summary

CSV = "run,tag,step,wall_time,value\n.,loss,1,0.0,0.5\n.,loss,2,0.0,0.25\n"
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
needs_devices = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no such devices")


def scalar(tag: str, step: int, value: float) -> bytes:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)])).SerializeToString()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "events.out.tfevents.1").write_bytes(frames([scalar("loss", 1, 0.5), scalar("loss", 2, 0.25)]))
    return folder


@pytest.mark.parametrize("out", ["-", pytest.param("/dev/stdout", marks=needs_devices)])
def test_stdout(logs: Path, tmp_path: Path, out: str) -> None:
    """Nothing but the table goes there, whether it is a pipe or a file."""
    arguments = ["events", "export", logs, "-o", out, "--format", "csv"]
    done = run_process(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, CSV, "")
    with open(tmp_path / "out", "wb") as file:
        file.write(b"before\n")
        file.flush()
        assert run_process(*arguments, stdout=file.fileno()).returncode == 0
    assert (tmp_path / "out").read_text() == f"before\n{CSV}"
    done = run_process(*arguments, "--json")
    assert (done.returncode, done.stdout) == (2, "")


@needs_fifo
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_named_pipe(logs: Path, tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow.parquet", reason="Parquet is written by pyarrow, which is not installed")
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    result = run("events", "export", logs, "-o", tmp_path / "pipe", "--format", format)
    reader.join()
    assert result.exit_code == 0
    assert run("events", "export", logs, "-o", tmp_path / f"a.{format}").exit_code == 0
    assert found == [(tmp_path / f"a.{format}").read_bytes()]
    assert (tmp_path / "pipe").is_fifo()


@needs_devices
def test_a_full_disk(logs: Path) -> None:
    full = os.strerror(errno.ENOSPC)
    for extra in ("csv", "jsonl"):
        said = refusal("events", "export", logs, "-o", "/dev/full", "--format", extra)
        assert said == f"tfbundle: /dev/full: {full}\n"
    with open("/dev/full", "wb") as device:
        done = run_process("events", "export", logs, "-o", "-", "--format", "csv", stdout=device.fileno())
    assert (done.returncode, done.stderr) == (2, f"tfbundle: cannot write to stdout: {full}\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes of other systems end in other ways")
@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_a_pipe_whose_reader_left(tmp_path: Path, out: str) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(frames(scalar("loss", step, 0.5) for step in range(20_000)))
    done = read_output("events", "export", tmp_path, "-o", out, "--format", "csv", size=10)
    assert done == (141, b"run,tag,st", "")


@needs_fifo
def test_a_named_pipe_whose_reader_left(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(frames(scalar("loss", step, 0.5) for step in range(20_000)))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read_a_little() -> None:
        with open(pipe, "rb", buffering=0) as file:
            file.read(10)

    reader = threading.Thread(target=read_a_little)
    reader.start()
    said = refusal("events", "export", tmp_path, "-o", pipe, "--format", "csv")
    reader.join()
    assert said == f"tfbundle: {pipe}: the reader closed it before everything was written\n"


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_nothing_reaches_a_terminal_as_it_is(tmp_path: Path, format: str) -> None:
    tag = 'evil\x1b]0;title\x07\x1b[2J\r\N{RIGHT-TO-LEFT OVERRIDE}"'
    (tmp_path / "events.out.tfevents.1").write_bytes(frames([scalar(tag, 1, 0.5)]))
    for out in ("-", "/dev/stdout") if os.path.exists("/dev/stdout") else ("-",):
        written, _ = on_terminal("events", "export", tmp_path, "-o", out, "--format", format, stream="stdout")
        text = written.replace("\r\n", "\n")
        assert text.replace("\n", "").isprintable()
        assert "evil" in text
        assert len(text.splitlines()) == (2 if format == "csv" else 1)
    # A program gets what the file holds.
    assert tag.replace('"', '""') in run("events", "export", tmp_path, "-o", "-", "--format", "csv").stdout


def test_parquet_goes_to_no_terminal(logs: Path) -> None:
    _, said = on_terminal(
        "events", "export", logs, "-o", "/dev/stdout", "--format", "parquet", stream="stdout", status=2
    )
    assert "not stdout or a terminal" in said


def test_a_damaged_value_leaves_stdout_empty(tmp_path: Path) -> None:
    metadata = {"plugin_data": {"plugin_name": "scalars"}}
    tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": 2}]}, "float_val": [1, 2]}
    value = Summary.Value(tag="z", tensor=tensor, metadata=metadata)
    records = [scalar("a", 1, 0.5), Event(summary=Summary(value=[value])).SerializeToString()]
    (tmp_path / "events.out.tfevents.1").write_bytes(frames(records))
    assert "'z' is a scalar, but its value" in refusal("events", "export", tmp_path, "-o", "-", "--format", "csv")


def owned(folder: Path) -> dict[str, Path]:
    """A file of each kind that belongs to a run or a checkpoint, under names that do and do not say so."""
    write_bundle(folder / "model", {"w": [1.0]})
    record = frames([Event(wall_time=1, file_version="brain.Event:2").SerializeToString(), scalar("loss", 3, 1)])
    files = {
        "events": folder / "events.out.tfevents.9",
        "events by content": folder / "curves.csv",
        "index": folder / "model.index",
        "data": folder / "model.data-00000-of-00001",
        "state": folder / "checkpoint",
    }
    files["events"].write_bytes(record)
    files["events by content"].write_bytes(record)
    files["state"].write_text('model_checkpoint_path: "model"\n', encoding="utf-8")
    try:
        files["a link"] = folder / "link.csv"
        files["a link"].symlink_to("events.out.tfevents.9")
    except OSError:
        del files["a link"]
    return files


@pytest.mark.parametrize("what", ["events", "events by content", "index", "data", "state", "a link"])
def test_what_a_run_or_checkpoint_owns_is_replaced_only_on_demand(logs: Path, what: str) -> None:
    path = owned(logs).get(what)
    if path is None:
        pytest.skip("the system does not allow links")
    before = path.read_bytes()
    said = refusal("events", "export", logs, "-o", path, "--format", "csv", "--run", ".")
    assert "--overwrite" in said
    assert path.read_bytes() == before
    assert run("events", "export", logs, "-o", path, "--format", "csv", "--overwrite").exit_code == 0
    assert path.read_bytes().startswith(b"run,tag,step,wall_time,value\n")


def test_a_file_that_is_exported_is_owned_whatever_its_name(tmp_path: Path) -> None:
    """Its content does not show that a compressed file holds events, but the table is made from it."""
    path = tmp_path / "curves.tfevents.gz"
    data = gzip.compress(frames([scalar("loss", 1, 0.5)]))
    path.write_bytes(data)
    try:
        (tmp_path / "other.csv").hardlink_to(path)
    except (OSError, AttributeError):
        pytest.skip("this system has no hard links")
    said = refusal("events", "export", path, "-o", tmp_path / "other.csv")
    assert "--overwrite" in said
    assert (tmp_path / "other.csv").read_bytes() == data
    assert run("events", "export", path, "-o", tmp_path / "other.csv", "--overwrite").exit_code == 0
    assert path.read_bytes() == data


def test_a_name_that_is_empty(logs: Path) -> None:
    assert "--out is empty" in refusal("events", "export", logs, "-o", "", "--format", "csv")


def test_an_older_export_is_replaced(logs: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("events", "export", logs, "-o", tmp_path / "a.csv").exit_code == 0
    assert (tmp_path / "a.csv").read_text() == CSV
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "logs"]
