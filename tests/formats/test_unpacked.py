"""Compressed record files at any offset, in any order."""

from __future__ import annotations

import gzip
import random
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import snappy

import tfbundle
from tests.support.records import frames
from tfbundle.formats.records import unpacked as module
from tfbundle.formats.records.unpacked import Unpacked
from tfbundle.storage.locations import locate


def snap(data: bytes) -> bytes:
    blocks = (snappy.compress(data[start : start + 7000]) for start in range(0, len(data), 7000))
    return b"".join(struct.pack(">I", len(block)) + block for block in blocks)


WAYS: dict[str, Callable[[bytes], bytes]] = {"GZIP": gzip.compress, "ZLIB": zlib.compress, "SNAPPY": snap}


@pytest.fixture
def data() -> bytes:
    draw = random.Random(0)
    return frames(draw.randbytes(draw.randrange(9000)) for _ in range(60))


@pytest.mark.parametrize("block", [100, 1 << 16, 1 << 20])
@pytest.mark.parametrize("compression", WAYS)
def test_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, compression: str, block: int) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    (tmp_path / "a").write_bytes(WAYS[compression](data))
    opened = Unpacked(locate(tmp_path / "a"))
    draw = random.Random(1)
    size = len(data)
    places = [(0, 10), (size - 10, 10), (0, size), (size, 0), (block, 0), (block - 1, 2)]
    places += [(start, draw.randrange(size - start)) for start in (draw.randrange(size) for _ in range(50))]
    for start, count in places:
        if start + count <= size:
            assert opened.read_at(start, count) == data[start : start + count]
    for start, count in ((size - 5, 6), (size + block, 1)):
        with pytest.raises(tfbundle.TruncatedError, match="became shorter"):
            opened.read_at(start, count)
        assert opened.read_at(5, 5) == data[5:10]


def test_steps_back_unpack_the_file_once_more_and_no_oftener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    starts = 0
    open_stream = module.open_stream

    def count(*arguments: object) -> object:
        nonlocal starts
        starts += 1
        return open_stream(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "open_stream", count)
    (tmp_path / "a").write_bytes(gzip.compress(data))
    opened = Unpacked(locate(tmp_path / "a"))
    for start in (*range(0, 100, 10), *range(1000, len(data) - 10, 1000)):
        assert opened.read_at(start, 10) == data[start : start + 10]
    assert starts == 1
    for start in range(len(data) - 10, 0, -1000):
        assert opened.read_at(start, 10) == data[start : start + 10]
    assert starts == 2


def test_many_threads(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(data))
    opened = Unpacked(locate(tmp_path / "a"))
    wrong: list[int] = []

    def read(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(100):
            start = draw.randrange(len(data) - 100)
            if opened.read_at(start, 100) != data[start : start + 100]:
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_damaged_stream_stays_damaged_and_what_is_before_is_read(tmp_path: Path, data: bytes) -> None:
    packed = bytearray(gzip.compress(data))
    middle = len(packed) // 2
    packed[middle:] = bytes(len(packed) - middle)
    whole = len(zlib.decompressobj(31).decompress(bytes(packed[: middle - 1000])))
    (tmp_path / "a").write_bytes(packed)
    opened = Unpacked(locate(tmp_path / "a"))
    for _ in range(3):
        assert opened.read_at(whole - 10, 10) == data[whole - 10 : whole]
        assert opened.read_at(20_000, 10) == data[20_000:20_010]
        assert opened.read_at(0, 10) == data[:10]
        with pytest.raises(tfbundle.FormatError):
            opened.read_at(len(data) - 10, 10)
