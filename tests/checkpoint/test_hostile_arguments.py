"""Whatever is passed to ``save`` and ``CheckpointWriter`` is saved, or refused by a clear error, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle

Writing = Callable[[tfbundle.CheckpointWriter], object]


class Raising:
    def __repr__(self) -> str:
        return "Raising()"

    def __array__(self, *_arguments: Any, **_options: Any) -> np.ndarray:
        raise RuntimeError("no array today")


class Message:
    """Something that looks like a protobuf message, and is none."""

    def SerializeToString(self) -> bytes:
        return b"\x08\x01"


def ragged(depth: int) -> Any:
    return [[1], [1, 2]] if not depth else [ragged(depth - 1)]


def itself() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


def raising(count: int, error: BaseException) -> Iterator[np.ndarray]:
    for _ in range(count):
        yield np.zeros(1 << 17, np.float32)
    raise error


VALUES: dict[str, Any] = {
    "nothing": None,
    "a list with nothing": [1, None],
    "an object": object(),
    "a class": int,
    "a set": {1, 2},
    "a dict": {"a": 1},
    "a generator": (number for number in range(3)),
    "ragged": ragged(0),
    "ragged deep inside": ragged(5),
    "ragged text": [["a"], ["b", "c"]],
    "a list in itself": itself(),
    "numbers and text": [1, "a"],
    "arrays of several shapes": [np.zeros(2), np.zeros(3)],
    "a date": np.datetime64("2020-01-01"),
    "a span": np.timedelta64(1, "s"),
    "a record": np.zeros(2, [("a", "i4"), ("b", "f4")]),
    "void": np.zeros(2, "V8"),
    "a masked array": np.ma.array([1, 2], mask=[True, False]),
    "raw objects": np.array([object()], object),
    "a number too large": 1 << 64,
    "a message of another kind": Message(),
    "a lone surrogate": "\ud800",
    "a lone surrogate in a list": ["a", "\udbff"],
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tfbundle.save(tmp_path / "model", {"old": np.arange(3)})
    return tmp_path


def refused(folder: Path, write: Writing, *errors: type[BaseException], **options: Any) -> BaseException:
    """The error with which a checkpoint is refused; the old one stays, and nothing is beside it."""
    before = contents(folder)
    expected = pytest.raises(errors or (ValueError, TypeError))
    with expected as caught, tfbundle.CheckpointWriter(folder / "model", **options) as writer:
        writer.add("first", np.ones(100_000))
        write(writer)
    assert contents(folder) == before
    assert not isinstance(caught.value, tfbundle.TfBundleError)  # No file is to blame.
    return caught.value


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_that_are_not_tensors(folder: Path, value: Any) -> None:
    error = refused(folder, lambda writer: writer.add("name of it", value))
    assert "name of it" in str(error)
    assert "name of it" in str(refused(folder, lambda writer: writer.add_slice("name of it", (9,), np.s_[:1], value)))


@pytest.mark.parametrize("value", [Raising(), [1, Raising()]], ids=["alone", "in a list"])
def test_an_array_that_raises(folder: Path, value: Any) -> None:
    assert "no array today" in str(
        refused(folder, lambda writer: writer.add("a", value), RuntimeError, ValueError, TypeError)
    )


@pytest.mark.parametrize(
    "name",
    ["", None, b"bytes", 3, "\ud800", "a\udbff", Path("a"), ("a",)],
    ids=repr,
)
def test_names(folder: Path, name: Any) -> None:
    refused(folder, lambda writer: writer.add(name, 1))
    refused(folder, lambda writer: writer.add_chunks(name, (1,), "float32", [np.zeros(1, np.float32)]))
    refused(folder, lambda writer: writer.add_slice(name, (2,), np.s_[:1], [1]))


@pytest.mark.parametrize(
    "name", ["\0", "a\0b", "\0\x01", "a/b:0", " ", "ä" * 200, "\udcff", "\U0001f600", "n" * 600_000]
)
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    tfbundle.save(tmp_path / "model", {name: 1, "other": 2})
    assert {key: int(value) for key, value in tfbundle.load(tmp_path / "model").items()} == {name: 1, "other": 2}


def test_a_name_that_is_given_twice(folder: Path) -> None:
    part = np.zeros(1)
    for ways in (
        [lambda w: w.add("a", 1), lambda w: w.add("a", 1)],
        [lambda w: w.add("a", 1), lambda w: w.add_slice("a", (2,), np.s_[:1], part)],
        [lambda w: w.add_slice("a", (2,), np.s_[:1], part), lambda w: w.add("a", 1)],
        [lambda w: w.add("a", 1), lambda w: w.add_chunks("a", (1,), "float64", [part])],
        [lambda w: w.add_slice("a", (2,), np.s_[:1], part)] * 2,
    ):
        error = refused(folder, lambda writer, ways=ways: [way(writer) for way in ways])
        assert "'a'" in str(error)
        assert "twice" in str(error)


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks"),
    [
        ((3,), "float32", [np.zeros(2, np.float32)]),
        ((3,), "float32", [np.zeros(4, np.float32)]),
        ((3,), "float32", [np.zeros(3, np.float64)]),
        ((3,), "float32", [[1.0, 2.0, 3.0]]),
        ((3,), "float32", []),
        ((0, 5), "float32", [np.zeros(1, np.float32)]),
        ((-1,), "float32", [np.zeros(1, np.float32)]),
        ((2, -3), "float32", []),
        ((1.5,), "float32", []),
        (("3",), "float32", []),
        (3, "float32", [np.zeros(3, np.float32)]),
        ((1 << 63,), "uint8", []),
        ((1 << 40, 1 << 40), "uint8", []),
        ((1 << 62,), "float64", []),
        ((1,) * 255, "float32", [np.zeros(1, np.float32)]),
        ((3,), "string", ["a"]),
        ((3,), "DT_VARIANT", []),
        ((3,), "DT_NONSENSE", []),
        ((3,), "DT_FLOAT_REF", []),
        ((3,), "DT_RESOURCE", []),
        ((3,), "M8[s]", []),
        ((3,), object, []),
        ((3,), None, [np.zeros(2)]),
        ((3,), "float32", 7),
        ((3,), "float32", [None]),
        ((3,), "float32", [Raising()]),
    ],
    ids=str,
)
def test_chunks(folder: Path, shape: Any, dtype: Any, chunks: Any) -> None:
    refused(folder, lambda writer: writer.add_chunks("a", shape, dtype, chunks), ValueError, TypeError, RuntimeError)


@pytest.mark.parametrize(
    ("shape", "index", "value"),
    [
        ((5,), 3, [1]),
        ((5,), np.s_[0:3, 0:1], [1, 2, 3]),
        ((5,), np.s_[0:3:2], [1, 2]),
        ((5,), np.s_[0:6], [1] * 6),
        ((5,), np.s_[-2:5], [1] * 7),
        ((5,), np.s_[3:1], []),
        ((5,), np.s_[1:1], []),
        ((5,), np.s_[0:3], [1, 2]),
        ((5,), np.s_[0:3], [[1, 2, 3]]),
        ((5,), np.s_["a":"b"], [1]),
        ((5,), np.s_[0.0:2.0], [1, 2]),
        ((5,), np.s_[0 : 1 << 64], [1]),
        ((-5,), np.s_[0:1], [1]),
        ((), np.s_[0:1], [1]),
        ((1 << 40, 1 << 40), np.s_[0:1, 0:1], [[1]]),
        ((5,), ..., [1] * 5),
        ((5,), None, [1]),
        ((5,), [0, 1], [1, 2]),
    ],
    ids=str,
)
def test_slices(folder: Path, shape: Any, index: Any, value: Any) -> None:
    assert "'a'" in str(refused(folder, lambda writer: writer.add_slice("a", shape, index, value)))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda w: w.add_slice("a", (6,), np.s_[3:6], np.zeros(3)), "shape"),
        (lambda w: w.add_slice("a", (5,), np.s_[3:5], np.zeros(2, np.float32)), "type"),
        (lambda w: w.add_slice("a", (5,), np.s_[3:5], ["a", "b"]), "type"),
        (lambda w: w.add_slice("a", (5,), np.s_[2:5], np.zeros(3)), "overlap"),
        (lambda w: w.add_slice("a", (5,), np.s_[4:5], np.zeros(1)), "region"),
        (lambda w: None, "region"),
    ],
    ids=["shape", "type", "text", "overlap", "hole", "end"],
)
def test_slices_that_do_not_go_together(folder: Path, second: Writing, message: str) -> None:
    def write(writer: tfbundle.CheckpointWriter) -> None:
        writer.add_slice("a", (5,), np.s_[0:3], np.zeros(3))
        second(writer)

    assert message in str(refused(folder, write))


@pytest.mark.parametrize("data_type", ["DT_QINT8", "DT_STRING", "DT_VARIANT", "DT_HALF", "DT_INT4", "nonsense", "", 3])
def test_data_types_that_do_not_fit(folder: Path, data_type: Any) -> None:
    refused(folder, lambda writer: writer.add("a", np.zeros(3), data_type=data_type))


@pytest.mark.parametrize("shard", [-1, 2, 1 << 40])
def test_shards_that_are_not_there(folder: Path, shard: int) -> None:
    assert "shard" in str(refused(folder, lambda writer: writer.add("a", 1, shard=shard), shards=2))


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt(), GeneratorExit(), MemoryError()], ids=repr)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_generators_that_raise(folder: Path, error: BaseException, count: int) -> None:
    before = contents(folder)
    with pytest.raises(type(error)):
        tfbundle.save(folder / "model", ((f"v{n}", value) for n, value in enumerate(raising(count, error))))
    assert contents(folder) == before
    refused(folder, lambda writer: writer.add_chunks("a", (5 << 17,), "float32", raising(count, error)), type(error))


def test_an_error_that_was_caught(folder: Path) -> None:
    """What was refused before a byte of it was written does no harm; what was written in part does."""
    with tfbundle.CheckpointWriter(folder / "model") as writer:
        for value in (None, [[1], [1, 2]], Raising()):
            with pytest.raises((ValueError, TypeError, RuntimeError)):
                writer.add("a", value)
        with pytest.raises(ValueError, match="chunks"):
            writer.add_chunks("a", (3,), "float32", [])
        writer.add("a", 1)
    assert tfbundle.load(folder / "model") == {"a": 1}
    before = contents(folder)

    def write(writer: tfbundle.CheckpointWriter) -> None:
        with pytest.raises(ValueError, match="lack 2 elements"):
            writer.add_chunks("a", (3,), "float32", [np.zeros(1, np.float32)])
        with pytest.raises(ValueError, match="in part"):
            writer.add("b", 1)

    with pytest.raises(ValueError, match="in part"), tfbundle.CheckpointWriter(folder / "model") as writer:
        write(writer)
    assert contents(folder) == before


def test_a_slice_that_was_refused_may_be_given_again(tmp_path: Path) -> None:
    with tfbundle.CheckpointWriter(tmp_path / "model") as writer:
        for value in (np.zeros(2), np.zeros(3)):
            try:
                writer.add_slice("a", (5,), np.s_[0:3], value)
            except ValueError as error:
                assert "shape" in str(error)  # noqa: PT017 - the first is refused.
        writer.add_slice("a", (5,), np.s_[3:5], np.zeros(2))
    assert tfbundle.load(tmp_path / "model")["a"].shape == (5,)


@pytest.mark.parametrize("tensors", [None, 3, "text", [1], [("a",)], [("a", 1, 2)], {"a"}], ids=repr)
def test_what_is_neither_a_mapping_nor_pairs(folder: Path, tensors: Any) -> None:
    before = contents(folder)
    with pytest.raises((ValueError, TypeError)):
        tfbundle.save(folder / "model", tensors)
    assert contents(folder) == before


@pytest.mark.parametrize("path", [None, 3, "a\0b", "x" * 5000, "\ud800", ""], ids=repr)
def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError, OSError)):
        tfbundle.save(path, {"a": 1})
    assert not list(tmp_path.iterdir())


def test_a_writer_is_used_once_and_in_its_block(tmp_path: Path) -> None:
    writer = tfbundle.CheckpointWriter(tmp_path / "model")
    with pytest.raises(ValueError, match="with block"):
        writer.add("a", 1)
    with writer:
        writer.add("a", 1)
    with pytest.raises(ValueError, match="make another"), writer:
        pass
    with pytest.raises(ValueError, match="with block"):
        writer.add_slice("b", (2,), np.s_[:1], [1])
    assert tfbundle.load(tmp_path / "model") == {"a": 1}


def test_values_that_change_while_they_are_written(tmp_path: Path) -> None:
    """The checksum is that of the bytes that were written, whatever happens to the array afterwards."""
    array = np.zeros(10)
    with tfbundle.CheckpointWriter(tmp_path / "model") as writer:
        writer.add("a", array)
        array[:] = 1
    assert not tfbundle.load(tmp_path / "model")["a"].any()
