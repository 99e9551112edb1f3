"""Redirects that a store answers with, which obstore follows: what the other server gets to see."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.storage.test_http import make_certificate, redirect_to
from tests.support.azure_server import ACCOUNT, KEY
from tests.support.http_server import Server, serving
from tfbundle.storage.locations import locate
from tfbundle.storage.remote_folders import RemoteLocation

pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

SECRETS: list[tuple[str, dict[str, Any]]] = [
    ("s3", {"endpoint": "{}", "access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}),
    ("gs", {"base_url": "{}", "bearer_token": "secret"}),
    ("az", {"endpoint": "{}", "account_name": ACCOUNT, "account_key": KEY}),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "served" / "bucket").mkdir(parents=True)
    (tmp_path / "served" / "bucket" / "model.index").write_bytes(b"0123456789")
    return tmp_path / "served"


@pytest.fixture
def servers(root: Path) -> Iterator[tuple[Server, Server]]:
    with serving(root) as server, serving(root) as other:
        yield server, other


def place(kind: str, options: dict[str, Any], server: Server, **client: Any) -> RemoteLocation:
    filled = {name: str(value).replace("{}", server.url) for name, value in options.items()}
    location = locate(f"{kind}://bucket/model.index", {**filled, **({"client_options": client} if client else {})})
    assert isinstance(location, RemoteLocation)
    return location


@pytest.mark.parametrize(("kind", "options"), SECRETS)
def test_another_server_gets_no_credentials(kind: str, options: dict[str, Any], servers: tuple[Server, Server]) -> None:
    server, other = servers
    server.misbehave = redirect_to(other.url)
    location = place(kind, options, server)
    assert bytes(location.objects.read(location.key, 2, 5, None).data) == b"234"
    assert all("authorization" in {name.lower() for name in headers} for headers in server.headers)
    assert len(other.headers) == 1
    assert "authorization" not in {name.lower() for name in other.headers[0]}
    assert KEY not in str(other.headers)
    assert "secret" not in str(other.headers)


@pytest.mark.parametrize(("kind", "options"), SECRETS)
def test_a_redirect_from_https_to_http_is_refused(
    kind: str, options: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(root, context) as secure, serving(root) as other:
        location = place(kind, options, secure, allow_invalid_certificates=True)
        assert bytes(location.objects.read(location.key, 2, 5, None).data) == b"234"
        secure.misbehave = redirect_to(other.url)
        with pytest.raises(OSError, match=location.path):
            location.objects.read(location.key, 2, 5, None)
        assert other.requests == []
