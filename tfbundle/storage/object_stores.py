"""From a URL to the store of its object.

    s3://bucket/run/model.ckpt-5.index
    -----------  ---------------------
    root         key

All URLs of one root and the same options share a store, and with it connections. Credentials, endpoints and regions
come from the options, otherwise from the environment (``AWS_*``, ``GOOGLE_*``, ``AZURE_*``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from tfbundle.errors import UnsupportedError
from tfbundle.storage.objects import Objects

# Two slashes are part of it: "C:\runs" is a drive, and "model:0" a file.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HTTP = ("http", "https")
SCHEMES = ("s3", "gs", "az", "abfs", "abfss", *_HTTP, "memory")

# A server that does not answer is given up after so long in all.
_RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
_CLIENT = {"connect_timeout": "10s", "timeout": "60s"}


class Address(NamedTuple):
    """A URL, divided into what names the store, what names the object in it, and the query of a signed URL."""

    root: str
    key: str
    query: str = ""


def scheme_of(text: str) -> str | None:
    """Return the scheme of a URL in lower case, or ``None`` for a path."""
    found = _SCHEME.match(text)
    return None if found is None else found[1].lower()


def split_url(url: str) -> Address:
    """Return the address of a URL with one of ``SCHEMES``; raises ``UnsupportedError`` for one with a fragment."""
    scheme = scheme_of(url)
    if scheme in _HTTP:
        parts = urlsplit(url)
        if parts.fragment:
            raise UnsupportedError(f'{url} has a fragment; write "#" in a name as %23', path=url)
        key = unquote(parts.path.removeprefix("/"), errors="surrogateescape")
        return Address(f"{scheme}://{parts.netloc}", key, f"?{parts.query}" if parts.query else "")
    # Keys of object stores are not escaped in URLs, and may hold "?" and "#".
    bucket, _, key = url[url.index("://") + 3 :].partition("/")
    return Address(f"{scheme}://{bucket}", key)


def open_objects(root: str, options: Mapping[str, Any] | None = None, query: str = "") -> Objects:
    """Return the store of an address.

    ``options`` are those of obstore's stores, such as ``endpoint`` or ``skip_signature``, and for an HTTP server its
    ``headers``. Raises ``UnsupportedError`` where obstore is needed and not installed, and ``ValueError`` for an
    address or an option that is not valid.
    """
    items = tuple((options or {}).items())
    try:
        return _open(root, items, query, os.getpid())
    except TypeError:  # An option, such as a function that returns credentials, may not be hashable.
        return _open.__wrapped__(root, items, query, os.getpid())


@lru_cache(maxsize=64)
def _open(root: str, items: tuple[tuple[str, Any], ...], query: str, process: int) -> Objects:
    options = dict(items)
    if root.startswith(_HTTP):
        from tfbundle.storage.http_objects import HttpObjects

        headers = options.pop("headers", None)
        if options:
            raise ValueError(f"an HTTP server has the storage option headers, and not {', '.join(options)}")
        return HttpObjects(root, query, headers)
    from tfbundle.storage.obstore_objects import ObstoreObjects

    return ObstoreObjects(_open_store(root, dict(options)), root, options)


def _open_store(root: str, options: dict[str, Any]) -> Any:
    try:
        from obstore.store import MemoryStore, from_url
    except ImportError:
        raise UnsupportedError(
            f"{root} is in an object store, which needs obstore; pip install 'tfbundle[remote]'", path=root
        ) from None
    if root.startswith("memory:"):
        return MemoryStore()
    plain = _names_plain_endpoint(options) or _names_plain_endpoint(os.environ)
    client: Any = {**_CLIENT, "allow_http": plain, **options.pop("client_options", {})}
    retries: Any = {**_RETRIES, **options.pop("retry_config", {})}
    try:
        return from_url(root, client_options=client, retry_config=retries, **options)
    except Exception as error:  # The class depends on the store.
        reason = " ".join(str(error).split())
        raise ValueError(f"the store {root} cannot be opened with these storage options: {reason}") from None


def _names_plain_endpoint(settings: Mapping[str, Any]) -> bool:
    """Return whether an endpoint without TLS is named, such as an emulator on this machine."""
    return any("ENDPOINT" in name.upper() and str(value).startswith("http:") for name, value in settings.items())
