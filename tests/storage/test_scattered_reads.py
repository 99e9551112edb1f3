"""Ranges that are received into the memory of arrays: which there are, and that each byte arrives where it belongs."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest

import tfbundle
from tests.storage.test_http import Handler, Server, server  # noqa: F401 - a fixture
from tfbundle.storage.planned_reads import GAP
from tfbundle.storage.read_ahead import RANGE
from tfbundle.storage.scattered_reads import receive_all


def received(sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Check that the parts are filled once they are received, and return start and size of each range."""
    end = max(offset + size for offset, size in sizes)
    data = np.random.default_rng(0).integers(0, 256, end, np.uint8)
    ranges = []

    def receive(start: int, buffers: list[memoryview]) -> Future[memoryview]:
        pos = start
        for buffer in buffers:
            buffer[:] = data[pos : pos + len(buffer)].data
            pos += len(buffer)
        ranges.append((start, pos - start))
        future: Future[memoryview] = Future()
        future.set_result(memoryview(b""))
        return future

    parts = [(offset, memoryview(bytearray(size))) for offset, size in sizes]
    waits = receive_all(parts, receive)
    for (offset, buffer), futures in zip(parts, waits, strict=True):
        assert bytes(buffer) == data[offset : offset + len(buffer)].tobytes()
        assert bool(futures) == bool(len(buffer))
    return ranges


@pytest.mark.parametrize(
    ("parts", "ranges"),
    [
        ([(10, 5), (15, 7)], [(10, 12)]),
        ([(15, 7), (10, 5)], [(10, 12)]),
        ([(0, 1), (1 + GAP, 1)], [(0, 2 + GAP)]),
        ([(0, 1), (2 + GAP, 1)], [(0, 1), (2 + GAP, 1)]),
        ([(0, 8), (4, 8)], [(0, 8), (4, 8)]),
        ([(0, 8), (0, 8)], [(0, 8), (0, 8)]),
        ([(0, 0), (3, 4)], [(3, 4)]),
        ([(0, 2 * RANGE)], [(0, 2 * RANGE)]),
        ([(0, 2 * RANGE + 1)], [(0, RANGE), (RANGE, RANGE + 1)]),
        ([(0, RANGE - 1), (RANGE - 1, RANGE + 2)], [(0, RANGE), (RANGE, RANGE + 1)]),
        ([(0, RANGE), (RANGE, 4)], [(0, RANGE), (RANGE, 4)]),
    ],
)
def test_neighbours_are_received_together(parts: list[tuple[int, int]], ranges: list[tuple[int, int]]) -> None:
    assert received(parts) == ranges


def test_an_attempt_that_is_repeated_overwrites_what_came_before(server: Server) -> None:  # noqa: F811
    """The first answer to each range has wrong bytes and ends early."""
    rng = np.random.default_rng(1)
    tensors = {f"layer_{number}": rng.standard_normal((300, 1000 + number)) for number in range(12)}
    tfbundle.save(server.root / "large", tensors)
    seen = set()

    def misbehave(handler: Handler, name: str, start: int, end: int) -> bool:
        if end - start < 1 << 20 or start in seen:
            return False
        seen.add(start)
        size = (server.root / name).stat().st_size
        handler._head(206, end - start, {"Content-Range": f"bytes {start}-{end - 1}/{size}"})
        handler.wfile.write(b"\xee" * (end - start - 1))
        handler.close_connection = True
        return True

    server.misbehave = misbehave
    found = tfbundle.load(f"{server.url}/large")
    assert seen
    assert all(np.array_equal(found[name], value) for name, value in tensors.items())


def test_without_verification_the_checkpoint_is_compared_once(server: Server) -> None:  # noqa: F811
    tensors = {f"layer_{number}": np.full((300, 1000), number, np.float32) for number in range(12)}
    tfbundle.save(server.root / "large", tensors)
    found = tfbundle.load(f"{server.url}/large", verify=False)
    assert all(np.array_equal(found[name], value) for name, value in tensors.items())
    compared = sorted(path for _, path, sent in server.requests if sent == "bytes=0-0")
    assert compared == ["/large.data-00000-of-00001", "/large.index"]
