"""The files of a V1 checkpoint: a single table, or a numbered set of tables, opened when they are needed.

TensorFlow reads those files of a set that it finds. Here all of them must exist: otherwise the tensors of a missing
file would be missing without an error.

A training job may overwrite the files at any time. A file that was replaced since it was first opened is therefore an
error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence

from tfbundle.checkpoint.find.names import parse_v1_shard
from tfbundle.checkpoint.v1.slice_table import SliceTable
from tfbundle.errors import FormatError, MissingFileError, TfBundleError
from tfbundle.storage.base import Location, Source
from tfbundle.storage.descriptors import most_open_files, open_making_room


class V1Files:
    """The tables of one V1 checkpoint, by number, for any number of threads."""

    def __init__(self, prefix: Location, files: Sequence[Location], open_table: Callable[[Source], SliceTable]) -> None:
        """Accept the prefix as the caller passed it; ``open_table`` returns the table of an open file."""
        self.prefix = prefix.anchored()
        self.locations = tuple(file.anchored() for file in files)
        self.paths = tuple(file.path for file in files)
        self._make_table = open_table
        self._open: dict[int, SliceTable] = {}
        self._seen: dict[int, Hashable] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[SliceTable]:
        """Yield the tables, except those of files that could never be opened."""
        for number in range(len(self)):
            try:
                yield self.table(number)
            except (TfBundleError, OSError):
                if number in self._seen:
                    raise

    def table(self, number: int) -> SliceTable:
        """Return an open table; raises ``FormatError`` if its file was replaced since it was opened first."""
        table = self._open.get(number)
        if table is not None:
            return table
        with self._lock:
            if self._closed:
                raise ValueError(f"the checkpoint {self.prefix} is closed; read before close(), or open it again")
            table = self._open.get(number)
            return (
                self._open_table(number) if table is None else table
            )  # The truth value of a table would require a scan of it.

    def _open_table(self, number: int) -> SliceTable:
        source = open_making_room(self.locations[number].open, self._open)
        if self._seen.setdefault(number, source.version) != source.version:
            raise FormatError(
                f"{source.path} was overwritten while the checkpoint was being read; open it again", path=source.path
            )
        table = self._make_table(source)
        if len(self._open) >= most_open_files():
            del self._open[next(iter(self._open))]
        self._open[number] = table
        return table

    def versions(self) -> tuple[Hashable, ...]:
        """Return the version that each file had when it was first opened; ``None`` for one that never was."""
        return tuple(self._seen.get(number) for number in range(len(self)))

    def are_current(self) -> bool:
        """Return whether the files at these paths are still the ones that were opened."""
        try:
            return all(table.source.same_file() for table in self)
        except (TfBundleError, ValueError):
            return False

    def close(self) -> None:
        """Close every file; a later ``table`` is a ``ValueError``."""
        with self._lock:
            self._closed = True
            for table in self._open.values():
                table.source.close()
            self._open.clear()


def check_set(path: str, files: Sequence[str]) -> None:
    """Raise an error unless ``files`` are a single table or a complete numbered set.

    Raises ``MissingFileError`` if a file of the set is missing, and ``FormatError`` if they are of several sets.
    """
    if not files:
        raise MissingFileError(f"there is no V1 checkpoint {path}", path=path)
    parts = [part for part in map(parse_v1_shard, files) if part is not None]
    counts = sorted({part.total for part in parts})
    if not counts:
        return
    if len(counts) > 1:
        raise FormatError(
            f"{path} has files of {' and of '.join(map(str, counts))}, so of more than one checkpoint; "
            "move those of all but one elsewhere",
            path=path,
        )
    present = {part.number for part in parts}
    absent = next((number for number in range(counts[0]) if number not in present), None)
    if absent is not None:
        first = f"{parts[0].prefix}-{absent:05d}-of-{counts[0]:05d}"
        count = counts[0] - len(present)
        others = f", and so are {count - 1} others" if count > 1 else ""
        raise MissingFileError(
            f"the file {first} is absent{others} of the {counts[0]} that make up the V1 checkpoint {path}; "
            "copy it beside the others",
            path=first,
        )
