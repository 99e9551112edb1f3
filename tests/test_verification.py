"""``tfbundle.verify``: what it finds, how it says it, and that it needs nothing to start with."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import FULL, Saved, data_file, encode_header, write_bundle
from tests.support.expected import expected_checkpoints
from tests.support.table_writer import encode_table
from tests.support.v1_writer import write_v1
from tfbundle import Finding, Report
from tfbundle.formats.sstable import Table
from tfbundle.storage import ByteSource

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)
HALVES = [((0, 3), FULL), ((3, 3), FULL)]


def only_finding(path: Any, **options: Any) -> Finding:
    report = tfbundle.verify(path, **options)
    assert not report.ok
    assert not report
    (finding,) = report.findings
    assert finding.message
    return finding


@pytest.mark.parametrize("expected", [*expected_checkpoints("v2"), *expected_checkpoints("v1")], ids=str)
def test_fixtures(expected: Any) -> None:
    """What TensorFlow reads in whole is whole; for the rest there is a finding for each tensor that it refuses."""
    name = str(expected.path).replace("-?????-of-00004", "")
    report = tfbundle.verify(name, format=expected.format)
    if expected.error is not None:
        assert [finding.kind for finding in report.findings] in (["unsupported"], ["index"])
        return
    refused = {
        tensor for tensor, wanted in expected.tensors.items() if "sha256" not in wanted and "variants" not in wanted
    }
    assert {finding.tensor for finding in report.findings} == refused
    assert report.ok == (not refused)
    assert report.tensors == len(expected.tensors)
    assert report.format == expected.format
    assert report.prefix == name


def test_whole_checkpoint(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX, "parts": Saved(MATRIX, slices=HALVES)})
    for path in (tmp_path / "b", str(tmp_path / "b.index"), tmp_path):
        report = tfbundle.verify(path)
        assert report == Report(os.fspath(path), str(tmp_path / "b"), "v2", 2, 192, ())
        assert report.ok
        assert report
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        assert checkpoint.verify().ok


def test_every_damaged_tensor_is_found(tmp_path: Path) -> None:
    """A check does not stop at the first trouble."""
    placed = write_bundle(
        tmp_path / "b",
        {
            "a": MATRIX,
            "b": MATRIX,
            "entry": Saved(MATRIX, lies={"shape": (-1,)}),
            "far": Saved(MATRIX, lies={"offset": 1 << 40}),
            "parts": Saved(MATRIX, slices=HALVES),
            "torn": Saved(MATRIX, slices=HALVES, slice_lies={0: {"raw": None}}),
            "unknown": Saved(MATRIX, lies={"dtype": 20}),
        },
    )
    data = bytearray(data_file(tmp_path / "b").read_bytes())
    data[placed["a"][0].offset] ^= 1
    data[placed["parts"][1].offset + 40] ^= 1
    data_file(tmp_path / "b").write_bytes(data)
    report = tfbundle.verify(tmp_path / "b")
    found = {finding.tensor: finding for finding in report.findings}
    assert {name: finding.kind for name, finding in found.items()} == {
        "a": "checksum",
        "entry": "entry",
        "far": "truncated",
        "parts": "checksum",
        "torn": "entry",
        "unknown": "unsupported",
    }
    assert len(report.findings) == 6
    path = str(data_file(tmp_path / "b"))
    for name, place in (("a", placed["a"][0]), ("parts", placed["parts"][1])):
        finding = found[name]
        assert (finding.path, finding.shard) == (path, 0)
        assert (finding.offset, finding.size) == (place.offset, place.size)
    assert "[0:3, 0:4]" in found["torn"].message
    # What is left was held against its checksum: b, a half of parts and of torn.
    assert report.nbytes == 96 + 48 + 48
    assert report.tensors == 7


def test_absent_data_files(tmp_path: Path) -> None:
    tensors = {f"t{number}": Saved(MATRIX, shards=[number % 3]) for number in range(9)}
    write_bundle(tmp_path / "b", tensors, num_shards=3, leave_out=[1])
    finding = only_finding(tmp_path / "b")
    assert (finding.kind, finding.shard, finding.path) == ("missing", 1, str(data_file(tmp_path / "b", 1, 3)))
    assert tfbundle.verify(tmp_path / "b").nbytes == 6 * 96


def test_thousands_of_absent_data_files(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=encode_header(num_shards=1 << 20))
    report = tfbundle.verify(tmp_path / "b")
    assert 2 <= len(report.findings) < 200
    assert {finding.kind for finding in report.findings} == {"missing"}
    assert "more of the 1048576" in report.findings[-1].message


def test_damaged_block_of_an_index(tmp_path: Path) -> None:
    """The tensors in the other blocks are checked all the same."""
    write_bundle(tmp_path / "b", {f"t{number}": MATRIX for number in range(8)}, block_size=60)
    source = ByteSource(tmp_path / "b.index")
    table = Table(source)
    handle = table.handles[2]
    lost = table.block(2)[0]
    source.close()
    data = bytearray((tmp_path / "b.index").read_bytes())
    data[handle.offset + 3] ^= 1
    (tmp_path / "b.index").write_bytes(data)
    finding = only_finding(tmp_path / "b")
    assert (finding.kind, finding.path, finding.offset) == ("index", str(tmp_path / "b.index"), handle.offset)
    report = tfbundle.verify(tmp_path / "b")
    assert report.tensors == 8 - len(lost)
    assert report.nbytes == report.tensors * 96


def test_index_that_is_out_of_order(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX, "b": MATRIX})
    source = ByteSource(tmp_path / "b.index")
    pairs = list(Table(source).items())
    source.close()
    (tmp_path / "b.index").write_bytes(encode_table([pairs[0], pairs[2], pairs[1]]))
    assert "order" in only_finding(tmp_path / "b").message


@pytest.mark.parametrize("size", [0, 10, 60, 100])
def test_cut_index(tmp_path: Path, size: int) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX})
    (tmp_path / "b.index").write_bytes((tmp_path / "b.index").read_bytes()[:size])
    finding = only_finding(tmp_path / "b")
    assert finding.kind in ("index", "wrong-file")
    assert finding.path == str(tmp_path / "b.index")


def test_newer_format(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=encode_header(min_consumer=9))
    assert only_finding(tmp_path / "b").kind == "unsupported"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("page", b"<!DOCTYPE html><html></html>", "wrong-file"),
        ("page.index", b"<!DOCTYPE html><html></html>", "index"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "wrong-file"),
        ("empty", b"", "wrong-file"),
        ("noise", b"\xde\xad" * 50, "wrong-file"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    finding = only_finding(tmp_path / name)
    assert finding.kind in (kind, "wrong-file")
    assert finding.path == str(tmp_path / name)


def test_nothing_there(tmp_path: Path) -> None:
    finding = only_finding(tmp_path / "gone")
    assert (finding.kind, finding.path) == ("missing", str(tmp_path / "gone"))
    assert only_finding(tmp_path).kind == "missing"
    assert tfbundle.verify(tmp_path).prefix is None


def test_v1(tmp_path: Path) -> None:
    arrays = {f"t{number}": np.full(50, number, np.float32) for number in range(6)}
    write_v1(tmp_path / "old", arrays, block_size=300)
    report = tfbundle.verify(tmp_path / "old")
    assert report.ok
    assert (report.format, report.tensors, report.nbytes) == ("v1", 6, 6 * 200)
    data = bytearray((tmp_path / "old").read_bytes())
    place = data.index(arrays["t4"].tobytes())
    data[place] ^= 1
    (tmp_path / "old").write_bytes(data)
    report = tfbundle.verify(tmp_path / "old")
    assert {finding.kind for finding in report.findings} == {"index", "checksum"}
    assert "t4" in {finding.tensor for finding in report.findings}
    assert "t0" not in {finding.tensor for finding in report.findings}


def test_format(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"v": MATRIX})
    write_v1(tmp_path / "m", {"v": MATRIX})
    assert tfbundle.verify(tmp_path / "m").format == "v2"
    assert tfbundle.verify(tmp_path / "m", format="v1").format == "v1"


def test_progress(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {f"t{number}": Saved(MATRIX, lies={"crc": 1}) for number in range(5)})
    seen: list[tuple[int, int]] = []
    tfbundle.verify(tmp_path / "b", progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (480, 480)
    seen.clear()
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        checkpoint.verify(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (480, 480)


def test_verify_of_an_open_checkpoint_looks_again(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX})
    with tfbundle.open_checkpoint(tmp_path / "b", verify=False) as checkpoint:
        checkpoint["v"].read()
        data_file(tmp_path / "b").write_bytes(bytes(96))
        assert not checkpoint.verify().ok
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        pass
    assert not checkpoint.verify().ok


def test_reports_are_values(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(MATRIX, lies={"crc": 1})})
    report = tfbundle.verify(tmp_path / "b")
    assert report == tfbundle.verify(tmp_path / "b")
    assert pickle.loads(pickle.dumps(report)) == report
    with pytest.raises(AttributeError):
        report.path = "other"  # type: ignore[misc]
