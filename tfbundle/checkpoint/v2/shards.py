"""The ``.data-?????-of-?????`` files of a bundle, opened when they are first needed.

A training job may overwrite or delete its checkpoint at any time. The index that was read does not describe data
files that were written after it, so a shard is opened only while the path of the index still leads to the file that was
opened and no open shard was replaced, and one that had to be closed in between must come back as the same file. Once
open, a file that was renamed over or deleted keeps its bytes; one that is written to in place is noticed by
``Source``.

Writers rename the data files into place first, and the index last. A shard that is opened in between holds other values
than the index knows, and only its checksums show it. So what was read without them is handed out only while neither the
index nor the shard was replaced: soon after the writer is done, every such read is an error. What stays unnoticed is a
read that begins and ends while the writer is halfway.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable

from tfbundle.checkpoint.find.names import shard_path
from tfbundle.checkpoint.find.renamed import advise_missing_shard
from tfbundle.checkpoint.v2.entry import decode_facts, decode_location
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.formats.table.reader import Table
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.storage.base import Location, Source
from tfbundle.storage.descriptors import most_open_files, open_making_room

# Of an index, to see how long a data file should be: some ten thousand tensors.
_MOST_BLOCKS = 8


class Shards:
    """The data files of one bundle, by number, for any number of threads."""

    def __init__(self, prefix: Location, count: int, index: Source) -> None:
        """``count`` is the number of shards that the header states; nothing is opened yet."""
        self.prefix = prefix
        self.count = count
        self._index = index
        self._open: dict[int, Source] = {}
        self._seen: dict[int, Hashable] = {}
        self._advice: dict[int, str] = {}
        self._paths: dict[int, str] = {}
        self._lock = threading.Lock()
        self._closed = False

    def path(self, shard: int) -> str:
        """Return the file name of a shard."""
        path = self._paths.get(shard)
        if path is None:
            path = self._paths[shard] = shard_path(self.prefix.path, shard, self.count)
        return path

    def location(self, shard: int) -> Location:
        """Return the location of a shard."""
        return self.prefix.plus(shard_path("", shard, self.count))

    def source(self, shard: int, first: tuple[int, int] | None = None) -> Source:
        """Return an open shard; ``first`` is the offset and the size of what is read of it first, if that is known.

        Raises ``FormatError`` for a number that the bundle does not have, or if the checkpoint was replaced since
        its index was read, and ``MissingFileError`` where the file does not exist.
        """
        source = self._open.get(shard)
        if source is not None:
            return source
        with self._lock:
            if self._closed:
                raise ValueError(f"the checkpoint {self.prefix} is closed; read before close(), or open it again")
            return self._open.get(shard) or self._open_shard(shard, first)

    def _open_shard(self, shard: int, first: tuple[int, int] | None) -> Source:
        if not 0 <= shard < self.count:
            raise FormatError(
                f"the index places it in shard {shard}, and the checkpoint has {self.count}",
                path=self._index.path,
                shard=shard,
            )
        location = self.location(shard)
        path = location.path
        try:
            source = open_making_room(lambda: location.open(first), self._open)
        except MissingFileError:
            raise self._missing(shard, path) from None
        # In this order: a checkpoint that is replaced after all checks leaves the open files as they are.
        if self._seen.setdefault(shard, source.version) != source.version:
            raise self._overwritten(path)
        if not source.is_remote:
            if not self._index.same_file():
                raise self._overwritten(path)
            self.check_in_place()
        if len(self._open) >= most_open_files():
            del self._open[next(iter(self._open))]
        self._open[shard] = source
        return source

    def check_unverified(self, source: Source) -> None:
        """Raise ``FormatError`` if what was read from a shard without a checksum may be another checkpoint's."""
        source.check_unchanged()
        for file in (self._index,) if source.is_remote else (source, self._index):
            if file.was_replaced():
                raise self._overwritten(file.path)

    def explain(self, error: TfBundleError, source: Source) -> TfBundleError:
        """Return the error for bytes that contradict the index: ``error``, unless another checkpoint is there now.

        On opening, that was checked already, unless it takes a request.
        """
        if source.is_remote and self._index.was_replaced():
            return self._overwritten(self._index.path)
        return error

    def check_in_place(self) -> None:
        """Raise ``FormatError`` if another checkpoint has begun to take the place of this one."""
        for file in (self._index, *self._open.values()):
            if file.was_replaced():
                raise self._overwritten(file.path)

    def _overwritten(self, path: str) -> FormatError:
        return FormatError(
            f"the checkpoint {self.prefix} was overwritten or deleted while it was being read; open it again",
            path=path,
        )

    def _needed(self, shard: int) -> int | None:
        """Return how many bytes the index lists in a shard, or ``None`` where it is damaged or too large to search."""
        end = None
        try:
            for count, (_, values) in enumerate(Table(self._index, verify=False).blocks()):
                if count >= _MOST_BLOCKS:
                    return None
                for value in values[1:] if not count else values:  # The first is the header.
                    facts = decode_facts(value)
                    place = None if facts.slices else decode_location(value, facts)
                    if place is not None and place.shard == shard:
                        end = max(end or 0, place.offset + place.size)
        except (TfBundleError, OSError):
            return None
        return end

    def _missing(self, shard: int, path: str) -> MissingFileError:
        if not self.prefix.plus(INDEX_SUFFIX).is_file():
            reason = f"the checkpoint {self.prefix} was deleted while it was being read"
        else:
            # Every tensor of the shard may be requested, and searching the folder takes time.
            if shard not in self._advice:
                self._advice[shard] = advise_missing_shard(self.prefix, shard, self.count, self._needed(shard))
            reason = (
                f"the checkpoint's data file {path} does not exist (shard {shard} of {self.count}); "
                f"{self._advice[shard]}" + (", or read the tensors in other shards" if self.count > 1 else "")
            )
        return MissingFileError(reason, path=path, shard=shard)

    def close(self) -> None:
        """Close every file; a later ``source`` is a ``ValueError``."""
        with self._lock:
            self._closed = True
            for source in self._open.values():
                source.close()
            self._open.clear()
