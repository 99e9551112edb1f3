"""The interface to object stores: what a bucket, an HTTP server or a file system of fsspec has to offer.

A store has keys and no folders. Each answer states which version of the object its bytes are from, so that the caller
can compare it with the version that was opened. Errors are those of this library, or an ``OSError`` with the URL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from tfbundle.errors import FormatError


class ObjectFacts(NamedTuple):
    """What a store states of an object: its size in bytes, its time of change in seconds since 1970, and its ETag."""

    size: int
    mtime: float
    e_tag: str | None


class Answer(NamedTuple):
    """A part of an object: the facts of the version it is from, the offset of its first byte, and its bytes."""

    facts: ObjectFacts
    start: int
    data: memoryview
    is_placed: bool = False
    """Whether exactly the bytes that were requested are in the caller's buffers, and ``data`` is empty."""


class UnlistableFolderError(OSError):
    """A folder that cannot be listed, though it exists and its objects can be read by name."""


class Objects(ABC):
    """An object store under a root URL; any number of threads may use it."""

    root: str
    """The URL without a slash at its end, to which a slash and the key are added."""
    can_list = True
    """Whether the store lists folders; HTTP servers do not."""
    changes = 0
    """How often this process has written to the store."""

    def url(self, key: str) -> str:
        """Return the URL of a key as messages show it."""
        return f"{self.root}/{key}" if key else self.root

    @abstractmethod
    def read(self, key: str, start: int, end: int, e_tag: str | None, into: Sequence[memoryview] = ()) -> Answer:
        """Return the bytes from ``start`` to ``end``, fewer if the object ends before, or the whole object.

        With ``e_tag`` the object must still have that strong ETag, otherwise ``FormatError`` is raised. A store may
        write the bytes to the buffers ``into``, one after the other, which together have the size of the range.
        Raises ``MissingFileError`` if there is no object.
        """

    @abstractmethod
    def read_tail(self, key: str, size: int) -> Answer:
        """Return the last ``size`` bytes of an object, or all of a smaller one; raises as ``read`` does."""

    @abstractmethod
    def facts(self, key: str) -> ObjectFacts | None:
        """Return the facts of an object, or ``None`` if there is none."""

    @abstractmethod
    def list(self, folder: str) -> tuple[dict[str, ObjectFacts], set[str]]:
        """Return the objects and the folders in a folder by name; both are empty if there is no such folder.

        Raises ``UnlistableFolderError`` if the folder has an object whose key the client does not accept.
        """

    @abstractmethod
    def upload(self, key: str, file: BinaryIO) -> None:
        """Write a file to an object from its current position; the object appears whole, or not at all."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""

    @abstractmethod
    def copy(self, key: str, to: str) -> None:
        """Copy an object within the store, which may refuse large ones with an ``OSError``."""

    def check_key(self, key: str) -> None:  # noqa: B027 - most stores have names of any kind
        """Raise ``ValueError`` for a key that no object of the store can be accessed by."""

    def check_writable(self, url: str) -> None:  # noqa: B027 - most stores can be written
        """Raise ``UnsupportedError`` if nothing can be written to the store."""

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(f"{self.url('')} is a store that cannot be pickled; pass a URL")


def overwritten(url: str) -> FormatError:
    """Return the error for an object that is another one than when it was opened."""
    return FormatError(f"{url} was overwritten while it was being read; open it again", path=url)
