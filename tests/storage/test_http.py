"""HTTP servers that misbehave: each request is repeated, or an error has the URL, and no byte is ever wrong."""

from __future__ import annotations

import errno
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tests.support.http_server import Handler, Server, serving
from tfbundle.storage import http_answers, http_objects
from tfbundle.storage.addresses import is_public
from tfbundle.storage.http_objects import HttpObjects
from tfbundle.storage.locations import locate

TRAINING = "tf-1.15.5/training"
PREFIX = f"{TRAINING}/model.ckpt-20"
DATA = f"{PREFIX}.data-00000-of-00001"
SIZE = (FIXTURES / DATA).stat().st_size


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_objects, "FIRST_WAIT", 0.001)
    shutil.copytree(FIXTURES / TRAINING, tmp_path / TRAINING)
    with serving(tmp_path) as server:
        yield server


def loads_right(url: str) -> bool:
    found, wanted = tfbundle.load(url), tfbundle.load(FIXTURES / PREFIX)
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def answer(status: int, **facts: str) -> Callable[[Handler, str, int, int], bool]:
    def misbehave(handler: Handler, name: str, start: int, end: int) -> bool:
        if "data-" not in name:
            return False
        body = facts.get("body", "").encode()
        length = int(facts.get("Content_Length", len(body)))
        headers = {
            key.replace("_", "-"): value for key, value in facts.items() if key not in ("body", "Content_Length")
        }
        handler._head(status, length, headers)
        handler.wfile.write(body)
        handler.close_connection = True
        return True

    return misbehave


def reset(handler: Handler, name: str, start: int, end: int) -> bool:
    if "data-" not in name:
        return False
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def sends(first: int = 0, last: int = 0, total: int = 0, **headers: str) -> Callable[[Handler, str, int, int], bool]:
    """Answer with a range that differs from the right one by so many bytes."""

    def misbehave(handler: Handler, name: str, start: int, end: int) -> bool:
        if "data-" not in name:
            return False
        data = (FIXTURES / DATA).read_bytes()[start + first : end + last]
        stated = f"bytes {start + first}-{end + last - 1}/{SIZE + total}"
        handler._head(206, len(data), {"Content-Range": stated, **headers})
        handler.wfile.write(data)
        return True

    return misbehave


@pytest.mark.parametrize(
    "misbehave",
    [
        reset,
        answer(206, Content_Range=f"bytes 0-9/{SIZE}", body="1234", Content_Length="10"),
        answer(206, body="1234567890"),
        answer(206, Content_Range="bytes 0-9/*", body="1234567890"),
        answer(206, Content_Range="bytes nonsense", body="1234567890"),
        answer(206, Content_Range=f"bytes 0-9/{10**30}", body="1234567890"),
        answer(206, Content_Type="multipart/byteranges; boundary=x", body="--x--"),
        answer(200, Content_Encoding="gzip", body="\x1f\x8b"),
        answer(200, Transfer_Encoding="chunked", body="zz\r\n"),
        answer(204),
        answer(304),
        answer(400),
        answer(401),
        answer(403),
        answer(404),
        answer(412),
        answer(416),
        answer(416, Content_Range="bytes */3"),
        answer(429),
        answer(500),
        answer(503),
        answer(302),
        answer(302, Location="ftp://127.0.0.1/x"),
        answer(302, Location="http://[broken/x"),
        answer(302, Location="file:///etc/passwd"),
        answer(301, Location=f"/{DATA}"),
        sends(first=1),
        sends(last=-1),
        sends(total=5, first=2),
    ],
)
def test_an_answer_that_is_not_right(misbehave: Any, server: Server) -> None:
    server.misbehave = misbehave
    started = time.monotonic()
    with pytest.raises((OSError, tfbundle.TfBundleError), match=server.url):
        tfbundle.load(f"{server.url}/{PREFIX}")
    assert time.monotonic() - started < 5
    assert len(server.requests) < 20


@pytest.mark.parametrize("misbehave", [answer(503), answer(429), answer(500), answer(408), reset, sends(last=-1)])
def test_an_error_that_passes_is_tried_again(misbehave: Any, server: Server) -> None:
    tries = []

    def sometimes(handler: Handler, name: str, start: int, end: int) -> bool:
        tries.append(name)
        return bool(len(tries) % 2) and bool(misbehave(handler, name, start, end))

    server.misbehave = sometimes
    assert loads_right(f"{server.url}/{PREFIX}")
    assert len(tries) > len(set(tries))


def test_an_answer_of_another_version(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size and the ETag of each answer are those of the first one, or what was read is dropped."""
    values = np.arange(8 << 20, dtype=np.float32)
    tfbundle.save(server.root / "large", {"x": values})
    monkeypatch.setattr(Server, "etag", lambda self, path: '"first"')
    for changed in ({"ETag": '"other"'}, {"ETag": 'W/"other"'}, {"total": 8}):
        numbers = count()  # Requests come at the same time, and exactly one of them is the first.

        def later(
            handler: Handler, name: str, start: int, end: int, changed: Any = changed, numbers: Any = numbers
        ) -> bool:
            if "data-" not in name:
                return False
            data = (server.root / name).read_bytes()
            headers = {"ETag": '"first"', **(changed if next(numbers) else {})}
            total = len(data) + int(headers.pop("total", 0))
            handler._head(206, end - start, {"Content-Range": f"bytes {start}-{end - 1}/{total}", **headers})
            handler.wfile.write(data[start:end])
            return True

        server.misbehave = later
        with pytest.raises(tfbundle.FormatError, match="was overwritten"):
            tfbundle.load(f"{server.url}/large")
        assert next(numbers) > 1


@pytest.mark.parametrize("etag", ['W/"weak"', "", None])
def test_weak_and_missing_etags(etag: str | None, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "etag", lambda self, path: etag)
    server.with_etags = etag is not None
    assert loads_right(f"{server.url}/{PREFIX}")
    assert not any("If-Match" in headers for headers in server.headers)


def whole(handler: Handler, name: str, start: int, end: int) -> bool:
    data = next(handler.server.root.rglob(name)).read_bytes()
    handler._head(200, len(data))
    handler.wfile.write(data)
    return True


def test_a_server_without_ranges(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are taken whole, and large ones refused before their bytes arrive."""
    server.misbehave = whole
    assert loads_right(f"{server.url}/{PREFIX}")
    assert loads_right(f"{server.url}/{PREFIX}.index")
    monkeypatch.setattr(http_answers, "_MOST_WHOLE", SIZE - 1)
    with pytest.raises(tfbundle.UnsupportedError, match=rf"sends the whole file, of {SIZE} bytes.*download"):
        tfbundle.load(f"{server.url}/{PREFIX}")


@pytest.mark.parametrize("status", [200, 400, 416, 500, 501])
@pytest.mark.parametrize("size", [1000, 200 << 10])
def test_a_server_without_ranges_from_the_end(size: int, status: int, server: Server) -> None:
    """Azure has none: the size is requested, and the body of an answer with the whole file is not read."""
    wanted = np.random.default_rng(1).bytes(size)
    (server.root / "blob").write_bytes(wanted)

    def misbehave(handler: Handler, name: str, start: int, end: int) -> bool:
        if not (handler.headers.get("Range") or "").startswith("bytes=-"):
            return False
        handler._head(status, size if status == 200 else 0)
        if status == 200:
            handler.wfile.write(wanted)
        handler.close_connection = True
        return True

    server.misbehave = misbehave
    facts = HttpObjects(server.url).read_tail("blob", 64 << 10)
    assert (facts.facts.size, bytes(facts.data)) == (size, wanted[facts.start :])
    asked = [span for _, _, span in server.requests]
    if status == 200 and size == 1000:
        assert asked == ["bytes=-65536"]
    else:
        assert asked == ["bytes=-65536", "bytes=0-0", f"bytes={max(0, size - 65536)}-{size - 1}"]
        assert server.sent <= 1 + min(size, 65536)


def test_an_empty_file(server: Server) -> None:
    (server.root / "empty").write_bytes(b"")
    source = locate(f"{server.url}/empty").open()
    assert (source.size, source.read_at(0, 0)) == (0, b"")


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_server_that_sends_a_byte_now_and_then(part: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_objects, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(http_objects, "SLOWEST_RATE", 1e9)
    monkeypatch.setattr(http_objects, "MOST_TRIES", 2)

    def drip(handler: Handler, name: str, start: int, end: int) -> bool:
        if "data-" not in name:
            return False
        if part == "body":
            handler._head(206, end - start, {"Content-Range": f"bytes {start}-{end - 1}/{SIZE}"})
        for _ in range(20):
            handler.wfile.write(b"x")
            time.sleep(0.15)
        handler.close_connection = True
        return True

    server.misbehave = drip
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"not complete after .* \(2 attempts\)"):
        tfbundle.load(f"{server.url}/{PREFIX}")
    assert time.monotonic() - started < 4


def test_a_server_that_is_silent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_objects, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(http_objects, "MOST_TRIES", 2)

    def sleep(handler: Handler, name: str, start: int, end: int) -> bool:
        time.sleep(0.5)
        handler.close_connection = True
        return True

    server.misbehave = sleep
    with pytest.raises(TimeoutError, match=r"timed out \(2 attempts\)"):
        tfbundle.load(f"{server.url}/{PREFIX}")


# Where requests go.


def redirect_to(place: str) -> Callable[[Handler, str, int, int], bool]:
    def misbehave(handler: Handler, name: str, start: int, end: int) -> bool:
        handler._head(302, 0, {"Location": f"{place}{handler.path}"})
        return True

    return misbehave


def test_a_redirect_to_another_host_has_no_credentials(server: Server) -> None:
    with serving(server.root) as other:
        server.misbehave = redirect_to(other.url)
        location = server.url.replace("http://", "http://user:secret@")
        assert loads_right(f"{location}/{PREFIX}")
        assert all(headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ=" for headers in server.headers)
        assert other.headers
        assert not any("Authorization" in headers for headers in other.headers)


def test_a_redirect_on_the_same_host_keeps_them(server: Server) -> None:
    def moved(handler: Handler, name: str, start: int, end: int) -> bool:
        if handler.path.startswith("/moved/"):
            return False
        handler._head(307, 0, {"Location": f"/moved{handler.path}"})
        return True

    (server.root / "moved").symlink_to(server.root)
    server.misbehave = moved
    location = server.url.replace("http://", "http://user:secret@")
    assert loads_right(f"{location}/{PREFIX}")
    assert all("Authorization" in headers for headers in server.headers)


def test_a_password_is_in_no_message(server: Server) -> None:
    location = server.url.replace("http://", "http://user:secret@")
    with pytest.raises(tfbundle.MissingFileError, match=f"there is no checkpoint {server.url}/absent") as raised:
        tfbundle.load(f"{location}/absent")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(("is_public", "is_refused"), [(True, True), (False, False)])
def test_redirects_from_a_public_address_to_a_private_one_are_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, is_public: bool, is_refused: bool
) -> None:
    """Public hosts are redirected to public ones only, private ones anywhere."""
    with serving(server.root) as other:
        addresses = {server.url: is_public, other.url: False}
        _state_addresses(monkeypatch, addresses)
        server.misbehave = redirect_to(other.url)
        if is_refused:
            with pytest.raises(OSError, match=r"redirects to 127\.0\.0\.1, an address in a private network") as raised:
                tfbundle.load(f"{server.url}/{PREFIX}")
            assert raised.value.errno == errno.EACCES
            assert len(server.requests) == 1
            assert other.requests == []
            addresses[other.url] = True
        assert loads_right(f"{server.url}/{PREFIX}")
        assert other.requests


def test_a_private_host_behind_a_public_one_is_refused_wherever_the_chain_began(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(server.root) as public, serving(server.root) as private:
        _state_addresses(monkeypatch, {server.url: False, public.url: True, private.url: False})
        server.misbehave = redirect_to(public.url)
        public.misbehave = redirect_to(private.url)
        with pytest.raises(OSError, match="an address in a private network, which is refused"):
            tfbundle.load(f"{server.url}/{PREFIX}")
        assert private.requests == []


def _state_addresses(monkeypatch: pytest.MonkeyPatch, public: dict[str, bool]) -> None:
    """Let servers of this machine have public addresses or private ones, by URL."""
    connect = http_objects._Connection.connect

    def connect_as_stated(connection: http_objects._Connection) -> None:
        connect(connection)
        connection.is_public = public[f"http://{connection.to.authority}"]

    monkeypatch.setattr(http_objects._Connection, "connect", connect_as_stated)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("172.15.255.255", True),
        ("172.16.0.0", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("169.253.255.255", True),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("2606:4700::1111", True),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("localhost", False),
        ("example.com", True),
    ],
)
def test_addresses_are_public_or_private(address: str, expected: bool) -> None:
    assert is_public(address) is expected


def test_redirects_from_https_to_http_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    http_objects._trust.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    try:
        with serving(server.root, context) as secure:
            assert secure.url.startswith("https://localhost:")
            assert loads_right(f"{secure.url}/{PREFIX}")
            secure.misbehave = redirect_to(server.url)
            with pytest.raises(OSError, match="redirects from https to http, which is refused"):
                tfbundle.load(f"{secure.url}/{PREFIX}")
            assert server.requests == []
            server.misbehave = redirect_to(secure.url)
            secure.misbehave = None
            assert loads_right(f"{server.url}/{PREFIX}")  # The other way is fine.
            monkeypatch.delenv("SSL_CERT_FILE")
            http_objects._trust.cache_clear()
            with pytest.raises(OSError, match=r"CERTIFICATE_VERIFY_FAILED.*certificate"):
                tfbundle.load(f"{secure.url}/{TRAINING}/model.ckpt-30")
    finally:
        http_objects._trust.cache_clear()


def make_certificate(folder: Path) -> Path:
    pytest.importorskip("cryptography")
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_a_signed_url(server: Server) -> None:
    """The query goes along to the files of the same checkpoint, and into no message."""
    query = "sig=a%2Fb&expires=1"
    for path in (PREFIX, f"{PREFIX}.index"):
        server.requests.clear()
        assert loads_right(f"{server.url}/{path}?{query}")
        assert all(path.endswith(f"?{query}") for _, path, _ in server.requests)
    with pytest.raises(tfbundle.MissingFileError) as raised:
        tfbundle.load(f"{server.url}/absent?{query}")
    assert "sig=" not in str(raised.value)


def test_names_are_escaped(server: Server) -> None:
    shutil.copytree(server.root / TRAINING, server.root / "a b%20c" / "d?e#f")
    assert loads_right(f"{server.url}/a%20b%2520c/d%3Fe%23f/model.ckpt-20")
    location = locate(f"{server.url}/a%20b%2520c/d%3Fe%23f/model.ckpt-20.index")
    assert location.name == "model.ckpt-20.index"
    assert locate(str(location)).is_file()
    with pytest.raises(tfbundle.UnsupportedError, match='has a fragment; write "#" in a name as %23'):
        tfbundle.load(f"{server.url}/model#1")
