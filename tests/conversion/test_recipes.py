"""What the recipes of the documentation do, step by step, compared bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tfbundle
from tfbundle.conversion.convert import convert
from tfbundle.conversion.sources.opening import open_source

# BERT's names in TensorFlow become those in PyTorch, and back; the kernels of Linear layers are transposed.
TO_TORCH: list[Any] = [
    (r"layer_(\d+)/", r"layer.\1."),
    (r"/", "."),
    (r"\.kernel$", ".weight"),
    (r"LayerNorm\.gamma$", "LayerNorm.weight"),
    (r"LayerNorm\.beta$", "LayerNorm.bias"),
    (r"_embeddings$", "_embeddings.weight"),
]
TO_TENSORFLOW: list[Any] = [
    (r"_embeddings\.weight$", "_embeddings"),
    (r"LayerNorm\.bias$", "LayerNorm.beta"),
    (r"LayerNorm\.weight$", "LayerNorm.gamma"),
    (r"\.weight$", ".kernel"),
    (r"layer\.(\d+)\.", r"layer_\1/"),
    (r"\.", "/"),
]


def bert(layers: int = 2, width: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {
        "bert/embeddings/word_embeddings": (11, width),
        "bert/embeddings/LayerNorm/gamma": (width,),
        "bert/embeddings/LayerNorm/beta": (width,),
    }
    for number in range(layers):
        layer = f"bert/encoder/layer_{number}"
        for name in ("query", "key", "value"):
            shapes[f"{layer}/attention/self/{name}/kernel"] = (width, width)
            shapes[f"{layer}/attention/self/{name}/bias"] = (width,)
        shapes[f"{layer}/intermediate/dense/kernel"] = (width, 4 * width)
        shapes[f"{layer}/output/dense/kernel"] = (4 * width, width)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_bert_to_pytorch_and_back(tmp_path: Path) -> None:
    weights = bert()
    slots = {f"{name}/{slot}": np.ones_like(array) for name, array in weights.items() for slot in ("adam_m", "adam_v")}
    prefix = tfbundle.save(tmp_path / "bert_model.ckpt", {**weights, **slots, "global_step": np.int64(9)})
    stripped = convert(prefix, tmp_path / "stripped.ckpt", weights=True)
    assert stripped.tensors == len(weights)
    done = convert(stripped.path, tmp_path / "model.safetensors", rename=TO_TORCH, transpose={"*/kernel": (1, 0)})
    with open_source(done.path) as found:
        assert "bert.encoder.layer.1.attention.self.query.weight" in found
        assert "bert.embeddings.LayerNorm.weight" in found
        kernel = weights["bert/encoder/layer_0/intermediate/dense/kernel"]
        read = found["bert.encoder.layer.0.intermediate.dense.weight"].read()
        assert read.tobytes() == np.ascontiguousarray(kernel.T).tobytes()
    back = convert(
        done.path,
        tmp_path / "back.ckpt",
        rename=TO_TENSORFLOW,
        transpose={"*.dense.weight": (1, 0), "*.self.*.weight": (1, 0)},
    )
    arrays = tfbundle.load(back.path)
    assert set(arrays) == set(weights)
    for name, array in weights.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


def test_an_optimizer_is_stripped_and_the_last_five_are_averaged(tmp_path: Path) -> None:
    for step in range(1, 8):
        arrays = {"w": np.full(3, float(step)), "w/Adam": np.ones(3), "w/Adam_1": np.ones(3), "global_step": step}
        tfbundle.save(tmp_path / f"model.ckpt-{step}", arrays)
    done = tfbundle.average(tmp_path, tmp_path / "mean", last=5, slots=False)
    found = tfbundle.load(done.path)
    assert set(found) == {"w", "global_step"}
    assert found["w"].tolist() == [5.0] * 3
    assert found["global_step"] == 7


def test_moving_averages_take_the_place_of_their_variables(tmp_path: Path) -> None:
    arrays = {"w": np.zeros(2), "w/ExponentialMovingAverage": np.ones(2), "global_step": np.int64(3)}
    prefix = tfbundle.save(tmp_path / "model.ckpt", arrays)
    found = tfbundle.load(convert(prefix, tmp_path / "averaged", averages=True).path)
    assert set(found) == {"w", "global_step"}
    assert found["w"].tolist() == [1.0, 1.0]
