"""The interface to stored bytes that local files and object stores implement.

A ``Location`` names a file, a folder, or the prefix that the files of a checkpoint share. It joins and splits names,
lists its contents, and opens it. A ``Source`` is an open file: an array of bytes without a cursor, so that any
number of threads may read at once. Each request is checked against the size that the file had when it was opened,
before anything is allocated.

Training jobs overwrite and delete checkpoints while others read them. A source therefore records which version of the
file it opened (``version``): ``check_unchanged`` raises if the open file was modified, ``same_file`` returns whether
its path still leads to it, and ``was_replaced`` whether it leads to another file.

Modules above ``storage`` never split paths or query the file system; they receive a ``Location`` and use that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from tfbundle.errors import FormatError, TruncatedError
from tfbundle.plurals import plural


class FileStat(NamedTuple):
    """A file's size in bytes, its modification time in seconds since 1970, and in an object store its ETag."""

    size: int
    mtime: float
    e_tag: str | None = None


class Filling(NamedTuple):
    """Buffers that are being filled, and may be written to until ``waits`` have returned."""

    waits: list[Callable[[], object]]
    """For each buffer a function that waits until it is filled, and raises as ``Source.read_into`` does."""
    cancel: Callable[[], None]
    """Drops what has not been requested yet."""


class Source(ABC):
    """An open file, read at offsets from any thread."""

    path: str
    """The name it was opened by."""
    size: int
    """Its length in bytes when it was opened."""
    version: Hashable
    """What distinguishes this state of the file from any other."""
    is_remote: bool = False
    """Whether ``same_file`` and ``was_replaced`` cost a request, and each read compares the version by itself."""

    @abstractmethod
    def read_at(self, offset: int, size: int) -> bytes:
        """Return exactly ``size`` bytes from ``offset``; raises ``TruncatedError`` where the file ends before."""

    @abstractmethod
    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer``, a writable view of plain bytes, from ``offset``; raises as ``read_at`` does."""

    @abstractmethod
    def read_some(self, offset: int, buffer: memoryview) -> int:
        """Fill the start of ``buffer`` with what one read returns, and return the number of bytes, at least one.

        A read ends before bytes that the device cannot read. Raises as ``read_at`` does.
        """

    def expect(self, extents: Iterable[tuple[int, int]]) -> None:  # noqa: B027 - only some sources prepare
        """Prepare for reads of ``extents``, offsets and sizes, which should come about in the order of the offsets.

        Raises ``TruncatedError`` where the file ends before. Only sources that take time to answer do anything.
        """

    def fill(self, parts: Sequence[tuple[int, memoryview]]) -> Filling:
        """Begin to fill buffers, each from its offset; raises ``TruncatedError`` where the file ends before."""
        return Filling([partial(self.read_into, offset, buffer) for offset, buffer in parts], lambda: None)

    @abstractmethod
    def view(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``offset`` as a read-only view, without a copy where the storage allows it."""

    def require(self, offset: int, size: int) -> None:
        """Raise ``TruncatedError`` unless the file has ``size`` bytes from ``offset``."""
        self.check_open()
        if offset < 0 or size < 0 or offset + size > self.size:
            raise TruncatedError(
                f"{self.path} has {plural(self.size, 'byte')}, but bytes {offset} to {offset + size} are needed; "
                "the file was cut short, or belongs to another checkpoint",
                path=self.path,
                offset=offset,
            )

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raise ``FormatError`` if the open file was written to since it was opened."""

    @abstractmethod
    def same_file(self) -> bool:
        """Return whether the path still leads to the file that was opened, as it was then."""

    @abstractmethod
    def was_replaced(self) -> bool:
        """Return whether the path leads to another file, or to other content, than when it was opened."""

    @abstractmethod
    def check_open(self) -> object:
        """Raise ``ValueError`` after ``close()``."""

    @abstractmethod
    def close(self) -> None:
        """Close the file. Views that were handed out stay valid; a later read is a ``ValueError``."""


class Listing(ABC):
    """The entries of a folder, as they were when it was listed."""

    names: list[str]
    """The base names, sorted."""

    @abstractmethod
    def is_folder(self, name: str) -> bool:
        """Return whether an entry is a folder (links are followed)."""

    @abstractmethod
    def stat(self, name: str) -> FileStat | None:
        """Return size and time of an entry that is a regular file, otherwise ``None``."""

    def is_file(self, name: str) -> bool:
        """Return whether there is such an entry, and it is not a folder."""
        return name in self and not self.is_folder(name)

    @abstractmethod
    def __contains__(self, name: object) -> bool:
        """Return whether there is an entry of this name."""


class Location(ABC):
    """A name of bytes in some storage: a file, a folder, or a prefix. Equal spellings are equal locations."""

    path: str
    """The name as users write it; messages show it, and ``locate`` accepts it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last component, which is empty after a final separator."""

    @property
    @abstractmethod
    def parent(self) -> Location:
        """The folder that contains it."""

    @property
    @abstractmethod
    def is_absolute(self) -> bool:
        """Whether it is independent of the working folder."""

    @abstractmethod
    def absolute(self) -> Location:
        """Return the same place by a name that does not depend on the working folder; nothing is normalised."""

    @abstractmethod
    def anchored(self) -> Location:
        """Return the same location under the same name, independent of the working folder from now on.

        The same holds for locations derived from it. Messages still show the name that the caller passed.
        """

    def recent(self) -> Location:
        """Return the same location, without what a listing stated about its folder unless that is recent."""
        return self

    def current(self) -> Location:
        """Return the same location, without what a listing stated about its folder before."""
        return self

    @abstractmethod
    def real(self) -> Location:
        """Return the absolute name without links, which is equal for two names of one place."""

    @abstractmethod
    def join(self, *names: str) -> Location:
        """Return the location of ``names`` below this folder; an absolute name restarts from the root."""

    @abstractmethod
    def beside(self, name: str) -> Location:
        """Return another entry of the same folder."""

    @abstractmethod
    def plus(self, suffix: str) -> Location:
        """Return the location whose name is this one followed by ``suffix``, such as a member of a prefix."""

    @abstractmethod
    def bare(self) -> Location:
        """Return the location without separators at its end."""

    @abstractmethod
    def is_below(self, folder: Location) -> bool:
        """Return whether the name is that of ``folder`` or leads into it; for names that ``real`` returned."""

    @abstractmethod
    def relative_to(self, folder: Location) -> str:
        """Return the shortest path that leads here from ``folder``; nothing is looked up, so links are not followed."""

    @abstractmethod
    def is_file(self) -> bool:
        """Return whether there is something other than a folder that could be opened (links are followed)."""

    @abstractmethod
    def is_folder(self) -> bool:
        """Return whether it is a folder (links are followed)."""

    @abstractmethod
    def stat(self) -> FileStat | None:
        """Return size and time of a regular file, or ``None`` if there is none."""

    @abstractmethod
    def list(self) -> Listing:
        """Return the entries of this folder; raises ``MissingFileError`` if there is no such folder."""

    def expect(self, chosen: Callable[[str], bool], most: int) -> None:  # noqa: B027 - only some storage prepares
        """Prepare to read the entries of this folder with chosen names, of which the ends have ``most`` bytes at most.

        Storage that takes time to answer reads small files and the ends of others together. No errors are raised.
        """

    @abstractmethod
    def place(self) -> Hashable:
        """Return what is equal for two names of one folder; raises ``MissingFileError`` if there is none."""

    @abstractmethod
    def open(self, first: tuple[int, int] | None = None) -> Source:
        """Open the file. ``first`` is the offset and the size of what is read first, which may save a request.

        Raises ``MissingFileError`` if nothing exists there and ``FormatError`` if it is not a regular file.
        """

    def read(self, largest: int) -> bytes:
        """Return the whole file; raises as ``open`` does, and ``FormatError`` if it exceeds ``largest`` bytes."""
        source = self.open()
        try:
            if source.size > largest:
                raise FormatError(
                    f"{source.path} has {source.size} bytes, and no file of its kind has more than {largest}; "
                    "it is damaged, or something else",
                    path=source.path,
                )
            return source.read_at(0, source.size)
        finally:
            source.close()

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Location) and type(other) is type(self) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __lt__(self, other: Location) -> bool:
        return self.path < other.path
