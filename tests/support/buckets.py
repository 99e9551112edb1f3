"""Buckets of a server on this machine that speaks S3, and of memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest


class Bucket:
    """A bucket, its client, and the environment that leads to it."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self.client = client
        self.endpoint = endpoint
        self.url = "s3://models"

    def put(self, folder: Path, key: str) -> str:
        """Upload a folder, and return its URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{key}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket="models", Key=name, Body=path.read_bytes(), ACL="public-read")
        return f"{self.url}/{key}"

    def list_keys(self, prefix: str = "") -> list[str]:
        """Return the names of all objects below a prefix."""
        found = self.client.list_objects_v2(Bucket="models", Prefix=prefix).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def uploads(self) -> list[Any]:
        """Return the multipart uploads that are under way."""
        uploads: list[Any] = self.client.list_multipart_uploads(Bucket="models").get("Uploads", [])
        return uploads


@contextmanager
def open_bucket() -> Iterator[Bucket]:
    """Serve an empty bucket, to which the environment leads."""
    moto = pytest.importorskip("moto.server", reason="the server that speaks S3 is moto's, which is not installed")
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        names = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ENDPOINT": endpoint}
        for name, value in names.items():
            patch.setenv(f"AWS_{name}", value)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="models")
        # The store of a root is kept, and the root of every bucket here is the same.
        from tfbundle.storage import object_stores

        object_stores._open.cache_clear()
        yield Bucket(client, endpoint)
        object_stores._open.cache_clear()
    running.stop()


def memory_url() -> str:
    """Return the URL of an empty bucket in memory."""
    return f"memory://{uuid4().hex}"
