"""The pass over all values: checksums and statistics together, on several threads, in bounded memory.

Each segment of a tensor is summarized by the thread that has just read it and computed its checksum (``crew`` divides
the work). Small tensors are read many at a time. A tensor that cannot be read has no statistics; ``problems`` has the
reason. The bytes that proved to be intact are ``verified``, so that verification need not read them again.
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
from tfbundle.checkpoint.v2.segments import Segments
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.progress import Progress
from tfbundle.reporting.crew import Task, run_tasks
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.mapping import TensorMapping, store_of
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
    run_tasks(reading.tasks(known), reading.report)
    reading.report()
    if isinstance(store_of(tensors), BundleStore):
        for item in known:
            if item.tensor.name not in reading.found.problems:
                reading.found.verified.update((path, offset, size) for path, offset, size, _ in item.ranges)
    return reading.found


class _Reading:
    """Reads tensors in tasks; each name is written by one task alone."""

    def __init__(self, tensors: TensorMapping, total: int, progress: Progress | None) -> None:
        self.found = Values()
        self._tensors = tensors
        self._progress = progress
        self._total = total
        self._done: Counter[int] = Counter()

    def tasks(self, known: Sequence[Known]) -> Iterator[Task]:
        """Yield what is to be done: a batch of small tensors each, a segment of a large one, or a tensor."""
        store = store_of(self._tensors)
        budget = None if self._tensors.format == "graph" else Budget(cast(Any, store), Listings())
        for batch in _batches(known):
            name = batch[0].tensor.name
            try:
                if budget is not None:
                    budget.spend(sum(item.nbytes for item in batch))
                segments = None
                if batch[0].nbytes > _SMALL and isinstance(store, BundleStore):
                    segments = store.segments(name, store.records()[name])
            except (TfBundleError, OSError) as error:
                self.found.problems.update((item.tensor.name, str(error)) for item in batch)
                continue
            if segments is None:
                yield partial(self._read_batch, batch)
            else:
                whole = _Whole(batch[0], segments, self.found, self._advance)
                yield from (partial(whole.read, number) for number in range(len(segments)))

    def report(self) -> None:
        """Call ``progress``."""
        done = sum(self._done.copy().values())
        if self._progress is not None and done:
            self._progress(done, self._total)

    def _advance(self, nbytes: int) -> None:
        self._done[threading.get_ident()] += nbytes  # Each thread has its own count.

    def _read_batch(self, batch: list[Known]) -> None:
        """Read small tensors together, or one tensor."""
        arrays = _read_together(self._tensors, batch)
        together = [(item, arrays[item.tensor.name]) for item in batch if item.tensor.name in arrays]
        _add_arrays(self.found, together)
        self._advance(sum(item.nbytes for item, _ in together))
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
        plan = make_plan(item.shape)
        self.found.statistics[item.tensor.name] = join(plan, self._summaries(item, plan))

    def _summaries(self, item: Known, plan: Plan) -> Iterator[Part]:
        start = 0
        for chunk in item.tensor.chunks():
            yield summarize(chunk, start, plan)
            self._advance(chunk.nbytes)
            start += len(chunk)
            del chunk  # Its memory is used again for the next one.


class _Whole:
    """A tensor whose segments are read and summarized in any order, and joined by the thread that reads the last."""

    def __init__(self, item: Known, segments: Segments, found: Values, advance: Callable[[int], None]) -> None:
        self._name = item.tensor.name
        self._plan = make_plan(item.shape)
        self._segments = segments
        self._found = found
        self._advance = advance
        self._parts: dict[int, Part] = {}
        self._errors: dict[int, str] = {}
        self._left = len(segments)
        self._lock = threading.Lock()

    def read(self, number: int) -> None:
        """Read a segment; the last one to be read completes the tensor."""
        try:
            array = self._segments.read(number)
            self._parts[number] = summarize(array, self._segments.start(number), self._plan)
            self._advance(array.nbytes)
        except (TfBundleError, OSError) as error:
            self._errors[number] = str(error)
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._complete()

    def _complete(self) -> None:
        try:
            if not self._errors:
                self._segments.check()
        except (TfBundleError, OSError) as error:
            self._errors[0] = str(error)
        if self._errors:
            self._found.problems[self._name] = self._errors[min(self._errors)]
        else:
            parts = map(self._parts.__getitem__, range(len(self._parts)))
            self._found.statistics[self._name] = join(self._plan, parts)


def _batches(known: Sequence[Known]) -> Iterator[list[Known]]:
    """Yield every large tensor alone, and small ones many at a time, whatever is between them."""
    batch: list[Known] = []
    nbytes = 0
    for item in known:
        if item.nbytes > _SMALL:
            yield [item]
            continue
        if batch and (len(batch) >= _MOST_TOGETHER or nbytes + item.nbytes > _BYTES_TOGETHER):
            yield batch
            batch, nbytes = [], 0
        batch.append(item)
        nbytes += item.nbytes
    if batch:
        yield batch


def _read_together(tensors: TensorMapping, batch: list[Known]) -> dict[str, Array]:
    """Return the values of small tensors; none if one of them is damaged, because each is then read alone."""
    if len(batch) < 2:
        return {}
    try:
        return store_of(tensors).read_many([item.tensor.name for item in batch], mmap=False)
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
