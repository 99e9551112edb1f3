"""Read record files (TFRecord) from a path or a file object, compressed or not, in constant memory.

``reader`` finds and verifies the records, and defines how a file may end; here they become items, one at a time. An
iterator that has reached the end of a file continues when the file has grown, as TensorFlow's iterators do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import BinaryIO, TypeVar

import numpy as np

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.formats.records.compression import FileStream, open_source, open_stream
from tfbundle.formats.records.continuation import ReadSoFar
from tfbundle.formats.records.reader import Loss, RecordReader, Truncation
from tfbundle.limits import LARGEST_RECORD
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StorageOptions, StrPath, locate, with_options

Item = TypeVar("Item")


class RecordIterator(Iterator[Item]):
    """An iterator over the decoded records of a file.

    ``truncation`` (the incomplete record at the end, or ``None``) and ``losses`` (empty without ``salvage``) are
    complete when the file has been read to the end. ``number`` is the number of the last item's record, ``offset`` the
    offset of its payload, and ``compression`` the file's compression, such as ``"NONE"``.
    """

    def __init__(
        self,
        source: StrPath | BinaryIO,
        decode: Callable[[bytes], Item],
        *,
        compression: str | None = None,
        verify: bool = True,
        salvage: bool = False,
        largest: int = LARGEST_RECORD,
    ) -> None:
        """Open as ``read_records`` does; ``decode`` turns a payload into an item, or raises ``FormatError``."""
        opened, self._owned = open_source(source)
        stream = open_stream(opened, compression)
        self.compression = stream.compression
        self._path = stream.path
        # A file with a location can be opened again when it has grown.
        self._location: Location | None = None
        if isinstance(source, Location):
            self._location = source
        elif not hasattr(source, "read"):
            self._location = locate(source)
        self._size = 0 if self._owned is None else self._owned.size
        self._decode = decode
        self._make_reader = partial(RecordReader, verify=verify, salvage=salvage, largest=largest)
        self._reader = self._make_reader(stream)
        self._earlier_losses: list[Loss] = []
        self._is_at_end = False
        self._so_far: ReadSoFar | None = None
        self.number = self.offset = 0
        self._items = self._read()

    def __repr__(self) -> str:
        return f"<RecordIterator {self._path!r}, at offset {self.offset}>"

    @property
    def truncation(self) -> Truncation | None:
        """The incomplete record at the end, or ``None``."""
        return self._reader.truncation

    @property
    def losses(self) -> list[Loss]:
        """The data that ``salvage`` left out."""
        return self._earlier_losses + self._reader.losses

    @property
    def done(self) -> int:
        """The number of stored (compressed) bytes of the file read so far."""
        return self._reader.done

    def __next__(self) -> Item:
        while True:
            for item in self._items:
                return item
            if not self._is_at_end or not self._reopen():
                raise StopIteration

    def __enter__(self) -> RecordIterator[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a file object that was passed stays open."""
        self._is_at_end = False
        self._items.close()
        if self._owned is not None:
            self._owned.close()

    def _reopen(self) -> bool:
        """Continue after the last complete record of an uncompressed file, if the file has grown."""
        reader = self._reader
        stat = self._location.stat() if self._location is not None and self.compression == "NONE" else None
        if (
            self._location is None
            or stat is None
            or stat.size <= self._size
            or (reader.losses and reader.position == 0)
        ):
            return False
        opened = self._location.open()
        if self._so_far is None or not self._so_far.goes_on_in(opened):
            opened.close()
            return False  # The file was replaced.
        self._owned = opened
        self._size = self._owned.size
        # Damage that no complete record follows was not passed: its end is determined now.
        self._earlier_losses += [loss for loss in reader.losses if loss.offset < reader.position]
        self._reader = self._make_reader(FileStream(self._owned, reader.position), offset=reader.position)
        self._reader.count = reader.count
        self._is_at_end = False
        self._items = self._read()
        return True

    def _read(self) -> Generator[Item, None, None]:
        for window in self._reader.windows():
            starts, ends = window.frames.starts, window.frames.starts + window.frames.sizes
            which = np.flatnonzero(window.frames.fine)
            numbers = which + window.number
            places = zip(numbers.tolist(), starts[which].tolist(), ends[which].tolist(), strict=True)
            for self.number, start, end in places:
                self.offset = window.offset + start
                try:
                    item = self._decode(bytes(window.data[start:end]))
                except FormatError as error:
                    raise error.locate(path=self._path, offset=self.offset) from None
                yield item
        self._is_at_end = True
        if self._owned is not None:
            if self.compression == "NONE":
                with suppress(OSError, TfBundleError):  # A file that cannot be read again is not continued.
                    self._so_far = ReadSoFar.of(self._owned, self._reader.position)
            self._owned.close()


def read_records(
    source: StrPath | BinaryIO,
    *,
    compression: str | None = None,
    verify: bool = True,
    salvage: bool = False,
    storage_options: StorageOptions | None = None,
) -> RecordIterator[bytes]:
    """Return an iterator over the payloads of a TFRecord file, as ``bytes``.

    ``source`` is a path or a binary file object, which is read from its current position and not closed.
    ``compression`` is ``"NONE"``, ``"GZIP"``, ``"ZLIB"``, ``"SNAPPY"`` or ``"DEFLATE"`` (a raw deflate stream); by
    default it is detected from the first bytes, except for ``"DEFLATE"``. Both checksums of every record are verified,
    or neither with ``verify=False``. One window of the file is held in memory, or one record if that is larger.

    An incomplete last record ends the iteration; ``.truncation`` then gives its offset and the number of bytes present,
    which is 0 if a compressed stream ends early but after a complete record. Calling ``next`` after the end continues
    if an uncompressed file that was passed by path has grown, as in TensorFlow; a file that replaced it is not read.

    Raises ``ChecksumError`` for a damaged record, after all records before it, and ``FormatError`` for a length of 2^60
    bytes or more and for a damaged compressed stream. With ``salvage``, damaged records are left out and listed in
    ``.losses``; if the rest of the file cannot be read, because of a failing disk for example, it is the last loss.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    source = with_options(source, storage_options)
    return RecordIterator(source, bytes, compression=compression, verify=verify, salvage=salvage)
