"""From a URL to an object store: S3, Google Cloud Storage, Azure, HTTP servers and memory, by way of obstore.

    s3://bucket/run/model.ckpt-5.index
    -----------  ---------------------
    root         key

All URLs of one root share a store, and with it connections. Credentials, endpoints and regions come from the
environment (``AWS_*``, ``GOOGLE_*``, ``AZURE_*``). Requests are repeated by obstore where that may help: after
connection errors, timeouts and status 5xx. Its errors become errors of this library, or an ``OSError`` with the URL.
"""

from __future__ import annotations

import errno
import os
import re
from datetime import timedelta
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tfbundle.errors import FormatError, MissingFileError, UnsupportedError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# Two slashes are part of it: "C:\runs" is a drive, and "model:0" a file.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HTTP = ("http", "https")
SCHEMES = ("s3", "gs", "az", "abfs", "abfss", *_HTTP, "memory")

# A server that does not answer is given up after so long in all.
_RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
_CLIENT = {"connect_timeout": "10s", "timeout": "60s"}
_LONGEST_REASON = 300


class Address(NamedTuple):
    """A URL, divided into what names the store and what names the object in it."""

    root: str
    key: str

    @property
    def can_list(self) -> bool:
        """Whether the store lists folders; HTTP servers do not."""
        return not self.root.startswith(_HTTP)


def scheme_of(text: str) -> str | None:
    """Return the scheme of a URL in lower case, or ``None`` for a path."""
    found = _SCHEME.match(text)
    return None if found is None else found[1].lower()


def split_url(url: str) -> Address:
    """Return the address of a URL with one of ``SCHEMES``; raises ``UnsupportedError`` for one that has a query."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme in _HTTP:
        if parts.query or parts.fragment:
            raise UnsupportedError(f"{url} has a query, so that other files of a checkpoint have no URL", path=url)
        return Address(f"{scheme}://{parts.netloc}", unquote(parts.path.lstrip("/"), errors="surrogateescape"))
    # Keys of object stores are not escaped in URLs, and may hold "?" and "#".
    rest = url[url.index("://") + 3 :]
    bucket, _, key = rest.partition("/")
    if scheme in ("abfs", "abfss") and "@" in bucket:
        return Address(f"{scheme}://{bucket}", key)
    return Address(f"{scheme}://{bucket}", key)


def load_obstore(url: str) -> ModuleType:
    """Return the library; raises ``UnsupportedError`` where it is not installed."""
    try:
        import obstore
    except ImportError:
        raise UnsupportedError(
            f"{url} is in an object store, which needs obstore; pip install 'tfbundle[remote]'", path=url
        ) from None
    return obstore


@lru_cache(maxsize=64)
def open_store(root: str) -> ObjectStore:
    """Return the store of an address; raises ``UnsupportedError`` where obstore is not installed.

    Raises ``ValueError`` for a root that obstore does not accept, such as a bucket without a name.
    """
    load_obstore(root)
    from obstore.store import MemoryStore, from_url

    if root.startswith("memory:"):
        return MemoryStore()
    options: Any = {**_CLIENT, "allow_http": root.startswith("http:") or _names_plain_endpoint()}
    retries: Any = dict(_RETRIES)
    return from_url(root, client_options=options, retry_config=retries)


def _names_plain_endpoint() -> bool:
    """Return whether the environment names an endpoint without TLS, such as an emulator on this machine."""
    return any("ENDPOINT" in name and value.startswith("http:") for name, value in os.environ.items())


def translate(error: Exception, url: str) -> Exception:
    """Return an error of obstore as one of this library, or as an ``OSError`` with the URL."""
    from obstore import exceptions

    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"there is no file {url}", path=url)
    if isinstance(error, exceptions.PreconditionError):
        return overwritten(url)
    if isinstance(error, exceptions.NotSupportedError):
        return UnsupportedError(f"the server of {url} does not send ranges of a file; download it", path=url)
    reason = " ".join(str(error).partition("\n\nDebug source")[0].split())[:_LONGEST_REASON]
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return PermissionError(errno.EACCES, f"access is denied: {reason}", url)
    return OSError(errno.EIO, reason, url)


def overwritten(url: str) -> FormatError:
    """Return the error for an object that is another one than when it was opened."""
    return FormatError(f"{url} was overwritten while it was being read; open it again", path=url)
