"""The start of a Snappy block, which is decompressed without the rest, and tables that are identified by it."""

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import write_bundle
from tests.support.table_writer import encode_block, encode_footer, encode_handle, encode_pairs, seal_block
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle.errors import FormatError
from tfbundle.formats import raw_snappy
from tfbundle.formats.raw_snappy import decompress_start

snappy = pytest.importorskip("snappy")


@pytest.mark.parametrize("seed", range(20))
def test_start_is_that_of_the_whole_contents(seed: int) -> None:
    choice = random.Random(seed)
    words = [choice.randbytes(choice.randint(1, 400)) for _ in range(4)]
    contents = b"".join(choice.choices([*words, b"ab"], k=choice.randint(0, 400)))
    data = bytes(snappy.compress(contents))
    for size in (0, 1, 9, 64, 1000, len(contents), len(contents) + 1):
        assert decompress_start(data, size) == contents[:size]
    for end in range(5, len(data), max(1, len(data) // 50)):
        assert contents.startswith(decompress_start(data[:end], 300))


@pytest.mark.parametrize("data", [b"\x08\x00a\x0d\x7f\x00", b"\x08\x00a\x0d\x00\x00", b"\xff" * 10, b""])
def test_malformed_starts(data: bytes) -> None:
    with pytest.raises(FormatError):
        decompress_start(data, 64)


TENSORS = {f"layer_{number}/kernel": np.full(3, number, np.float32) for number in range(40)}


@pytest.mark.parametrize("kind", ["bundle-index", "v1-table"])
@pytest.mark.parametrize("compress", [False, True])
def test_tables_without_their_end(tmp_path: Path, kind: str, compress: bool) -> None:
    if kind == "bundle-index":
        write_bundle(tmp_path / "m", TENSORS, compress=compress)
        data = (tmp_path / "m.index").read_bytes()
    else:
        write_v1(tmp_path / "m", TENSORS | {"w": V1Saved(np.zeros(4), slices=[((0, 4),)])}, compress=compress)
        data = (tmp_path / "m").read_bytes()
    path = tmp_path / "part"
    path.write_bytes(data)
    assert tfbundle.identify(path).kind == kind
    for size in (len(data) - 1, len(data) // 2, 100):
        path.write_bytes(data[:size])
        assert tfbundle.identify(path).kind == kind
    path.write_bytes(bytes(snappy.compress(b"other contents of some length")))
    assert tfbundle.identify(path).kind != kind


def test_identification_decompresses_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "m", {"v": np.zeros((2, 2), np.float32)}, compress=True)
    sizes: list[int] = []
    whole = raw_snappy.decompress_snappy

    def counted(data: bytes) -> bytes:
        sizes.append(len(data))
        return whole(data)

    monkeypatch.setattr("tfbundle.formats.table.reader.decompress_snappy", counted)
    assert tfbundle.identify(tmp_path / "m.index").kind == "bundle-index"
    assert not sizes


@pytest.mark.parametrize(
    ("key", "kind"), [(1000, "bundle-index"), (1 << 16, "bundle-index"), ((1 << 16) + 1, "v1-table")]
)
def test_identification_reads_the_start_of_a_compressed_index(tmp_path: Path, key: int, kind: str) -> None:
    """A first key of up to 64 KiB is passed; beyond, the table is damaged, and its name decides."""
    block = seal_block(encode_pairs([(b"", (b"\x08\1"))]))
    index = encode_pairs([(b"k" * key, encode_handle(0, len(block) - 5))], 1) + bytes(1 << 24)
    metaindex = seal_block(encode_block(b""))
    sealed = seal_block(index, compress=True)
    footer = encode_footer(
        encode_handle(len(block), len(metaindex) - 5),
        encode_handle(len(block) + len(metaindex), len(sealed) - 5),
    )
    (tmp_path / "table").write_bytes(block + metaindex + sealed + footer)
    tracemalloc.start()
    try:
        assert tfbundle.identify(tmp_path / "table").kind == kind
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
