"""An HTTP server of a folder on this machine, which sends ranges, counts requests, and misbehaves on request."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Misbehaviour = Callable[["Handler", str, int, int], bool]


class Server(http.server.ThreadingHTTPServer):
    """``requests`` has method, path and range of each request, and ``sent`` counts the bytes of bodies."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.requests: list[tuple[str, str, str | None]] = []
        self.sent = 0
        self.misbehave: Misbehaviour | None = None
        self.with_etags = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def etag(self, path: Path) -> str:
        facts = path.stat()
        return f'"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"'


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        server = self.server
        server.requests.append((self.command, self.path, self.headers.get("Range")))
        path = server.root / unquote(self.path).lstrip("/")
        if not path.is_file():
            self._head(404, 0)
            return
        etag = server.etag(path)
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != etag:
            self._head(412, 0)
            return
        data = path.read_bytes()
        size = len(data)
        headers = {"Last-Modified": self.date_time_string(int(path.stat().st_mtime)), "Accept-Ranges": "bytes"}
        if server.with_etags:
            headers["ETag"] = etag
        ranged = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        start, end = (int(ranged[1]), min(int(ranged[2]) + 1, size)) if ranged else (0, size)
        if server.misbehave is not None and server.misbehave(self, path.name, start, end):
            return
        if ranged:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(206 if ranged else 200, end - start, headers)
        if with_body:
            server.sent += end - start
            self.wfile.write(data[start:end])

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """Serve the files below a folder for as long as the block lasts."""
    server = Server(root)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
