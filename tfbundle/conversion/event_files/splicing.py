"""Changes of a serialized ``Event``, in which all other bytes are kept.

Changes occur in a few places, and also change the lengths of the messages that contain them::

    Event     wall_time 1    step 2    summary 5:           the length of the summary
      Summary   value 1, repeatedly:                        dropped whole, or its length
        Value     tag 1    ...    metadata 9                another tag, or metadata that an earlier value had

A ``Splice`` is a list of parts: bytes of the old record, new ones, and the step and wall time, which differ from record
to record. Therefore one splice applies to all records of one layout, whose parts are then columns of a matrix.

An event in a form that TensorFlow does not write is parsed by protobuf and serialized again. Unknown fields are kept in
either case.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.events.columns import decode_varints
from tfbundle.events.layout import Layout, Span, Unusual, ValueLayout, decode_layout
from tfbundle.events.messages import decode_event
from tfbundle.formats.coding import decode_varint, encode_varint
from tfbundle.formats.records.frames import Bytes, Numbers
from tfbundle.proto import SummaryMetadata
from tfbundle.tensors.arrays import Array

# Keys of fields as they are stored: the number times eight, plus the wire type.
_WALL, _STEP, _SUMMARY, _VALUE, _TAG, _METADATA = 1 << 3 | 1, 2 << 3, 5 << 3 | 2, 1 << 3 | 2, 1 << 3 | 2, 9 << 3 | 2
_DOUBLE = struct.Struct("<d")
_WORD = 1 << 64


class Shift(NamedTuple):
    """The numbers added to steps, and to wall times in seconds."""

    steps: int = 0
    seconds: float = 0.0


class Change(NamedTuple):
    """A change of a value: drop it, rename it to ``tag``, or give it ``metadata`` if it has none; ``None`` keeps it."""

    dropped: bool = False
    tag: bytes | None = None
    metadata: bytes | None = None


# By the offset of a value in its record, or in an unusual record by its number.
Changes: TypeAlias = "Mapping[int, Change]"


class _Step:
    """The place of the step."""


class _Wall:
    """The place of the eight bytes of the wall time."""


Splice: TypeAlias = "list[Span | bytes | type[_Step] | type[_Wall]]"


class _Edit(NamedTuple):
    """The replacement of the bytes from ``start`` to ``end`` of a record with parts."""

    start: int
    end: int
    parts: Splice


def make_splice(layout: Layout, record: bytes, changes: Changes, shift: Shift) -> Splice:
    """Return the parts of the changed record; raises ``Unusual`` if a length is not encoded as usual."""
    edits: list[_Edit] = []
    growth = 0
    for value in layout.values:
        change = changes.get(value.span.start)
        if change is None or not is_known(value):
            continue
        header = value.span.start - len(_head(record, value.span, _VALUE))
        if change.dropped:
            edits.append(_Edit(header, value.span.end, []))
            growth -= value.span.end - header
            continue
        inner = list(_edit_value(record, value, change))
        size = value.span.end - value.span.start + _growth(inner)
        if inner:
            inner.insert(0, _Edit(header, value.span.start, [_encode_head(_VALUE, size)]))
        edits += inner
        growth += _growth(inner)
    if edits:
        start, end = layout.content
        head = _head(record, layout.content, _SUMMARY)
        edits.insert(0, _Edit(start - len(head), start, [_encode_head(_SUMMARY, end - start + growth)]))
    edits += _edit_head(record, layout, shift)
    # Fields may have any order. Insertions at the same place keep their order, and precede an edit that begins there.
    return _join(sorted(edits, key=lambda edit: (edit.start, edit.end)), len(record))


def is_known(value: ValueLayout) -> bool:
    """Return whether a value is not empty, so that it is a point or describes one."""
    return bool(value.form) or value.metadata is not None


def _edit_value(record: bytes, value: ValueLayout, change: Change) -> Iterator[_Edit]:
    if change.tag is not None:
        start, end = value.tag
        length = encode_varint(end - start)
        if start == end or record[start - len(length) : start] != length:
            raise Unusual
        yield _Edit(start - len(length), end, [encode_varint(len(change.tag)) + change.tag])
    if change.metadata is not None and value.metadata is None:
        yield _Edit(value.span.end, value.span.end, [_encode_head(_METADATA, len(change.metadata)) + change.metadata])


def _edit_head(record: bytes, layout: Layout, shift: Shift) -> Iterator[_Edit]:
    if shift.seconds:
        if layout.wall is None:
            yield _Edit(0, 0, [bytes((_WALL,)), _Wall])
        else:
            yield _Edit(layout.wall, layout.wall + 8, [_Wall])
    if shift.steps:
        if layout.step is None:
            place = 0 if layout.wall is None else layout.wall + 8
            yield _Edit(place, place, [_Step])
        elif record[layout.step.start - 1] == _STEP:
            yield _Edit(layout.step.start - 1, layout.step.end, [_Step])
        else:
            raise Unusual


def _head(record: bytes, content: Span, key: int) -> bytes:
    """Return the stored bytes of a field before its content."""
    head = _encode_head(key, content.end - content.start)
    if record[max(0, content.start - len(head)) : content.start] != head:
        raise Unusual
    return head


def _encode_head(key: int, size: int) -> bytes:
    return bytes((key,)) + encode_varint(size)


def _growth(edits: Sequence[_Edit]) -> int:
    return sum(sum(map(_size, edit.parts)) - (edit.end - edit.start) for edit in edits)


def _size(part: Span | bytes | type[_Step] | type[_Wall]) -> int:
    return len(part) if isinstance(part, bytes) else 0  # Within values nothing else is inserted.


def _join(edits: Sequence[_Edit], size: int) -> Splice:
    parts: Splice = []
    pos = 0
    for edit in edits:
        if edit.start > pos:
            parts.append(Span(pos, edit.start))
        parts += edit.parts
        pos = edit.end
    if pos < size:
        parts.append(Span(pos, size))
    return parts


def splice_record(record: bytes, changes: Changes, shift: Shift) -> bytes:
    """Return a record with ``changes`` applied.

    Raises ``FormatError`` if it is not an event, and ``UnsupportedError`` if protobuf cannot write a name.
    """
    try:
        layout = decode_layout(record)
    except (Unusual, FormatError):
        return _rewrite(record, changes, shift)
    try:
        parts = make_splice(layout, record, changes, shift)
    except Unusual:
        numbers = {value.span.start: number for number, value in enumerate(layout.values) if is_known(value)}
        return _rewrite(record, {numbers.get(place, -1): change for place, change in changes.items()}, shift)
    step = 0 if layout.step is None else decode_varint(record, *layout.step)[0]
    wall = 0.0 if layout.wall is None else _DOUBLE.unpack_from(record, layout.wall)[0]
    made = {_Step: _encode_step((step + shift.steps) % _WORD), _Wall: _DOUBLE.pack(wall + shift.seconds)}
    return b"".join(
        record[part.start : part.end] if isinstance(part, Span) else part if isinstance(part, bytes) else made[part]
        for part in parts
    )


def _encode_step(step: int) -> bytes:
    """Return the field of a step, which is left out if it is 0, as protobuf does."""
    return bytes((_STEP,)) + encode_varint(step) if step else b""


def splice_rows(layout: Layout, rows: Bytes, parts: Splice, shift: Shift) -> Iterator[tuple[Numbers, Bytes]]:
    """Yield the changed records of ``rows``, all of which have the same layout: their numbers, and the new rows.

    Rows whose steps take the same number of bytes are yielded together.
    """
    if _Step not in parts:
        yield np.arange(len(rows)), _columns(rows, parts, layout, shift, None)
        return
    steps = np.zeros(len(rows), np.uint64) if layout.step is None else decode_varints(rows, layout.step)
    steps = steps + np.uint64(shift.steps % _WORD)
    sizes = np.searchsorted(_FIRST_OF_SIZE, steps, side="right")
    for size in np.unique(sizes).tolist():
        which = np.flatnonzero(sizes == size)
        yield which, _columns(rows[which], parts, layout, shift, _encode_steps(steps[which], size))


# The smallest number whose varint takes so many bytes; 0 takes none, because its field is left out.
_FIRST_OF_SIZE = np.array([1, *(1 << 7 * size for size in range(1, 10))], np.uint64)


def _encode_steps(steps: Array, size: int) -> Bytes:
    octets = np.zeros((len(steps), size + 1 if size else 0), np.uint8)
    if size:
        octets[:, 0] = _STEP
        for place in range(size):
            octets[:, 1 + place] = (steps >> np.uint64(7 * place)).astype(np.uint8) & 0x7F | 0x80
        octets[:, size] &= 0x7F
    return octets


def _columns(rows: Bytes, parts: Splice, layout: Layout, shift: Shift, steps: Bytes | None) -> Bytes:
    blocks: list[Bytes] = []
    for part in parts:
        if isinstance(part, Span):
            blocks.append(rows[:, part.start : part.end])
        elif isinstance(part, bytes):
            blocks.append(np.broadcast_to(np.frombuffer(part, np.uint8), (len(rows), len(part))))
        elif part is _Step and steps is not None:
            blocks.append(steps)
        else:
            walls = np.zeros(len(rows))
            if layout.wall is not None:
                walls = np.ascontiguousarray(rows[:, layout.wall : layout.wall + 8]).view("<f8").reshape(-1)
            blocks.append((walls + shift.seconds).astype("<f8").view(np.uint8).reshape(len(rows), 8))
    return np.concatenate(blocks, axis=1)


def _rewrite(record: bytes, changes: Changes, shift: Shift) -> bytes:
    """Return an event as protobuf writes it, with unknown fields; ``changes`` are by the numbers of values."""
    event = decode_event(record)
    values = event.summary.value
    for number, change in sorted(changes.items(), reverse=True):
        if not 0 <= number < len(values):
            raise FormatError("the record was overwritten since it was read")
        if change.dropped:
            del values[number]
            continue
        value = values[number]
        if change.tag is not None:
            try:
                tag = change.tag.decode()
            except UnicodeDecodeError:
                raise UnsupportedError(
                    f"an event in unusual form takes no tag that is not UTF-8: {change.tag!r}"
                ) from None
            if value.tag or not value.node_name:
                value.tag = tag
            else:
                value.node_name = tag
        if change.metadata is not None and not value.HasField("metadata"):
            value.metadata.CopyFrom(SummaryMetadata.FromString(change.metadata))
    if shift.steps:
        event.step = (event.step + shift.steps + _WORD // 2) % _WORD - _WORD // 2
    if shift.seconds:
        event.wall_time += shift.seconds
    return event.SerializeToString()
