"""The pass over all values: checksums and statistics together, on several threads, in bounded memory.

Each chunk is summarized right after its bytes have passed the checksum (``crew`` divides the work). Small tensors are
read many at a time. A tensor that cannot be read has no statistics; ``problems`` has the reason. The bytes that proved
to be intact are ``verified``, so that verification need not read them again.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from tfbundle.checkpoint.find.listings import Listings
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.checkpoint.salvage.salvage import Budget
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.progress import Progress
from tfbundle.reporting.crew import Crew
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.row_statistics import summarize_rows
from tfbundle.tensors.statistics import Part, Plan, Statistics, join, make_plan, summarize
from tfbundle.tensors.store import Range
from tfbundle.tensors.tensor import Tensor

# Tensors up to this size are read together, up to so many and so many bytes at a time.
_SMALL = 64 << 10
_MOST_TOGETHER = 4096
_BYTES_TOGETHER = 4 << 20
# Texts of a string tensor that are shown, and how much of each.
_MOST_TEXTS = 5
_LONGEST_TEXT = 200


@dataclass
class Values:
    """What was learned from the values of tensors, by name; ``verified`` are the ranges of bytes that are intact."""

    statistics: dict[str, Statistics] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    verified: set[tuple[str, int, int]] = field(default_factory=set)


class Known(NamedTuple):
    """A tensor with its metadata, which could be read."""

    tensor: Tensor
    data_type: str
    shape: tuple[int, ...]
    nbytes: int
    ranges: tuple[Range, ...]


def read_values(tensors: TensorMapping, known: Sequence[Known], progress: Progress | None) -> Values:
    """Read all values once; ``progress`` is called with the bytes read so far and the total."""
    reading = _Reading(tensors, sum(item.nbytes for item in known), progress)
    budget = None if tensors.format == "graph" else Budget(cast(Any, tensors._store), Listings())
    jobs: list[Callable[[], None]] = []
    for batch in _batches(known):
        try:
            if budget is not None:
                budget.spend(sum(item.nbytes for item in batch))
        except TfBundleError as error:
            reading.found.problems.update((item.tensor.name, str(error)) for item in batch)
        else:
            jobs.append(partial(reading.read_batch, batch))
    reading.run(jobs)
    if isinstance(tensors._store, BundleStore):
        for item in known:
            if item.tensor.name not in reading.found.problems:
                reading.found.verified.update((path, offset, size) for path, offset, size, _ in item.ranges)
    return reading.found


class _Reading:
    """Reads tensors on the threads of a crew; each name is written by one thread alone."""

    def __init__(self, tensors: TensorMapping, total: int, progress: Progress | None) -> None:
        self.found = Values()
        self._tensors = tensors
        self._progress = progress
        self._total = total
        self._done: Counter[int] = Counter()
        self._crew = Crew([], self._report)

    def run(self, jobs: list[Callable[[], None]]) -> None:
        """Run all jobs."""
        self._crew = Crew(jobs, self._report)
        self._crew.run()
        self._report()

    def _report(self) -> None:
        done = sum(self._done.copy().values())
        if self._progress is not None and done:
            self._progress(done, self._total)

    def _advance(self, nbytes: int) -> None:
        self._done[threading.get_ident()] += nbytes  # Each thread has its own count.

    def read_batch(self, batch: list[Known]) -> None:
        """Read small tensors together, or one tensor."""
        arrays = _read_together(self._tensors, batch)
        _add_arrays(self.found, ((item, arrays[item.tensor.name]) for item in batch if item.tensor.name in arrays))
        self._advance(sum(item.nbytes for item in batch if item.tensor.name in arrays))
        for item in batch:
            if item.tensor.name not in arrays:
                try:
                    self._read_one(item)
                except (TfBundleError, OSError) as error:
                    self.found.problems[item.tensor.name] = str(error)

    def _read_one(self, item: Known) -> None:
        if item.nbytes <= _SMALL or item.tensor.dtype.hasobject:
            _add_arrays(self.found, [(item, item.tensor.read())])
            self._advance(item.nbytes)
            return
        whole = _Whole(item.tensor.name, make_plan(item.shape), self.found)
        start = 0
        for chunk in item.tensor.chunks():
            number = whole.begin()
            self._crew.run_or_pass(partial(whole.add, number, chunk, start))
            self._advance(chunk.nbytes)
            start += len(chunk)
            del chunk  # Its memory is used again for the next one.
        whole.end()


class _Whole:
    """A tensor whose chunks are summarized in any order, and joined by the thread that summarizes the last."""

    def __init__(self, name: str, plan: Plan, found: Values) -> None:
        self._name = name
        self._plan = plan
        self._found = found
        self._parts: list[Part | None] = []
        self._left = 1  # The end counts too, because the checksum is compared there.
        self._lock = threading.Lock()

    def begin(self) -> int:
        """Return the number of the next chunk."""
        with self._lock:
            self._left += 1
            self._parts.append(None)
            return len(self._parts) - 1

    def add(self, number: int, chunk: Array, start: int) -> None:
        """Summarize a chunk, which starts at this element."""
        self._parts[number] = summarize(chunk, start, self._plan)
        self.end()

    def end(self) -> None:
        """Count a chunk, or the end of an intact tensor."""
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._found.statistics[self._name] = join(self._plan, filter(None, self._parts))


def _batches(known: Sequence[Known]) -> Iterator[list[Known]]:
    """Yield small tensors many at a time, and every other tensor alone, in order."""
    batch: list[Known] = []
    nbytes = 0
    for item in known:
        is_small = item.nbytes <= _SMALL
        if batch and (not is_small or len(batch) >= _MOST_TOGETHER or nbytes + item.nbytes > _BYTES_TOGETHER):
            yield batch
            batch, nbytes = [], 0
        if is_small:
            batch.append(item)
            nbytes += item.nbytes
        else:
            yield [item]
    if batch:
        yield batch


def _read_together(tensors: TensorMapping, batch: list[Known]) -> dict[str, Array]:
    """Return the values of small tensors; none if one of them is damaged, because each is then read alone."""
    if len(batch) < 2:
        return {}
    try:
        return tensors._store.read_many([item.tensor.name for item in batch], mmap=False)
    except (TfBundleError, OSError):
        return {}


def _add_arrays(found: Values, arrays: Iterable[tuple[Known, Array]]) -> None:
    """Add the statistics of small tensors, which are computed together for those of one type and shape."""
    alike: defaultdict[tuple[np.dtype[Any], tuple[int, ...]], dict[str, Array]] = defaultdict(dict)
    for item, array in arrays:
        flat = array.reshape(-1)
        if array.dtype.hasobject:
            _add_texts(found, item, flat)
            continue
        alike[array.dtype, item.shape][item.tensor.name] = flat
        if 0 < array.size <= _MOST_TEXTS:
            found.values[item.tensor.name] = tuple(flat.tolist())
    for (_, shape), some in alike.items():
        found.statistics.update(zip(some, summarize_rows(np.stack(list(some.values())), shape), strict=True))


def _add_texts(found: Values, item: Known, flat: Array) -> None:
    if item.data_type == "DT_STRING" and item.tensor.name != OBJECT_GRAPH_KEY:
        texts = (value[:_LONGEST_TEXT].decode("utf-8", "surrogateescape") for value in flat[:_MOST_TEXTS].tolist())
        found.texts[item.tensor.name] = tuple(texts)
