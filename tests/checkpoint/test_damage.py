"""Damage of every byte: what is read is right, or an error of ours, and nothing goes missing without a word."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import FULL, Saved, write_bundle
from tests.support.overwriting import overwrite
from tests.support.sampling import places, rounds
from tests.support.table_writer import encode_table
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle import MissingFileError, TfBundleError
from tfbundle.formats.table.reader import Table
from tfbundle.storage.local import LocalSource

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "empty": np.zeros((0, 2), np.float32),
    "layer/bias": np.array([1.5, -2.5], np.float32),
    "parts": np.arange(6, dtype=np.int16).reshape(3, 2),
    "step": np.array(1000, np.int64),
    "words": object_array([b"one", b"", b"three"]),
}
PARTS = [((0, 1), FULL), ((1, 2), FULL)]


def write_v2(prefix: Path) -> None:
    tensors = {**ARRAYS, "parts": Saved(ARRAYS["parts"], slices=PARTS, shards=[0, 1])}
    write_bundle(prefix, tensors, num_shards=2, block_size=120)


def write_snappy(prefix: Path) -> None:
    tensors = {**ARRAYS, "parts": Saved(ARRAYS["parts"], slices=PARTS, shards=[0, 1])}
    write_bundle(prefix, tensors, num_shards=2, compress=True, restart_interval=2)


def write_old(prefix: Path) -> None:
    write_v1(prefix, {**ARRAYS, "parts": V1Saved(ARRAYS["parts"], slices=PARTS)}, block_size=120)


WRITERS = {"v2": write_v2, "v2-snappy": write_snappy, "v1": write_old}


class Damaged:
    """A checkpoint whose files are damaged in one way after the other."""

    def __init__(self, folder: Path, write: Callable[[Path], None]) -> None:
        self.prefix = folder / "model"
        write(self.prefix)
        self.good = {path: path.read_bytes() for path in sorted(folder.iterdir())}

    def variants(self, change: Callable[[bytes], Iterator[bytes]]) -> Iterator[tuple[Path, int]]:
        """Each file in each damaged form, while the others are whole; which file, and the number of the form."""
        for path, data in self.good.items():
            for number, damaged in enumerate(change(data)):
                overwrite(path, damaged)
                yield path, number
            overwrite(path, data)


@pytest.fixture(params=WRITERS)
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Damaged:
    return Damaged(tmp_path, WRITERS[request.param])


def check(prefix: Path, *, mmap: bool = False) -> set[str] | None:
    """Read everything, at last at once. Which tensors were refused, or ``None`` if the whole checkpoint was."""
    refused = set()
    try:
        with tfbundle.open_checkpoint(prefix) as checkpoint:
            # Some are requested by name before the list of names is known.
            for name in ("step", "parts"):
                with suppress(TfBundleError):
                    assert_same(checkpoint[name].read(), ARRAYS[name])
            assert list(checkpoint) == list(ARRAYS)
            for name, tensor in checkpoint.items():
                try:
                    assert_same(tensor.read(), ARRAYS[name])
                    assert (tensor.shape, tensor.dtype) == (ARRAYS[name].shape, ARRAYS[name].dtype)
                except TfBundleError:
                    refused.add(name)
    except TfBundleError:
        return None
    try:
        loaded = tfbundle.load(prefix, mmap=mmap)
    except TfBundleError:
        assert refused
        return refused
    assert not refused
    for name, array in ARRAYS.items():
        assert_same(loaded[name], array)
    return refused


def check_unverified(prefix: Path) -> None:
    """Without checksums the values may be anything, but no exception is another's."""
    with suppress(TfBundleError), tfbundle.open_checkpoint(prefix, verify=False) as checkpoint:
        for tensor in checkpoint.values():
            repr(tensor)
            for read in (tensor.read, lambda tensor=tensor: tensor[...], lambda tensor=tensor: tensor.ranges):
                with suppress(TfBundleError):
                    read()


def flipped(data: bytes, place: int, bits: int) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def flips(data: bytes) -> Iterator[bytes]:
    """Each byte with its lowest bit flipped, and with its highest."""
    for place, bits in itertools.product(places(len(data)), (0x01, 0x80)):
        yield flipped(data, place, bits)


def flips_in_turn(data: bytes) -> Iterator[bytes]:
    """Each byte with one bit flipped: to a checksum it makes no difference which."""
    for place in places(len(data)):
        yield flipped(data, place, 1 << place * 3 % 8)


def truncations(data: bytes) -> Iterator[bytes]:
    for size in places(len(data)):
        yield data[:size]


def losses(data: bytes) -> Iterator[bytes]:
    """A stretch lost in the middle, zeroed, or doubled."""
    for place in rounds(range(0, len(data), 7)):
        yield data[:place] + data[place + 5 :]
        yield data[:place] + bytes(len(data[place : place + 16])) + data[place + 16 :]
        yield data[:place] + data[place : place + 9] + data[place:]


def test_undamaged(damaged: Damaged) -> None:
    assert check(damaged.prefix) == check(damaged.prefix, mmap=True) == set()
    report = tfbundle.verify(damaged.prefix)
    assert report.ok
    assert report.tensors == len(ARRAYS)


def test_every_flip(damaged: Damaged) -> None:
    noticed = tried = 0
    for path, number in damaged.variants(flips_in_turn):
        tried += 1
        refused = check(damaged.prefix, mmap=number % 2 == 1)
        report = tfbundle.verify(damaged.prefix)
        # What cannot be read is in the report; what is in the report alone concerns bytes that no tensor needs.
        assert refused == set() or not report.ok, (path, number)
        noticed += not report.ok
        if ".data-" in path.name:
            assert refused is not None
            assert len(refused) == 1
            assert [finding.tensor for finding in report.findings] == list(refused)
    # All that may go unnoticed is the padding of the footer, and values in it that mean the same.
    assert noticed > tried - 48


def test_every_flip_without_checksums(damaged: Damaged) -> None:
    for _ in damaged.variants(flips):
        check_unverified(damaged.prefix)


def test_every_truncation(damaged: Damaged) -> None:
    for path, size in damaged.variants(truncations):
        refused = check(damaged.prefix, mmap=size % 2 == 1)
        check_unverified(damaged.prefix)
        assert refused is None or refused, (path, size)
        report = tfbundle.verify(damaged.prefix)
        assert not report.ok
        if ".data-" in path.name:
            assert {finding.tensor for finding in report.findings} == refused


def test_lost_stretches(damaged: Damaged) -> None:
    for path, number in damaged.variants(losses):
        refused = check(damaged.prefix, mmap=number % 2 == 1)
        check_unverified(damaged.prefix)
        assert refused == set() or not tfbundle.verify(damaged.prefix).ok, (path, number)


def test_longer_files(damaged: Damaged) -> None:
    """Bytes after the end of a data file belong to nothing; after an index they hide its footer."""
    for path, _ in damaged.variants(lambda data: iter([data + b"\0", data + data])):
        refused = check(damaged.prefix)
        assert (refused == set()) == (".data-" in path.name or path.read_bytes().endswith(damaged.good[path]))


def test_each_file_absent(damaged: Damaged) -> None:
    for path, data in damaged.good.items():
        path.unlink()
        report = tfbundle.verify(damaged.prefix)
        assert [finding.kind for finding in report.findings] == ["missing"]
        refused = check(damaged.prefix)
        assert refused != set()
        if refused is None:
            with pytest.raises(MissingFileError):
                tfbundle.open_checkpoint(damaged.prefix)
        path.write_bytes(data)
    assert check(damaged.prefix) == set()


def test_files_of_another_checkpoint(damaged: Damaged, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Data files and an index that do not belong together."""
    if not (damaged.prefix.parent / "model.index").exists():
        pytest.skip("a V1 checkpoint is one file")
    other = tmp_path_factory.mktemp("other") / "model"
    write_bundle(
        other,
        {
            "layer/bias": ARRAYS["layer/bias"] + 1,
            "step": ARRAYS["step"] + 1,
            "words": Saved(ARRAYS["words"], shards=[1]),
        },
        num_shards=2,
    )
    for path, data in damaged.good.items():
        overwrite(path, (other.parent / path.name).read_bytes())
        assert not tfbundle.verify(damaged.prefix).ok
        if path.suffix != ".index":
            assert check(damaged.prefix)
        overwrite(path, data)


@pytest.mark.parametrize("write", [write_v2, write_old], ids=["v2", "v1"])
def test_every_lie_of_an_entry(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """Bytes of entries and headers flip under honest table checksums, as no disk but any person can do it."""
    write(tmp_path / "model")
    path = tmp_path / "model.index" if write is write_v2 else tmp_path / "model"
    source = LocalSource(path)
    entries = dict(Table(source))
    source.close()
    for key, value in rounds(list(entries.items())):
        # Either bit of a byte is flipped, and the other one in the byte after it, for either way of loading.
        for lie, mmap in zip(rounds(list(flips(value))), itertools.cycle((True, False, False, True)), strict=False):
            overwrite(path, encode_table({**entries, key: lie}))
            with suppress(TfBundleError), tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
                for name, tensor in checkpoint.items():
                    for read in (tensor.read, lambda tensor=tensor: tensor[...]):
                        with suppress(TfBundleError):
                            found = read()
                            # An entry has a say in its own tensor alone.
                            if key and name in ARRAYS and name.encode() not in key:
                                assert_same(found, ARRAYS[name])
            with suppress(TfBundleError):
                tfbundle.load(tmp_path / "model", mmap=mmap)
            tfbundle.verify(tmp_path / "model")
