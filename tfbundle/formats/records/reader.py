"""Read a stream of records (TFRecord) window by window, up to its end or to damage.

A file may end or be damaged in three ways, which are reported differently, as in TensorBoard's Rust server:

- it ends in the middle of a record or of compressed data, because a program is still writing or was stopped.
  ``truncation`` states where the incomplete record begins and how many bytes of it are present;
- a checksum is wrong: ``ChecksumError`` with the number and offset of the record, after all records before it. With
  ``salvage`` the reader continues at the next complete record, and ``losses`` lists the bytes left out;
- a length is larger than a record can have: ``FormatError``. Nothing is allocated for bytes that do not exist.

An old Julia writer pads its messages: the length is that of the message, but the checksum covers the padding too.
TensorFlow considers such a record damaged. ``salvage`` searches for the next header, and reads the record if the
checksum before that header matches all bytes up to it.

Bytes that the system cannot read raise ``OSError``, after all records before them; with ``salvage`` they are a loss up
to the end.

Bytes are read in windows, all into one buffer; ``frames`` finds and verifies the records in each. Offsets count from
the start of the records; for a compressed file these are not offsets in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfbundle.errors import ChecksumError, FormatError, TfBundleError, UnsupportedError
from tfbundle.formats.checksum import crc32c, unmask
from tfbundle.formats.records.compression import Stream, is_header
from tfbundle.formats.records.frames import (
    FRAME_SIZE,
    HEADER_SIZE,
    LONGEST_PADDING,
    PADDING,
    WORD_END,
    Frames,
    find_frames,
    find_header,
    is_padded_word,
    next_header,
)
from tfbundle.limits import (
    LARGEST_INFLATED,
    LARGEST_INFLATED_GROWTH,
    LARGEST_RECORD,
    MOST_HEADER_PASSES,
    MOST_INFLATED_RECORDS,
)

# Bytes that are read at a time; the matrices of a window this small stay in the processor's cache.
_WINDOW = 1 << 21
# After damage, the next record is usually near.
_SHORTEST_SEARCH = 1 << 12


class Truncation(NamedTuple):
    """An incomplete record at the end: its ``offset``, and the ``size`` of the part that is present.

    ``size`` is 0 if a compressed stream was cut after a complete record, or no more of it can be decompressed.
    """

    offset: int
    size: int


class Loss(NamedTuple):
    """Bytes that were left out because they are damaged or unreadable: their offset, their number, and the error.

    ``number`` is the number of the record there; a range without a valid length counts as one record.
    """

    offset: int
    size: int
    number: int
    error: TfBundleError | OSError


class Window(NamedTuple):
    """Verified records in a range of a file: ``data[0]`` is the byte ``offset``, record 0 the record ``number``.

    ``data`` is overwritten by the next window.
    """

    data: memoryview
    offset: int
    number: int
    frames: Frames


class RecordReader:
    """Reads through a stream once, window by window.

    ``position`` is the offset after the last record that was returned or skipped, ``count`` the number of records up to
    there; ``truncation`` and ``losses`` are filled in during the reading.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        offset: int = 0,
        verify: bool = True,
        salvage: bool = False,
        largest: int = LARGEST_RECORD,
    ) -> None:
        """Read ``stream`` from its current position, which is the byte ``offset`` of the records.

        Without ``verify`` no checksum is checked, neither of lengths nor of payloads. Records of more than ``largest``
        bytes are rejected.
        """
        self.position = offset
        self.count = 0
        self.truncation: Truncation | None = None
        self.losses: list[Loss] = []
        self._stream = stream
        self._verify = verify
        self._salvage = salvage
        self._largest = largest
        # Bytes that were read and not yet returned are ``_buffer[_start:_end]``, which begins at ``position``.
        self._buffer = memoryview(bytearray(PADDING))
        self._start = self._end = 0
        self._half = 0  # Bytes at the end that were read and in which no record begins.
        self._spent = 0  # Bytes that were read or checked in the search for records.
        self._problem: TfBundleError | OSError | None = None  # Why no more can be read.
        self._is_padded = False  # Whether a record with padding was found.

    @property
    def done(self) -> int:
        """The number of stored (compressed) bytes of the file read so far."""
        return self._stream.done()

    def windows(self) -> Iterator[Window]:
        """Yield the windows, in which all ``fine`` records have valid checksums; raises as the module describes."""
        wanted = HEADER_SIZE
        while self._fill(wanted) or self._skip_overlong():
            frames = find_frames(self._buffer[self._start :], 0, self._size, verify=self._verify)
            damage: FormatError | None = None
            if not frames.fine.all():
                frames, damage = self._salvaged(frames) if self._salvage else self._before_damage(frames)
            window = Window(self._buffer[self._start :], self.position, self.count, frames)
            self._pass(frames.end, len(frames.starts))
            self._check_count()
            yield window
            wanted = frames.needed
            if damage is None and (wanted == 0 or wanted - FRAME_SIZE > self._largest):
                damage = self._bad_header()
            if damage is not None:
                padded = self._find_padded() if self._salvage else None
                if padded is not None:
                    yield padded
                else:
                    self._skip_damage(damage)
                wanted = HEADER_SIZE
        size = self._half + self._size + (self._stream.remaining() or 0)
        self._free()
        if self._problem is not None:
            if not self._salvage:
                raise self._problem
            self.losses.append(Loss(self.position, size, self.count, self._problem))
        elif size or self._stream.is_cut:
            self.truncation = Truncation(self.position, size)

    def _fill(self, wanted: int) -> bool:
        """Read a window, or ``wanted`` bytes if that is more; return whether so many bytes are available."""
        left = self._stream.remaining()
        if left is not None and wanted > left + self._size:
            return False  # Nothing is allocated for bytes that do not exist.
        # Among damaged records, a few bytes are processed at a time, for which the others need not be moved.
        if self._size >= max(wanted, _WINDOW // 2):
            return True
        goal = max(wanted, _WINDOW if left is None else min(_WINDOW, self._size + left))
        had, done = self._size, self._stream.done()
        try:
            self._make_room(goal if left is not None else min(goal, max(_WINDOW, self._size)))
            while self._size < goal:
                # If the size of the stream is not known, the buffer grows only as bytes arrive.
                if self._end + PADDING >= len(self._buffer):
                    self._make_room(min(goal, 2 * self._size))
                got = self._stream.read_into(self._buffer[self._end : -PADDING])
                if not got:
                    break
                self._end += got
                self._check_growth(self._size - had, self._stream.done() - done)
        except (TfBundleError, OSError) as error:
            self._problem = error
        return self._size >= wanted

    def _free(self) -> None:
        """Free what was read: a reference to an error or the iterator must not keep large data in memory."""
        self._buffer, self._start, self._end = memoryview(b""), 0, 0
        self._stream.release()

    def _reach(self, wanted: int) -> bool:
        """Read until ``wanted`` bytes are available; return whether the stream ended before that."""
        left = self._stream.remaining()
        self._fill(wanted if left is None else min(wanted, self._size + left))
        return self._size < wanted

    def _check_count(self) -> None:
        stored = self._stream.done()
        if self._stream.compression != "NONE" and self.count > MOST_INFLATED_RECORDS + stored:
            raise UnsupportedError(
                f"{self._where(self.count, self.position)} is one of too many: {stored} compressed bytes cannot "
                "hold so many that differ from each other; unpack the file to read them anyway",
                path=self._stream.path,
                offset=self.position,
            )

    def _check_growth(self, size: int, stored: int) -> None:
        if size > max(LARGEST_INFLATED, stored * LARGEST_INFLATED_GROWTH):
            raise FormatError(
                f"{self._where(self.count, self.position)} takes {size} bytes so far, from {stored} compressed bytes; "
                "no more is read into memory",
                path=self._stream.path,
                offset=self.position,
            )

    @property
    def _size(self) -> int:
        return self._end - self._start

    def _make_room(self, size: int) -> None:
        """Move the buffered bytes to the start of a buffer with room for ``size`` bytes."""
        kept = self._buffer[self._start : self._end]
        if len(self._buffer) < size + PADDING:
            self._buffer = np.empty(size + PADDING, np.uint8).data  # Unlike a bytearray, it is not cleared.
        if self._start or self._buffer.obj is not kept.obj:
            self._buffer[: len(kept)] = kept
            self._start, self._end = 0, len(kept)

    def _pass(self, size: int, count: int = 0) -> None:
        self._start += size
        self.position += size
        self.count += count

    def _where(self, number: int, offset: int) -> str:
        path = self._stream.path
        return f"record {number} at offset {offset}" + (f" of {path}" if path is not None else "")

    def _damaged(self, data: memoryview, frames: Frames, number: int) -> ChecksumError:
        start, size = int(frames.starts[number]), int(frames.sizes[number])
        offset = self.position + start - HEADER_SIZE
        expected, actual = int(frames.crcs[number]), crc32c(data[start : start + size])
        return ChecksumError(
            f"{self._where(self.count + number, offset)} is damaged: the CRC-32C of its {size} bytes is "
            f"{actual:#010x}, but {expected:#010x} is stored with it; salvage=True reads the intact records",
            expected=expected,
            actual=actual,
            path=self._stream.path,
            offset=offset,
        )

    def _bad_header(self) -> FormatError:
        """Return the error for the header at ``position``."""
        head = bytes(self._buffer[self._start : self._start + HEADER_SIZE])
        length = int.from_bytes(head[:8], "little")
        where = self._where(self.count, self.position)
        if is_header(head):
            return FormatError(
                f"{where} states a length of {length} bytes, more than a record of its kind can have; "
                "salvage=True reads the intact records",
                path=self._stream.path,
                offset=self.position,
            )
        expected, actual = unmask(int.from_bytes(head[8:], "little")), crc32c(head[:8])
        return ChecksumError(
            f"{where} is damaged: the CRC-32C of its length is {actual:#010x}, but {expected:#010x} is stored with it; "
            + ("" if self.position else "this is not a record file, or it is damaged; ")
            + "salvage=True reads the intact records",
            expected=expected,
            actual=actual,
            path=self._stream.path,
            offset=self.position,
        )

    def _before_damage(self, frames: Frames) -> tuple[Frames, ChecksumError]:
        """Return the records before the first damaged one, and the error for that one."""
        bad = int(frames.fine.argmin())
        damage = self._damaged(self._buffer[self._start :], frames, bad)
        return frames.first(bad), damage

    def _salvaged(self, frames: Frames) -> tuple[Frames, ChecksumError | None]:
        """Return all undamaged records, and the error for a last damaged one whose end is not certain.

        A damaged record may have lost bytes, so that its length leads into another record. If it leads to a header, the
        damage did not change the number of bytes.
        """
        self._fill(frames.end + HEADER_SIZE)
        data = self._buffer[self._start : self._end]
        behind = bytes(data[frames.end : frames.end + HEADER_SIZE])
        uncertain = None
        if not frames.fine[-1] and not is_header(behind) and self._budget > 0:
            uncertain = self._damaged(data, frames, len(frames.fine) - 1)
            self._spent += int(frames.sizes[-1])
            frames = frames.first(len(frames.starts) - 1)
            if not len(frames.starts):
                return frames, uncertain
        for number in np.flatnonzero(~frames.fine).tolist():
            error = self._damaged(data, frames, number)
            size = int(frames.sizes[number]) + FRAME_SIZE
            self.losses.append(Loss(error.offset or 0, size, self.count + number, error))
        return frames.keep(frames.fine), uncertain

    def _find_padded(self) -> Window | None:
        """Return and pass the record at ``position`` if its checksum covers padding, or return ``None``."""
        head = bytes(self._buffer[self._start : self._start + HEADER_SIZE])
        length = int.from_bytes(head[:8], "little")
        if not is_header(head) or length > self._size or self._budget <= 0:
            return None
        self._reach(length + FRAME_SIZE + LONGEST_PADDING + HEADER_SIZE)
        data = self._buffer[self._start : self._end]
        if is_header(bytes(data[HEADER_SIZE : 2 * HEADER_SIZE])):
            if not is_padded_word(data):
                return None  # A header without a record, whose checksum would pass for that of padding.
            end = WORD_END
        else:
            behind = length + FRAME_SIZE
            limit = behind + LONGEST_PADDING + HEADER_SIZE
            found = next_header(data[behind:limit])
            if found is None and len(data) >= limit:
                return None
            end = len(data) if found is None else behind + found
        self._spent += end
        if unmask(int.from_bytes(data[end - 4 : end], "little")) != crc32c(data[HEADER_SIZE : end - 4]):
            return None
        self._is_padded = True
        crc = crc32c(data[HEADER_SIZE : HEADER_SIZE + length])
        first = np.zeros(1, np.int64)
        frames = Frames(first + HEADER_SIZE, first + length, first + crc, first == 0, [], first, end, HEADER_SIZE)
        window = Window(self._buffer[self._start :], self.position, self.count, frames)
        self._pass(end, 1)
        return window

    def _skip_overlong(self) -> bool:
        """Continue at a record inside one that is longer than the rest of the file, which may have lost bytes.

        If there is none, or too many bytes were searched, the longer record is merely incomplete.
        """
        if not self._salvage or self._problem is not None or self._size < HEADER_SIZE or self._budget <= 0:
            return False
        # One such record may begin in the header of another, and each costs a search.
        self._spent += min(_SHORTEST_SEARCH, self._size)
        start = self.position
        error = FormatError(
            f"{self._where(self.count, start)} is damaged: it is longer than the rest of the file, but other records "
            "begin before its end, so some of its bytes are missing",
            path=self._stream.path,
            offset=start,
        )
        if self._seek_header():
            self.losses.append(Loss(start, self.position - start, self.count, error))
            self.count += 1
            return True
        self._half = self.position - start
        self.position = start
        return False

    def _skip_damage(self, error: FormatError) -> None:
        """Continue at the next complete record after a wrong header, or after a header whose record is damaged."""
        if not self._salvage:
            self._free()
            raise error
        start = self.position
        head = bytes(self._buffer[self._start : self._start + HEADER_SIZE])
        size = int.from_bytes(head[:8], "little") + FRAME_SIZE
        if is_header(head) and size <= self._size < size + HEADER_SIZE and not self._is_padded:
            self._pass(size)  # It ends where the file does.
        else:
            self._seek_header()
        self.losses.append(Loss(start, self.position - start, self.count, error))
        # The damaged range counts as one record, however many it had.
        self.count += 1

    def _seek_header(self) -> bool:
        """Pass one byte, and all others up to the next record; return whether there is one."""
        self._pass(1)
        span = _SHORTEST_SEARCH
        while self._fill(HEADER_SIZE):
            is_end = self._reach(span + FRAME_SIZE + LONGEST_PADDING)
            span = min(span, self._size)
            data = self._buffer[self._start : self._end]
            if self._is_padded:
                found = next_header(data[:span])  # By its own length, no record here is whole.
            else:
                found, spent = find_header(data, span, self._budget, is_end=is_end)
                self._spent += spent
            if found is not None:
                self._pass(found)
                return True
            self._pass(span - HEADER_SIZE + 1)
            span = min(4 * span, _WINDOW)
        self._pass(self._size)
        return False

    @property
    def _budget(self) -> int:
        """The number of bytes that may still be checked in the search for records."""
        return MOST_HEADER_PASSES * (self.position + self._size) - self._spent
