"""CRC-32C and its masked form."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.table_writer import masked_crc
from tfbundle.formats.checksum import crc32c, join_crcs, mask, unmask


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_known_values(data: bytes, crc: int) -> None:
    """The vectors of RFC 3720, B.4, and the check value of the polynomial."""
    assert crc32c(data) == crc


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_checksum_goes_on_over_the_next_bytes(first: bytes, second: bytes) -> None:
    assert crc32c(memoryview(second), crc32c(first)) == crc32c(first + second)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_checksums_of_parts_are_joined(first: bytes, second: bytes) -> None:
    assert join_crcs(crc32c(first), crc32c(second), len(second)) == crc32c(first + second)


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65537, (4 << 20) - 1, 4 << 20])
def test_checksums_of_long_parts_are_joined(length: int) -> None:
    second = bytes(range(256)) * (length // 256) + bytes(length % 256)
    assert join_crcs(crc32c(b"first"), crc32c(second), length) == crc32c(second, crc32c(b"first"))


@given(st.integers(0, 2**32 - 1))
def test_unmask_undoes_mask(crc: int) -> None:
    assert unmask(mask(crc)) == crc
    assert mask(unmask(crc)) == crc
    assert 0 <= mask(crc) < 2**32
    assert mask(crc) != crc


@given(st.binary(max_size=40))
def test_mask_is_the_writer_s(data: bytes) -> None:
    assert mask(crc32c(data)) == masked_crc(data)


def test_mask_of_nothing() -> None:
    """What a string tensor without elements stores."""
    assert mask(crc32c(b"")) == 0xA282EAD8


@pytest.mark.parametrize("payload", [b"", b"a", bytes(1000)])
def test_mask_is_tensorflow_s(tf: Any, tmp_path: Path, payload: bytes) -> None:
    """A record of TensorFlow's ends in the masked checksum of its payload."""
    path = tmp_path / "one.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(payload)
    record = path.read_bytes()
    assert int.from_bytes(record[8:12], "little") == mask(crc32c(record[:8]))
    assert int.from_bytes(record[-4:], "little") == mask(crc32c(payload))
