"""Event files in a bucket that grow, shrink, appear and go between two looks."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

import tfbundle
from tests.support.buckets import KINDS, memory_url, open_bucket
from tests.support.expected import FIXTURES
from tfbundle.storage.locations import locate

pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

FILE = FIXTURES / "events-tf-1.15.5/restarts/events.out.tfevents.1500000000.host"


@pytest.fixture(params=[*KINDS, "memory"])
def folder(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield memory_url()
    else:
        with open_bucket(request.param) as bucket:
            yield bucket.url


@pytest.mark.parametrize("verify", [True, False])
def test_refresh(verify: bool, folder: str) -> None:
    data = FILE.read_bytes()
    records = list(tfbundle.read_records(FILE))
    part = sum(len(record) + 16 for record in records[: len(records) // 2])

    def put(name: str, content: bytes) -> None:
        location = locate(f"{folder}/run/{name}")
        location.objects.upload(location.key, io.BytesIO(content))  # type: ignore[attr-defined]

    put("events.out.tfevents.1.host", data[:part])
    with tfbundle.open_events(f"{folder}/run", verify=verify) as log:

        def steps() -> list[int]:
            return [len(series.steps) for series in log.runs["."].scalars.values()]

        first = steps()
        assert not log.refresh()
        put("events.out.tfevents.1.host", data)
        assert log.refresh()
        with tfbundle.open_events(FILE) as whole:
            assert steps() == [len(series.steps) for series in whole.runs["."].scalars.values()] != first
        put("events.out.tfevents.1.host", data[:part])
        assert log.refresh()
        assert steps() == first
        put("events.out.tfevents.2.host", data)
        assert log.refresh()
        assert len(log.runs["."].paths) == 2
        other = locate(f"{folder}/run/events.out.tfevents.2.host")
        other.objects.delete(other.key)  # type: ignore[attr-defined]
        assert log.refresh()
        assert steps() == first
        assert not log.refresh()
