"""Where programs hide: configurations of Keras, archives, event files, folders, and files called as graphs are."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tests.support.programs import constant, node, saved_model
from tfbundle.proto import Event, GraphDef, RunMetadata, SavedMetadata
from tfbundle.scanning.collecting import MOST_NODES
from tfbundle.scanning.folding import Effort

GRAPH = GraphDef(node=[constant("path", b"/tmp/x"), node("write", "WriteFile", "path", "path")])
MODEL = saved_model(GRAPH, {"serve": ["write"]}).SerializeToString()
CODE = base64.b64encode(b"\xe3" + bytes(8) + b"\xda\x02os\xda\x06system" + bytes(20)).decode()


def rules(path: Path) -> list[tuple[str, str, str | None]]:
    return [(item.rule, item.severity, item.argument) for item in tfbundle.scan(path).findings]


def layer(class_name: str, config: Any, **others: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"layers": [{"class_name": class_name, "config": config, **others}]}}


CONFIGURATIONS = {
    "lambda of Keras 2": (layer("Lambda", {"name": "l", "function": [CODE, None, None]}), "high"),
    "lambda of TensorFlow": (
        layer("Lambda", {"name": "l", "function": {"class_name": "__tuple__", "items": [CODE, None, None]}}),
        "high",
    ),
    "lambda of Keras 3": (
        layer("Lambda", {"name": "l", "function": {"class_name": "__lambda__", "config": {"code": CODE}}}),
        "high",
    ),
    "lambda elsewhere": (
        layer("Dense", {"activation": {"class_name": "__lambda__", "config": {"code": CODE}}}),
        "high",
    ),
    "lambda by its name": (layer("Lambda", {"function": "twice", "function_type": "function"}), "medium"),
    "lambda without code": (layer("Lambda", {"function": None}), "high"),
    "lambda that is not base64": (layer("Lambda", {"function": ["(((", None, None]}), "high"),
    "os.system": ({"module": "os", "class_name": "function", "config": "system"}, "critical"),
    "subprocess": ({"module": "subprocess", "class_name": "Popen", "config": {}}, "critical"),
    "function of Keras": ({"module": "keras.utils", "class_name": "function", "config": "get_file"}, "high"),
    "vocabulary": (layer("StringLookup", {"name": "v", "vocabulary": "/etc/passwd"}), "medium"),
    "class of somebody": ({"module": "my_package", "class_name": "Layer", "config": {}}, "info"),
}
HARMLESS = {
    "dense": layer("Dense", {"name": "d", "activation": "relu"}, module="keras.layers"),
    "activation": {"module": "keras.activations", "class_name": "function", "config": "relu"},
    "own function": {"module": "builtins", "class_name": "function", "config": "my_loss"},
    "operation": layer("TFOpLambda", {"name": "tf.math.add", "function": "math.add"}),
    "vocabulary in the configuration": layer("StringLookup", {"vocabulary": ["a", "b"]}),
}


def as_keras(folder: Path, text: str) -> Path:
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
    return folder / "model.keras"


def as_hdf5(folder: Path, text: str) -> Path:
    file = folder / "model.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100) + text.encode() + bytes(100))
    return file


def as_metadata(folder: Path, text: str) -> Path:
    message = SavedMetadata()
    message.nodes.add(node_id=1, node_path="root.layer-0", identifier="_tf_keras_layer", metadata=text)
    file = folder / "keras_metadata.pb"
    file.write_bytes(message.SerializeToString())
    return file


def as_object(folder: Path, text: str) -> Path:
    model = saved_model(GraphDef(node=[node("n", "NoOp")]), {})
    model.meta_graphs[0].object_graph_def.nodes.add().user_object.metadata = text
    file = folder / "saved_model.pb"
    file.write_bytes(model.SerializeToString())
    return file


FILES = [as_keras, as_hdf5, as_metadata, as_object]


@pytest.mark.parametrize("write", FILES)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_code_in_configurations(tmp_path: Path, name: str, write: Any) -> None:
    value, severity = CONFIGURATIONS[name]
    report = tfbundle.scan(write(tmp_path, json.dumps(value)))
    assert report.worst == severity
    assert report.complete


@pytest.mark.parametrize("write", FILES)
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_configurations(tmp_path: Path, name: str, write: Any) -> None:
    assert tfbundle.scan(write(tmp_path, json.dumps(HARMLESS[name]))).findings == ()


def test_lambdas_say_how_large_they_are_and_which_names_they_have(tmp_path: Path) -> None:
    (finding,) = tfbundle.scan(as_keras(tmp_path, json.dumps(CONFIGURATIONS["lambda of Keras 2"][0]))).findings
    assert finding.argument is not None
    assert finding.argument.startswith(f"{len(base64.b64decode(CODE))} bytes, sha256 ")
    assert finding.argument.endswith("names os, system")
    assert (finding.node, finding.path) == ("l", f"{tmp_path / 'model.keras'}!config.json")


@pytest.mark.parametrize("write", FILES)
def test_configurations_that_cannot_be_read(tmp_path: Path, write: Any) -> None:
    assert not tfbundle.scan(write(tmp_path, '{"class_name": "Lambda", "config": ')).complete


def zipped(name: str, data: bytes = MODEL) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def tarred(name: str, data: bytes = MODEL, mode: str = "w", link: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.size = len(data)
        if link:
            info.type, info.linkname, info.size = tarfile.SYMTYPE, link, 0
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        zipped("model/saved_model.pb"),
        zipped("inner.zip", zipped("saved_model.pb")),
        tarred("model/saved_model.pb"),
        tarred("saved_model.pb", mode="w:gz"),
        tarred("saved_model.pb", mode="w:bz2"),
        tarred("saved_model.pb", mode="w:xz"),
        zipped("inner.tar.gz", tarred("saved_model.pb", mode="w:gz")),
        zipped("frozen.pb", GRAPH.SerializeToString()),
    ],
    ids=["zip", "zip-in-zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar-in-zip", "graph-in-zip"],
)
def test_archives_are_looked_into(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(data)
    report = tfbundle.scan(file)
    assert [(finding.op, finding.argument) for finding in report.findings] == [("WriteFile", "/tmp/x")]
    assert report.findings[0].path.startswith(f"{file}!")
    assert report.complete
    assert list(tmp_path.iterdir()) == [file]


def test_weights_do_not_use_up_what_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"variables/variables.data-0000{number}-of-00003", bytes(50 << 20))
        archive.writestr("saved_model.pb", MODEL)
    report = tfbundle.scan(tmp_path / "model.zip")
    assert (report.complete, len(report.findings)) == (True, 1)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x", "C:\\x"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_members_outside_of_their_archive(tmp_path: Path, name: str, make: Any) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(make(name, b"x"))
    assert [rule for rule, _, _ in rules(file)] == ["archive-path"]


def test_a_password_is_not_clean(tmp_path: Path) -> None:
    data = bytearray(zipped("saved_model.pb"))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + place] |= 1
    (tmp_path / "model.zip").write_bytes(data)
    assert not tfbundle.scan(tmp_path / "model.zip").complete


def test_graphs_in_events(tmp_path: Path) -> None:
    run = RunMetadata(partition_graphs=[GRAPH])
    event = Event(wall_time=1.0)
    event.tagged_run_metadata.run_metadata = run.SerializeToString()
    broken = Event(wall_time=1.0, graph_def=b"\xff\xff")
    for number, (message, complete) in enumerate(((event, True), (broken, False))):
        file = tmp_path / f"events.out.tfevents.{number}"
        file.write_bytes(framed(message.SerializeToString()))
        report = tfbundle.scan(file)
        assert [finding.op for finding in report.findings] == (["WriteFile"] if complete else [])
        assert report.complete is complete


def framed(data: bytes) -> bytes:
    from tfbundle.formats.checksum import crc32c, mask

    size = len(data).to_bytes(8, "little")
    return size + mask(crc32c(size)).to_bytes(4, "little") + data + mask(crc32c(data)).to_bytes(4, "little")


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt", "model.meta", "frozen.pb"])
@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 100, b"<html></html>", bytes(100)], ids=["empty", "noise", "page", "zeros"]
)
def test_what_is_called_as_a_graph_and_is_none_is_not_clean(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert not tfbundle.scan(tmp_path).complete


@pytest.mark.parametrize("name", ["model.pb", "model.meta"])
def test_a_model_under_another_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MODEL)
    assert [argument for _, _, argument in rules(tmp_path)] == ["/tmp/x"]


@pytest.mark.parametrize(("extra", "complete"), [(0, True), (1, False)])
@pytest.mark.effort
def test_as_many_nodes_as_are_looked_at(tmp_path: Path, extra: int, complete: bool) -> None:
    nodes = [node(str(number), "NoOp") for number in range(MOST_NODES + extra)]
    nodes += [node("read", "ReadFile", "path"), node("again", "ReadFile", "path"), node("restore", "RestoreV2", "x")]
    nodes = nodes[-MOST_NODES - extra :]
    (tmp_path / "graph.pb").write_bytes(GraphDef(node=nodes).SerializeToString())
    report = tfbundle.scan(tmp_path / "graph.pb")
    assert report.complete is complete
    # Of what is not traced it is still said that it is there.
    found = [(item.op, item.severity, item.argument) for item in report.findings]
    traced = [("ReadFile", "medium", "unknown")] * 2 + [("RestoreV2", "info", "unknown")]
    assert found == (traced if complete else [("ReadFile", "medium", None), ("RestoreV2", "info", None)])


@pytest.mark.parametrize(
    ("name", "data", "severity"),
    [
        ("assets.extra/ops.so", b"\x7fELF\0", "medium"),
        ("ops.so", b"\x7fELF\0", "low"),
        ("assets/run.sh", b"#!/bin/sh\n", "low"),
        ("run.sh", b"#!/bin/sh\n", "info"),
        ("assets/data.pkl", b"\x80\x04K\x01.", "medium"),
        ("tool.exe", b"MZ\0\0", "low"),
    ],
)
def test_code_beside_a_model(tmp_path: Path, name: str, data: bytes, severity: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    (finding,) = tfbundle.scan(tmp_path).findings
    assert (finding.rule, finding.severity) == ("extra-code", severity)


def test_folders_links_and_prefixes(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "saved_model.pb").write_bytes(MODEL)
    (tmp_path / "deep" / "circle").symlink_to(tmp_path)
    assert len(tfbundle.scan(tmp_path).findings) == 1
    report = tfbundle.scan(FIXTURES / "tf-1.15.5" / "training" / "model.ckpt-40")
    assert report.files[0].endswith("model.ckpt-40.meta")
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.scan(tmp_path / "nothing")


def test_what_cannot_be_opened_is_not_clean(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "programs-tf-2.21.0" / "reads-a-file" / "model", tmp_path / "model")
    file = tmp_path / "model" / "saved_model.pb"
    file.chmod(0)
    try:
        file.read_bytes()
    except PermissionError:
        assert not tfbundle.scan(tmp_path).complete
    finally:
        file.chmod(0o600)


@pytest.mark.parametrize("copies", [1, 2])
def test_graphs_of_a_scan_share_the_steps_of_tracing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    model = FIXTURES / "programs-tf-2.21.0" / "hidden-paths" / "model"
    efforts: list[Effort] = []

    def make() -> Effort:
        efforts.append(Effort())
        return efforts[-1]

    monkeypatch.setattr("tfbundle.scanning.collecting.Effort", make)
    monkeypatch.setattr("tfbundle.scanning.folding._STEPS_A_NODE", 0)
    monkeypatch.setattr("tfbundle.scanning.folding._FREE_STEPS", 1000)
    tfbundle.scan(model)
    steps = copies * (1000 - efforts[0].left)
    assert steps > 0
    for number in range(copies):
        shutil.copytree(model, tmp_path / f"model-{number}")
    for free in (steps + 1, steps):
        monkeypatch.setattr("tfbundle.scanning.folding._FREE_STEPS", free)
        assert tfbundle.scan(tmp_path).complete is (free > steps)
