"""Objects of S3, Google Cloud Storage, Azure and memory, by way of obstore.

Requests are repeated by obstore where that may help: after connection errors, timeouts and status 5xx. Its errors
become errors of this library, or an ``OSError`` with the URL.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.storage.objects import Answer, ObjectFacts, Objects, overwritten

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

_LONGEST_REASON = 300
_XML_ERROR = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)")
_QUERY = re.compile(r"(?<=\S)\?\S*")
# Errors of listings have no class for these. Azure denies an anonymous listing as if there were nothing to list.
_DENIED = re.compile(r"status code: 40[13]|list request.*: ResourceNotFound,")
_NO_BUCKET = re.compile(r": (NoSuchBucket|ContainerNotFound),")
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
        options: GetOptions = {"range": (start, end)}
        # A weak ETag matches nothing in a condition (RFC 9110, 13.1.1); the caller compares the answer's.
        if e_tag is not None and not e_tag.startswith("W/"):
            options["if_match"] = e_tag
        return self._get(key, options)

    def read_tail(self, key: str, size: int) -> Answer:
        """Return the end of an object; see ``Objects.read_tail``."""
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

        try:
            with translated(self.url(key)):
                return facts_of(obstore.head(self._store, key))
        except MissingFileError:
            return None

    def list(self, folder: str) -> tuple[dict[str, ObjectFacts], set[str]]:
        """Return the entries of a folder, from one request for each thousand of them."""
        import obstore

        with translated(self.url(folder)):
            found = obstore.list_with_delimiter(self._store, folder or None)
        above = f"{folder}/" if folder else ""
        objects = {meta["path"].removeprefix(above): facts_of(meta) for meta in found["objects"]}
        folders = {path.removeprefix(above).rstrip("/") for path in found["common_prefixes"]}
        if self._is_azure:
            objects = {name: _quoted(facts) for name, facts in objects.items()}
        return {name: facts for name, facts in objects.items() if name and "/" not in name}, folders

    def upload(self, key: str, file: BinaryIO) -> None:
        """Write an object in one request, or a large one in parts, which obstore drops if one of them fails."""
        import obstore

        self.changes += 1
        with translated(self.url(key)):
            obstore.put(self._store, key, file, chunk_size=_PART, max_concurrency=_PARTS)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""
        import obstore

        self.changes += 1
        with suppress(MissingFileError), translated(self.url(key)):
            obstore.delete(self._store, key)

    def copy(self, key: str, to: str) -> None:
        """Copy an object within the store, which may refuse large ones with an ``OSError``."""
        import obstore

        self.changes += 1
        with translated(self.url(key)):
            obstore.copy(self._store, key, to)


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
    """Return the message of an error: of XML only what it says, and of URLs no query, which may have a signature."""
    text = str(error).partition("\n\nDebug source")[0]
    body = _XML_ERROR.search(text)
    if body is not None:
        text = text[: text.index("<")] + f"{body[1]}, {body[2]}"
    return " ".join(_QUERY.sub("", text).replace("\ufeff", "").split()).rstrip(": ")[:_LONGEST_REASON]
