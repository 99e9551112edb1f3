"""Hostile V1 checkpoints: the meta, the statements of tensors, the slices, and sets of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.bundles import A, B
from tests.hostile.catalogue import Wanted, add, case
from tests.support.bundle_writer import FULL, encode_field, encode_slice_key
from tests.support.table_writer import encode_table, encode_varint
from tests.support.v1_writer import V1Saved, encode_slice, encode_statement, encode_values, write_v1

MODEL = "model"
WHOLE = np.arange(12, dtype=np.int16).reshape(4, 3)
_TWO = [((0, 2), FULL), ((2, 2), FULL)]


def _add_meta(name: str, title: str, **settings: Any) -> None:
    def build(folder: Path) -> Wanted:
        write_v1(folder / MODEL, {"a": A}, **settings)
        return Wanted(folder / MODEL, opens=False)

    add(f"v1-meta-{name}", "checkpoint", build, title)


_add_meta("garbage", "a V1 meta that is not a message", meta=b"\x0a\xff\xff\xff")
_add_meta("of-another-kind", "a V1 meta with a bundle's header", meta=b"\x08\1")
_add_meta("length-2-60", "a V1 meta with a field of 2^60 bytes", meta=b"\x0a" + encode_varint(1 << 60))
_add_meta("endless", "a V1 meta with a length that does not end", meta=b"\x0a" + b"\xff" * 40)
_add_meta("version-99", "a V1 checkpoint that asks for version 99", versions=encode_field(2, 99))
_add_meta("versions-garbage", "V1 versions that are not a message", versions=b"\xff\xff")
_add_meta("nested-150-deep", "a V1 meta with groups nested 150 deep", versions=b"\x23" * 150)


@case("checkpoint", "a V1 statement that is not a message")
def v1_statement_garbage(folder: Path) -> Wanted:
    write_v1(folder / MODEL, {"a": A, "x": V1Saved(WHOLE, lies={"raw": b"\xff\xff\xff"})})
    return Wanted(folder / MODEL, opens=False)


@case("checkpoint", "a V1 table without a meta")
def v1_meta_missing(folder: Path) -> Wanted:
    (folder / MODEL).write_bytes(encode_table({b"a": b"\x0a\0"}))
    return Wanted(folder / MODEL, opens=False)


def _add_tensor(name: str, title: str, saved: V1Saved) -> None:
    def build(folder: Path) -> Wanted:
        write_v1(folder / MODEL, {"a": A, "x": saved})
        return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))

    add(f"v1-{name}", "checkpoint", build, title)


_LIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "garbage": ("a V1 statement whose shape is not a message", {"raw": b"\x12\1\xff"}),
    "dtype-unknown": ("a V1 tensor of unknown data type", {"dtype": 57}),
    "dtype-negative": ("a V1 tensor of negative data type", {"dtype": -1}),
    "dtype-resource": ("a V1 resource", {"dtype": 20}),
    "dtype-other": ("a V1 tensor whose values are of another data type", {"dtype": 9}),
    "dimension-negative": ("a V1 tensor with a negative dimension", {"shape": (-2, 3)}),
    "product-overflows": ("a V1 shape whose product overflows", {"shape": (1 << 32, 1 << 32)}),
    "rank-unknown": ("a V1 tensor of unknown rank", {"unknown_rank": True}),
    "rank-255": ("a V1 tensor with 255 dimensions", {"shape": (1,) * 255}),
    "terabytes": ("a V1 tensor of 4 TB", {"shape": (1 << 40,), "slices": [[FULL]]}),
    "other-shape": ("a V1 tensor of another shape than its values", {"shape": (5, 3)}),
    "slices-none": ("a V1 tensor without slices", {"slices": []}),
    "slice-outside": ("a V1 slice that leaves its tensor", {"slices": [((3, 4), FULL)]}),
    "slice-negative": ("a V1 slice with a negative start", {"slices": [((-1, 2), FULL)]}),
    "slice-of-another-rank": ("a V1 slice of another rank", {"slices": [((0, 2),)]}),
}
for _name, (_title, _lies) in _LIES.items():
    _add_tensor(_name, _title, V1Saved(WHOLE, lies=_lies))

_KEY, _ALL = b"x", [FULL, FULL]


def _slice(tensor: bytes, name: bytes = _KEY, extents: Any = None) -> dict[int, bytes | None]:
    return {0: encode_slice(name, _ALL if extents is None else extents, tensor)}


for _name, _title, _values in (
    ("slice-garbage", "a V1 slice that is not a message", {0: b"\xff\xff\xff"}),
    ("slice-empty", "a V1 slice without values", {0: b""}),
    ("slice-absent", "an absent V1 slice", {0: None}),
    ("slice-of-another-name", "a V1 slice under another's key", _slice(encode_values(WHOLE, 5), b"y")),
    ("slice-of-another-place", "a V1 slice of another place", _slice(encode_values(WHOLE, 5), extents=_TWO[0])),
    ("values-too-few", "a V1 slice with too few values", _slice(encode_values(WHOLE[:3], 5))),
    ("values-too-many", "a V1 slice with too many values", _slice(encode_values(np.tile(WHOLE, 2), 5))),
    ("values-endless", "V1 values whose last does not end", _slice(encode_field(7, b"\1" * 11 + b"\xff" * 9))),
    ("values-oversized", "a V1 value of 11 bytes", _slice(encode_field(7, b"\1" * 11 + b"\xff" * 10 + b"\1"))),
    ("values-length-2-60", "V1 values of 2^60 bytes", _slice(b"\x3a" + encode_varint(1 << 60))),
    ("values-of-a-wrong-wire-type", "V1 values in a wrong wire type", _slice(b"\x3d" + bytes(4))),
    ("values-nested-150-deep", "V1 values with groups nested 150 deep", _slice(b"\xfb\x01" * 150)),
):
    _add_tensor(_name, _title, V1Saved(WHOLE, values=_values))

_add_tensor("floats-ragged", "V1 floats of 3 bytes too few", V1Saved(A, values=_slice(encode_field(5, bytes(21)))))
_add_tensor("slices-overlap", "V1 slices that overlap", V1Saved(WHOLE, slices=[((0, 3), FULL), ((2, 2), FULL)]))
_add_tensor(
    "slices-with-a-hole", "V1 slices that leave a hole", V1Saved(WHOLE, slices=[((0, 1), FULL), ((2, 2), FULL)])
)
_add_tensor(
    "slice-twice", "a V1 slice that is listed twice", V1Saved(WHOLE, slices=_TWO, lies={"slices": [*_TWO, _TWO[0]]})
)
_add_tensor(
    "slice-of-two-absent", "a V1 tensor whose second slice has no values", V1Saved(WHOLE, slices=_TWO, values={1: None})
)


@case("checkpoint", "a V1 tensor that is stated twice")
def v1_stated_twice(folder: Path) -> Wanted:
    statement = encode_statement(name=b"x", dtype=1, shape=B.shape, slices=[[FULL]])
    meta = encode_field(1, encode_field(1, statement) * 2 + encode_field(2, encode_field(1, 1)))
    value = encode_slice(b"x", [FULL], encode_values(B, 1))
    (folder / MODEL).write_bytes(encode_table({b"": meta, encode_slice_key(b"x", [FULL]): value}))
    return Wanted(folder / MODEL, {}, frozenset({"x"}))


def _many(folder: Path, count: int, *, padding: int = 0, **settings: Any) -> Wanted:
    array = np.arange(count, dtype=np.int32)
    tensors = {"a": A, "x": V1Saved(array, slices=[((n, 1),) for n in range(count)])}
    values = {"a": A, "x": array}
    if padding:
        tensors["y"] = values["y"] = np.arange(padding, dtype=np.float32)
    write_v1(folder / MODEL, tensors, **settings)
    return Wanted(folder / MODEL, values)


@case("checkpoint", "2,000 V1 slices, all of them right")
def v1_slices_2_000(folder: Path) -> Wanted:
    return _many(folder, 2_000)


@case("checkpoint", "2,000 V1 slices in a block with one restart point")
def v1_slices_2_000_one_restart(folder: Path) -> Wanted:
    return _many(folder, 2_000, block_size=1 << 30, restart_interval=1 << 30)


@case("checkpoint", "1,000 V1 slices in one large block")
def v1_slices_1_000_in_a_large_block(folder: Path) -> Wanted:
    return _many(folder, 1_000, block_size=1 << 30, padding=1 << 19)


@case("checkpoint", "100,000 V1 slices without values")
def v1_slices_100_000(folder: Path) -> Wanted:
    slices = [((n, 1),) for n in range(100_000)]
    write_v1(
        folder / MODEL,
        {"a": A, "x": V1Saved(np.zeros(1, np.int32), slices=[], lies={"shape": (100_000,), "slices": slices})},
    )
    return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))


@case("checkpoint", "60 V1 tensors in 16,384 slices each, which are a million, without values")
def v1_slices_in_many_tensors(folder: Path) -> Wanted:
    slices = encode_statement(name=b"", dtype=1, shape=(1 << 14,), slices=[((n, 1),) for n in range(1 << 14)])
    rest = slices.removeprefix(encode_statement(name=b"", dtype=1, shape=(1 << 14,), slices=[]))
    names = [f"x{n:02d}" for n in range(60)]
    statements = [encode_statement(name=b"a", dtype=1, shape=B.shape, slices=[[FULL]])]
    statements += [encode_statement(name=n.encode(), dtype=1, shape=(1 << 14,), slices=[]) + rest for n in names]
    meta = encode_field(1, b"".join(encode_field(1, statement) for statement in statements))
    value = encode_slice(b"a", [FULL], encode_values(B, 1))
    pairs = {b"": meta, encode_slice_key(b"a", [FULL]): value}
    (folder / MODEL).write_bytes(encode_table(pairs, compress=True))
    return Wanted(folder / MODEL, {"a": B}, frozenset(names))


@case("checkpoint", "3 MB of Snappy data that hold 64 MB of empty V1 strings")
def v1_snappy_bomb_of_strings(folder: Path) -> Wanted:
    count = 1 << 20
    array = np.array([b""] * count, object)
    slices = encode_slice(b"x", [FULL], encode_field(8, b"") * count)
    write_v1(folder / MODEL, {"a": A, "x": V1Saved(array, values={0: slices})}, compress=True)
    return Wanted(folder / MODEL, {"a": A, "x": array})


@case("checkpoint", "a V1 set whose second file is missing")
def v1_set_incomplete(folder: Path) -> Wanted:
    write_v1(folder / f"{MODEL}-00000-of-00002", {"a": A})
    return Wanted(folder / MODEL, opens=False)


@case("checkpoint", "a V1 set that claims 99,999 files")
def v1_set_of_99_999(folder: Path) -> Wanted:
    write_v1(folder / f"{MODEL}-00000-of-99999", {"a": A})
    return Wanted(folder / MODEL, opens=False)


@case("checkpoint", "two V1 files that contradict each other")
def v1_set_contradicts(folder: Path) -> Wanted:
    write_v1(folder / f"{MODEL}-00000-of-00002", {"a": A, "x": V1Saved(WHOLE, slices=[_TWO[0]])})
    write_v1(folder / f"{MODEL}-00001-of-00002", {"x": V1Saved(WHOLE.astype(np.int32), slices=[_TWO[1]])})
    return Wanted(folder / MODEL, {"a": A}, frozenset({"x"}))


@case("checkpoint", "a V1 set with an index in place of its second file")
def v1_set_of_two_kinds(folder: Path) -> Wanted:
    write_v1(folder / f"{MODEL}-00000-of-00002", {"a": A})
    (folder / f"{MODEL}-00001-of-00002").write_bytes(encode_table({b"": b"\x08\1", b"a": b""}))
    return Wanted(folder / MODEL, opens=False)
