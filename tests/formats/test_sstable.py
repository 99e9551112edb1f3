"""The sorted table, compared with a dict for every way to write one, and every way in which one can be broken."""

import itertools
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import table_writer
from tests.support.sampling import places
from tests.support.table_writer import (
    encode_block,
    encode_entry,
    encode_footer,
    encode_handle,
    encode_pairs,
    encode_table,
    encode_varint,
    finish_table,
    join_blocks,
    seal_block,
)
from tfbundle.errors import ChecksumError, FormatError, TruncatedError
from tfbundle.formats.table import block
from tfbundle.formats.table.block import decode_block, find_in_block
from tfbundle.formats.table.reader import Table, decode_footer
from tfbundle.storage.local import LocalSource

RESTART_INTERVALS = (1, 2, 16, 1024)
BLOCK_SIZES = (1, 50, 400, 4096, 262144)

OpenTable = Callable[..., Table]


@pytest.fixture
def open_table(tmp_path: Path) -> Iterator[OpenTable]:
    """Open bytes as a table; every file is closed in the end."""
    tables = []

    def open_bytes(data: bytes, *, verify: bool = True) -> Table:
        path = tmp_path / f"table{len(tables)}"
        path.write_bytes(data)
        source = LocalSource(path)
        tables.append(source)
        return Table(source, verify=verify)

    yield open_bytes
    for source in tables:
        source.close()


def open_data(data: bytes, path: Path, *, verify: bool = True) -> Table:
    """The same for tests with many examples, which cannot have a fixture each."""
    path.write_bytes(data)
    return Table(LocalSource(path), verify=verify)


def neighbours(key: bytes) -> set[bytes]:
    """Keys right before and after ``key``, and its beginnings."""
    return {key + b"\0", key[:-1], key[:-1] + bytes([max(key[-1], 1) - 1]) if key else b"", key + b"\xff", key[:1]}


def check_table(table: Table, wanted: dict[bytes, bytes]) -> None:
    """Hold a table against the dict that was written: order, each key, and absent keys on every side."""
    ordered = dict(sorted(wanted.items()))
    blocks = list(table.blocks())
    assert [key for keys, _ in blocks for key in keys] == list(ordered)
    assert [value for _, values in blocks for value in values] == list(ordered.values())
    assert list(table) == list(ordered)
    assert len(table) == len(ordered)
    assert dict(table) == ordered
    for key, value in ordered.items():
        assert table.find(key) == table[key] == value
        assert key in table
    absent = set().union({b"", b"\0", b"\xff" * 20}, *map(neighbours, ordered)) - set(ordered)
    for key in absent:
        assert table.find(key) is None
        assert key not in table
        with pytest.raises(KeyError):
            table[key]
        assert table.get(key) is None


NAMES = st.lists(st.sampled_from([b"layer", b"/", b"a", b"b", b"kernel", b"\0", b"\xff", b"0"]), max_size=5)
KEYS = NAMES.map(b"".join) | st.binary(max_size=6)
VALUES = st.binary(max_size=30)


@pytest.mark.parametrize("restart_interval", RESTART_INTERVALS)
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
@settings(max_examples=8)
@given(pairs=st.dictionaries(KEYS, VALUES, max_size=60), short=st.booleans(), compress=st.booleans())
def test_table_is_the_dict_that_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    pairs: dict[bytes, bytes],
    short: bool,
    compress: bool,
    block_size: int,
    restart_interval: int,
) -> None:
    path = tmp_path_factory.mktemp("table", numbered=True) / "table"
    data = encode_table(
        pairs,
        block_size=block_size,
        restart_interval=restart_interval,
        compress=compress,
        short_separators=short,
    )
    table = open_data(data, path)
    check_table(table, pairs)
    table.source.close()


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "snappy"])
@pytest.mark.effort
def test_many_keys(open_table: OpenTable, compress: bool) -> None:
    wanted = {b"layer%05d/kernel" % (number * 3): b"%d" % number * (number % 7) for number in range(25_000)}
    table = open_table(encode_table(wanted, block_size=40_000, compress=compress))
    assert len(table.handles) > 10
    assert dict(table) == wanted
    for number in range(0, 75_000, 37):
        key = b"layer%05d/kernel" % number
        assert table.find(key) == wanted.get(key)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 70_000])
def test_sizes_of_keys_and_values(open_table: OpenTable, size: int) -> None:
    """Lengths whose varints take one, two and three bytes."""
    wanted = {b"k" * size: b"v", b"k" * size + b"1": b"v" * size, b"z": b""}
    check_table(open_table(encode_table(wanted, block_size=1 << 20)), wanted)


def test_empty_tables(open_table: OpenTable) -> None:
    """Without any block, and with a block without entries."""
    check_table(open_table(encode_table({})), {})
    check_table(open_table(join_blocks([(b"a", seal_block(encode_block(b"")))])), {})
    check_table(open_table(join_blocks([(b"a", seal_block(encode_block(b"", restarts=[])))])), {})


def test_lookup_keeps_to_its_block(open_table: OpenTable) -> None:
    """A key is found although the block before its own is damaged; an absent one proves nothing."""
    sealed = [(key, seal_block(encode_pairs([(key, key * 2)]))) for key in (b"a", b"b", b"c")]
    sealed[0] = b"a", seal_block(encode_pairs([(b"a", b"aa")]), crc=1)
    table = open_table(join_blocks(sealed))
    assert table.find(b"b") == b"bb"
    assert table[b"c"] == b"cc"
    for key in (b"a", b"bb", b"d"):
        with pytest.raises(ChecksumError):
            table[key]


def test_more_blocks_than_are_kept(open_table: OpenTable) -> None:
    wanted = {b"%03d" % number: b"%d" % number for number in range(200)}
    table = open_table(encode_table(wanted, block_size=1))
    assert len(table.handles) == 200
    for key in [*wanted, *reversed(wanted), *wanted]:
        assert table[key] == wanted[key]


# Damage. Each broken table has to name its file, and where in it the trouble is.


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "snappy"])
def test_checksum_of_each_block(open_table: OpenTable, compress: bool) -> None:
    wanted = {b"%02d" % number: b"value" for number in range(20)}
    good = open_table(encode_table(wanted, block_size=40, compress=compress))
    data = good.source.read_at(0, good.source.size)
    handles = [*good.handles, good.footer.index_handle]
    assert len(handles) > 4
    for number, (offset, size) in enumerate(handles):
        for place in (offset, offset + size // 2, offset + size, offset + size + 4):
            broken = bytearray(data)
            broken[place] ^= 0x40
            with pytest.raises(ChecksumError) as caught:
                list(open_table(bytes(broken)))
            error = caught.value
            assert error.offset == offset
            assert error.path is not None
            assert error.path in str(error)
            assert error.expected != error.actual
            if number < len(good.handles):
                table = open_table(bytes(broken))
                for other in set(range(len(good.handles))) - {number}:
                    assert table.block(other) == good.block(other)


def test_without_verification_checksums_do_not_matter(open_table: OpenTable) -> None:
    data = join_blocks([(b"a", seal_block(encode_pairs([(b"a", b"1")]), crc=7))])
    assert dict(open_table(data, verify=False)) == {b"a": b"1"}
    with pytest.raises(ChecksumError):
        dict(open_table(data))


def one_block(entries: bytes, **settings: object) -> bytes:
    """A table of one block, whose key in the index block is after all others."""
    return join_blocks([(b"\xff" * 9, seal_block(encode_block(entries, **settings)))])  # type: ignore[arg-type]


A, B, C = (encode_entry(key, b"value") for key in (b"a", b"b", b"c"))

BROKEN_BLOCKS = {
    "shares bytes at its start": one_block(encode_entry(b"a", b"1", shared=1)),
    "shares more than the key before has": one_block(A + encode_entry(b"x", b"1", shared=2)),
    "shares far more than there is": one_block(A + encode_entry(b"x", b"1", shared=2**32 - 1)),
    "unsorted": one_block(B + A),
    "unsorted by sharing": one_block(
        encode_entry(b"ab", b"") + encode_entry(b"c", b"", 1) + encode_entry(b"a", b"", 1)
    ),
    "duplicate": one_block(A + A),
    "duplicate that shares the whole key": one_block(A + encode_entry(b"", b"other", shared=1)),
    "two empty keys": one_block(encode_entry(b"", b"1") + encode_entry(b"", b"2")),
    "shorter key behind": one_block(encode_entry(b"ab", b"") + encode_entry(b"a", b"")),
    "key runs past the end": one_block(encode_varint(0) + encode_varint(9) + encode_varint(0) + b"abc"),
    "value runs past the end": one_block(A + encode_varint(0) + encode_varint(1) + encode_varint(9) + b"bcd"),
    "value of 4 GiB": one_block(A + encode_varint(0) + encode_varint(1) + encode_varint(2**32 - 1) + b"b"),
    "sizes of 64 bits": one_block(encode_varint(0) + encode_varint(2**63) + encode_varint(2**63) + b"a"),
    "size that overflows": one_block(b"\0\1" + b"\xff" * 11 + b"a"),
    "entry cut in its sizes": one_block(A + b"\0"),
    "entry cut in a varint": one_block(A + b"\0\x80\x80"),
    "restart behind the entries": one_block(A + B, restarts=[0, 1000]),
    "restart at the end of the entries": one_block(A + B, restarts=[0, len(A + B)]),
    "restart amid an entry": one_block(A + B, restarts=[0, len(A) + 1]),
    "restart at an entry that shares": one_block(
        encode_entry(b"aa", b"") + encode_entry(b"b", b"", 1) + B, restarts=[0, len(encode_entry(b"aa", b""))]
    ),
    "first restart is not the first entry": one_block(A + B + C, restarts=[3, len(A)]),
    "no restart for its entries": one_block(A + B, restarts=[]),
    "first entry without a restart": one_block(A + B + C, restarts=[len(A)]),
    "restarts that descend": one_block(A + B + C, restarts=[0, 2 * len(A), len(A)]),
    "restart twice": one_block(A + B + C, restarts=[0, len(A), len(A)]),
    "restart in a block without entries": one_block(b"", restarts=[5]),
    "more restarts than bytes": one_block(A, count=1000),
    "2^32 - 1 restarts": one_block(A, count=2**32 - 1),
    "no restart count": join_blocks([(b"z", seal_block(b"\0\0\0"))]),
    "nothing at all": join_blocks([(b"z", seal_block(b""))]),
    "Snappy that is none": join_blocks([(b"z", seal_block(b"\x10\xff\xff\xff\xff", kind=1))]),
    "Snappy without bytes": join_blocks([(b"z", seal_block(b"", kind=1))]),
    "Snappy that claims 4 GiB": join_blocks([(b"z", seal_block(encode_varint(2**32 - 1) + b"\0a", kind=1))]),
    "Snappy that claims more than it holds": join_blocks([(b"z", seal_block(b"\x05\x00a", kind=1))]),
    "Snappy that claims less than it holds": join_blocks([(b"z", seal_block(b"\x01\x08abc", kind=1))]),
    "Snappy size of ten bytes": join_blocks([(b"z", seal_block(b"\xff" * 10 + b"\0a", kind=1))]),
    "compression type 2": join_blocks([(b"z", seal_block(encode_block(A), kind=2))]),
    "compression type 255": join_blocks([(b"z", seal_block(encode_block(A), kind=255))]),
    "key behind the index's": join_blocks([(b"a", seal_block(encode_pairs([(b"a", b""), (b"b", b"")])))]),
    "key before the index's": join_blocks([(b"c", seal_block(encode_block(A))), (b"z", seal_block(encode_block(B)))]),
    "same key in two blocks": join_blocks([(b"a", seal_block(encode_block(A))), (b"z", seal_block(encode_block(A)))]),
}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", BROKEN_BLOCKS)
def test_broken_block(open_table: OpenTable, name: str, verify: bool) -> None:
    table = open_table(BROKEN_BLOCKS[name], verify=verify)
    # The trouble is in a data block: opening the table does not meet it, reading all of it does.
    with pytest.raises(FormatError) as caught:
        list(table)
    error = caught.value
    assert not isinstance(error, ChecksumError)
    assert error.path == table.source.path
    assert error.offset in [handle.offset for handle in table.handles]
    assert table.source.path in str(error)
    # The absent key is never a KeyError here, for nothing can be known to be absent.
    for key in (b"\0", b"abc", b"zz"):
        with pytest.raises(FormatError):
            table[key]
        with pytest.raises(FormatError):
            key in table  # noqa: B015
        with pytest.raises(FormatError):
            table.get(key)


def test_snappy_sizes_are_doubted_before_memory_is_taken(open_table: OpenTable) -> None:
    table = open_table(BROKEN_BLOCKS["Snappy that claims 4 GiB"])
    with pytest.raises(FormatError, match="4294967295 bytes, which they cannot"):
        list(table)


@pytest.mark.parametrize("name", BROKEN_BLOCKS)
def test_search_in_broken_block_finds_or_refuses(open_table: OpenTable, name: str) -> None:
    """What ``find`` returns is an entry's value; whatever else it does is an error of ours."""
    table = open_table(BROKEN_BLOCKS[name])
    for key in (b"", b"\0", b"a", b"aa", b"b", b"c", b"zz"):
        with suppress(FormatError):
            assert table.find(key) in (None, b"value", b"", b"1", b"other")


GOOD_BLOCK = seal_block(encode_pairs([(b"a", b"1"), (b"b", b"2")]))
BEHIND = len(GOOD_BLOCK) + 200


def with_handle(handle: bytes) -> bytes:
    """A table of two blocks, the second of which has another handle."""
    return join_blocks([(b"b", GOOD_BLOCK), (b"z", seal_block(encode_pairs([(b"c", b"3")])))], handles={1: handle})


BROKEN_INDEXES = {
    "behind the file": with_handle(encode_handle(10_000, 10)),
    "into the footer": with_handle(encode_handle(len(GOOD_BLOCK), BEHIND)),
    "2^63 bytes": with_handle(encode_handle(len(GOOD_BLOCK), 2**63)),
    "at 2^64 - 1": with_handle(encode_handle(2**64 - 1, 2**64 - 1)),
    "overlapping": with_handle(encode_handle(5, len(GOOD_BLOCK) - 5)),
    "the same block": with_handle(encode_handle(0, len(GOOD_BLOCK) - 5)),
    "without a size": with_handle(encode_varint(len(GOOD_BLOCK))),
    "empty": with_handle(b""),
    "offset of eleven bytes": with_handle(b"\xff" * 10 + b"\1\1"),
    "index block unsorted": join_blocks([(b"z", GOOD_BLOCK), (b"b", GOOD_BLOCK)]),
    "index block duplicate": join_blocks([(b"b", GOOD_BLOCK), (b"b", GOOD_BLOCK)]),
    "index block without restart count": finish_table(GOOD_BLOCK, b"\0"),
    "index block entry cut": finish_table(GOOD_BLOCK, encode_block(b"\0\5\5ab")),
}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", BROKEN_INDEXES)
def test_broken_index_block(open_table: OpenTable, tmp_path: Path, name: str, verify: bool) -> None:
    with pytest.raises(FormatError) as caught:
        list(open_table(BROKEN_INDEXES[name], verify=verify))
    assert caught.value.path == str(tmp_path / "table0")
    assert caught.value.offset is not None
    assert str(tmp_path / "table0") in str(caught.value)


def test_a_million_names_for_one_block_are_refused(open_table: OpenTable) -> None:
    """Else a file of a few bytes could be made to yield any number of keys."""
    handles = [(b"%d" % number, encode_handle(0, len(GOOD_BLOCK) - 5)) for number in range(10, 100)]
    with pytest.raises(FormatError, match="overlapping"):
        open_table(finish_table(GOOD_BLOCK, encode_pairs(handles, 1)))


GOOD = encode_table({b"a": b"1", b"b": b"2"})


@pytest.mark.parametrize(
    "footer",
    [
        encode_footer(encode_handle(0, 0), encode_handle(0, 10_000)),
        encode_footer(encode_handle(0, 0), encode_handle(2**64 - 1, 2**64 - 1)),
        encode_footer(b"", b"\xff" * 20),
        encode_footer(b"\xff" * 40, b""),
        encode_footer(encode_handle(0, 0), encode_handle(len(GOOD) - 48, 0)),
        encode_footer(encode_handle(0, 0), encode_handle(0, 1), magic=0),
        encode_footer(encode_handle(0, 0), encode_handle(0, 1), magic=table_writer.MAGIC ^ 1 << 63),
    ],
)
def test_broken_footer(open_table: OpenTable, footer: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        open_table(GOOD[:-48] + footer)
    assert caught.value.path is not None
    assert caught.value.path in str(caught.value)
    assert caught.value.offset is not None


def test_swapped_magic_is_refused(open_table: OpenTable) -> None:
    with pytest.raises(FormatError, match="magic"):
        open_table(GOOD[:-8] + GOOD[:-9:-1])


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "snappy"])
def test_every_truncation(open_table: OpenTable, compress: bool) -> None:
    data = encode_table({b"%d" % number: b"value" for number in range(9)}, block_size=20, compress=compress)
    for size in places(len(data)):
        with pytest.raises(FormatError) as caught:
            open_table(data[:size])
        assert caught.value.path is not None
        if size < 48:
            assert isinstance(caught.value, TruncatedError)


def test_every_lost_stretch(open_table: OpenTable) -> None:
    """Bytes lost at the beginning leave a footer that points to other places."""
    data = encode_table({b"%d" % number: b"value" for number in range(9)}, block_size=20)
    for size in range(1, len(data)):
        with pytest.raises(FormatError):
            list(open_table(data[size:]))


def test_every_flipped_bit_is_noticed(open_table: OpenTable) -> None:
    """Wherever a bit flips, the table is what it was or is refused; in its data and index it is refused."""
    wanted = {b"%d" % number: b"value" for number in range(6)}
    data = encode_table(wanted, block_size=20)
    table = open_table(data)
    unused = range(table.footer.metaindex_handle.offset, table.footer.index_handle.offset)
    for place, bit in itertools.product(places(len(data)), (1, 0x80)):
        broken = bytearray(data)
        broken[place] ^= bit
        try:
            found = dict(open_table(bytes(broken)))
        except FormatError:
            continue
        assert found == wanted
        assert place in unused or place >= len(data) - 48


@given(st.binary(max_size=60))
def test_any_bytes_are_a_block_or_an_error(data: bytes) -> None:
    try:
        keys, values = decode_block(data)
    except FormatError:
        for key in (b"", b"a", b"\0"):
            with suppress(FormatError):
                assert len(find_in_block(data, key) or b"") <= len(data)
        return
    assert keys == sorted(set(keys))
    for key, value in zip(keys, values, strict=True):
        assert find_in_block(data, key) == value


@given(
    st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=4), st.binary(max_size=3)), max_size=6),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_any_entries_are_a_block_or_an_error(entries: list[tuple[int, bytes, bytes]], restarts: list[int]) -> None:
    data = encode_block(b"".join(encode_entry(key, value, shared) for shared, key, value in entries), restarts)
    try:
        keys, values = decode_block(data)
    except FormatError:
        return
    assert keys == sorted(set(keys))
    for key, value in zip(keys, values, strict=True):
        assert find_in_block(data, key) == value


# Large blocks are decoded run by run at the same time. Whatever that way takes on, it has to decode as the other does.


def block_outcome(data: bytes, fewest_runs: int) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "_FEWEST_RUNS", fewest_runs)
        try:
            return decode_block(data)
        except FormatError as error:
            return type(error), str(error), error.offset


@given(pairs=st.dictionaries(KEYS | st.binary(max_size=200), VALUES | st.binary(max_size=200), max_size=100))
def test_runs_at_the_same_time(pairs: dict[bytes, bytes]) -> None:
    for interval in (1, 2, 3, 16, 64, 65):
        data = encode_pairs(sorted(pairs.items()), interval)
        assert block_outcome(data, 1) == (sorted(pairs), [value for _, value in sorted(pairs.items())]), interval


@given(
    pairs=st.dictionaries(KEYS, VALUES, min_size=1, max_size=30),
    interval=st.integers(1, 4),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_damaged_runs_at_the_same_time(
    pairs: dict[bytes, bytes], interval: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(encode_pairs(sorted(pairs.items()), interval))
    for place, byte in changes:
        data[place % len(data)] = byte
    assert block_outcome(bytes(data), 1) == block_outcome(bytes(data), 1 << 40)


@pytest.mark.parametrize("name", BROKEN_BLOCKS)
def test_broken_block_of_runs(open_table: OpenTable, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError) as usual:
        list(open_table(BROKEN_BLOCKS[name]))
    monkeypatch.setattr(block, "_FEWEST_RUNS", 1)
    with pytest.raises(FormatError) as caught:
        list(open_table(BROKEN_BLOCKS[name]))
    assert caught.value.message.replace("table1", "table0") == usual.value.message


def test_a_count_of_restart_points_that_does_not_fit_is_located() -> None:
    """The count is the last four bytes; two restart points take eight more."""
    assert decode_block(bytes(8) + (2).to_bytes(4, "little")) == ([], [])
    with pytest.raises(FormatError, match="more restart points than it has room for") as caught:
        decode_block(bytes(8) + (3).to_bytes(4, "little"))
    assert caught.value.offset == 8


def test_what_tensorflow_writes_goes_by_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(b"layer_%04d/kernel" % number, b"%d" % number) for number in range(5000)]
    monkeypatch.setattr(block, "_decode_entries", None)
    assert decode_block(encode_pairs(pairs)) == ([key for key, _ in pairs], [value for _, value in pairs])


@pytest.mark.effort
def test_one_long_run_among_very_many_short_ones() -> None:
    """A column of all runs for each entry of the longest one would be two hundred times the block."""
    count = 30_000
    keys = [number.to_bytes(3, "big") for number in range(count + 60)]
    data = encode_block(b"".join(encode_entry(key, b"") for key in keys), [6 * number for number in range(count)])
    tracemalloc.start()
    try:
        found, _ = decode_block(data)
        assert found == keys
        assert tracemalloc.get_traced_memory()[1] < 40 * len(data)
    finally:
        tracemalloc.stop()


@given(st.binary(min_size=40, max_size=40))
def test_any_footer_is_two_handles_or_an_error(handles: bytes) -> None:
    data = handles + struct.pack("<Q", table_writer.MAGIC)
    try:
        footer = decode_footer(data)
    except FormatError:
        return
    assert all(0 <= number < 2**64 for handle in footer for number in handle)
