"""``save``: a checkpoint from a dict of arrays, from pairs that come one at a time, or from an open checkpoint.

Data is in the order in which tensors are passed, and the index is sorted, so a checkpoint that is read in the order of
its data and saved has the same bytes again. ``v2.writer`` writes the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from tfbundle.checkpoint.v2.values import to_array
from tfbundle.checkpoint.v2.writer import CheckpointWriter
from tfbundle.progress import Progress
from tfbundle.storage.locations import StorageOptions, StrPath, with_options
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.shared_bytes import check_shared_bytes
from tfbundle.tensors.store import Copyable
from tfbundle.tensors.tensor import Tensor


def save(
    path: StrPath,
    tensors: Mapping[str, Any] | Iterable[tuple[str, Any]],
    *,
    shards: int = 1,
    shard_size: int | None = None,
    progress: Progress | None = None,
    storage_options: StorageOptions | None = None,
) -> str:
    """Write a V2 checkpoint with the prefix ``path``, and return the prefix.

    ``tensors`` maps names to arrays, numbers, strings, lists of these or ``Tensor``; or it yields pairs of name and
    value, which are consumed one at a time. The tensors of an open checkpoint are written in the order of its data, so
    that its files are reproduced byte for byte. Each tensor is written to the one of ``shards`` data files that has the
    fewest bytes. With ``shard_size`` the files are filled one after the other, and none exceeds that many bytes unless
    a single tensor does.

    ``progress`` is called after each tensor, and during a large one, with the number of bytes of values written and the
    total. If ``tensors`` are pairs, the total covers the pairs consumed so far.

    Raises ``ValueError`` for empty or duplicate names, ``TypeError`` for values that cannot be a tensor, and the errors
        of reading a ``Tensor``. On any error, no files are left behind.

    ``storage_options`` are those of ``locate``, for URLs.
    """
    path = with_options(path, storage_options)
    counter = None
    if progress is not None:
        known = tensors.items() if isinstance(tensors, Mapping) else ()
        counter = _Counter(progress, sum(_nbytes(*pair) for pair in known))
    written = None if counter is None else counter.count
    with CheckpointWriter(path, shards=shards, shard_size=shard_size, written=written) as writer:
        if isinstance(tensors, TensorMapping):
            steps = _in_stored_order(tensors)
        else:
            pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
            steps = ((name, value, None) for name, value in pairs)
        for name, value, stored in steps:
            if counter is not None:
                counter.begin(_nbytes(name, value) if stored is None else stored.size)
            if stored is None:
                writer.add(name, value)
            else:
                writer.add_copy(name, value.data_type, stored)
            if counter is not None:
                counter.end()
    return writer.prefix


def _in_stored_order(tensors: TensorMapping) -> Iterator[tuple[str, Tensor, Copyable | None]]:
    """Yield tensors in the order of their data, each with the stored slices that can be copied, one at a time."""
    known = [
        (name, tensor, tensor.copyable() if copyable is None else copyable)
        for (name, tensor), copyable in zip(tensors.items(), tensors.all_copyable(), strict=True)
    ]
    if tensors.format == "v2":
        check_shared_bytes(place for _, tensor, copyable in known for place in copyable or tensor.ranges)
    found: list[tuple[tuple[str, int, int, int], tuple[str, Tensor, Copyable | None]]] = []
    # A tensor without bytes comes before one that begins at the same offset.
    for name, tensor, copyable in known:
        for stored in copyable:
            found.append((("", stored.shard, stored.offset, stored.size), (name, tensor, stored)))
        if not copyable:
            place = next(iter(tensor.ranges), None)
            order = ("", 0, 0, 0) if place is None else (place.path, 0, place.offset, place.size)
            found.append((order, (name, tensor, None)))
    found.sort(key=itemgetter(0))
    return (step for _, step in found)


class _Counter:
    """Calls a ``Progress`` with the bytes of values, given the counts of bytes stored.

    Strings are stored with their lengths, and a tensor without elements is a separate step.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = self._end = 0
        self._is_reported = False

    def begin(self, size: int) -> None:
        self._end = self._done + size
        self._is_reported = False

    def count(self, stored: int) -> None:
        done = min(self._done + stored, self._end)
        if done > self._done:
            self._report(done)

    def end(self) -> None:
        if self._done != self._end or not self._is_reported:
            self._report(self._end)

    def _report(self, done: int) -> None:
        self._done, self._is_reported = done, True
        self._progress(done, max(done, self._total))


def _nbytes(name: str, value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    _, array = to_array(name, value)
    return sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes
