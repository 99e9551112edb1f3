"""One event file: its points by tag and its events of other kinds, read to the end and again as the file grows.

The file is read once: all checksums are verified, numbers are decoded, and the offsets of everything else are recorded.
Data that is appended later is read from the end of the last complete record.
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

# A tree may have more files than a process may open; this many stay open between reads, over all logs.
_MOST_OPEN = 32
_recently_opened: deque[weakref.ref[EventFile]] = deque()
_opening = threading.Lock()


class Options(NamedTuple):
    """The arguments of ``open_events``; ``partial`` keeps the data before damage, and reports the rest as a loss."""

    purge: bool = False
    verify: bool = True
    salvage: bool = False
    partial: bool = False


class OtherEvent(NamedTuple):
    """An event that is not a summary: its payload's offset, size and CRC-32C, its step, and the field that it has."""

    order: int
    size: int
    crc: int
    step: int
    what: int


class EventFile:
    """The contents of a file as far as it has been read.

    ``tags`` has the points by tag, as bytes, and ``others`` the other events in order. ``count`` is the number of
    events, ``truncation`` the incomplete record at the end, ``losses`` the data that ``salvage`` left out.
    """

    def __init__(self, location: Location, options: Options, unusual: UnusualBudget | None = None) -> None:
        """Store the location, which ``read`` opens; ``unusual`` is the budget of the log, by default a separate one."""
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
        self._surplus = 0  # Records and values beyond one for each byte of a compressed file.
        self._small: dict[tuple[int, int], bytes] | None = None  # Small values of a compressed file.
        self._version: object = None
        self._stored_size = 0
        self._so_far: ReadSoFar | None = None
        self._opened: Source | Unpacked | None = None
        self._is_closed = False
        self._is_given_up = False  # Whether reading stops until the file is replaced.
        self._passed: list[Loss] = []  # Records of the last read that are not events.

    @property
    def so_far(self) -> ReadSoFar | None:
        """What was read, for ``resume`` in another process; ``None`` for a compressed file, or if nothing was read."""
        return self._so_far

    def resume(self, so_far: ReadSoFar, count: int) -> None:
        """Let the first ``read`` continue after ``count`` events that another process has read."""
        self._so_far = so_far
        self.position, self.count = so_far.position, count

    def read(self, progress: Callable[[int], None] | None = None) -> bool:
        """Read data appended since the last call, and return whether there was any.

        ``progress`` is called repeatedly with the number of bytes read since its last call.

        Raises ``Replaced`` if the file was replaced, became shorter, or is compressed and became longer, and the errors
        of ``read_events``. A file that cannot be opened raises ``OSError`` or ``FormatError``, or with ``salvage`` is a
        loss.
        """
        before, start = self.count, self.position
        try:
            source, stream = self._open_stream()
        except (TfBundleError, OSError) as error:
            # A link may be broken or point to a pipe, or the system may deny access.
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
                self._count_inflated(reader.count)
                self._is_given_up = True  # Until the whole window is decoded; a part would be decoded twice.
                self._take(window)
                self._is_given_up = False
                self._count_inflated(reader.count)
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
        """Return everything from the damage on as a loss."""
        return Loss(self.position, max(0, source.size - self.position), self.count, error)

    def _note_bytes(self, source: Source) -> None:
        """Record which bytes were read, so that a replaced file is detected."""
        if not self._is_packed:
            # If the disk fails or the file has just become shorter, the earlier record is kept.
            with suppress(OSError, TfBundleError):
                self._so_far = ReadSoFar.of(source, self.position)

    def _open_stream(self) -> tuple[Source, Stream]:
        """Return the file and the stream of its bytes from ``position`` on."""
        source = self.location.open()
        try:
            return source, FileStream(source, self.position) if self.position else open_stream(source)
        except BaseException:
            source.close()
            raise

    def _finish(self, start: int, before: int, truncation: Truncation | None, losses: list[Loss]) -> bool:
        """Record how reading from ``start``, after ``before`` events, ended; return whether anything changed."""
        # Damage that no complete record follows was not passed: its end is determined when the file has grown.
        new = sorted([*losses, *self._passed], key=lambda loss: loss.offset)
        losses = [loss for loss in self.losses if loss.offset < start] + new
        changed = (self.count, truncation, _extent(losses)) != (before, self.truncation, _extent(self.losses))
        self.truncation, self.losses = truncation, losses
        return changed

    def _is_other(self, source: Source) -> bool:
        """Return whether the file is not the one that was read before, if any was."""
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
        """Return one of ``others`` as a message."""
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
            # With ``verify``, the checksum of each value detects a replaced file.
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
        """Close the file; the next read opens the path again."""
        self._small = None
        self._opened = None  # It is closed after its last use, which may be in another thread.

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
                error.__traceback__ = error.__context__ = None  # These reference the window.
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

    def _count_inflated(self, records: int) -> None:
        surplus = records + self._value_count - self._stored_size
        if self._is_packed and surplus > self._surplus:
            self._unusual.take_inflated(self.path, surplus - self._surplus)
            self._surplus = surplus

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
    """The file at a path is not the one that was read before."""


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
