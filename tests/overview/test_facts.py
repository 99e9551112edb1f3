"""Facts about single files, and the commands that follow from them."""

from __future__ import annotations

import gzip
import shlex
import shutil
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

from tests.support.command import run, run_json
from tests.support.expected import FIXTURES
from tests.support.records import frame
from tfbundle.identification.kinds import FileKind
from tfbundle.overview.facts import find_facts
from tfbundle.overview.walk import overview
from tfbundle.storage.locations import locate

RECORDS = b"".join(frame(b"record %d" % number) for number in range(1000))


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def follow(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the facts of a file, and the names of the commands that info suggests, all of which succeed."""
    found = run_json("info", path)
    names = []
    for line in found["next"]:
        program, name, *arguments = shlex.split(line)
        assert (program, run(name, *arguments).exit_code) == ("tfbundle", 0), line
        names.append(name)
    return found["items"][0]["facts"], names


@pytest.mark.parametrize(
    ("compression", "data"),
    [
        ("NONE", RECORDS),
        ("GZIP", gzip.compress(RECORDS, mtime=0)),
        ("ZLIB", zlib.compress(RECORDS)),
        ("DEFLATE", deflated(RECORDS)),
    ],
)
def test_records(tmp_path: Path, compression: str, data: bytes) -> None:
    (tmp_path / "a file").write_bytes(data)
    assert follow(tmp_path / "a file") == ({"records": 1000, "compression": compression}, ["records"])


def test_compressed_events(tmp_path: Path) -> None:
    events = next(FIXTURES.rglob("*tfevents*"))
    (tmp_path / "a.tfevents.gz").write_bytes(gzip.compress(events.read_bytes()))
    facts, names = follow(tmp_path / "a.tfevents.gz")
    assert (facts["compression"], names) == ("GZIP", ["events"])


@pytest.mark.parametrize(
    "data", [gzip.compress(b"text", mtime=0), gzip.compress(b"", mtime=0), deflated(b"text" * 100), b"\xff\1" * 99]
)
def test_files_without_records(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    found = run_json("info", tmp_path / "file")
    assert (found["items"][0]["facts"], found["next"]) == ({}, [])
    assert found["items"][0]["advice"]


@pytest.mark.parametrize(("place", "words"), [(100, "1 damaged"), (len(RECORDS) - 3, "incomplete")])
def test_damaged_records(tmp_path: Path, place: int, words: str) -> None:
    path = tmp_path / "records"
    path.write_bytes(RECORDS[:place] + (b"?" + RECORDS[place + 1 :] if place == 100 else b""))
    found = run_json("info", path, status=1)
    assert words in found["items"][0]["problem"]
    assert (found["items"][0]["facts"]["records"], found["next"]) == (999, [f"tfbundle verify {path}"])


def test_arrays_of_other_programs(tmp_path: Path) -> None:
    for name in ("weights.v2.npz", "weights"):
        with open(tmp_path / name, "wb") as file:
            np.savez(file, a=np.ones(3), b=np.ones(2))
        assert follow(tmp_path / name) == ({"tensors": 2}, ["convert"])
    assert sorted(path.name for path in tmp_path.glob("*.index")) == ["weights.ckpt.index", "weights.v2.ckpt.index"]
    cut = tmp_path / "cut.npz"
    cut.write_bytes((tmp_path / "weights").read_bytes()[:-40])
    found = run_json("info", cut, status=1)
    assert "not a complete ZIP archive" in found["items"][0]["problem"]
    assert (found["next"], found["items"][0]["advice"]) == ([], "copy or download it again")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("tf-1.15.5/frozen/**/*.pb", ["graph", "ls"]),
        ("tf-1.15.5/**/*.meta", ["graph"]),
        ("tf-1.15.5/**/graph.pb", ["graph"]),
        ("tf-2.21.0/**/graph.pbtxt", ["graph", "ls"]),
        ("tf-2.21.0/**/saved_model.pb", ["graph", "scan"]),
    ],
)
def test_graphs(tmp_path: Path, pattern: str, names: list[str]) -> None:
    path = sorted(FIXTURES.glob(pattern))[0]
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    found = run_json("info", copy)
    facts = found["items"][0]["facts"]
    assert facts["nodes"] > 0
    assert ("ls" in names) is ("constants" in facts)
    assert [line.split()[1] for line in found["next"]] == names
    assert run(*shlex.split(found["next"][0])[1:]).exit_code == 0


@pytest.mark.parametrize("is_compressed", [False, True])
def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_compressed: bool) -> None:
    path = tmp_path / "records"
    path.write_bytes(gzip.compress(RECORDS) if is_compressed else RECORDS)
    kind = FileKind.GZIP if is_compressed else FileKind.TFRECORD
    monkeypatch.setattr("tfbundle.overview.facts._MOST_RECORDS", len(RECORDS))
    monkeypatch.setattr("tfbundle.formats.records.reader._WINDOW", 1 << 10)
    facts, problem = find_facts(locate(path), kind, path.stat().st_size)
    assert (facts["records"], problem) == (1000, None)
    monkeypatch.setattr("tfbundle.overview.facts._MOST_RECORDS", len(RECORDS) - 1)
    facts, problem = find_facts(locate(path), kind, path.stat().st_size)
    assert (facts["records"], problem) == ("more than 999", None) or facts["records"] == "more than 1000"


def test_a_large_file_of_compressed_records_takes_little_time(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(gzip.compress(frame(bytes(1000)) * 100_000, 1))
    start = time.process_time()
    assert str(overview(path).items[0].facts["records"]).startswith("more than ")
    assert time.process_time() - start < 1
