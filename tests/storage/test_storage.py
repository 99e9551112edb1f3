"""Files as arrays of bytes, on systems with and without reads at an offset."""

import errno
import gc
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.bundle_writer import FULL, Saved, write_bundle
from tests.support.expected import expected_checkpoints, sha256_of
from tfbundle import FormatError, MissingFileError, TfBundleError, TruncatedError
from tfbundle.limits import MOST_OPEN_FILES
from tfbundle.storage import local
from tfbundle.storage.local import LocalSource
from tfbundle.storage.locations import locate

DATA = bytes(range(256)) * 20


@pytest.fixture(params=["positioned", "seeking"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How files are read: as POSIX can, or as every system can."""
    if request.param == "seeking":
        monkeypatch.setattr(local, "_read", local._read_seeking)
        monkeypatch.setattr(local, "_read_into", local._read_into_copying)
    elif not hasattr(os, "preadv"):
        pytest.skip("this system cannot read at an offset")
    return str(request.param)


@pytest.fixture
def source(way: str, tmp_path: Path) -> Iterator[LocalSource]:
    (tmp_path / "file").write_bytes(DATA)
    opened = LocalSource(tmp_path / "file")
    yield opened
    opened.close()


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, 1), (7, 100), (0, len(DATA)), (len(DATA), 0), (5119, 1)])
def test_ranges(source: LocalSource, offset: int, size: int) -> None:
    wanted = DATA[offset : offset + size]
    assert source.read_at(offset, size) == wanted
    assert bytes(source.view(offset, size)) == wanted
    buffer = bytearray(size)
    source.read_into(offset, memoryview(buffer))
    assert buffer == wanted


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 5121), (5120, 1), (5121, 0), (-1, 1), (0, -1), (1 << 62, 1 << 62), (1 << 70, 1), (10, 5120)],
)
def test_ranges_outside(source: LocalSource, offset: int, size: int) -> None:
    for read in (source.read_at, source.view):
        with pytest.raises(TruncatedError) as caught:
            read(offset, size)
        assert (caught.value.path, caught.value.offset) == (source.path, offset)
        assert "5120 bytes" in str(caught.value)


def test_buffer_outside(source: LocalSource) -> None:
    with pytest.raises(TruncatedError):
        source.read_into(5000, memoryview(bytearray(200)))


@pytest.mark.parametrize("largest", [1, 7, 1000])
def test_reads_in_several_steps(source: LocalSource, monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    monkeypatch.setattr(local, "_LARGEST_READ", largest)
    assert source.read_at(3, 2000) == DATA[3:2003]
    buffer = bytearray(2000)
    source.read_into(3, memoryview(buffer))
    assert buffer == DATA[3:2003]


def test_reads_that_give_less(source: LocalSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network file systems do."""
    read, read_into = local._read, local._read_into
    monkeypatch.setattr(local, "_read", lambda descriptor, size, offset: read(descriptor, min(size, 13), offset))
    monkeypatch.setattr(
        local, "_read_into", lambda descriptor, buffer, offset: read_into(descriptor, buffer[:13], offset)
    )
    assert source.read_at(3, 2000) == DATA[3:2003]
    buffer = bytearray(2000)
    source.read_into(3, memoryview(buffer))
    assert buffer == DATA[3:2003]


def test_file_that_shrinks(source: LocalSource) -> None:
    os.truncate(source.path, 1000)
    with pytest.raises(TruncatedError, match="shorter") as caught:
        source.read_at(500, 1000)
    assert caught.value.offset == 1000
    with pytest.raises(TruncatedError, match="shorter"):
        source.read_into(500, memoryview(bytearray(1000)))
    with pytest.raises(TruncatedError, match="shorter"):
        source.view(500, 1000)
    with pytest.raises(FormatError, match="overwritten"):
        source.check_unchanged()
    assert not source.same_file()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="each map has a descriptor of its own before Python 3.13")
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="this system does not list the descriptors")
def test_maps_take_no_descriptors(tmp_path: Path) -> None:
    tensors = {f"t{number}": Saved(np.arange(3.0), shards=[number]) for number in range(MOST_OPEN_FILES + 9)}
    write_bundle(tmp_path / "b", tensors, num_shards=len(tensors))
    gc.collect()  # What other tests left is closed now, and not in between.
    before = len(os.listdir("/proc/self/fd"))
    views = tfbundle.load(tmp_path / "b", mmap=True)
    assert len(os.listdir("/proc/self/fd")) == before
    assert all((view == np.arange(3.0)).all() for view in views.values())


def test_threads_do_not_meet(source: LocalSource) -> None:
    def read(offset: int) -> bool:
        buffer = bytearray(100)
        source.read_into(offset, memoryview(buffer))
        return source.read_at(offset, 100) == buffer == DATA[offset : offset + 100]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [number * 37 % 5000 for number in range(2000)]))


def test_close(source: LocalSource) -> None:
    view = source.view(10, 20)
    assert "closed" not in repr(source)
    source.close()
    source.close()
    assert "closed" in repr(source)
    for read in (source.read_at, source.view):
        with pytest.raises(ValueError, match="closed"):
            read(0, 1)
    with pytest.raises(ValueError, match="closed"):
        source.read_into(0, memoryview(bytearray(1)))
    with pytest.raises(ValueError, match="closed"):
        source.check_unchanged()
    assert bytes(view) == DATA[10:30]
    assert view.readonly


def test_errors_of_the_system_name_the_file(source: LocalSource, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(local, "_read", fail)
    monkeypatch.setattr(local, "_read_into", fail)
    for read in (lambda: source.read_at(0, 1), lambda: source.read_into(0, memoryview(bytearray(1)))):
        with pytest.raises(OSError, match="file") as caught:
            read()
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, source.path)
        assert not isinstance(caught.value, TfBundleError)


def test_closing_while_others_read(way: str, tmp_path: Path) -> None:
    """A reader gets its bytes or the ``ValueError``, never those of a file that took the descriptor's number."""
    (tmp_path / "file").write_bytes(DATA)
    (tmp_path / "other").write_bytes(b"\xaa" * len(DATA))
    for _ in range(50):
        source = LocalSource(tmp_path / "file")
        started = threading.Event()
        wrong = []

        def read(source: LocalSource = source, started: threading.Event = started, wrong: list[bytes] = wrong) -> None:
            try:
                while True:
                    data = source.read_at(100, 200)
                    started.set()
                    if data != DATA[100:300]:
                        wrong.append(data)
            except ValueError:
                started.set()

        reader = threading.Thread(target=read)
        reader.start()
        started.wait()
        source.close()
        others = [LocalSource(tmp_path / "other") for _ in range(4)]
        reader.join()
        for other in others:
            other.close()
        assert not wrong


def test_empty_file(way: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    source = LocalSource(tmp_path / "file")
    assert source.size == 0
    assert source.read_at(0, 0) == bytes(source.view(0, 0)) == b""
    source.read_into(0, memoryview(b""))
    source.close()


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    for _ in range(5000):
        LocalSource(tmp_path / "file")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path / "gone" / "file", f"{tmp_path}/a\0b"):
        with pytest.raises(MissingFileError) as caught:
            LocalSource(path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, os.fspath(path))
    (tmp_path / "file").write_bytes(DATA)
    with pytest.raises(MissingFileError):
        LocalSource(tmp_path / "file" / "below")
    with pytest.raises(FormatError, match="a folder"):
        LocalSource(tmp_path)


def test_changes_are_noticed(source: LocalSource, tmp_path: Path) -> None:
    source.check_unchanged()
    assert source.same_file()
    facts = os.stat(source.path)
    Path(source.path).write_bytes(DATA[::-1])
    os.utime(source.path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000))
    with pytest.raises(FormatError, match="overwritten"):
        source.check_unchanged()
    assert not source.same_file()
    assert source.was_replaced()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not rename over an open file")
def test_renaming_leaves_the_open_file(source: LocalSource, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(DATA[::-1])
    os.replace(tmp_path / "new", source.path)
    source.check_unchanged()
    assert not source.same_file()
    assert source.was_replaced()
    assert source.read_at(0, 100) == DATA[:100]
    os.unlink(source.path)
    source.check_unchanged()
    assert not source.same_file()
    assert not source.was_replaced()


def test_listing(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"12")
    (tmp_path / "a").mkdir()
    assert locate(tmp_path).list().names == ["a", "b"]
    assert locate(tmp_path / "b").is_file()
    assert not locate(tmp_path / "a").is_file()
    assert not locate(tmp_path / "c").is_file()
    assert not locate("a\0b").is_file()
    assert locate(tmp_path / "a").is_folder()
    assert not locate(tmp_path / "b").is_folder()
    assert not locate("a\0b").is_folder()
    facts = locate(tmp_path / "b").stat()
    assert facts is not None
    assert facts.size == 2
    assert locate(tmp_path / "a").stat() is None
    assert locate(tmp_path / "c").stat() is None
    assert locate("a\0b").stat() is None
    for gone in (tmp_path / "c", tmp_path / "b", "a\0b", "a\ud800b"):
        with pytest.raises(MissingFileError):
            locate(gone).list()
    assert locate(tmp_path / "b").read(2) == b"12"
    with pytest.raises(FormatError, match="has 2 bytes, and no file of its kind has more than 1"):
        locate(tmp_path / "b").read(1)


# The same on checkpoints.


def test_fixtures(way: str) -> None:
    for expected in expected_checkpoints("v2"):
        if expected.error is not None or len(expected.tensors) > 1000:
            continue
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            for name, wanted in expected.tensors.items():
                if "sha256" in wanted and "sha256_as_int8" not in wanted:
                    assert sha256_of(checkpoint[name].read()) == wanted["sha256"]


def test_large_tensors_and_parts_in_threads(way: str, tmp_path: Path) -> None:
    array = np.arange(3_000_000, dtype=np.float32).reshape(3000, 1000)
    slices = [((0, 1000), FULL), ((1000, 2000), (0, 500)), ((1000, 2000), (500, 500))]
    write_bundle(tmp_path / "b", {"v": array, "parts": Saved(array, slices=slices, shards=[0, 1])}, num_shards=2)
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint, ThreadPoolExecutor(4) as pool:

        def read(number: int) -> None:
            tensor = checkpoint["parts" if number % 2 else "v"]
            if number % 20 < 2:
                assert_same(tensor.read(), array)
            else:
                assert_same(tensor[number * 31 :: 500, ::3], array[number * 31 :: 500, ::3])

        list(pool.map(read, range(60)))
