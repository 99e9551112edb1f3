"""A server on this machine that speaks the part of Azure's Blob service that stores of models use.

The paths are those of the emulator of Azure, ``/ACCOUNT/CONTAINER/BLOB``. Answers and errors have the form of version
2021-08-06 of the service: the ETag of a listing has no quotes, ranges that are counted from the end do not exist, and
blocks appear once they are committed. Signatures are required and not verified.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.support.serving import running

ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(b"the key of an account on this machine").decode()

_VERSION = "2021-08-06"
_MESSAGES = {
    "AuthenticationFailed": (403, "Server failed to authenticate the request."),
    "BlobAlreadyExists": (409, "The specified blob already exists."),
    "BlobNotFound": (404, "The specified blob does not exist."),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "ContainerNotFound": (404, "The specified container does not exist."),
    "InvalidBlockList": (400, "The specified block list is invalid."),
    "InvalidHeaderValue": (400, "The value for one of the HTTP headers is not in the correct format."),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "ServerBusy": (503, "The server is busy."),
}


class Blob(NamedTuple):
    """A version of a blob."""

    data: bytes
    etag: str
    """Without quotes, as listings have it."""
    modified: float
    parts: int = 0
    """The number of blocks that it was committed from."""


class AzureServer(http.server.ThreadingHTTPServer):
    """``requests`` has method and path of each request, and ``misbehave`` returns whether it has answered one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.containers: dict[str, dict[str, Blob]] = {}
        self.public: set[str] = set()
        self.blocks: dict[tuple[str, str], dict[str, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.largest_page = 5000
        self.misbehave: Callable[[Any], bool] | None = None
        self.lock = threading.Lock()
        self._versions = itertools.count(0x8DC000000000000)

    @property
    def endpoint(self) -> str:
        """The URL of the account."""
        return f"http://127.0.0.1:{self.server_port}/{ACCOUNT}"

    def put(self, container: str, name: str, data: bytes, parts: int = 0) -> Blob:
        """Store a new version of a blob."""
        blob = Blob(data, f"0x{next(self._versions):X}", time.time(), parts)
        self.containers[container][name] = blob
        return blob

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about connections that a client has closed."""


class _Error(Exception):
    """An answer of the service that is an error, by its code."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: AzureServer
    protocol_version = "HTTP/1.1"
    # A head and its body are two packets, the second of which would wait for an answer to the first.
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        self.server.requests.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.misbehave is not None and self.server.misbehave(self):
            return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        account, _, rest = parts.path.removeprefix("/").partition("/")
        container, _, name = rest.partition("/")
        try:
            with self.server.lock:
                self._check_access(account, container, query)
                blobs = self.server.containers.get(container)
                if blobs is None:
                    raise _Error("ContainerNotFound")
                self._act(container, blobs, unquote(name), query, body)
        except _Error as error:
            self.send_service_error(str(error))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _check_access(self, account: str, container: str, query: dict[str, str]) -> None:
        if account != ACCOUNT:
            raise _Error("ResourceNotFound")
        signed = self.headers.get("Authorization", "")
        if not (signed.startswith((f"SharedKey {ACCOUNT}:", "Bearer ")) or "sig" in query):
            if signed:
                raise _Error("AuthenticationFailed")
            if container not in self.server.public or self.command not in ("GET", "HEAD"):
                raise _Error("ResourceNotFound")

    def _act(self, container: str, blobs: dict[str, Blob], name: str, query: dict[str, str], body: bytes) -> None:
        if query.get("restype") == "container" and query.get("comp") == "list" and self.command == "GET":
            self._list(container, blobs, query)
        elif self.command == "POST" and query.get("comp") == "batch":
            self._delete_batch(body.decode())
        elif self.command in ("GET", "HEAD"):
            self._get(_existing(blobs, name))
        elif self.command == "DELETE":
            _existing(blobs, name)
            del blobs[name]
            self._send(202)
        elif query.get("comp") == "block":
            self.server.blocks.setdefault((container, name), {})[query["blockid"]] = body
            self._send(201)
        elif self.headers.get("If-None-Match") == "*" and name in blobs:
            raise _Error("BlobAlreadyExists")
        elif query.get("comp") == "blocklist":
            self._commit(container, name, body)
        elif "x-ms-copy-source" in self.headers:
            self._copy(container, name, self.headers["x-ms-copy-source"])
        elif self.headers.get("x-ms-blob-type") == "BlockBlob":
            self._created(201, self.server.put(container, name, body))
        else:
            raise _Error("InvalidHeaderValue")

    def _get(self, blob: Blob) -> None:
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted.strip('"') != blob.etag:
            raise _Error("ConditionNotMet")
        size = len(blob.data)
        start, end = 0, size
        text = self.headers.get("x-ms-range") or self.headers.get("Range") or ""
        # A range of another form is ignored.
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
        headers = {**_facts(blob), "Accept-Ranges": "bytes", "x-ms-blob-type": "BlockBlob"}
        if ranged is not None and self.command == "GET":
            start = int(ranged[1])
            end = min(int(ranged[2] or size) + 1, size)
            if start >= size:
                self.send_service_error("InvalidRange", {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._send(206 if "Content-Range" in headers else 200, blob.data[start:end], headers)

    def _commit(self, container: str, name: str, body: bytes) -> None:
        staged = self.server.blocks.get((container, name), {})
        numbers = [item.text or "" for item in ElementTree.fromstring(body)]
        if any(number not in staged for number in numbers):
            raise _Error("InvalidBlockList")
        self.server.blocks.pop((container, name), None)
        data = b"".join(staged[number] for number in numbers)
        self._created(201, self.server.put(container, name, data, len(numbers)))

    def _copy(self, container: str, name: str, source: str) -> None:
        _, account, other, key = urlsplit(source).path.split("/", 3)
        if account != ACCOUNT or other not in self.server.containers:
            raise _Error("ResourceNotFound")
        data = _existing(self.server.containers[other], unquote(key)).data
        self._created(202, self.server.put(container, name, data), {"x-ms-copy-status": "success"})

    def _delete_batch(self, body: str) -> None:
        """Remove each blob that a part of the body names."""
        boundary = self.headers["Content-Type"].partition("boundary=")[2]
        answers = []
        for number, target in enumerate(re.findall(r"^DELETE (\S+) HTTP/1.1", body, re.MULTILINE)):
            _, account, container, name = urlsplit(target).path.split("/", 3)
            found = self.server.containers.get(container, {}).pop(unquote(name), None) if account == ACCOUNT else None
            status = "202 Accepted" if found is not None else f"404 {_MESSAGES['BlobNotFound'][1]}"
            code = "" if found is not None else "x-ms-error-code: BlobNotFound\r\n"
            answers.append(
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
                f"HTTP/1.1 {status}\r\n{code}x-ms-version: {_VERSION}\r\n\r\n"
            )
        text = f"{''.join(answers)}--{boundary}--\r\n"
        self._send(202, text.encode(), {"Content-Type": f"multipart/mixed; boundary={boundary}"})

    def _list(self, container: str, blobs: dict[str, Blob], query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = min(int(query.get("maxresults", 5000)), self.server.largest_page)
        marker = unquote(query.get("marker", ""))
        entries: dict[str, Blob | None] = {}
        for name in sorted(blobs):
            rest = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            above, found, _ = rest.partition(delimiter) if delimiter else (rest, "", "")
            entries[prefix + above + found] = None if found else blobs[name]
        names = [name for name in entries if name >= marker]
        shown = "".join(_entry(name, entries[name]) for name in names[:most])
        following = escape(names[most]) if len(names) > most else ""
        page = (
            '\ufeff<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ServiceEndpoint="{self.server.endpoint}" ContainerName="{container}">'
            f"<Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker><MaxResults>{most}</MaxResults>"
            f"<Delimiter>{delimiter}</Delimiter><Blobs>{shown}</Blobs><NextMarker>{following}</NextMarker>"
            "</EnumerationResults>"
        )
        self._send(200, page.encode(), {"Content-Type": "application/xml"})

    def _created(self, status: int, blob: Blob, headers: dict[str, str] | None = None) -> None:
        digest = base64.b64encode(hashlib.md5(blob.data, usedforsecurity=False).digest()).decode()
        self._send(status, b"", {"Content-MD5": digest, **_facts(blob), **(headers or {})})

    def send_service_error(self, code: str, headers: dict[str, str] | None = None) -> None:
        """Answer with an error of the service."""
        status, message = _MESSAGES[code]
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{error}'
        facts = {"Content-Type": "application/xml", "x-ms-error-code": code, **(headers or {})}
        self._send(status, body.encode(), facts)

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "x-ms-version": _VERSION, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def _existing(blobs: dict[str, Blob], name: str) -> Blob:
    if name not in blobs:
        raise _Error("BlobNotFound")
    return blobs[name]


def _facts(blob: Blob) -> dict[str, str]:
    return {"ETag": f'"{blob.etag}"', "Last-Modified": formatdate(blob.modified, usegmt=True)}


def _entry(name: str, blob: Blob | None) -> str:
    if blob is None:
        return f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
    modified = formatdate(blob.modified, usegmt=True)
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties><Creation-Time>{modified}</Creation-Time>"
        f"<Last-Modified>{modified}</Last-Modified><Etag>{blob.etag}</Etag>"
        f"<Content-Length>{len(blob.data)}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
        "<BlobType>BlockBlob</BlobType><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
        "</Properties><OrMetadata/></Blob>"
    )


@contextmanager
def serving_azure() -> Iterator[AzureServer]:
    """Serve an account without containers for as long as the block lasts."""
    server = AzureServer()
    with running(server):
        yield server
