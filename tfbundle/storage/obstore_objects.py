"""Objects of S3, Google Cloud Storage, Azure and memory, by way of obstore.

Requests are repeated by obstore where that may help: after connection errors, timeouts, and status 408, 429 and 5xx.
Only a listing whose body is incomplete is repeated here. Errors of obstore become errors of this library, or an
``OSError`` with the URL.

obstore accepts no key with an empty segment, a segment ``.`` or ``..``, or a control character. Nothing exists under
such a name here. A page of a listing that has one is refused as a whole, so that the folder cannot be listed.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from tfbundle.errors import AddressError, MissingFileError, UnsupportedError
from tfbundle.storage.objects import Answer, ObjectFacts, Objects, UnlistableFolderError, overwritten

if TYPE_CHECKING:
    from obstore import GetOptions, ListResult, ObjectMeta

_LONGEST_REASON = 300
_XML_ERROR = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)")
_QUERY = re.compile(r"(?<=\S)\?\S*")
# Errors of listings have no class for these. Azure denies an anonymous listing as if there were nothing to list.
_DENIED = re.compile(r"status code: 40[13]|list request.*: ResourceNotFound,")
_NO_BUCKET = re.compile(r": (NoSuchBucket|ContainerNotFound),")
_INVALID_KEY = re.compile(r'Encountered object with invalid path: .*?Path "((?:[^"\\]|\\.)*)"', re.DOTALL)
_TORN = "list response body"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A listing whose body is incomplete is tried so often, after waits that begin with this one and double.
_MOST_TRIES = 5
FIRST_WAIT = 0.1
# One part of a multipart upload; four of them are sent at the same time.
_PART = 16 << 20
_PARTS = 4


class ObstoreObjects(Objects):
    """The objects of a store of obstore."""

    def __init__(self, store: Any, root: str, options: dict[str, Any] | None = None) -> None:
        """Name the objects of ``store`` by URLs under ``root``; ``options`` are those that it was made with.

        Without ``options`` the store is the caller's, and is pickled as it is.
        """
        self.root = root
        self._store = store
        self._options = options
        self._is_azure = type(store).__name__ == "AzureStore"

    def __reduce__(self) -> tuple[object, ...]:
        from tfbundle.storage.object_stores import open_objects

        if self._options is None:
            return ObstoreObjects, (self._store, self.root)
        return open_objects, (self.root, self._options)

    def read(self, key: str, start: int, end: int, e_tag: str | None, into: Sequence[memoryview] = ()) -> Answer:
        """Return a part of an object; see ``Objects.read``."""
        self._check_exists(key)
        options: GetOptions = {"range": (start, end)}
        # A weak ETag matches nothing in a condition (RFC 9110, 13.1.1); the caller compares the answer's.
        if e_tag is not None and not e_tag.startswith("W/"):
            options["if_match"] = e_tag
        return self._get(key, options)

    def read_tail(self, key: str, size: int) -> Answer:
        """Return the end of an object; see ``Objects.read_tail``."""
        self._check_exists(key)
        if not self._is_azure:  # Azure has no ranges that are counted from the end.
            with suppress(OSError):  # An empty object has no such range.
                return self._get(key, {"range": {"suffix": size}})
        facts = self.facts(key)
        if facts is None:
            raise MissingFileError(f"there is no file {self.url(key)}", path=self.url(key))
        if not facts.size:
            return Answer(facts, 0, memoryview(b""))
        return self.read(key, max(0, facts.size - size), facts.size, facts.e_tag)

    def _get(self, key: str, options: GetOptions) -> Answer:
        import obstore

        with translated(self.url(key)):
            answer = obstore.get(self._store, key, options=options)
            facts, (start, end) = facts_of(answer.meta), answer.range
            data = memoryview(answer.bytes()).cast("B")
        if len(data) != end - start:
            raise OSError(errno.EIO, f"bytes {start} to {end} were announced, and {len(data)} sent", self.url(key))
        return Answer(facts, start, data)

    def facts(self, key: str) -> ObjectFacts | None:
        """Return the facts of an object, or ``None`` if there is none."""
        import obstore

        if _fault(key):
            return None
        try:
            with translated(self.url(key)):
                return facts_of(obstore.head(self._store, key))
        except MissingFileError:
            return None

    def list(self, folder: str) -> tuple[dict[str, ObjectFacts], set[str]]:
        """Return the entries of a folder, from one request for each thousand of them; see ``Objects.list``."""
        if _fault(folder):
            return {}, set()
        found = self._list(folder)
        above = f"{folder}/" if folder else ""
        # S3 and Google Cloud Storage list the marker of a folder, whose key ends in a slash, in the folder itself.
        objects = {
            meta["path"].removeprefix(above): facts_of(meta) for meta in found["objects"] if meta["path"] != folder
        }
        folders = {path.removeprefix(above).rstrip("/") for path in found["common_prefixes"]}
        if self._is_azure:
            objects = {name: _quoted(facts) for name, facts in objects.items()}
        # Keys that begin with a slash are in a folder without a name, which cannot be opened.
        return {name: facts for name, facts in objects.items() if name and "/" not in name}, folders - {""}

    def _list(self, folder: str) -> ListResult[Sequence[ObjectMeta]]:
        """Request a listing until its body is complete."""
        import obstore
        from obstore import exceptions

        for wait in (*(FIRST_WAIT * 2**number for number in range(_MOST_TRIES - 1)), None):
            with translated(self.url(folder)):
                try:
                    return obstore.list_with_delimiter(self._store, folder or None)
                except exceptions.InvalidPathError as error:
                    found = _INVALID_KEY.search(str(error))
                    key = _shortened(str(error) if found is None else found[1])
                    reason = (
                        f"the folder cannot be listed, because obstore does not accept the key {key!r} in it; rename "
                        "or remove that object, or pass files or the prefix of a checkpoint instead of the folder"
                    )
                    raise UnlistableFolderError(errno.EINVAL, reason, self.url(folder)) from None
                except exceptions.GenericError as error:
                    if wait is None or _TORN not in str(error):
                        raise
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def check_key(self, key: str) -> None:
        """Raise ``ValueError`` for a key that obstore does not accept; slashes may follow it."""
        fault = _fault(key.rstrip("/"))
        if fault:
            raise AddressError(f"{self.url(key)!r} has {fault}, which names in object stores must not have")

    def _check_exists(self, key: str) -> None:
        if _fault(key):
            raise MissingFileError(f"there is no file {self.url(key)}", path=self.url(key))

    def upload(self, key: str, file: BinaryIO) -> None:
        """Write an object in one request, or a large one in parts, which obstore drops if one of them fails."""
        import obstore

        self.check_key(key)
        self.changes += 1
        with translated(self.url(key)):
            obstore.put(self._store, key, file, chunk_size=_PART, max_concurrency=_PARTS)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        import obstore

        self.check_key(key)
        self.changes += 1
        with suppress(MissingFileError), translated(self.url(key)):
            obstore.delete(self._store, key)

    def copy(self, key: str, to: str) -> None:
        """Copy an object within the store, which may refuse large ones with an ``OSError``."""
        import obstore

        self.check_key(to)
        self.changes += 1
        with translated(self.url(key)):
            obstore.copy(self._store, key, to)


def _fault(key: str) -> str:
    """Return what makes obstore refuse a key, or nothing."""
    if not key:
        return ""
    if _CONTROL.search(key):
        return "a control character"
    if any("\ud800" <= character <= "\udfff" for character in key):
        return "bytes that are not UTF-8"
    segments = key.split("/")
    if "" in segments:
        return "an empty segment between slashes"
    return next((f'a segment "{segment}"' for segment in (".", "..") if segment in segments), "")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def facts_of(meta: ObjectMeta) -> ObjectFacts:
    """Return the facts of an answer; one without an ETag is known by size and time alone."""
    return ObjectFacts(int(meta["size"]), meta["last_modified"].timestamp(), meta["e_tag"])


def _quoted(facts: ObjectFacts) -> ObjectFacts:
    """Return facts with the ETag as answers to reads have it: in listings, Azure leaves its quotes out."""
    e_tag = facts.e_tag
    return facts if not e_tag or e_tag.endswith('"') else facts._replace(e_tag=f'"{e_tag}"')


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn errors of obstore into errors of this library, or an ``OSError`` with the URL."""
    try:
        yield
    except Exception as error:  # The class depends on the store.
        raise _translate(error, url) from None


def _translate(error: Exception, url: str) -> Exception:
    from obstore import exceptions

    if isinstance(error, UnlistableFolderError):
        return error
    if isinstance(error, exceptions.PreconditionError):
        return overwritten(url)
    if isinstance(error, exceptions.NotSupportedError):
        return UnsupportedError(f"the store of {url} does not support this request: {_reason(error)}", path=url)
    reason = _reason(error)
    denied = exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
    if isinstance(error, denied) or _DENIED.search(reason):
        return PermissionError(errno.EACCES, f"access is denied: {reason}", url)
    if _NO_BUCKET.search(reason):
        scheme, _, rest = url.partition("://")
        root = f"{scheme}://{rest.partition('/')[0]}"
        return MissingFileError(f"there is no bucket {root}: {reason}", path=root)
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"there is no file {url}", path=url)
    return OSError(errno.EIO, reason, url)


def _reason(error: Exception) -> str:
    """Return the message of an error: of XML only the text, and of URLs no query, which may have a signature."""
    text = str(error).partition("\n\nDebug source")[0]
    body = _XML_ERROR.search(text)
    if body is not None:
        text = text[: text.index("<")] + f"{body[1]}, {body[2]}"
    return " ".join(_QUERY.sub("", text).replace("\ufeff", "").split()).rstrip(": ")[:_LONGEST_REASON]
