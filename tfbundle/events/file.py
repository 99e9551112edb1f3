"""One event file: its points by tag, and its events of other kinds, read as far as the file goes and then further.

The file is read once: all checksums are verified, numbers are decoded, and the offsets of everything else are noted.
What was appended later is read from the end of the last complete record.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from tfbundle.errors import FormatError, TfBundleError, UnsupportedError
from tfbundle.events.columns import decode_columns
from tfbundle.events.layout import SUMMARY, NumberLayout, Span, Unusual, decode_layout
from tfbundle.events.messages import decode_event
from tfbundle.events.points import Place, Single, TagPoints, makes_up
from tfbundle.events.small_values import read_small_values
from tfbundle.events.unusual import UnusualBudget
from tfbundle.events.wide_decode import Records, decode_lockstep
from tfbundle.formats.checksum import crc32c
from tfbundle.formats.coding import decode_varint
from tfbundle.formats.records.compression import FileStream, Stream, open_stream
from tfbundle.formats.records.continuation import ReadSoFar
from tfbundle.formats.records.frames import FEWEST_ROWS, FRAME_SIZE, HEADER_SIZE
from tfbundle.formats.records.reader import Loss, RecordReader, Truncation, Window
from tfbundle.formats.records.unpacked import Unpacked
from tfbundle.identification.files import identify_source
from tfbundle.identification.kinds import PLACEHOLDERS
from tfbundle.limits import LARGEST_MESSAGE, LARGEST_SMALL_VALUE, MOST_INFLATED_RECORDS
from tfbundle.proto import Event
from tfbundle.storage.base import Location, Source

_DOUBLE = struct.Struct("<d")

# A tree may have more files than a process may open; of all logs together these stay open between two reads.
_MOST_OPEN = 32
_recently_opened: deque[weakref.ref[EventFile]] = deque()
_opening = threading.Lock()


class Options(NamedTuple):
    """What ``open_events`` was asked for; ``partial`` keeps what stands before damage, and the damage is a loss."""

    purge: bool = False
    verify: bool = True
    salvage: bool = False
    partial: bool = False


class OtherEvent(NamedTuple):
    """An event that is no summary: where its payload lies, its size and CRC-32C, its step, and which field it holds."""

    order: int
    size: int
    crc: int
    step: int
    what: int


class EventFile:
    """What has been read of a file so far.

    ``tags`` has the points by the bytes of their tags, ``others`` the other events in order. ``count`` is the number of
    events, ``truncation`` the incomplete record at the end, ``losses`` what ``salvage`` left out.
    """

    def __init__(self, location: Location, options: Options, unusual: UnusualBudget | None = None) -> None:
        """Note the file, which ``read`` opens; ``unusual`` is the budget of its log, by default one of its own."""
        self.location = location
        self.path = location.path
        self._options = options
        self.tags: defaultdict[bytes, TagPoints] = defaultdict(TagPoints)
        self.others: list[OtherEvent] = []
        self.count = 0
        self.truncation: Truncation | None = None
        self.losses: list[Loss] = []
        self.position = 0
        self._is_packed = False
        self._kept: list[bytes] = []
        self._unusual = unusual or UnusualBudget()
        self._unusual.start(self.path)
        self._value_count = 0
        self._small: dict[tuple[int, int], bytes] | None = None  # Small values of a compressed file.
        self._version: object = None
        self._stored_size = 0
        self._so_far: ReadSoFar | None = None
        self._opened: Source | Unpacked | None = None
        self._is_closed = False
        self._is_given_up = False  # Whether no more of the file is read until another takes its place.
        self._passed: list[Loss] = []  # Records of the last reading that are no events.

    def read(self, progress: Callable[[int], None] | None = None) -> bool:
        """Read what was appended since the last time, and return whether there was anything.

        ``progress`` is called repeatedly with the number of bytes read since its last call.

        Raises ``Replaced`` if the file is another one now, or shorter, or compressed and longer, and what
        ``read_events`` raises. What cannot be opened is an ``OSError`` or ``FormatError``, or with ``salvage`` lost.
        """
        before, start = self.count, self.position
        try:
            source, stream = self._open_stream()
        except (TfBundleError, OSError) as error:
            # The link leads nowhere, or to a pipe; or the system refuses.
            if not (self._options.salvage or self._options.partial):
                raise
            stat = self.location.stat()
            size = max(0, (stat.size if stat is not None else 0) - start)
            return self._finish(start, before, None, [Loss(start, size, before, error)])
        try:
            if self._is_packed and source.version == self._version:
                return False
            if self._is_other(source):
                raise Replaced(self.path)
            if self._is_given_up:
                return False
            self._version, self._stored_size = source.version, source.size
            self._is_packed = stream.compression != "NONE"
            reader = RecordReader(
                stream,
                offset=self.position,
                verify=self._options.verify,
                salvage=self._options.salvage,
                largest=LARGEST_MESSAGE,
            )
            reader.count = before
            done = stream.done()
            self._passed = []
            for window in reader.windows():
                self._is_given_up = True  # Unless all of the window is taken; a part of it would be taken twice.
                self._take(window)
                self._is_given_up = False
                if progress is not None:
                    progress(stream.done() - done)
                    done = stream.done()
                if len(window.frames.starts):
                    self.position, self.count = reader.position, reader.count
            self._note_bytes(source)
            return self._finish(start, before, reader.truncation, reader.losses)
        except Replaced:
            raise
        except TfBundleError as error:
            if isinstance(error, FormatError) and not self.count and (kind := identify_source(source)) in PLACEHOLDERS:
                error = FormatError(f"{self.path} is {kind.value}; {kind.advice}", path=self.path)
            error.locate(path=self.path)
            if not self._options.partial:
                raise error from None
            self._note_bytes(source)
            return self._finish(start, before, None, [self._loss(source, error)])
        except OSError as error:
            if not self._options.partial:
                raise
            self._note_bytes(source)
            return self._finish(start, before, None, [self._loss(source, error)])
        finally:
            source.close()

    def _loss(self, source: Source, error: TfBundleError | OSError) -> Loss:
        """Return all from the damage on as a loss."""
        return Loss(self.position, max(0, source.size - self.position), self.count, error)

    def _note_bytes(self, source: Source) -> None:
        """Note what was read, so that another file in its place is noticed."""
        if not self._is_packed:
            # Where its disk is broken, or it just became shorter, what was noted before has to do.
            with suppress(OSError, TfBundleError):
                self._so_far = ReadSoFar(source, self.position)

    def _open_stream(self) -> tuple[Source, Stream]:
        """Return the file, and its bytes from ``position`` on."""
        source = self.location.open()
        try:
            return source, FileStream(source, self.position) if self.position else open_stream(source)
        except BaseException:
            source.close()
            raise

    def _finish(self, start: int, before: int, truncation: Truncation | None, losses: list[Loss]) -> bool:
        """Note how reading from ``start`` ended, when ``before`` events were known; return whether anything changed."""
        # Damage that no whole record follows was not passed: where it ends will be seen when more is there.
        new = sorted([*losses, *self._passed], key=lambda loss: loss.offset)
        losses = [loss for loss in self.losses if loss.offset < start] + new
        changed = (self.count, truncation, _extent(losses)) != (before, self.truncation, _extent(self.losses))
        self.truncation, self.losses = truncation, losses
        return changed

    def _is_other(self, source: Source) -> bool:
        """Return whether another file lies there than the one that was read, if any was."""
        if self._so_far is None:
            return self._version is not None
        return not self._so_far.goes_on_in(source)

    def _was_replaced(self, opened: Source | Unpacked) -> bool:
        if isinstance(opened, Unpacked):
            return opened.version != self._version
        return self._so_far is not None and not self._so_far.goes_on_in(opened)

    def value_bytes(self, order: int, place: Place) -> bytes:
        """Return the serialized ``Summary.Value`` of a point."""
        if place.size < 0:
            return self._kept[-place.size - 1]
        data = self._read_place(place)
        if self._options.verify and crc32c(data) != place.crc:
            raise self._overwritten(order)
        start = order - place.start
        return data[start : start + place.size]

    def _read_place(self, place: Place) -> bytes:
        opened = self._open()
        if isinstance(opened, Unpacked) and place.length <= LARGEST_SMALL_VALUE:
            if self._small is None:
                self._small = read_small_values(opened, self.tags.values())
            if (small := self._small.get((place.start, place.length))) is not None:
                return small
        return opened.read_at(place.start, place.length)

    def event(self, other: OtherEvent) -> Event:
        """One of ``others`` as a message."""
        data = self._open().read_at(other.order, other.size)
        if self._options.verify and crc32c(data) != other.crc:
            raise self._overwritten(other.order)
        return decode_event(data)

    def _open(self) -> Source | Unpacked:
        if self._is_closed:
            raise ValueError(f"{self.path} is closed; read before close(), or open it again")
        opened = self._opened
        if opened is None:
            opened = Unpacked(self.location) if self._is_packed else self.location.open()
            # Otherwise the checksum of each value shows it.
            if not self._options.verify and self._was_replaced(opened):
                raise self._overwritten(0)
            self._opened = opened
            with _opening:
                _recently_opened.append(weakref.ref(self))
                oldest = _recently_opened.popleft()() if len(_recently_opened) > _MOST_OPEN else None
            if oldest is not None and oldest is not self:
                oldest.release()
        return opened

    def release(self) -> None:
        """Close the file until something of it is read again, from what then lies at the path."""
        self._small = None
        self._opened = None  # It closes with its last reader, who may be another thread.

    def close(self) -> None:
        """Close the file; a later read raises ``ValueError``."""
        self._is_closed = True
        self.release()

    def _overwritten(self, offset: int) -> FormatError:
        return FormatError(
            f"{self.path} was overwritten after it was read; call refresh()", path=self.path, offset=offset
        )

    def _take(self, window: Window) -> None:
        frames = window.frames
        offsets = frames.starts + window.offset
        singles = [frames.singles]
        for group in frames.groups:
            back = decode_columns(group, offsets[group.numbers], frames.crcs[group.numbers], self.tags)
            singles.append(group.numbers[back])
        rest = np.sort(np.concatenate(singles))
        rest = rest[frames.fine[rest]]
        ends = frames.starts + frames.sizes
        if len(rest) >= FEWEST_ROWS:
            records = Records(window.data, window.offset, frames.starts[rest], ends[rest], frames.crcs[rest])
            rest = rest[decode_lockstep(records, self.tags)]
        columns = rest, frames.starts[rest], ends[rest], frames.crcs[rest]
        for number, start, end, crc in zip(*(column.tolist() for column in columns), strict=True):
            offset = window.offset + start
            try:
                self._take_single(window.data[start:end], offset, crc)
            except TfBundleError as error:
                error.locate(path=self.path, offset=offset)
                if not isinstance(error, FormatError) or not (self._options.salvage or self._options.partial):
                    raise error from None
                self._unusual.take_other(self.path)
                error.__traceback__ = error.__context__ = None  # They hold the window.
                self._passed.append(Loss(offset - HEADER_SIZE, end - start + FRAME_SIZE, window.number + number, error))

    def _take_single(self, record: memoryview, offset: int, crc: int) -> None:
        kept = False
        size = len(record)
        try:
            layout = decode_layout(record)
        except (Unusual, FormatError):
            event = decode_event(bytes(record))
            event.DiscardUnknownFields()
            record = memoryview(event.SerializeToString())
            self._unusual.take_event(self.path, len(record))
            layout = decode_layout(record)
            kept = True
        wall = _DOUBLE.unpack_from(record, layout.wall)[0] if layout.wall is not None else 0.0
        step = _number(record, layout.step)
        step -= (step >> 63) << 64
        if layout.what != SUMMARY:
            self.others.append(OtherEvent(offset, size, crc, step, layout.what))
        self._count_values(len(layout.values))
        values = [(number, value) for number, value in enumerate(layout.values) if value.form or value.metadata]
        if len(values) < len(layout.values):
            self._unusual.take_empty(self.path, len(layout.values) - len(values))
        for number, value in values:
            order = offset + (number if kept else value.span.start)
            points = self.tags[bytes(record[value.tag.start : value.tag.end])]
            if value.metadata is not None:
                points.note_metadata(order, bytes(record[value.metadata.start : value.metadata.end]))
            if value.number is not None:
                kind = value.form, value.number.dtype
                points.add_single(kind, Single(order, step, wall, _number_bytes(record, value.number)))
                continue
            data = record[value.span.start : value.span.end]
            if kept:
                self._kept.append(bytes(data))
                place = Place(-len(self._kept), 0, 0, 0)
            elif makes_up(len(data), size):
                place = Place(len(data), offset, size, crc)
            else:
                place = Place(len(data), order, len(data), crc32c(data))
            points.add_single((value.form, None), Single(order, step, wall, None, place))

    def _count_values(self, count: int) -> None:
        self._value_count += count
        size = self._stored_size
        if self._is_packed and self._value_count > MOST_INFLATED_RECORDS + size:
            raise UnsupportedError(
                f"{self.path} has more than {self._value_count} values in {size} compressed bytes, far more than can "
                "differ from each other; unpack the file to read them anyway",
                path=self.path,
            )


class Replaced(TfBundleError):
    """Another file lies at a path than the one that was read."""


def _extent(losses: list[Loss]) -> list[tuple[int, int]]:
    return [(loss.offset, loss.size) for loss in losses]


def _number_bytes(record: memoryview, number: NumberLayout) -> bytes:
    dtype = number.dtype
    if number.is_varint:
        value = _number(record, number.span)
        return (bool(value) if dtype.kind == "b" else value).to_bytes(8, "little")[: dtype.itemsize]
    return bytes(record[number.span.start : number.span.end]) or bytes(dtype.itemsize)


def _number(record: memoryview, span: Span | None) -> int:
    return 0 if span is None else decode_varint(record, span.start, span.end)[0]
