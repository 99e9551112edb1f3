"""The data files of a checkpoint that is being written: how many there are, and which one takes the next bytes.

::

    shards=3            three files are open from the start; each array goes to the one that has the fewest bytes
    shard_size=1 GB     one file is open; the next begins where an array would make it larger than that

An array is never divided, so that one that is larger than ``shard_size`` has a separate file. With ``shard_size`` the
number of files, which is part of each name, is known at the end alone.
"""

from __future__ import annotations

from tfbundle.checkpoint.find.names import shard_path
from tfbundle.limits import MOST_SHARDS
from tfbundle.storage.base import Location
from tfbundle.storage.staging import OpenFiles, StagedFile


class DataFiles:
    """The data files of one checkpoint, under temporary names."""

    def __init__(self, prefix: Location, shards: int, shard_size: int | None, *, sync: bool) -> None:
        """Nothing is created yet. ``shards`` counts the files, unless they are divided by ``shard_size`` bytes.

        With ``sync``, all bytes are on disk when the files are finished.
        """
        self._prefix = prefix
        self._shards = shards
        self._shard_size = shard_size
        self.files: list[StagedFile] = []
        self.opened = OpenFiles(shards, sync=sync)

    def create(self) -> None:
        """Create the files that are open from the start; raises as ``StagedFile`` does."""
        for number in range(self._shards):
            self.files.append(StagedFile(self.location(number, self._shards), self.opened))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def nbytes(self) -> int:
        """The bytes that were written so far."""
        return sum(file.size for file in self.files)

    def location(self, number: int, count: int) -> Location:
        """Return the place of a data file of ``count``."""
        return self._prefix.plus(shard_path("", number, count))

    def choose(self, size: int, shard: int | None) -> int:
        """Return the number of the file for ``size`` bytes, which is ``shard`` where the caller has chosen it."""
        if shard is None:
            if self._shards == 1 and self._shard_size is None:
                return 0
            if self._shard_size is not None:
                full = self.files[-1].size
                if full and full + size > self._shard_size:
                    self._begin_next()
            return min(range(len(self.files)), key=self._fullness) if self._shards > 1 else len(self.files) - 1
        if self._shard_size is not None:
            raise ValueError("shard_size decides which shard takes a tensor; leave out shard")
        if not 0 <= shard < self._shards:
            raise ValueError(f"there is no shard {shard} of {self._shards}")
        return shard

    def _fullness(self, number: int) -> int:
        return self.files[number].size

    def _begin_next(self) -> None:
        number = len(self.files)
        if number >= MOST_SHARDS:
            raise ValueError(f"{self._prefix} would have more than {MOST_SHARDS} shards; pass a larger shard_size")
        self.files[-1].close()
        self.files.append(StagedFile(self.location(number, number + 1), self.opened))

    def finish(self) -> None:
        """Write the remaining bytes, and determine the names."""
        for number, file in enumerate(self.files):
            file.finish()
            file.retarget(self.location(number, len(self.files)))

    def discard(self) -> None:
        """Remove what has not taken its final name."""
        for file in self.files:
            file.discard()
