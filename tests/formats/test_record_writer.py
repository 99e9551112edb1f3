"""Records as they are written, beside those of TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tfbundle.formats.records.frames import LONGEST_ROW
from tfbundle.formats.records.writer import RecordRun, encode_record, encode_records


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 40, LONGEST_ROW, LONGEST_ROW + 1, 70_000])
def test_records_of_one_size_are_those_of_tensorflow(tmp_path: Path, size: int) -> None:
    tf = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    rows = np.random.default_rng(size).integers(0, 256, (5, size), np.uint8)
    with tf.io.TFRecordWriter(str(tmp_path / "data")) as writer:
        for row in rows:
            writer.write(row.tobytes())
    wanted = (tmp_path / "data").read_bytes()
    assert encode_records(rows).tobytes() == wanted
    assert b"".join(encode_record(row.tobytes()) for row in rows) == wanted
    assert encode_records(rows[:0]).shape == (0, size + 16)


def test_a_run_puts_records_in_order(tmp_path: Path) -> None:
    payloads = [b"one", b"a longer one", b"two", b"left out", b"", b"six", b"ten"]
    records = [encode_record(payload) for payload in payloads]
    sizes = np.array([len(record) for record in records])
    sizes[3] = 0
    run = RecordRun(sizes)
    run.put(4, records[4])
    short = np.array([list(payload) for payload in payloads if len(payload) == 3], np.uint8)
    run.put_rows(np.array([5, 0, 6, 2]), encode_records(short[[2, 0, 3, 1]]))
    run.put(1, memoryview(records[1]))
    (tmp_path / "data").write_bytes(run.data)
    assert list(tfbundle.read_records(tmp_path / "data")) == [p for p in payloads if p != b"left out"]
    assert len(RecordRun(np.zeros(0, np.int64)).data) == 0
