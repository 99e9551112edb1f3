"""Every exception that tfbundle raises about a file.

One hierarchy, so that a caller who opens files of unknown origin needs a single ``except`` clause::

    TfBundleError(Exception)                 .path .offset
    ├─ FormatError(ValueError)               the bytes break the format
    │   ├─ TruncatedError                    the file ends too early
    │   └─ ChecksumError                     .expected .actual
    ├─ UnsupportedError(NotImplementedError) valid, but not readable here
    └─ MissingFileError(FileNotFoundError)   a shard or an index that does not exist

Each class also extends the built-in exception that callers expect, and keeps its facts in attributes. All of them
pickle, so that worker processes can raise them.
"""

from __future__ import annotations

import errno
import os
from typing import Any

__all__ = [
    "ChecksumError",
    "FormatError",
    "MissingFileError",
    "TfBundleError",
    "TruncatedError",
    "UnsupportedError",
]


class TfBundleError(Exception):
    """The base of every error that tfbundle raises about a file.

    ``path`` is the file that the message is about (``None`` for bytes that do not come from a file), ``offset`` the
    position in it in bytes, ``tensor`` the tensor that was requested and ``shard`` the number of its data file;
    each is ``None`` if it does not apply.
    """

    message: str
    path: str | None
    offset: int | None
    tensor: str | None
    shard: int | None

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        tensor: str | None = None,
        shard: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else os.fspath(path)
        self.offset = offset
        self.tensor = tensor
        self.shard = shard

    def __str__(self) -> str:
        import re  # Half the time of ``import tfbundle``, and only an error that is shown needs it.

        # Facts that the message already states are not repeated.
        text = self.message
        if self.tensor is not None and repr(self.tensor) not in text:
            text = f"tensor {self.tensor!r}: {text}"
        place = []
        if self.path is not None and self.path not in text:
            place.append(self.path)
        if self.offset is not None and not re.search(rf"\b{self.offset}\b", text):
            place.append(f"offset {self.offset}")
        return f"{text} ({', '.join(place)})" if place else text

    def locate(
        self,
        *,
        path: str | None = None,
        offset: int | None = None,
        tensor: str | None = None,
        shard: int | None = None,
    ) -> TfBundleError:
        """Fill in what was not known where the error arose, and return the error, to be raised again.

        Code that decodes bytes knows neither their file nor their tensor; its caller does. ``offset`` is
        where the decoded bytes begin in the file.
        """
        if self.path is None:
            self.path = path
            if offset is not None:
                self.offset = offset + (self.offset or 0)
        if self.tensor is None:
            self.tensor = tensor
        if self.shard is None:
            self.shard = shard
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Only attributes that a caller added start with an underscore; the others are the keyword arguments.
        facts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return _restore, (type(self), facts)


def _restore(cls: type[TfBundleError], facts: dict[str, Any]) -> TfBundleError:
    return cls(**facts)


class FormatError(TfBundleError, ValueError):
    """The bytes do not follow the format: they are damaged, or the file is of another kind."""


class TruncatedError(FormatError):
    """The file ends before the data that it should contain."""


class ChecksumError(FormatError):
    """The bytes do not match their stored checksum.

    ``expected`` is the unmasked CRC-32C that the file states, ``actual`` the one of the bytes that were read.
    """

    expected: int | None
    actual: int | None

    def __init__(
        self,
        message: str,
        *,
        expected: int | None = None,
        actual: int | None = None,
        path: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        tensor: str | None = None,
        shard: int | None = None,
    ) -> None:
        super().__init__(message, path=path, offset=offset, tensor=tensor, shard=shard)
        self.expected = expected
        self.actual = actual


class UnsupportedError(TfBundleError, NotImplementedError):
    """The file may be valid, but this library does not support its contents."""


class AddressError(ValueError):
    """A URL cannot be that of a file: it names no host or bucket, or its key is one that the store does not accept."""


class MissingFileError(TfBundleError, FileNotFoundError):
    """A file that belongs to what was requested does not exist.

    As for every ``FileNotFoundError``, ``errno`` is ``ENOENT`` and ``filename`` is the absent path.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        tensor: str | None = None,
        shard: int | None = None,
    ) -> None:
        super().__init__(message, path=path, offset=offset, tensor=tensor, shard=shard)
        self.errno = errno.ENOENT
        self.strerror = os.strerror(errno.ENOENT)
        self.filename = self.path

    def __str__(self) -> str:
        text = super().__str__()
        if self.path is not None and self.path.startswith("~"):
            text += "; only shells expand ~, so pass os.path.expanduser(path)"
        return text
