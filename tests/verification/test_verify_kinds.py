"""``tfbundle.verify`` of what is no checkpoint, or more than one: graphs, SavedModels, event files, other records."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.command import run
from tests.support.expected import FIXTURES
from tests.support.records import frame
from tests.support.v1_writer import write_v1
from tfbundle import Finding
from tfbundle.formats.records.tfrecord import read_records

TF1 = FIXTURES / "tf-1.15.5"
EVENTS = FIXTURES / "events-tf-1.15.5"
EVENT_FILE = EVENTS / "every-plugin-1" / "events.out.tfevents.1500000000.host"


def only_finding(path: Path) -> Finding:
    report = tfbundle.verify(path)
    (finding,) = report.findings
    assert finding.path is not None
    assert finding.path in {file.path for file in report.files} or finding.kind == "missing"
    return finding


def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / folder.name))


@pytest.mark.parametrize(
    "path",
    [
        "tf-1.15.5/training/graph.pb",
        "tf-1.15.5/training/graph.pbtxt",
        "tf-1.15.5/frozen/frozen.pb",
        "tf-2.21.0/graph-with-functions/graph.pb",
        "tf-1.15.5/functions-and-control-flow/graph.pbtxt",
    ],
)
def test_graphs(path: str) -> None:
    report = tfbundle.verify(FIXTURES / path)
    graph = tfbundle.load_graph(FIXTURES / path)
    assert report.ok
    assert (report.format, report.tensors, report.nbytes) == ("graph", len(graph.constants), 0)
    (file,) = report.files
    assert (file.kind, file.size, file.whole) == ("graph", (FIXTURES / path).stat().st_size, len(graph.nodes))


def test_cut_graphs(tmp_path: Path) -> None:
    for name in ("graph.pbtxt", "graph.pb"):
        data = (TF1 / "training" / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2 + 1])
        assert only_finding(tmp_path / name).kind in ("graph", "wrong-file")


def test_meta_beside_a_checkpoint(tmp_path: Path) -> None:
    """The graph is one of the checkpoint's files."""
    folder = copy(TF1 / "training", tmp_path)
    report = tfbundle.verify(folder)
    assert report.ok
    assert [(Path(file.path).name, file.kind) for file in report.files] == [
        ("model.ckpt-40.index", "index"),
        ("model.ckpt-40.data-00000-of-00001", "data"),
        ("model.ckpt-40.meta", "graph"),
        ("graph.pbtxt", "graph"),
    ]
    meta = folder / "model.ckpt-40.meta"
    meta.write_bytes(meta.read_bytes()[:-1000])
    finding = only_finding(folder)
    assert (finding.kind, finding.path) == ("graph", str(meta))
    # The values are none the worse for it.
    assert tfbundle.verify(folder).recoverable == 19


def test_meta_without_its_checkpoint(tmp_path: Path) -> None:
    shutil.copy(TF1 / "training" / "model.ckpt-40.meta", tmp_path)
    finding = only_finding(tmp_path / "model.ckpt-40.meta")
    assert (finding.kind, finding.path) == ("missing", str(tmp_path / "model.ckpt-40.index"))


@pytest.mark.parametrize("version", ["tf-2.4.4", "tf-2.15.1", "tf-2.21.0"])
def test_saved_models(tmp_path: Path, version: str) -> None:
    folder = copy(FIXTURES / version / "saved-model-with-asset" / "model", tmp_path)
    for path in (folder, folder / "saved_model.pb"):
        report = tfbundle.verify(path)
        assert report.ok
        assert report.tensors == 2
        assert [file.kind for file in report.files] == ["index", "data", "graph"]
    (asset,) = (folder / "assets").iterdir()
    asset.unlink()
    finding = only_finding(folder)
    assert (finding.kind, finding.path) == ("missing", str(asset))
    shutil.rmtree(folder / "variables")
    assert {finding.path for finding in tfbundle.verify(folder).findings} == {
        str(asset),
        str(folder / "variables" / "variables.index"),
    }


@pytest.mark.parametrize(
    "path", sorted(EVENTS.glob("*/*tfevents*")), ids=lambda path: f"{path.parent.name}-{path.name[-16:]}"
)
def test_event_files(path: Path) -> None:
    """They are whole if the last record is."""
    report = tfbundle.verify(path)
    records = read_records(path)
    sizes = list(map(len, records))
    assert report.format == "events"
    assert report.nbytes == sum(sizes)
    assert [file.whole for file in report.files] == [len(sizes)]
    assert report.ok == (records.truncation is None)
    for finding in report.findings:
        assert (finding.kind, (finding.offset, finding.size)) == ("truncated", records.truncation)


def test_damaged_records(tmp_path: Path) -> None:
    path = tmp_path / EVENT_FILE.name
    data = bytearray(EVENT_FILE.read_bytes())
    first = 16 + int.from_bytes(data[:8], "little")
    data[first + 12] ^= 1
    path.write_bytes(data)
    finding = only_finding(path)
    second = 16 + int.from_bytes(data[first : first + 8], "little")
    assert (finding.kind, finding.offset, finding.size) == ("checksum", first, second)
    (file,) = tfbundle.verify(path).files
    assert file.whole == len(list(read_records(EVENT_FILE))) - 1
    # The header of the first record, by which a file is known, is damaged; its name tells.
    data[0] ^= 1
    path.write_bytes(data)
    assert tfbundle.verify(path).format == "events"
    finding = only_finding(path)
    assert (finding.kind, finding.offset, finding.size) == ("checksum", 0, first + second)


def test_records_that_are_not_events(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    good = frame(b"\x09" + bytes(8))
    path.write_bytes(good + frame(b"\xff\xff") + good)
    finding = only_finding(path)
    assert (finding.kind, finding.size) == ("record", 2)
    assert tfbundle.verify(path).files[0].whole == 2
    path = path.rename(tmp_path / "data.tfrecord")
    path.write_bytes(frame(b"\xff\xff") + frame(b"any"))
    report = tfbundle.verify(path)
    assert (report.ok, report.format, report.nbytes) == (True, "records", 5)


@pytest.mark.parametrize("kind", ["plain", "gzip", "zlib"])
def test_compressed_records(tmp_path: Path, kind: str) -> None:
    path = EVENTS / "compressed-records" / f"records.{kind}"
    report = tfbundle.verify(path)
    assert report.ok
    assert (report.format, report.nbytes) == ("records", sum(map(len, read_records(path))))
    cut = tmp_path / "cut"
    cut.write_bytes(path.read_bytes()[:-60])
    report = tfbundle.verify(cut)
    assert not report.ok
    if kind != "plain":  # A place in the stream is none in the file.
        assert {finding.offset for finding in report.findings} == {None}


def test_folders_of_runs(tmp_path: Path) -> None:
    for name in ("train", "eval"):
        (tmp_path / name).mkdir()
        shutil.copy(EVENT_FILE, tmp_path / name)
    seen: list[tuple[int, int]] = []
    report = tfbundle.verify(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert (report.path, report.format, len(report.files)) == (str(tmp_path), "events", 2)
    assert report.nbytes == 2 * tfbundle.verify(EVENT_FILE).nbytes
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {2 * EVENT_FILE.stat().st_size}
    path = tmp_path / "eval" / EVENT_FILE.name
    path.write_bytes(path.read_bytes()[:-1])
    assert only_finding(tmp_path).path == str(path)


def make_run(tmp_path: Path) -> Path:
    """A folder as Estimators leave it: checkpoints, the graph, event files, and those of an evaluation below."""
    folder = copy(TF1 / "training", tmp_path)
    (folder / "eval").mkdir()
    shutil.copy(EVENT_FILE, folder)
    shutil.copy(EVENT_FILE, folder / "eval")
    return folder


def test_a_folder_means_all_of_a_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    checkpoint, events = tfbundle.verify(folder / "model.ckpt-40"), tfbundle.verify(EVENT_FILE)
    seen: list[tuple[int, int]] = []
    report = tfbundle.verify(folder, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert [str(Path(file.path).relative_to(folder)) for file in report.files] == [
        "model.ckpt-40.index",
        "model.ckpt-40.data-00000-of-00001",
        "model.ckpt-40.meta",
        EVENT_FILE.name,
        str(Path("eval", EVENT_FILE.name)),
        "graph.pbtxt",
    ]
    assert (report.prefix, report.format, report.tensors) == (str(folder / "model.ckpt-40"), "v2", checkpoint.tensors)
    assert report.nbytes == checkpoint.nbytes + 2 * events.nbytes
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {checkpoint.nbytes + 2 * EVENT_FILE.stat().st_size}
    # Its parts are checked alone where they are requested alone.
    assert len(checkpoint.files) == len(tfbundle.verify(folder, format="v2").files) == 3


@pytest.mark.parametrize("name", [EVENT_FILE.name, f"eval/{EVENT_FILE.name}", "graph.pbtxt", "model.ckpt-40.meta"])
def test_damage_beside_a_checkpoint(tmp_path: Path, name: str) -> None:
    path = make_run(tmp_path) / name
    path.write_bytes(path.read_bytes()[:-3])
    report = tfbundle.verify(tmp_path / "training")
    (finding,) = report.findings
    assert finding.path == str(path)
    assert report.recoverable == report.tensors == 19


def test_the_checkpoint_of_a_run_is_gone(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    for path in folder.glob("model.ckpt-*"):
        path.unlink()
    # The state file still says that there was one.
    finding = only_finding(folder)
    assert (finding.kind, finding.path) == ("missing", str(folder / "model.ckpt-40"))
    (folder / "checkpoint").unlink()
    report = tfbundle.verify(folder)
    assert report.ok
    assert (report.format, report.prefix, [file.kind for file in report.files]) == (
        "events",
        None,
        ["events", "events", "graph"],
    )
    for path in (folder / EVENT_FILE.name, folder / "eval" / EVENT_FILE.name):
        path.unlink()
    assert only_finding(folder).message.startswith("there is no checkpoint in the folder")


def test_a_v1_checkpoint_that_nothing_names_beside_event_files(tmp_path: Path) -> None:
    write_v1(tmp_path / "model", {"a": np.zeros(3, np.float32)})
    shutil.copy(EVENT_FILE, tmp_path)
    report = tfbundle.verify(tmp_path)
    assert (report.ok, report.format, [file.kind for file in report.files]) == (True, "v1", ["v1", "events"])


def test_a_saved_model_beside_event_files(tmp_path: Path) -> None:
    folder = copy(FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model", tmp_path)
    shutil.copy(EVENT_FILE, folder)
    assert [file.kind for file in tfbundle.verify(folder).files] == ["index", "data", "graph", "events"]


def test_a_format_means_a_checkpoint() -> None:
    assert [finding.kind for finding in tfbundle.verify(EVENT_FILE, format="v2").findings] == ["wrong-file"]
    assert not tfbundle.verify(TF1 / "training" / "graph.pb", format="v1")


def test_command(tmp_path: Path) -> None:
    result = run("verify", str(EVENT_FILE))
    assert result.exit_code == 0
    assert result.stdout.endswith(f"{EVENT_FILE}: ok; 11 events, 20.5 KiB verified\n")
    folder = make_run(tmp_path)
    result = run("verify", str(folder))
    assert result.exit_code == 0
    # The checkpoints before the last one are not read.
    assert result.stdout.endswith(": partly checked, no problem found; 19 tensors, 22 events, 51.2 KiB verified\n")
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(EVENT_FILE.read_bytes()[:-3])
    result = run("verify", str(path))
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].split() == [path.name, "20.7", "KiB", "10", "events", "1", "finding"]
    assert "it is still being written, or the writer or a copy was interrupted" in result.stdout
    found = json.loads(run("verify", "--json", str(path)).stdout)
    assert [finding["kind"] for finding in found["findings"]] == ["truncated"]
    assert found["files"][0]["whole"] == 10


def test_the_fingerprint_of_a_saved_model(tmp_path: Path) -> None:
    folder = copy(FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model", tmp_path)
    other = FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model" / "fingerprint.pb"
    assert tfbundle.verify(folder).ok
    shutil.copy(other, folder)
    finding = only_finding(folder)
    assert (finding.kind, finding.path) == ("checksum", str(folder / "variables" / "variables.index"))
    assert "fingerprint.pb" in finding.message
    (folder / "fingerprint.pb").write_bytes(b"\xff\xff")
    assert [found.kind for found in tfbundle.verify(folder).findings] == ["wrong-file"]
    (folder / "fingerprint.pb").unlink()
    assert tfbundle.verify(folder).ok
