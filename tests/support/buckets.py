"""Buckets of memory, and of servers on this machine that speak S3, the XML interface of Google, and that of Azure."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.azure_server import ACCOUNT, KEY, AzureServer, serving_azure
from tests.support.serving import running

KINDS = ["s3", "gs", "az"]


class Bucket(ABC):
    """A bucket, with the storage options and the environment that lead to it."""

    def __init__(self, kind: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        # All servers of moto in a process have the same buckets.
        self.name = f"models{uuid4().hex[:8]}"
        self.kind = kind
        self.options = dict(options)
        self.environment = dict(environment)

    @property
    def url(self) -> str:
        return f"{self.kind}://{self.name}"

    def put(self, folder: Path, key: str) -> str:
        """Upload a folder, and return its URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put_bytes(f"{key}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{self.url}/{key}"

    @abstractmethod
    def put_bytes(self, key: str, data: bytes) -> None:
        """Store an object that everybody may read."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object."""

    @abstractmethod
    def modified(self, key: str) -> float:
        """Return the time of change of an object, in seconds since 1970."""

    @abstractmethod
    def list_keys(self, prefix: str = "") -> list[str]:
        """Return the names of all objects below a prefix."""

    @abstractmethod
    def parts(self, key: str) -> int:
        """Return the number of parts that an object was sent in, or 0 if it was sent as a whole."""

    @abstractmethod
    def uploads(self) -> list[Any]:
        """Return the objects of which parts have arrived, and which cannot be seen yet."""


class _MotoBucket(Bucket):
    """A bucket of moto, which speaks S3."""

    def __init__(self, client: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.client = client
        client.create_bucket(Bucket=self.name)

    def put_bytes(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data, ACL="public-read")

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def modified(self, key: str) -> float:
        time: float = self.client.head_object(Bucket=self.name, Key=key)["LastModified"].timestamp()
        return time

    def list_keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def parts(self, key: str) -> int:
        # S3 states the number in the ETag.
        e_tag: str = self.client.head_object(Bucket=self.name, Key=key)["ETag"]
        return int(e_tag.strip('"').partition("-")[2] or 0)

    def uploads(self) -> list[Any]:
        uploads: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return uploads


class AzureBucket(Bucket):
    """A container of an account."""

    def __init__(self, server: AzureServer, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.server = server
        self._blobs = server.containers.setdefault(self.name, {})
        server.public.add(self.name)

    def put_bytes(self, key: str, data: bytes) -> None:
        self.server.put(self.name, key, data)

    def delete(self, key: str) -> None:
        del self._blobs[key]

    def modified(self, key: str) -> float:
        return int(self._blobs[key].modified)

    def list_keys(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._blobs if name.startswith(prefix))

    def parts(self, key: str) -> int:
        return self._blobs[key].parts

    def uploads(self) -> list[Any]:
        return [name for container, name in self.server.blocks if container == self.name]


@contextmanager
def open_bucket(kind: str = "s3") -> Iterator[Bucket]:
    """Serve an empty bucket of a kind of store, to which the environment leads."""
    serving = _serving_azure_bucket() if kind == "az" else _serving_moto_bucket(kind)
    with serving as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        yield bucket


@contextmanager
def _serving_azure_bucket() -> Iterator[Bucket]:
    with serving_azure() as server:
        options = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": server.endpoint}
        environment = {f"AZURE_STORAGE_{name.upper()}": value for name, value in options.items()}
        yield AzureBucket(server, "az", options, environment)


@contextmanager
def _serving_moto_bucket(kind: str) -> Iterator[Bucket]:
    """Serve a bucket of moto.

    No server on PyPI has the XML interface of Google Cloud Storage, which is that of S3 but for its headers. Those of
    requests that differ are translated, and requests are not authenticated.
    """
    moto = pytest.importorskip("moto.moto_server.werkzeug_app", reason="the server is moto's, which is not installed")
    import boto3
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        disable_nagle_algorithm = True

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    answer = moto.create_backend_app("s3")

    def translated(request: dict[str, Any], start: Any) -> Any:
        if "HTTP_X_GOOG_COPY_SOURCE" in request:
            request["HTTP_X_AMZ_COPY_SOURCE"] = request["HTTP_X_GOOG_COPY_SOURCE"]
        return answer(request, start)

    server = make_server("127.0.0.1", 0, translated, threaded=True, request_handler=Handler)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    access = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1", "endpoint": endpoint}
    names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **names)
    with running(server):
        if kind == "s3":
            yield _MotoBucket(client, kind, access, {f"AWS_{name.upper()}": value for name, value in access.items()})
        else:
            access = {"bearer_token": "token", "base_url": endpoint}
            yield _MotoBucket(client, kind, access, {f"GOOGLE_{name.upper()}": value for name, value in access.items()})


def memory_url() -> str:
    """Return the URL of an empty bucket in memory."""
    return f"memory://{uuid4().hex}"
