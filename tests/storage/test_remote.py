"""Checkpoints, graphs and listings by URL: what the same local files give, in few requests, and never a mixture."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, memory_url, open_bucket
from tests.support.expected import FIXTURES
from tests.support.http_server import Server, serving
from tfbundle.storage.locations import locate

obstore = pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TRAINING = "tf-1.15.5/training"
PREFIX = f"{TRAINING}/model.ckpt-20"
MODEL = "tf-2.21.0/keras-saved-model/model"
PROGRAM = "programs-tf-2.21.0/reads-a-file"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for folder in (TRAINING, MODEL, PROGRAM):
        shutil.copytree(FIXTURES / folder, tmp_path / folder)
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(scope="module", params=KINDS)
def bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket with three fixtures in it."""
    with open_bucket(request.param) as served:
        for folder in (TRAINING, MODEL, PROGRAM):
            served.put(FIXTURES / folder, folder)
        yield served.url


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_checkpoints_of_an_http_server(server: Server) -> None:
    wanted = tfbundle.load(FIXTURES / PREFIX)
    for path in (PREFIX, f"{PREFIX}.index", f"{PREFIX}.data-00000-of-00001"):
        assert same(tfbundle.load(f"{server.url}/{path}"), wanted)
    latest = tfbundle.load(FIXTURES / TRAINING)
    for path in (f"{TRAINING}/", f"{TRAINING}/checkpoint"):
        assert same(tfbundle.load(f"{server.url}/{path}"), latest)
    assert not tfbundle.diff(f"{server.url}/{PREFIX}", FIXTURES / PREFIX)
    report = tfbundle.verify(f"{server.url}/{PREFIX}")
    assert (report.ok, report.tensors) == (True, len(wanted))
    graph = tfbundle.load_graph(f"{server.url}/{PREFIX}.meta")
    assert graph.proto == tfbundle.load_graph(FIXTURES / f"{PREFIX}.meta").proto


def test_checkpoints_of_a_bucket(bucket: str) -> None:
    wanted = tfbundle.load(FIXTURES / PREFIX)
    assert same(tfbundle.load(f"{bucket}/{PREFIX}"), wanted)
    assert same(tfbundle.load(f"{bucket}/{TRAINING}"), tfbundle.load(FIXTURES / TRAINING))
    assert same(tfbundle.load(f"{bucket}/{MODEL}"), tfbundle.load(FIXTURES / MODEL))
    listed = tfbundle.list_checkpoints(f"{bucket}/{TRAINING}")
    assert [item.step for item in listed] == [item.step for item in tfbundle.list_checkpoints(FIXTURES / TRAINING)]
    assert [item.size for item in listed] == [item.size for item in tfbundle.list_checkpoints(FIXTURES / TRAINING)]
    report, local = tfbundle.verify(f"{bucket}/{MODEL}"), tfbundle.verify(FIXTURES / MODEL)
    assert (report.ok, report.tensors, report.nbytes) == (local.ok, local.tensors, local.nbytes)
    model = tfbundle.load_saved_model(f"{bucket}/{MODEL}")
    assert model.proto == tfbundle.load_saved_model(FIXTURES / MODEL).proto
    with pytest.raises(tfbundle.MissingFileError, match=f"there is no checkpoint {bucket}/absent"):
        tfbundle.load(f"{bucket}/absent")


def test_graphs_by_url_are_scanned(bucket: str, server: Server) -> None:
    local = tfbundle.scan(FIXTURES / PROGRAM)
    assert local.findings
    for url in (f"{bucket}/{PROGRAM}", f"{server.url}/{PROGRAM}/model/saved_model.pb"):
        found = tfbundle.scan(url)
        assert found.complete
        assert [(item.rule, item.op, item.argument) for item in found.findings] == [
            (item.rule, item.op, item.argument) for item in local.findings
        ]


def test_locations_pickle_and_know_their_places(server: Server) -> None:
    folder = locate(f"{server.url}/{TRAINING}/")
    file = folder.join("model.ckpt-20").plus(".index")
    assert file.path == f"{server.url}/{PREFIX}.index"
    assert (file.name, file.parent.is_folder(), file.is_file()) == ("model.ckpt-20.index", True, True)
    assert file.beside("checkpoint").is_file()
    assert pickle.loads(pickle.dumps(file)) == file
    assert file.is_below(folder)
    assert file.relative_to(folder) == "model.ckpt-20.index"
    assert not folder.join("absent").is_file()
    with pytest.raises(tfbundle.MissingFileError, match="there is no file http"):
        folder.join("absent").open()


@pytest.mark.parametrize("name", ["http://127.0.0.1:1/other", "/etc/passwd", "../../../../up", "s3://elsewhere/x"])
def test_names_that_lead_out_are_nothing(name: str, server: Server) -> None:
    """No request is made for what a state file names elsewhere."""
    out = locate(f"{server.url}/{TRAINING}/").join(name)
    assert not out.is_file()
    assert not out.is_folder()
    assert out.stat() is None
    assert server.requests == []
    with pytest.raises(tfbundle.MissingFileError):
        out.open()


@pytest.mark.parametrize("with_etags", [True, False])
def test_an_object_that_is_replaced_meanwhile(with_etags: bool, server: Server) -> None:
    server.with_etags = with_etags
    with tfbundle.open_checkpoint(f"{server.url}/{PREFIX}") as checkpoint:
        tensor = checkpoint["fc1/weights"]
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copy(FIXTURES / f"{TRAINING}/model.ckpt-30{suffix}", server.root / f"{PREFIX}{suffix}")
        with pytest.raises(tfbundle.FormatError, match="was overwritten"):
            tensor.read()


@pytest.mark.parametrize("kind", [*KINDS, "memory"])
def test_an_object_of_a_bucket_that_is_replaced_meanwhile(kind: str) -> None:
    with open_bucket(kind) if kind != "memory" else nullcontext() as bucket:
        place = f"{memory_url() if bucket is None else bucket.url}/changed/model"
        tfbundle.save(place, {"x": np.arange(100_000, dtype=np.float32)})
        with tfbundle.open_checkpoint(place) as checkpoint:
            tensor = checkpoint["x"]
            assert tensor[:10].tolist() == list(range(10))
            tfbundle.save(place, {"x": np.zeros(100_000, np.float32)})
            with pytest.raises(tfbundle.FormatError, match="was overwritten"):
                tensor.read()
        assert not tfbundle.load(place)["x"].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_that_does_not_exist(kind: str) -> None:
    with open_bucket(kind):
        with pytest.raises(tfbundle.MissingFileError, match=f"there is no bucket {kind}://nobody: .*does not exist"):
            tfbundle.load(f"{kind}://nobody/run/model")
        with pytest.raises(tfbundle.MissingFileError, match=f"there is no bucket {kind}://nobody: .*does not exist"):
            tfbundle.save(f"{kind}://nobody/run/model", {"x": np.float32(1)})


def test_an_empty_object_with_the_name_of_a_folder_is_a_marker() -> None:
    with open_bucket("az") as bucket:
        tfbundle.save(f"{bucket.url}/above/run/model", {"x": np.float32(1)})
        bucket.put_bytes("above/run", b"")
        assert locate(f"{bucket.url}/above/run").is_folder()
        assert [item.prefix for item in tfbundle.list_checkpoints(f"{bucket.url}/above/run")] == [
            f"{bucket.url}/above/run/model"
        ]
        bucket.put_bytes("above/run", b"data")
        assert locate(f"{bucket.url}/above/run").is_file()
