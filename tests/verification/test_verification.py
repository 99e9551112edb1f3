"""``tfbundle.verify``: what it finds, how it says it, and that it needs nothing to start with."""

import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import FULL, STRING, Saved, data_file, encode_header, write_bundle
from tests.support.expected import FIXTURES, expected_checkpoints
from tests.support.table_writer import encode_table
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle import CheckedFile, Finding, Report
from tfbundle.findings import CheckedCheckpoint
from tfbundle.formats.table.reader import Table
from tfbundle.storage.local import LocalSource

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
    with tfbundle.open_checkpoint(name, format=expected.format) as checkpoint:
        # TensorFlow reads slots of parts of variables by their slices alone.
        refused = {tensor for tensor in refused if checkpoint[tensor].region is None}
    assert {finding.tensor for finding in report.findings} == refused
    assert report.ok == (not refused)
    assert report.tensors == len(expected.tensors)
    assert report.format == expected.format
    assert report.prefix == name


def test_whole_checkpoint(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX, "parts": Saved(MATRIX, slices=HALVES)})
    for path in (tmp_path / "b", str(tmp_path / "b.index"), tmp_path):
        report = tfbundle.verify(path)
        files = (
            CheckedFile(str(tmp_path / "b.index"), "index", (tmp_path / "b.index").stat().st_size, 1),
            CheckedFile(str(data_file(tmp_path / "b")), "data", 192, 3),
        )
        checkpoints = (CheckedCheckpoint(str(tmp_path / "b"), "v2", 2, 2, True),)
        assert report == Report(os.fspath(path), str(tmp_path / "b"), "v2", 2, 192, (), 2, (), files, checkpoints)
        assert report.ok
        assert report


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
    # What is left was checked: b, a half of parts and of torn.
    assert report.nbytes == 96 + 48 + 48
    assert report.tensors == 7


def test_absent_data_files(tmp_path: Path) -> None:
    tensors = {f"t{number}": Saved(MATRIX, shards=[number % 3]) for number in range(9)}
    write_bundle(tmp_path / "b", tensors, num_shards=3, leave_out=[1])
    finding = only_finding(tmp_path / "b")
    assert (finding.kind, finding.shard, finding.path) == ("missing", 1, str(data_file(tmp_path / "b", 1, 3)))
    assert tfbundle.verify(tmp_path / "b").nbytes == 6 * 96


@pytest.mark.parametrize("kind", ["wrong-file", "missing"])
def test_what_is_not_a_data_file_is_reported_once(tmp_path: Path, kind: str) -> None:
    write_bundle(tmp_path / "b", {name: Saved(np.arange(3.0)) for name in "abc"})
    path = data_file(tmp_path / "b")
    path.unlink()
    if kind == "wrong-file":
        path.mkdir()
    else:
        try:
            path.symlink_to("gone")
        except OSError:
            pytest.skip("this system does not allow links")
    finding = only_finding(tmp_path / "b")
    assert (finding.kind, finding.path, finding.shard) == (kind, str(path), 0)
    report = tfbundle.verify(tmp_path / "b")
    assert [file.path for file in report.files] == [str(tmp_path / "b.index"), str(path)]
    assert report.recoverable == 0


def test_thousands_of_absent_data_files(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX}, header=encode_header(num_shards=1 << 20))
    report = tfbundle.verify(tmp_path / "b")
    assert 2 <= len(report.findings) < 200
    assert {finding.kind for finding in report.findings} == {"missing", "superfluous"}
    assert any("more of the 1048576" in finding.message for finding in report.findings)


def test_damaged_block_of_an_index(tmp_path: Path) -> None:
    """The tensors in the other blocks are checked nevertheless."""
    write_bundle(tmp_path / "b", {f"t{number}": MATRIX for number in range(8)}, block_size=60)
    source = LocalSource(tmp_path / "b.index")
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
    source = LocalSource(tmp_path / "b.index")
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
    (finding,) = report.findings
    assert finding.kind == "checksum"
    assert "'t4'" in finding.message
    assert "'t0'" not in finding.message
    assert report.recoverable == 4


def many_slices(path: Path) -> None:
    """Write two tensors of 500 slices each, and 200 of one, in blocks of 16 KB."""
    halves = [((first, 1), FULL) for first in range(500)]
    sliced = {name: V1Saved(np.arange(1000, dtype=np.float32).reshape(500, 2), slices=halves) for name in "vw"}
    write_v1(path, sliced | {f"t{number}": np.full(50, number, np.float32) for number in range(200)}, block_size=16384)


def test_a_damaged_block_of_v1_is_one_finding(tmp_path: Path) -> None:
    path = tmp_path / "old"
    many_slices(path)
    good = path.read_bytes()
    place = good.index(np.full(50, 120, np.float32).tobytes())
    path.write_bytes(good[:place] + b"\xff" + good[place + 1 :])
    report = tfbundle.verify(path)
    (finding,) = report.findings
    lost = report.tensors - report.recoverable
    assert lost > 50
    assert (finding.kind, finding.path, finding.tensor) == ("checksum", str(path), None)
    assert finding.offset is not None
    assert finding.size is not None
    assert finding.offset <= place < finding.offset + finding.size
    assert f"{lost} tensors are affected: 't" in finding.message
    assert finding.message.endswith(f"and {lost - 3} others")
    with tfbundle.open_checkpoint(path, salvage=True) as checkpoint:
        assert len(checkpoint) == report.recoverable

    two = good.index(np.full(50, 199, np.float32).tobytes())
    data = bytearray(good)
    data[place] ^= 1
    data[two] ^= 1
    path.write_bytes(data)
    assert [one.kind for one in tfbundle.verify(path).findings] == ["checksum", "checksum"]


def test_slices_of_one_tensor_in_a_damaged_block_of_v1(tmp_path: Path) -> None:
    path = tmp_path / "old"
    array = np.arange(1000, dtype=np.float32).reshape(500, 2) + 0.1
    write_v1(path, {"w": V1Saved(array, slices=[((first, 1), FULL) for first in range(500)])}, block_size=16384)
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(data)
    (finding,) = tfbundle.verify(path).findings
    assert finding.tensor == "w"
    assert "slices of it are affected" in finding.message


def test_slices_of_v1_without_values(tmp_path: Path) -> None:
    """They are in no block, and a finding for each tensor."""
    halves = [((first, 1), FULL) for first in range(100)]
    array = np.zeros((100, 2), np.float32)
    lost = {"v": V1Saved(array, slices=halves, values=dict.fromkeys(range(1, 100)))}
    lost |= {
        "w": V1Saved(array, slices=halves, values=dict.fromkeys(range(40, 42))),
        "x": V1Saved(array, values={0: None}),
    }
    write_v1(tmp_path / "old", lost | {"y": array})
    findings = tfbundle.verify(tmp_path / "old").findings
    assert [(finding.kind, finding.tensor) for finding in findings] == [("entry", "v"), ("entry", "w"), ("entry", "x")]
    assert findings[0].message.endswith("; 98 more slices of it cannot be read either")
    assert findings[1].message.endswith("; 1 more slice of it cannot be read either")
    assert "more" not in findings[2].message


def test_invalid_slices_in_an_intact_block_of_v1(tmp_path: Path) -> None:
    """Each is a problem of its own tensor."""
    write_v1(tmp_path / "old", {name: V1Saved(MATRIX, values={0: b"\xff"}) for name in "abc"})
    findings = tfbundle.verify(tmp_path / "old").findings
    assert {finding.tensor for finding in findings} == set("abc")


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


def test_reports_are_values(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": Saved(MATRIX, lies={"crc": 1})})
    report = tfbundle.verify(tmp_path / "b")
    assert report == tfbundle.verify(tmp_path / "b")
    assert pickle.loads(pickle.dumps(report)) == report
    with pytest.raises(AttributeError):
        report.path = "other"  # type: ignore[misc]


def damage_data(tmp_path: Path, change: Any, **settings: Any) -> Report:
    arrays = {f"t{number}": np.arange(number, number + 64, dtype=np.float32) for number in range(6)}
    write_bundle(tmp_path / "b", arrays, **settings)
    path = data_file(tmp_path / "b")
    path.write_bytes(change(path.read_bytes()))
    return tfbundle.verify(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "recoverable", "words"),
    [
        (lambda data: data[:1000], 3, "is truncated: it has 1000 of at least 1536 bytes"),
        (lambda data: data[:1000] + bytes(536), 3, "zero bytes: a transfer stopped"),
        (lambda data: b"", 0, "is empty"),
        (lambda data: bytes(len(data)), 0, "is all zeros"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1536\n", 0, "Git LFS pointer"),
        (lambda data: b"<!DOCTYPE html><html><body>404</body></html>", 0, "web page"),
        (lambda data: bytes(byte ^ 0x55 for byte in data), 0, "belongs to another checkpoint than the index"),
        (lambda data: data.replace(b"\x00\x00\x80", b"\xef\xbf\xbd"), 0, "saved as UTF-8"),
    ],
)
def test_likely_causes_of_data_files(tmp_path: Path, change: Any, recoverable: int, words: str) -> None:
    report = damage_data(tmp_path, change)
    assert not report.ok
    assert report.tensors == 6
    (cause,) = report.causes
    assert words in cause
    assert str(data_file(tmp_path / "b")) in cause
    with tfbundle.open_checkpoint(tmp_path / "b", salvage=True) as checkpoint:
        assert len(checkpoint) == report.recoverable
    if "UTF-8" not in words:
        assert report.recoverable == recoverable


def test_likely_cause_of_text_mode(tmp_path: Path) -> None:
    words = np.array([b"a\n", b"b\n", b"c\n"], object)
    write_bundle(tmp_path / "b", {"a": MATRIX, "words": words})
    path = data_file(tmp_path / "b")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    report = tfbundle.verify(tmp_path / "b")
    assert report.recoverable == 1
    assert "text mode" in report.causes[0]


def test_likely_cause_of_lost_carriage_returns(tmp_path: Path) -> None:
    words = np.array([b"a\r\n", b"b\r\n", b"c"], object)
    write_bundle(tmp_path / "b", {"a": MATRIX, "words": words, "z": MATRIX})
    path = data_file(tmp_path / "b")
    good = path.read_bytes()
    path.write_bytes(good.replace(b"\r\n", b"\n"))
    report = tfbundle.verify(tmp_path / "b")
    assert report.recoverable == 1
    (cause,) = report.causes
    assert "which turned each CR LF into a line feed, so that 2 bytes are missing" in cause
    # A file that was truncated by as much is intact up to there.
    path.write_bytes(good[:-2])
    (cause,) = tfbundle.verify(tmp_path / "b").causes
    assert "is truncated: it has" in cause


def test_likely_cause_of_text_mode_with_one_line_feed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX, "words": np.array([b"a\n"], object)})
    path = data_file(tmp_path / "b")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "each line feed into CR LF" in tfbundle.verify(tmp_path / "b").causes[0]


@pytest.mark.parametrize("size", [0, 1, 10])
def test_an_index_of_another_program(tmp_path: Path, size: int) -> None:
    """Such as times of lines in a log, of eight bytes and one each."""
    (tmp_path / "output.index").write_bytes(struct.pack(">qb", 1_662_041_974_144, 0) * (3 + size))
    (finding,) = tfbundle.verify(tmp_path / "output").findings
    assert "is truncated or is not a checkpoint table" in finding.message
    (cause,) = tfbundle.verify(tmp_path / "output.index").causes
    assert "another program wrote it" in cause


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("left", [10, 60])
def test_an_index_that_was_cut(tmp_path: Path, compress: bool, left: int) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX}, compress=compress)
    path = tmp_path / "b.index"
    path.write_bytes(path.read_bytes()[:left])
    (cause,) = tfbundle.verify(path).causes
    assert cause.endswith(f"it was truncated to {left} bytes, or its end is damaged")


def test_real_checkpoints_mixed_up(tmp_path: Path) -> None:
    """Shards of two steps of one training; the tensors of both end in zeros."""
    for name in ("model.ckpt-2", "model.ckpt-5"):
        for path in (FIXTURES / "tf-1.15.5" / "sharded").glob(f"{name}.*"):
            shutil.copy(path, tmp_path)
    shutil.copy(data_file(tmp_path / "model.ckpt-2", 2, 4), data_file(tmp_path / "model.ckpt-5", 2, 4))
    report = tfbundle.verify(tmp_path / "model.ckpt-5")
    assert len(report.findings) == 6
    (cause,) = report.causes
    assert "belongs to another checkpoint than the other data files: none of its 6 tensors" in cause
    # If none of them fits, it may as well be the index.
    for number in range(4):
        shutil.copy(data_file(tmp_path / "model.ckpt-2", number, 4), data_file(tmp_path / "model.ckpt-5", number, 4))
    causes = tfbundle.verify(tmp_path / "model.ckpt-5").causes
    assert all("belongs to another checkpoint than the index" in cause for cause in causes)
    assert len(causes) == 3  # One tensor alone, as in the first, proves nothing.


@pytest.mark.parametrize("count", [2, 3])
def test_data_files_with_each_other_s_names(tmp_path: Path, count: int) -> None:
    """The shorter ones are not told to be cut short, nor others to be of another checkpoint."""
    tensors = {
        f"{name}{shard}": Saved(np.arange(shard, shard + size, dtype=np.float32), shards=[shard])
        for shard in range(count + 1)
        for name, size in (("a", 20 + 10 * shard), ("b", 5), ("empty", 0))
    }
    write_bundle(tmp_path / "b", tensors, num_shards=count + 1)
    assert tfbundle.verify(tmp_path / "b").causes == ()
    paths = [data_file(tmp_path / "b", shard, count + 1) for shard in range(count)]
    contents = [path.read_bytes() for path in paths]
    for number, path in enumerate(paths):
        path.write_bytes(contents[number - 1])
    report = tfbundle.verify(tmp_path / "b")
    assert report.causes == tuple(
        f"{paths[(number + 1) % count]} has the contents of {path}: the file names were mixed up"
        for number, path in enumerate(paths)
    )
    # Where the bytes are another's as well, no file holds them.
    for number, path in enumerate(paths):
        path.write_bytes(bytes(byte ^ 1 for byte in contents[number - 1]))
    assert not any("mixed up" in cause for cause in tfbundle.verify(tmp_path / "b").causes)


def test_parts_that_are_the_same_in_both_checkpoints(tmp_path: Path) -> None:
    """They do not prove that a file belongs here."""
    tensors = dict.fromkeys("abcdef", MATRIX)
    write_bundle(tmp_path / "b", {**tensors, "a": MATRIX * 0})
    write_bundle(tmp_path / "c", {**dict.fromkeys(tensors, MATRIX + 1), "a": MATRIX * 0})
    shutil.copy(data_file(tmp_path / "c"), data_file(tmp_path / "b"))
    report = tfbundle.verify(tmp_path / "b")
    assert report.recoverable == 1
    assert "belongs to another checkpoint than the index: only 1 of its 6 tensors" in report.causes[0]


def test_what_is_said_of_each_file(tmp_path: Path) -> None:
    tensors = {f"t{number}": Saved(MATRIX, shards=[number % 3]) for number in range(8)}
    tensors["t0"] = Saved(MATRIX[0, :3], shards=[0])
    write_bundle(tmp_path / "b", tensors, num_shards=3, leave_out=[1], alignment=64)
    path = data_file(tmp_path / "b", 2, 3)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    index, *shards = tfbundle.verify(tmp_path / "b").files
    assert (index.path, index.kind, index.whole) == (str(tmp_path / "b.index"), "index", 1)
    paths = [data_file(tmp_path / "b", shard, 3) for shard in range(3)]
    assert [(file.path, file.kind) for file in shards] == [(str(path), "data") for path in paths]
    assert [file.size for file in shards] == [64 + 128 + 96, None, 128 + 96]
    assert [file.whole for file in shards] == [3, 0, 1]
    # 12 bytes up to 64, and 96 up to 128; nothing is aligned after the last tensor.
    assert [file.padding for file in shards] == [52 + 32, 0, 32]


def test_files_of_v1(tmp_path: Path) -> None:
    write_v1(tmp_path / "old", {"a": MATRIX, "b": MATRIX})
    (file,) = tfbundle.verify(tmp_path / "old").files
    assert file == CheckedFile(str(tmp_path / "old"), "v1", (tmp_path / "old").stat().st_size, 2)


def test_names_in_a_damaged_index(tmp_path: Path) -> None:
    """The only block is damaged; what it listed can still be told."""
    write_bundle(tmp_path / "b", {"first": MATRIX, "second": MATRIX})
    path = tmp_path / "b.index"
    data = bytearray(path.read_bytes())
    data[data.index(b"second") + 8] ^= 0x10
    path.write_bytes(data)
    report = tfbundle.verify(tmp_path / "b")
    assert (report.tensors, report.recoverable) == (0, 0)
    assert {finding.kind for finding in report.findings} == {"index"}
    assert {"first", "second"} <= {finding.tensor for finding in report.findings}


def test_data_file_of_another_checkpoint(tmp_path: Path) -> None:
    tensors = {f"t{number}": Saved(MATRIX + number, shards=[number % 2]) for number in range(6)}
    write_bundle(tmp_path / "b", tensors, num_shards=2)
    path = data_file(tmp_path / "b", 1, 2)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    report = tfbundle.verify(tmp_path / "b")
    assert report.recoverable == 3
    assert "another checkpoint than the other data files" in report.causes[0]


def test_a_single_bad_tensor_shows_no_cause(tmp_path: Path) -> None:
    report = damage_data(tmp_path, lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:])
    assert [finding.tensor for finding in report.findings] == ["t0"]
    assert (report.recoverable, report.causes) == (5, ())


def test_pointer_is_one_finding(tmp_path: Path) -> None:
    """Not one for each tensor."""
    report = damage_data(tmp_path, lambda data: b"version https://git-lfs.github.com/spec/v1\n")
    assert [(finding.kind, finding.shard) for finding in report.findings] == [("wrong-file", 0)]


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html></html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_stand_in_for_an_index(tmp_path: Path, data: bytes) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX})
    (tmp_path / "b.index").write_bytes(data)
    report = tfbundle.verify(tmp_path / "b")
    assert len(report.findings) == 1
    assert len(report.causes) == 1


def test_index_without_a_footer(tmp_path: Path) -> None:
    """What is left is checked, and counted."""
    write_bundle(tmp_path / "b", {f"t{number}": MATRIX for number in range(8)}, block_size=60)
    path = tmp_path / "b.index"
    path.write_bytes(path.read_bytes()[:-48])
    report = tfbundle.verify(tmp_path / "b")
    assert not report.ok
    assert (report.tensors, report.recoverable, report.nbytes) == (8, 8, 8 * 96)
    write_v1(tmp_path / "old", {f"t{number}": MATRIX for number in range(8)}, block_size=200)
    (tmp_path / "old").write_bytes((tmp_path / "old").read_bytes()[:-48])
    report = tfbundle.verify(tmp_path / "old")
    assert (report.format, report.tensors, report.recoverable) == ("v1", 8, 8)
    assert not report.ok


def test_unclaimed_bytes(tmp_path: Path) -> None:
    report = damage_data(tmp_path, lambda data: data + b"extra")
    (finding,) = report.findings
    assert (finding.kind, finding.shard, finding.offset, finding.size) == ("unclaimed", 0, 1536, 5)
    assert report.recoverable == 6
    write_bundle(tmp_path / "c", {"a": MATRIX, "b": Saved(MATRIX, lies={"raw": None}), "c": MATRIX})
    (finding,) = tfbundle.verify(tmp_path / "c").findings
    assert (finding.kind, finding.offset, finding.size) == ("unclaimed", 96, 96)


@pytest.mark.parametrize("kind", ["v2", "v1"])
def test_bytes_of_an_index_that_no_block_claims(tmp_path: Path, kind: str) -> None:
    (write_bundle if kind == "v2" else write_v1)(tmp_path / "b", {"v": MATRIX})
    path = tmp_path / ("b.index" if kind == "v2" else "b")
    data = path.read_bytes()
    path.write_bytes(data * 2)
    report = tfbundle.verify(tmp_path / "b")
    (finding,) = report.findings
    assert (finding.kind, finding.path) == ("unclaimed", str(path))
    assert (finding.offset, finding.size) == (len(data) - 48, len(data))
    assert report.recoverable == 1


@pytest.mark.parametrize("alignment", [3, 64, 4096])
def test_padding_is_not_a_finding(tmp_path: Path, alignment: int) -> None:
    arrays = {f"t{number}": np.arange(number, number + 7, dtype=np.int8) for number in range(6)}
    write_bundle(tmp_path / "b", arrays, alignment=alignment)
    assert tfbundle.verify(tmp_path / "b").ok
    path = data_file(tmp_path / "b")
    data = bytearray(path.read_bytes())
    data[7] = 1
    path.write_bytes(data)
    assert [finding.kind for finding in tfbundle.verify(tmp_path / "b").findings] == ["unclaimed"]


def test_overlapping_entries(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX, "b": Saved(MATRIX, lies={"offset": 40})})
    found = [finding for finding in tfbundle.verify(tmp_path / "b").findings if finding.kind == "overlap"]
    assert [(finding.tensor, finding.offset, finding.size) for finding in found] == [("b", 40, 56)]
    assert "'a'" in found[0].message


def test_superfluous_data_files(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX})
    data_file(tmp_path / "b", 1, 2).write_bytes(b"x")
    data_file(tmp_path / "better").write_bytes(b"x")
    report = tfbundle.verify(tmp_path / "b")
    assert [(finding.kind, finding.path) for finding in report.findings] == [
        ("superfluous", str(data_file(tmp_path / "b", 1, 2)))
    ]
    assert report.recoverable == 1
    assert "several checkpoints" in report.causes[0]


def test_slots_of_parts_that_an_estimator_saves() -> None:
    """Each is one slice of a tensor of the variable's shape, and all of what was saved."""
    report = tfbundle.verify(FIXTURES / "tf-1.15.5" / "optimizers" / "all.ckpt")
    assert report.ok
    assert report.recoverable == report.tensors == 88


@pytest.mark.parametrize("size", [0, 1, (1 << 63) - 1])
def test_ends_beyond_what_a_file_can_have(tmp_path: Path, size: int) -> None:
    text = Saved(np.array([b"x"], object), STRING, lies={"offset": (1 << 63) - 1, "size": size})
    write_bundle(tmp_path / "m", {"a": np.ones(3, np.float32), "s": text})
    assert {finding.tensor for finding in tfbundle.verify(tmp_path / "m").findings} == {"s", None}
