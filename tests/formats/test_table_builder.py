"""Tables that are built here are those that TensorFlow builds, and read back as what went in."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.expected import FIXTURES
from tests.support.table_writer import encode_table
from tfbundle.formats.table.block import decode_block
from tfbundle.formats.table.builder import (
    BlockBuilder,
    TableBuilder,
    shared_size,
    shortest_separator,
    shortest_successor,
)
from tfbundle.formats.table.reader import Table
from tfbundle.storage.local import LocalSource

# Written by TensorFlow itself. Tables of our own making have other block sizes, or Snappy blocks.
INDEXES = sorted(path for path in FIXTURES.glob("tf-*/*/*.index"))


def build(pairs, **settings):
    out = io.BytesIO()
    builder = TableBuilder(out.write, **settings)
    for key, value in pairs:
        builder.add(key, value)
    builder.finish()
    return out.getvalue()


@pytest.mark.parametrize("path", INDEXES, ids=lambda path: "/".join(path.parts[-3:]))
def test_tables_of_tensorflow_are_built_again(path):
    source = LocalSource(path)
    pairs = list(Table(source).items())
    source.close()
    assert pairs
    assert build(pairs) == path.read_bytes()


keys = st.sets(st.binary(max_size=6) | st.text("ab/\xff", max_size=30).map(str.encode) | st.just(b"\xff\xff"))


@given(keys, st.integers(1, 300), st.integers(1, 20), st.data())
def test_what_is_built_is_read(keys, block_size, restart_interval, data):
    pairs = [(key, data.draw(st.binary(max_size=150))) for key in sorted(keys)]
    table = build(pairs, block_size=block_size, restart_interval=restart_interval)
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"table-{os.getpid()}"
    path.write_bytes(table)
    try:
        source = LocalSource(path)
        found = Table(source)
        assert list(found.items()) == pairs
        assert all(found[key] == value for key, value in pairs)
        source.close()
    finally:
        path.unlink()


@given(keys)
def test_small_tables_are_those_of_the_writer_of_the_tests(keys):
    pairs = {key: key[::-1] for key in sorted(keys)}
    # With one block, whose key in the index may be any that follows.
    contents = BlockBuilder(16)
    for pair in pairs.items():
        contents.add(*pair)
    block = contents.finish()
    assert decode_block(block) == (list(pairs), list(pairs.values()))
    assert encode_table(pairs, block_size=1 << 20)[: len(block)] == block
    assert contents.size == len(block)


@pytest.mark.parametrize(("first", "second"), [(b"b", b"a"), (b"a", b"a"), (b"", b""), (b"a\xff", b"a")])
def test_keys_that_do_not_ascend_are_refused(first, second):
    builder = TableBuilder(io.BytesIO().write)
    builder.add(first, b"")
    with pytest.raises(ValueError, match="ascend"):
        builder.add(second, b"")


@pytest.mark.parametrize(
    ("before", "key", "expected"),
    [
        (b"layer_1/kernel", b"layer_4/bias", b"layer_2"),
        (b"layer_1/kernel", b"layer_2/bias", b"layer_1/kernel"),  # The next one is the key's.
        (b"a", b"ab", b"a"),
        (b"a\xffz", b"b", b"a\xffz"),
        (b"\xfe", b"\xff\xff", b"\xfe"),
        (b"", b"a", b""),
    ],
)
def test_separator(before, key, expected):
    assert shortest_separator(before, key) == expected


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_separators_separate(one, two):
    before, key = sorted((one, two))
    if before < key:
        assert before <= shortest_separator(before, key) < key
        assert len(shortest_separator(before, key)) <= len(before)
    size = shared_size(one, two)
    assert one[:size] == two[:size]
    assert one[size : size + 1] != two[size : size + 1] or one == two


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"abc", b"b"), (b"\xff\xffa1", b"\xff\xffb"), (b"\xff", b"\xff"), (b"", b""), (b"\0", b"\1"), (b"\xfe", b"\xff")],
)
def test_successor(key, expected):
    assert shortest_successor(key) == expected
    assert expected >= key


@pytest.mark.parametrize(("key_size", "entries"), [(38, 2), (39, 1)])
def test_an_entry_of_two_blocks_has_one_of_its_own(tmp_path, key_size, entries):
    path = tmp_path / "table"
    path.write_bytes(build([(b"a", b"1"), (b"b" * key_size, b"2"), (b"c", b"3")], block_size=20))
    source = LocalSource(path)
    assert len(Table(source).block(0)[0]) == entries
    source.close()
