"""Files that are not what their first bytes or their names are."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

import tfbundle
from tests.scanning.test_files import CODE, GRAPH, MODEL, framed, layer, tarred, zipped
from tfbundle.formats.coding import encode_varint
from tfbundle.proto import Event, RunMetadata
from tfbundle.scanning.archives import LARGEST_MEMBER
from tfbundle.scanning.disguises import may_be_message


def field(number: int, payload: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(payload)) + payload


NODES = GRAPH.SerializeToString()
DISGUISED = {
    "unknown field": field(100, b"hello") + NODES,
    "unknown number": encode_varint(50 << 3) + b"\5" + NODES,
    "long unknown field": field(100, b"h" * 10_000) + NODES,
    "groups": encode_varint(60 << 3 | 3) + encode_varint(60 << 3 | 4) + NODES,
    "many fields": field(100, b"") * 100 + NODES,
    "empty node": field(1, b"") + NODES,
    "unknown field of a node": field(1, field(99, b"zz") + GRAPH.node[0].SerializeToString())
    + field(1, GRAPH.node[1].SerializeToString()),
    "TensorFlow Lite": field(100, b"TFL3") + NODES,
    "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0\0" + NODES,
}


@pytest.mark.parametrize("name", ["model.bin", "graph.pb", "model.tflite"])
@pytest.mark.parametrize("kind", DISGUISED)
def test_graphs_that_begin_with_other_fields(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(DISGUISED[kind])
    assert "WriteFile" in [item.op for item in tfbundle.scan(tmp_path / name).findings]


def test_what_is_not_a_message(tmp_path: Path) -> None:
    for data in (b"\xff" * 40, b"\x0a\x7f", b"\0\0", b"\x07", b"\x0c\x0a\0", b"\x0a" + b"\x80" * 12):
        (tmp_path / "x").write_bytes(data)
        source = tfbundle.storage.locations.locate(tmp_path / "x").open()
        try:
            assert not may_be_message(source)
        finally:
            source.close()


@pytest.mark.parametrize(
    ("second", "is_one"), [(b"pytorch", False), (b"", False), (field(1, b"x"), True), (field(2, b"x"), True)]
)
def test_strings_of_other_formats_are_not_messages(tmp_path: Path, second: bytes, is_one: bool) -> None:
    (tmp_path / "x").write_bytes(b"\x08\x08" + field(2, second) + field(7, b"graph"))
    source = tfbundle.storage.locations.locate(tmp_path / "x").open()
    try:
        assert may_be_message(source) is is_one
    finally:
        source.close()


@pytest.mark.parametrize("name", ["graph.pbtxt", "graph.txt"])
def test_texts_that_begin_with_comments(tmp_path: Path, name: str) -> None:
    text = 'node { name: "w" op: "WriteFile" }'
    (tmp_path / name).write_text("# \n" * 3000 + text)
    assert [item.op for item in tfbundle.scan(tmp_path).findings] == ["WriteFile"]
    (tmp_path / name).write_bytes(b"# \xff\xfe\n" * 3000 + text.encode())
    assert [item.op for item in tfbundle.scan(tmp_path).findings] == ["WriteFile"]
    (tmp_path / name).write_text("# \n" * 3000 + "node { what is this }")
    assert tfbundle.scan(tmp_path).complete is (name == "graph.txt")


@pytest.mark.parametrize(
    ("name", "before"), [("model.keras", b"x" * 100), ("model.keras", b"\x89HDF\r\n\x1a\n"), ("model.zip", b"GIF89a")]
)
def test_archives_after_something_else(tmp_path: Path, name: str, before: bytes) -> None:
    (tmp_path / name).write_bytes(before + zipped("saved_model.pb"))
    assert [item.op for item in tfbundle.scan(tmp_path / name).findings] == ["WriteFile"]


@pytest.mark.parametrize(("method", "complete"), [(zipfile.ZIP_STORED, True), (zipfile.ZIP_DEFLATED, False)])
def test_large_weights_that_are_not_compressed(tmp_path: Path, method: int, complete: bool) -> None:
    """They are read where they are; to unpack them would take their size in memory."""
    with zipfile.ZipFile(tmp_path / "model.keras", "w", method) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr(
            "model.weights.h5",
            b"\x89HDF\r\n\x1a\n" + bytes(LARGEST_MEMBER) + b'{"class_name": "__lambda__", "config": {}}',
        )
    (tmp_path / "model.keras").write_bytes(b"before" + (tmp_path / "model.keras").read_bytes())
    report = tfbundle.scan(tmp_path / "model.keras")
    assert report.complete is complete
    assert [item.path.rpartition("!")[2] for item in report.findings] == (["model.weights.h5"] if complete else [])


def test_two_members_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("saved_model.pb", MODEL)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("saved_model.pb", b"")
    assert [item.op for item in tfbundle.scan(tmp_path / "model.zip").findings] == ["WriteFile"]


@pytest.mark.parametrize(
    ("target", "is_outside"),
    [("/etc/passwd", True), ("../../etc/passwd", True), ("../x", False), ("../a/../../x", True), ("x", False)],
)
def test_links_in_archives(tmp_path: Path, target: str, is_outside: bool) -> None:
    wanted = [("archive-path", target)] if is_outside else []
    (tmp_path / "model.tar").write_bytes(tarred("assets/link", link=target))
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        info = zipfile.ZipInfo("assets/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, target)
    for name in ("model.tar", "model.zip"):
        assert [(item.rule, item.argument) for item in tfbundle.scan(tmp_path / name).findings] == wanted


@pytest.mark.parametrize("name", [".graph", "graph~", ".ipynb_checkpoints/saved_model.pb", "__MACOSX/saved_model.pb"])
def test_what_other_programs_leave_is_read_too(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(MODEL)
    assert [item.op for item in tfbundle.scan(tmp_path).findings] == ["WriteFile"]


def test_notes_of_macos_are_not_graphs(tmp_path: Path) -> None:
    (tmp_path / "._saved_model.pb").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00" + bytes(100))
    assert tfbundle.scan(tmp_path).complete


def test_a_pipe_in_the_place_of_a_model_is_not_clean(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "saved_model.pb")
    assert not tfbundle.scan(tmp_path).complete


@pytest.mark.parametrize(
    ("data", "complete"), [(b"\xff\xfe\xfd" * 9, False), (b"\0\0\0\0TFL3", False), (b"words", True)]
)
def test_a_file_of_which_nothing_is_known(tmp_path: Path, data: bytes, complete: bool) -> None:
    """It is not clean where it is what the caller names; in a folder it is ignored."""
    (tmp_path / "model.bin").write_bytes(data)
    assert tfbundle.scan(tmp_path / "model.bin").complete is complete
    assert tfbundle.scan(tmp_path).complete


@pytest.mark.parametrize("place", ["partition_graphs", "pre_optimization_graph", "post_optimization_graph"])
def test_graphs_that_tensorboard_is_given_as_values(tmp_path: Path, place: str) -> None:
    run = RunMetadata()
    if place == "partition_graphs":
        run.function_graphs.add().partition_graphs.append(GRAPH)
    else:
        getattr(run.function_graphs.add(), place).CopyFrom(GRAPH)
    assert [item.op for item in logged("graph_run_metadata_graph", run.SerializeToString(), tmp_path)] == ["WriteFile"]
    assert logged("scalars", run.SerializeToString(), tmp_path) == ()


def test_keras_models_that_tensorboard_is_given(tmp_path: Path) -> None:
    import json

    text = json.dumps(layer("Lambda", {"name": "l", "function": [CODE, None, None]}))
    assert [item.rule for item in logged("graph_keras_model", text.encode(), tmp_path)] == ["python-code"]


def logged(plugin: str, data: bytes, folder: Path) -> tuple[tfbundle.ScanFinding, ...]:
    first, second = Event(wall_time=1.0), Event(wall_time=2.0)
    first.summary.value.add(tag="keras").metadata.plugin_data.plugin_name = plugin
    second.summary.value.add(tag="keras").tensor.string_val.append(data)
    second.summary.value[0].tensor.dtype = 7
    file = folder / "events.out.tfevents.1"
    file.write_bytes(framed(first.SerializeToString()) + framed(second.SerializeToString()))
    return tfbundle.scan(file).findings


@pytest.mark.parametrize(("nodes", "complete"), [(20, True), (21, False)])
@pytest.mark.parametrize("before", ["", "# \n" * 3000])
def test_texts_of_many_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, nodes: int, complete: bool
) -> None:
    monkeypatch.setattr("tfbundle.scanning.files.MOST_NODES", 20)
    (tmp_path / "graph.pbtxt").write_text(before + 'node { name: "a" op: "NoOp" }\n' * nodes)
    assert tfbundle.scan(tmp_path).complete is complete
