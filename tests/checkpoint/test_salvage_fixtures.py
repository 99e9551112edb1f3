"""Salvage of checkpoints that TensorFlow wrote: each file is damaged in each way; what was not touched comes back.

What "not touched" means is worked out from the good files: in a data file the bytes of a tensor at their place, in a
table (an index, or a V1 file) the blocks in which a tensor is stated, wherever the damage has moved them.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.expected import FIXTURES, MOST_READ, read_of
from tests.support.overwriting import overwrite
from tests.support.sampling import rounds
from tfbundle import MissingFileError, TfBundleError
from tfbundle.formats.slice_keys import decode_slice_key
from tfbundle.formats.table.reader import FOOTER_SIZE, TRAILER_SIZE, Table
from tfbundle.storage.local import LocalSource

V2 = [
    "tf-1.15.5/sharded/model.ckpt-5",
    "tf-1.15.5/partitioned/sharded.ckpt",
    "tf-2.15.1/keras-weights/weights",
    "tf-2.21.0/many-shards/bundle",
    "tf-2.21.0/many-keys/bundle",
    "tf-2.21.0/slice-layouts/bundle",
    "tf-2.21.0/slices-over-shards/bundle",
    "tf-2.21.0/strings/bundle",
    "tf-2.21.0/variants/bundle",
    "handmade/aligned/bundle",
    "handmade/big-endian/bundle",
    "handmade/block-shapes/blocks_of_1_restarts_of_16",
    "handmade/block-shapes/blocks_of_64_restarts_of_16",
    "handmade/snappy-index/bundle",
]
RANDOM = [
    "handmade/block-shapes/blocks_of_1_restarts_of_16",
    "handmade/block-shapes/blocks_of_64_restarts_of_16",
    "handmade/snappy-index/bundle",
]
V1 = [
    "tf-1.15.5/v1-training/model.ckpt-20",
    "tf-1.15.5/v1-blocks/bundle",
    "tf-1.15.5/v1-sharded/model.ckpt-5",
    "tf-1.15.5/v1-partitioned/model.ckpt-3",
    "handmade/v1-snappy/bundle",
]

# Ways to damage a file; ``None`` takes it away.
WAYS: dict[str, Callable[[bytes], bytes | None]] = {
    "absent": lambda data: None,
    "empty": lambda data: b"",
    "start cut off": lambda data: data[len(data) // 3 :],
    "end cut off": lambda data: data[: 2 * len(data) // 3],
    "middle cut out": lambda data: data[: len(data) // 3] + data[len(data) // 2 :],
    "start zeroed": lambda data: bytes(len(data) // 3) + data[len(data) // 3 :],
    "middle zeroed": lambda data: (
        data[: len(data) // 3] + bytes(len(data) // 6) + data[len(data) // 3 + len(data) // 6 :]
    ),
    "end zeroed": lambda data: data[: 2 * len(data) // 3] + bytes(len(data) - 2 * len(data) // 3),
    "bytes put in": lambda data: data[: len(data) // 2] + b"\x5a" * 33 + data[len(data) // 2 :],
    "a bit flipped early": lambda data: (
        data[: len(data) // 4] + bytes([data[len(data) // 4] ^ 4]) + data[len(data) // 4 + 1 :]
    ),
    "a bit flipped late": lambda data: (
        data[: -len(data) // 9] + bytes([data[-len(data) // 9] ^ 4]) + data[-len(data) // 9 + 1 :]
    ),
    "LF to CR LF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR LF to LF": lambda data: data.replace(b"\r\n", b"\n"),
}
# Ways to damage what leads to a table's blocks.
TABLE_WAYS: dict[str, Callable[[bytes, int], bytes]] = {
    "footer cut off": lambda data, meta: data[:-FOOTER_SIZE],
    "directory and footer cut off": lambda data, meta: data[:meta],
    "footer zeroed": lambda data, meta: data[:-FOOTER_SIZE] + bytes(FOOTER_SIZE),
    "directory broken": lambda data, meta: data[: meta + 15] + b"\xff" + data[meta + 16 :],
    "first block broken": lambda data, meta: data[:4] + bytes([data[4] ^ 1]) + data[5:],
    "first block and footer lost": lambda data, meta: bytes(8) + data[8:-FOOTER_SIZE],
}


class Good:
    """A copy of a fixture, and what it holds while it is whole."""

    def __init__(self, name: str, format: Any, folder: Path) -> None:
        source = FIXTURES / name
        for path in source.parent.glob(f"{source.name}*"):
            shutil.copy(path, folder)
        self.prefix = folder / source.name
        self.format = format
        self.claims: dict[Path, list[tuple[int, int, str]]] = {}
        with tfbundle.open_checkpoint(self.prefix, format=format) as checkpoint:
            self.arrays = {tensor: value.read() for tensor, value in checkpoint.items()}
            for tensor, value in checkpoint.items():
                for place in value.ranges:
                    self.claims.setdefault(Path(place.path), []).append(
                        (place.offset, place.offset + place.size, tensor)
                    )
        if format == "v2":
            self.tables = [Path(f"{self.prefix}.index")]
            self.data = sorted(folder.glob(f"{source.name}.data-*"))
        else:
            self.tables = [self.prefix] if self.prefix.exists() else sorted(folder.glob(f"{source.name}-*-of-*"))
            self.data = []

    def survivors_of_data(self, path: Path, damaged: bytes | None) -> set[str]:
        """The tensors whose bytes are all where they were."""
        good = path.read_bytes()
        touched = {
            name
            for start, end, name in self.claims.get(path, [])
            if damaged is None or end > len(damaged) or damaged[start:end] != good[start:end]
        }
        return self.arrays.keys() - touched

    def survivors_of_table(self, path: Path, damaged: bytes | None) -> set[str]:
        """The tensors that are stated in no block that is damaged."""
        source = LocalSource(path)
        table = Table(source)
        good = path.read_bytes()
        touched: set[str] = set()
        for number, (keys, _) in enumerate(table.blocks()):
            offset, size = table.handles[number]
            # Where the way to it is lost, a block is found after the trailer of the one before.
            if damaged is None or good[max(offset - TRAILER_SIZE, 0) : offset + size + TRAILER_SIZE] not in damaged:
                touched.update(map(owner_of, keys))
                if self.format == "v1" and number == 0:  # It says what all others in the file are.
                    touched.update(owner_of(key) for keys, _ in table.blocks() for key in keys)
        source.close()
        return self.arrays.keys() - touched

    def check(self, survivors: set[str], what: str) -> tuple[int, bool] | None:
        """Salvage returns the survivors, no wrong value, and says that something is lost.

        Returns how many there are, and whether anything is lost, or ``None`` if the whole checkpoint is refused.
        """
        try:
            checkpoint = tfbundle.open_checkpoint(self.prefix, format=self.format, salvage=True)
        except TfBundleError:
            if survivors:
                raise
            return None
        with checkpoint:
            assert set(checkpoint) >= survivors, what
            for name in read_of(checkpoint):
                assert_same(checkpoint[name].read(), self.arrays[name])
            lost = {finding.tensor for finding in checkpoint.lost}
            assert not lost & set(checkpoint), what
            assert None in lost or lost >= self.arrays.keys() - set(checkpoint), what
            return len(checkpoint), bool(lost)


def owner_of(key: bytes) -> str:
    try:
        return decode_slice_key(key)[0].decode() if key.startswith(b"\0") else key.decode()
    except tfbundle.FormatError:
        return key.decode()


def meta_of(path: Path) -> int:
    source = LocalSource(path)
    offset = Table(source).footer.metaindex_handle.offset
    source.close()
    return offset


@pytest.mark.parametrize("name", [name for name in V2 if "many-keys" not in name])
def test_damaged_data_files(tmp_path: Path, name: str) -> None:
    good = Good(name, "v2", tmp_path)
    for path in good.data[:6]:
        data = path.read_bytes()
        for way, damage in rounds(list(WAYS.items())):
            damaged = damage(data) if data or way in ("absent", "empty") else data
            if damaged == data:
                continue
            survivors = good.survivors_of_data(path, damaged)
            path.unlink() if damaged is None else overwrite(path, damaged)
            good.check(survivors, f"{path.name}: {way}")
            overwrite(path, data)


@pytest.mark.parametrize(("name", "format"), [*((name, "v2") for name in V2), *((name, "v1") for name in V1)])
def test_damaged_tables(tmp_path: Path, name: str, format: str) -> None:
    good = Good(name, format, tmp_path)
    for path in good.tables:
        data = path.read_bytes()
        meta = meta_of(path)
        # A table with very many names takes long, and what it has alone are blocks as large as TensorFlow makes them.
        some = list(WAYS.items())[:: 2 if len(good.arrays) > MOST_READ else 1]
        ways: dict[str, bytes | None] = {way: damage(data) for way, damage in some}
        ways.update((way, damage(data, meta)) for way, damage in TABLE_WAYS.items())
        if format == "v2" or len(good.tables) == 1:
            ways.pop("absent", None)  # Nothing is left then.
        for way, damaged in rounds(list(ways.items())):
            if damaged == data:
                continue
            survivors = good.survivors_of_table(path, damaged)
            if format == "v2" and name in RANDOM and damaged is not None and data[:20] not in damaged:
                survivors = set()  # With the header the byte order is lost, of which noise shows nothing.
            path.unlink() if damaged is None else overwrite(path, damaged)
            good.check(survivors, f"{path.name}: {way}")
            overwrite(path, data)


def test_no_index(tmp_path: Path) -> None:
    """Without it nothing says which bytes are which tensor."""
    good = Good("tf-1.15.5/sharded/model.ckpt-5", "v2", tmp_path)
    good.tables[0].unlink()
    with pytest.raises(MissingFileError, match=r"model\.ckpt-5\.index does not exist"):
        tfbundle.open_checkpoint(good.prefix, salvage=True)


def damage_at_random(data: bytes, rnd: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rnd.randint(1, 3)):
        start = rnd.randrange(len(damaged) + 1)
        end = min(len(damaged), start + rnd.choice([1, 2, 5, 30, 200, 1000]))
        put_in = rnd.choice([b"", bytes(end - start), rnd.randbytes(end - start)])
        damaged[start : rnd.choice([start, end, len(damaged)])] = put_in
    return bytes(damaged)


@pytest.mark.parametrize(
    ("name", "format"),
    [*((name, "v2") for name in V2 if "many-keys" not in name), *((name, "v1") for name in V1 if "blocks" not in name)],
)
def test_several_damages_at_once(tmp_path: Path, name: str, format: str) -> None:
    """No wrong value, nothing missing without a word, and ``verify`` counts what salvage finds."""
    good = Good(name, format, tmp_path)
    rnd = random.Random(name)
    files = {path: path.read_bytes() for path in [*good.tables, *good.data]}
    for number in rounds(range(40)):
        damaged = {path: damage_at_random(files[path], rnd) for path in rnd.sample(list(files), min(2, len(files)))}
        if all(files[path] == data for path, data in damaged.items()):
            continue
        for path, data in damaged.items():
            overwrite(path, data)
        report = tfbundle.verify(good.prefix, format=good.format)
        found = good.check(set(), f"round {number}")
        if found is None:
            assert not report.ok
        else:
            count, has_losses = found
            assert report.recoverable == count, number
            assert not (report.ok and has_losses)
        for path in damaged:
            overwrite(path, files[path])
