"""Record files: framing, compression, incomplete and damaged records."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snappy
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
from tests.support.records import frame, frames, header
from tests.support.sampling import places, rounds
from tfbundle.formats.checksum import crc32c, mask
from tfbundle.formats.records import reader as record_reader
from tfbundle.formats.records.frames import PADDING, crc32c_rows, find_frames, find_header

PAYLOADS = [b"first", b"", b"x" * 300, b"\0" * 64, bytes(range(256)) * 3, b"last"]


def read(data: bytes, **options: Any) -> tuple[list[bytes], Any]:
    records = tfbundle.read_records(io.BytesIO(data), **options)
    return list(records), records


def snapped(data: bytes, block: int = 1000) -> bytes:
    blocks = (snappy.compress(data[i : i + block]) for i in range(0, len(data), block))
    return b"".join(struct.pack(">I", len(b)) + b for b in blocks)


COMPRESS = {"NONE": bytes, "GZIP": gzip.compress, "ZLIB": zlib.compress, "SNAPPY": snapped}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("compression", COMPRESS)
def test_every_compression_from_path_and_file_object(tmp_path: Path, compression: str, named: bool) -> None:
    data = COMPRESS[compression](frames(PAYLOADS))
    path = tmp_path / "records"
    path.write_bytes(data)
    options = {"compression": compression} if named else {}
    records = tfbundle.read_records(path, **options)
    assert list(records) == PAYLOADS
    assert records.truncation is None
    assert read(data, **options)[0] == PAYLOADS


def test_file_object_is_read_from_where_it_stands_and_stays_open(tmp_path: Path) -> None:
    (tmp_path / "records").write_bytes(b"prefix" + frames(PAYLOADS))
    with open(tmp_path / "records", "rb") as file:
        file.seek(6)
        with tfbundle.read_records(file) as records:
            assert next(records) == PAYLOADS[0]
        assert not file.closed


def test_gzip_of_several_members() -> None:
    data = frames(PAYLOADS)
    assert read(gzip.compress(data[:50]) + gzip.compress(data[50:]))[0] == PAYLOADS


def test_empty_file() -> None:
    found, records = read(b"")
    assert found == []
    assert records.truncation is None


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="compression is one of NONE, GZIP"):
        tfbundle.read_records(io.BytesIO(b""), compression="LZ4")
    with pytest.raises(TypeError, match="not from int"):
        tfbundle.read_records(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mode 'rb'"):
        list(tfbundle.read_records(io.StringIO("text")))  # type: ignore[arg-type]
    with pytest.raises(tfbundle.MissingFileError):
        tfbundle.read_records("no/such/file")


@given(st.lists(st.binary(max_size=40) | st.integers(0, 700).map(bytes), max_size=80), st.integers(1, 4000))
def test_any_payloads_through_any_window(payloads: list[bytes], window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_reader, "_WINDOW", window)
        assert read(frames(payloads))[0] == payloads


@pytest.mark.parametrize("seed", range(4))
def test_long_chains_with_large_records_and_records_inside_of_records(seed: int) -> None:
    draw = random.Random(seed)
    payloads = []
    while len(payloads) < 3000:
        size = draw.choice([10, 40, 41, 600, 70_000]) if draw.random() < 0.02 else draw.choice([40, 41])
        payloads.append(frames([b"inner"] * 5)[:size] if draw.random() < 0.1 else draw.randbytes(size))
    assert read(frames(payloads))[0] == payloads


def test_truncation_at_every_byte(tmp_path: Path) -> None:
    data = frames(PAYLOADS)
    ends = np.cumsum([len(p) + 16 for p in PAYLOADS]).tolist()
    for size in places(len(data)):
        whole = sum(end <= size for end in ends)
        start = ends[whole - 1] if whole else 0
        wanted = None if start == size else (start, size - start)
        path = tmp_path / "records"
        path.write_bytes(data[:size])
        for source in (path, io.BytesIO(data[:size])):
            records = tfbundle.read_records(source)
            assert list(records) == PAYLOADS[:whole]
            assert records.truncation == wanted


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB", "SNAPPY"])
def test_truncated_compressed_stream_ends_after_a_whole_record(compression: str) -> None:
    data = COMPRESS[compression](frames(PAYLOADS))
    for size in places(len(data)):
        records = tfbundle.read_records(io.BytesIO(data[:size]), compression=compression)
        found = list(records)
        assert found == PAYLOADS[: len(found)]
        # What is cut says so, even where all records are there and only the end of the compression is not.
        assert (records.truncation is not None) == (size > 0)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(frames(PAYLOADS))[:-1],
        gzip.compress(frames(PAYLOADS))[:-8],
        gzip.compress(frames(PAYLOADS)) + gzip.compress(b"")[:5],
        zlib.compress(frames(PAYLOADS))[:-1],
        snapped(frames(PAYLOADS)) + b"\0\0\0",
    ],
    ids=["gzip-1", "gzip-8", "gzip-member", "zlib", "snappy"],
)
def test_cut_after_the_last_record_is_a_truncation(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "records"
    path.write_bytes(data)
    records = tfbundle.read_records(path)
    assert list(records) == PAYLOADS
    assert records.truncation == (sum(len(payload) + 16 for payload in PAYLOADS), 0)
    (finding,) = tfbundle.verify(path).findings
    assert (finding.kind, finding.offset) == ("truncated", None)
    assert "is truncated" in finding.message


def test_every_flipped_byte_is_an_error_or_leaves_what_was_before(tmp_path: Path) -> None:
    data = frames(PAYLOADS)
    for place in places(len(data)):
        bad = bytearray(data)
        bad[place] ^= 0x41
        records = tfbundle.read_records(io.BytesIO(bytes(bad)), compression="NONE")
        found = []
        with pytest.raises(tfbundle.ChecksumError) as caught:
            found.extend(records)
        assert found == PAYLOADS[: len(found)]
        offset = sum(len(p) + 16 for p in found)
        assert caught.value.offset == offset <= place
        assert f"record {len(found)} at offset {offset}" in str(caught.value)
        assert caught.value.expected != caught.value.actual


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB", "SNAPPY"])
def test_flipped_bytes_of_compressed_streams(compression: str) -> None:
    data = COMPRESS[compression](frames(PAYLOADS))
    for place in places(len(data)):
        bad = bytearray(data)
        bad[place] ^= 0x10
        found = []
        try:
            for record in tfbundle.read_records(io.BytesIO(bytes(bad)), compression=compression):
                found.append(record)
        except tfbundle.FormatError:
            pass
        assert found == PAYLOADS[: len(found)]


def test_salvage_leaves_out_what_is_damaged_and_says_so() -> None:
    data = frames(PAYLOADS)
    starts = [0, *np.cumsum([len(p) + 16 for p in PAYLOADS]).tolist()]
    for place in places(len(data)):
        bad = bytearray(data)
        bad[place] ^= 0x41
        found, records = read(bytes(bad), compression="NONE", salvage=True)
        hit = max(i for i, start in enumerate(starts) if start <= place)
        assert found == PAYLOADS[:hit] + PAYLOADS[hit + 1 :]
        assert [(loss.offset, loss.size) for loss in records.losses] == [(starts[hit], starts[hit + 1] - starts[hit])]
        assert isinstance(records.losses[0].error, tfbundle.ChecksumError)


@pytest.mark.parametrize("window", [20, 64, 1 << 20])
def test_salvage_skips_strange_bytes(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(record_reader, "_WINDOW", window)
    noise = random.Random(1).randbytes(5000)
    found, records = read(frames(PAYLOADS[:2]) + noise + frames(PAYLOADS[2:]), salvage=True)
    assert found == PAYLOADS
    assert [(loss.offset, loss.size) for loss in records.losses] == [(37, 5000)]
    found, records = read(frames(PAYLOADS[:2]) + noise, salvage=True)
    assert found == PAYLOADS[:2]
    assert [(loss.offset, loss.size) for loss in records.losses] == [(37, 5000)]


# The last ones are longer than what was lost, so that a record ends in another one, or would end after the file.
LONG = [bytes([number]) * size for number, size in enumerate([700, 20, 900, 30, 2000, 40, 50])]


@pytest.mark.parametrize("window", [64, 1 << 20])
@pytest.mark.parametrize("lost", [1, 13, 100, 650])
def test_salvage_finds_every_record_from_which_no_bytes_are_gone(
    monkeypatch: pytest.MonkeyPatch, lost: int, window: int
) -> None:
    monkeypatch.setattr(record_reader, "_WINDOW", window)
    data = frames(LONG)
    starts = np.cumsum([0, *(len(payload) + 16 for payload in LONG)])
    for place in rounds(range(0, len(data) - lost, 29)):
        damaged = data[:place] + data[place + lost :]
        whole = [
            payload
            for payload, start, end in zip(LONG, starts, starts[1:], strict=False)
            if end <= place or start >= place + lost
        ]
        found, records = read(damaged, compression="NONE", salvage=True)
        assert found == whole
        sizes = [16 + len(payload) for payload in found] + [loss.size for loss in records.losses]
        assert sum(sizes) + (records.truncation.size if records.truncation else 0) == len(damaged)


def padded(payload: bytes, padding: int) -> bytes:
    """A record as an old Julia writer wrote it: the checksum covers zeros that the length does not count."""
    whole = payload + bytes(padding)
    return header(len(payload)) + whole + struct.pack("<I", mask(crc32c(whole)))


@pytest.mark.parametrize("window", [64, 1 << 20])
@pytest.mark.parametrize("padding", [1, 7, 300, 4096])
def test_salvage_reads_records_whose_checksum_covers_padding(
    monkeypatch: pytest.MonkeyPatch, padding: int, window: int
) -> None:
    monkeypatch.setattr(record_reader, "_WINDOW", window)
    data = b"".join(padded(payload, padding) for payload in LONG)
    for end in (b"", frame(b"as TensorFlow writes it")):
        found, records = read(data + end, compression="NONE", salvage=True)
        assert found == LONG + [b"as TensorFlow writes it"] * bool(end)
        assert (records.losses, records.truncation) == ([], None)
    with pytest.raises(tfbundle.ChecksumError):
        read(data, compression="NONE")


@pytest.mark.parametrize("window", [64, 1 << 20])
def test_damaged_records_with_padding_stay_damaged(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(record_reader, "_WINDOW", window)
    parts = [padded(payload, 8) for payload in LONG]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    data = b"".join(parts)
    for number in range(len(parts)):
        # Where a header is damaged, it is not known where padding before it ends.
        headers = [] if number else [2]
        for place in (*headers, starts[number] + 13, starts[number + 1] - 10, starts[number + 1] - 1):
            bad = bytearray(data)
            bad[place] ^= 1
            found, records = read(bytes(bad), compression="NONE", salvage=True)
            assert found == LONG[:number] + LONG[number + 1 :]
            assert [(loss.offset, loss.size) for loss in records.losses] == [(starts[number], len(parts[number]))]


@pytest.mark.parametrize("window", [64, 1 << 20])
@pytest.mark.parametrize("damaged", [[0], [0, 1], [0, 2], [0, 1, 2], list(range(len(LONG)))])
@pytest.mark.parametrize("padding", [1, 4096])
def test_records_with_padding_follow_damaged_ones(
    monkeypatch: pytest.MonkeyPatch, padding: int, damaged: list[int], window: int
) -> None:
    """Even if nothing before them shows that there is padding, and if one of them is the last."""
    monkeypatch.setattr(record_reader, "_WINDOW", window)
    payloads = [*LONG, b"last"]
    parts = [bytearray(padded(payload, padding)) for payload in payloads]
    for number in damaged:
        parts[number][13] ^= 1
    found, records = read(b"".join(parts), compression="NONE", salvage=True)
    assert found == [payload for number, payload in enumerate(payloads) if number not in damaged]
    assert sum(loss.size for loss in records.losses) == sum(len(parts[number]) for number in damaged)


@pytest.mark.parametrize("window", [64, 1 << 20])
@pytest.mark.parametrize("size", range(8))
def test_padding_to_a_word_is_not_a_header(monkeypatch: pytest.MonkeyPatch, size: int, window: int) -> None:
    """Eight bytes and their checksum have the form of a header, whichever of them are padding."""
    monkeypatch.setattr(record_reader, "_WINDOW", window)
    payloads = [bytes(range(start, start + size)) for start in (1, 50, 90, 7)]
    parts = [padded(payload, 8 - size) for payload in payloads]
    for end in ([], [b"as TensorFlow writes it"]):
        found, records = read(b"".join([*parts, *map(frame, end)]), compression="NONE", salvage=True)
        assert (found, records.losses, records.truncation) == (payloads + end, [], None)
    parts[1] = parts[1][:13] + b"\xff" + parts[1][14:]  # The search for the next record finds such records, too.
    found, _ = read(b"".join(parts), compression="NONE", salvage=True)
    assert found == [payloads[0], *payloads[2:]]


@pytest.mark.parametrize("payload", [b"one", b"a longer payload"])
def test_a_header_that_lost_its_payload_has_no_padding(payload: bytes) -> None:
    found, records = read(header(3) + frame(payload) + frame(b"last"), compression="NONE", salvage=True)
    assert (found, [loss.size for loss in records.losses]) == ([payload, b"last"], [12])


def test_longer_padding_than_any_writer_has_is_damage() -> None:
    found, records = read(frame(b"one") + padded(b"two", 4097) + frame(b"three"), compression="NONE", salvage=True)
    assert found == [b"one", b"three"]
    assert [loss.size for loss in records.losses] == [16 + 3 + 4097]


@pytest.mark.parametrize("count", [100_000, 600_000])
def test_millions_of_equal_records_in_a_few_compressed_bytes_are_refused(count: int) -> None:
    data = gzip.compress(frame(b"") * count)
    if count == 100_000:
        assert read(data)[0] == [b""] * count
    else:
        with pytest.raises(tfbundle.UnsupportedError, match="one of too many"):
            read(data)


def test_checksums_of_empty_records_are_verified() -> None:
    bad = header(0) + struct.pack("<I", mask(1))
    with pytest.raises(tfbundle.ChecksumError, match="record 100 "):
        read(frame(b"") * 100 + bad + frame(b""), compression="NONE")


def test_half_a_record_in_which_none_begins_stays_a_truncation() -> None:
    data = frames(LONG)
    for size in range(16 + 700 + 36 + 20, len(data), 31):
        assert [read(data[:size], salvage=salvage)[1].truncation for salvage in (False, True)] == [
            read(data[:size])[1].truncation
        ] * 2
        assert not read(data[:size], salvage=True)[1].losses


@pytest.mark.parametrize(
    "piece",
    [
        frame(b"") + b"x",
        frame(b"abcd")[:-1] + b"\0x" + frame(b"q"),
        header(3) + b"abcd" + bytes(40),
        header(1 << 40),
        header(1 << 40) + frame(b"z"),
        header(3000),
        header(3000) + header(1 << 40),
    ],
)
@pytest.mark.effort
def test_looking_for_records_behind_damage_takes_no_longer_than_the_file_is(
    monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    """However often it is damaged."""
    effort = 0

    def count(data: memoryview, within: int, budget: int, *, is_end: bool) -> tuple[int | None, int]:
        nonlocal effort
        found, spent = find_header(data, within, budget, is_end=is_end)
        effort += within + spent
        return found, spent

    monkeypatch.setattr(record_reader, "find_header", count)
    efforts = []
    for repeats in (500, 1000):
        effort = 0
        read(piece * repeats, compression="NONE", salvage=True)
        efforts.append(effort)
    assert efforts[1] < 2.5 * efforts[0]


@pytest.mark.parametrize("length", [1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_length_that_no_file_can_have(length: int) -> None:
    records = tfbundle.read_records(io.BytesIO(frame(b"good") + header(length) + bytes(100)))
    assert next(records) == b"good"
    with pytest.raises(tfbundle.FormatError, match="record 1 at offset 20 states"):
        next(records)


@pytest.mark.parametrize("length", [1000, 1 << 32, (1 << 60) - 1])
def test_length_beyond_the_end_allocates_nothing(tmp_path: Path, length: int) -> None:
    (tmp_path / "records").write_bytes(frame(b"good") + header(length) + bytes(100))
    records = tfbundle.read_records(tmp_path / "records")
    assert list(records) == [b"good"]
    assert records.truncation == (20, 112)


@given(st.integers(1, 60), st.integers(1, 200), st.randoms(use_true_random=False))
def test_crc_of_rows(size: int, count: int, draw: random.Random) -> None:
    width = -(-size // 8) * 8
    rows = np.frombuffer(draw.randbytes(width * count), np.uint8).reshape(count, width).copy()
    rows[:, :: draw.randint(1, 5)] = 7  # Columns that are the same in all rows.
    assert crc32c_rows(rows, size).tolist() == [crc32c(row[:size].tobytes()) for row in rows]


def test_groups_hold_the_payloads() -> None:
    payloads = [bytes([i % 256]) * (20 + i % 3) for i in range(500)] + [bytes(5000), b"short"]
    data = frames(payloads)
    found = find_frames(memoryview(data + bytes(PADDING)), 0, len(data))
    seen = {}
    for group in found.groups:
        for number, row in zip(group.numbers.tolist(), group.rows, strict=True):
            seen[number] = row[: group.size].tobytes()
    assert sorted([*seen, *found.singles.tolist()]) == list(range(len(payloads)))
    assert all(seen[number] == payloads[number] for number in seen)
    assert found.singles.tolist() == [500, 501]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(frame(bytes(1 << 20)))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        assert sum(len(record) for record in tfbundle.read_records(path)) == 64 << 20
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", ["NONE", "GZIP", "ZLIB"])
def test_what_tensorflow_writes(tf: Any, tmp_path: Path, compression: str) -> None:
    path = str(tmp_path / "records")
    with tf.io.TFRecordWriter(path, compression if compression != "NONE" else None) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    assert list(tfbundle.read_records(path)) == PAYLOADS
    dataset = tf.data.TFRecordDataset(path, compression_type="" if compression == "NONE" else compression)
    assert [record.numpy() for record in dataset] == PAYLOADS


def test_snappy_as_tensorflow_reads_it(tf: Any, tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(snapped(frames(PAYLOADS)))
    dataset = tf.data.TFRecordDataset(str(path), compression_type="SNAPPY")
    assert [record.numpy() for record in dataset] == list(tfbundle.read_records(path)) == PAYLOADS


def test_headers_without_records_are_not_padded_records(tmp_path: Path) -> None:
    """The checksum of a header is right for its own first bytes, which are not the padding of the one before it."""
    path = tmp_path / "headers"
    path.write_bytes(header(300) * 100)
    with tfbundle.read_records(path, salvage=True) as records:
        assert list(records) == []


def test_an_iterator_that_has_failed_keeps_no_decompressed_block(tmp_path: Path) -> None:
    (tmp_path / "records").write_bytes(snapped(b"\1" * 20_000_000, block=20_000_000))
    tracemalloc.start()
    try:
        records = tfbundle.read_records(tmp_path / "records", compression="SNAPPY")
        with pytest.raises(tfbundle.ChecksumError):
            next(records)
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
        assert list(records) == []
    finally:
        tracemalloc.stop()
