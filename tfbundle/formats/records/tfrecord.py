"""Record files (TFRecord), from a path or a file object, compressed or not, in constant memory.

``record_reader`` finds and verifies the records, and says what the different ends of a file mean; here they become
items, one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import BinaryIO, TypeVar

import numpy as np

from tfbundle.errors import FormatError
from tfbundle.formats.records.compression import open_source, open_stream
from tfbundle.formats.records.reader import Loss, RecordReader, Truncation
from tfbundle.limits import LARGEST_RECORD

Item = TypeVar("Item")


class RecordIterator(Iterator[Item]):
    """What the records of a file hold, one after the other.

    ``truncation`` (``None``, or the half-written record at the end) and ``losses`` (empty without ``salvage``) are
    complete when all has been read. ``number`` is that of the last item's record, ``offset`` where its payload lies,
    ``compression`` how the file is compressed (``"NONE"`` and so on).
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        decode: Callable[[bytes], Item],
        *,
        compression: str | None = None,
        salvage: bool = False,
        largest: int = LARGEST_RECORD,
    ) -> None:
        """Open as ``read_records`` does; ``decode`` makes an item of a payload, or raises ``FormatError``."""
        opened, self._owned = open_source(source)
        stream = open_stream(opened, compression)
        self.compression = stream.compression
        self._path = stream.path
        self._reader = RecordReader(stream, salvage=salvage, largest=largest)
        self.number = self.offset = 0
        self._items = self._read(decode)

    @property
    def truncation(self) -> Truncation | None:
        return self._reader.truncation

    @property
    def losses(self) -> list[Loss]:
        return self._reader.losses

    @property
    def done(self) -> int:
        """How many bytes of the file were read up to now, as they are stored."""
        return self._reader.done

    def __next__(self) -> Item:
        return next(self._items)

    def __enter__(self) -> RecordIterator[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a file object that was passed stays open."""
        self._items.close()
        self._close_source()

    def _close_source(self) -> None:
        if self._owned is not None:
            self._owned.close()

    def _read(self, decode: Callable[[bytes], Item]) -> Generator[Item, None, None]:
        for window in self._reader.windows():
            starts, ends = window.frames.starts, window.frames.starts + window.frames.sizes
            which = np.flatnonzero(window.frames.fine)
            numbers = which + window.number
            places = zip(numbers.tolist(), starts[which].tolist(), ends[which].tolist(), strict=True)
            for self.number, start, end in places:
                self.offset = window.offset + start
                try:
                    item = decode(bytes(window.data[start:end]))
                except FormatError as error:
                    raise error.locate(path=self._path, offset=self.offset) from None
                yield item
        self._close_source()


def read_records(
    source: str | os.PathLike[str] | BinaryIO, *, compression: str | None = None, salvage: bool = False
) -> RecordIterator[bytes]:
    """The payloads of a TFRecord file, one after the other, as ``bytes``.

    ``source`` is a path, or a binary file object, which is read from where it stands and not closed. ``compression`` is
    ``"NONE"``, ``"GZIP"``, ``"ZLIB"`` or ``"SNAPPY"``; by default the first bytes tell. Both checksums of every record
    are verified. Memory holds one window of the file, or one record where that is larger.

    A record that is half there ends the iteration; then ``.truncation`` says where it begins and how many bytes of it
    there are: none if the compressed stream ends too early, behind a whole record. Raises ``ChecksumError`` for a
    damaged record, after those before it, and ``FormatError`` for a length of 2^60 bytes or more and for a compressed
    stream that is damaged. With ``salvage`` damaged records are left out, and ``.losses`` lists them; the last one is
    all from where the file cannot be read on, if its disk is broken there.
    """
    return RecordIterator(source, bytes, compression=compression, salvage=salvage)
