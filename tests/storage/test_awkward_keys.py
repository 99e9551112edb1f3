"""Keys that obstore refuses, markers of folders, listings that are torn, and URLs without a bucket."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, AzureBucket, Bucket, memory_url, open_bucket
from tests.support.command import outcome
from tfbundle.storage import obstore_objects
from tfbundle.storage.locations import locate

obstore = pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TENSORS = {"x": np.arange(5, dtype=np.float32)}
BAD = ["run//x", "run/./x", "run/../x", "run/a\x01b"]


@pytest.fixture(scope="module", params=KINDS)
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    with open_bucket(request.param) as bucket:
        yield bucket


@pytest.mark.parametrize("key", BAD)
def test_a_folder_with_a_key_that_obstore_refuses(key: str, bucket: Bucket) -> None:
    """The error names the key, and what is named directly can be read."""
    if "\x01" in key and bucket.kind == "az":
        pytest.skip("Azure has no names with control characters")
    folder = f"bad{BAD.index(key)}"
    tfbundle.save(f"{bucket.url}/{folder}/run/model", TENSORS)
    bucket.put_bytes(f"{folder}/{key}", b"data")
    url = f"{bucket.url}/{folder}/run"
    assert np.array_equal(tfbundle.load(f"{url}/model")["x"], TENSORS["x"])
    assert locate(f"{url}/model.index").is_file()
    assert not locate(f"{url}/absent").is_file()
    assert locate(url).is_folder()
    assert locate(f"{bucket.url}/{folder}").list().names == ["run"]
    shown = f"{folder}/{key[:5]}"
    with pytest.raises(
        OSError, match=f"cannot be listed, because obstore does not accept the key .{shown}.*in it"
    ) as e:
        tfbundle.list_checkpoints(url)
    assert e.value.filename == url
    status, _, error = outcome("ls", url)
    assert (status != 0, "cannot be listed" in error, "Encountered" in error) == (True, True, False)
    with pytest.raises(OSError, match="cannot be listed"):
        tfbundle.save(f"{url}/other", TENSORS)


def test_keys_that_begin_with_a_slash_are_left_aside() -> None:
    with open_bucket("s3") as bucket:
        bucket.put_bytes("/above/x", b"1")
        tfbundle.save(f"{bucket.url}/run/model", TENSORS)
        assert locate(bucket.url).list().names == ["run"]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("a//b", "an empty segment"),
        ("/a", "an empty segment"),
        ("a/./b", r'a segment "\."'),
        ("a/../b", r'a segment "\.\."'),
        ("a/..", r'a segment "\.\."'),
        ("a/b\nc", "a control character"),
        ("a/b\x7f", "a control character"),
        ("a/\udcff", "bytes that are not UTF-8"),
    ],
)
@pytest.mark.parametrize("scheme", ["s3", "memory"])
def test_paths_that_obstore_refuses(scheme: str, path: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is made for them: the endpoint does not exist."""
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    url = f"{scheme}://bucket/{path}"
    for use in (lambda: tfbundle.load(url), lambda: tfbundle.save(url, TENSORS), lambda: locate(url)):
        with pytest.raises(ValueError, match=f"has {fault}"):
            use()


def test_names_in_files_are_read_as_a_file_system_reads_them() -> None:
    url = memory_url()
    tfbundle.save(f"{url}/run/model", TENSORS)
    run = locate(f"{url}/run/")
    for name in ("./model.index", ".//model.index", "../run/model.index", "sub/..//model.index"):
        assert run.join(name).is_file(), name
    for name in ("mo\x01del.index", "model.index\udcff"):
        assert not run.join(name).is_file()
        assert not run.join(name).is_folder()
        with pytest.raises(tfbundle.MissingFileError):
            run.join(name).open()


@pytest.mark.parametrize("marker", ["marked/", "marked", "deep/er/"])
def test_a_checkpoint_is_saved_below_a_marker(marker: str, bucket: Bucket) -> None:
    bucket.put_bytes(marker, b"")
    url = f"{bucket.url}/{marker.rstrip('/')}"
    if marker.endswith("/"):
        assert locate(url).is_folder()
        assert not locate(url).is_file()
        assert locate(url).list().names == []
        assert locate(f"{url}/").list().names == []
        assert tfbundle.list_checkpoints(url) == []
    tfbundle.save(f"{url}/model", TENSORS)
    assert np.array_equal(tfbundle.load(f"{url}/model")["x"], TENSORS["x"])
    assert [item.prefix for item in tfbundle.list_checkpoints(url)] == [f"{url}/model"]
    assert locate(url).is_folder()


def test_nothing_is_saved_below_a_file(bucket: Bucket) -> None:
    bucket.put_bytes("file", b"x")
    with pytest.raises(FileExistsError, match="it is a file"):
        tfbundle.save(f"{bucket.url}/file/model", TENSORS)
    assert bucket.list_keys("file") == ["file"]


def _torn(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b"<?xml")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.mark.parametrize("failures", [1, 4, 5])
def test_a_listing_that_is_torn_is_tried_again(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstore_objects, "FIRST_WAIT", 0.001)
    left = failures

    def misbehave(handler: Any) -> bool:
        nonlocal left
        if "comp=list" not in handler.path or not left:
            return False
        left -= 1
        _torn(handler)
        return True

    with open_bucket("az") as bucket:
        assert isinstance(bucket, AzureBucket)
        tfbundle.save(f"{bucket.url}/run/model", TENSORS)
        bucket.server.misbehave = misbehave
        if failures < 5:
            assert [item.prefix for item in tfbundle.list_checkpoints(f"{bucket.url}/run")] == [
                f"{bucket.url}/run/model"
            ]
        else:
            with pytest.raises(OSError, match="list response body") as raised:
                locate(f"{bucket.url}/run").list()
            assert raised.value.filename == f"{bucket.url}/run"
    assert left == 0


@pytest.mark.parametrize("url", ["s3://", "s3:///key", "gs://", "az:///x", "abfs://@account.dfs.core.windows.net/x"])
def test_a_url_without_a_bucket(url: str) -> None:
    for use in (lambda: tfbundle.load(url), lambda: tfbundle.save(f"{url}/x", TENSORS)):
        with pytest.raises(ValueError, match=r"does not name a bucket; write .*://BUCKET/KEY"):
            use()
    status, _, error = outcome("ls", url)
    assert (status != 0, "does not name a bucket" in error) == (True, True)


@pytest.mark.parametrize(("status", "is_retried"), [(408, True), (425, False), (429, True), (503, True), (507, True)])
def test_statuses_that_are_tried_again(status: int, is_retried: bool) -> None:
    """Each kind of request is answered once with the status."""
    with open_bucket("az") as bucket:
        assert isinstance(bucket, AzureBucket)
        bucket.put_bytes("run/x", b"data")
        quickly = {"backoff": {"init_backoff": timedelta(milliseconds=1)}}
        location = locate(f"{bucket.url}/run", {**bucket.options, "retry_config": quickly})
        objects = location.objects  # type: ignore[attr-defined]
        for use in (
            lambda: objects.list("run"),
            lambda: objects.read("run/x", 0, 2, None),
            lambda: objects.facts("run/x"),
            lambda: objects.upload("run/y", io.BytesIO(b"y")),
            lambda: objects.delete("run/y"),
        ):
            answered: list[str] = []

            def misbehave(handler: Any, answered: list[str] = answered) -> bool:
                answered.append(handler.command)
                if len(answered) == 1:
                    handler._send(status)
                return len(answered) == 1

            bucket.server.misbehave = misbehave
            if is_retried:
                use()
                assert len(answered) == 2
            else:
                with pytest.raises(OSError, match=str(status)):
                    use()
                assert len(answered) == 1
