"""Containers of Azure: how their URLs are spelled, and what only this kind of store does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.azure_server import ACCOUNT, KEY
from tests.support.buckets import AzureBucket, open_bucket
from tests.support.expected import FIXTURES
from tfbundle.storage.locations import locate

pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TRAINING = FIXTURES / "tf-1.15.5/training"


@pytest.fixture
def bucket() -> Iterator[AzureBucket]:
    with open_bucket("az") as bucket:
        assert isinstance(bucket, AzureBucket)
        bucket.put(TRAINING, "run")
        yield bucket


@pytest.mark.parametrize(
    "root",
    [
        "az://{}",
        "AZ://{}",
        "azure://{}",
        "abfs://{}",
        "abfss://{}",
        f"abfs://{{}}@{ACCOUNT}.dfs.core.windows.net",
        f"abfss://{{}}@{ACCOUNT}.dfs.core.windows.net",
    ],
)
def test_spellings(root: str, bucket: AzureBucket, tmp_path: Path) -> None:
    url = root.format(bucket.name)
    wanted = tfbundle.load(TRAINING)
    for found in (tfbundle.load(f"{url}/run"), tfbundle.load(f"{url}/run/", storage_options=bucket.options)):
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert [item.step for item in tfbundle.list_checkpoints(f"{url}/run")] == [20, 30, 40]
    tfbundle.save(f"{url}/out/model", {"x": np.float32(1)})
    assert bucket.list_keys("out") == ["out/model.data-00000-of-00001", "out/model.index"]


def test_the_account_of_a_url_is_that_of_the_environment_or_an_error(bucket: AzureBucket) -> None:
    url = f"abfs://{bucket.name}@another.dfs.core.windows.net/run"
    with pytest.raises(PermissionError, match=f"access is denied.*403 Forbidden.*abfs://{bucket.name}@another"):
        tfbundle.load(url)
    with pytest.raises(
        ValueError, match=f"is in the account another, and the storage option account_name is {ACCOUNT}"
    ):
        tfbundle.load(url, storage_options=bucket.options)


@pytest.mark.parametrize("how", ["options", "environment"])
def test_the_emulator(how: str, bucket: AzureBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in bucket.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", bucket.server.endpoint.rpartition("/")[0])
    if how == "environment":
        monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    options = {"use_emulator": True} if how == "options" else None
    assert tfbundle.load(f"{bucket.url}/run", storage_options=options).keys() == tfbundle.load(TRAINING).keys()


def test_a_signed_url(bucket: AzureBucket) -> None:
    """A URL of the service itself is read like that of any HTTP server, which needs no extra."""
    bucket.server.public.clear()
    endpoint = f"{bucket.server.endpoint}/{bucket.name}"
    query = "sv=2021-08-06&sr=c&sig=a%2Fb%3D"
    wanted = tfbundle.load(TRAINING / "model.ckpt-20")
    for path in ("run/model.ckpt-20", "run/model.ckpt-20.index"):
        found = tfbundle.load(f"{endpoint}/{path}?{query}")
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert tfbundle.latest_checkpoint(f"{endpoint}/run/?{query}")
    with pytest.raises(tfbundle.MissingFileError, match="there is no checkpoint"):
        tfbundle.load(f"{endpoint}/run/model.ckpt-20")
    with pytest.raises(tfbundle.UnsupportedError, match="HTTP servers are read only"):
        tfbundle.save(f"{endpoint}/new?{query}", {"x": np.float32(1)})


def test_listings_come_in_pages(bucket: AzureBucket, tmp_path: Path) -> None:
    bucket.server.largest_page = 3
    shutil.copytree(TRAINING, tmp_path / "run")
    found = locate(f"{bucket.url}/run").list().names
    assert found == sorted(path.name for path in TRAINING.iterdir())
    assert sum("comp=list" in path for _, path in bucket.server.requests) == -(-len(found) // 3)


def test_a_wrong_account_is_an_error_with_the_url(bucket: AzureBucket) -> None:
    other = bucket.server.endpoint.replace(ACCOUNT, "other")
    options = {"account_name": "other", "account_key": KEY, "endpoint": other}
    with pytest.raises(tfbundle.MissingFileError, match=rf"{bucket.url}/run\.index .*ResourceNotFound, The specified"):
        tfbundle.load(f"{bucket.url}/run", storage_options=options)


def test_a_signature_is_in_no_message(bucket: AzureBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared access signature is sent as a query, which errors of obstore state."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    options = {"account_name": ACCOUNT, "endpoint": bucket.server.endpoint, "sas_key": "sv=2021-08-06&sig=secret"}
    assert tfbundle.load(f"{bucket.url}/run", storage_options=options)
    assert all("sig=secret" in path for _, path in bucket.server.requests)
    for url in (f"az://absent/{TRAINING.name}", f"{bucket.url}/run/absent"):
        with pytest.raises((OSError, tfbundle.MissingFileError)) as raised:
            tfbundle.load(url, storage_options=options)
        assert "secret" not in str(raised.value)
