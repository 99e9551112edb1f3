"""Keras reads what is saved here: weights in TensorFlow's format (Keras 2), and checkpoints of its models (Keras 3).

Keras 2 is the package ``tf_keras``. It requests the package ``tensorflow``, where the tests use ``tensorflow-cpu``;
``pip install --no-deps tf_keras`` installs it beside that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle

tf = pytest.importorskip("tensorflow")


def increased(prefix: Path) -> dict[str, np.ndarray]:
    return {name: value + 1 if value.dtype.kind == "f" else value for name, value in tfbundle.load(prefix).items()}


def make(keras: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, name="first"), layers.BatchNormalization(), layers.Dense(2, name="last")]
    )
    model.compile("adam", "mse")
    return model


def assert_increased(model: Any, source: Any) -> None:
    assert len(model.get_weights()) == len(source.get_weights()) == 8
    for new, old in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old + 1)


def test_load_weights(tmp_path: Path) -> None:
    keras = pytest.importorskip("tf_keras", reason="Keras 2 reads the weights, and tf_keras is not installed")
    source, model = make(keras), make(keras)
    source.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    source.save_weights(tmp_path / "source", save_format="tf")
    tfbundle.save(tmp_path / "changed", increased(tmp_path / "source"))
    status = model.load_weights(tmp_path / "changed")
    status.assert_existing_objects_matched()
    assert_increased(model, source)


def test_the_saved_weights_of_keras_have_the_same_bytes(tmp_path: Path) -> None:
    keras = pytest.importorskip("tf_keras", reason="Keras 2 reads the weights, and tf_keras is not installed")
    (tmp_path / "copy").mkdir()
    make(keras).save_weights(tmp_path / "model", save_format="tf")
    with tfbundle.open_checkpoint(tmp_path / "model") as checkpoint:
        tfbundle.save(tmp_path / "copy" / "model", checkpoint)
    copies = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert copies == ["model.data-00000-of-00001", "model.index"]
    for name in copies:
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_saved_model_of_keras_2(tmp_path: Path) -> None:
    keras = pytest.importorskip("tf_keras", reason="Keras 2 reads the weights, and tf_keras is not installed")
    source = make(keras)
    source.save(tmp_path / "model")
    prefix = tmp_path / "model" / "variables" / "variables"
    tfbundle.save(prefix, increased(prefix))
    assert tfbundle.verify(tmp_path / "model").ok
    assert_increased(keras.models.load_model(tmp_path / "model"), source)


def test_a_checkpoint_of_a_model_of_keras_3(tmp_path: Path) -> None:
    source, model = make(tf.keras), make(tf.keras)
    tf.train.Checkpoint(model=source).write(str(tmp_path / "source"))
    tfbundle.save(tmp_path / "changed", increased(tmp_path / "source"))
    tf.train.Checkpoint(model=model).read(str(tmp_path / "changed")).assert_existing_objects_matched()
    assert_increased(model, source)
