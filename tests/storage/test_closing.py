"""Objects that one thread closes, or plans to read otherwise, while another reads them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.http_server import Handler, Server, serving
from tfbundle.storage import remote
from tfbundle.storage.locations import locate
from tfbundle.storage.read_ahead import RANGE
from tfbundle.storage.remote import RemoteSource

SIZE = 4 * RANGE
DATA = bytes(range(256)) * (SIZE // 256)


class Line:
    """A server whose answers to requests from an offset on wait, of which one is under way at a time."""

    def __init__(self, server: Server, start: int) -> None:
        self.url = f"{server.url}/object"
        self.waits = threading.Event()
        self.goes_on = threading.Event()
        self._start = start
        server.misbehave = self._answer

    def _answer(self, handler: Handler, name: str, start: int, end: int) -> bool:
        if self._start <= start < SIZE - remote.SMALL:
            self.waits.set()
            self.goes_on.wait(20)
        return False


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote, "_THREADS", 1)
    (tmp_path / "object").write_bytes(DATA)
    with serving(tmp_path) as server:
        yield server


def read_planned(source: RemoteSource) -> bytes:
    source.expect([(0, SIZE)])
    return source.read_at(0, SIZE)


def read_in_sequence(source: RemoteSource) -> bytes:
    return source.read_at(0, RANGE) + source.read_at(RANGE, 3 * RANGE)


def fill(source: RemoteSource) -> bytes:
    data = bytearray(SIZE)
    parts = [(start, memoryview(data)[start : start + RANGE]) for start in range(0, SIZE, RANGE)]
    filling = source.fill(parts)
    for wait in filling.waits:
        wait()
    return bytes(data)


WAYS = [(read_planned, 0), (read_in_sequence, RANGE), (fill, 0)]


@pytest.mark.parametrize(("read", "start"), WAYS)
def test_an_object_that_is_closed_meanwhile(read: Callable[[RemoteSource], bytes], start: int, server: Server) -> None:
    """The range that is under way may still arrive; those that wait for it are cancelled."""
    line = Line(server, start)
    source = locate(line.url).open()
    assert isinstance(source, RemoteSource)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read, source)
        assert line.waits.wait(20)
        source.close()
        line.goes_on.set()
        with pytest.raises(ValueError, match=f"{line.url} is closed"):
            reading.result(20)


@pytest.mark.parametrize(("read", "start"), WAYS)
def test_an_object_that_stays_open(read: Callable[[RemoteSource], bytes], start: int, server: Server) -> None:
    line = Line(server, start)
    line.goes_on.set()
    source = locate(line.url).open()
    assert isinstance(source, RemoteSource)
    assert read(source) == DATA
    assert line.waits.is_set()


def test_a_plan_that_another_thread_replaces(server: Server) -> None:
    """Ranges that were dropped before they were requested are read without the plan."""
    line = Line(server, 0)
    source = locate(line.url).open()
    assert isinstance(source, RemoteSource)
    source.expect([(0, RANGE), (2 * RANGE, RANGE)])
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(source.read_at, 0, 1 << 20)
        assert line.waits.wait(20)
        other = pool.submit(source.read_at, 2 * RANGE, 1 << 20)
        plan = source._plan
        assert plan is not None
        while len(plan._futures) < 2:
            time.sleep(0.01)
        source.expect([(3 * RANGE, RANGE)])
        line.goes_on.set()
        assert reading.result(20) == DATA[: 1 << 20]
        assert other.result(20) == DATA[: 1 << 20]
