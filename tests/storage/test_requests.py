"""How many requests reading takes, and how many bytes beside the data, as the server counts them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.buckets import KINDS, open_bucket
from tests.support.command import outcome
from tests.support.expected import FIXTURES
from tests.support.http_server import Server, serving
from tfbundle.storage.locations import locate
from tfbundle.storage.planned_reads import PlannedReads
from tfbundle.storage.read_ahead import RANGE

TRAINING = "tf-1.15.5/training"
MANY = 100_000
EACH = 1 << 18


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint, one of 64 tensors of 1 MiB, and one of 100,000 tensors."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(FIXTURES / TRAINING, root / "small")
    tfbundle.save(root / "large" / "ckpt", ((f"layer_{i:02}", np.full(EACH, i, np.float32)) for i in range(64)))
    tfbundle.save(root / "many" / "ckpt", ((f"layer_{i:06}", np.full(4, i, np.float32)) for i in range(MANY)))
    return root


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with serving(folder) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "name", "nbytes", "requests"),
    [
        ("small/model.ckpt-20", "fc1/weights", 64 * 12 * 4, 2),
        ("small/model.ckpt-20.index", "fc1/weights", 64 * 12 * 4, 3),
        ("small/", "fc1/weights", 64 * 12 * 4, 3),
        ("large/ckpt", "layer_33", EACH * 4, 2),
        ("many/ckpt", "layer_050000", 16, 4),
    ],
)
def test_one_tensor(path: str, name: str, nbytes: int, requests: int, server: Server) -> None:
    with tfbundle.open_checkpoint(f"{server.url}/{path}") as checkpoint:
        tensor = checkpoint[name]
        value = tensor.read()
    with tfbundle.open_checkpoint(server.root / path) as checkpoint:
        assert np.array_equal(value, checkpoint[name].read())
    assert len(server.requests) == requests
    assert server.sent <= nbytes + (1_200_000 if path.startswith("many") else 200_000)


def test_one_slice(server: Server) -> None:
    with tfbundle.open_checkpoint(f"{server.url}/large/ckpt") as checkpoint:
        assert checkpoint["layer_33"][5:7].tolist() == [33, 33]
    assert len(server.requests) == 3  # Without a checksum, the index is compared once more.
    assert server.sent <= 200_000


def test_the_names_of_many_tensors(server: Server) -> None:
    with tfbundle.open_checkpoint(f"{server.url}/many/ckpt") as checkpoint:
        assert len(list(checkpoint)) == MANY
    index = (server.root / "many/ckpt.index").stat().st_size
    assert len(server.requests) == 3
    assert index < server.sent <= index + 400_000


@pytest.mark.parametrize("use", ["load", "verify", "chunks", "diff"])
def test_a_whole_checkpoint(use: str, server: Server) -> None:
    """Ranges have 8 to 16 MiB, and no byte of data comes twice."""
    url = f"{server.url}/large/ckpt"
    if use == "load":
        loaded = tfbundle.load(url)
        assert all((loaded[f"layer_{i:02}"] == i).all() for i in range(64))
    elif use == "verify":
        report = tfbundle.verify(url)
        assert (report.ok, report.tensors, report.nbytes) == (True, 64, 64 * EACH * 4)
    elif use == "chunks":
        with tfbundle.open_checkpoint(url) as checkpoint:
            for i, name in enumerate(sorted(checkpoint)):
                assert all((chunk == i).all() for chunk in checkpoint[name].chunks())
    else:
        assert not tfbundle.diff(url, server.root / "large/ckpt")
    assert server.sent <= 64 * EACH * 4 + 300_000
    assert len(server.requests) <= 18
    spans = [span for _, path, span in server.requests if "data-" in path and span and not span.startswith("bytes=-")]
    sizes = [int(end) - int(start) + 1 for start, end in (span[len("bytes=") :].split("-") for span in spans)]
    assert max(sizes) < 2 * RANGE


def test_reads_that_follow_one_another_are_requested_ahead(server: Server) -> None:
    path = "large/ckpt.data-00000-of-00001"
    wanted = (server.root / path).read_bytes()
    source = locate(f"{server.url}/{path}").open()
    step = 10_000
    read = b"".join(source.read_at(start, min(step, len(wanted) - start)) for start in range(0, len(wanted), step))
    assert read == wanted
    assert len(server.requests) < 50
    source.close()
    with pytest.raises(ValueError, match="is closed"):
        source.read_at(0, 1)


def test_a_reader_that_stops_has_caused_as_many_bytes_again_at_most(server: Server) -> None:
    source = locate(f"{server.url}/large/ckpt.data-00000-of-00001").open()
    for start in range(0, 4 << 20, 1 << 20):
        source.read_at(start, 1 << 20)
    source.close()
    assert server.sent <= 9 << 20


def test_reads_out_of_order(server: Server) -> None:
    """A plan serves reads in any order, again, and beside it."""
    path = "large/ckpt.data-00000-of-00001"
    wanted = (server.root / path).read_bytes()
    source = locate(f"{server.url}/{path}").open()
    source.expect([(0, 20 << 20), (40 << 20, 8 << 20)])
    generator = np.random.default_rng(1)
    for start, size in zip(
        generator.integers(0, 50 << 20, 40).tolist(), generator.integers(0, 9 << 20, 40).tolist(), strict=True
    ):
        assert source.read_at(start, size) == wanted[start : start + size]


def test_neighbours_are_read_together() -> None:
    plan = PlannedReads([(600_000, 5), (0, 10), (20, 30), (200_000, 100)], lambda start, end: None)  # type: ignore[arg-type,return-value]
    assert list(zip(plan._starts, plan._ends, plan._left, strict=True)) == [
        (0, 200_100, 140),
        (600_000, 600_005, 5),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("command", "trips"), [("ls", 3), ("info", 5), ("state", 6)])
def test_a_run_in_a_bucket_takes_few_round_trips(
    command: str, trips: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round trip is a request, or several at the same time; one begins once another has ended."""
    pytest.importorskip("obstore", reason="buckets are read by obstore, which is not installed")
    from tfbundle.storage.obstore_objects import ObstoreObjects

    lock = threading.Lock()
    ended = 0

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(ObstoreObjects, name)

        def call(*arguments: Any) -> Any:
            nonlocal ended
            with lock:
                number = ended + 1
            time.sleep(0.05)  # All that are requested at the same time have begun before the first one ends.
            try:
                return real(*arguments)
            finally:
                with lock:
                    ended = max(ended, number)

        return call

    with open_bucket(kind) as bucket:
        url = bucket.put(FIXTURES / TRAINING, "run")
        for name in ("read", "read_tail", "facts", "list"):
            monkeypatch.setattr(ObstoreObjects, name, counted(name))
        for _ in range(3):  # A machine that is busy for longer than each request separates some of them.
            ended = 0
            assert outcome(command, url)[0] == 0
            if ended <= trips:
                break
    assert 0 < ended <= trips
