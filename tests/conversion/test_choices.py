"""What is done with tensors on their way: names, types, axes, averages, functions, shards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import write_bundle
from tests.support.command import refusal, run, run_json
from tests.support.expected import FIXTURES
from tfbundle.conversion.convert import convert
from tfbundle.conversion.renaming import rename_all
from tfbundle.conversion.sources.opening import open_source
from tfbundle.errors import UnsupportedError

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


def renamed(names: list[str], rename: Any) -> list[str]:
    return list(rename_all({name: name for name in names}, rename, lambda name: []).values())


@pytest.mark.parametrize(
    ("names", "rename", "wanted"),
    [
        (["a", "b"], {"a": "b", "b": "a"}, ["b", "a"]),
        (["a", "b"], [("a", "c"), ("c", "d")], ["d", "b"]),
        (["x/a", "x/b"], {"^x/": ""}, ["a", "b"]),
        (["x/a", "x/b"], {re.compile(r"(.)/(.)"): r"\2.\1"}, ["a.x", "b.x"]),
        (["w[0]", "w0"], {"w[0]": "first"}, ["first", "w0"]),
        (["w[0]", "w0"], {re.compile("w[0]"): "first"}, ["w[0]", "first"]),
        (["a.b", "axb"], {"a.b": "c"}, ["c", "axb"]),
        (["a/b", "a/c"], {"a/b": "kept", "a/": "z/"}, ["kept", "z/c"]),
        (["A", "B"], str.lower, ["a", "b"]),
        (["A", "B"], [str.lower, {"a": "z"}], ["z", "b"]),
        (["l1/w", "l12/w"], [(r"^l(\d+)/", r"layers.\1.")], ["layers.1.w", "layers.12.w"]),
        (["a"], None, ["a"]),
        (["a"], [], ["a"]),
    ],
)
def test_renames(names: list[str], rename: Any, wanted: list[str]) -> None:
    assert renamed(names, rename) == wanted


@pytest.mark.parametrize(
    ("rename", "error", "match"),
    [
        ({"c": "d"}, KeyError, "'c'"),
        ({"kernle": "d"}, KeyError, "did you mean 'kernel'"),
        ({re.compile("z"): ""}, KeyError, "'z'"),
        ({"(": "d"}, KeyError, "not a regular expression"),
        ({"a": "b"}, ValueError, "'a', 'b' would all be called 'b'"),
        (lambda name: "same", ValueError, "would all be called 'same'"),
        ({"^kernel$": r"\1"}, ValueError, "cannot replace"),
        ({"^kernel$": ""}, ValueError, "called ''"),
        (lambda name: None, ValueError, "called None"),
        ("a", ValueError, "not 'a'"),
        (["ab"], ValueError, "a step of rename"),
        ({3: "b"}, ValueError, "3"),
    ],
)
def test_renames_that_are_refused(rename: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        renamed(["a", "b", "kernel"], rename)


def test_variables_are_renamed_by_their_own_names(tmp_path: Path) -> None:
    path = FIXTURES / "tf-2.4.4" / "keras-weights" / "weights"
    done = convert(path, tmp_path / "out.npz", names="conv/*", rename={"conv/kernel": "k"})
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == {"k", "conv/bias"}
    assert done.tensors == 2
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert checkpoint.objects is not None
        (key,) = checkpoint.objects.keys_of("conv/kernel")
    convert(path, tmp_path / "out.npz", rename={"conv/kernel": "k"})
    with np.load(tmp_path / "out.npz") as found:
        assert "k" in found
        assert key not in found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tensors = {
        "dense/bias": np.zeros(4, np.float32),
        "dense/kernel": MATRIX,
        "dense/kernel/ExponentialMovingAverage": MATRIX + 1,
        "global_step": np.int64(1 << 24) + np.int64(1),
        "int8": np.arange(3, dtype=np.float32),
    }
    write_bundle(tmp_path / "model", tensors)
    return tmp_path / "model"


def test_casts_by_name(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    for cast, wanted in (
        ({"dense/*": "float16"}, {"dense/bias": "float16", "dense/kernel": "float16", "int8": "float32"}),
        (["float64", "dense/kernel=float16"], {"dense/bias": "float64", "dense/kernel": "float16", "int8": "float64"}),
        ({re.compile("bias$"): "float64"}, {"dense/bias": "float64", "dense/kernel": "float32"}),
    ):
        convert(model, out, cast=cast)  # type: ignore[arg-type]
        with np.load(out) as found:
            assert {name: found[name].dtype.name for name in wanted} == wanted
    with pytest.raises(KeyError, match=r"conv/\*"):
        convert(model, out, cast={"conv/*": "float16"})
    # A type is that before it is a name.
    with pytest.raises(ValueError, match="no tensor is of type int8, so the cast has no effect; the types are float32"):
        convert(model, out, cast={"int8": "int16"})


def test_casts_that_lose_integers_are_found_before_anything_is_written(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    for dry_run in (False, True):
        with pytest.raises(UnsupportedError, match=r"'global_step'.*cannot represent exactly"):
            convert(model, out, cast={"int64": "float32"}, dry_run=dry_run, progress=pytest.fail)  # type: ignore[arg-type]
    convert(model, out, cast={"int64": "float64"})
    with np.load(out) as found:
        assert found["global_step"] == (1 << 24) + 1


@pytest.mark.parametrize(
    ("value", "stored", "target", "fits"),
    [
        (1 << 24, "int64", "float32", True),
        ((1 << 24) + 1, "int64", "float32", False),
        (-(1 << 24) - 1, "int32", "float32", False),
        (1 << 53, "int64", "float64", True),
        ((1 << 53) + 1, "int64", "float64", False),
        ((1 << 63) - 1, "int64", "float64", False),
        ((1 << 64) - 1, "uint64", "float64", False),
        (2048, "int16", "float16", True),
        (2049, "int16", "float16", False),
        (70000, "int32", "float16", False),
        (256, "int32", "bfloat16", True),
        (257, "int32", "bfloat16", False),
        ((1 << 24) + 1, "int32", "complex64", False),
    ],
)
def test_integers_stay_exact_as_floats(tmp_path: Path, value: int, stored: str, target: str, fits: bool) -> None:
    write_bundle(tmp_path / "b", {"n": np.array([0, value], stored)})
    if fits:
        convert(tmp_path / "b", tmp_path / "out.safetensors", cast={stored: target})
    else:
        with pytest.raises(UnsupportedError, match="exactly"):
            convert(tmp_path / "b", tmp_path / "out.safetensors", cast={stored: target})


def test_transpose(model: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "out.npz", tmp_path / "out.safetensors"):
        convert(model, out, transpose={"*/kernel": (1, 0)}, cast="float64")
    with np.load(tmp_path / "out.npz") as found:
        assert_same(found["dense/kernel"], MATRIX.T.astype(np.float64))
        assert found["dense/bias"].shape == (4,)
    for transpose, error, match in (
        ({"dense/kernel": (0, 0)}, ValueError, "each axis"),
        ({"dense/kernel": (0, 1, 2)}, ValueError, r"\[6, 4\]"),
        ({"dense/bias": (1, 0)}, ValueError, r"\[4\]"),
        ({"conv/*": (1, 0)}, KeyError, "conv"),
        ({3: (1, 0)}, ValueError, "3"),
    ):
        with pytest.raises(error, match=match):
            convert(model, tmp_path / "out.npz", transpose=transpose)  # type: ignore[arg-type]


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_sizes_of_what_a_function_returns(tmp_path: Path, out: str) -> None:
    """They are those of the new values, in the plan as after writing."""
    if out.endswith(".h5"):
        pytest.importorskip("h5py")
    returned: dict[str, tuple[Any, int]] = {
        "longer": (object_array([b"abcdef", "\u00e9"], (2,)), 8),
        "shorter": (b"x", 1),
        "text": (np.array(["ab", "cde"]), 5),
        "numbers": (np.zeros((3, 2), np.int16), 12),
        "strings of numbers": (object_array([b"1", b"22", b"333"], (3,)), 6),
        "empty": (np.zeros((0, 4), np.float32), 0),
        "no strings": (object_array([], (0,)), 0),
    }
    words = object_array([b"some", b"words"], (2,))
    stored: dict[str, Any] = {name: MATRIX if name == "strings of numbers" else words for name in returned}
    write_bundle(tmp_path / "m", stored | {"kept": MATRIX})
    calls: list[tuple[int, int]] = []
    for dry_run in (True, False):
        done = convert(
            tmp_path / "m",
            tmp_path / out,
            transform=lambda name, tensor: returned[name][0] if name in returned else tensor,
            progress=lambda nbytes, total: calls.append((nbytes, total)),
            dry_run=dry_run,
        )
        sizes = {item.name: item.nbytes for item in done.items}
        assert sizes == {name: size for name, (_, size) in returned.items()} | {"kept": MATRIX.nbytes}
        assert done.nbytes == sum(sizes.values())
    assert calls[-1] == (done.nbytes, done.nbytes)
    with open_source(tmp_path / (out if "." in out else f"{out}.index")) as found:
        for name, (value, size) in returned.items():
            array = found[name].read()
            assert (sum(map(len, array.flat)) if array.dtype.hasobject else array.nbytes) == size, (name, value)


def test_transform(model: Path, tmp_path: Path) -> None:
    seen = []

    def change(name: str, tensor: tfbundle.Tensor) -> Any:
        seen.append((name, tensor.name))
        if name == "k":
            return tensor.read()[:2] * 2
        return None if name == "int8" else tensor

    done = convert(model, tmp_path / "out.npz", rename={"dense/kernel": "k"}, transform=change)
    with np.load(tmp_path / "out.npz") as found:
        assert_same(found["k"], MATRIX[:2] * 2)
        assert "int8" not in found
        assert found["dense/bias"].shape == (4,)
    assert seen.count(("k", "dense/kernel")) == 2
    assert seen.count(("dense/bias", "dense/bias")) == 1
    actions = {item.name: item.action for item in done.items}
    assert actions["dense/kernel"] == "renamed, transformed"
    assert actions["int8"] == "left out by transform"
    answers = iter([np.zeros(2), np.zeros(3)])
    with pytest.raises(ValueError, match=r"shape \[3\].*shape \[2\]"):
        convert(model, tmp_path / "x.npz", names=["int8"], transform=lambda name, tensor: next(answers))
    assert not (tmp_path / "x.npz").exists()


def test_refusals_advise_casts_of_stored_types_alone(tmp_path: Path) -> None:
    """A type that a cast or a function made is not one that another cast could replace."""
    write_bundle(tmp_path / "m", {"a": MATRIX, "b": MATRIX.astype(ml_dtypes.bfloat16), "c": MATRIX})
    with pytest.raises(UnsupportedError) as error:
        convert(
            tmp_path / "m",
            tmp_path / "out.npz",
            cast={"a": "bfloat16"},
            transform=lambda name, tensor: tensor.read().astype(ml_dtypes.int4) if name == "c" else tensor,
        )
    assert (
        "3 of the 3 tensors (bfloat16: 'a', 'b'; int4: 'c'); cast bfloat16=float32 (--cast) or" in error.value.message
    )
    with pytest.raises(UnsupportedError, match=r"'a'\); leave them out \(--exclude\)"):
        convert(tmp_path / "m", tmp_path / "out.npz", names=["a"], cast="bfloat16")


def test_averages_take_the_place_of_their_variables(model: Path, tmp_path: Path) -> None:
    done = convert(model, tmp_path / "out.npz", averages=True)
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == {"dense/bias", "dense/kernel", "global_step", "int8"}
        assert_same(found["dense/kernel"], MATRIX + 1)
    assert done.left_out == {"left out: its moving average takes its place": 1}
    convert(model, tmp_path / "out.npz", averages=True, weights=True)
    with np.load(tmp_path / "out.npz") as found:
        assert set(found) == {"dense/bias", "dense/kernel", "int8"}
        assert_same(found["dense/kernel"], MATRIX + 1)
    write_bundle(tmp_path / "alone", {"w/ExponentialMovingAverage": MATRIX})
    convert(tmp_path / "alone", tmp_path / "out.npz", averages=True)
    with np.load(tmp_path / "out.npz") as found:
        assert list(found) == ["w"]
    write_bundle(tmp_path / "none", {"w": MATRIX})
    with pytest.raises(KeyError, match="no moving averages"):
        convert(tmp_path / "none", tmp_path / "out.npz", averages=True)


def test_weights_alone(tmp_path: Path) -> None:
    path = FIXTURES / "tf-1.15.5" / "training"
    done = convert(path, tmp_path / "out.npz", weights=True)
    with tfbundle.open_checkpoint(path) as checkpoint, np.load(tmp_path / "out.npz") as found:
        assert set(found) == checkpoint.weights
        others = set(checkpoint) - checkpoint.weights
        assert others
        assert {item.name for item in done.items if item.new_name is None} == others
        assert done.left_out["left out: optimizer slot"] == len(checkpoint.slots)
    assert run_json("convert", path, tmp_path / "out.npz", "--weights")["tensors"] == done.tensors


def test_a_dry_run_says_it_all_and_writes_nothing(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    arguments: dict[str, Any] = {"exclude": "dense/b*", "cast": {"float32": "float64"}, "rename": {"^dense/": ""}}
    planned = convert(model, out, **arguments, dry_run=True)
    assert not out.exists()
    done = convert(model, out, **arguments)
    assert planned.items == done.items
    assert (planned.tensors, planned.nbytes, planned.files) == (done.tensors, done.nbytes, done.files)
    kernel = next(item for item in done.items if item.name == "dense/kernel")
    assert kernel[1:] == ("kernel", "float64", (6, 4), 192, "renamed, cast from float32")
    bias = next(item for item in done.items if item.name == "dense/bias")
    assert bias[1:] == (None, "float32", (4,), 16, "left out: excluded")
    with np.load(out) as found:
        assert {item.new_name for item in planned.items} - {None} == set(found)


# Shards.


@pytest.mark.parametrize(
    ("layout", "sizes"),
    [
        ({"shards": 1}, [100]),
        ({"shards": 2}, [50, 50]),
        ({"shards": 10}, [10] * 10),
        ({"shard_size": 39}, [30, 30, 30, 10]),
        ({"shard_size": 40}, [40, 40, 20]),
        ({"shard_size": 5}, [10] * 10),
        ({"shard_size": 1000}, [100]),
    ],
)
def test_safetensors_in_shards(tmp_path: Path, layout: dict[str, int], sizes: list[int]) -> None:
    library = pytest.importorskip("safetensors.numpy")
    tensors = {f"t{number}": np.full(10, number, np.uint8) for number in range(10)}
    write_bundle(tmp_path / "b", tensors)
    done = convert(tmp_path / "b", tmp_path / "model.safetensors", **layout)  # type: ignore[arg-type]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 100}
    assert set(index["weight_map"]) == set(tensors)
    count = len(sizes)
    files = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    assert [Path(path).name for path in done.files] == ["model.safetensors.index.json", *files]
    found = {}
    for file, size in zip(files, sizes, strict=True):
        part = library.load_file(tmp_path / file)
        assert sum(array.nbytes for array in part.values()) == size
        assert {name for name, place in index["weight_map"].items() if place == file} == set(part)
        found.update(part)
    for name, array in tensors.items():
        assert_same(found[name], array)


@pytest.mark.parametrize(
    ("layout", "match"),
    [
        ({"shards": 0}, "from 1 to"),
        ({"shards": 3}, "the number of tensors, 2"),
        ({"shard_size": 0}, "at least 1"),
        ({"shards": 1, "shard_size": 1}, "one of them"),
    ],
)
def test_layouts_that_make_no_sense(tmp_path: Path, layout: dict[str, int], match: str) -> None:
    write_bundle(tmp_path / "b", {"a": MATRIX, "b": MATRIX})
    with pytest.raises(ValueError, match=match):
        convert(tmp_path / "b", tmp_path / "out.safetensors", **layout)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not divided into shards"):
        convert(tmp_path / "b", tmp_path / "out.npz", shards=2)


# The command.


def test_the_command_prints_its_plan(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    options = ["--no-slots", "--rename", "^dense/=", "--rename", "bias=b", "--cast", "*/kernel=float16", "--dry-run"]
    result = run("convert", model, out, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert not out.exists()
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["name", "new", "name", "type", "shape", "bytes", "action"]
    assert ["dense/bias", "b", "float32", "[4]", "16", "renamed"] in lines
    assert ["dense/kernel", "kernel", "float16", "[6,4]", "48", "renamed,", "cast", "from", "float32"] in lines
    assert "0 tensors left out: optimizer slot" in result.stdout
    assert f"{out}: would be written: 5 tensors, 180 B" in result.stdout
    document = run_json("convert", model, out, *options)
    assert document["left_out"] == {"left out: optimizer slot": 0}
    assert document["plan"][0] == {
        "name": "dense/bias",
        "new_name": "b",
        "dtype": "float32",
        "shape": [4],
        "nbytes": 16,
        "action": "renamed",
    }


def test_the_command_reads_renames_from_a_file(model: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "names.json"
    mapping.write_text(json.dumps({"dense/kernel": "dense/bias", "dense/bias": "dense/kernel"}))
    options = ["--rename-file", mapping, "--transpose", "dense/kernel=1,0", "--averages"]
    assert run("convert", model, tmp_path / "out.npz", *options[:2]).exit_code == 0
    with np.load(tmp_path / "out.npz") as found:
        assert found["dense/bias"].shape == (6, 4)
    # A list is in order: the second step sees what the first has made.
    mapping.write_text(json.dumps([["^dense/", ""], {"kernel": "k", "bias": "b"}, [r"^(k|b)$", r"w.\1"]]))
    assert run("convert", model, tmp_path / "out.npz", *options[:2], "--rename", "w.k=last").exit_code == 0
    with np.load(tmp_path / "out.npz") as found:
        assert {"last", "w.b", "int8"} < set(found)
    for text in ('["a"]', '[["a"]]', '[["a", 1]]', '{"a": 1}', "3", '[{"a": ["b"]}]', '"a"'):
        mapping.write_text(text)
        assert "an object of names" in refusal("convert", model, tmp_path / "out.npz", *options)
    mapping.write_text('{"dense/bias": "a", "dense/kernel": "b", "dense/bias": "c"}')
    assert "'dense/bias' twice" in refusal("convert", model, tmp_path / "out.npz", *options)
    mapping.write_text("{")
    assert "is not JSON" in refusal("convert", model, tmp_path / "out.npz", *options)
    for option, match in (
        ("--rename=a", "OLD=NEW"),
        ("--transpose=a=x", "list of axes"),
        ("--shard-size=2X", "not a size"),
    ):
        assert match in refusal("convert", model, tmp_path / "out.npz", option)


@pytest.mark.parametrize(("text", "nbytes"), [("1", 1), ("2K", 2048), ("3MiB", 3 << 20), ("1GB", 1 << 30)])
def test_sizes(text: str, nbytes: int) -> None:
    from tfbundle.cli.choices import Size

    assert Size().convert(text, None, None) == nbytes


def test_strings_and_small_types_are_refused_by_name(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"s": object_array([b"x"]), "h": np.zeros(2, ml_dtypes.bfloat16)})
    with pytest.raises(UnsupportedError, match=r"bfloat16: 'h'.*string: 's'"):
        convert(tmp_path / "b", tmp_path / "out.npz")
