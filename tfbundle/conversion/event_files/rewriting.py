"""Rewriting of an event file according to its plan.

Records without changes are copied with their frames; the others are encoded again. As in reading, records of the same
length and layout are processed together (``stacks``), thousands at a time, and the rest one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tfbundle.conversion.event_files.plan import DROPPED, SAME, FilePlan
from tfbundle.conversion.event_files.splicing import Shift, is_known, make_splice, splice_record, splice_rows
from tfbundle.errors import FormatError, TfBundleError
from tfbundle.events.layout import Layout, Unusual
from tfbundle.events.stacks import find_stacks
from tfbundle.formats.records.compression import open_stream
from tfbundle.formats.records.frames import FEWEST_ROWS, FRAME_SIZE, HEADER_SIZE, Bytes, Group, Numbers
from tfbundle.formats.records.reader import RecordReader, Window
from tfbundle.formats.records.writer import RecordRun, encode_record, encode_records
from tfbundle.limits import LARGEST_MESSAGE
from tfbundle.tensors.arrays import Array

Write = Callable[[memoryview], None]

_CRC_SIZE = FRAME_SIZE - HEADER_SIZE
# Encoding so many records one by one takes as long as encoding them together.
_FEWEST_ALIKE = 4


def rewrite_file(
    plan: FilePlan, shift: Shift, write: Write, *, salvage: bool, advance: Callable[[int], None] | None = None
) -> None:
    """Write the remaining records of a file; compressed ones are unpacked.

    Raises the errors of ``read_records``, and ``FormatError`` if the file has changed since it was planned.
    """
    if not plan.count:
        return  # Nothing was read from it; perhaps it cannot be opened.
    source = plan.location.open()
    try:
        tallies = _Tallies(plan)
        stream = open_stream(source)
        reader = RecordReader(stream, salvage=salvage, largest=LARGEST_MESSAGE)
        done = 0
        for window in reader.windows():
            window = _until(window, plan.position)
            _Rewriting(tallies, shift, window).write_to(write)
            if advance is not None:
                advance(stream.done() - done)
                done = stream.done()
            if reader.position >= plan.position:
                break
        if reader.position < plan.position:
            raise FormatError(
                f"{plan.location} became shorter while it was edited; edit runs that no program is writing",
                path=plan.location.path,
            )
    except TfBundleError as error:
        raise error.locate(path=plan.location.path) from None
    finally:
        source.close()


def _until(window: Window, position: int) -> Window:
    """Return the window without records that were appended after ``position``."""
    starts = window.frames.starts + window.offset
    count = int(np.searchsorted(starts, position))
    return window if count == len(starts) else window._replace(frames=window.frames.first(count))


class _Tallies:
    """How many values of a file, up to each one, are dropped, are changed at all, and have a meaningless step."""

    def __init__(self, plan: FilePlan) -> None:
        self.plan = plan
        self.described = np.isin(plan.places, np.array(list(plan.described), np.int64))
        self._dropped, self._touched, self._stepless = (
            np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
            for mask in (plan.codes == DROPPED, (plan.codes != SAME) | self.described, plan.stepless)
        )

    def sort_out(self, window: Window, shift: Shift) -> _Records:
        """Return what happens with the records of a window."""
        frames = window.frames
        begins = frames.starts + window.offset
        first = np.searchsorted(self.plan.places, begins)
        last = np.searchsorted(self.plan.places, begins + frames.sizes)
        dropped, touched, stepless = (
            tally[last] - tally[first] for tally in (self._dropped, self._touched, self._stepless)
        )
        count = last - first
        is_left_out = ((count > 0) & (dropped == count)) | ~frames.fine | _are_among(self.plan.lost, begins)
        shifted = np.zeros(len(begins), bool)
        if shift.steps:
            shifted = ((count == 0) | (stepless < count)) & ~_are_among(self.plan.fixed, begins)
        changed = (touched > 0) | shifted | bool(shift.seconds)
        if len(begins) == 1 and frames.end > frames.starts[0] + frames.sizes[0] + _CRC_SIZE:
            changed[:] = True  # Padding of an old writer, which is dropped.
        return _Records(first, last, touched > 0, is_left_out, changed & ~is_left_out, shifted)


def _are_among(places: Array, begins: Numbers) -> Array:
    """Return which of ``begins`` are in ``places``, which are ascending."""
    if not len(places):
        return np.zeros(len(begins), bool)
    found: Array = places[np.minimum(np.searchsorted(places, begins), len(places) - 1)] == begins
    return found


class _Records(NamedTuple):
    """The records of a window: ``first`` and ``last`` are the numbers of their values in the file.

    The other fields state which have changed values, are left out, are encoded again, and have a shifted step.
    """

    first: Numbers
    last: Numbers
    touched: Array
    left_out: Array
    changed: Array
    shifted: Array


class _Rewriting:
    """The records of one window while they are rewritten."""

    def __init__(self, tallies: _Tallies, shift: Shift, window: Window) -> None:
        self._tallies = tallies
        self._plan = tallies.plan
        self._shift = shift
        self._window = window
        self._starts = window.frames.starts
        self._ends = self._starts + window.frames.sizes
        self._records = tallies.sort_out(window, shift)
        self._made: list[tuple[Numbers, Bytes]] = []  # Records of one size: their numbers, and a row each.
        self._singles: list[tuple[int, bytes]] = []

    def write_to(self, write: Write) -> None:
        """Write the remaining records of the window."""
        copied = ~(self._records.left_out | self._records.changed)
        if copied.all() and len(self._copies(copied)) == 1:
            write(self._window.data[: self._window.frames.end])
            return
        self._make()
        sizes = np.where(copied, self._window.frames.sizes + FRAME_SIZE, 0)
        for numbers, rows in self._made:
            sizes[numbers] = rows.shape[1]
        for number, record in self._singles:
            sizes[number] = len(record)
        run = RecordRun(sizes)
        for numbers, rows in self._made:
            run.put_rows(numbers, rows)
        for number, record in self._singles:
            run.put(number, record)
        for first, last in self._copies(copied):
            run.put(first, self._window.data[self._starts[first] - HEADER_SIZE : self._ends[last] + _CRC_SIZE])
        write(run.data)

    def _copies(self, copied: Array) -> list[tuple[int, int]]:
        """Return the first and the last of the records in each stretch that is copied at once."""
        which = np.flatnonzero(copied)
        if not len(which):
            return []
        follows = (which[1:] == which[:-1] + 1) & (
            self._starts[which[1:]] == self._ends[which[:-1]] + _CRC_SIZE + HEADER_SIZE
        )
        breaks = np.flatnonzero(~follows)
        firsts, lasts = which[[0, *(breaks + 1)]], which[[*breaks, len(which) - 1]]
        return list(zip(firsts.tolist(), lasts.tolist(), strict=True))

    def _make(self) -> None:
        """Encode all changed records."""
        left = self._records.changed.copy()
        for group in self._window.frames.groups:
            for shifted in (True, False):
                which = left[group.numbers] & (self._records.shifted[group.numbers] == shifted)
                if np.count_nonzero(which) >= FEWEST_ROWS:
                    self._make_group(Group(group.size, group.numbers[which], group.rows[which]), left)
        for number in np.flatnonzero(left).tolist():
            start, end = int(self._starts[number]), int(self._ends[number])
            offset = self._window.offset + start
            first, last = int(self._records.first[number]), int(self._records.last[number])
            changes = self._plan.changes_between(offset, first, last)
            try:
                record = splice_record(bytes(self._window.data[start:end]), changes, self._shift_of(number))
            except TfBundleError as error:
                raise error.locate(path=self._plan.location.path, offset=offset) from None
            self._singles.append((number, encode_record(record)))

    def _shift_of(self, number: int) -> Shift:
        return self._shift if self._records.shifted[number] else self._shift._replace(steps=0)

    def _make_group(self, group: Group, left: Array) -> None:
        """Encode records of one length in stacks, if there are enough, and remove them from ``left``."""
        stacks, _ = find_stacks(group)
        for layout, rows, bounds in stacks:
            numbers, records = group.numbers[rows], group.rows[rows, : group.size]
            if not self._records.touched[numbers].any():
                bounds = [0, len(numbers)]  # Names do not matter.
            for start, end in pairwise(bounds):
                if end - start >= _FEWEST_ALIKE:
                    self._make_stack(layout, numbers[start:end], records[start:end], left)

    def _make_stack(self, layout: Layout, numbers: Numbers, records: Bytes, left: Array) -> None:
        """Encode records of the same layout and, if any of their values changes, with the same names."""
        places = self._plan.places
        known = np.array([value.span.start for value in layout.values if is_known(value)], np.int64)
        begins = self._starts[numbers] + self._window.offset
        values = np.searchsorted(places, begins[:, None] + known)
        if len(known) and (values.max() >= len(places) or (places[values] != begins[:, None] + known).any()):
            return
        plain = ~self._tallies.described[values].any(axis=1)
        if not plain.any():
            return
        model = int(plain.argmax())
        codes = self._plan.codes[values]
        alike = np.flatnonzero(plain & (codes == codes[model]).all(axis=1))
        first, last = int(self._records.first[numbers[model]]), int(self._records.last[numbers[model]])
        changes = self._plan.changes_between(int(begins[model]), first, last)
        shift = self._shift_of(int(numbers[model]))
        try:
            parts = make_splice(layout, records[model].tobytes(), changes, shift)
        except Unusual:
            return
        for which, rows in splice_rows(layout, records[alike], parts, shift):
            self._made.append((numbers[alike[which]], encode_records(rows)))
        left[numbers[alike]] = False
