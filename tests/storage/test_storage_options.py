"""Credentials by argument, and stores that the caller made."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, Bucket, open_bucket
from tests.support.expected import FIXTURES
from tests.support.http_server import serving
from tfbundle import train

pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TRAINING = FIXTURES / "tf-1.15.5/training"
EVENTS = FIXTURES / "events-tf-1.15.5/restarts"


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    with open_bucket(request.param) as bucket:
        bucket.put(TRAINING, "run")
        bucket.put(EVENTS, "events")
        bucket.put(FIXTURES / "tf-2.21.0/keras-saved-model/model", "model")
        yield bucket


@pytest.fixture
def bucket(served: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket to which the environment does not lead."""
    for name in served.environment:
        monkeypatch.delenv(name)
    return served


@pytest.fixture
def options(bucket: Bucket) -> dict[str, Any]:
    return bucket.options


def test_every_function_takes_them(bucket: Bucket, options: dict[str, Any], tmp_path: Path) -> None:
    run, events, model = f"{bucket.url}/run", f"{bucket.url}/events", f"{bucket.url}/model"
    wanted = tfbundle.load(TRAINING)
    assert tfbundle.load(run, storage_options=options).keys() == wanted.keys()
    with tfbundle.open_checkpoint(run, storage_options=options) as checkpoint:
        assert np.array_equal(checkpoint["fc1/weights"].read(), wanted["fc1/weights"])
        assert np.array_equal(pickle.loads(pickle.dumps(checkpoint["fc1/weights"])).read(), wanted["fc1/weights"])
    assert tfbundle.verify(run, storage_options=options).ok
    assert not tfbundle.diff(run, TRAINING, storage_options=options)
    assert str(tfbundle.fingerprint(run, storage_options=options)) == str(tfbundle.fingerprint(TRAINING))
    assert tfbundle.compare_graph(f"{run}/model.ckpt-20.meta", run, storage_options=options)
    assert tfbundle.latest_checkpoint(run, storage_options=options) == f"{run}/model.ckpt-40"
    assert tfbundle.read_checkpoint_state(run, storage_options=options).resolved == f"{run}/model.ckpt-40"
    assert tfbundle.load_graph(f"{run}/graph.pb", storage_options=options).nodes
    assert tfbundle.load_meta_graph(f"{run}/model.ckpt-20.meta", storage_options=options).collections
    assert tfbundle.load_saved_model(model, storage_options=options).meta_graphs
    assert tfbundle.scan(model, storage_options=options).complete
    assert tfbundle.identify(run, storage_options=options).kind == tfbundle.identify(TRAINING).kind
    file = f"{events}/events.out.tfevents.1500000000.host"
    assert list(tfbundle.read_events(file, storage_options=options))
    assert list(tfbundle.read_records(file, storage_options=options))
    with tfbundle.open_events(events, storage_options=options) as log:
        assert log.runs
    assert tfbundle.edit_events(events, tmp_path / "edited", storage_options=options).files
    assert tfbundle.save(f"{bucket.url}/out/a", wanted, storage_options=options)
    assert tfbundle.convert(f"{bucket.url}/out/a", f"{bucket.url}/out/b", storage_options=options).files
    sources = [f"{bucket.url}/out/a", f"{bucket.url}/out/b"]
    assert tfbundle.average(sources, tmp_path / "mean", storage_options=options).files


def test_every_function_of_a_path_has_the_argument() -> None:
    functions = [getattr(tfbundle, name) for name in tfbundle.__all__ if name[0].islower()]
    signatures = [inspect.signature(one) for one in functions if inspect.isfunction(one)]
    without = [one for one in signatures if "StrPath" in str(one) and "storage_options" not in one.parameters]
    assert len(signatures) > 30
    assert not without


def test_functions_on_folders_take_them(bucket: Bucket, options: dict[str, Any], tmp_path: Path) -> None:
    run, events = f"{bucket.url}/run", f"{bucket.url}/events"
    assert tfbundle.list_leftovers(run, storage_options=options) == []
    assert tfbundle.remove_leftovers(run, storage_options=options) == []
    assert tfbundle.plan_repair(run, storage_options=options) is None
    assert not tfbundle.repair_state(run, storage_options=options)
    references = tfbundle.zarr_references(run, storage_options=options)
    assert any(str(value[0]).startswith(run) for value in references["refs"].values())
    pytest.importorskip("jinja2", reason="pages are made by jinja2, which is not installed")
    page = tfbundle.report(run, tmp_path / "page.html", other=f"{run}/model.ckpt-20", storage_options=options)
    assert Path(page).read_bytes()
    remote = tfbundle.report(TRAINING, f"{bucket.url}/page.html", storage_options=options)
    assert tfbundle.locate(remote).is_file()
    pytest.importorskip("pyarrow", reason="tables are made by pyarrow, which is not installed")
    assert tfbundle.event_batches(events, workers=2, storage_options=options).read_all().num_rows
    assert tfbundle.inventory(run, workers=2, storage_options=options).num_rows == 3
    dataset = tfbundle.export_events(events, tmp_path / "dataset", storage_options=options)
    assert dataset.points


def test_what_is_returned_leads_to_the_same_store(bucket: Bucket, options: dict[str, Any]) -> None:
    """Paths in results carry the store that they were found in, so that no options are needed again."""
    for item in tfbundle.list_checkpoints(f"{bucket.url}/run", storage_options=options):
        assert tfbundle.load(item.prefix)
        assert type(item.prefix.upper()) is str
    latest = tfbundle.latest_checkpoint(tfbundle.locate(f"{bucket.url}/run", options))
    assert latest is not None
    assert tfbundle.load(pickle.loads(pickle.dumps(latest)))
    location = tfbundle.locate(f"{bucket.url}/saved/model", options)
    saver = train.Saver()
    saver.save({"x": np.float32(1)}, location, global_step=1)
    assert tfbundle.load(f"{location}-1", storage_options=options) == {"x": 1}


def test_options_that_are_wrong(bucket: Bucket, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be opened with these storage options: .*no_such_option"):
        tfbundle.load(f"{bucket.url}/run", storage_options={"no_such_option": 1})
    with pytest.raises(ValueError, match="an HTTP server has the storage option headers, and not endpoint"):
        tfbundle.load("http://127.0.0.1:1/run", storage_options={"endpoint": "x"})
    with pytest.raises(ValueError, match="storage options are for the URLs of object stores"):
        tfbundle.locate(tmp_path, options)
    with pytest.raises(ValueError, match="has a store already"):
        tfbundle.locate(tfbundle.locate(f"{bucket.url}/run", options), options)
    with pytest.raises(TypeError, match="a store of obstore or a file system of fsspec is expected, not int"):
        tfbundle.locate("run", store=3)


def test_anonymous_buckets(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("key", "token")
    options = {name: value for name, value in bucket.options.items() if not name.endswith(secrets)}
    options.pop("access_key_id", None)
    assert tfbundle.load(f"{bucket.url}/run", storage_options={**options, "skip_signature": True})
    for name, value in bucket.environment.items():
        if not name.lower().endswith((*secrets, "access_key_id")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv({"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}[bucket.kind] + "_SKIP_SIGNATURE", "true")
    assert tfbundle.load(f"{bucket.url}/run/model.ckpt-20")


def test_a_change_of_the_environment_is_noticed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook may set credentials after the first attempt."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, "http://127.0.0.1:1/x" if value.startswith("http") else value)
    with pytest.raises(OSError, match=f"{bucket.url}/run"):
        tfbundle.load(f"{bucket.url}/run")
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    assert tfbundle.load(f"{bucket.url}/run")


def test_headers_of_an_http_server() -> None:
    with serving(TRAINING) as server:
        options = {"headers": {"Authorization": "Bearer token"}}
        assert tfbundle.load(f"{server.url}/model.ckpt-20", storage_options=options)
        assert all(headers["Authorization"] == "Bearer token" for headers in server.headers)


def test_a_store_of_obstore(bucket: Bucket, options: dict[str, Any]) -> None:
    from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[bucket.kind]
    store = kind(bucket.name, client_options={"allow_http": True}, **options)
    for path in ("run", f"{bucket.url}/run"):
        assert tfbundle.load(tfbundle.locate(path, store=store)).keys() == tfbundle.load(TRAINING).keys()
    local = tfbundle.locate("training", store=LocalStore(str(TRAINING.parent)))
    assert [item.step for item in tfbundle.list_checkpoints(local)] == [20, 30, 40]
    memory = MemoryStore()
    prefix = tfbundle.save(tfbundle.locate("deep/model", store=memory), {"x": np.float32(1)})
    assert tfbundle.load(prefix) == tfbundle.load(tfbundle.locate("deep/model", store=memory)) == {"x": 1}


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_file_system_of_fsspec(kind: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    file_system = fsspec.filesystem("memory" if kind == "memory" else "file")
    root = f"/{tmp_path.name}" if kind == "memory" else str(tmp_path)
    file_system.put(f"{TRAINING}/", f"{root}/run/", recursive=True)
    wanted = tfbundle.load(TRAINING)
    for path in ("run", "run/model.ckpt-40", "run/checkpoint"):
        place = tfbundle.locate(f"{root}/{path}", store=file_system)
        assert tfbundle.load(place).keys() == wanted.keys()
    assert tfbundle.verify(place).ok
    assert tfbundle.load(file_system.get_mapper(f"{root}/run")).keys() == wanted.keys()
    opened = fsspec.open(f"{'memory://' if kind == 'memory' else 'file://'}{root}/run/model.ckpt-40.index")
    assert tfbundle.load(opened).keys() == wanted.keys()
    out = tfbundle.locate(f"{root}/out/model", store=file_system)
    for value in (1, 2):
        tfbundle.save(out, {"x": np.float32(value)})
        assert tfbundle.load(out) == {"x": value}
    assert sorted(file_system.ls(f"{root}/out", detail=False)) == [
        f"{root}/out/model.data-00000-of-00001",
        f"{root}/out/model.index",
    ]
    with tfbundle.open_checkpoint(place) as checkpoint:
        tensor = checkpoint["fc1/weights"]
        file_system.rm(f"{root}/run/model.ckpt-40.data-00000-of-00001")
        with pytest.raises(tfbundle.MissingFileError):
            tensor.read()


def test_the_extra_is_named_where_it_is_missing() -> None:
    code = "import sys; sys.modules['obstore'] = None; import tfbundle; tfbundle.load('s3://bucket/model')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "s3://bucket is in an object store, which needs obstore; pip install 'tfbundle[remote]'" in done.stderr
