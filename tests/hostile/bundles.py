"""Hostile V2 checkpoints: the header, the entries, the slices, and the files themselves (``tables`` has the rest)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.catalogue import Wanted, add, case
from tests.support.bundle_writer import (
    FULL,
    STRING,
    VARIANT,
    Saved,
    data_file,
    encode_entry,
    encode_field,
    encode_header,
    encode_slice_key,
    encode_values,
    write_bundle,
)
from tests.support.table_writer import encode_table

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([1.5, -2.5], np.float32)
WORDS = np.array([b"one", b"", b"three"], object)
MODEL = "model"
ENDLESS = b"\xff" * 40

Pairs = dict[bytes, bytes]


def honest(folder: Path) -> Pairs:
    """The index, as pairs, of a checkpoint that holds ``a`` and ``b``, with its data file."""
    (a, crc_a), (b, crc_b) = encode_values(A, 1), encode_values(B, 1)
    data_file(folder / MODEL).write_bytes(a + b)
    return {
        b"": encode_header(),
        b"a": encode_entry(dtype=1, shape=A.shape, size=len(a), crc=crc_a),
        b"b": encode_entry(dtype=1, shape=B.shape, offset=len(a), size=len(b), crc=crc_b),
    }


# The header.

_HEADERS: dict[str, tuple[str, bytes]] = {
    "garbage": ("a header that is not a message", b"\xff\xff\xff"),
    "shards-2-31": ("a header with 2^31 - 1 shards", encode_header((1 << 31) - 1)),
    "shards-negative": ("a header with -1 shards", encode_header(-1)),
    "version-99": ("a header that asks for version 99", encode_header(min_consumer=99)),
    "version-refused": ("a header that refuses this version", encode_header(bad_consumers=[1])),
    "endianness-7": ("a header with an unknown byte order", encode_header() + encode_field(2, 7)),
    "nested-150-deep": (
        "a header with messages nested 150 deep",
        encode_header() + b"\x1b" * 150,  # Groups, which no field here is.
    ),
}
for _name, (_title, _header) in _HEADERS.items():

    def _build_header(folder: Path, header: bytes = _header) -> Wanted:
        write_bundle(folder / MODEL, {"a": A}, header=header)
        return Wanted(folder / MODEL, opens=False)

    add(f"header-{_name}", "checkpoint", _build_header, _title)


@case("checkpoint", "a header with 100,000 shards, one of which is there")
def header_shards_100_000(folder: Path) -> Wanted:
    write_bundle(folder / MODEL, {"a": A}, header=encode_header(100_000))
    data_file(folder / MODEL).rename(data_file(folder / MODEL, 0, 100_000))
    return Wanted(folder / MODEL, {"a": A})


@case("checkpoint", "a header without shards")
def header_shards_0(folder: Path) -> Wanted:
    write_bundle(folder / MODEL, {"a": A}, header=encode_header(0))
    return Wanted(folder / MODEL, refused=frozenset({"a"}))


# Entries. Each case has one tensor ``x`` whose entry lies, and an honest one beside it.


def _add_entry(name: str, title: str, saved: Saved, **settings: Any) -> None:
    def build(folder: Path) -> Wanted:
        write_bundle(folder / MODEL, {"a": A, "x": saved}, **settings)
        return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))

    add(f"entry-{name}", "checkpoint", build, title)


_LIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "garbage": ("an entry that is not a message", {"raw": b"\xff\xff\xff\xff"}),
    "empty": ("an empty entry", {"raw": b""}),
    "size-too-large": ("an entry with more bytes than its shape has", {"size": 1 << 40}),
    "size-too-small": ("an entry with fewer bytes than its shape has", {"size": 3}),
    "size-negative": ("an entry with a negative size", {"size": -8}),
    "offset-negative": ("an entry with a negative offset", {"offset": -8}),
    "offset-outside": ("an entry beyond the end of its data file", {"offset": 1 << 20}),
    "offset-2-63": ("an entry whose offset and size exceed 2^63", {"offset": (1 << 63) - 1}),
    "dimension-negative": ("a negative dimension", {"shape": (-3,)}),
    "dimension-2-63": ("a dimension of 2^63 - 1", {"shape": ((1 << 63) - 1,)}),
    "product-overflows": ("a shape whose product overflows", {"shape": (1 << 32, 1 << 32)}),
    "product-overflows-to-8": (
        "a shape whose product overflows to the stored size",
        {"shape": (1 << 62, 4, 2), "size": 0},
    ),
    "product-overflows-at-0": ("a shape that overflows beside a 0", {"shape": (0, 1 << 62, 1 << 62), "size": 0}),
    "rank-255": ("255 dimensions", {"shape": (1,) * 255, "size": 4}),
    "rank-100": ("100 dimensions, more than numpy has", {"shape": (2, *(1,) * 99)}),
    "rank-unknown": ("a shape of unknown rank", {"unknown_rank": True}),
    "terabytes": ("a tensor of 4 TB in a file of 32 bytes", {"shape": (1 << 40,), "size": 1 << 42}),
    "dtype-unknown": ("an unknown data type", {"dtype": 57}),
    "dtype-0": ("the data type 0", {"dtype": 0}),
    "dtype-negative": ("a negative data type", {"dtype": -1}),
    "dtype-reference": ("a reference as data type", {"dtype": 101}),
    "dtype-resource": ("a resource", {"dtype": 20}),
    "shard-absent": ("a shard that the checkpoint does not have", {"shard": 7}),
    "shard-negative": ("a negative shard", {"shard": -1}),
    "checksum": ("a checksum that is not that of the bytes", {"crc": 12345}),
    "nested-150-deep": (
        "an entry with groups nested 150 deep",
        {"raw": encode_entry(shape=(2,), size=8) + b"\x43" * 150},
    ),
}
for _name, (_title, _lies) in _LIES.items():
    _add_entry(_name, _title, Saved(B, lies=_lies))

_STRINGS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "2-60": ("2^60 strings in 16 bytes", {"shape": (1 << 59,), "size": 16}),
    "too-many": ("more strings than bytes", {"shape": (1000,)}),
    "too-few": ("fewer strings than are stored", {"shape": (1,)}),
    "size-2-60": ("strings with 2^60 bytes", {"size": 1 << 60}),
    "size-0": ("strings without bytes", {"size": 0}),
}
for _name, (_title, _lies) in _STRINGS.items():
    _add_entry(f"strings-{_name}", _title, Saved(WORDS, lies=_lies))


def _add_stored(name: str, title: str, data: bytes, count: int, data_type: int = STRING) -> None:
    """A tensor of ``count`` strings whose stored bytes are ``data``."""

    def build(folder: Path) -> Wanted:
        pairs = honest(folder)
        data_file(folder / MODEL).write_bytes(A.tobytes() + data)
        entry = encode_entry(dtype=data_type, shape=(count,), offset=24, size=len(data), crc=1)
        (folder / f"{MODEL}.index").write_bytes(encode_table({b"": pairs[b""], b"a": pairs[b"a"], b"x": entry}))
        return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))

    add(f"stored-{name}", "checkpoint", build, title)


_add_stored("string-length-endless", "a string whose length does not end", ENDLESS, 3)
_add_stored("string-length-2-63", "strings of 2^63 bytes each", (b"\xff" * 8 + b"\x7f") * 2 + bytes(4), 2)
_add_stored("string-lengths-overflow", "string lengths whose sum overflows", (b"\xff" * 9 + b"\1") * 2 + bytes(6), 2)
_add_stored("variant-length-2-63", "a variant of 2^63 bytes", b"\xff" * 8 + b"\x7f" + bytes(20), 1, VARIANT)
_add_stored("variant-count-2-60", "2^58 variants in 30 bytes", bytes(30), 1 << 58, VARIANT)
_add_stored("variant-garbage", "a variant that is not a message", b"\3\xff\xff\xff" + bytes(4), 1, VARIANT)


@case("checkpoint", "a variant with messages nested 150 deep")
def variant_nested_150_deep(folder: Path) -> Wanted:
    message = b""
    for _ in range(150):
        # VariantTensorDataProto.tensors is field 3, TensorProto.variant_val field 15.
        message = encode_field(3, encode_field(15, message))
    write_bundle(folder / MODEL, {"a": A, "x": Saved(np.array([message], object), data_type=VARIANT)})
    return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))


# Slices.

WHOLE = np.arange(12, dtype=np.int16).reshape(4, 3)
_TWO = [((0, 2), FULL), ((2, 2), FULL)]

_add_entry("slices-overlap", "slices that overlap", Saved(WHOLE, slices=[((0, 3), FULL), ((2, 2), FULL)]))
_add_entry("slices-with-a-hole", "slices that leave a hole", Saved(WHOLE, slices=[((0, 1), FULL), ((2, 2), FULL)]))
_add_entry(
    "slices-crossing-with-a-hole",
    "slices whose volumes add up, but which overlap and leave a hole",
    Saved(WHOLE, slices=[((0, 3), FULL), ((2, 1), FULL)]),
)
_add_entry("slice-twice", "a slice that is listed twice", Saved(WHOLE, slices=_TWO, lies={"slices": [*_TWO, _TWO[0]]}))
for _name, _title, _slices in (
    ("slice-outside", "a slice that leaves its tensor", [((0, 2), FULL), ((2, 3), FULL)]),
    ("slice-negative-start", "a slice with a negative start", [((-1, 2), FULL), ((2, 2), FULL)]),
    ("slice-negative-length", "a slice with a length of -5", [((0, -5), FULL), ((2, 2), FULL)]),
    ("slice-overflows", "a slice whose end exceeds 2^63", [(((1 << 63) - 1, (1 << 63) - 1), FULL)]),
    ("slice-of-another-rank", "a slice of another rank", [((0, 2),), ((2, 2),)]),
    ("slice-of-rank-300", "a slice with 300 dimensions", [[(0, 1)] * 300]),
    ("slice-whole", "a tensor whose only slice is all of it", [(FULL, FULL)]),
    ("slice-without-entry", "a slice without an entry", [((0, 1), FULL), ((1, 3), FULL)]),
):
    # The entries that were written for honest slices stay in the index; those are then names like any other.

    def _build_slices(folder: Path, slices: Any = _slices) -> Wanted:
        write_bundle(folder / MODEL, {"a": A, "x": Saved(WHOLE, lies={"slices": slices})})
        return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))

    add(f"entry-{_name}", "checkpoint", _build_slices, _title)

for _name, _title, _lies in (
    ("dtype", "a slice of another data type than its tensor", {"dtype": 1}),
    ("shape", "a slice of another shape than its place", {"shape": (3, 2)}),
    ("size", "a slice with more bytes than its place has", {"size": 1 << 40}),
    ("checksum", "a slice with a wrong checksum", {"crc": 5}),
    ("sliced", "a slice that has slices itself", {"slices": _TWO}),
    ("garbage", "a slice whose entry is not a message", {"raw": b"\xff"}),
    ("missing", "a slice whose entry is missing", {"raw": None}),
    ("shard", "a slice in a shard that does not exist", {"shard": 9}),
):
    _add_entry(f"slice-lies-{_name}", _title, Saved(WHOLE, slices=_TWO, slice_lies={1: _lies}))


@case("checkpoint", "a tensor of 4 TB in two slices that no file holds")
def slices_of_terabytes(folder: Path) -> Wanted:
    half = 1 << 39
    pairs = honest(folder)
    boxes = [((0, half),), ((half, half),)]
    entries = {
        encode_slice_key(b"x", box): encode_entry(dtype=1, shape=(half,), offset=0, size=4 * half, crc=1)
        for box in boxes
    }
    entries[b"x"] = encode_entry(dtype=1, shape=(2 * half,), slices=boxes)
    (folder / f"{MODEL}.index").write_bytes(encode_table({**pairs, **entries}))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


def _partitioned(folder: Path, shape: tuple[int, ...], boxes: list[Any]) -> Wanted:
    """A tensor that lists slices of which none has an entry, beside two honest ones."""
    pairs = honest(folder) | {b"x": encode_entry(dtype=1, shape=shape, slices=boxes)}
    (folder / f"{MODEL}.index").write_bytes(encode_table(pairs))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


@case("checkpoint", "a tensor in 4,096 strips of which half lie across, so that each meets thousands in one dimension")
def slices_in_strips(folder: Path) -> Wanted:
    size = 1 << 20
    lying = [((number, size), (2 * number, 1)) for number in range(1 << 11)]
    standing = [((2 * size + 2 * number, 1), (number, size)) for number in range(1 << 11)]
    return _partitioned(folder, (1 << 22, 1 << 22), lying + standing)


@case("checkpoint", "a tensor in 4,107 bars along three dimensions that pass each other, which no cut separates")
def slices_that_are_woven(folder: Path) -> Wanted:
    bars = []
    for number in range(3 * 37**2):
        i, j = divmod(number // 3, 37)
        along = ((0, 111), (3 * i, 1), (3 * j + 1, 1)), ((3 * i + 1, 1), (0, 111), (3 * j + 2, 1))
        bars.append([*along, ((3 * i, 1), (3 * j + 2, 1), (0, 111))][number % 3])
    return _partitioned(folder, (111, 111, 111), bars)


def _long_lists(count: int, shape: tuple[int, ...], boxes: list[Any]) -> Pairs:
    """Tensors that list the same slices; their own shapes differ, so that no two entries are the same."""
    slices = encode_entry(slices=boxes).removeprefix(encode_entry())
    return {b"x%d" % n: encode_entry(dtype=1, shape=(shape[0] + n, *shape[1:])) + slices for n in range(count)}


@case("checkpoint", "64 tensors that list 16,384 overlapping slices each, which are a million, without entries")
def slices_in_many_tensors(folder: Path) -> Wanted:
    lists = _long_lists(64, (1 << 15,), [((number, 1 << 14),) for number in range(1 << 14)])
    (folder / f"{MODEL}.index").write_bytes(encode_table(honest(folder) | lists))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset(map(bytes.decode, lists)))


@case("checkpoint", "8 tensors in 1,200 bars along three dimensions each, which are all there")
def slices_that_are_woven_in_many_tensors(folder: Path) -> Wanted:
    bars = []
    for number in range(1200):
        i, j = divmod(number // 3, 20)
        along = ((0, 60), (3 * i, 1), (3 * j + 1, 1)), ((3 * i + 1, 1), (0, 60), (3 * j + 2, 1))
        bars.append([*along, ((3 * i, 1), (3 * j + 2, 1), (0, 60))][number % 3])
    pairs = honest(folder) | _long_lists(8, (60, 60, 60), bars)
    for name in [name for name in pairs if name.startswith(b"x")]:
        for bar in bars:
            entry = encode_entry(dtype=1, shape=tuple(length for _, length in bar), offset=0, size=240, crc=1)
            pairs[encode_slice_key(name, bar)] = entry
    (folder / f"{MODEL}.index").write_bytes(encode_table(pairs))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset(f"x{n}" for n in range(8)))


@case("checkpoint", "a tensor of 254 dimensions in 16,384 slices, which are four million extents")
def slices_of_many_dimensions(folder: Path) -> Wanted:
    head = encode_entry(dtype=1, shape=(1 << 14, *[1] * 253))
    rest = encode_field(1, b"") * 253
    boxes = (encode_field(7, encode_field(1, encode_field(1, n) + encode_field(2, 1)) + rest) for n in range(1 << 14))
    pairs = honest(folder) | {b"x": head + b"".join(boxes)}
    (folder / f"{MODEL}.index").write_bytes(encode_table(pairs))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


@case("checkpoint", "a tensor of 2^40 strings in two slices")
def slices_of_strings(folder: Path) -> Wanted:
    half = 1 << 39
    pairs = honest(folder)
    boxes = [((0, half),), ((half, half),)]
    entries = {
        encode_slice_key(b"x", box): encode_entry(dtype=STRING, shape=(half,), offset=0, size=20, crc=1)
        for box in boxes
    }
    entries[b"x"] = encode_entry(dtype=STRING, shape=(2 * half,), slices=boxes)
    (folder / f"{MODEL}.index").write_bytes(encode_table({**pairs, **entries}))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


@case("checkpoint", "a tensor of 1 GiB whose 1,024 slices all lie in the same MiB")
def slices_sharing_bytes(folder: Path) -> Wanted:
    rows, row = 1024, 1 << 18
    data = bytes(4 * row)
    pairs = honest(folder)
    data_file(folder / MODEL).write_bytes(A.tobytes() + B.tobytes() + data)
    crc = encode_values(np.zeros(row, np.float32), 1)[1]
    boxes = [((number, 1), FULL) for number in range(rows)]
    entry = encode_entry(dtype=1, shape=(1, row), offset=32, size=len(data), crc=crc)
    entries = {encode_slice_key(b"x", box): entry for box in boxes}
    entries[b"x"] = encode_entry(dtype=1, shape=(rows, row), slices=boxes)
    (folder / f"{MODEL}.index").write_bytes(encode_table({**pairs, **entries}))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


def _many_slices(folder: Path, count: int, **settings: Any) -> Wanted:
    array = np.arange(count, dtype=np.int32)
    saved = Saved(array, slices=[((number, 1),) for number in range(count)])
    write_bundle(folder / MODEL, {"a": A, "x": saved}, **settings)
    return Wanted(folder / MODEL, {"a": A, "x": array})


@case("checkpoint", "2,000 slices in one entry, all of them right")
def slices_2_000(folder: Path) -> Wanted:
    return _many_slices(folder, 2_000)


@case("checkpoint", "2,000 slices, all of them right, in a block with one restart point")
def slices_2_000_one_restart(folder: Path) -> Wanted:
    return _many_slices(folder, 2_000, block_size=1 << 30, restart_interval=1 << 30)


@case("checkpoint", "100,000 slices in one entry, without entries of their own")
def slices_100_000(folder: Path) -> Wanted:
    pairs = honest(folder)
    entry = encode_entry(dtype=1, shape=(100_000,), slices=[((number, 1),) for number in range(100_000)])
    (folder / f"{MODEL}.index").write_bytes(encode_table({**pairs, b"x": entry}))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


@case("checkpoint", "100,000 slices in one entry, which all overlap")
def slices_100_000_overlapping(folder: Path) -> Wanted:
    pairs = honest(folder)
    entry = encode_entry(dtype=1, shape=(200_000,), slices=[((number, 100_000),) for number in range(100_000)])
    (folder / f"{MODEL}.index").write_bytes(encode_table({**pairs, b"x": entry}))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


@case("checkpoint", "20,000 slices in one entry of 20 dimensions")
def slices_20_000_of_rank_20(folder: Path) -> Wanted:
    pairs = honest(folder)
    rest = [(0, 1)] * 19
    slices = [[(number, 1), *rest] for number in range(20_000)]
    entry = encode_entry(dtype=1, shape=(20_001, *[1] * 19), slices=slices)
    (folder / f"{MODEL}.index").write_bytes(encode_table({**pairs, b"x": entry}))
    return Wanted(folder / MODEL, {"a": A, "b": B}, frozenset({"x"}))


@case("checkpoint", "slice keys of tensors that do not exist")
def slice_keys_without_parent(folder: Path) -> Wanted:
    key = encode_slice_key(b"x", [(0, 2)])
    write_bundle(folder / MODEL, {"a": A}, extra={key: b"\xff\xff", b"\0\xff": b"", b"\0": b"\1"})
    names = frozenset(name.decode("utf-8", "surrogateescape") for name in (key, b"\0\xff", b"\0"))
    return Wanted(folder / MODEL, {"a": A}, names)


@case("checkpoint", "5,000 tensors of 64 KB that all lie in the same 64 KB")
def entries_sharing_bytes(folder: Path) -> Wanted:
    array = np.arange(1 << 14, dtype=np.float32)
    data, crc = encode_values(array, 1)
    data_file(folder / MODEL).write_bytes(data)
    entry = encode_entry(dtype=1, shape=array.shape, size=len(data), crc=crc)
    names = [b"x%05d" % number for number in range(5_000)]
    (folder / f"{MODEL}.index").write_bytes(encode_table({b"": encode_header(), **dict.fromkeys(names, entry)}))
    return Wanted(folder / MODEL, {name.decode(): array for name in names})


# Files.


def _add_file(name: str, title: str, change: Callable[[Path], None], *, opens: bool, posix: bool = False) -> None:
    if posix and os.name != "posix":
        return

    def build(folder: Path) -> Wanted:
        write_bundle(folder / MODEL, {"a": A})
        change(folder / MODEL)
        return Wanted(folder / MODEL, {}, frozenset({"a"} if opens else ()), opens=opens)

    add(f"file-{name}", "checkpoint", build, title)


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _index(prefix: Path) -> Path:
    return Path(f"{prefix}.index")


_add_file("shard-missing", "a data file that does not exist", lambda prefix: data_file(prefix).unlink(), opens=True)
_add_file("shard-empty", "an empty data file", lambda prefix: data_file(prefix).write_bytes(b"") and None, opens=True)
_add_file("shard-cut", "a data file that is cut short", lambda prefix: os.truncate(data_file(prefix), 23), opens=True)
_add_file("shard-folder", "a folder in place of a data file", lambda p: _replace(data_file(p), Path.mkdir), opens=True)
_add_file(
    "index-of-line-feeds",
    "an index of 1 MB of line feeds and an exclamation mark",
    lambda prefix: _index(prefix).write_bytes(b"\n" * (1 << 20) + b"!") and None,
    opens=False,
)
_add_file("index-folder", "a folder in place of the index", lambda p: _replace(_index(p), Path.mkdir), opens=False)
if os.name == "posix":
    _add_file("shard-fifo", "a FIFO in place of a data file", lambda p: _replace(data_file(p), os.mkfifo), opens=True)
    _add_file("index-fifo", "a FIFO in place of the index", lambda p: _replace(_index(p), os.mkfifo), opens=False)
    _add_file(
        "shard-loop",
        "a data file that is a link to itself",
        lambda p: _replace(data_file(p), lambda path: path.symlink_to(path.name)),
        opens=True,
    )
    _add_file(
        "index-loop",
        "an index that is a link to itself",
        lambda p: _replace(_index(p), lambda path: path.symlink_to(path.name)),
        opens=False,
    )
    _add_file(
        "shard-device",
        "an endless device in place of a data file",
        lambda p: _replace(data_file(p), lambda path: path.symlink_to("/dev/zero")),
        opens=True,
    )


@case("checkpoint", "250 data files, each with a damaged slice of the same tensor")
def files_of_damaged_slices(folder: Path) -> Wanted:
    array = np.arange(2000, dtype=np.float32)
    slices = [((8 * number, 8),) for number in range(250)]
    write_bundle(folder / MODEL, {"x": Saved(array, slices=slices, shards=range(250))}, num_shards=250)
    for number in range(250):
        data_file(folder / MODEL, number, 250).write_bytes(bytes(31) + b"\1")
    return Wanted(folder / MODEL, {}, frozenset({"x"}))


@case("checkpoint", "an object graph of 1,000,000 empty objects")
def object_graph_of_a_million(folder: Path) -> Wanted:
    graph = np.array(b"\x0a\0" * 1_000_000, object)
    write_bundle(folder / MODEL, {"_CHECKPOINTABLE_OBJECT_GRAPH": graph, "a": A})
    return Wanted(folder / MODEL, {"_CHECKPOINTABLE_OBJECT_GRAPH": graph, "a": A})


@case("checkpoint", "an object graph whose objects refer to others that do not exist")
def object_graph_dangling(folder: Path) -> Wanted:
    graph = np.array(encode_field(1, encode_field(1, encode_field(1, 99))), object)
    write_bundle(folder / MODEL, {"_CHECKPOINTABLE_OBJECT_GRAPH": graph, "a": A})
    return Wanted(folder / MODEL, {"_CHECKPOINTABLE_OBJECT_GRAPH": graph, "a": A})


@case("checkpoint", "names of 100,000 bytes, NUL, and bytes that are not UTF-8")
def names_odd(folder: Path) -> Wanted:
    names = ["n" * 100_000, "\0", "\udcff\udcfe", "a\nb", "../../etc/passwd", "\x1b[2J"]
    write_bundle(folder / MODEL, dict.fromkeys(names, B))
    return Wanted(folder / MODEL, dict.fromkeys(names, B))
