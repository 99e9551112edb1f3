"""Files of an HTTP server, read by ranges with the standard library.

A request is repeated if the connection fails, the answer ends early, or the status is one that may pass (408, 429,
5xx). Each has a time limit that grows with its bytes, so that no server is waited for endlessly that sends a byte now
and then. A redirect is followed unless it leads from https to another scheme, or from a public address to another host
with a private one; the caller's credentials go to the caller's host only. The query of a signed URL is sent with each
request to that host, and shown in no message.
"""

from __future__ import annotations

import base64
import errno
import http.client
import itertools
import os
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from tfbundle.errors import AddressError, MissingFileError, UnsupportedError
from tfbundle.storage.addresses import is_public
from tfbundle.storage.http_answers import BrokenAnswer, FinalError, NoSuffixRangeError, Span, read_answer
from tfbundle.storage.objects import Answer, ObjectFacts, Objects
from tfbundle.storage.watch import Watch

MOST_TRIES = 5
CONNECT_SECONDS = 10.0
# Between two packets; and for a whole request, to which a second is added for so many bytes.
SILENT_SECONDS = 30.0
REQUEST_SECONDS = 60.0
SLOWEST_RATE = 50_000
# No try begins later than this after the first one.
RETRY_SECONDS = 60.0
FIRST_WAIT = 0.1

_MOST_REDIRECTS = 5
_MOST_IDLE = 8
_ESCAPED = "/%:@!$&'()*+,;=~?"
_REDIRECTS = (301, 302, 303, 307, 308)
# What a request to another host than the caller's carries.
_PUBLIC = frozenset({"accept-encoding", "user-agent", "range", "if-match"})


class _Host(NamedTuple):
    """Where a request goes: scheme, name of the host without brackets, and port."""

    scheme: str
    name: str
    port: int

    @property
    def authority(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == (443 if self.scheme == "https" else 80) else f"{name}:{self.port}"


class HttpObjects(Objects):
    """The files of one HTTP server."""

    can_list = False

    def __init__(self, root: str, query: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send requests to the server of ``root``, each with ``query`` and ``headers``; nothing is sent yet.

        Raises ``ValueError`` for a URL without a host, or with a port that is not a number.
        """
        parts = urlsplit(root)
        self._host = _host_of(root)
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "tfbundle", **(headers or {})}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers.setdefault("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        # Messages must not show a password.
        self.root = f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2]}"
        self._given = root, query, headers
        self._query = query
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return HttpObjects, self._given

    def url(self, key: str) -> str:
        """Return the URL of a file, without a password or a query."""
        return f"{self.root}/{_quoted(key)}" if key else self.root

    def read(self, key: str, start: int, end: int, e_tag: str | None, into: Sequence[memoryview] = ()) -> Answer:
        """Return a part of a file; see ``Objects.read``."""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        # A weak ETag matches nothing in a condition (RFC 9110, 13.1.1); the caller compares the answer's.
        if e_tag is not None and not e_tag.startswith("W/"):
            headers["If-Match"] = e_tag
        return self._get(key, headers, (start, end), into)

    def read_tail(self, key: str, size: int) -> Answer:
        """Return the end of a file; see ``Objects.read_tail``."""
        try:
            return self._get(key, {"Range": f"bytes=-{size}"}, (None, size))
        except NoSuffixRangeError:
            facts = self._get(key, {"Range": "bytes=0-0"}, None).facts
        if not facts.size:
            return Answer(facts, 0, memoryview(b""))
        try:
            return self.read(key, max(0, facts.size - size), facts.size, facts.e_tag)
        except UnsupportedError:  # A large file of a server without ranges: a read of its bytes will raise the error.
            return Answer(facts, 0, memoryview(b""))

    def facts(self, key: str) -> ObjectFacts | None:
        """Return the facts of a file, or ``None`` if the server has none of this name."""
        # A signed URL holds for GET only, so that no HEAD is sent.
        try:
            return self._get(key, {"Range": "bytes=0-0"}, None).facts
        except MissingFileError:
            return None

    def list(self, folder: str) -> tuple[dict[str, ObjectFacts], set[str]]:
        """Raise ``OSError``, because HTTP servers do not list folders."""
        reason = "HTTP servers do not list folders; pass a file, or the prefix of a checkpoint"
        raise OSError(errno.ENOTSUP, reason, self.url(folder))

    def check_writable(self, url: str) -> None:
        """Raise ``UnsupportedError``, because files of HTTP servers are read only."""
        raise UnsupportedError(
            f"{url} cannot be changed, HTTP servers are read only; write to a local path or to an object store",
            path=url,
        )

    def upload(self, key: str, file: BinaryIO) -> None:
        """Raise ``UnsupportedError``; see ``check_writable``."""
        self.check_writable(self.url(key))

    def delete(self, key: str) -> None:
        """Raise ``UnsupportedError``; see ``check_writable``."""
        self.check_writable(self.url(key))

    def copy(self, key: str, to: str) -> None:
        """Raise ``UnsupportedError``; see ``check_writable``."""
        self.check_writable(self.url(to))

    def _get(self, key: str, headers: dict[str, str], span: Span | None, into: Sequence[memoryview] = ()) -> Answer:
        """Request a part of a file, or without ``span`` only its facts, until an answer is whole."""
        url = self.url(key)
        begun = time.monotonic()
        for tries in itertools.count(1):
            try:
                return self._try(key, headers, span, into)
            except (BrokenAnswer, http.client.HTTPException, OSError) as error:
                if isinstance(error, FinalError | MissingFileError | PermissionError | ssl.SSLCertVerificationError):
                    raise
                wait = FIRST_WAIT * 2 ** (tries - 1)
                if tries == MOST_TRIES or time.monotonic() + wait - begun > RETRY_SECONDS:
                    reason = str(error) or type(error).__name__
                    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO
                    attempts = "1 attempt" if tries == 1 else f"{tries} attempts"
                    raise OSError(number, f"{reason} ({attempts})", url) from None
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _try(self, key: str, headers: dict[str, str], span: Span | None, into: Sequence[memoryview]) -> Answer:
        url = self.url(key)
        expected = 0 if span is None else span[1] - (span[0] or 0)
        seconds = REQUEST_SECONDS + expected / SLOWEST_RATE
        host, sent = self._host, {**self._headers, **headers}
        target = f"/{_quoted(key)}{self._query}"
        was_public = False
        for _ in range(_MOST_REDIRECTS + 1):
            connection = self._connect(host)
            watch = Watch(connection, seconds)
            done = False
            try:
                if connection.sock is None:
                    connection.connect()
                if host != self._host and was_public and not connection.is_public:
                    reason = f"the server redirects to {host.name}, an address in a private network, which is refused"
                    raise FinalError(errno.EACCES, reason, url)
                was_public |= connection.is_public
                connection.request("GET", connection.target(target), headers=sent)
                response = connection.getresponse()
                if response.status not in _REDIRECTS:
                    answer = read_answer(response, url, span, into)
                    done = response.isclosed() and not response.will_close
                    return answer
                host, target = _redirected(url, host, target, response)
            except (OSError, http.client.HTTPException, BrokenAnswer) as error:
                if watch.is_over and not isinstance(error, FinalError):
                    raise TimeoutError(f"the answer was not complete after {seconds:.0f} seconds") from None
                raise
            finally:
                watch.stop()
                if done and not watch.is_over:
                    self._release(connection)
                else:
                    connection.close()
            if host != self._host:
                sent = {name: value for name, value in sent.items() if name.lower() in _PUBLIC}
        raise FinalError(errno.ELOOP, f"more than {_MOST_REDIRECTS} redirects follow one another", url)

    def _connect(self, host: _Host) -> _Connection:
        process = os.getpid()
        with self._lock:
            # A connection that a parent process opened is the parent's.
            self._idle = [connection for connection in self._idle if connection.process == process]
            for number, connection in enumerate(self._idle):
                if connection.to == host:
                    del self._idle[number]
                    return connection
        return _Connection(host)

    def _release(self, connection: _Connection) -> None:
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()


class _Connection(http.client.HTTPConnection):
    """A connection to a host, by way of the proxy that the environment names."""

    def __init__(self, to: _Host) -> None:
        self.to = to
        self.process = os.getpid()
        proxy = getproxies().get(to.scheme)
        self._proxy = None if proxy is None or proxy_bypass(to.name) else _host_of(proxy)
        self.is_public = False
        at = self._proxy or to
        super().__init__(at.name, at.port, timeout=CONNECT_SECONDS)
        if self._proxy is not None and to.scheme == "https":
            self.set_tunnel(to.name, to.port)

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(SILENT_SECONDS)
        # A proxy looks up names itself, so that only addresses are known.
        address = self.sock.getpeername()[0] if self._proxy is None else self.to.name
        self.is_public = is_public(address)
        if self.to.scheme == "https":
            self.sock = _trust().wrap_socket(self.sock, server_hostname=self.to.name)

    def __del__(self) -> None:
        sock = getattr(self, "sock", None)
        if sock is not None:
            sock.close()

    def target(self, path: str) -> str:
        """Return what a request line names: the path, or to a proxy the whole URL."""
        return f"http://{self.to.authority}{path}" if self._proxy is not None and self.to.scheme == "http" else path

    def putheader(self, header: str | bytes, *values: Any) -> None:
        # The host is that of the URL, without the port that its scheme implies.
        super().putheader(header, *((self.to.authority,) if header == "Host" else values))


@cache
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _quoted(key: str) -> str:
    return quote(key, safe="/:@!$&'()*+,;=~", errors="surrogateescape")


def _host_of(url: str) -> _Host:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if not parts.hostname or scheme not in ("http", "https"):
        raise AddressError(f"{url} is not the URL of a host")
    return _Host(scheme, parts.hostname, parts.port or (443 if scheme == "https" else 80))


def _redirected(url: str, host: _Host, target: str, response: http.client.HTTPResponse) -> tuple[_Host, str]:
    """Return where a redirect leads; raises ``OSError`` where it may not be followed."""
    place = response.getheader("Location")
    if not place:
        raise BrokenAnswer(f"the server answers {response.status} without a Location")
    try:
        absolute = urljoin(f"{host.scheme}://{host.authority}{target}", place)
        parts = urlsplit(absolute)
        new = _host_of(absolute)
    except ValueError:
        raise FinalError(errno.EIO, "the server redirects to something that is not an HTTP URL", url) from None
    if host.scheme == "https" != new.scheme:
        raise FinalError(errno.EACCES, f"the server redirects from https to {new.scheme}, which is refused", url)
    query = f"?{quote(parts.query, safe=_ESCAPED)}" if parts.query else ""
    return new, quote(parts.path or "/", safe=_ESCAPED) + query
