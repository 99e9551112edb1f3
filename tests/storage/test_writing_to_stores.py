"""Checkpoints, archives and event files written to buckets: the objects that local files would be, or none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, Bucket, memory_url, open_bucket
from tests.support.expected import FIXTURES
from tests.support.http_server import serving
from tfbundle import train
from tfbundle.storage import obstore_objects, uploads
from tfbundle.storage.locations import locate
from tfbundle.storage.obstore_objects import ObstoreObjects
from tfbundle.storage.uploads import objects_below

obstore = pytest.importorskip("obstore", reason="object stores are written by obstore, which is not installed")

TENSORS = {f"x{i}": np.arange(1000, dtype=np.float32) + i for i in range(5)}
OTHERS = {name: value * 2 for name, value in TENSORS.items()}


@pytest.fixture(scope="module", params=KINDS)
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    with open_bucket(request.param) as bucket:
        yield bucket


@pytest.fixture(scope="module", params=[*KINDS, "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield memory_url()
    else:
        with open_bucket(request.param) as bucket:
            yield bucket.url


@pytest.fixture
def root(store: str, tmp_path: Path) -> str:
    return f"{store}/{tmp_path.name}"


def contents(root: str | Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder or URL, by name."""
    if isinstance(root, Path):
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    location = locate(root)
    return {name: place.read(1 << 30) for name, place in objects_below(location)}  # type: ignore[arg-type]


def test_what_is_saved_is_what_local_files_are(root: str, tmp_path: Path) -> None:
    for place in (root, tmp_path):
        assert tfbundle.save(f"{place}/run/model", TENSORS, shards=2) == f"{place}/run/model"
    assert contents(root) == contents(tmp_path)
    for place in (root, tmp_path):
        tfbundle.save(f"{place}/run/model", OTHERS, shards=2)
    assert contents(root) == contents(tmp_path)
    assert np.array_equal(tfbundle.load(f"{root}/run/model")["x3"], OTHERS["x3"])


CONVERSIONS = ["copy", "a.npz", "a.safetensors", "a.zarr", "a.h5", "deep/er/copy"]


@pytest.mark.parametrize("out", CONVERSIONS)
def test_conversions(out: str, root: str, tmp_path: Path) -> None:
    pytest.importorskip("h5py") if out.endswith("h5") else None
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shards = 2 if out.endswith("safetensors") else None
    for place in (root, str(tmp_path)):
        tfbundle.save(f"{place}/model", TENSORS)
        for _ in range(2):
            done = tfbundle.convert(f"{place}/model", f"{place}/{out}", shards=shards, overwrite=True)
        assert all(locate(file).is_file() or locate(file).is_folder() for file in done.files)
    found, wanted = contents(root), contents(tmp_path)
    assert found.keys() == wanted.keys()
    assert out.endswith(("npz", "h5")) or found == wanted  # Those have the time of writing in them.
    if not out.endswith("zarr"):
        source = f"{out}.index.json" if out.endswith("safetensors") else out
        tfbundle.convert(f"{root}/{source}", f"{root}/back")
        assert np.array_equal(tfbundle.load(f"{root}/back")["x3"], TENSORS["x3"])


def test_averages(root: str, tmp_path: Path) -> None:
    for place in (root, tmp_path):
        for name, tensors in (("a", TENSORS), ("b", OTHERS)):
            tfbundle.save(f"{place}/{name}", tensors)
        tfbundle.average([f"{place}/a", f"{place}/b"], f"{place}/mean")
    assert contents(root) == contents(tmp_path)


def test_nothing_of_a_run_is_replaced(root: str, tmp_path: Path) -> None:
    for place in (root, tmp_path):
        tfbundle.save(f"{place}/model", TENSORS)
        tfbundle.save(f"{place}/other", TENSORS)
        for out, to in (("other", None), ("model", None), ("model.index", "npz"), ("checkpoint", "npz")):
            if out == "checkpoint":
                train.update_checkpoint_state(str(place), f"{place}/model")
            before = contents(place)
            with pytest.raises(ValueError, match="or replace it with overwrite=True"):
                tfbundle.convert(f"{place}/model", f"{place}/{out}", to=to)
            assert contents(place) == before


def test_the_rotation_of_a_saver(root: str, tmp_path: Path) -> None:
    for place in (root, str(tmp_path)):
        saver = train.Saver(max_to_keep=2, save_relative_paths=True)
        for step in range(4):
            saver.save(TENSORS, f"{place}/run/model", global_step=step)
        manager = train.CheckpointManager(f"{place}/managed", max_to_keep=2)
        for step in range(4):
            manager.save(TENSORS, checkpoint_number=step)
    assert contents(root).keys() == contents(tmp_path).keys()
    assert contents(root)["run/checkpoint"] == contents(tmp_path)["run/checkpoint"]
    assert tfbundle.latest_checkpoint(f"{root}/run") == f"{root}/run/model-3"
    assert [item.step for item in tfbundle.list_checkpoints(f"{root}/managed")] == [2, 3]


def test_events_are_edited(root: str, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "events-tf-1.15.5/restarts", tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        uploads.send(str(path), locate(f"{root}/run/{path.name}"))  # type: ignore[arg-type]
    for place in (root, str(tmp_path)):
        tfbundle.edit_events(f"{place}/run", f"{place}/edited", shift_steps=5)
    assert contents(f"{root}/edited") == contents(tmp_path / "edited")
    assert contents(f"{root}/edited")
    for place in (root, str(tmp_path)):
        tfbundle.edit_events(f"{place}/edited", f"{place}/edited", shift_steps=5, overwrite=True)
    assert contents(f"{root}/edited") == contents(tmp_path / "edited")


class Broken(Exception):
    pass


def test_a_writer_that_is_interrupted_sends_nothing(root: str) -> None:
    for prefix in ("old", "new"):
        tfbundle.save(f"{root}/old", TENSORS)
        before = contents(root)
        with pytest.raises(ValueError, match="was given twice"):
            tfbundle.save(f"{root}/{prefix}", [("x0", OTHERS["x0"])] * 2)
        assert contents(root) == before


@pytest.mark.parametrize("prefix", ["old", "new"])
def test_a_request_that_fails(prefix: str, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever request fails, the old checkpoint or the new one is there, whole."""
    real = {name: getattr(ObstoreObjects, name) for name in ("upload", "copy")}
    failed = 0
    for number in range(12):
        tfbundle.save(f"{root}/{number}/old", TENSORS, shards=2)
        before = contents(f"{root}/{number}")
        calls = 0

        def fail(name: str, number: int = number) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls > number:
                    raise OSError(5, "the line is broken")
                return real[name](*arguments)

            return call

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(ObstoreObjects, name, fail(name))
            try:
                tfbundle.save(f"{root}/{number}/{prefix}", OTHERS, shards=2)
                broken = False
            except OSError:
                broken = True
        failed += broken
        if not broken:
            break
        if contents(f"{root}/{number}") == before:
            continue
        assert prefix == "old"
        assert np.array_equal(tfbundle.load(f"{root}/{number}/old")["x3"], OTHERS["x3"])
    else:
        pytest.fail("every save failed")
    assert failed >= 3


def test_a_large_upload_that_fails_leaves_no_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    class Torn:
        def __init__(self) -> None:
            self.left = 3

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise Broken
            return b"x" * (16 << 20)

        def seek(self, *arguments: int) -> int:
            return 0

    location = locate(f"{bucket.url}/torn")
    with pytest.raises(OSError, match=f"{bucket.url}/torn"):
        location.objects.upload("torn", Torn())  # type: ignore[attr-defined]
    assert not bucket.list_keys("torn")
    assert bucket.uploads() == []


def test_a_large_file_is_sent_in_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # S3 requires at least 5 MiB, which is what obstore sends unless it is given a size.
    monkeypatch.setattr(obstore_objects, "_PART", 6 << 20)
    values = np.arange(4 << 20, dtype=np.float32)
    tfbundle.save(f"{bucket.url}/parts", {"x": values})
    assert bucket.parts("parts.data-00000-of-00001") == 3
    assert np.array_equal(tfbundle.load(f"{bucket.url}/parts")["x"], values)


def test_http_servers_are_read_only(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for write in (
            lambda: tfbundle.save(f"{server.url}/model", TENSORS),
            lambda: tfbundle.convert(TENSORS, f"{server.url}/a.npz"),
            lambda: tfbundle.convert(TENSORS, f"{server.url}/a.zarr"),
            lambda: train.update_checkpoint_state(server.url, f"{server.url}/model"),
        ):
            with pytest.raises(tfbundle.UnsupportedError, match="HTTP servers are read only"):
                write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced_by_a_file(root: str) -> None:
    tfbundle.save(f"{root}/a.npz/model", TENSORS)
    with pytest.raises(ValueError, match="is a folder"):
        tfbundle.convert(TENSORS, f"{root}/a.npz")
