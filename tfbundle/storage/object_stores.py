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

from tfbundle.errors import AddressError, UnsupportedError
from tfbundle.storage.objects import Objects

# Two slashes are part of it: "C:\runs" is a drive, and "model:0" a file.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HTTP = ("http", "https")
SCHEMES = ("s3", "gs", "az", "azure", "abfs", "abfss", *_HTTP, "memory")

_ENDPOINT = re.compile("endpoint|base_url", re.IGNORECASE)
# The account of Azure that a URL names: abfs://CONTAINER@ACCOUNT.dfs.core.windows.net
_ACCOUNT = re.compile(r"abfss?://[^@]+@([^.]+)\.")
_ACCOUNT_OPTIONS = ("account_name", "azure_storage_account_name")
# Settings of stores in the environment begin with these.
_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_", "AZURITE_")

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
    """Return the address of a URL with one of ``SCHEMES``.

    Raises ``UnsupportedError`` for an HTTP URL with a fragment, and ``ValueError`` for a URL without a bucket.
    """
    scheme = scheme_of(url)
    if scheme in _HTTP:
        parts = urlsplit(url)
        if parts.fragment:
            raise UnsupportedError(f'{url} has a fragment; write "#" in a name as %23', path=url)
        key = unquote(parts.path.removeprefix("/"), errors="surrogateescape")
        return Address(f"{scheme}://{parts.netloc}", key, f"?{parts.query}" if parts.query else "")
    # Keys of object stores are not escaped in URLs, and may hold "?" and "#".
    bucket, _, key = url[url.index("://") + 3 :].partition("/")
    if not bucket.partition("@")[0]:
        raise AddressError(f"{url} does not name a bucket; write {scheme}://BUCKET/KEY")
    return Address(f"{scheme}://{bucket}", key)


def open_objects(root: str, options: Mapping[str, Any] | None = None, query: str = "") -> Objects:
    """Return the store of an address.

    ``options`` are those of obstore's stores, such as ``endpoint`` or ``skip_signature``, and for an HTTP server its
    ``headers``. Raises ``UnsupportedError`` where obstore is needed and not installed, and ``ValueError`` for an
    address or an option that is not valid.
    """
    items = tuple((options or {}).items())
    # The memory of a process has no settings, and a store of it must not be lost when those of others change.
    settings = () if root.startswith("memory:") else _settings()
    try:
        return _open(root, items, query, settings, os.getpid())
    except TypeError:  # An option, such as a function that returns credentials, may not be hashable.
        return _open.__wrapped__(root, items, query, settings, os.getpid())


def _settings() -> tuple[tuple[str, str], ...]:
    """Return what the environment states of stores, so that a change of it makes another store."""
    return tuple(sorted(item for item in os.environ.items() if item[0].upper().startswith(_PREFIXES)))


@lru_cache(maxsize=64)
def _open(
    root: str, items: tuple[tuple[str, Any], ...], query: str, settings: tuple[tuple[str, str], ...], process: int
) -> Objects:
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
    _drop_account(root, options)
    plain = _names_plain_endpoint(options) or _names_plain_endpoint(os.environ)
    client: Any = {**_CLIENT, "allow_http": plain, **options.pop("client_options", {})}
    retries: Any = {**_RETRIES, **options.pop("retry_config", {})}
    try:
        return from_url(root, client_options=client, retry_config=retries, **options)
    except Exception as error:  # The class depends on the store.
        reason = " ".join(str(error).split())
        raise ValueError(f"the store {root} cannot be opened with these storage options: {reason}") from None


def _drop_account(root: str, options: dict[str, Any]) -> None:
    """Remove the account from options for a URL that names it, too, which obstore would refuse."""
    stated = _ACCOUNT.match(root)
    if stated is None:
        return
    for name in [name for name in options if name.lower() in _ACCOUNT_OPTIONS]:
        if options[name] != stated[1]:
            raise ValueError(f"{root} is in the account {stated[1]}, and the storage option {name} is {options[name]}")
        del options[name]


def _names_plain_endpoint(settings: Mapping[str, Any]) -> bool:
    """Return whether an endpoint without TLS is named, such as an emulator on this machine."""
    return any(_ENDPOINT.search(name) and str(value).lower().startswith("http:") for name, value in settings.items())
