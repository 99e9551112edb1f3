"""``tfbundle.fingerprint``: what is the same has the same, however it is stored, and the hashed bytes are as said."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import DTYPES, object_array, sample_array
from tests.support.bundle_writer import FULL, VARIANT, Saved, numpy_type, write_bundle
from tests.support.command import run
from tests.support.expected import FIXTURES
from tests.support.v1_writer import V1Saved, write_v1

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


def number(value: int) -> bytes:
    return struct.pack("<Q", value)


def hash_by_hand(name: bytes, data_type: bytes, shape: tuple[int, ...], elements: bytes) -> str:
    return hashlib.sha256(
        b"tfbundle tensor 1\0"
        + number(len(name))
        + name
        + number(len(data_type))
        + data_type
        + number(len(shape))
        + b"".join(map(number, shape))
        + elements
    ).hexdigest()


def test_hashed_bytes(tmp_path: Path) -> None:
    words = object_array([b"one", b"", b"three"])
    message = b"\x0a\x03one"
    write_bundle(
        tmp_path / "b",
        {
            "v": MATRIX,
            "words": words,
            "step": np.array(-5, np.int64),
            "bytes\udcff": np.array([True, False]),
            "variant": Saved(object_array([message]), VARIANT),
        },
    )
    found = tfbundle.fingerprint(tmp_path / "b")
    spelled = b"".join(number(len(word)) + word for word in words)
    wanted = {
        "bytes\udcff": hash_by_hand(b"bytes\xff", b"DT_BOOL", (2,), b"\1\0"),
        "step": hash_by_hand(b"step", b"DT_INT64", (), struct.pack("<q", -5)),
        "v": hash_by_hand(b"v", b"DT_FLOAT", (6, 4), struct.pack("<24f", *range(24))),
        "variant": hash_by_hand(b"variant", b"DT_VARIANT", (1,), number(len(message)) + message),
        "words": hash_by_hand(b"words", b"DT_STRING", (3,), spelled),
    }
    assert found.tensors == wanted
    digests = b"".join(map(bytes.fromhex, wanted.values()))
    assert found.sha256 == hashlib.sha256(b"tfbundle checkpoint 1\0" + number(5) + digests).hexdigest()
    assert str(found) == found.sha256


@pytest.mark.parametrize("name", DTYPES)
def test_storage_makes_no_difference(tmp_path: Path, name: str) -> None:
    array = sample_array(name, (5, 3))
    tensors: dict[str, Any] = {"a": array, "b": sample_array(name, (2,), seed=3)}
    write_bundle(tmp_path / "plain", tensors)
    sliced = Saved(array, slices=[(FULL, (0, 2)), (FULL, (2, 1))], shards=[1, 2])
    tensors = {"b": tensors["b"], "a": sliced}
    settings: dict[str, Any] = {"alignment": 64, "compress": True, "block_size": 20}
    write_bundle(tmp_path / "other", tensors, num_shards=3, byteorder="big", **settings)
    found = tfbundle.fingerprint(tmp_path / "plain")
    assert found == tfbundle.fingerprint(tmp_path / "other")
    write_v1(tmp_path / "old", {**tensors, "a": V1Saved(array, slices=sliced.slices)})
    assert found == tfbundle.fingerprint(tmp_path / "old")


@pytest.mark.parametrize("name", ["int4", "int2", "uint4", "uint2", "float4_e2m1fn"])
def test_bits_that_are_not_part_of_the_value(tmp_path: Path, name: str) -> None:
    array = sample_array(name, (8,))
    write_bundle(tmp_path / "a", {"v": array})
    dirty = (array.view(np.uint8) | 0xF0).view(array.dtype)
    write_bundle(tmp_path / "b", {"v": dirty})
    assert dirty.tobytes() != array.tobytes()
    assert tfbundle.fingerprint(tmp_path / "a") == tfbundle.fingerprint(tmp_path / "b")
    assert not tfbundle.diff(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
def test_bits_of_numbers_that_are_equal(tmp_path: Path, dtype: str) -> None:
    """A copy is one to the bit, so that another zero and another NaN are other values, as they are not to ``diff``."""
    found = set()
    for array in (np.array([0.0, np.nan]), np.array([-0.0, np.nan]), np.array([0.0, -np.nan])):
        write_bundle(tmp_path / "b", {"v": array.astype(numpy_type(dtype))})
        write_bundle(tmp_path / "first", {"v": np.array([0.0, np.nan]).astype(numpy_type(dtype))})
        found.add(tfbundle.fingerprint(tmp_path / "b").sha256)
        assert not tfbundle.diff(tmp_path / "first", tmp_path / "b")
    assert len(found) == 3


@pytest.mark.parametrize("version", ["tf-1.2.1", "tf-1.4.1", "tf-1.15.5"])
def test_a_copy_that_tensorflow_sharded(version: str) -> None:
    folder = FIXTURES / version / "partitioned"
    plain, sharded = (tfbundle.fingerprint(folder / name) for name in ("plain.ckpt", "sharded.ckpt"))
    assert plain == sharded
    assert len(plain.tensors) == 8
    assert not tfbundle.diff(folder / "plain.ckpt", folder / "sharded.ckpt")


def test_everything_else_makes_one(tmp_path: Path) -> None:
    others = [
        {"v": MATRIX},
        {"w": MATRIX},
        {"v": MATRIX.reshape(4, 6)},
        {"v": MATRIX.view(np.int32)},
        {"v": -MATRIX},
        {"v": Saved(MATRIX.view(np.int32), 13)},
        {"v": MATRIX, "w": MATRIX},
        {"v": object_array([b"ab", b"c"])},
        {"v": object_array([b"a", b"bc"])},
        {"v": np.zeros((0, 1), np.float32)},
        {"v": np.zeros((0, 2), np.float32)},
        {},
    ]
    found = set()
    for other in others:
        write_bundle(tmp_path / "b", other)
        found.add(tfbundle.fingerprint(tmp_path / "b").sha256)
    assert len(found) == len(others)


def test_formats_of_one_name() -> None:
    path = next((FIXTURES / "tf-1.15.5" / "v1-and-v2-of-one-name").glob("*.index")).with_suffix("")
    old, new = (tfbundle.fingerprint(path, format=format) for format in ("v1", "v2"))
    same = {name for name, sha256 in old.tensors.items() if new.tensors.get(name) == sha256}
    with tfbundle.open_checkpoint(path, format="v1") as a, tfbundle.open_checkpoint(path, format="v2") as b:
        wanted = {name for name in a if name in b and a[name].read().tobytes() == b[name].read().tobytes()}
    assert same == wanted


def test_damage_and_progress(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v": MATRIX, "w": MATRIX})
    seen: list[tuple[int, int]] = []
    with tfbundle.open_checkpoint(tmp_path / "b") as checkpoint:
        tfbundle.fingerprint(checkpoint, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(96, 192), (192, 192)]
    whole = tfbundle.fingerprint(tmp_path / "b")
    assert repr(whole) == f"<Fingerprint {whole.sha256}, 2 tensors>"
    write_bundle(tmp_path / "b", {"v": Saved(MATRIX, lies={"crc": 1}), "w": MATRIX})
    found = tfbundle.fingerprint(tmp_path / "b")
    assert (found.sha256, found.tensors) == (None, {"w": whole.tensors["w"]})
    assert [(finding.kind, finding.tensor) for finding in found.unreadable] == [("checksum", "v")]
    assert run("fingerprint", tmp_path / "b").exit_code == 1
    assert tfbundle.fingerprint(tmp_path / "b", names="w").tensors == found.tensors


def test_command(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"v\n": MATRIX})
    found = tfbundle.fingerprint(tmp_path / "b")
    result = run("fingerprint", str(tmp_path / "b"))
    assert result.stdout == f"{found.tensors['v' + chr(10)]}  v\\n\n{found.sha256}\n"
    result = run("fingerprint", str(tmp_path / "b"), "--json")
    document = json.loads(result.stdout)
    assert (document["sha256"], document["tensors"], document["unreadable"]) == (found.sha256, found.tensors, [])


def test_command_chooses_tensors(tmp_path: Path) -> None:
    arrays = {name: np.float32([number]) for number, name in enumerate(("v", "w0", "w[0]"))}
    write_bundle(tmp_path / "m", arrays)
    for options, chosen in (
        (("--names", "w*"), ["w0", "w[0]"]),
        (("--names", "w[0]"), ["w[0]"]),
        (("--exclude", "v", "--exclude", "w0"), ["w[0]"]),
        (("--names", "w*", "--exclude", "w[0]"), ["w0"]),
    ):
        expected = tfbundle.fingerprint(tmp_path / "m", names=chosen)
        result = run("fingerprint", tmp_path / "m", *options)
        assert result.stdout.splitlines() == [f"{expected.tensors[name]}  {name}" for name in chosen] + [str(expected)]
    result = run("fingerprint", tmp_path / "m", "--names", "none*")
    assert result.exit_code != 0
    assert "none*" in result.output
