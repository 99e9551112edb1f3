"""An HTTP server of a folder on this machine, which sends ranges, counts requests, and misbehaves on request."""

from __future__ import annotations

import http.server
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.serving import running

Misbehaviour = Callable[["Handler", str, int, int], bool]


class Server(http.server.ThreadingHTTPServer):
    """``requests`` has method, path and range of each request, ``headers`` has all of its headers, and ``sent`` counts
    the bytes of bodies.
    """

    daemon_threads = True

    def __init__(self, root: Path, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.is_secure = context is not None
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.requests: list[tuple[str, str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.sent = 0
        self.misbehave: Misbehaviour | None = None
        self.with_etags = True

    @property
    def url(self) -> str:
        host = "https://localhost" if self.is_secure else "http://127.0.0.1"
        return f"{host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about connections that a client has closed."""

    def etag(self, path: Path) -> str:
        facts = path.stat()
        return f'"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"'


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # A head and its body are two packets, the second of which would wait for an answer to the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.command, self.path, self.headers.get("Range")))
        server.headers.append(dict(self.headers))
        path = server.root / unquote(self.path.partition("?")[0]).lstrip("/")
        if not path.is_file():
            self._head(404, 0)
            return
        etag = server.etag(path)
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != etag:
            self._head(412, 0)
            return
        size = path.stat().st_size
        headers = {"Last-Modified": self.date_time_string(int(path.stat().st_mtime)), "Accept-Ranges": "bytes"}
        if server.with_etags:
            headers["ETag"] = etag
        ranged = re.fullmatch(r"bytes=(\d*)-(\d+)", self.headers.get("Range") or "")
        start, end = 0, size
        if ranged is not None:
            start = int(ranged[1]) if ranged[1] else max(0, size - int(ranged[2]))
            end = min(int(ranged[2]) + 1, size) if ranged[1] else size
            if start >= size:
                self._head(416, 0, {"Content-Range": f"bytes */{size}", **headers})
                return
        if server.misbehave is not None and server.misbehave(self, path.name, start, end):
            return
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(206 if ranged else 200, end - start, headers)
        server.sent += end - start
        with path.open("rb") as file:
            file.seek(start)
            while start < end and (data := file.read(min(1 << 20, end - start))):
                self.wfile.write(data)
                start += len(data)

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def serving(root: Path, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve the files below a folder for as long as the block lasts; with ``context`` by TLS."""
    server = Server(root, context)
    with running(server):
        yield server
