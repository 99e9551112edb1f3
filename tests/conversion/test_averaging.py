"""Averages of checkpoints, compared with numpy's of the same arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same, object_array
from tests.support.bundle_writer import FULL, Saved, write_bundle
from tests.support.command import refusal, run, run_json
from tfbundle.conversion.averaging import average, average_inputs
from tfbundle.conversion.mean import aligned
from tfbundle.conversion.sources.opening import open_source
from tfbundle.errors import ChecksumError, FormatError, UnsupportedError
from tfbundle.tensors.dtypes import numpy_dtypes

random = np.random.default_rng(3)
STEPS = (1, 2, 10)
LARGE = [random.standard_normal((700, 1000)).astype(np.float32) for _ in STEPS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three checkpoints; the large tensor is cut in another way in each."""
    cuts: list[Any] = [
        None,
        [((0, 300), FULL), ((300, 400), FULL)],
        [(FULL, (0, 1)), (FULL, (1, 999))],
    ]
    for number, step in enumerate(STEPS):
        large = LARGE[number]
        tensors = {
            "large": Saved(large, slices=cuts[number]) if cuts[number] else large,
            "half": np.full(3, number + 0.5, ml_dtypes.bfloat16),
            "complex": np.full(2, number * 1j, np.complex64),
            "step": np.int64(step),
            "words": object_array([b"step %d" % step]),
            "empty": np.zeros((0, 4), np.float32),
        }
        write_bundle(tmp_path / f"model.ckpt-{step}", tensors)
    return tmp_path


def contents(path: Path) -> dict[str, Any]:
    with open_source(path) as source:
        return {name: tensor.read() for name, tensor in source.items()}


def averaged(sources: Any, out: Path, **arguments: Any) -> dict[str, Any]:
    average(sources, out, exclude=["words"], **arguments)
    return contents(out)


def test_the_mean(folder: Path) -> None:
    found = averaged(folder, folder / "out.safetensors")
    assert_same(found["large"], np.mean([array.astype(np.float64) for array in LARGE], axis=0).astype(np.float32))
    assert_same(found["half"], np.full(3, 1.5, ml_dtypes.bfloat16))
    assert_same(found["complex"], np.full(2, 1j, np.complex64))
    assert found["step"] == 10
    assert found["empty"].shape == (0, 4)


def test_the_last_of_a_folder(folder: Path) -> None:
    found = averaged(folder, folder / "out.safetensors", last=2)
    assert_same(found["large"], np.mean([array.astype(np.float64) for array in LARGE[1:]], axis=0).astype(np.float32))
    assert_same(averaged(folder, folder / "out.safetensors", last=1)["large"], LARGE[2])
    for last in (0, 4):
        with pytest.raises(ValueError, match="3 complete checkpoints"):
            average(folder, folder / "out.npz", last=last)


def test_weights(folder: Path) -> None:
    # The order is that of the steps; weights go with the sources that they were given for.
    paths = [folder / f"model.ckpt-{step}" for step in (10, 1, 2)]
    found = averaged(paths, folder / "out.safetensors", weights=[2, 1, 0])
    assert_same(found["large"], ((LARGE[2].astype(np.float64) * 2 + LARGE[0]) / 3).astype(np.float32))
    assert found["step"] == 10
    found = averaged(paths, folder / "out.safetensors", decay=0.5)
    wide = [array.astype(np.float64) for array in LARGE]
    np.testing.assert_allclose(found["large"], (wide[2] + wide[1] / 2 + wide[0] / 4) / 1.75, rtol=1e-6, atol=1e-7)
    inputs = average_inputs(folder, decay=0.5)[1]
    assert [(item.step, item.weight) for item in inputs] == [(1, 0.25), (2, 0.5), (10, 1.0)]
    for arguments, match in (
        ({"weights": [1]}, "length 1, but there are 3 sources"),
        ({"weights": [0, 0, 0]}, "not all 0"),
        ({"weights": [1, -1, 1]}, "at least 0"),
        ({"weights": [1, float("nan"), 1]}, "finite"),
        ({"decay": 0}, "greater than 0"),
        ({"decay": 1.5}, "at most 1"),
        ({"decay": 0.5, "weights": [1, 1, 1]}, "only one of them"),
        ({"last": 2}, "folder alone"),
    ):
        with pytest.raises(ValueError, match=match):
            average(paths, folder / "out.npz", **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no checkpoints"):
        average([], folder / "out.npz")


def test_equal_checkpoints_average_to_themselves(tmp_path: Path) -> None:
    for step in range(7):
        write_bundle(tmp_path / f"m-{step}", {"w": LARGE[0], "d": LARGE[1].astype(np.float64)})
    average(tmp_path, tmp_path / "out.npz")
    found = contents(tmp_path / "out.npz")
    assert_same(found["w"], LARGE[0])
    np.testing.assert_allclose(found["d"], LARGE[1].astype(np.float64), rtol=1e-15)


def test_tensors_that_do_not_fit_are_refused_by_name(folder: Path) -> None:
    arrays = contents(folder / "model.ckpt-1")
    write_bundle(
        folder / "other", {**arrays, "half": np.zeros(4, ml_dtypes.bfloat16), "extra": np.zeros(1), "step": 1.0}
    )
    sources = [folder / "model.ckpt-1", folder / "other"]
    with pytest.raises(UnsupportedError, match=r"'half': of shape \[4\]") as caught:
        average(sources, folder / "out.npz")
    message = str(caught.value)
    assert "'extra': absent from" in message
    assert "'step': of type float64 in the newest and int64" in message
    done = average(sources, folder / "out.npz", exclude=["half", "extra", "step", "words"])
    assert done.tensors == 3
    assert done.left_out == {"left out: excluded": 4}


def test_damage_in_any_source_is_found(folder: Path) -> None:
    path = folder / "model.ckpt-2.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[1_500_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChecksumError, match=r"model\.ckpt-2"):
        average(folder, folder / "out.safetensors", exclude="words")
    assert not (folder / "out.safetensors").exists()


def test_arrays_and_open_checkpoints(folder: Path) -> None:
    with tfbundle.open_checkpoint(folder / "model.ckpt-1") as first:
        average([first, {"large": LARGE[1]}], folder / "out.npz", exclude=["half", "complex", "step", "words", "empty"])
    found = contents(folder / "out.npz")
    assert_same(found["large"], np.mean([array.astype(np.float64) for array in LARGE[:2]], axis=0).astype(np.float32))


def test_a_source_is_not_replaced_unasked(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, w=np.ones(3))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(ValueError, match="a source of the output"):
            average([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / name)


def test_streams_of_other_cuts_are_aligned() -> None:
    whole = np.arange(10)
    cuts = ([3, 7], [5, 5], [1, 1, 8], [10], [0, 10, 0])
    streams = [iter(np.split(whole, np.cumsum(cut)[:-1])) for cut in cuts]
    parts = list(aligned(streams))
    for place in range(len(cuts)):
        assert np.concatenate([part[place] for part in parts]).tolist() == whole.tolist()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("largest", [1e-300, 1e50, 1.5e308])
def test_weights_of_any_magnitude(tmp_path: Path, dtype: str, largest: float) -> None:
    arrays = [{"w": np.array([number, 2.0], numpy_dtypes()[dtype])} for number in (1.0, 4.0)]
    average(arrays, tmp_path / "out", weights=[largest, largest / 2])
    np.testing.assert_allclose(tfbundle.load(tmp_path / "out")["w"].astype(complex), [2.0, 2.0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2", "float32", "float64", "complex64"])
@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
@pytest.mark.effort
def test_every_type_in_large_tensors(tmp_path: Path, dtype: str, weights: list[float] | None) -> None:
    """Chunks are read by threads, and each type is summed in its own width."""
    count = 1_100_001  # A chunk has 1 MB.
    base = np.random.default_rng(5).standard_normal(count, np.float32)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    arrays = [(base * (number + 1)).astype(kind) for number in range(3)]
    for number, array in enumerate(arrays):
        write_bundle(tmp_path / f"m-{number}", {"w": array})
    average(tmp_path, tmp_path / "mean", weights=weights)
    wide: Any = np.complex128 if dtype == "complex64" else np.float32 if kind.itemsize <= 2 else np.float64
    shares = weights or [1, 1, 1]
    first, *others = (array.astype(wide) * wide(share) for array, share in zip(arrays, shares, strict=True))
    total = sum(others, first)
    assert_same(tfbundle.load(tmp_path / "mean")["w"], (total / wide(sum(shares))).astype(kind))


@pytest.mark.parametrize("where", [0, 2, 3, 5])
def test_damage_is_found_while_threads_read_ahead(tmp_path: Path, where: int) -> None:
    array = np.random.default_rng(6).standard_normal(600_000).astype(np.float32)
    for number in range(6):
        write_bundle(tmp_path / f"m-{number}", {"w": array, "v": array})
    path = tmp_path / f"m-{where}.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChecksumError, match=f"m-{where}"):
        average(tmp_path, tmp_path / "mean")
    assert not list(tmp_path.glob("mean*"))
    path.unlink()
    with pytest.raises((FormatError, FileNotFoundError)):
        average([tmp_path / f"m-{number}" for number in range(6)], tmp_path / "mean")
    assert not list(tmp_path.glob("mean*"))


def test_the_command(folder: Path) -> None:
    out = folder / "out.safetensors"
    result = run("average", folder, "--last", "2", out, "--exclude", "w*")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["source", "step", "time", "(UTC)", "size", "share"]
    assert [(line[0], line[1], line[-1]) for line in lines[1:3]] == [
        (str(folder / "model.ckpt-2"), "2", "50.0%"),
        (str(folder / "model.ckpt-10"), "10", "50.0%"),
    ]
    wide = [array.astype(np.float64) for array in LARGE]
    assert_same(contents(out)["large"], ((wide[1] + wide[2]) / 2).astype(np.float32))
    paths = [folder / "model.ckpt-1", folder / "model.ckpt-2"]
    document = run_json("average", *paths, out, "--weight", "1", "--weight", "3", "--exclude", "words")
    assert [(item["step"], item["weight"]) for item in document["inputs"]] == [(1, 1.0), (2, 3.0)]
    assert_same(contents(out)["large"], ((wide[0] + wide[1] * 3) / 4).astype(np.float32))
    assert "no tensor 'kernel'" in run("average", folder, out, "--exclude", "kernel").stderr
    assert run("average", folder, out, "--names", "ha*", "--names", "step").exit_code == 0
    assert set(contents(out)) == {"half", "step"}
    assert "3 complete checkpoints" in refusal("average", folder, "--last", "9", out)
    result = run("average", folder, out)
    assert (result.exit_code, "'words'" in result.stderr) == (2, True)
    out.unlink()
    assert run("average", folder, out, "--exclude", "words", "--dry-run").exit_code == 0
    assert not out.exists()


@pytest.mark.parametrize(
    ("choice", "match"),
    [
        ({"last": 1.5}, "last must be an integer"),
        ({"last": "1"}, "last must be an integer"),
        ({"decay": "0.5"}, "decay must be a number"),
        ({"weights": 1}, "weights must be a list"),
        ({"weights": ["a"]}, "weights must be a list"),
    ],
)
def test_arguments_of_a_wrong_type(tmp_path: Path, choice: dict[str, Any], match: str) -> None:
    tfbundle.save(tmp_path / "run" / "model-1", {"w": np.ones(2)})
    with pytest.raises(ValueError, match=match):
        average(tmp_path / "run", tmp_path / "out.npz", **choice)
    assert not (tmp_path / "out.npz").exists()
