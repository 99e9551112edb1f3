"""What cannot be done is found before a byte is written: by a dry run as by the conversion, whatever the output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.arrays import object_array
from tests.support.bundle_writer import write_bundle
from tests.support.command import run
from tests.support.expected import FIXTURES
from tests.support.object_graphs import graph_of
from tfbundle import average, save
from tfbundle.checkpoint.checkpoint import open_checkpoint
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.conversion.convert import convert
from tfbundle.errors import UnsupportedError

OUTPUTS = ["out", "out.npz", "out.safetensors", "out.h5", "out.zarr"]
LIBRARIES = {"out.h5": "h5py", "out.zarr": "zarr"}
VARIANTS = FIXTURES / "tf-2.21.0/variants/bundle"

# What is requested: as arguments, what is raised, and as options of the command.
MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str, list[str]]] = {
    "names that match nothing": ({"names": "conv/*"}, KeyError, r"conv/\*", ["--names=conv/*"]),
    "a name that does not exist": ({"names": ["a/kernle"]}, KeyError, "a/kernel", ["--names=a/kernle"]),
    "exclude that matches nothing": ({"exclude": "conv/*"}, KeyError, r"conv/\*", ["--exclude=conv/*"]),
    "rename of nothing": ({"rename": {"a/kernle": "b"}}, KeyError, "a/kernle", ["--rename=a/kernle=b"]),
    "cast of nothing": ({"cast": {"conv/*": "float16"}}, KeyError, r"conv/\*", ["--cast=conv/*=float16"]),
    "cast of a type of nothing": (
        {"cast": ["bfloat16=float32"]},
        ValueError,
        "no tensor is of type bfloat16.*float32, float64, int64",
        ["--cast=bfloat16=float32"],
    ),
    "all left out": ({"exclude": "*"}, ValueError, "no tensor of .* is left to write", ["--exclude=*"]),
    "all left out by a function": ({"transform": lambda name, tensor: None}, ValueError, "is left to write", []),
    "transpose of nothing": ({"transpose": {"conv/*": (1, 0)}}, KeyError, r"conv/\*", ["--transpose=conv/*=1,0"]),
    "averages of nothing": ({"averages": True}, KeyError, "no moving averages", ["--averages"]),
    "two that are renamed to one": (
        {"rename": {re.compile("^.*$"): "one"}},
        ValueError,
        "would all be called 'one'",
        ["--rename=^.*$=one"],
    ),
    "one renamed to another": (
        {"rename": {"a/kernel": "a/bias"}},
        ValueError,
        "would all be called 'a/bias'",
        ["--rename=a/kernel=a/bias"],
    ),
    "a function that makes one of two": (
        {"rename": lambda name: name.rpartition("/")[0] or name},
        ValueError,
        "would all be called 'a'",
        [],
    ),
    "names of a dict that collide": (
        {"names": {"a/kernel": "x", "a/bias": "x"}},
        ValueError,
        "'x'",
        [],
    ),
    "an empty name": ({"rename": {"^a/kernel$": ""}}, ValueError, "called ''", ["--rename=^a/kernel$="]),
    "a group that does not exist": (
        {"rename": {"^a/(kernel)": r"\2"}},
        ValueError,
        "cannot replace",
        [r"--rename=^a/(kernel)=\2"],
    ),
    "integers that a float rounds": (
        {"cast": {"int64": "float32"}},
        UnsupportedError,
        "'step'.*exactly",
        ["--cast=int64=float32"],
    ),
    "integers that do not fit": ({"cast": "int8"}, UnsupportedError, "'step'.*out of range", ["--cast=int8"]),
    "a float that is no integer's": (
        {"cast": {"large": "int16"}},
        UnsupportedError,
        "'large'.*out of range",
        ["--cast=large=int16"],
    ),
    "not a number as an integer": ({"cast": {"nan": "int64"}}, UnsupportedError, "'nan'", ["--cast=nan=int64"]),
    "a type that does not exist": ({"cast": "float33"}, ValueError, "float33", ["--cast=float33"]),
    "a cast of text": ({"cast": {"text": "float32"}, "exclude": ()}, ValueError, "'text'", ["--cast=text=float32"]),
    "axes that are not integers": ({"transpose": {"a/kernel": (1.0, 0)}}, ValueError, "axis", []),
    "axes that are not a sequence": ({"transpose": {"a/kernel": 1}}, ValueError, "axis", []),
    "axes without a name": ({"transpose": [("a/kernel", (1, 0))]}, ValueError, "must be a dict", []),
    "a cast that is a number": ({"cast": 16}, ValueError, "cast must be", []),
    "casts that are pairs": ({"cast": [("a/kernel", "float16")]}, ValueError, "cast must be", []),
    "a rename that is a number": ({"rename": 5}, ValueError, "rename must be", []),
    "a rename that has a number": ({"rename": [5]}, ValueError, "a step of rename", []),
    "a rename in bytes": ({"rename": b"a"}, ValueError, "rename must be", []),
    "a fraction of shards": ({"shards": 1.5}, ValueError, "shards must be an integer|not divided", []),
    "a size in text": ({"shard_size": "2G"}, ValueError, "shard_size must be an integer|not divided", []),
    "a transform that is not a function": ({"transform": 5}, ValueError, "transform must be", []),
    "axes of another rank": ({"transpose": {"a/bias": (1, 0)}}, ValueError, "transpose", ["--transpose=a/bias=1,0"]),
    "axes twice": ({"transpose": {"a/kernel": (0, 0)}}, ValueError, "each axis", ["--transpose=a/kernel=0,0"]),
    "a function that fails": ({"transform": lambda name, tensor: 1 / 0}, ZeroDivisionError, "division", []),
    "shards and their size": (
        {"shards": 2, "shard_size": 10},
        ValueError,
        "one of them|not divided",
        ["--shards=2", "--shard-size=10"],
    ),
    "more shards than tensors": ({"shards": 99}, ValueError, "number of|from 1 to|not divided", ["--shards=99"]),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = {
        "a/bias": np.zeros(4, np.float32),
        "a/kernel": np.ones((6, 4), np.float32),
        "large": np.full(3, 1e9, np.float32),
        "nan": np.array([1, np.nan], np.float64),
        "step": np.int64((1 << 24) + 1),
    }
    folder = tmp_path_factory.mktemp("model")
    write_bundle(folder / "model", tensors)
    write_bundle(folder / "text", {**tensors, "text": object_array([b"x"], ())})
    return folder / "model"


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_nothing_is_written(model: Path, tmp_path: Path, out: str, mistake: str) -> None:
    pytest.importorskip(LIBRARIES.get(out, "numpy"))
    arguments, error, match, options = MISTAKES[mistake]
    if "text" in str(arguments):
        model = model.with_name("text")
        arguments = {key: value for key, value in arguments.items() if key != "exclude"}
    convert({"old": np.arange(3)}, tmp_path / out)
    before = tree(tmp_path)
    for dry_run in (True, False):
        with pytest.raises(error, match=match):
            convert(model, tmp_path / out, **arguments, overwrite=True, dry_run=dry_run)
        assert tree(tmp_path) == before
    if options:
        for more in (["--dry-run"], []):
            done = run("convert", model, tmp_path / out, "--overwrite", *options, *more)
            assert (done.exit_code, done.stdout) == (2, "")
            assert "Traceback" not in done.stderr
            assert len(done.stderr.strip()) > 10
        assert tree(tmp_path) == before


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_name_of_the_object_graph_is_taken(tmp_path: Path) -> None:
    key = "w/.ATTRIBUTES/VARIABLE_VALUE"
    graph = graph_of({"children": [("w", 1)]}, {"key": key}).SerializeToString()
    write_bundle(tmp_path / "m", {key: np.zeros(2), "b": np.zeros(1), OBJECT_GRAPH_KEY: object_array([graph], ())})
    for dry_run in (True, False):
        with pytest.raises(ValueError, match="as the object graph is"):
            convert(tmp_path / "m", tmp_path / "out", rename={"b": OBJECT_GRAPH_KEY}, dry_run=dry_run)
    assert not list(tmp_path.glob("out*"))
    # Other formats have no graph that it could take the place of.
    convert(tmp_path / "m", tmp_path / "out.npz", rename={"b": OBJECT_GRAPH_KEY})


@pytest.mark.parametrize(
    ("out", "array"),
    [
        ("out.npz", np.zeros(2, ml_dtypes.bfloat16)),
        ("out.npz", object_array([b"x"])),
        ("out.safetensors", np.zeros(2, np.complex128)),
        ("out.safetensors", np.zeros(2, ml_dtypes.int4)),
        ("out.h5", np.zeros(2, ml_dtypes.float8_e4m3fn)),
        ("out.zarr", np.zeros(2, ml_dtypes.bfloat16)),
    ],
)
def test_what_a_format_cannot_hold_is_named(tmp_path: Path, out: str, array: Any) -> None:
    pytest.importorskip(LIBRARIES.get(out, "numpy"))
    write_bundle(tmp_path / "m", {"good": np.zeros(2), "one": array, "two": array})
    before = tree(tmp_path)
    for dry_run in (True, False):
        with pytest.raises(UnsupportedError, match="'one', 'two'"):
            convert(tmp_path / "m", tmp_path / out, dry_run=dry_run)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(("text", "stored"), [(b"a\xff", True), (b"", True), (b"a\0", False), (b"\0a", False)])
def test_hdf5_stores_strings_without_zero_bytes(tmp_path: Path, text: bytes, stored: bool) -> None:
    h5py = pytest.importorskip("h5py")
    arrays = {
        "e": object_array([], (0, 3)),
        "s/matrix": object_array([b"one", text, b"long" * 100, b"\xc3\xa9"], (2, 2)),
        "s/scalar": object_array([text], ()),
        "x": np.arange(6.0).reshape(2, 3),
    }
    write_bundle(tmp_path / "m", arrays)
    if not stored:
        before = tree(tmp_path)
        with pytest.raises(UnsupportedError, match="zero bytes") as caught:
            convert(tmp_path / "m", tmp_path / "out.h5")
        assert caught.value.tensor == "s/matrix"
        assert tree(tmp_path) == before
        return
    converted = convert(tmp_path / "m", tmp_path / "out.h5")
    assert converted.tensors == 4
    with h5py.File(tmp_path / "out.h5") as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name][()], array[()])
    convert(tmp_path / "out.h5", tmp_path / "back")
    with open_checkpoint(tmp_path / "back") as found:
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name].read(), array)
            assert found[name].shape == array.shape


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("is_transformed", [False, True])
@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (["\ud800"], "not Unicode characters"),
        (np.array(["\ud800"], object), "not Unicode characters"),
        (np.array(["\ud800"]), "not Unicode characters"),
        (["a", 1], "neither str nor bytes"),
        (np.array(["a", 1], object), "neither str nor bytes"),
        (np.array([None], object), "neither str nor bytes"),
    ],
)
def test_objects_that_are_not_text(tmp_path: Path, out: str, is_transformed: bool, value: Any, cause: str) -> None:
    """Neither Python's nor another library's errors reach the caller, and no output is left."""
    pytest.importorskip(LIBRARIES.get(out, "numpy"))
    source = {"s": np.zeros(1)} if is_transformed else {"s": value}
    with pytest.raises(ValueError, match=cause) as caught:
        convert(source, tmp_path / out, transform=(lambda name, tensor: value) if is_transformed else None)
    assert "'s'" in str(caught.value)
    assert not isinstance(caught.value, UnicodeError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["out", "out.h5", "out.zarr"])
@pytest.mark.parametrize("is_transformed", [False, True])
@pytest.mark.parametrize("value", [["\udc80", "é", b"\xff"], np.array(["\udc80", "é", b"\xff"], object)])
def test_escaped_bytes_of_text_are_stored(tmp_path: Path, out: str, is_transformed: bool, value: Any) -> None:
    """Bytes that are not UTF-8 are lone surrogates in Python's text."""
    expected = [b"\x80", "é".encode(), b"\xff"]
    library = pytest.importorskip(LIBRARIES.get(out, "numpy"))
    source = {"s": np.zeros(3)} if is_transformed else {"s": value}
    convert(source, tmp_path / out, transform=(lambda name, tensor: value) if is_transformed else None)
    if out == "out":
        with open_checkpoint(tmp_path / out) as found:
            stored = found["s"].read()
    elif out == "out.h5":
        with library.File(tmp_path / out) as file:
            stored = file["s"][()]
    else:
        stored = library.open_group(str(tmp_path / out), mode="r")["s"][...]
    assert stored.tolist() == expected


def test_hdf5_stores_strings_of_arrays_of_text(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    convert({"u": np.array(["ab", "é"]), "s": np.array([b"x", b"yz"])}, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["u"][()].tolist() == [b"ab", "é".encode()]
        assert file["s"][()].tolist() == [b"x", b"yz"]


def test_hdf5_refuses_variants(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    with pytest.raises(UnsupportedError, match="variant: "):
        convert(VARIANTS, tmp_path / "out.h5", names="*", dry_run=True)


@pytest.mark.parametrize("value", [["text\0", "b"], [[b"a\0"], [b"\0"]], ("a\0", "b"), "a\0", b"a\0\0"])
def test_strings_of_a_mapping_keep_zero_bytes(tmp_path: Path, value: Any) -> None:
    save(tmp_path / "wanted", {"w": value})
    convert({"w": value}, tmp_path / "out")
    with open_checkpoint(tmp_path / "wanted") as wanted, open_checkpoint(tmp_path / "out") as found:
        assert found["w"].read().tolist() == wanted["w"].read().tolist()
        assert b"\0" in b"".join(found["w"].read().flat)


@pytest.mark.parametrize("source", [VARIANTS, "arrays"])
def test_variants_are_copied_averaged_and_transformed(tmp_path: Path, source: Any) -> None:
    empty = ["variants_without_elements"]  # An array of no objects may be one of strings.
    source = tfbundle.load(VARIANTS) if source == "arrays" else source
    convert(source, tmp_path / "copy", exclude=empty)
    convert(source, tmp_path / "same", exclude=empty, transform=lambda name, array: array)
    plan = convert(source, tmp_path / "plan", exclude=empty, dry_run=True)
    assert sum(item.nbytes for item in plan.items) > 0
    average([tmp_path / "copy", tmp_path / "same"], tmp_path / "mean")
    for name in ("copy", "same", "mean"):
        assert not tfbundle.diff(VARIANTS, tmp_path / name, exclude=empty)


def test_variants_beside_other_objects_are_refused(tmp_path: Path) -> None:
    variant = next(value.flat[0] for value in tfbundle.load(VARIANTS).values() if value.dtype == object and value.size)
    mixed = np.empty(2, object)
    mixed[:] = [variant, b"text"]
    with pytest.raises(ValueError, match="neither str nor bytes"):
        convert({"w": mixed}, tmp_path / "out")
