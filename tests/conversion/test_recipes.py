"""What the page of recipes says, run as it stands there, and compared bit for bit."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.command import run
from tfbundle.conversion.sources.opening import open_source

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n.*?^```sh\n(.+?)^```$", PAGE, re.DOTALL | re.MULTILINE))
TESTED = {
    "BERT from TensorFlow to PyTorch",
    "BERT from PyTorch to TensorFlow",
    "Stripping an optimizer",
    "Averaging the last five checkpoints",
    "Moving averages in place of the variables",
    "Keras weights as a checkpoint",
}


def test_every_recipe_is_tested() -> None:
    assert set(RECIPES) == TESTED


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def follow(recipe: str) -> str:
    """Run a recipe in the working folder, and return what the command prints; a dry run comes first."""
    program, *arguments = shlex.split(RECIPES[recipe].replace("\\\n", ""))
    assert program == "tfbundle"
    before = set(Path().rglob("*"))
    done = run(*arguments, "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert set(Path().rglob("*")) == before
    done = run(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    output: str = done.stdout
    return output


def bert(layers: int = 2, width: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    """A small BERT with random weights, under the names of Google's checkpoints."""
    random = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {
        "bert/embeddings/word_embeddings": (11, width),
        "bert/embeddings/position_embeddings": (7, width),
        "bert/embeddings/token_type_embeddings": (2, width),
        "bert/pooler/dense/kernel": (width, width),
        "bert/pooler/dense/bias": (width,),
        "cls/predictions/output_bias": (11,),
        "cls/predictions/transform/dense/kernel": (width, width),
        "cls/predictions/transform/dense/bias": (width,),
        "cls/seq_relationship/output_weights": (2, width),
        "cls/seq_relationship/output_bias": (2,),
    }
    norms = ["bert/embeddings", "cls/predictions/transform"]
    for number in range(layers):
        layer = f"bert/encoder/layer_{number}"
        norms += [f"{layer}/attention/output", f"{layer}/output"]
        denses = {f"attention/self/{name}": (width, width) for name in ("query", "key", "value")}
        denses |= {
            "attention/output/dense": (width, width),
            "intermediate/dense": (width, 4 * width),
            "output/dense": (4 * width, width),
        }
        for name, shape in denses.items():
            shapes[f"{layer}/{name}/kernel"] = shape
            shapes[f"{layer}/{name}/bias"] = shape[1:]
    for scope in norms:
        shapes |= {f"{scope}/LayerNorm/gamma": (width,), f"{scope}/LayerNorm/beta": (width,)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def in_pytorch(name: str) -> str:
    """What PyTorch calls a tensor, by the rules of the transformers library."""
    words = re.sub(r"layer_(\d+)", r"layer/\1", name).split("/")
    ends = {"kernel": "weight", "gamma": "weight", "output_weights": "weight", "beta": "bias", "output_bias": "bias"}
    last = words[-1]
    words[-1] = f"{last}.weight" if last.endswith("_embeddings") else ends.get(last, last)
    return ".".join(words)


def test_bert_to_pytorch_and_back(folder: Path) -> None:
    pytest.importorskip("safetensors")
    weights = bert()
    slots = {f"{name}/{slot}": np.ones_like(array) for name, array in weights.items() for slot in ("adam_m", "adam_v")}
    tfbundle.save("bert_model.ckpt", {**weights, **slots, "global_step": np.int64(9)})
    follow("BERT from TensorFlow to PyTorch")
    with open_source("model.safetensors") as found:
        assert set(found) == {in_pytorch(name) for name in weights}
        assert "bert.encoder.layer.1.attention.self.query.weight" in found
        assert "cls.predictions.bias" in found
        for name, array in weights.items():
            wanted = np.ascontiguousarray(array.T) if name.endswith("/kernel") else array
            assert_same(found[in_pytorch(name)].read(), wanted)
    follow("BERT from PyTorch to TensorFlow")
    back = tfbundle.load("back.ckpt")
    assert set(back) == set(weights)
    for name, array in weights.items():
        assert_same(back[name], array)


@pytest.fixture
def training(folder: Path) -> dict[int, dict[str, Any]]:
    """Seven checkpoints of a run, with Adam's slots and moving averages."""
    random = np.random.default_rng(2)
    saved = {}
    (folder / "run").mkdir()
    for step in range(1, 8):
        w = random.standard_normal((4, 3)).astype(np.float32)
        saved[step] = {
            "w": w,
            "w/Adam": w * 2,
            "w/Adam_1": w * 3,
            "w/ExponentialMovingAverage": w * 4,
            "beta1_power": np.float32(0.9),
            "global_step": np.int64(step),
        }
        tfbundle.save(folder / "run" / f"model.ckpt-{step}", saved[step])
    return saved


def test_an_optimizer_is_stripped(training: dict[int, dict[str, Any]]) -> None:
    assert "3 tensors left out: optimizer slot" in follow("Stripping an optimizer")
    found = tfbundle.load("stripped.ckpt")
    assert set(found) == {"w", "w/ExponentialMovingAverage", "global_step"}
    for name, array in found.items():
        assert_same(array, np.asarray(training[7][name]))


def test_the_last_five_are_averaged(training: dict[int, dict[str, Any]]) -> None:
    lines = follow("Averaging the last five checkpoints").splitlines()
    assert [line.split()[1] for line in lines[1:6]] == ["3", "4", "5", "6", "7"]
    found = tfbundle.load("averaged.ckpt")
    last = [training[step]["w"].astype(np.float64) for step in range(3, 8)]
    assert_same(found["w"], (sum(last) / 5).astype(np.float32))
    assert found["global_step"] == 7
    assert "w/Adam" not in found


def test_moving_averages_take_the_place_of_their_variables(training: dict[int, dict[str, Any]]) -> None:
    follow("Moving averages in place of the variables")
    found = tfbundle.load("smoothed.ckpt")
    assert set(found) == {"w", "global_step"}
    assert_same(found["w"], training[7]["w"] * 4)


@pytest.mark.filterwarnings("ignore")
def test_keras_weights_become_a_checkpoint() -> None:
    pytest.importorskip("h5py")
    tf = pytest.importorskip("tensorflow", reason="writes with Keras, which is not installed")
    keras = pytest.importorskip("keras")
    norm = keras.layers.BatchNormalization()
    layers = {"dense": keras.layers.Dense(4), "batch_normalization": norm, "dense_1": keras.layers.Dense(2)}
    parts = {"batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance")}
    model = keras.Sequential([keras.layers.Input((3,)), *layers.values()])
    model.compile(optimizer="adam", loss="mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    model.save_weights("model.weights.h5")
    follow("Keras weights as a checkpoint")
    reader = tf.train.load_checkpoint("keras.ckpt")
    wanted = {
        f"{name}/{part}": value
        for name, layer in layers.items()
        for part, value in zip(parts.get(name, ("kernel", "bias")), layer.get_weights(), strict=True)
    }
    assert set(reader.get_variable_to_shape_map()) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(reader.get_tensor(name), value)
